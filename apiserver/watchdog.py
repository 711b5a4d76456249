"""Notices when something blocks the event loop, and says what: while it is blocked, nobody is answered.

What it promises:

* **Named.** A blockage longer than `limit` is one line of the log while it lasts, with the actor and key whose run blocks (if it
  is one) and the innermost calls of the loop's thread, and one line when it ends, with how long it took.
* **Seen from outside.** A thread of its own asks the loop to turn, about four times a second, and waits for the answer. Nothing is
  done per callback, request or run; a server with nothing to do has nothing else to wake it.
* **No false alarm when everything stood still.** If the thread did not get to run either (the process was suspended, or an
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
"""Seconds between two questions, at most."""
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
        self._now = now
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="skep-watchdog", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = 0  # the loop's thread
        self._turned = threading.Event()  # the answer to the last question

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        self._turned.set()  # the loop does not turn while it waits here
        self._thread.join()

    def _watch(self) -> None:
        pause = min(LONGEST_PAUSE, self._limit / 4)
        while True:
            began = self._now()
            if self._closed.wait(pause):
                return
            if (late := self._now() - began - pause) > self._limit:
                self._over(late, suspended=True)
            turned = self._turned = threading.Event()
            asked = self._now()
            if self._closed.is_set() or not self._ask(turned.set):
                return
            if not turned.wait(self._limit):
                self._blocked(turned, asked)

    def _ask(self, answer: Callable[[], None]) -> bool:
        """Has the loop call `answer` with its next turn; False if there is no loop any more."""
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(answer)
        except RuntimeError:  # it was closed
            return False
        return True

    def _blocked(self, turned: threading.Event, asked: float) -> None:
        suspended = self._now() - asked > self._limit * (1 + LATE)
        if not (suspended and turned.wait(self._limit / 4)):
            self._log.warning("the event loop is blocked", seconds=round(self._now() - asked, 3), **self._culprit())
        turned.wait()
        self._over(self._now() - asked, suspended=suspended)

    def _over(self, seconds: float, *, suspended: bool) -> None:
        before = self.blockages
        self.blockages = Blockages(before.times + 1, before.seconds + seconds, max(before.longest, seconds))
        if suspended:
            because = "the process was suspended, or an extension module held the interpreter"
            self._log.warning("the process stood still", seconds=round(seconds, 3), because=because)
        else:
            self._log.warning("the event loop turns again", seconds=round(seconds, 3))

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
