"""Keeps the status of definitions true, and takes their objects away when they go.

What it promises:

* The status tells soon which names a definition got, and whether it is served. An unchanged status is not written.
* A definition that is deleted goes when the last of its objects has gone, and not before. Its objects are deleted, many at once;
  those that finalizers hold are waited for. A server that is killed in between goes on where it was.
* Several servers on one database do not disturb each other: all of them want the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import anyio
import msgspec

from actors.builtin.pool import Pool, Surroundings
from admission.identity import Identity
from apiserver.calls import Call
from apiserver.definitions import RESOURCE, Definitions, Entry
from apiserver.manager import Manager
from apiserver.patching import MERGE_PATCH
from apiserver.stored import document_of, is_deleting
from apiserver.target import Target
from registry.builtin.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION as DEFINITION
from registry.builtin.customresourcedefinition import FINALIZER
from registry.custom.definition import ESTABLISHED, names_document
from registry.errors import ApiError, ConflictError, NotFound
from registry.kinds import Kind
from registry.times import format_time
from storage.sql import SqlStore
from storage.store import Change, Key, Op, Record

NAME = "custom-resource-definitions"
CONCURRENCY = 4
"""Definitions that are looked at at once."""
DELETIONS = 64
"""Objects that are deleted at once: as many deletions can share one commit of the store."""
PAGE = 1_000
PATIENCE = 5.0
"""Seconds between two looks at a definition whose objects are held; the last of them wakes it at once."""

Document = dict[str, Any]
Conditions = list[dict[str, Any]]


class Keeper:
    """See the module. `run` returns after `stop`."""

    def __init__(
        self, manager: Manager, store: SqlStore, definitions: Definitions, identity: Identity, around: Surroundings
    ) -> None:
        self._manager = manager
        self._store = store
        self._definitions = definitions
        self._identity = identity
        self._clock = around.clock
        self._log = around.log
        self._pool: Pool[str] = Pool(self._look, around, CONCURRENCY)
        self._emptying: dict[str, Callable[[], None]] = {}  # by name: what ends the subscription to its objects
        self.stop = self._pool.stop
        definitions.listen(self._add)

    @property
    def idle(self) -> bool:
        """Every status says what is so."""
        return self._pool.idle

    def _add(self, names: Iterable[str]) -> None:
        for name in names:
            self._pool.add(name)

    async def run(self) -> None:
        """Works until it is stopped."""
        self._add(self._definitions.names())
        try:
            await self._pool.run()
        finally:
            for name in tuple(self._emptying):
                self._unlisten(name)

    async def _look(self, name: str) -> None:
        entry, record = self._definitions.find(name), self._store.get(Key(RESOURCE, "", name))
        if entry is None or record is None:
            self._unlisten(name)
            return
        goes = is_deleting(record) and FINALIZER in (document_of(record)["metadata"].get("finalizers") or ())
        now = format_time(self._clock.time())
        old = msgspec.json.decode(record.status) if record.status else {}  # all else is large, and is nearly never needed
        status = status_of(old, entry, now, goes=goes)
        if status != old:
            document = document_of(record)
            target = Target(DEFINITION, DEFINITION.storage, None, name, "status")
            answer = await self._ask(Call(self._identity, "update", target, body={**document, "status": status}))
            if answer is None:
                return
            record = answer
        if goes:
            await self._empty(entry, record)

    async def _ask(self, call: Call) -> Record | None:
        """What a write of a definition left; None: it is gone."""
        try:
            return (await self._manager.handle(call)).record
        except NotFound:
            return None

    # What goes.

    async def _empty(self, entry: Entry, record: Record) -> None:
        """Deletes the objects of a definition, and lets it go when there are none."""
        name = entry.definition.name
        if not self._definitions.is_taken(name):
            if name not in self._emptying:
                self._emptying[name] = self._store.subscribe(name, partial(self._hear, name))
            if entry.kind is not None:
                await self._delete_all(entry.kind)
            if self._store.list(name).records:
                self._pool.add_at(name, self._clock.now() + PATIENCE)
                return
        document = document_of(record)
        finalizers = [each for each in document["metadata"]["finalizers"] if each != FINALIZER]
        body = {"metadata": {"finalizers": finalizers or None, "uid": record.uid, "resourceVersion": str(record.revision)}}
        target = Target(DEFINITION, DEFINITION.storage, None, name)
        await self._ask(Call(self._identity, "patch", target, body=body, content_type=MERGE_PATCH))

    def _hear(self, name: str, changes: Sequence[Change]) -> None:
        if any(change.op is Op.DELETED for change in changes) and not self._store.list(name).records:
            self._pool.add(name)

    def _unlisten(self, name: str) -> None:
        if end := self._emptying.pop(name, None):
            end()

    async def _delete_all(self, kind: Kind) -> None:
        """Asks for the deletion of every object that is not being deleted yet."""
        records = self._store.list(kind.resource).records
        for start in range(0, len(records), PAGE):
            waiting = [record for record in reversed(records[start : start + PAGE]) if not is_deleting(record)]
            async with anyio.create_task_group() as tasks:
                for _ in range(min(DELETIONS, len(waiting))):
                    tasks.start_soon(self._worker, kind, waiting)
            await anyio.lowlevel.checkpoint()

    async def _worker(self, kind: Kind, waiting: list[Record]) -> None:
        while waiting:
            record = waiting.pop()
            target = Target(kind, kind.storage, record.key.namespace or None, record.key.name)
            options = {"preconditions": {"uid": record.uid}, "propagationPolicy": "Background"}
            try:
                await self._manager.handle(Call(self._identity, "delete", target, body=options))
            except (NotFound, ConflictError):
                continue  # it is gone
            except ApiError as error:
                self._log.warning("could not be deleted", resource=kind.resource, name=record.key.name, because=str(error))


def status_of(status: Document, entry: Entry, now: str, *, goes: bool) -> Document:
    """The status of a definition, as it has to be. Pure."""
    verdict = entry.verdict
    conditions: Conditions = list(status.get("conditions") or [])
    names = _condition("NamesAccepted", verdict.accepted, verdict.reason, verdict.message)
    conditions = _with(conditions, names, now)
    if entry.established:
        told = _condition(ESTABLISHED, True, "InitialNamesAccepted", "the initial names have been accepted")
    else:
        told = _condition(ESTABLISHED, False, "NotAccepted", "not all names are accepted")
    conditions = _with(conditions, told, now)
    if goes:
        why = _condition("Terminating", True, "InstanceDeletionInProgress", "CustomResource deletion is in progress")
        conditions = _with(conditions, why, now)
    return {**status, "conditions": conditions, "acceptedNames": names_document(verdict.names)}


def _condition(type: str, holds: bool, reason: str, message: str) -> Document:
    return {"type": type, "status": "True" if holds else "False", "reason": reason, "message": message}


def _with(conditions: Conditions, new: Document, now: str) -> Conditions:
    """The conditions with this one; it is dated anew if it holds now and did not, or the other way round."""
    old = next((each for each in conditions if each.get("type") == new["type"]), None)
    if old is not None and all(old.get(key) == value for key, value in new.items()):
        return conditions
    since = old.get("lastTransitionTime") if old is not None and old.get("status") == new["status"] else None
    dated = {**new, "lastTransitionTime": since or now}
    if old is None:
        return [*conditions, dated]
    return [dated if each is old else each for each in conditions]
