"""The Scale of an object: a view of its replicas, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver import scaling
from registry.builtin import KINDS
from registry.errors import BadRequest, Invalid
from registry.plugin import build
from tests.apiserver.world import refusal
from tests.plugins.reference import GROUP, plugin

KIND = build([plugin], KINDS).of_resource(f"widgets.{GROUP}")
assert KIND is not None
WIDGET = KIND
METADATA = {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": "5", "creationTimestamp": "2001-01-01T00:00:00Z"}


def widget(**fields: Any) -> dict[str, Any]:
    return {"metadata": {**METADATA, "labels": {"a": "b"}, "generation": 3}, **fields}


def test_a_scale_shows_replicas_wanted_and_actual() -> None:
    shown = scaling.scale_of(WIDGET, widget(spec={"replicas": 3}, status={"replicas": 2, "selector": "a=b"}))
    assert shown == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": METADATA,
        "spec": {"replicas": 3},
        "status": {"replicas": 2, "selector": "a=b"},
    }


def test_a_scale_of_what_says_nothing_is_empty() -> None:
    shown = scaling.scale_of(WIDGET, widget())
    assert (shown["spec"], shown["status"]) == ({}, {"replicas": 0})


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_what_is_written_is_what_is_shown_and_nothing_else_changes(before: int, after: int) -> None:
    old = widget(spec={"replicas": before, "size": 1}, status={"replicas": 1})
    scale = scaling.scale_of(WIDGET, old)
    new = scaling.rescaled(WIDGET, WIDGET.storage, old, {**scale, "spec": {"replicas": after}})
    assert scaling.scale_of(WIDGET, new) == {**scale, "spec": {"replicas": after}}
    assert new == {**old, "spec": {"replicas": after, "size": 1}}


def test_the_identity_in_a_scale_is_a_precondition_and_the_rest_of_its_metadata_is_not_written() -> None:
    sent = {"metadata": {"name": "b", "uid": "other", "resourceVersion": "9", "labels": {"x": "y"}}, "spec": {"replicas": 1}}
    metadata = scaling.rescaled(WIDGET, WIDGET.storage, widget(spec={}), sent)["metadata"]
    assert (metadata["name"], metadata["uid"], metadata["resourceVersion"]) == ("b", "other", "9")
    assert metadata["labels"] == {"a": "b"}


def test_replicas_are_not_negative() -> None:
    with pytest.raises(Invalid, match=r"spec.replicas: Invalid value: -1: should be a non-negative integer"):
        scaling.rescaled(WIDGET, WIDGET.storage, widget(spec={}), {"spec": {"replicas": -1}})


CURRENT = scaling.scale_of(WIDGET, widget(spec={"replicas": 3}))
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "Widget"}, "no kind is registered for the type v1.Scale"),
    ({"apiVersion": "autoscaling/v2"}, "no kind is registered for the type v1.Scale"),
    ({"spec": []}, "cannot unmarshal array into Go struct field Scale.spec of type v1.ScaleSpec"),
    ({"metadata": "x"}, "cannot unmarshal string into Go struct field Scale.metadata of type v1.ObjectMeta"),
    ({"metadata": {"name": 5}}, "into Go struct field ObjectMeta.metadata.name of type string"),
    ({"spec": {"replicas": "3"}}, "cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32"),
    ({"spec": {"replicas": True}}, "cannot unmarshal bool into Go struct field ScaleSpec.spec.replicas of type int32"),
    ({"spec": {"replicas": 1.5}}, "cannot unmarshal number 1.5 into"),
    ({"spec": {"replicas": 2**31}}, "cannot unmarshal number 2147483648 into"),
]


@pytest.mark.parametrize(("sent", "said"), WRONG)
def test_what_is_no_scale_is_a_bad_request(sent: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        scaling.checked(sent, CURRENT)
    assert said in caught.value.message


def test_a_patch_that_makes_no_scale_is_invalid() -> None:
    with pytest.raises(Invalid, match="cannot unmarshal string"):
        scaling.patched(lambda current: {**current, "spec": {"replicas": "3"}}, CURRENT)


def test_a_scale_that_names_nothing_is_that_of_the_path() -> None:
    assert scaling.checked({"spec": {"replicas": 1}}, CURRENT)["metadata"]["name"] == "a"


@pytest.mark.parametrize(
    ("document", "causes"),
    [
        ({}, 0),
        ({"spec": {}}, 0),
        ({"spec": {"replicas": 0}}, 0),
        ({"spec": {"replicas": -1}}, 1),
        ({"spec": []}, 1),
        ({"spec": "x"}, 1),
        ({"spec": {"replicas": None}}, 0),
    ],
)
def test_an_object_whose_replicas_cannot_be_reached_is_refused(document: dict[str, Any], causes: int) -> None:
    assert len(scaling.check(WIDGET, document)) == causes


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["replicas", "name", "uid", "resourceVersion"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["kind", "apiVersion", "metadata", "spec", "status"]), values))
def test_any_scale_is_taken_or_refused(sent: dict[str, Any]) -> None:
    error = refusal(lambda: scaling.rescaled(WIDGET, WIDGET.storage, widget(spec={}), scaling.checked(sent, CURRENT)))
    assert error is None or error.code in (400, 422)
    error = refusal(lambda: scaling.patched(lambda _: sent, CURRENT))
    assert error is None or error.code == 422


@given(values)
def test_any_object_has_a_scale_or_is_refused_before_it_is_stored(spec: Any) -> None:
    document = widget(spec=spec)
    if not scaling.check(WIDGET, document):
        assert scaling.scale_of(WIDGET, document)["kind"] == "Scale"
