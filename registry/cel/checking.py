"""Checks parsed expressions against typed variables, and says what is wrong in the words of the checker of Kubernetes.

The library that parses knows no objects whose fields are known from a schema. Here they are types like all others: what is selected
from them has a type, what they do not have is an error, and every call is resolved to the overloads that can be meant. What an
expression may cost is told from that (`registry.cel.costs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from registry.cel import times, types
from registry.cel.patterns import COMPILING, compiled
from registry.cel.signatures import Overload, overloads
from registry.cel.tree import Call, Const, Ident, ListOf, Loop, MapOf, Message, Node, Select, walk
from registry.cel.types import BOOL, DYN, ERROR, INT, STRING, Bindings, Type, assign, fresh, list_of, map_of, optional_of, shown
from registry.cel.values import EvaluationError, Meter

TYPE_NAMES = {
    **{name: types.read(name) for name in ("bool", "int", "uint", "double", "string", "bytes")},
    "null_type": types.NULL,
    "list": list_of(DYN),
    "map": map_of(DYN, DYN),
    "google.protobuf.Timestamp": types.TIMESTAMP,
    "google.protobuf.Duration": types.DURATION,
    "optional_type": optional_of(DYN),
    "type": Type("type", (DYN,)),
}


@dataclass(frozen=True, slots=True)
class Typing:
    """What the checker found. Types and overloads are by the id of the node object, which lives as long as the tree."""

    type: Type
    types: Mapping[int, Type]
    calls: Mapping[int, tuple[Overload, ...]]
    problems: tuple[tuple[int, str], ...]


def check(root: Node, variables: Mapping[str, Type]) -> Typing:
    """The types of an expression. What is wrong is told by the id in the text of the node where it is."""
    checker = _Checker([dict(variables)])
    made = types.settled(checker.of(root), checker.bound)
    found = {node: types.settled(kind, checker.bound) for node, kind in checker.types.items()}
    return Typing(made, found, checker.calls, tuple(checker.problems))


@dataclass(slots=True)
class _Checker:
    scopes: list[dict[str, Type]]
    bound: Bindings = field(default_factory=Bindings)
    types: dict[int, Type] = field(default_factory=dict)
    calls: dict[int, tuple[Overload, ...]] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    made: int = 0

    def of(self, node: Node) -> Type:
        found = self._of(node)
        self.types[id(node)] = found
        return found

    def _of(self, node: Node) -> Type:
        match node:
            case Const():
                return types.constant(node.value, unsigned=node.unsigned)
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node.operand, node.field, node.at, test=node.test)
            case Call():
                return self._call(node)
            case ListOf():
                return self._list(node)
            case MapOf():
                return self._map(node)
            case Loop():
                return self._loop(node)
            case Message():
                return self._wrong(node.at, f"undeclared reference to '{node.name}' (in container '')")

    def _wrong(self, at: int, what: str) -> Type:
        self.problems.append((at, what))
        return ERROR

    def _variable(self) -> Type:
        self.made += 1
        return Type("var", (Type(f"@{self.made}"),))

    def _shown(self, kind: Type) -> str:
        return shown(kind, self.bound)

    def _ident(self, node: Ident) -> Type:
        for scope in reversed(self.scopes):
            if node.name in scope:
                return scope[node.name]
        if node.name in TYPE_NAMES:
            return Type("type", (TYPE_NAMES[node.name],))
        return self._wrong(node.at, f"undeclared reference to '{node.name}' (in container '')")

    def _select(self, operand: Node, name: str, at: int, *, test: bool = False) -> Type:
        whole = types.resolved(self.of(operand), self.bound)
        inner, optional = whole, whole.name == "optional_type"
        if optional:
            inner = types.resolved(whole.of[0], self.bound)
        found = self._field(inner, name, at)
        if test:
            return BOOL
        return optional_of(found) if optional else found

    def _field(self, whole: Type, name: str, at: int) -> Type:
        if whole.fields is not None:
            return whole.fields.get(name) or self._wrong(at, f"undefined field '{name}'")
        if whole.name == "map":
            return whole.of[1]
        if whole.name in ("dyn", "!error!", "var"):
            return DYN
        return self._wrong(at, f"type '{self._shown(whole)}' does not support field selection")

    def _call(self, node: Call) -> Type:
        if node.function == "_?._" and isinstance(node.arguments[1], Const):
            return self._optional_select(node)
        operands = [node.target, *node.arguments] if node.target is not None else [*node.arguments]
        given = [self.of(each) for each in operands]
        known = overloads().get(node.function)
        member = node.target is not None
        if known is None:
            return self._wrong(node.at, f"undeclared reference to '{node.function}' (in container '')")
        return self._resolve(node, [each for each in known if each.member is member], given)

    def _optional_select(self, node: Call) -> Type:
        operand, name = node.arguments
        self.types[id(name)] = STRING
        found = self._select(operand, getattr(name, "value", ""), node.at)
        return found if found.name == "optional_type" else optional_of(found)

    def _resolve(self, node: Call, known: list[Overload], given: list[Type]) -> Type:
        """Every overload that fits is one that can be meant; if they give different types, the result may be anything."""
        fitting, result = [], None
        for one in known:
            if len(one.parameters) != len(given):
                continue
            self.made += 1
            before = self.bound.mark()
            fits = all(assign(fresh(to, self.made), each, self.bound) for to, each in zip(one.parameters, given, strict=True))
            if fits:
                fitting.append(one)
                made = fresh(one.result, self.made)
                if result is None:
                    result = made
                    continue
                if self._shown(made) != self._shown(result):
                    result = DYN
            self.bound.undo(before)
        self.calls[id(node)] = tuple(fitting)
        if result is not None:
            return result
        arguments = ", ".join(map(self._shown, given[1:] if node.target is not None else given))
        said = f"{self._shown(given[0])}.({arguments})" if node.target is not None else f"({arguments})"
        return self._wrong(node.at, f"found no matching overload for '{node.function}' applied to '{said}'")

    def _together(self, kinds: list[tuple[Type, int]]) -> Type:
        """The one type of the items of a literal."""
        if not kinds:
            return self._variable()
        first, *others = kinds
        made = first[0]
        for kind, at in others:
            before = self.bound.mark()
            if not assign(made, kind, self.bound):
                self.bound.undo(before)
                self._wrong(at, f"expected type '{self._shown(made)}' but found '{self._shown(kind)}'")
                continue
            made = kind if self._shown(kind) == "dyn" else made
        return made

    def _list(self, node: ListOf) -> Type:
        found = [(self._given(each, optional=at in node.optional), _at(each)) for at, each in enumerate(node.elements)]
        return list_of(self._together(found))

    def _map(self, node: MapOf) -> Type:
        keys = [(self.of(key), _at(key)) for key, _, _ in node.entries]
        values = [(self._given(value, optional=optional), _at(value)) for _, value, optional in node.entries]
        return map_of(self._together(keys), self._together(values))

    def _given(self, node: Node, *, optional: bool) -> Type:
        kind = types.resolved(self.of(node), self.bound)
        if not optional or kind.name in ("dyn", "!error!"):
            return kind
        if kind.name != "optional_type":
            return self._wrong(_at(node), f"expected type 'optional_type(_)' but found '{self._shown(kind)}'")
        return kind.of[0]

    def _loop(self, node: Loop) -> Type:
        over = types.resolved(self.of(node.over), self.bound)
        first, second = self._range(over, node)
        accumulator = self.of(node.initial)
        self.scopes.append({node.accumulator: accumulator})
        self.scopes.append({node.variable: first, **({node.second: second} if node.second else {})})
        self._expect(node.condition, BOOL)
        self._expect(node.step, accumulator)
        self.scopes.pop()
        made = self.of(node.result)
        self.scopes.pop()
        return made

    def _range(self, over: Type, node: Loop) -> tuple[Type, Type]:
        """The types of the variables of a loop."""
        match over.name:
            case "list":
                return (INT, over.of[0]) if node.second else (over.of[0], DYN)
            case "map":
                return over.of[0], over.of[1]
            case "dyn" | "!error!" | "var":
                return DYN, DYN
        said = f"expression of type '{self._shown(over)}' cannot be range of a comprehension (must be list, map, or dynamic)"
        return self._wrong(_at(node.over), said), ERROR

    def _expect(self, node: Node, wanted: Type) -> None:
        found = self.of(node)
        if not assign(wanted, found, self.bound):
            self._wrong(_at(node), f"expected type '{self._shown(wanted)}' but found '{self._shown(found)}'")


def _at(node: Node) -> int:
    return node.at


def literals(root: Node) -> list[tuple[int, str]]:
    """Literals that are never what their function takes: durations, timestamps and patterns that are none."""
    found = []
    for node in walk(root):
        if isinstance(node, Call) and node.arguments:
            given, test = node.arguments[-1], _LITERALS.get(node.function)
            if test is not None and isinstance(given, Const) and type(given.value) is str and not _holds(test, given.value):
                found.append((given.at, f"invalid {node.function} argument"))
    return sorted(found)


def _holds(test: Callable[[str], object], text: str) -> bool:
    try:
        test(text)
    except EvaluationError:
        return False
    return True


_LITERALS: Mapping[str, Callable[[str], object]] = {
    "duration": times.parse_duration,
    "timestamp": times.parse_timestamp,
    "matches": lambda text: compiled(Meter(COMPILING), text),
}
