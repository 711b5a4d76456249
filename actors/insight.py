"""What an actor is doing, for whoever asks: counts, the last outcomes, which keys fail, and why. Bounded, and frozen when shown."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from actors.actor import Result
from actors.histogram import NOTHING, Counted, Histogram
from registry.declarations import Place

_KEPT = 50


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. `after`: seconds until it is looked at again; `error`: what went wrong, fit to be shown."""

    result: Result
    after: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """A run that is over: what it came to, when it ended (the clock's `now`) and how many seconds it took."""

    place: Place
    result: Result
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Failing:
    """A key whose last run failed: how often in a row, why, and when it is tried again (None: when the object changes)."""

    place: Place
    error: str
    failures: int
    retry: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An actor at one moment; times are the clock's `now`.

    `synced`: every object has been listed, so that every edge is known. `depth` keys are ready, the next of them `waits_since`;
    `timers` have a time at which they are looked at again. `running` says since when each key runs. `totals` counts runs by result.
    `durations` are those of runs, `waits` those of keys until their runs began.
    """

    name: str
    synced: bool
    objects: int
    depth: int
    waits_since: float | None
    timers: int
    running: Mapping[Place, float]
    last: tuple[Past, ...]
    failing: tuple[Failing, ...]
    totals: Mapping[Result, int]
    seconds: float
    durations: Counted = NOTHING
    waits: Counted = NOTHING


class Insight:
    """Collects what a `Snapshot` shows."""

    def __init__(self) -> None:
        self.running: dict[Place, float] = {}
        self.failing: dict[Place, Failing] = {}
        self.totals: Counter[Result] = Counter()
        self.seconds = 0.0
        self.durations = Histogram()
        self.waits = Histogram()
        self._last: deque[Past] = deque(maxlen=_KEPT)

    def began(self, place: Place, now: float, waited: float = 0.0) -> None:
        """A run began, for which the key had waited so many seconds."""
        self.running[place] = now
        self.waits.add(waited)

    def ended(self, place: Place, result: Result, now: float) -> None:
        """The run ended like this."""
        seconds = now - self.running[place]
        self._last.append(Past(place, result, now, seconds))
        self.totals[result] += 1
        self.seconds += seconds
        self.durations.add(seconds)

    @property
    def last(self) -> tuple[Past, ...]:
        """The last runs, the newest first."""
        return tuple(reversed(self._last))
