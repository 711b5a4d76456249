"""Keeps the objects of `actors.skep.dev` true: what actors are doing goes into them, and what people ask of an actor comes out.

They are ordinary stored objects, so that a watch, a list, a resourceVersion of them mean what they always mean.

What it promises:

* **What matters, soon.** A change of state, or of which keys fail and why, is written within about a second. Counts and times
  follow at most every `period` seconds.
* **Nothing, when nothing happens.** An actor that does nothing costs no write and no look.
* **A pause holds.** It is in the object: an actor that was paused is paused before it begins, also after a restart.
* **Every wake counts.** The annotation is taken out only as it was read: one that was changed meanwhile is read again.
* **Never in the way.** A write that fails is logged, and made again later with what is true then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import anyio
import msgspec

from actors.cache import Cache, Source
from actors.client import Preconditions
from actors.clock import Clock, sleep_until
from actors.door import Door, Query, difference
from actors.feed import follow
from actors.recorder import Log, presentable
from actors.workqueue import Chance
from apiserver.actor_objects import notable, ready, status_document
from apiserver.supervision import Supervisor
from registry.builtin.actor import WAKE, ActorObject, woken
from registry.declarations import Place
from registry.errors import AlreadyExists, ConflictError, NotFound
from registry.nodes import Document
from registry.resource import Condition, set_condition
from registry.times import format_time
from registry.typed import to_document

SETTLE = 0.2
"""Seconds after the first thing that happened until it is looked at: a short run is told of once, when it is over."""
SOON = 1.0
"""Seconds between two writes for one actor, at least."""


class Entry:
    """An actor, and what its object says of it."""

    def __init__(self, supervisor: Supervisor, declared: Document) -> None:
        self.supervisor = supervisor
        self.name = supervisor.name
        self.place = Place("", supervisor.name)
        self.declared = declared  # what its spec says, all but `paused`
        self.stored: Document = {}  # the object, as far as it is known from our own writes
        self.written: Document = {}  # the status in it, as `status_document` made it
        self.generation: int | None = None  # of the object, as it was last seen
        self.written_at = 0.0  # when that was tried last, in terms of the clock's `now`
        self.happened = anyio.Event()
        supervisor.listen(self._heard)

    def _heard(self) -> None:
        if not self.happened.is_set():
            self.happened.set()

    def due(self, status: Document, period: float) -> float:
        """When this status is to be written."""
        return self.written_at + (SOON if notable(status) != notable(self.written) else period)


class ActorObjects:
    """Keeps the objects of the actors of this server. `door` and `source` are the API, under the identity that may write them."""

    def __init__(
        self,
        entries: Sequence[Entry],
        door: Door,
        source: Source,
        clock: Clock,
        chance: Chance,
        log: Log,
        *,
        period: float,
    ) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._door = door
        self._source = source
        self._clock = clock
        self._chance = chance
        self._log = log
        self._period = period
        self._epoch = 0.0  # the wall clock's time at the zero of the clock: read once, so that equal moments stay equal

    async def prepare(self, declared: Iterable[str] = ()) -> None:
        """Makes the objects what the plugins declare now, before the actors begin; actors that are to be paused are.

        Objects of other actors go, but for those that are `declared` (and run somewhere else): they may be paused.
        """
        self._epoch = self._clock.time() - self._clock.now()
        found = await self._listed()
        for name in found.keys() - self._entries.keys() - set(declared):
            await self._door.delete(ActorObject, Place("", name), Preconditions())
        for name, entry in self._entries.items():
            entry.stored = await self._declared(entry, found.get(name))
            entry.generation = entry.stored["metadata"].get("generation")
            if entry.stored["spec"].get("paused"):
                entry.supervisor.pause()
            await self._write(entry, self._status(entry))

    async def run(self) -> None:
        """Reports and listens, until it is cancelled."""
        async with anyio.create_task_group() as tasks:
            for entry in self._entries.values():
                tasks.start_soon(self._report, entry, name=f"report of {entry.name}")
            tasks.start_soon(self._listen, name="watch of actors")

    # What the plugins declare.

    async def _listed(self) -> dict[str, Document]:
        found: dict[str, Document] = {}
        more = ""
        while True:
            page = await self._door.list(ActorObject, None, Query(), more)
            found.update((document["metadata"]["name"], document) for document in page.documents)
            more = page.more
            if not more:
                return found

    async def _declared(self, entry: Entry, found: Document | None) -> Document:
        """The object of an actor, whose spec says what is declared."""
        spec = entry.declared
        if found is None:
            try:
                return await self._door.create(ActorObject, "", {"metadata": {"name": entry.name}, "spec": spec})
            except AlreadyExists:
                found = await self._door.get(ActorObject, entry.place)
        before: Document = found["spec"]
        patch = difference({key: value for key, value in before.items() if key != "paused"}, spec)
        return await self._door.patch(ActorObject, entry.place, {"spec": patch}, "") if patch else found

    # What the actors do.

    async def _report(self, entry: Entry) -> None:
        while True:
            await entry.happened.wait()
            await sleep_until(self._clock, self._clock.now() + SETTLE)
            entry.happened = anyio.Event()
            while (status := self._status(entry)) != entry.written and status["state"] != "Stopped":
                due, now = entry.due(status, self._period), self._clock.now()
                if due <= now:
                    await self._write(entry, status)
                else:
                    await sleep_until(self._clock, min(due, now + SOON))

    def _status(self, entry: Entry) -> Document:
        return status_document(entry.supervisor.view(), self._epoch)

    async def _write(self, entry: Entry, status: Document) -> None:
        entry.written_at = self._clock.now()
        now = format_time(self._clock.time())
        before: Document = entry.stored.get("status") or {}
        conditions = msgspec.convert(before.get("conditions") or [], tuple[Condition, ...])
        condition = ready(entry.supervisor.view(), entry.generation)
        told = [to_document(each) for each in set_condition(conditions, condition, now)]
        patch = difference(before, {**status, "conditions": told, "reported": now})
        try:
            entry.stored = await self._door.patch(ActorObject, entry.place, {"status": patch}, "status")
        except NotFound:
            await self._again(entry)
        except Exception as error:  # whatever the store is at: what is true then is written later
            self._log.warning("an actor's state is not written", actor=entry.name, error=presentable(str(error)))
        else:
            entry.written = status

    async def _again(self, entry: Entry) -> None:
        """Somebody has taken the object away, past the API: it is made again."""
        try:
            entry.stored = await self._declared(entry, None)
        except Exception as error:  # as above
            self._log.warning("an actor's object is not made", actor=entry.name, error=presentable(str(error)))

    # What people ask.

    async def _listen(self) -> None:
        async for differences in follow(self._source, ActorObject, Cache(), self._clock, self._chance, self._log):
            for seen in differences.seen:
                entry = self._entries.get(seen.place.name)
                if seen.new is not None and entry is not None:
                    await self._asked(entry, seen.new.document())

    async def _asked(self, entry: Entry, document: Document) -> None:
        """Does what an object asks of its actor."""
        entry.generation = document["metadata"].get("generation")
        if document["spec"].get("paused"):
            entry.supervisor.pause()
        else:
            entry.supervisor.resume()
        places = woken(document)
        if not places:
            return
        for place in places:
            entry.supervisor.wake(place)
        metadata = {"annotations": {WAKE: None}, "resourceVersion": document["metadata"]["resourceVersion"]}
        try:
            await self._door.patch(ActorObject, entry.place, {"metadata": metadata}, "")
        except ConflictError:
            pass  # it is another one already, which comes next
        except Exception as error:  # whatever the store is at: a wake too many does no harm
            self._log.warning("a wake is not taken out", actor=entry.name, error=presentable(str(error)))
