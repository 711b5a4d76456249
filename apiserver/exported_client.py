"""A typed client for a server of the Kubernetes API: structs of msgspec over httpx, and nothing else.

with Client.connect("https://127.0.0.1:7443", token=token, ca="skep-data/ca.crt") as client:
    for probe in client.probes_v1.list(namespace="shop").items: ...
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import UNSET, UnsetType

__all__ = ["UNSET", "Any", "ApiError", "Connection", "Literal", "Mapping", "Object", "Part", "Place", "Resource", "UnsetType"]

PAGE = 500
"""Objects that are asked for at once."""
SILENCE = 300
"""Seconds that one watch lasts, before it is asked for anew."""
RESTARTS = 5
"""How often a list is begun again whose pages have expired."""
LONGEST_PAUSE = 30.0


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of an object. A field that is None, or UNSET, is not there."""


class OwnerReference(Part, frozen=True, kw_only=True):
    """Whose dependent an object is."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Part, frozen=True, kw_only=True):
    """What every object says of itself. Times are texts in RFC 3339."""

    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    self_link: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None
    finalizers: tuple[str, ...] | None = None
    managed_fields: tuple[Mapping[str, Any], ...] | None = None


class Place(NamedTuple):
    """Where the objects of a kind are."""

    root: str
    plural: str
    namespaced: bool


class Object(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An object. `msgspec.structs.replace` makes another one of it."""

    PLACE: ClassVar[Place]

    api_version: str
    kind: str
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)


T = TypeVar("T", bound=Object)


