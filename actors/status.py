"""What a run writes into the status of its object. Plain functions on documents; nothing is read or written here.

A run that ended in `Terminal` shows in the condition `Stalled`, which is the word that kstatus and `kubectl wait` users know: it is
True while no retry helps, and becomes False with the next run that ends well.
"""

from __future__ import annotations

from typing import Any

import msgspec

from registry.nodes import Document
from registry.resource import Condition, Struct, is_true, set_condition
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


def has_conditions(model: type) -> bool:
    """Whether the kind's status has a field `conditions`."""
    status = _field(msgspec.inspect.type_info(model), "status")
    return any(_field(each, "conditions") is not None for each in _alternatives(status))


def has_status(model: type) -> bool:
    """Whether the kind has a status: `Resource[S, None]` has none."""
    status = _field(msgspec.inspect.type_info(model), "status")
    return status is not None and not isinstance(status, msgspec.inspect.NoneType)


def counts_generations(model: type) -> bool:
    """Whether the kind's status has a field `observedGeneration`: it is that of the object of the run, unless a run says else."""
    status = _field(msgspec.inspect.type_info(model), "status")
    return any(_field(each, "observedGeneration") is not None for each in _alternatives(status))


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
