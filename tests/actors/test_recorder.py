"""Events: folded, bounded, discreet, and never in the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest

from actors.recorder import EventRecorder, presentable
from registry.errors import Forbidden
from tests.actors.world import Stage, settled

pytestmark = pytest.mark.anyio


def about(name: str = "a", uid: str = "u1", namespace: str = "shop") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": "7"}
    return {"apiVersion": "t.example/v1", "kind": "Job", "metadata": metadata, "spec": {"password": "x"}}


@asynccontextmanager
async def recording(stage: Stage) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(stage.sink, "test", stage.clock, Random(3), stage.log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recorder.run)
        yield recorder
        tasks.cancel_scope.cancel()


async def test_an_event_says_who_what_and_about_which_object(stage: Stage) -> None:
    async with recording(stage) as recorder:
        recorder.record(about(), "Normal", "Fetched", "200 in 12 ms")
        await recorder.flush()
        (event,) = stage.sink.events.values()
        name = event["metadata"]["name"]
        assert name.startswith("a.")
        assert event == {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "shop"},
            "involvedObject": {
                "apiVersion": "t.example/v1",
                "kind": "Job",
                "namespace": "shop",
                "name": "a",
                "uid": "u1",
                "resourceVersion": "7",
            },
            "type": "Normal",
            "reason": "Fetched",
            "message": "200 in 12 ms",
            "count": 1,
            "firstTimestamp": "2023-11-14T22:30:00Z",
            "lastTimestamp": "2023-11-14T22:30:00Z",
            "source": {"component": "test"},
            "reportingComponent": "test",
        }


async def test_what_is_in_no_namespace_has_its_events_in_default(stage: Stage) -> None:
    async with recording(stage) as recorder:
        recorder.record(about(namespace=""), "Normal", "Seen", "here")
        await recorder.flush()
        (event,) = stage.sink.events.values()
        assert event["metadata"]["namespace"] == "default"
        assert "namespace" not in event["involvedObject"]


async def test_repeats_within_ten_minutes_are_one_event_with_a_count(stage: Stage) -> None:
    async with recording(stage) as recorder:
        for _ in range(3):
            recorder.record(about(), "Warning", "Failed", "no")
            await recorder.flush()
            await stage.clock.advance(599)
        assert stage.sink.said() == [("Failed", "no", 3)]
        (event,) = stage.sink.events.values()
        assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2023-11-14T22:30:00Z", "2023-11-14T22:49:58Z")
        await stage.clock.advance(2)
        recorder.record(about(), "Warning", "Failed", "no")
        await recorder.flush()
        assert stage.sink.said() == [("Failed", "no", 3), ("Failed", "no", 1)]


async def test_other_objects_reasons_and_messages_are_other_events(stage: Stage) -> None:
    async with recording(stage) as recorder:
        for document, reason, message in (
            (about(), "A", "m"),
            (about(), "B", "m"),
            (about(), "A", "n"),
            (about("b"), "A", "m"),
            (about(uid="u2"), "A", "m"),
        ):
            recorder.record(document, "Normal", reason, message)
        await recorder.flush()
        assert len(stage.sink.events) == 5


async def test_repeats_that_come_faster_than_they_are_written_are_one_write(stage: Stage) -> None:
    async with recording(stage) as recorder:
        for _ in range(1000):
            recorder.record(about(), "Warning", "Failed", "no")
        await recorder.flush()
        assert (stage.sink.said(), stage.sink.calls) == ([("Failed", "no", 1000)], 1)


async def test_an_event_that_expired_at_the_server_is_made_again(stage: Stage) -> None:
    async with recording(stage) as recorder:
        recorder.record(about(), "Warning", "Failed", "no")
        await recorder.flush()
        stage.sink.events.clear()
        recorder.record(about(), "Warning", "Failed", "no")
        await recorder.flush()
        assert stage.sink.said() == [("Failed", "no", 2)]


@pytest.mark.parametrize("fault", [Forbidden("no"), OSError("away"), ValueError("bug")])
async def test_a_write_that_fails_is_a_line_in_the_log_and_no_more(stage: Stage, fault: Exception) -> None:
    async with recording(stage) as recorder:
        stage.sink.faults = [fault]
        recorder.record(about(), "Normal", "Lost", "one")
        recorder.record(about("b"), "Normal", "Kept", "two")
        await recorder.flush()
        assert stage.sink.said() == [("Kept", "two", 1)]
        assert [line["object"] for line in stage.log.of("event not written")] == ["a"]


async def test_a_server_that_does_not_answer_holds_nobody_up(stage: Stage) -> None:
    async with recording(stage) as recorder:
        stage.sink.hangs = True
        recorder.record(about(), "Normal", "Lost", "one")
        await settled()
        stage.sink.hangs = False
        recorder.record(about("b"), "Normal", "Kept", "two")
        await stage.clock.advance(11)
        assert stage.sink.said() == [("Kept", "two", 1)]


async def test_what_is_kept_in_mind_is_bounded_and_the_stalest_goes_first(stage: Stage) -> None:
    async with recording(stage) as recorder:
        for number in range(3000):
            recorder.record(about(f"j{number}"), "Normal", "Seen", "m")
        await recorder.flush()
        assert len(stage.sink.events) == 1000
        assert {event["involvedObject"]["name"] for event in stage.sink.events.values()} == {
            f"j{number}" for number in range(2000, 3000)
        }
        assert len(stage.log.of("event dropped")) == 2000


async def test_the_name_of_an_event_about_a_long_name_is_not_too_long(stage: Stage) -> None:
    async with recording(stage) as recorder:
        recorder.record(about("x." * 126 + "x"), "Normal", "Seen", "m")
        await recorder.flush()
        (name,) = stage.sink.events
        assert len(name) <= 253
        assert ".." not in name


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("GET https://user:hunter2@example.com/x failed", "GET https://***@example.com/x failed"),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer ***"),
        ("authorization: Basic dXNlcjpodW50ZXIy", "authorization: Basic ***"),
        ("rejected bearer eyJhbGciOiJIUzI1", "rejected bearer ***"),
        ("password=hunter2, retrying", "password=***, retrying"),
        ("{'api_key': 'hunter2'}", "{'api_key': ***'}"),
        ("the token was refused", "the token was refused"),
        ("two\nlines\tand  spaces", "two lines and spaces"),
    ],
)
def test_a_message_is_one_line_without_what_looks_like_a_credential(message: str, shown: str) -> None:
    assert presentable(message) == shown


def test_a_long_message_is_cut_at_the_limit_of_the_api() -> None:
    assert len(presentable("x" * 5000)) == 1024
    assert presentable("x" * 1024) == "x" * 1024
