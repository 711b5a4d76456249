"""HTTP by hand: bytes over TLS as no well-behaved client would send them, and the answers to them.

`Wire` is one connection. It sends what it is given, and reads answers as strictly as `http.client` does: an answer that is not
HTTP, or that breaks off, is an error here and so a failed test.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

Headers = Mapping[str, str | bytes]

PATIENCE = 60.0
"""Seconds after which an answer that does not come has failed; never a measure of speed."""


@dataclass(frozen=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media(self) -> str:
        """The media type, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Place:
    """Where a server is, and what it takes to be heard there."""

    host: str
    port: int
    ca: Path
    token: str

    def context(self) -> ssl.SSLContext:
        """TLS that trusts this server alone."""
        return ssl.create_default_context(cafile=str(self.ca))

    def socket(self) -> socket.socket:
        """A TCP connection, before TLS. It sends at once: else the end of a long request waits for the server's ACK."""
        connection = socket.create_connection((self.host, self.port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def place_of(url: str, ca: Path | str, token: str) -> Place:
    """The place that a URL says."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return Place(parts.hostname, parts.port, Path(ca), token)


class Wire:
    """One TLS connection to a server. It is opened when it is needed, and anew when the server has closed it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._context = place.context()
        self._socket: ssl.SSLSocket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def socket(self) -> ssl.SSLSocket:
        """The connection, as a socket."""
        if self._socket is None:
            self._socket = self._context.wrap_socket(self.place.socket(), server_hostname=self.place.host)
        return self._socket

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, data: bytes) -> None:
        """Sends bytes as they are. A server that has answered already, and left, may not want the rest."""
        connection = self.socket
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            connection.sendall(data)

    def reply(self, method: str = "GET") -> Reply:
        """The next answer."""
        with HTTPResponse(self.socket, method=method) as response:
            response.begin()
            body = response.read()
            headers = {name.lower(): value for name, value in response.getheaders()}
            closed = response.will_close
        if closed:
            self.close()
        return Reply(response.status, headers, body)

    def ask(
        self, method: str, target: str | bytes, body: bytes | None = None, headers: Headers | None = None, *, token: bool = True
    ) -> Reply:
        """One request and its answer. Headers that are given go before those that are made."""
        self.send(request(self.place, method, target, body, headers, token=token))
        return self.reply(method)

    def post(self, target: str, document: Any) -> Reply:
        """Creates an object."""
        return self.ask("POST", target, msgspec.json.encode(document), {"content-type": "application/json"})

    def put(self, target: str, document: Any) -> Reply:
        """Replaces an object."""
        return self.ask("PUT", target, msgspec.json.encode(document), {"content-type": "application/json"})

    def merge(self, target: str, patch: Any) -> Reply:
        """Changes an object by a merge patch."""
        return self.ask("PATCH", target, msgspec.json.encode(patch), {"content-type": "application/merge-patch+json"})


def request(
    place: Place,
    method: str,
    target: str | bytes,
    body: bytes | None = None,
    headers: Headers | None = None,
    *,
    token: bool = True,
) -> bytes:
    """The bytes of a request."""
    given = {name.lower(): value for name, value in (headers or {}).items()}
    made: dict[str, str | bytes] = {"host": f"{place.host}:{place.port}"}
    if token:
        made["authorization"] = f"Bearer {place.token}"
    if body is not None and "transfer-encoding" not in given:
        made["content-length"] = str(len(body))
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target if isinstance(target, bytes) else target.encode())]
    lines += [
        name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in {**made, **given}.items()
    ]
    return b"\r\n".join([*lines, b"", body or b""])


class Stream:
    """A watch on a connection of its own: events as they come."""

    def __init__(self, place: Place, target: str) -> None:
        self._wire = Wire(place)
        self._wire.send(request(place, "GET", target))
        self.response = HTTPResponse(self._wire.socket, method="GET")
        self.response.begin()
        assert self.response.status == 200, self.response.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Events, until the server ends the stream as HTTP has it. A stream that breaks off raises IncompleteRead."""
        begun = b""
        for chunk in self._chunks():
            *lines, begun = (begun + chunk).split(b"\n")
            yield from map(json.loads, lines)
        if begun:
            raise IncompleteRead(begun)

    def _chunks(self) -> Iterator[bytes]:
        """The pieces of the body. `HTTPResponse.readline` takes a lost connection for the end of the body; this does not."""
        if not self.response.chunked:
            yield self.response.read()
            return
        while True:
            size = self.response.fp.readline()
            if not size.endswith(b"\r\n"):
                raise IncompleteRead(size)
            length = int(size, 16)
            chunk = self.response.fp.read(length + 2)
            if len(chunk) < length + 2:
                raise IncompleteRead(chunk)
            if not length:
                return
            yield chunk[:-2]

    def until(self, revision: int) -> list[dict[str, Any]]:
        """The next events, up to the one that is at `revision` or after it."""
        events = []
        for event in self:
            events.append(event)
            if event["type"] == "ERROR" or revision_of(event["object"]) >= revision:
                break
        return events

    def reset(self) -> None:
        """Lets `close` end the connection with a reset, as a client does that was killed."""
        self._wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Ends the connection, whatever the stream is at."""
        self.response.close()
        self._wire.close()


def revision_of(document: Mapping[str, Any]) -> int:
    """The resourceVersion of an object or a list, as a number."""
    return int(document["metadata"]["resourceVersion"])


def each_revision(events: Iterable[Mapping[str, Any]]) -> list[int]:
    """The revisions of events that are about objects."""
    return [revision_of(event["object"]) for event in events if event["type"] != "BOOKMARK"]


def quiet(wire: Wire) -> None:
    """Returns when each namespace has its service account: from then on nothing is written but what the test writes."""

    def count(path: str) -> int:
        return len(wire.ask("GET", f"/api/v1/{path}").json()["items"])

    while count("serviceaccounts?fieldSelector=metadata.name=default") < count("namespaces"):
        time.sleep(0.01)
