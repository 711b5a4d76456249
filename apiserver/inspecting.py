"""What a server says of its own registry: `/registry`, all kinds in brief, and `/registry/{resource}`, one kind with everything.

* Both are a `registry.description.Description`. It is of the registry that is in force, with kinds that came at run time.
* How many objects are stored in each version is counted in the cache, without SQL and in small steps, and counted again only when
  something was written since.
* Who may read it is said by roles, as of every path: `nonResourceURLs: ["/registry", "/registry/*"]`, the role of
  `skep:registry-viewer`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from registry.catalog import Registry
from registry.description import Description, KindDescription, describe, describe_actors
from registry.kinds import Kind
from storage.store import Store

PATH = "/registry"
STEP = 10_000
"""Objects that are counted at once: others wait for less than a millisecond."""

_stored_as = attrgetter("api_version")


class Inspection:
    """Describes the registry that `registry` gives, and counts what is in the store."""

    def __init__(self, registry: Callable[[], Registry], store: Store) -> None:
        self._registry = registry
        self._store = store
        self._described: dict[str, tuple[Kind, KindDescription]] = {}  # in brief, as long as the kind is the same
        self._counts: dict[str, tuple[int, dict[str, int]]] = {}  # by resource: the revision that it was counted at

    async def whole(self) -> tuple[bytes, str]:
        """The document of all kinds, and its ETag."""
        registry = self._registry()
        fresh = [kind for kind in registry.kinds if self._described.get(kind.resource, (None,))[0] is not kind]
        described = describe(registry, kinds=fresh, brief=True)
        known = {**self._described, **{kind.resource: (kind, told) for kind, told in zip(fresh, described.kinds, strict=True)}}
        self._described = {kind.resource: known[kind.resource] for kind in registry.kinds}
        self._counts = {resource: counts for resource, counts in self._counts.items() if resource in self._described}
        listed = [self._described[kind.resource][1] for kind in registry.kinds]
        kinds = tuple([replace(each, objects=await self._count(each.resource)) for each in listed])
        return _encoded(Description(kinds=kinds, actors=describe_actors(registry), brief=True))

    async def one(self, resource: str) -> tuple[bytes, str] | None:
        """The document of one kind, and its ETag; None if there is no such kind."""
        registry = self._registry()
        kind = registry.of_resource(resource)
        if kind is None:
            return None
        described = describe(registry, kinds=[kind])
        kinds = tuple([replace(each, objects=await self._count(resource)) for each in described.kinds])
        return _encoded(replace(described, kinds=kinds))

    async def _count(self, resource: str) -> dict[str, int]:
        """How many objects are stored, by the apiVersion that each is stored in."""
        snapshot = self._store.list(resource)
        known = self._counts.get(resource)
        if known is not None and known[0] == snapshot.revision:
            return known[1]
        counted: Counter[str] = Counter()
        for start in range(0, len(snapshot.records), STEP):
            counted.update(map(_stored_as, snapshot.records[start : start + STEP]))
            await asyncio.sleep(0)
        counts = dict(sorted(counted.items()))
        self._counts[resource] = snapshot.revision, counts
        return counts


def _encoded(description: Description) -> tuple[bytes, str]:
    body = msgspec.json.encode(description)
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