class ApiError(Exception):
    """The server refused. `status` is the Status that it answered."""

    def __init__(self, code: int, reason: str, message: str, status: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.status = code, reason, message, status


class NotFound(ApiError):
    """There is no such object."""


class AlreadyExists(ApiError):
    """There is an object of this name."""


class Conflict(ApiError):
    """The object has been changed since it was read: read it again."""


class Gone(ApiError):
    """The history does not reach back so far: list again."""


class Invalid(ApiError):
    """The object is not valid; the causes are in the details of the status."""


class Forbidden(ApiError):
    """This user may not do so."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Objects as they all were at one revision. `more` is the token of the next page; empty: there is none."""

    items: tuple[T, ...]
    resource_version: str
    more: str = ""


@dataclass(frozen=True)
class Event(Generic[T]):
    """What happened to an object, and the object after it (before it, when it was deleted)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: T


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _OnlyMetadata(msgspec.Struct):
    metadata: _ListMeta


_read_list = msgspec.json.Decoder(_List).decode
_read_event = msgspec.json.Decoder(_Event).decode
_read_metadata = msgspec.json.Decoder(_OnlyMetadata).decode
_encode = msgspec.json.encode


class Connection:
    """A server, as one user. Threads may share it."""

    def __init__(self, http: httpx.Client, namespace: str = "default") -> None:
        """`http` has the server as its base URL, and sends the credential; `namespace` is meant where none is named."""
        self.http = http
        self.namespace = namespace

    @classmethod
    def connect(cls, server: str, *, token: str = "", ca: str = "", namespace: str = "default") -> Self:
        """A server at a URL. `ca` is a file with the certificates that are trusted; without it, those of the system are."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        verify = ssl.create_default_context(cafile=ca or None)
        return cls(httpx.Client(base_url=server, headers=headers, verify=verify, timeout=30.0), namespace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.http.close()

    def of(self, model: type[T]) -> Resource[T]:
        """The objects of a kind."""
        return Resource(self.http, model, self.namespace)


class Resource(Generic[T]):
    """The objects of one kind, in one version. What the server refuses is an ApiError."""

    def __init__(self, http: httpx.Client, model: type[T], namespace: str) -> None:
        self._http = http
        self._model = model
        self._place = model.PLACE
        self._namespace = namespace
        self._decode = msgspec.json.Decoder(model).decode

    def get(self, name: str, namespace: str = "") -> T:
        """One object. Raises NotFound."""
        return self._decode(self._send("GET", self._one(name, namespace)))

    def list(self, namespace: str = "", *, labels: str = "", fields: str = "") -> Page[T]:
        """All objects, of a namespace or of all, as they were at one revision. `labels` and `fields` are selectors."""
        for attempt in range(RESTARTS):
            found: list[T] = []
            version = ""
            try:
                for page in self.pages(namespace, labels=labels, fields=fields):
                    found += page.items
                    version = version or page.resource_version
            except Gone:
                if attempt == RESTARTS - 1:
                    raise
                continue
            return Page(tuple(found), version)
        raise AssertionError("unreachable")

    def pages(self, namespace: str = "", *, labels: str = "", fields: str = "", limit: int = PAGE) -> Iterator[Page[T]]:
        """All objects, some at a time. Raises Gone when the rest of them has expired."""
        more = ""
        while True:
            query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(limit), "continue": more}
            answer = _read_list(self._send("GET", self._all(namespace), query))
            more = answer.metadata.continue_
            yield Page(tuple(self._decode(item) for item in answer.items or ()), answer.metadata.resource_version, more)
            if not more:
                return

    def create(self, new: T) -> T:
        """Makes an object; in the namespace that it names. Raises AlreadyExists, Invalid."""
        place = self._all(new.metadata.namespace or self._namespace)
        return self._decode(self._send("POST", place, body=_encode(new)))

    def update(self, new: T) -> T:
        """Replaces an object, but for its status. Raises Conflict when it was changed since it was read."""
        return self._decode(self._send("PUT", self._of(new), body=_encode(new)))

    def update_status(self, new: T) -> T:
        """Replaces the status of an object. Raises Conflict."""
        return self._decode(self._send("PUT", f"{self._of(new)}/status", body=_encode(new)))

    def patch(self, name: str, change: Mapping[str, Any], namespace: str = "") -> T:
        """Merges a change into an object: fields as on the wire; what is None is taken away."""
        return self._merge(self._one(name, namespace), change)

    def patch_status(self, name: str, change: Mapping[str, Any], namespace: str = "") -> T:
        """Merges a change into the status of an object: `{"status": {...}}`."""
        return self._merge(f"{self._one(name, namespace)}/status", change)

    def delete(self, name: str, namespace: str = "", *, uid: str = "", resource_version: str = "", propagation: str = "") -> None:
        """Deletes an object; if it is of this uid, or at this version, where they are named. Raises NotFound, Conflict."""
        conditions = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        if propagation:
            options["propagationPolicy"] = propagation
        self._send("DELETE", self._one(name, namespace), body=_encode(options))

    def watch(
        self, namespace: str = "", *, labels: str = "", fields: str = "", since: str = "", seconds: float | None = None
    ) -> Iterator[Event[T]]:
        """What happens, for ever, or for so many seconds.

        Without `since` it begins with all that is there, as ADDED. A connection that breaks is made again, and goes on where it
        was. Where the server does not remember that any more, what is different is told: several changes of one object may be told
        as one, and none of an object that was told of is missed. With `since`, a resourceVersion, it begins after that.
        """
        watch = _Watch(self, namespace, labels, fields, since)
        ends = None if seconds is None else time.monotonic() + seconds
        while ends is None or time.monotonic() < ends:
            yield from watch.turn(SILENCE if ends is None else min(SILENCE, ends - time.monotonic()))

    def stream(self, namespace: str, query: Mapping[str, str], silence: float) -> Iterator[tuple[str, bytes]]:
        """The events of one connection: their types, and their objects as they came. See `watch`."""
        timeout = httpx.Timeout(30.0, read=silence)
        with self._http.stream("GET", self._all(namespace), params=_said(query), timeout=timeout) as answer:
            if answer.status_code >= 400:
                answer.read()
                raise _refusal(answer.status_code, answer.content)
            rest = b""
            for piece in answer.iter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in filter(None, lines):
                    event = _read_event(line)
                    yield event.type, bytes(event.object)

    def read(self, raw: bytes) -> T:
        """The object that JSON says."""
        return self._decode(raw)

    def _merge(self, path: str, change: Mapping[str, Any]) -> T:
        return self._decode(self._send("PATCH", path, body=_encode(change), media="application/merge-patch+json"))

    def _all(self, namespace: str) -> str:
        within = f"/namespaces/{quote(namespace, safe='')}" if namespace and self._place.namespaced else ""
        return f"{self._place.root}{within}/{self._place.plural}"

    def _one(self, name: str, namespace: str) -> str:
        if not name or name in (".", ".."):
            raise ValueError(f"{name!r} is no name of an object")
        return f"{self._all(namespace or self._namespace)}/{quote(name, safe='')}"

    def _of(self, given: T) -> str:
        return self._one(given.metadata.name or "", given.metadata.namespace or "")

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        media: str = "application/json",
    ) -> bytes:
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": media})
        answer = self._http.request(method, path, params=_said(query or {}), content=body, headers=headers)
        if answer.status_code >= 400:
            raise _refusal(answer.status_code, answer.content)
        return answer.content


