"""Says where an answer differs from the recorded one.

Recorded values are JSON in which text may hold `$name`, the value of a variable, and placeholders such as `<uid>` for what is new
in every run. `<rv as rv1>` also remembers what stood there as `$rv1`; `<rv after $rv1>` also asks that it is greater than `$rv1`.

What never matters: the order of causes, verbs and managed fields, a cause that is there twice, whether an empty `continue` is
there, and the order of what a message lists in brackets. Everything else is as recorded, as far as `Rules` ask.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Variables = dict[str, str]
"""Values by name. Comparing adds what placeholders remember."""

_FORMS = {
    "rv": r"[1-9]\d*",
    "uid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "microtime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
    "name": r"[a-z\d]+",
    "token": r"[\w.=+/-]+",
    "hash": r"[\w.=+/-]+",
    "int": r"\d+",
    "age": r"(?:\d+[smhdy])+",
    "text": r".*",
}
_VARIABLE = re.compile(r"\$([a-z]+\d*)")
_HOLE = re.compile(rf"<({'|'.join(_FORMS)})(?: (after|from|not) \$([a-z]+\d*))?(?: as ([a-z]+\d*))?>")
_WITHOUT_ORDER = (".causes", ".verbs", ".managedFields")


@dataclass(frozen=True, slots=True)
class Rules:
    """How much may be there that was not recorded: nothing (exact), fields of objects (fields), items of lists as well (subset).

    Managed fields are looked at only where `managed_fields` says so.
    """

    match: Literal["exact", "fields", "subset"] = "exact"
    managed_fields: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an answer is not as recorded. `expected` and `got` are texts for people."""

    where: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.where or '.'}: expected {self.expected}, got {self.got}"


class UnknownVariableError(Exception):
    """A variable that nothing has given a value."""


def filled(value: Any, variables: Variables, *, strict: bool = False) -> Any:
    """The value with every `$name` replaced, in keys too. Unknown names stay; raises UnknownVariableError if `strict`."""

    def replaced(found: re.Match[str]) -> str:
        if strict and found[1] not in variables and _is_ours(found[1]):
            raise UnknownVariableError(found[0])
        return variables.get(found[1], found[0])

    match value:
        case str():
            return _VARIABLE.sub(replaced, value)
        case list():
            return [filled(item, variables, strict=strict) for item in value]
        case dict():
            return {filled(key, variables): filled(item, variables, strict=strict) for key, item in value.items()}
    return value


def differences(expected: Any, got: Any, variables: Variables, rules: Rules | None = None, where: str = "") -> Iterator[Difference]:
    """Every difference between a recorded value and one that was received. Adds to `variables` what placeholders remember."""
    rules = rules or Rules()
    match expected, got:
        case dict(), dict():
            yield from _objects(expected, got, variables, rules, where)
        case list(), list() if rules.match == "subset" or where.endswith(_WITHOUT_ORDER):
            yield from _without_order(expected, got, variables, rules, where)
        case list(), list():
            yield from _in_order(expected, got, variables, rules, where)
        case str(), _:
            if not _says(expected, got, variables):
                yield Difference(where, shown(filled(expected, variables)), shown(got))
        case _:
            if type(expected) is not type(got) or expected != got:
                yield Difference(where, shown(expected), shown(got))


def shown(value: Any) -> str:
    """The value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else f"{text[:390]}... ({len(text)} characters)"


def _is_ours(name: str) -> bool:
    """Whether `$name` is a variable of cases; `$patch` and `$schema` are words of what is sent."""
    return re.fullmatch(r"(?:rv|list|uid|name|token|hash|etag)\d+|ns|run", name) is not None


def _objects(expected: dict[str, Any], got: dict[str, Any], variables: Variables, rules: Rules, where: str) -> Iterator[Difference]:
    ignored = set() if rules.managed_fields else {"managedFields"}
    if not expected.get("continue") and not got.get("continue"):
        ignored.add("continue")
    wanted = {filled(key, variables): value for key, value in expected.items() if key not in ignored}
    for key, value in wanted.items():
        if key in got:
            yield from differences(value, got[key], variables, rules, f"{where}.{key}")
        else:
            yield Difference(f"{where}.{key}", shown(filled(value, variables)), "nothing")
    if rules.match == "exact":
        for key, value in got.items():
            if key not in wanted and key not in ignored:
                yield Difference(f"{where}.{key}", "nothing", shown(value))


def _in_order(expected: list[Any], got: list[Any], variables: Variables, rules: Rules, where: str) -> Iterator[Difference]:
    for index, (one, other) in enumerate(zip(expected, got, strict=False)):
        yield from differences(one, other, variables, rules, f"{where}[{index}]")
    for index in range(len(got), len(expected)):
        yield Difference(f"{where}[{index}]", shown(filled(expected[index], variables)), "nothing")
    for index in range(len(expected), len(got)):
        yield Difference(f"{where}[{index}]", "nothing", shown(got[index]))


def _without_order(expected: list[Any], got: list[Any], variables: Variables, rules: Rules, where: str) -> Iterator[Difference]:
    """Each recorded item takes the item that is most like it."""
    left = [item for index, item in enumerate(got) if item not in got[:index]]
    for index, item in enumerate(expected):
        distances = [len(list(differences(item, other, dict(variables), rules))) for other in left]
        nearest = min(range(len(left)), key=distances.__getitem__, default=None)
        if nearest is None or (rules.match == "subset" and distances[nearest] > 0):
            yield Difference(f"{where}[{index}]", shown(filled(item, variables)), "nothing like it")
        else:
            yield from differences(item, left.pop(nearest), variables, rules, f"{where}[{index}]")
    if rules.match != "subset":
        for other in left:
            yield Difference(f"{where}[]", "nothing", shown(other))


def _says(expected: str, got: Any, variables: Variables) -> bool:
    """Whether a text is as recorded. A number may stand where nothing but a placeholder was recorded."""
    if type(got) is int and _HOLE.fullmatch(expected):
        got = str(got)
    if not isinstance(got, str):
        return False
    holes = list(_HOLE.finditer(expected))
    if not holes:
        plain = filled(expected, variables)
        return got == plain or ("[" in plain and _words(got) == _words(plain))
    edges = [0, *(edge for hole in holes for edge in hole.span()), len(expected)]
    between = [re.escape(filled(expected[begin:end], variables)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
    pattern = "".join(text + f"({_FORMS[hole[1]]})" for text, hole in zip(between, holes, strict=False)) + between[-1]
    found = re.fullmatch(pattern, got, re.DOTALL)
    if found is None:
        return False
    values = found.groups()
    if not all(_related(value, hole[2], variables.get(hole[3] or "")) for hole, value in zip(holes, values, strict=True)):
        return False
    variables.update({hole[4]: value for hole, value in zip(holes, values, strict=True) if hole[4]})
    return True


def _related(value: str, relation: str | None, other: str | None) -> bool:
    match relation:
        case None:
            return True
        case _ if other is None:
            return False
        case "after":
            return int(value) > int(other)
        case "from":
            return int(value) >= int(other)
        case _:
            return value != other


def _words(message: str) -> list[str]:
    return sorted(re.findall(r"[^\s,\[\]]+", message))
