"""What is served besides resources: discovery, version, health, OpenAPI, the index of paths. Starlette's routing, without
redirects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from apiserver.discovery import Discovery
from apiserver.documents import OpenAPIDocuments
from apiserver.health import Health
from apiserver.negotiation import choose
from apiserver.target import PageNotFound, unknown_resource
from registry.errors import MethodNotAllowed, NotAcceptable

Scope = MutableMapping[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]

TEXT = "text/plain; charset=utf-8"
PLAIN = {"x-content-type-options": "nosniff", "cache-control": "no-cache, private"}
PUBLIC_CACHE = "public"


def pages(
    discovery: Discovery, documents: OpenAPIDocuments, health: Health, version: dict[str, str]
) -> Callable[..., Awaitable[None]]:
    """The ASGI application of all this. Refusals leave it as ApiError."""
    version_json = msgspec.json.encode(version)

    async def index(_request: Request) -> Response:
        return _json(msgspec.json.encode({"paths": sorted({*discovery.paths, *documents.paths, *HEALTH, "/version"})}))

    async def show_version(_request: Request) -> Response:
        return _json(version_json)

    async def show_health(request: Request) -> Response:
        endpoint, name = request.url.path.strip("/").split("/")[0], request.path_params.get("check", "")
        if not health.has(endpoint, name):
            raise PageNotFound
        query = request.query_params
        report = (
            await health.single(endpoint, name)
            if name
            else await health.all(endpoint, query.getlist("exclude"), verbose="verbose" in query)
        )
        return Response(report.text, report.code, PLAIN | {"content-type": TEXT})

    async def openapi_index(_request: Request) -> Response:
        return Response(documents.index, headers={"content-type": TEXT, "cache-control": "no-cache, private"})

    async def openapi(request: Request) -> Response:
        found = documents.find(request.path_params["path"])
        if found is None:
            return Response(status_code=404)
        try:
            choose(_accept(request), shapes=False)
        except NotAcceptable:
            return Response(status_code=406)
        asked = request.query_params.get("hash")
        if asked is not None and asked != found.hash:
            return Response(status_code=301, headers={"location": found.url, "content-type": "application/json"})
        caching = "public, immutable" if asked else "no-cache, private"
        return _tagged(request, found.body, found.etag, "application/json", caching)

    async def openapi_v2(request: Request) -> Response:
        body, etag, media = documents.v2(_accept(request))
        return _tagged(request, body, etag, media, "no-cache, private")

    async def discover(request: Request) -> Response:
        path = request.url.path.strip("/")
        page = discovery.find(path, _accept(request))
        if page is None:
            raise unknown_resource() if path.startswith("api/") else PageNotFound()
        if page.etag:
            return _tagged(request, page.body, page.etag, page.content_type, PUBLIC_CACHE)
        return _json(page.body, page.content_type)

    routes = [
        Route("/", index),
        Route("/version", show_version),
        Route("/openapi/v3", openapi_index),
        Route("/openapi/v3/{path:path}", openapi),
        Route("/openapi/v2", openapi_v2),
        *(Route(path, show_health) for path in HEALTH),
        *(Route(f"{path}/{{check}}", show_health) for path in HEALTH),
        Route("/{path:path}", discover),
    ]
    router = Router(routes, redirect_slashes=False)

    async def application(scope: Scope, receive: Any, send: Any) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource", details={})
        path = scope["path"].rstrip("/") or "/"
        await router({**scope, "path": path, "root_path": ""}, receive, send)

    return application


HEALTH = ("/healthz", "/livez", "/readyz")


def _accept(request: Request) -> str:
    return ",".join(request.headers.getlist("accept"))


def _json(body: bytes, media: str = "application/json") -> Response:
    return Response(body, headers={"content-type": media, "cache-control": "no-cache, private"})


def _tagged(request: Request, body: bytes, etag: str, media: str, caching: str) -> Response:
    """A document with its ETag; 304 when the client has it already (RFC 9110, section 13.1.2)."""
    headers = {"etag": etag, "vary": "Accept", "cache-control": caching}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers | {"content-type": media})
