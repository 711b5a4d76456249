"""The socket side of the API: ASGI in, the manager in the middle, bytes out.

Requests below `/api` and `/apis` are answered here; discovery, health and documents are Starlette's (`apiserver.pages`).
Whatever goes wrong becomes a Status; what nobody expected becomes a 500 whose insides are in the log alone.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from admission.identity import Identity
from apiserver import forms, refusals, watch
from apiserver.forms import View
from apiserver.manager import Answer, Call, Manager
from apiserver.negotiation import PROTOBUF, YAML, choose, error_media
from apiserver.options import flag, list_options, parse_query, text
from apiserver.protobuf import encode_status
from apiserver.target import PageNotFound, Target, resolve, segments
from registry.documents import dump_yaml
from registry.errors import (
    ApiError,
    BadRequest,
    ExpiredError,
    InternalError,
    ServiceUnavailable,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
)
from storage.sql import SqlStore

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

NO_CACHE = (b"cache-control", b"no-cache, private")
JSON_HEADER = (b"content-type", b"application/json")
TEXT = "text/plain; charset=utf-8"
WARNINGS_LIMIT = 4_096
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "GET": "get", "HEAD": "get", "DELETE": "delete"}
PUBLIC = ("/version", "/healthz", "/livez", "/readyz")


class Authenticator(Protocol):
    """Who a request is from: see `admission.tokens`."""

    def authenticate(self, authorization: bytes | None) -> Identity | None: ...


class AccessLog(Protocol):
    """Where a line about every request goes: see `apiserver.logs`."""

    def record(
        self, identity: str, verb: str, resource: str, namespace: str, name: str, status: int, duration_s: float
    ) -> None: ...


class Log(Protocol):
    """Where what nobody expected is told."""

    def error(self, event: str, **values: Any) -> object: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds between bookmarks, and how long a watch without an end of its own lasts (up to twice that)."""

    bookmark: float = 60.0
    timeout: float = 1_800.0


