"""What happens next when several things could: chosen by a seed, so that it can be chosen differently, and the same again.

What is never changed is what a server promises: the changes of one kind come in order, a key has one run at a time, a read that
follows a write shows it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from anyio import lowlevel

T = TypeVar("T")

SEED = "SKEP_SEED"
"""The environment variable that says which seed is tried, and no other."""

_PAUSES = (0, 0, 0, 0, 1, 1, 2, 3, 8, 40)
"""How often others get their turn before somebody goes on. The largest is enough for a run that writes several times."""


class Order:
    """Chooses. Seed 0 is the order of a quiet server: first come, first served, and nobody is held up."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.varies = seed != 0
        self.chance = Random(f"names of {seed}")  # of a server: uids, generated names, jitter
        self._chance = Random(f"order of {seed}")

    async def pause(self) -> None:
        """Lets others go first, a few times or not at all."""
        if self.varies:
            for _ in range(self._chance.choice(_PAUSES)):
                await lowlevel.checkpoint()

    def first(self, count: int) -> int:
        """Which of so many (at least 1) is next."""
        return self._chance.randrange(count) if self.varies else 0

    def shuffled(self, items: Sequence[T]) -> Sequence[T]:
        """All of them, in some order."""
        return self._chance.sample(items, len(items)) if self.varies else items

    def pieces(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """All of them in this order, in one part or in several."""
        start = 0
        while start < len(items):
            end = start + self._chance.randint(1, len(items) - start) if self.varies else len(items)
            yield items[start:end]
            start = end

    def part(self, seconds: float) -> float:
        """So many seconds, or fewer."""
        return seconds * self._chance.random() if self.varies else seconds


def seeds(count: int) -> Sequence[int]:
    """The seeds 1 to `count`; or the one that the environment variable SKEP_SEED names, to run it again. Raises ValueError."""
    chosen = os.environ.get(SEED)
    if chosen is None:
        return range(1, count + 1)
    try:
        return (int(chosen),)
    except ValueError:
        raise ValueError(f"{SEED}={chosen}: it must be the number of a seed") from None
