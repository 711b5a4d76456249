"""Waiting until everything that can happen now has happened, and no longer.

It is so when every task of the event loop waits for something, and nothing that actors have under way waits for something outside
(an answer from the network, a worker thread). Actors that never come to rest are told apart from those that take long.
"""

from __future__ import annotations

import asyncio

import anyio
from anyio import lowlevel

from apiserver.testing.activity import Activity, Written

_ROUNDS = 100_000
"""Turns of the event loop without a run or a write: nothing needs as many that comes to rest."""


class Restless(AssertionError):
    """The actors do not come to rest: the message says which, and what they did last."""


class Settling:
    """See the module. `most_runs`: of one key, while no time passes. `patience`: real seconds to wait for what is outside."""

    def __init__(self, activity: Activity, *, most_runs: int, patience: float) -> None:
        self._activity = activity
        self._most_runs = most_runs
        self._patience = patience

    async def settle(self) -> None:
        """Returns when nothing is left to do until something happens or time passes. Raises Restless."""
        activity = self._activity
        activity.count()
        while True:
            await self._rest()
            moving = activity.moving()
            if not moving:
                return
            with anyio.move_on_after(self._patience) as scope:
                await activity.moved()
            if scope.cancelled_caught:
                named = ", ".join(sorted(doing.what for doing in moving))
                why = "give the actor a stand-in for what it waits for, or the server more patience"
                raise Restless(f"still under way after {self._patience:g} real seconds: {named}; {why}")

    async def _rest(self) -> None:
        """Returns when every task waits for something."""
        calm = rounds = happened = 0
        while calm < 2:
            await lowlevel.checkpoint()
            calm = calm + 1 if _all_wait() else 0
            rounds = rounds + 1 if happened == len(self._activity.story) else 0
            happened = len(self._activity.story)
            self._check(rounds)

    def _check(self, rounds: int) -> None:
        if self._activity.most > self._most_runs:
            [((actor, place), count)] = self._activity.begun.most_common(1)
            writes = [each for each in self._activity.writes if each.actor == actor][-5:]
            raise Restless(
                f"the actor {actor} does not come to rest: {count} runs of {place} while no time passed{_listed(writes)}\n"
                "What it writes, or what others write because of it, wakes it again; a run that changes nothing must write nothing."
            )
        if rounds > _ROUNDS:
            named = ", ".join(sorted(doing.what for doing in self._activity.moving())) or "no actor"
            raise Restless(f"the event loop does not come to rest; under way: {named}")


def _listed(writes: list[Written]) -> str:
    if not writes:
        return "; it wrote nothing"
    return "; its last writes:" + "".join(f"\n  {written} {written.body}" for written in writes)


def _all_wait() -> bool:
    current = asyncio.current_task()
    for task in asyncio.all_tasks():
        waiter: asyncio.Future[object] | None = getattr(task, "_fut_waiter", None)
        if task is not current and (waiter is None or waiter.done()):
            return False
    return True
