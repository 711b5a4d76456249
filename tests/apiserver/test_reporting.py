"""The objects of actors on a real manager and store, with a clock that stands still and an actor that does as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest
from msgspec.json import encode

from actors import Place
from actors.insight import Failing, Insight, Snapshot
from admission.identity import Identity, authenticated
from apiserver.calls import Answer
from apiserver.client import ManagerDoor, ManagerSource
from apiserver.patching import APPLY_PATCH
from apiserver.reporting import ActorObjects, Entry
from apiserver.supervision import Supervisor
from registry.builtin.actor import KEEPER, WAKE
from registry.errors import Forbidden, Invalid, ServerTimeout
from storage.store import Remove
from tests.actors.world import Lines, Stage, VirtualClock
from tests.apiserver.world import World, opened

pytestmark = pytest.mark.anyio

ACTORS = "/apis/skep.dev/v1/actors"
DECLARED: dict[str, Any] = {"mode": "Async", "concurrency": 2, "source": "plugin.py:7"}
PERIOD = 5.0


class Puppet:
    """A runner that shows what it is told to show."""

    def __init__(self, insight: Insight) -> None:
        self.insight = insight
        self.shown: dict[str, Any] = {"live": True, "synced": True}
        self.paused = False
        self.woken: list[Place] = []

    async def run(self) -> None:
        await anyio.sleep_forever()

    def shows(self, **changes: Any) -> None:
        self.shown |= changes
        self.insight.changed()

    def stop(self, grace: float) -> None:
        pass

    def wake(self, place: Place) -> None:
        self.woken.append(place)

    def pause(self) -> None:
        self.paused = True
        self.insight.changed()

    def resume(self) -> None:
        self.paused = False
        self.insight.changed()

    def snapshot(self) -> Snapshot:
        template = Stage().runner(lambda obj, client: None).snapshot()
        values = {name: getattr(template, name) for name in Snapshot.__slots__}
        return Snapshot(**values | self.shown | {"paused": self.paused})


class FaultyDoor(ManagerDoor):
    """A door that refuses the next writes."""

    faults: int = 0

    async def patch(self, *arguments: Any) -> dict[str, Any]:
        if self.faults:
            self.faults -= 1
            raise ServerTimeout("the store did not take the request")
        return await super().patch(*arguments)


class House:
    """One server's actors, as far as their objects go."""

    def __init__(self, world: World, *names: str) -> None:
        self.world = world
        self.clock = VirtualClock()
        self.log = Lines()
        self.puppets: dict[str, Puppet] = {}
        keeper = authenticated(Identity(KEEPER))
        self.door = FaultyDoor(world.manager, keeper)
        self.supervisors = {name: Supervisor(name, self._maker(name), self.clock, Random(1), self.log) for name in names}
        entries = [Entry(supervisor, DECLARED) for supervisor in self.supervisors.values()]
        source = ManagerSource(world.manager)
        self.objects = ActorObjects(entries, self.door, source, self.clock, Random(1), self.log, period=PERIOD)

    def _maker(self, name: str) -> Callable[[Insight], Puppet]:
        return lambda insight: self.puppets.setdefault(name, Puppet(insight))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.objects.prepare()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.objects.run)
            yield
            tasks.cancel_scope.cancel()

    def status(self, name: str = "a") -> dict[str, Any]:
        (record,) = [record for record in self.world.stored("actors.skep.dev") if record.key.name == name]
        document: dict[str, Any] = self.world.document(ACTORS, Answer(record=record))
        found: dict[str, Any] = document.get("status", {})
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns when it holds. The clock does not go on meanwhile; threads of the store do."""
        while not holds():
            await anyio.sleep(0.001)

    async def wrote(self, revision: int) -> None:
        """Returns when the store is at this revision."""
        await self.until(lambda: self.world.store.revision >= revision)
        assert self.world.store.revision == revision


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as made:
        yield made


async def test_there_is_an_object_for_each_actor_that_is_declared_and_for_no_other(world: World) -> None:
    async with House(world, "a", "old").running():
        pass
    house = House(world, "a", "b")
    async with house.running():
        assert [record.key.name for record in world.stored("actors.skep.dev")] == ["a", "b"]
        made = await world.get(f"{ACTORS}/a")
        assert made["spec"] == DECLARED | {"paused": False, "identity": ""}
        assert made["status"]["state"] == "Running"
        assert made["status"]["conditions"][0]["status"] == "True"


async def test_an_actor_that_is_declared_and_not_run_here_keeps_its_object(world: World) -> None:
    async with House(world, "a", "b", "old").running():
        await world.merge(f"{ACTORS}/b", {"spec": {"paused": True}})
    await House(world, "a").objects.prepare(["a", "b"])
    assert [record.key.name for record in world.stored("actors.skep.dev")] == ["a", "b"]
    assert (await world.get(f"{ACTORS}/b"))["spec"]["paused"] is True


async def test_a_declaration_that_changed_changes_the_object_and_not_the_pause(world: World) -> None:
    async with House(world, "a").running():
        await world.merge(f"{ACTORS}/a", {"spec": {"paused": True}})
    house = House(world, "a")
    house.objects._entries["a"].declared = DECLARED | {"concurrency": 9, "resyncSeconds": 3.0}
    async with house.running():
        spec = (await world.get(f"{ACTORS}/a"))["spec"]
        assert (spec["concurrency"], spec["resyncSeconds"], spec["paused"]) == (9, 3.0, True)


async def test_a_pause_holds_before_the_actor_begins_and_ends_with_a_resume(world: World) -> None:
    async with House(world, "a").running():
        await world.merge(f"{ACTORS}/a", {"spec": {"paused": True}})
    house = House(world, "a")
    await house.objects.prepare()
    assert house.puppets["a"].paused, "nothing has run yet"
    assert house.status()["state"] == "Paused"
    async with house.running():
        await world.merge(f"{ACTORS}/a", {"spec": {"paused": False}})
        await house.until(lambda: not house.puppets["a"].paused)
        await house.clock.advance(2)
        await house.until(lambda: house.status()["state"] == "Running")


async def test_counts_are_told_at_most_once_a_period_and_nothing_is_lost(world: World) -> None:
    house = House(world, "a")
    async with house.running():
        revision = world.store.revision
        for number in range(1, 41):  # ten seconds of an actor that is always at work
            house.puppets["a"].shows(totals={"success": number}, objects=number)
            await house.clock.advance(0.25)
        await house.until(lambda: world.store.revision >= revision + 1)
        assert world.store.revision <= revision + 2
        await house.clock.advance(PERIOD)
        await house.until(lambda: house.status()["totals"]["runs"] == 40)
        assert world.store.revision <= revision + 3


async def test_a_failure_is_told_soon_and_so_is_its_end(world: World) -> None:
    house = House(world, "a")
    async with house.running():
        await house.clock.advance(2)
        revision = world.store.revision
        house.puppets["a"].shows(failing=(Failing(Place("shop", "x"), "no", 1, None),))
        await house.clock.advance(0.5)
        await house.wrote(revision + 1)
        assert house.status()["failing"] == [{"key": "shop/x", "error": "no", "failures": 1}]
        house.puppets["a"].shows(failing=())
        await house.clock.advance(1.5)
        await house.wrote(revision + 2)
        assert "failing" not in house.status()


async def test_an_actor_that_flickers_is_written_at_most_once_a_second(world: World) -> None:
    house = House(world, "a")
    async with house.running():
        revision = world.store.revision
        for number in range(100):
            house.puppets["a"].shows(failing=(Failing(Place("shop", "x"), f"no {number}", 1, None),))
            await house.clock.advance(0.1)
        await house.until(lambda: bool(house.status().get("failing")))
        assert world.store.revision <= revision + 10


async def test_while_nothing_happens_nothing_is_written(world: World) -> None:
    house = House(world, "a", "b")
    async with house.running():
        await house.clock.advance(10)
        revision = world.store.revision
        await house.clock.advance(36_000)
        house.puppets["a"].insight.changed()  # there is something to look at, and it is as it was
        await house.clock.advance(36_000)
        await world.make("/api/v1/namespaces", "mark")
        assert world.store.revision == revision + 1, "the mark alone"


async def test_a_status_that_could_not_be_written_is_written_later_as_it_is_then(world: World) -> None:
    house = House(world, "a")
    async with house.running():
        await house.clock.advance(PERIOD)
        house.door.faults = 2
        house.puppets["a"].shows(objects=1)
        await house.clock.advance(PERIOD)
        house.puppets["a"].shows(objects=2)
        await house.clock.advance(3 * PERIOD)
        await house.until(lambda: house.status()["objects"] == 2)
        assert len(house.log.of("an actor's state is not written")) == 2


async def test_an_object_that_was_lost_past_the_api_is_made_again(world: World) -> None:
    house = House(world, "a")
    async with house.running():
        (record,) = world.stored("actors.skep.dev")
        await world.store.commit(Remove(record.key, record.revision))
        house.puppets["a"].shows(objects=1)
        for _ in range(4):
            await house.clock.advance(PERIOD)
            await anyio.sleep(0.01)
        await house.until(lambda: len(world.stored("actors.skep.dev")) == 1)
        await house.clock.advance(PERIOD)
        await house.until(lambda: house.status().get("objects") == 1)


async def test_a_wake_is_delivered_and_taken_out(world: World) -> None:
    house = House(world, "a", "b")
    async with house.running():
        await world.merge(f"{ACTORS}/a", {"metadata": {"annotations": {WAKE: "shop/x, y", "team": "blue"}}})
        puppet = house.puppets["a"]
        await house.until(lambda: puppet.woken == [Place("shop", "x"), Place("", "y")])
        await house.until(lambda: b"skep.dev/wake" not in world.stored("actors.skep.dev")[0].desired)
        assert (await world.get(f"{ACTORS}/a"))["metadata"]["annotations"] == {"team": "blue"}
        assert house.puppets["b"].woken == []
        assert puppet.woken == [Place("shop", "x"), Place("", "y")], "what is taken out wakes no more"


async def test_a_wake_that_comes_while_another_is_taken_out_counts_too(world: World) -> None:
    house = House(world, "a")
    async with house.running():
        for number in range(20):
            await world.merge(f"{ACTORS}/a", {"metadata": {"annotations": {WAKE: f"shop/k{number}"}}})
        await house.until(lambda: b"skep.dev/wake" not in world.stored("actors.skep.dev")[0].desired)
        assert {place.name for place in house.puppets["a"].woken} == {f"k{number}" for number in range(20)}


async def test_a_wake_that_was_asked_for_while_the_server_was_down_is_delivered_at_its_start(world: World) -> None:
    async with House(world, "a").running():
        pass
    await world.merge(f"{ACTORS}/a", {"metadata": {"annotations": {WAKE: "shop/x"}}})
    house = House(world, "a")
    async with house.running():
        await house.until(lambda: house.puppets["a"].woken == [Place("shop", "x")])


@pytest.mark.parametrize("verb", ["create", "delete", "deletecollection"])
async def test_nobody_else_makes_or_deletes_them(world: World, verb: str) -> None:
    async with House(world, "a").running():
        path = ACTORS if verb == "deletecollection" else f"{ACTORS}/a"
        body = {"metadata": {"name": "a"}, "spec": {}} if verb == "create" else b""
        with pytest.raises(Forbidden, match="made and deleted by system:apiserver alone"):
            await world.do(verb, path, body)


async def test_an_apply_makes_none_either(world: World) -> None:
    config = {"apiVersion": "skep.dev/v1", "kind": "Actor", "metadata": {"name": "new"}, "spec": {"paused": True}}
    with pytest.raises(Forbidden, match="made and deleted by system:apiserver alone"):
        await world.do("patch", f"{ACTORS}/new", encode(config), query="fieldManager=me", content_type=APPLY_PATCH)
    async with House(world, "new").running():
        query = "fieldManager=me&force=true"
        await world.do("patch", f"{ACTORS}/new", encode(config), query=query, content_type=APPLY_PATCH)
        assert (await world.get(f"{ACTORS}/new"))["spec"]["paused"] is True


async def test_a_bad_key_is_refused_when_it_is_asked_for(world: World) -> None:
    async with House(world, "a").running():
        with pytest.raises(Invalid, match="NAMESPACE/NAME"):
            await world.merge(f"{ACTORS}/a", {"metadata": {"annotations": {WAKE: "a/b/c"}}})
