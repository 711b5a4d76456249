"""The handlers of a kind: mutation in order, then validation, all of it.

Handlers are called with typed values of the model that they were declared for. A mutator returns the next value, or None to
leave it;
what the last one returned is what is checked and stored. Every validator is run, and all causes are reported together. A handler
that
raises something else than an `ApiError` is our user's bug: it is logged with its name, and the caller is told no more than that.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from admission.review import Review
from registry.errors import ApiError, Cause, InternalError, details
from registry.kinds import Handler
from registry.typed import from_document, to_document

Document = dict[str, Any]
T = TypeVar("T")


class Log(Protocol):
    """Where a handler's failure is reported."""

    def error(self, event: str, /, **values: Any) -> object: ...


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    call: Callable[[Review[Any]], Any]
    read: Callable[[Document], Any]


class Chain:
    """The admission handlers of one kind. Empty chains cost nothing: `mutates` and `validates` say so."""

    def __init__(self, mutators: Iterable[Handler], validators: Iterable[Handler], log: Log) -> None:
        self._mutators = [_step(handler) for handler in mutators]
        self._validators = [_step(handler) for handler in validators]
        self._log = log
        self.mutates = bool(self._mutators)
        self.validates = bool(self._validators)

    async def mutate(self, review: Review[Document]) -> Document:
        """What is to be stored after all mutators. Raises ApiError."""
        document = review.new
        for step in self._mutators:
            document = await self._run(step, replace(review, new=document), _mutated)
        return document

    async def validate(self, review: Review[Document]) -> Sequence[Cause]:
        """What is wrong, according to every validator. Raises ApiError only for a handler that failed or refused outright."""
        causes: list[Cause] = []
        for step in self._validators:
            causes += await self._run(step, review, _found)
        return causes

    async def _run(self, step: _Step, review: Review[Document], use: Callable[[Review[Document], Any, Any], T]) -> T:
        """Calls a handler, and makes of what it was given and what it returned what is used. What goes wrong there is its fault."""
        try:
            given = replace(review, new=step.read(review.new), old=None if review.old is None else step.read(review.old))
            returned = step.call(given)
            return use(review, given.new, await returned if isinstance(returned, Awaitable) else returned)
        except ApiError:
            raise
        except Exception as error:
            self._log.error("an admission handler failed", handler=step.name, exc_info=error)
            message = f"Internal error occurred: admission handler {step.name} failed"
            raise InternalError(message, details=details(causes=[Cause("", f"admission handler {step.name} failed")])) from error


def _step(handler: Handler) -> _Step:
    if len(inspect.signature(handler.function).parameters) != 1:
        raise TypeError(f"{handler.source}: {handler.name} takes one argument, the review")
    return _Step(handler.name, handler.function, from_document(handler.model))


def _mutated(review: Review[Document], given: Any, returned: Any) -> Document:
    """The document with what a handler returned instead of what it was given. What its model does not know stays as it is."""
    document = review.new
    if returned is None:
        return document
    if not isinstance(returned, type(given)):
        raise TypeError(f"a mutator returns the next {type(given).__name__}, or None; this one returned {type(returned).__name__}")
    before, after = to_document(given), to_document(returned)
    unseen = {key: value for key, value in document["metadata"].items() if key not in before.get("metadata", {})}
    rest = {key: value for key, value in document.items() if key not in before}
    return {**rest, **after, "metadata": {**unseen, **after.get("metadata", {})}}


def _found(review: Review[Document], given: Any, returned: Any) -> Sequence[Cause]:
    """What a validator found."""
    del review, given
    causes = [] if returned is None else list(returned)
    for cause in causes:
        if not isinstance(cause, Cause):
            raise TypeError(f"a validator returns a list of Cause, or None; in this one's was {type(cause).__name__}")
    return causes
