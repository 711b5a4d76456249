"""A kind whose objects a real HTTPS webhook converts, in a world with everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from apiserver import sections
from registry.custom.conversion import Call, CustomWays, webhook_ways
from registry.jsonpath import parse as parse_path
from registry.kinds import Column, Kind, Scale, Version
from registry.nodes import Node
from registry.schema import Schema
from registry.ways import REMEMBERED
from tests.apiserver.hooks import LOCAL, Asking, Hook, asking, bundle, hook, http
from tests.apiserver.world import World

Document = dict[str, Any]

GROUP = "links.example"
OLD, NEW = f"{GROUP}/v1", f"{GROUP}/v2"
DEFINITION = f"links.{GROUP}"
TEXT = Node(type="string")
NUMBER = Node(type="integer")
OPEN = Node(type="object", preserve=True)


def path(version: str, name: str = "") -> str:
    """Where the links are in a version."""
    base = f"/apis/{GROUP}/{version}/namespaces/shop/links"
    return f"{base}/{name}" if name else base


def schema(**spec: Node) -> Schema:
    """Of one version."""
    root = {"apiVersion": TEXT, "kind": TEXT, "metadata": OPEN, "spec": Node(type="object", properties=spec), "status": OPEN}
    return Schema(Node(type="object", properties=root))


def schemas() -> dict[str, Schema]:
    """v1 has `host` and `port`; v2 has them as one, and a default."""
    size = Node(type="integer", default=3)
    return {NEW: schema(address=TEXT, replicas=NUMBER, size=size), OLD: schema(host=TEXT, port=NUMBER, replicas=NUMBER)}


def kind(call: Call | None, *, storage: str = OLD, memory: int = REMEMBERED, now: Callable[[], float] = lambda: 0.0) -> Kind:
    """Links, stored in a version, and converted by a call."""
    known = schemas()
    ways = webhook_ways("Link", known, call, memory=memory, now=now)
    columns = {NEW: (Column("ADDRESS", ".spec.address"),), OLD: (Column("HOST", ".spec.host"),)}
    selectable = {NEW: {"spec.address": parse_path(".spec.address")}, OLD: {"spec.host": parse_path(".spec.host")}}
    versions = tuple(
        Version(GROUP, each.rpartition("/")[2], "Link", known[each], columns=columns[each], selectable=selectable[each], ways=ways)
        for each in known
    )
    stored = next(version for version in versions if version.api_version == storage)
    return Kind("Link", "links", "link", "LinkList", versions, stored, scale=Scale())


def turned(document: Document, target: str) -> Document:
    """A link in a version: what a good webhook makes of it. Raises ValueError for one that says so."""
    spec = dict(document.get("spec") or {})
    if "bad" in (document["metadata"].get("labels") or {}):
        raise ValueError(f"cannot convert {document['metadata']['name']}")
    if target == NEW:
        host, port = spec.pop("host", ""), spec.pop("port", 0)
        spec["address"] = f"{host}:{port}"
    else:
        host, _, port = spec.pop("address", ":0").rpartition(":")
        spec |= {"host": host, "port": int(port)}
        spec.pop("size", None)
    return {**document, "apiVersion": target, "spec": spec}


def review(request: Document, objects: Sequence[Any] = (), **result: Any) -> bytes:
    """An answer over HTTP."""
    response = {"uid": request["uid"], "result": result or {"status": "Success"}, "convertedObjects": list(objects)}
    return http(msgspec.json.encode({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}))


def good(request: Document) -> bytes:
    """Converts all, or, as real ones do, refuses all for one that it cannot convert."""
    try:
        return review(request, [turned(each, request["desiredAPIVersion"]) for each in request["objects"]])
    except ValueError as error:
        return review(request, status="Failure", message=str(error))


@dataclass
class Linked:
    """A world with links. `reply` is what the webhook does; change it."""

    asking: Asking
    hook: Hook
    call: Call
    reply: Callable[[Document], Any] = good
    told: list[str] = field(default_factory=list)

    @property
    def world(self) -> World:
        """The parts."""
        return self.asking.world

    @property
    def ways(self) -> CustomWays:
        """Those that are in force."""
        found = self.world.registry.of_resource(DEFINITION)
        assert found is not None
        assert isinstance(found.storage.ways, CustomWays)
        return found.storage.ways

    @property
    def questions(self) -> list[tuple[str, tuple[str, ...]]]:
        """What the webhook was asked: the version that was wanted, and the names of the objects."""
        return [
            (each["desiredAPIVersion"].rpartition("/")[2], tuple(object_["metadata"]["name"] for object_ in each["objects"]))
            for each in self.hook.asked
        ]

    def use(self, **changes: Any) -> None:
        """Has another kind in the place of the one that is there."""
        self.world.manager.catalog.replace([kind(self.call, now=lambda: self.asking.clock[0], **changes)])

    async def link(self, name: str, host: str = "a", **metadata: Any) -> Document:
        """Stores one in v1."""
        return await self.world.make(path("v1"), name, metadata=metadata, spec={"host": host, "port": 1})


@asynccontextmanager
async def linked(settings: sections.Webhooks = LOCAL, **changes: Any) -> AsyncIterator[Linked]:
    """A world with links, stored in v1."""
    made: list[Linked] = []
    async with hook(lambda request: made[0].reply(request)) as webhook, asking(settings) as world:  # noqa: PLW0108  it is made later
        config = {"clientConfig": {"url": f"https://127.0.0.1:{webhook.port}/convert", "caBundle": bundle()}}
        made.append(Linked(world, webhook, world.webhooks.conversions.call(DEFINITION, config)))
        made[0].use(**changes)
        yield made[0]
