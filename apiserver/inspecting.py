"""What a server says of its own registry: `/registry`, all kinds in brief, and `/registry/{resource}`, one kind with everything.

* Both are a `registry.description.Description`. It is of the registry that is in force, with kinds that came at run time.
* How many objects are stored in each version is counted in the cache, without SQL, and counted again only when something was
  written since.
* Thousands of kinds, or many objects, are gone through in small steps: other requests need not wait for all.
* Who may read it is said by roles, as of every path: `nonResourceURLs: ["/registry", "/registry/*"]`, the role of
  `skep:registry-viewer`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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

TURN = 50
"""Kinds that are described at once."""

_stored_as = attrgetter("api_version")


class Inspection:
    """Describes the registry that `registry` gives, and counts what is in the store."""

    def __init__(self, registry: Callable[[], Registry], store: Store) -> None:
        self._registry = registry
        self._store = store
        self._described: dict[str, tuple[Kind, KindDescription]] = {}  # in brief, as long as the kind is the same
        self._last: tuple[Registry, int, tuple[bytes, str]] | None = None  # the whole document: of what, at which revision
        self._counts: dict[str, tuple[int, dict[str, int]]] = {}  # by resource: the revision that it was counted at

    async def whole(self) -> tuple[bytes, str]:
        """The document of all kinds, and its ETag."""
        registry, revision = self._registry(), self._store.revision
        if self._last is not None and self._last[0] is registry and self._last[1] == revision:
            return self._last[2]
        all_kinds, kinds = registry.kinds, []
        for start in range(0, len(all_kinds), TURN):
            brief = self._brief(registry, all_kinds[start : start + TURN])
            kinds += [replace(told, objects=await self._count(told.resource)) for told in brief]
            await asyncio.sleep(0)
        here = {kind.resource for kind in all_kinds}
        self._described = {resource: told for resource, told in self._described.items() if resource in here}
        self._counts = {resource: counts for resource, counts in self._counts.items() if resource in here}
        encoded = _encoded(Description(kinds=tuple(kinds), actors=describe_actors(registry), brief=True))
        self._last = registry, revision, encoded
        return encoded

    def _brief(self, registry: Registry, kinds: Sequence[Kind]) -> Iterator[KindDescription]:
        """The kinds in brief; what is described already is not described again."""
        fresh = [kind for kind in kinds if self._described.get(kind.resource, (None,))[0] is not kind]
        for kind, told in zip(fresh, describe(registry, kinds=fresh, brief=True).kinds if fresh else (), strict=True):
            self._described[kind.resource] = kind, told
        return (self._described[kind.resource][1] for kind in kinds)

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
