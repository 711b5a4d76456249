"""Definitions of those who may define kinds, and try to do more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import msgspec
import pytest

from admission.review import Review
from registry.builtin.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION, prepare
from registry.custom.claims import Claims
from registry.custom.conversion import CustomWays, Refused, webhook_ways
from registry.custom.definition import Names, read
from registry.custom.kinds import kind_of
from registry.custom.schema import custom_schema
from registry.custom.structural import problems
from registry.errors import CAUSES_TOLD, Forbidden, Invalid
from registry.nodes import Document
from registry.unasked import Question
from registry.ways import Unreached
from tests.apiserver.defining import DEFINITIONS, GROUP, defining, definition, versioned
from tests.apiserver.world import SOMEBODY, opened

pytestmark = pytest.mark.anyio
DECLARED = "skep.dev/declared-by"
BROKEN = {f"p{at}": {"type": "banana"} for at in range(5_000)}
REVIEWS = {"clientConfig": {"url": "https://hook.example/"}, "conversionReviewVersions": ["V"] * 5_000}
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
        while any(record.key.name == ROLES for record in world.stored(CUSTOM_RESOURCE_DEFINITION.resource)):
            await anyio.sleep(0.001)
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
        ({"names": {"plural": "bolts", "kind": "Bolt", "categories": ["A"] * 5_000}}, "spec.names.categories"),
        ({"names": {"plural": "bolts", "kind": "Bolt", "shortNames": ["A"] * 5_000}}, "spec.names.shortNames"),
        ({"versions": [versioned(additionalPrinterColumns=[{}] * 5_000)]}, "spec.additionalPrinterColumns"),
        ({"versions": [versioned("A")] * 5_000}, "spec.versions"),
        (
            {"versions": [versioned(schema={"type": "object", "properties": BROKEN})]},
            "spec.validation.openAPIV3Schema.properties[p0].type",
        ),
        ({"conversion": {"strategy": "Webhook", "webhook": REVIEWS}}, "spec.conversion.conversionReviewVersions[0]"),
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


@pytest.mark.parametrize("path", [".spec..b", ".spec.", ".spec.'x'", ".spec.[", ".spec." + "a." * 5_000 + "b"])
async def test_a_path_of_scale_that_cannot_be_read_keeps_nobody_from_writing_objects(path: str) -> None:
    below = {"scale": {"specReplicasPath": path, "statusReplicasPath": ".status.replicas"}}
    body = definition(versions=[versioned(subresources=below)])
    async with opened() as world, defining(world) as defined:
        with pytest.raises(Invalid) as refused:
            await defined.define(body)
        assert [cause.field for cause in refused.value.causes] == ["spec.subresources.scale.specReplicasPath"]
    text = msgspec.json.encode(prepare(body, None))
    stored = read(text, b"")
    assert kind_of(stored, stored.names).scale is None  # an older server has taken it


@pytest.mark.parametrize("group", ["skep.dev", "more.skep.dev"])
async def test_nobody_defines_kinds_that_could_be_the_server_s_own(group: str) -> None:
    async with opened() as world, defining(world) as defined:
        with pytest.raises(Invalid, match="kinds of this server itself"):
            await defined.define(definition(group=group))
        await defined.define(definition(group="notskep.dev"))


async def test_a_webhook_that_refuses_slowly_holds_nobody_for_long() -> None:
    """A batch that is refused is asked again in halves, down to each object."""
    calls = 0

    async def call(documents: Sequence[bytes], target: str) -> Sequence[Any]:
        nonlocal calls
        del documents, target
        calls += 1
        await anyio.sleep(0.005)
        raise Refused("failed: slowly")

    schema = custom_schema({"type": "object"})
    ways = webhook_ways("Bolt", {f"{GROUP}/v1": schema, f"{GROUP}/v2": schema}, call, patience=0.05)
    assert isinstance(ways, CustomWays)
    bolt = {"apiVersion": f"{GROUP}/v1", "kind": "Bolt"}
    questions = [
        Question(f"{GROUP}/v2", msgspec.json.encode({**bolt, "metadata": {"name": str(at), "namespace": "shop"}}))
        for at in range(4_000)
    ]
    with pytest.raises(Unreached, match=r"conversion webhook for things.example/v1, Kind=Bolt failed: not all objects"):
        await ways.ask(questions)
    assert 0 < calls < len(questions)


async def test_of_groups_that_nobody_defines_kinds_in_any_more_nothing_is_remembered() -> None:
    claims = Claims()
    claims.claim("one", Names(plural="bolts"))
    assert claims
    claims.release("one")
    assert not claims
    async with opened() as world, defining(world) as defined:
        for _ in range(2):  # and names are given again
            await defined.define(definition(names={"shortNames": ["bo"]}))
            assert (await defined.conditions(f"bolts.{GROUP}"))["NamesAccepted"][0] == "True"
            await world.do("delete", f"{DEFINITIONS}/bolts.{GROUP}")
            await defined.settled()
            assert defined.definitions.names() == []
