"""The statements that write or find many rows at once, in the form that is fastest on each database.

A batch costs a fixed number of statements, whatever its size (on SQLite one for each 128 rows). On PostgreSQL the rows travel as an
array for each column: the text is constant, so the server keeps its plan. On SQLite they travel as one VALUES list, and not through
`executemany`: that gives the interpreter lock away and takes it back for every row, which costs milliseconds a row while the event
loop is busy (measured: 152 ms a batch of 32, against 11 ms).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from storage.store import Change, Head, Key, Op, Record

_ROWS = 128  # rows in one SQLite statement: bounds what its cached plans take
_CODES = {Op.ADDED: 0, Op.MODIFIED: 1, Op.DELETED: 2}

Rows = Sequence[tuple[Any, ...]]


def advance(connection: Connection, seen: Head, revision: int) -> int | None:
    """Sets the newest revision, if it is still the one that was seen; returns the horizon. None: it is another, and stays."""
    if _postgres(connection):
        found: int | None = connection.exec_driver_sql(_ADVANCE_POSTGRES, (revision, seen.revision)).scalar_one_or_none()
        return found
    # SQLite: the file is this process's alone, so the horizon is the one that it knows.
    return seen.horizon if connection.exec_driver_sql(_ADVANCE, (revision, seen.revision)).rowcount else None


def upsert_objects(connection: Connection, records: Sequence[Record]) -> None:
    """Writes objects, new ones and replaced ones alike."""
    rows = [(*record.key, record.uid, record.revision, record.api_version, record.desired, record.status) for record in records]
    if _postgres(connection):
        _arrays(connection, _UPSERT_POSTGRES, rows)
    else:
        _values(connection, _UPSERT, _REPLACE, rows)


def insert_log(connection: Connection, changes: Sequence[Change], now: float) -> None:
    """Appends changes to the log, with the time `now` (Unix seconds)."""
    rows = [log_row(change, now) for change in changes]
    if _postgres(connection):
        _arrays(connection, _APPEND_POSTGRES, rows)
    else:
        _values(connection, _APPEND, "", rows)


def delete_objects(connection: Connection, keys: Sequence[Key]) -> None:
    """Deletes objects by key."""
    if _postgres(connection):
        _arrays(connection, _DELETE_POSTGRES, keys)
    else:
        _values(connection, "DELETE FROM objects WHERE (resource, namespace, name) IN (VALUES ", ")", keys)


def select_objects(connection: Connection, keys: Sequence[Key]) -> Rows:
    """The rows of objects, by key."""
    if _postgres(connection):
        return _arrays(connection, _SELECT_POSTGRES, keys)
    return _values(connection, "SELECT * FROM objects WHERE (resource, namespace, name) IN (VALUES ", ")", keys)


def following(connection: Connection, places: Sequence[tuple[str, str, str, int]]) -> Rows:
    """For each (resource, namespace, name, revision): those four, and the revisions of the next row of the log that kept `desired`,
    and of the next that kept `status` (None: there is none).
    """
    if _postgres(connection):
        return _arrays(connection, _PLACES_POSTGRES + _FOLLOWING, places)
    return _values(connection, "WITH place (resource, namespace, name, after) AS (VALUES ", ")" + _FOLLOWING, places)


def log_row(change: Change, now: float) -> tuple[Any, ...]:
    """The row of a change, in the order of the columns of `log`: see `storage.tables` for what is NULL."""
    head = (change.revision, *change.record.key, _CODES[change.op], now)
    previous = change.previous
    if previous is None:
        return (*head, None, None, None, None, None)
    desired: bytes | None = previous.desired
    status: bytes | None = previous.status
    if change.op is Op.MODIFIED:
        status = previous.status if previous.status != change.record.status else None
        desired = previous.desired if status is None or previous.desired != change.record.desired else None
    return (*head, previous.uid, previous.revision, previous.api_version, desired, status)


def op_of(code: int) -> Op:
    """The operation that a row of the log names."""
    return _OPS[code]


_OPS = {code: op for op, code in _CODES.items()}


def _postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _arrays(connection: Connection, statement: str, rows: Rows) -> Rows:
    if not rows:
        return []
    result = connection.exec_driver_sql(statement, tuple(list(column) for column in zip(*rows, strict=True)))
    return [tuple(row) for row in result] if result.returns_rows else []


def _values(connection: Connection, head: str, tail: str, rows: Rows) -> Rows:
    found: list[tuple[Any, ...]] = []
    for begin in range(0, len(rows), _ROWS):
        some = rows[begin : begin + _ROWS]
        statement = _statement(head, tail, len(some), len(some[0]))
        result = connection.exec_driver_sql(statement, tuple(value for row in some for value in row))
        if result.returns_rows:
            found += [tuple(row) for row in result]
    return found


@lru_cache(maxsize=512)
def _statement(head: str, tail: str, rows: int, columns: int) -> str:
    row = "(" + ",".join("?" * columns) + ")"
    return head + ",".join([row] * rows) + tail


_ADVANCE = "UPDATE revision SET value = ? WHERE value = ?"
_ADVANCE_POSTGRES = "UPDATE revision SET value = %s WHERE value = %s RETURNING horizon"
_UPSERT = "INSERT INTO objects (resource, namespace, name, uid, revision, api_version, desired, status) VALUES "
_REPLACE = (
    " ON CONFLICT (resource, namespace, name) DO UPDATE SET uid = excluded.uid, revision = excluded.revision,"
    " api_version = excluded.api_version, desired = excluded.desired, status = excluded.status"
)
_UPSERT_POSTGRES = (
    "INSERT INTO objects (resource, namespace, name, uid, revision, api_version, desired, status)"
    " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[], %b::bytea[], %b::bytea[])"
    " ON CONFLICT (resource, namespace, name) DO UPDATE SET uid = excluded.uid, revision = excluded.revision,"
    " api_version = excluded.api_version, desired = excluded.desired, status = excluded.status"
)
_APPEND = "INSERT INTO log (revision, resource, namespace, name, op, time, uid, previous, api_version, desired, status) VALUES "
_APPEND_POSTGRES = (
    "INSERT INTO log (revision, resource, namespace, name, op, time, uid, previous, api_version, desired, status)"
    " SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::smallint[], %s::float8[], %s::text[],"
    " %s::bigint[], %s::text[], %b::bytea[], %b::bytea[])"
)
_DELETE_POSTGRES = (
    "DELETE FROM objects USING unnest(%s::text[], %s::text[], %s::text[]) AS gone (resource, namespace, name)"
    " WHERE objects.resource = gone.resource AND objects.namespace = gone.namespace AND objects.name = gone.name"
)
_SELECT_POSTGRES = (
    "SELECT objects.* FROM unnest(%s::text[], %s::text[], %s::text[]) AS wanted (resource, namespace, name)"
    " JOIN objects USING (resource, namespace, name)"
)
_FOLLOWING = (
    " SELECT place.resource, place.namespace, place.name, place.after,"
    " (SELECT min(log.revision) FROM log WHERE log.resource = place.resource AND log.namespace = place.namespace"
    " AND log.name = place.name AND log.revision > place.after AND log.desired IS NOT NULL),"
    " (SELECT min(log.revision) FROM log WHERE log.resource = place.resource AND log.namespace = place.namespace"
    " AND log.name = place.name AND log.revision > place.after AND log.status IS NOT NULL)"
    " FROM place"
)
_PLACES_POSTGRES = (
    "WITH place (resource, namespace, name, after) AS (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]))"
)
