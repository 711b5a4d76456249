"""Calls what a plugin wrote: async or in a worker thread, within a time limit, and makes sense of what comes back.

What it promises:

* An async function that takes too long is cancelled at its next await. A plain function cannot be stopped: its run is given up, its
  client refuses from then on, and `release` returns only when the thread is through, so that two runs of one key never overlap.
* What is not an outcome is a TypeError that says what would be.
* Cancellation from outside passes through; one that came from inside the reconcile is an error like others.
* `sys.exit()` in a plugin ends its run, and not the process.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskGroup

from actors.actor import Actor, Again, Done, Live, Outcome, Reconcile, Run, Shape, Terminal
from actors.client import BlockingClient, Client
from actors.clock import Clock
from registry.declarations import Place


class RunTimeoutError(Exception):
    """A run was ended because its time was over."""


class AwaitedCancelledError(Exception):
    """A run was ended by a cancellation that was meant for something else."""


class ExitedError(Exception):
    """What a plugin wrote wanted to end the process."""


@contextmanager
def contained() -> Iterator[None]:
    """What a plugin raises to end the process (SystemExit) is an error like others: an event loop would not survive it."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        raise ExitedError(f"{type(error).__name__} was raised: an actor cannot end the process") from error


class _Thread:
    """A plain function at work in a worker thread. `counts` is False once nobody waits for its result any more."""

    def __init__(self) -> None:
        self.finished = anyio.Event()
        self.counts = True
        self.returned: Any = None
        self.raised: Exception | None = None

    async def run(self, function: Callable[[], Any]) -> None:
        """Returns when the function is through, or abandons it when cancelled (the process is ending)."""
        try:
            with contained():
                self.returned = await anyio.to_thread.run_sync(function, abandon_on_cancel=True)
        except Exception as error:  # of the function: it is raised where its result is wanted
            self.raised = error
        finally:
            self.counts = False
            self.finished.set()


class Caller:
    """Calls the reconcile of one live actor. Threads are tasks of `tasks`, which outlives the calls."""

    def __init__(self, actor: Actor, live: Live, client: Client, clock: Clock, tasks: TaskGroup) -> None:
        self._actor = actor
        self._live = live
        self._client = client
        self._clock = clock
        self._tasks = tasks
        self._given_up: dict[Place, _Thread] = {}  # runs that are over for us, and whose threads may be at work

    async def call(self, obj: Any, run: Run, *, cleaning: bool = False) -> Outcome | Terminal:
        """One run of the reconcile, or of the cleanup. Raises RunTimeoutError, and whatever that raises except Terminal."""
        function, shape = self._live.reconcile, Shape(self._actor.threaded, self._actor.takes_run)
        if cleaning and self._live.cleanup is not None and self._actor.cleanup is not None:
            function, shape = self._live.cleanup, self._actor.cleanup
        arguments = (run,) if shape.takes_run else ()
        try:
            with self._clock.deadline(self._clock.now() + self._actor.timeout) as scope:
                returned = await (self._in_thread if shape.threaded else self._awaited)(function, obj, run.place, arguments)
        except Terminal as terminal:
            return terminal
        if scope.cancelled_caught:
            raise RunTimeoutError(f"took longer than {self._actor.timeout:g} s")
        return outcome_of(returned)

    async def release(self, place: Place) -> None:
        """Returns when nothing of the last run of this key is at work any more."""
        thread = self._given_up.pop(place, None)
        if thread is not None:
            await thread.finished.wait()

    async def _awaited(self, function: Reconcile, obj: Any, place: Place, more: tuple[Run, ...]) -> Any:
        del place  # a coroutine ends when it is cancelled: nothing of it is left to wait for
        try:
            with contained():
                returned = function(obj, self._client, *more)
                return await returned if inspect.isawaitable(returned) else returned
        except anyio.get_cancelled_exc_class():
            # Ours if a scope around us is cancelled: then this raises. Otherwise it is from inside (something awaited was cancelled
            # by somebody else), and passing it on would end the actor as if it had been cancelled itself.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise AwaitedCancelledError("something that the reconcile awaited was cancelled") from None

    async def _in_thread(self, function: Reconcile, obj: Any, place: Place, more: tuple[Run, ...]) -> Any:
        thread = _Thread()
        client = BlockingClient(self._client, lambda: thread.counts)
        self._tasks.start_soon(thread.run, lambda: function(obj, client, *more))
        self._given_up[place] = thread
        try:
            await thread.finished.wait()
        finally:
            thread.counts = False
        del self._given_up[place]
        if thread.raised is not None:
            raise thread.raised
        return thread.returned


def outcome_of(returned: object) -> Outcome:
    """What a reconcile returned, as an outcome. Raises TypeError for what is none."""
    match returned:
        case None:
            return Done()
        case Again(seconds=seconds) if not (isinstance(seconds, int | float) and 0 <= seconds < math.inf):
            raise TypeError(f"Again({seconds!r}): the seconds must be a number, 0 or more")
        case Done() | Again():
            return returned
    raise TypeError(f"the reconcile returned {type(returned).__name__}; it must return Done(...), Again(seconds, ...) or None")


async def set_up(live: Live, client: Client) -> None:
    """What a class does before its first run. Raises whatever it raises."""
    setup: Callable[..., Any] | None = live.setup
    if setup is None:
        return
    with contained():
        if inspect.iscoroutinefunction(setup):
            await setup(client)
        else:
            await anyio.to_thread.run_sync(setup, BlockingClient(client, lambda: True))


async def tear_down(live: Live) -> None:
    """What a class does after its last run. Raises whatever it raises."""
    if live.teardown is None:
        return
    with contained():
        if inspect.iscoroutinefunction(live.teardown):
            await live.teardown()
        else:
            await anyio.to_thread.run_sync(live.teardown)
