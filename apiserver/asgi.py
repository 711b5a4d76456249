"""The socket side of the API: ASGI in, the manager in the middle, bytes out.

Requests below `/api` and `/apis` are answered here; discovery, health and documents are Starlette's (`apiserver.pages`).
Whatever goes wrong becomes a Status; what nobody expected becomes a 500 whose insides are in the log alone.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgspec

from admission.authentication import AuthenticatorChain
from admission.identity import NOBODY, Credentials, Identity
from admission.review import Attributes
from apiserver import answers, asking, fencing, forms, refusals, sections, watch
from apiserver.answers import Exchange, Headers, Message, Send
from apiserver.arriving import meet
from apiserver.audit import Auditor
from apiserver.calls import Call
from apiserver.flow import Flow
from apiserver.forms import View
from apiserver.impersonation import asked, impersonated, needed
from apiserver.manager import Manager
from apiserver.negotiation import JSON, YAML, choose, error_media
from apiserver.options import list_options, parse_query, text
from apiserver.protocol import CERTIFICATE, COMPLETE, CONNECTION
from apiserver.receiving import ASGI, CREDENTIALS, Receive, Scope, address_of, body_of, content_type, headers_of
from apiserver.revoking import Revoker
from apiserver.target import PageNotFound, Target, resolve, resource_parts
from registry.catalog import Update
from registry.documents import dump_yaml
from registry.errors import (
    ApiError,
    BadRequest,
    ExpiredError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServerTimeout,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
)
from storage.sql import SqlStore

NO_CACHE = (b"cache-control", b"no-cache, private")
JSON_HEADER = (b"content-type", b"application/json")
MEDIA = {JSON: JSON_HEADER, YAML: (b"content-type", b"application/yaml")}
TEXT = "text/plain; charset=utf-8"
COMPLAIN_EVERY = 10.0
"""Seconds between two lines of the log about a store that does not take writes."""
REMEMBERED = 4_096
"""Paths whose targets are kept."""
LONGEST = 1_024
"""Bytes of such a path: who asks chooses it, also who may not, and no object's is longer by far."""


class AccessLog(Protocol):
    """Where a line about every request goes: see `apiserver.logs`."""

    def record(
        self, identity: str, verb: str, resource: str, namespace: str, name: str, status: int, duration_s: float, credential: str
    ) -> None: ...


