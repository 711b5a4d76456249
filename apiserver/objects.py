"""Objects of all kinds for the built-in actors: the store's changes, of which only the metadata is read, and the manager.

Reading is from memory and costs no SQL; writing is a `Call` like every other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import anyio
import msgspec

from actors.builtin.objects import Change, Facts, Listing, Owner, Ref, Scope
from admission.identity import Identity
from apiserver import refusals
from apiserver.calls import Answer, Call
from apiserver.manager import Manager
from apiserver.patching import MERGE_PATCH
from apiserver.stored import document_of, in_version, is_convertible
from apiserver.target import Target
from registry.catalog import Catalog, Update
from registry.errors import ExpiredError, InternalError, Invalid, NotFound
from registry.expiring import TTL_ANNOTATION, of_annotation, of_event
from registry.kinds import Kind
from storage.sql import SqlStore
from storage.store import Change as StoreChange
from storage.store import Closed, Cursor, Expired, Key, Op, Record, Unavailable

Document = dict[str, Any]

PAGE = 1_000
"""Objects of a namespace that are looked at between two turns of the event loop."""
LOG_SECONDS = 5.0
"""How long a follower that has fallen behind waits for the log, before it looks again where it is."""
WERE = 1_000
"""Kinds that are gone of which it is known what a reference to them means."""
LOOK_AROUND = 30.0
"""Seconds after which a follower looks at every kind, also at those of which it heard nothing."""


class _Annotations(msgspec.Struct):
    ttl: str | None = msgspec.field(default=None, name=TTL_ANNOTATION)


class _Metadata(msgspec.Struct, rename="camel"):
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    owner_references: tuple[Owner, ...] | None = None
    finalizers: tuple[str, ...] | None = None
    annotations: _Annotations | None = None


class _Object(msgspec.Struct):
    metadata: _Metadata


_read = msgspec.json.Decoder(_Object).decode


class FactsOf:
    """Reads the facts of records. `event_seconds` is how long Events live."""

    def __init__(self, catalog: Catalog, now: Callable[[], float], event_seconds: float) -> None:
        self._catalog = catalog
        self._now = now
        self._event_seconds = event_seconds

    def __call__(self, record: Record) -> Facts:
        """The facts of a stored object."""
        kind = self._catalog.registry.of_resource(record.key.resource)
        metadata = _read(record.desired).metadata
        return Facts(
            ref=cast("Ref", record.key),  # of the same form; one for each object that there is, so it is not copied
            uid=record.uid,
            revision=record.revision,
            owners=metadata.owner_references or (),
            finalizers=metadata.finalizers or (),
            deleting=metadata.deletion_timestamp is not None,
            expires=None if kind is None else self._expires(kind, record, metadata),
            collected=kind is None or kind.strategy.collected,
        )

    def _expires(self, kind: Kind, record: Record, metadata: _Metadata) -> float | None:
        if kind.resource == "events":
            return of_event(document_of(record), self._event_seconds, self._now())
        if kind.strategy.builtin:
            return None
        if metadata.annotations is not None and metadata.annotations.ttl is not None:
            return of_annotation(metadata.annotations.ttl, metadata.creation_timestamp or "")
        if kind.ttl is None or not is_convertible(kind.storage, record):
            return None
        return kind.ttl.expires(in_version(kind.storage, record))


class StoreObjects:
    """Implements `actors.builtin.objects.Everything`. Nearly all objects are plain, and cost a look at their metadata."""

    def __init__(self, catalog: Catalog, store: SqlStore, facts_of: FactsOf) -> None:
        self._catalog = catalog
        self._store = store
        self._facts_of = facts_of
        self._from_status: set[str] = set()  # resources of which a status may change the facts
        kinds = catalog.registry.kinds
        self._known = {kind.resource for kind in kinds}  # resources of which all that there is has been listed or watched
        self._judge(kinds)
        catalog.follow(lambda update: self._judge(filter(None, map(update.after.of_resource, update.changed))))

    def _judge(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            (self._from_status.add if kind.ttl is not None else self._from_status.discard)(kind.resource)

    async def list(self) -> Listing:
        """All objects that are not plain."""
        revision = self._store.revision
        self._known = {kind.resource for kind in self._catalog.registry.kinds}
        snapshots = [self._store.list(resource).records for resource in self._known]
        told = (record for records in snapshots for record in records if not self._plain(record))
        return Listing(revision, (self._facts_of(record) for record in told))

    async def watch(self, after: int) -> AsyncGenerator[Sequence[Change], None]:
        """Every change after a revision that is more than one of the status. Raises ExpiredError: also where a kind came or went
        that has objects, since what they were before cannot be watched."""
        try:
            follower = _Follower(self._store, self._known, after)
            with follower.subscribed(self._catalog):
                async for changes in follower.batches():
                    told = [self._change(change) for change in changes if self._tells(change)]
                    if told:
                        yield told
        except Expired as expired:
            raise ExpiredError(str(expired)) from expired
        except (Closed, Unavailable):
            return

    def _tells(self, change: StoreChange) -> bool:
        record, previous = change.record, change.previous
        if change.op is Op.DELETED:
            return True
        if previous is not None and record.desired is previous.desired and record.key.resource not in self._from_status:
            return False  # the store keeps once what a change of the status left as it was
        if self._plain(record):
            return previous is not None and not self._plain(previous)
        if previous is None or record.key.resource in self._from_status:
            return True
        return record.desired != previous.desired

    def _plain(self, record: Record) -> bool:
        """Whether there is nothing to be known of the object but that it is there."""
        if record.key.resource == "events" or record.key.resource in self._from_status:
            return False
        metadata = _read(record.desired).metadata
        return not (
            metadata.owner_references
            or metadata.finalizers
            or metadata.deletion_timestamp is not None
            or (metadata.annotations is not None and metadata.annotations.ttl is not None)
        )

    def _change(self, change: StoreChange) -> Change:
        return Change(change.revision, change.op is Op.DELETED, self._facts_of(change.record))


class _Follower:
    """Reads many resources as one stream, in the order of commits. `known` is kept up to date: what is read in full.

    A kind that comes is read from then on. One that goes is read to its end, since its last objects go just before it does.
    """

    def __init__(self, store: SqlStore, known: set[str], after: int) -> None:
        self._store = store
        self._known = known
        self._cursors = {resource: store.watch(resource, after) for resource in known}
        self._touched = dict.fromkeys(known)  # may have something new
        self._leaving: set[str] = set()
        self._subscribed: dict[str, Callable[[], None]] = {}
        self._signal = anyio.Event()
        self._ended = False
        self._torn = ""  # the kind that came or went with objects

    @contextmanager
    def subscribed(self, catalog: Catalog) -> Iterator[None]:
        """While this is entered, it hears of what is new."""
        there = {kind.resource for kind in catalog.registry.kinds}
        for resource in self._cursors:
            self._subscribe(resource)
        self._kinds_changed(there - self._known, self._known - there)
        leave = catalog.follow(self._follow)
        try:
            yield
        finally:
            leave()
            for unsubscribe in self._subscribed.values():
                unsubscribe()

    def _follow(self, update: Update) -> None:
        there = {resource for resource in update.changed if update.after.of_resource(resource) is not None}
        self._kinds_changed(there - self._known, (set(update.changed) - there) & self._known)
        self._leaving -= there
        self._signal.set()

    def _kinds_changed(self, came: Iterable[str], went: Iterable[str]) -> None:
        for resource in came:
            if self._store.list(resource).records:
                self._torn = resource
            elif not self._ended:
                self._known.add(resource)
                self._cursors[resource] = self._store.watch(resource, self._store.revision)
                self._subscribe(resource)
        for resource in went:
            self._leaving.add(resource)
            self._touched[resource] = None

    def _subscribe(self, resource: str) -> None:
        self._subscribed[resource] = self._store.subscribe(resource, partial(self._hear, resource))

    def _hear(self, resource: str, changes: Sequence[StoreChange]) -> None:
        self._touched[resource] = None
        self._ended = self._ended or not changes
        self._signal.set()

    async def batches(self) -> AsyncGenerator[Sequence[StoreChange], None]:
        """Changes, until the watches end. Raises Expired, Closed, Unavailable, ExpiredError."""
        looked = anyio.current_time()
        while not self._ended:
            self._signal = anyio.Event()
            until, found = self._store.revision, []
            touched, self._touched = self._touched, {}
            leaving = set(self._leaving)
            if anyio.current_time() - looked > LOOK_AROUND:
                looked, touched = anyio.current_time(), dict.fromkeys(self._cursors)
            for resource in touched:
                found += await self._drained(self._cursors[resource], until)
            if found:
                found.sort(key=lambda change: change.revision)
                yield found
            self._let_go(leaving & self._leaving)
            if self._torn:
                raise ExpiredError(f"{self._torn} came or went, and has objects")
            if not self._touched and not (self._leaving - leaving):
                await self._signal.wait()

    def _let_go(self, resources: Iterable[str]) -> None:
        """Forgets kinds that are not there any more, and of which everything has been seen."""
        for resource in resources:
            if self._store.list(resource).records:
                self._torn = resource
            del self._cursors[resource]
            self._subscribed.pop(resource)()
            self._touched.pop(resource, None)
            self._leaving.discard(resource)
            self._known.discard(resource)
            self._store.forget(resource)

    async def _drained(self, cursor: Cursor, until: int) -> list[StoreChange]:
        """All changes of a resource up to a revision, and maybe some after it."""
        found: list[StoreChange] = []
        while True:
            changes = cursor.take()
            found += changes
            if cursor.revision >= until:
                return found
            if not changes:
                with anyio.move_on_after(LOG_SECONDS):
                    found += await cursor.next()


class ManagerReach:
    """Implements `actors.builtin.objects.Reach` and `Contents`, as one identity."""

    def __init__(self, manager: Manager, identity: Identity, facts_of: FactsOf) -> None:
        self._manager = manager
        self._identity = identity
        self._facts_of = facts_of
        self._were: dict[tuple[str, str], Scope] = {}  # kinds that are gone, by group and name; the last ones
        manager.catalog.follow(self._follow)

    def _follow(self, update: Update) -> None:
        for resource in update.changed:
            before = update.before.of_resource(resource)
            if before is not None and update.after.of_resource(resource) is None:
                self._were.pop((before.group, before.name), None)
                self._were[before.group, before.name] = Scope(before.resource, before.namespaced)
        while len(self._were) > WERE:
            del self._were[next(iter(self._were))]

    def scope(self, api_version: str, kind: str) -> Scope | None:
        """What a reference means, in a version that is served or in one that was."""
        found = self._manager.registry.of_type(api_version, kind)
        if found is not None:
            return Scope(found[0].resource, found[0].namespaced)
        group = api_version.rpartition("/")[0]
        for each in self._manager.registry.of_group(group):
            if each.name == kind:
                return Scope(each.resource, each.namespaced)
        return self._were.get((group, kind))

    async def find(self, ref: Ref) -> Facts | None:
        """The newest state. A kind that is gone has no objects but those that were left when it went."""
        if self._manager.registry.of_resource(ref.resource) is None:
            left = self._manager.store.get(Key(*ref))
            return None if left is None else self._facts_of(left)
        try:
            answer = await self._handle("get", ref)
        except NotFound:
            return None
        return None if answer.record is None else self._facts_of(answer.record)

    async def delete(self, found: Facts, propagation: str) -> None:
        """Deletes it, as it was found."""
        conditions = {"uid": found.uid} | ({"resourceVersion": str(found.revision)} if found.revision else {})
        try:
            await self._handle("delete", found.ref, {"preconditions": conditions, "propagationPolicy": propagation})
        except NotFound:
            return

    async def set_owners(self, found: Facts, owners: Sequence[Owner]) -> None:
        """Leaves it with these owners."""
        await self._change(found, {"ownerReferences": msgspec.to_builtins(list(owners)) or None})

    async def set_finalizers(self, found: Facts, finalizers: Sequence[str]) -> None:
        """Leaves it with these finalizers."""
        await self._change(found, {"finalizers": list(finalizers) or None})

    async def _change(self, found: Facts, metadata: Document) -> None:
        pinned = {**metadata, "uid": found.uid, "resourceVersion": str(found.revision)}
        try:
            await self._handle("patch", found.ref, {"metadata": pinned}, content_type=MERGE_PATCH)
        except NotFound:
            return
        except Invalid as error:
            if any(cause.field == "metadata.uid" for cause in error.causes):
                raise refusals.modified(self._target(found.ref)) from error  # another one by now
            raise

    async def of(self, namespace: str) -> AsyncGenerator[Sequence[Facts], None]:
        """What is in a namespace now, in pages."""
        for kind in self._manager.registry.kinds:
            if kind.namespaced:
                for page in _paged(self._manager.store.list(kind.resource, namespace).records):
                    yield [self._facts_of(record) for record in page]
                    await anyio.lowlevel.checkpoint()

    async def finalize(self, name: str, uid: str, finalizers: Sequence[str]) -> None:
        """Leaves a namespace with these finalizers."""
        ref = Ref("namespaces", "", name)
        answer = await self._handle("get", ref)
        target = self._target(ref)
        if answer.record is None or answer.record.uid != uid:
            raise refusals.modified(target)
        document = in_version(target.version, answer.record)
        spec = {"finalizers": list(finalizers)} if finalizers else {}
        await self._handle("update", ref, {**document, "spec": spec}, subresource="finalize")

    async def _handle(
        self, verb: str, ref: Ref, body: Document | None = None, *, content_type: str = "", subresource: str = ""
    ) -> Answer:
        target = self._target(ref, subresource)
        return await self._manager.handle(Call(self._identity, verb, target, {}, b"" if body is None else body, content_type))

    def _target(self, ref: Ref, subresource: str = "") -> Target:
        kind, key = self._manager.registry.of_resource(ref.resource), Key(*ref)
        if kind is None:
            raise InternalError(f"{ref.resource} is not a kind that this server knows")
        version = kind.storage
        if version.ways is not None and (record := self._manager.store.get(key)) is not None:
            version = self._manager.registry.version_of(kind, record.api_version)  # also of what cannot be converted
        return Target(kind, version, ref.namespace or None, ref.name, subresource)


def _paged(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    for start in range(0, len(records), PAGE):
        yield records[start : start + PAGE]
