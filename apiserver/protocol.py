"""HTTP/1.1 on a connection: uvicorn's protocol, with bounds on what a request line and headers may be, and refusals as Status.

httptools reads any number of headers of any size and waits for them for ever; here a head has to come within `seconds` and may
have `limit` bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from admission.identity import Certificate
from apiserver.peer import peer_certificate

CONNECTION = "skep.connection"
"""Where the scope of a request has its connection, for `pusher`."""
CERTIFICATE = "skep.certificate"
"""Where the scope of a request has the certificate that the client has shown (`admission.identity.Certificate`), if it has."""
COMPLETE = "skep.complete"
"""Is in the scope of a request whose body is here already: reading it needs no time limit."""

LONG = 32 * 1024
"""Bytes of a body from which on copying it costs more than a TLS record of its own for the head."""
PHRASES = {400: "Bad Request", 431: "Request Header Fields Too Large"}


Push = Callable[[bytes], bool]
"""Sends a piece at once; False, and nothing is sent, when the client is behind or gone."""


class Joined:
    """A transport that holds the head of an answer back until the first piece of its body, so that both go out as one TLS record.

    When it is told to close, `ending` decides when it does: see `end`. Everything else is the transport's.
    """

    __slots__ = ("_closing", "_ending", "_held", "_transport")

    def __init__(self, transport: asyncio.Transport, ending: Callable[[], None]) -> None:
        self._transport = transport
        self._ending = ending
        self._closing = False
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends, or holds the head of an answer."""
        if self._held:
            held, self._held = self._held, b""
            if len(data) > LONG:
                self._transport.writelines((held, data))
                return
            data = held + data
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._held = data
            return
        if data:
            self._transport.write(data)

    @property
    def holds(self) -> bool:
        """Whether a head waits for its body."""
        return bool(self._held)

    def flush(self) -> None:
        """Sends what is held: an answer without a body is complete."""
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection is about to end."""
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        """Sends what is held, and lets the connection end; asked again, ends it."""
        self.flush()
        if self._closing:
            self._transport.close()
        else:
            self._closing = True
            self._ending()

    def end(self) -> None:
        """Ends the connection now."""
        self._closing = True
        self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `limit` is the number of bytes that a head may have."""

    limit = 64 * 1024
    seconds = 30.0

    _in_head = True  # between the begin of a request and the end of its headers
    _head_size = 0  # bytes that came since the begin of the request
    _between = 0  # bytes that came since the last piece of a body: trailers, and what chunks say of themselves
    _refused = False  # what comes now belongs to nothing
    _certificate: Certificate | None = None  # of the client; read once, since it stays while the connection lasts
    _timer: asyncio.TimerHandle | None = None  # runs while a head is awaited, or the end of a client that goes on sending

    def connection_made(self, transport: Any) -> None:
        """A client is there, and has to say something soon."""
        super().connection_made(transport)
        self._certificate = peer_certificate(transport)
        self.transport = self._joined = Joined(transport, self._end)  # type: ignore[assignment]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._head_done()
        self._joined.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what comes before the end of a head, and reads it."""
        if self._refused:
            return
        if not self._in_head:
            self._between += len(data)
            super().data_received(data)
            if self._between > self.limit and not self._in_head:
                self._too_large()
            return
        self._head_size += len(data)
        super().data_received(data)
        if not self._in_head or not self._head_size:
            return
        if self._head_size > self.limit:
            self._too_large()
        elif self._timer is None:  # nearly every head comes in one piece, and needs no timer
            self._await_head()

    def on_headers_complete(self) -> None:
        """A head is complete; it may be over the limit although it came in one piece."""
        if self._refused:
            return
        self._in_head, self._between = False, 0
        if self._timer is not None:
            self._head_done()
        if self._head_size > self.limit and self._size_of_head() > self.limit:
            self._too_large()
            return
        self.scope[CONNECTION] = self  # type: ignore[literal-required]
        if self._certificate is not None:
            self.scope[CERTIFICATE] = self._certificate  # type: ignore[literal-required]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, unless the request was refused."""
        self._between = 0
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete: what comes now is the next head."""
        self._in_head, self._head_size = True, 0
        if not self._refused:
            self.scope[COMPLETE] = True  # type: ignore[literal-required]
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is complete, also one without a body."""
        if self._joined.holds:
            self._joined.flush()
        super().on_response_complete()

    def pusher(self, scope: MutableMapping[str, Any]) -> Push | None:
        """What sends pieces of the answer to a request, which has begun and has no length, without waiting. None: use `send`."""
        cycle, flow, joined = self.cycle, self.flow, self._joined
        if cycle is None or cycle.scope is not scope or scope["method"] == "HEAD":
            return None

        def push(data: bytes) -> bool:
            if flow.write_paused or cycle.disconnected or joined.is_closing():
                return False
            joined.write(b"%x\r\n%b\r\n" % (len(data), data))  # a chunk (RFC 9112, section 7.1)
            return True

        return push

    def hang_up(self) -> None:
        """Ends the connection if everything has been answered and is sent, without waiting for the client to end it too."""
        answered = self.cycle is None or self.cycle.response_complete
        if answered and self.transport is not None and self.transport.get_write_buffer_size() == 0:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        self._refuse(400, "BadRequest", "the request is not HTTP/1.1 that can be read")

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _awaits_answer(self) -> bool:
        """Whether the next answer that is sent would be that to the request which is being read."""
        if not self._in_head and self.cycle is not None and self.cycle.scope is self.scope:
            return not self.cycle.response_started
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self._joined.end)

    def _head_done(self) -> None:
        self._in_head = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        """Ends the connection of a client that has sent its request; that of another when it is gone, or `seconds` are over.

        Bytes that reach a socket after its end make the client's system forget what the client has not read yet, and that is the
        answer (RFC 9112, section 9.6). So who sends a body that is refused may go on for a while, and nobody listens.
        """
        if self._in_head and not self._head_size:
            self._joined.end()
            return
        self._refused = True
        self._head_done()
        self._timer = self.loop.call_later(self.seconds, self._joined.end)
        self.flow.resume_reading()

    def _too_large(self) -> None:
        self._refuse(431, "RequestHeaderFieldsTooLarge", f"the request line and headers have more than {self.limit} bytes")

    def _refuse(self, code: int, reason: str, message: str) -> None:
        """Answers for the application, and closes. It only closes where that would be taken for the answer to another request."""
        self._refused = True
        if self.transport.is_closing():
            return
        if not self._awaits_answer():
            self._joined.end()
            return
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
        body = msgspec.json.encode(status | {"reason": reason, "code": code})
        head = [
            f"HTTP/1.1 {code} {PHRASES[code]}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()


def bounded(limit: int, seconds: float) -> type[BoundedProtocol]:
    """The protocol for heads of at most `limit` bytes that come within `seconds`."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limit": limit, "seconds": seconds})
