"""Runs an actor whenever this process is elected to, with the face of a `Runner`.

Each stretch of leading has a runner of its own: what another process did in between is looked at anew, as after a start. A runner
acts under the epoch of its stretch (`actors.lease`), which goes with each of its writes. When the lease is lost it is cancelled,
and begins no more runs even before it notices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from actors.actor import Actor
from actors.insight import Insight, Snapshot
from actors.lease import Elector, Epoch, Standing
from actors.runner import Runner
from registry.declarations import Place


class Leading:
    """An actor that may be run elsewhere as well. `make` makes the runner of an epoch."""

    def __init__(self, actor: Actor, elector: Elector, make: Callable[[Epoch], Runner], insight: Insight) -> None:
        """The counts of all runners go into `insight`, which they are made with."""
        self.actor = actor
        self._elector = elector
        self._make = make
        self._insight = insight
        self._paused = False
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

    def pause(self) -> None:
        """No more runs begin until `resume`; edges are kept. It may be elected, or stay elected, all the same."""
        self._paused = True
        if self._runner is not None:
            self._runner.pause()

    def resume(self) -> None:
        """Runs begin again."""
        self._paused = False
        if self._runner is not None:
            self._runner.resume()

    def standing(self) -> Standing:
        """Who leads."""
        return self._elector.standing()

    def snapshot(self) -> Snapshot:
        """What the actor is doing here now; nothing, while another process leads."""
        standing = self._elector.standing()
        if self._runner is not None:
            return replace(self._runner.snapshot(), leader=standing.holder, epoch=standing.epoch)
        elsewhere = self._elector.heard > -math.inf and not standing.leading
        idle = self._insight.idle(self.actor.name, self.actor.concurrency, synced=elsewhere, paused=self._paused)
        return replace(idle, leader=standing.holder, epoch=standing.epoch, standby=elsewhere)

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
        self._insight.fresh()
        self._runner = self._make(epoch)
        if self._paused:
            self._runner.pause()
        self._insight.changed()
        try:
            await self._runner.run()
        finally:
            self._runner = None
            self._insight.changed()
