"""Watches over HTTP: lines of JSON, resumed for as long as somebody looks, and never trusted to be alive.

What it promises:

* **Without a gap.** A stream that ends, as every stream does after `timeoutSeconds`, is taken up again after the last revision that
  it vouched for, by an event or a bookmark.
* **A dead connection is noticed.** The server is asked to end each stream after `seconds`, and says how far it is two seconds
  before. So one that is still open and silent `GRACE` seconds later is dead, whatever its socket says: Timeout, and whoever watches
  begins again.
* **Expired is expired**, whether the server says so in its answer or in the stream.
* **Bounded.** A line, like an answer, has a largest size; nothing is read ahead of whoever takes the batches.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import msgspec

from actors.cache import Change, Listing, hold
from actors.client import Op
from actors.door import Query
from apiserver.remote import LARGEST, Api, Model, explained_absence, model_of, page, selectors
from registry.catalog import Registry
from registry.errors import ExpiredError, ServiceUnavailable, Timeout, from_status

Document = dict[str, Any]
GRACE = 5.0
"""Seconds that a stream may be late with its end."""
SHORT = 1.0
"""Seconds: a stream that ends sooner is not taken up again at once."""
_EVERYTHING = Query()
_OPS = {op.value: op for op in Op}


class _Line(msgspec.Struct):
    type: str
    object: Document


_read = msgspec.json.Decoder(_Line).decode


class Streams:
    """Watches streams of `seconds` each, which may be late with their end by `grace`."""

    def __init__(self, seconds: int = 30, grace: float = GRACE) -> None:
        self._seconds = seconds
        self._grace = grace

    async def watch(
        self, api: Api, found: Model, namespace: str | None, query: Query, after: int
    ) -> AsyncGenerator[Sequence[tuple[Op, Document]], None]:
        """Every change after a revision, in order, in batches.

        Ends when a stream ends sooner than it was asked to. Raises ExpiredError, and Timeout for a dead connection.
        """
        async with aclosing(self.followed(api, found, namespace, query, after)) as batches:
            async for batch, _ in batches:
                if batch:
                    yield batch

    async def followed(
        self, api: Api, found: Model, namespace: str | None, query: Query, after: int
    ) -> AsyncGenerator[tuple[Sequence[tuple[Op, Document]], int], None]:
        """The same with the revision up to which each batch vouches; an empty one is a bookmark."""
        while True:
            began = anyio.current_time()
            async with aclosing(self._one(api, found, namespace, query, after)) as batches:
                async for batch, vouched in batches:
                    after = vouched
                    yield batch, vouched
            if anyio.current_time() - began < SHORT:
                return

    async def _one(
        self, api: Api, found: Model, namespace: str | None, query: Query, after: int
    ) -> AsyncGenerator[tuple[Sequence[tuple[Op, Document]], int], None]:
        """One stream, to its end."""
        parameters = {
            "watch": "1",
            "resourceVersion": str(after),
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._seconds),
        } | selectors(query)
        silence = self._seconds + self._grace
        async with (
            explained_absence(api, found),
            api.stream(found.path(namespace), parameters, silence) as response,
            aclosing(_lines(response.aiter_raw(), anyio.current_time() + silence)) as pieces,
        ):
            async for lines in pieces:
                batch, after = _understood(lines, after)
                yield batch, after


async def _lines(pieces: AsyncIterator[bytes], due: float) -> AsyncGenerator[Sequence[bytes], None]:
    """The whole lines of each piece. Raises Timeout if there is no end when it is `due`."""
    rest = bytearray()
    iterator = aiter(pieces)
    while True:
        with anyio.CancelScope(deadline=due) as scope:
            piece = await anext(iterator, None)
        if scope.cancelled_caught:
            raise Timeout("the watch did not end when it should have: its connection is taken for dead")
        if piece is None:
            return
        rest += piece
        if len(rest) > LARGEST:
            raise ServiceUnavailable(f"a line of the watch has more than {LARGEST} bytes")
        whole, newline, remainder = rest.rpartition(b"\n")
        if newline:
            rest = bytearray(remainder)
            yield [line for line in bytes(whole).split(b"\n") if line]


def _understood(lines: Sequence[bytes], after: int) -> tuple[Sequence[tuple[Op, Document]], int]:
    """The changes in some lines, and the revision after them. Raises what an ERROR says."""
    batch: list[tuple[Op, Document]] = []
    for raw in lines:
        try:
            line = _read(raw)
        except msgspec.DecodeError:
            raise ServiceUnavailable("the watch sent a line that is no event") from None
        if line.type == "ERROR":
            error = from_status(line.object)
            raise ExpiredError(error.message) if line.object.get("code") == 410 else error
        revision = int((line.object.get("metadata") or {}).get("resourceVersion") or 0)
        if line.type in _OPS:
            batch.append((_OPS[line.type], line.object))
        after = max(after, revision)
    return batch, after


class RemoteSource:
    """Implements `actors.cache.Source`."""

    def __init__(self, api: Api, registry: Registry, streams: Streams) -> None:
        self._api = api
        self._registry = registry
        self._streams = streams
        self._quiet: dict[type, tuple[int, int]] = {}  # nothing happened to a kind after the first revision, up to the second

    async def list(self, model: type) -> Listing:
        """All objects of a kind, of one moment."""
        found = model_of(self._registry, model)
        more, held = "", []
        while True:
            part = await page(self._api, found, None, _EVERYTHING, more)
            held += [hold(document) for document in part.documents]
            more = part.more
            if not more:
                return Listing(part.revision, held)

    async def watch(self, model: type, after: int) -> AsyncGenerator[Sequence[Change], None]:
        """Every change after a revision. Raises ExpiredError."""
        found = model_of(self._registry, model)
        quiet_after, until = self._quiet.get(model, (-1, 0))
        begin = max(after, until) if quiet_after == after else after
        async with aclosing(self._streams.followed(self._api, found, None, _EVERYTHING, begin)) as batches:
            async for batch, vouched in batches:
                if batch:
                    changes = [
                        Change(op is Op.DELETED, held.revision, held) for op, held in ((op, hold(each)) for op, each in batch)
                    ]
                    after = changes[-1].revision
                    yield changes
                self._quiet[model] = (after, vouched)
