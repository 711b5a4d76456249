"""Objects as bytes: joined from what is stored, the same as if they had been encoded, in every version and shape."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apiserver import forms
from apiserver.forms import Page, View
from apiserver.negotiation import JSON, YAML, Form, Shape
from apiserver.stored import in_version, put, seen_as
from registry.builtin import CONFIG_MAP, EVENT, KINDS, SECRET
from registry.errors import BadRequest, NotAcceptable
from registry.kinds import Kind, Version
from registry.plugin import build
from storage.store import Change, Key, Op, Record
from tests.plugins.reference import GROUP, plugin

Document = dict[str, Any]
REGISTRY = build([plugin], KINDS)
NOW = 1_700_000_000.0
TABLE = Form(JSON, Shape.TABLE)
METADATA = Form(JSON, Shape.METADATA)
METADATA_LIST = Form(JSON, Shape.METADATA_LIST)


def served(group: str, version: str, plural: str) -> tuple[Kind, Version]:
    found = REGISTRY.find(group, version, plural)
    assert found is not None
    return found


WIDGET, V1 = served(GROUP, "v1", "widgets")
V1BETA1 = served(GROUP, "v1beta1", "widgets")[1]


def record_of(kind: Kind, document: Document, revision: int, version: Version | None = None) -> Record:
    """What the store holds of a document."""
    version = version or kind.storage
    key = Key(kind.resource, document["metadata"].get("namespace", ""), document["metadata"]["name"])
    write = put(kind, version, key, {"apiVersion": version.api_version, "kind": version.kind, **document}, expect=0)
    return Record(key, write.uid, revision, write.api_version, write.desired, write.status)


def widget(name: str = "a", revision: int = 7, **fields: Any) -> Record:
    document = {"metadata": {"name": name, "namespace": "shop", "uid": "u", "creationTimestamp": "2023-11-14T22:12:20Z"}, **fields}
    return record_of(WIDGET, document, revision)


def decoded(parts: Any) -> Document:
    document: Document = msgspec.json.decode(parts if isinstance(parts, bytes) else b"".join(parts))
    return document


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | names
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6)
maps = st.dictionaries(names, names, max_size=3)
metadata = st.fixed_dictionaries({"name": names, "namespace": names, "uid": names}, optional={"labels": maps, "annotations": maps})
documents = st.fixed_dictionaries({"metadata": metadata}, optional={"spec": values, "status": values, "data": maps})


@given(documents, st.integers(min_value=1, max_value=2**40))
def test_the_bytes_of_an_object_say_what_the_document_says(document: Document, revision: int) -> None:
    record = record_of(WIDGET, document, revision)
    expected = {"apiVersion": V1.api_version, "kind": "Widget", **document}
    expected["metadata"] = {**document["metadata"], "resourceVersion": str(revision)}
    shown = decoded(forms.object_json(WIDGET, V1, record))
    if expected.get("status") is None:
        expected.pop("status", None)
        shown.pop("status", None)
    assert shown == expected


@given(documents)
def test_the_bytes_of_an_object_are_those_of_another_version_but_for_its_name(document: Document) -> None:
    record = record_of(WIDGET, document, 3)
    newer, older = decoded(forms.object_json(WIDGET, V1, record)), decoded(forms.object_json(WIDGET, V1BETA1, record))
    assert older == {**newer, "apiVersion": f"{GROUP}/v1beta1"}
    assert older == in_version(V1BETA1, record)


@given(st.lists(documents, max_size=4), st.sampled_from([WIDGET, CONFIG_MAP]))
def test_the_items_of_a_list_are_the_objects(some: list[Document], kind: Kind) -> None:
    records = [record_of(kind, document, number + 1) for number, document in enumerate(some)]
    view = View(kind, kind.storage, Form())
    body = decoded(forms.many(view, Page(records, 9)))
    singles = [decoded(forms.one(view, record)) for record in records]
    if kind is CONFIG_MAP:
        singles = [{key: value for key, value in single.items() if key not in ("apiVersion", "kind")} for single in singles]
    assert body["items"] == singles
    assert (body["kind"], body["apiVersion"]) == (kind.list_kind, kind.storage.api_version)


@given(documents)
def test_yaml_says_what_json_says(document: Document) -> None:
    record = record_of(WIDGET, document, 3)
    for form in (Form(), TABLE, METADATA):
        in_yaml = msgspec.structs.replace(form, media=YAML)
        text = forms.one(View(WIDGET, V1, in_yaml), record)
        assert yaml.safe_load(text) == decoded(forms.one(View(WIDGET, V1, form), record))


@pytest.mark.parametrize("form", [Form(), TABLE, METADATA_LIST], ids=["object", "table", "metadata"])
def test_a_list_in_yaml_is_the_list_in_json(form: Form) -> None:
    page = Page([widget("a", spec={"size": 1}), widget("b", spec={"size": 2})], 9, "token", 5)
    text = b"".join(forms.many(View(WIDGET, V1, msgspec.structs.replace(form, media=YAML)), page))
    assert yaml.safe_load(text) == decoded(forms.many(View(WIDGET, V1, form), page))


def test_a_long_list_is_cut_into_pieces_that_make_one_document() -> None:
    records = [widget(f"w{n}", spec={"notes": "x" * 100_000}, status={"phase": "on"}) for n in range(25)]
    for kind in (V1, V1BETA1):
        pieces = list(forms.many(View(WIDGET, kind, Form()), Page(records, 9)))
        assert len(pieces) > 2
        assert [item["metadata"]["name"] for item in decoded(pieces)["items"]] == [f"w{n}" for n in range(25)]


def test_a_kind_with_a_percent_sign_nowhere_still_joins_lists() -> None:
    """The heads of items are a template for the revision."""
    record = record_of(CONFIG_MAP, {"metadata": {"name": "a", "uid": "u"}, "data": {"k": "100%d %b"}}, 5)
    body = decoded(forms.many(View(CONFIG_MAP, CONFIG_MAP.storage, Form()), Page([record, record], 5)))
    assert [item["data"] for item in body["items"]] == [{"k": "100%d %b"}] * 2


def test_an_object_that_is_not_stored_has_no_revision() -> None:
    record = widget(revision=0, spec={"size": 1})
    for form in (Form(), METADATA):
        assert "resourceVersion" not in decoded(forms.one(View(WIDGET, V1, form), record))["metadata"]


def test_metadata_alone_is_the_metadata_of_the_object() -> None:
    record = widget(spec={"size": 1}, status={"phase": "on"})
    whole = decoded(forms.one(View(WIDGET, V1, Form()), record))
    for version in ("v1", "v1beta1"):
        part = decoded(forms.one(View(WIDGET, V1, Form(JSON, Shape.METADATA, version)), record))
        assert part == {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": whole["metadata"],
        }
    listed = decoded(forms.many(View(WIDGET, V1, METADATA_LIST), Page([record], 9)))
    assert (listed["kind"], listed["metadata"]) == ("PartialObjectMetadataList", {"resourceVersion": "9"})
    assert [item["metadata"] for item in listed["items"]] == [whole["metadata"]]


# Tables


def test_a_table_has_the_columns_of_the_kind_and_a_row_for_each_object() -> None:
    record = widget(spec={"size": 3, "color": "red", "notes": "n"}, status={"ready": True})
    table = decoded(forms.many(View(WIDGET, V1, TABLE, now=NOW), Page([record], 9)))
    assert [(column["name"], column["type"], column["priority"]) for column in table["columnDefinitions"]] == [
        ("Name", "string", 0),
        ("Size", "integer", 0),
        ("Color", "string", 0),
        ("Ready", "boolean", 0),
        ("Notes", "string", 1),
        ("Age", "date", 0),
    ]
    assert [row["cells"] for row in table["rows"]] == [["a", 3, "red", True, "n", "60s"]]
    assert table["metadata"] == {"resourceVersion": "9"}


def test_cells_of_what_is_not_there_are_null_and_of_what_is_no_scalar_are_json() -> None:
    record = widget(spec={"size": [1, {"a": None}]})
    table = decoded(forms.one(View(WIDGET, V1, TABLE, now=NOW), record))
    assert table["rows"][0]["cells"] == ["a", '[1,{"a":null}]', None, None, None, "60s"]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (None, "<unknown>"),
        (5, "<unknown>"),
        ("yesterday", "<invalid>"),
        ("2023-11-14T22:13:20Z", "0s"),
        ("2023-11-14T21:13:20Z", "60m"),
    ],
)
def test_ages_are_shown_as_kubectl_shows_them(time: Any, expected: str) -> None:
    metadata = {"name": "a", "uid": "u", **({"creationTimestamp": time} if time is not None else {})}
    table = decoded(forms.one(View(WIDGET, V1, TABLE, now=NOW), record_of(WIDGET, {"metadata": metadata}, 5)))
    assert table["rows"][0]["cells"][-1] == expected


@pytest.mark.parametrize(
    ("include", "expected"),
    [("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "Widget"), ("", "PartialObjectMetadata")],
)
def test_rows_carry_of_their_objects_what_was_asked_for(include: str, expected: str | None) -> None:
    table = decoded(forms.one(View(WIDGET, V1, TABLE, include), widget(spec={"size": 1})))
    carried = table["rows"][0]["object"]
    assert (carried and carried["kind"]) == expected


def test_builtin_kinds_compute_their_cells() -> None:
    record = record_of(SECRET, {"metadata": {"name": "a", "uid": "u"}, "type": "Opaque", "data": {"a": "", "b": ""}}, 5)
    table = decoded(forms.one(View(SECRET, SECRET.storage, TABLE, now=NOW), record))
    assert table["rows"][0]["cells"] == ["a", "Opaque", 2, "<unknown>"]


def test_forms_that_do_not_fit_are_refused() -> None:
    with pytest.raises(NotAcceptable, match="is a list"):
        forms.check_view(View(WIDGET, V1, METADATA), collection=True)
    with pytest.raises(NotAcceptable, match="is not a list"):
        forms.check_view(View(WIDGET, V1, METADATA_LIST), collection=False)
    with pytest.raises(BadRequest, match='includeObject: Invalid value: "All"'):
        forms.check_view(View(WIDGET, V1, TABLE, "All"), collection=True)
    for fits, collection in (
        (View(WIDGET, V1, METADATA), False),
        (View(WIDGET, V1, METADATA_LIST), True),
        (View(WIDGET, V1, TABLE), True),
    ):
        forms.check_view(fits, collection=collection)


# Events


def change(op: Op, record: Record, previous: Record | None) -> Change:
    return Change(record.revision, op, record, previous)


def test_an_event_is_encoded_once_for_all_watchers_of_one_version_and_form() -> None:
    old, new = widget(revision=7, spec={"size": 1}), widget(revision=8, spec={"size": 2})
    seen = change(Op.MODIFIED, new, old)
    lines = [
        forms.event(View(WIDGET, V1, Form(), include, now), seen, Op.MODIFIED, first=first)
        for include, now, first in [("Metadata", 0.0, True), ("Object", 1.0, False), ("x", 2.0, False)]
    ]
    assert all(line is lines[0] for line in lines)
    assert len(seen.derived) == 1
    forms.event(View(WIDGET, V1BETA1, Form()), seen, Op.MODIFIED, first=False)
    forms.event(View(WIDGET, V1, METADATA), seen, Op.MODIFIED, first=False)
    assert len(seen.derived) == 3


def test_an_event_is_one_line() -> None:
    seen = change(Op.ADDED, widget(spec={"notes": "two\nlines"}), None)
    for form in (Form(), TABLE, METADATA):
        line = forms.event(View(WIDGET, V1, form), seen, Op.ADDED, first=True)
        assert line.count(b"\n") == 1
        assert line.endswith(b"}\n")
        assert decoded(line)["type"] == "ADDED"


def test_only_the_first_table_of_a_stream_has_columns() -> None:
    seen, view = change(Op.ADDED, widget(spec={"size": 1}), None), View(WIDGET, V1, TABLE)
    first, later = (decoded(forms.event(view, seen, Op.ADDED, first=first))["object"] for first in (True, False))
    assert len(first["columnDefinitions"]) == 6
    assert later["columnDefinitions"] is None
    assert first["rows"] == later["rows"]


def test_an_object_that_left_a_selector_is_shown_as_it_was_with_the_revision_of_the_change() -> None:
    old, new = widget(revision=7, spec={"size": 1}), widget(revision=8, spec={"size": 2})
    left = decoded(forms.event(View(WIDGET, V1, Form()), change(Op.MODIFIED, new, old), Op.DELETED, first=False))
    assert left["object"]["spec"] == {"size": 1}
    assert left["object"]["metadata"]["resourceVersion"] == "8"


def test_a_deletion_shows_the_last_state() -> None:
    old = widget(revision=7, spec={"size": 1})
    last = msgspec.structs.replace(old, revision=8)
    gone = change(Op.DELETED, last, old)
    assert seen_as(gone, Op.DELETED, V1) is last
    assert (
        decoded(forms.event(View(WIDGET, V1, Form()), gone, Op.DELETED, first=False))["object"]["metadata"]["resourceVersion"]
        == "8"
    )


@pytest.mark.parametrize("initial", [False, True])
def test_a_bookmark_says_its_revision_and_nothing_of_any_object(initial: bool) -> None:
    marks = {"annotations": {"k8s.io/initial-events-end": "true"}} if initial else {}
    plain = decoded(forms.bookmark(View(WIDGET, V1BETA1, Form()), 5, initial=initial))
    assert plain == {
        "type": "BOOKMARK",
        "object": {"kind": "Widget", "apiVersion": f"{GROUP}/v1beta1", "metadata": {"resourceVersion": "5", **marks}},
    }
    part = decoded(forms.bookmark(View(WIDGET, V1, METADATA), 5, initial=initial))
    assert part["object"]["metadata"] == {"resourceVersion": "5", **marks}
    table = decoded(forms.bookmark(View(WIDGET, V1, TABLE), 5, initial=initial, first=True))["object"]
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])
    assert table["rows"][0]["object"]["metadata"] == {"resourceVersion": "5", "creationTimestamp": None, **marks}


def test_an_event_in_its_other_form_is_encoded_from_what_is_stored() -> None:
    newer = EVENT.versions[1]
    record = record_of(
        EVENT, {"metadata": {"name": "e", "namespace": "shop", "uid": "u"}, "message": "m", "involvedObject": {"name": "x"}}, 5
    )
    shown = decoded(forms.object_json(EVENT, newer, record))
    assert (shown["apiVersion"], shown["note"], shown["regarding"]) == ("events.k8s.io/v1", "m", {"name": "x"})
    listed = decoded(forms.many(View(EVENT, newer, Form()), Page([record], 9)))
    assert listed["items"][0]["note"] == "m"
