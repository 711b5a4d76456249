"""What somebody changed, carried over to a document of which they know less; what defaults may add; what the audit log is told."""

from __future__ import annotations

import copy
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.differing import PATHS, changed, changed_value, filled, paths
from registry.patches import json_patch, read_json_patch
from registry.resource import OmitEmpty, Struct
from registry.typed import from_document, to_document

Document = dict[str, Any]

scalars = st.none() | st.integers(0, 3) | st.sampled_from(["", "a", "a/b", "m~n"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner), max_leaves=8
)
documents = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), values, max_size=4)


class Inner(Struct):
    text_of: str = ""
    size: int | None = None
    share: float = 0.0
    tags: list[str] | None = None


class Outer(Struct):
    name_of: str
    mark: Annotated[str, OmitEmpty] = ""
    on: bool = False
    inner: Inner | None = None
    always: Inner = Inner()
    each: list[Inner] | None = None
    free: dict[str, Any] | None = None


texts = st.sampled_from(["", "a", "\u00e4", "b"])
inners = st.builds(
    Inner,
    text_of=texts,
    size=st.none() | st.integers(0, 2),
    share=st.sampled_from([0.0, 1.0, 0.5]),
    tags=st.none() | st.lists(texts, max_size=2),
)
outers = st.builds(
    Outer,
    name_of=texts,
    mark=texts,
    on=st.booleans(),
    inner=st.none() | inners,
    always=inners,
    each=st.none() | st.lists(inners, max_size=2),
    free=st.none() | st.dictionaries(texts, scalars, max_size=2),
)


@given(documents, documents)
def test_who_sees_all_of_a_document_changes_all_of_it(before: Document, after: Document) -> None:
    kept = copy.deepcopy(before)
    assert changed(before, before, after) == after
    assert before == kept


@given(documents, documents, st.dictionaries(st.sampled_from(["x", "y"]), values))
def test_what_nobody_saw_stays_as_it_is(before: Document, after: Document, unseen: Document) -> None:
    assert changed({**before, **unseen}, before, after) == {**after, **unseen}


@given(outers, outers, st.sets(st.sampled_from(["mark", "on", "always"])))
def test_what_changed_of_a_value_is_what_changed_of_its_document(before: Outer, after: Outer, left_out: set[str]) -> None:
    shown = to_document(before)
    defaults = to_document(Outer(name_of=before.name_of))
    document = {key: value for key, value in shown.items() if key not in left_out or value != defaults.get(key)}
    if isinstance(document.get("inner"), dict):
        document["inner"] = {**document["inner"], "unseen": 1}
    kept = copy.deepcopy(document)
    made = changed_value(document, before, after)
    assert made == changed(document, shown, to_document(after))
    assert from_document(Outer)(made) == after
    assert document == kept


def test_unseen_fields_of_items_go_where_their_items_go() -> None:
    document = {"items": [{"n": 1, "x": "one"}, {"n": 2, "x": "two"}, {"n": 3, "x": "three"}]}
    before = {"items": [{"n": 1}, {"n": 2}, {"n": 3}]}
    after = {"items": [{"n": 3}, {"n": 20}, {"n": 4}, {"n": 5}]}
    assert changed(document, before, after) == {"items": [{"n": 3, "x": "three"}, {"n": 20, "x": "two"}, {"n": 4}, {"n": 5}]}


@given(documents, documents)
def test_a_default_changes_nothing_that_is_there(given: Document, returned: Document) -> None:
    made = filled(given, returned)
    assert [operation for operation in paths(given, made) if operation["op"] != "add"] == []
    assert filled(made, returned) == made


def test_a_default_fills_what_is_missing_also_in_items() -> None:
    given = {"a": 1, "list": [{"n": 1}, {"n": 2, "size": 5}], "other": [1]}
    returned = {"a": 2, "b": 3, "list": [{"n": 1, "size": 9}, {"n": 2, "size": 9}], "other": [1, 2]}
    assert filled(given, returned) == {"a": 1, "b": 3, "list": [{"n": 1, "size": 9}, {"n": 2, "size": 5}], "other": [1]}


@given(documents, documents)
def test_what_is_told_of_a_change_says_where_everything_that_differs_is(before: Document, after: Document) -> None:
    told = paths(before, after)
    assert bool(told) == (before != after)
    for each in told:
        assert each["op"] in ("add", "remove", "replace")
        assert set(each) == {"op", "path"}, "no values"
    # Doing what was told, from the end on, with the values that are there afterwards, makes of the one the other.
    patch = [each | ({"value": _at(after, each["path"])} if each["op"] != "remove" else {}) for each in reversed(told)]
    adds = sorted((each for each in patch if each["op"] == "add"), key=lambda each: (len(each["path"]), each["path"]))
    rest = [each for each in patch if each["op"] != "add"]
    assert json_patch(before, read_json_patch([*rest, *adds])) == after


def _at(document: Any, path: str) -> Any:
    for part in path.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


@pytest.mark.parametrize("number", [PATHS, PATHS + 1])
def test_no_more_is_told_than_anybody_reads(number: int) -> None:
    told = paths({}, {str(place): 1 for place in range(number)})
    assert len(told) == min(number, PATHS + 1)
    assert (told[-1]["op"] == "...") == (number > PATHS)
