"""The Common Expression Language, as Kubernetes speaks it: expressions over documents, compiled once, evaluated often.

    program = compile("object.spec.size <= 50 && 'team' in object.metadata.labels", {"object": ANY}, wanted=("bool",))
    program.evaluate({"object": document})                      # True, False, or EvaluationError

What it promises:

- The reference implementation (CEL for C++) parses and checks: what it calls wrong is wrong, in its words, with line and column.
- Nothing is evaluated that could cost more than its meter allows, in time or in room: every step is counted (`Meter`). Texts,
  nesting and patterns are bounded when they are compiled. Patterns are those of RE2, which take linear time.
- An evaluation reads documents as they are, changes nothing, and depends on nothing but its variables.
- What is not known is refused when it is compiled, by its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from registry.cel import checking, costs, macros, signatures, tree, types
from registry.cel.kubernetes import KUBERNETES, Access, Question
from registry.cel.libraries import libraries
from registry.cel.running import Frame, Function, Run, Unsupported, runnable
from registry.cel.standard import STANDARD
from registry.cel.texts import TEXTS
from registry.cel.values import CostExceeded, EvaluationError, Fields, Meter

__all__ = [
    "ANY",
    "AUTHORIZER",
    "STEPS",
    "Access",
    "CompileError",
    "CostExceeded",
    "EvaluationError",
    "Fields",
    "Meter",
    "Program",
    "Question",
    "Shape",
    "TypedProgram",
    "compile",
    "compile_typed",
]

LONGEST_TEXT = 5_000
"""Characters that an expression may have: compiling so many takes up to 80 ms."""
LONGEST_COMPLAINT = 2_000
"""Characters of what is told of a text that is no expression. Each of its characters can be wrong for itself."""
STEPS = 1_000_000
"""What one evaluation may cost, unless a meter is passed in: about half a second at worst."""

ANY = "any"
AUTHORIZER = "authorizer"
_FUNCTIONS: Mapping[str, Function] = {**STANDARD, **TEXTS, **KUBERNETES, **libraries(KUBERNETES)}
_NAMES = {"dyn": "any", "null_type": "null"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A variable with known fields: the name of the type of each (`string`, `any`). Fields that are not known are refused."""

    fields: Mapping[str, str] = field(default_factory=dict)


class CompileError(Exception):
    """A text is no expression. The message lists all that is wrong, each with its line, its column, and the place in the text."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. `type` is what it evaluates to, as far as that is known (`bool`, `string`, `any`)."""

    text: str
    type: str
    names: frozenset[str]
    _run: Run = field(repr=False, compare=False)

    @property
    def declarable(self) -> str:
        """The type by which another expression can be told of this value: `any`, if it has no name here."""
        return self.type if self.type in ("bool", "int", "double", "string") else ANY

    def evaluate(self, variables: Mapping[str, Any], meter: Meter | None = None) -> Any:
        """The value. Raises EvaluationError: there is none; CostExceeded: it would take too long."""
        try:
            return self._run(Frame(dict(variables), meter if meter is not None else Meter(STEPS)))
        except RecursionError:
            raise CostExceeded("a value is nested too deeply") from None


def compile(text: str, variables: Mapping[str, str | Shape], wanted: Collection[str] = ()) -> Program:
    """An expression over variables, each of a type (`ANY`, `"string"`, `AUTHORIZER`) or of a shape.

    `wanted` are the types that it may evaluate to; none: any. Raises CompileError.
    """
    declared = tuple((name, kind if isinstance(kind, str) else tuple(kind.fields.items())) for name, kind in variables.items())
    return _compiled(text, declared, tuple(wanted))


_Declared = tuple[tuple[str, str | tuple[tuple[str, str], ...]], ...]


@lru_cache(maxsize=512)
def _compiled(text: str, variables: _Declared, wanted: tuple[str, ...]) -> Program:
    """Remembered: what is compiled to see whether it can be is soon compiled to be evaluated."""
    _readable(text)
    if _has_macro(text):
        return _by_types(text, variables, wanted)
    shapes = {name: fields for name, fields in variables if not isinstance(fields, str)}
    try:
        expression = _environment(_flat(variables, _tested(text))).compile(text)
        checked = tree.parse(expression.serialize())
        made = _type_name(expression.return_type())
    except RuntimeError as error:
        raise CompileError(_message(str(error))) from None
    problems = [_located(text, checked.offsets, at, what) for at, what in _unknown_fields(checked.root, shapes)]
    if problems:
        raise CompileError(_shortened("\n".join(problems)))
    _wanted(made, wanted)
    try:
        run = runnable(checked.root, {f"{name}.{inner}" for name, fields in shapes.items() for inner, _ in fields}, _FUNCTIONS)
    except Unsupported as error:
        raise CompileError(_located(text, checked.offsets, error.at, f"{error.what} is not supported")) from None
    return Program(text, made, frozenset(_names(checked.root)), run)


def _has_macro(text: str) -> bool:
    """Whether there are macros with two variables, which the library that checks does not know."""
    if not any(f"{name}(" in text.replace(" ", "") for name in macros.TWO_VARIABLES):
        return False
    try:
        parsed = tree.parse_unchecked(_environment(()).compile(text, disable_check=True).serialize())
    except RuntimeError:
        return False  # then it is told what is wrong
    return any(map(macros.is_macro, tree.walk(parsed.root)))


