"""HTTP/1.1 over TLS with as little work as possible: the machine's cores are shared with what is measured.

Answers are read by their content-length or in chunks. What a server may do beyond that (trailers, continuations) is not understood.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.parcels import collection, parcel

LOOK = 0.02
"""Seconds between two looks whether something is gone: little beside what is measured, and little work for the server."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server is, and how one is let in."""

    port: int
    ca: str
    token: str

    def trust(self) -> ssl.SSLContext:
        """Verifies the server's certificate."""
        return ssl.create_default_context(cafile=self.ca)

    def head(
        self, method: str, path: str, length: int = 0, content_type: str = "application/json", more: Sequence[str] = ()
    ) -> bytes:
        """The request line and headers, `more` among them."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Authorization: Bearer {self.token}"]
        lines += [f"Content-Type: {content_type}", f"Content-Length: {length}"] if length else []
        lines += more
        return "\r\n".join([*lines, "", ""]).encode()


class Failed(Exception):
    """A server answered what it should not have."""


class Connection:
    """One connection, one request at a time."""

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._writer = writer

    async def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of the answer. Raises Failed for a status that is no success."""
        head, answer = await self._exchange(method, path, body)
        if head[9:10] != b"2":
            raise Failed(f"{method} {path}: {head[:40]!r} {answer[:300]!r}")
        return answer

    async def head(self, method: str, path: str) -> bytes:
        """The status line and headers of the answer, whatever it is."""
        return (await self._exchange(method, path, b""))[0]

    async def ask(self, path: str, *headers: str) -> tuple[bytes, bytes]:
        """Head and body of the answer to a GET with further headers, whatever it is."""
        return await self._exchange("GET", path, b"", headers)

    async def _exchange(self, method: str, path: str, body: bytes, headers: Sequence[str] = ()) -> tuple[bytes, bytes]:
        self._writer.write(self._endpoint.head(method, path, len(body), more=headers) + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if head[9:12] == b"304":
            return head, b""
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return head, await self._reader.readexactly(int(length)) if length else await self._chunks()

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            parts.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readuntil(b"\r\n")
        return b"".join(parts)

    def close(self) -> None:
        """Ends it."""
        self._writer.close()


@asynccontextmanager
async def connections(endpoint: Endpoint, count: int) -> AsyncIterator[Sequence[Connection]]:
    """So many open connections, for the body of the `async with`."""
    trust = endpoint.trust()
    opened = [Connection(endpoint, *await asyncio.open_connection("127.0.0.1", endpoint.port, ssl=trust)) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def create(endpoint: Endpoint, namespace: str, names: Iterable[str], *, at_once: int = 32) -> None:
    """Creates a namespace, and parcels in it."""
    waiting = iter(names)
    path = collection(namespace)

    async def work(connection: Connection) -> None:
        for name in waiting:
            await connection.request("POST", path, parcel(name, "nothing"))

    async with connections(endpoint, at_once) as opened:
        body = json.dumps({"metadata": {"name": namespace}}).encode()
        await opened[0].request("POST", "/api/v1/namespaces", body)
        await asyncio.gather(*(work(connection) for connection in opened))


async def remove_namespace(endpoint: Endpoint, namespace: str) -> float:
    """Deletes a namespace; the seconds until it is gone with all that was in it."""
    path = f"/api/v1/namespaces/{namespace}"
    async with connections(endpoint, 1) as (connection,):
        begun = time.monotonic()
        await connection.request("DELETE", path)
        try:
            while True:
                await connection.request("GET", path)
                await asyncio.sleep(LOOK)
        except Failed as failed:
            if " 404 " not in str(failed):
                raise
        return time.monotonic() - begun


async def get(endpoint: Endpoint, path: str) -> bytes:
    """The bytes that a path answers."""
    async with connections(endpoint, 1) as (connection,):
        return await connection.request("GET", path)


async def revision(connection: Connection, namespace: str) -> str:
    """The resourceVersion that a watch of a namespace goes on from."""
    page: dict[str, Any] = json.loads(await connection.request("GET", collection(namespace) + "?limit=1"))
    found: str = page["metadata"]["resourceVersion"]
    return found
