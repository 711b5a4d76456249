"""Logical junctors (`allOf`, `anyOf`, `oneOf`, `not`): jsonschema-rs decides whether a document obeys them, in microseconds; if it
does not, `registry.custom.clauses` says why, and has the last word.

What is validated is a schema of its own, made of what the tree of nodes cannot say. Patterns are RE2's, formats are those of
`registry.formats`, so that they mean the same on both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET

from registry import errors
from registry.custom.clauses import Clause, Effort, Exhausted, Where, clause_of, examine
from registry.errors import Cause
from registry.formats import FORMATS, linear_searcher
from registry.nodes import TOLD, Document, Node, same

_Schema = dict[str, Any]
MOST_TEXTS = 500_000
"""Formats and patterns that are asked about the texts of one document: about a second."""
_NULL = {"type": "null"}
_SAME: Mapping[str, str] = {
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
    "multiple_of": "multipleOf",
}


class Junctors:
    """Those of one schema. The validators are compiled when they are first needed."""

    def __init__(self, clause: Clause) -> None:
        self._clause = clause
        self._validators: dict[str, Callable[[Any], bool]] = {}

    @classmethod
    def of(cls, schema: Document) -> Junctors | None:
        """The junctors of a schema; None: it has none."""
        clause = clause_of(schema)
        return None if clause is None else cls(clause)

    def hold(self, document: Document, part: str = "") -> bool:
        """Whether the document obeys them. It may say no when it does not know: then `causes` finds nothing."""
        holds = self._validators.get(part)
        if holds is None:
            holds = self._validators[part] = _validator(self._part(part))
        try:
            return holds(document.get(part) if part else document)
        except (ValueError, TypeError, OverflowError):  # a number that is too large for it
            return False

    def causes(self, document: Document, old: Document | None, part: str = "") -> list[Cause]:
        """Every junctor that the document breaks, and how. `part` names the field of the root that alone is looked at."""
        clause = self._part(part)
        if clause is None or (part and part not in document):
            return []
        value, before = (document[part], (old or {}).get(part, UNSET)) if part else (document, UNSET if old is None else old)
        if before is not UNSET and same(value, before):
            return []
        root = part or "<nil>"
        try:
            return examine(clause, value, before, Where(part, "", root, Effort())).causes[:TOLD]
        except Exhausted:
            return [errors.invalid(root, "", "its parts, and the alternatives of its schema, are too many to say what is wrong")]

    def _part(self, part: str) -> Clause | None:
        return self._clause.properties.get(part) if part else self._clause


def _validator(clause: Clause | None) -> Callable[[Any], bool]:
    translation = _Translation()
    schema = translation.outer(clause) if clause is not None else None
    if not schema:
        return lambda value: True
    from jsonschema_rs import Draft7Validator, ReferencingError

    # Patterns are among the formats, so no engine for them is at work; and what looks like a reference is never followed.
    try:
        validator = Draft7Validator(schema, formats=translation.formats, validate_formats=True, offline=True)
    except (ValueError, ReferencingError):  # limits that make no sense, such as a length below zero
        return lambda value: False
    effort = translation.effort

    def holds(value: Any) -> bool:
        effort.left = MOST_TEXTS
        held: bool = validator.is_valid(value)
        return held and effort.left >= 0

    return holds


class _Translation:
    """From clauses to JSON Schema (draft 7), with the formats that the result counts on."""

    def __init__(self) -> None:
        self.formats: dict[str, Callable[[str], bool]] = {}
        self.effort = Effort(MOST_TEXTS)

    def outer(self, clause: Clause) -> _Schema:
        """What a clause outside of junctors asks for; empty: nothing. That a value is a number or a text, the tree asks already."""
        schema = self._below(clause, self.outer)
        joined = self._joined(clause, known=clause.node.int_or_string)
        if joined:
            schema["anyOf"] = [_NULL, joined]
        return schema

    def _nested(self, clause: Clause) -> _Schema:
        schema = self._own(clause.node) | self._below(clause, self._nested)
        joined = self._joined(clause)
        if joined:
            schema["allOf"] = [*schema.get("allOf", ()), {"anyOf": [_NULL, joined]}]
        return schema

    def _below(self, clause: Clause, translate: Callable[[Clause], _Schema]) -> _Schema:
        schema: _Schema = {}
        named = {name: translate(child) for name, child in clause.properties.items()}
        if any(named.values()) or (named and clause.others is not None):
            schema["properties"] = named
        for field, child in (("additionalProperties", clause.others), ("items", clause.items)):
            made = translate(child) if child is not None else None
            if made:
                schema[field] = made
        return schema

    def _joined(self, clause: Clause, *, known: bool = False) -> _Schema:
        joined: _Schema = {}
        for keyword, branches in (("allOf", clause.all_of), ("anyOf", clause.any_of), ("oneOf", clause.one_of)):
            if branches and not (known and keyword == "anyOf" and _is_number_or_text(branches)):
                joined[keyword] = list(map(self._nested, branches))
        if clause.negated is not None:
            joined["not"] = self._nested(clause.negated)
        return joined

    def _own(self, node: Node) -> _Schema:
        schema: _Schema = {name: getattr(node, field) for field, name in _SAME.items() if getattr(node, field) is not None}
        if node.type:
            schema["type"] = [node.type, "null"] if node.nullable else node.type
        if node.required:
            schema["required"] = list(node.required)
        if node.enum:
            schema["enum"] = list(node.enum)
        if node.minimum is not None:
            schema["exclusiveMinimum" if node.exclusive_minimum else "minimum"] = node.minimum
        if node.maximum is not None:
            schema["exclusiveMaximum" if node.exclusive_maximum else "maximum"] = node.maximum
        asked = self._formats(node)
        if asked:
            schema["allOf"] = [{"format": name} for name in asked]
        return schema

    def _formats(self, node: Node) -> list[str]:
        asked = []
        if node.format in FORMATS:
            self.formats[node.format] = self._counted(FORMATS[node.format])
            asked.append(node.format)
        if node.pattern:
            name = f"pattern {node.pattern}"
            self.formats[name] = self._counted(linear_searcher(node.pattern))
            asked.append(name)
        return asked

    def _counted(self, fits: Callable[[str], object]) -> Callable[[str], bool]:
        """The same as long as there is effort left: then nothing fits, and what holds is told to be unknown."""
        effort = self.effort

        def asked(text: str) -> bool:
            effort.left -= 1
            return effort.left >= 0 and bool(fits(text))

        return asked


def _is_number_or_text(branches: tuple[Clause, ...]) -> bool:
    return [branch.node.type for branch in branches] == ["integer", "string"]
