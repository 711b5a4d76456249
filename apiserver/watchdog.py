"""Notices when something blocks the event loop, and says what: while it is blocked, nobody is answered.

What it promises:

* **Named.** A blockage longer than `limit` is one line of the log while it lasts, with the actor and key whose run blocks (if it
  is one) and the innermost calls of the loop's thread, and one line when it ends, with how long it took.
* **Cheap.** The loop beats about four times a second, which is a timer and no I/O; a thread looks once in `limit` whether it did.
  Nothing is done per callback, request or run.
* **No false blame when everything stood still.** If the thread did not get to run either (the process was suspended, or an
  extension held the interpreter), that is what it says.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple, Protocol, Self

CALLS = 12
"""Innermost calls that are shown."""
LONGEST_PAUSE = 0.25
"""Seconds between two beats, at most."""
LATE = 0.5
"""A thread that is woken this part of the limit too late did not get to run."""


class Log(Protocol):
    """Where it is told."""

    def warning(self, event: str, /, **facts: Any) -> Any: ...


class Blockages(NamedTuple):
    """What was noticed so far: how many times it was blocked, how many seconds together, and the longest."""

    times: int = 0
    seconds: float = 0.0
    longest: float = 0.0


class Watchdog:
    """Watches the running event loop from `with` on. `limit`: seconds that the loop may not turn."""

    def __init__(self, log: Log, limit: float, now: Callable[[], float] = time.monotonic) -> None:
        self.blockages = Blockages()
        self._log = log
        self._limit = limit
        self._pause = min(LONGEST_PAUSE, limit / 4)
        self._now = now
        self._beat = 0.0  # when the loop beat last
        self._gap = 0.0  # how late the latest of its beats was, since somebody looked; written by the loop, cleared by the thread
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = 0  # the loop's thread
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="skep-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._beat = self._now()
        self._timer = self._loop.call_later(self._pause, self._beats, self._loop)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._closed.set()
        self._thread.join()

    def _beats(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop turns."""
        now = self._now()
        self._gap = max(self._gap, now - self._beat - self._pause)
        self._beat = now
        self._timer = loop.call_later(self._pause, self._beats, loop)

    def _watch(self) -> None:
        """Sleeps until the next beat would be too late, and looks. The thread of the watchdog."""
        while True:
            beat, began = self._beat, self._now()
            due = max(began, beat + self._pause + self._limit)
            if self._closed.wait(due - began):
                return
            late = self._now() - due
            if late > self._limit * LATE:
                if self._closed.wait(self._pause):  # the loop is to get to run as well
                    return
                self._over("the process stood still", max(late, self._gap))
            elif self._beat == beat:
                if not self._blocked(beat):
                    return
            else:
                self._over("the event loop was blocked", self._gap)

    def _blocked(self, beat: float) -> bool:
        """Tells of a blockage, and of its end; False if the watchdog was closed meanwhile."""
        overdue = self._now() - beat - self._pause
        self._log.warning("the event loop is blocked", seconds=round(overdue, 3), **self._culprit())
        while self._beat == beat:
            if self._closed.wait(self._pause):
                return False
        self._over("the event loop turns again", self._gap)
        return True

    def _over(self, event: str, seconds: float) -> None:
        """Counts and tells, if it was long enough to be told."""
        self._gap = 0.0
        if seconds <= self._limit:
            return
        before = self.blockages
        self.blockages = Blockages(before.times + 1, before.seconds + seconds, max(before.longest, seconds))
        self._log.warning(event, seconds=round(seconds, 3))

    def _culprit(self) -> dict[str, Any]:
        """Which task the loop is in, and where."""
        task = asyncio.current_task(self._loop) if self._loop is not None else None
        name = task.get_name() if task is not None else "none"
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 (the documented way to see another thread's stack)
        return {"task": name, **actor_of(name), "stack": calls(frame)}


def actor_of(task: str) -> dict[str, str]:
    """The actor and what it was at, from the name of a task (`actors.runner` names them); empty for other tasks."""
    if not task.startswith("actor "):
        return {}
    actor, _, what = task.removeprefix("actor ").partition(": ")
    return {"actor": actor, "at": what}


def calls(frame: FrameType | None) -> list[str]:
    """The innermost calls of a thread, as `function file:line`, the innermost first. Names of code only, never values."""
    summary = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=CALLS, lookup_lines=False) if frame else []
    return [f"{each.name} {each.filename}:{each.lineno}" for each in summary]