def _by_types(text: str, variables: _Declared, wanted: tuple[str, ...]) -> Program:
    """The other way to compile, which knows all macros."""
    known = {}
    for name, kind in variables:
        if isinstance(kind, str):
            known[name] = signatures.type_named(kind)
            continue
        fields = {inner: signatures.type_named(of) for inner, of in kind if "." not in inner}
        known[name] = types.Type(name, fields=fields)
    program = compile_typed(text, known).program
    made = _NAMES.get(program.type, program.type).replace("dyn", ANY)
    _wanted(made, wanted)
    return replace(program, type=made)


def _wanted(made: str, wanted: Collection[str]) -> None:
    if wanted and made not in wanted:
        said = f"must evaluate to {next(iter(wanted))}" if len(wanted) == 1 else f"must evaluate to one of [{' '.join(wanted)}]"
        raise CompileError(said)


@dataclass(frozen=True, slots=True)
class TypedProgram:
    """A compiled expression over variables of known types, and what evaluating it may cost at most."""

    program: Program
    type: types.Type
    cost: int


def compile_typed(text: str, variables: Mapping[str, types.Type]) -> TypedProgram:
    """An expression over variables whose types are known, objects with their fields. Raises CompileError."""
    checked, typing = _typed(text, variables)
    try:
        run = runnable(checked.root, (), _FUNCTIONS)
    except Unsupported as error:
        raise CompileError(_located(text, checked.offsets, error.at, f"{error.what} is not supported")) from None
    program = Program(text, typing.type.name, frozenset(_names(checked.root)), run)
    return TypedProgram(program, typing.type, costs.most(checked.root, typing, variables))


def _typed(text: str, variables: Mapping[str, types.Type]) -> tuple[tree.Checked, checking.Typing]:
    _readable(text)
    try:
        parsed = tree.parse_unchecked(_environment(()).compile(text, disable_check=True).serialize())
        root = macros.expanded(parsed.root, variables.keys(), signatures.QUALIFIED, checking.TYPE_NAMES.keys())
        typing = checking.check(root, variables)
    except RuntimeError as error:  # a RecursionError is one
        raise CompileError("it is nested too deeply" if isinstance(error, RecursionError) else _message(str(error))) from None
    problems = [*typing.problems, *checking.literals(root)]
    if problems:
        raise CompileError(_shortened("\n".join(_located(text, parsed.offsets, at, what) for at, what in problems)))
    return tree.Checked(root, parsed.offsets), typing


@lru_cache(maxsize=64)
def _environment(variables: tuple[tuple[str, str], ...]) -> Any:
    """What checks expressions over some variables. The library takes 13 MB: a server without expressions does not load it."""
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_optional

    from registry.cel.declared import functions, type_of

    return cel.NewEnv(
        variables={name: type_of(kind) for name, kind in variables},
        functions=functions(),
        extensions=[ext_optional.ExtOptional()],
    )


def _readable(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise CompileError(f"an expression may have at most {LONGEST_TEXT} characters, this one has {len(text)}")
    if "\0" in text or (not text.isascii() and not _encodable(text)):
        raise CompileError("an expression may not have characters that are no text")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tested(text: str) -> frozenset[str]:
    """What an expression asks `has` about, as names with dots. Of a variable with dots in its name, the checker would make of
    `has(request.name)` the value of `request.name`."""
    if "has" not in text:
        return frozenset()
    parsed = tree.parse_unchecked(_environment(()).compile(text, disable_check=True).serialize()).root
    return frozenset(_path(each) for each in tree.walk(parsed) if isinstance(each, tree.Select) and each.test)


def _path(node: tree.Node) -> str:
    if isinstance(node, tree.Select):
        return f"{_path(node.operand)}.{node.field}"
    return node.name if isinstance(node, tree.Ident) else ""


def _flat(variables: _Declared, tested: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Variables as the checker knows them: fields of a shape are variables whose names have a dot, so that each has a type."""
    found = []
    for name, kind in variables:
        if isinstance(kind, str):
            found.append((name, kind))
            continue
        found.append((name, ANY))
        found += [(f"{name}.{inner}", of) for inner, of in kind if f"{name}.{inner}" not in tested]
    return tuple(found)


def _message(text: str) -> str:
    """What the checker says, without the class that its own library adds."""
    said = text.rpartition(" [")[0] if text.endswith("]") else text
    head, colon, rest = said.partition(": ")
    return _shortened(rest if colon and head.isupper() and head != "ERROR" else said)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_COMPLAINT else f"{text[:LONGEST_COMPLAINT]} ..."


def _type_name(kind: Any) -> str:
    name = str(kind.name()).lower()
    return _NAMES.get(name, name)


def _located(text: str, offsets: Mapping[int, int], at: int, what: str) -> str:
    """A problem as the checker shows its own."""
    offset = offsets.get(at, 0)
    before = text[:offset]
    line, column = before.count("\n"), offset - (before.rfind("\n") + 1)
    return f"ERROR: <input>:{line + 1}:{column + 1}: {what}\n | {text.splitlines()[line]}\n | {'.' * column}^"


def _unknown_fields(node: tree.Node, shapes: Mapping[str, tuple[tuple[str, str], ...]]) -> Iterator[tuple[int, str]]:
    for each in tree.walk(node):
        if isinstance(each, tree.Select) and isinstance(each.operand, tree.Ident):
            known = shapes.get(each.operand.name)
            if known is not None and each.field not in {name.partition(".")[0] for name, _ in known}:
                yield each.at, f"undefined field '{each.field}'"


def _names(node: tree.Node) -> Iterator[str]:
    return (each.name for each in tree.walk(node) if isinstance(each, tree.Ident))
