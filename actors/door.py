"""How a typed client reaches the API: through a door, which is all that differs between in process and over HTTP.

A door knows documents and one call for each verb. What people are given (`actors.client.Client`: types, conflict retries, waiting)
is made of them here, once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

from actors.children import Kin, exactly, own
from actors.client import Labels, Listed, Op, Preconditions, T, WatchEvent, place_of, selector
from actors.clock import Clock, sleep_until
from registry.declarations import Place
from registry.errors import ConflictError, ExpiredError, NotFound, Timeout
from registry.nodes import Document
from registry.resource import Object
from registry.typed import from_document, to_document

_ATTEMPTS = 20
"""Of an update that others keep overtaking: as many in a row are no accident."""

_PAUSE = 1.0
"""Seconds before a watch is begun again that ended without a word."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which objects: label and field selectors as text (empty: all)."""

    labels: str = ""
    fields: str = ""


class Page(NamedTuple):
    """A part of a list. `more` continues it, empty on the last page; `revision` is the same on all."""

    documents: Sequence[Document]
    revision: int
    more: str


class Door(Protocol):
    """The API on plain documents. `model` says which kind and version; documents handed in may lack `apiVersion` and `kind`.

    Refusals are raised as `ApiError`s: NotFound, AlreadyExists, ConflictError, Invalid, Forbidden, ... Documents that come out
    belong to the caller. `subresource` is empty or `status`.
    """

    async def get(self, model: type, place: Place) -> Document:
        """The newest state. Raises NotFound."""
        ...

    async def list(self, model: type, namespace: str | None, query: Query, more: str) -> Page:
        """The first page of a list, in one namespace or (None) all, or the page that `more` continues with."""
        ...

    async def create(self, model: type, namespace: str, document: Document) -> Document:
        """What was stored."""
        ...

    async def update(self, model: type, place: Place, document: Document, subresource: str) -> Document:
        """Replaces the object, if it is still at the document's resourceVersion and uid (as far as it has them)."""
        ...

    async def patch(self, model: type, place: Place, merge: Document, subresource: str) -> Document:
        """Changes the object by a merge patch (RFC 7386). `metadata.uid` and `metadata.resourceVersion` in it are preconditions."""
        ...

    async def delete(self, model: type, place: Place, preconditions: Preconditions) -> Document | None:
        """Deletes; the object if it stays until its finalizers are done, None if it is gone."""
        ...

    def watch(
        self, model: type, namespace: str | None, query: Query, after: int
    ) -> AsyncGenerator[Sequence[tuple[Op, Document]], None]:
        """Every change after a revision, in order, in batches. Raises ExpiredError; may end, and can then be resumed."""
        ...


Wrote = Callable[[type, Place, Document | None], None]
"""Told of every write that succeeded, before its caller is: the object as it was stored, None if it is gone."""


