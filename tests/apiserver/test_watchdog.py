"""The watchdog on a real event loop that is really blocked. Nothing is timed: what ends a blockage is that it was told of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from apiserver.watchdog import CALLS, Watchdog, actor_of, calls

pytestmark = pytest.mark.anyio


class Told:
    """A log that is kept; `heard` is set with each line."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.heard = threading.Event()

    def warning(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))
        self.heard.set()

    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await anyio.sleep(0.001)


def blocks_until(heard: threading.Event) -> None:
    heard.wait()
    heard.clear()


async def test_what_blocks_the_loop_is_named_once_while_it_does_and_its_length_is_told_when_it_ends() -> None:
    log = Told()

    async def culprit() -> None:
        blocks_until(log.heard)

    with Watchdog(log, 0.2) as dog:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(culprit, name="actor uptime-check: default/home")
        await until(lambda: dog.blockages.times == 1)
        assert log.events() == ["the event loop is blocked", "the event loop turns again"]
    (_, blocked), (_, over) = log.lines
    assert (blocked["actor"], blocked["at"]) == ("uptime-check", "default/home")
    assert any(line.startswith("blocks_until ") and "test_watchdog.py:" in line for line in blocked["stack"])
    assert any(line.startswith("culprit ") for line in blocked["stack"])
    assert blocked["seconds"] >= 0.2
    assert over["seconds"] >= blocked["seconds"]
    assert dog.blockages.longest == dog.blockages.seconds >= 0.2


async def test_each_blockage_is_told_by_itself() -> None:
    log = Told()
    with Watchdog(log, 0.2) as dog:
        for count in (1, 2):
            log.heard.clear()
            blocks_until(log.heard)
            await until(lambda count=count: dog.blockages.times == count)
    assert log.events() == ["the event loop is blocked", "the event loop turns again"] * 2


async def test_a_task_that_is_nobodys_actor_is_named_as_the_loop_knows_it() -> None:
    log = Told()

    async def handler() -> None:
        blocks_until(log.heard)

    with Watchdog(log, 0.2) as dog:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handler, name="a request")
        await until(lambda: dog.blockages.times == 1)
    assert log.lines[0][1]["task"] == "a request"
    assert "actor" not in log.lines[0][1]


async def test_a_loop_that_turns_is_not_told_of() -> None:
    log = Told()
    turns = 0
    with Watchdog(log, 60):
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
            turns += 1
    assert (turns, log.lines) == (1000, [])


async def test_when_the_whole_process_stood_still_that_is_said_and_nobody_is_blamed() -> None:
    log = Told()
    skew = [0.0]
    with Watchdog(log, 0.2, lambda: time.monotonic() + skew[0]) as dog:
        skew[0] = 500.0
        await until(lambda: dog.blockages.times == 1)
    ((event, facts),) = log.lines
    assert event == "the process stood still"
    assert facts.keys() == {"seconds"}
    assert facts["seconds"] == pytest.approx(500.0, abs=5)


async def test_a_blockage_that_is_over_before_anybody_looked_is_told_too() -> None:
    log = Told()
    with Watchdog(log, 0.2) as dog:
        dog._gap = 7.0  # a beat that came seven seconds late, and one in time after it
        await until(lambda: dog.blockages.times == 1)
    assert log.lines == [("the event loop was blocked", {"seconds": 7.0})]


async def test_it_ends_with_its_body_at_once_and_takes_that_for_no_blockage() -> None:
    log = Told()
    for _ in range(50):
        with Watchdog(log, 3600) as dog:
            assert dog._thread.is_alive()
        assert not dog._thread.is_alive()
        assert dog._timer is not None
        assert dog._timer.cancelled()
    assert log.lines == []


async def test_it_ends_also_while_the_loop_is_blocked() -> None:
    log = Told()
    with Watchdog(log, 0.2):
        blocks_until(log.heard)
    assert log.events() == ["the event loop is blocked"]


def test_the_stack_is_bounded_and_shows_no_values() -> None:
    def deep(secret: str, levels: int) -> list[str]:
        if levels:
            return deep(secret, levels - 1)
        import sys

        return calls(sys._getframe())

    shown = deep("topsecret", 50)
    assert len(shown) == CALLS
    assert all(line.startswith("deep ") for line in shown)
    assert "topsecret" not in "".join(shown)
    assert calls(None) == []


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("actor a-b: ns/x", {"actor": "a-b", "at": "ns/x"}),
        ("actor a-b", {"actor": "a-b", "at": ""}),
        ("actor a: watch of Probe", {"actor": "a", "at": "watch of Probe"}),
        ("Task-7", {}),
    ],
)
def test_names_of_tasks_tell_the_actor(task: str, expected: dict[str, str]) -> None:
    assert actor_of(task) == expected
