"""How an actor under test reaches the server: as others do, and at each step something may be held up, go wrong, or be the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TypeVar

import anyio

from actors.cache import Change, Listing, Source
from actors.client import Op, Preconditions
from actors.door import Door, Page, Query
from apiserver.testing.faults import Crash, Faults, Life, Stream
from registry.declarations import Place
from registry.nodes import Document

R = TypeVar("R")


class Tally:
    """How many writes an actor made in all its lives, and at which it is to die."""

    def __init__(self) -> None:
        self.count = 0
        self.crash: Crash | None = None

    def crashes(self, *, before: bool) -> Crash | None:
        """The crash, if it is now: before the next write, or after the last."""
        crash = self.crash
        if crash is None or crash.before != before or crash.at != self.count + before:
            return None
        return crash


class TestedDoor:
    """Implements `actors.door.Door`."""

    def __init__(self, inner: Door, life: Life, faults: Faults, tally: Tally) -> None:
        self._inner = inner
        self._life = life
        self._faults = faults
        self._tally = tally

    async def get(self, model: type, place: Place) -> Document:
        """See `Door.get`."""
        await self._reading("get", model, place)
        return await self._inner.get(model, place)

    async def list(self, model: type, namespace: str | None, query: Query, more: str) -> Page:
        """See `Door.list`."""
        await self._reading("list", model, Place(namespace or "", ""))
        return await self._inner.list(model, namespace, query, more)

    async def create(self, model: type, namespace: str, document: Document) -> Document:
        """See `Door.create`."""
        place = Place(namespace, document["metadata"].get("name", ""))
        call = partial(self._inner.create, model, namespace, document)
        return await self._write("create", model, place, "", document, call)

    async def update(self, model: type, place: Place, document: Document, subresource: str) -> Document:
        """See `Door.update`."""
        call = partial(self._inner.update, model, place, document, subresource)
        return await self._write("update", model, place, subresource, document, call)

    async def patch(self, model: type, place: Place, merge: Document, subresource: str) -> Document:
        """See `Door.patch`."""
        call = partial(self._inner.patch, model, place, merge, subresource)
        return await self._write("patch", model, place, subresource, merge, call)

    async def delete(self, model: type, place: Place, preconditions: Preconditions) -> Document | None:
        """See `Door.delete`."""
        call = partial(self._inner.delete, model, place, preconditions)
        return await self._write("delete", model, place, "", preconditions, call)

    async def watch(
        self, model: type, namespace: str | None, query: Query, after: int
    ) -> AsyncGenerator[Sequence[tuple[Op, Document]], None]:
        """See `Door.watch`."""
        await self._reading("watch", model, Place(namespace or "", ""))
        with _stream(self._life) as stream:
            async with aclosing(self._inner.watch(model, namespace, query, after)) as batches:
                while (batch := await stream.next(batches)) is not None:
                    await self._life.go_on()
                    yield batch

    async def _reading(self, verb: str, model: type, place: Place) -> None:
        await self._life.go_on()
        refusal = self._faults.refusal(self._life.name, verb, model, place)
        if refusal is not None:
            raise self._refused(verb, model, place, refusal.error())

    async def _write(
        self, verb: str, model: type, place: Place, subresource: str, body: object, call: Callable[[], Awaitable[R]]
    ) -> R:
        life = self._life
        await life.go_on()
        await self._crash(before=True)
        refusal = self._faults.refusal(life.name, verb, model, place)
        if refusal is not None and not refusal.written:
            raise self._refused(verb, model, place, refusal.error())
        with anyio.CancelScope(shield=True):  # whoever is killed has written, or has not
            answer = await call()
        if isinstance(answer, dict) and not place.name:
            place = Place(place.namespace, answer["metadata"]["name"])
        life.activity.wrote(life.name, verb, model, place, subresource, body, life.clock.now())
        self._tally.count += 1
        await self._crash(before=False)
        if refusal is not None:
            raise self._refused(verb, model, place, refusal.error())
        await life.go_on()
        return answer

    async def _crash(self, *, before: bool) -> None:
        crash = self._tally.crashes(before=before)
        if crash is not None:
            self._tally.crash = None
            self._life.restarts = crash.restart
            await self._life.die(f"{'before' if before else 'after'} its write {crash.at}")

    def _refused(self, verb: str, model: type, place: Place, error: Exception) -> Exception:
        life = self._life
        life.activity.note(f"{life.clock.now():8.3f} {life.name}: {verb} {model.__name__} {place} refused: {type(error).__name__}")
        return error


class TestedSource:
    """Implements `actors.cache.Source`."""

    def __init__(self, inner: Source, life: Life, faults: Faults) -> None:
        self._inner = inner
        self._life = life
        self._faults = faults

    async def list(self, model: type) -> Listing:
        """See `Source.list`. In any order."""
        await self._life.go_on()
        listing = await self._inner.list(model)
        return Listing(listing.revision, self._life.order.shuffled(list(listing.objects)))

    async def watch(self, model: type, after: int) -> AsyncGenerator[Sequence[Change], None]:
        """See `Source.watch`. Batches come late, or in parts, as it was asked for and as the seed has it; always in order."""
        await self._life.go_on()
        with _stream(self._life) as stream:
            async with aclosing(self._inner.watch(model, after)) as batches:
                while (batch := await stream.next(batches)) is not None:
                    for piece in self._life.order.pieces(batch):
                        await self._life.go_on()
                        delay = self._life.order.part(self._faults.delay)
                        if delay and not await stream.late(delay):
                            return
                        yield piece


@contextmanager
def _stream(life: Life) -> Iterator[Stream]:
    stream = Stream(life)
    life.streams[stream] = None
    try:
        yield stream
    finally:
        del life.streams[stream]
