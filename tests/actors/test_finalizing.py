"""Cleanup: what holds an object, when it is let go, and what nobody loses by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from actors import Again, BlockingClient, Client, Done, Outcome, Place, Run, Terminal, Wake
from actors.actor import from_declaration
from actors.door import difference
from actors.runner import Runner
from registry.declarations import ActorDeclaration
from registry.errors import ServiceUnavailable
from registry.resource import replace
from registry.typed import to_document
from tests.actors.world import Job, JobStatus, Part, Stage, job, settled

pytestmark = pytest.mark.anyio

OURS, THEIRS = "skep.dev/test", "somebody.example/else"
HERE = Place("shop", "a")


class Keeper:
    """An actor's two functions, and the outside world that they change: what is there, and what was done to it."""

    def __init__(self, stage: Stage, *outcomes: Outcome | Exception | None) -> None:
        self.stage = stage
        self.made: set[str] = set()
        self.done: list[str] = []
        self.runs: list[Run] = []
        self.outcomes = list(outcomes)  # of cleanups

    async def reconcile(self, obj: Job, client: Client, run: Run) -> Outcome | None:
        assert OURS in self.stage.world.job(obj.metadata.name)["metadata"]["finalizers"], "nothing is done before it is stored"
        self.made.add(obj.metadata.name)
        self.done.append("make")
        self.runs.append(run)
        return Done(JobStatus(seen=obj.spec.size))

    async def cleanup(self, obj: Job, client: Client, run: Run) -> Outcome | None:
        assert OURS in self.stage.world.job(obj.metadata.name)["metadata"]["finalizers"], "it is held while it is cleaned up"
        self.done.append("clean")
        self.runs.append(run)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        if not isinstance(outcome, Again):
            self.made.discard(obj.metadata.name)
        return outcome


def finalizers(stage: Stage, name: str = "a") -> list[str]:
    found: list[str] = stage.world.job(name)["metadata"].get("finalizers", [])
    return found


async def test_an_object_is_held_before_the_first_run_and_goes_after_the_cleanup(stage: Stage) -> None:
    keeper = Keeper(stage)
    stage.world.put(Job, to_document(job("a")))
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup) as runner:
        assert finalizers(stage) == [OURS]
        assert stage.world.job("a")["status"]["seen"] == 1
        stage.world.ask_to_delete(Job, HERE)
        await settled()
        assert keeper.done == ["make", "clean"]
        assert not stage.world.objects
        assert not keeper.made
        assert Wake.DELETED in keeper.runs[-1].wake
        await stage.clock.advance(1000)
        assert keeper.done == ["make", "clean"]
        assert (runner.snapshot().failing, runner.snapshot().objects) == ((), 0)


async def test_neither_the_finalizer_nor_its_removal_is_a_reason_for_another_run(stage: Stage) -> None:
    keeper = Keeper(stage)
    stage.world.put(Job, to_document(job("a")) | {"metadata": {"name": "a", "namespace": "shop", "finalizers": [THEIRS]}})
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup) as runner:
        await settled()
        assert keeper.done == ["make"]
        assert runner.snapshot().totals == {"success": 1}
        stage.world.ask_to_delete(Job, HERE)
        await settled()
        assert keeper.done == ["make", "clean"]
        assert finalizers(stage) == [THEIRS], "somebody else's stays"
        assert runner.snapshot().totals == {"success": 2}


async def test_a_finalizer_that_somebody_took_away_is_put_back(stage: Stage) -> None:
    keeper = Keeper(stage)
    stage.world.put(Job, to_document(job("a")))
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup):
        stage.world.change("a", metadata={"finalizers": None})
        await settled()
        assert finalizers(stage) == [OURS]
        assert keeper.done == ["make", "make"]


async def test_a_change_that_comes_together_with_the_finalizer_still_wakes(stage: Stage) -> None:
    keeper = Keeper(stage)
    stage.world.put(Job, to_document(job("a")))
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup):
        stage.world.change("a", metadata={"finalizers": [OURS, THEIRS]}, spec={"size": 5})
        await settled()
        assert stage.world.job("a")["status"]["seen"] == 5


async def test_an_object_that_is_deleted_before_the_first_run_is_left_alone(stage: Stage) -> None:
    keeper = Keeper(stage)
    document = to_document(job("a"))
    document["metadata"] |= {"finalizers": [THEIRS], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    stage.world.put(Job, document)
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup):
        stage.world.change("a", metadata={"labels": {"a": "b"}})
        await settled()
        assert keeper.done == []
        assert stage.world.written == []
        assert finalizers(stage) == [THEIRS]


