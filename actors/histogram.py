"""Durations, counted in buckets: as much as a histogram of Prometheus needs, and no more memory however many there are."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, math.inf)
"""Upper bounds in seconds; each bucket holds what is not above it."""


class Counted(NamedTuple):
    """How many durations there were up to each of `BOUNDS` (each count includes those before it), and their sum."""

    counts: Sequence[int]
    seconds: float


NOTHING = Counted((0,) * len(BOUNDS), 0.0)


class Histogram:
    """Counts durations."""

    def __init__(self) -> None:
        self._counts = [0] * len(BOUNDS)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def counted(self) -> Counted:
        """What was counted so far."""
        total, sums = 0, []
        for count in self._counts:
            total += count
            sums.append(total)
        return Counted(tuple(sums), self._seconds)
