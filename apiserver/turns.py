"""Turns at an object that many write at once.

A write that names no revision is decided on the newest state, and decided again when another one was faster. If all who were
overtaken tried again together, one of them would win and the rest would be decided in vain, again and again. So they go one after
another, in the order in which they came, and whoever comes while others wait waits behind them. Writes that meet nobody wait for
nobody.

This orders the writes of one process. It decides nothing: what is stored, and on which revision, is the store's promise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import anyio


class Turns:
    """A line for each key that anybody waits at; nothing is kept of the others."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, anyio.Lock] = {}
        self._waiting: dict[Hashable, int] = {}

    def busy(self, key: Hashable) -> bool:
        """Whether anybody has a turn at the key, or waits for one."""
        return key in self._lines

    @asynccontextmanager
    async def at(self, key: Hashable) -> AsyncIterator[None]:
        """Waits for its turn at the key, and has it for the body of the `async with`."""
        line = self._lines.setdefault(key, anyio.Lock(fast_acquire=True))
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            async with line:
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._lines[key]
