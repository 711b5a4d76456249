"""The ways between the versions of one kind that have different shapes.

A `Step` makes of a document of one shape the document of another; a `Ways` knows for every two versions which steps lead from one
to the other: the shortest way, found once. What it promises:

* `convert` gives a new document and leaves the one that it is given as it is. Metadata is the same in every version: whatever a
  step makes of it is not looked at.
* A step that fails, or makes what is no document of its version, is a `ConversionError` that names it and the object. Its insides
  are told to `report`, and to nobody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from registry.errors import Cause, InternalError, details
from registry.nodes import Node
from registry.remembering import Remembered
from registry.resource import Metadata, Object, Struct
from registry.typed import from_document, schema_of, to_document

Document = dict[str, Any]
Convert = Callable[[Document], Document]

REMEMBERED = 32 * 2**20
"""Bytes of converted forms that are kept for one kind."""
_NO_METADATA = Metadata()
MISSHAPEN = ("FieldValueTypeInvalid", "FieldValueRequired")
"""What is wrong with a document that is none of its version; others are one, but not a valid one."""


class ConversionError(InternalError):
    """An object cannot be shown, or stored, in a version: a converter failed on it. Names the converter, not why."""


class Unreached(ConversionError):
    """Nobody could be asked to convert an object. That says nothing about the object, and may be over in a moment."""


@dataclass(frozen=True, slots=True)
class Step:
    """One converter: between two shapes, under its name in messages. `source` is `file:line`."""

    old: Hashable
    new: Hashable
    name: str
    convert: Convert
    source: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A version of the kind: what shape its documents have, and their schema."""

    shape: Hashable
    node: Node


