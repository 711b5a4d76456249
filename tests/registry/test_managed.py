"""Sets of fields, merging by schema, and who owns what: tables of cases, and properties over generated widgets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from registry.builtin import EVENT
from registry.errors import ApiError
from registry.fieldsets import LEAF, NONE, Fields, difference, intersection, parse, paths, render, union
from registry.managed import (
    ANCIENT_CHANGES,
    BEFORE_FIRST_APPLY,
    CLIENT_SIDE_APPLY,
    LAST_APPLIED,
    UPDATE,
    UPDATE_LIMIT,
    Entry,
    FieldConflict,
    Form,
    Forms,
    Writer,
    apply,
    decode,
    encode,
    first_owners,
    stamped,
    track,
)
from registry.merging import (
    compare,
    everything,
    fields_of,
    merge,
    mergeable,
    remove,
    undeclared,
    with_parents,
    without_nulls,
)
from registry.typed import node_of
from tests.registry.widgets import Widget

VERSION = "reference.example.com/v1"
ROOT = mergeable(node_of(Widget))
NOW = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T03:04:06Z"

Document = dict[str, Any]


def form(api_version: str) -> Form | None:
    """Widgets, in one version."""
    return Form(ROOT, lambda document: document, lambda document: document) if api_version == VERSION else None


def by(manager: str, now: str = NOW, subresource: str = "") -> Writer:
    return Writer(manager, VERSION, subresource, now)


def widget(metadata: Document | None = None, status: Document | None = None, **spec: Any) -> Document:
    document: Document = {"apiVersion": VERSION, "kind": "Widget", "metadata": {"name": "a", **(metadata or {})}, "spec": spec}
    return document | ({"status": status} if status is not None else {})


def owned(entries: tuple[Entry, ...], manager: str) -> list[str]:
    return [path for entry in entries if entry.manager == manager for path in paths(entry.fields)]


# Generated documents.

values = st.sampled_from(["", "1", "2"])


def widgets_of(letters: str, *scalars: str) -> st.SearchStrategy[Document]:
    """Widgets whose labels, items and so on have these names, and that have these scalars in their spec."""
    names = st.sampled_from(letters)
    text_maps = st.dictionaries(names, values, max_size=3)
    sets = st.lists(names, unique=True, max_size=3)
    owner = st.fixed_dictionaries({"apiVersion": st.just("v1"), "kind": names, "name": names, "uid": names})
    owners = st.lists(owner, unique_by=lambda reference: reference["uid"], max_size=2)
    state = st.sampled_from(["True", "False"])
    condition = st.fixed_dictionaries({"type": names, "status": state}, optional={"message": values})
    conditions = st.lists(condition, unique_by=lambda item: item["type"], max_size=3)
    metadata = {"labels": text_maps, "annotations": text_maps, "finalizers": sets, "ownerReferences": owners}
    spec = {"tags": sets, "env": text_maps, **dict.fromkeys(scalars, values)}
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(VERSION),
            "kind": st.just("Widget"),
            "metadata": st.fixed_dictionaries({"name": st.just("a")}, optional=metadata),
        },
        optional={
            "spec": st.fixed_dictionaries({}, optional=spec),
            "status": st.fixed_dictionaries({}, optional={"conditions": conditions}),
        },
    )


widgets = widgets_of("abcd", "color", "notes")
steps = st.sampled_from(["f:a", "f:b", 'k:{"type":"A"}', 'v:"a"', "i:0"])
fieldsets: st.SearchStrategy[Fields] = st.recursive(
    st.just(LEAF),
    lambda inner: st.dictionaries(steps, inner, min_size=1, max_size=3).flatmap(
        lambda tree: st.sampled_from([tree, {".": {}, **tree}])
    ),
    max_leaves=8,
).map(lambda tree: {"f:root": tree})
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["metadata", "labels", "spec", "tags", "status", "conditions", "type", "x"]), inner)
    ),
    max_leaves=12,
)


def members(fields: Fields, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The places of a set, as a set of Python."""
    return {place for step, inner in fields.items() for place in ([before] if step == "." else members(inner, (*before, step)))}


def in_order(value: Any) -> Any:
    """A document with all of its lists sorted, since order is nobody's."""
    if isinstance(value, dict):
        return {key: in_order(item) for key, item in value.items()}
    return sorted(map(in_order, value), key=json.dumps) if isinstance(value, list) else value


def without_empty_lists(value: Any) -> Any:
    """A document without its empty lists: an empty list has no items to be owned, so nobody takes it away again."""
    if isinstance(value, dict):
        return {key: without_empty_lists(item) for key, item in value.items() if item != []}
    return value


