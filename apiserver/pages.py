"""What is served besides resources: discovery, version, health, OpenAPI, the index of paths. Starlette's routing, without
redirects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, Router

from apiserver.discovery import Discovery
from apiserver.documents import OpenAPIDocuments
from apiserver.health import Health
from apiserver.negotiation import choose
from apiserver.target import PageNotFound, unknown_resource
from registry.errors import MethodNotAllowed, NotAcceptable

Scope = MutableMapping[str, Any]

TEXT = "text/plain; charset=utf-8"
PLAIN = {"x-content-type-options": "nosniff", "cache-control": "no-cache, private"}
PUBLIC_CACHE = "public"
HEALTH = ("/healthz", "/livez", "/readyz")
METRICS = "/metrics"


class Pages:
    """The ASGI application of all this. Refusals leave it as ApiError."""

    def __init__(
        self,
        discovery: Discovery,
        documents: OpenAPIDocuments,
        health: Health,
        version: dict[str, str],
        metrics: Callable[[str], tuple[bytes, str]],
        more: Mapping[str, Callable[[], tuple[bytes, str]]] = MappingProxyType({}),
    ) -> None:
        """`metrics` makes the text of `/metrics`, and its content type, for an Accept header; `more` are further documents by their
        paths, which others may keep for a few minutes."""
        self._discovery = discovery
        self._documents = documents
        self._health = health
        self._version = msgspec.json.encode(version)
        self._metrics = metrics
        self._more = dict(more)
        routes = [
            Route("/", self._index),
            Route("/version", self._show_version),
            Route(METRICS, self._show_metrics),
            Route("/openapi/v3", self._openapi_index),
            Route("/openapi/v3/{path:path}", self._openapi),
            Route("/openapi/v2", self._openapi_v2),
            *(Route(path, self._show_more) for path in self._more),
            *(Route(path, self._show_health) for path in HEALTH),
            *(Route(f"{path}/{{check}}", self._show_health) for path in HEALTH),
            Route("/{path:path}", self._discover),
        ]
        self._router = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answers a request. A trailing slash changes nothing."""
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource", details={})
        path = scope["path"].rstrip("/") or "/"
        await self._router({**scope, "path": path, "root_path": ""}, receive, send)

    async def _index(self, _request: Request) -> Response:
        paths = {*self._discovery.paths, *self._documents.paths, *HEALTH, *self._more, METRICS, "/version"}
        return _json(msgspec.json.encode({"paths": sorted(paths)}))

    async def _show_version(self, _request: Request) -> Response:
        return _json(self._version)

    async def _show_metrics(self, request: Request) -> Response:
        body, media = self._metrics(_accept(request))
        return Response(body, headers=PLAIN | {"content-type": media})

    async def _show_more(self, request: Request) -> Response:
        body, media = self._more[request.url.path]()
        return Response(body, headers={"content-type": media, "cache-control": "public, max-age=300"})

    async def _show_health(self, request: Request) -> Response:
        endpoint, name = request.url.path.strip("/").split("/")[0], request.path_params.get("check", "")
        if not self._health.has(endpoint, name):
            raise PageNotFound
        query = request.query_params
        if name:
            report = await self._health.single(endpoint, name)
        else:
            report = await self._health.all(endpoint, query.getlist("exclude"), verbose="verbose" in query)
        return Response(report.text, report.code, PLAIN | {"content-type": TEXT})

    async def _openapi_index(self, _request: Request) -> Response:
        index = await self._documents.index()
        return Response(index, headers={"content-type": TEXT, "cache-control": "no-cache, private"})

    async def _openapi(self, request: Request) -> Response:
        found = await self._documents.find(request.path_params["path"])
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

    async def _openapi_v2(self, request: Request) -> Response:
        found = await self._documents.v2(_accept(request))
        headers = _tag(found.etag, "no-cache, private")
        if _known(request, found.etag):
            return Response(status_code=304, headers=headers)
        return StreamingResponse(found.body, headers=headers | {"content-type": found.media})

    async def _discover(self, request: Request) -> Response:
        path = request.url.path.strip("/")
        page = self._discovery.find(path, _accept(request))
        if page is None:
            raise unknown_resource() if path.startswith("api/") else PageNotFound()
        if page.etag:
            return _tagged(request, page.body, page.etag, page.content_type, PUBLIC_CACHE)
        return _json(page.body, page.content_type)


def _accept(request: Request) -> str:
    return ",".join(request.headers.getlist("accept"))


def _json(body: bytes, media: str = "application/json") -> Response:
    return Response(body, headers={"content-type": media, "cache-control": "no-cache, private"})


def _tagged(request: Request, body: bytes, etag: str, media: str, caching: str) -> Response:
    """A document with its ETag; 304 when the client has it already."""
    headers = _tag(etag, caching)
    if _known(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers | {"content-type": media})


def _tag(etag: str, caching: str) -> dict[str, str]:
    return {"etag": etag, "vary": "Accept", "cache-control": caching}


def _known(request: Request, etag: str) -> bool:
    """Whether the client has what the tag names (RFC 9110, section 13.1.2)."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known