class Log(Protocol):
    """Where what nobody expected is told."""

    def error(self, event: str, /, **values: Any) -> object: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: between bookmarks, that a watch without an end of its own lasts (up to twice that), that a body may take."""

    bookmark: float = 60.0
    timeout: float = 1_800.0
    body: float = 30.0


class App:
    """The ASGI application. `end_watches` ends every stream cleanly; new ones are then refused."""

    def __init__(
        self,
        manager: Manager,
        store: SqlStore,
        pages: ASGI,
        authenticator: AuthenticatorChain,
        *,
        access: AccessLog,
        log: Log,
        now: Callable[[], float],
        chance: random.Random,
        body_limit: int,
        timing: Timing = Timing(),
        auditor: Auditor | None = None,
        flow: Flow | None = None,
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
        self._auditor = auditor
        self._flow = flow or Flow(sections.Flow(), time.monotonic)
        self._targets: dict[bytes, Target] = {}
        self._streams: dict[watch.Stream, Exchange] = {}  # each with what asked for it
        self._revoker = Revoker(manager.authorization.rbac, manager.authorization.decide)
        self._fanout = watch.Fanout()
        self._ending = False
        self._complained_at = -COMPLAIN_EVERY
        manager.catalog.follow(self._kinds_changed)

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def end_watches(self) -> None:
        """Lets every stream end after what it is sending."""
        self._ending = True
        for stream in tuple(self._streams):
            stream.leave()

    def _kinds_changed(self, update: Update) -> None:
        """Forgets what it knows of kinds that are others now, and ends their streams: whoever watches again finds what there is."""
        changed = frozenset(update.changed)
        self._targets = {path: target for path, target in self._targets.items() if target.kind.resource not in changed}
        for stream, opened in tuple(self._streams.items()):
            if not self._serves(opened.target):
                stream.leave()

    def _serves(self, target: Target | None) -> bool:
        """Whether a target is what its path addresses still."""
        if target is None:
            return False
        found = self._manager.registry.find(target.version.group, target.version.name, target.kind.plural)
        return found is not None and found[1] == target.version and found[0].namespaced == target.kind.namespaced

    async def check_watches(self) -> None:
        """Lets those streams end whose credential does not hold any more: it is revoked, or over."""
        holds: dict[tuple[object, ...], bool] = {}  # by what was shown: many streams show the same
        for stream, opened in tuple(self._streams.items()):
            credentials = opened.credentials
            shown = (*(credentials.headers.get(name) for name in CREDENTIALS), credentials.certificate)
            if shown not in holds:
                holds[shown] = await self._authenticator.holds(credentials)
                await asyncio.sleep(0)  # to tell it of many takes a while, and requests need not wait for all
            if not holds[shown]:
                stream.leave()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        begun = time.perf_counter()
        exchange = Exchange(scope["method"], scope["path"], headers_of(scope["headers"]))
        if self._auditor is not None:
            send = self._auditor.open(exchange, address_of(scope), scope["query_string"], send)
        try:
            await self._answer(exchange, scope, receive, send)
        except ApiError as error:
            await self._refuse(exchange, error, send)
        except asyncio.CancelledError:
            # The client took or sent nothing for too long, or longer than the server stays: what was begun breaks off.
            if not exchange.sent:
                await self._refuse(exchange, ServiceUnavailable("the server is shutting down"), send)
        except OSError:
            exchange.status = exchange.status or 499
            raise
        except Exception as error:
            self._log.error("a request failed unexpectedly", method=exchange.method, path=exchange.path, exc_info=error)
            await self._refuse(exchange, InternalError("Internal error occurred: see the server's log"), send, panicked=True)
        finally:
            self._record(exchange, time.perf_counter() - begun)
            exchange.trail.complete()

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        exchange.credentials = Credentials(exchange.headers, address_of(scope), scope.get(CERTIFICATE), exchange.path)
        await meet(exchange, self._authenticator, self._flow)
        raw_path: bytes = scope["raw_path"]
        target = self._targets.get(raw_path)
        if target is None:
            try:
                parts = resource_parts(raw_path)
            except PageNotFound:
                self._permit_path(exchange, scope)
                raise
            if parts is None:
                await self._page(exchange, scope, receive, send)
                return
            target = self._resolve(exchange, raw_path, parts, scope)
        await self._resource(exchange, target, scope, receive, send)

    def _resolve(self, exchange: Exchange, raw_path: bytes, parts: list[str], scope: Scope) -> Target:
        """What a path addresses. The last ones are remembered: clients come back to the same objects. Raises Forbidden to whoever
        may not ask for what is not there, and NotFound."""
        try:
            target = resolve(self._manager.registry, parts)
        except NotFound:
            query, _ = _query(scope)
            self._permit(exchange, scope, lambda who: asking.unresolved(who, exchange.method, parts, query))
            raise
        if len(raw_path) <= LONGEST:
            if len(self._targets) >= REMEMBERED:
                self._targets.clear()
            self._targets[raw_path] = target
        return target

    def _permit(self, exchange: Exchange, scope: Scope, ask: Callable[[Identity], Attributes]) -> None:
        """Lets pass what is no call to the manager. Raises Unauthorized, Forbidden, BadRequest."""
        decide = self._manager.authorization.decide
        if asked(exchange.headers):
            wanted = ask(exchange.identity or NOBODY)
            exchange.act_as(impersonated(exchange.identity, scope["headers"], wanted, decide))
        attributes = ask(exchange.identity or NOBODY)
        decision = decide(attributes)
        exchange.trail.decided(decision)
        if not decision.allowed:
            raise refusals.unauthorized(attributes, decision.reason)

    def _permit_path(self, exchange: Exchange, scope: Scope) -> None:
        exchange.verb = exchange.method.lower()
        exchange.trail.judge()
        self._permit(exchange, scope, lambda who: asking.of_path(who, exchange.method, exchange.path))

    async def _page(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        self._permit_path(exchange, scope)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status, exchange.sent = message["status"], True
                message = {**message, "headers": [*message["headers"], *exchange.limits]}
            await send(message)

        if exchange.caller is not None:
            await self._flow.turn(exchange.caller)
        await self._pages(scope, receive, noted)

    async def _resource(self, exchange: Exchange, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        query, unread = _query(scope)
        if target.watch_prefix:
            target, query = asking.as_watch(target, query)
            exchange.verb = "watch"
        else:
            exchange.verb = asking.verb_of(exchange.method, target.name, query)
        exchange.target = target
        exchange.trail.judge()
        if asked(exchange.headers):
            wanted = asking.attributes(exchange.identity or NOBODY, exchange.verb, target, query)
            exchange.act_as(impersonated(exchange.identity, scope["headers"], wanted, self._manager.authorization.decide))
        if exchange.identity is None:
            raise Unauthorized
        call = Call(exchange.identity, exchange.verb, target, query)
        exchange.trail.follow(call)
        self._manager.authorize(call)
        _check_method(exchange.method, call.verb, target)
        if unread is not None:
            raise unread
        try:
            await self._dispatch(exchange, call, scope, receive, send)
        except ApiError as error:
            error.warnings = (*call.warnings, *error.warnings)
            raise

    async def _dispatch(self, exchange: Exchange, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        streaming = call.verb == "watch"
        form = choose(exchange.accept, watch=streaming)
        view = View(call.target.kind, call.target.version, form, text(call.query, "includeObject") or "Metadata", self._now())
        if not form.plain and call.verb != "delete":
            forms.check_view(view, collection=call.verb in ("list", "deletecollection"))
        if streaming:
            with self._flow.watching(exchange.caller):
                await self._watch(exchange, call, view, scope, receive, send)
            return
        if exchange.method not in ("GET", "HEAD"):
            call.content_type = content_type(exchange.headers)
            call.agent = exchange.headers.get(b"user-agent", b"")
            call.epoch = exchange.headers.get(fencing.HEADER, b"").decode("latin-1")
            seconds = None if COMPLETE in scope else self._timing.body
            call.body = await body_of(exchange.headers, receive, self._body_limit, seconds)
        caller = exchange.caller
        if caller is None:
            answer = await self._manager.handle(call)
        else:
            answer = await self._flow.seated(caller, call.verb, lambda: self._manager.handle(call), len(call.body))
        exchange.trail.answered(answer)
        headers: Headers = [MEDIA[form.media], NO_CACHE]
        if call.warnings:
            headers += answers.warning_headers(call.warnings)
        if answer.page is not None:
            exchange.turn = None if caller is None else lambda: self._flow.turn(caller)
            await answers.pieces(send, headers, forms.many(view, answer.page), exchange)
        elif answer.record is not None:
            await answers.whole(send, answer.code, headers, forms.one(view, answer.record), exchange)
        else:
            document = answer.document or {}
            body = dump_yaml(document) if form.media == YAML else msgspec.json.encode(document)
            await answers.whole(send, answer.code, headers, body, exchange)

    async def _watch(self, exchange: Exchange, call: Call, view: View, scope: Scope, receive: Receive, send: Send) -> None:
        if self._ending:
            raise ServiceUnavailable("the server is shutting down")
        if call.target.version.warning:
            call.warn(call.target.version.warning)
        self._manager.check_verb(call)
        options = list_options(call.query, watch=True)
        matcher = self._manager.matcher(call, options)
        try:
            begin = partial(watch.begin, self._store, call.target.kind.resource, call.target.namespace, options)
            place = await self._flow.seated(exchange.caller, call.verb, begin)
        except ExpiredError as expired:
            line = forms.event_line("ERROR", msgspec.json.encode(expired.status()))
            await answers.whole(send, 200, [JSON_HEADER, NO_CACHE], line, exchange)
            return
        headers = [JSON_HEADER, NO_CACHE, *answers.warning_headers(call.warnings), *exchange.limits]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        exchange.status, exchange.sent = 200, True
        exchange.trail.started()

        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        stream = watch.Stream(
            self._store,
            view,
            matcher,
            options,
            write,
            scope[CONNECTION].pusher(scope) if CONNECTION in scope else None,
            fanout=self._fanout,
            chance=self._chance,
            bookmark_every=self._timing.bookmark,
            longest=self._timing.timeout,
        )
        asked_for = asking.attributes(call.identity, call.verb, call.target, call.query)
        wanted = (asked_for, *needed(exchange.behind, scope["headers"]))
        await self._run_stream(exchange, stream, place, receive, wanted)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _run_stream(
        self, exchange: Exchange, stream: watch.Stream, place: watch.Begin, receive: Receive, wanted: Sequence[Attributes]
    ) -> None:
        """Runs a stream beside a task that notices when the client goes away, or takes nothing. It ends with its credential and
        with the right to anything that is `wanted`."""
        self._streams[stream] = exchange
        self._revoker.admit(stream, *wanted)
        if self._ending or not self._serves(exchange.target):  # it began while the others were told to end
            stream.leave()
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
            self._streams.pop(stream, None)
            self._revoker.dismiss(stream)

    async def _refuse(self, exchange: Exchange, error: ApiError, send: Send, *, panicked: bool = False) -> None:
        exchange.trail.refused(error, panicked=panicked)
        if exchange.sent:
            raise error
        if isinstance(error, TooManyRequests):
            await self._flow.hold()
        if isinstance(error, ServerTimeout):
            self._complain(error)
        headers: Headers = [NO_CACHE, *answers.warning_headers(error.warnings)]
        headers += [(name.encode(), value.encode()) for name, value in error.headers]
        if isinstance(error, PageNotFound):
            headers += [(b"content-type", TEXT.encode()), (b"x-content-type-options", b"nosniff")]
            body = f"{error.message}\n".encode()
        else:
            media = error_media(exchange.accept)
            headers.append((b"content-type", media.encode()))
            body = answers.status_body(error, media)
        if error.code in (408, 413):  # the rest of the body is not waited for
            headers.append((b"connection", b"close"))
        exchange.status = error.code
        await answers.whole(send, error.code, headers, body, exchange)

    def _complain(self, error: ServerTimeout) -> None:
        """Tells the log that the store does not take writes: once in a while, however many are refused."""
        now = self._now()
        if now - self._complained_at > COMPLAIN_EVERY:
            self._complained_at = now
            self._log.error("the store does not take writes", because=error.message)

    def _record(self, exchange: Exchange, seconds: float) -> None:
        identity = exchange.who
        target = exchange.target
        if target is None:
            verb = exchange.verb or exchange.method.lower()
            self._access.record(identity, verb, "", "", exchange.path, exchange.status, seconds, exchange.credential)
            return
        resource = f"{target.kind.resource}/{target.subresource}" if target.subresource else target.kind.resource
        namespace, credential = target.namespace or "", exchange.credential
        self._access.record(identity, exchange.verb, resource, namespace, target.name, exchange.status, seconds, credential)


def _query(scope: Scope) -> tuple[asking.Query, BadRequest | None]:
    """The parameters of a request; none and why, where they cannot be read: whoever may not ask is not told even that."""
    try:
        return parse_query(scope["query_string"]), None
    except BadRequest as error:
        return {}, error


def _check_method(method: str, verb: str, target: Target) -> None:
    """Whether a method on a path means anything. Raises MethodNotAllowed, PageNotFound, BadRequest."""
    if method not in asking.VERBS:
        raise refusals.no_verb(target, "")
    if verb == "watch" and method not in ("GET", "HEAD"):
        raise MethodNotAllowed("the server does not allow this method on the requested resource", details={})
    if target.name or verb in asking.SELECTED:
        return
    if target.kind.namespaced and target.namespace is None:
        raise PageNotFound
    if verb in ("update", "patch"):
        raise BadRequest("name must be provided")