@pytest.mark.parametrize("others", [[THEIRS], []])
async def test_what_was_cleaned_up_is_known_although_the_watch_is_late(stage: Stage, others: list[str]) -> None:
    keeper = Keeper(stage)

    async def cleanup(obj: Job, client: Client, run: Run) -> None:
        stage.world.deaf = True
        await keeper.cleanup(obj, client, run)

    document = to_document(job("a"))
    document["metadata"]["finalizers"] = others
    stage.world.put(Job, document)
    async with stage.running(keeper.reconcile, cleanup=cleanup) as runner:
        stage.world.ask_to_delete(Job, HERE)
        await settled()
        runner.wake(HERE)
        await settled()
        assert keeper.done == ["make", "clean"]
        assert not stage.log.of("reconcile failed")
        stage.world.hear()
        await settled()
        assert keeper.done == ["make", "clean"]


async def test_a_cleanup_that_fails_is_tried_again_with_backoff_and_holds_until_it_succeeds(stage: Stage) -> None:
    keeper = Keeper(stage, RuntimeError("no"), RuntimeError("still no"), None)
    stage.world.put(Job, to_document(job("a")))
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup) as runner:
        stage.world.ask_to_delete(Job, HERE)
        await settled()
        assert finalizers(stage) == [OURS]
        assert runner.snapshot().failing[0].error == "RuntimeError: no"
        await stage.clock.advance(0.6)
        assert keeper.runs[-1].attempt == 2
        assert finalizers(stage) == [OURS]
        await stage.clock.advance(1.1)
        assert keeper.done == ["make", "clean", "clean", "clean"]
        assert not stage.world.objects
        assert ("ReconcileFailed", "RuntimeError: no", 1) in stage.sink.said()


async def test_a_cleanup_that_says_again_goes_on_later_and_shows_how_far_it_is(stage: Stage) -> None:
    keeper = Keeper(stage, Again(30, JobStatus(note="draining")), None)
    stage.world.put(Job, to_document(job("a")))
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup):
        stage.world.ask_to_delete(Job, HERE)
        await settled()
        assert stage.world.job("a")["status"]["note"] == "draining"
        await stage.clock.advance(29)
        assert finalizers(stage) == [OURS]
        await stage.clock.advance(2)
        assert not stage.world.objects


async def test_a_cleanup_that_cannot_succeed_holds_the_object_until_it_changes(stage: Stage) -> None:
    keeper = Keeper(stage, Terminal("Locked", "somebody is in there"), None)
    stage.world.put(Job, to_document(job("a")))
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup, resync=100):
        stage.world.ask_to_delete(Job, HERE)
        await stage.clock.advance(5000)
        assert keeper.done.count("clean") == 1
        assert stage.world.job("a")["status"]["conditions"][0]["reason"] == "Locked"
        stage.world.change("a", metadata={"annotations": {"unlocked": "yes"}})
        await settled()
        assert not stage.world.objects


async def test_what_others_change_at_the_same_time_is_kept(stage: Stage) -> None:
    """The finalizers are one list: whoever writes it on an old state takes away what somebody else has put there."""
    world, keeper = stage.world, Keeper(stage)
    patch = world.patch
    meddled: list[str] = []

    async def meddling(model: type, place: Place, merge: dict[str, Any], subresource: str) -> dict[str, Any]:
        if "finalizers" in merge["metadata"] and len(meddled) < 2:
            meddled.append("")
            world.change("a", metadata={"finalizers": [*finalizers(stage), f"n{len(meddled)}.example/x"]})
        return await patch(model, place, merge, subresource)

    world.patch = meddling  # type: ignore[method-assign]
    world.put(Job, to_document(job("a")))
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup):
        assert finalizers(stage) == ["n1.example/x", "n2.example/x", OURS]
        meddled.clear()
        world.ask_to_delete(Job, HERE)
        await settled()
        assert sorted(finalizers(stage)) == ["n1.example/x", "n1.example/x", "n2.example/x", "n2.example/x"]


async def test_another_object_of_the_name_is_not_let_go_by_the_cleanup_of_the_old_one(stage: Stage) -> None:
    world = stage.world
    keeper = Keeper(stage)

    async def slow(obj: Job, client: Client, run: Run) -> None:
        if obj.metadata.uid == first["metadata"]["uid"]:
            world.remove(Job, HERE)
            document = to_document(job("a"))
            document["metadata"] |= {"finalizers": [OURS], "deletionTimestamp": "2026-01-01T00:00:00Z"}
            stage.world.put(Job, document)
        keeper.done.append(obj.metadata.uid)

    first = world.put(Job, to_document(job("a")))
    async with stage.running(keeper.reconcile, cleanup=slow):
        world.ask_to_delete(Job, HERE)
        await stage.clock.advance(1)
        assert keeper.done[1] == first["metadata"]["uid"]
        assert keeper.done[2] not in ("make", first["metadata"]["uid"]), "the second one is cleaned up for itself"
        assert not world.objects


