"""What one process has seen of the store, in memory: the newest state, the recent changes, and who waits for more.

`publish` is the only way in, and it does not wait: state, windows, cursors and subscribers move on together. All of it belongs to
one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from storage.cache import Cache
from storage.decide import deleted
from storage.store import Change, Closed, Expired, Op, Record
from storage.window import Window, weight

_TAKE = 500  # changes that a cursor yields at once
_FIRST_PAGE = 32  # changes that a cursor reads from the log at first; then more or fewer, by their size
_PAGE_BYTES = 2**20

Listener = Callable[[Sequence[Change]], None]
"""Is called with new changes of a resource, in order, as soon as they are committed; with none when the watches end. It must not
raise; if it does, the event loop's exception handler is told, and everybody else goes on.
"""


class Limits(NamedTuple):
    """What the window of each resource holds at most."""

    changes: int = 4096
    size: int = 16 * 2**20  # bytes


class Page(NamedTuple):
    """Changes from the log. `complete` is the revision up to which they are all."""

    changes: Sequence[Change]
    complete: int


ReadLog = Callable[[str, int, int, int], Awaitable[Page]]
"""Reads changes of a resource after one revision and up to another, at most so many. Raises Expired, Unavailable."""


class Feed:
    """The published state. `revision` is the newest that was published, `horizon` the one that history begins after."""

    def __init__(self, limits: Limits) -> None:
        self.revision = 0
        self.horizon = 0
        self.cache = Cache()
        self.ended = False
        self._limits = limits
        self._start = 0
        self._windows: dict[str, Window] = {}
        self._waiting: dict[str, asyncio.Event] = {}
        self._grown: asyncio.Event | None = None
        self._listeners: dict[str, list[Listener]] = {}

    def restart(self, cache: Cache, changes: Iterable[Change], start: int, revision: int, horizon: int) -> None:
        """Takes over a state that was loaded, with the `changes` after `start` that led to it. Who waits is woken.

        Listeners hear what makes the old state the new one: one change for each object that differs, whatever happened in between.
        """
        before, self.cache = self.cache, cache
        self._windows.clear()
        self._start = start
        for change in changes:
            self.window(change.record.key.resource).append(change)
        self.revision, self.horizon = revision, horizon
        self._wake(list(self._waiting))
        for resource, listeners in self._listeners.items():
            told = difference(before.list(resource), cache.list(resource), revision) if listeners else ()
            for listener in tuple(listeners) if told else ():
                _call(listener, told)

    def publish(self, changes: Sequence[Change], horizon: int) -> None:
        """Makes committed changes visible to everybody, in one step."""
        touched: dict[str, list[Change]] = {}
        for change in changes:
            self.cache.apply(change)
            touched.setdefault(change.record.key.resource, []).append(change)
        for resource, some in touched.items():
            window = self.window(resource)
            for change in some:
                window.append(change)
        if changes:
            self.revision = changes[-1].revision
        self.horizon = max(self.horizon, horizon)
        self._wake(touched)
        for resource, some in touched.items():
            for listener in tuple(self._listeners.get(resource, ())):
                _call(listener, some)

    def window(self, resource: str) -> Window:
        """The recent changes of a resource."""
        window = self._windows.get(resource)
        if window is None:
            window = self._windows[resource] = Window(self._start, max_count=self._limits.changes, max_bytes=self._limits.size)
        return window

    def windows(self) -> Iterable[tuple[str, Window]]:
        """Each resource that changed, with its window."""
        return self._windows.items()

    def forget(self, resource: str) -> None:
        """Drops the recent changes of a resource, of which nobody is likely to ask again. Whoever does reads the log."""
        if resource in self._windows:
            self._windows[resource] = Window(self.revision, max_count=self._limits.changes, max_bytes=self._limits.size)

    def subscribe(self, resource: str, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with the changes of a resource from now on, until the function that is returned is called.

        When the watches have ended already, it is told so at once.
        """
        listeners = self._listeners.setdefault(resource, [])
        listeners.append(listener)
        if self.ended:
            _call(listener, ())

        def unsubscribe() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return unsubscribe

    def end(self) -> None:
        """Ends every cursor and subscription, once."""
        if self.ended:
            return
        self.ended = True
        self._wake(list(self._waiting))
        for listeners in self._listeners.values():
            for listener in tuple(listeners):
                _call(listener, ())

    async def grown(self) -> None:
        """Waits until something is published."""
        if self._grown is None:
            self._grown = asyncio.Event()
        await self._grown.wait()

    async def changed(self, resource: str) -> None:
        """Waits until a change of the resource is published, or the watches end."""
        event = self._waiting.get(resource)
        if event is None:
            event = self._waiting[resource] = asyncio.Event()
        await event.wait()

    def _wake(self, resources: Iterable[str]) -> None:
        for resource in resources:
            if (event := self._waiting.pop(resource, None)) is not None:
                event.set()
        if self._grown is not None:
            self._grown.set()
            self._grown = None


class FeedCursor:
    """A reader's place in the changes of a resource: see `storage.store.Cursor`. It is a revision, and nobody knows of it."""

    def __init__(self, feed: Feed, resource: str, after: int, read_log: ReadLog) -> None:
        self._feed = feed
        self._resource = resource
        self._revision = after
        self._read_log = read_log
        self._page = _FIRST_PAGE

    @property
    def revision(self) -> int:
        """Everything up to here has been yielded. While nothing new comes for its resource, it moves on with the store."""
        window = self._feed.window(self._resource)
        if window.last <= self._revision < self._feed.revision:
            self._revision = self._feed.revision
        return self._revision

    def take(self) -> Sequence[Change]:
        """The changes in the window that were not yielded yet."""
        changes = self._feed.window(self._resource).after(self._revision, _TAKE)
        if changes is None:
            return ()
        if changes:
            self._revision = changes[-1].revision
        if len(changes) < _TAKE:
            self._revision = max(self._revision, self._feed.revision)
        return changes

    async def next(self) -> Sequence[Change]:
        """The next changes, at least one. Raises Expired, Closed, Unavailable."""
        feed = self._feed
        while True:
            if feed.ended:
                raise Closed("the store is shutting down")
            if changes := self.take():
                return changes
            if self._revision >= feed.window(self._resource).start:
                await feed.changed(self._resource)
                continue
            if self._revision < feed.horizon:
                raise Expired(self._revision, feed.horizon)
            page = await self._read_log(self._resource, self._revision, feed.revision, self._page)
            self._revision = page.complete
            small = sum(weight(change) for change in page.changes) < _PAGE_BYTES
            self._page = min(self._page * 2, _TAKE) if small else max(self._page // 4, 1)
            if page.changes:
                return page.changes


def difference(old: Iterable[Record], new: Iterable[Record], revision: int) -> list[Change]:
    """What makes one state of a resource another: an object that went is DELETED at `revision`, the others are as they are now."""
    gone = {record.key: record for record in old}
    found = []
    for record in new:
        previous = gone.pop(record.key, None)
        if previous is None or previous.revision != record.revision:
            found.append(Change(record.revision, Op.ADDED if previous is None else Op.MODIFIED, record, previous))
    found.sort(key=lambda change: change.revision)
    removed = [Change(revision, Op.DELETED, deleted(record, revision), record) for record in gone.values()]
    return [*removed, *found]


def _call(listener: Listener, changes: Sequence[Change]) -> None:
    try:
        listener(changes)
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler({"message": "a listener of the store failed", "exception": error})
