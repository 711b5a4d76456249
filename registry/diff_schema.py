"""What changed from one schema to another, and what of it breaks somebody. Pure: two JSON documents in, a list out.

    for delta in compare(old, new):
        delta.rule    the number of the rule that it breaks; 0: it breaks nobody
        delta.path    the field: `spec.routes[].path`, `spec.env{}` for the values of a map

Schemas are those of OpenAPI v3, with the `x-kubernetes-*` extensions. A change breaks somebody if a document that was taken is
taken no longer or means something else (who writes), or if something that was always there may be missing (who reads a status).
What cannot be decided, as whether one pattern takes all that another takes, is said to break: who knows better waives it, with
the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

LOWER = ("minimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
LIST_TYPE, MAP_KEYS, MAP_TYPE = "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"
OPEN, INT_OR_STRING, CEL = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "x-kubernetes-validations"

WIDER_FORMATS = {("int32", "int64"), ("float", "double")}
"""Formats that take all that the other takes."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One thing that changed. `required`: it is about a field that had to be there. `added`: it is a field that is new."""

    rule: int
    path: str
    message: str
    required: bool = False
    added: bool = False


@dataclass(frozen=True, slots=True)
class _Field:
    """Where the walk is: the path, whether the field had to be there, whether it is observed (in a status)."""

    path: str
    required: bool = False
    observed: bool = False

    def says(self, rule: int, message: str) -> Delta:
        return Delta(rule, self.path, message, self.required)

    def inner(self, mark: str) -> _Field:
        return _Field(f"{self.path}{mark}", False, self.observed)

    def field(self, name: str, *, required: bool) -> _Field:
        observed = self.observed or (not self.path and name == "status")
        return _Field(f"{self.path}.{name}" if self.path else name, required, observed)


def compare(old: Schema, new: Schema) -> list[Delta]:
    """Everything that changed, in the order of the fields."""
    return list(_node(old, new, _Field("")))


