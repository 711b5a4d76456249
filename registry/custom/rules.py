"""Rules in schemas: what a definition says about its objects in CEL (`x-kubernetes-validations`).

    rules = compile_rules(schema)               None: the schema has none
    rules.check(new, old)                       every broken rule, as a cause at the field that it is about

What it promises, as Kubernetes does:

- A rule sees `self`, the value at its place, typed by the schema (`registry.custom.rule_types`), and nothing beyond; a rule that
  names `oldSelf` is asked only where there was a value before that is known to be the same thing: not in lists that are no maps.
- What has not changed does not keep an object from being written (ratcheting): a broken rule is told only where the value is
  another one than before. Rules with `oldSelf` are asked all the same, since they are about the change.
- Whatever the document, it takes no more than `BUDGET` steps, and no rule more than `PER_RULE`.

A rule is compiled when it is first asked. Until then a schema with rules costs nothing but a look whether it has any.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from registry import cel, errors
from registry.cel import CompileError, CostExceeded, EvaluationError, Meter, TypedProgram
from registry.cel.types import Type
from registry.cel.values import NOTHING, Optional
from registry.custom.rule_problems import problems
from registry.custom.rule_types import RULES, Reader, Rule, children, escaped, reader_of, type_below, type_of
from registry.errors import Cause
from registry.nodes import LONGEST_STEP, TOLD, Document, below, same

__all__ = ["RULES", "Rules", "compile_rules", "problems"]

PER_RULE = 1_000_000
BUDGET = 2_000_000
"""Steps that all rules of one write may take together: about a second at worst. A real server allows five times as much."""
ASKING = 10
"""Steps that it takes to ask a rule, whatever it says: many small values with small rules are work too."""
LONGEST_MESSAGE = 5 * 1024
OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


def compile_rules(schema: Document) -> Rules | None:
    """The rules of a schema; None: it has none. Compiles nothing yet."""
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if each.get(RULES):
            return Rules(schema)
        waiting += [inner for _, _, inner in children(each)]
    return None


class Rules:
    """The rules of one schema, ready for use. Immutable, but for what is remembered."""

    def __init__(self, schema: Document) -> None:
        self._schema = schema

    @cached_property
    def _root(self) -> _Part:
        return _Part(self._schema, type_of(self._schema, root=True), root=True)

    def check(self, new: Document, old: Document | None = None, part: str = "") -> list[Cause]:
        """Every broken rule. `new` has passed the schema, and so has `old`, which is what is stored; None: there is nothing yet.

        Rules see the whole object, whichever part of it is written (`part`): one at the root may be about spec and status.
        """
        del part
        asking = _Asking()
        with suppress(_Enough):
            before = _NONE if old is None else _Value(_visible(old))
            asking.ask(self._root, _Value(_visible(new)), before, "", unchanged=False)
        return asking.causes


def _visible(document: Document) -> Document:
    """An object without that of its metadata which rules cannot see, and which changes with every write."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return document
    return {**document, "metadata": {key: metadata[key] for key in ("name", "generateName") if key in metadata}}


class _Compiled:
    """A rule with what evaluates it. `broken`: why nothing can."""

    def __init__(self, rule: Rule, kind: Type | None) -> None:
        self.rule = rule
        self.broken = ""
        self.program: TypedProgram | None = None
        self.saying: TypedProgram | None = None
        self.path = ""
        try:
            if kind is None:
                raise CompileError("the schema says of no type that a rule could be about")
            seen = rule.variables(kind)
            self.program = cel.compile_typed(rule.rule, seen)
            if rule.expression.strip():
                self.saying = cel.compile_typed(rule.expression, seen)
        except CompileError as error:
            self.broken = str(error)
        self.transition = self.program is not None and "oldSelf" in self.program.program.names


