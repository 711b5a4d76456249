"""Reads the schemas of a description: which fields there are, of which types, and what holds for them, in few words.

A schema is one of OpenAPI v3, as a CustomResourceDefinition has it. Lists and maps are looked through: the fields of a list of
objects are those of its items.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Document = dict[str, Any]

OURS = ("apiVersion", "kind", "metadata")
"""Fields of the root that every kind has from the server."""
LONGEST_CHOICE = 60


class Field(NamedTuple):
    """A field, by its name, with its schema. `required`: an object is refused without it."""

    name: str
    schema: Document
    required: bool = False

    @property
    def type(self) -> str:
        """Its type, in words."""
        return type_of(self.schema)

    @property
    def rules(self) -> list[str]:
        """What holds for it, each in a few words."""
        return rules_of(self.schema, required=self.required)

    @property
    def description(self) -> str:
        """What it says of itself."""
        return str(self.schema.get("description") or "")

    @property
    def summary(self) -> str:
        """The first paragraph of that, in one line."""
        return " ".join(self.description.strip().partition("\n\n")[0].split())


def fields_of(schema: Document) -> list[Field]:
    """The fields of an object, or of what a list or a map holds."""
    within = inside(schema)
    required = within.get("required") or ()
    return [Field(name, each, name in required) for name, each in (within.get("properties") or {}).items()]


def inside(schema: Document) -> Document:
    """What a list or a map holds in the end; the schema itself if it is neither."""
    while not schema.get("properties"):
        deeper = schema.get("items") or schema.get("additionalProperties")
        if not isinstance(deeper, dict):
            break
        schema = deeper
    return schema


def at(schema: Document, path: Sequence[str]) -> Field | None:
    """The field at a path; None if there is none. An empty path is the object itself."""
    found = Field("", schema)
    for step in path:
        within = inside(found.schema)
        properties = within.get("properties") or {}
        others = _others(found.schema)
        if step in properties:
            found = Field(step, properties[step], step in (within.get("required") or ()))
        elif others is not None:
            found = Field(step, others)
        else:
            return None
    return found


def steps_of(path: str) -> tuple[str, ...]:
    """The steps of a path as people write it: `spec.frames[].name`, `.spec.frames[0].name`, `spec.frames.name`."""
    return tuple(step.partition("[")[0] for step in path.split(".") if step.partition("[")[0])


def type_of(schema: Document) -> str:
    """The type of a value: `string`, `list of integer`, `map of string`, `object`, `anything`."""
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {type_of(items)}" if isinstance(items, dict) else "list"
    others = schema.get("additionalProperties")
    if isinstance(others, dict) and not schema.get("properties"):
        return f"map of {type_of(others)}"
    return str(schema.get("type") or "anything")


def rules_of(schema: Document, *, required: bool = False) -> list[str]:
    """What holds for a value besides its type."""
    return [*(["required"] if required else []), *_general(schema), *_bounds(schema), *_lists(schema), *_expressions(schema)]


def _others(schema: Document) -> Document | None:
    """What a map has at every key; None if it is none."""
    while schema.get("items") and not schema.get("properties"):
        schema = schema["items"]
    others = schema.get("additionalProperties")
    return others if isinstance(others, dict) else None


def _general(schema: Document) -> Iterator[str]:
    if "default" in schema:
        yield f"default {_value(schema['default'])}"
    if schema.get("enum"):
        yield f"one of {', '.join(map(_value, schema['enum']))}"
    if schema.get("format"):
        yield f"format {schema['format']}"
    if schema.get("pattern"):
        yield f"matches {schema['pattern']}"
    if schema.get("nullable"):
        yield "may be null"


def _bounds(schema: Document) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None and not above and not below:
        yield f"{low} to {high}"
    else:
        if low is not None:
            yield f"more than {low}" if above else f"at least {low}"
        if high is not None:
            yield f"less than {high}" if below else f"at most {high}"
    if schema.get("multipleOf"):
        yield f"a multiple of {schema['multipleOf']}"
    for least, most, what in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "items"),
        ("minProperties", "maxProperties", "keys"),
    ):
        yield from _size(schema.get(least), schema.get(most), what)


def _size(least: int | None, most: int | None, what: str) -> Iterator[str]:
    if least and most is not None:
        yield f"{least} {what}" if least == most else f"{least} to {most} {what}"
    elif least:
        yield f"at least {least} {what}"
    elif most is not None:
        yield f"at most {most} {what}"


def _lists(schema: Document) -> Iterator[str]:
    kind = schema.get("x-kubernetes-list-type")
    if kind == "set" or schema.get("uniqueItems"):
        yield "no item twice"
    elif kind == "map":
        yield f"items are known by {' and '.join(map(str, schema.get('x-kubernetes-list-map-keys') or ()))}"
    if "atomic" in (kind, schema.get("x-kubernetes-map-type")):
        yield "written as a whole"
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        yield "unknown fields are kept"
    if schema.get("x-kubernetes-embedded-resource"):
        yield "a whole object"


def _expressions(schema: Document) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations") or ():
        said = rule.get("message") if isinstance(rule, dict) else None
        yield f"rule {rule.get('rule', '') if isinstance(rule, dict) else rule}" + (f" ({said})" if said else "")


def _value(value: Any) -> str:
    """A value in one line, not too long. A text that could be nothing else has no quotes."""
    if isinstance(value, str) and value and value.isprintable() and not any(each in " ,\"'" for each in value):
        shown = value
    else:
        shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= LONGEST_CHOICE else f"{shown[:LONGEST_CHOICE]}..."