@contextlib.contextmanager
def unchanged(*documents: Any) -> Iterator[None]:
    """What the body is given, it leaves as it was."""
    before = deepcopy(documents)
    yield
    assert documents == before


# The algebra.


@given(fieldsets, fieldsets)
def test_sets_of_fields_are_sets(one: Fields, other: Fields) -> None:
    with unchanged(one, other):
        assert members(union(one, other)) == members(one) | members(other)
        assert members(difference(one, other)) == members(one) - members(other)
        assert members(intersection(one, other)) == members(one) & members(other)


@given(fieldsets)
def test_a_set_is_read_as_it_was_written(fields: Fields) -> None:
    assert parse(render(fields)) == fields
    assert parse(json.loads(json.dumps(render(fields)))) == fields


@pytest.mark.parametrize(
    "raw",
    [5, None, {"x": {}}, {"f:a": 1}, {"k:[]": {}}, {"k:{": {}}, {"v:": {}}, {"i:x": {}}, {".": {"f:a": {}}}, {"": {}}],
)
def test_what_is_no_set_of_fields_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(raw)


def test_keys_of_items_are_the_same_however_they_are_written() -> None:
    assert parse({'k:{"b": 1,"a":"x"}': {}}) == parse({'k:{"a":"x","b":1}': {}})


def test_a_path_names_keys_values_and_indices() -> None:
    fields = parse({"f:a": {'k:{"b":1,"c":"x"}': {"f:d": {}}, 'v:"e"': {}, "i:2": {}}})
    assert list(paths(fields)) == [".a[2]", '.a[b=1,c="x"].d', '.a[="e"]']


# What a schema says about merging.


def test_an_applied_configuration_owns_leaves_items_and_entries_and_not_the_objects_around_them() -> None:
    config = widget({"labels": {"x": "1"}}, size=1, tags=["a"], env={"A": "1"})
    assert render(fields_of(ROOT, config)) == {
        "f:apiVersion": {},
        "f:kind": {},
        "f:metadata": {"f:name": {}, "f:labels": {"f:x": {}}},
        "f:spec": {"f:size": {}, "f:tags": {'v:"a"': {}}, "f:env": {"f:A": {}}},
    }


def test_items_with_keys_and_empty_objects_are_fields_themselves() -> None:
    config = {"status": {"conditions": [{"type": "A", "status": "True"}]}, "spec": {}}
    item: Document = {".": {}, "f:type": {}, "f:status": {}}
    assert render(fields_of(ROOT, config)) == {"f:status": {"f:conditions": {'k:{"type":"A"}': item}}, "f:spec": {}}


def test_a_list_whose_items_cannot_be_told_apart_is_one_field() -> None:
    for items in ([{"type": "A"}, {"type": "A"}], [{"status": "True"}], ["A"], [None]):
        assert render(fields_of(ROOT, {"status": {"conditions": items}})) == {"f:status": {"f:conditions": {}}}


def test_owner_references_are_merged_by_uid_and_each_replaced_whole() -> None:
    old = {"metadata": {"ownerReferences": [{"uid": "1", "name": "a", "controller": True}]}}
    new = {"metadata": {"ownerReferences": [{"uid": "1", "name": "b"}, {"uid": "2", "name": "c"}]}}
    assert merge(ROOT, old, new) == new
    assert render(compare(ROOT, old, new).modified) == {"f:metadata": {"f:ownerReferences": {'k:{"uid":"1"}': {}}}}


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("a", "b", "ab"),
        ("ax", "ba", "bax"),
        ("xa", "ba", "xba"),
        ("axb", "ba", "xba"),
        ("abx", "ba", "bxa"),
        ("ax", "an", "axn"),
        ("", "ba", "ba"),
        ("ab", "", "ab"),
    ],
)
def test_merged_items_are_in_the_order_of_the_configuration_and_others_keep_their_place(
    live: str, config: str, merged: str
) -> None:
    assert merge(ROOT, {"spec": {"tags": list(live)}}, {"spec": {"tags": list(config)}}) == {"spec": {"tags": list(merged)}}


@given(widgets, widgets)
def test_a_comparison_says_how_to_get_from_the_places_of_one_to_those_of_the_other(old: Document, new: Document) -> None:
    with unchanged(old, new):
        found = compare(ROOT, old, new)
        assert union(difference(everything(ROOT, old), found.removed), found.added) == everything(ROOT, new)
        assert (in_order(old) == in_order(new)) == (not any(found))


