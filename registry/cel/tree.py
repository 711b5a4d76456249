"""The checked expression as the library serializes it (`cel.expr.CheckedExpr`, protobuf), read into nodes.

Macros are expanded already: `all`, `exists`, `map` and the like are comprehensions. Field numbers are those of
`cel/expr/checked.proto` and `cel/expr/syntax.proto`, which are stable.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Const:
    """A literal: None, bool, int, float, str, bytes, or a Uint, which `unsigned` tells."""

    value: Any
    unsigned: bool = False
    at: int = 0


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable, by its whole name (`request`, `variables.tall`), or a name of a type. `at` is the id of the node."""

    name: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`; if `test`, `has(operand.field)`."""

    operand: Node
    field: str
    test: bool
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function, or an operator (`_+_`), on its arguments; `target` is what stands before the dot, if anything does."""

    function: str
    target: Node | None
    arguments: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list literal. Elements at `optional` positions are left out when they hold nothing."""

    elements: tuple[Node, ...]
    optional: frozenset[int]
    at: int = 0


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map literal: key, value, and whether the entry is left out when the value holds nothing."""

    entries: tuple[tuple[Node, Node, bool], ...]
    at: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """A message literal, such as `google.protobuf.Timestamp{}`."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Loop:
    """A comprehension: what all macros become. `second` is the second variable of those that have one."""

    variable: str
    over: Node
    accumulator: str
    initial: Node
    condition: Node
    step: Node
    result: Node
    second: str
    at: int


Node = Const | Ident | Select | Call | ListOf | MapOf | Message | Loop


@dataclass(frozen=True, slots=True)
class Checked:
    """An expression with where its nodes stand in the text, as offsets in characters by their ids."""

    root: Node
    offsets: dict[int, int]


def parse(serialized: bytes) -> Checked:
    """Reads `Expression.serialize()` of an expression that was checked."""
    checked = _fields(_one(_fields(serialized), 2))
    references: dict[int, str] = {}
    for entry in checked.get(2, ()):
        pair = _fields(entry)
        name = _text(_fields(_one(pair, 2)), 1)
        if name:
            references[_number(pair, 1)] = name
    return Checked(_node(_one(checked, 4), references), _offsets(_one(checked, 5)))


def parse_unchecked(serialized: bytes) -> Checked:
    """Reads `Expression.serialize()` of one that was not (`cel.expr.ParsedExpr`)."""
    parsed = _fields(_one(_fields(serialized), 2))
    return Checked(_node(_one(parsed, 2), {}), _offsets(_one(parsed, 3)))


def _offsets(source: bytes) -> dict[int, int]:
    return {_number(pair, 1): _number(pair, 2) for pair in map(_fields, _fields(source).get(4, ()))}


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        match each:
            case Select():
                waiting.append(each.operand)
            case Call():
                waiting += [*each.arguments, *([each.target] if each.target is not None else ())]
            case ListOf():
                waiting += each.elements
            case MapOf():
                waiting += [part for key, value, _ in each.entries for part in (key, value)]
            case Loop():
                waiting += [each.over, each.initial, each.condition, each.step, each.result]


def _node(raw: bytes, references: dict[int, str]) -> Node:
    fields = _fields(raw)
    at = _number(fields, 2)
    kind = next((number for number in (3, 4, 5, 6, 7, 8, 9) if number in fields), 0)
    inner = _fields(_one(fields, kind)) if kind else {}

    def of(raw: bytes) -> Node:
        return _node(raw, references)

    match kind:
        case 3:
            return _const(inner, at)
        case 4:
            return Ident(references.get(at) or _text(inner, 1), at)
        case 5:
            if at in references:  # a variable whose name has dots
                return Ident(references[at], at)
            return Select(of(_one(inner, 1)), _text(inner, 2), bool(_number(inner, 3)), at)
        case 6:
            return _call(inner, at, references)
        case 7:
            return ListOf(tuple(map(of, inner.get(1, ()))), frozenset(_packed(inner.get(2, ()))), at)
        case 8:
            return _struct(inner, at, references)
        case 9:
            parts = [of(_one(inner, number)) for number in (2, 4, 5, 6, 7)]
            over, initial, condition, step, result = parts
            return Loop(_text(inner, 1), over, _text(inner, 3), initial, condition, step, result, _text(inner, 8), at)
    raise ValueError("an expression that is none of those that are known")


def _call(inner: _Fields, at: int, references: dict[int, str]) -> Call:
    """`sets.contains(...)` is parsed as a call on `sets`; the checker tells by its reference that it is none."""
    function = _text(inner, 2)
    target = _node(_one(inner, 1), references) if 1 in inner else None
    if target is not None and isinstance(target, Ident) and references.get(at) == f"{target.name}.{function}":
        function, target = references[at], None
    return Call(function, target, tuple(_node(each, references) for each in inner.get(3, ())), at)


def _struct(inner: _Fields, at: int, references: dict[int, str]) -> MapOf | Message:
    name = _text(inner, 1)
    if name:
        return Message(name, at)
    entries = []
    for raw in inner.get(2, ()):
        entry = _fields(raw)
        key, value = _node(_one(entry, 3), references), _node(_one(entry, 4), references)
        entries.append((key, value, bool(_number(entry, 5))))
    return MapOf(tuple(entries), at)


def _const(inner: _Fields, at: int) -> Const:
    for number, values in inner.items():
        value = values[-1]
        match number:
            case 1:
                return Const(None, at=at)
            case 2:
                return Const(bool(value), at=at)
            case 3:
                return Const(value - (1 << 64) if value >= 1 << 63 else value, at=at)
            case 4:
                return Const(value, unsigned=True, at=at)
            case 5:
                return Const(struct.unpack("<d", value)[0], at=at)
            case 6:
                return Const(value.decode(), at=at)
            case 7:
                return Const(bytes(value), at=at)
    return Const(None, at=at)


# The wire format of protobuf: a field is a number and a kind in one varint, and then its value.

_Fields = dict[int, list[Any]]


def _fields(raw: bytes) -> _Fields:
    """Every field of a message, by number: varints as int, all else as bytes."""
    found: _Fields = {}
    at, end = 0, len(raw)
    while at < end:
        key, at = _varint(raw, at)
        number, kind = key >> 3, key & 7
        value: Any
        if kind == 0:
            value, at = _varint(raw, at)
        elif kind == 2:
            length, at = _varint(raw, at)
            value, at = raw[at : at + length], at + length
        else:
            length = 8 if kind == 1 else 4
            value, at = raw[at : at + length], at + length
        found.setdefault(number, []).append(value)
    return found


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _packed(values: list[Any] | tuple[()]) -> Iterator[int]:
    for value in values:
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            yield number


def _one(fields: _Fields, number: int) -> bytes:
    values = fields.get(number)
    return values[-1] if values else b""


def _number(fields: _Fields, number: int) -> int:
    values = fields.get(number)
    return values[-1] if values else 0


def _text(fields: _Fields, number: int) -> str:
    return _one(fields, number).decode()
