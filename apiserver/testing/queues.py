"""The workqueue of an actor under test: it tells which runs begin and end, and gives out ready keys in the order of the seed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from actors.workqueue import Backoff, Chance, Taken, Tally, Wake, Workqueue
from apiserver.testing.activity import Activity, Ran
from apiserver.testing.order import Order
from registry.declarations import Place

_CHOICE = 64
"""Keys from which the next one is chosen."""


class TestedQueue(Workqueue[Place]):
    """A workqueue, made with what any takes. It keeps all promises, except that keys go in another order than they became ready.

    While `twice()` is true, every run is followed by another one for the same reasons.
    """

    def __init__(
        self,
        backoff: Backoff,
        chance: Chance,
        tally: Tally | None = None,
        *,
        actor: str,
        activity: Activity,
        order: Order,
        twice: Callable[[], bool],
    ) -> None:
        super().__init__(backoff, chance, tally)
        self._actor = actor
        self._activity = activity
        self._order = order
        self._twice = twice
        self._current: dict[Place, Ran] = {}
        self._repeats: set[Place] = set()  # the run that is to come, or goes on, is the second one

    def take(self, now: float) -> Taken[Place] | None:
        """See `Workqueue.take`."""
        taken = super().take(now)
        if taken is not None:
            ran = self._current[taken.key] = Ran(self._actor, taken.key, taken.wake, now)
            self._activity.begin(ran)
        return taken

    def _next(self) -> Place:
        """Any of those that wait longest: whoever waits is among them before long."""
        last = self._order.first(min(len(self._ready), _CHOICE))
        return next(islice(self._ready, last, None))

    def done(self, key: Place) -> None:
        """See `Workqueue.done`."""
        super().done(key)
        ran = self._current.pop(key)
        if ran.result == "running":
            ran.result = "killed"
        self._activity.end(ran)
        if key in self._repeats:
            self._repeats.discard(key)
        elif self._twice():
            self._repeats.add(key)
            self.add(key, ran.wake or Wake.RESYNC, ran.at)

    def failed(self, key: Place, now: float) -> float:
        """See `Workqueue.failed`."""
        self._current[key].result = "failed"
        return super().failed(key, now)

    def succeeded(self, key: Place) -> None:
        """See `Workqueue.succeeded`."""
        self._current[key].result = "done"
        super().succeeded(key)
