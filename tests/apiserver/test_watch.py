"""Watch streams against what a list would show: complete, in order, on time, and truthful about how far they are."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apiserver import watch
from apiserver.forms import View
from apiserver.negotiation import Form
from apiserver.options import list_options, parse_query
from apiserver.stored import in_version
from registry.errors import ExpiredError
from storage.feed import Limits
from storage.sql import Options
from tests.apiserver.world import CONFIGMAPS, GADGETS, NAMESPACES, WIDGETS, World, opened

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
END = {"labels": {"app": "x"}}
"""An object that every selector here matches, made last: whoever has seen it has seen all."""


class Client:
    """What one client of a stream takes: at once if `quick`, else when it gets to it, and not at all while the gate is closed."""

    def __init__(self, *, quick: bool) -> None:
        self.events: list[Document] = []
        self.quick = quick
        self.gate = anyio.Event()
        self.gate.set()
        self.on_event: Callable[[], Any] | None = None
        self._grown = anyio.Event()

    async def send(self, data: bytes) -> None:
        """The slow way."""
        await self.gate.wait()
        await anyio.lowlevel.checkpoint()
        self._take(data)
        if self.on_event is not None:
            await self.on_event()

    def push(self, data: bytes) -> bool:
        """The quick way, which is there most of the time."""
        if not self.quick or not self.gate.is_set():
            return False
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        assert data.endswith(b"\n")
        self.events += [msgspec.json.decode(line) for line in data.splitlines()]
        self._grown.set()
        self._grown = anyio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits until it holds of what has come."""
        while not holds():
            await self._grown.wait()

    async def come(self, count: int) -> None:
        """Waits for so many events."""
        await self.until(lambda: len(self.events) == count)

    async def another_bookmark(self) -> None:
        """Waits for the next one."""
        before = self.names.count(("BOOKMARK", ""))
        await self.until(lambda: self.names.count(("BOOKMARK", "")) > before)

    @property
    def revisions(self) -> list[int]:
        """The revisions of all events."""
        return [int(event["object"]["metadata"]["resourceVersion"]) for event in self.events]

    @property
    def names(self) -> list[tuple[str, str]]:
        """What happened to which object."""
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in self.events]


@asynccontextmanager
async def watching(
    world: World,
    client: Client,
    path: str = WIDGETS,
    *,
    bookmark_every: float = 60.0,
    longest: float = 600.0,
    wait: bool = False,
    **query: object,
) -> AsyncIterator[watch.Stream]:
    """A stream for the body; then it is left. `wait`: it has to end by itself."""
    target = world.target(path)
    parsed = parse_query(urlencode({key.rstrip("_"): value for key, value in query.items()}).encode())
    options = list_options(parsed, watch=True)
    matcher = world.manager.matcher(world.call("watch", path), options)
    place = await watch.begin(world.store, target.kind.resource, target.namespace, options)
    stream = watch.Stream(
        world.store,
        View(target.kind, target.version, Form()),
        matcher,
        options,
        client.send,
        client.push,
        fanout=watch.Fanout(),
        chance=random.Random(0),
        bookmark_every=bookmark_every,
        longest=longest,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.run, place)
        yield stream
        if not wait:
            stream.leave()


async def widget(world: World, name: str, **metadata: Any) -> Document:
    return await world.make(WIDGETS, name, metadata=metadata, spec={"size": 1})


