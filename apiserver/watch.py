"""Watch streams: what was there, then every change, as lines of JSON until the time is up.

A stream holds a place in the store's changes, not a queue. When there is something new it takes that and sends it in one piece;
while it waits for a slow client it costs nobody anything, and when it has fallen out of history it is told so (`Expired`) and ends.
A client that takes nothing at all for `STALLED` seconds is cut off.

What a webhook has to convert is converted before (`apiserver.converting`), by the task of the stream: whoever watches another
version waits for none of it. While the webhook cannot be asked the stream waits, and has lost nothing when it answers again.

Streams whose clients keep up are served by one callback for all of them (`Fanout`); the task of a stream wakes only for what has to
wait: a client that is behind, a bookmark, the log, the end.

Selectors look at an object before and after each change: what comes to match is ADDED, what ceases to match is DELETED.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import anyio
import msgspec

from apiserver.converting import Patience, shown, translation_to
from apiserver.forms import View, added, bookmark, event, event_line
from apiserver.lists import caught_up
from apiserver.matching import Matcher
from apiserver.options import ListOptions, revision
from apiserver.stored import is_convertible
from registry.errors import ExpiredError
from registry.ways import Unreached
from storage.sql import SqlStore
from storage.store import Change, Closed, Cursor, Expired, Record, Snapshot, Unavailable

BOOKMARK_BEFORE_END = 2.0
"""Seconds before its end at which a stream says once more how far it is."""
STALLED = 60.0
"""Seconds for which a client may take nothing of what is sent to it."""
LINES = 500
"""Objects of the initial state that are sent at once."""

TURN = 100
"""Streams that are served before other things have their turn."""

T = TypeVar("T")
Send = Callable[[bytes], Awaitable[None]]
Push = Callable[[bytes], bool]
"""Sends at once; False, and nothing is sent, when the client is behind or gone."""


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


class Fanout:
    """Serves the streams that have nothing under way, in the order in which they asked, `TURN` of them at a time.

    A change for a thousand watchers is a few callbacks and no task, and no request has to wait for all of them.
    """

    def __init__(self) -> None:
        self._asked: deque[Stream] = deque()

    def ask(self, stream: Stream) -> None:
        """Has `stream.serve` called soon."""
        self._asked.append(stream)
        if len(self._asked) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        asked = self._asked
        for _ in range(min(TURN, len(asked))):
            asked[0].serve()
            asked.popleft()
        if asked:
            asyncio.get_running_loop().call_soon(self._turn)


class Stream:
    """One watch. `run` sends it; `leave` ends it early, from wherever it waits."""

    def __init__(
        self,
        store: SqlStore,
        view: View,
        matcher: Matcher,
        options: ListOptions,
        send: Send,
        push: Push | None,
        *,
        fanout: Fanout,
        chance: random.Random,
        bookmark_every: float,
        longest: float,
    ) -> None:
        """`push` is used when there is one and the client keeps up, and nothing has to be asked for; else `send`.

        Without an end of its own a stream lasts `longest` seconds, up to twice that, so that streams do not all end together.
        """
        self._store = store
        self._view = view
        self._matcher = matcher
        self._options = options
        self._send = send
        self._translation = translation_to(view.version)
        self._push = push if self._translation is None else None
        self._fanout = fanout
        self._cursor: Cursor | None = None  # while the stream waits for changes, and has sent all that it took: others may serve it
        self._asked = False  # the fan-out will serve it
        self._unsent = b""  # was taken from the cursor, and has to wait for the client
        self._broken: Exception | None = None  # what went wrong while it was served
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._left = False
        self._asking: anyio.CancelScope | None = None  # while somebody is asked to convert what is to be sent
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
        if self._asking is not None:
            self._asking.cancel()

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

    def serve(self) -> None:
        """Sends what is new, if nothing is under way; what cannot be done at once is left to the stream's task. Does not raise."""
        self._asked = False
        cursor, push = self._cursor, self._push
        if cursor is None or push is None or self._unsent or self._left:
            return
        try:
            data = self._lines(cursor.take())
            sent = not data or push(data)
        except Exception as error:
            self._broken = error
            self._woken.set()
            return
        if not sent:
            self._unsent = data
            self._woken.set()
        elif cursor.revision < self._store.revision:
            self._woken.set()

    def _wake(self, changes: Sequence[Change]) -> None:
        if not changes:
            self.leave()
        elif self._cursor is None or self._push is None:
            self._woken.set()
        elif not self._asked:
            self._asked = True
            self._fanout.ask(self)

    async def _initial(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        wanted: Sequence[Record] = snapshot.records
        if self._translation is None and self._matcher.selective:
            wanted = [record for record in wanted if self._matcher.matches(record)]
        for start in range(0, len(wanted), LINES):
            lines = []
            for record in await self._shown(wanted[start : start + LINES]):
                lines.append(added(self._view, record, first=not self._begun))
                self._begun = True
            await self._line(b"".join(lines))
        if self._options.send_initial and self._options.bookmarks and not self._left:
            await self._line(bookmark(self._view, snapshot.revision, initial=True, first=not self._begun))
            self._begun = True

    async def _shown(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those of them that can be shown, and, if a selector could not tell before, that it means."""
        if self._translation is None:
            return [record for record in records if is_convertible(self._view.version, record)]
        outcomes = await self._patiently(lambda: shown(self._view.version, records)) or ()
        found = [record for record in outcomes if isinstance(record, Record)]
        return [record for record in found if self._matcher.matches(record)] if self._matcher.selective else found

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What somebody else answers, as soon as they can be asked. None: the stream ends before that."""
        patience = Patience()
        with anyio.CancelScope(deadline=self._end) as self._asking:
            while not self._left:
                try:
                    return await ask()
                except Unreached:
                    await anyio.sleep(patience.more())
        self._left = True  # nothing is told of what could not be seen, nor of what came after it
        return None

    async def _translated(self, changes: Sequence[Change]) -> Sequence[Change]:
        translation, matcher = self._translation, self._matcher
        if translation is None:
            return changes
        if matcher.namespace is not None or matcher.name is not None:
            changes = [change for change in changes if matcher.could_mean(change.record.key)]
        return await self._patiently(lambda: translation.of(changes)) or ()

    async def _follow(self, cursor: Cursor) -> None:
        while not self._left:
            self._woken.clear()
            if self._broken is not None:
                raise self._broken
            if self._unsent:
                data, self._unsent = self._unsent, b""
                await self._line(data)
            changes = cursor.take()
            if not changes and cursor.revision < self._store.revision:
                changes = await self._from_log(cursor)
            if changes:
                await self._line(self._lines(await self._translated(changes)))
            now = self._loop.time()
            if now >= self._end:  # also when there is always more
                return
            if changes:
                continue
            if now >= self._bookmark_at:
                self._bookmark_at = min(now + self._bookmark_every, self._end)
                if cursor.revision > self._store.revision:
                    continue  # it waits for a revision of the future, and has seen nothing that a bookmark could vouch for
                await self._line(bookmark(self._view, cursor.revision, first=not self._begun))
                self._begun = True
                continue
            await self._wait(cursor, min(self._end, self._bookmark_at))

    async def _from_log(self, cursor: Cursor) -> Sequence[Change]:
        """What a stream that has fallen behind the window reads; nothing, if there is nothing before its time is up."""
        try:
            async with asyncio.timeout_at(min(self._end, self._bookmark_at)):
                return await cursor.next()
        except TimeoutError:
            return ()

    async def _wait(self, cursor: Cursor, until: float) -> None:
        timer = self._loop.call_at(until, self._woken.set)
        self._cursor = cursor
        try:
            await self._woken.wait()
        finally:
            self._cursor = None
            timer.cancel()

    def _lines(self, changes: Sequence[Change]) -> bytes:
        lines = []
        for change in changes:
            op = self._matcher.seen_as(change)
            if op is not None:
                lines.append(event(self._view, change, op, first=not self._begun))
                self._begun = True
        return lines[0] if len(lines) == 1 else b"".join(lines)

    async def _line(self, data: bytes) -> None:
        if not data:
            return
        self._sending_since = self._loop.time()
        await self._send(data)
        self._sending_since = None
