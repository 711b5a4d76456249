"""The handlers of a kind: defaults, mutation in order, then validation, all of it.

Handlers are called with typed values of the model that they were declared for, in the version of that model, whichever the request
is in. A mutator returns the next value, or None to leave it; what it changed is carried over to the object, of which its model may
know less. A default adds what is not there, and changes nothing. Every validator is run, and all causes are reported together. A
handler that raises something else than an `ApiError`, or takes too long, is our user's bug: it is logged with its name, and the
caller is told no more than that.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from types import CoroutineType
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from admission.calling import HandlerTimeoutError, caller, is_over
from admission.differing import changed, changed_value, filled
from admission.review import Review
from registry.conversion import Conversion
from registry.errors import ApiError, Cause, InternalError, details
from registry.handlers import Handler, is_async
from registry.kinds import Version
from registry.resource import Struct
from registry.typed import from_document, to_document
from registry.ways import ConversionError

Document = dict[str, Any]
T = TypeVar("T")
Conversions = Callable[[type, Version], Conversion | None]
Combine = Callable[[Document, Document], Document]
Use = Callable[["_Step", Review[Document], Any], T]
"""Makes of what a handler returned what is used."""


class Log(Protocol):
    """Where a handler's failure is reported."""

    def error(self, event: str, /, **values: Any) -> object: ...


def one_version(model: type, version: Version) -> None:
    """No conversions: there is one version."""
    del model, version


class _Step:
    """One handler: how it is given an object, and what becomes of what it returns."""

    def __init__(self, handler: Handler, log: Log, conversions: Conversions) -> None:
        if len(inspect.signature(handler.function).parameters) != 1:
            raise TypeError(f"{handler.source}: {handler.name} takes one argument, the review")
        self.name = handler.name
        self.waits = handler.thread or is_async(handler.function)
        self._model = handler.model
        self._call = caller(handler)
        self._read: Callable[[Document], Any] = from_document(handler.model)
        self._log = log
        self._conversions = conversions
        self._known_way: tuple[Version | None, Conversion | None] = (None, None)

    async def run(self, review: Review[Document], use: Use[T], *, broken: bool) -> T | None:
        """Calls the handler, and makes of what it returned what is used; None: it was passed over. What goes wrong is its fault."""
        try:
            try:
                given = self._given(review, broken=broken)
            except (msgspec.ValidationError, ConversionError):
                if broken:
                    return None
                raise
            returned = self._call(given)
            return use(self, review, await returned if isinstance(returned, CoroutineType) else returned)
        except ApiError:
            raise
        except BaseException as error:
            if is_over(error):
                raise
            raise self._failure(error) from error

    def _given(self, review: Review[Document], *, broken: bool) -> Review[Any]:
        """The review as the handler sees it: in its version, as values that are its own."""
        way = self._way(review)
        new, old = review.new, review.old
        if way is not None:
            new, old = way.there(new, quiet=broken), None if old is None else way.there(old)

        def note(key: str, value: str) -> None:
            review.note(f"{self.name}/{key}", value)

        return replace(review, new=self._read(new), old=None if old is None else self._read(old), note=note)

    def _way(self, review: Review[Document]) -> Conversion | None:
        """How an object of the version of a request becomes one of the handler's. It is looked up when that is another one."""
        version = review.version
        if version is not self._known_way[0]:
            self._known_way = (version, None if version is None else self._conversions(self._model, version))
        return self._known_way[1]

    def mutated(self, review: Review[Document], returned: Any) -> Document:
        """The object with what the handler made of it. What its model or its version does not know stays as it is."""
        return self._made(review, returned, None)

    def defaulted(self, review: Review[Document], returned: Any) -> Document:
        """The same, of what was missing."""
        return self._made(review, returned, filled)

    def found(self, review: Review[Document], returned: Any) -> Sequence[Cause]:
        """What a validator found."""
        del review
        causes = [] if returned is None else list(returned)
        for cause in causes:
            if not isinstance(cause, Cause):
                raise TypeError(f"a validator returns a list of Cause, or None; in this one's was {type(cause).__name__}")
        return causes

    def _made(self, review: Review[Document], returned: Any, keep: Combine | None) -> Document:
        document = review.new
        if returned is None:
            return document
        if not isinstance(returned, Struct) or not isinstance(returned, self._model):
            wanted = self._model.__name__
            raise TypeError(f"it returns the next {wanted}, or None; this one returned {type(returned).__name__}")
        way = self._way(review)
        # Read again: what it was given may have been changed in place.
        given: Struct = self._read(document if way is None else way.there(document))
        if returned == given:
            return document
        if way is None and keep is None:
            return changed_value(document, given, returned)
        before, after = _parts(given, returned) if way is None else (to_document(given), to_document(returned))
        if keep is not None:
            after = keep(before, after)
        if way is not None:
            before, after = way.back(before), way.back(after)
        return changed(document, before, after)

    def _failure(self, error: BaseException) -> InternalError:
        self._log.error("an admission handler failed", handler=self.name, exc_info=error)
        said = f"admission handler {self.name} {'took too long' if isinstance(error, HandlerTimeoutError) else 'failed'}"
        return InternalError(f"Internal error occurred: {said}", details=details(causes=[Cause("", said)]))


