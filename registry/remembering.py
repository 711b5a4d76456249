"""A bounded memory of what was computed from immutable values, for values that come again and again in the same order (lists).

What is remembered of a place is good for the very value that it was computed from, and for no other. When the memory is full it
takes nothing new until it has been asked as often as it has entries: then it drops those that nobody asked for meanwhile. So a list
that is longer than the memory still finds most of what is in it, and what is gone makes room.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Entry(Generic[T]):
    __slots__ = ("cost", "made", "source", "used")

    def __init__(self, source: object, made: T, cost: int) -> None:
        self.source = source
        self.made = made
        self.cost = cost
        self.used = True


class Remembered(Generic[T]):
    """Remembers up to `limit` bytes, as their makers count them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._entries: dict[Hashable, _Entry[T]] = {}
        self._refused = 0  # since the last time that the unused were dropped

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, place: Hashable, source: object) -> T | None:
        """What was made of this very source; None if that is not known."""
        entry = self._entries.get(place)
        if entry is None or entry.source is not source:
            return None
        entry.used = True
        return entry.made

    def put(self, place: Hashable, source: object, made: T, cost: int) -> None:
        """Remembers it in the place of what was there, if there is room."""
        before = self._entries.pop(place, None)
        self.size -= 0 if before is None else before.cost
        if self.size + cost > self.limit:
            self._refused += 1
            if self._refused <= len(self._entries):
                return
            self._sweep()
            if self.size + cost > self.limit:
                return
        self._entries[place] = _Entry(source, made, cost)
        self.size += cost

    def _sweep(self) -> None:
        self._refused = 0
        for place, entry in tuple(self._entries.items()):
            if not entry.used:
                self.size -= entry.cost
                del self._entries[place]
            entry.used = False
