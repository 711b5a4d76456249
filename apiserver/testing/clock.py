"""A clock that stands still until it is told how far to go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from apiserver.testing.order import Order

BEGINNING = 1_700_000_000.0
"""Seconds since 1970 at which every test begins: 2023-11-14T22:13:20Z."""


class VirtualClock:
    """Implements `actors.clock.Clock`. What is due at the same moment comes in the order in which it was asked for, or as the seed
    has it."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._moment = 0.0
        self._waiting: dict[anyio.CancelScope, float] = {}

    def now(self) -> float:
        """Seconds since the server of the test was started."""
        return self._moment

    def time(self) -> float:
        """Seconds since 1970."""
        return BEGINNING + self._moment

    @contextmanager
    def deadline(self, due: float | None) -> Iterator[anyio.CancelScope]:
        """See `Clock.deadline`."""
        with anyio.CancelScope() as scope:
            if due is None:
                yield scope
                return
            if due <= self._moment:
                scope.cancel()
            self._waiting[scope] = due
            try:
                yield scope
            finally:
                del self._waiting[scope]

    def due(self) -> float | None:
        """When the next thing falls due; None if nothing ever does."""
        return min((due for scope, due in self._waiting.items() if not scope.cancel_called), default=None)

    def go(self, moment: float) -> None:
        """It is `moment` (never before now): what is due by then is told so."""
        self._moment = max(self._moment, moment)
        for scope in self._order.shuffled([scope for scope, due in self._waiting.items() if due <= self._moment]):
            scope.cancel()
