"""A stream ends soon after the right to it was taken away, or, of a stream as somebody else, the right to be them.

When a role or a binding changes in a way that may take a right away, all open streams are asked about again, `TURN` of them at a
time, so that thousands of them hold up nobody. Whoever may not watch any more is sent nothing from then on, and finds out why when
they come back. Who watches as somebody else needs the right to be them as well. Changes that come while a pass is under way are
looked at by another one after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from admission.rbac import Rbac
from admission.review import Attributes, Decision

TURN = 200
"""Streams that are asked about before other things have their turn."""


class Leaving(Protocol):
    """What can be told to end."""

    def leave(self) -> None:
        """Ends it after what it is sending."""
        ...


class Revoker:
    """Ends streams. `admit` says what a stream was allowed for, `dismiss` that it is over."""

    def __init__(self, rbac: Rbac, decide: Callable[[Attributes], Decision]) -> None:
        self._decide = decide
        self._open: dict[Leaving, tuple[Attributes, ...]] = {}
        self._waiting: deque[Leaving] = deque()
        self._again = False
        rbac.on_narrowed(self._narrowed)

    def admit(self, stream: Leaving, *wanted: Attributes) -> None:
        """The stream is open, by all these rights. They are asked about once more: one may have gone since they were."""
        self._open[stream] = wanted
        self._look(stream)

    def dismiss(self, stream: Leaving) -> None:
        """The stream is over."""
        self._open.pop(stream, None)

    def _look(self, stream: Leaving) -> None:
        if not all(self._decide(attributes).allowed for attributes in self._open.get(stream, ())):
            stream.leave()

    def _narrowed(self) -> None:
        if not self._open:
            return
        if self._waiting:
            self._again = True
            return
        self._waiting.extend(self._open)
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        for _ in range(min(TURN, len(self._waiting))):
            self._look(self._waiting.popleft())
        if not self._waiting and self._again:
            self._again = False
            self._waiting.extend(self._open)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
