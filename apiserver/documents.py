"""The OpenAPI documents of the registry that is in force: made when they are asked for, named by a digest of all that they say.

The digest is known without the document: of each kind and version what is said of it is digested once, for as long as the kind is
there, and only the digest is kept. So the index of thousands of kinds costs no document, and a kind that changes costs one digest
for each of its versions, whatever else there is. Documents themselves are kept while there is room (`ROOM`): they are large, and
few clients ask for them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version as distribution_version

import anyio.lowlevel
import msgspec
from anyio import to_thread

from apiserver.discovery import in_order
from apiserver.negotiation import clauses
from registry import openapi
from registry.catalog import Catalog, Registry
from registry.kinds import Kind, Version
from registry.openapi_schemas import schema_of_node

V2_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_ANSWERED = openapi.SWAGGER_PROTOBUF_TYPE
ROOM = 16 * 2**20
"""Bytes of documents that are kept."""
STEP = 16
"""Kinds of which the v2 document has the definitions in one piece."""
V2 = "/openapi/v2"


@dataclass(frozen=True, slots=True)
class Served:
    """A document with its place: `url` carries the hash, so that it may be cached for ever."""

    body: bytes
    hash: str
    url: str

    @property
    def etag(self) -> str:
        """The hash as an entity tag."""
        return f'"{self.hash}"'


@dataclass(frozen=True, slots=True)
class Answer:
    """A document of `/openapi/v2`. `body` makes it, piece by piece."""

    etag: str
    media: str
    body: AsyncIterator[bytes]


class OpenAPIDocuments:
    """The OpenAPI v3 documents by group and version, and the v2 one, which has all kinds."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._registry: Registry | None = None
        self._digests: dict[str, tuple[Kind, dict[tuple[str, str], bytes]]] = {}  # by resource: what each version says
        self._bodies: OrderedDict[str, bytes] = OrderedDict()  # by what has the hash in it; the last one asked for is the last one
        self._size = 0
        self._named_of: Registry | None = None  # whose documents have these names
        self._names_of: dict[str, str] = {}

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that has a document."""
        return (V2, "/openapi/v3", *(f"/openapi/v3/{place}" for place in _places(self._now())))

    async def index(self) -> bytes:
        """The index at `/openapi/v3`."""
        paths = {place: {"serverRelativeURL": _url(place, name)} for place, name in (await self._names()).items()}
        return msgspec.json.encode({"paths": paths})

    async def find(self, place: str) -> Served | None:
        """The document of a place such as `apis/uptime.example/v1`; None if there is none."""
        registry = self._now()
        where = _places(registry).get(place)
        if where is None:
            return None
        name = await self._hash(registry, *where)
        url = _url(place, name)
        body = self._kept(url)
        if body is None:
            body = await to_thread.run_sync(_v3, [_described(*each) for each in _having(registry, *where)])
            self._keep(url, body)
        return Served(body, name, url)

    async def v2(self, accept: str) -> Answer:
        """The document of `/openapi/v2`."""
        if any(clause.media in (V2_ASKED, V2_ANSWERED) for clause in clauses(accept)):
            return Answer('"swagger-2.0"', V2_ANSWERED, _pieces([openapi.SWAGGER_PROTOBUF]))
        registry = self._now()
        name = hashlib.sha256("".join((await self._names()).values()).encode()).hexdigest().upper()
        kept = self._kept(name)
        body = self._made_v2(name, registry) if kept is None else _pieces([kept])
        return Answer(f'"{name}"', "application/json", body)

    async def _made_v2(self, name: str, registry: Registry) -> AsyncIterator[bytes]:
        """The document in pieces, since it may be very large; it is kept if it is not."""
        places = list(_places(registry).values())
        kinds = [each for where in places for each in _having(registry, *where)]
        made, size = [], 0
        for start in range(0, max(len(kinds), 1), STEP):
            piece = await to_thread.run_sync(_v2_part, kinds[start : start + STEP])
            piece = piece if start else await to_thread.run_sync(_v2_head, places) + piece
            size += len(piece)
            if size <= ROOM // 4:
                made.append(piece)
            yield piece
        yield b"}}"
        if size <= ROOM // 4:
            self._keep(name, b"".join([*made, b"}}"]))

    async def _names(self) -> dict[str, str]:
        """The names of all documents of v3, by their places."""
        registry = self._now()
        if registry is not self._named_of:
            names = {place: await self._hash(registry, *where) for place, where in _places(registry).items()}
            self._names_of, self._named_of = names, registry
            return names
        return self._names_of

    def _now(self) -> Registry:
        """The registry in force. What was digested of kinds that are not there any more is forgotten."""
        registry = self._catalog.registry
        if registry is not self._registry:
            self._registry = registry
            self._digests = {name: known for name, known in self._digests.items() if registry.of_resource(name) is known[0]}
        return registry

    async def _hash(self, registry: Registry, group: str, version: str) -> str:
        """The name of a document. What is not digested yet is, while others work."""
        found = []
        for kind, served in _having(registry, group, version):
            known = self._digests.get(kind.resource)
            if known is None or known[0] is not kind:
                known = self._digests[kind.resource] = (kind, {})
            if (group, version) not in known[1]:
                known[1][group, version] = _digest(kind, served)
                await anyio.lowlevel.checkpoint()
            found.append(known[1][group, version])
        return hashlib.sha256(b"".join([_salt(), *sorted(found)])).hexdigest().upper()

    def _kept(self, url: str) -> bytes | None:
        if url in self._bodies:
            self._bodies.move_to_end(url)
        return self._bodies.get(url)

    def _keep(self, url: str, body: bytes) -> None:
        if url in self._bodies or len(body) > ROOM // 4:
            return
        self._bodies[url] = body
        self._size += len(body)
        while self._size > ROOM:
            self._size -= len(self._bodies.popitem(last=False)[1])


def _places(registry: Registry) -> dict[str, tuple[str, str]]:
    """Group and version by how the index names them."""
    return {openapi.path_of(group, version): (group, version) for group in in_order(registry) for version in registry.groups[group]}


def _having(registry: Registry, group: str, version: str) -> list[tuple[Kind, Version]]:
    return [
        (kind, served)
        for kind in registry.of_group(group)
        for served in kind.served
        if (served.group, served.name) == (group, version)
    ]


async def _pieces(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def _described(kind: Kind, version: Version) -> openapi.Served:
    published, kind = version.schema.published, kind.seen_in(version)
    return openapi.Served(
        group=version.group,
        version=version.name,
        kind=kind.name,
        list_kind=kind.list_kind,
        plural=kind.plural,
        namespaced=kind.namespaced,
        node=version.schema.node if published is None else None,
        document=published,
        has_status=kind.has_status,
        has_scale=kind.scale is not None,
        custom=not kind.strategy.builtin,
        selectable=tuple(version.selectable) if not kind.strategy.builtin else (),
        verbs=frozenset(kind.verbs),
    )


def _digest(kind: Kind, version: Version) -> bytes:
    """Of all that a document says of a kind. A schema that came as a document has a digest, and need not be read."""
    schema = version.schema.digest or schema_of_node(version.schema.node)
    seen = kind.seen_in(version)
    said = (version.group, version.name, kind.name, kind.list_kind, kind.plural, kind.namespaced, kind.strategy.builtin)
    more = (seen.has_status, seen.scale is not None, sorted(version.selectable), sorted(kind.verbs))
    return hashlib.sha256(msgspec.json.encode([said, more, schema])).digest()


@cache
def _salt() -> bytes:
    """Of how documents are made, so that another way to make them gives them other names: clients keep them for ever."""
    sample = openapi.Served(group="g.example", version="v1", kind="K", list_kind="KList", plural="ks", has_scale=True)
    return hashlib.sha256(_v3([sample]) + distribution_version("skep").encode()).digest()


def _url(place: str, digest: str) -> str:
    return f"/openapi/v3/{place}?hash={digest}"


def _v3(kinds: list[openapi.Served]) -> bytes:
    return msgspec.json.encode(openapi.openapi_v3(kinds))


def _v2_head(places: Iterable[tuple[str, str]]) -> bytes:
    meta = msgspec.json.encode(openapi.v2_meta(places))
    return msgspec.json.encode(openapi.V2_HEAD)[:-1] + b',"definitions":' + meta[:-1]


def _v2_part(kinds: list[tuple[Kind, Version]]) -> bytes:
    return b"".join(b"," + msgspec.json.encode(openapi.v2_definitions(_described(*each)))[1:-1] for each in kinds)
