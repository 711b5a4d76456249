"""The port on which a process that runs actors elsewhere says how it is: `/healthz`, `/readyz` and `/metrics`, without TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from actors.leading import Leading
from apiserver.config import Address
from apiserver.listening import serving
from apiserver.metrics import actor_families, exposition, leading_families
from apiserver.protocol import bounded
from apiserver.sockets import bind


@asynccontextmanager
async def serving_health(
    address: Address | None, leads: Sequence[Leading], ready: Callable[[], dict[str, bool]]
) -> AsyncIterator[Address | None]:
    """Serves `/healthz`, `/readyz` and `/metrics` for the body, and gives the address that it got. None: nothing is served."""
    if address is None:
        yield None
        return
    listener, bound = bind(address)
    config = uvicorn.Config(
        health_app(leads, ready),
        http=bounded(16 * 1024, 10.0),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    with listener:
        async with serving(config, listener):
            yield bound


def health_app(leads: Sequence[Leading], ready: Callable[[], dict[str, bool]]) -> Starlette:
    """`/healthz`: the process answers. `/readyz`: each actor is ready, by name. `/metrics`: see `apiserver.metrics`."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(request: Request) -> Response:
        checks = ready()
        lines = [f"[{'+' if good else '-'}]{name} {'ok' if good else 'failed'}" for name, good in checks.items()]
        return PlainTextResponse("\n".join([*lines, ""]), 200 if all(checks.values()) else 503)

    async def show(request: Request) -> Response:
        actors = actor_families([each.snapshot() for each in leads], anyio.current_time())
        elections = leading_families((each.lease, each.standing().leading) for each in leads)
        body, content_type = exposition([*actors, *elections], request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show)])
