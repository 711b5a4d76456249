"""One actor in one process: what wakes it, what a run means, what it writes, and what it survives."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import anyio
import pytest

from actors import Again, BlockingClient, Client, Done, Observation, Outcome, Place, Run, Terminal, Wake
from actors.insight import Insight
from actors.runner import Runner
from registry.errors import ConflictError, ExpiredError, ServiceUnavailable
from registry.resource import Metadata, replace
from registry.typed import to_document
from tests.actors.world import Job, JobStatus, Part, PartSpec, Stage, job, settled

pytestmark = pytest.mark.anyio


class Notes:
    """A reconcile that notes what it saw, and ends as it is told to."""

    def __init__(self, *outcomes: Outcome | Exception | None) -> None:
        self.seen: list[tuple[str, int]] = []
        self.wakes: list[Wake] = []
        self.outcomes = list(outcomes)

    async def __call__(self, obj: Job, client: Client, run: Run) -> Outcome | None:
        self.seen.append((obj.metadata.name, obj.spec.size))
        self.wakes.append(run.wake)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def held_back() -> tuple[anyio.Event, anyio.Event]:
    return anyio.Event(), anyio.Event()


# What wakes an actor.


async def test_every_object_is_visited_at_a_start_and_again_after_a_restart(stage: Stage) -> None:
    for number in range(50):
        stage.world.put(Job, to_document(job(f"j{number}")))
    for _ in range(2):
        notes = Notes()
        async with stage.running(notes, concurrency=4):
            assert Counter(name for name, _ in notes.seen) == Counter(f"j{number}" for number in range(50))
            assert set(notes.wakes) == {Wake.DESIRED}


async def test_a_change_made_while_the_actor_was_away_is_seen_after_the_restart(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a", size=1)))
    async with stage.running(Notes()):
        pass
    stage.world.change("a", spec={"size": 2})
    notes = Notes()
    async with stage.running(notes):
        assert notes.seen == [("a", 2)]


async def test_its_own_status_writes_do_not_wake_it(stage: Stage) -> None:
    notes = Notes(*(Done(JobStatus(seen=number)) for number in range(1, 9)))
    async with stage.running(notes):
        stage.world.put(Job, to_document(job("a")))
        await settled()
        assert stage.world.job("a")["status"]["seen"] == 1
        assert notes.seen == [("a", 1)]


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"size": 2}},
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"annotations": {"a": "b"}}},
        {"metadata": {"finalizers": ["t.example/a"]}},
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x"}]}},
    ],
)
async def test_a_change_of_anything_but_the_status_wakes(stage: Stage, change: dict[str, Any]) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes()
    async with stage.running(notes):
        stage.world.change("a", **change)
        await settled()
        assert notes.wakes == [Wake.DESIRED, Wake.DESIRED]


async def test_managed_fields_alone_do_not_wake(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes()
    async with stage.running(notes):
        stage.world.change("a", metadata={"managedFields": [{"manager": "m"}]}, status={"seen": 3})
        await settled()
        assert len(notes.seen) == 1


async def test_a_deletion_that_waits_for_finalizers_is_a_run_that_can_tell(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes()
    async with stage.running(notes):
        stage.world.change("a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["t.example/a"]})
        await settled()
        assert notes.wakes == [Wake.DESIRED, Wake.DESIRED | Wake.DELETED]


async def test_what_is_gone_is_not_reconciled_and_leaves_nothing_behind(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes(RuntimeError("no"))
    async with stage.running(notes) as runner:
        assert runner.snapshot().failing != ()
        stage.world.remove(Job, Place("shop", "a"))
        await stage.clock.advance(1000)
        assert len(notes.seen) == 1
        snapshot = runner.snapshot()
        assert (snapshot.failing, snapshot.timers, snapshot.objects) == ((), 0, 0)
        assert snapshot.totals == {"error": 1, "gone": 1}


async def test_an_object_that_was_deleted_and_made_again_is_a_new_one(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes()
    async with stage.running(notes):
        stage.world.deaf = True
        stage.world.remove(Job, Place("shop", "a"))
        stage.world.put(Job, to_document(job("a")))
        stage.world.hear()
        await settled()
        assert len(notes.seen) == 2


async def test_a_storm_of_a_thousand_changes_folds_ends_at_the_newest_and_starves_nobody(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("stormy")))
    stage.world.put(Job, to_document(job("quiet")))
    notes = Notes()
    async with stage.running(notes):
        for size in range(2, 1002):
            stage.world.change("stormy", spec={"size": size})
            if size % 10 == 0:
                await anyio.lowlevel.checkpoint()
            if size == 500:
                stage.world.change("quiet", spec={"size": 7})
        await settled()
        runs = [size for name, size in notes.seen if name == "stormy"]
        assert runs[-1] == 1001
        assert runs == sorted(runs)
        assert len(runs) < 500
        at = notes.seen.index(("quiet", 7))
        assert notes.seen[at - 1][1] < 1001
        assert notes.seen[-1] == ("stormy", 1001)


async def test_edges_during_a_run_give_one_more_run_at_the_newest_state(stage: Stage) -> None:
    began, go_on = held_back()
    seen: list[int] = []

    async def slow(obj: Job, client: Client) -> None:
        seen.append(obj.spec.size)
        began.set()
        await go_on.wait()

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(slow):
        await began.wait()
        for size in (2, 3, 4):
            stage.world.change("a", spec={"size": size})
            await settled()
        assert seen == [1]
        go_on.set()
        await settled()
        assert seen == [1, 4]


async def test_a_watch_that_ends_is_resumed_where_it_ended(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes()
    async with stage.running(notes):
        stage.world.deaf = True
        stage.world.change("a", spec={"size": 2})
        stage.world.cut()
        await stage.clock.advance(1)
        assert notes.seen == [("a", 1), ("a", 2)]


async def test_after_a_gap_whatever_differs_is_woken_and_nothing_else(stage: Stage) -> None:
    for name in ("same", "changed", "gone", "reported"):
        stage.world.put(Job, to_document(job(name)))
    notes = Notes()
    async with stage.running(notes) as runner:
        del notes.seen[:], notes.wakes[:]
        stage.world.deaf = True
        stage.world.change("changed", spec={"size": 2})
        stage.world.change("reported", status={"seen": 1})
        stage.world.remove(Job, Place("shop", "gone"))
        stage.world.put(Job, to_document(job("new")))
        stage.world.horizon = stage.world.revision
        stage.world.cut()
        await stage.clock.advance(2)
        assert sorted(notes.seen) == [("changed", 2), ("new", 1)]
        assert runner.snapshot().totals["gone"] == 1


@pytest.mark.parametrize("fault", [ServiceUnavailable("later"), OSError("no route"), ExpiredError("old"), ValueError("bug")])
async def test_a_source_that_fails_is_asked_again_until_it_answers(stage: Stage, fault: Exception) -> None:
    stage.world.faults = [fault] * 5
    notes = Notes()
    async with stage.running(notes) as runner:
        assert not runner.snapshot().synced
        stage.world.put(Job, to_document(job("a")))
        await stage.clock.advance(60)
        assert notes.seen == [("a", 1)]
        assert runner.snapshot().synced


async def test_changes_that_are_delivered_twice_count_once(stage: Stage) -> None:
    notes = Notes()
    async with stage.running(notes):
        stage.world.put(Job, to_document(job("a")))
        await settled()
        stage.world.stutters = True
        stage.world.deaf = True
        stage.world.change("a", spec={"size": 2})
        stage.world.change("a", spec={"size": 3})
        stage.world.hear()
        await settled()
        assert notes.seen == [("a", 1), ("a", 3)]


async def test_an_owned_child_wakes_its_owner_whatever_changes_of_it(stage: Stage) -> None:
    owner = stage.world.put(Job, to_document(job("a")))
    stage.world.put(Job, to_document(job("b")))
    reference = {"apiVersion": "t.example/v1", "kind": "Job", "name": "a", "uid": owner["metadata"]["uid"]}
    part = {"metadata": {"namespace": "shop", "name": "p", "ownerReferences": [reference]}, "spec": {}}
    notes = Notes()
    async with stage.running(notes, observes=[Part]):
        del notes.seen[:], notes.wakes[:]
        stage.world.put(Part, part)
        await settled()
        stage.world.put(Part, part | {"status": {"ready": True}})
        await settled()
        stage.world.remove(Part, Place("shop", "p"))
        await settled()
        assert notes.seen == [("a", 1)] * 3
        assert notes.wakes == [Wake.OBSERVED] * 3


async def test_an_observed_object_that_moves_wakes_the_one_it_left_and_the_one_it_went_to(stage: Stage) -> None:
    def of_job(part: Part) -> list[tuple[str, str]]:
        return [("shop", part.spec.job)]

    for name in ("a", "b", "c"):
        stage.world.put(Job, to_document(job(name)))
    part = Part(metadata=Metadata(name="p", namespace="shop"), spec=PartSpec(job="a"))
    stage.world.put(Part, to_document(part))
    notes = Notes()
    async with stage.running(notes, observes=[Observation(Part, to=of_job)]):
        del notes.seen[:]
        stage.world.put(Part, to_document(replace(part, spec=PartSpec(job="b"))))
        await settled()
        assert notes.seen == [("a", 1), ("b", 1)]


async def test_a_mapping_that_raises_is_logged_and_stops_nothing(stage: Stage) -> None:
    def broken(part: Part) -> list[tuple[str, str]]:
        if part.metadata.name == "bad":
            raise KeyError("job")
        return [("shop", "a")]

    stage.world.put(Job, to_document(job("a")))
    notes = Notes()
    async with stage.running(notes, observes=[Observation(Part, to=broken)]):
        for name in ("bad", "good"):
            stage.world.put(Part, to_document(Part(metadata=Metadata(name=name, namespace="shop"), spec=PartSpec())))
        await settled()
        assert notes.wakes == [Wake.DESIRED, Wake.OBSERVED]
        assert [line["observed"] for line in stage.log.of("mapping failed")] == ["shop/bad"]


async def test_a_resync_looks_at_everything_again(stage: Stage) -> None:
    for name in ("a", "b"):
        stage.world.put(Job, to_document(job(name)))
    notes = Notes()
    async with stage.running(notes, resync=60):
        await stage.clock.advance(121)
        assert Counter(notes.seen) == {("a", 1): 3, ("b", 1): 3}
        assert notes.wakes[2:] == [Wake.RESYNC] * 4


async def test_somebody_may_ask_for_a_look(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes()
    async with stage.running(notes) as runner:
        runner.wake(Place("shop", "a"))
        await settled()
        assert notes.wakes == [Wake.DESIRED, Wake.RESYNC]


# What a run means.


async def test_again_is_a_look_after_that_many_seconds_and_not_before(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes(Again(30), Done())
    async with stage.running(notes):
        await stage.clock.advance(29.9)
        assert len(notes.seen) == 1
        await stage.clock.advance(0.2)
        assert notes.wakes == [Wake.DESIRED, Wake.TIMER]
        await stage.clock.advance(1000)
        assert len(notes.seen) == 2


async def test_the_newest_run_says_when_to_look_again(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes(Again(30), Again(60), Done())
    async with stage.running(notes):
        await stage.clock.advance(10)
        stage.world.change("a", spec={"size": 2})
        await stage.clock.advance(59)
        assert len(notes.seen) == 2
        await stage.clock.advance(2)
        assert len(notes.seen) == 3


async def test_no_key_is_in_two_runs_and_no_more_runs_than_allowed(stage: Stage) -> None:
    running: Counter[str] = Counter()
    most: list[int] = []

    async def check(obj: Job, client: Client) -> None:
        running[obj.metadata.name] += 1
        assert running[obj.metadata.name] == 1
        most.append(running.total())
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        running[obj.metadata.name] -= 1

    for number in range(20):
        stage.world.put(Job, to_document(job(f"j{number}")))
    async with stage.running(check, concurrency=3) as runner:
        for size in range(2, 6):
            for number in range(20):
                stage.world.change(f"j{number}", spec={"size": size})
            await anyio.lowlevel.checkpoint()
        await settled()
        assert max(most) == 3
        assert runner.snapshot().failing == ()


async def test_a_crash_is_logged_with_its_key_shown_as_an_event_and_retried_with_backoff(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    stage.world.put(Job, to_document(job("b")))
    notes = Notes(RuntimeError("broken"), None, RuntimeError("broken"), None)
    async with stage.running(notes, backoff=(1.0, 60.0)) as runner:
        assert notes.seen == [("a", 1), ("b", 1)]
        (failing,) = runner.snapshot().failing
        assert (failing.place, failing.error, failing.failures) == (Place("shop", "a"), "RuntimeError: broken", 1)
        assert failing.retry is not None
        assert stage.clock.now() < failing.retry <= stage.clock.now() + 1.0
        await stage.clock.advance(1.0)
        assert len(notes.seen) == 3
        assert stage.sink.said() == [("ReconcileFailed", "RuntimeError: broken", 2)]
        (event,) = stage.sink.events.values()
        assert event["type"] == "Warning"
        assert event["involvedObject"]["name"] == "a"
        assert [line["key"] for line in stage.log.of("reconcile failed")] == ["shop/a", "shop/a"]
        await stage.clock.advance(1.5)
        assert len(notes.seen) == 3
        await stage.clock.advance(0.5)
        assert len(notes.seen) == 4
        assert runner.snapshot().failing == ()
        await stage.clock.advance(1000)
        assert len(notes.seen) == 4


async def test_attempts_are_counted_and_begin_anew_after_a_success(stage: Stage) -> None:
    attempts: list[int] = []

    async def third_time(obj: Job, client: Client, run: Run) -> None:
        attempts.append(run.attempt)
        if run.attempt < 3:
            raise RuntimeError("not yet")

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(third_time):
        await stage.clock.advance(10)
        stage.world.change("a", spec={"size": 2})
        await settled()
        assert attempts == [1, 2, 3, 1]


async def test_terminal_is_not_retried_until_the_object_changes_and_shows_in_event_and_condition(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes(Terminal("BadSize", "1 is too small"), Done(), Done())
    async with stage.running(notes, resync=100) as runner:
        await stage.clock.advance(1000)
        assert len(notes.seen) == 1
        (condition,) = stage.world.job("a")["status"]["conditions"]
        assert condition | {"lastTransitionTime": ""} == {
            "type": "Stalled",
            "status": "True",
            "reason": "BadSize",
            "message": "1 is too small",
            "lastTransitionTime": "",
            "observedGeneration": 1,
        }
        assert stage.sink.said() == [("BadSize", "1 is too small", 1)]
        assert [(failing.error, failing.retry) for failing in runner.snapshot().failing] == [("BadSize: 1 is too small", None)]
        stage.world.change("a", spec={"size": 2})
        await settled()
        assert len(notes.seen) == 2
        (condition,) = stage.world.job("a")["status"]["conditions"]
        assert (condition["status"], condition["observedGeneration"]) == ("False", 2)
        assert runner.snapshot().failing == ()


async def test_a_run_that_takes_too_long_is_ended_and_retried(stage: Stage) -> None:
    ended: list[str] = []

    async def hangs_once(obj: Job, client: Client, run: Run) -> None:
        if run.attempt == 1:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(obj.metadata.name)

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(hangs_once, timeout=20) as runner:
        await stage.clock.advance(19)
        assert ended == []
        await stage.clock.advance(1)
        assert ended == ["a"]
        assert runner.snapshot().failing[0].error == "RunTimeoutError: took longer than 20 s"
        await stage.clock.advance(10)
        assert runner.snapshot().totals == {"error": 1, "success": 1}


async def test_an_overtaken_write_is_retried_without_ado(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes(ConflictError("overtaken"), Done())
    async with stage.running(notes) as runner:
        await stage.clock.advance(10)
        assert len(notes.seen) == 2
        assert runner.snapshot().totals == {"conflict": 1, "success": 1}
        assert stage.sink.said() == []


@pytest.mark.parametrize("returned", [5, "done", Again(-1), Again(float("nan")), Done])
async def test_what_is_no_outcome_is_an_error_that_says_what_would_be(stage: Stage, returned: Any) -> None:
    stage.world.put(Job, to_document(job("a")))
    async with stage.running(Notes(returned)) as runner:
        (failing,) = runner.snapshot().failing
        assert failing.error.startswith("TypeError: ")
        assert "Again(" in failing.error


async def test_an_object_that_cannot_be_read_is_an_error_of_that_object_alone(stage: Stage) -> None:
    stage.world.put(Job, {"metadata": {"namespace": "shop", "name": "bad"}, "spec": {"size": "many"}})
    stage.world.put(Job, to_document(job("good")))
    notes = Notes()
    async with stage.running(notes) as runner:
        assert notes.seen == [("good", 1)]
        assert [str(failing.place) for failing in runner.snapshot().failing] == ["shop/bad"]


async def test_a_plain_function_runs_in_a_thread_with_a_client_that_waits(stage: Stage) -> None:
    threads: list[threading.Thread] = []
    reached = anyio.Event()

    def check(obj: Job, client: BlockingClient) -> Outcome:
        threads.append(threading.current_thread())
        part = client.create(Part(metadata=Metadata(name="p", namespace="shop"), spec=PartSpec(job=obj.metadata.name)))
        found = client.get(Part, "p", "shop")
        assert found == part
        anyio.from_thread.run_sync(reached.set)
        return Done(JobStatus(seen=len(client.list(Part).items)))

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(check) as runner:
        await reached.wait()
        while runner.snapshot().totals != {"success": 1}:
            await anyio.lowlevel.checkpoint()
        assert stage.world.job("a")["status"]["seen"] == 1
        assert threads != [threading.main_thread()]


async def test_a_thread_that_was_given_up_holds_its_key_and_can_no_longer_write(stage: Stage) -> None:
    go_on = threading.Event()
    began, refused = held_back()
    errors: list[Exception] = []
    attempts: list[int] = []

    def check(obj: Job, client: BlockingClient, run: Run) -> None:
        attempts.append(run.attempt)
        if len(attempts) > 1:
            return
        anyio.from_thread.run_sync(began.set)
        go_on.wait(30)
        try:
            client.patch_status(Job, "a", "shop", {"seen": 99})
        except RuntimeError as error:
            errors.append(error)
        anyio.from_thread.run_sync(refused.set)

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(check, timeout=5, concurrency=2) as runner:
        await began.wait()
        await stage.clock.advance(5)
        assert runner.snapshot().totals == {"error": 1}
        await stage.clock.advance(100)
        assert attempts == [1]
        go_on.set()
        await refused.wait()
        while "success" not in runner.snapshot().totals:
            await anyio.lowlevel.checkpoint()
        assert attempts == [1, 2]
        assert "given up" in str(errors[0])
        assert stage.world.written == []


# What it writes.


async def test_an_unchanged_status_is_not_written(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes(*(Done(JobStatus(seen=1)) for _ in range(3)))
    async with stage.running(notes):
        for size in (2, 3):
            stage.world.change("a", spec={"size": size})
            await settled()
        assert len(notes.seen) == 3
        assert stage.world.names("patch status") == ["a"]


async def test_a_status_patch_holds_only_what_changed_and_takes_away_what_is_gone(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")) | {"status": {"seen": 1, "note": "old"}})
    async with stage.running(Notes(Done(JobStatus(seen=1)))):
        (written,) = stage.world.written
        assert written.body["status"] == {"note": None}
        assert stage.world.job("a")["status"] == {"seen": 1}


async def test_a_status_is_not_written_onto_another_object_of_the_same_name(stage: Stage) -> None:
    began, go_on = held_back()
    seen: list[str] = []

    async def slow(obj: Job, client: Client) -> Outcome:
        seen.append(obj.metadata.uid)
        if len(seen) == 1:
            began.set()
            await go_on.wait()
        return Done(JobStatus(note=obj.metadata.uid))

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(slow) as runner:
        await began.wait()
        stage.world.remove(Job, Place("shop", "a"))
        second = stage.world.put(Job, to_document(job("a")))
        go_on.set()
        await stage.clock.advance(10)
        assert seen[-1] == second["metadata"]["uid"]
        assert stage.world.job("a")["status"]["note"] == second["metadata"]["uid"]
        assert runner.snapshot().totals == {"conflict": 1, "success": 1}


async def test_a_status_for_what_was_deleted_meanwhile_is_no_failure(stage: Stage) -> None:
    async def deletes_itself(obj: Job, client: Client) -> Outcome:
        await client.delete(Job, "a", "shop")
        return Done(JobStatus(seen=1))

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(deletes_itself) as runner:
        await stage.clock.advance(10)
        assert runner.snapshot().totals == {"success": 1, "gone": 1}


async def test_an_object_that_is_seen_to_go_before_its_write_is_answered_does_not_come_back(stage: Stage) -> None:
    """Whoever takes every answer for news reconciles an object for ever that is no more."""
    patch = stage.world.patch

    async def slow_answer(model: type, place: Place, merge: dict[str, Any], subresource: str) -> dict[str, Any]:
        written = await patch(model, place, merge, subresource)
        stage.world.remove(model, place)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        return written

    stage.world.patch = slow_answer  # type: ignore[method-assign]
    stage.world.put(Job, to_document(job("a")))
    async with stage.running(Notes(*(Again(1, JobStatus(seen=number)) for number in range(1, 9)))) as runner:
        await stage.clock.advance(100)
        assert runner.snapshot().totals == {"again": 1, "gone": 1}
        assert runner.snapshot().timers == 0
        assert runner._written == {}


@pytest.mark.parametrize("status", [object(), 5, [1], {"seen": {1, object()}}])
async def test_a_status_that_cannot_be_written_is_a_clear_error(stage: Stage, status: Any) -> None:
    stage.world.put(Job, to_document(job("a")))
    async with stage.running(Notes(Done(status))) as runner:
        (failing,) = runner.snapshot().failing
        assert failing.error.startswith("StatusError: the status returned for Job ")
        assert stage.world.written == []


async def test_a_run_sees_what_the_run_before_it_wrote_although_the_watch_is_late(stage: Stage) -> None:
    seen: list[tuple[int, int]] = []

    async def counts(obj: Job, client: Client) -> Outcome:
        before = obj.status.seen if obj.status else 0
        seen.append((obj.spec.size, before))
        await client.update_with(Job, "a", "shop", lambda job: replace(job, spec=replace(job.spec, size=job.spec.size + 1)))
        return Again(1, JobStatus(seen=before + 1))

    stage.world.put(Job, to_document(job("a")))
    stage.world.deaf = True
    async with stage.running(counts):
        await stage.clock.advance(2.5)
        assert seen == [(1, 0), (2, 1), (3, 2)]


async def test_a_run_after_its_own_delete_does_not_see_the_deleted_object(stage: Stage) -> None:
    notes: list[str] = []

    async def deletes(obj: Job, client: Client) -> Outcome:
        notes.append(obj.metadata.uid)
        await client.delete(Job, "a", "shop")
        return Again(1)

    stage.world.put(Job, to_document(job("a")))
    stage.world.deaf = True
    async with stage.running(deletes) as runner:
        await stage.clock.advance(5)
        assert len(notes) == 1
        assert runner.snapshot().totals == {"again": 1, "gone": 1}


async def test_a_status_written_through_the_client_counts_as_the_one_that_is_there(stage: Stage) -> None:
    async def twice(obj: Job, client: Client) -> Outcome:
        await client.patch_status(Job, "a", "shop", {"seen": 5})
        return Done(JobStatus(seen=5))

    stage.world.put(Job, to_document(job("a")))
    stage.world.deaf = True
    async with stage.running(twice):
        assert stage.world.names("patch status") == ["a"]


# Its life.


async def test_stop_lets_runs_finish_and_begins_no_others(stage: Stage) -> None:
    began, go_on = held_back()
    finished: list[str] = []

    async def slow(obj: Job, client: Client) -> Outcome:
        began.set()
        await go_on.wait()
        finished.append(obj.metadata.name)
        return Done(JobStatus(seen=1))

    for name in ("a", "b"):
        stage.world.put(Job, to_document(job(name)))
    runner = stage.runner(slow)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        await began.wait()
        runner.stop(grace=10)
        await stage.clock.advance(9)
        go_on.set()
    assert finished == ["a"]
    assert stage.world.job("a")["status"]["seen"] == 1


async def test_stop_cancels_what_has_not_finished_in_its_grace(stage: Stage) -> None:
    ended: list[str] = []

    async def hangs(obj: Job, client: Client) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(obj.metadata.name)

    stage.world.put(Job, to_document(job("a")))
    runner = stage.runner(hangs)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        await settled()
        runner.stop(grace=3)
        await stage.clock.advance(2.9)
        assert ended == []
        await stage.clock.advance(0.1)
    assert ended == ["a"]


async def test_the_last_events_are_written_before_it_stops(stage: Stage) -> None:
    async def tells(obj: Job, client: Client, run: Run) -> None:
        run.tell("Seen", f"size {obj.spec.size}")
        runner.stop()

    stage.world.put(Job, to_document(job("a")))
    runner = stage.runner(tells)
    await runner.run()
    assert stage.sink.said() == [("Seen", "size 1", 1)]


async def test_a_class_is_made_at_the_start_set_up_before_the_first_run_and_torn_down_after_the_last(stage: Stage) -> None:
    story: list[str] = []

    class Keeper:
        async def setup(self, client: Client) -> None:
            story.append(f"setup {len((await client.list(Job)).items)}")

        async def reconcile(self, obj: Job, client: Client) -> None:
            story.append(obj.metadata.name)
            if obj.metadata.name == "b":
                runner.stop()

        def teardown(self) -> None:
            story.append("teardown")

    for name in ("a", "b"):
        stage.world.put(Job, to_document(job(name)))
    runner = stage.runner(Keeper)
    await runner.run()
    assert story == ["setup 2", "a", "b", "teardown"]


async def test_a_set_up_that_fails_is_tried_again(stage: Stage) -> None:
    tries: list[int] = []

    class Late:
        async def setup(self, client: Client) -> None:
            tries.append(len(tries))
            if len(tries) < 3:
                raise OSError("not there yet")

        async def reconcile(self, obj: Job, client: Client) -> Outcome:
            return Done(JobStatus(seen=len(tries)))

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(Late):
        await stage.clock.advance(10)
        assert stage.world.job("a")["status"]["seen"] == 3


async def test_cancellation_goes_through(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    cancelled: list[bool] = []

    async def hangs(obj: Job, client: Client) -> None:
        try:
            await anyio.sleep_forever()
        except BaseException:
            cancelled.append(True)
            raise

    async with stage.running(hangs):
        pass
    assert cancelled == [True]


async def test_a_cancellation_inside_a_run_is_its_failure_and_not_the_end_of_the_actor(stage: Stage) -> None:
    async def awaits_what_was_cancelled(obj: Job, client: Client, run: Run) -> None:
        if run.attempt == 1:
            cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled

    for name in ("a", "b"):
        stage.world.put(Job, to_document(job(name)))
    async with stage.running(awaits_what_was_cancelled) as runner:
        await stage.clock.advance(10)
        assert runner.snapshot().totals == {"error": 2, "success": 2}


async def test_the_snapshot_shows_what_runs_what_waits_and_what_came_of_it(stage: Stage) -> None:
    began, go_on = held_back()

    async def slow(obj: Job, client: Client) -> Outcome:
        began.set()
        await go_on.wait()
        return Again(60)

    for name in ("a", "b", "c"):
        stage.world.put(Job, to_document(job(name)))
    async with stage.running(slow) as runner:
        began_at = stage.clock.now()
        await stage.clock.advance(2)
        snapshot = runner.snapshot()
        assert (snapshot.name, snapshot.objects, snapshot.depth, snapshot.waits_since) == ("test", 3, 2, began_at)
        assert snapshot.running == {Place("shop", "a"): began_at}
        go_on.set()
        await settled()
        snapshot = runner.snapshot()
        assert (snapshot.depth, snapshot.running, snapshot.timers, snapshot.seconds) == (0, {}, 3, 2.0)
        assert [(past.place.name, past.result, past.seconds) for past in snapshot.last] == [
            ("c", "again", 0.0),
            ("b", "again", 0.0),
            ("a", "again", 2.0),
        ]


# What is told of it, and what it is told.


async def test_a_paused_actor_finishes_what_runs_begins_nothing_and_catches_up_folded_when_resumed(stage: Stage) -> None:
    began, release = held_back()
    seen: list[tuple[str, int, Wake]] = []

    async def reconcile(obj: Job, client: Client, run: Run) -> Done:
        seen.append((obj.metadata.name, obj.spec.size, run.wake))
        if len(seen) == 1:
            began.set()
            await release.wait()
        return Done(JobStatus(seen=obj.spec.size))

    async with stage.running(reconcile) as runner:
        stage.world.put(Job, to_document(job("a")))
        await began.wait()
        runner.pause()
        release.set()
        await settled()
        assert stage.world.job("a")["status"]["seen"] == 1, "what ran is finished"
        for size in (2, 3, 4):
            stage.world.change("a", spec={"size": size})
        stage.world.put(Job, to_document(job("b")))
        runner.wake(Place("shop", "b"))
        await stage.clock.advance(1000)
        assert len(seen) == 1
        snapshot = runner.snapshot()
        assert (snapshot.paused, snapshot.depth, snapshot.running) == (True, 2, {})
        runner.resume()
        await settled()
        assert seen[1:] == [("b", 1, Wake.DESIRED | Wake.RESYNC), ("a", 4, Wake.DESIRED)]


async def test_a_timer_that_falls_due_during_a_pause_rings_when_it_is_over(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    notes = Notes(Again(10))
    async with stage.running(notes) as runner:
        runner.pause()
        await stage.clock.advance(60)
        assert len(notes.wakes) == 1
        runner.resume()
        await settled()
        assert notes.wakes == [Wake.DESIRED, Wake.TIMER]


async def test_a_paused_actor_stops_like_any_other(stage: Stage) -> None:
    runner = stage.runner(Notes())
    runner.pause()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        await settled()
        runner.stop()


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_plugin_that_wants_to_end_the_process_fails_alone(stage: Stage, threaded: bool) -> None:
    async def leaves(obj: Job, client: Client) -> None:
        raise SystemExit(3)

    def leaves_its_thread(obj: Job, client: BlockingClient) -> None:
        raise SystemExit(3)

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(leaves_its_thread if threaded else leaves) as runner:
        while not runner.snapshot().failing:
            await anyio.lowlevel.checkpoint()
        (failing,) = runner.snapshot().failing
        assert failing.error == "ExitedError: SystemExit was raised: an actor cannot end the process"


async def test_a_class_that_wants_to_end_the_process_while_it_is_set_up_is_tried_again(stage: Stage) -> None:
    tries: list[int] = []

    class Leaves:
        def __init__(self) -> None:
            tries.append(1)
            if len(tries) == 1:
                raise SystemExit(3)

        async def setup(self, client: Client) -> None:
            if len(tries) == 2:
                raise KeyboardInterrupt

        async def reconcile(self, obj: Job, client: Client) -> None:
            pass

    async with stage.running(Leaves) as runner:
        snapshot = runner.snapshot()
        assert (snapshot.live, snapshot.synced) == (False, False)
        assert snapshot.set_up_error.startswith("ExitedError: SystemExit")
        await stage.clock.advance(10)
        snapshot = runner.snapshot()
        assert (snapshot.live, snapshot.set_up_error, len(tries)) == (True, "", 3)


async def test_a_snapshot_tells_how_long_runs_took_and_keys_waited(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    stage.world.put(Job, to_document(job("b")))
    going = anyio.Event()

    async def reconcile(obj: Job, client: Client) -> None:
        await going.wait()

    async with stage.running(reconcile) as runner:
        await stage.clock.advance(3)
        going.set()
        await settled()
        snapshot = runner.snapshot()
        assert (snapshot.adds, snapshot.retries, snapshot.seconds) == (2, 0, 3.0)
        took = {bound: count for bound, count in zip(snapshot.ran.bounds, snapshot.ran.counts, strict=False) if count}
        assert took == {3.0: 1, 0.005: 1}, "the first run took three seconds, the second none"
        waited = {bound: count for bound, count in zip(snapshot.waited.bounds, snapshot.waited.counts, strict=False) if count}
        assert waited == {10.0: 1, 1e-08: 1}, "while the first one ran, the second key waited"
        assert len(snapshot.ran.counts) == len(snapshot.ran.bounds) + 1


async def test_runs_longer_than_any_bound_are_counted(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a")))
    going = anyio.Event()

    async def reconcile(obj: Job, client: Client) -> None:
        await going.wait()

    async with stage.running(reconcile, timeout=1000) as runner:
        await stage.clock.advance(100)
        going.set()
        await settled()
        assert runner.snapshot().ran.counts[-1] == 1


async def test_counts_go_on_when_another_runner_takes_over(stage: Stage) -> None:
    insight = Insight()
    stage.world.put(Job, to_document(job("a")))
    for _ in range(2):
        first = stage.runner(Notes(RuntimeError("no")))
        runner = Runner(first.actor, first._environment, insight)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await settled()
            tasks.cancel_scope.cancel()
    snapshot = runner.snapshot()
    assert (snapshot.totals, snapshot.adds, snapshot.retries) == ({"error": 2}, 2, 2)
    assert [failing.failures for failing in snapshot.failing] == [1]


async def test_whoever_listens_is_told_of_every_change_and_of_nothing_else(stage: Stage) -> None:
    told: list[int] = []
    template = stage.runner(Notes())
    runner = Runner(template.actor, template._environment, Insight(lambda: told.append(1)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        await settled()
        before = len(told)
        assert before, "that it is set up and has listed"
        await stage.clock.advance(3600)
        assert len(told) == before, "nothing happens, and nothing is told"
        stage.world.put(Job, to_document(job("a")))
        await settled()
        assert len(told) == before + 3, "a key came, its run began, its run is over"
        tasks.cancel_scope.cancel()


async def test_what_was_set_up_is_torn_down_when_an_actor_breaks(stage: Stage) -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    torn: list[int] = []

    class Breaks:
        async def reconcile(self, obj: Job, client: Client) -> None:
            raise UnspeakableError

        async def teardown(self) -> None:
            torn.append(1)

    stage.world.put(Job, to_document(job("a")))
    with pytest.raises(ExceptionGroup):
        await stage.runner(Breaks).run()
    assert torn == [1]
