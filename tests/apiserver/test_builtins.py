"""The built-in actors together: how they start, break and stop."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest

from actors.builtin.pool import Pool, Surroundings
from registry.errors import ConflictError
from tests.actors.world import Lines, VirtualClock, settled
from tests.apiserver.keeping import keeping, owner

pytestmark = pytest.mark.anyio


async def test_one_that_breaks_is_started_again_and_the_others_go_on() -> None:
    async with keeping() as keeper:
        built = keeper.build()
        built.collector.run = explodes(built.collector.run)
        keeper._tasks.start_soon(keeper._run, built)
        await keeper.quiet()
        made = await keeper.widget("owner")
        await keeper.widget("child", owner(made))
        await keeper.delete(made)
        await keeper.clock.advance(10.0)
        await keeper.quiet()
        assert not keeper.there()
        told = keeper.log.of("an actor broke; it is started again")
        assert [(line["actor"], str(line["exc_info"])) for line in told] == [("garbage-collector", "a bug")]


def explodes(run: Any) -> Any:
    """Breaks the first time."""
    first = True

    async def breaking() -> None:
        nonlocal first
        if first:
            first = False
            raise ValueError("a bug")
        await run()

    return breaking


@pytest.mark.parametrize("broken", [False, True])
async def test_they_end_when_they_are_stopped(broken: bool) -> None:
    async with keeping() as keeper:
        ended, built = anyio.Event(), keeper.build()
        if broken:
            built.collector.run = explodes(built.collector.run)

        async def run() -> None:
            await built.run()
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await settled()
            assert not ended.is_set()
            built.stop(4.0)
            await settled()
            assert ended.is_set()


class Bench:
    """A pool whose looks a test decides."""

    def __init__(self, concurrency: int = 2) -> None:
        self.clock, self.log = VirtualClock(), Lines()
        self.looks: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        self.hangs: set[str] = set()
        self.pool: Pool[str] = Pool(self._look, Surroundings(self.clock, Random(1), self.log), concurrency)

    async def _look(self, key: str) -> None:
        self.looks.append(key)
        if faults := self.faults.get(key):
            raise faults.pop(0)
        if key in self.hangs:
            await anyio.sleep_forever()


async def test_a_look_that_fails_is_repeated_and_a_conflict_is_not_worth_a_line() -> None:
    bench = Bench()
    bench.faults = {"a": [ValueError("bad"), ConflictError("busy"), ValueError("password=hunter2")]}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.pool.run)
        bench.pool.add("a")
        bench.pool.add("b")
        await settled()
        assert bench.looks == ["a", "b"]
        await bench.clock.advance(10.0)
        assert bench.looks == ["a", "b", "a", "a", "a"]
        assert [line["because"] for line in bench.log.of("tried again later")] == ["ValueError: bad", "ValueError: password=***"]
        assert bench.pool.idle
        tasks.cancel_scope.cancel()


async def test_a_look_that_hangs_does_not_hold_the_others_and_is_given_up() -> None:
    bench = Bench()
    bench.hangs = {"a"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.pool.run)
        for key in "abc":
            bench.pool.add(key)
        await settled()
        assert bench.looks == ["a", "b", "c"]
        assert not bench.pool.idle
        bench.hangs.clear()
        await bench.clock.advance(301.0)
        assert bench.looks == ["a", "b", "c", "a"]
        assert bench.pool.idle
        tasks.cancel_scope.cancel()


async def test_a_stopped_pool_lets_what_is_under_way_finish_for_a_while() -> None:
    bench = Bench(concurrency=1)
    bench.hangs = {"a"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.pool.run)
        bench.pool.add("a")
        bench.pool.add("b")
        await settled()
        bench.pool.stop(4.0)
        await bench.clock.advance(5.0)
        assert bench.looks == ["a"]
