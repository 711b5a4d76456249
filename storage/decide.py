"""What a batch of writes does to the state it meets. Plain values in, plain values out: no SQL, no time, no waiting.

Each write is decided on its own, in order, over what the ones before it leave. A conflict, or the refusal of a guard, fails one
write and never its neighbours, and takes no revision: revisions are dense.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import intern
from typing import NamedTuple

from storage.state import Layer
from storage.store import Change, Conflict, Key, Op, Put, Record, State, Write


class Plan(NamedTuple):
    """`results` has one entry for each write, in its order. `changes` are those that are committed; `upserts` and `removes` are
    their sum: each key at most once.
    """

    results: Sequence[Change | Exception]
    changes: Sequence[Change]
    upserts: Sequence[Record]
    removes: Sequence[Key]


def decide(writes: Iterable[Write], current: State, revision: int) -> Plan:
    """Decides `writes` over `current`, which is the state at `revision`."""
    state = Layer(current)
    results: list[Change | Exception] = []
    changes: list[Change] = []
    for write in writes:
        result = _decide_one(write, state, revision + 1)
        results.append(result)
        if isinstance(result, Change):
            revision += 1
            changes.append(result)
            state.apply(result)
    upserts = [record for record in state.changed.values() if record is not None]
    removes = [key for key, record in state.changed.items() if record is None and current.get(key) is not None]
    return Plan(results, changes, upserts, removes)


def _decide_one(write: Write, state: Layer, revision: int) -> Change | Exception:
    key = write.key
    previous = state.get(key)
    found = previous.revision if previous is not None else 0
    if found != write.expect:
        return Conflict(key, found)
    if write.fence is not None and (conflict := _unmet(write.fence, state)) is not None:
        return conflict
    if isinstance(write, Put):
        if write.require is not None and (conflict := _unmet(write.require, state)) is not None:
            return conflict
        if write.guard is not None and (refusal := write.guard(key, state)) is not None:
            return refusal
        return Change(revision, Op.ADDED if previous is None else Op.MODIFIED, _after(write, previous, revision), previous)
    if previous is None:
        return Conflict(key, 0)
    return Change(revision, Op.DELETED, deleted(previous, revision), previous)


def _unmet(require: tuple[Key, int], state: State) -> Conflict | None:
    key, revision = require
    record = state.get(key)
    found = record.revision if record is not None else 0
    return Conflict(key, found) if found != revision else None


def _after(write: Put, previous: Record | None, revision: int) -> Record:
    """The record that a Put leaves. What it has in common with the one before is kept once in memory."""
    if previous is None:
        key = Key(intern(write.key.resource), intern(write.key.namespace), write.key.name)
        return Record(key, write.uid, revision, intern(write.api_version), write.desired, write.status)
    return Record(
        previous.key,
        previous.uid if previous.uid == write.uid else write.uid,
        revision,
        intern(write.api_version),
        previous.desired if previous.desired == write.desired else write.desired,
        previous.status if previous.status == write.status else write.status,
    )


def deleted(previous: Record, revision: int) -> Record:
    """The record of a deletion: the object before it, with the deletion's revision."""
    return Record(previous.key, previous.uid, revision, previous.api_version, previous.desired, previous.status)


def undo(records: dict[Key, Record], changes: Iterable[Change]) -> None:
    """Takes `changes`, the newest first, back out of `records`."""
    for change in changes:
        if change.previous is None:
            records.pop(change.record.key, None)
        else:
            records[change.record.key] = change.previous
