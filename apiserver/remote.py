"""The API for actors on another machine: the same doors as in the server's process (`apiserver.client`), over HTTPS.

What it promises:

* Refusals are the same `ApiError`s with the same words as in process: a Status is read back. What is wrong with the way there
  (no connection, no answer in time, an answer that is none) is a ServiceUnavailable or a Timeout that says what was asked of whom.
* A read that got no answer is asked once more. A write is not: whether it was stored is for the caller to find out.
* Answers are bounded in time and in size. A page of a list that is too large is asked for in smaller ones.
* A server that does not serve a kind is told apart from one that does not have an object.
* The credential goes into the header alone: it is in no error and no log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import msgspec

from actors.client import Op, Preconditions
from actors.door import Page, Query
from apiserver.bearer import Bearer
from apiserver.fencing import HEADER
from apiserver.kubeconfig_read import Credentials
from apiserver.patching import MERGE_PATCH
from registry.catalog import Registry
from registry.declarations import Place
from registry.errors import (
    ApiError,
    ConflictError,
    InternalError,
    Invalid,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooLarge,
    from_status,
    required,
)
from registry.kinds import Kind, Version

Document = dict[str, Any]
Parameters = dict[str, str]
PAGE = 500
LARGEST = 64 * 1024 * 1024
"""Bytes of one answer."""
SECONDS = 30.0
"""For one answer, from its first byte to its last; a server holds no request but a watch for longer."""
CONNECT = 5.0
JSON = "application/json"
_TROUBLE = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, EOFError)


@dataclass(frozen=True, slots=True)
class Model:
    """A kind as it is addressed: what the registry of this process says about a type."""

    kind: Kind
    version: Version

    @property
    def resource(self) -> str:
        """The resource with its version, as messages name it."""
        version = self.version
        return f"{self.kind.plural}.{version.group}/{version.name}" if version.group else f"{self.kind.plural}/{version.name}"

    @property
    def root(self) -> str:
        """Where the group's version is."""
        return f"/apis/{self.version.api_version}" if self.version.group else f"/api/{self.version.name}"

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The path of a collection (in one namespace, or None: all), an object, or a subresource."""
        parts = ["namespaces", namespace] if namespace and self.kind.namespaced else []
        parts += [part for part in (self.kind.plural, name, subresource) if part]
        return f"{self.root}/{'/'.join(quote(part, safe='') for part in parts if part)}"


def model_of(registry: Registry, model: type) -> Model:
    """Raises InternalError for a type that no plugin declares."""
    found = registry.of_model(model)
    if found is None:
        raise InternalError(f"{model.__name__} is not a kind that this server knows: declare it with plugin.kind")
    return Model(*found)


class Api:
    """One server, as one user. `open` makes it; requests of all its tasks share its connections.

    `user` is who acts (empty: whoever the credential stands for). Who shows the token of somebody else impersonates the user.
    `epoch` goes with every write.
    """

    def __init__(self, http: httpx.AsyncClient, server: str, bearer: Bearer, user: str = "", epoch: str = "") -> None:
        self._http = http
        self._user = user
        self._epoch = {HEADER.decode(): epoch} if epoch else {}
        self.bearer = bearer
        self.server = server

    def acting_as(self, user: str, epoch: str = "") -> Api:
        """The same server for another user, on the same connections."""
        return Api(self._http, self.server, self.bearer, user, epoch)

    async def get(self, path: str, query: Parameters | None = None) -> Document:
        """Reads; once more if there was no answer."""
        try:
            return await self._ask("GET", path, query)
        except (ServiceUnavailable, Timeout):
            return await self._ask("GET", path, query)

    async def send(self, method: str, path: str, body: Document, content_type: str = JSON) -> Document:
        """Writes, and returns the answer."""
        return await self._ask(method, path, None, body, content_type)

    @asynccontextmanager
    async def stream(self, path: str, query: Parameters, silence: float) -> AsyncIterator[httpx.Response]:
        """An answer that comes bit by bit; nothing for `silence` seconds is a Timeout. Refusals are raised before the first bit."""
        timeout = httpx.Timeout(SECONDS, connect=CONNECT, read=silence)
        with self._explained("GET", path):
            async with self._http.stream("GET", path, params=query, headers=await self._all_headers(), timeout=timeout) as response:
                if response.status_code >= 400:
                    raise refusal_of(response.status_code, await _content(response), f"{self.server}{path}")
                yield response

    async def _ask(
        self, method: str, path: str, query: Parameters | None, body: Document | None = None, content_type: str = ""
    ) -> Document:
        headers = await self._all_headers() | ({"Content-Type": content_type, **self._epoch} if body is not None else {})
        content = None if body is None else msgspec.json.encode(body)
        with self._explained(method, path), anyio.fail_after(SECONDS):
            async with self._http.stream(method, path, params=query, headers=headers, content=content) as response:
                raw = await _content(response)
        if response.status_code >= 400:
            raise refusal_of(response.status_code, raw, f"{self.server}{path}")
        try:
            answer: Document = _decode(raw)
        except msgspec.DecodeError:
            raise ServiceUnavailable(f"{method} {self.server}{path}: the answer is no JSON object; is it a Skep server?") from None
        return answer

    async def _all_headers(self) -> dict[str, str]:
        token = await self.bearer.token()
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        if self._user and self.bearer.claims_of(token).sub != self._user:
            shown["Impersonate-User"] = self._user
        return shown

    def _explained(self, method: str, path: str) -> _Explained:
        return _Explained(f"{method} {self.server}{path}")


class _Explained:
    """Turns what can go wrong on the way into an ApiError that says where it was going."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            raise Timeout(f"{self._what}: no answer in time") from error
        if isinstance(error, _TROUBLE):
            raise ServiceUnavailable(f"{self._what}: {str(error) or type(error).__name__}") from error


