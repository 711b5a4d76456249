"""Supervision on a clock that stands still: what breaks stays apart, is told of, and is started again ever more slowly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest

from actors import Place
from actors.insight import Insight, Snapshot
from actors.runner import Runner
from apiserver.supervision import HEALTHY_SECONDS, Supervisor
from registry.typed import to_document
from tests.actors.world import Job, Lines, Stage, VirtualClock, job, settled

pytestmark = pytest.mark.anyio


@pytest.fixture
def stage() -> Stage:
    return Stage()


class Fragile:
    """A runner that breaks when it is told to."""

    def __init__(self, insight: Insight) -> None:
        self.insight = insight
        self.broken: BaseException | None = None
        self.happened = anyio.Event()
        self.paused = False
        self.woken: list[Place] = []
        self.set_up_error = ""

    async def run(self) -> None:
        await self.happened.wait()
        if self.broken is not None:
            raise self.broken

    def breaks(self, error: BaseException) -> None:
        self.broken = error
        self.happened.set()

    def stop(self, grace: float) -> None:
        self.happened.set()

    def wake(self, place: Place) -> None:
        self.woken.append(place)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def snapshot(self) -> Snapshot:
        template = Stage().runner(lambda obj, client: None).snapshot()
        values: dict[str, Any] = {name: getattr(template, name) for name in Snapshot.__slots__}
        return Snapshot(**values | {"live": True, "synced": True, "paused": self.paused, "set_up_error": self.set_up_error})


class House:
    """A supervisor and the runners that it has made."""

    def __init__(self, *, paused: bool = False) -> None:
        self.clock = VirtualClock()
        self.log = Lines()
        self.made: list[Fragile] = []
        self.supervisor = Supervisor("fragile", self._make, self.clock, Random(3), self.log, paused=paused)

    def _make(self, insight: Insight) -> Fragile:
        self.made.append(Fragile(insight))
        return self.made[-1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.supervisor.run)
            await settled()
            yield
            tasks.cancel_scope.cancel()

    async def breaks(self, error: BaseException | None = None) -> None:
        self.made[-1].breaks(error or RuntimeError("no"))
        await settled()

    def pauses(self) -> list[float]:
        return [fields["pause"] for fields in self.log.of("an actor broke; it is started again")]


async def test_what_breaks_is_down_and_named_until_it_is_started_again() -> None:
    house = House()
    async with house.running():
        assert (house.supervisor.state, await house.supervisor.healthy()) == ("Running", True)
        await house.breaks(RuntimeError("password=topsecret is wrong"))
        assert (house.supervisor.state, await house.supervisor.healthy()) == ("Failed", False)
        assert house.supervisor.view().message == "RuntimeError: password=*** is wrong"
        await house.clock.advance(1)
        assert (house.supervisor.state, house.supervisor.view().message, await house.supervisor.healthy()) == ("Running", "", True)
        assert (len(house.made), house.supervisor.restarts) == (2, 1)
        assert house.made[0].insight is house.made[1].insight, "counts go on"


async def test_pauses_double_up_to_a_minute_and_differ_by_chance() -> None:
    house = House()
    async with house.running():
        for _ in range(10):
            await house.breaks()
            await house.clock.advance(60)
    full = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert all(0.8 * most <= pause <= most for pause, most in zip(house.pauses(), full, strict=True))
    assert len(set(house.pauses()[-4:])) == 4


async def test_after_it_ran_well_for_a_while_the_first_pause_comes_again() -> None:
    house = House()
    async with house.running():
        for _ in range(4):
            await house.breaks()
            await house.clock.advance(10)
        await house.clock.advance(HEALTHY_SECONDS)
        await house.breaks()
    assert 4 <= house.pauses()[3] <= 8
    assert house.pauses()[4] <= 1


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit()])
async def test_what_is_no_ordinary_exception_in_a_group_stays_apart_too(error: BaseException) -> None:
    house = House()
    async with house.running():
        await house.breaks(BaseExceptionGroup("tasks", [ExceptionGroup("inner", [ValueError("deep")]), error]))
        assert house.supervisor.view().message == "ValueError: deep"


async def test_an_exception_that_cannot_be_shown_is_named() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    house = House()
    async with house.running():
        await house.breaks(Unspeakable())
        assert house.supervisor.view().message == "Unspeakable"


async def test_cancellation_ends_it_at_work_and_in_a_pause() -> None:
    house = House()
    async with house.running():
        pass
    house = House()
    async with house.running():
        await house.breaks()
    assert len(house.made) == 1


async def test_a_pause_holds_when_it_is_started_again_and_before_it_runs() -> None:
    house = House(paused=True)
    assert house.made[0].paused
    async with house.running():
        assert house.supervisor.state == "Paused"
        await house.breaks()
        assert house.supervisor.state == "Failed"
        await house.clock.advance(1)
        assert house.made[1].paused
        house.supervisor.resume()
        assert (house.made[1].paused, house.supervisor.state) == (False, "Running")
        await house.breaks()
        house.supervisor.pause()
        await house.clock.advance(60)
        assert house.made[2].paused
    assert [event for _, event, _ in house.log.lines if "broke" not in event] == ["an actor goes on", "an actor is paused"]


async def test_a_set_up_that_fails_is_told_as_a_failure() -> None:
    house = House()
    async with house.running():
        house.made[0].set_up_error = "OSError: no such host"
        assert (house.supervisor.state, house.supervisor.view().message) == ("Failed", "OSError: no such host")
        assert not await house.supervisor.healthy()


async def test_stopping_ends_it_at_work_and_in_a_pause_and_it_is_not_started_again() -> None:
    for broken in (False, True):
        house = House()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(house.supervisor.run)
            await settled()
            if broken:
                await house.breaks()
            house.supervisor.stop(5)
        assert (house.supervisor.state, len(house.made), await house.supervisor.healthy()) == ("Stopped", 1, True)


async def test_what_breaks_while_it_is_stopped_ends() -> None:
    house = House()
    house.made[0].broken = RuntimeError("in its last words")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(house.supervisor.run)
        await settled()
        house.supervisor.stop(5)
    assert house.log.of("an actor broke while it was stopped")


async def test_whoever_listens_is_told_of_failures_and_recoveries() -> None:
    house = House()
    states: list[str] = []
    house.supervisor.listen(lambda: states.append(house.supervisor.state))
    async with house.running():
        await house.breaks()
        await house.clock.advance(1)
        house.supervisor.stop(1)
        await settled()
    assert states == ["Failed", "Running", "Stopped", "Stopped"]


async def test_real_actors_do_not_take_each_other_down(stage: Stage) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    async def breaks(obj: Job, client: object) -> None:
        raise Unspeakable

    seen: list[str] = []

    async def works(obj: Job, client: object) -> None:
        seen.append(obj.metadata.name)

    def supervisor(reconcile: Any) -> Supervisor:
        template = stage.runner(reconcile)
        return Supervisor(
            reconcile.__name__,
            lambda insight: Runner(template.actor, template._environment, insight),
            stage.clock,
            Random(1),
            stage.log,
        )

    stage.world.put(Job, to_document(job("a")))
    broken, working = supervisor(breaks), supervisor(works)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broken.run)
        tasks.start_soon(working.run)
        await settled()
        assert (broken.state, working.state) == ("Failed", "Running")
        await stage.clock.advance(10)
        stage.world.put(Job, to_document(job("b")))
        await settled()
        assert seen == ["a", "b"]
        assert broken.restarts >= 2
        broken.stop(1)
        working.stop(1)
