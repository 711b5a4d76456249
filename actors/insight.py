"""What an actor is doing, for whoever asks: counts, the last outcomes, which keys fail, and why. Bounded, and frozen when shown.

An `Insight` outlives the runner that fills it: what is counted goes on counting when a broken actor is started again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actors.actor import Result
from actors.workqueue import Tally
from registry.declarations import Place

_KEPT = 50

RUN_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0),
    *(2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0),
)
"""Seconds by which runs are told apart: those of controller-runtime, so that its dashboards fit."""

QUEUE_BOUNDS = tuple(10.0**exponent for exponent in range(-8, 4))
"""Seconds by which the time in a queue is told apart, and the time of work: those of client-go."""


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
class Distribution:
    """How durations are spread: `counts[n]` of at most `bounds[n]` seconds and more than the bound before; the last count is of the
    rest."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An actor at one moment; times are the clock's `now`.

    `live`: it is set up, and its runs may begin; until then `set_up_error` says why its last set-up failed. `synced`: every object
    has been listed, so that every edge is known. `paused`: no more runs begin. `depth` keys are ready, the next of them
    `waits_since`; `timers` have a time at which they are looked at again. `running` says since when each key runs. `totals` counts
    runs by result, `adds` and `retries` what the queue did (see `Tally`); `ran` and `waited` are how long runs and waits took.
    Where processes elect the one that runs it, `leader` is who that is, since `epoch`, and `standby` says that it is another one.
    """

    name: str
    concurrency: int = 1
    live: bool
    set_up_error: str = ""
    paused: bool = False
    synced: bool
    objects: int
    depth: int
    waits_since: float | None
    timers: int
    running: Mapping[Place, float]
    last: tuple[Past, ...]
    failing: tuple[Failing, ...]
    totals: Mapping[Result, int]
    adds: int
    retries: int
    seconds: float
    ran: Distribution
    worked: Distribution
    waited: Distribution
    standby: bool = False
    leader: str = ""
    epoch: int = 0


class _Spread:
    """Collects a `Distribution`."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds

    def shown(self) -> Distribution:
        return Distribution(self._bounds, tuple(self._counts), self.seconds)


def unheard() -> None:
    """What is told when nobody listens."""


class Insight:
    """Collects what a `Snapshot` shows. `changed` is called whenever there is something new to be shown, and must cost nothing."""

    def __init__(self, changed: Callable[[], None] = unheard) -> None:
        self.changed = changed
        self.running: dict[Place, float] = {}
        self.failing: dict[Place, Failing] = {}
        self.totals: Counter[Result] = Counter()
        self.tally = Tally()
        self.ran = _Spread(RUN_BOUNDS)
        self.worked = _Spread(QUEUE_BOUNDS)
        self.waited = _Spread(QUEUE_BOUNDS)
        self._last: deque[Past] = deque(maxlen=_KEPT)

    def fresh(self) -> None:
        """Another runner takes over: nothing runs and no key fails any more."""
        self.running.clear()
        self.failing.clear()

    def began(self, place: Place, now: float, waited: float = 0.0) -> None:
        """A run began, of a key that waited that many seconds."""
        self.running[place] = now
        self.waited.add(waited)
        self.changed()

    def ended(self, place: Place, result: Result, now: float) -> None:
        """The run ended like this."""
        seconds = now - self.running[place]
        self._last.append(Past(place, result, now, seconds))
        self.totals[result] += 1
        self.ran.add(seconds)
        self.worked.add(seconds)

    def over(self, place: Place) -> None:
        """Nothing of the run is at work any more."""
        self.running.pop(place, None)
        self.changed()

    def idle(self, name: str, concurrency: int, *, synced: bool, paused: bool) -> Snapshot:
        """What there is to be shown of an actor that is not at work here."""
        return Snapshot(
            name=name,
            concurrency=concurrency,
            live=False,
            paused=paused,
            synced=synced,
            objects=0,
            depth=0,
            waits_since=None,
            timers=0,
            running={},
            last=self.last,
            failing=(),
            totals=dict(self.totals),
            adds=self.tally.adds,
            retries=self.tally.retries,
            seconds=self.ran.seconds,
            ran=self.ran.shown(),
            worked=self.worked.shown(),
            waited=self.waited.shown(),
        )

    @property
    def last(self) -> tuple[Past, ...]:
        """The last runs, the newest first."""
        return tuple(reversed(self._last))