@asynccontextmanager
async def open_api(credentials: Credentials, agent: str) -> AsyncIterator[Api]:
    """The server behind the credentials. Proxies and settings of the environment play no part."""
    extensions = {"sni_hostname": credentials.server_name} if credentials.server_name else {}

    async def named(request: httpx.Request) -> None:
        request.extensions = {**request.extensions, **extensions}

    async with httpx.AsyncClient(
        base_url=credentials.server,
        verify=credentials.context,
        headers={"User-Agent": agent, "Accept": JSON, "Accept-Encoding": "identity"},
        timeout=httpx.Timeout(SECONDS, connect=CONNECT),
        # As many connections as there are watches and runs; idle ones go before the server closes them.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=60.0),
        event_hooks={"request": [named]} if extensions else {},
        trust_env=False,
    ) as http:
        yield Api(http, credentials.server, Bearer(credentials))


class RemoteDoor:
    """Implements `actors.door.Door`."""

    def __init__(self, api: Api, registry: Registry, watcher: Watcher) -> None:
        self._api = api
        self._registry = registry
        self._watcher = watcher

    async def get(self, model: type, place: Place) -> Document:
        """The newest state. Raises NotFound."""
        found = model_of(self._registry, model)
        path = self._path(found, place)
        async with explained_absence(self._api, found):
            return await self._api.get(path)

    async def list(self, model: type, namespace: str | None, query: Query, more: str) -> Page:
        """A page of a list."""
        return await page(self._api, model_of(self._registry, model), namespace, query, more)

    async def create(self, model: type, namespace: str, document: Document) -> Document:
        """What was stored."""
        found = model_of(self._registry, model)
        kind, name = found.kind, document["metadata"].get("name", "")
        if kind.namespaced and not namespace:
            raise Invalid(kind.name, kind.group, name, [required("metadata.namespace")])
        async with explained_absence(self._api, found):
            return await self._api.send("POST", found.path(namespace), _typed(found, document))

    async def update(self, model: type, place: Place, document: Document, subresource: str) -> Document:
        """Replaces the object, or its status."""
        found = model_of(self._registry, model)
        path = self._path(found, place, subresource)
        async with explained_absence(self._api, found):
            return await self._api.send("PUT", path, _typed(found, document))

    async def patch(self, model: type, place: Place, merge: Document, subresource: str) -> Document:
        """Changes the object, or its status, by a merge patch."""
        found = model_of(self._registry, model)
        path = self._path(found, place, subresource)
        try:
            async with explained_absence(self._api, found):
                return await self._api.send("PATCH", path, merge, MERGE_PATCH)
        except Invalid as error:
            if any(cause.field == "metadata.uid" for cause in error.causes):
                raise ConflictError(f"{found.resource} {place}: another object of this name is there by now") from error
            raise

    async def delete(self, model: type, place: Place, preconditions: Preconditions) -> Document | None:
        """Deletes; the object, if it stays until its finalizers are done."""
        found = model_of(self._registry, model)
        conditions = {"uid": preconditions.uid} if preconditions.uid is not None else {}
        if preconditions.revision is not None:
            conditions["resourceVersion"] = str(preconditions.revision)
        options: Document = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        if preconditions.propagation is not None:
            options["propagationPolicy"] = preconditions.propagation
        async with explained_absence(self._api, found):
            answer = await self._api.send("DELETE", self._path(found, place), options)
        stays = "deletionTimestamp" in (answer.get("metadata") or {})  # what is gone may be answered as it was
        return answer if stays else None

    async def watch(
        self, model: type, namespace: str | None, query: Query, after: int
    ) -> AsyncGenerator[Sequence[tuple[Op, Document]], None]:
        """Every change after a revision, in order, in batches. Raises ExpiredError."""
        found = model_of(self._registry, model)
        async with aclosing(self._watcher(self._api, found, namespace, query, after)) as batches:
            async for batch in batches:
                yield batch

    def _path(self, found: Model, place: Place, subresource: str = "") -> str:
        """Raises NotFound for what cannot be the name of an object, and would address something else."""
        if (found.kind.namespaced and not place.namespace) or not place.name or place.name in (".", ".."):
            raise NotFound(f'{found.kind.resource} "{place.name}" not found')
        return found.path(place.namespace, place.name, subresource)


