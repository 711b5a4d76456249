"""What a run writes into the status of its object. Plain functions on documents; nothing is read or written here.

A run that ended in `Terminal` shows in the condition `Stalled`, which is the word that kstatus and `kubectl wait` users know: it is
True while no retry helps, and becomes False with the next run that ends well.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from actors.actor import Outcome, Terminal
from actors.door import difference
from actors.recorder import presentable
from registry.nodes import Document
from registry.resource import Condition, Struct, is_true, set_condition
from registry.times import format_time
from registry.typed import to_document

STALLED = "Stalled"


class StatusError(Exception):
    """A status that cannot be written: the mistake is in the plugin."""


def status_document(status: object, kind: str) -> Document:
    """A status that a reconcile returned (a `Status`, or a mapping), as JSON. Raises StatusError if it cannot be one."""
    if not isinstance(status, Struct | dict):
        raise StatusError(f"the status returned for {kind} is of type {type(status).__name__}; it must be its Status")
    try:
        encoded = msgspec.json.encode(status if isinstance(status, dict) else to_document(status))
    except (TypeError, ValueError) as error:
        raise StatusError(f"the status returned for {kind} cannot be written as JSON: {error}") from error
    plain: Document = msgspec.json.decode(encoded)
    return plain


class Report:
    """What a run writes into the status of objects of a kind."""

    def __init__(self, model: type) -> None:
        self._kind = model.__name__
        status = _status_of(model)
        forms = _alternatives(status)
        self._is_there = status is not None and not isinstance(status, msgspec.inspect.NoneType)
        self._has_conditions = any(_field(form, "conditions") is not None for form in forms)
        self._counts_generations = any(_field(form, "observedGeneration") is not None for form in forms)

    def patch(self, before: Document, outcome: Outcome | Terminal, generation: int | None, now: float) -> Document:
        """The merge patch of the status, from what it is, for a run that saw this generation; empty if nothing is new.

        `observedGeneration` is filled in if the status has one, and says nothing else. Raises StatusError.
        """
        wanted = before
        if outcome.status is not None:
            if not self._is_there:
                raise StatusError(f"a status was returned for {self._kind}, which has none: return Done() alone")
            wanted = status_document(outcome.status, self._kind)
            if self._counts_generations:
                wanted = {"observedGeneration": generation} | wanted
        if self._has_conditions:
            wanted = _with_condition(wanted, outcome, generation, format_time(now))
        return difference(before, wanted)


def _with_condition(status: Document, outcome: Outcome | Terminal, generation: int | None, now: str) -> Document:
    if not isinstance(outcome, Terminal):
        return recovered(status, generation, now)
    message = presentable(outcome.message)
    return stalled(
        status, Condition(type=STALLED, status="True", reason=outcome.reason, message=message, observed_generation=generation), now
    )


def stalled(status: Document, condition: Condition, now: str) -> Document:
    """The status with this condition `Stalled` in it."""
    return {**status, "conditions": _documents(set_condition(_conditions(status), condition, now))}


def recovered(status: Document, generation: int | None, now: str) -> Document:
    """The status with `Stalled` no longer True; the same if it is not."""
    conditions = _conditions(status)
    if not is_true(conditions, STALLED):
        return status
    condition = Condition(type=STALLED, status="False", reason="Recovered", observed_generation=generation)
    return {**status, "conditions": _documents(set_condition(conditions, condition, now))}


def _conditions(status: Document) -> tuple[Condition, ...]:
    return msgspec.convert(status.get("conditions") or [], tuple[Condition, ...])


def _documents(conditions: tuple[Condition, ...]) -> list[Document]:
    return [to_document(condition) for condition in conditions]


@lru_cache(maxsize=256)
def _status_of(model: type) -> Any:
    """What the type of a model's status is. It takes a while to find out."""
    return _field(msgspec.inspect.type_info(model), "status")


def _field(info: Any, name: str) -> Any:
    fields = info.fields if isinstance(info, msgspec.inspect.StructType) else ()
    return next((field.type for field in fields if field.encode_name == name), None)


def _alternatives(info: Any) -> list[Any]:
    """What a type may be: the members of a union, without what was said about them."""
    if isinstance(info, msgspec.inspect.Metadata):
        return _alternatives(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return [inner for each in info.types for inner in _alternatives(each)]
    return [info]
