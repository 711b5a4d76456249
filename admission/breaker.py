"""A circuit breaker: who fails again and again is left alone for a while. Pure: times come in as arguments.

    closed      all may go; `failures` in a row open it
    open        nobody may go, for `seconds`
    half-open   one may go, to try: a success closes it, a failure opens it again

What it promises: what was begun before the circuit opened, or closed, says nothing any more when it ends; and a trial that is
given up (its request was) makes room for the next one.
"""

from __future__ import annotations

from typing import Literal

State = Literal["closed", "open", "half-open"]


class Open(Exception):
    """The circuit is open, for so many `seconds` more (0: until the trial under way is over)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Breaker:
    """The circuit of one service."""

    def __init__(self, failures: int, seconds: float) -> None:
        self._limit = failures
        self._seconds = seconds
        self._failed = 0  # in a row, while it is closed
        self._until: float | None = None  # when a trial may be made; None: closed
        self._trying = False
        self._epoch = 0  # counts the changes of state: an outcome of an earlier one says nothing

    def enter(self, now: float) -> int:
        """Who may go gets a number, to be given back with the outcome. Raises Open."""
        if self._until is None:
            return self._epoch
        if now < self._until or self._trying:
            raise Open(max(0.0, self._until - now))
        self._trying = True
        return self._epoch

    def leave(self, number: int, now: float, *, good: bool | None) -> None:
        """Tells the outcome. None: there was none."""
        if number != self._epoch:
            return
        if good is None:
            self._trying = False
        elif good:
            self._failed = 0
            if self._until is not None:
                self._turn(None)
        else:
            self._failed += 1
            if self._until is not None or self._failed >= self._limit:
                self._turn(now + self._seconds)

    def state(self, now: float) -> State:
        """How it stands."""
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half-open"

    def _turn(self, until: float | None) -> None:
        self._until, self._trying, self._failed = until, False, 0
        self._epoch += 1
