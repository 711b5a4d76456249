"""Runs one actor in one process: list and watch into a workqueue, workers that reconcile, and what comes of each run.

What it promises:

* **Edge-woken, level-driven.** A change wakes a key; the run reads the newest state. Every edge is delivered: the first list wakes
  every object, and after a gap in the watch whatever differs from what was seen is woken. Many edges may fold into one run.
* **Not by itself.** A change of nothing but the status does not wake the owner of that status.
* **One at a time.** Never two runs of one key, never more than `concurrency` runs.
* **It sees what it wrote.** A run begins with a state that is not older than what this actor has written to the object.
* **Nothing left behind.** With a cleanup: no run before the finalizer is stored, and none taken off before the cleanup succeeded.
* **One status write.** At most one patch per run, and none if nothing changed; never onto another object of the same name.
* **It stays up.** Whatever a reconcile, the source or the API raises is logged, shown and retried. Cancellation ends it.
"""

from __future__ import annotations

import traceback
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import anyio

from actors.actor import Actor, Again, Done, Live, Outcome, Run, Terminal
from actors.cache import Cache, Held, Seen, Source, edge, labelled
from actors.calling import Caller, contained, set_up, tear_down
from actors.children import Family
from actors.clock import Clock, sleep_until
from actors.door import Door, TypedClient
from actors.feed import Differences, follow
from actors.finalizing import Finalizing, Step
from actors.insight import Ended, Failing, Insight, Snapshot
from actors.recorder import Log, Recorder, presentable
from actors.selecting import Selected
from actors.status import Report
from actors.workqueue import Backoff, Chance, Taken, Tally, Wake, Workqueue
from registry.declarations import Observation, Place
from registry.errors import ConflictError, NotFound
from registry.nodes import Document
from registry.typed import from_document


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What an actor runs in. `door` and `recorder` act under the actor's identity; `queue` makes that of its keys.

    `leads` is asked before each run whether it may begin; `epoch` grows with each change of the leader (0: there is no election).
    """

    source: Source
    door: Door
    recorder: Recorder
    clock: Clock
    chance: Chance
    log: Log
    queue: Callable[[Backoff, Chance, Tally], Workqueue[Place]] = Workqueue
    leads: Callable[[], bool] = lambda: True
    epoch: int = 0


class _Written(NamedTuple):
    """What this actor last wrote at a place. `document` is None for a deletion, of which no revision is known."""

    revision: int
    document: Document | None


class Runner:
    """Runs `actor` in `environment`. `run` returns after `stop`; nothing else ends it but cancellation.

    It runs once: who wants to start it again makes another one, with the same `insight` if the counts are to go on.
    """

    def __init__(self, actor: Actor, environment: Environment, insight: Insight | None = None) -> None:
        self.actor = actor
        self._environment = environment
        self._clock = environment.clock
        self._log = environment.log
        self._insight = insight or Insight()
        self._insight.fresh()
        self._queue = environment.queue(actor.backoff, environment.chance, self._insight.tally)
        self._cache = Cache()  # the objects of the actor's own kind
        self._by_uid: dict[str, Place] = {}  # of the objects in _cache, kept if owner references are to be followed
        self._follows_owners = any(observation.to is None and not observation.label for observation in actor.observes)
        self._written: dict[Place, _Written] = {}  # own writes that the cache has not caught up with
        self._terminal: set[Place] = set()  # last ended in Terminal: no resync
        self._unsynced = 1 + len(actor.observes)  # kinds that have not been listed yet
        self._family = Family()  # who owns what, of the kinds that are observed by owner
        self._client = TypedClient(environment.door, environment.clock, self._wrote, self._family.places)
        self._decode: Callable[[Document], Any] = from_document(actor.model)
        self._report = Report(actor.model)
        self._finalizing = Finalizing(actor.model, actor.finalizer, cleans=actor.cleanup is not None, door=environment.door)
        self._signal = anyio.Event()  # something happened that the dispatcher must see
        self._live = False  # set up
        self._set_up_error = ""  # why the last set-up failed; empty once one succeeded
        self._paused = False  # no more runs begin
        self._stop_at: float | None = None  # when what is still running is cancelled; None: not stopping

    async def run(self) -> None:
        """Runs the actor until it is stopped."""
        async with anyio.create_task_group() as tasks:
            name = f"actor {self.actor.name}"  # tasks are named so that one that blocks the event loop can be told of
            tasks.start_soon(self._environment.recorder.run, name=f"{name}: events")
            live = await self._set_up()
            if live is not None:
                tasks.start_soon(self._follow_own, name=f"{name}: watch of {self.actor.model.__name__}")
                for observation in self.actor.observes:
                    tasks.start_soon(self._follow_observed, observation, name=f"{name}: watch of {observation.model.__name__}")
                if self.actor.resync is not None:
                    tasks.start_soon(self._resync, self.actor.resync)
                try:
                    await self._dispatch(live)
                except Exception:  # nothing in a run should raise here; what was set up is torn down before somebody starts anew
                    self.stop()
                    await self._wind_up(live)
                    raise
                await self._wind_up(live)
            tasks.cancel_scope.cancel()

    def stop(self, grace: float = 5.0) -> None:
        """No more runs begin. Those under way may finish within `grace` seconds, then they are cancelled and `run` returns."""
        if self._stop_at is None:
            self._stop_at = self._clock.now() + grace
        self._signal.set()

    def wake(self, place: Place) -> None:
        """Somebody asks for a look at this object."""
        self._add(place, Wake.RESYNC)

    def pause(self) -> None:
        """No more runs begin; those under way go on. What happens meanwhile is kept, folded, and counts after `resume`."""
        self._paused = True
        self._insight.changed()

    def resume(self) -> None:
        """Runs begin again."""
        self._paused = False
        self._insight.changed()
        self._signal.set()

    def snapshot(self) -> Snapshot:
        """What the actor is doing now."""
        insight, queue = self._insight, self._queue
        return Snapshot(
            name=self.actor.name,
            concurrency=self.actor.concurrency,
            live=self._live,
            set_up_error=self._set_up_error,
            paused=self._paused,
            synced=self._unsynced == 0,
            objects=len(self._cache),
            depth=queue.depth,
            waits_since=queue.waits_since(),
            timers=queue.timers,
            running=dict(insight.running),
            last=insight.last,
            failing=tuple(insight.failing.values()),
            totals=dict(insight.totals),
            adds=insight.tally.adds,
            retries=insight.tally.retries,
            seconds=insight.ran.seconds,
            ran=insight.ran.shown(),
            worked=insight.worked.shown(),
            waited=insight.waited.shown(),
        )

    # What wakes keys.

    def _add(self, place: Place, wake: Wake) -> None:
        self._queue.add(place, wake, self._clock.now())
        self._signal.set()
        self._insight.changed()

    async def _follow_own(self) -> None:
        first = True
        source, selection = self._environment.source, self.actor.selection
        if selection is not None:
            source = Selected(source, selection)
        async for differences in self._follow(source, self.actor.model, self._cache):
            if differences.listed:
                self._written = {place: each for place, each in self._written.items() if each.revision > self._cache.revision}
            for seen in differences.seen:
                self._own_changed(seen)
            if first:
                self._listed()
            first = False

    def _own_changed(self, seen: Seen) -> None:
        written = self._written.get(seen.place)
        if written is not None and (seen.new is None or written.document is None or seen.new.revision >= written.revision):
            del self._written[seen.place]
        if self._follows_owners:
            if seen.old is not None and self._by_uid.get(seen.old.uid) == seen.place:
                del self._by_uid[seen.old.uid]
            if seen.new is not None:
                self._by_uid[seen.new.uid] = seen.place
        wake = edge(seen)
        if wake and not self._finalizing.is_own(seen):
            self._terminal.discard(seen.place)
            self._add(seen.place, wake)

    async def _follow_observed(self, observation: Observation) -> None:
        decode: Callable[[Document], Any] = from_document(observation.model)
        first, by_owner = True, observation.to is None and not observation.label
        async for differences in self._follow(self._environment.source, observation.model, Cache()):
            for seen in differences.seen:
                if by_owner:
                    self._family.saw(observation.model, seen)
                for place in self._mapped(observation, decode, seen):
                    if observation.model is self.actor.model and place == seen.place:
                        continue  # what happens to the object itself is told apart by `edge`
                    self._terminal.discard(place)
                    self._add(place, Wake.OBSERVED)
            if by_owner:
                self._family.listed(observation.model)
            if first:
                self._listed()
            first = False

    def _listed(self) -> None:
        """One kind more of which every object is known."""
        self._unsynced -= 1
        self._insight.changed()

    def _mapped(self, observation: Observation, decode: Callable[[Document], Any], seen: Seen) -> dict[Place, None]:
        """The keys that an observed change wakes. A mapping that raises is the plugin's mistake: logged, it wakes nothing."""
        places: dict[Place, None] = {}
        for held in (seen.old, seen.new):
            if held is None:
                continue
            try:
                with contained():
                    places.update((place, None) for place in self._targets(observation, decode, held))
            except Exception as error:  # of the plugin's function: one object must not stop the others
                self._log.error("mapping failed", actor=self.actor.name, observed=str(held.place), error=presentable(str(error)))
        return places

    def _targets(self, observation: Observation, decode: Callable[[Document], Any], held: Held) -> Iterable[Place]:
        document = held.document()
        if observation.to is not None:
            return [Place(*place) for place in observation.to(decode(document))]
        if observation.label:
            return [place for place in labelled(observation, document) if self._cache.get(place) is not None]
        owners = document["metadata"].get("ownerReferences") or ()
        return [self._by_uid[owner["uid"]] for owner in owners if owner["uid"] in self._by_uid]

    def _follow(self, source: Source, model: type, cache: Cache) -> AsyncGenerator[Differences, None]:
        environment = self._environment
        return follow(source, model, cache, environment.clock, environment.chance, environment.log)

    async def _resync(self, period: float) -> None:
        while True:
            await sleep_until(self._clock, self._clock.now() + period)
            for place in self._cache:
                if place not in self._terminal:
                    self._add(place, Wake.RESYNC)

    # What runs.

    async def _dispatch(self, live: Live) -> None:
        async with anyio.create_task_group() as runs:
            caller = Caller(self.actor, live, self._client, self._clock, runs)
            while self._stop_at is None:
                free = not self._paused and self._queue.running < self.actor.concurrency
                taken = self._queue.take(self._clock.now()) if free else None
                if taken is not None:
                    runs.start_soon(self._work, caller, taken, name=f"actor {self.actor.name}: {taken.key}")
                else:
                    await self._happening(self._queue.due() if free else None)
            with self._clock.deadline(self._stop_at):
                while self._queue.running:
                    await self._happening(None)
            runs.cancel_scope.cancel()

    async def _happening(self, due: float | None) -> None:
        """Waits until something happened, or it is `due`."""
        with self._clock.deadline(due):
            await self._signal.wait()
        if self._signal.is_set():
            self._signal = anyio.Event()

    async def _work(self, caller: Caller, taken: Taken[Place]) -> None:
        place = taken.key
        self._insight.began(place, self._clock.now(), taken.waited)
        try:
            self._conclude(place, await self._once(caller, taken))
            await caller.release(place)
        finally:
            self._queue.done(place)
            self._insight.over(place)
            self._signal.set()

    def _conclude(self, place: Place, ended: Ended) -> None:
        """What a run that ended like this means for the key."""
        now = self._clock.now()
        self._insight.ended(place, ended.result, now)
        self._insight.failing.pop(place, None)
        retry = None
        if ended.result in ("error", "conflict"):
            retry = self._queue.failed(place, now)
        else:
            self._queue.succeeded(place)
        if ended.after is not None:
            self._queue.add_at(place, now + ended.after)
        if ended.error:
            self._insight.failing[place] = Failing(place, ended.error, self._queue.failures.get(place, 1), retry)

    async def _once(self, caller: Caller, taken: Taken[Place]) -> Ended:
        """One run, and everything that can come of it."""
        document: Document | None = None
        try:
            document = await self._newest(taken.key)
            if document is None or not self._environment.leads():  # this runner is being cancelled: another one looks at the object
                return Ended("gone")
            step = self._finalizing.step(document)
            if step is Step.HOLD:
                document = await self._held(taken.key, document)
            if document is None:
                return Ended("gone")
            if step is Step.LEAVE:
                return Ended("success")
            obj = self._decode(document)
            outcome = await caller.call(obj, self._run(taken, document), cleaning=step is Step.CLEAN)
            await self._write_status(taken.key, document, outcome)
            if isinstance(outcome, Done) and self._finalizing.releases(document):
                self._released(taken.key, await self._finalizing.release(taken.key, document))
        except ConflictError as error:
            return Ended("conflict", error=presentable(str(error)))
        except Exception as error:  # whatever a reconcile raises: it is shown and tried again
            return self._failed(taken.key, document, error)
        return self._ended(taken.key, document, outcome)

    def _run(self, taken: Taken[Place], document: Document) -> Run:
        def tell(reason: str, message: str, *, warning: bool = False) -> None:
            self._environment.recorder.record(document, "Warning" if warning else "Normal", reason, message)

        deleting = Wake.DELETED if document["metadata"].get("deletionTimestamp") else Wake.NONE
        attempt, generation = self._queue.failures.get(taken.key, 0) + 1, document["metadata"].get("generation")
        now, epoch = self._clock.time(), self._environment.epoch
        return Run(taken.key, taken.wake | deleting, attempt, tell, generation=generation, time=now, epoch=epoch)

    def _failed(self, place: Place, document: Document | None, error: Exception) -> Ended:
        shown = presentable(f"{type(error).__name__}: {error}")
        trace = "".join(traceback.format_exception(error))
        self._log.error("reconcile failed", actor=self.actor.name, key=str(place), error=shown, trace=trace)
        if document is not None:
            self._environment.recorder.record(document, "Warning", "ReconcileFailed", shown)
        return Ended("error", error=shown)

    def _ended(self, place: Place, document: Document, outcome: Outcome | Terminal) -> Ended:
        if isinstance(outcome, Terminal):
            shown = presentable(str(outcome))
            self._terminal.add(place)
            self._log.warning("reconcile stopped", actor=self.actor.name, key=str(place), error=shown)
            self._environment.recorder.record(document, "Warning", outcome.reason, outcome.message or outcome.reason)
            return Ended("terminal", error=shown)
        if isinstance(outcome, Again):
            return Ended("again", after=float(outcome.seconds))
        return Ended("success")

    # What is read and written.

    def _wrote(self, model: type, place: Place, document: Document | None) -> None:
        if model is not self.actor.model:
            return
        revision = int(document["metadata"]["resourceVersion"]) if document is not None else 0
        known = self._cache.get(place) is not None or place in self._written
        if revision > self._cache.revision or (document is None and known):  # else the cache has seen it, and what came after it
            self._written[place] = _Written(revision, document)

    async def _held(self, place: Place, document: Document) -> Document | None:
        """The object with the actor's finalizer on it; None if it is gone."""
        try:
            held = await self._finalizing.hold(place, document)
        except NotFound:
            return None
        self._wrote(self.actor.model, place, held)
        return held

    def _released(self, place: Place, remains: Document | None) -> None:
        if remains is not None or self._cache.get(place) is not None:
            self._wrote(self.actor.model, place, remains)

    async def _newest(self, place: Place) -> Document | None:
        """The newest state that is known, at least as new as what this actor has written; None if there is no such object."""
        written = self._written.get(place)
        if written is not None and written.document is None:
            try:
                found = await self._environment.door.get(self.actor.model, place)
            except NotFound:
                return None
            selection = self.actor.selection
            return found if selection is None or selection.matches(found) else None
        return self._known(place)

    def _known(self, place: Place) -> Document | None:
        held, written = self._cache.get(place), self._written.get(place)
        if written is not None and written.document is not None and (held is None or held.revision < written.revision):
            return written.document
        return held.document() if held is not None else None

    async def _write_status(self, place: Place, document: Document, outcome: Outcome | Terminal) -> None:
        """Writes what the run found out, if it is not what is there."""
        newest = self._known(place) or document
        generation, before = document["metadata"].get("generation"), newest.get("status") or {}
        patch = self._report.patch(before, outcome, generation, self._clock.time())
        if not patch:
            return
        uid = document["metadata"].get("uid", "")
        try:
            await self._client.patch_status(self.actor.model, place.name, place.namespace, patch, uid=uid)
        except NotFound:
            return  # deleted meanwhile: there is nothing to report on

    # What happens before the first run and after the last.

    async def _set_up(self) -> Live | None:
        """A live actor, or None if it was stopped before it could be made."""
        failures = 0
        while self._stop_at is None:
            try:
                with contained():
                    live = self.actor.start()
                await set_up(live, self._client)
            except Exception as error:  # of the plugin: the actor is not there yet, the server is
                failures += 1
                self._set_up_error = presentable(f"{type(error).__name__}: {error}")
                self._insight.changed()
                self._log.error("set-up failed", actor=self.actor.name, error=self._set_up_error)
                await self._happening(self._clock.now() + self.actor.backoff.delay(failures, self._environment.chance))
            else:
                self._live, self._set_up_error = True, ""
                self._insight.changed()
                return live
        return None

    async def _wind_up(self, live: Live) -> None:
        """Tear-down and the last Events, in what is left of the grace time."""
        with self._clock.deadline(self._stop_at):
            try:
                await tear_down(live)
            except Exception as error:  # of the plugin: the others are to be stopped all the same
                self._log.error("tear-down failed", actor=self.actor.name, error=presentable(f"{type(error).__name__}: {error}"))
            await self._environment.recorder.flush()
