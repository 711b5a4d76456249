"""JSONPaths of columns, selectable fields and scales."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import jsonpath

DOCUMENT: dict[str, Any] = {
    "metadata": {"name": "n", "labels": {"a.b/c": "dotted", "x-y": "dash"}},
    "spec": {"url": "u", "none": None, "items": [{"x": 1, "name": "one"}, {"x": 2, "name": "two"}, {"name": "three"}]},
    "status": {
        "conditions": [
            {"type": "Synced", "status": "False", "n": 1},
            {"type": "Ready", "status": "True", "n": 2.5},
            {"type": 'q"u', "status": "Unknown", "ok": True},
        ]
    },
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.url", ["u"]),
        ("{.spec.url}", ["u"]),
        ("$.spec.url", ["u"]),
        ("{$.spec.url}", ["u"]),
        (".metadata.labels['a.b/c']", ["dotted"]),
        ('.metadata.labels["a.b/c"]', ["dotted"]),
        (r".metadata.labels.a\.b/c", ["dotted"]),
        (".metadata.labels.x-y", ["dash"]),
        ("['metadata']['name']", ["n"]),
        (".spec.items[0].x", [1]),
        (".spec.items[-1].name", ["three"]),
        (".spec.items[3].name", []),
        (".spec.items[-4].name", []),
        (".spec.items[*].x", [1, 2]),
        (".spec.items.[*].x", [1, 2]),
        (".metadata.labels.*", ["dotted", "dash"]),
        (".spec.none", [None]),
        (".spec.absent.below", []),
        (".spec.url.below", []),
        (".spec[0]", []),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type == 'Ready')].status", ["True"]),
        (r'.status.conditions[?(@.type=="q\"u")].status', ["Unknown"]),
        ('.status.conditions[?(@.type!="Ready")].status', ["False", "Unknown"]),
        (".status.conditions[?(@.n>1)].type", ["Ready"]),
        (".status.conditions[?(@.n<=1)].type", ["Synced"]),
        (".status.conditions[?(@.n==1)].type", ["Synced"]),
        (".status.conditions[?(@.ok==1)].type", []),
        (".status.conditions[?(@.ok==true)].status", ["Unknown"]),
        (".status.conditions[?(@.ok)].status", ["Unknown"]),
        (".status.conditions[?(@.type>1)].status", []),
        (".", [DOCUMENT]),
        ("{.}", [DOCUMENT]),
    ],
)
def test_a_path_finds_what_it_names(path: str, found: list[Any]) -> None:
    parsed = jsonpath.parse(path)
    assert parsed.find(DOCUMENT) == found
    assert parsed.first(DOCUMENT) == (found[0] if found else None)
    assert str(parsed) == path


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "a path starts with '.' or '[' at position 0"),
        ("spec", "a path starts with '.' or '[' at position 0"),
        ("..url", "a field name is missing at position 1"),
        (".spec.", "unexpected '.' at position 5"),
        (".spec[", "an index, a quoted name, '*' or '?(' is missing at position 6"),
        (".spec[0", "']' is missing at position 7"),
        (".spec[1:2]", "']' is missing at position 7"),
        (".spec['a]", "an index, a quoted name, '*' or '?(' is missing at position 6"),
        ("{.spec", "'}' is missing at position 6"),
        (".spec}", "unexpected '}' at position 5"),
        (".a b", "unexpected ' ' at position 2"),
        (".a[?(x==1)]", "'@' is missing at position 5"),
        (".a[?(@.x==)]", "a text in quotes, a number, true, false or null is missing at position 10"),
        (".a[?(@.x==01)]", "a number that JSON does not know at position 12"),
        (".a[?(@.x==1]", "')' is missing at position 11"),
        (".a[?(@.b[?(@.c)])]", "a filter within a filter"),
        ("." + "a" * 2000, "a path of more than 2000 characters"),
    ],
)
def test_what_is_no_path_is_refused_with_its_position(path: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        jsonpath.parse(path)


@given(st.text(st.sampled_from(".[]'\"abc0-*?(@)=<>!{}$\\ ,"), max_size=30))
def test_any_text_is_a_path_or_a_value_error(text: str) -> None:
    try:
        path = jsonpath.parse(text)
    except ValueError:
        return
    assert isinstance(path.find(DOCUMENT), list)


def test_only_paths_of_names_say_their_fields() -> None:
    assert jsonpath.parse(".spec.replicas").fields == ("spec", "replicas")
    assert jsonpath.parse(".spec['a.b']").fields == ("spec", "a.b")
    assert jsonpath.parse(".spec.items[0]").fields is None
    assert jsonpath.parse(".spec.*").fields is None


names = st.text("ab", min_size=1, max_size=2)
documents: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.none() | st.integers() | st.text("xy", max_size=2),
    lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
).flatmap(lambda value: st.dictionaries(names, st.just(value), max_size=3))


@given(documents, st.lists(names, min_size=1, max_size=4), st.integers())
def test_what_is_set_is_found_and_the_document_given_is_not_changed(document: dict[str, Any], way: list[str], value: int) -> None:
    before = copy.deepcopy(document)
    path = jsonpath.parse("." + ".".join(way))
    result = path.set(document, value)
    assert document == before
    assert path.first(result) == value
    assert {key: inner for key, inner in result.items() if key != way[0]} == {
        key: inner for key, inner in document.items() if key != way[0]
    }


def test_only_paths_of_names_can_be_set() -> None:
    for text in (".spec.items[0]", ".spec.*", "."):
        with pytest.raises(ValueError, match="only a path of field names"):
            jsonpath.parse(text).set({}, 1)
