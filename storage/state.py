"""A state and the changes that came after it, as one: nothing is copied but what was changed."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

from storage.store import Change, Key, Op, Record, State


class Layer:
    """Implements `State`: that of `base` after the changes that were applied here. `changed` is what they leave at each key.

    A change costs two look-ups. Only when something is listed or counted of a resource that was changed, the changes are sorted in,
    each once.
    """

    __slots__ = ("_base", "_changes", "_counts", "_places", "_resources", "_sorted", "changed")

    def __init__(self, base: State) -> None:
        self._base = base
        self.changed: dict[Key, Record | None] = {}
        self._changes: list[Change] = []
        self._resources: set[str] = set()  # those that were changed
        self._sorted = 0  # so many of them are in the two tables, by resource and namespace
        self._counts: dict[tuple[str, str], int] = {}
        self._places: dict[tuple[str, str], dict[str, Record | None]] = {}

    def apply(self, change: Change) -> None:
        """Does what a change did."""
        key = change.record.key
        self.changed[key] = None if change.op is Op.DELETED else change.record
        self._resources.add(key.resource)
        self._changes.append(change)

    def get(self, key: Key) -> Record | None:
        """The object at `key`."""
        return self.changed[key] if key in self.changed else self._base.get(key)

    def count(self, resource: str, namespace: str) -> int:
        """How many objects a resource has in a namespace."""
        if resource not in self._resources:
            return self._base.count(resource, namespace)
        self._sort_in()
        return self._base.count(resource, namespace) + self._counts.get((resource, namespace), 0)

    def list(self, resource: str, namespace: str) -> Sequence[Record]:
        """The objects of a resource in a namespace, by name."""
        records = self._base.list(resource, namespace)
        if resource not in self._resources:
            return records
        self._sort_in()
        place = self._places.get((resource, namespace))
        if place is None:
            return records
        found = [record for record in records if record.key.name not in place]
        for record in place.values():
            if record is not None:
                insort(found, record, key=_name)
        return found

    def _sort_in(self) -> None:
        for change in self._changes[self._sorted :]:
            key = change.record.key
            at = (key.resource, key.namespace)
            self._places.setdefault(at, {})[key.name] = None if change.op is Op.DELETED else change.record
            if change.op is not Op.MODIFIED:
                self._counts[at] = self._counts.get(at, 0) + (1 if change.op is Op.ADDED else -1)
        self._sorted = len(self._changes)


def _name(record: Record) -> str:
    return record.key.name