class TypedClient:
    """A `Client` on top of a `Door`: types in and out, and all that is made of several calls."""

    def __init__(self, door: Door, clock: Clock, wrote: Wrote | None = None, kin: Kin | None = None) -> None:
        self._door = door
        self._kin = kin
        self._clock = clock
        self._wrote = wrote
        self._decoders: dict[type, Callable[[Document], Any]] = {}  # bound once per type

    async def get(self, model: type[T], name: str, namespace: str = "") -> T | None:
        """See `Client.get`."""
        try:
            document = await self._door.get(model, Place(namespace, name))
        except NotFound:
            return None
        return self._typed(model, document)

    async def list(self, model: type[T], namespace: str | None = None, *, labels: Labels = "", fields: str = "") -> Listed[T]:
        """See `Client.list`."""
        items: list[T] = []
        revision = 0
        async with aclosing(self._pages(model, namespace, Query(selector(labels), fields))) as pages:
            async for page in pages:
                items += page.items
                revision = page.revision
        return Listed(items, revision)

    def pages(
        self, model: type[T], namespace: str | None = None, *, labels: Labels = "", fields: str = ""
    ) -> AsyncGenerator[Listed[T], None]:
        """See `Client.pages`."""
        return self._pages(model, namespace, Query(selector(labels), fields))

    async def create(self, obj: T) -> T:
        """See `Client.create`."""
        document = to_document(obj)
        stored = await self._door.create(type(obj), obj.metadata.namespace or "", document)
        return self._written(type(obj), stored)

    async def update(self, obj: T) -> T:
        """See `Client.update`."""
        return self._written(type(obj), await self._door.update(type(obj), place_of(obj), to_document(obj), ""))

    async def update_with(self, model: type[T], name: str, namespace: str, change: Callable[[T], T]) -> T:
        """See `Client.update_with`."""
        place = Place(namespace, name)
        for attempt in range(1, _ATTEMPTS + 1):
            current = self._typed(model, await self._door.get(model, place))
            wanted = change(current)
            if wanted == current:
                return current
            try:
                return await self.update(wanted)
            except ConflictError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def patch(self, model: type[T], name: str, namespace: str, merge: Document, *, uid: str = "") -> T:
        """See `Client.patch`."""
        return self._written(model, await self._door.patch(model, Place(namespace, name), _pinned(merge, uid), ""))

    async def update_status(self, obj: T) -> T:
        """See `Client.update_status`."""
        return self._written(type(obj), await self._door.update(type(obj), place_of(obj), to_document(obj), "status"))

    async def patch_status(self, model: type[T], name: str, namespace: str, status: Document, *, uid: str = "") -> T:
        """See `Client.patch_status`."""
        merge = _pinned({"status": status}, uid)
        return self._written(model, await self._door.patch(model, Place(namespace, name), merge, "status"))

    async def delete(
        self, model: type[T], name: str, namespace: str = "", *, preconditions: Preconditions | None = None
    ) -> T | None:
        """See `Client.delete`."""
        place = Place(namespace, name)
        try:
            remains = await self._door.delete(model, place, preconditions or Preconditions())
        except NotFound:
            return None
        if remains is not None:
            return self._written(model, remains)
        if self._wrote is not None:
            self._wrote(model, place, None)
        return None

    async def own(self, owner: Object, child: T) -> T:
        """See `Client.own`."""
        return await own(self, owner, child)

    async def children(self, owner: Object, wanted: Iterable[Object], *, of: Sequence[type[Object]]) -> Sequence[Object]:
        """See `Client.children`."""
        return await exactly(self, owner, wanted, of, self._kin)

    def watch(
        self, model: type[T], namespace: str | None = None, *, after: int, labels: Labels = "", fields: str = ""
    ) -> AsyncGenerator[Sequence[WatchEvent[T]], None]:
        """See `Client.watch`."""
        return self._watch(model, namespace, Query(selector(labels), fields), after)

    async def wait_until(
        self, model: type[T], name: str, namespace: str, condition: Callable[[T | None], bool], *, within: float | None = None
    ) -> T | None:
        """See `Client.wait_until`."""
        due = None if within is None else self._clock.now() + within
        with self._clock.deadline(due):
            while True:
                try:
                    return await self._until(model, Place(namespace, name), condition)
                except ExpiredError:
                    continue
        raise Timeout(f"waited {within:g} s for {model.__name__} {Place(namespace, name)}, and what was waited for did not come")

    async def _until(self, model: type[T], place: Place, condition: Callable[[T | None], bool]) -> T | None:
        query = Query(fields=f"metadata.name={place.name}")
        page = await self._door.list(model, place.namespace or None, query, "")
        seen = self._typed(model, page.documents[0]) if page.documents else None
        revision = page.revision
        while not condition(seen):
            before = revision
            async with aclosing(self._watch(model, place.namespace or None, query, revision)) as batches:
                async for event in _flat(batches):
                    revision = int(event.object.metadata.resource_version or revision)
                    seen = None if event.op is Op.DELETED else event.object
                    if condition(seen):
                        return seen
            if revision == before:
                await sleep_until(self._clock, self._clock.now() + _PAUSE)
        return seen

    async def _pages(self, model: type[T], namespace: str | None, query: Query) -> AsyncGenerator[Listed[T], None]:
        more = ""
        while True:
            page = await self._door.list(model, namespace, query, more)
            yield Listed([self._typed(model, document) for document in page.documents], page.revision)
            more = page.more
            if not more:
                return

    async def _watch(
        self, model: type[T], namespace: str | None, query: Query, after: int
    ) -> AsyncGenerator[Sequence[WatchEvent[T]], None]:
        async with aclosing(self._door.watch(model, namespace, query, after)) as batches:
            async for batch in batches:
                yield [WatchEvent(op, self._typed(model, document)) for op, document in batch]

    def _typed(self, model: type[T], document: Document) -> T:
        decode = self._decoders.get(model)
        if decode is None:
            decode = self._decoders[model] = from_document(model)
        typed: T = decode(document)
        return typed

    def _written(self, model: type[T], document: Document) -> T:
        typed = self._typed(model, document)
        if self._wrote is not None:
            self._wrote(model, place_of(typed), document)
        return typed


def difference(old: Document, new: Document) -> Document:
    """The merge patch (RFC 7386) that makes `old` into `new`; empty if they are equal. A None in `new` counts as absent."""
    patch: Document = {key: None for key in old if new.get(key) is None}
    for key, value in new.items():
        before = old.get(key)
        if value is None or _same(value, before):
            continue
        patch[key] = difference(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return patch


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: for Python True is 1."""
    return one == other and _canonical(one) == _canonical(other)


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


async def _flat(batches: AsyncGenerator[Sequence[WatchEvent[T]], None]) -> AsyncGenerator[WatchEvent[T], None]:
    async for batch in batches:
        for event in batch:
            yield event


def _pinned(merge: Document, uid: str) -> Document:
    return {**merge, "metadata": {**merge.get("metadata", {}), "uid": uid}} if uid else merge
