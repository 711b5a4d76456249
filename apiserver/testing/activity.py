"""What the actors of a server under test do, and did: runs, writes, and what is under way.

What is under way either waits for the server or for the clock (then nothing more happens by itself), or for something outside, like
the answer of a web site or a worker thread (then it is to be waited for). It says so itself: everything that an actor waits for in
the server goes through `waiting`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio

from actors.workqueue import Wake
from registry.declarations import Place


@dataclass(eq=False, slots=True)
class Doing:
    """Something that is under way. `waits` counts what it waits for in the server or of the clock; `threads` are at work for it."""

    what: str
    waits: int = 0
    threads: int = 0
    over: bool = False


@dataclass(eq=False, slots=True)
class Ran:
    """A run of an actor: of which object, why, and when it began (the clock's `now`).

    `result` is `running`, `done`, `failed` (it is tried again), or `killed`.
    """

    actor: str
    place: Place
    wake: Wake
    at: float
    result: str = "running"

    def __str__(self) -> str:
        wake = self.wake.name or "NONE"
        return f"{self.at:8.3f} {self.actor}: run of {self.place} ({wake.lower()}): {self.result}"


@dataclass(frozen=True, slots=True)
class Written:
    """A write of an actor that the server took. `verb` is create, update, patch or delete; `subresource` is empty or `status`.

    `body` is what was sent. `run` is the run that it belongs to, if any.
    """

    actor: str
    verb: str
    model: type
    place: Place
    subresource: str
    body: Any
    at: float
    run: Ran | None

    def __str__(self) -> str:
        what = f"{self.model.__name__}{'/' if self.subresource else ''}{self.subresource}"
        return f"{self.at:8.3f} {self.actor}: {self.verb} {what} {self.place}"


@dataclass(eq=False, slots=True)
class _UnderWay:
    doing: Doing
    ran: Ran | None


# Of which run a task is a part, or the thread that it waits for: a client that is kept by a class serves many runs, so that the
# calls themselves cannot tell.
_current: ContextVar[_UnderWay | None] = ContextVar("under_way", default=None)


@dataclass(slots=True)
class Activity:
    """See the module. Belongs to one event loop; `aside` alone is called from threads."""

    runs: list[Ran] = field(default_factory=list)
    writes: list[Written] = field(default_factory=list)
    story: list[Ran | Written | str] = field(default_factory=list)
    begun: Counter[tuple[str, Place]] = field(default_factory=Counter)  # runs of each key since `count`
    most: int = 0  # the largest number in `begun`
    _doing: dict[Doing, None] = field(default_factory=dict)
    _under_way: dict[Ran, Doing] = field(default_factory=dict)
    _moved: anyio.Event = field(default_factory=anyio.Event)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def note(self, what: str) -> None:
        """Adds a line to the story."""
        self.story.append(what)

    def count(self) -> None:
        """Begins to count the runs of each key anew."""
        self.begun.clear()
        self.most = 0

    def begin(self, ran: Ran) -> None:
        """A run begins. Tasks that are started from here on, in this context, are parts of it."""
        doing = Doing(f"{ran.actor} {ran.place}")
        self.runs.append(ran)
        self.story.append(ran)
        self.begun[ran.actor, ran.place] += 1
        self.most = max(self.most, self.begun[ran.actor, ran.place])
        self._doing[doing] = None
        self._under_way[ran] = doing
        _current.set(_UnderWay(doing, ran))

    def end(self, ran: Ran) -> None:
        """The run is over. A thread that it has left behind is not."""
        doing = self._under_way.pop(ran)
        doing.over = True
        self._leave(doing)

    def wrote(self, actor: str, verb: str, model: type, place: Place, subresource: str, body: Any, at: float) -> None:
        """The server took a write."""
        current = _current.get()
        written = Written(actor, verb, model, place, subresource, body, at, current.ran if current else None)
        self.writes.append(written)
        self.story.append(written)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """For the body, what is under way here waits for the server or the clock."""
        current = _current.get()
        if current is None:
            yield
            return
        current.doing.waits += 1
        self._move()
        try:
            yield
        finally:
            current.doing.waits -= 1

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """For the body, something of its own is under way."""
        doing = Doing(what)
        self._doing[doing] = None
        before = _current.set(_UnderWay(doing, None))
        try:
            yield
        finally:
            _current.reset(before)
            doing.over = True
            self._leave(doing)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For the body, the run that is under way is at work in this thread, also when it has been given up."""
        current = _current.get()
        if current is None:
            yield
            return
        current.doing.threads += 1
        try:
            yield
        finally:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._through, current.doing)

    def moving(self) -> list[Doing]:
        """What is under way and waits for something outside."""
        return [doing for doing in self._doing if not doing.waits]

    async def moved(self) -> None:
        """Returns when something has ended, or has begun to wait."""
        await self._moved.wait()

    def _through(self, doing: Doing) -> None:
        doing.threads -= 1
        self._leave(doing)

    def _leave(self, doing: Doing) -> None:
        if doing.over and not doing.threads:
            self._doing.pop(doing, None)
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()
