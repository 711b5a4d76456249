"""ObjectMeta: reading, what the server decides, rules, and the words for what breaks them."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import metadata as meta
from registry.errors import Invalid
from registry.names import dns1123_label, path_segment

UID = "11111111-2222-3333-4444-555555555555"
OTHER_UID = "22222222-2222-3333-4444-555555555555"
NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
NO_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def read(raw: Any) -> meta.Metadata:
    return meta.read(raw).metadata


def broken(raw: dict[str, Any], **options: Any) -> list[str]:
    """The causes of a create in namespace `ns`, as texts."""
    causes = meta.validate(read({"name": "ref-a", "namespace": "ns", **raw}), **{"namespaced": True, **options})
    return [str(cause) for cause in causes]


def owner(**changes: Any) -> dict[str, Any]:
    return {"apiVersion": "reference.example.com/v1", "kind": "Widget", "name": "x", "uid": UID, **changes}


def test_unknown_fields_are_dropped_at_any_depth_and_named_by_their_path() -> None:
    found = meta.read(
        {"name": "ref-a", "unknownMeta": "x", "ownerReferences": [owner(extra=1)], "managedFields": [{"manager": "m", "x": {}}]}
    )
    assert found.metadata == {"name": "ref-a", "ownerReferences": [owner()], "managedFields": [{"manager": "m"}]}
    assert found.unknown == ("metadata.unknownMeta", "metadata.ownerReferences[0].extra", "metadata.managedFields[0].x")


def test_what_is_null_or_empty_is_left_out() -> None:
    empty: dict[str, Any] = {
        "creationTimestamp": None,
        "namespace": "",
        "generation": 0,
        "labels": {},
        "annotations": None,
        "finalizers": [],
        "ownerReferences": [],
        "selfLink": "/x",
    }
    assert read(empty) == {}
    assert read(None) == {}
    assert read({"labels": {"a": None}, "deletionGracePeriodSeconds": 0}) == {"labels": {"a": ""}, "deletionGracePeriodSeconds": 0}


def test_times_are_normalised() -> None:
    assert read({"creationTimestamp": "2026-01-02T04:04:05.5+01:00"}) == {"creationTimestamp": "2026-01-02T03:04:05Z"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("text", "json: cannot unmarshal string into Go value of type v1.ObjectMeta"),
        ([], "json: cannot unmarshal array into Go value of type v1.ObjectMeta"),
        ({"name": 5}, "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"),
        ({"labels": {"a": 5}}, "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"),
        ({"labels": "a"}, "json: cannot unmarshal string into Go struct field ObjectMeta.labels of type map[string]string"),
        ({"finalizers": {}}, "json: cannot unmarshal object into Go struct field ObjectMeta.finalizers of type []string"),
        ({"finalizers": [True]}, "json: cannot unmarshal bool into Go struct field ObjectMeta.finalizers of type string"),
        ({"generation": "1"}, "json: cannot unmarshal string into Go struct field ObjectMeta.generation of type int64"),
        ({"generation": 1.5}, "json: cannot unmarshal number 1.5 into Go struct field ObjectMeta.generation of type int64"),
        ({"generation": True}, "json: cannot unmarshal bool into Go struct field ObjectMeta.generation of type int64"),
        (
            {"generation": 1 << 63},
            "json: cannot unmarshal number 9223372036854775808 into Go struct field ObjectMeta.generation of type int64",
        ),
        (
            {"ownerReferences": [{"name": 5}]},
            "json: cannot unmarshal number into Go struct field OwnerReference.ownerReferences.name of type string",
        ),
        (
            {"ownerReferences": [{"controller": "yes"}]},
            "json: cannot unmarshal string into Go struct field OwnerReference.ownerReferences.controller of type bool",
        ),
        (
            {"ownerReferences": ["x"]},
            "json: cannot unmarshal string into Go struct field ObjectMeta.ownerReferences of type v1.OwnerReference",
        ),
        ({"creationTimestamp": "now"}, 'parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006"'),
    ],
)
def test_a_wrong_type_is_told_as_a_go_decoder_tells_it(raw: Any, message: str) -> None:
    with pytest.raises(meta.MetadataTypeError) as refused:
        meta.read(raw)
    assert str(refused.value) == message


def test_a_wrong_type_in_a_built_in_kind_is_told_with_the_whole_path() -> None:
    with pytest.raises(meta.MetadataTypeError, match=re.escape("Go struct field ObjectMeta.metadata.name of type string")):
        meta.read({"name": 5}, "ConfigMap")
    with pytest.raises(meta.MetadataTypeError, match=re.escape("Go struct field ConfigMap.metadata of type v1.ObjectMeta")):
        meta.read("text", "ConfigMap")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "uid", "kind", "time", "x"]), inner),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        "name",
        "generateName",
        "namespace",
        "uid",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "managedFields",
        "generation",
        "creationTimestamp",
        "x",
    ]
)


@given(st.dictionaries(fields, json_values, max_size=4))
def test_any_metadata_is_read_or_refused_and_what_is_read_can_be_validated(raw: dict[str, Any]) -> None:
    before = copy.deepcopy(raw)
    try:
        found = meta.read(raw)
    except meta.MetadataTypeError:
        return
    assert raw == before
    assert meta.read(found.metadata) == (found.metadata, ())
    kept = copy.deepcopy(found.metadata)
    metadata, _ = meta.dedup_owners(meta.for_create(found.metadata))
    meta.validate(metadata, namespaced=True)
    meta.validate_update(meta.inherit(found.metadata, {"name": "a"}), {"name": "a"})
    assert found.metadata == kept


def test_good_metadata_has_no_causes() -> None:
    good = {
        "labels": {"app": "a", "example.com/x": ""},
        "annotations": {"Example.COM/note": "any text: {}\n"},
        "finalizers": ["plain", "example.com/hold"],
        "ownerReferences": [owner(controller=True), owner(uid=OTHER_UID)],
    }
    assert broken(good) == []


def test_everything_that_is_wrong_is_reported_together_and_in_order() -> None:
    raw = {
        "labels": {"bad key": "x", "ok": "bad value!"},
        "annotations": {"also bad": ""},
        "finalizers": ["not ok!"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "", "uid": ""}],
    }
    assert broken(raw) == [
        f'metadata.labels: Invalid value: "bad key": {NAME_PART}',
        f'metadata.labels: Invalid value: "bad value!": {NO_VALUE}',
        f'metadata.annotations: Invalid value: "also bad": {NAME_PART}',
        'metadata.ownerReferences.name: Invalid value: "": must not be empty',
        'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
        f'metadata.finalizers: Invalid value: "not ok!": {NAME_PART}',
    ]


def test_a_missing_name_is_told_as_name_or_generate_name() -> None:
    causes = meta.validate({"namespace": "ns"}, namespaced=True)
    said = 'Widget.reference.example.com "" is invalid: metadata.name: Required value: name or generateName is required'
    assert Invalid("Widget", "reference.example.com", "", causes).message == said


@pytest.mark.parametrize(
    ("raw", "options", "causes"),
    [
        ({"name": "Ref_Bad"}, {}, [f'metadata.name: Invalid value: "Ref_Bad": {SUBDOMAIN}']),
        (
            {"name": "ref.dotted"},
            {"name_rule": dns1123_label},
            ['metadata.name: Invalid value: "ref.dotted": must not contain dots'],
        ),
        ({"name": "system:x"}, {"name_rule": path_segment}, []),
        (
            {"name": "Bad_x", "generateName": "Bad_"},
            {},
            [
                f'metadata.generateName: Invalid value: "Bad_": {SUBDOMAIN}',
                f'metadata.name: Invalid value: "Bad_x": {SUBDOMAIN}',
            ],
        ),
        ({"generateName": "ref-"}, {}, []),
        ({"namespace": ""}, {}, ["metadata.namespace: Required value"]),
        ({}, {"namespaced": False}, ["metadata.namespace: Forbidden: not allowed on this type"]),
        ({"namespace": ""}, {"namespaced": False}, []),
        ({"labels": {"a": "x" * 64}}, {}, [f'metadata.labels: Invalid value: "{"x" * 64}": must be no more than 63 bytes']),
        ({"annotations": {"a": "x" * (256 * 1024 - 1)}}, {}, []),
        ({"annotations": {"a": "x" * 256 * 1024}}, {}, ["metadata.annotations: Too long: may not be more than 262144 bytes"]),
        ({"labels": {"-": "x"}}, {"field": "spec.meta"}, [f'spec.meta.labels: Invalid value: "-": {NAME_PART}']),
        ({"generation": -1}, {}, ["metadata.generation: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {"finalizers": ["orphan", "foregroundDeletion"]},
            {},
            [
                (
                    'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: '
                    "finalizer orphan and foregroundDeletion cannot be both set"
                )
            ],
        ),
    ],
)
def test_each_rule_of_a_create_has_its_words(raw: dict[str, Any], options: dict[str, Any], causes: list[str]) -> None:
    assert broken(raw, **options) == causes


@pytest.mark.parametrize(
    ("owners", "causes"),
    [
        (
            [{}],
            [
                'metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty',
                'metadata.ownerReferences.kind: Invalid value: "": must not be empty',
                'metadata.ownerReferences.name: Invalid value: "": must not be empty',
                'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
            ],
        ),
        (
            [owner(apiVersion="a/b/c")],
            ['metadata.ownerReferences.apiVersion: Invalid value: "a/b/c": version must not be empty'],
        ),
        (
            [owner(controller=True), owner(name="y", uid=OTHER_UID, controller=True)],
            [
                (
                    'metadata.ownerReferences: Invalid value: [{"apiVersion":"reference.example.com/v1","kind":"Widget","name":"x",'
                    f'"uid":"{UID}","controller":true}},{{"apiVersion":"reference.example.com/v1","kind":"Widget","name":"y",'
                    f'"uid":"{OTHER_UID}","controller":true}}]: Only one reference can have Controller set to true. '
                    'Found "true" in references for Widget/x and Widget/y'
                )
            ],
        ),
        (
            [{"uid": UID, "name": "x", "kind": "Event", "apiVersion": "v1"}],
            [
                (
                    f'metadata.ownerReferences: Invalid value: {{"apiVersion":"v1","kind":"Event","name":"x","uid":"{UID}"}}: '
                    "/v1, Kind=Event is disallowed from being an owner"
                )
            ],
        ),
    ],
)
def test_owner_references_must_be_whole_have_one_controller_and_an_owner_that_can_own(owners: list[Any], causes: list[str]) -> None:
    assert broken({"ownerReferences": owners}) == causes


def test_an_owner_reference_that_is_there_twice_is_kept_once_with_a_warning() -> None:
    metadata = read({"ownerReferences": [owner(), owner(uid=OTHER_UID), dict(reversed(owner().items()))]})
    result, warnings = meta.dedup_owners(metadata)
    assert result["ownerReferences"] == [owner(), owner(uid=OTHER_UID)]
    assert warnings == (
        (
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject "
            f"such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {UID}"
        ),
    )
    different = read({"ownerReferences": [owner(), owner(controller=False)]})
    assert meta.dedup_owners(different) == (different, ())


def test_a_finalizer_without_a_domain_warns_once_and_only_when_it_is_new() -> None:
    warning = (
        'metadata.finalizers: "plain": prefer a domain-qualified finalizer name to avoid accidental conflicts with other '
        "finalizer writers"
    )
    finalizers = {"finalizers": ["plain", "example.com/hold", "orphan", "foregroundDeletion"]}
    assert meta.finalizer_warnings(finalizers) == (warning,)
    assert meta.finalizer_warnings(finalizers, {"finalizers": ["plain"]}) == ()


STORED = {
    "name": "ref-a",
    "namespace": "ns",
    "uid": UID,
    "resourceVersion": "5",
    "generation": 2,
    "creationTimestamp": "2026-01-02T03:04:05Z",
    "labels": {"a": "b"},
    "managedFields": [{"manager": "m"}],
}


def test_a_create_drops_what_only_the_server_sets() -> None:
    sent = {**STORED, "deletionTimestamp": "2001-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}
    kept = {"name", "namespace", "resourceVersion", "labels", "managedFields"}
    assert set(meta.for_create(sent)) == kept
    assert "managedFields" not in meta.for_create({"name": "a", "managedFields": [{}]})


def test_an_update_keeps_what_the_stored_object_knows_better() -> None:
    sent = {"name": "ref-a", "resourceVersion": "4", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9}
    updated = meta.inherit(sent, STORED)
    assert updated == {**{key: value for key, value in STORED.items() if key != "labels"}, "resourceVersion": "4"}
    assert meta.validate_update(updated, STORED) == []


def test_an_update_can_give_up_managed_fields() -> None:
    assert "managedFields" not in meta.inherit({"name": "ref-a", "managedFields": []}, STORED)
    assert "managedFields" not in meta.inherit({"name": "ref-a", "managedFields": [{}]}, STORED)


def test_a_deletion_cannot_be_taken_back_nor_its_time_be_changed() -> None:
    deleting = {**STORED, "deletionTimestamp": "2026-01-03T00:00:00Z", "deletionGracePeriodSeconds": 0}
    for sent in ({"name": "ref-a"}, {"name": "ref-a", "deletionTimestamp": "2001-01-01T00:00:00Z"}):
        updated = meta.inherit(sent, deleting)
        assert (updated["deletionTimestamp"], updated["deletionGracePeriodSeconds"]) == ("2026-01-03T00:00:00Z", 0)
        assert meta.validate_update(updated, deleting) == []


@pytest.mark.parametrize(
    ("sent", "causes"),
    [
        ({"uid": OTHER_UID}, [f'metadata.uid: Invalid value: "{OTHER_UID}": field is immutable']),
        (
            {"deletionTimestamp": "2001-01-01T00:00:00Z", "deletionGracePeriodSeconds": 3},
            [
                'metadata.deletionTimestamp: Invalid value: "2001-01-01T00:00:00Z": field is immutable',
                "metadata.deletionGracePeriodSeconds: Invalid value: 3: field is immutable",
            ],
        ),
        ({"name": "ref-b"}, ['metadata.name: Invalid value: "ref-b": field is immutable']),
        ({"namespace": "other"}, ['metadata.namespace: Invalid value: "other": field is immutable']),
        ({"labels": {"a": "!"}}, [f'metadata.labels: Invalid value: "!": {NO_VALUE}']),
        ({"generateName": "x-", "labels": {"c": "d"}, "annotations": {"e": "f"}, "finalizers": ["example.com/hold"]}, []),
    ],
)
def test_what_an_update_may_not_change_has_its_words(sent: dict[str, Any], causes: list[str]) -> None:
    updated = meta.inherit({"name": "ref-a", **sent}, STORED)
    assert [str(cause) for cause in meta.validate_update(updated, STORED)] == causes


def test_while_deleting_finalizers_may_go_and_none_may_come() -> None:
    deleting = {**STORED, "deletionTimestamp": "2026-01-03T00:00:00Z", "finalizers": ["example.com/hold", "example.com/more"]}
    fewer = meta.inherit({"name": "ref-a", "finalizers": ["example.com/more"]}, deleting)
    assert meta.validate_update(fewer, deleting) == []
    another = meta.inherit({"name": "ref-a", "finalizers": ["example.com/hold", "reference.example.com/new"]}, deleting)
    assert [str(cause) for cause in meta.validate_update(another, deleting)] == [
        (
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
            'found new finalizers []string{"reference.example.com/new"}'
        )
    ]
