"""Runs an actor whenever this process is elected to, with the face of a `Runner`.

Each stretch of leading has a runner of its own: what another process did in between is looked at anew, as after a start. A runner
acts under the epoch of its stretch (`actors.lease`), which goes with each of its writes. When the lease is lost it is cancelled,
and begins no more runs even before it notices.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from actors.actor import Actor
from actors.insight import Snapshot
from actors.lease import Elector, Epoch, Standing
from actors.runner import Runner
from registry.declarations import Place


class Leading:
    """An actor that may be run elsewhere as well. `make` makes the runner of an epoch."""

    def __init__(self, actor: Actor, elector: Elector, make: Callable[[Epoch], Runner]) -> None:
        self.actor = actor
        self._elector = elector
        self._make = make
        self._runner: Runner | None = None  # while this process leads
        self._grace: float | None = None  # set when it is to stop

    async def run(self) -> None:
        """Stands for election and runs the actor until it is stopped."""
        await self._elector.run(self._lead)

    def stop(self, grace: float = 5.0) -> None:
        """No more runs begin; those under way may finish within `grace` seconds. Then the lease is given back and `run` returns."""
        self._grace = grace
        self._elector.stop()
        if self._runner is not None:
            self._runner.stop(grace)

    def wake(self, place: Place) -> None:
        """Somebody asks for a look at this object. Whoever does not lead has nothing to look at."""
        if self._runner is not None:
            self._runner.wake(place)

    def standing(self) -> Standing:
        """Who leads."""
        return self._elector.standing()

    def snapshot(self) -> Snapshot:
        """What the actor is doing here now; nothing, while another process leads."""
        if self._runner is not None:
            return self._runner.snapshot()
        return idle(self.actor.name, synced=self._elector.heard > -math.inf and not self._elector.leading())

    @property
    def lease(self) -> str:
        """The name of the lease."""
        return self._elector.name

    @property
    def heard(self) -> float:
        """When the server was last heard of, on the clock."""
        return self._elector.heard

    async def _lead(self, epoch: Epoch) -> None:
        if self._grace is not None:
            return
        self._runner = self._make(epoch)
        try:
            await self._runner.run()
        finally:
            self._runner = None


def idle(name: str, *, synced: bool) -> Snapshot:
    """An actor that has nothing to do here. `synced`: because another process leads it."""
    return Snapshot(
        name=name,
        synced=synced,
        objects=0,
        depth=0,
        waits_since=None,
        timers=0,
        running={},
        last=(),
        failing=(),
        totals={},
        seconds=0.0,
    )
