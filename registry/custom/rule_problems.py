"""What is wrong with the rules of a schema, in the words of a real server: said when a definition is written.

Each rule is looked at as text first. Where nothing is wrong with the texts of the rules at or below a part of the schema, they are
compiled, and what they may cost is told from the limits that the schema sets (`maxItems`, `maxProperties`, `maxLength`): for one
evaluation, times as many as there may be values of that part. A definition whose rules may cost too much is refused before it can
make writes slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import msgspec

from registry import cel, errors
from registry.cel import CompileError, TypedProgram
from registry.cel.costs import MOST
from registry.cel.types import Type
from registry.custom.rule_types import MOST_BYTES, RULES, Rule, children, entries, type_below, type_of
from registry.errors import Cause
from registry.nodes import TOLD, Document, same
from registry.validation import type_name

PER_RULE = 10_000_000
PER_SCHEMA = 100_000_000
TOLD_EXPENSIVE = 4
LONGEST = 100_000
"""Characters of all rules of a schema together: to compile so many takes a few seconds."""
REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_MEMBERS = {**dict.fromkeys(("rule", "message", "messageExpression", "reason", "fieldPath"), str), "optionalOldSelf": bool}
_NAMED = {str: "string", bool: "boolean"}
_STEP = re.compile(r"\.([^.\[\]]+)|\['((?:[^'\\]|\\.)*)'\]")
_ESCAPE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}
_TRY = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"


def problems(schema: Document, path: str, old: Document | None = None) -> list[Cause]:
    """What is wrong with the rules of a schema. `path` is where the schema is.

    `old` is what the schema was before: a rule that it had is not refused for its cost, nor is a schema that did not change.
    """
    malformed = list(islice(_malformed(schema, path), TOLD))
    if malformed:
        return malformed
    size = sum(map(len, _texts(schema)))
    if size > LONGEST:
        return [errors.forbidden(path, f"all rules of a schema may have {LONGEST} characters together, these have {size}")]
    looking = _Looking(known=frozenset(_texts(old)) if old is not None else frozenset())
    try:
        looking.look(schema, _Place(path, type_of(schema, root=True) if size else None, root=True))
    except RecursionError:
        return [errors.invalid(path, "", "the schema is nested too deeply")]
    unchanged = old is not None and same(schema, old)
    return [*looking.syntax, *looking.found, *([] if unchanged else looking.total(path))][:TOLD]


def _malformed(schema: Document, path: str) -> Iterator[Cause]:
    """What is not of the type that it has to be, in any rule."""
    waiting: list[tuple[Any, str]] = [(schema, path)]
    while waiting:
        each, where = waiting.pop()
        for at, written in enumerate(each.get(RULES) or ()):
            for key, wanted in _MEMBERS.items():
                value = written.get(key)
                if value is not None and type(value) is not wanted:
                    name, given = _NAMED[wanted], type_name(value)
                    yield errors.type_invalid(f"{where}.{RULES}[{at}].{key}", given, f'must be of type {name}: "{given}"')
        waiting += [(inner, _below(where, kind, key)) for kind, key, inner in children(each)]


def _below(path: str, kind: str, key: str) -> str:
    return f"{path}.properties[{key}]" if kind == "field" else f"{path}.{'items' if kind == 'list' else 'additionalProperties'}"


def _texts(schema: Document) -> Iterator[str]:
    """Every expression of a schema."""
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        for written in each.get(RULES) or ():
            yield from (written.get(key) or "" for key in ("rule", "messageExpression"))
        waiting += [inner for _, _, inner in children(each)]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a part of a schema is, and of what type its values are.

    `count`: how many values of it there may be in an object; None: no limit says. `untold`: the list above it whose items cannot be
    told from one another.
    """

    path: str
    type: Type | None
    root: bool = False
    count: int | None = 1
    untold: str = ""