@given(widgets, widgets)
def test_a_merge_has_all_of_the_configuration_and_nothing_is_lost(live: Document, config: Document) -> None:
    with unchanged(live, config):
        merged = merge(ROOT, live, config)
    assert merge(ROOT, merged, config) == merged
    places = members(everything(ROOT, merged))
    assert places == members(everything(ROOT, live)) | members(everything(ROOT, config))
    assert not compare(ROOT, merged, merge(ROOT, merged, config)).written


@given(widgets, widgets)
def test_what_is_removed_is_gone_and_all_else_is_there(document: Document, other: Document) -> None:
    gone = intersection(fields_of(ROOT, document), fields_of(ROOT, other))
    with unchanged(document):
        left = remove(ROOT, document, gone)
    kept = members(everything(ROOT, left))
    assert not kept & members(gone)
    below = {place for place in members(everything(ROOT, document)) for end in members(gone) if place[: len(end)] == end}
    assert kept == members(everything(ROOT, document)) - below


def test_fields_that_the_schema_names_come_with_what_is_below_them() -> None:
    fields = parse({"f:spec": {"f:env": {"f:A": {}}}})
    assert render(with_parents(ROOT, fields)) == {"f:spec": {".": {}, "f:env": {".": {}, "f:A": {}}}}


def test_unknown_fields_are_found_wherever_they_are() -> None:
    config = {"x": 1, "metadata": {"y": 1, "labels": {"z": "1"}}, "status": {"conditions": [{"type": "A", "w": 1}]}}
    assert list(undeclared(ROOT, config)) == ["x", "metadata.y", "status.conditions[0].w"]


def test_nulls_say_nothing() -> None:
    config = widget({"creationTimestamp": None}, env={"A": None, "B": "1"}, notes=None)
    assert without_nulls(ROOT, config) == widget(env={"B": "1"})


# Who owns what.


def test_the_first_apply_leaves_what_is_there_to_those_who_were_before() -> None:
    entries = first_owners(widget({"labels": {"a": "1"}}, size=1), None, form, by("one"))
    assert owned(entries, BEFORE_FIRST_APPLY) == [".metadata.labels", ".metadata.labels.a", ".spec", ".spec.size"]


def test_what_kubectl_applied_by_itself_is_its_own() -> None:
    annotation = {"annotations": {LAST_APPLIED: "{...}"}}
    entries = first_owners(widget(annotation, size=1, notes="n"), widget(size=1), form, by("one"))
    taken = f".metadata.annotations.{LAST_APPLIED}"
    assert owned(entries, CLIENT_SIDE_APPLY) == [".metadata.annotations", taken, ".spec", ".spec.size"]
    assert owned(entries, BEFORE_FIRST_APPLY) == [".spec.notes"]


def test_another_value_for_the_field_of_somebody_else_is_a_conflict() -> None:
    done = apply({}, widget(size=1, notes="n", color="red"), (), form, by("one"))
    with pytest.raises(FieldConflict) as refused:
        apply(done.document, widget(size=2, notes="n", color="blue"), done.entries, form, by("two"))
    assert refused.value.message == 'Apply failed with 2 conflicts: conflicts with "one":\n- .spec.color\n- .spec.size'
    assert [cause.field for cause in refused.value.causes] == [".spec.color", ".spec.size"]


def test_force_takes_the_fields_over() -> None:
    done = apply({}, widget(size=1, notes="n"), (), form, by("one"))
    done = apply(done.document, widget(size=2), done.entries, form, by("two"), allowed=None)
    assert done.document["spec"] == {"size": 2, "notes": "n"}
    assert owned(done.entries, "one") == [".spec.notes"]
    assert owned(done.entries, "two") == [".spec.size"]


def test_allowed_fields_are_taken_without_force() -> None:
    done = apply({}, widget(size=1), (), form, by("one"))
    assert apply(done.document, widget(size=2), done.entries, form, by("two"), allowed=everything(ROOT, widget(size=9)))
    with pytest.raises(FieldConflict):
        apply(done.document, widget(size=2), done.entries, form, by("two"), allowed=everything(ROOT, widget(notes="x")))


def test_a_conflict_with_an_update_names_the_version_and_with_a_subresource_its_name() -> None:
    entries = (
        Entry("one", UPDATE, VERSION, "", NOW, parse({"f:spec": {"f:size": {}}})),
        Entry("two", "Apply", VERSION, "status", NOW, parse({"f:spec": {"f:size": {}}})),
    )
    with pytest.raises(FieldConflict) as refused:
        apply(widget(size=1), widget(size=2), entries, form, by("three"))
    assert [cause.message for cause in refused.value.causes] == [
        f'conflict with "one" using {VERSION}',
        'conflict with "two" with subresource "status"',
    ]


