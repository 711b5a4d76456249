"""The floor: what the same uvicorn, protocol, certificate and client do when nothing is decided and nothing is stored.

A bare ASGI function answers constant bytes, as long as a real answer to the same request. A watch is a stream of lines as long as a
real event; a POST while there are streams sends one to each, with the mark of what was posted.

    python -m benchmarks.floor --cert FILE --key FILE --answers FOLDER
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from apiserver.listening import http_config
from apiserver.sections import Limits
from benchmarks.parcels import MARK

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Floor:
    """The ASGI function, with what it answers."""

    def __init__(self, one: bytes, many: bytes) -> None:
        """`one` is the answer about an object (which holds a mark), `many` the answer to a list."""
        self._one = self._answer(one)
        self._created = ({**self._one[0], "status": 201}, self._one[1])
        self._many = self._answer(many)
        line = b'{"type":"ADDED","object":' + one + b"}\n"
        found = MARK.search(line)
        self._before, self._after = (line[: found.start()], line[found.end() :]) if found else (line, b"")
        self._streams: set[Send] = set()

    @staticmethod
    def _answer(body: bytes) -> tuple[Message, Message]:
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-cache, private"),
            (b"content-length", str(len(body)).encode()),
        ]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        return start, {"type": "http.response.body", "body": body, "more_body": False}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request."""
        method, query = scope["method"], scope["query_string"]
        if method == "GET" and b"watch=1" in query:
            await self._stream(receive, send)
            return
        if method == "GET":
            start, body = self._many if b"limit=" in query else self._one
        else:
            message = await receive()
            posted = message["body"]
            while message["more_body"]:
                message = await receive()
                posted += message["body"]
            if self._streams:
                await self._push(posted)
            start, body = self._created if method == "POST" else self._one
        await send(start)
        await send(body)

    async def _stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        self._streams.add(send)
        while (await receive())["type"] != "http.disconnect":
            pass
        self._streams.discard(send)

    async def _push(self, posted: bytes) -> None:
        found = MARK.search(posted)
        line = self._before + (found[0] if found else b"") + self._after
        message = {"type": "http.response.body", "body": line, "more_body": True}
        for send in tuple(self._streams):
            await send(message)


def main() -> None:
    """Serves until it is killed; prints the port that it listens on."""
    parser = argparse.ArgumentParser()
    for name in ("--cert", "--key", "--answers"):
        parser.add_argument(name, type=Path, required=True)
    arguments = parser.parse_args()
    floor = Floor((arguments.answers / "one").read_bytes(), (arguments.answers / "many").read_bytes())
    config = http_config(floor, cert_file=arguments.cert, key_file=arguments.key, limits=Limits(), grace=1)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        runner: Callable[[Any], object] = uvloop.run
        runner(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
