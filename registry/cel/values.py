"""Values of the expression language, and what is true of all of them: their types, when they are equal, what they may cost.

JSON values stand for themselves: None, bool, int, float, str, list, dict. Besides there are `Uint`, bytes, `Timestamp`, `Duration`,
`TypeName`, `Optional`, and what functions make (subclasses of `Opaque`). Values are never changed once they can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NoReturn

import msgspec

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
UINT_MAX = (1 << 64) - 1


class EvaluationError(Exception):
    """An expression has no value: the text says why. `&&`, `||` and macros pass over it where nothing depends on it."""


class CostExceeded(Exception):
    """An evaluation would take longer, or more room, than it may. Nothing in an expression can pass over that."""


class Meter:
    """What evaluations may still cost together, in steps: about one for each node that is evaluated, and one for every ten
    characters, or every item, that a function looks at."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Raises CostExceeded when there is not so much left."""
        self.left -= steps
        if self.left < 0:
            raise CostExceeded("operation cancelled: actual cost limit exceeded")


class Uint(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()


class TypeName(msgspec.Struct, frozen=True):
    """A type, as a value."""

    name: str


class Timestamp(msgspec.Struct, frozen=True, order=True):
    """A moment: nanoseconds since 1970."""

    nanos: int


class Duration(msgspec.Struct, frozen=True, order=True):
    """A length of time in nanoseconds."""

    nanos: int


class Optional(msgspec.Struct, frozen=True):
    """A value, or none."""

    value: Any = None
    there: bool = False


NOTHING = Optional()


class Opaque:
    """What only functions make and look into. Two are equal if `same` says so; `type_name` is what `type()` tells."""

    __slots__ = ()
    type_name: ClassVar[str] = "opaque"

    def same(self, other: Any) -> bool:
        """Whether two of one type are equal."""
        return self is other


class Fields(Mapping[str, Any]):
    """Named values that are found when they are asked for, and then remembered: what evaluates to nothing costs nothing.

    `find` may raise EvaluationError; that is remembered too.
    """

    __slots__ = ("_find", "_found", "_names")

    def __init__(self, names: frozenset[str], find: Callable[[str], Any]) -> None:
        self._names = names
        self._find = find
        self._found: dict[str, tuple[Any, EvaluationError | None]] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._found:
            try:
                self._found[name] = (self._find(name), None)
            except EvaluationError as error:
                self._found[name] = (None, error)
        value, failed = self._found[name]
        if failed is not None:
            raise failed
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)


class Keyed(Mapping[Any, Any]):
    """A map whose keys are not all texts. Numbers that are equal are one key, whatever their types; true is not 1."""

    __slots__ = ("_entries",)

    def __init__(self, entries: dict[Any, tuple[Any, Any]]) -> None:
        self._entries = entries  # by `canonical`

    def __getitem__(self, key: Any) -> Any:
        return self._entries[canonical(key)][1]

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


class Keyless(list[Any]):
    """A list whose items have no place: a set, or a list of type map, whose items are told apart by `key` (None: by themselves).

    Two are equal if they have the same items in any order. One and another are both together: an item of the second takes the place
    of the item of the first with the same key, and what has no such place comes behind.
    """

    __slots__ = ("key",)

    def __init__(self, items: Iterable[Any], key: Callable[[Any], Any] | None = None) -> None:
        super().__init__(items)
        self.key = key

    def by_key(self, items: Iterable[Any], meter: Meter) -> dict[Any, Any]:
        """Items by what tells them apart, as text: what cannot be told apart is one."""
        meter.spend(len(self))
        return {_encoded(item if self.key is None else self.key(item)): item for item in items}

    def same(self, other: list[Any] | tuple[Any, ...], meter: Meter) -> bool:
        """Whether another list has the same items."""
        if len(self) != len(other):
            return False
        theirs = self.by_key(other, meter)
        ours = self.by_key(self, meter)
        return len(theirs) == len(ours) and all(key in theirs and equal(item, theirs[key], meter) for key, item in ours.items())

    def plus(self, other: list[Any] | tuple[Any, ...], meter: Meter) -> Keyless:
        """Both together."""
        return Keyless({**self.by_key(self, meter), **self.by_key(other, meter)}.values(), self.key)


