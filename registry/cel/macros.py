"""What the parser leaves to be expanded: macros with two variables, and names with dots.

l.all(i, v, i < 3)                  i is the index, v the item; of a map: the key and the value
l.transformList(i, v, v > 1, v * 2) a list of what the last argument is, where the condition holds
m.transformMap(k, v, size(v))       a map with the same keys
m.transformMapEntry(k, v, {v: k})   a map of all entries
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from registry.cel.tree import Call, Const, Ident, ListOf, Loop, MapOf, Node, Select

RESULT = "@result"
TWO_VARIABLES = frozenset({"all", "exists", "existsOne", "exists_one", "transformList", "transformMap", "transformMapEntry"})


def expanded(node: Node, variables: Collection[str], functions: Collection[str], names: Collection[str]) -> Node:
    """The expression with its macros expanded. `functions`, `names` of types, and `variables` may have dots."""
    inside = _Inside(variables, functions, names)
    return inside.of(node)


def is_macro(node: Node) -> bool:
    """Whether it is a macro with two variables."""
    if not isinstance(node, Call) or node.target is None or node.function not in TWO_VARIABLES:
        return False
    most = 4 if node.function.startswith("transform") else 3
    first = node.arguments[:2]
    return 3 <= len(node.arguments) <= most and all(isinstance(each, Ident) and "." not in each.name for each in first)


class _Inside:
    def __init__(self, variables: Collection[str], functions: Collection[str], names: Collection[str]) -> None:
        self._variables = variables
        self._functions = functions
        self._names = names

    def of(self, node: Node) -> Node:
        match node:
            case Select():
                dotted = _dotted(node)
                if dotted in self._variables or (dotted in self._names and dotted.partition(".")[0] not in self._variables):
                    return Ident(dotted, node.at)
                return replace(node, operand=self.of(node.operand))
            case Call():
                return self._call(node)
            case ListOf():
                return replace(node, elements=tuple(map(self.of, node.elements)))
            case MapOf():
                return replace(node, entries=tuple((self.of(key), self.of(value), maybe) for key, value, maybe in node.entries))
            case Loop():
                over, initial, condition, step, result = map(
                    self.of, (node.over, node.initial, node.condition, node.step, node.result)
                )
                return replace(node, over=over, initial=initial, condition=condition, step=step, result=result)
        return node

    def _call(self, node: Call) -> Node:
        if node.target is not None and is_macro(node):
            return self._macro(node, node.target)
        arguments = tuple(map(self.of, node.arguments))
        if node.target is not None:
            dotted = f"{_dotted(node.target)}.{node.function}"
            if dotted in self._functions and dotted.partition(".")[0] not in self._variables:
                return Call(dotted, None, arguments, node.at)
        return replace(node, target=self.of(node.target) if node.target is not None else None, arguments=arguments)

    def _macro(self, node: Call, target: Node) -> Node:
        first, second = (each.name for each in node.arguments[:2] if isinstance(each, Ident))
        parts = list(map(self.of, node.arguments[2:]))
        if node.function == "transformMap":
            parts[-1] = MapOf(((Ident(first, node.at), parts[-1], False),), node.at)
        initial, condition, step, result = _PARTS[node.function](node.at, *parts)
        return Loop(first, self.of(target), RESULT, initial, condition, step, result, second, node.at)


_Parts = tuple[Node, Node, Node, Node]


def _call(function: str, at: int, *arguments: Node) -> Call:
    return Call(function, None, arguments, at)


def _all(at: int, condition: Node) -> _Parts:
    so_far = Ident(RESULT, at)
    return (
        Const(True, at=at),
        _call("@not_strictly_false", at, so_far),
        _call("_&&_", at, so_far, condition),
        Ident(RESULT, at),
    )


def _exists(at: int, condition: Node) -> _Parts:
    so_far = Ident(RESULT, at)
    return (
        Const(False, at=at),
        _call("@not_strictly_false", at, _call("!_", at, so_far)),
        _call("_||_", at, so_far, condition),
        Ident(RESULT, at),
    )


def _exists_one(at: int, condition: Node) -> _Parts:
    one = Const(1, at=at)
    step = _call("_?_:_", at, condition, _call("_+_", at, Ident(RESULT, at), one), Ident(RESULT, at))
    return Const(0, at=at), Const(True, at=at), step, _call("_==_", at, Ident(RESULT, at), one)


def _list(at: int, *parts: Node) -> _Parts:
    *conditions, item = parts
    step: Node = _call("_+_", at, Ident(RESULT, at), ListOf((item,), frozenset(), at))
    if conditions:
        step = _call("_?_:_", at, conditions[0], step, Ident(RESULT, at))
    return ListOf((), frozenset(), at), Const(True, at=at), step, Ident(RESULT, at)


def _entries(at: int, *parts: Node) -> _Parts:
    initial, condition, step, result = _list(at, *parts)
    return initial, condition, step, _call("@merged", at, result)


_PARTS: dict[str, Callable[..., _Parts]] = {
    "all": _all,
    "exists": _exists,
    "existsOne": _exists_one,
    "exists_one": _exists_one,
    "transformList": _list,
    "transformMap": _entries,
    "transformMapEntry": _entries,
}


def _dotted(node: Node) -> str:
    if isinstance(node, Select) and not node.test:
        return f"{_dotted(node.operand)}.{node.field}"
    return node.name if isinstance(node, Ident) else ""