async def test_an_actor_without_a_cleanup_adds_nothing_and_lets_go_only_what_is_its_own(stage: Stage) -> None:
    """The cleanup was taken out of the code: objects that it once held must not be stuck for ever."""
    seen: list[bool] = []

    async def plain(obj: Job, client: Client) -> None:
        seen.append(obj.metadata.deletion_timestamp is not None)

    stage.world.put(Job, to_document(job("new")))
    document = to_document(job("a"))
    document["metadata"]["finalizers"] = [THEIRS, OURS]
    stage.world.put(Job, document)
    async with stage.running(plain):
        assert finalizers(stage, "new") == []
        assert finalizers(stage) == [THEIRS, OURS]
        stage.world.ask_to_delete(Job, HERE)
        await settled()
        assert finalizers(stage) == [THEIRS]
        assert True in seen, "it is told, as before"


async def test_the_finalizer_may_have_a_name_of_its_own(stage: Stage) -> None:
    async def nothing(obj: Job, client: Client) -> None: ...

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(nothing, cleanup=nothing, finalizer="shop.example/goods"):
        assert finalizers(stage) == ["shop.example/goods"]


async def test_plain_functions_and_classes_clean_up_too(stage: Stage) -> None:
    def plain(obj: Job, client: BlockingClient) -> None:
        client.patch(Job, obj.metadata.name, "shop", {"metadata": {"annotations": {"cleaned": "in a thread"}}})

    class Mixed:
        async def setup(self, client: Client) -> None:
            self.made: set[str] = {"from setup"}

        async def reconcile(self, obj: Job, client: Client) -> None:
            self.made.add(obj.metadata.name)

        def cleanup(self, obj: Job, client: BlockingClient, run: Run) -> None:
            assert self.made == {"from setup", obj.metadata.name}

    async def nothing(obj: Job, client: Client) -> None: ...

    gone = anyio.Event()
    publish = stage.world._publish

    def watching(model: type, op: Any, document: dict[str, Any]) -> None:
        publish(model, op, document)
        if op.value == "DELETED":
            gone.set()

    stage.world._publish = watching  # type: ignore[method-assign]
    both: list[tuple[Callable[..., Any], dict[str, Any]]] = [(nothing, {"cleanup": plain}), (Mixed, {})]
    for reconcile, options in both:
        gone = anyio.Event()
        stage.world.put(Job, to_document(job("a")))
        async with stage.running(reconcile, **options):
            stage.world.ask_to_delete(Job, HERE)
            await gone.wait()
        assert not stage.world.objects
        assert not stage.log.of("reconcile failed")


async def test_no_outside_work_is_done_when_the_finalizer_cannot_be_stored(stage: Stage) -> None:
    keeper = Keeper(stage)
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup):
        stage.world.faults.append(ServiceUnavailable("not now"))
        stage.world.put(Job, to_document(job("a")))
        await settled()
        assert keeper.done == []
        await stage.clock.advance(1)
        assert keeper.done == ["make"]


async def test_a_run_knows_its_generation_and_its_time_and_makes_conditions_of_them(stage: Stage) -> None:
    async def check(obj: Job, client: Client, run: Run) -> Outcome:
        before = obj.status or JobStatus()
        conditions = run.condition(before.conditions, "Ready", obj.spec.size > 1, "Counted", f"{obj.spec.size}")
        return Done(replace(before, conditions=conditions))

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(check):
        first = stage.world.job("a")["status"]["conditions"][0]
        await stage.clock.advance(10)
        stage.world.change("a", spec={"size": 0})
        await settled()
        same = stage.world.job("a")["status"]["conditions"][0]
        stage.world.change("a", spec={"size": 2})
        await settled()
        other = stage.world.job("a")["status"]["conditions"][0]
    assert difference(first, same) == {"message": "0", "observedGeneration": 2}, "no transition, no other time"
    assert difference(same, other).keys() == {"message", "observedGeneration", "status", "lastTransitionTime"}


async def test_parts_need_no_cleanup_of_their_own(stage: Stage) -> None:
    """Objects of other kinds are left as they are."""
    keeper = Keeper(stage)
    stage.world.put(Part, {"metadata": {"name": "p", "namespace": "shop", "finalizers": [OURS]}, "spec": {}})
    async with stage.running(keeper.reconcile, cleanup=keeper.cleanup, observes=[Part]):
        stage.world.ask_to_delete(Part, Place("shop", "p"))
        await settled()
        assert stage.world.objects[Part, Place("shop", "p")]["metadata"]["finalizers"] == [OURS]


async def test_a_status_for_a_kind_that_has_none_is_a_failure_that_says_so(stage: Stage) -> None:
    async def report(obj: Any, client: Client) -> Outcome:
        return Done(JobStatus(seen=1))

    environment = stage.runner(report)._environment
    declared = ActorDeclaration(name="test", model=Part, reconcile=report)
    runner = Runner(from_declaration(declared), environment)
    stage.world.put(Part, {"metadata": {"name": "p", "namespace": "shop"}, "spec": {}})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        await settled()
        assert runner.snapshot().failing[0].error == (
            "StatusError: a status was returned for Part, which has none: return Done() alone"
        )
        tasks.cancel_scope.cancel()
