"""Chance for many: what the system's generator gives, fetched for thousands of numbers at a time."""

from __future__ import annotations

import os
import random

POOL = 8 * 1024
"""Bytes that are fetched at once."""
_EXACT = 53  # bits of a float's fraction


class PooledRandom(random.SystemRandom):
    """`random.SystemRandom`, as hard to guess, without a system call for each number.

    Such a call gives the interpreter to another thread that waits for it, and a write that only wants a uid waits until it has it
    back. Not for use by several threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pool = b""
        self._at = 0

    def getrandbits(self, k: int, /) -> int:
        """`k` random bits. Raises ValueError for a negative `k`."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        count = (k + 7) // 8
        return int.from_bytes(self._take(count)) >> (count * 8 - k)

    def random(self) -> float:
        """A number from 0 up to, and without, 1."""
        return self.getrandbits(_EXACT) / (1 << _EXACT)

    def _take(self, count: int) -> bytes:
        at, end = self._at, self._at + count
        if end > len(self._pool):
            self._pool, at, end = os.urandom(max(POOL, count)), 0, count
        self._at = end
        return self._pool[at:end]