def _encoded(key: Any) -> Any:
    return key if type(key) in (str, int) else msgspec.json.encode(key, enc_hook=repr, order="sorted")


def canonical(key: Any) -> Any:
    """What a key is looked up by. Raises KeyError: it can be no key of any map."""
    kind = type(key)
    if kind is str or kind is int:
        return key
    if kind is bool:
        return ("bool", key)
    if kind is Uint:
        return int(key)
    if kind is float and key.is_integer():
        return int(key)
    raise KeyError(key)


def map_of(pairs: list[tuple[Any, Any]]) -> Mapping[Any, Any]:
    """A map. Raises EvaluationError for a key of another type, or one that is there twice."""
    plain = {key: value for key, value in pairs if type(key) is str}
    if len(plain) == len(pairs):
        return plain
    entries: dict[Any, tuple[Any, Any]] = {}
    for key, value in pairs:
        if type(key) not in (str, int, bool, Uint):
            raise EvaluationError(f"unsupported key type: {type_name(key)}")
        known = canonical(key)
        if known in entries:
            raise EvaluationError(f"duplicate key in map: {key}")
        entries[known] = (key, value)
    return Keyed(entries)


_NAMES: dict[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    Keyless: "list",
    tuple: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    Optional: "optional_type",
    TypeName: "type",
}


def type_name(value: Any) -> str:
    """The name of the type of a value."""
    if isinstance(value, Opaque):
        return value.type_name
    return _NAMES.get(type(value)) or ("map" if isinstance(value, Mapping) else "dyn")


def no_overload(function: str, *arguments: Any) -> NoReturn:
    """Raises the error of a function that does not take values of these types."""
    raise EvaluationError(f"no such overload: {function}({', '.join(map(type_name, arguments))})")


def is_number(value: Any) -> bool:
    """Whether it is an int, a uint or a double."""
    return type(value) in (int, float, Uint)


def equal(one: Any, other: Any, meter: Meter) -> bool:
    """Whether two values are equal: numbers as numbers, lists and maps by what is in them, what is of different types never."""
    kind = type(one)
    if kind is type(other) and kind in (str, int, bytes, bool, float, Uint):
        if kind is str or kind is bytes:
            meter.spend(min(len(one), len(other)) // 10)
        return bool(one == other)
    if is_number(one) and is_number(other):
        return bool(one == other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        meter.spend(1)
        if isinstance(one, Keyless):
            return one.same(other, meter)
        return len(one) == len(other) and all(_stepped(a, b, meter) for a, b in zip(one, other, strict=True))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        meter.spend(1)
        return len(one) == len(other) and all(key in other and _stepped(one[key], other[key], meter) for key in one)
    if kind is not type(other):
        return False
    if kind is Optional:
        return bool(one.there is other.there and (not one.there or equal(one.value, other.value, meter)))
    return bool(one.same(other)) if isinstance(one, Opaque) else bool(one == other)


def _stepped(one: Any, other: Any, meter: Meter) -> bool:
    meter.spend(1)
    return equal(one, other, meter)


def order(function: str, one: Any, other: Any, meter: Meter) -> int | None:
    """-1, 0 or 1; None if one of them is no number (NaN). Raises EvaluationError: they cannot be compared."""
    kind = type(one)
    comparable = (is_number(one) and is_number(other)) or (kind is type(other) and kind in (str, bytes, bool, Timestamp, Duration))
    if not comparable:
        no_overload(function, one, other)
    if kind is str or kind is bytes:
        meter.spend(min(len(one), len(other)) // 10)
    return -1 if one < other else 1 if one > other else 0 if one == other else None


def int64(value: int) -> int:
    """An int, if it has room in 64 bits. Raises EvaluationError."""
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def uint64(value: int) -> Uint:
    """A uint, if it has room in 64 bits. Raises EvaluationError."""
    if not 0 <= value <= UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return Uint(value)