class _Watch(Generic[T]):
    """Where a watch is. `known` is what it has told of; None: it began in the middle, and does not know what there was."""

    def __init__(self, resource: Resource[T], namespace: str, labels: str, fields: str, since: str) -> None:
        self._resource = resource
        self._namespace, self._labels, self._fields = namespace, labels, fields
        self._version = since
        self._known: dict[tuple[str, str], T] = {}
        self._heard = False
        self._failures = 0

    def turn(self, seconds: float) -> Iterator[Event[T]]:
        """One connection, or one list."""
        try:
            if not self._version:
                page = self._resource.list(self._namespace, labels=self._labels, fields=self._fields)
                self._version, self._heard = page.resource_version, True
                yield from self._differences(page)
            for kind, raw in self._resource.stream(self._namespace, self._query(seconds), seconds + 30):
                self._heard, self._failures = True, 0
                yield from self._event(kind, raw)
        except Gone:
            self._version = ""
        except httpx.TransportError:
            if not self._heard:
                raise
            self._wait()
        except ApiError as error:
            if not self._heard or error.code not in (429, 500, 502, 503, 504):
                raise
            self._wait()

    def _query(self, seconds: float) -> Mapping[str, str]:
        return {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "labelSelector": self._labels,
            "fieldSelector": self._fields,
            "timeoutSeconds": str(max(1, round(seconds))),
        }

    def _event(self, kind: str, raw: bytes) -> Iterator[Event[T]]:
        if kind == "ERROR":
            raise _refusal(0, raw)
        if kind == "BOOKMARK":
            self._version = _read_metadata(raw).metadata.resource_version
            return
        found = self._resource.read(raw)
        self._version = found.metadata.resource_version or ""
        if kind == "DELETED":
            self._known.pop(_key(found), None)
            yield Event("DELETED", found)
        else:
            self._known[_key(found)] = found
            yield Event("ADDED" if kind == "ADDED" else "MODIFIED", found)

    def _differences(self, page: Page[T]) -> Iterator[Event[T]]:
        """What is otherwise than it was told."""
        before, self._known = self._known, {_key(each): each for each in page.items}
        for key, old in before.items():
            new = self._known.get(key)
            if new is None or new.metadata.uid != old.metadata.uid:
                yield Event("DELETED", old)
        for key, new in self._known.items():
            known = before.get(key)
            if known is None or known.metadata.uid != new.metadata.uid:
                yield Event("ADDED", new)
            elif known.metadata.resource_version != new.metadata.resource_version:
                yield Event("MODIFIED", new)

    def _wait(self) -> None:
        """Before another try."""
        self._failures += 1
        time.sleep(min(LONGEST_PAUSE, 0.25 * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0))


def _key(found: Object) -> tuple[str, str]:
    return found.metadata.namespace or "", found.metadata.name or ""


def _said(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}


_REASONS: Mapping[str, type[ApiError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Gone": Gone,
    "Expired": Gone,
    "Invalid": Invalid,
    "Forbidden": Forbidden,
}


def _refusal(code: int, raw: bytes) -> ApiError:
    try:
        status = msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        status = {}
    code = int(status.get("code") or code)
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or f"the server answered {code}")
    return _REASONS.get(reason, Gone if code == 410 else ApiError)(code, reason, message, status)
