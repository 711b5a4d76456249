"""The transactions of a store, as plain functions: each runs in a worker thread, from begin to commit.

The row of `revision` is taken first, under its lock. Whoever holds it is the only writer, so what it decided on cannot change until
it has committed. A process whose own newest revision is the one in that row holds the state of the database in its memory, since
every change of an object advances the row in the same transaction: what it decides there holds, and it reads nothing else. A
process that is behind reads what it missed from the log, in the same transaction, and decides on that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, bindparam, func, inspect, select, update
from sqlalchemy.exc import DataError, SQLAlchemyError

from storage import history, tables
from storage.decide import Plan, decide
from storage.engine import InvalidDatabase, lost, unavailable
from storage.state import Layer
from storage.statements import advance, delete_objects, insert_log, upsert_objects
from storage.store import Change, Head, Key, Record, State, StoreError, Write

T = TypeVar("T")
_LAG = 1000  # changes that a writer catches up with under the lock; one that is further behind does so before it

_HEAD = select(tables.revision.c.value, tables.revision.c.horizon)
_TAKE_HEAD = _HEAD.with_for_update()
_ADVANCE = update(tables.revision).values(value=bindparam("new_value"))
_COMPACTED = update(tables.revision).values(horizon=bindparam("new_horizon"))
_YOUNG = select(func.min(tables.log.c.revision)).where(
    tables.log.c.revision > bindparam("after"), tables.log.c.revision <= bindparam("until"), tables.log.c.time > bindparam("cutoff")
)
_FORGET = tables.log.delete().where(tables.log.c.revision <= bindparam("until"))
_OLDEST = select(tables.log.c.time).order_by(tables.log.c.revision).limit(1)


class Outcome(NamedTuple):
    """What a batch came to. `missed` are changes of other processes, before those of the plan. `head` is as it is afterwards."""

    missed: Sequence[Change]
    plan: Plan
    head: Head


class Behind(StoreError):
    """Another process has written more than a writer catches up with under the lock."""


class Loaded(NamedTuple):
    """All that a store starts with."""

    head: Head
    changes: Sequence[Change]
    start: int  # `changes` is complete after this revision


def read(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Runs `work` in a read transaction. Raises Unavailable. A connection that had been lost before is made anew, once."""
    for last_try in (False, True):
        try:
            with engine.connect() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if last_try or not lost(error):
                raise unavailable(error) from error
    raise AssertionError