class Steps:
    """What there is to do for one operation on one subresource. `waits`: some validator may not answer at once.

    `broken` says that its schema has something against an object: who cannot be given it as a value is then passed over.
    """

    def __init__(self, defaulters: Sequence[_Step], mutators: Sequence[_Step], validators: Sequence[_Step]) -> None:
        self._defaulters = defaulters
        self._mutators = mutators
        self._validators = validators
        self.defaults = bool(defaulters)
        self.changes = bool(defaulters or mutators)
        self.validates = bool(validators)
        self.waits = any(step.waits for step in validators)

    def default(self, review: Review[Document], *, broken: bool = False) -> Awaitable[Document]:
        """The object with what was missing of it. The same object if nothing was. Raises ApiError."""
        return _changed(self._defaulters, review, _Step.defaulted, broken=broken)

    def mutate(self, review: Review[Document], *, broken: bool = False) -> Awaitable[Document]:
        """What is to be stored after all mutators. The same object if nothing was changed. Raises ApiError."""
        return _changed(self._mutators, review, _Step.mutated, broken=broken)

    async def validate(self, review: Review[Document], *, broken: bool = False) -> Sequence[Cause]:
        """What is wrong, according to every validator; those that wait do so at the same time. Raises ApiError only for a handler
        that failed or refused outright: the first of them, when all are through."""
        if self.waits:
            return in_turn(await together([partial(step.run, review, _Step.found, broken=broken) for step in self._validators]))
        causes: list[Cause] = []
        refusal: ApiError | None = None
        for step in self._validators:
            try:
                causes += await step.run(review, _Step.found, broken=broken) or ()
            except ApiError as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal
        return causes


async def _changed(steps: Sequence[_Step], review: Review[Document], use: Use[Document], *, broken: bool) -> Document:
    """What these made of the object, each of what the one before made of it."""
    document = review.new
    for step in steps:
        made = await step.run(review, use, broken=broken)
        if made is not None and made is not document:
            review.changed(step.name, document, made)
            document = made
            review = replace(review, new=document)
    return document


class Chain:
    """The admission handlers of one kind, in the order in which they are given. A write that none is about costs a look-up."""

    def __init__(
        self,
        mutators: Iterable[Handler],
        validators: Iterable[Handler],
        log: Log,
        *,
        defaulters: Iterable[Handler] = (),
        conversions: Conversions = one_version,
    ) -> None:
        """`conversions` finds the way from the version of a request to that of a handler's model."""
        parts = [
            [(handler, _Step(handler, log, conversions)) for handler in handlers] for handlers in (defaulters, mutators, validators)
        ]
        concerned = {
            (operation.upper(), subresource)
            for part in parts
            for handler, _ in part
            for operation in handler.operations
            for subresource in handler.subresources
        }
        self._steps = {
            (operation, subresource): Steps(
                *([step for handler, step in part if _concerns(handler, operation, subresource)] for part in parts)
            )
            for operation, subresource in concerned
        }

    def steps(self, operation: str, subresource: str = "") -> Steps | None:
        """What there is to do for an operation (CREATE, UPDATE, DELETE); None: nothing."""
        return self._steps.get((operation, subresource))


def _parts(given: Struct, returned: Struct) -> tuple[Document, Document]:
    """Two values as documents: of what they are made of, that in which they differ."""
    differ = [name for name in given.__struct_fields__ if getattr(given, name) != getattr(returned, name)]
    pairs = [(getattr(given, name), getattr(returned, name)) for name in differ]
    if type(given) is not type(returned) or not all(each is None or isinstance(each, Struct) for pair in pairs for each in pair):
        return to_document(given), to_document(returned)
    wires = dict(zip(given.__struct_fields__, given.__struct_encode_fields__, strict=True))
    named = [(wires[name], pair) for name, pair in zip(differ, pairs, strict=True)]
    before = {wire: to_document(was) for wire, (was, _) in named if was is not None}
    return before, {wire: to_document(now) for wire, (_, now) in named if now is not None}


def _concerns(handler: Handler, operation: str, subresource: str) -> bool:
    return operation.lower() in handler.operations and subresource in handler.subresources


Ask = Callable[[], Any]
"""Asks somebody what is wrong: gives an awaitable of causes, or of None."""


async def outcome(ask: Ask) -> Sequence[Cause] | ApiError:
    """What somebody found, or how they refused outright."""
    try:
        return await ask() or ()
    except ApiError as error:
        return error


async def together(asked: Sequence[Ask]) -> list[Sequence[Cause] | ApiError]:
    """The outcomes of all, who are asked at the same time; in the order in which they are given."""
    if len(asked) <= 1:
        return [await outcome(ask) for ask in asked]
    async with asyncio.TaskGroup() as tasks:  # half the cost of anyio's, and an outcome is never an exception
        others = [tasks.create_task(outcome(ask)) for ask in asked[1:]]
        first = await outcome(asked[0])
    return [first, *(task.result() for task in others)]


def in_turn(outcomes: Iterable[Sequence[Cause] | ApiError]) -> list[Cause]:
    """All causes, in order. Raises the first of the refusals, when there is one."""
    causes: list[Cause] = []
    for each in outcomes:
        if isinstance(each, ApiError):
            raise each
        causes += each
    return causes
