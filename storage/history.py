"""Reads the log: pages of changes, and the state of a resource as it was. Each function runs in one consistent read transaction.

The log keeps what was there before each change (see `storage.tables`). What was there after it is what was there before the next
change of the same object, or, if there was none, the object's row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from sys import intern
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select

from storage import tables
from storage.decide import deleted
from storage.statements import following, op_of, select_objects
from storage.store import Change, Key, Op, Record

_log, _objects = tables.log.c, tables.objects.c
_AFTER = select(tables.log).where(_log.revision > bindparam("after"), _log.revision <= bindparam("until")).order_by(_log.revision)
_AFTER_OF_RESOURCE = _AFTER.where(_log.resource == bindparam("resource"))
_NEWEST = select(tables.log).where(_log.revision <= bindparam("until")).order_by(_log.revision.desc())
_ROWS = select(tables.log).where(_log.revision.in_(bindparam("revisions", expanding=True)))
_OBJECTS = select(tables.objects).order_by(_objects.resource, _objects.namespace, _objects.name)
_PAGE = 256


def page(connection: Connection, resource: str | None, after: int, until: int, limit: int) -> Sequence[Change]:
    """The first `limit` changes of a resource (None: of all) after revision `after` and up to `until`, in order."""
    statement = (_AFTER if resource is None else _AFTER_OF_RESOURCE).limit(limit)
    arguments: dict[str, Any] = {"after": after, "until": until}
    if resource is not None:
        arguments["resource"] = resource
    rows = connection.execute(statement, arguments).all()
    last = {_key(row): row for row in rows}
    states = _as_of(connection, [(*key, row.revision) for key, row in last.items() if op_of(row.op) is not Op.DELETED])
    changes = _backwards(reversed(rows), states.get)
    changes.reverse()
    return changes


def newest(
    connection: Connection, until: int, current: Callable[[Key], Record | None], *, count: int, size: int
) -> Sequence[Change]:
    """The newest changes up to revision `until`, in order: at most `count`, and of at most about `size` bytes. `current` gives the
    state at `until`.
    """
    taken: list[Row[Any]] = []
    for row in connection.execute(_NEWEST.limit(count), {"until": until}, execution_options={"yield_per": _PAGE}):
        size -= len(row.desired or b"") + len(row.status or b"") + 400
        if size < 0:
            break
        taken.append(row)
    changes = _backwards(taken, current)
    changes.reverse()
    return changes


def objects(connection: Connection, resource: str | None = None, namespace: str | None = None) -> Iterable[Record]:
    """The current objects, in order, a few at a time."""
    statement: Select[Any] = _OBJECTS
    if resource is not None:
        statement = statement.where(_objects.resource == resource)
    if namespace is not None:
        statement = statement.where(_objects.namespace == namespace)
    for row in connection.execute(statement, execution_options={"yield_per": _PAGE}):
        yield _record(_key(row), row)


def objects_at(connection: Connection, revision: int, resource: str, namespace: str | None) -> Sequence[Record]:
    """The objects of a resource as they were at `revision`, in order. The log must reach back to it."""
    state: dict[Key, Record | None] = {record.key: record for record in objects(connection, resource, namespace)}
    for key, first in _first_images(connection, revision, resource, namespace).items():
        state[key] = _merged(key, first, state.get(key))
    return sorted((record for record in state.values() if record is not None), key=lambda record: record.key)


def _first_images(connection: Connection, revision: int, resource: str, namespace: str | None) -> dict[Key, list[Any]]:
    """For each object that changed after `revision`: its first change, and the first of each body that was kept."""
    statement = _AFTER_OF_RESOURCE if namespace is None else _AFTER_OF_RESOURCE.where(_log.namespace == namespace)
    found: dict[Key, list[Any]] = {}
    arguments = {"resource": resource, "after": revision, "until": 2**62}
    for row in connection.execute(statement, arguments, execution_options={"yield_per": _PAGE}):
        first = found.setdefault(_key(row), [row, None, None])
        if op_of(first[0].op) is not Op.ADDED:
            first[1] = row.desired if first[1] is None else first[1]
            first[2] = row.status if first[2] is None else first[2]
    return found


def _merged(key: Key, first: list[Any], now: Record | None) -> Record | None:
    """The object before its first change. A body that no change touched is the one that it has now."""
    row, desired, status = first
    if op_of(row.op) is Op.ADDED:
        return None
    if desired is None:
        desired = now.desired if now is not None else b""
    if status is None:
        status = now.status if now is not None else b""
    return Record(key, row.uid, row.previous, intern(row.api_version), desired, status)


def _as_of(connection: Connection, places: Sequence[tuple[str, str, str, int]]) -> dict[Key, Record]:
    """The objects as they were at the revision of their place, at which they were written: each body as the next row that kept it
    has it, or else as it is now.
    """
    found = following(connection, places)
    revisions = {revision for place in found for revision in place[4:] if revision is not None}
    rows = {row.revision: row for row in connection.execute(_ROWS, {"revisions": sorted(revisions)})} if revisions else {}
    now = {
        (row[0], row[1], row[2]): row for row in select_objects(connection, [Key(*place[:3]) for place in found if None in place])
    }
    states: dict[Key, Record] = {}
    for resource, namespace, name, revision, next_desired, next_status in found:
        uid, _, api_version, desired, status = now.get((resource, namespace, name), (None,) * 8)[3:]
        if next_desired is not None:
            desired = rows[next_desired].desired
        if next_status is not None:
            status = rows[next_status].status
        if (first := min((n for n in (next_desired, next_status) if n is not None), default=None)) is not None:
            uid, api_version = rows[first].uid, rows[first].api_version
        if uid is not None:
            key = Key(intern(resource), intern(namespace), name)
            states[key] = Record(key, uid, revision, intern(api_version), desired, status)
    return states


def _backwards(rows: Iterable[Row[Any]], current: Callable[[Key], Record | None]) -> list[Change]:
    """Turns rows, the newest first, into changes, over the state after the newest."""
    overlay: dict[Key, Record | None] = {}
    changes: list[Change] = []
    for row in rows:
        key = _key(row)
        after = overlay[key] if key in overlay else current(key)
        op = op_of(row.op)
        before = None if op is Op.ADDED else _before(key, row, after)
        record = deleted(before, row.revision) if op is Op.DELETED and before is not None else after
        if record is None:
            raise LookupError(f"the log says that {key} was there after revision {row.revision}, and it was not")
        changes.append(Change(row.revision, op, record, before))
        overlay[key] = before
    return changes


def _before(key: Key, row: Row[Any], after: Record | None) -> Record:
    desired = row.desired if row.desired is not None or after is None else after.desired
    status = row.status if row.status is not None or after is None else after.status
    return Record(after.key if after is not None else key, row.uid, row.previous, intern(row.api_version), desired, status)


def _key(row: Row[Any]) -> Key:
    return Key(intern(row.resource), intern(row.namespace), row.name)


def _record(key: Key, row: Row[Any]) -> Record:
    return Record(key, row.uid, row.revision, intern(row.api_version), row.desired, row.status)
