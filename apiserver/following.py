"""Objects that the server itself goes by: roles and bindings, keys, webhooks, policies, quotas.

Whoever follows a kind is told of each object that there is, and then of every change in the very step that publishes it: when the
write that takes a right away is answered, the right is gone. On a replica that is when the change is read from the log, or
the whole state anew by one that was left too far behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from storage.sql import SqlStore
from storage.store import Change, Op, Record


class Follower(Protocol):
    """Keeps what it needs of the objects of one kind, by `record.key`. It must not raise: what it cannot read counts as absent."""

    def put(self, record: Record) -> None:
        """An object is there, new or changed."""
        ...

    def remove(self, record: Record) -> None:
        """An object is gone; this is its last state."""
        ...


def follow(store: SqlStore, resource: str, follower: Follower) -> Callable[[], None]:
    """Tells `follower` of all objects of a resource, now and from now on, until the function that is returned is called."""

    def listen(changes: Sequence[Change]) -> None:
        for change in changes:
            (follower.remove if change.op is Op.DELETED else follower.put)(change.record)

    for record in store.list(resource).records:
        follower.put(record)
    return store.subscribe(resource, listen)
