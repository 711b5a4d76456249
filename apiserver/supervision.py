"""Keeps actors running: each by itself, started again when it breaks, and never in the way of the others or of the server.

What it promises:

* **Apart.** Whatever an actor raises stays with its supervisor; cancellation alone passes through.
* **Again.** One that broke is started afresh after a pause that doubles from one failure to the next, up to a minute, with some
  chance in it. After a minute without a failure the next pause is the first again.
* **Told.** While it is not at work it says so and why (`view`), for `/readyz`, for `kubectl get actors` and the log.
* **Remembered.** Counts go on and a pause holds, however often it is started again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import anyio

from actors.clock import Clock
from actors.insight import Insight, Snapshot
from actors.recorder import Log, presentable
from actors.workqueue import Backoff, Chance
from registry.declarations import Place

State = Literal["SettingUp", "Syncing", "Running", "Paused", "Standby", "Failed", "Stopped"]
"""What an actor is at: not set up yet; looking for the first time at what there is; at work; told to begin nothing; at work in
another process, for which this one stands by; down, and about to be started again; stopped with its server."""

WELL: tuple[State, ...] = ("Running", "Paused", "Standby")
"""States in which nothing is wrong with an actor of a server that serves."""

BACKOFF = Backoff(base=1.0, limit=60.0)
HEALTHY_SECONDS = 60.0


class Running(Protocol):
    """What is supervised: see `actors.runner.Runner`."""

    async def run(self) -> None: ...
    def stop(self, grace: float) -> None: ...
    def wake(self, place: Place) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def snapshot(self) -> Snapshot: ...


class View(NamedTuple):
    """An actor at one moment: what it is doing, what it is at, why it is not at work if it is not, how often it was restarted."""

    snapshot: Snapshot
    state: State
    message: str
    restarts: int


class Supervisor:
    """Keeps one actor running. `make` makes a runner that has not run yet, whose counts go into the insight that it is given."""

    def __init__(
        self, name: str, make: Callable[[Insight], Running], clock: Clock, chance: Chance, log: Log, *, paused: bool = False
    ) -> None:
        self.name = name
        self.restarts = 0  # how often it was started again
        self._make = make
        self._clock = clock
        self._chance = chance
        self._log = log
        self._paused = paused
        self._insight = Insight()
        self._broke = ""  # why it is down; empty while it runs
        self._stopped = anyio.Event()
        self._runner = self._made()

    async def run(self) -> None:
        """Runs the actor until it is stopped."""
        failures = 0
        while not self._stopped.is_set():
            began = self._clock.now()
            try:
                await self._runner.run()
                break
            except (Exception, BaseExceptionGroup) as error:
                failures = 1 if self._clock.now() - began >= HEALTHY_SECONDS else failures + 1
                await self._broken(error, BACKOFF.delay(failures, self._chance))
        self._stopped.set()
        self._insight.changed()

    def stop(self, grace: float) -> None:
        """No more runs begin; those under way may finish within `grace` seconds. Then `run` returns."""
        self._stopped.set()
        self._runner.stop(grace)
        self._insight.changed()

    def wake(self, place: Place) -> None:
        """Somebody asks for a look at this object."""
        self._runner.wake(place)

    def pause(self) -> None:
        """No more runs begin until `resume`; edges are kept."""
        if not self._paused:
            self._paused = True
            self._runner.pause()
            self._log.info("an actor is paused", actor=self.name)

    def resume(self) -> None:
        """Runs begin again."""
        if self._paused:
            self._paused = False
            self._runner.resume()
            self._log.info("an actor goes on", actor=self.name)

    def listen(self, changed: Callable[[], None]) -> None:
        """From now on `changed` is called whenever there is something new to be shown. There is one listener."""
        self._insight.changed = changed

    def view(self) -> View:
        """What the actor is doing now, and whether it is at work."""
        snapshot = self._runner.snapshot()
        if self._stopped.is_set():
            state: State = "Stopped"
        else:
            state = "Failed" if self._broke else state_of(snapshot)
        return View(snapshot, state, self._broke or snapshot.set_up_error, self.restarts)

    @property
    def state(self) -> State:
        """What the actor is at."""
        return self.view().state

    async def healthy(self) -> bool:
        """A check for `/readyz`: it knows every object, and is not down. One that is paused, stands by or is stopped is healthy."""
        return self.state in (*WELL, "Stopped")

    def _made(self) -> Running:
        runner = self._make(self._insight)
        if self._paused:
            runner.pause()
        return runner

    async def _broken(self, error: BaseException, pause: float) -> None:
        """Tells of a failure, waits, and makes the next runner."""
        if self._stopped.is_set():
            self._log.error("an actor broke while it was stopped", actor=self.name, exc_info=error)
            return
        self._broke = presentable(_told(error))
        self._insight.changed()
        self._log.error("an actor broke; it is started again", actor=self.name, pause=round(pause, 3), exc_info=error)
        with self._clock.deadline(self._clock.now() + pause):
            await self._stopped.wait()
        if not self._stopped.is_set():
            self.restarts += 1
            self._runner = self._made()
        self._broke = ""
        self._insight.changed()


def state_of(snapshot: Snapshot) -> State:
    """The state of an actor that runs and shows this."""
    if snapshot.standby:
        return "Standby"
    if snapshot.set_up_error:
        return "Failed"
    if not snapshot.live:
        return "SettingUp"
    if snapshot.paused:
        return "Paused"
    return "Running" if snapshot.synced else "Syncing"


def _told(error: BaseException) -> str:
    """What went wrong, from the inside of groups, whatever an exception's own text does."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # of the plugin: its exception cannot be shown
        return type(error).__name__
