"""Watchers, and somebody who creates objects for them: one process, raw TLS streams, no JSON.

Every object carries a mark with its number and the moment at which it was sent. Each watcher keeps what it saw, so that in the end
it is known, not assumed, that each saw every object once, and all in the same order.

    python -m benchmarks.fanout '{"port": ..., "ca": ..., "token": ..., "watchers": 100, "rate": 200, "seconds": 5}'

prints a line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from typing import Any, cast

import msgspec
import uvloop

from benchmarks.client import Connection, Endpoint, connections, revision
from benchmarks.parcels import MARK, MARK_LENGTH, collection, mark, parcel

NAMESPACE = "watched"
PATIENCE = 20.0
"""Seconds after the last object within which everything has to have arrived."""


class Order(msgspec.Struct, frozen=True):
    """What is to be measured: `rate` objects per second for `seconds`, then for `flat_out` seconds as many as go, by `creators`."""

    port: int
    ca: str
    token: str
    watchers: int
    rate: float
    seconds: float
    flat_out: float = 3.0
    creators: int = 8
    prefix: str = "a"


class Audience:
    """What all watchers have seen together."""

    def __init__(self) -> None:
        self.latencies: list[int] = []  # nanoseconds from sending an object to seeing it, of the phase that is under way
        self.delivered = 0
        self.latest = 0  # when the last one came


class Watcher(asyncio.Protocol):
    """One stream. `seen` are the numbers of the objects, in the order in which they came."""

    def __init__(self, request: bytes, audience: Audience) -> None:
        self._request = request
        self._audience = audience
        self._rest = b""
        self._head = True
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.seen: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the stream."""
        cast("asyncio.WriteTransport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Notes the marks in what came; a mark may be torn between two pieces."""
        if self._head:
            data = self._after_head(data)
        text = self._rest + data if self._rest else data
        now = time.monotonic_ns()
        audience = self._audience
        end = 0
        for found in MARK.finditer(text):
            number, sent = found.groups()
            self.seen.append(int(number))
            audience.latencies.append(now - int(sent))
            audience.delivered += 1
            audience.latest = now
            end = found.end()
        self._rest = text[max(end, len(text) - MARK_LENGTH + 1) :]

    def _after_head(self, data: bytes) -> bytes:
        head, ended, body = (self._rest + data).partition(b"\r\n\r\n")
        if not ended:
            self._rest = head
            return b""
        self._head, self._rest = False, b""
        if head.startswith(b"HTTP/1.1 200"):
            self.open.set_result(None)
        else:
            self.open.set_exception(RuntimeError(f"no stream: {head[:60]!r} {body[:200]!r}"))
        return body

    def connection_lost(self, exc: Exception | None) -> None:
        """A stream that ends before its time has lost what would have come."""
        if not self.open.done():
            self.open.set_exception(exc or RuntimeError("the server closed a stream before it began"))


async def measure(order: Order) -> dict[str, Any]:
    """Watches and creates as ordered, against a server that has the namespace."""
    endpoint = Endpoint(order.port, order.ca, order.token)
    audience = Audience()
    async with connections(endpoint, 64) as pool:
        watchers = await _watch(endpoint, await revision(pool[0], NAMESPACE) if order.prefix != "floor" else "0", order, audience)
        creators = Creators(pool, order.prefix)
        await creators.paced(order.rate, min(1.0, order.seconds))
        await _all_seen(audience, creators, watchers)
        audience.latencies = []
        begun = time.monotonic_ns()
        before = audience.delivered
        await creators.paced(order.rate, order.seconds)
        await _all_seen(audience, creators, watchers)
        paced = _phase(audience, audience.delivered - before, begun) | {"late_ms": round(creators.late / 1e6, 3)}
        audience.latencies = []
        begun = time.monotonic_ns()
        before = audience.delivered
        await creators.flat_out(order.creators, order.flat_out)
        await _all_seen(audience, creators, watchers)
        saturated = _phase(audience, audience.delivered - before, begun)
    return {"paced": paced, "saturated": saturated, "objects": creators.sent, **_complete(watchers, creators.sent)}


async def _watch(endpoint: Endpoint, since: str, order: Order, audience: Audience) -> list[Watcher]:
    loop = asyncio.get_running_loop()
    trust = endpoint.trust()
    path = f"{collection(NAMESPACE)}?watch=1&resourceVersion={since}&allowWatchBookmarks=true"
    request = endpoint.head("GET", path)
    watchers: list[Watcher] = []
    for start in range(0, order.watchers, 50):
        some = [
            loop.create_connection(lambda: Watcher(request, audience), "127.0.0.1", endpoint.port, ssl=trust)
            for _ in range(min(50, order.watchers - start))
        ]
        watchers += [watcher for _, watcher in await asyncio.gather(*some)]
    await asyncio.gather(*(watcher.open for watcher in watchers))
    return watchers


class Creators:
    """Creates objects over a pool of connections. `sent` is how many, `late` how much later than planned one was sent at worst."""

    def __init__(self, pool: Sequence[Connection], prefix: str) -> None:
        self._pool = pool
        self._prefix = prefix
        self._numbers = count()
        self.sent = 0
        self.late = 0

    async def paced(self, rate: float, seconds: float) -> None:
        """One after another at a fixed rate, whether or not those before have been answered."""
        free = list(self._pool)
        under_way: set[asyncio.Task[None]] = set()
        begun = time.monotonic_ns()
        for number in range(int(rate * seconds)):
            due = begun + int(number / rate * 1e9)
            while (wait := due - time.monotonic_ns()) > 0 or not free:
                await asyncio.sleep(max(wait, 0) / 1e9 if free else 0.001)
            self.late = max(self.late, -wait)
            task = asyncio.ensure_future(self._borrow(free))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        while under_way:
            await asyncio.gather(*under_way)

    async def flat_out(self, creators: int, seconds: float) -> None:
        """So many at once, each as fast as it is answered."""
        end = time.monotonic_ns() + int(seconds * 1e9)

        async def work(connection: Connection) -> None:
            while time.monotonic_ns() < end:
                await self._one(connection)

        await asyncio.gather(*(work(connection) for connection in self._pool[:creators]))

    async def _borrow(self, free: list[Connection]) -> None:
        connection = free.pop()
        await self._one(connection)
        free.append(connection)

    async def _one(self, connection: Connection) -> None:
        number = next(self._numbers)
        self.sent += 1
        body = parcel(f"{self._prefix}-{number}", mark(number, time.monotonic_ns()))
        await connection.request("POST", collection(NAMESPACE), body)


async def _all_seen(audience: Audience, creators: Creators, watchers: Sequence[Watcher]) -> None:
    """Waits until everything has come, or PATIENCE is at its end."""
    end = time.monotonic() + PATIENCE
    while audience.delivered < creators.sent * len(watchers) and time.monotonic() < end:
        await asyncio.sleep(0.01)


def _phase(audience: Audience, delivered: int, begun: int) -> dict[str, Any]:
    latencies = sorted(audience.latencies)
    if not latencies:
        raise SystemExit("nothing was delivered")
    return {
        "per_s": round(delivered / ((audience.latest - begun) / 1e9), 1),
        "p50_ms": round(latencies[len(latencies) // 2] / 1e6, 3),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] / 1e6, 3),
        "max_ms": round(latencies[-1] / 1e6, 3),
        "delivered": delivered,
    }


def _complete(watchers: Sequence[Watcher], sent: int) -> dict[str, Any]:
    """Whether each watcher saw every object once, and all of them in one order."""
    first = watchers[0].seen
    missing = sum(max(0, sent - len(set(watcher.seen))) for watcher in watchers)
    repeated = sum(len(watcher.seen) - len(set(watcher.seen)) for watcher in watchers)
    return {"missing": missing, "repeated": repeated, "one_order": all(watcher.seen == first for watcher in watchers)}


def main() -> None:
    """Does what the argument orders."""
    order = msgspec.json.decode(sys.argv[1], type=Order)
    gc.disable()  # everything lives until the end anyway
    run = cast("Callable[[Coroutine[Any, Any, dict[str, Any]]], dict[str, Any]]", uvloop.run)
    print(json.dumps(run(measure(order))))


if __name__ == "__main__":
    main()
