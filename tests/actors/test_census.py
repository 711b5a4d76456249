"""What the built-in actors know of all objects, from a source that misbehaves the way servers do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import anyio
import anyio.lowlevel
import pytest

from actors.builtin.census import Census
from actors.builtin.objects import Change, Facts, Listing, Ref
from actors.builtin.pool import Surroundings
from registry.errors import ExpiredError
from tests.actors.world import Lines, VirtualClock, settled

pytestmark = pytest.mark.anyio


def facts(name: str, revision: int, *, deleting: bool = False, namespace: str = "shop") -> Facts:
    return Facts(Ref("jobs", namespace, name), f"uid-{name}", revision, deleting=deleting)


class Source:
    """Objects and changes, as a test makes them."""

    def __init__(self) -> None:
        self.objects: dict[str, Facts] = {}
        self.changes: list[Change] = []
        self.faults: list[Exception] = []
        self.revision = 0
        self.stutters = False
        self.deaf = False
        self.lists = 0
        self._grown = anyio.Event()
        self._cut: Exception | None = None

    def put(self, name: str, *, deleting: bool = False, namespace: str = "shop") -> None:
        self.revision += 1
        made = facts(name, self.revision, deleting=deleting, namespace=namespace)
        self.objects[name] = made
        self._tell(Change(self.revision, False, made))

    def remove(self, name: str) -> None:
        self.revision += 1
        self._tell(Change(self.revision, True, self.objects.pop(name)))

    def cut(self, error: Exception | None = None) -> None:
        """The watch ends, or fails."""
        self._cut = error or StopAsyncIteration()
        self._wake()

    def _tell(self, change: Change) -> None:
        if not self.deaf:
            self.changes.append(change)
            self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = anyio.Event()

    async def list(self) -> Listing:
        self.lists += 1
        if self.faults:
            raise self.faults.pop(0)
        return Listing(self.revision, iter(list(self.objects.values())))

    async def watch(self, after: int) -> AsyncGenerator[Sequence[Change], None]:
        self._cut = None
        while self._cut is None:
            grown = self._grown
            found = [change for change in self.changes if change.revision > after]
            if found:
                for _ in range(1 + self.stutters):
                    yield found
                after = found[-1].revision
            else:
                await grown.wait()
        if not isinstance(self._cut, StopAsyncIteration):
            raise self._cut


class Told:
    """A listener that remembers, and that looks at the census when it is told."""

    def __init__(self, census: Census) -> None:
        self.census = census
        self.seen: list[tuple[str, bool, bool]] = []  # name, was there, is there

    def changed(self, old: Facts | None, new: Facts | None) -> None:
        either = new or old
        assert either is not None
        assert self.census.get(either.uid) is new
        self.seen.append((either.ref.name, old is not None, new is not None))

    def since(self) -> list[tuple[str, bool, bool]]:
        seen, self.seen = self.seen, []
        return seen


class Stage:
    def __init__(self) -> None:
        self.source, self.clock, self.log = Source(), VirtualClock(), Lines()
        self.census = Census(self.source, Surroundings(self.clock, Random(1), self.log))
        self.told = Told(self.census)
        self.census.tell(self.told)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.census.run)
            await settled()
            yield
            tasks.cancel_scope.cancel()


async def test_every_difference_is_told_once() -> None:
    stage = Stage()
    stage.source.put("a")
    async with stage.running():
        assert stage.told.since() == [("a", False, True)]
        stage.source.put("b")
        stage.source.put("a", deleting=True)
        await settled()
        assert stage.told.since() == [("b", False, True), ("a", True, True)]
        stage.source.put("a", deleting=True)  # nothing that matters
        stage.source.remove("b")
        await settled()
        assert stage.told.since() == [("b", True, False)]
        assert stage.census.get("uid-a") == stage.source.objects["a"]
        assert stage.census.revision == stage.source.revision


async def test_a_batch_is_seen_as_a_whole() -> None:
    """What came and went in one batch was never there."""
    stage = Stage()
    async with stage.running():
        stage.source.put("a")
        stage.source.put("b")
        stage.source.remove("a")
        await settled()
        assert stage.told.since() == [("b", False, True)]


async def test_what_is_delivered_twice_counts_once() -> None:
    stage = Stage()
    stage.source.stutters = True
    async with stage.running():
        stage.source.put("a")
        await settled()
        stage.source.remove("a")
        await settled()
        assert stage.told.since() == [("a", False, True), ("a", True, False)]


@pytest.mark.parametrize("error", [None, RuntimeError("away")])
async def test_a_watch_that_ends_is_begun_again_where_it_was(error: Exception | None) -> None:
    stage = Stage()
    async with stage.running():
        stage.source.put("a")
        await settled()
        stage.source.cut(error)
        await settled()
        stage.source.put("b")
        await stage.clock.advance(60.0)
        assert stage.told.since() == [("a", False, True), ("b", False, True)]
        assert stage.source.lists == 1


async def test_after_a_gap_everything_that_is_different_is_told() -> None:
    stage = Stage()
    for name in ("a", "b", "c"):
        stage.source.put(name)
    async with stage.running():
        stage.told.since()
        stage.source.deaf = True
        stage.source.remove("a")
        stage.source.put("b", deleting=True)
        stage.source.put("d")
        stage.source.deaf = False
        stage.source.cut(ExpiredError("too old"))
        await stage.clock.advance(60.0)
        assert stage.told.since() == [("a", True, False), ("b", True, True), ("d", False, True)]


async def test_a_source_that_cannot_be_listed_is_asked_again() -> None:
    stage = Stage()
    stage.source.faults = [RuntimeError("away")] * 3
    stage.source.put("a")
    async with stage.running():
        assert not stage.census.synced
        await stage.clock.advance(10.0)
        assert stage.census.synced
        assert stage.told.since() == [("a", False, True)]
        assert [line["because"] for line in stage.log.of("watching again")] == ["RuntimeError: away"] * 2


async def test_the_end_of_an_object_that_was_not_told_of_is_told() -> None:
    stage = Stage()
    async with stage.running():
        stage.source.deaf = True
        stage.source.put("plain")
        stage.source.deaf = False
        stage.source.remove("plain")
        await settled()
        assert stage.told.since() == [("plain", True, False)]


async def test_others_run_while_a_long_list_is_read() -> None:
    stage = Stage()
    for number in range(5_000):
        stage.source.put(f"o{number}")
    turns = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.census.run)
        while not stage.census.synced:
            turns += 1
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert turns >= 5
