"""The newest state of every object, each held once, ordered by resource, namespace and name.

A read neither waits nor touches SQL. A list is a copy of references, so it costs nanoseconds for each object, needs no sorting and
does not change afterwards.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping

from storage.store import Change, Key, Op, Record

CHUNK = 512
"""Objects that are kept together, about. To put one into the middle of a list of all would cost what moving half of them costs."""


class _Bucket:
    """The objects of one resource in one namespace.

    `names` is sorted, in chunks of which none is empty; `records` runs parallel to it; `lasts` has the last name of each chunk.
    """

    __slots__ = ("by_name", "chunk", "lasts", "names", "records")

    def __init__(self, chunk: int) -> None:
        self.chunk = chunk
        self.by_name: dict[str, Record] = {}
        self.names: list[list[str]] = []
        self.records: list[list[Record]] = []
        self.lasts: list[str] = []

    def add_to(self, records: list[Record]) -> list[Record]:
        """Appends all objects, in order."""
        for chunk in self.records:
            records += chunk
        return records

    def put(self, record: Record) -> None:
        name = record.key.name
        if not self.lasts:
            self.names, self.records, self.lasts = [[]], [[]], [name]
        at = min(bisect_left(self.lasts, name), len(self.lasts) - 1)
        names, records = self.names[at], self.records[at]
        place = bisect_left(names, name)
        if name in self.by_name:
            records[place] = record
        else:
            names.insert(place, name)
            records.insert(place, record)
            self.lasts[at] = names[-1]
            if len(names) > 2 * self.chunk:
                self._split(at)
        self.by_name[name] = record

    def remove(self, name: str) -> None:
        del self.by_name[name]
        at = bisect_left(self.lasts, name)
        names, records = self.names[at], self.records[at]
        place = bisect_left(names, name)
        del names[place], records[place]
        if names:
            self.lasts[at] = names[-1]
        else:
            del self.names[at], self.records[at], self.lasts[at]

    def _split(self, at: int) -> None:
        names, records, half = self.names[at], self.records[at], self.chunk
        self.names[at : at + 1] = [names[:half], names[half:]]
        self.records[at : at + 1] = [records[:half], records[half:]]
        self.lasts.insert(at, names[half - 1])


class _Resource:
    """The namespaces of one resource that have objects in them; `names` is sorted."""

    __slots__ = ("buckets", "names")

    def __init__(self) -> None:
        self.buckets: dict[str, _Bucket] = {}
        self.names: list[str] = []


class Cache:
    """Objects by key. Written by one task; reading it from another thread meanwhile is safe as long as that task does not write."""

    def __init__(self, chunk: int = CHUNK) -> None:
        self._chunk = chunk
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
            return bucket.add_to([]) if bucket is not None else []
        records: list[Record] = []
        for name in found.names:
            found.buckets[name].add_to(records)
        return records

    def count(self, resource: str, namespace: str) -> int:
        """How many objects a resource has in a namespace."""
        found = self._resources.get(resource)
        bucket = found.buckets.get(namespace) if found is not None else None
        return len(bucket.by_name) if bucket is not None else 0

    def populated(self, namespace: str) -> bool:
        """Whether there is any object in a namespace."""
        return any(namespace in resource.buckets for resource in self._resources.values())

    def put(self, record: Record) -> None:
        """Adds an object, or replaces the one with its key."""
        key = record.key
        resource = self._resources.get(key.resource)
        if resource is None:
            resource = self._resources[key.resource] = _Resource()
        bucket = resource.buckets.get(key.namespace)
        if bucket is None:
            bucket = resource.buckets[key.namespace] = _Bucket(self._chunk)
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
        return {
            name: sum(len(bucket.by_name) for bucket in resource.buckets.values()) for name, resource in self._resources.items()
        }
