"""The actors of a server under test: each lives, is killed, and lives again, in the parts that they share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup

from actors.actor import Actor
from actors.builtin.pool import Surroundings
from actors.runner import Runner
from apiserver.manager import Manager
from apiserver.testing.activity import Activity
from apiserver.testing.clock import VirtualClock
from apiserver.testing.doors import Tally, TestedDoor, TestedSource
from apiserver.testing.faults import Faults, Life
from apiserver.testing.logs import Lines
from apiserver.testing.order import Order
from apiserver.testing.queues import TestedQueue
from apiserver.testing.watched import watched
from apiserver.wiring import environment, make_manager
from registry.catalog import Registry
from registry.declarations import Place
from storage.sql import SqlStore

BODY_BYTES = 3 * 2**20


class Parts(NamedTuple):
    """What a server under test is made of."""

    manager: Manager
    store: SqlStore
    clock: VirtualClock
    order: Order
    activity: Activity
    faults: Faults
    log: Lines

    def surroundings(self, name: str) -> Surroundings:
        """What an actor of the server itself runs in."""
        return Surroundings(self.clock, self.order.chance, self.log.bind(actor=name))


def make_parts(registry: Registry, store: SqlStore, clock: VirtualClock, order: Order) -> Parts:
    """The parts around a store."""
    log = Lines()
    manager = make_manager(registry, store, log, now=clock.time, chance=order.chance, body_bytes=BODY_BYTES)
    return Parts(manager, store, clock, order, Activity(), Faults(), log)


class _Hosted:
    """An actor, dead or alive."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.tally = Tally()
        self.life: Life
        self.runner: Runner
        self.down: anyio.Event


class Hosting:
    """Runs actors as tasks of `tasks`, from now on."""

    def __init__(self, parts: Parts, actors: Iterable[Actor], tasks: TaskGroup) -> None:
        self._parts = parts
        self._tasks = tasks
        self._hosted = {actor.name: _Hosted(actor) for actor in actors}
        for name in self._hosted:
            self.start(name)

    @property
    def names(self) -> Collection[str]:
        """All actors."""
        return self._hosted.keys()

    def tally(self, name: str) -> Tally:
        """What an actor has written."""
        return self._hosted[name].tally

    def start(self, name: str) -> None:
        """A new life of an actor that has none."""
        parts, hosted = self._parts, self._hosted[name]
        actor, faults = watched(hosted.actor, parts.activity), parts.faults
        life = Life(name, parts.order, parts.clock, parts.activity)
        given = environment(parts.manager, actor, clock=parts.clock, chance=parts.order.chance, log=parts.log.bind(actor=name))
        tested = replace(
            given,
            source=TestedSource(given.source, life, faults),
            door=TestedDoor(given.door, life, faults, hosted.tally),
            queue=partial(TestedQueue, actor=name, activity=parts.activity, order=parts.order, twice=lambda: faults.twice),
        )
        hosted.life, hosted.runner, hosted.down = life, Runner(actor, tested), anyio.Event()
        self._tasks.start_soon(self._live, name, life, hosted.runner, hosted.down)

    async def kill(self, name: str) -> None:
        """Ends the life of an actor, if it has one."""
        hosted = self._hosted[name]
        if hosted.life.alive:
            hosted.life.kill("by the test")
        await hosted.down.wait()

    def wake(self, name: str, place: Place) -> None:
        """An actor is to look at an object."""
        self._hosted[name].runner.wake(place)

    def end_watches(self, name: str, error: Exception | None) -> None:
        """The watches of an actor end."""
        for stream in list(self._hosted[name].life.streams):
            stream.end(error)

    def stop(self, grace: float) -> None:
        """Ends all actors in an orderly way, in so many virtual seconds at most."""
        for hosted in self._hosted.values():
            hosted.runner.stop(grace)

    async def _live(self, name: str, life: Life, runner: Runner, down: anyio.Event) -> None:
        with life.scope:
            await runner.run()
        life.alive = False
        down.set()
        if life.restarts:
            self.start(name)
