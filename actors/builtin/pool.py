"""Looks at keys, several at once, each again after a while when that failed. What runners do for objects, without the objects.

What it promises: a key that is added is looked at afterwards; never twice at once; a look that fails or takes too long is repeated
with backoff, for ever; whatever a look raises is logged, and only cancellation ends the pool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from actors.clock import Clock
from actors.recorder import Log, presentable
from actors.workqueue import Backoff, Chance, Wake, Workqueue
from registry.errors import ConflictError

K = TypeVar("K", bound=Hashable)

_BACKOFF = Backoff(base=0.05, limit=60.0)
_LOOK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Time, chance and a log, for what runs without an object of its own."""

    clock: Clock
    chance: Chance
    log: Log


class Pool(Generic[K]):
    """See the module. `run` returns after `stop`."""

    def __init__(self, look: Callable[[K], Awaitable[None]], around: Surroundings, concurrency: int) -> None:
        self._look = look
        self._clock = around.clock
        self._log = around.log
        self._concurrency = concurrency
        self._queue: Workqueue[K] = Workqueue(_BACKOFF, around.chance)
        self._signal = anyio.Event()
        self._stop_at: float | None = None  # when what is still running is cancelled; None: not stopping

    @property
    def idle(self) -> bool:
        """Nothing is to be looked at now; there may be keys for later."""
        due = self._queue.due()
        return not self._queue.depth and not self._queue.running and (due is None or due > self._clock.now())

    def add(self, key: K) -> None:
        """Look at it."""
        self._queue.add(key, Wake.OBSERVED, self._clock.now())
        self._signal.set()

    def add_at(self, key: K, due: float) -> None:
        """Look at it when it is due, in terms of the clock's `now`."""
        self._queue.add_at(key, due)
        self._signal.set()

    def stop(self, grace: float) -> None:
        """No more keys are taken. Looks under way may finish within `grace` seconds."""
        if self._stop_at is None:
            self._stop_at = self._clock.now() + grace
        self._signal.set()

    async def run(self) -> None:
        """Looks at keys until it is stopped."""
        async with anyio.create_task_group() as looks:
            while self._stop_at is None:
                free = self._queue.running < self._concurrency
                taken = self._queue.take(self._clock.now()) if free else None
                if taken is not None:
                    looks.start_soon(self._work, taken.key)
                else:
                    await self._happening(self._queue.due() if free else None)
            with self._clock.deadline(self._stop_at):
                while self._queue.running:
                    await self._happening(None)
            looks.cancel_scope.cancel()

    async def _happening(self, due: float | None) -> None:
        with self._clock.deadline(due):
            await self._signal.wait()
        if self._signal.is_set():
            self._signal = anyio.Event()

    async def _work(self, key: K) -> None:
        problem = f"it took more than {_LOOK_SECONDS:g} s"
        try:
            with self._clock.deadline(self._clock.now() + _LOOK_SECONDS) as scope:
                try:
                    await self._look(key)
                    problem = ""
                except ConflictError:
                    problem = "somebody else was faster"
                except Exception as error:  # whatever comes of it: it is looked at again
                    problem = presentable(f"{type(error).__name__}: {error}")
                    self._log.warning("tried again later", key=str(key), because=problem)
            if scope.cancelled_caught:
                self._log.warning("tried again later", key=str(key), because=problem)
        finally:
            if problem:
                self._queue.failed(key, self._clock.now())
            else:
                self._queue.succeeded(key)
            self._queue.done(key)
            self._signal.set()