def _node(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    if old == new:
        return
    before, after = type_of(old), type_of(new)
    if before != after:
        yield at.says(204, f"its type was {before} and is {after}")
        return
    yield from _choices(old, new, at)
    yield from _bounds(old, new, at)
    yield from _texts(old, new, at)
    yield from _default(old, new, at)
    yield from _nulls(old, new, at)
    yield from _merging(old, new, at)
    yield from _rules(old, new, at)
    yield from _fields(old, new, at)
    yield from _others(old, new, at)
    if isinstance(old.get("items"), Mapping) and isinstance(new.get("items"), Mapping):
        yield from _node(old["items"], new["items"], at.inner("[]"))


def type_of(schema: Schema) -> str:
    """What a value is: a JSON type, `int-or-string`, or `anything`."""
    if schema.get(INT_OR_STRING):
        return "int-or-string"
    return str(schema.get("type") or ("object" if "properties" in schema else "anything"))


def _fields(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, schema in before.items():
        field = at.field(name, required=name in old.get("required", ()))
        if name in after:
            yield from _presence(name, old, new, field)
            yield from _node(schema, after[name], field)
        elif isinstance(new.get("additionalProperties"), Mapping):
            yield from _node(schema, new["additionalProperties"], field)
        elif new.get(OPEN) or new.get("additionalProperties") is True:
            yield field.says(0, "it is no longer described, and kept as it is")
        else:
            yield field.says(201, "it is removed: what is written into it is dropped")
    for name, schema in after.items():
        if name in before:
            continue
        field = at.field(name, required=False)
        if _must(name, new):
            yield Delta(202, field.path, "it is new, and has to be given: what was complete is refused", added=True)
        else:
            yield Delta(0, field.path, "it is new, and may be left out", added=True)
        if isinstance(old.get("additionalProperties"), Mapping):
            yield from _node(old["additionalProperties"], schema, field)


def _must(name: str, schema: Schema) -> bool:
    """Whether a document without the field is refused: defaults are filled in before."""
    return name in schema.get("required", ()) and "default" not in schema.get("properties", {}).get(name, {})


def _presence(name: str, old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    must, had = _must(name, new), _must(name, old)
    if must and not had:
        yield at.says(203, "it could be left out, and now has to be given")
    elif had and not must:
        if at.observed and "default" not in new["properties"][name]:
            yield at.says(213, "it was always there, and now may be missing: readers do not expect that")
        else:
            yield at.says(0, "it had to be given, and now may be left out")


def _choices(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    before, after = old.get("enum"), new.get("enum")
    if before == after:
        return
    if before is None:
        yield at.says(205, f"it could be anything, and now is one of {_listed(after)}")
        return
    if after is None:
        yield at.says(0, "it may be anything now")
        return
    gone = [value for value in before if value not in after]
    fresh = [value for value in after if value not in before]
    if gone:
        yield at.says(205, f"it can no longer be {_listed(gone)}")
    if fresh:
        yield at.says(0, f"it can be {_listed(fresh)} too")


def _bounds(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    for name in (*LOWER, *UPPER):
        before, after = _bound(name, old), _bound(name, new)
        if before == after:
            continue
        tighter = after is not None and (before is None or (after > before if name in LOWER else after < before))
        shown = f"{name} was {_number(name, old)} and is {_number(name, new)}"
        yield at.says(206 if tighter else 0, shown)
    before, after = old.get("multipleOf"), new.get("multipleOf")
    if before != after:
        wider = after is None or (before is not None and _divides(after, before))
        yield at.says(0 if wider else 206, f"multipleOf was {before or 'not said'} and is {after or 'not said'}")


def _bound(name: str, schema: Schema) -> tuple[float, int] | None:
    """A bound that can be compared: one that excludes itself is the tighter one of two that are equal."""
    value = schema.get(name)
    if value is None or (name in LOWER[1:] and value == 0):
        return None
    if name == "minimum":
        return value, int(bool(schema.get("exclusiveMinimum")))
    return value, -int(name == "maximum" and bool(schema.get("exclusiveMaximum")))


def _number(name: str, schema: Schema) -> str:
    bound = _bound(name, schema)
    return "not said" if bound is None else f"{bound[0]}{' (excluded)' if bound[1] else ''}"


def _divides(small: float, great: float) -> bool:
    return small > 0 and abs(great / small - round(great / small)) < 1e-9


def _texts(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    before, after = old.get("pattern", ""), new.get("pattern", "")
    if before != after:
        yield at.says(207 if after else 0, f"its pattern was {before or 'not said'} and is {after or 'not said'}")
    before, after = old.get("format", ""), new.get("format", "")
    if before != after:
        wider = not after or (before, after) in WIDER_FORMATS or (not before and after in ("int64", "double"))
        yield at.says(0 if wider else 207, f"its format was {before or 'not said'} and is {after or 'not said'}")


def _default(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    if "default" in old and "default" not in new:
        yield at.says(208, f"it was {_shown(old['default'])} when it was left out, and now is nothing")
    elif "default" in new and "default" not in old:
        yield at.says(0 if at.required else 208, f"it was nothing when it was left out, and now is {_shown(new['default'])}")
    elif _shown(old.get("default")) != _shown(new.get("default")):
        yield at.says(208, f"it was {_shown(old['default'])} when it was left out, and now is {_shown(new['default'])}")


def _nulls(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    before, after = bool(old.get("nullable")), bool(new.get("nullable"))
    if before and not after:
        yield at.says(209, "it could be null, and now cannot")
    elif after and not before:
        yield at.says(213 if at.observed else 0, "it can be null now")


def _merging(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    for name, usual in ((LIST_TYPE, "atomic"), (MAP_TYPE, "granular")):
        before, after = old.get(name) or usual, new.get(name) or usual
        if before != after:
            what = "list" if name == LIST_TYPE else "map"
            yield at.says(210, f"the {what} was {before} and is {after}: writers who share it are merged in another way")
    before, after = old.get(MAP_KEYS) or [], new.get(MAP_KEYS) or []
    if before and after and before != after:
        yield at.says(210, f"its items were told apart by {_listed(before)}, and now are by {_listed(after)}")


def _rules(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    before, after = ({each.get("rule"): each for each in schema.get(CEL) or () if isinstance(each, dict)} for schema in (old, new))
    for rule in after:
        if rule not in before:
            yield at.says(212, f"there is a new rule: {rule}")
    for rule in before:
        if rule not in after:
            yield at.says(0, f"there is no longer the rule: {rule}")


def _others(old: Schema, new: Schema, at: _Field) -> Iterator[Delta]:
    """Fields that no name is given to."""
    before, after = _openness(old), _openness(new)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _node(before, after, at.inner("{}"))
    elif isinstance(after, Mapping) and before is not None:
        yield at.says(211, "it could have any fields of any form, and now has those of one form")
    elif before is not None and after is None:
        yield at.says(211, "it could have fields with any name, and now has those that are described")
    elif (before is None) != (after is None) or (after is True and before is not True):
        yield at.says(0, "it can have fields with any name now")


def _openness(schema: Schema) -> Any:
    """True: fields of any form; a schema: fields of this one; None: those that are described, and no others."""
    if schema.get(OPEN) or schema.get("additionalProperties") is True:
        return True
    others = schema.get("additionalProperties")
    if isinstance(others, Mapping):
        return others
    return True if type_of(schema) == "anything" else None


def _listed(values: Any) -> str:
    return ", ".join(_shown(value) for value in values)


def _shown(value: Any) -> str:

    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 80 else f"{text[:77]}..."
