"""Definitions of those who may define kinds, and try to do more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from admission.review import Review
from registry.builtin.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION, prepare
from registry.custom.structural import problems
from registry.errors import CAUSES_TOLD, Forbidden, Invalid, NotFound
from registry.nodes import Document
from tests.apiserver.defining import DEFINITIONS, defining, definition, versioned
from tests.apiserver.world import SOMEBODY, opened

pytestmark = pytest.mark.anyio
DECLARED = "skep.dev/declared-by"
ROLES = "clusterroles.rbac.authorization.k8s.io"


class Marking:
    """A mutating webhook that always gives definitions the mark of those that code declares."""

    def concerns(self, review: Review[dict[str, Any]]) -> bool:
        return review.kind is not None and review.kind.name == "CustomResourceDefinition"

    async def mutate(self, review: Review[dict[str, Any]]) -> dict[str, Any]:
        metadata = review.new["metadata"]
        return {**review.new, "metadata": {**metadata, "annotations": {DECLARED: f"mine, {id(review)}"}}}

    async def validate(self, review: Review[dict[str, Any]]) -> Sequence[Any]:
        del review
        return ()


@pytest.mark.parametrize("said", ["", "somewhere.py:1"])
async def test_the_mark_of_declared_kinds_spares_a_definition_no_check(said: str) -> None:
    body = definition(versions=[versioned(schema={"type": "banana"})])
    body["metadata"]["annotations"] = {DECLARED: said}
    async with opened() as world, defining(world) as defined:
        with pytest.raises(Invalid, match="banana"):
            await defined.define(body, who=SOMEBODY)
        body["spec"]["versions"] = [versioned()]
        assert "annotations" not in (await defined.define(body, who=SOMEBODY))["metadata"]
        wrong = {"versions": [versioned(schema={"type": "banana"})]}
        with pytest.raises(Invalid, match="banana"):
            await world.merge(f"{DEFINITIONS}/bolts.things.example", {"metadata": body["metadata"], "spec": wrong})


async def test_nobody_gives_a_definition_the_mark_after_it_was_taken_away() -> None:
    async with opened(admitters=[Marking()]) as world, defining(world) as defined:
        await world.do("create", DEFINITIONS, definition(), query="dryRun=All")
        body = definition(versions=[versioned(schema={"type": "banana"})])
        with pytest.raises((Forbidden, Invalid)):
            await defined.define(body, who=SOMEBODY)


async def test_the_end_of_a_definition_with_the_name_of_a_kind_of_the_server_is_no_end_of_that_kind() -> None:
    async with opened(roles=True) as world, defining(world) as defined:
        kind, roles = world.registry.of_resource(ROLES), world.stored(ROLES)
        body = definition("clusterroles", "Widget", group="rbac.authorization.k8s.io", scope="Cluster")
        body["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved"}
        await defined.define(body)
        assert (await defined.conditions(ROLES))["NamesAccepted"] == ("False", "PluralConflict")
        await world.do("delete", f"{DEFINITIONS}/{ROLES}")
        await defined.settled()
        with pytest.raises(NotFound):
            await world.get(f"{DEFINITIONS}/{ROLES}")
        assert world.registry.of_resource(ROLES) is kind
        assert world.stored(ROLES) == roles


def nested(depth: int) -> Document:
    schema: Document = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "default": {}}
    return schema


async def test_others_are_answered_while_a_huge_definition_is_checked() -> None:
    """The check of this one takes a good part of a second; a read takes less than a thousandth of that."""
    schema = {"type": "object", "properties": {f"f{at}": nested(20) for at in range(60)}}
    async with opened() as world:
        done = anyio.Event()

        async def define() -> None:
            await world.do("create", DEFINITIONS, definition(versions=[versioned(schema=schema)]))
            done.set()

        reads = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(define)
            while not done.is_set():
                await world.get("/api/v1/namespaces/shop")
                await anyio.lowlevel.checkpoint()
                reads += 1
    assert reads > 20


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"names": {"plural": "bolts", "kind": "Bolt", "categories": ["A"] * 5_000}}, "spec.names.categories[0]"),
        ({"versions": [versioned(additionalPrinterColumns=[{}] * 5_000)]}, "spec.additionalPrinterColumns[0].name"),
        ({"versions": [versioned(selectableFields=[{"jsonPath": ".metadata.x"}] * 5_000)]}, "spec.selectableFields"),
    ],
)
def test_no_more_is_found_wrong_with_a_definition_than_is_told(spec: Document, path: str) -> None:
    body = definition()
    new = prepare({**body, "spec": {**body["spec"], **spec}}, None)
    causes = CUSTOM_RESOURCE_DEFINITION.strategy.check(new, None)
    assert causes[0].field == path
    assert len(causes) <= CAUSES_TOLD


def test_keys_of_a_list_that_are_no_properties_are_shown_once() -> None:
    """They are all shown in what is said of them: a thousand of them a thousand times would be a long answer."""
    items = {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}
    keys = [f"key{at}" for at in range(1_000)]
    schema = {"type": "object", "properties": {"a": {**items, "x-kubernetes-list-map-keys": keys}}}
    assert [cause.field for cause in problems(schema, "s")] == ["s.properties[a].x-kubernetes-list-map-keys"]


def test_a_list_type_that_is_none_is_told_also_below_a_default() -> None:
    inner = {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "bag"}
    schema = {"type": "object", "properties": {"a": {"type": "object", "default": {}, "properties": {"b": inner}}}}
    assert [cause.field for cause in problems(schema, "s")] == ["s.properties[a].properties[b].x-kubernetes-list-type"]
