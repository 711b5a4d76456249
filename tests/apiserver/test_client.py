"""The API for actors, in the server's process and over HTTP from a real socket, against what `actors.door` and `actors.cache` say.

One suite for both: whatever an actor could tell them apart by is a failed test.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.cache import Cache, Change, Source, edge
from actors.client import Op, Preconditions
from actors.door import Door, Query
from actors.recorder import EventSink
from actors.workqueue import Wake
from admission.identity import ADMIN, Identity
from apiserver.client import ManagerDoor, ManagerEvents, ManagerSource
from apiserver.remote import Api, RemoteDoor, RemoteEvents, open_api
from apiserver.remote_watch import RemoteSource, Streams
from registry.declarations import Place
from registry.errors import AlreadyExists, ConflictError, ExpiredError, Forbidden, InternalError, Invalid, NotFound
from tests.apiserver.served import served
from tests.apiserver.world import NAMESPACES, OWNER, TRINKETS, Trinket, World
from tests.plugins.reference import Gadget, Widget

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
A = Place("shop", "a")
EVERYTHING = Query()


@dataclass(frozen=True, slots=True)
class Side:
    """One way to the API."""

    door: Callable[[Identity], Door]
    source: Callable[[], Source]
    events: Callable[[Identity], EventSink]


@pytest.fixture(params=["in-process", "http"])
async def side(world: World, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Side]:
    manager = world.manager
    if request.param == "in-process":
        yield Side(partial(ManagerDoor, manager), lambda: ManagerSource(manager), partial(ManagerEvents, manager))
        return
    streams = Streams()
    async with served(world, tmp_path) as server, open_api(server.credentials, "test") as api:

        def acting(identity: Identity) -> Api:
            return api if identity is ADMIN else api.acting_as(identity.username)

        yield Side(
            lambda identity: RemoteDoor(acting(identity), world.registry, streams.watch),
            lambda: RemoteSource(acting(OWNER), world.registry, streams),
            lambda identity: RemoteEvents(acting(identity)),
        )


@pytest.fixture
def door(side: Side) -> Door:
    return side.door(OWNER)


def trinket(name: str = "a", **metadata: Any) -> Document:
    return {"metadata": {"name": name, **metadata}, "spec": {"size": 1}}


async def batches(watch: AsyncGenerator[Any, None], count: int) -> list[Any]:
    """The first items of a watch, out of their batches."""
    found: list[Any] = []
    async with aclosing(watch) as stream:
        async for batch in stream:
            found += batch
            if len(found) >= count:
                break
    return found


# Reading and writing


async def test_what_is_written_is_what_is_read(door: Door) -> None:
    made = await door.create(Trinket, "shop", trinket())
    assert made == await door.get(Trinket, A)
    assert (made["apiVersion"], made["kind"], made["metadata"]["namespace"]) == ("trinkets.example/v1", "Trinket", "shop")
    updated = await door.update(Trinket, A, {**made, "spec": {"size": 2}}, "")
    assert (updated["spec"], updated["metadata"]["generation"]) == ({"size": 2}, 2)
    written = await door.patch(Trinket, A, {"status": {"shine": 1}}, "status")
    assert (written["status"], written["metadata"]["generation"]) == ({"shine": 1}, 2)
    assert await door.update(Trinket, A, {**written, "status": {"shine": 1}}, "status") == written
    assert await door.delete(Trinket, A, Preconditions()) is None
    with pytest.raises(NotFound):
        await door.get(Trinket, A)


async def test_a_document_that_is_handed_in_is_not_changed_and_one_that_comes_out_belongs_to_the_caller(door: Door) -> None:
    sent = trinket(labels={"a": "b"})
    before = copy.deepcopy(sent)
    made = await door.create(Trinket, "shop", sent)
    assert sent == before
    made["spec"]["size"] = 99
    made["metadata"]["labels"].clear()
    assert (await door.get(Trinket, A))["spec"] == {"size": 1}
    [listed] = (await door.list(Trinket, None, EVERYTHING, "")).documents
    assert listed["metadata"]["labels"] == {"a": "b"}


async def test_refusals_are_those_of_the_api(door: Door, world: World, side: Side) -> None:
    await door.create(Trinket, "shop", trinket())
    with pytest.raises(AlreadyExists):
        await door.create(Trinket, "shop", trinket())
    with pytest.raises(Invalid):
        await door.create(Trinket, "shop", {"metadata": {"name": "b"}, "spec": {"size": "big"}})
    with pytest.raises(NotFound, match="namespaces"):
        await door.create(Trinket, "nowhere", trinket())
    with pytest.raises(Invalid, match=r"metadata.namespace: Required value"):
        await door.create(Trinket, "", trinket())
    with pytest.raises(NotFound):
        await door.patch(Trinket, Place("shop", "b"), {}, "")
    with pytest.raises(Forbidden):
        await side.door(ADMIN).patch(Trinket, A, {"status": {"shine": 1}}, "status")


@pytest.mark.parametrize("subresource", ["", "status"])
async def test_the_uid_and_the_revision_of_a_write_are_preconditions(door: Door, subresource: str) -> None:
    made = await door.create(Trinket, "shop", trinket())
    change = {"spec": {"size": 5}, "status": {"shine": 5}}
    for metadata in ({"uid": "of another one"}, {"resourceVersion": "1"}):
        with pytest.raises(ConflictError):
            await door.patch(Trinket, A, {"metadata": metadata, **change}, subresource)
        with pytest.raises(ConflictError):
            await door.update(Trinket, A, {**made, **change, "metadata": {**made["metadata"], **metadata}}, subresource)
    assert await door.get(Trinket, A) == made
    same = {key: made["metadata"][key] for key in ("uid", "resourceVersion")}
    await door.patch(Trinket, A, {"metadata": same, **change}, subresource)


async def test_a_deletion_has_preconditions_and_gives_back_what_stays(door: Door) -> None:
    made = await door.create(Trinket, "shop", trinket(finalizers=["example.com/x"]))
    for preconditions in (Preconditions(uid="other"), Preconditions(revision=1)):
        with pytest.raises(ConflictError):
            await door.delete(Trinket, A, preconditions)
    good = Preconditions(uid=made["metadata"]["uid"], revision=int(made["metadata"]["resourceVersion"]), propagation="Background")
    held = await door.delete(Trinket, A, good)
    assert held is not None
    assert held["metadata"]["deletionTimestamp"]
    last = await door.patch(Trinket, A, {"metadata": {"finalizers": None}}, "")
    assert "finalizers" not in last["metadata"]
    with pytest.raises(NotFound):
        await door.delete(Trinket, A, Preconditions())


async def test_objects_of_a_kind_without_namespaces_have_none(door: Door) -> None:
    await door.create(Gadget, "", {"metadata": {"name": "g"}})
    for namespace in ("", "shop"):
        assert (await door.get(Gadget, Place(namespace, "g")))["metadata"]["name"] == "g"


async def test_a_model_that_no_plugin_declares_is_a_mistake_that_is_named(door: Door, world: World, side: Side) -> None:
    with pytest.raises(InternalError, match=r"int is not a kind that this server knows: declare it with plugin.kind"):
        await door.get(int, A)
    with pytest.raises(InternalError, match="int is not a kind"):
        await side.source().list(int)


async def test_a_list_comes_in_pages_of_one_revision(door: Door, world: World) -> None:
    for n in range(501):
        await world.make(TRINKETS, f"t{n:03}", spec={}, metadata={"labels": {"odd": str(n % 2)}})
    first = await door.list(Trinket, "shop", EVERYTHING, "")
    await world.make(TRINKETS, "later", spec={})
    rest = await door.list(Trinket, "shop", EVERYTHING, first.more)
    assert (len(first.documents), len(rest.documents), rest.more) == (500, 1, "")
    assert first.revision == rest.revision
    assert (await door.list(Trinket, "default", EVERYTHING, "")).documents == []
    assert len((await door.list(Trinket, None, Query("odd=1", "metadata.name!=t001"), "")).documents) == 249


# Watching


async def test_a_watch_tells_every_change_after_a_revision_in_order(door: Door, world: World) -> None:
    await door.create(Trinket, "shop", trinket("before"))
    after = world.store.revision
    made = await door.create(Trinket, "shop", trinket())
    await world.make(NAMESPACES, "other")
    changed = await door.patch(Trinket, A, {"spec": {"size": 2}}, "")
    await door.delete(Trinket, A, Preconditions())
    seen = await batches(door.watch(Trinket, None, EVERYTHING, after), 3)
    assert [op for op, _ in seen] == [Op.ADDED, Op.MODIFIED, Op.DELETED]
    assert [document for _, document in seen[:2]] == [made, changed]
    gone = seen[2][1]
    assert int(gone["metadata"]["resourceVersion"]) == world.store.revision
    assert gone["spec"] == {"size": 2}


async def test_a_watch_with_selectors_tells_what_comes_and_what_leaves(door: Door, world: World) -> None:
    after = world.store.revision
    await door.create(Trinket, "shop", trinket(labels={"app": "x"}))
    await door.create(Trinket, "shop", trinket("b", labels={"app": "y"}))
    await door.patch(Trinket, A, {"metadata": {"labels": {"app": "y"}}}, "")
    await door.patch(Trinket, Place("shop", "b"), {"metadata": {"labels": {"app": "x"}}}, "")
    seen = await batches(door.watch(Trinket, "shop", Query("app=x"), after), 3)
    assert [(op, document["metadata"]["name"]) for op, document in seen] == [(Op.ADDED, "a"), (Op.DELETED, "a"), (Op.ADDED, "b")]


async def test_a_watch_out_of_history_is_expired(door: Door, world: World, side: Side) -> None:
    await door.create(Trinket, "shop", trinket())
    await world.store.compact(0.0, max_age=float("inf"), max_count=0)
    with pytest.raises(ExpiredError):
        await batches(door.watch(Trinket, None, EVERYTHING, 1), 1)
    with pytest.raises(ExpiredError):
        await batches(side.source().watch(Trinket, 1), 1)


async def test_watches_end_with_the_server(door: Door, world: World, side: Side) -> None:
    ended: list[str] = []

    async def follow(name: str, watch: AsyncGenerator[Any, None]) -> None:
        await batches(watch, 100)
        ended.append(name)

    revision = world.store.revision
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, "door", door.watch(Trinket, None, EVERYTHING, revision))
        tasks.start_soon(follow, "source", side.source().watch(Trinket, revision))
        await anyio.wait_all_tasks_blocked()
        world.store.end_watches()
    assert sorted(ended) == ["door", "source"]


# What an actor's cache is fed with


async def test_a_listing_and_the_changes_after_it_are_all_there_is(world: World, door: Door, side: Side) -> None:
    source, cache = side.source(), Cache()
    await door.create(Trinket, "shop", trinket())
    listing = await source.list(Trinket)
    assert [(held.place, held.revision) for held in listing.objects] == [(A, listing.revision)]
    cache.reset(listing)
    await door.create(Trinket, "shop", trinket("b"))
    await door.patch(Trinket, A, {"spec": {"size": 2}}, "")
    await door.delete(Trinket, Place("shop", "b"), Preconditions())
    changes: list[Change] = await batches(source.watch(Trinket, listing.revision), 3)
    for change in changes:
        assert cache.apply(change) is not None
    assert list(cache) == [A]
    held = cache.get(A)
    assert held is not None
    assert held.document() == await door.get(Trinket, A)
    assert held.uid == held.document()["metadata"]["uid"]
    assert [(change.deleted, change.revision) for change in changes][-1] == (True, world.store.revision)


async def test_an_actor_is_woken_by_what_is_wanted_and_never_by_a_status(world: World, door: Door, side: Side) -> None:
    source, cache = side.source(), Cache()
    config = {"apiVersion": "trinkets.example/v1", "kind": "Trinket", "metadata": {"name": "a"}, "spec": {"size": 1}}
    apply = {"query": "fieldManager=someone", "content_type": "application/apply-patch+yaml"}
    await world.do("patch", f"{TRINKETS}/a", config, **apply)
    cache.reset(await source.list(Trinket))
    revision = cache.revision
    for shine in (1, 2):
        await door.patch(Trinket, A, {"status": {"shine": shine}}, "status")
    await world.merge(f"{TRINKETS}/a", {"metadata": {"labels": {"a": "b"}}})
    await world.merge(f"{TRINKETS}/a", {"spec": {"size": 2}})
    await door.delete(Trinket, A, Preconditions())
    wakes = []
    for change in await batches(source.watch(Trinket, revision), 5):
        seen = cache.apply(change)
        assert seen is not None
        wakes.append(edge(seen))
    assert wakes == [Wake.NONE, Wake.NONE, Wake.DESIRED, Wake.DESIRED, Wake.DELETED]
    managers = (await world.store.list_at(revision + 2, "trinkets.trinkets.example")).records[0].desired
    assert b'"subresource":"status"' in managers  # the status was written by somebody whom managedFields name


async def test_objects_are_in_the_version_that_was_asked_for(world: World, side: Side) -> None:
    await world.make("/apis/reference.example.com/v1beta1/namespaces/shop/widgets", "w", spec={"size": 1})
    [held] = (await side.source().list(Widget)).objects
    assert held.document()["apiVersion"] == "reference.example.com/v1"


async def test_events_are_written_under_the_identity_of_an_actor(world: World, side: Side) -> None:
    events = side.events(OWNER)
    event = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "shop", "name": "a"}, "reason": "Made", "count": 1}
    before = copy.deepcopy(event)
    await events.create("shop", event)
    assert event == before
    await events.patch("shop", "e", {"count": 2})
    [stored] = world.stored("events")
    assert b'"count":2' in stored.desired
    with pytest.raises(NotFound):
        await events.patch("shop", "gone", {"count": 2})
