"""The built-in actors and kinds that come and go: their objects are collected, counted and forgotten like all others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from actors.builtin.objects import Change, Ref
from admission.identity import actor_identity
from apiserver.objects import FactsOf, ManagerReach, StoreObjects
from registry.errors import ExpiredError, Forbidden
from storage.store import Op
from tests.apiserver.keeping import Keeper, keeping, owner
from tests.apiserver.latecomers import GROUP, late_kind
from tests.apiserver.world import CONFIGMAPS, NAMESPACES, NOW, World, opened

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
COMETS = f"/apis/{GROUP}/v1/namespaces/shop/comets"
RESOURCE = f"comets.{GROUP}"


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    async with keeping() as made:
        yield made


async def comet(world: World, name: str, *owners: Document, namespace: str = "shop", **metadata: Any) -> Document:
    said = {"name": name, "ownerReferences": list(owners), **metadata}
    path = COMETS.replace("/shop/", f"/{namespace}/")
    body = {"apiVersion": f"{GROUP}/v1", "kind": "Comet", "metadata": said, "spec": {"size": 1}}
    return world.document(path, await world.do("create", path, body))


def comets(world: World) -> set[str]:
    return {record.key.name for record in world.stored(RESOURCE)}


async def test_objects_of_a_kind_that_came_late_are_owners_and_dependents(keeper: Keeper) -> None:
    world = keeper.world
    world.manager.catalog.replace(put=[late_kind()])
    parent = await keeper.widget("parent")
    child = await comet(world, "child", owner(parent))
    await keeper.widget("grandchild", owner(child))
    await comet(world, "stranger")
    await keeper.delete(parent)
    await keeper.quiet()
    assert (comets(world), set(keeper.there())) == ({"stranger"}, set())


async def test_what_the_last_objects_of_a_kind_owned_goes_after_the_kind_itself(keeper: Keeper) -> None:
    world = keeper.world
    world.manager.catalog.replace(put=[late_kind()])
    await keeper.widget("child", owner(await comet(world, "last")))
    await keeper.quiet()
    await world.do("delete", f"{COMETS}/last")
    world.manager.catalog.replace(gone=[RESOURCE])  # before anybody had a turn to see the deletion
    await keeper.quiet()
    assert not keeper.there()


async def test_objects_that_are_left_when_their_kind_goes_keep_what_they_own(keeper: Keeper) -> None:
    world = keeper.world
    world.manager.catalog.replace(put=[late_kind()])
    parent = await comet(world, "parent", finalizers=["example.com/hold"])
    await keeper.widget("child", owner(parent))
    await keeper.quiet()
    assert keeper.builtins.census.get(parent["metadata"]["uid"]) is not None
    world.manager.catalog.replace(gone=[RESOURCE])
    await keeper.clock.advance(1.0)
    await keeper.quiet()
    assert keeper.builtins.census.get(parent["metadata"]["uid"]) is None
    assert set(keeper.there()) == {"child"}
    world.manager.catalog.replace(put=[late_kind()])  # with an object: all of it is seen
    await keeper.clock.advance(1.0)
    await keeper.quiet()
    assert keeper.builtins.census.get(parent["metadata"]["uid"]) is not None


async def test_an_owner_whose_kind_comes_late_is_looked_for_then(keeper: Keeper) -> None:
    foreign = {"apiVersion": f"{GROUP}/v1", "kind": "Comet", "name": "x", "uid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}
    await keeper.widget("child", foreign)
    await keeper.quiet()
    assert set(keeper.there()) == {"child"}
    keeper.world.manager.catalog.replace(put=[late_kind()])
    await keeper.quiet()
    assert not keeper.there()


async def test_a_namespace_goes_with_the_objects_of_all_kinds_in_it(keeper: Keeper) -> None:
    world = keeper.world
    world.manager.catalog.replace(put=[late_kind()])
    await world.make(NAMESPACES, "brief")
    await comet(world, "a", namespace="brief")
    await comet(world, "b")
    await world.do("delete", f"{NAMESPACES}/brief")
    await keeper.quiet()
    assert comets(world) == {"b"}
    assert "brief" not in {record.key.name for record in world.stored("namespaces")}


async def test_a_quota_counts_objects_of_a_kind_that_comes_after_it(keeper: Keeper) -> None:
    world = keeper.world
    await world.make("/api/v1/namespaces/shop/resourcequotas", "most", spec={"hard": {f"count/{RESOURCE}": "1"}})
    world.manager.catalog.replace(put=[late_kind()])
    await comet(world, "a")
    with pytest.raises(Forbidden, match="exceeded quota: most"):
        await comet(world, "b")
    await keeper.clock.advance(1.0)
    await keeper.quiet()
    assert (await world.get("/api/v1/namespaces/shop/resourcequotas/most"))["status"]["used"] == {f"count/{RESOURCE}": "1"}


async def test_an_object_of_a_kind_that_came_late_expires(keeper: Keeper) -> None:
    world = keeper.world
    world.manager.catalog.replace(put=[late_kind()])
    await comet(world, "brief", annotations={"skep.dev/ttl": "60s"})
    await keeper.quiet()
    await keeper.clock.advance(61.0)
    await keeper.quiet()
    assert comets(world) == set()


async def test_a_watch_of_everything_begins_and_ends_kinds_without_a_gap() -> None:
    async with opened() as world:
        catalog = world.manager.catalog
        source = StoreObjects(catalog, world.store, FactsOf(catalog, lambda: NOW, 600.0))
        after = (await source.list()).revision
        catalog.replace(put=[late_kind()])  # between the list and the watch
        seen: list[Change] = []
        ended = anyio.Event()

        async def follow() -> None:
            try:
                async with aclosing(source.watch(after)) as batches:
                    async for batch in batches:
                        seen.extend(batch)
            except ExpiredError:
                ended.set()

        held = {"finalizers": ["example.com/hold"]}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            await comet(world, "a", **held)
            catalog.replace(put=[late_kind("Meteor")])
            await world.make(CONFIGMAPS, "c", metadata=held)
            await world.merge(f"{COMETS}/a", {"metadata": {"finalizers": None}})
            await world.do("delete", f"{COMETS}/a")
            catalog.replace(gone=[RESOURCE])
            catalog.replace(put=[late_kind()])
            await anyio.wait_all_tasks_blocked()
            await comet(world, "b", **held)
            await anyio.wait_all_tasks_blocked()
            assert [(change.facts.ref.name, change.gone) for change in seen] == [
                ("a", False),
                ("c", False),
                ("a", False),
                ("a", True),
                ("b", False),
            ]
            assert not ended.is_set()
            catalog.replace(gone=[RESOURCE])  # with an object in it: what is known of it cannot be watched away
            await ended.wait()


async def test_the_changes_of_a_kind_that_went_take_no_memory_and_can_be_read(keeper: Keeper) -> None:
    world = keeper.world
    world.manager.catalog.replace(put=[late_kind()])
    await keeper.quiet()
    before = world.store.revision
    await comet(world, "a")
    await world.do("delete", f"{COMETS}/a")
    assert world.store.stats().windows[RESOURCE][0] == 2
    world.manager.catalog.replace(gone=[RESOURCE])
    await keeper.quiet()
    assert world.store.stats().windows[RESOURCE] == (0, 0)
    world.manager.catalog.replace(put=[late_kind()])
    cursor = world.store.watch(RESOURCE, before)
    assert [change.op for change in await cursor.next()] == [Op.ADDED, Op.DELETED]
    await comet(world, "b")
    assert [change.record.key.name for change in await cursor.next()] == ["b"]


async def test_a_reference_to_a_kind_that_went_means_what_it_meant_and_finds_what_is_left() -> None:
    async with opened() as world:
        catalog = world.manager.catalog
        api = ManagerReach(world.manager, actor_identity("test"), FactsOf(catalog, lambda: NOW, 600.0))
        assert api.scope(f"{GROUP}/v1", "Comet") is None
        catalog.replace(put=[late_kind()])
        await comet(world, "left")
        scope = api.scope(f"{GROUP}/v1", "Comet")
        assert api.scope(f"{GROUP}/v7", "Comet") == scope
        catalog.replace(gone=[RESOURCE])
        assert scope is not None
        assert api.scope(f"{GROUP}/v1", "Comet") == scope == (RESOURCE, True)
        assert await api.find(Ref(RESOURCE, "shop", "left")) is not None
        assert await api.find(Ref(RESOURCE, "shop", "other")) is None
