"""What an expression may cost at most, told before it is evaluated: by the sizes that the types of its variables allow.

The model is that of Kubernetes, number by number, since it decides which definitions are accepted: a name or a field costs 1, a
list literal 10, a map literal 30, a text a tenth of its length for each time that it is walked through, and a loop what is in it as
many times as there may be items. `MOST` stands for what has no bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

from registry.cel.checking import Typing
from registry.cel.signatures import Overload
from registry.cel.tree import Call, Const, Ident, ListOf, Loop, MapOf, Message, Node, Select
from registry.cel.types import SCALARS, Type

MOST = 2**64 - 1
_TEXT = 0.1
_PATTERN = 0.25


class Size(NamedTuple):
    """How large a value is, at least and at most."""

    least: int
    most: int

    def plus(self, other: Size) -> Size:
        """Of both together."""
        return Size(min(self.least + other.least, MOST), min(self.most + other.most, MOST))

    def times(self, other: Size) -> Size:
        """Of one for each of the other."""
        return Size(min(self.least * other.least, MOST), min(self.most * other.most, MOST))

    def walked(self, factor: float = _TEXT) -> int:
        """What it costs to go through it."""
        return MOST if self.most >= MOST else min(ceil(self.most * factor), MOST)


UNKNOWN = Size(0, MOST)
_FIXED = SCALARS | {"null", "type"}


def most(root: Node, typing: Typing, variables: Mapping[str, Type]) -> int:
    """What evaluating an expression may cost. Sizes are known of `variables`, and of what is on a way from them."""
    return _Estimate(typing, variables).cost(root)


class Entries(NamedTuple):
    """How large what is in a list or map is: its keys (of a list: 1), and its values."""

    keys: Size
    values: Size

    def either(self, other: Entries | None) -> Entries:
        """As large as in one or the other."""
        return self if other is None else Entries(_either(self.keys, other.keys), _either(self.values, other.values))


class _Local(NamedTuple):
    """What is known of a variable: what stands where it is from, its size, and that of what is in it."""

    placed: Type | None = None
    size: Size | None = None
    entries: Entries | None = None


class _Estimate:
    def __init__(self, typing: Typing, variables: Mapping[str, Type]) -> None:
        self._typing = typing
        self._names = {name: _Local(kind) for name, kind in variables.items()}
        self._placed: dict[int, Type] = {}  # nodes that are on a way from a variable: what stands there
        self._sizes: dict[int, Size] = {}  # nodes whose size was computed
        self._entries: dict[int, Entries] = {}  # nodes of which is known how large what is in them is

    def cost(self, node: Node) -> int:
        """The cost of a node with all below it; then its size can be asked for."""
        match node:
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListOf():
                cost = _sum(10, *map(self.cost, node.elements))
                self._entries[id(node)] = Entries(Size(1, 1), self._any(node.elements))
                return cost
            case MapOf():
                cost = _sum(30, *(self.cost(part) for key, value, _ in node.entries for part in (key, value)))
                keys, values = [key for key, _, _ in node.entries], [value for _, value, _ in node.entries]
                self._entries[id(node)] = Entries(self._any(keys), self._any(values))
                return cost
            case Loop():
                return self._loop(node)
            case Const() | Message():
                return 0

    def size(self, node: Node) -> Size:
        """How large the value of a node is."""
        if id(node) in self._sizes:
            return self._sizes[id(node)]
        match node:
            case Const(value=str() | bytes()):
                return Size(len(node.value), len(node.value))
            case ListOf():
                return Size(len(node.elements), len(node.elements))
            case MapOf():
                return Size(len(node.entries), len(node.entries))
        placed = self._placed.get(id(node))
        if placed is not None:
            return Size(0, placed.size)
        return Size(1, 1) if self._type(node).name in _FIXED else UNKNOWN

    def _any(self, nodes: Sequence[Node]) -> Size:
        sizes = [self.size(each) for each in nodes]
        return Size(min((each.least for each in sizes), default=0), max((each.most for each in sizes), default=0))

    def _type(self, node: Node) -> Type:
        return self._typing.types[id(node)]

    def _place(self, node: Node, where: Type | None) -> None:
        if where is not None:
            self._placed[id(node)] = where

    def _ident(self, node: Ident) -> int:
        local = self._names.get(node.name, _Local())
        self._place(node, local.placed)
        if local.placed is None and local.size is not None:
            self._sizes[id(node)] = local.size
        if local.entries is not None:
            self._entries[id(node)] = local.entries
        return 1

    def _select(self, node: Select) -> int:
        below = self.cost(node.operand)
        if node.test:
            return below
        placed = self._placed.get(id(node.operand))
        if placed is not None:
            self._place(node, _field(placed, node.field))
        of = self._type(node.operand)
        return _sum(below, 1 if of.fields is not None or of.name == "map" else 0)

    def _call(self, node: Call) -> int:
        operands = [node.target, *node.arguments] if node.target is not None else [*node.arguments]
        costs = [self.cost(each) for each in operands]
        match node.function:
            case "_?._":
                return _sum(1, *costs)
            case "_&&_" | "_||_":
                return _sum(*costs)
            case "_?_:_":
                self._sizes[id(node)] = _either(self.size(operands[1]), self.size(operands[2]))
                self._both(node, operands[1], operands[2])
                return _sum(costs[0], max(costs[1], costs[2]))
            case "_[_]":
                self._indexed(node, operands[0])
            case "_+_":
                self._both(node, operands[0], operands[1])
            case "dyn":
                self._same(node, operands[0])
        own = [self._own(node, each, operands) for each in self._typing.calls.get(id(node), ())]
        return _sum(*costs, *([max(own)] if own else []))

    def _same(self, node: Node, other: Node) -> None:
        """A node has the value of another one."""
        self._sizes[id(node)] = self.size(other)
        if id(other) in self._entries:
            self._entries[id(node)] = self._entries[id(other)]

    def _both(self, node: Node, one: Node, other: Node) -> None:
        """What is in a node is from one or the other."""
        found = [self._entries[id(each)] for each in (one, other) if id(each) in self._entries]
        if found:
            self._entries[id(node)] = found[0].either(found[-1])

    def _indexed(self, node: Call, whole: Node) -> None:
        placed, entries = self._placed.get(id(whole)), self._entries.get(id(whole))
        if placed is not None and placed.of:
            self._place(node, placed.of[-1])
        elif entries is not None:
            self._sizes[id(node)] = entries.values

    def _own(self, node: Call, overload: Overload, operands: list[Node]) -> int:
        rule = _RULES.get(overload.function)
        if rule is None:
            return 1
        cost, size = rule(overload, [self.size(each) for each in operands], self._item(operands[0]))
        if size is not None:
            self._sizes[id(node)] = _either(size, self._sizes.get(id(node), size))
        return cost

    def _item(self, node: Node) -> tuple[str, Size]:
        """What is in a list: the name of the type, and the size of one item."""
        kind, placed = self._type(node), self._placed.get(id(node))
        if kind.name != "list":
            return "", UNKNOWN
        if placed is not None and placed.of:
            return kind.of[0].name, Size(0, placed.of[0].size)
        return kind.of[0].name, Size(1, 1) if kind.of[0].name in SCALARS else UNKNOWN

    def _known(self, node: Node) -> _Local:
        return _Local(self._placed.get(id(node)), self._sizes.get(id(node)), self._entries.get(id(node)))

    def _loop(self, node: Loop) -> int:
        before = _sum(self.cost(node.over), self.cost(node.initial))
        hidden = {name: self._names.get(name, _Local()) for name in (node.variable, node.second, node.accumulator)}
        self._names[node.accumulator] = self._known(node.initial)
        first, second = self._variables(node)
        self._names.update({node.variable: first, node.second: second} if node.second else {node.variable: first})
        each = _sum(self.cost(node.condition), self.cost(node.step))
        for name in (node.variable, node.second):
            self._names[name] = hidden[name]
        self._names[node.accumulator] = self._known(node.initial)
        after = self.cost(node.result)
        self._names.update(hidden)
        count = self.size(node.over)
        if isinstance(node.condition, Const) and node.condition.value is False:  # it only gives a value a name
            self._same(node, node.result)
        elif isinstance(node.initial, ListOf):
            self._sizes[id(node)] = count
            if id(node.step) in self._entries:
                self._entries[id(node)] = self._entries[id(node.step)]
        return _sum(before, after, min(count.most * each, MOST))

    def _variables(self, node: Loop) -> tuple[_Local, _Local]:
        """What is known of the variables of a loop."""
        placed, entries = self._placed.get(id(node.over)), self._entries.get(id(node.over))
        by_place = (placed.of[0], placed.of[-1]) if placed is not None and placed.of else (None, None)
        keys, values = entries if entries is not None else (None, None)
        key, value = _Local(by_place[0], keys), _Local(by_place[1], values)
        if self._type(node.over).name == "map":
            return key, value
        return (_Local(size=Size(1, 1)), value) if node.second else (value, value)


def _either(one: Size, other: Size) -> Size:
    return Size(min(one.least, other.least), max(one.most, other.most))


def _field(whole: Type, name: str) -> Type | None:
    if whole.fields is not None:
        return whole.fields.get(name)
    return whole.of[1] if whole.name == "map" else None


def _sum(*costs: int) -> int:
    return min(sum(costs), MOST)


_Cost = tuple[int, Size | None]
_Rule = Callable[[Overload, list[Size], tuple[str, Size]], _Cost]
"""An overload, the sizes of its operands, what is in the first if that is a list: its own cost, and the size of its result."""


def _fixed(cost: int) -> _Rule:
    return lambda overload, sizes, item: (cost, None)


def _walk(which: int, *, times: int = 1, kept: bool = False) -> _Rule:
    """Goes through one of the operands; the result is as large as that, if it is `kept`."""
    return lambda overload, sizes, item: (sizes[which].walked(_TEXT * times), sizes[which] if kept else None)


def _bytes_of(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    if overload.parameters[0].name != "string":
        return 1, None
    return sizes[0].walked(), Size(sizes[0].least, min(sizes[0].most * 4, MOST))


def _string_of(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    if overload.parameters[0].name != "bytes":
        return 1, None
    return sizes[0].walked(), Size(sizes[0].least // 4, sizes[0].most)


def _in(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    return (sizes[1].most if overload.parameters[1].name == "list" else 1), None


def _pattern(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    cost = min(sizes[0].plus(Size(1, 1)).walked() * sizes[1].walked(_PATTERN), MOST)
    return cost, None if overload.function == "matches" else Size(0, sizes[0].most)


def _contains(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    return min(sizes[0].walked() * sizes[1].walked(), MOST), None


def _add(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    match overload.parameters[0].name:
        case "list":
            return 1, sizes[0].plus(sizes[1])
        case "string" | "bytes":
            size = sizes[0].plus(sizes[1])
            return size.walked(), size
    return 1, None


def _compare(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    if overload.function not in ("_==_", "_!=_") and overload.parameters[0].name not in ("string", "bytes"):
        return 1, None
    return Size(0, min(sizes[0].most, sizes[1].most)).walked(), None


def _through(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    """Looks at every item; those that are texts are walked through."""
    if overload.parameters[0].name != "list":
        return sizes[0].walked(), None
    each = 1 + (item[1].walked() if item[0] in ("string", "bytes") else 0)
    return min(sizes[0].most * each, MOST), None


def _replace(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    text, old, new = sizes[:3]
    if old.least == 0:
        longest = min((text.most + 1) * new.most + text.most, MOST)
    elif new.most <= old.least:
        longest = text.most
    else:
        longest = min(ceil(text.most / old.least) * new.most, MOST)
    return text.walked(2 * _TEXT), Size(0, longest)


def _split(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    return sizes[0].walked(2 * _TEXT), Size(0, sizes[0].most)


def _join(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    size = sizes[0].times(item[1])
    if len(sizes) > 1:
        size = size.plus(sizes[1].times(Size(max(sizes[0].least - 1, 0), max(sizes[0].most - 1, 0))))
    return size.walked(), size


def _sets(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    twice = 2 if overload.function == "sets.equivalent" else 1
    return min(sizes[0].most * sizes[1].most * twice, MOST), None


def _within(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    base = 4 + (3 if overload.function == "containsCIDR" else 0)
    return min(base + (sizes[1].walked() if overload.parameters[1].name == "string" else 0), MOST), None


def _ip(overload: Overload, sizes: list[Size], item: tuple[str, Size]) -> _Cost:
    return (1 if overload.member else sizes[0].walked()), None


_RULES: Mapping[str, _Rule] = {
    "bytes": _bytes_of,
    "string": _string_of,
    "format": lambda overload, sizes, item: (sizes[0].walked(), sizes[0].plus(sizes[1])),
    "strings.quote": lambda overload, sizes, item: (sizes[0].walked(), Size(sizes[0].least, min(sizes[0].most * 2, MOST))),
    "startsWith": _walk(1),
    "endsWith": _walk(1),
    "@in": _in,
    "matches": _pattern,
    "find": _pattern,
    "findAll": _pattern,
    "contains": _contains,
    "_+_": _add,
    **dict.fromkeys(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"), _compare),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _through),
    **dict.fromkeys(("url", "cidr", "isIP", "isCIDR", "quantity", "isQuantity", "isURL"), _walk(0)),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _walk(0, kept=True)),
    "reverse": _walk(0, kept=True),
    "replace": _replace,
    "split": _split,
    "join": _join,
    **dict.fromkeys(("sets.contains", "sets.equivalent", "sets.intersects"), _sets),
    "ip": _ip,
    "ip.isCanonical": _walk(0, times=2),
    "containsIP": _within,
    "containsCIDR": _within,
    "check": _fixed(350_000),
}
