"""The newest state of every object, each held once, ordered by resource, namespace and name.

A read neither waits nor touches SQL. A list is a copy of references, so it costs nanoseconds for each object, needs no sorting and
does not change afterwards.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping

from storage.store import Change, Key, Op, Record


class _Bucket:
    """The objects of one resource in one namespace. `names` is sorted, `ordered` runs parallel to it."""

    __slots__ = ("by_name", "names", "ordered")

    def __init__(self) -> None:
        self.by_name: dict[str, Record] = {}
        self.names: list[str] = []
        self.ordered: list[Record] = []

    def put(self, record: Record) -> None:
        name = record.key.name
        place = bisect_left(self.names, name)
        if name in self.by_name:
            self.ordered[place] = record
        else:
            self.names.insert(place, name)
            self.ordered.insert(place, record)
        self.by_name[name] = record

    def remove(self, name: str) -> None:
        del self.by_name[name]
        place = bisect_left(self.names, name)
        del self.names[place]
        del self.ordered[place]


class _Resource:
    """The namespaces of one resource that have objects in them; `names` is sorted."""

    __slots__ = ("buckets", "names")

    def __init__(self) -> None:
        self.buckets: dict[str, _Bucket] = {}
        self.names: list[str] = []


class Cache:
    """Objects by key. Written by one task; reading it from another thread meanwhile is safe as long as that task does not write."""

    def __init__(self) -> None:
        self._resources: dict[str, _Resource] = {}

    def get(self, key: Key) -> Record | None:
        """The object at `key`, None if there is none."""
        resource = self._resources.get(key.resource)
        bucket = resource.buckets.get(key.namespace) if resource is not None else None
        return bucket.by_name.get(key.name) if bucket is not None else None

    def list(self, resource: str, namespace: str | None = None) -> list[Record]:
        """The objects of a resource, in one namespace or (None) in all, by namespace and name. The list is the caller's."""
        found = self._resources.get(resource)
        if found is None:
            return []
        if namespace is not None:
            bucket = found.buckets.get(namespace)
            return bucket.ordered.copy() if bucket is not None else []
        records: list[Record] = []
        for name in found.names:
            records += found.buckets[name].ordered
        return records

    def put(self, record: Record) -> None:
        """Adds an object, or replaces the one with its key."""
        key = record.key
        resource = self._resources.get(key.resource)
        if resource is None:
            resource = self._resources[key.resource] = _Resource()
        bucket = resource.buckets.get(key.namespace)
        if bucket is None:
            bucket = resource.buckets[key.namespace] = _Bucket()
            insort(resource.names, key.namespace)
        bucket.put(record)

    def remove(self, key: Key) -> None:
        """Takes an object out. It must be there."""
        resource = self._resources[key.resource]
        bucket = resource.buckets[key.namespace]
        bucket.remove(key.name)
        if not bucket.by_name:
            del resource.buckets[key.namespace]
            resource.names.remove(key.namespace)

    def apply(self, change: Change) -> None:
        """Does what a change did."""
        if change.op is Op.DELETED:
            self.remove(change.record.key)
        else:
            self.put(change.record)

    def counts(self) -> Mapping[str, int]:
        """How many objects each resource has."""
        return {name: sum(len(bucket.names) for bucket in resource.buckets.values()) for name, resource in self._resources.items()}
