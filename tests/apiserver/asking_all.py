"""Every request that a server can be asked, made of its registry, with what it asks for; and who asks.

A new kind or subresource is among them without a change here. What a request asks for is said where its path is made, and is not
read off the path: it is what the server has to find out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from apiserver.asgi import App
from apiserver.lists import Token, encode_token
from apiserver.patching import APPLY_PATCH, MERGE_PATCH
from registry.catalog import Registry

Document = dict[str, Any]

INSIDE, OUTSIDE, NOWHERE = "shop", "default", "absent"
"""Namespaces: in which somebody has rights, in which not, and one that is not there."""
THERE, GONE = "there", "gone"
"""Names of objects: one that roles may name, and one that is not there."""
NOTHINGS = "nothings"
"""The plural of a kind that there is not."""
NO_GROUP, NO_VERSION = "nothing.example", "v9"

ONLY_THERE = f"metadata.name%3D{THERE}"
PAGE = "limit=1&continue=" + encode_token(Token(0, "a", INSIDE))
UNREADABLE = f"fieldSelector={ONLY_THERE}&watch=1&x=%FF"
COUNTS = (b"content-length", b"x-ratelimit-")
PATCHES = (APPLY_PATCH, MERGE_PATCH)


class Place(NamedTuple):
    """Where a resource is, without what is asked of it."""

    group: str
    version: str
    plural: str
    namespaced: bool
    subresources: tuple[str, ...]
    known: bool = True

    @property
    def base(self) -> str:
        """How its paths begin."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def of_namespaces(self) -> bool:
        """Whether it is the resource whose objects are in themselves."""
        return (self.group, self.plural) == ("", "namespaces")


class Request(NamedTuple):
    """A request, and what it asks for: a verb on a path of no resource (`place` is None), or on a resource."""

    method: str
    path: str
    query: str
    content_type: str
    verb: str
    place: Place | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def plural(self) -> str:
        """The resource without its group; empty for a path of none."""
        return self.place.plural if self.place else ""


