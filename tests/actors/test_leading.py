"""An actor that several processes could run: it runs in one, and what the one before did is looked at anew by the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest

from actors.actor import Again, Done, Run, from_declaration
from actors.client import Client
from actors.door import TypedClient
from actors.insight import Insight
from actors.leading import Leading
from actors.lease import Elector, Epoch, Terms
from actors.recorder import EventRecorder
from actors.runner import Environment, Runner
from registry.builtin.lease import Lease
from registry.declarations import ActorDeclaration, Place
from registry.typed import to_document
from tests.actors.test_lease import Cut
from tests.actors.world import Job, JobStatus, Stage, job, settled

pytestmark = pytest.mark.anyio

NAME = "skep-actor-test"
HELD = Place("kube-system", NAME)


def process(stage: Stage, name: str, reconcile: Any, cut: Cut | None = None) -> Leading:
    """The actor as a process of this name runs it."""
    actor = from_declaration(ActorDeclaration(name="test", model=Job, reconcile=reconcile, source="plugin.py:7"))
    elector = Elector(TypedClient(cut or stage.world, stage.clock), NAME, name, Terms(), stage.clock, Random(1), stage.log)

    insight = Insight()

    def make(epoch: Epoch) -> Runner:
        environment = Environment(
            source=stage.world.source(),
            door=stage.world,
            recorder=EventRecorder(stage.sink, "test", stage.clock, Random(5), stage.log),
            clock=stage.clock,
            chance=Random(7),
            log=stage.log,
            leads=elector.leading,
            epoch=epoch.number,
        )
        return Runner(actor, environment, insight)

    return Leading(actor, elector, make, insight)


@asynccontextmanager
async def running(*processes: Leading) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        for each in processes:
            tasks.start_soon(each.run)
            await settled()
        yield
        tasks.cancel_scope.cancel()


async def test_the_next_leader_looks_at_every_object_and_runs_know_their_epoch(stage: Stage) -> None:
    seen: list[tuple[str, str, int]] = []

    def by(name: str) -> Any:
        async def reconcile(job: Job, client: Client, run: Run) -> Done:
            seen.append((name, job.metadata.name, run.epoch))
            return Done(JobStatus(seen=job.spec.size))

        return reconcile

    stage.world.put(Job, to_document(job("a")))
    one, two = process(stage, "one", by("one")), process(stage, "two", by("two"))
    async with running(one, two):
        assert seen == [("one", "a", 1)]
        assert (one.standing().leading, two.standing().leading) == (True, False)
        assert two.snapshot().synced, "who waits lacks nothing"
        stage.world.put(Job, to_document(job("b")))
        await settled()
        two.wake(Place("shop", "a"))
        await settled()
        assert seen[1:] == [("one", "b", 1)]
        one.stop()
        await stage.clock.advance(3)
        assert sorted(seen[2:]) == [("two", "a", 2), ("two", "b", 2)]
        assert two.snapshot().totals == {"success": 2}


async def test_no_run_begins_after_the_lease_is_lost_and_those_at_work_are_ended(stage: Stage) -> None:
    began: list[float] = []
    ended: list[float] = []

    async def reconcile(job: Job, client: Client) -> Again:
        began.append(stage.clock.now())
        try:
            if job.metadata.name == "long":
                await anyio.sleep_forever()
        finally:
            ended.append(stage.clock.now())
        return Again(0.5)

    stage.world.put(Job, to_document(job("a")))
    cut = Cut(stage.world)
    one = process(stage, "one", reconcile, cut)
    async with running(one):
        start = stage.clock.now()
        await stage.clock.advance(4)
        stage.world.put(Job, to_document(job("long")))
        await settled()
        cut.cut = True
        await stage.clock.advance(30)
        assert max(began) <= start + 4 + 10
        assert len(began) == len(ended), "nothing is at work"
        assert not one.standing().leading
        assert "no longer leading" in [event for _, event, _ in stage.log.lines]


async def test_a_runner_that_does_not_lead_runs_nothing_even_before_it_is_ended(stage: Stage) -> None:
    runs: list[str] = []
    leads = True

    async def reconcile(job: Job, client: Client) -> None:
        runs.append(job.metadata.name)

    actor = from_declaration(ActorDeclaration(name="test", model=Job, reconcile=reconcile, source="plugin.py:7"))
    environment = Environment(
        source=stage.world.source(),
        door=stage.world,
        recorder=EventRecorder(stage.sink, "test", stage.clock, Random(5), stage.log),
        clock=stage.clock,
        chance=Random(7),
        log=stage.log,
        leads=lambda: leads,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Runner(actor, environment).run)
        stage.world.put(Job, to_document(job("a")))
        await settled()
        leads = False
        stage.world.put(Job, to_document(job("b")))
        await settled()
        tasks.cancel_scope.cancel()
    assert runs == ["a"]


async def test_who_is_stopped_before_it_leads_never_does_and_one_that_leads_gives_back_after_its_last_run(stage: Stage) -> None:
    order: list[str] = []

    async def reconcile(job: Job, client: Client) -> Done:
        await anyio.sleep_forever() if job.spec.size == 2 else None
        return Done(JobStatus(seen=1))

    stage.world.put(Job, to_document(job("a", size=2)))
    one, two = process(stage, "one", reconcile), process(stage, "two", reconcile)
    async with running(one, two):
        two.stop()
        await settled()
        one.stop(grace=3.0)
        await stage.clock.advance(2)
        order.append(stage.world.objects[Lease, HELD]["spec"]["holderIdentity"])
        await stage.clock.advance(2)
        order.append(stage.world.objects[Lease, HELD]["spec"]["holderIdentity"])
        await stage.clock.advance(60)
        order.append(stage.world.objects[Lease, HELD]["spec"]["holderIdentity"])
    assert order == ["one", "", ""]