def test_what_is_applied_no_more_goes_unless_somebody_else_has_it_too() -> None:
    done = apply(
        {}, widget({"labels": {"x": "1", "y": "2"}}, size=1, env={"A": "1", "B": "2"}, tags=["a", "b"]), (), form, by("one")
    )
    done = apply(done.document, widget(size=1, env={"B": "2"}), done.entries, form, by("two"))
    done = apply(done.document, widget({"labels": {"y": "2"}}, size=1, tags=["b"]), done.entries, form, by("one"))
    assert done.document == widget({"labels": {"y": "2"}}, size=1, env={"B": "2"}, tags=["b"])


def test_a_write_takes_what_it_changes_and_nobody_owns_what_is_gone() -> None:
    done = apply({}, widget(size=1, notes="n", env={"A": "1", "B": "2"}), (), form, by("one"))
    entries = track(done.document, widget(size=2, env={"B": "2", "C": "3"}), done.entries, form, by("writer"))
    assert owned(entries, "one") == [".spec.env.B"]
    assert owned(entries, "writer") == [".spec.env.C", ".spec.size"]


def test_a_write_that_only_removes_leaves_no_trace_of_its_own() -> None:
    done = apply({}, widget(size=1, notes="n"), (), form, by("one"))
    entries = track(done.document, widget(size=1), done.entries, form, by("writer"))
    assert [entry.manager for entry in entries] == ["one"]


def test_those_who_update_are_told_apart_by_version_and_subresource_and_those_who_apply_by_subresource() -> None:
    entries = track(widget(size=1), widget(size=2), (), form, by("one"))
    entries = track(widget(size=2), widget(status={"phase": "p"}, size=2), entries, form, by("one", LATER, "status"))
    assert [(entry.subresource, entry.time) for entry in entries] == [("", NOW), ("status", LATER)]
    done = apply(widget(size=2), widget(notes="n"), entries, form, by("one"))
    assert len(done.entries) == 3


def test_only_what_changed_something_has_a_new_time() -> None:
    first = stamped(apply({}, widget(size=1), (), form, by("one")).entries, by("one"))
    again = apply(widget(size=1), widget(size=1), first, form, by("two", LATER)).entries
    assert {entry.manager: entry.time for entry in again} == {"one": NOW, "two": ""}
    assert {entry.manager: entry.time for entry in stamped(again, by("two", LATER))} == {"one": NOW, "two": LATER}


def test_the_oldest_updates_are_put_together_when_there_are_too_many() -> None:
    document, entries = widget(env={}), first_owners(widget(env={}), None, form, by("one"))
    for number in range(UPDATE_LIMIT + 5):
        new = widget(env={**document["spec"]["env"], f"k{number}": "1"})
        entries = track(document, new, entries, form, by(f"m{number}", f"2026-01-02T03:04:{10 + number}Z"))
        document = new
    assert len(entries) == UPDATE_LIMIT
    assert ".spec.env.k0" in owned(entries, ANCIENT_CHANGES)
    assert owned(entries, f"m{UPDATE_LIMIT + 4}") == [f".spec.env.k{UPDATE_LIMIT + 4}"]
    everybody: Fields = NONE
    for entry in entries:
        everybody = union(everybody, entry.fields)
    assert {f".spec.env.k{number}" for number in range(UPDATE_LIMIT + 5)} <= set(paths(everybody))


def test_what_was_set_in_a_version_that_is_served_no_more_is_forgotten() -> None:
    entries = (Entry("old", "Apply", "reference.example.com/v0", "", NOW, parse({"f:spec": {"f:size": {}}})),)
    assert track(widget(size=1), widget(size=2), entries, form, by("one"))[0].manager == "one"
    assert [entry.manager for entry in apply(widget(size=1), widget(size=2), entries, form, by("two")).entries] == ["two"]


def test_managed_fields_are_read_as_they_were_written() -> None:
    entries = apply({}, widget({"labels": {"x": "1"}}, size=1, tags=["a"]), (), form, by("one")).entries
    entries = track(widget(), widget(status={"phase": "p"}), entries, form, by("two", LATER, "status"))
    assert set(map(repr, decode(encode(entries)))) == set(map(repr, entries))
    assert [entry["manager"] for entry in encode(entries)] == ["one", "two"]


@pytest.mark.parametrize(
    "wrong", [{"operation": "Delete"}, {"operation": "Apply", "fieldsV1": 5}, {"operation": "Apply", "fieldsType": "FieldsV9"}, {}]
)
def test_entries_that_make_no_sense_are_refused(wrong: Document) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode([{"manager": "one", **wrong}])


