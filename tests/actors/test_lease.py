"""Leader election: who leads, since when, and that there is never another one, whatever happens to answers and processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from actors.client import Preconditions
from actors.door import TypedClient
from actors.lease import FOREVER, Election, Elector, Epoch, Terms
from apiserver.fencing import refusal
from registry.builtin.lease import Lease, LeaseSpec
from registry.declarations import Place
from registry.errors import ServiceUnavailable
from registry.nodes import Document
from registry.resource import Metadata
from registry.typed import from_document
from storage.store import Key, Record
from tests.actors.world import Stage, VirtualClock, World, settled

pytestmark = pytest.mark.anyio

NAME = "skep-actor-test"
PLACE = Place("kube-system", NAME)
TERMS = Terms()
USER = "system:serviceaccount:kube-system:skep-actor-test"


def lease(holder: str = "other", number: int = 1, revision: int = 1, *, duration: int = 15, renewed: str = "") -> Lease:
    spec = LeaseSpec(holder_identity=holder, lease_duration_seconds=duration, lease_transitions=number, renew_time=renewed or None)
    return Lease(metadata=Metadata(name=NAME, namespace="kube-system", uid="u", resource_version=str(revision)), spec=spec)


# What is decided


def test_a_lease_is_free_when_it_was_seen_unchanged_for_its_duration_whatever_times_are_written_in_it() -> None:
    for renewed in ("1999-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"):
        election = Election("me", TERMS)
        election.read(lease(renewed=renewed), 100.0)
        election.read(lease(renewed=renewed), 110.0)
        assert election.taking(114.9, 0.0) is None
        taken = election.taking(115.0, 0.0)
        assert taken is not None
        assert taken.spec is not None
        assert (taken.spec.holder_identity, taken.spec.lease_transitions) == ("me", 2)
        assert taken.metadata.resource_version == "1"


def test_the_duration_is_that_of_the_holder_and_each_renewal_begins_it_anew() -> None:
    election = Election("me", TERMS)
    election.read(lease(duration=60), 0.0)
    assert election.taking(59.0, 0.0) is None
    election.read(lease(duration=60, revision=2), 59.5)
    assert election.taking(119.0, 0.0) is None
    assert election.taking(119.5, 0.0) is not None


def test_a_leader_believes_from_when_it_began_to_write_not_from_the_answer() -> None:
    election = Election("me", TERMS)
    election.read(None, 0.0)
    election.wrote(lease("me"), began=1.0, now=9.0)
    assert election.leading(10.9)
    assert not election.leading(11.0)
    assert election.renewal(11.0, 0.0) is None


def test_one_who_finds_its_own_name_in_a_lease_that_it_does_not_lead_by_takes_it_in_a_new_epoch() -> None:
    election = Election("me", TERMS)
    election.read(lease("me", number=4), 0.0)
    assert not election.leading(0.0)
    taken = election.taking(0.0, 0.0)
    assert taken is not None
    assert taken.spec is not None
    assert taken.spec.lease_transitions == 5


@pytest.mark.parametrize("other", [lease("other", 1), lease("me", 2), None])
def test_a_leader_that_sees_another_epoch_or_no_lease_has_lost_it(other: Lease | None) -> None:
    election = Election("me", TERMS)
    election.wrote(lease("me", 1), began=0.0, now=0.0)
    election.read(lease("me", 1, revision=7), 1.0)
    assert election.leading(1.0)
    election.read(other, 2.0)
    assert not election.leading(2.0)
    assert election.given_back(0.0) is None


@pytest.mark.parametrize("seconds", [(10, 10, 2), (15, 10, 9), (15, 0, 0), (15, 10, 0)])
def test_terms_under_which_two_could_lead_are_refused(seconds: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="each must be longer than the next"):
        Terms(*seconds)


# What is done


class Candidate:
    """Something that wants to lead, and does nothing then but say so."""

    def __init__(self, stage: Stage, name: str, terms: Terms = TERMS, door: Any = None) -> None:
        self.name = name
        self.epochs: list[int] = []
        self.at_work = False
        self.stop = anyio.Event()
        client = TypedClient(door or stage.world, stage.clock)
        self.elector = Elector(client, NAME, name, terms, stage.clock, Random(3), stage.log)

    async def run(self) -> None:
        await self.elector.run(self._lead)

    async def _lead(self, epoch: Epoch) -> None:
        self.epochs.append(epoch.number)
        self.at_work = True
        try:
            await self.stop.wait()
        finally:
            self.at_work = False


@asynccontextmanager
async def standing(*candidates: Candidate) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        for candidate in candidates:
            tasks.start_soon(candidate.run)
            await settled()
        yield
        tasks.cancel_scope.cancel()


def spec(stage: Stage) -> Document:
    found: Document = stage.world.objects[Lease, PLACE]["spec"]
    return found


async def test_one_of_two_leads_and_renews_and_the_other_waits(stage: Stage) -> None:
    one, two = Candidate(stage, "one"), Candidate(stage, "two")
    async with standing(one, two):
        await stage.clock.advance(100)
        assert (one.at_work, two.at_work) == (True, False)
        assert (spec(stage)["holderIdentity"], spec(stage)["leaseTransitions"]) == ("one", 1)
        assert 40 <= len(stage.world.names("update")) <= 52
        assert (two.elector.standing().holder, two.elector.standing().leading) == ("one", False)


async def test_who_stops_gives_the_lease_back_when_its_work_is_done_and_the_next_does_not_wait_for_it_to_run_out(
    stage: Stage,
) -> None:
    one, two = Candidate(stage, "one"), Candidate(stage, "two")
    async with standing(one, two):
        one.elector.stop()
        await stage.clock.advance(20)
        assert one.at_work, "what is at work is ended by whoever runs it"
        one.stop.set()
        await stage.clock.advance(2.5)
        assert (one.at_work, two.at_work, two.epochs) == (False, True, [2])
        assert spec(stage)["holderIdentity"] == "two"


async def test_a_lease_whose_last_renewal_was_cut_off_is_given_back_all_the_same(stage: Stage) -> None:
    one = Candidate(stage, "one")
    async with standing(one):
        client = TypedClient(stage.world, stage.clock)
        there = await client.get(Lease, NAME, "kube-system")
        await client.update(replace(there, spec=replace(there.spec, renew_time="2026-01-02T03:04:05.000000Z")))
        one.elector.stop()
        one.stop.set()
        await settled()
        assert (one.at_work, spec(stage)["holderIdentity"]) == (False, "")


async def test_who_is_gone_is_followed_when_its_lease_has_run_out_and_not_before(stage: Stage) -> None:
    one, two = Candidate(stage, "one", door=Cut(stage.world)), Candidate(stage, "two")
    async with standing(one, two):
        one_door: Cut = one.elector._client._door  # type: ignore[attr-defined]
        one_door.cut = True
        await stage.clock.advance(9.9)
        assert not two.at_work
        await stage.clock.advance(2.5)
        assert not one.at_work, "it ceases by itself"
        await stage.clock.advance(6)
        assert (two.at_work, two.epochs) == (True, [2])
        one_door.cut = False
        await stage.clock.advance(60)
        assert (one.at_work, two.at_work) == (False, True)


async def test_a_lease_that_somebody_deletes_ends_the_leading_and_is_made_anew(stage: Stage) -> None:
    one = Candidate(stage, "one")
    async with standing(one):
        first = stage.world.objects[Lease, PLACE]["metadata"]["uid"]
        stage.world.remove(Lease, PLACE)
        await stage.clock.advance(5)
        assert (one.at_work, one.epochs) == (True, [1, 1])
        assert stage.world.objects[Lease, PLACE]["metadata"]["uid"] != first


async def test_a_write_of_a_person_does_not_end_the_leading(stage: Stage) -> None:
    one = Candidate(stage, "one")
    async with standing(one):
        held = stage.world.objects[Lease, PLACE]
        stage.world.put(Lease, {**held, "metadata": {**held["metadata"], "labels": {"a": "b"}}})
        await stage.clock.advance(30)
        assert one.epochs == [1]
        assert stage.world.objects[Lease, PLACE]["metadata"]["labels"] == {"a": "b"}


async def test_a_holder_that_nobody_can_outlive_writes_once_and_looks(stage: Stage) -> None:
    one, two = Candidate(stage, "one", Terms(renews=False)), Candidate(stage, "two")
    async with standing(one, two):
        await stage.clock.advance(7_200)
        assert (one.at_work, two.at_work) == (True, False)
        assert spec(stage)["leaseDurationSeconds"] == FOREVER
        assert [each.verb for each in stage.world.written] == ["create"]
        stage.world.put(Lease, {**stage.world.objects[Lease, PLACE], "spec": {**spec(stage), "holderIdentity": "x"}})
        await stage.clock.advance(3)
        assert not one.at_work


async def test_who_is_stopped_while_it_waits_leaves_and_writes_nothing(stage: Stage) -> None:
    one, two = Candidate(stage, "one"), Candidate(stage, "two")
    async with standing(one):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(two.run)
            await settled()
            two.elector.stop()
        assert two.epochs == []
        assert spec(stage)["holderIdentity"] == "one"


async def test_what_breaks_while_it_leads_is_raised_when_the_lease_is_given_back(stage: Stage) -> None:
    one = Candidate(stage, "one")

    async def broken(epoch: Epoch) -> None:
        raise ValueError(f"in epoch {epoch.number}")

    with pytest.raises(ValueError, match="in epoch 1"):
        await one.elector.run(broken)
    assert spec(stage)["holderIdentity"] == ""


class Cut:
    """A door that can be cut off."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.cut = False

    async def _pass(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.cut:
            raise ServiceUnavailable("cut off")

    async def get(self, model: type, place: Place) -> Document:
        await self._pass()
        return await self._world.get(model, place)

    async def create(self, model: type, namespace: str, document: Document) -> Document:
        await self._pass()
        return await self._world.create(model, namespace, document)

    async def update(self, model: type, place: Place, document: Document, subresource: str) -> Document:
        await self._pass()
        return await self._world.update(model, place, document, subresource)

    async def delete(self, model: type, place: Place, preconditions: Preconditions) -> Document | None:
        await self._pass()
        return await self._world.delete(model, place, preconditions)


# The model: candidates that are stopped, cut off, and told too late


STEP = 0.25


class OwnClock(VirtualClock):
    """The clock of a process that can be stopped: time goes on, and nothing in it happens."""

    def __init__(self, shared: VirtualClock) -> None:
        super().__init__()
        self._shared = shared
        self.stopped_until = 0.0

    def now(self) -> float:
        return self._shared.moment

    @property
    def runs(self) -> bool:
        return self.now() >= self.stopped_until

    @contextmanager
    def deadline(self, due: float | None) -> Iterator[anyio.CancelScope]:
        self.moment = self.now()
        with super().deadline(due) as scope:
            yield scope

    def ring(self) -> None:
        for due, scope in list(self._waiting):
            if due <= self.now() and self.runs:
                scope.cancel()


class Network(Cut):
    """A way to the API on which requests and answers are late or lost, and answers wait for a process that is stopped."""

    def __init__(self, world: World, net: VirtualClock, own: OwnClock, chance: Random) -> None:
        super().__init__(world)
        self._net = net
        self._own = own
        self._chance = chance
        self.bad = True

    async def _late(self, most: float) -> None:
        seconds = self._chance.random() ** 4 * most if self.bad else 0.0
        if seconds:
            with self._net.deadline(self._net.moment + seconds):
                await anyio.sleep_forever()

    async def _through(self, call: Any) -> Any:
        lost = self.bad and self._chance.random() < 0.15
        arrives = not lost or self._chance.random() < 0.5
        answers: list[Any] = []
        done = anyio.Event()

        async def carried() -> None:  # goes on when whoever asked has given up
            await self._late(12.0)
            if arrives:
                try:
                    answers.append(await call())
                except Exception as error:
                    answers.append(error)
            await self._late(6.0)
            while not self._own.runs:
                with self._net.deadline(self._net.moment + STEP):
                    await anyio.sleep_forever()
            done.set()

        self.tasks.start_soon(carried)
        await done.wait()
        if lost:
            raise ServiceUnavailable("the answer was lost")
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    tasks: anyio.abc.TaskGroup

    async def get(self, model: type, place: Place) -> Document:
        return await self._through(lambda: self._world.get(model, place))  # type: ignore[no-any-return]

    async def create(self, model: type, namespace: str, document: Document) -> Document:
        return await self._through(lambda: self._world.create(model, namespace, document))  # type: ignore[no-any-return]

    async def update(self, model: type, place: Place, document: Document, subresource: str) -> Document:
        return await self._through(lambda: self._world.update(model, place, document, subresource))  # type: ignore[no-any-return]


class Simulation:
    """Three candidates that write under their epochs all the time, through a bad network."""

    def __init__(self, seed: int, *terms: Terms) -> None:
        self.chance = Random(seed)
        self.stage = Stage()
        self.clocks = [OwnClock(self.stage.clock) for _ in range(3)]
        self.doors = [Network(self.stage.world, self.stage.clock, clock, self.chance) for clock in self.clocks]
        self.electors = [
            Elector(TypedClient(door, clock), NAME, f"c{n}", (terms or (TERMS,) * 3)[n], clock, self.chance, self.stage.log)
            for n, (door, clock) in enumerate(zip(self.doors, self.clocks, strict=True))
        ]
        self.accepted: list[int] = []
        self.refused = 0
        self.changes = 0
        self.over = anyio.Event()

    async def run(self) -> None:
        async with anyio.create_task_group() as network, anyio.create_task_group() as tasks:
            network.start_soon(anyio.sleep_forever)
            for n, elector in enumerate(self.electors):
                self.doors[n].tasks = network
                tasks.start_soon(elector.run, self._worker(n))
            await self._go(600, faults=True)
            for door, clock in zip(self.doors, self.clocks, strict=True):
                door.bad, clock.stopped_until = False, 0.0
            await self._go(160, faults=False)
            assert sum(elector.leading() for elector in self.electors) == 1, "when all is well again somebody leads"
            for elector in self.electors:
                elector.stop()
            self.over.set()
            await settled()
            assert self.stage.world.objects[Lease, PLACE]["spec"]["holderIdentity"] == "", "and gives the lease back"
            network.cancel_scope.cancel()

    async def _go(self, steps: int, *, faults: bool) -> None:
        for _ in range(steps):
            for clock in self.clocks:
                if faults and clock.runs and self.chance.random() < 0.01:
                    clock.stopped_until = clock.now() + self.chance.choice((1, 9, 14, 16, 40))
            await self.stage.clock.advance(STEP)
            for clock in self.clocks:
                clock.ring()
            await settled()
            believe = [elector._election._me for elector in self.electors if elector.leading()]
            assert len(believe) <= 1, f"{believe} lead at {self.stage.clock.moment}"

    def _worker(self, n: int) -> Any:
        async def lead(epoch: Epoch) -> None:
            self.changes += 1
            while not self.over.is_set():
                self.doors[n].tasks.start_soon(self._write, n, epoch)
                with self.clocks[n].deadline(self.clocks[n].now() + 1.0):
                    await self.over.wait()

        return lead

    async def _write(self, n: int, epoch: Epoch) -> None:
        """A write that is on its way for a while."""
        await self.doors[n]._late(30.0)
        held = self.stage.world.objects[Lease, PLACE]
        record = Record(Key("", "", ""), held["metadata"]["uid"], 1, "", msgspec.json.encode({"spec": held["spec"]}), b"")
        if refusal(USER, epoch.token, record) is None:
            self.accepted.append(epoch.number)
        else:
            self.refused += 1


@pytest.mark.parametrize("seed", range(25))
async def test_there_are_never_two_leaders_and_an_epoch_that_is_over_never_writes(seed: int) -> None:
    simulation = Simulation(seed)
    await simulation.run()
    assert simulation.accepted == sorted(simulation.accepted)
    assert simulation.changes > 1, "the faults made others lead"
    assert len(simulation.accepted) > 50


@pytest.mark.parametrize("seed", range(10))
async def test_candidates_with_different_terms_respect_each_others(seed: int) -> None:
    simulation = Simulation(seed, Terms(6, 4, 0.8), TERMS, Terms(30, 20, 4))
    await simulation.run()
    assert simulation.accepted == sorted(simulation.accepted)


def test_the_model_has_seen_late_writes() -> None:
    """What the simulation is for happens in it."""

    async def late() -> int:
        simulation = Simulation(1)
        await simulation.run()
        return simulation.refused

    assert anyio.run(late) > 0


def test_a_lease_reads_back_as_it_was_written() -> None:
    assert from_document(Lease)({"metadata": {"name": "x"}, "spec": {"leaseTransitions": 3}}).spec == LeaseSpec(lease_transitions=3)
