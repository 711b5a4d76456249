"""uvicorn as it serves here: on a socket of ours, without signal handlers of its own, and not waiting for clients that are done."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn

from apiserver.protocol import BoundedProtocol, bounded
from apiserver.sections import Limits

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than clients pause between requests."""
BACKLOG = 2_048
GOODBYE = 0.25
"""Seconds for clients to answer the end of TLS."""


def http_config(
    app: Any, *, cert_file: Path, key_file: Path, limits: Limits, grace: float, client_ca: Path | None = None
) -> uvicorn.Config:
    """How uvicorn serves an ASGI application: HTTP/1.1 over TLS, within the limits. `grace` is in seconds.

    With a `client_ca` (PEM) clients may show a certificate; one that is not of these authorities, not for clients, or not in its
    time ends the handshake.
    """
    return uvicorn.Config(
        app,
        http=bounded(limits.header_bytes, limits.request_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=cert_file,
        ssl_keyfile=key_file,
        ssl_cert_reqs=ssl.CERT_NONE if client_ca is None else ssl.CERT_OPTIONAL,
        ssl_ca_certs=client_ca,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, int(grace)),
        backlog=BACKLOG,
    )


@asynccontextmanager
async def serving(config: uvicorn.Config, listener: socket.socket) -> AsyncIterator[uvicorn.Server]:
    """Serves on the socket within the body of the `async with`; it ends when `should_exit` is set, or the body ends."""
    server = QuietServer(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        await server.up.wait()
        try:
            yield server
        finally:
            server.should_exit = True


class QuietServer(uvicorn.Server):
    """uvicorn without signal handlers, which the composition root has; `up` is set when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to serve."""
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends when every request is answered and sent, or the grace is over."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hang_up)
            await super().shutdown(sockets)
            tasks.cancel_scope.cancel()

    async def _hang_up(self) -> None:
        """A client that is idle, or that reads no further, does not answer the end of TLS. It is not waited for."""
        while True:
            await anyio.sleep(GOODBYE)
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.hang_up()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to whoever has them."""
        yield
