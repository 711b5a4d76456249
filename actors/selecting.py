"""Which objects of its kind an actor reconciles, and a source that shows no others.

What it promises:

* An object that comes to match is as one that was made, one that ceases to match is as one that went: both are edges, and an object
  that does not match is not reconciled.
* An object that is being deleted and is held by the actor's own finalizer is shown whether it matches or not: what was begun for it
  is cleaned up, and it is not stuck.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from actors.cache import Change, Held, Listing, Source
from registry.declarations import Place
from registry.errors import BadRequest
from registry.jsonpath import JSONPath
from registry.jsonpath import parse as parse_path
from registry.nodes import Document, Node
from registry.selectors import FieldSelector, LabelSelector
from registry.typed import node_of

_METADATA = ("metadata.name", "metadata.namespace")
_TEXTS = ("string", "integer", "boolean")


@dataclass(frozen=True, slots=True)
class Selection:
    """Objects whose labels and fields match, and those that wait for `finalizer`."""

    labels: LabelSelector
    fields: FieldSelector
    paths: Mapping[str, JSONPath]
    finalizer: str

    def matches(self, document: Document) -> bool:
        """Whether the object is one of them."""
        metadata = document["metadata"]
        if metadata.get("deletionTimestamp") and self.finalizer in metadata.get("finalizers", ()):
            return True
        return self.labels.matches(metadata.get("labels") or {}) and self.fields.matches(
            lambda path: _text(self.paths[path], document)
        )


def selection(model: type, labels: str | Mapping[str, str], fields: str | Mapping[str, str], finalizer: str) -> Selection | None:
    """What a declaration says about it; None if nothing. Raises ValueError that says what is wrong with it."""
    if not labels and not fields:
        return None
    try:
        by_label, by_field = LabelSelector.parse(_joined(labels, "labels")), FieldSelector.parse(_joined(fields, "fields"))
    except BadRequest as error:
        raise ValueError(f"selector labels={labels!r}, fields={fields!r}: {error.message}") from None
    for path in by_field.paths:
        _check_path(model, path)
    return Selection(by_label, by_field, {path: parse_path("." + path) for path in by_field.paths}, finalizer)


class Selected:
    """A `Source` of the selected objects of one kind, made of a source of all."""

    def __init__(self, source: Source, selection: Selection) -> None:
        self._source = source
        self._selection = selection
        self._shown: set[Place] = set()  # what whoever follows this source takes for being there

    async def list(self, model: type) -> Listing:
        """See `Source.list`."""
        listing = await self._source.list(model)
        found = [held for held in listing.objects if self._matches(held)]
        self._shown = {held.place for held in found}
        return Listing(listing.revision, found)

    async def watch(self, model: type, after: int) -> AsyncGenerator[Sequence[Change], None]:
        """See `Source.watch`."""
        async with aclosing(self._source.watch(model, after)) as batches:
            async for batch in batches:
                yield [seen for change in batch if (seen := self._seen(change)) is not None]

    def _seen(self, change: Change) -> Change | None:
        """What a change of any object is among those that are shown."""
        place = change.held.place
        if not change.deleted and self._matches(change.held):
            self._shown.add(place)
            return change
        if place not in self._shown:
            return None
        self._shown.remove(place)
        return change._replace(deleted=True)

    def _matches(self, held: Held) -> bool:
        return self._selection.matches(held.document())


def _joined(selector: str | Mapping[str, str], what: str) -> str:
    if isinstance(selector, str):
        return selector
    if not isinstance(selector, Mapping):
        raise ValueError(f"{what} is {selector!r}; it must be a selector such as 'a=b', or a mapping of names to values")
    return ",".join(f"{name}={value}" for name, value in selector.items())


def _check_path(model: type, path: str) -> None:
    """A field that the actor itself does not change, and that has a text. Raises ValueError."""
    if path in _METADATA:
        return
    node: Node | None = node_of(model)
    for name in path.split("."):
        node = node.properties.get(name) if node is not None else None
    if not path.startswith("spec.") or node is None or not (node.type in _TEXTS or node.int_or_string):
        known = f"{', '.join(_METADATA)} and texts, whole numbers and booleans of the spec, as they are on the wire"
        raise ValueError(f"cannot select by the field {path!r} of {model.__name__}; there are {known}")


def _text(path: JSONPath, document: Document) -> str | None:
    value: Any = path.first(document)
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
