"""The types of the expression language, as its checker knows them: what may be assigned to what, and how a type is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Type(msgspec.Struct, frozen=True, eq=False):
    """A type. `of` are its parameters: `list(of)`, `map(key, value)`, `optional_type(of)`.

    An object knows its `fields`, and is the same type as another one if they have one name. A `var` is not known yet.
    `size` is how many characters, items or entries a value may have at most, `least` how many bytes it takes at least as JSON: what
    estimates of cost go by. They are no part of what a type is.
    """

    name: str
    of: tuple[Type, ...] = ()
    fields: Mapping[str, Type] | None = None
    size: int = 0
    least: int = 1


DYN, ERROR, NULL, BOOL = Type("dyn"), Type("!error!"), Type("null"), Type("bool")
INT, UINT, DOUBLE = Type("int"), Type("uint"), Type("double")
STRING, BYTES = Type("string"), Type("bytes")
TIMESTAMP, DURATION = Type("timestamp"), Type("duration")
SCALARS = frozenset({"bool", "int", "uint", "double", "timestamp", "duration"})
_PLAIN = {each.name: each for each in (DYN, NULL, BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION)}
_GENERIC = {"list": "list", "map": "map", "optional": "optional_type", "type": "type"}
_NEVER_NULL = SCALARS - {"timestamp", "duration"} | {"string", "bytes", "list", "map", "type", "optional_type"}


class Bindings:
    """What type variables have turned out to be, by their names. What was tried in vain can be undone."""

    __slots__ = ("_found", "_journal")

    def __init__(self) -> None:
        self._found: dict[str, Type] = {}
        self._journal: list[tuple[str, Type | None]] = []

    def get(self, name: str) -> Type | None:
        """What a variable is; None: it is not known yet."""
        return self._found.get(name)

    def bind(self, name: str, kind: Type) -> None:
        """A variable turns out to be a type, or a more general one than it seemed."""
        self._journal.append((name, self._found.get(name)))
        self._found[name] = kind

    def mark(self) -> int:
        """Where `undo` goes back to."""
        return len(self._journal)

    def undo(self, mark: int) -> None:
        """Forgets what was bound since."""
        while len(self._journal) > mark:
            name, before = self._journal.pop()
            if before is None:
                del self._found[name]
            else:
                self._found[name] = before


def list_of(item: Type) -> Type:
    """A list."""
    return Type("list", (item,))


def map_of(key: Type, value: Type) -> Type:
    """A map."""
    return Type("map", (key, value))


def optional_of(value: Type) -> Type:
    """A value, or none."""
    return Type("optional_type", (value,))


def constant(value: Any, *, unsigned: bool) -> Type:
    """The type of a literal."""
    if unsigned:
        return UINT
    return {type(None): NULL, bool: BOOL, int: INT, float: DOUBLE, str: STRING, bytes: BYTES}[type(value)]


def read(text: str) -> Type:
    """A type as signatures write it: `int`, `list<A>`, `map<string,list<A>>`, `kubernetes.Quantity`. Capitals are variables."""
    head, bracket, inner = text.partition("<")
    if bracket:
        return Type(_GENERIC[head], tuple(map(read, _split(inner[:-1]))))
    if len(text) == 1:
        return Type("var", (Type(text),))
    return _PLAIN.get(text) or Type(text)


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "<") - (char == ">")
        if char == "," and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def shown(kind: Type, bound: Bindings) -> str:
    """A type as messages show it."""
    kind = resolved(kind, bound)
    if kind.name == "var":
        return "_"
    name = kind.name
    return f"{name}({', '.join(shown(each, bound) for each in kind.of)})" if kind.of else name


def resolved(kind: Type, bound: Bindings) -> Type:
    """What a type has turned out to be, its parameters aside."""
    while kind.name == "var" and (found := bound.get(kind.of[0].name)) is not None:
        kind = found
    return kind


def settled(kind: Type, bound: Bindings) -> Type:
    """A type with all its parameters; what never turned out is anything."""
    kind = resolved(kind, bound)
    if kind.name == "var":
        return DYN
    if not kind.of:
        return kind
    return msgspec.structs.replace(kind, of=tuple(settled(each, bound) for each in kind.of))


def fresh(kind: Type, number: int) -> Type:
    """A type with variables of its own."""
    if kind.name == "var":
        return Type("var", (Type(f"{kind.of[0].name}{number}"),))
    return Type(kind.name, tuple(fresh(each, number) for each in kind.of), kind.fields) if kind.of else kind


def assign(to: Type, given: Type, bound: Bindings) -> bool:
    """Whether a value of a type can be one of another; then `bound` knows what that says of their variables."""
    name = _last(to, bound)
    to, given = resolved(to, bound), resolved(given, bound)
    if to is given:
        return True
    if name and to.name != "var" and _is_wider(given, to, bound):
        bound.bind(name, given)
        return True
    if to.name == "var" or given.name == "var":
        variable, other = (to, given) if to.name == "var" else (given, to)
        if other.name == "var" and other.of[0].name == variable.of[0].name:
            return True
        if _mentions(other, variable.of[0].name, bound):
            return False
        bound.bind(variable.of[0].name, other)
        return True
    if {to.name, given.name} & {"dyn", "!error!"}:
        return True
    if to.name == "null" or given.name == "null":
        return to.name == given.name or (given if to.name == "null" else to).name not in _NEVER_NULL
    if to.name == "type" and given.name == "type":
        return True
    if to.name != given.name or len(to.of) != len(given.of):
        return False
    return all(assign(one, other, bound) for one, other in zip(to.of, given.of, strict=True))


def _mentions(kind: Type, name: str, bound: Bindings) -> bool:
    kind = resolved(kind, bound)
    if kind.name == "var":
        return kind.of[0].name == name
    return any(_mentions(each, name, bound) for each in kind.of)


def _last(kind: Type, bound: Bindings) -> str:
    """The variable that holds what a type has turned out to be; empty: it is none."""
    name = ""
    while kind.name == "var" and (found := bound.get(kind.of[0].name)) is not None:
        name, kind = kind.of[0].name, found
    return name


def _is_wider(one: Type, other: Type, bound: Bindings) -> bool:
    """Whether a type is another one that says less: anything instead of something, at some place."""
    one, other = resolved(one, bound), resolved(other, bound)
    if one.name == "dyn":
        return other.name not in ("dyn", "!error!", "var")
    if one.name != other.name or len(one.of) != len(other.of) or one.name == "var":
        return False
    pairs = list(zip(one.of, other.of, strict=True))
    return any(_is_wider(a, b, bound) for a, b in pairs) and all(a.name == b.name or _is_wider(a, b, bound) for a, b in pairs)
