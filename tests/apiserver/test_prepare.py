"""What the server decides of an object, as plain functions of documents."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver import prepare
from registry.builtin import CONFIG_MAP, KINDS, NAMESPACE
from registry.kinds import Kind
from registry.plugin import build
from tests.plugins.reference import GROUP, plugin

REGISTRY = build([plugin], KINDS)
NOW = 1_700_000_000.0
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def kind_of(plural: str) -> Kind:
    found = REGISTRY.of_resource(f"{plural}.{GROUP}")
    assert found is not None
    return found


WIDGET, GADGET = kind_of("widgets"), kind_of("gadgets")


def stored(**fields: Any) -> dict[str, Any]:
    metadata = {"name": "a", "uid": "u", "generation": 3, "creationTimestamp": "2001-01-01T00:00:00Z"}
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 1}, **fields}


@given(st.randoms(use_true_random=False))
def test_uids_are_random_uuids_of_version_4(chance: random.Random) -> None:
    assert UUID4.fullmatch(prepare.uuid4(chance))


def test_no_two_uids_are_the_same() -> None:
    chance = random.Random(1)
    assert len({prepare.uuid4(chance) for _ in range(1_000)}) == 1_000


def test_a_name_is_generated_only_where_there_is_none() -> None:
    chance = random.Random(1)
    made = prepare.created(WIDGET, {"metadata": {"generateName": "w-"}}, "shop", NOW, chance)
    assert re.fullmatch("w-[a-z0-9]{5}", made["metadata"]["name"])
    made = prepare.created(WIDGET, {"metadata": {"generateName": "w-", "name": "mine"}}, "shop", NOW, chance)
    assert made["metadata"]["name"] == "mine"


def test_the_namespace_is_that_of_the_path_and_none_where_kinds_have_none() -> None:
    chance = random.Random(1)
    assert prepare.created(WIDGET, {"metadata": {"name": "a"}}, "shop", NOW, chance)["metadata"]["namespace"] == "shop"
    assert "namespace" not in prepare.created(GADGET, {"metadata": {"name": "a", "namespace": "x"}}, None, NOW, chance)["metadata"]


def test_only_kinds_that_count_have_a_generation() -> None:
    chance = random.Random(1)
    assert prepare.created(WIDGET, {"metadata": {"name": "a"}}, "shop", NOW, chance)["metadata"]["generation"] == 1
    assert "generation" not in prepare.created(CONFIG_MAP, {"metadata": {"name": "a"}}, "shop", NOW, chance)["metadata"]


SPEC = st.dictionaries(st.sampled_from(["size", "color"]), st.integers(0, 2))
FIELDS = st.fixed_dictionaries({"spec": SPEC}, optional={"status": SPEC, "other": SPEC})


@given(FIELDS, FIELDS, st.dictionaries(st.sampled_from(["labels", "generation"]), st.just({"a": "b"})))
def test_a_write_changes_either_status_or_all_but_status_and_counts_the_second_alone(
    before: dict[str, Any], sent: dict[str, Any], metadata: dict[str, Any]
) -> None:
    old = stored(**before)
    new = {**stored(**sent), "metadata": {"name": "a", **metadata}}
    status = prepare.updated(WIDGET, "status", {**new, "metadata": dict(new["metadata"])}, old)
    assert {**status, "status": None, "metadata": None} == {**old, "status": None, "metadata": None}
    assert status.get("status") == sent.get("status")
    assert status["metadata"] | {"resourceVersion": None} == old["metadata"] | {"resourceVersion": None}
    main = prepare.updated(WIDGET, "", {**new, "metadata": dict(new["metadata"])}, old)
    assert main.get("status") == old.get("status")
    wanted = {key: value for key, value in before.items() if key != "status"} != {
        key: value for key, value in sent.items() if key != "status"
    }
    assert main["metadata"]["generation"] == 3 + wanted


def test_where_status_has_no_path_of_its_own_it_counts() -> None:
    old, new = stored(status={"phase": "a"}), stored(status={"phase": "b"})
    assert prepare.updated(GADGET, "", new, old)["metadata"]["generation"] == 4


def test_counting_again_after_a_change_was_taken_back_counts_nothing() -> None:
    old, new = stored(), stored(spec={"size": 2})
    prepare.count(WIDGET, new, old)
    assert new["metadata"]["generation"] == 4
    back = {**new, "spec": {"size": 1}}
    prepare.count(WIDGET, back, old)
    assert back["metadata"]["generation"] == 3


@pytest.mark.parametrize("field", sorted(prepare.IDENTITY))
def test_a_handler_changes_nothing_of_what_an_object_is(field: str) -> None:
    given, returned = stored(), stored()
    returned["metadata"] = {**returned["metadata"], field: "mine", "labels": {"a": "b"}}
    metadata = prepare.mutated(WIDGET, returned, given)["metadata"]
    assert metadata.get(field) == given["metadata"].get(field)
    assert metadata["labels"] == {"a": "b"}


def test_a_handler_changes_a_status_only_where_it_is_part_of_the_rest() -> None:
    given, returned = stored(status={"phase": "a"}), stored(status={"phase": "b"})
    assert prepare.mutated(WIDGET, returned, given)["status"] == {"phase": "a"}
    assert "status" not in prepare.mutated(WIDGET, returned, stored())
    assert prepare.mutated(GADGET, returned, given)["status"] == {"phase": "b"}


def test_an_object_that_waits_for_its_finalizers_says_since_when() -> None:
    marked = prepare.marked(WIDGET, stored(), NOW)
    assert marked["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:20Z"
    assert (marked["metadata"]["deletionGracePeriodSeconds"], marked["metadata"]["generation"]) == (0, 4)
    room = prepare.marked(NAMESPACE, {"metadata": {"name": "a"}, "status": {"phase": "Active", "conditions": []}}, NOW)
    assert room["status"] == {"phase": "Terminating", "conditions": []}
    assert "deletionGracePeriodSeconds" not in room["metadata"]


@pytest.mark.parametrize(
    ("kind", "document", "expected"),
    [
        (WIDGET, {"metadata": {}}, False),
        (WIDGET, {"metadata": {"finalizers": []}}, False),
        (WIDGET, {"metadata": {"finalizers": ["x"]}}, True),
        (WIDGET, {"metadata": {}, "spec": {"finalizers": ["x"]}}, False),
        (NAMESPACE, {"metadata": {}, "spec": {"finalizers": ["x"]}}, True),
        (NAMESPACE, {"metadata": {"finalizers": ["x"]}, "spec": {}}, True),
        (NAMESPACE, {"metadata": {}}, False),
    ],
)
def test_finalizers_hold_an_object(kind: Kind, document: dict[str, Any], expected: bool) -> None:
    assert prepare.held(kind, document) is expected
