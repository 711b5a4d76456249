"""JSONPath, as far as columns, selectable fields and scale paths of the API need it.

    .spec.url                                      a field of an object
    .metadata.labels['a.b/c']  .labels.a\\.b/c      a field with dots in its name
    .spec.items[0].x  .items[-1]                   an item of a list, from the end if negative
    .items[*].name  .data.*                        every item, every value
    .status.conditions[?(@.type=="Ready")].status  the items for which it holds; also != < <= > >=, or just that it is there

`{...}` around a path and `$` before it are allowed. Nothing else is: no recursive descent, no slices, no scripts. A path is parsed
once and never fails after that: what is not there is not found, whatever the document looks like.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec

LIMIT = 2_000
"""Characters that a path may have."""

_NAME = re.compile(r"(?:[^\s.\[\]\\'\"(){}*?@,=<>!]|\\.)+")
_INDEX = re.compile(r"-?[0-9]{1,9}")
_SPACE = re.compile(r"[ \t]*")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_SCALAR = re.compile(r"true|false|null|-?[0-9]{1,15}(?:\.[0-9]{1,15})?")

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Field:
    """The value under a name."""

    name: str

    def select(self, value: Any) -> Iterator[Any]:
        """The value under the name, if the value is an object that has it."""
        if isinstance(value, dict) and self.name in value:
            yield value[self.name]


@dataclass(frozen=True, slots=True)
class Index:
    """One item of a list."""

    at: int

    def select(self, value: Any) -> Iterator[Any]:
        """The item, if the value is a list that reaches so far."""
        if isinstance(value, list) and -len(value) <= self.at < len(value):
            yield value[self.at]


@dataclass(frozen=True, slots=True)
class Every:
    """Every item of a list, every value of an object."""

    def select(self, value: Any) -> Iterator[Any]:
        """All that is in the value; nothing of a scalar."""
        if isinstance(value, list):
            yield from value
        elif isinstance(value, dict):
            yield from value.values()


@dataclass(frozen=True, slots=True)
class Where:
    """The items of a list in which a path finds something, or finds something that compares as said."""

    path: tuple[Step, ...]
    compare: str = ""
    literal: str | float | bool | None = None

    def select(self, value: Any) -> Iterator[Any]:
        """The items of the list for which it holds."""
        if isinstance(value, list):
            yield from (item for item in value if self._holds(item))

    def _holds(self, item: Any) -> bool:
        found = _walk(self.path, item)
        if not self.compare:
            return bool(found)
        return bool(found) and _compares(found[0], self.compare, self.literal)


Step = Field | Index | Every | Where


@dataclass(frozen=True, slots=True)
class JSONPath:
    """A parsed path. `str()` is the text that it was parsed from."""

    text: str
    steps: tuple[Step, ...]
    fields: tuple[str, ...] | None
    """The names on the way when the path is nothing but names, as scale paths and selectable fields must be; else None."""

    def find(self, document: Any) -> list[Any]:
        """All values at the path, in document order."""
        return _walk(self.steps, document)

    def first(self, document: Any) -> Any:
        """The first value at the path; None if there is none (or it is null)."""
        if self.fields is not None:
            return _lookup(document, self.fields)
        found = self.find(document)
        return found[0] if found else None

    def set(self, document: Mapping[str, Any], value: Any) -> dict[str, Any]:
        """A document with `value` at the path; what is missing on the way is made, what is no object there is replaced.

        The given document is not changed; what is beside the path is shared with it. ValueError: the path is not only names.
        """
        names = self.fields
        if not names:
            raise ValueError(f"{self.text}: only a path of field names can be set")
        result = dict(document)
        inner = result
        for name in names[:-1]:
            below = inner.get(name)
            inner[name] = dict(below) if isinstance(below, dict) else {}
            inner = inner[name]
        inner[names[-1]] = value
        return result

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> JSONPath:
    """The path that a text says. ValueError: it says none; the message tells what is wrong, and at which character."""
    steps = _Parser(text).parse()
    names = tuple(step.name for step in steps if isinstance(step, Field))
    return JSONPath(text, steps, names if len(names) == len(steps) else None)


def _walk(steps: tuple[Step, ...], document: Any) -> list[Any]:
    values = [document]
    for step in steps:
        values = [found for value in values for found in step.select(value)]
        if not values:
            break
    return values


def _lookup(document: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _compares(found: Any, compare: str, literal: str | float | bool | None) -> bool:
    """Values of different types are unequal and have no order; true is not 1."""
    numbers = _is_number(found) and _is_number(literal)
    alike = numbers or type(found) is type(literal)
    if compare in {"==", "!="}:
        return (alike and found == literal) is (compare == "==")
    return alike and isinstance(found, str | int | float) and _COMPARE[compare](found, literal)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Parser:
    """One pass over the text; `_at` is the character that is looked at."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse(self) -> tuple[Step, ...]:
        if len(self._text) > LIMIT:
            raise ValueError(f"a path of more than {LIMIT} characters")
        braced = self._take("{")
        self._take("$")
        steps = self._steps()
        if not steps and not self._take("."):
            self._fail("a path starts with '.' or '['")
        if braced and not self._take("}"):
            self._fail("'}' is missing")
        if self._at < len(self._text):
            self._fail(f"unexpected {self._text[self._at]!r}")
        return steps

    def _steps(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        while self._at < len(self._text):
            if self._text.startswith(".", self._at) and self._text[self._at + 1 : self._at + 2] not in {"", "}", "["}:
                self._at += 1
                steps.append(self._named())
            elif self._take(".[") or self._take("["):
                steps.append(self._bracket())
            else:
                break
        return tuple(steps)

    def _named(self) -> Step:
        if self._take("*"):
            return Every()
        name = self._match(_NAME)
        if not name:
            self._fail("a field name is missing")
        return Field(re.sub(r"\\(.)", r"\1", name))

    def _bracket(self) -> Step:
        step: Step
        if self._take("*"):
            step = Every()
        elif self._take("?("):
            step = self._where()
        elif quoted := self._match(_QUOTED):
            step = Field(re.sub(r"\\(.)", r"\1", quoted[1:-1]))
        elif index := self._match(_INDEX):
            step = Index(int(index))
        else:
            self._fail("an index, a quoted name, '*' or '?(' is missing")
        if not self._take("]"):
            self._fail("']' is missing")
        return step

    def _where(self) -> Where:
        self._match(_SPACE)
        if not self._take("@"):
            self._fail("'@' is missing")
        path = self._steps()
        if any(isinstance(step, Where) for step in path):
            self._fail("a filter within a filter")
        self._match(_SPACE)
        compare = self._match(_OPERATOR)
        literal = self._literal() if compare else None
        self._match(_SPACE)
        if not self._take(")"):
            self._fail("')' is missing")
        return Where(path, compare, literal)

    def _literal(self) -> str | float | bool | None:
        self._match(_SPACE)
        if quoted := self._match(_QUOTED):
            return re.sub(r"\\(.)", r"\1", quoted[1:-1])
        scalar = self._match(_SCALAR)
        if not scalar:
            self._fail("a text in quotes, a number, true, false or null is missing")
        try:
            return msgspec.json.decode(scalar, type=str | float | bool | None)
        except msgspec.DecodeError:
            self._fail("a number that JSON does not know")

    def _take(self, text: str) -> bool:
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if not found:
            return ""
        self._at = found.end()
        return found[0]

    def _fail(self, problem: str) -> NoReturn:
        raise ValueError(f"{problem} at position {self._at} of {self._text!r}")
