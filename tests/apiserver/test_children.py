"""Children and finalizers through a real manager on a real store: preconditions, conflicts, and what handlers add."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from actors import NotTheOwnerError
from actors.clock import SystemClock
from actors.door import Door, TypedClient
from actors.finalizing import Finalizing, Step
from admission.identity import Identity
from admission.review import Review
from apiserver.client import ManagerDoor
from registry.builtin.configmap import ConfigMap
from registry.declarations import Place
from registry.errors import ConflictError
from registry.nodes import Document
from registry.resource import Metadata, replace
from tests.apiserver.world import ADMIN, OWNER, LabelSpec, Orphan, Trinket, TrinketSpec, World, opened, trinkets

pytestmark = pytest.mark.anyio

A = Place("shop", "a")


@pytest.fixture
def doors(world: World) -> Callable[[Identity], Door]:
    """The way to the API for an identity."""
    return partial(ManagerDoor, world.manager)


@pytest.fixture
def client(doors: Callable[[Identity], Door]) -> TypedClient:
    return TypedClient(doors(OWNER), SystemClock())


@pytest.fixture
async def owner(client: TypedClient) -> Orphan:
    return await client.create(Orphan(metadata=Metadata(name="o", namespace="shop"), spec=LabelSpec()))


def child(name: str = "c", **spec: Any) -> Trinket:
    return Trinket(metadata=Metadata(name=name, labels={"l": "m"}), spec=TrinketSpec(**spec))


async def test_children_are_made_changed_and_taken_away(client: TypedClient, owner: Orphan) -> None:
    await client.children(owner, [child("a"), child("b")], of=[Trinket])
    made = await client.children(owner, [child("b", size=2), child("c")], of=[Trinket])
    assert [(each.metadata.name, each.metadata.generation) for each in made] == [("b", 2), ("c", 1)]
    again = await client.children(owner, [child("b", size=2), child("c")], of=[Trinket])
    assert again == made
    assert [each.metadata.name for each in (await client.list(Trinket)).items] == ["b", "c"]
    assert await client.children(owner, [], of=[Trinket]) == []
    assert (await client.list(Trinket)).items == []


async def test_what_a_handler_adds_causes_no_second_write() -> None:
    def fill(review: Review[Trinket]) -> Trinket:
        spec = replace(review.new.spec, note=review.new.spec.note or "filled in")
        return replace(review.new, spec=spec, metadata=replace(review.new.metadata, annotations={"by": "handler"}))

    async with opened(trinkets(mutators=[fill])) as world:
        client = TypedClient(ManagerDoor(world.manager, OWNER), SystemClock())
        owner = await client.create(Orphan(metadata=Metadata(name="o", namespace="shop"), spec=LabelSpec()))
        first = await client.own(owner, child(size=3, steps=["x"]))
        assert first.spec.note == "filled in"
        assert await client.own(owner, child(size=3, steps=["x"])) == first


async def test_many_writers_of_one_child_lose_nothing_of_each_other(
    client: TypedClient, owner: Orphan, doors: Callable[[Identity], Door]
) -> None:
    await client.own(owner, child())
    others = TypedClient(doors(ADMIN), SystemClock())

    async def label(number: int) -> None:
        await others.patch(Trinket, "c", "shop", {"metadata": {"labels": {f"n{number}": "x"}}})
        await client.own(owner, child(size=number))

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(label, number)
    last = await client.own(owner, child(size=99))
    assert last.spec.size == 99
    assert set(last.metadata.labels) == {"l", *(f"n{number}" for number in range(10))}


async def test_a_config_map_is_exactly_what_is_wanted(client: TypedClient, owner: Orphan) -> None:
    for data in ({"a": "1", "b": "2"}, {"b": "3"}):
        found = await client.own(owner, ConfigMap(metadata=Metadata(name="m"), data=data))
        assert found.data == data


async def test_somebody_elses_object_is_refused_and_stays(client: TypedClient, owner: Orphan) -> None:
    theirs = await client.create(replace(child(), metadata=Metadata(name="c", namespace="shop")))
    with pytest.raises(NotTheOwnerError, match="Trinket 'shop/c' exists and belongs to nobody, not to Orphan 'shop/o'"):
        await client.own(owner, child(size=2))
    assert await client.get(Trinket, "c", "shop") == theirs


# The finalizer.


@pytest.fixture
def door(doors: Callable[[Identity], Door]) -> Door:
    return doors(OWNER)


@pytest.fixture
def finalizing(door: Door) -> Finalizing:
    return Finalizing(Trinket, "skep.dev/polish", cleans=True, door=door)


def finalizers(document: Document | None) -> list[str]:
    return (document or {}).get("metadata", {}).get("finalizers", [])


async def test_the_finalizer_comes_and_goes_beside_those_of_others(door: Door, finalizing: Finalizing, client: TypedClient) -> None:
    first = await door.create(Trinket, "shop", {"metadata": {"name": "a", "finalizers": ["x.example/y"]}, "spec": {}})
    assert finalizing.step(first) is Step.HOLD
    stale = first
    await door.patch(Trinket, A, {"metadata": {"finalizers": ["x.example/y", "x.example/z"]}}, "")
    held = await finalizing.hold(A, stale)
    assert finalizers(held) == ["x.example/y", "x.example/z", "skep.dev/polish"]
    assert finalizing.step(held) is Step.RECONCILE
    await client.delete(Trinket, "a", "shop")
    deleting = await door.get(Trinket, A)
    assert finalizing.step(deleting) is Step.CLEAN
    await door.patch(Trinket, A, {"metadata": {"finalizers": ["x.example/z", "skep.dev/polish"]}}, "")
    remains = await finalizing.release(A, deleting)
    assert finalizers(remains) == ["x.example/z"]
    assert remains is not None
    assert finalizing.step(remains) is Step.LEAVE


async def test_the_last_finalizer_takes_the_object_with_it(door: Door, finalizing: Finalizing, client: TypedClient) -> None:
    held = await finalizing.hold(A, await door.create(Trinket, "shop", {"metadata": {"name": "a"}, "spec": {}}))
    await client.delete(Trinket, "a", "shop")
    assert await finalizing.release(A, held) is None
    assert await client.get(Trinket, "a", "shop") is None
    assert await finalizing.release(A, held) is None, "once more, after a crash"


async def test_nothing_is_begun_for_what_is_deleted_or_is_another_object(
    door: Door, finalizing: Finalizing, client: TypedClient
) -> None:
    old = await door.create(Trinket, "shop", {"metadata": {"name": "a", "finalizers": ["x.example/y"]}, "spec": {}})
    await client.delete(Trinket, "a", "shop")
    with pytest.raises(ConflictError, match="is being deleted"):
        await finalizing.hold(A, old)
    await door.patch(Trinket, A, {"metadata": {"finalizers": None}}, "")
    new = await finalizing.hold(A, await door.create(Trinket, "shop", {"metadata": {"name": "a"}, "spec": {}}))
    for attempt in (
        finalizing.hold(A, old),
        finalizing.release(A, {**new, "metadata": {**new["metadata"], "uid": old["metadata"]["uid"]}}),
    ):
        with pytest.raises(ConflictError, match="another one of its name"):
            await attempt
    assert finalizers(await door.get(Trinket, A)) == ["skep.dev/polish"]
