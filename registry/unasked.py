"""Plain functions that need what has to be asked for elsewhere, such as an object as a webhook converts it.

They do not wait. What they need and is not there they raise as `Unasked`; `answered` asks, and has the function done again with the
answer in its place. So such a function changes nothing outside of itself, and asks the same questions each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from registry.errors import InternalError

T = TypeVar("T")

MOST = 256
"""Questions of one computation, one after the other."""


class Question(NamedTuple):
    """A document, as JSON, and the apiVersion that it is wanted in."""

    target: str
    document: bytes


class Asker(Protocol):
    """Whoever knows whom to ask."""

    async def ask(self, questions: Sequence[Question]) -> Callable[[], None]:
        """Has the answers in their place until the function that is returned is called. Raises ApiError: nobody answers."""
        ...


class Unasked(BaseException):
    """An answer is not there yet. No `Exception`, so that nobody takes it for a failure of what was to be computed."""

    def __init__(self, asker: Asker, question: Question) -> None:
        super().__init__("an answer is not there yet")
        self.asker = asker
        self.question = question


async def answered(compute: Callable[[], T]) -> T:
    """What a computation gives when it has all its answers."""
    held: list[Callable[[], None]] = []
    try:
        while len(held) < MOST:
            try:
                return compute()
            except Unasked as unasked:
                held.append(await unasked.asker.ask([unasked.question]))
        raise InternalError("Internal error occurred: a request needs too many objects converted")
    finally:
        for release in held:
            release()
