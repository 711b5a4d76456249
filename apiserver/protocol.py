"""HTTP/1.1 on a connection: uvicorn's protocol, with bounds on what a request line and headers may be, and refusals as Status.

httptools reads any number of headers of any size and waits for them for ever; here a head has to come within `HEAD_SECONDS` and may
have `limit` bytes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
"""How long a client may take over a request line and headers, or over its TLS handshake's first request."""


def bounded(limit: int) -> type[HttpToolsProtocol]:
    """The protocol class for heads of at most `limit` bytes."""

    class BoundedProtocol(HttpToolsProtocol):
        _in_head = True  # between the begin of a request and the end of its headers
        _head_size = 0
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_done()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self._in_head:
                super().data_received(data)
                return
            self._head_size += len(data)
            if self._head_timer is None:
                self._await_head()
            super().data_received(data)
            if self._in_head and self._head_size > limit and not self.transport.is_closing():
                self._refuse(431, "RequestHeaderFieldsTooLarge", f"the request line and headers have more than {limit} bytes")

        def on_headers_complete(self) -> None:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            self._head_done()
            if size > limit:
                self._refuse(431, "RequestHeaderFieldsTooLarge", f"the request line and headers have more than {limit} bytes")
                return
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            if self.cycle is not None:
                super().on_body(body)

        def on_message_complete(self) -> None:
            self._in_head, self._head_size = True, 0
            if self.cycle is not None:
                super().on_message_complete()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, "BadRequest", "the request is not HTTP/1.1 that can be read")

        def _await_head(self) -> None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

        def _head_done(self) -> None:
            self._in_head = False
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _too_slow(self) -> None:
            self._head_timer = None
            if self.transport is not None and not self.transport.is_closing():
                self.transport.close()

        def _refuse(self, code: int, reason: str, message: str) -> None:
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": reason,
                "code": code,
            }
            body = msgspec.json.encode(status)
            phrase = {400: "Bad Request", 431: "Request Header Fields Too Large"}[code]
            head = f"HTTP/1.1 {code} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
            self.transport.close()

    return BoundedProtocol
