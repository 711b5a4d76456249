"""Bodies: type before value, what is unknown, and what is dropped, in the words of the Kubernetes API."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver import intake
from apiserver.options import WriteOptions
from apiserver.target import Target, resolve
from registry.builtin import KINDS
from registry.documents import Malformed
from registry.errors import ApiError, BadRequest, Invalid, UnsupportedMediaType
from registry.plugin import build
from tests.apiserver.world import refusal
from tests.plugins.reference import GROUP, plugin

REGISTRY = build([plugin], KINDS)
WIDGETS = resolve(REGISTRY, ["apis", GROUP, "v1", "namespaces", "shop", "widgets"])
CONFIGMAPS = resolve(REGISTRY, ["api", "v1", "namespaces", "shop", "configmaps"])
WARN, STRICT, IGNORE = (WriteOptions(field_validation=what) for what in ("Warn", "Strict", "Ignore"))


def read(body: bytes | dict[str, Any], target: Target = WIDGETS, options: WriteOptions = WARN, media: str = "") -> intake.Intake:
    return intake.read(REGISTRY, target, body, media, options)


def widget(rest: str = '"spec":{"size":1}') -> bytes:
    return f'{{"apiVersion":"{GROUP}/v1","kind":"Widget","metadata":{{"name":"a"}},{rest}}}'.encode()


def test_a_body_becomes_a_document_with_known_fields_and_defaults() -> None:
    taken = read(widget())
    assert taken.document["spec"] == {"size": 1, "color": "red", "replicas": 1}
    assert (taken.causes, taken.warnings) == ([], [])


def test_yaml_is_read_like_json() -> None:
    text = f"apiVersion: {GROUP}/v1\nkind: Widget\nmetadata: {{name: a}}\nspec:\n  size: 1\n".encode()
    assert read(text, media="application/yaml").document == read(widget()).document


def test_a_document_that_is_handed_in_is_not_changed() -> None:
    document = {"metadata": {"name": "a", "unknown": 1}, "spec": {"size": 1, "unknown": 2}}
    before = copy.deepcopy(document)
    assert read(document).document["kind"] == "Widget"
    assert document == before


UNKNOWN = widget('"spec":{"size":1,"x":1,"notes":"a","notes":"b"},"extra":true')
SAID = ['duplicate field "spec.notes"', 'unknown field "extra"', 'unknown field "spec.x"']


def test_what_is_unknown_or_twice_is_warned_of() -> None:
    taken = read(UNKNOWN)
    assert taken.warnings == SAID
    assert taken.document["spec"] == {"size": 1, "notes": "b", "color": "red", "replicas": 1}
    assert "extra" not in taken.document


def test_what_is_unknown_or_twice_is_refused_if_the_client_says_so() -> None:
    with pytest.raises(BadRequest, match="strict decoding error: ") as caught:
        read(UNKNOWN, options=STRICT)
    assert all(said in caught.value.message for said in SAID)


def test_what_is_unknown_or_twice_is_dropped_in_silence_if_the_client_says_so() -> None:
    assert read(UNKNOWN, options=IGNORE).warnings == []


WRONG_TYPES: list[tuple[bytes, type[ApiError], str]] = [
    (b"{}", BadRequest, "the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing in '{}' ({})"),
    (b'{"kind":"Widget"}', BadRequest, f"the API version in the data () does not match the expected API version ({GROUP}/v1)"),
    (
        f'{{"kind":"Widget","apiVersion":"{GROUP}/v1beta1"}}'.encode(),
        BadRequest,
        f"the API version in the data ({GROUP}/v1beta1) does not match the expected API version ({GROUP}/v1)",
    ),
    (
        f'{{"kind":"Gadget","apiVersion":"{GROUP}/v1","metadata":{{"name":"a"}}}}'.encode(),
        Invalid,
        f'Gadget.{GROUP} "a" is invalid: kind: Invalid value: "Gadget": must be Widget',
    ),
    (b'{"kind":5,"apiVersion":"x"}', BadRequest, "couldn't get version/kind; json parse error: json: cannot unmarshal number"),
    (f'{{"kind":"Widget","apiVersion":"{GROUP}/v1","metadata":[]}}'.encode(), BadRequest, "cannot be handled as a Widget"),
    (b"[]", BadRequest, "the object provided is unrecognized (must be of type Widget)"),
    (b"{", BadRequest, "the object provided is unrecognized (must be of type Widget)"),
    (b"", BadRequest, "the object provided is unrecognized (must be of type Widget)"),
]


@pytest.mark.parametrize(("body", "expected", "said"), WRONG_TYPES, ids=[body[:30].decode() for body, *_ in WRONG_TYPES])
def test_a_body_of_another_type_is_refused(body: bytes, expected: type[ApiError], said: str) -> None:
    with pytest.raises(expected) as caught:
        read(body)
    assert said in caught.value.message


def test_a_version_of_the_group_that_is_not_served_warns_of_all_its_fields() -> None:
    body = f'{{"kind":"Widget","apiVersion":"{GROUP}/v9","metadata":{{"name":"a"}},"spec":{{}},"more":1}}'.encode()
    with pytest.raises(BadRequest) as caught:
        read(body)
    assert caught.value.warnings == ('unknown field "more"', 'unknown field "spec"')


def test_builtin_kinds_get_their_type_from_the_path() -> None:
    document = read(b'{"metadata":{"name":"a"}}', CONFIGMAPS).document
    assert (document["kind"], document["apiVersion"]) == ("ConfigMap", "v1")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"kind":"Secret","apiVersion":"v1"}', "converting (v1.Secret) to (core.ConfigMap): unknown conversion"),
        (b'{"kind":"Nothing"}', 'no kind "Nothing" is registered for version "v1"'),
        (b'{"apiVersion":"v9"}', 'no kind "ConfigMap" is registered for version "v9"'),
        (b'{"kind":{"a":1}}', "couldn't get version/kind; json parse error: json: cannot unmarshal object"),
        (b'{"data":{"a":1}}', "cannot be handled as a ConfigMap"),
    ],
)
def test_builtin_kinds_are_not_made_of_others(body: bytes, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(body, CONFIGMAPS)
    assert said in caught.value.message


def test_all_that_the_schema_has_against_a_body_is_found_and_left_to_be_reported() -> None:
    taken = read(widget('"spec":{"size":0,"color":"pink","notes":"%s"}' % ("x" * 65)))
    assert sorted(cause.field for cause in taken.causes) == ["spec.color", "spec.notes", "spec.size"]


def test_owner_references_that_are_there_twice_count_once_with_a_warning() -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u"}
    taken = read({"metadata": {"name": "a", "ownerReferences": [owner, owner]}, "spec": {"size": 1}})
    assert taken.document["metadata"]["ownerReferences"] == [owner]
    assert "duplicate entries" in taken.warnings[0]


def test_other_media_types_are_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        intake.parse_body(b"{}", "application/vnd.kubernetes.protobuf")
    with pytest.raises(Malformed):
        intake.parse_body(b"{", "application/json")


def test_what_a_patch_made_is_refused_without_all_of_it() -> None:
    refused = intake.bad_patch({"spec": "x" * 5_000}, "no good")
    assert len(refused.message) < 1_200
    assert refused.message.endswith("no good")


parts = st.sampled_from(
    [
        b'{"kind":"Widget",',
        b'"apiVersion":"v1",',
        b'"metadata":',
        b'{"name":"a"}',
        b"}",
        b"{",
        b"[",
        b"1e999",
        b"\xff",
        b": ",
        b"a\n",
        b"- ",
        b"null",
    ]
)


@given(st.one_of(st.binary(), st.lists(parts, max_size=8).map(b"".join)), st.sampled_from(["", "application/yaml"]), st.booleans())
def test_any_body_is_understood_or_refused(body: bytes, media: str, builtin: bool) -> None:
    error = refusal(lambda: read(body, CONFIGMAPS if builtin else WIDGETS, media=media))
    assert error is None or error.code in (400, 422)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "size", "labels", "x", "ownerReferences"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["metadata", "spec", "status", "data", "x"]), values),
    st.sampled_from(["Warn", "Strict", "Ignore"]),
)
def test_any_document_is_understood_or_refused(document: dict[str, Any], validation: str) -> None:
    for target in (WIDGETS, CONFIGMAPS):
        error = refusal(partial(read, document, target, WriteOptions(field_validation=validation)))
        assert error is None or error.code in (400, 422)
