"""The API for actors in this process: the manager under the actor's own identity, and the store's changes. No socket, no encoding.

What an actor may do, and how it is refused, is the same as over HTTP: every read and write is a `Call`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from actors.cache import Change as SeenChange
from actors.cache import Listing
from actors.client import Op, Preconditions
from actors.door import Page, Query
from admission.identity import SYSTEM, Identity
from apiserver import refusals
from apiserver.calls import Answer, Call
from apiserver.lists import convertible
from apiserver.manager import Manager
from apiserver.options import ListOptions
from apiserver.patching import MERGE_PATCH
from apiserver.stored import in_version, is_convertible, seen_as
from apiserver.target import Target
from registry.declarations import Place
from registry.errors import ExpiredError, InternalError, Invalid
from registry.kinds import Version
from storage.store import Change, Closed, Expired, Record, Unavailable
from storage.store import Op as StoreOp

Document = dict[str, Any]
PAGE = "500"
MANAGED = b'"managedFields":'
Parameters = dict[str, list[str]]


class ManagerDoor:
    """Implements `actors.door.Door`. `epoch` goes with every write (see `apiserver.fencing`)."""

    def __init__(self, manager: Manager, identity: Identity, epoch: str = "") -> None:
        self._manager = manager
        self._identity = identity
        self._epoch = epoch

    async def get(self, model: type, place: Place) -> Document:
        """The newest state. Raises NotFound."""
        target = self._target(model, place.namespace, place.name)
        return _document(target, await self._handle("get", target))

    async def list(self, model: type, namespace: str | None, query: Query, more: str) -> Page:
        """A page of a list."""
        target = self._target(model, namespace)
        parameters = {"limit": [PAGE]} | _selectors(query) | ({"continue": [more]} if more else {})
        page = (await self._handle("list", target, query=parameters)).page
        if page is None:
            raise InternalError("a list was answered without one")
        return Page([in_version(target.version, record) for record in page.records], page.revision, page.token)

    async def create(self, model: type, namespace: str, document: Document) -> Document:
        """What was stored."""
        target = self._target(model, namespace)
        return _document(target, await self._handle("create", target, document))

    async def update(self, model: type, place: Place, document: Document, subresource: str) -> Document:
        """Replaces the object, or its status."""
        target = self._target(model, place.namespace, place.name, subresource)
        return _document(target, await self._handle("update", target, document))

    async def patch(self, model: type, place: Place, merge: Document, subresource: str) -> Document:
        """Changes the object, or its status, by a merge patch."""
        target = self._target(model, place.namespace, place.name, subresource)
        try:
            return _document(target, await self._handle("patch", target, merge, content_type=MERGE_PATCH))
        except Invalid as error:
            if any(cause.field == "metadata.uid" for cause in error.causes):
                raise refusals.modified(target) from error  # for an actor its uid is a precondition
            raise

    async def delete(self, model: type, place: Place, preconditions: Preconditions) -> Document | None:
        """Deletes; the object, if it stays until its finalizers are done."""
        target = self._target(model, place.namespace, place.name)
        conditions: Document = {}
        if preconditions.uid is not None:
            conditions["uid"] = preconditions.uid
        if preconditions.revision is not None:
            conditions["resourceVersion"] = str(preconditions.revision)
        options: Document = {"preconditions": conditions}
        if preconditions.propagation is not None:
            options["propagationPolicy"] = preconditions.propagation
        answer = await self._handle("delete", target, options)
        return None if answer.record is None else in_version(target.version, answer.record)

    async def watch(
        self, model: type, namespace: str | None, query: Query, after: int
    ) -> AsyncGenerator[Sequence[tuple[Op, Document]], None]:
        """Every change after a revision, in order, in batches. Raises ExpiredError."""
        target = self._target(model, namespace)
        call = Call(self._identity, "watch", target, _selectors(query))
        self._manager.authorize(call)
        if target.version.warning:
            self._manager.deprecated(call)
        matcher = self._manager.matcher(call, ListOptions(label_selector=query.labels, field_selector=query.fields))
        async for changes in follow(self._manager, target.kind.resource, after):
            seen = [(op, change) for change in changes if (op := matcher.seen_as(change)) is not None]
            if seen:
                yield [(Op[op.name], in_version(target.version, seen_as(change, op, target.version))) for op, change in seen]

    async def _handle(
        self, verb: str, target: Target, body: Document | None = None, *, query: Parameters | None = None, content_type: str = ""
    ) -> Answer:
        call = Call(self._identity, verb, target, query or {}, b"" if body is None else body, content_type, epoch=self._epoch)
        return await self._manager.handle(call)

    def _target(self, model: type, namespace: str | None, name: str = "", subresource: str = "") -> Target:
        found = self._manager.registry.of_model(model)
        if found is None:
            raise InternalError(f"{model.__name__} is not a kind that this server knows: declare it with plugin.kind")
        return Target(*found, (namespace or None) if found[0].namespaced else None, name, subresource)


class ManagerSource:
    """Implements `actors.cache.Source` on the store's own changes. `identity` is whose lists and watches these are."""

    def __init__(self, manager: Manager, identity: Identity = SYSTEM) -> None:
        self._manager = manager
        self._identity = identity

    async def list(self, model: type) -> Listing:
        """All objects of a kind."""
        kind, version = self._find(model, "list")
        snapshot = self._manager.store.list(kind)
        records = snapshot.records
        if version.ways is not None:
            records = (await convertible(version, records))[0]
        return Listing(snapshot.revision, [HeldRecord(record, version) for record in records])

    async def watch(self, model: type, after: int) -> AsyncGenerator[Sequence[SeenChange], None]:
        """Every change after a revision. Raises ExpiredError."""
        kind, version = self._find(model, "watch")
        async for changes in follow(self._manager, kind, after):
            yield [_seen(change, version) for change in changes]

    def _find(self, model: type, verb: str) -> tuple[str, Version]:
        found = self._manager.registry.of_model(model)
        if found is None:
            raise InternalError(f"{model.__name__} is not a kind that this server knows: declare it with plugin.kind")
        kind, version = found
        if version.warning:
            self._manager.deprecated(Call(self._identity, verb, Target(kind, version, None)))
        return kind.resource, version


