"""What is wrong with the schema of a version, and with what refers to its fields. `registry.custom` knows what it may say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from registry.errors import Cause, duplicate, invalid, required, too_many
from registry.jsonpath import parse
from registry.kinds import Document
from registry.nodes import TOLD

MOST_SELECTABLE = 8
_OF_SCALARS = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
SCALARS = ("string", "boolean", "integer")


def schema_causes(schema: Document, path: str, *, has_status: bool, before: Document | None) -> Iterator[Cause]:
    """Every reason why this cannot be the schema of a version; `has_status`: its status is written apart, `before`: the
    schema that it had."""
    from registry.custom import (  # what checks schemas is needed when a definition is written, and not before
        rule_problems,
        structural,
    )

    found = structural.problems(schema, path, status=has_status)
    yield from found
    if not found:
        yield from rule_problems.problems(schema, path, before)


def selectable_causes(part: Sequence[Mapping[str, Any]], path: str, schema: Document) -> Iterator[Cause]:
    """What is wrong with the fields that selectors may name."""
    if len(part) > TOLD:
        yield too_many(path, len(part), MOST_SELECTABLE)
        return
    seen: set[str] = set()
    for at, selectable in enumerate(part):
        text, where = selectable.get("jsonPath", ""), f"{path}[{at}].jsonPath"
        if not text:
            yield required(where)
            continue
        names = _names(text)
        node = _at(schema, names) if names else None
        if names and names[0] == "metadata":
            yield invalid(where, text, "must not point to fields in metadata")
        elif node is None:
            yield invalid(where, text, "is an invalid path: does not refer to a valid field")
        elif node.get("type") not in SCALARS or node.get("x-kubernetes-int-or-string"):
            kinds = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
            )
            yield invalid(where, text, kinds)
        if text in seen:
            yield duplicate(where, text)
        seen.add(text)
    if len(seen) > MOST_SELECTABLE:
        yield too_many(path, len(seen), MOST_SELECTABLE)


def _names(text: str) -> tuple[str, ...]:
    """The names on a path that is nothing but names; none if it is anything else."""
    try:
        return parse(text).fields or () if text.startswith(".") else ()
    except ValueError:
        return ()


def _at(schema: Any, names: Sequence[str]) -> Mapping[str, Any] | None:
    """The schema of a field."""
    for name in names:
        properties = schema.get("properties") if isinstance(schema, dict) else None
        schema = properties.get(name) if isinstance(properties, dict) else None
    return schema if isinstance(schema, dict) else None