def typed_step(old: type, new: type, name: str, function: Callable[[Any], Any], source: str = "") -> Step:
    """A step that a function of values is: a value of one model in, one of the other out."""
    read: Callable[[Document], Any] = from_document(old)
    schema = schema_of(new)
    wires = dict(zip(_names(new), new.__struct_encode_fields__, strict=True))  # type: ignore[attr-defined]
    parts = [(name, wire) for name, wire in wires.items() if name not in ("api_version", "kind", "metadata")]

    def convert(document: Document) -> Document:
        metadata = document["metadata"]
        if "managedFields" in metadata:
            document = {**document, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
        made = function(read(document))
        if not isinstance(made, Object) or not isinstance(made, new):
            raise TypeError(f"it returns a {new.__name__}; this one returned {type(made).__name__}")
        found = _parts(made, parts)
        # Values are made without a look at the types of their fields. A broken rule, maybe a younger one than the object, is no
        # reason not to show it.
        outcome = schema.apply(found)
        if outcome.unknown or any(cause.reason in MISSHAPEN for cause in outcome.causes):
            raise TypeError(f"it made no {new.__name__}: {', '.join((*outcome.unknown, *map(str, outcome.causes)))}")
        return outcome.document

    return Step(old, new, name, convert, source)


def _names(model: type) -> tuple[str, ...]:
    return model.__struct_fields__  # type: ignore[attr-defined, no-any-return]


def _parts(made: Object, parts: Sequence[tuple[str, str]]) -> Document:
    """A value as a document, without type and metadata. The parts are nearly always Structs: then nothing else is looked at."""
    found: Document = {}
    for name, wire in parts:
        value = getattr(made, name)
        if isinstance(value, Struct):
            found[wire] = to_document(value)
        elif value is not None or name != "status":
            return to_document(replace(made, metadata=_NO_METADATA, api_version="", kind=""))
    return found


def routes(steps: Iterable[Step]) -> dict[tuple[Hashable, Hashable], list[tuple[Step, ...]]]:
    """From each shape to each that can be reached: the shortest ways, all of the same length."""
    leaving: dict[Hashable, list[Step]] = {}
    for step in steps:
        leaving.setdefault(step.old, []).append(step)
    found: dict[tuple[Hashable, Hashable], list[tuple[Step, ...]]] = {}
    for start in leaving:
        found[start, start] = [()]
        waiting = deque([start])
        while waiting:
            here = waiting.popleft()
            length = len(found[start, here][0])
            for step in leaving.get(here, ()):
                longer = [(*way, step) for way in found[start, here]]
                known = found.get((start, step.new))
                if known is None:
                    found[start, step.new] = longer
                    waiting.append(step.new)
                elif len(known[0]) == length + 1:
                    known += longer
    return found


def _tell_nobody(error: ConversionError) -> None:
    del error


class Ways:
    """How documents of a kind get from any of its versions to any other. `forms` are the versions by apiVersion, the preferred ones
    first.

    `memory` keeps what was made of stored objects; whoever reads them fills it. `report` is told of each failure, once.

    `settles`: reading an object brings it into the form that the schema of its version has now, also where it is stored in that
    version. `remote`: somebody else converts, who has to be asked (`registry.unasked`).
    """

    settles = False
    remote = False

    def __init__(
        self, kind: str, forms: Mapping[str, Form], steps: Iterable[Step], *, memory: int = REMEMBERED, exact: bool = False
    ) -> None:
        """`exact`: every version holds all that the others hold, so that nothing has to be kept beside what is converted."""
        self.kind = kind
        self.exact = exact
        self.forms = forms
        self.steps = tuple(steps)
        self.memory: Remembered[Any] = Remembered(memory)
        self.token = object()
        """Stands for these ways, where what they made is kept for longer than they are."""
        self.report: Callable[[ConversionError], None] = _tell_nobody
        self._named = {form.shape: version for version, form in forms.items()}
        self._routes = {pair: found[0] for pair, found in routes(self.steps).items()}

    def same(self, one: str, other: str) -> bool:
        """Whether documents of two versions differ in nothing but the apiVersion."""
        return one == other or (one in self.forms and other in self.forms and self.forms[one].shape == self.forms[other].shape)

    def distance(self, one: str, other: str) -> int:
        """How many converters are between two versions that are known."""
        return len(self._route(one, other) or ())

    def through(self, one: str, middle: str, other: str) -> bool:
        """Whether the way from one version to another leads by a third."""
        shape = self.forms[middle].shape
        return any(step.old == shape for step in self._route(one, other) or ())

    def convert(self, document: Document, target: str, *, quiet: bool = False) -> Document:
        """The document, which says its own version, in another. Raises ConversionError; `quiet`: of a part of an object, which may
        fail, and is not reported."""
        source = document.get("apiVersion", "")
        if source == target:
            return document
        way = self._route(source, target)
        if way is None:
            raise self._failed(document, target, f"{source} is no version of it that is declared", None)
        metadata, made = document["metadata"], document
        for step in way:
            try:
                made = {**step.convert(made), "apiVersion": self._named[step.new], "kind": self.kind, "metadata": metadata}
            except Exception as error:
                raise self._failed(document, target, f"converter {step.name} failed", error, quiet=quiet) from error
        return {**made, "apiVersion": target, "kind": self.kind}

    def stale(self, error: ConversionError) -> bool:
        """Whether a failure that is remembered may be none any more."""
        del error
        return False

    def _route(self, source: str, target: str) -> tuple[Step, ...] | None:
        here, there = self.forms.get(source), self.forms.get(target)
        if here is None or there is None:
            return None
        return () if here.shape == there.shape else self._routes.get((here.shape, there.shape))

    def _failed(
        self, document: Document, target: str, why: str, error: Exception | None, *, quiet: bool = False
    ) -> ConversionError:
        metadata = document["metadata"]
        name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
        where = f' in namespace "{namespace}"' if namespace else ""
        said = f'{self.kind} "{name}"{where} cannot be converted from {document.get("apiVersion", "")} to {target}: {why}'
        about = details(name=name, kind=self.kind, causes=[Cause("ConversionFailed", said)])
        failed = ConversionError(f"Internal error occurred: {said}", details=about)
        failed.__cause__ = error
        if not quiet:
            self.report(failed)
        return failed
