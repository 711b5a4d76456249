"""Calls one admission handler, which somebody else wrote: within its time, and without harm to whoever calls.

What it promises:

* An async handler that takes too long is cancelled at its next await. A plain one with `thread=True` is left to its thread, and
  nobody waits for it any longer; it can take `THREADS` threads and no more, so a handler that hangs refuses what it is asked about
  and takes nothing from the others. A plain one without is called in the event loop, where nothing can end it: it must not wait.
* Whatever it raises is an error of that handler, also `SystemExit` and a cancellation that was meant for something else. The
  cancellation of the request itself passes through.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread

from registry.handlers import Handler
from registry.resource import Struct

RESULTS = (Struct, list, tuple)
"""What handlers return: the next value, or causes."""
THREADS = 8
"""Worker threads that one handler can be in at a time."""


class HandlerTimeoutError(Exception):
    """A handler took longer than it may."""


def is_over(error: BaseException) -> bool:
    """Whether an error, caught around a handler, is the end of whoever called it: not the handler's, and to be passed on."""
    if isinstance(error, GeneratorExit):
        return True
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def caller(handler: Handler) -> Callable[[Any], Any]:
    """A function that calls the handler: what it returns is the result, or a coroutine that is awaited for it.

    It raises what the handler raises, and HandlerTimeoutError.
    """
    function, limit = handler.function, handler.limit
    threads = _Threads(THREADS) if handler.thread else None

    async def within(awaited: Any) -> Any:
        with anyio.move_on_after(limit):
            return await awaited
        raise HandlerTimeoutError(f"took longer than {limit:g} s")

    def call(review: Any) -> Any:
        returned = function(review) if threads is None else threads.run(function, review)
        return within(returned) if awaits(returned) else returned

    return call


def awaits(returned: Any) -> bool:
    """Whether what a handler returned is still to be awaited. Nearly always it is what a glance tells to be a result."""
    return returned is not None and not isinstance(returned, RESULTS) and inspect.isawaitable(returned)


class _Threads:
    """So many threads at most, those that nobody waits for any more among them."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free: anyio.CapacityLimiter | None = None  # made in the loop that it belongs to

    async def run(self, function: Callable[[Any], Any], given: Any) -> Any:
        """What the function returns, called in a thread; if cancelled, leaves it alone there."""
        if self._free is None:
            self._free = anyio.CapacityLimiter(self._number)
        job = _Job(function, given, self._free, asyncio.get_running_loop())
        await self._free.acquire_on_behalf_of(job)
        try:
            return await anyio.to_thread.run_sync(job, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
        finally:
            job.leave()


class _Job:
    """One call in a thread. Its place is given back once: by the thread when it is through, or by `leave` if it never began."""

    def __init__(
        self, function: Callable[[Any], Any], given: Any, places: anyio.CapacityLimiter, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._function = function
        self._given = given
        self._places = places
        self._loop = loop
        self._lock = threading.Lock()
        self._begun = False

    def __call__(self) -> Any:
        """In the thread."""
        if not self._begin():
            return None
        try:
            return self._function(self._given)
        finally:
            with suppress(RuntimeError):  # the loop is closed: nobody needs the place
                self._loop.call_soon_threadsafe(self._places.release_on_behalf_of, self)

    def leave(self) -> None:
        """In the loop: what has not begun will not begin."""
        if self._begin():
            self._places.release_on_behalf_of(self)

    def _begin(self) -> bool:
        with self._lock:
            first, self._begun = not self._begun, True
            return first
