"""What can go wrong for the actors of a server under test, by request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
from anyio import lowlevel

from actors.clock import Clock, sleep_until
from apiserver.testing.activity import Activity
from apiserver.testing.order import Order
from registry.declarations import Place
from registry.errors import ApiError

T = TypeVar("T")

WRITES = ("create", "update", "patch", "delete")


class Killed(Exception):
    """Raised by the client of an actor that was killed, where no cancellation reaches: behind a shield, say."""


@dataclass(slots=True)
class Refusal:
    """The next `times` calls that match are answered with `error`; `written`: after they were carried out. Empty matches all."""

    error: Callable[[], ApiError]
    actor: str
    model: type | None
    name: str
    verbs: Collection[str]
    times: int
    written: bool

    def matches(self, actor: str, verb: str, model: type, place: Place) -> bool:
        """Whether it is meant for this call."""
        return (
            self.times > 0
            and self.actor in ("", actor)
            and self.model in (None, model)
            and self.name in ("", place.name)
            and verb in self.verbs
        )


@dataclass(slots=True)
class Faults:
    """What is asked for. `delay`: seconds by which changes reach actors late, at most; `twice`: every wake comes twice."""

    refusals: list[Refusal] = field(default_factory=list)
    delay: float = 0.0
    twice: bool = False

    def refusal(self, actor: str, verb: str, model: type, place: Place) -> Refusal | None:
        """What this call is to be refused with; it counts as done."""
        for refusal in self.refusals:
            if refusal.matches(actor, verb, model, place):
                refusal.times -= 1
                return refusal
        return None


@dataclass(frozen=True, slots=True)
class Crash:
    """The actor dies at its write number `at`: right before it, or right after it, before the answer. `restart`: it starts anew."""

    at: int
    before: bool
    restart: bool


class Life:
    """An actor from one start to its end. Everything that it does asks here first, so that nothing is done after the end."""

    def __init__(self, name: str, order: Order, clock: Clock, activity: Activity) -> None:
        self.name = name
        self.order = order
        self.clock = clock
        self.activity = activity
        self.scope = anyio.CancelScope()
        self.alive = True
        self.restarts = False  # when it has died
        self.streams: dict[Stream, None] = {}

    async def go_on(self) -> None:
        """Lets others go first, as the seed has it. Does not return if the actor is dead."""
        await self.order.pause()
        if not self.alive:
            await self._end()

    async def die(self, why: str) -> None:
        """Ends the actor as if its process had been killed. Does not return."""
        self.kill(why)
        await self._end()

    def kill(self, why: str) -> None:
        """The same, for whoever is not the actor."""
        self.alive = False
        self.activity.note(f"{self.clock.now():8.3f} {self.name}: killed {why}")
        self.scope.cancel()

    async def _end(self) -> None:
        await lowlevel.checkpoint()
        raise Killed(f"the actor {self.name} was killed")


class Stream:
    """A watch of an actor, which may be ended at any time: `error` is then raised, or (None) the watch just ends."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._ended = False
        self._error: Exception | None = None
        self._scope: anyio.CancelScope | None = None

    def end(self, error: Exception | None) -> None:
        """Ends it."""
        self._ended, self._error = True, error
        if self._scope is not None:
            self._scope.cancel()

    async def next(self, batches: AsyncGenerator[T, None]) -> T | None:
        """The next batch; None when there are no more."""
        if not self._over():
            with anyio.CancelScope() as self._scope, self._life.activity.waiting():
                return await anext(batches, None)
        self._over()
        return None

    async def late(self, seconds: float) -> bool:
        """Returns when so many seconds have passed; False if the watch was ended before."""
        if not self._over():
            with anyio.CancelScope() as self._scope:
                await sleep_until(self._life.clock, self._life.clock.now() + seconds)
        return not self._over()

    def _over(self) -> bool:
        if self._ended and self._error is not None:
            raise self._error
        return self._ended
