"""Evaluates checked expressions, and counts what that costs.

Every node becomes a function of a `Frame`. What it promises: the semantics of CEL (errors pass over `&&`, `||`, `?:` and macros
that do not depend on them; no conversion between types), values as they are in documents, without copying them, and no evaluation
that goes on after its meter has run out. Depth is that of the text, which the parser bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from registry.cel.tree import Call, Const, Ident, ListOf, Loop, MapOf, Message, Node, Select
from registry.cel.values import (
    NOTHING,
    EvaluationError,
    Meter,
    Optional,
    TypeName,
    Uint,
    is_number,
    map_of,
    no_overload,
    type_name,
)

Function = Callable[..., Any]
"""A function of the language: the meter first, then the target if there is one, then the arguments."""


class Frame:
    """The variables of an evaluation, those of its loops among them, and what it may still cost."""

    __slots__ = ("meter", "names")

    def __init__(self, names: dict[str, Any], meter: Meter) -> None:
        self.names = names
        self.meter = meter


Run = Callable[[Frame], Any]


class _Failed:
    """An error that a loop has accumulated: the next step may still pass over it."""

    __slots__ = ("error",)

    def __init__(self, error: EvaluationError) -> None:
        self.error = error


TYPES = {
    **{name: TypeName(name) for name in ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type")},
    "google.protobuf.Timestamp": TypeName("google.protobuf.Timestamp"),
    "google.protobuf.Duration": TypeName("google.protobuf.Duration"),
    "optional_type": TypeName("optional_type"),
}
"""Types that an expression can name."""


class Unsupported(Exception):
    """The library knows it, and it is not evaluated here. `at` is the id of the node."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.what = what
        self.at = at


def runnable(node: Node, fields: Iterable[str], functions: Mapping[str, Function]) -> Run:
    """What evaluates an expression. `fields` are variables whose names have dots: what is before the first dot is a variable, in
    which the rest is looked up.

    Raises Unsupported.
    """
    return _Compiler(frozenset(fields), functions).run(node)


class _Compiler:
    def __init__(self, fields: frozenset[str], functions: Mapping[str, Function]) -> None:
        self._fields = fields
        self._functions = functions

    def run(self, node: Node) -> Run:
        match node:
            case Const():
                return _constant(Uint(node.value) if node.unsigned else node.value)
            case Ident():
                return self._ident(node)
            case Select():
                return (_has if node.test else _select)(self.run(node.operand), node.field)
            case Call():
                return self._call(node)
            case ListOf():
                return _list([self.run(element) for element in node.elements], node.optional)
            case MapOf():
                return _map([(self.run(key), self.run(value), optional) for key, value, optional in node.entries])
            case Loop():
                return self._loop(node)
            case Message():
                raise Unsupported(f"message '{node.name}'", node.at)

    def _ident(self, node: Ident) -> Run:
        first, dot, rest = node.name.partition(".")
        if dot and node.name in self._fields:
            run = _variable(first)
            for field in rest.split("."):
                run = _select(run, field)
            return run
        if node.name in TYPES:
            return _constant(TYPES[node.name])
        return _variable(node.name)

    def _call(self, node: Call) -> Run:
        operands = [node.target, *node.arguments] if node.target is not None else list(node.arguments)
        own = _OWN.get(node.function)
        if own is not None and node.target is None:
            return own([self.run(each) for each in operands])
        match node.function, node.arguments:
            case ("_?._", (operand, Const(value=str(field)))):
                return _optional_select(self.run(operand), field)
            case ("_+_", (Ident(name="@result"), added)):
                return _appended(self.run(added))
        function = self._functions.get(node.function)
        if function is None:
            raise Unsupported(f"function '{node.function}'", node.at)
        return _function(function, [self.run(each) for each in operands])

    def _loop(self, node: Loop) -> Run:
        endless = isinstance(node.condition, Const) and node.condition.value is True
        return _looped(
            (node.variable, node.second) if node.second else (node.variable,),
            node.accumulator,
            self.run(node.over),
            self.run(node.initial),
            None if endless else self.run(node.condition),
            self.run(node.step),
            self.run(node.result),
        )


def _constant(value: Any) -> Run:
    def run(frame: Frame) -> Any:
        del frame
        return value

    return run


def _variable(name: str) -> Run:
    def run(frame: Frame) -> Any:
        try:
            value = frame.names[name]
        except KeyError:
            raise EvaluationError(f"no such attribute(s): {name}") from None
        if type(value) is _Failed:
            raise value.error
        return value

    return run


def _select(operand: Run, field: str) -> Run:
    def run(frame: Frame) -> Any:
        frame.meter.spend(1)
        value = operand(frame)
        if type(value) is Optional:  # once optional, always
            return _found(value.value, field) if value.there else NOTHING
        if not isinstance(value, Mapping):
            no_overload(f"select '{field}'", value)
        try:
            return value[field]
        except KeyError:
            raise EvaluationError(f"no such key: {field}") from None

    return run


def _has(operand: Run, field: str) -> Run:
    def run(frame: Frame) -> bool:
        frame.meter.spend(1)
        value = operand(frame)
        if type(value) is Optional:
            return bool(value.there and isinstance(value.value, Mapping) and field in value.value)
        if not isinstance(value, Mapping):
            no_overload(f"has '{field}'", value)
        return field in value

    return run


def _optional_select(operand: Run, field: str) -> Run:
    def run(frame: Frame) -> Optional:
        frame.meter.spend(1)
        value = operand(frame)
        if type(value) is Optional:
            return _found(value.value, field) if value.there else NOTHING
        return _found(value, field)

    return run