class ManagerEvents:
    """Implements `actors.recorder.EventSink`: core/v1 Events, written under an actor's identity."""

    def __init__(self, manager: Manager, identity: Identity, epoch: str = "") -> None:
        self._manager = manager
        self._identity = identity
        self._epoch = epoch

    async def create(self, namespace: str, event: Document) -> object:
        """Creates an Event."""
        return await self._manager.handle(Call(self._identity, "create", self._target(namespace), body=event, epoch=self._epoch))

    async def patch(self, namespace: str, name: str, merge: Document) -> object:
        """Changes an Event. Raises NotFound when it has expired."""
        target = self._target(namespace, name)
        call = Call(self._identity, "patch", target, body=merge, content_type=MERGE_PATCH, epoch=self._epoch)
        return await self._manager.handle(call)

    def _target(self, namespace: str, name: str = "") -> Target:
        found = self._manager.registry.find("", "v1", "events")
        if found is None:
            raise InternalError("Events are not served")
        return Target(*found, namespace, name)


class HeldRecord(msgspec.Struct, frozen=True, gc=False):
    """Implements `actors.cache.Held`: a stored object, decoded when it is asked for."""

    record: Record
    version: Version

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.record.key.namespace, self.record.key.name)

    @property
    def uid(self) -> str:
        """Which object it is."""
        return self.record.uid

    @property
    def revision(self) -> int:
        """How new it is."""
        return self.record.revision

    @property
    def desired(self) -> bytes:
        """All but the status, and who has written what."""
        desired = self.record.desired
        return desired if MANAGED not in desired else _unmanaged(desired)

    def document(self) -> Document:
        """The object in the version that the actor was written against."""
        return in_version(self.version, self.record)


def _seen(change: Change, version: Version) -> SeenChange:
    """What cannot be converted to the version of the actor is gone, as far as it can see: it acts on nothing unread."""
    record, gone = change.record, change.op is StoreOp.DELETED
    if version.ways is not None and not is_convertible(version, record):
        record, gone = change.previous or record, True
    return SeenChange(gone, change.revision, HeldRecord(record, version))


def _unmanaged(desired: bytes) -> bytes:
    """A stored object without its managedFields, which a write of the status changes as well."""
    document = msgspec.json.decode(desired)
    document["metadata"].pop("managedFields", None)
    return msgspec.json.encode(document)


async def follow(manager: Manager, resource: str, after: int) -> AsyncGenerator[Sequence[Change], None]:
    """The changes of a resource, in batches, until the server stops. Raises ExpiredError."""
    try:
        cursor = manager.store.watch(resource, after)
        while True:
            yield await cursor.next()
    except Expired as expired:
        raise ExpiredError(str(expired)) from expired
    except (Closed, Unavailable):
        return


def _document(target: Target, answer: Answer) -> Document:
    if answer.record is None:
        raise InternalError("an object was to be answered")
    return in_version(target.version, answer.record)


def _selectors(query: Query) -> Parameters:
    pairs = (("labelSelector", query.labels), ("fieldSelector", query.fields))
    return {name: [value] for name, value in pairs if value}
