"""The metadata of all objects, as the built-in actors see it: what is in the store, in the order of commits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from actors.builtin.objects import Change, Facts, Owner, Ref
from admission.identity import actor_identity
from apiserver.objects import FactsOf, ManagerReach, StoreObjects
from registry.errors import ConflictError, ExpiredError, NotFound
from storage.feed import Limits
from storage.sql import Options
from tests.apiserver.keeping import owner
from tests.apiserver.world import CONFIGMAPS, GADGETS, NOW, WIDGETS, World, opened

pytestmark = pytest.mark.anyio

W = "widgets.reference.example.com"
Document = dict[str, Any]


def facts_of(world: World) -> FactsOf:
    return FactsOf(world.manager.catalog, lambda: NOW, 600.0)


def source(world: World) -> StoreObjects:
    return StoreObjects(world.manager.catalog, world.store, facts_of(world))


def reach(world: World) -> ManagerReach:
    return ManagerReach(world.manager, actor_identity("test"), facts_of(world))


async def changes(world: World, after: int, count: int) -> list[Change]:
    found: list[Change] = []
    async with aclosing(source(world).watch(after)) as batches:
        async for batch in batches:
            found += batch
            if len(found) >= count:
                break
    return found


OWNED: dict[str, Any] = {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "none"}]}
"""Metadata of an object that is not plain."""


async def test_facts_are_what_the_metadata_say(world: World) -> None:
    parent = await world.make(GADGETS, "g")
    reference = owner(parent, controller=True, blockOwnerDeletion=True)
    metadata = {"ownerReferences": [reference], "finalizers": ["example.com/x"], "annotations": {"skep.dev/ttl": "60s", "a": "b"}}
    made = await world.make(WIDGETS, "a", metadata=metadata, spec={"size": 1})
    await world.do("delete", f"{WIDGETS}/a")
    found = await reach(world).find(Ref(W, "shop", "a"))
    assert found == Facts(
        ref=Ref(W, "shop", "a"),
        uid=made["metadata"]["uid"],
        revision=world.store.revision,
        owners=(Owner("reference.example.com/v1", "Gadget", "g", parent["metadata"]["uid"], True, True),),
        finalizers=("example.com/x",),
        deleting=True,
        expires=NOW + 60,
    )
    assert await reach(world).find(Ref(W, "shop", "b")) is None


async def test_the_list_and_what_is_watched_after_it_are_all_there_is_in_the_order_of_commits(world: World) -> None:
    await world.make(WIDGETS, "before", metadata=OWNED, spec={"size": 1})
    listing = await source(world).list()
    assert [facts.ref for facts in listing.objects if facts.ref.resource != "namespaces"] == [Ref(W, "shop", "before")]
    for number in range(20):
        spec = {"spec": {"size": 1}} if number % 2 else {}
        await world.make(WIDGETS if number % 2 else CONFIGMAPS, f"o{number}", metadata=OWNED, **spec)
    await world.do("delete", f"{WIDGETS}/o1")
    seen = await changes(world, listing.revision, 21)
    assert [change.revision for change in seen] == list(range(listing.revision + 1, world.store.revision + 1))
    assert [change.gone for change in seen] == [False] * 20 + [True]


async def test_of_a_plain_object_nothing_is_told_but_its_end_and_what_it_no_longer_is(world: World) -> None:
    await world.make(CONFIGMAPS, "a", data={})
    after = (await source(world).list()).revision
    await world.merge(f"{CONFIGMAPS}/a", {"data": {"k": "v"}})
    await world.merge(f"{CONFIGMAPS}/a", {"metadata": OWNED})
    await world.merge(f"{CONFIGMAPS}/a", {"metadata": {"ownerReferences": None}})
    await world.merge(f"{CONFIGMAPS}/a", {"data": {"k": "w"}})
    await world.do("delete", f"{CONFIGMAPS}/a")
    listed = {facts.ref.name for facts in (await source(world).list()).objects}
    assert "a" not in listed
    told = [(len(change.facts.owners), change.gone) for change in await changes(world, after, 3)]
    assert told == [(1, False), (0, False), (0, True)]


async def test_a_change_of_the_status_alone_is_not_told(world: World) -> None:
    await world.make(WIDGETS, "a", metadata=OWNED, spec={"size": 1})
    after = world.store.revision
    for number in range(5):
        await world.merge(f"{WIDGETS}/a/status", {"status": {"replicas": number}})
    await world.merge(f"{WIDGETS}/a", {"spec": {"size": 2}})
    assert [change.revision for change in await changes(world, after, 1)] == [world.store.revision]


async def test_what_is_no_longer_in_memory_is_read_from_the_log() -> None:
    async with opened(options=Options(window=Limits(changes=8))) as world:
        after = world.store.revision
        for number in range(60):
            await world.make(CONFIGMAPS, f"c{number}", metadata=OWNED, data={})
            if number % 10 == 0:
                await world.make(GADGETS, f"g{number}", metadata=OWNED)
        seen = await changes(world, after, 66)
        assert sorted(change.revision for change in seen) == list(range(after + 1, world.store.revision + 1))


async def test_a_watch_out_of_history_is_expired(world: World) -> None:
    await world.make(GADGETS, "g")
    await world.store.compact(0.0, max_age=float("inf"), max_count=0)
    with pytest.raises(ExpiredError):
        await changes(world, 1, 1)


async def test_a_watch_hears_of_what_comes_and_ends_with_the_server(world: World) -> None:
    seen: list[Change] = []
    ended = anyio.Event()

    async def follow() -> None:
        async with aclosing(source(world).watch(world.store.revision)) as batches:
            async for batch in batches:
                seen.extend(batch)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        await world.make(GADGETS, "g", metadata=OWNED)
        await anyio.wait_all_tasks_blocked()
        assert [change.facts.ref.name for change in seen] == ["g"]
        world.store.end_watches()
        await ended.wait()


async def test_writes_are_for_the_object_as_it_was_found(world: World) -> None:
    api = reach(world)
    await world.make(WIDGETS, "a", metadata={"finalizers": ["example.com/x"]}, spec={"size": 1})
    found = await api.find(Ref(W, "shop", "a"))
    assert found is not None
    await world.merge(f"{WIDGETS}/a", {"spec": {"size": 2}})
    acts = [lambda: api.delete(found, "Background"), lambda: api.set_owners(found, []), lambda: api.set_finalizers(found, [])]
    for act in acts:
        with pytest.raises(ConflictError):
            await act()
    await world.merge(f"{WIDGETS}/a", {"metadata": {"finalizers": None}})
    await world.do("delete", f"{WIDGETS}/a")
    for act in acts:
        await act()  # it is gone, which is fine
    await world.make(WIDGETS, "a", spec={"size": 1})
    for act in acts:
        with pytest.raises(ConflictError):
            await act()


async def test_owners_and_finalizers_are_written_back_as_they_were(world: World) -> None:
    api = reach(world)
    parents = [await world.make(GADGETS, name) for name in ("g", "h")]
    references = [owner(parents[0], controller=True), owner(parents[1], blockOwnerDeletion=False)]
    await world.make(WIDGETS, "a", metadata={"ownerReferences": references, "finalizers": ["a/b", "a/c"]}, spec={"size": 1})

    async def found() -> Facts:
        facts = await api.find(Ref(W, "shop", "a"))
        assert facts is not None
        return facts

    await api.set_owners(await found(), (await found()).owners[1:])
    await api.set_finalizers(await found(), ["a/c"])
    metadata = (await world.get(f"{WIDGETS}/a"))["metadata"]
    assert (metadata["ownerReferences"], metadata["finalizers"], metadata["generation"]) == (references[1:], ["a/c"], 1)


async def test_only_the_namespace_that_was_meant_is_let_go(world: World) -> None:
    with pytest.raises(ConflictError):
        await reach(world).finalize("shop", "another uid", [])
    with pytest.raises(NotFound):
        await reach(world).finalize("none", "uid", [])


@pytest.mark.parametrize(
    ("api_version", "kind", "resource"),
    [
        ("reference.example.com/v1", "Widget", W),
        ("reference.example.com/v7", "Widget", W),
        ("v1", "Namespace", "namespaces"),
        ("events.k8s.io/v1", "Event", "events"),
        ("v1", "Widget", None),
        ("reference.example.com/v1", "widget", None),
    ],
)
async def test_a_reference_means_a_kind_in_any_version(world: World, api_version: str, kind: str, resource: str | None) -> None:
    scope = reach(world).scope(api_version, kind)
    assert (scope.resource if scope is not None else None) == resource


async def test_what_is_in_a_namespace_comes_in_pages(world: World) -> None:
    for number in range(1_200):
        await world.make(CONFIGMAPS, f"c{number}", data={})
    await world.make(WIDGETS, "w", spec={"size": 1})

    async def pages() -> AsyncIterator[Sequence[Facts]]:
        async with aclosing(reach(world).of("shop")) as found:
            async for page in found:
                yield page

    assert [(len(page), page[0].ref.resource) async for page in pages()] == [(1000, "configmaps"), (200, "configmaps"), (1, W)]
