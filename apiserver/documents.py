"""The OpenAPI documents of a registry: made when they are first asked for, kept as bytes with a hash of their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from apiserver.negotiation import clauses
from registry import openapi
from registry.catalog import Registry

V2_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_ANSWERED = openapi.SWAGGER_PROTOBUF_TYPE


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


class OpenAPIDocuments:
    """The OpenAPI v3 documents by group and version, and the small v2 one."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._served: dict[str, Served] = {}
        self._v2: Served | None = None
        self._places = {
            (f"apis/{group}/{version}" if group else f"api/{version}"): (group, version)
            for group, versions in registry.groups.items()
            for version in versions
        }
        self.paths = ("/openapi/v2", "/openapi/v3", *(f"/openapi/v3/{place}" for place in self._places))

    @property
    def index(self) -> bytes:
        """The index at `/openapi/v3`."""
        entries = {}
        for place in self._places:
            served = self.find(place)
            if served is not None:
                entries[place] = {"serverRelativeURL": served.url}
        return msgspec.json.encode({"paths": entries})

    def find(self, place: str) -> Served | None:
        """The document of a place such as `apis/uptime.example/v1`; None if there is none."""
        if place not in self._places:
            return None
        if place not in self._served:
            group, version = self._places[place]
            self._served[place] = _served(
                msgspec.json.encode(openapi.openapi_v3(self._kinds(group, version))), f"/openapi/v3/{place}"
            )
        return self._served[place]

    def v2(self, accept: str) -> tuple[bytes, str, str]:
        """Body, ETag and media type of `/openapi/v2`."""
        if any(clause.media in (V2_ASKED, V2_ANSWERED) for clause in clauses(accept)):
            return openapi.SWAGGER_PROTOBUF, '"swagger-2.0"', V2_ANSWERED
        if self._v2 is None:
            kinds = [
                kind
                for group, versions in self._registry.groups.items()
                for version in versions
                for kind in self._kinds(group, version)
            ]
            self._v2 = _served(msgspec.json.encode(openapi.openapi_v2(kinds)), "/openapi/v2")
        return self._v2.body, self._v2.etag, "application/json"

    def _kinds(self, group: str, version: str) -> list[openapi.Served]:
        return [
            openapi.Served(
                group=group,
                version=version,
                kind=kind.name,
                list_kind=kind.list_kind,
                plural=kind.plural,
                namespaced=kind.namespaced,
                node=served.schema.node,
                has_status=kind.seen_in(served).has_status,
                has_scale=kind.seen_in(served).scale is not None,
                custom=not kind.strategy.builtin,
                selectable=tuple(served.selectable) if not kind.strategy.builtin else (),
                verbs=frozenset(kind.verbs),
            )
            for kind in self._registry.of_group(group)
            for served in kind.served
            if (served.group, served.name) == (group, version)
        ]


def _served(body: bytes, path: str) -> Served:
    digest = hashlib.sha256(body).hexdigest().upper()
    return Served(body, digest, f"{path}?hash={digest}")
