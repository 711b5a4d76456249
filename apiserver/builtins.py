"""The built-in actors, wired: one census of all objects, and those who act on it, each under an identity of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from actors.actor import Actor
from actors.builtin import aggregation, namespaces
from actors.builtin.census import Census
from actors.builtin.collector import Collector
from actors.builtin.expiry import Expiry
from actors.builtin.objects import Facts
from actors.builtin.pool import Surroundings
from actors.recorder import EventRecorder
from actors.runner import Environment, Runner
from admission.identity import Identity, actor_identity
from apiserver import definitions_keeper
from apiserver.client import ManagerDoor, ManagerEvents, ManagerSource
from apiserver.definitions import Definitions
from apiserver.definitions_keeper import Keeper
from apiserver.manager import Manager
from apiserver.objects import FactsOf, ManagerReach, StoreObjects
from apiserver.roles import RoleSums
from apiserver.usage import NAME as QUOTAS
from apiserver.usage import Usage
from registry.catalog import Update
from registry.custom.kinds import CallOf, relabelled
from registry.declarations import Place
from storage.sql import SqlStore

COLLECTOR = "garbage-collector"
EXPIRY = "expiry"
AGGREGATION = aggregation.NAME
DEFINITIONS = definitions_keeper.NAME
PAUSES = (1.0, 60.0)
"""Seconds before one that broke is started again: at first, and at most."""


class Builtins:
    """Runs the built-in actors. `run` returns after `stop`; one that breaks is started again.

    `surroundings` gives each its own, by name; `call_of` who converts the objects of a defined kind.
    """

    def __init__(
        self,
        manager: Manager,
        store: SqlStore,
        surroundings: Callable[[str], Surroundings],
        *,
        event_seconds: float,
        call_of: CallOf = relabelled,
    ) -> None:
        self._around = around = surroundings("census")
        self.definitions = Definitions(manager.catalog, surroundings(DEFINITIONS).log, call_of)
        self.definitions.follow(store)
        self.keeper = Keeper(manager, store, self.definitions, actor_identity(DEFINITIONS), surroundings(DEFINITIONS))
        self._store = store
        facts_of = FactsOf(manager.catalog, around.clock.time, event_seconds)
        self.census = Census(StoreObjects(manager.catalog, store, facts_of), around)
        self.collector = Collector(self.census, ManagerReach(manager, actor_identity(COLLECTOR), facts_of), surroundings(COLLECTOR))
        self.expiry = Expiry(self.census, ManagerReach(manager, actor_identity(EXPIRY), facts_of), surroundings(EXPIRY))
        self.namespaces = _namespace_runner(manager, facts_of, surroundings(namespaces.NAME))
        aggregator = aggregation.aggregator(RoleSums(manager.authorization.rbac))
        self.aggregation = _runner(manager, aggregator, actor_identity(AGGREGATION), surroundings(AGGREGATION))
        self.usage = Usage(manager, store, surroundings(QUOTAS))
        self.census.tell(self.collector, self.expiry, self)
        manager.catalog.follow(self._kinds_changed)
        self._stopping = anyio.Event()

    @property
    def synced(self) -> bool:
        """Whether all of them have seen what there is."""
        return self.census.synced and self.namespaces.snapshot().synced and self.aggregation.snapshot().synced

    def changed(self, old: Facts | None, new: Facts | None) -> None:
        """The last object of a namespace is gone: its controller may be waiting for that."""
        if old is not None and new is None and old.ref.namespace and not self._store.populated(old.ref.namespace):
            self.namespaces.wake(Place("", old.ref.namespace))

    def _kinds_changed(self, update: Update) -> None:
        if any(update.before.of_resource(resource) is None for resource in update.changed):
            self.collector.kinds_came()

    async def run(self) -> None:
        """Runs them until they are stopped."""
        async with anyio.create_task_group() as follower:
            follower.start_soon(self._kept, "census", self.census.run)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._kept, namespaces.NAME, self.namespaces.run)
                tasks.start_soon(self._kept, AGGREGATION, self.aggregation.run)
                tasks.start_soon(self._kept, COLLECTOR, self.collector.run)
                tasks.start_soon(self._kept, EXPIRY, self.expiry.run)
                tasks.start_soon(self._kept, QUOTAS, self.usage.run)
                tasks.start_soon(self._kept, DEFINITIONS, self.keeper.run)
            follower.cancel_scope.cancel()

    def stop(self, grace: float) -> None:
        """What is under way may finish within `grace` seconds."""
        self._stopping.set()
        self.namespaces.stop(grace)
        self.aggregation.stop(grace)
        self.collector.stop(grace)
        self.expiry.stop(grace)
        self.usage.stop(grace)
        self.keeper.stop(grace)

    async def _kept(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        clock, (pause, longest) = self._around.clock, PAUSES
        while not self._stopping.is_set():
            try:
                await run()
                return
            except Exception as error:
                self._around.log.error("an actor broke; it is started again", actor=name, pause=pause, exc_info=error)
            with clock.deadline(clock.now() + pause):
                await self._stopping.wait()
            pause = min(pause * 2, longest)


def _namespace_runner(manager: Manager, facts_of: FactsOf, around: Surroundings) -> Runner:
    who = actor_identity(namespaces.NAME)
    reach = ManagerReach(manager, who, facts_of)
    return _runner(manager, namespaces.namespace_controller(reach, reach, around.clock, around.log), who, around)


def _runner(manager: Manager, actor: Actor, who: Identity, around: Surroundings) -> Runner:
    events = EventRecorder(ManagerEvents(manager, who), actor.name, around.clock, around.chance, around.log)
    environment = Environment(
        source=ManagerSource(manager),
        door=ManagerDoor(manager, who),
        recorder=events,
        clock=around.clock,
        chance=around.chance,
        log=around.log,
    )
    return Runner(actor, environment)
