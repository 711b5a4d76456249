"""Time, as actors see it: passed in, so that a test owns it."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager
from typing import Protocol

import anyio


class Clock(Protocol):
    """All waiting of an actor goes through `deadline`, so that nothing but the clock decides when it ends."""

    def now(self) -> float:
        """Seconds since some moment, never less than before. For delays, durations and time-outs."""
        ...

    def time(self) -> float:
        """Seconds since 1970, UTC. For what is written into objects."""
        ...

    def deadline(self, due: float | None) -> AbstractContextManager[anyio.CancelScope]:
        """What is awaited inside is cancelled when it is `due` (in terms of `now`); None: never.

        Afterwards the scope's `cancelled_caught` tells whether it was.
        """
        ...


class SystemClock:
    """The machine's clock. `deadline` and `now` belong to the running event loop."""

    def now(self) -> float:
        """The event loop's time, which is monotonic."""
        return anyio.current_time()

    def time(self) -> float:
        """The wall clock."""
        return time.time()

    def deadline(self, due: float | None) -> anyio.CancelScope:
        """A cancel scope with this deadline."""
        return anyio.CancelScope(deadline=math.inf if due is None else due)


async def sleep_until(clock: Clock, due: float) -> None:
    """Returns when it is `due`."""
    with clock.deadline(due):
        await anyio.sleep_forever()