@dataclass(slots=True)
class _Looking:
    known: frozenset[str]
    syntax: list[Cause] = field(default_factory=list)
    found: list[Cause] = field(default_factory=list)
    costs: list[tuple[int, str]] = field(default_factory=list)

    def look(self, schema: Document, place: _Place) -> bool:
        """Looks at a part and all below it; whether the texts of their rules are in order."""
        below = [self.look(inner, _inside(schema, place, kind, key)) for kind, key, inner in children(schema, root=place.root)]
        written = [each for each in schema.get(RULES) or () if isinstance(each, Mapping)]
        before = len(self.syntax)
        for at, each in enumerate(written):
            self.syntax += _in_text(schema, each, f"{place.path}.{RULES}[{at}]")
        fine = len(self.syntax) == before and all(below)
        if fine and written and place.type is None:
            why = "Internal error: internal error: failed to retrieve type information for x-kubernetes-validations"
            self.found.append(Cause("InternalError", why, f"{place.path}.{RULES}"))
        elif fine and place.type is not None:
            for at, each in enumerate(written):
                self._rule(each, place.type, place, f"{place.path}.{RULES}[{at}]")
        return fine

    def _rule(self, written: Mapping[str, Any], kind: Type, place: _Place, path: str) -> None:
        rule = Rule.of(written)
        program = self._compiled(rule, kind, written, path)
        if program is not None:
            count = place.count if place.count is not None else MOST_BYTES // (kind.least + 1)
            self._cost("estimated rule cost", min(program.cost * count, MOST), f"{path}.rule", rule.rule)
        if rule.expression.strip():
            self._saying(rule, kind, written, path)
        if program is None:
            return
        if "oldSelf" in program.program.names:
            if place.untold:
                why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {place.untold}"
                self.found.append(errors.invalid(f"{path}.rule", rule.rule, why))
        elif written.get("optionalOldSelf") is not None:
            why = "may not be set if oldSelf is not used in rule"
            self.found.append(errors.invalid(f"{path}.optionalOldSelf", written["optionalOldSelf"], why))

    def _compiled(self, rule: Rule, kind: Type, written: Mapping[str, Any], path: str) -> TypedProgram | None:
        try:
            program = cel.compile_typed(rule.rule, rule.variables(kind))
        except CompileError as error:
            self.found.append(_about_rule(f"{path}.rule", written, f"compilation failed: {error}"))
            return None
        if program.type.name != "bool":
            self.found.append(_about_rule(f"{path}.rule", written, "cel expression must evaluate to a bool"))
            return None
        return program

    def _saying(self, rule: Rule, kind: Type, written: Mapping[str, Any], path: str) -> None:
        path = f"{path}.messageExpression"
        try:
            program = cel.compile_typed(rule.expression, rule.variables(kind))
        except CompileError as error:
            self.found.append(_about_rule(path, written, f"messageExpression compilation failed: {error}"))
            return
        if program.type.name != "string":
            self.found.append(_about_rule(path, written, "messageExpression must evaluate to a string"))
            return
        self._cost("estimated messageExpression cost", program.cost, path, rule.expression)

    def _cost(self, what: str, cost: int, path: str, text: str) -> None:
        self.costs.append((cost, path))
        if cost > PER_RULE and text not in self.known:
            self.found.append(errors.forbidden(path, _exceeded(what, cost, PER_RULE)))

    def total(self, path: str) -> list[Cause]:
        """What is said of all rules together."""
        total = min(sum(cost for cost, _ in self.costs), MOST)
        if total <= PER_SCHEMA:
            return []
        expensive = [each for each in self.costs if each[0] >= PER_SCHEMA // 100]
        expensive.sort(key=lambda each: -each[0])
        why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        found = [errors.forbidden(where, why) for _, where in expensive[:TOLD_EXPENSIVE]]
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return [*found, errors.forbidden(path, _exceeded(what, total, PER_SCHEMA))]


def _inside(schema: Document, place: _Place, kind: str, key: str) -> _Place:
    below, path = type_below(place.type, kind, key), _below(place.path, kind, key)
    if kind == "field":
        return replace(place, path=path, type=below, root=False)
    limit = schema.get("maxItems" if kind == "list" else "maxProperties")
    count = None if limit is None or place.count is None else min(place.count * max(0, int(limit)), MOST)
    if kind == "map":
        return replace(place, path=path, type=below, root=False, count=count)
    untold = place.untold or ("" if schema.get("x-kubernetes-list-type") == "map" else place.path)
    return replace(place, path=path, type=below, root=False, count=count, untold=untold)


def _in_text(schema: Document, written: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What is wrong with a rule before it is read."""
    rule, message, expression, reason, where = (
        written.get(key) or "" for key in ("rule", "message", "messageExpression", "reason", "fieldPath")
    )
    if not rule.strip():
        yield errors.required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield errors.invalid(f"{path}.message", message, "must be non-empty if specified")
    elif _has_lines(message.strip()):
        yield errors.invalid(f"{path}.message", message, "must not contain line breaks")
    elif _has_lines(rule.strip()) and not message.strip():
        yield errors.required(f"{path}.message", "message must be specified if rule contains line breaks")
    if expression and not expression.strip():
        yield errors.required(f"{path}.messageExpression", "must be non-empty if specified")
    if written.get("reason") is not None and reason not in REASONS:
        yield errors.not_supported(f"{path}.reason", reason, REASONS)
    if where and not where.strip():
        yield errors.invalid(f"{path}.fieldPath", where, "must be non-empty if specified")
    if _has_lines(where):
        yield errors.invalid(f"{path}.fieldPath", where, "must not contain line breaks")
    if where and not is_path(schema, where):
        yield errors.invalid(f"{path}.fieldPath", where, "must be a valid path")


def is_path(schema: Document, path: str) -> bool:
    """Whether a path (`.spec.name`, `.labels['a.b']`) leads to a field below a schema."""
    at, here = 0, schema
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return False
        if step[1] is None and any(each not in _ESCAPE for each in re.findall(r"\\(.)", step[2])):
            return False
        key = step[1] if step[1] is not None else re.sub(r"\\(.)", lambda found: _ESCAPE[found[1]], step[2])
        of = entries(here)
        found = (here.get("properties") or {}).get(key) if here.get("properties") else of
        if not isinstance(found, dict):
            return False
        at, here = step.end(), found
    return True


def _has_lines(text: str) -> bool:
    return "\n" in text or "\r" in text


def _exceeded(what: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:.6f}x" if factor < 1.5 else f"{factor:.1f}x"
    return f"{what} exceeds budget by factor of {shown} {_TRY}"


def _about_rule(path: str, written: Mapping[str, Any], why: str) -> Cause:
    """A cause that shows the whole rule, as a real server does."""
    shown = {
        "Rule": written.get("rule") or "",
        "Message": written.get("message") or "",
        "MessageExpression": written.get("messageExpression") or "",
        "Reason": written.get("reason"),
        "FieldPath": written.get("fieldPath") or "",
        "OptionalOldSelf": written.get("optionalOldSelf"),
    }
    text = msgspec.json.encode(shown).decode()
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Cause("FieldValueInvalid", f"Invalid value: {text}: {why}", path)