class _Part:
    """What of a schema has rules at or below it."""

    def __init__(self, schema: Document, kind: Type | None, *, root: bool = False) -> None:
        self._schema = schema
        self._type = kind
        self._is_root = root
        self.scalar = schema.get("type") not in ("object", "array")
        self.rules = tuple(Rule.of(each) for each in schema.get(RULES) or ())
        self.fields: dict[str, _Part] = {}
        self.values: _Part | None = None
        self.items: _Part | None = None
        self.keys = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if schema.get("x-kubernetes-list-type") == "map" else ()
        self.is_compared = bool(self.rules) or schema.get("type") != "object"
        for place, key, inner in children(schema, root=root):
            made = _Part(inner, type_below(kind, place, key))
            if not made.rules and not made.below:
                continue
            if place == "field":
                self.fields[key] = made
            elif place == "map":
                self.values = made
            else:
                self.items = made

    @property
    def below(self) -> list[_Part]:
        """The parts below it."""
        return [*self.fields.values(), *(each for each in (self.values, self.items) if each is not None)]

    @cached_property
    def compiled(self) -> tuple[_Compiled, ...]:
        """Its own rules."""
        return tuple(_Compiled(rule, self._type) for rule in self.rules)

    @cached_property
    def about_changes(self) -> bool:
        """Whether a rule here or below has to be asked of what has not changed too."""
        named = any("oldSelf" in rule.rule for rule in self.rules)
        return named or any(each.about_changes for each in self.below)

    @cached_property
    def read(self) -> Reader:
        """Makes a value one that rules see."""
        return reader_of(self._schema, root=self._is_root) or (lambda value: value)


class _Value(NamedTuple):
    """A value as it is in the document, and as rules see it: UNSET as long as none has asked."""

    raw: Any
    seen: Any = UNSET

    def read(self, part: _Part) -> _Value:
        """With what rules see."""
        return _Value(self.raw, part.read(self.raw)) if self.seen is UNSET else self

    def under(self, key: Any, called: Any = None) -> _Value:
        """What is in it under a key, or at an index; nothing, if there is nothing. `called`: as rules call it."""
        try:
            raw = self.raw[key]
        except (KeyError, IndexError, TypeError):
            return _NONE
        if self.seen is UNSET:
            return _Value(raw)
        return _Value(raw, self.seen[key if called is None else called])


_NONE = _Value(UNSET)


class _Enough(Exception):
    """No more rules are asked."""


