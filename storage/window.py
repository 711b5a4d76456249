"""The recent changes of one resource, kept once for all who read them.

A reader is only a revision: it finds its place by bisection. The window is bounded by count and by bytes; whoever falls out of it
reads the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from storage.store import Change

_OVERHEAD = 400  # bytes: what a change costs besides its bodies


class Window:
    """Holds every change of its resource after `start`, and none before.

    `start` moves forward as the oldest are dropped, some at a time. It is the revision of the newest change that was dropped, so a
    reader at or after it has missed nothing, however far the store has moved on since.
    """

    def __init__(self, start: int, *, max_count: int, max_bytes: int) -> None:
        self.start = start
        self.bytes = 0
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._changes: list[Change] = []
        self._revisions: list[int] = []

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def last(self) -> int:
        """The revision of the newest change, or `start`."""
        return self._revisions[-1] if self._revisions else self.start

    def append(self, change: Change) -> None:
        """Adds a change that is newer than all others."""
        self._changes.append(change)
        self._revisions.append(change.revision)
        self.bytes += weight(change)
        if len(self._changes) > self._max_count or self.bytes > self._max_bytes:
            self._trim()

    def after(self, revision: int, limit: int) -> Sequence[Change] | None:
        """The first `limit` changes after `revision`; None if the window does not reach back to it."""
        if revision < self.start:
            return None
        place = bisect_right(self._revisions, revision)
        return self._changes[place : place + limit]

    def back_to(self, revision: int) -> Sequence[Change] | None:
        """All changes after `revision`, the newest first; None if the window does not reach back to it."""
        if revision < self.start:
            return None
        return self._changes[bisect_right(self._revisions, revision) :][::-1]

    def _trim(self) -> None:
        """Drops the oldest: an eighth of what is allowed at a time, so that dropping costs little for each change."""
        count = len(self._changes)
        allowed = self._max_count - self._max_count // 8
        drop = max(count - allowed, 0) if count > self._max_count else 0
        self.bytes -= sum(weight(change) for change in self._changes[:drop])
        allowed_bytes = self._max_bytes - self._max_bytes // 8 if self.bytes > self._max_bytes else self._max_bytes
        while self.bytes > allowed_bytes and drop < count:
            self.bytes -= weight(self._changes[drop])
            drop += 1
        self.start = self._revisions[drop - 1]
        del self._changes[:drop]
        del self._revisions[:drop]


def weight(change: Change) -> int:
    """About how many bytes a change adds to memory: its bodies, less those that it shares with the object before."""
    record, previous = change.record, change.previous
    size = _OVERHEAD
    if previous is None or record.desired is not previous.desired:
        size += len(record.desired)
    if previous is None or record.status is not previous.status:
        size += len(record.status)
    return size