Watcher = Callable[[Api, Model, str | None, Query, int], AsyncGenerator[Sequence[tuple[Op, Document]], None]]
"""See `apiserver.remote_watch.watch`."""


class RemoteEvents:
    """Implements `actors.recorder.EventSink`: core/v1 Events."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def create(self, namespace: str, event: Document) -> object:
        """Creates an Event."""
        body = {"apiVersion": "v1", "kind": "Event", **event}
        return await self._api.send("POST", f"/api/v1/namespaces/{quote(namespace, safe='')}/events", body)

    async def patch(self, namespace: str, name: str, merge: Document) -> object:
        """Changes an Event. Raises NotFound when it has expired."""
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/events/{quote(name, safe='')}"
        return await self._api.send("PATCH", path, merge, MERGE_PATCH)


async def page(api: Api, found: Model, namespace: str | None, query: Query, more: str) -> Page:
    """A page of a list: smaller ones, if the objects are so large that one does not fit into an answer."""
    size = PAGE
    while True:
        parameters = {"limit": str(size)} | selectors(query) | ({"continue": more} if more else {})
        try:
            async with explained_absence(api, found):
                answer = await api.get(found.path(namespace), parameters)
        except _AnswerTooLarge:
            if size == 1:
                raise
            size = max(1, size // 8)
            continue
        metadata = answer.get("metadata") or {}
        items = answer.get("items") or []
        for item in items:  # items of built-in lists do not say what they are
            item["apiVersion"], item["kind"] = found.version.api_version, found.version.kind
        return Page(items, int(metadata.get("resourceVersion") or 0), metadata.get("continue") or "")


def selectors(query: Query) -> Parameters:
    """The parameters of a selection."""
    return {name: value for name, value in (("labelSelector", query.labels), ("fieldSelector", query.fields)) if value}


@asynccontextmanager
async def explained_absence(api: Api, found: Model) -> AsyncIterator[None]:
    """A 404 that is about the kind, not about an object, becomes a ServiceUnavailable that says what the server has instead."""
    try:
        yield
    except NotFound as error:
        if (error.details or {}).get("kind"):
            raise
        why = await unserved(api, found)
        if why:
            raise ServiceUnavailable(why) from error
        raise


async def unserved(api: Api, found: Model) -> str:
    """Why the server cannot be asked for a kind; empty if it serves it. Raises what a question to the server raises."""
    try:
        resources = (await api.get(found.root)).get("resources") or []
    except NotFound:
        resources = []
    if any(each.get("name") == found.kind.plural for each in resources):
        return ""
    others = [f"it serves {version}" for version in await _versions(api, found)]
    hint = others[0] if others else "load the plugin into the server as well"
    return f"{api.server} does not serve {found.resource}: {hint}"


async def _versions(api: Api, found: Model) -> Sequence[str]:
    """The versions in which the server has the kind."""
    if not found.version.group:
        return ()
    try:
        group = await api.get(f"/apis/{found.version.group}")
    except NotFound:
        return ()
    listed = [str(each.get("groupVersion")) for each in group.get("versions") or [] if each.get("groupVersion")]
    having = []
    for name in listed:
        resources = (await api.get(f"/apis/{name}")).get("resources") or []
        if any(each.get("name") == found.kind.plural for each in resources):
            having.append(name.rpartition("/")[2])
    return (", ".join(having),) if having else ()


def refusal_of(code: int, raw: bytes, where: str) -> ApiError:
    """The refusal that an answer tells. One that is no Status comes from something in between, or from a path that is none."""
    try:
        status = _decode(raw)
    except msgspec.DecodeError:
        status = {}
    if status.get("kind") == "Status":
        return from_status({"code": code, **status})
    said = " ".join(raw[:200].decode("utf-8", "replace").split())
    reason = {404: "NotFound", 429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout"}.get(code)
    return from_status({"code": code, "reason": reason, "message": f"{where} answered {code}: {said}"})


class _AnswerTooLarge(TooLarge):
    """More than this process takes."""


_decode: Callable[[bytes], Document] = msgspec.json.Decoder(dict[str, Any]).decode


async def _content(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > LARGEST:
            raise _AnswerTooLarge(f"{response.url.path}: the answer has more than {LARGEST} bytes")
        parts.append(part)
    return b"".join(parts)


def _typed(found: Model, document: Mapping[str, Any]) -> Document:
    return {**document, "apiVersion": found.version.api_version, "kind": found.version.kind}