class Replica:
    """A client's copy of a collection, kept by the rules of the watch: what breaks them fails."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Document] = {}
        self.revision = 0

    def apply(self, event: Document) -> None:
        """Takes one event."""
        metadata = event["object"]["metadata"]
        revision, initial = int(metadata["resourceVersion"]), event["type"] == "ADDED" and not self.revision
        assert initial or revision > self.revision
        key = (metadata["namespace"], metadata["name"])
        assert (event["type"] == "ADDED") == (key not in self.objects)
        if event["type"] == "DELETED":
            del self.objects[key]
        else:
            self.objects[key] = event["object"]


operations = st.lists(
    st.tuples(
        st.sampled_from(["make", "relabel", "recolor", "status", "delete", "other"]),
        st.sampled_from(["shop", "default"]),
        st.sampled_from("abc"),
        st.sampled_from(["x", "y"]),
        st.sampled_from(["red", "green"]),
    ),
    max_size=25,
)


async def operate(world: World, operation: tuple[str, str, str, str, str]) -> None:
    """Does it if it can be done."""
    what, namespace, name, app, color = operation
    collection = f"/apis/reference.example.com/v1/namespaces/{namespace}/widgets"
    path = f"{collection}/{name}"
    there = any(record.key[1:] == (namespace, name) for record in world.stored("widgets.reference.example.com"))
    if what == "other":
        await world.merge(f"{NAMESPACES}/shop", {"metadata": {"labels": {"n": name + app + color}}})
    elif what == "make" and not there:
        await world.make(collection, name, metadata={"labels": {"app": app}}, spec={"size": 1, "color": color})
    elif there and what == "relabel":
        await world.merge(path, {"metadata": {"labels": {"app": app}}})
    elif there and what == "recolor":
        await world.merge(path, {"spec": {"color": color}})
    elif there and what == "status":
        await world.merge(f"{path}/status", {"status": {"phase": app}})
    elif there and what == "delete":
        await world.do("delete", path)


@settings(max_examples=40, deadline=None)
@given(
    before=operations,
    after=operations,
    path=st.sampled_from(["/apis/reference.example.com/v1/widgets", WIDGETS, "/apis/reference.example.com/v1beta1/widgets"]),
    labels=st.sampled_from(["", "app=x", "app!=y"]),
    fields=st.sampled_from(["", "spec.color=red", "spec.color!=green,metadata.name!=b"]),
    quick=st.booleans(),
    window=st.sampled_from([4096, 3]),
)
async def test_the_events_of_a_watch_keep_a_copy_equal_to_the_list(
    before: list[Any], after: list[Any], path: str, labels: str, fields: str, quick: bool, window: int
) -> None:
    async with opened(options=Options(window=Limits(window))) as world:
        for operation in before:
            await operate(world, operation)
        client = Client(quick=quick)
        async with watching(world, client, path, labelSelector=labels, fieldSelector=fields):
            for operation in after:
                await operate(world, operation)
            await world.make(WIDGETS, "end", metadata=END, spec={"size": 1, "color": "red"})
            await client.until(lambda: ("ADDED", "end") in client.names)
        page = (await world.do("list", path, query=urlencode({"labelSelector": labels, "fieldSelector": fields}))).page
        assert page is not None
        replica = Replica()
        for event in client.events:
            replica.apply(event)
        version = world.target(path).version
        assert replica.objects == {record.key[1:]: in_version(version, record) for record in page.records}
        assert ("shop", "end") in replica.objects


async def test_an_object_that_leaves_a_selector_is_deleted_as_it_was(world: World) -> None:
    await widget(world, "a", labels={"app": "x"})
    client = Client(quick=True)
    async with watching(world, client, labelSelector="app=x"):
        left = await world.merge(f"{WIDGETS}/a", {"metadata": {"labels": {"app": "y"}}})
        await client.until(lambda: len(client.events) == 2)
    assert client.names == [("ADDED", "a"), ("DELETED", "a")]
    assert client.events[1]["object"]["metadata"]["labels"] == {"app": "x"}
    assert client.revisions[1] == int(left["metadata"]["resourceVersion"])


# Where a stream begins


async def test_a_watch_after_a_revision_shows_what_came_later_and_nothing_else(world: World) -> None:
    await widget(world, "a")
    client = Client(quick=True)
    async with watching(world, client, resourceVersion=world.store.revision):
        await widget(world, "b")
        await client.until(lambda: bool(client.events))
    assert client.names == [("ADDED", "b")]


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_watch_without_a_revision_shows_first_what_is_there(world: World, version: str) -> None:
    await widget(world, "a")
    client = Client(quick=True)
    async with watching(world, client, resourceVersion=version):
        await client.until(lambda: bool(client.events))
    assert client.names == [("ADDED", "a")]


async def test_initial_events_end_with_a_bookmark_that_says_so(world: World) -> None:
    for name in ("a", "b"):
        await widget(world, name)
    revision = world.store.revision
    client = Client(quick=True)
    async with watching(
        world,
        client,
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
        resourceVersion="1",
    ):
        await widget(world, "c")
        await client.until(lambda: len(client.events) == 4)
    assert client.names == [("ADDED", "a"), ("ADDED", "b"), ("BOOKMARK", ""), ("ADDED", "c")]
    mark = client.events[2]["object"]["metadata"]
    assert mark == {"resourceVersion": str(revision), "annotations": {"k8s.io/initial-events-end": "true"}}


async def test_without_initial_events_a_watch_begins_now(world: World) -> None:
    await widget(world, "a")
    client = Client(quick=True)
    async with watching(world, client, sendInitialEvents="false", resourceVersionMatch="NotOlderThan"):
        await widget(world, "b")
        await client.until(lambda: bool(client.events))
    assert client.names == [("ADDED", "b")]


async def test_a_watch_out_of_history_is_refused_at_once(world: World) -> None:
    await widget(world, "a")
    await world.store.compact(0.0, max_age=float("inf"), max_count=0)
    with pytest.raises(ExpiredError, match="too old resource version: 1 "):
        await watch.begin(world.store, "widgets", None, list_options(parse_query(b"resourceVersion=1"), watch=True))


async def test_a_watch_of_the_future_waits_for_it_and_vouches_for_nothing_before(world: World) -> None:
    ahead = world.store.revision + 2
    client = Client(quick=True)
    async with watching(world, client, bookmark_every=0.005, resourceVersion=ahead, allowWatchBookmarks="true"):
        for name in ("a", "b", "c"):
            await widget(world, name)
            await anyio.sleep(0.02)  # bookmarks are due by now
        await client.until(lambda: ("BOOKMARK", "") in client.names)
    assert [name for name in client.names if name[0] == "ADDED"] == [("ADDED", "c")]
    assert min(client.revisions) >= ahead


# Bookmarks and the end


async def test_a_bookmark_vouches_for_all_that_came_before_it(world: World) -> None:
    client = Client(quick=True)
    chance = random.Random(1)
    async with watching(world, client, labelSelector="app=x", allowWatchBookmarks="true", bookmark_every=0.002):
        for n in range(60):
            name = f"w{chance.randrange(5)}"
            await operate(
                world, (chance.choice(["make", "make", "relabel", "delete", "other"]), "shop", name, chance.choice("xy"), "red")
            )
            if n % 7 == 0:
                await client.another_bookmark()
    replica, marks = Replica(), 0
    for event in client.events:
        if event["type"] != "BOOKMARK":
            replica.apply(event)
            continue
        marks += 1
        revision = int(event["object"]["metadata"]["resourceVersion"])
        then = await world.store.list_at(revision, "widgets.reference.example.com", "shop")
        matcher = world.manager.matcher(world.call("list", WIDGETS), list_options(parse_query(b"labelSelector=app=x"), watch=False))
        assert set(replica.objects) == {record.key[1:] for record in then.records if matcher.matches(record)}
        replica.revision = revision  # and what comes after it is newer
    assert marks > 5


async def test_a_stream_without_an_end_of_its_own_ends_by_itself(world: World) -> None:
    client = Client(quick=True)
    async with watching(world, client, longest=0.01, wait=True):
        pass
    assert client.events == []


async def test_a_stream_says_before_its_end_how_far_it_is(world: World) -> None:
    client = Client(quick=True)
    async with watching(world, client, longest=0.01, wait=True, allowWatchBookmarks="true"):
        pass
    assert client.names[-1] == ("BOOKMARK", "")
    assert client.revisions[-1] == world.store.revision


@pytest.mark.parametrize("selector", ["", "app=x"])
async def test_a_stream_ends_on_time_also_when_there_is_always_more(world: World, selector: str) -> None:
    client = Client(quick=False)
    await widget(world, "a", labels={"app": "x"})
    count = 0

    async def another() -> None:
        nonlocal count
        count += 1
        await world.merge(f"{WIDGETS}/a", {"spec": {"notes": str(count)}})

    client.on_event = another
    async with watching(world, client, longest=0.05, wait=True, labelSelector=selector):
        pass
    assert client.revisions == sorted(set(client.revisions))


async def test_a_stream_that_is_left_sends_nothing_more(world: World) -> None:
    client = Client(quick=True)
    async with watching(world, client) as stream:
        await widget(world, "a")
        await client.until(lambda: bool(client.events))
        stream.leave()
        await widget(world, "b")
    assert stream.left
    assert client.names == [("ADDED", "a")]


async def test_streams_end_with_the_store(world: World) -> None:
    client = Client(quick=True)
    async with watching(world, client, wait=True) as stream:
        await widget(world, "a")
        await client.until(lambda: bool(client.events))
        world.store.end_watches()
    assert stream.left


async def test_a_stream_that_begins_while_the_store_ends_its_watches_ends(world: World) -> None:
    client = Client(quick=True)
    async with watching(world, client, wait=True) as stream:
        world.store.end_watches()  # its place was found, and it has not run yet
    assert stream.left


# Slow clients

SMALL = Options(window=Limits(8))


async def test_a_slow_client_falls_out_of_the_window_and_misses_nothing() -> None:
    async with opened(options=SMALL) as world:
        client = Client(quick=True)
        async with watching(world, client, resourceVersion=world.store.revision):
            client.gate = anyio.Event()
            for n in range(60):
                await widget(world, f"w{n}")
                await world.make(CONFIGMAPS, f"c{n}")
            assert client.events == []
            client.gate.set()
            await client.until(lambda: len(client.events) == 60)
        assert client.names == [("ADDED", f"w{n}") for n in range(60)]


async def test_a_client_that_is_slower_than_history_is_told_so_and_the_stream_ends() -> None:
    async with opened(options=SMALL) as world:
        client = Client(quick=True)
        async with watching(world, client, wait=True, resourceVersion=world.store.revision):
            client.gate = anyio.Event()
            for n in range(30):
                await widget(world, f"w{n}")
            await world.store.compact(0.0, max_age=float("inf"), max_count=0)
            client.gate.set()
        assert client.events[-1]["type"] == "ERROR"
        status = client.events[-1]["object"]
        assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
        seen = client.names[:-1]
        assert seen == [("ADDED", f"w{n}") for n in range(len(seen))]


async def test_a_slow_client_delays_nobody(world: World) -> None:
    slow, quick = Client(quick=True), Client(quick=True)
    slow.gate = anyio.Event()
    async with watching(world, slow), watching(world, quick):
        for n in range(20):
            await widget(world, f"w{n}")
        await quick.until(lambda: len(quick.events) == 20)
        assert slow.events == []
        slow.gate.set()
        await slow.until(lambda: len(slow.events) == 20)
    assert slow.events == quick.events


async def test_a_client_that_takes_nothing_is_stalled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(quick=False)
    async with watching(world, client) as stream:
        client.gate = anyio.Event()
        await widget(world, "a")
        monkeypatch.setattr(watch, "STALLED", 0.0)
        while not stream.stalled:
            await anyio.lowlevel.checkpoint()
        client.gate.set()
        await client.until(lambda: bool(client.events))
        while stream.stalled:
            await anyio.lowlevel.checkpoint()


async def test_many_streams_share_the_fan_out_and_each_gets_everything(world: World) -> None:
    clients = [Client(quick=n % 5 != 0) for n in range(watch.TURN + 50)]
    target = world.target(GADGETS)
    options = list_options({}, watch=True)
    matcher = world.manager.matcher(world.call("watch", GADGETS), options)
    view, fanout, chance = View(target.kind, target.version, Form()), watch.Fanout(), random.Random(0)
    streams = [
        watch.Stream(
            world.store,
            view,
            matcher,
            options,
            client.send,
            client.push,
            fanout=fanout,
            chance=chance,
            bookmark_every=60,
            longest=60,
        )
        for client in clients
    ]
    async with anyio.create_task_group() as tasks:
        for stream in streams:
            tasks.start_soon(stream.run, await watch.begin(world.store, target.kind.resource, None, options))
        for n in range(30):
            await world.make(GADGETS, f"g{n}")
        for client in clients:
            await client.come(30)
        for stream in streams:
            stream.leave()
    assert all(client.events == clients[0].events for client in clients)
    assert clients[0].names == [("ADDED", f"g{n}") for n in range(30)]