@dataclass(slots=True)
class Exchange:
    """One request and what becomes of it, as the access log tells it."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    identity: Identity | None = None
    verb: str = ""
    target: Target | None = None
    status: int = 0
    sent: bool = False

    @property
    def accept(self) -> str:
        """The Accept header, as text."""
        return self.headers.get(b"accept", b"").decode("latin-1")


class App:
    """The ASGI application. `end_watches` ends every stream cleanly; new ones are then refused."""

    def __init__(
        self,
        manager: Manager,
        store: SqlStore,
        pages: ASGI,
        authenticator: Authenticator,
        *,
        access: AccessLog,
        log: Log,
        now: Callable[[], float],
        chance: random.Random,
        body_limit: int,
        timing: Timing = Timing(),
    ) -> None:
        self._manager = manager
        self._store = store
        self._pages = pages
        self._authenticator = authenticator
        self._access = access
        self._log = log
        self._now = now
        self._chance = chance
        self._body_limit = body_limit
        self._timing = timing
        self._streams: set[watch.Stream] = set()
        self._ending = False

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def end_watches(self) -> None:
        """Lets every stream end after what it is sending."""
        self._ending = True
        for stream in tuple(self._streams):
            stream.leave()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        begun = time.perf_counter()
        exchange = Exchange(scope["method"], scope["path"], _headers(scope["headers"]))
        try:
            await self._answer(exchange, scope, receive, send)
        except ApiError as error:
            await self._refuse(exchange, error, send)
        except (asyncio.CancelledError, OSError):
            exchange.status = exchange.status or 499
            raise
        except Exception as error:
            self._log.error("a request failed unexpectedly", method=exchange.method, path=exchange.path, exc_info=error)
            await self._refuse(exchange, InternalError("Internal error occurred: see the server's log"), send)
        finally:
            self._record(exchange, time.perf_counter() - begun)

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        exchange.identity = self._authenticator.authenticate(exchange.headers.get(b"authorization"))
        if exchange.identity is None and not exchange.path.startswith(PUBLIC):
            raise Unauthorized
        raw_path: bytes = scope["raw_path"]
        if raw_path.startswith((b"/apis/", b"/api/")):
            parts = segments(raw_path)
            if len(parts) > 3 or (len(parts) == 3 and parts[0] == "api"):
                await self._resource(exchange, parts, scope, receive, send)
                return
        await self._page(exchange, scope, receive, send)

    async def _page(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status, exchange.sent = message["status"], True
            await send(message)

        exchange.verb = exchange.method.lower()
        await self._pages(scope, receive, noted)

    async def _resource(self, exchange: Exchange, parts: list[str], scope: Scope, receive: Receive, send: Send) -> None:
        target = resolve(self._manager.registry, parts)
        query = parse_query(scope["query_string"])
        if target.watch_prefix:
            query = {**query, "watch": ["1"]}
            if target.name:
                query["fieldSelector"] = [f"metadata.name={target.name}"]
                target = Target(target.kind, target.version, target.namespace)
        exchange.target, exchange.verb = target, _verb(exchange.method, target, query)
        if exchange.identity is None:
            raise Unauthorized
        call = Call(exchange.identity, exchange.verb, target, query, content_type=_content_type(exchange.headers))
        try:
            await self._dispatch(exchange, call, receive, send)
        except ApiError as error:
            error.warnings = (*call.warnings, *error.warnings)
            raise

    async def _dispatch(self, exchange: Exchange, call: Call, receive: Receive, send: Send) -> None:
        streaming = call.verb == "watch"
        form = choose(exchange.accept, watch=streaming)
        view = View(call.target.kind, call.target.version, form, text(call.query, "includeObject") or "Metadata", self._now())
        if call.verb != "delete":
            forms.check_view(view, collection=call.verb in ("list", "deletecollection"))
        if streaming:
            await self._watch(exchange, call, view, receive, send)
            return
        if exchange.method not in ("GET", "HEAD"):
            call.body = await _body(exchange.headers, receive, self._body_limit)
        answer = await self._manager.handle(call)
        headers = [(b"content-type", form.media.encode()), NO_CACHE, *_warning_headers(call.warnings)]
        exchange.status = answer.code
        await _send(send, answer.code, headers, _pieces(view, answer), exchange)

    async def _watch(self, exchange: Exchange, call: Call, view: View, receive: Receive, send: Send) -> None:
        if self._ending:
            raise ServiceUnavailable("the server is shutting down")
        if call.target.version.warning:
            call.warn(call.target.version.warning)
        self._manager.authorize(call)
        options = list_options(call.query, watch=True)
        matcher = self._manager.matcher(call, options)
        try:
            place = await watch.begin(self._store, call.target.kind.resource, call.target.namespace, options)
        except ExpiredError as expired:
            line = forms.event_line("ERROR", msgspec.json.encode(expired.status()))
            await _send(send, 200, [JSON_HEADER, NO_CACHE], [line], exchange, chunked=True)
            return
        await send(
            {"type": "http.response.start", "status": 200, "headers": [JSON_HEADER, NO_CACHE, *_warning_headers(call.warnings)]}
        )
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        exchange.status, exchange.sent = 200, True

        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        stream = watch.Stream(
            self._store,
            view,
            matcher,
            options,
            write,
            chance=self._chance,
            bookmark_every=self._timing.bookmark,
            longest=self._timing.timeout,
        )
        await self._run_stream(stream, place, receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _run_stream(self, stream: watch.Stream, place: watch.Begin, receive: Receive) -> None:
        """Runs a stream beside a task that notices when the client goes away, or takes nothing."""
        self._streams.add(stream)
        running = asyncio.current_task()

        async def listen() -> None:
            while not stream.left:
                try:
                    async with asyncio.timeout(watch.STALLED):
                        message = await receive()
                except TimeoutError:
                    if stream.stalled and running is not None:
                        running.cancel()
                    continue
                if message["type"] == "http.disconnect":
                    stream.leave()

        listener = asyncio.ensure_future(listen())
        try:
            await stream.run(place)
        finally:
            listener.cancel()
            self._streams.discard(stream)

    async def _refuse(self, exchange: Exchange, error: ApiError, send: Send) -> None:
        if exchange.sent:
            raise error
        headers: Headers = [NO_CACHE, *_warning_headers(error.warnings)]
        headers += [(name.encode(), value.encode()) for name, value in error.headers]
        if isinstance(error, PageNotFound):
            headers += [(b"content-type", TEXT.encode()), (b"x-content-type-options", b"nosniff")]
            body = f"{error.message}\n".encode()
        else:
            media = error_media(exchange.accept)
            headers.append((b"content-type", media.encode()))
            body = _status_body(error, media)
        if error.code == 413:
            headers.append((b"connection", b"close"))
        exchange.status = error.code
        await _send(send, error.code, headers, [body], exchange)

    def _record(self, exchange: Exchange, seconds: float) -> None:
        identity = exchange.identity.username if exchange.identity else ""
        target = exchange.target
        if target is None:
            self._access.record(identity, exchange.verb or exchange.method.lower(), "", "", exchange.path, exchange.status, seconds)
            return
        resource = f"{target.kind.resource}/{target.subresource}" if target.subresource else target.kind.resource
        self._access.record(identity, exchange.verb, resource, target.namespace or "", target.name, exchange.status, seconds)


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name. Of those that must be unique a second one is refused; Accept is a list and is joined."""
    found: dict[bytes, bytes] = {}
    for name, value in raw:
        if name == b"accept" and name in found:
            found[name] += b"," + value
        else:
            found.setdefault(name, value)
    return found