def _found(value: Any, field: str) -> Optional:
    if not isinstance(value, Mapping):
        no_overload(f"select '{field}'", value)
    return Optional(value[field], there=True) if field in value else NOTHING


def _list(elements: list[Run], optional: frozenset[int]) -> Run:
    def run(frame: Frame) -> list[Any]:
        frame.meter.spend(1 + len(elements))
        made = []
        for at, element in enumerate(elements):
            value = element(frame)
            if at in optional:
                if type(value) is not Optional:
                    no_overload("optional element", value)
                if not value.there:
                    continue
                value = value.value
            made.append(value)
        return made

    return run


def _map(entries: list[tuple[Run, Run, bool]]) -> Run:
    def run(frame: Frame) -> Mapping[Any, Any]:
        frame.meter.spend(1 + len(entries))
        pairs = []
        for key_of, value_of, optional in entries:
            key, value = key_of(frame), value_of(frame)
            if optional:
                if type(value) is not Optional:
                    no_overload("optional entry", value)
                if not value.there:
                    continue
                value = value.value
            pairs.append((key, value))
        return map_of(pairs)

    return run


def _function(function: Function, operands: list[Run]) -> Run:
    if len(operands) == 1:
        (only,) = operands

        def run_one(frame: Frame) -> Any:
            frame.meter.spend(1)
            return function(frame.meter, only(frame))

        return run_one
    if len(operands) == 2:
        left, right = operands

        def run_two(frame: Frame) -> Any:
            frame.meter.spend(1)
            return function(frame.meter, left(frame), right(frame))

        return run_two

    def run(frame: Frame) -> Any:
        frame.meter.spend(1)
        return function(frame.meter, *[operand(frame) for operand in operands])

    return run


def _appended(added: Run) -> Run:
    """`@result + [x]`, as macros grow their lists: nobody else has the list yet, so that it need not be copied for each item."""

    def run(frame: Frame) -> Any:
        grown = frame.names["@result"]
        value = added(frame)
        if type(grown) is _Failed:
            raise grown.error
        if type(grown) is list and type(value) is list:
            frame.meter.spend(1)
            grown.extend(value)
            return grown
        if is_number(grown) and is_number(value):  # exists_one counts
            return grown + value
        return no_overload("_+_", grown, value)

    return run


def _pairs(items: Any) -> Iterable[tuple[Any, Any]]:
    """What the two variables of a loop are, one after the other."""
    return items.items() if isinstance(items, Mapping) else enumerate(items)


def _looped(
    variables: tuple[str, ...], accumulator: str, over: Run, initial: Run, condition: Run | None, step: Run, result: Run
) -> Run:
    """A loop without a condition goes on to its end, and an error in it is the error of all."""
    variable, second = variables[0], variables[-1]
    paired = len(variables) > 1

    def run(frame: Frame) -> Any:
        items = over(frame)
        if not isinstance(items, list | tuple | Mapping):
            no_overload("comprehension", items)
        names, meter = frame.names, frame.meter
        started = initial(frame)
        hidden = {name: names[name] for name in (*variables, accumulator) if name in names}
        names[accumulator] = started
        try:
            for first, last in _pairs(items) if paired else zip(items, items, strict=True):
                meter.spend(1)
                if condition is not None and condition(frame) is not True:
                    break
                names[variable], names[second] = first, last
                try:
                    names[accumulator] = step(frame)
                except EvaluationError as error:
                    if condition is None:
                        raise
                    names[accumulator] = _Failed(error)
            for name in variables:
                names.pop(name, None)
                if name in hidden:
                    names[name] = hidden[name]
            return result(frame)
        finally:
            for name in (*variables, accumulator):
                names.pop(name, None)
            names.update(hidden)

    return run


def _both(operands: list[Run]) -> Run:
    return _logical(operands, decides=False, name="_&&_")


def _either(operands: list[Run]) -> Run:
    return _logical(operands, decides=True, name="_||_")


def _logical(operands: list[Run], *, decides: bool, name: str) -> Run:
    """An operand that decides makes the others, and their errors, not matter."""

    def run(frame: Frame) -> bool:
        frame.meter.spend(1)
        failed: EvaluationError | None = None
        for operand in operands:
            try:
                value = operand(frame)
            except EvaluationError as error:
                failed = failed or error
                continue
            if value is decides:
                return bool(decides)
            if type(value) is not bool:
                failed = failed or EvaluationError(f"no such overload: {name}({type_name(value)})")
        if failed is not None:
            raise failed
        return not decides

    return run


def _chosen(operands: list[Run]) -> Run:
    question, yes, no = operands

    def run(frame: Frame) -> Any:
        frame.meter.spend(1)
        answer = question(frame)
        if type(answer) is not bool:
            no_overload("_?_:_", answer)
        return yes(frame) if answer else no(frame)

    return run


def _not_strictly_false(operands: list[Run]) -> Run:
    (operand,) = operands

    def run(frame: Frame) -> bool:
        try:
            return operand(frame) is not False
        except EvaluationError:
            return True

    return run


_OWN: Mapping[str, Callable[[list[Run]], Run]] = {
    "_&&_": _both,
    "_||_": _either,
    "_?_:_": _chosen,
    "@not_strictly_false": _not_strictly_false,
    "__not_strictly_false__": _not_strictly_false,
}
"""What does not evaluate all its operands first."""
