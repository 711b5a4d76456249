"""The keywords of an openAPIV3Schema, and what each holds: reading one makes sure of the types, and drops what is not known.

    read = keywords.read(schema, "spec.versions[0].schema.openAPIV3Schema")
    read.schema     the schema with known keywords only, and without nulls: who walks it need not look at types again
    read.unknown    paths of what was dropped
    read.causes     what is of a wrong type, or too much; then the schema means nothing

Whoever reads a schema after this may recurse: it is no deeper than `DEEPEST`, and has no more than `LARGEST` parts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import UNSET, UnsetType

from registry import errors
from registry.errors import Cause
from registry.nodes import INT64, LONGEST_STEP, TOLD, Document
from registry.validation import type_name

DEEPEST = 48
"""Schemas within each other. The deepest of well-known projects have some thirty."""
LARGEST = 50_000
"""Schemas that one may hold, itself included. The largest of well-known projects have some twelve thousand."""

JUNCTORS = ("allOf", "anyOf", "oneOf")
"""What joins a list of schemas. Constant."""

SCHEMA, SCHEMAS, SCHEMA_MAP = "schema", "schemas", "schema map"

_TEXTS = ("id", "$schema", "$ref", "description", "type", "format", "title", "pattern")
_MARKS = ("x-kubernetes-list-type", "x-kubernetes-map-type")
_BOOLEANS = ("exclusiveMaximum", "exclusiveMinimum", "uniqueItems", "nullable")
_SWITCHES = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string")
_COUNTS = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")

HOLDS: Mapping[str, str] = {
    **dict.fromkeys((*_TEXTS, *_MARKS), "string"),
    **dict.fromkeys((*_BOOLEANS, *_SWITCHES), "boolean"),
    **dict.fromkeys(_COUNTS, "integer"),
    **dict.fromkeys(("maximum", "minimum", "multipleOf"), "number"),
    **dict.fromkeys(("default", "example"), "any"),
    **dict.fromkeys(("required", "x-kubernetes-list-map-keys"), "strings"),
    **dict.fromkeys(JUNCTORS, SCHEMAS),
    **dict.fromkeys(("properties", "patternProperties", "definitions"), SCHEMA_MAP),
    **dict.fromkeys(("additionalProperties", "additionalItems"), "schema or boolean"),
    "not": SCHEMA,
    "items": "schema or schemas",
    "dependencies": "object",
    "enum": "array",
    "externalDocs": "object",
    "x-kubernetes-validations": "objects",
}
"""Keyword -> what it holds. Constant."""


class Read(NamedTuple):
    """A schema as it was understood; see the module."""

    schema: Document
    unknown: tuple[str, ...]
    causes: tuple[Cause, ...]


def read(schema: Any, path: str) -> Read:
    """Reads a schema that somebody sent. `path` is where it is, for what is said about it."""
    reader = _Reader()
    read_schema = reader.schema(schema, path, 1)
    return Read(read_schema, tuple(reader.unknown), tuple(reader.causes))


def below(schema: Document) -> Iterator[tuple[str, Document]]:
    """The schemas that a schema holds, each with its path from there, which begins with a dot. Of what was read."""
    for keyword in ("not", "items", "additionalProperties", "additionalItems"):
        if isinstance(schema.get(keyword), dict):
            yield f".{keyword}", schema[keyword]
    for keyword in ("properties", "patternProperties", "definitions"):
        for name, child in schema.get(keyword, {}).items():
            yield f".{keyword}{named(name)}", child
    for keyword in (*JUNCTORS, "items"):
        children = schema.get(keyword)
        if isinstance(children, list):
            for index, child in enumerate(children):
                yield f".{keyword}[{index}]", child


def named(name: str) -> str:
    """The step of a path to something that has a name. A path is made for all that is below, so a huge name is not shown whole."""
    return f"[{name}]" if len(name) <= LONGEST_STEP else f"[{name[:LONGEST_STEP]}...]"


class _Reader:
    """One reading, with what it has found so far."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.causes: list[Cause] = []
        self._count = 0

    def schema(self, value: Any, path: str, depth: int) -> Document:
        if not isinstance(value, dict):
            self._mistyped(value, path, "object")
            return {}
        self._count += 1
        if self._count > LARGEST or depth > DEEPEST:
            limit = f"nested more than {DEEPEST} deep" if depth > DEEPEST else f"of more than {LARGEST} schemas"
            if len(self.causes) < TOLD:
                self.causes.append(errors.forbidden(path, f"must not be {limit}"))
            return {}
        made: Document = {}
        for keyword, item in value.items():
            holds = HOLDS.get(keyword)
            if holds is None:
                if len(self.unknown) < TOLD:
                    self.unknown.append(f"{path}.{keyword[:LONGEST_STEP]}")
            elif item is not None:
                held = self._held(holds, item, f"{path}.{keyword}", depth)
                if held is not UNSET:
                    made[keyword] = held
        return made

    def _held(self, holds: str, value: Any, path: str, depth: int) -> Any:
        """What a keyword holds; UNSET: something of a wrong type."""
        simple = _SIMPLE.get(holds)
        if simple is not None:
            return value if simple(value) else self._mistyped(value, path, holds)
        if holds == SCHEMA_MAP and isinstance(value, dict):
            return {name: self.schema(child, f"{path}{named(name)}", depth + 1) for name, child in value.items()}
        if holds in (SCHEMAS, "schema or schemas") and isinstance(value, list):
            return [self.schema(child, f"{path}[{index}]", depth + 1) for index, child in enumerate(value)]
        if holds == "schema or boolean" and isinstance(value, bool):
            return value
        if holds in (SCHEMA_MAP, SCHEMAS):
            return self._mistyped(value, path, "object" if holds == SCHEMA_MAP else "array")
        return self.schema(value, path, depth + 1)

    def _mistyped(self, value: Any, path: str, wanted: str) -> UnsetType:
        kind = type_name(value)
        wanted = _WANTED.get(wanted, wanted)
        if len(self.causes) < TOLD:
            self.causes.append(errors.type_invalid(path, kind, f'must be of type {wanted}: "{kind}"'))
        return UNSET


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


_SIMPLE: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: type(value) is int and INT64[0] <= value <= INT64[1],
    "number": lambda value: type(value) in (int, float) and abs(value) <= sys.float_info.max,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "strings": _is_list_of(str),
    "objects": _is_list_of(dict),
    "any": lambda value: True,
}
_WANTED = {"strings": "array of strings", "objects": "array of objects"}