class _Asking:
    """One walk through a document, with what it has found and what it may still cost."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self._left = BUDGET

    def ask(self, part: _Part, value: _Value, old: _Value, path: str, *, unchanged: bool) -> None:
        """`old` is the value that is known to be the same thing. `unchanged`: what is above it is as before."""
        if value.raw is None:
            return
        self._left -= 1
        if not unchanged and old.raw is not UNSET:
            # What has only fields below it is not compared: they are.
            unchanged = value.raw is old.raw or (part.is_compared and same(value.raw, old.raw))
        if unchanged and not part.about_changes:
            return
        if part.rules:
            value = value.read(part)
            old = old if old.raw is UNSET or old.raw is None else old.read(part)
            self._rules(part, value, old, path, unchanged=unchanged)
        if isinstance(value.raw, dict):
            self._object(part, value, old, path, unchanged=unchanged)
        elif isinstance(value.raw, list) and part.items is not None:
            before = _by_key(part.keys, old.raw)
            for index, item in enumerate(value.raw):
                at = before.get(_key(part.keys, item))
                was = _NONE if at is None else old.under(at)
                self.ask(part.items, value.under(index), was, f"{path}[{index}]", unchanged=unchanged)

    def _object(self, part: _Part, value: _Value, old: _Value, path: str, *, unchanged: bool) -> None:
        if part.values is None and not part.fields:
            return
        for key in value.raw:
            inner = part.fields.get(key)
            if inner is not None:
                called = escaped(key)
                self.ask(inner, value.under(key, called), old.under(key, called), below(path, key), unchanged=unchanged)
            elif part.values is not None:
                shown = key if len(key) <= LONGEST_STEP else f"{key[:LONGEST_STEP]}..."
                self.ask(part.values, value.under(key), old.under(key), f"{path}[{shown}]", unchanged=unchanged)

    def _rules(self, part: _Part, value: _Value, old: _Value, path: str, *, unchanged: bool) -> None:
        for each in part.compiled:
            if each.program is None:
                self._tell(part, value.raw, path, f"rule compile error: {each.broken}")
                continue
            if (unchanged and not each.transition) or (each.transition and old.seen is UNSET and not each.rule.optional):
                continue
            given = {"self": value.seen}
            if each.rule.optional:
                given["oldSelf"] = NOTHING if old.seen is UNSET else Optional(old.seen, there=True)
            elif old.seen is not UNSET:
                given["oldSelf"] = old.seen
            self._rule(part, each, each.program, given, value.raw, path)

    def _rule(self, part: _Part, each: _Compiled, program: TypedProgram, given: dict[str, Any], value: Any, path: str) -> None:
        told = each.rule.told
        self._left -= ASKING
        try:
            if self._evaluated(program, given) is True:
                return
        except CostExceeded as error:
            out = self._left <= 0
            said = OUT_OF_BUDGET if out else f"'{error}': no further validation rules will be run due to call cost exceeds limit"
            self._tell(part, value, path, said if out else f"{said} for rule: {told}")
            raise _Enough from None
        except EvaluationError as error:
            if str(error).startswith("no such overload"):
                why = "call arguments did not match a supported operator, function or macro signature for rule"
                self._tell(part, value, path, f"'{error}': {why}: {told}")
            else:
                self._tell(part, value, path, f"{error} evaluating rule: {told}")
            return
        field = below(path, each.rule.path.strip().removeprefix(".")) if each.rule.path.strip() else path
        self._tell(part, value, field, self._message(each, given), each.rule.reason)

    def _evaluated(self, program: TypedProgram, given: Mapping[str, Any]) -> Any:
        """The value. Raises EvaluationError and CostExceeded."""
        allowed = min(PER_RULE, self._left)
        if allowed <= 0:
            raise CostExceeded
        meter = Meter(allowed)
        try:
            return program.program.evaluate(given, meter)
        finally:
            self._left -= allowed - max(0, meter.left) + (1 if meter.left < 0 else 0)

    def _message(self, each: _Compiled, given: Mapping[str, Any]) -> str:
        """What a broken rule says: by its expression, if that gives one line; by its message; or by itself."""
        if each.saying is not None:
            try:
                made = self._evaluated(each.saying, given)
            except EvaluationError:
                made = ""
            except CostExceeded:
                made, self._left = "", min(self._left, 0)
            said = made.strip() if isinstance(made, str) else ""
            if said and "\n" not in said and len(said.encode(errors="replace")) <= LONGEST_MESSAGE:
                return said
        return each.rule.message.strip() or f"failed rule: {each.rule.rule.strip()}"

    def _tell(self, part: _Part, value: Any, path: str, detail: str, reason: str = "") -> None:
        field = path or "<nil>"
        shown = errors.shown(value) if part.scalar and not isinstance(value, dict | list) else ""
        match reason:
            case "FieldValueForbidden":
                cause = errors.forbidden(field, detail)
            case "FieldValueRequired":
                cause = errors.required(field, detail)
            case "FieldValueDuplicate":
                cause = Cause(reason, f"Duplicate value: {shown}" if shown else "Duplicate value", field)
            case _:
                cause = Cause(
                    "FieldValueInvalid", f"Invalid value: {shown}: {detail}" if shown else f"Invalid value: {detail}", field
                )
        self.causes.append(cause)
        if len(self.causes) >= TOLD:
            raise _Enough


def _key(keys: tuple[str, ...], item: Any) -> bytes:
    return msgspec.json.encode([item.get(key) for key in keys]) if keys and isinstance(item, dict) else b""


def _by_key(keys: tuple[str, ...], old: Any) -> dict[bytes, int]:
    """Where the items of a list were before, by their keys: of a list of another type, it is not known which was which."""
    if not keys or not isinstance(old, list):
        return {}
    return {_key(keys, item): at for at, item in enumerate(old) if isinstance(item, dict)}