def events(here: str) -> Forms:
    """Events, as seen from one of their two versions, which name fields differently."""
    served = {version.api_version: version for version in EVENT.versions}

    def convert(source: str, wanted: str, document: Document) -> Document:
        if source == wanted:
            return document
        ways = served["events.k8s.io/v1"].ways
        assert ways is not None
        return ways.convert(document, wanted) if document else document

    def find(api_version: str) -> Form | None:
        root = mergeable(served[api_version].schema.node)
        return Form(
            root, lambda document: convert(here, api_version, document), lambda document: convert(api_version, here, document)
        )

    return find


def test_versions_of_another_shape_conflict_and_remove_in_their_own_terms() -> None:
    metadata = {"name": "e", "namespace": "n"}
    core = {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "message": "m", "reason": "r", "action": "a"}
    done = apply(core, core, (), events("v1"), Writer("one", "v1", "", NOW))
    ways = EVENT.storage.ways
    assert ways is not None
    newer = ways.convert(done.document, "events.k8s.io/v1")
    config = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": metadata, "note": "other"}
    two = Writer("two", "events.k8s.io/v1", "", NOW)
    with pytest.raises(FieldConflict) as refused:
        apply(newer, config, done.entries, events("events.k8s.io/v1"), two)
    assert [cause.field for cause in refused.value.causes] == [".message"]
    done = apply(newer, {**config, "note": "m"}, done.entries, events("events.k8s.io/v1"), two)
    minimal = {"apiVersion": "v1", "kind": "Event", "metadata": metadata}
    done = apply(ways.convert(done.document, "v1"), minimal, done.entries, events("v1"), Writer("one", "v1", "", NOW))
    assert done.document["message"] == "m"
    assert "reason" not in done.document


# Properties of apply.


@given(widgets, widgets)
def test_to_apply_the_same_again_changes_nothing(live: Document, config: Document) -> None:
    entries = first_owners(live, None, form, by("me"))
    with unchanged(live, config, entries):
        once = apply(live, config, entries, form, by("me"), allowed=None)
    again = apply(once.document, config, once.entries, form, by("me", LATER))
    assert again.document == once.document
    assert encode(again.entries) == encode(once.entries)


@given(widgets_of("ab", "color"), widgets_of("cd", "notes"))
def test_two_who_apply_different_fields_both_keep_theirs(mine: Document, yours: Document) -> None:
    done = apply({}, mine, (), form, by("one"))
    done = apply(done.document, yours, done.entries, form, by("two"))
    done = apply(done.document, mine, done.entries, form, by("one"))
    assert in_order(done.document) == in_order(merge(ROOT, mine, yours))
    for manager, own in (("one", mine), ("two", yours)):
        untracked = {".apiVersion", ".kind", ".metadata.name"}
        assert set(owned(done.entries, manager)) == set(paths(fields_of(ROOT, own))) - untracked


@given(widgets, widgets.map(without_empty_lists))
def test_to_apply_and_take_it_back_leaves_what_was_there(live: Document, config: Document) -> None:
    entries = first_owners(live, None, form, by("me"))
    try:
        done = apply(live, config, entries, form, by("me"))
    except FieldConflict:
        reject()  # to take back what was forced does not bring the old value back
    minimal = {key: config[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "a"}}
    back = apply(done.document, minimal, done.entries, form, by("me"))
    assert in_order(back.document) == in_order(live)
    assert encode(back.entries) == encode(entries)


@given(anything, anything, anything)
def test_a_configuration_of_any_form_does_no_harm(live: Any, config: Any, other: Any) -> None:
    documents = [{"metadata": {"name": "a"}, "spec": value, "status": value} for value in (live, config, other)]
    with unchanged(*documents), contextlib.suppress(ApiError):
        entries = first_owners(documents[0], documents[2], form, by("one"))
        done = apply(documents[0], documents[1], entries, form, by("me"))
        done = apply(done.document, documents[2], done.entries, form, by("me"), allowed=None)
        json.dumps(encode(track(done.document, documents[0], done.entries, form, by("two"))))
        list(undeclared(ROOT, without_nulls(ROOT, documents[1])))


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["operation", "fieldsV1", "fieldsType", "x"]), anything | st.just("Apply")), max_size=3
    )
)
def test_entries_of_any_form_are_read_or_refused(raw: list[Document]) -> None:
    with contextlib.suppress(ValueError):
        encode(decode(raw))


def test_deep_documents_are_merged_and_compared() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(250):
        old, new = {"a": old}, {"a": new}
    done = apply({"spec": {"env": old}}, {"spec": {"env": new}}, (), form, by("one"))
    assert decode(encode(track(done.document, {"spec": {"env": old}}, done.entries, form, by("two"))))
