"""Which key is to be looked at next. No clock and no waiting: the caller says when it is, and waits.

What it promises:

* **Single-flight.** A key that was taken is not given out again until it is `done`.
* **Stingy.** However often a key is added while it waits or runs, it is given out once more, with all the reasons together.
* **Nothing is lost.** A key added at any time is given out afterwards, at least once.
* **Fair.** Keys are given out in the order in which they became ready. One that is added again goes behind those that wait.
* **The newest run decides.** Taking a key clears its timer: the run that begins sees the newest state and says when to look again.

A key is in one of three places, or in none: *ready* (to be given out), *running* (given out), or running and *again* (to become
ready when it is done). Besides, it may have one timer. The idea of dirty and processing sets is that of client-go's workqueue.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from typing import Generic, NamedTuple, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)

_LARGEST_EXPONENT = 60


class Wake(Flag):
    """Why a key is to be looked at. Reasons that came together are given together."""

    NONE = 0
    DESIRED = auto()
    """The object is new, or something of it other than its status changed. Every object counts as changed when an actor starts."""
    DELETED = auto()
    """The object is being deleted, or is gone."""
    OBSERVED = auto()
    """An object of an observed kind changed."""
    TIMER = auto()
    """The time has come that an earlier run asked for, or that of a retry."""
    RESYNC = auto()
    """It was time to look at every object again, or somebody asked for it."""


class Chance(Protocol):
    """Where jitter comes from: `random.Random` is one."""

    def random(self) -> float:
        """A number of at least 0 and less than 1."""
        ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the n-th failure in a row: `base * 2**(n-1)` seconds, at most `limit`, of which `jitter` is chance.

    The wait is never longer than that, and at least `1 - jitter` of it: keys that failed together do not come back together.
    """

    base: float = 0.5
    limit: float = 300.0
    jitter: float = 0.2

    def delay(self, failures: int, chance: Chance) -> float:
        """Seconds to wait after `failures` (1 or more) failures in a row."""
        full = min(self.limit, self.base * 2.0 ** min(failures - 1, _LARGEST_EXPONENT))
        return full * (1.0 - self.jitter * chance.random())


@dataclass(slots=True)
class Tally:
    """What queues did, ever: `adds` are keys that became ready (folded ones count once), `retries` failures with a later try."""

    adds: int = 0
    retries: int = 0


class Taken(NamedTuple, Generic[K]):
    """A key to be looked at, why, and for how many seconds it waited."""

    key: K
    wake: Wake
    waited: float


class Waiting(NamedTuple):
    """Why a ready key is to be given out, and since when it waits."""

    wake: Wake
    since: float


class Workqueue(Generic[K]):
    """See the module. `backoff` and `chance` decide when a key that failed is looked at again; `tally` is counted up."""

    def __init__(self, backoff: Backoff, chance: Chance, tally: Tally | None = None) -> None:
        self._backoff = backoff
        self._chance = chance
        self._tally = tally or Tally()
        self._ready: dict[K, Waiting] = {}  # to be given out, the next one first; none of them is running
        self._running: dict[K, None] = {}  # given out and not done
        self._again: dict[K, Waiting] = {}  # running, and woken since it was given out; a subset of _running
        self._timers: dict[K, float] = {}  # when it becomes ready by itself; each has an entry of the same time in _heap
        self._heap: list[tuple[float, int, K]] = []  # may hold entries that no longer agree with _timers; those count for nothing
        self._count = 0  # breaks ties in _heap: timers of one moment become ready in the order in which they were set
        self._failures: dict[K, int] = {}  # failures in a row, 1 or more

    def add(self, key: K, wake: Wake, now: float) -> None:
        """The key is to be looked at, for this reason."""
        place = self._again if key in self._running else self._ready
        waiting = place.get(key)
        self._tally.adds += waiting is None
        place[key] = Waiting(wake, now) if waiting is None else Waiting(waiting.wake | wake, waiting.since)

    def add_at(self, key: K, due: float) -> None:
        """The key is to be looked at when it is `due`, unless that happens before. The earliest of several times wins."""
        earlier = self._timers.get(key)
        if earlier is not None and earlier <= due:
            return
        self._timers[key] = due
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._timers):
            self._heap = [entry for entry in self._heap if self._timers.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def take(self, now: float) -> Taken[K] | None:
        """The next key to be looked at, which is running from now on; None if none is ready."""
        self._ring(now)
        if not self._ready:
            return None
        key = self._next()
        waiting = self._ready.pop(key)
        self._running[key] = None
        self._timers.pop(key, None)
        return Taken(key, waiting.wake, max(0.0, now - waiting.since))

    def done(self, key: K) -> None:
        """The run of a key that was taken has ended. If it was woken meanwhile, it is ready again, behind the others."""
        del self._running[key]
        waiting = self._again.pop(key, None)
        if waiting is not None:
            self._ready[key] = waiting

    def failed(self, key: K, now: float) -> float:
        """The run failed: the key is looked at again after its backoff, or before if it is woken. Returns when."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        self._tally.retries += 1
        self.add_at(key, now + self._backoff.delay(failures, self._chance))
        return self._timers[key]

    def succeeded(self, key: K) -> None:
        """The run did not fail: the next failure will be the first in a row."""
        self._failures.pop(key, None)

    def due(self) -> float | None:
        """When the next key becomes ready by itself; None if there is no timer."""
        while self._heap and self._timers.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    @property
    def depth(self) -> int:
        """How many keys are to be looked at now, not counting timers that are yet to come and runs under way."""
        return len(self._ready) + len(self._again)

    @property
    def running(self) -> int:
        """How many keys were taken and are not done."""
        return len(self._running)

    @property
    def timers(self) -> int:
        """How many keys have a time at which they are looked at again."""
        return len(self._timers)

    @property
    def failures(self) -> Mapping[K, int]:
        """The keys whose last run failed, with the number of failures in a row."""
        return self._failures

    def waits_since(self) -> float | None:
        """Since when the key waits that is given out next; None if none is ready."""
        return next(iter(self._ready.values())).since if self._ready else None

    def _next(self) -> K:
        """Which of the ready keys is given out: the one that waits longest. There is at least one."""
        return next(iter(self._ready))

    def _ring(self, now: float) -> None:
        """Timers that are due make their keys ready."""
        while (due := self.due()) is not None and due <= now:
            key = heapq.heappop(self._heap)[2]
            del self._timers[key]
            self.add(key, Wake.TIMER, due)
