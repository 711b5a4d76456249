"""Copies the write-ahead log of an SQLite file into the file, beside the writers.

Left alone, SQLite does that within the commit that finds the log long, and every writer waits for thousands of scattered writes and
two fsyncs. Here a passive checkpoint, which hinders nobody, copies nearly all of it; then a second one, in the writer's turn,
copies the few pages that came meanwhile, so that the log begins anew at its start and does not grow. What SQLite does by itself
stays as a net, for a log that grows faster than it is copied (https://sqlite.org/wal.html, sections 3 and 6).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import anyio
from anyio import CapacityLimiter, to_thread

from storage.store import Change

PAGES = 4_000
"""Pages of 4 KiB, about, that the log may have before it is copied: 16 MB."""
_PAGE = 4_096
_EACH_BATCH = 8  # pages that a transaction touches besides those of its rows

Copy = Callable[[], None]
"""Copies what can be copied without waiting for anybody. Raises nothing."""


class Checkpointer:
    """Counts what is written, and copies when it is much. `turn` is the writer's: whoever holds it is the only one who writes."""

    def __init__(self, copy: Copy, turn: anyio.Lock, pages: int = PAGES) -> None:
        self._copy = copy
        self._turn = turn
        self._limit = pages
        self._pages = 0.0
        self._much = asyncio.Event()
        self._thread = CapacityLimiter(1)
        self.copied = 0  # how often the log was copied

    def wrote(self, changes: Sequence[Change]) -> None:
        """A transaction with these changes was committed."""
        self._pages += _EACH_BATCH + sum(_size(change) for change in changes) / _PAGE
        if self._pages > self._limit:
            self._much.set()

    async def run(self) -> None:
        """Copies whenever much was written, until it is cancelled."""
        while True:
            await self._much.wait()
            await to_thread.run_sync(self._copy, limiter=self._thread)
            async with self._turn:
                await to_thread.run_sync(self._copy, limiter=self._thread)
                self._pages = 0.0
                self._much.clear()
            self.copied += 1


def _size(change: Change) -> int:
    """About the bytes that a change adds: its row, and the row of the log with what was there before."""
    record, previous = change.record, change.previous
    before = 0 if previous is None else len(previous.desired) * (previous.desired is not record.desired) + len(previous.status)
    return 1_024 + len(record.desired) + len(record.status) + before


def passive(file: Path) -> Copy:
    """A passive checkpoint on a connection of its own. If the disk does not take it, the log stays, and is copied another time."""

    def copy() -> None:
        try:
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error:
            return

    return copy
