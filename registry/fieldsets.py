"""Sets of fields of a document, as managedFields holds them, and their algebra.

A set is a tree of steps. The step `.` says that the place itself is in the set; every other step leads to a set one level down,
which is never empty. So `{"f:spec": {"f:size": {".": {}}}}` is the set of one field, `.spec.size`.

    f:name            a field of an object
    k:{"type":"A"}    the item of a list that has these keys
    v:"a"             the item of a list of scalars
    i:0               the item at an index

On the wire (FieldsV1 of meta/v1, structured-merge-diff) a place with nothing below it is `{}`: `parse` and `render` translate. Sets
are never changed; results share with what they were made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from registry.nodes import LONGEST_STEP

Fields: TypeAlias = "Mapping[str, Fields]"

HERE = "."
"""The step that says: this place."""

NONE: Fields = {}
LEAF: Fields = {HERE: NONE}

_encode = msgspec.json.Encoder(order="sorted").encode


def field_step(name: str) -> str:
    """The step to a field of an object."""
    return f"f:{name}"


def value_step(value: Any) -> str:
    """The step to an item of a set."""
    return f"v:{_encode(value).decode()}"


def key_step(keys: Mapping[str, Any]) -> str:
    """The step to the item of a list that has these keys."""
    return f"k:{_encode(keys).decode()}"


def parse(raw: Any) -> Fields:
    """The set that FieldsV1 says. Raises ValueError."""
    if not isinstance(raw, dict):
        raise ValueError("a set of fields is an object")
    if raw.get(HERE, {}) != {}:
        raise ValueError("nothing is below the step '.'")
    try:
        return {_normal(step): LEAF if inner == {} and step != HERE else parse(inner) for step, inner in raw.items()}
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def _normal(step: str) -> str:
    """The step in the one form that it has here. Raises ValueError and msgspec.DecodeError."""
    kind, content = step[:2], step[2:]
    if step == HERE or kind == "f:" or (kind == "i:" and content.isdecimal()):
        return step
    if kind == "v:":
        return value_step(msgspec.json.decode(content))
    if kind == "k:":
        return key_step(msgspec.json.decode(content, type=dict[str, Any]))
    raise ValueError(f"{step!r} is no step to a field")


def render(fields: Fields) -> dict[str, Any]:
    """The set as FieldsV1."""
    return {step: {} if inner == LEAF else render(inner) for step, inner in fields.items()}


def union(one: Fields, other: Fields) -> Fields:
    """What is in either."""
    if not one or not other:
        return one or other
    return {**one, **{step: union(one[step], inner) if step in one else inner for step, inner in other.items()}}


def difference(one: Fields, other: Fields) -> Fields:
    """What is in `one` and not in `other`. A place may go while places below it stay."""
    rest: dict[str, Fields] = {}
    for step, inner in one.items():
        if step not in other:
            rest[step] = inner
        elif step != HERE:
            left = difference(inner, other[step])
            if left:
                rest[step] = left
    return rest


def intersection(one: Fields, other: Fields) -> Fields:
    """What is in both."""
    common: dict[str, Fields] = {}
    for step, inner in one.items():
        if step in other:
            shared = intersection(inner, other[step])
            if shared or step == HERE:
                common[step] = shared
    return common


def paths(fields: Fields, before: str = "") -> Iterator[str]:
    """The places of a set as messages name them (`.status.conditions[type="A"].status`), in order. Very long keys are cut off."""
    for step in sorted(fields):
        if step == HERE:
            yield before
        else:
            yield from paths(fields[step], before + _text(step))


def _text(step: str) -> str:
    if len(step) > LONGEST_STEP:
        return f".{step[2:LONGEST_STEP]}..."
    kind, content = step[:2], step[2:]
    if kind == "f:":
        return f".{content}"
    if kind == "k:":
        keys = msgspec.json.decode(content, type=dict[str, Any])
        return f"[{','.join(f'{key}={_encode(value).decode()}' for key, value in keys.items())}]"
    return f"[={content}]" if kind == "v:" else f"[{content}]"
