"""Watch streams: what was there, then every change, as lines of JSON until the time is up.

A stream holds a place in the store's changes, not a queue. It is woken, takes what is new, and sends it in one piece; while it
waits for
a slow client it costs nobody anything, and when it has fallen out of history it is told so (`Expired`) and ends. A client that
takes nothing at all for `STALLED` seconds is cut off.

Selectors look at an object before and after each change: what comes to match is ADDED, what ceases to match is DELETED.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from apiserver.forms import View, added, bookmark, event, event_line
from apiserver.lists import caught_up
from apiserver.matching import Matcher
from apiserver.options import ListOptions, revision
from registry.errors import ExpiredError
from storage.sql import SqlStore
from storage.store import Change, Closed, Cursor, Expired, Snapshot, Unavailable

BOOKMARK_BEFORE_END = 2.0
"""Seconds before its end at which a stream says once more how far it is."""
STALLED = 60.0
"""Seconds for which a client may take nothing of what is sent to it."""
LINES = 500
"""Objects of the initial state that are sent at once."""

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a stream begins: the objects that are shown first (None: none), and the place in the changes after that."""

    initial: Snapshot | None
    cursor: Cursor


async def begin(store: SqlStore, resource: str, namespace: str | None, options: ListOptions) -> Begin:
    """Finds the beginning that the options ask for. Raises BadRequest, Timeout, and ExpiredError for a place out of history."""
    wanted = revision(options.resource_version)
    if options.send_initial or (options.send_initial is None and not wanted):
        await caught_up(store, options.resource_version)
        snapshot = store.list(resource, namespace)
        return Begin(snapshot, store.watch(resource, snapshot.revision))
    try:
        return Begin(None, store.watch(resource, wanted or store.revision))
    except Expired as expired:
        raise ExpiredError(str(expired)) from expired


class Stream:
    """One watch. `run` sends it; `leave` ends it early, from wherever it waits."""

    def __init__(
        self,
        store: SqlStore,
        view: View,
        matcher: Matcher,
        options: ListOptions,
        send: Send,
        *,
        chance: random.Random,
        bookmark_every: float,
        longest: float,
    ) -> None:
        """Without an end of its own a stream lasts `longest` seconds, up to twice that, so that streams do not all end together."""
        self._store = store
        self._view = view
        self._matcher = matcher
        self._options = options
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._left = False
        self._begun = False  # a line was sent: only the first table carries its columns
        self._bookmark_every = bookmark_every
        now = self._loop.time()
        self._end = now + (options.timeout_seconds if options.timeout_seconds > 0 else chance.uniform(longest, 2 * longest))
        self._bookmark_at = min(now + self._bookmark_every, self._end - BOOKMARK_BEFORE_END) if options.bookmarks else self._end
        self._sending_since: float | None = None

    def leave(self) -> None:
        """The client is gone, or the server is about to be."""
        self._left = True
        self._woken.set()

    @property
    def left(self) -> bool:
        """Whether the stream is to end."""
        return self._left

    @property
    def stalled(self) -> bool:
        """Whether the client has taken nothing for too long."""
        return self._sending_since is not None and self._loop.time() - self._sending_since > STALLED

    async def run(self, place: Begin) -> None:
        """Sends until the time is up, the client leaves, or history is lost. Does not raise for any of these."""
        resource = self._view.kind.resource
        unsubscribe = self._store.subscribe(resource, self._wake)
        try:
            await self._initial(place.initial)
            await self._follow(place.cursor)
        except Expired as expired:
            await self._line(event_line("ERROR", msgspec.json.encode(ExpiredError(str(expired)).status())))
        except (Closed, Unavailable):
            pass  # the stream ends, and the client resumes from where it was
        finally:
            unsubscribe()

    def _wake(self, changes: Sequence[Change]) -> None:
        if changes:
            self._woken.set()
        else:
            self.leave()

    async def _initial(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        wanted = (
            [record for record in snapshot.records if self._matcher.matches(record)]
            if self._matcher.selective
            else snapshot.records
        )
        for start in range(0, len(wanted), LINES):
            lines = []
            for record in wanted[start : start + LINES]:
                lines.append(added(self._view, record, first=not self._begun))
                self._begun = True
            await self._line(b"".join(lines))
        if self._options.send_initial and self._options.bookmarks:
            await self._line(bookmark(self._view, snapshot.revision, initial=True, first=not self._begun))
            self._begun = True

    async def _follow(self, cursor: Cursor) -> None:
        while not self._left:
            self._woken.clear()
            changes = cursor.take()
            if not changes and cursor.revision < self._store.revision:
                changes = await self._from_log(cursor)
            if changes:
                await self._changes(changes)
                continue
            now = self._loop.time()
            if now >= self._end:
                return
            if now >= self._bookmark_at:
                self._bookmark_at = min(now + self._bookmark_every, self._end)
                if cursor.revision > self._store.revision:
                    continue  # it waits for a revision of the future, and has seen nothing that a bookmark could vouch for
                await self._line(bookmark(self._view, cursor.revision, first=not self._begun))
                self._begun = True
                continue
            await self._wait(min(self._end, self._bookmark_at))

    async def _from_log(self, cursor: Cursor) -> Sequence[Change]:
        """What a stream that has fallen behind the window reads; nothing, if there is nothing before its time is up."""
        try:
            async with asyncio.timeout_at(min(self._end, self._bookmark_at)):
                return await cursor.next()
        except TimeoutError:
            return ()

    async def _wait(self, until: float) -> None:
        timer = self._loop.call_at(until, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def _changes(self, changes: Sequence[Change]) -> None:
        lines = []
        for change in changes:
            op = self._matcher.seen_as(change)
            if op is not None:
                lines.append(event(self._view, change, op, first=not self._begun))
                self._begun = True
        if lines:
            await self._line(lines[0] if len(lines) == 1 else b"".join(lines))

    async def _line(self, data: bytes) -> None:
        self._sending_since = self._loop.time()
        await self._send(data)
        self._sending_since = None