class Reply(NamedTuple):
    """What came back, and whether the body was asked for."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    read: bool

    @property
    def denied(self) -> bool:
        """Whether the right was missing. Others than the roles say 403 too, to writes, and in other words; HEAD has no words."""
        return self.status == 401 or (self.status == 403 and (not self.body or b'forbidden: User \\"' in self.body))


def places(registry: Registry) -> list[Place]:
    """Every resource in every version, and such as are not there: of every group, of no group, of no version."""
    found = []
    for kind in registry.kinds:
        for version in kind.versions:
            place = Place(version.group, version.name, kind.plural, kind.namespaced, tuple(kind.subresources))
            if not place.of_namespaces:  # below these, what is no subresource is a resource in the namespace
                place = place._replace(subresources=(*place.subresources, "nothing"))
            found.append(place)
    groups = dict.fromkeys((place.group, place.version) for place in found)
    absent = [(NO_GROUP, "v1"), ("", NO_VERSION), *groups]
    return found + [Place(group, version, NOTHINGS, True, ("status", "nothing"), known=False) for group, version in absent]


def requests(place: Place) -> Iterator[Request]:
    """Everything that can be asked of a resource."""
    for namespace in ("", *((INSIDE, OUTSIDE, NOWHERE) if place.namespaced else ())):
        within = f"namespaces/{namespace}/" if namespace else ""
        collection = f"{place.base}/{within}{place.plural}"
        for method, query, content_type, verb, name in _of_collections():
            yield Request(method, collection, query, content_type, verb, place, namespace, name)
        yield from _watches(f"{place.base}/watch/{within}{place.plural}", place, namespace, "")
        for name in _names(place):
            inside = name if place.of_namespaces else namespace
            for subresource in ("", *place.subresources):
                path = f"{collection}/{name}/{subresource}".rstrip("/")
                for method, query, content_type, verb in _of_objects():
                    yield Request(method, path, query, content_type, verb, place, inside, name, subresource)
            yield from _watches(f"{place.base}/watch/{within}{place.plural}/{name}", place, namespace, name)


def pages(paths: Sequence[str]) -> Iterator[Request]:
    """Everything that can be asked of what is no resource."""
    for path in paths:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            yield Request(method, path, "", "", "get" if method == "HEAD" else method.lower())


def _names(place: Place) -> tuple[str, ...]:
    return (THERE, INSIDE, GONE) if place.of_namespaces else (THERE, GONE)


def _of_collections() -> Iterator[tuple[str, str, str, str, str]]:
    """Method, query, content type, verb, and the name that is asked for."""
    for method in ("GET", "HEAD"):
        yield method, "", "", "list", ""
    for query in (
        PAGE,
        f"{PAGE}&fieldSelector=metadata.namespace%3D{INSIDE}",
        "watch=0",
        f"fieldSelector=metadata.name!%3D{THERE}",
        UNREADABLE,
    ):
        yield "GET", query, "", "list", ""
    yield "GET", f"fieldSelector={ONLY_THERE}", "", "list", THERE
    yield "GET", f"{PAGE}&fieldSelector={ONLY_THERE}", "", "list", THERE
    yield "GET", "watch=1", "", "watch", ""
    yield "GET", f"watch=true&fieldSelector={ONLY_THERE}", "", "watch", THERE
    yield "POST", "dryRun=All", "application/json", "create", ""
    yield "PUT", "dryRun=All", "application/json", "update", ""
    for patch in PATCHES:
        yield "PATCH", "dryRun=All&fieldManager=me", patch, "patch", ""
    yield "DELETE", "dryRun=All", "", "deletecollection", ""
    yield "DELETE", f"dryRun=All&fieldSelector={ONLY_THERE}", "", "deletecollection", ""
    yield "OPTIONS", "", "", "options", ""


def _of_objects() -> Iterator[tuple[str, str, str, str]]:
    for method in ("GET", "HEAD"):
        yield method, "", "", "get"
    yield "GET", "watch=1", "", "get"
    yield "POST", "dryRun=All", "application/json", "create"
    yield "PUT", "dryRun=All", "application/json", "update"
    for patch in PATCHES:
        yield "PATCH", "dryRun=All&fieldManager=me", patch, "patch"
    yield "DELETE", "dryRun=All", "", "delete"
    yield "OPTIONS", "", "", "options"


def _watches(path: str, place: Place, namespace: str, name: str) -> Iterator[Request]:
    """What is below `/watch/` asks for a watch, whatever the method."""
    for method in ("GET", "POST", "PUT", "DELETE"):
        yield Request(method, path, "dryRun=All", "application/json", "watch", place, namespace, name)


async def ask(app: App, request: Request, headers: Sequence[tuple[bytes, bytes]] = (), body: bytes = b"{}") -> Reply:
    """Asks the application as a connection does. Streams end at once, since nobody listens."""
    sent: list[Any] = []
    reads = 0

    async def receive() -> Document:
        nonlocal reads
        reads += 1
        if request.method in ("GET", "HEAD"):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = request.path.encode()
    given = [*headers, *([(b"content-type", request.content_type.encode())] if request.content_type else ())]
    scope = {
        "type": "http",
        "method": request.method,
        "path": unquote_to_bytes(raw).decode("utf-8", "replace"),
        "raw_path": raw,
        "query_string": request.query.encode(),
        "headers": given,
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    start, parts = sent[0], sent[1:]
    return Reply(start["status"], tuple(start["headers"]), b"".join(part.get("body", b"") for part in parts), reads > 0)


def told(reply: Reply, absent: str = "", there: str = "") -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
    """All that a refusal tells of what was asked for, with the name `there` in the place of `absent`.

    How long it is, its body says anyway; how many requests may follow is of who asks.
    """
    headers = tuple(header for header in reply.headers if not header[0].startswith(COUNTS))
    return reply.status, headers, reply.body.replace(absent.encode(), there.encode()) if absent else reply.body
