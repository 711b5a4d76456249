"""Definitions of those who may define kinds, and try to do more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from admission.review import Review
from registry.errors import Forbidden, Invalid, NotFound
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
        with pytest.raises(Invalid, match="banana"):
            changed = {"spec": {"versions": [versioned(schema={"type": "banana"})]}}
            await world.merge(f"{DEFINITIONS}/bolts.things.example", {"metadata": {"annotations": {DECLARED: said}}, **changed})


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