def _content_type(headers: Mapping[bytes, bytes]) -> str:
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding not in (b"identity", b""):
        raise UnsupportedMediaType(
            f"bodies in the encoding {encoding.decode('latin-1')!r} are not read here: send them as they are"
        )
    return headers.get(b"content-type", b"").decode("latin-1")


def _verb(method: str, target: Target, query: Mapping[str, Sequence[str]]) -> str:
    """What a method on a path means. Raises MethodNotAllowed, PageNotFound, BadRequest."""
    verb = VERBS.get(method)
    if verb is None:
        raise refusals.no_verb(target, "")
    if target.name:
        return verb
    if verb == "get":
        return "watch" if flag(query, "watch") else "list"
    if target.kind.namespaced and target.namespace is None:
        raise PageNotFound
    if verb in ("update", "patch"):
        raise BadRequest("name must be provided")
    return "deletecollection" if verb == "delete" else verb


async def _body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """The whole body of a request. Raises TooLarge as soon as it is known, from the header or on the way."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client went away before its request was complete")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return part if not parts else b"".join((*parts, part))
        parts.append(part)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"Request entity too large: limit is {limit}")


def _pieces(view: View, answer: Answer) -> Sequence[bytes] | Iterable[bytes]:
    if answer.record is not None:
        return (forms.one(view, answer.record),)
    if answer.page is not None:
        return forms.many(view, answer.page)
    document = answer.document or {}
    return (dump_yaml(document) if view.form.media == YAML else msgspec.json.encode(document),)


async def _send(
    send: Send, status: int, headers: Headers, pieces: Iterable[bytes], exchange: Exchange, *, chunked: bool = False
) -> None:
    """Sends a whole answer: with its length when it is in one piece, else piece by piece."""
    iterator = iter(pieces)
    piece = next(iterator, b"")
    following = next(iterator, None)
    if following is None and not chunked:
        headers.append((b"content-length", str(len(piece)).encode()))
    exchange.status, exchange.sent = status, True
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if exchange.method == "HEAD":
        piece, following = b"", None
    while following is not None:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        piece, following = following, next(iterator, None)
    await send({"type": "http.response.body", "body": piece, "more_body": False})


def _status_body(error: ApiError, media: str) -> bytes:
    if media == PROTOBUF:
        return encode_status(error.message, error.reason, error.code)
    status = error.status()
    return dump_yaml(status) if media == YAML else msgspec.json.encode(status)


def _warning_headers(warnings: Iterable[str]) -> Headers:
    """`Warning: 299 - "text"` (RFC 7234, section 5.5), each once, as long as they fit."""
    headers: Headers = []
    size = 0
    for warning in dict.fromkeys(warnings):
        printable = "".join(char if char.isprintable() else " " for char in warning)
        quoted = printable.replace("\\", "\\\\").replace('"', '\\"').encode()
        size += len(quoted)
        if size > WARNINGS_LIMIT:
            break
        headers.append((b"warning", b'299 - "' + quoted + b'"'))
    return headers
