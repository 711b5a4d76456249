"""A real server in this process, on a store in memory, for tests of actors: real admission, real watches, real runners.

What it promises:

* **Nothing happens by itself.** Time stands still; `advance` lets it pass. `settled` returns when all that can happen has happened.
* **The same seed, the same order.** Seed 0 is the order of a quiet server; every other one varies who goes next, without breaking
  what a server promises. Worker threads (of plain functions) and the network are the parts that no seed orders.
* **Faults by request**, and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import anyio

from actors.client import Client
from actors.door import TypedClient
from admission.identity import ADMIN
from apiserver.builtins import Builtins
from apiserver.client import ManagerDoor
from apiserver.testing.activity import Ran, Written
from apiserver.testing.clock import VirtualClock
from apiserver.testing.faults import WRITES, Crash, Refusal
from apiserver.testing.hosting import Hosting, Parts, make_parts
from apiserver.testing.logs import Line
from apiserver.testing.order import SEED, Order
from apiserver.testing.settling import Settling
from apiserver.wiring import actors_of, bootstrap
from registry.builtin import KINDS
from registry.builtin.event import CoreEvent
from registry.catalog import Registry
from registry.declarations import Place
from registry.errors import ApiError, ConflictError, ExpiredError, Timeout
from registry.plugin import Plugin, build
from storage.opening import open_store
from storage.sql import Options

R = TypeVar("R")

EVENT_SECONDS = 3600.0
"""Virtual seconds until Events expire."""
GRACE = 5.0
"""Virtual seconds that runs have to end, when the server stops."""


class Said(NamedTuple):
    """An Event: what an actor had to say about an object, and how often."""

    about: str
    type: str
    reason: str
    message: str
    times: int


class Server:
    """A server with the actors of some plugins. Made by `serving`.

    Where an `actor` is to be named, it is called as in `kubectl get events` (`<plugin>-<function>`); when the plugins have but one,
    it need not be named.
    """

    def __init__(self, parts: Parts, hosting: Hosting, settling: Settling, own: Collection[str]) -> None:
        self._parts = parts
        self._hosting = hosting
        self._settling = settling
        self._own = own  # the actors that the plugins declare
        self.client: Client = TypedClient(ManagerDoor(parts.manager, ADMIN), parts.clock)
        """A client of the administrator, who may do all but write the status of what an actor owns."""

    # What tests do with time.

    async def settled(self) -> None:
        """Returns when all that can happen now has happened: no key is to be looked at, and runs that are under way wait
        for the server or for time to pass. Raises Restless if it does not come to that."""
        await self._settling.settle()

    async def advance(self, seconds: float) -> None:
        """Time passes; whatever falls due happens when it is due, and all that follows from it before anything later."""
        clock = self._parts.clock
        end = clock.now() + seconds
        await self.settled()
        while (due := clock.due()) is not None and due <= end:
            clock.go(due)
            await self.settled()
        clock.go(end)

    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._parts.clock.now()

    def time(self) -> float:
        """The virtual time, in seconds since 1970."""
        return self._parts.clock.time()

    # What tests ask.

    @property
    def seed(self) -> int:
        """The seed of the order of things."""
        return self._parts.order.seed

    def runs(self, actor: str | None = None, name: str | None = None) -> int:
        """How many runs of an actor have begun, of one object or (None) of all."""
        return len(self.ran(actor, name))

    def ran(self, actor: str | None = None, name: str | None = None) -> list[Ran]:
        """The runs of an actor, in order."""
        wanted = self._named(actor)
        return [ran for ran in self._parts.activity.runs if ran.actor == wanted and name in (None, ran.place.name)]

    def writes(
        self, model: type | None = None, name: str | None = None, *, verb: str | None = None, actor: str | None = None
    ) -> list[Written]:
        """What actors wrote, in order, as far as it matches. Writes that the server refused are not there."""
        return [
            written
            for written in self._parts.activity.writes
            if model in (None, written.model)
            and name in (None, written.place.name)
            and verb in (None, written.verb)
            and actor in (None, written.actor)
        ]

    async def events(self, about: str | None = None) -> list[Said]:
        """What actors have said about the object of a name, or (None) about all."""
        listed = await self.client.list(CoreEvent)
        said = [
            Said(
                event.involved_object.name or "" if event.involved_object else "",
                event.type or "",
                event.reason or "",
                event.message or "",
                event.count or 1,
            )
            for event in listed.items
        ]
        return [each for each in said if about in (None, each.about)]

    @property
    def log(self) -> list[Line]:
        """What actors and the server logged."""
        return self._parts.log.lines

    def story(self, last: int | None = None) -> str:
        """What happened, a line for each run, write, fault and end of an actor; only so many of the last."""
        story = self._parts.activity.story
        return "\n".join(str(each) for each in (story if last is None else story[-last:]))

    # What tests do to actors.

    def wake(self, name: str, namespace: str = "", *, actor: str | None = None) -> None:
        """The actor is to look at this object, for no reason."""
        self._hosting.wake(self._named(actor), Place(namespace, name))

    async def kill(self, actor: str | None = None) -> None:
        """Ends an actor where it is, as if its process had been killed. What it had in memory is gone; others go on."""
        await self._hosting.kill(self._named(actor))

    async def restart(self, actor: str | None = None) -> None:
        """Starts an actor anew; one that is alive is killed before."""
        await self.kill(actor)
        self._hosting.start(self._named(actor))

    def crash(self, actor: str | None = None, *, before_write: int = 0, after_write: int = 0, restart: bool = True) -> None:
        """The actor is to die once, right before its n-th write from now on, or right after it and before its answer.

        It is started anew at once, unless it is to stay dead until `restart`. Raises ValueError unless one of the two is given.
        """
        if bool(before_write) == bool(after_write):
            raise ValueError("say either before_write=n or after_write=n, where 1 is the next write")
        tally = self._hosting.tally(self._named(actor))
        tally.crash = Crash(tally.count + (before_write or after_write), before=bool(before_write), restart=restart)

    # Faults by request.

    def fail(
        self,
        error: Callable[[], ApiError],
        model: type | None = None,
        name: str = "",
        *,
        verbs: Collection[str] = WRITES,
        times: int = 1,
        written: bool = False,
        actor: str = "",
    ) -> None:
        """The next calls of actors that match are answered with the error that `error()` makes; what is left out matches all.

        `written`: the server carries the call out, and then the error is the answer. Verbs are create, update, patch, delete, get,
        list and watch.
        """
        self._parts.faults.refusals.append(Refusal(error, actor, model, name, verbs, times, written))

    def conflict(self, model: type | None = None, name: str = "", *, times: int = 1, actor: str = "") -> None:
        """The next updates, patches and deletions of the object are refused: somebody else was faster."""
        verbs = ("update", "patch", "delete")
        self.fail(
            lambda: ConflictError(f'Operation cannot be fulfilled on "{name or "it"}": the object has been modified'),
            model,
            name,
            verbs=verbs,
            times=times,
            actor=actor,
        )

    def time_out(
        self, model: type | None = None, name: str = "", *, times: int = 1, written: bool = False, actor: str = ""
    ) -> None:
        """The next writes of the object are not answered in time, and have been made (`written`) or not."""
        self.fail(lambda: Timeout("the server did not answer in time"), model, name, times=times, written=written, actor=actor)

    def drop_watches(self, actor: str | None = None) -> None:
        """The watches of an actor, or (None) of all, end without a word."""
        self._end_watches(actor, None)

    async def expire_history(self, actor: str | None = None) -> None:
        """History is forgotten up to now, and the watches of an actor, or (None) of all, end because of that."""
        parts = self._parts
        await parts.store.compact(parts.clock.time(), max_age=0.0, max_count=0)
        self._end_watches(actor, ExpiredError("too old resource version"))

    def duplicate_wakes(self, yes: bool = True) -> None:
        """From now on every run of every actor is followed by another one for the same reasons, until this is taken back."""
        self._parts.faults.twice = yes

    def delay_wakes(self, seconds: float) -> None:
        """From now on changes reach actors so many seconds late (with a seed: at most so many), in order; 0 ends it.

        Until then actors see the old state of what others wrote, as they do on a bad network.
        """
        self._parts.faults.delay = seconds

    def _end_watches(self, actor: str | None, error: Exception | None) -> None:
        names = self._hosting.names if actor is None else [self._named(actor)]
        for name in names:
            self._hosting.end_watches(name, error)

    def _named(self, actor: str | None) -> str:
        if actor is None and len(self._own) == 1:
            [actor] = self._own
        if actor is None or actor not in self._hosting.names:
            known = ", ".join(sorted(self._own if actor is None else self._hosting.names)) or "none"
            raise ValueError(f"{'say which actor' if actor is None else f'there is no actor {actor!r}'}: there are {known}")
        return actor


@asynccontextmanager
async def serving(*plugins: Plugin, seed: int = 0, patience: float = 10.0, most_runs: int = 200) -> AsyncIterator[Server]:
    """Runs a server with these plugins for the body of the `async with`. When it is entered, nothing is left to do.

    `seed` says what happens next when several things could. `patience`: real seconds that `settled` waits for what is outside.
    `most_runs`: runs of one object while no time passes; more are a loop that never ends.

    Raises RegistryError and DeclarationError for what is wrong with the plugins, RuntimeError outside of asyncio. An error in the
    body is given a note that says the seed, and what happened last.
    """
    _check_loop()
    registry = _built(plugins, tuple(_size(plugin) for plugin in plugins))
    actors = actors_of(registry)
    order = Order(seed)
    clock = VirtualClock(order)
    failure: BaseException | None = None
    async with open_store("sqlite://", Options(clock=clock.time, aside=_here)) as store:
        parts = make_parts(registry, store, clock, order)
        await bootstrap(parts.manager, store, clock.time())
        own = {declaration.name for plugin in plugins for declaration in plugin.actors}
        async with anyio.create_task_group() as tasks:
            hosting = Hosting(parts, actors, tasks)
            builtins = Builtins(parts.manager, store, parts.surroundings, event_seconds=EVENT_SECONDS)
            tasks.start_soon(builtins.run)
            server = Server(parts, hosting, Settling(parts.activity, most_runs=most_runs, patience=patience), own)
            try:
                await server.settled()
                yield server
                hosting.stop(GRACE)
                builtins.stop(GRACE)
                await server.advance(GRACE)
            except (anyio.get_cancelled_exc_class(), GeneratorExit):
                raise
            except BaseException as error:  # not into the groups: it would come out wrapped
                failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        failure.add_note(_remark(server))
        raise failure


def _check_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        advice = 'let a fixture `anyio_backend` return "asyncio"'
        raise RuntimeError(f"the server of a test runs on asyncio, and on no other event loop: {advice}") from None


@lru_cache(maxsize=32)
def _built(plugins: tuple[Plugin, ...], sizes: tuple[int, ...]) -> Registry:
    """The registry of some plugins: made once, since it never changes, and it takes as long to make as all the rest of a server."""
    del sizes  # a plugin that has declared more since then is another one
    return build(plugins, KINDS)


def _size(plugin: Plugin) -> int:
    return sum(len(declared) for declared in vars(plugin).values() if isinstance(declared, list | dict))


def _remark(server: Server) -> str:
    said = f"Server of the test: seed {server.seed}"
    if server.seed:
        said += f" (only this one again: {SEED}={server.seed})"
    errors = [str(line) for line in server.log if line.level == "error"][-3:]
    return "\n".join([f"{said}, {server.now():g} s after its start. What happened last:", server.story(12), *errors])


async def _here(function: Callable[..., R], *arguments: Any, limiter: object = None) -> R:
    """A transaction in memory takes no time, and has its place in the order of things."""
    del limiter
    return function(*arguments)