def write(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Runs `work` in a write transaction and commits it. Raises Unavailable, which knows whether it was committed; what `work`
    raises rolls it back, and so does DataError: a value that the database cannot hold. A connection that had been lost before the
    commit is made anew, once: nothing was written.
    """
    for last_try in (False, True):
        committing = False
        try:
            with engine.connect() as connection:
                result = work(connection)
                committing = True
                connection.commit()
                return result
        except DataError:
            raise
        except SQLAlchemyError as error:
            if last_try or committing or not lost(error):
                raise unavailable(error, committing=committing) from error
    raise AssertionError


def commit_batch(connection: Connection, writes: Sequence[Write], seen: Head, current: State, now: float) -> Outcome:
    """Decides and writes a batch. `current` is the state at `seen`. Raises Behind.

    What is decided on that state holds if the row of `revision` is as it was seen when it is advanced, which takes its lock. Only
    when it is not, or when nothing is to be written, the row is read first.
    """
    plan = decide(writes, current, seen.revision)
    if plan.changes:
        last = plan.changes[-1].revision
        horizon = advance(connection, seen, last)
        if horizon is not None:
            store_plan(connection, plan, now)
            return Outcome([], plan, Head(last, horizon))
    return _commit_behind(connection, writes, seen, current, now)


def _commit_behind(connection: Connection, writes: Sequence[Write], seen: Head, current: State, now: float) -> Outcome:
    """The same for a process that may have missed something."""
    head = take_head(connection)
    missed: Sequence[Change] = []
    if head.revision != seen.revision:
        missed = missed_since(connection, seen.revision, head)
        current = newer = Layer(current)
        for change in missed:
            newer.apply(change)
    plan = decide(writes, current, head.revision)
    if plan.changes:
        store_plan(connection, plan, now)
        head = Head(plan.changes[-1].revision, head.horizon)
        connection.execute(_ADVANCE, {"new_value": head.revision})
    else:
        connection.rollback()  # nothing to make durable
    return Outcome(missed, plan, head)


def store_plan(connection: Connection, plan: Plan, now: float) -> None:
    """Writes what was decided: one statement for each table and kind of write."""
    if plan.upserts:
        upsert_objects(connection, plan.upserts)
    if plan.removes:
        delete_objects(connection, plan.removes)
    insert_log(connection, plan.changes, now)


def missed_since(connection: Connection, seen: int, head: Head) -> Sequence[Change]:
    """The changes between `seen` and `head`, which is under lock. Raises Behind if they are too many, or no longer there."""
    if not head.horizon <= seen < head.revision or head.revision - seen > _LAG:
        raise Behind
    return history.page(connection, None, seen, head.revision, _LAG)


def head_of(connection: Connection) -> Head:
    """The row of `revision`, as it is."""
    value, horizon = connection.execute(_HEAD).one()
    return Head(value, horizon)


def take_head(connection: Connection) -> Head:
    """The row of `revision`, under its lock until the end of the transaction."""
    value, horizon = connection.execute(_TAKE_HEAD).one()
    return Head(value, horizon)


def probe(connection: Connection) -> None:
    """Writes the row of `revision` as it is: fails if the database takes no writes."""
    connection.execute(update(tables.revision).values(value=tables.revision.c.value))


def catch_up(connection: Connection, seen: int) -> tuple[Sequence[Change], Head]:
    """The next changes after `seen` (a page of them), and the newest head. Raises Behind if the log does not reach back to it."""
    head = head_of(connection)
    if not head.horizon <= seen <= head.revision:
        raise Behind
    return (history.page(connection, None, seen, head.revision, _LAG) if seen < head.revision else []), head


def load(
    connection: Connection, put: Callable[[Record], None], get: Callable[[Key], Record | None], *, count: int, size: int
) -> Loaded:
    """Hands every object to `put`, which `get` must find afterwards; then the newest changes."""
    head = head_of(connection)
    for record in history.objects(connection):
        put(record)
    changes = history.newest(connection, head.revision, get, count=count, size=size)
    start = changes[0].revision - 1 if changes else head.revision
    return Loaded(head, changes, start)


def check_schema(connection: Connection) -> None:
    """Raises InvalidDatabase unless the tables are there, in this version."""
    if not inspect(connection).has_table("alembic_version"):
        raise InvalidDatabase("the database has no tables yet: run `skep db upgrade`")
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    if found != tables.SCHEMA:
        raise InvalidDatabase(f"the database is at schema {found}, and this version needs {tables.SCHEMA}: run `skep db upgrade`")


def compact_step(connection: Connection, cutoff: float, max_count: int, step: int) -> tuple[Head, int]:
    """Forgets the oldest changes: at most `step`, of those that are older than `cutoff` or beyond the newest `max_count`.

    Returns the head afterwards, and how many were forgotten.
    """
    head = take_head(connection)
    end = min(head.horizon + step, head.revision)
    young = connection.execute(_YOUNG, {"after": head.horizon, "until": end, "cutoff": cutoff}).scalar_one()
    old = end if young is None else young - 1
    target = max(old, min(head.revision - max_count, end))
    if target <= head.horizon:
        return head, 0
    connection.execute(_FORGET, {"until": target})
    connection.execute(_COMPACTED, {"new_horizon": target})
    return Head(head.revision, target), target - head.horizon


def oldest(connection: Connection) -> float | None:
    """The time (Unix seconds) of the oldest change in the log."""
    found: float | None = connection.execute(_OLDEST).scalar_one_or_none()
    return found
