"""A Store on SQLite or PostgreSQL: group commit, a cache of the newest state, and cursors that cost no SQL.

* Writes that come while a transaction commits go down together in the next one: one lock, one statement for each table, one fsync.
* Nothing comes between a commit and its publication: they are one step of one task. A caller that is cancelled leaves its write to
  the batch.
* After a commit whose outcome is not known, and after other processes have written, what was missed is read from the log and
  published, in order, before anything newer.
* What fails is refused with a clear error, nothing is acknowledged that is not durable, and the next batch tries again.

`compact` and `compactor` keep the log bounded. Every task of the store runs in the group of `open_store`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeVar

import anyio
import msgspec
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection

from storage import history, transaction
from storage.cache import Cache
from storage.checkpoint import PAGES, Checkpointer, passive
from storage.decide import undo
from storage.engine import Engines, said_by
from storage.feed import Feed, FeedCursor, Limits, Listener, Page
from storage.store import Change, Closed, Cursor, Expired, Head, Key, Put, Record, Snapshot, State, Unavailable, Write

T = TypeVar("T")
Clock = Callable[[], float]
Aside = Callable[..., Awaitable[Any]]
"""Calls a function that blocks, with its arguments, and returns what it returns. `limiter=` bounds how many of them at once."""


class Options(NamedTuple):
    """How a store behaves; the defaults are for a server.

    `window`: what is kept of the recent changes of each resource. `batch_count`, `batch_bytes`: what goes into one transaction.
    `page`: changes read from the log at once, at most. `step`: changes that one step of compaction forgets. `retry`: seconds until
    the state is read again after a commit whose outcome is not known. `log_pages`: the length that SQLite's write-ahead log may
    have before it is copied. `clock`: Unix time in seconds. `aside`: where transactions run: in a worker thread, unless the store
    is in memory and somebody wants the same order of things each time.
    """

    window: Limits = Limits()
    batch_count: int = 512
    batch_bytes: int = 8 * 2**20
    page: int = 256
    step: int = 256
    retry: float = 1.0
    log_pages: int = PAGES
    clock: Clock = time.time
    aside: Aside = to_thread.run_sync


class Stats(msgspec.Struct, frozen=True):
    """What the store holds and has done since it was opened. `windows` gives count and bytes for each resource."""

    revision: int
    horizon: int
    objects: dict[str, int]
    windows: dict[str, tuple[int, int]]
    batches: int
    writes: int
    statements: int
    recent_batches: tuple[int, ...]


class _Pending(NamedTuple):
    write: Write
    size: int
    waiter: asyncio.Future[Change]


class SqlStore:
    """Implements `storage.store.Store`. Made by `open_store`, which runs it."""

    def __init__(self, engines: Engines, options: Options) -> None:
        self._engines = engines
        self._options = options
        self._feed = Feed(options.window)
        self._pending: deque[_Pending] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._doubtful = False  # a commit's outcome is not known: read before anything else
        # Held from the begin of a write transaction until its changes are published.
        self._writing = anyio.Lock(fast_acquire=True)
        self._writer = CapacityLimiter(1)
        self._checkpointer = None if engines.file is None else Checkpointer(passive(engines.file), self._writing, options.log_pages)
        self._readers = CapacityLimiter(2)
        self._probing = anyio.Lock()
        self._asked = self._answered = 0
        self._oldest: float | None = None
        self._writes = self._batches = 0
        self._recent: deque[int] = deque(maxlen=64)

    # -- what is read from memory ------------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The newest revision that this process has seen."""
        return self._feed.revision

    @property
    def horizon(self) -> int:
        """Changes after this revision can still be read."""
        return self._feed.horizon

    def get(self, key: Key) -> Record | None:
        """The newest state of one object."""
        return self._feed.cache.get(key)

    def list(self, resource: str, namespace: str | None = None) -> Snapshot:
        """The newest state of a resource."""
        return Snapshot(self._feed.revision, self._feed.cache.list(resource, namespace))

    @property
    def state(self) -> State:
        """The newest state, whenever it is asked."""
        return self._feed.cache

    def populated(self, namespace: str) -> bool:
        """Whether there is any object in a namespace."""
        return self._feed.cache.populated(namespace)

    def watch(self, resource: str, after: int) -> Cursor:
        """A cursor at revision `after`. Raises Expired, Closed."""
        if self._feed.ended:
            raise Closed("the store is shutting down")
        if after < self._feed.horizon:
            raise Expired(after, self._feed.horizon)
        return FeedCursor(self._feed, resource, after, self._read_log)

    def subscribe(self, resource: str, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with the changes of a resource in the step that publishes them, until what is returned is called."""
        return self._feed.subscribe(resource, listener)

    def forget(self, resource: str) -> None:
        """Drops the recent changes of a resource from memory: its kind is gone. Whoever asks for them reads the log."""
        self._feed.forget(resource)

    def stats(self) -> Stats:
        """What the store holds and has done."""
        return Stats(
            revision=self.revision,
            horizon=self.horizon,
            objects=dict(self._feed.cache.counts()),
            windows={resource: (len(window), window.bytes) for resource, window in self._feed.windows()},
            batches=self._batches,
            writes=self._writes,
            statements=self._engines.counter.statements,
            recent_batches=tuple(self._recent),
        )

    # -- what may wait -----------------------------------------------------------------------------------------------------------

    async def commit(self, write: Write) -> Change:
        """Commits one write, together with whatever else is waiting. Raises Conflict, Unavailable, Closed."""
        if self._closing:
            raise Closed("the store is shutting down")
        waiter: asyncio.Future[Change] = asyncio.get_running_loop().create_future()
        size = len(write.desired) + len(write.status) if isinstance(write, Put) else 0
        self._pending.append(_Pending(write, size, waiter))
        self._arrived.set()
        return await waiter

    async def synced(self) -> int:
        """Waits until this process has seen all that was committed before the call. An SQLite file has one process, which has."""
        if self._engines.write.dialect.name == "postgresql":
            self._asked += 1
            ticket = self._asked
            async with self._probing:
                if self._answered < ticket:
                    covered = self._asked  # whoever asked before the query begins
                    await self.poll()
                    self._answered = covered
        return self._feed.revision

    async def reached(self, revision: int, timeout: float) -> bool:
        """Waits until `revision` has been seen, for at most `timeout` seconds."""
        with anyio.move_on_after(timeout):
            while self._feed.revision < revision:
                await self._feed.grown()
        return self._feed.revision >= revision

    async def list_at(self, revision: int, resource: str, namespace: str | None = None) -> Snapshot:
        """The resource as it was at `revision`. Raises Expired, Unavailable; ValueError if that is in the future."""
        feed = self._feed
        if revision > feed.revision:
            raise ValueError(f"revision {revision} is in the future: the newest is {feed.revision}")
        if revision == feed.revision:
            return self.list(resource, namespace)
        if revision < feed.horizon:
            raise Expired(revision, feed.horizon)
        later = feed.window(resource).back_to(revision)
        if later is None:
            return Snapshot(revision, await self._read(lambda connection: _objects_at(connection, revision, resource, namespace)))
        if namespace is not None:
            later = [change for change in later if change.record.key.namespace == namespace]
        records = feed.cache.list(resource, namespace)
        if later:
            state = {record.key: record for record in records}
            undo(state, later)
            records = sorted(state.values(), key=lambda record: record.key)
        return Snapshot(revision, records)

    async def check(self) -> None:
        """Writes to the database and commits. Raises Unavailable."""
        async with self._writing:
            await self._write(transaction.probe)

    async def poll(self) -> None:
        """Publishes what other processes have committed. Raises Unavailable."""
        head = await self._read(transaction.head_of)
        if head.revision > self.revision or head.horizon > self.horizon:
            async with self._writing:
                await self._catch_up()

    # -- compaction --------------------------------------------------------------------------------------------------------------

    async def compact(self, now: float, *, max_age: float, max_count: int) -> int:
        """Forgets changes that are older than `max_age` seconds, or beyond the newest `max_count`; returns how many.

        In small transactions, between which writers take their turn. Raises Unavailable.
        """
        forgotten, step = 0, self._options.step
        while True:
            async with self._writing:
                head, count = await self._write(
                    lambda connection: transaction.compact_step(connection, now - max_age, max_count, step)
                )
                self._feed.horizon = max(self._feed.horizon, head.horizon)
            forgotten += count
            if count < step:
                break
        self._oldest = await self._read(transaction.oldest)
        return forgotten

    async def compactor(
        self, *, interval: float, max_age: float, max_count: int, sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    ) -> None:
        """Compacts every `interval` seconds, for as long as it runs. Asks the database nothing while nothing can be due.

        A database that is not available is tried again at the next turn.
        """
        while True:
            await sleep(interval)
            now, kept = self._options.clock(), self.revision - self.horizon
            aged = self._oldest is None or self._oldest <= now - max_age
            if kept > max_count or (kept and aged):
                try:
                    await self.compact(now, max_age=max_age, max_count=max_count)
                except Unavailable:
                    continue

    # -- life --------------------------------------------------------------------------------------------------------------------

    async def load(self, *, alone: bool = False) -> None:
        """Reads the whole state. `alone`: the caller holds the turn of the writer. Raises Unavailable, InvalidDatabase."""
        cache, window = Cache(), self._options.window

        def work(connection: Connection) -> transaction.Loaded:
            transaction.check_schema(connection)
            return transaction.load(connection, cache.put, cache.get, count=window.changes, size=window.size)

        head, changes, start = await self._read(work, alone=alone)
        self._feed.restart(cache, changes, max(start, head.horizon), head.revision, head.horizon)

    async def run(self) -> None:
        """Commits what is pending, batch by batch, until `close` was called and nothing is pending any more."""
        try:
            while not (self._closing and not self._pending):
                await self._wait()
                if self._pending or self._doubtful:
                    async with self._writing:
                        await self._commit_batch(self._take_batch())
        finally:
            for pending in self._pending:
                _fail(pending, Closed("the store was closed before the write began"))
            self._pending.clear()

    async def checkpoint(self) -> None:
        """Keeps the write-ahead log of an SQLite file short, for as long as it runs. Elsewhere there is nothing to do."""
        if self._checkpointer is not None:
            await self._checkpointer.run()

    def end_watches(self) -> None:
        """Ends every cursor and subscription; writes go on."""
        self._feed.end()

    def close(self) -> None:
        """Takes no more writes. `run` ends when those that are pending are done."""
        self._closing = True
        self._arrived.set()

    # -- private -----------------------------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """Waits for a write; not for long if the state is in doubt."""
        if self._pending or self._closing:
            return
        self._arrived.clear()
        if not self._doubtful:
            await self._arrived.wait()
            return
        with anyio.move_on_after(self._options.retry):
            await self._arrived.wait()

    def _take_batch(self) -> Sequence[_Pending]:
        batch: list[_Pending] = []
        size = 0
        while self._pending and len(batch) < self._options.batch_count and (not batch or size < self._options.batch_bytes):
            pending = self._pending.popleft()
            size += pending.size
            batch.append(pending)
        return batch

    async def _commit_batch(self, batch: Sequence[_Pending]) -> None:
        try:
            outcome = await self._transact([pending.write for pending in batch])
        except Unavailable as error:
            self._doubtful = self._doubtful or error.committed is None
            for pending in batch:
                _fail(pending, Unavailable(str(error), committed=error.committed))
            return
        except Exception as error:
            await self._commit_apart(batch, error)
            return
        except BaseException:
            for pending in batch:
                _fail(pending, Unavailable("the store was stopped in the middle of the write", committed=None))
            raise
        # No await from here on: what was committed is published, whatever happens to anybody.
        self._doubtful = False
        self._feed.publish([*outcome.missed, *outcome.plan.changes], outcome.head.horizon)
        for pending, result in zip(batch, outcome.plan.results, strict=True):
            if not isinstance(result, Change):
                _fail(pending, result)
            elif not pending.waiter.done():
                pending.waiter.set_result(result)
        if self._checkpointer is not None:
            self._checkpointer.wrote(outcome.plan.changes)
        if batch:
            self._batches += 1
            self._writes += len(outcome.plan.changes)
            self._recent.append(len(batch))

    async def _commit_apart(self, batch: Sequence[_Pending], error: Exception) -> None:
        """After an error that is no trouble of the database: finds the write that is to blame, and refuses that one alone."""
        if len(batch) > 1:
            for pending in batch:
                await self._commit_batch([pending])
            return
        for pending in batch:
            refusal = Unavailable(f"the database cannot hold it ({said_by(error)})")
            refusal.__cause__ = error
            _fail(pending, refusal)

    async def _transact(self, writes: Sequence[Write]) -> transaction.Outcome:
        now, feed = self._options.clock(), self._feed
        while True:
            try:
                return await self._write(
                    lambda connection: transaction.commit_batch(
                        connection, writes, Head(feed.revision, feed.horizon), feed.cache, now
                    )
                )
            except transaction.Behind:
                await self._catch_up()

    async def _catch_up(self) -> None:
        """Publishes what was missed, page by page; if the log no longer has it, reads the whole state anew. Under `_writing`."""
        while True:
            try:
                changes, head = await self._read(lambda connection: transaction.catch_up(connection, self.revision), alone=True)
            except transaction.Behind:
                await self.load(alone=True)
                return
            self._feed.publish(changes, head.horizon)
            if self.revision >= head.revision:
                return

    async def _read_log(self, resource: str, after: int, until: int, limit: int) -> Page:
        limit = min(limit, self._options.page)

        def work(connection: Connection) -> Page:
            head = transaction.head_of(connection)
            if after < head.horizon:
                raise Expired(after, head.horizon)
            changes = history.page(connection, resource, after, until, limit)
            return Page(changes, changes[-1].revision if len(changes) == limit else until)

        return await self._read(work)

    async def _read(self, work: Callable[[Connection], T], *, alone: bool = False) -> T:
        """Runs `work` in a read transaction in a thread. `alone`: the caller holds `_writing`."""
        turn: anyio.Lock | nullcontext[None] = self._writing if self._engines.private and not alone else nullcontext()
        async with turn:
            outcome: T = await self._options.aside(transaction.read, self._engines.read, work, limiter=self._readers)
            return outcome

    async def _write(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a write transaction in a thread. The caller holds `_writing`."""
        outcome: T = await self._options.aside(transaction.write, self._engines.write, work, limiter=self._writer)
        return outcome


def _objects_at(connection: Connection, revision: int, resource: str, namespace: str | None) -> Sequence[Record]:
    head = transaction.head_of(connection)
    if revision < head.horizon:
        raise Expired(revision, head.horizon)
    return history.objects_at(connection, revision, resource, namespace)


def _fail(pending: _Pending, error: Exception) -> None:
    if not pending.waiter.done():
        pending.waiter.set_exception(error)
