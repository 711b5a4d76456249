"""Which objects are meant: label selectors and field selectors, read once and asked many times.

A selector is immutable, does not depend on the order of its parts, and its `str()` parses to an equal one. `matches` does a few
look-ups in tables made beforehand, since a watch asks it for every change and every watcher. Grammar and words of the errors are
those of Kubernetes ("Labels and Selectors", "Field Selectors"); what cannot be parsed is a BadRequest. Texts are bounded in length
and in number of requirements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from registry.errors import BadRequest, Cause, forbidden, invalid, required, shown
from registry.names import label_value, qualified_name

LENGTH_LIMIT = 32_768
"""Characters that a selector may have."""

REQUIREMENT_LIMIT = 1_000
"""Requirements that a selector may have."""

Operator = Literal["=", "!=", "in", "notin", "exists", "!", ">", "<"]

_INT64 = 1 << 63
_INTEGER = re.compile(r"[+-]?[0-9]{1,63}").fullmatch
_TOKEN = re.compile(r"==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+")
_SYMBOLS = frozenset({"", "=", "==", "!=", "!", "(", ")", ",", "<", ">"})  # "" is the end
_OPERATORS: dict[str, Operator] = {"=": "=", "==": "=", "!=": "!=", "in": "in", "notin": "notin", ">": ">", "<": "<"}
_OF_OBJECTS: dict[str, Operator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `values` are sorted and unique: one for `= != > <`, some for `in notin`, none for the others."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case _:
                return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements together; none at all match everything. Truth value: whether there are any."""

    requirements: tuple[Requirement, ...] = ()
    _among: tuple[tuple[str, frozenset[str]], ...] = field(init=False, repr=False, compare=False)
    _not_among: tuple[tuple[str, frozenset[str]], ...] = field(init=False, repr=False, compare=False)
    _present: tuple[tuple[str, bool], ...] = field(init=False, repr=False, compare=False)
    _bounds: tuple[tuple[str, int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(dict.fromkeys(self.requirements), key=lambda one: (one.key, one.operator, one.values)))
        object.__setattr__(self, "requirements", ordered)
        object.__setattr__(self, "_among", tuple(_sets(ordered, "=", "in")))
        object.__setattr__(self, "_not_among", tuple(_sets(ordered, "!=", "notin")))
        presence = tuple((one.key, one.operator == "exists") for one in ordered if one.operator in {"exists", "!"})
        object.__setattr__(self, "_present", presence)
        object.__setattr__(self, "_bounds", tuple(_between(ordered)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """`a=b, c!=d, e in (f, g), h notin (i), j, !k, l>1, m<2`. Blanks are free. BadRequest: anything else."""
        _bounded(text)
        return cls(tuple(_requirements(_Tokens(text))))

    @classmethod
    def from_object(cls, selector: Mapping[str, Any]) -> Self:
        """The object form (`matchLabels`, `matchExpressions`). An empty one matches everything. BadRequest: see `check_object`."""
        causes = check_object(selector, "selector")
        if causes:
            raise BadRequest(str(causes[0]))
        found = [Requirement(key, "=", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
        for expression in selector.get("matchExpressions") or ():
            values = tuple(sorted(set(expression.get("values") or ())))
            found.append(Requirement(expression["key"], _OF_OBJECTS[expression["operator"]], values))
        return cls(tuple(found))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels are as required. `!=` and `notin` also hold for a label that is not there."""
        get = labels.get
        for key, values in self._among:
            if get(key) not in values:
                return False
        for key, values in self._not_among:
            if get(key) in values:
                return False
        for key, present in self._present:
            if (key in labels) is not present:
                return False
        for key, low, high in self._bounds:
            number = _int64(get(key) or "")
            if number is None or not low < number < high:
                return False
        return True

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one field: that it is (`equal`), or is not, a text."""

    path: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        escaped = re.sub(r"[\\,=]", r"\\\g<0>", self.value)
        return f"{self.path}{'=' if self.equal else '!='}{escaped}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms together; none at all match everything. Truth value: whether there are any. Which paths exist, the kind knows."""

    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(dict.fromkeys(self.terms)))

    @classmethod
    def parse(cls, text: str) -> Self:
        r"""`a=b,c==d,e!=f`, with `\\ \, \=` in values. Empty terms are skipped: clients send them. BadRequest: else."""
        _bounded(text)
        parts: list[str] = re.findall(r"(?:[^\\,]|\\.|\\\Z)+", text, re.DOTALL)
        if len(parts) > REQUIREMENT_LIMIT:
            raise _too_many()
        return cls(tuple(_term(part, text) for part in parts))

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that are asked for, each once."""
        return tuple(dict.fromkeys(term.path for term in self.terms))

    def requires(self, path: str) -> str | None:
        """The only value that a field may have; None if several would do. What contradicts itself requires its first value."""
        return next((term.value for term in self.terms if term.equal and term.path == path), None)

    def without(self, *paths: str) -> FieldSelector:
        """What remains to be asked when some fields are known to be as required."""
        return FieldSelector(tuple(term for term in self.terms if term.path not in paths))

    def matches(self, get: Callable[[str], str | None]) -> bool:
        """Whether fields are as required; `get` gives the text of a field. A field that is not there (None) is an empty text."""
        for term in self.terms:
            value = get(term.path) or ""
            if (value == term.value) is not term.equal:
                return False
        return True

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        return ",".join(map(str, self.terms))


def unsupported_field(path: str) -> BadRequest:
    """The refusal of a field that is not selectable, for custom kinds, Events, and other kinds with fields of their own."""
    return BadRequest(f"field label not supported: {path}")


def unknown_field(path: str, known: Iterable[str]) -> BadRequest:
    """The refusal of a field that is not selectable, for built-in kinds with no fields beside those of all kinds (ConfigMaps)."""
    return BadRequest(f"{shown(path)} is not a known field selector: only {', '.join(map(shown, known))}")


def check_object(selector: Any, path: str) -> list[Cause]:
    """What is wrong with a label selector in object form (meta/v1 LabelSelector); `path` is its field in what holds it."""
    if not isinstance(selector, Mapping):
        return [invalid(path, None, "must be an object")]
    causes: list[Cause] = []
    labels, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    if not isinstance(labels, Mapping):
        causes.append(invalid(f"{path}.matchLabels", None, "must be an object"))
    else:
        causes.extend(cause for key, value in labels.items() for cause in _check_pair(key, value, f"{path}.matchLabels"))
    if not isinstance(expressions, list):
        causes.append(invalid(f"{path}.matchExpressions", None, "must be a list"))
    else:
        for at, expression in enumerate(expressions):
            causes.extend(_check_expression(expression, f"{path}.matchExpressions[{at}]"))
    return causes


def _check_pair(key: str, value: Any, path: str) -> Iterator[Cause]:
    for problem in qualified_name(key):
        yield invalid(path, key, problem)
    if not isinstance(value, str):
        yield invalid(path, None, "must be a string")
    else:
        for problem in label_value(value):
            yield invalid(path, value, problem)


def _check_expression(expression: Any, path: str) -> Iterator[Cause]:
    if not isinstance(expression, Mapping):
        yield invalid(path, None, "must be an object")
        return
    key, chosen, values = expression.get("key") or "", expression.get("operator") or "", expression.get("values") or []
    if not (isinstance(key, str) and isinstance(chosen, str) and isinstance(values, list)):
        yield invalid(path, None, "must have a key and an operator that are strings, and values that are a list")
        return
    if chosen in {"In", "NotIn"} and not values:
        yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif chosen in {"Exists", "DoesNotExist"} and values:
        yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif chosen not in _OF_OBJECTS:
        yield invalid(f"{path}.operator", chosen, "not a valid selector operator")
    for problem in qualified_name(key):
        yield invalid(f"{path}.key", key, problem)
    for at, value in enumerate(values):
        problems = label_value(value) if isinstance(value, str) else ["must be a string"]
        for problem in problems:
            yield invalid(f"{path}.values[{at}]", value if isinstance(value, str) else None, problem)


class _Tokens:
    """The tokens of a label selector, one after the other; past the end there are empty ones."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = [*_TOKEN.findall(text), ""]
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at]

    def take(self) -> str:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _requirements(tokens: _Tokens) -> Iterator[Requirement]:
    """Errors are found in the order of the text, and inside a requirement they say that it is one."""
    if not tokens.peek():
        return
    for count in range(REQUIREMENT_LIMIT):
        start = tokens.peek()
        if start in _SYMBOLS and start != "!":
            wanted = "identifier after ','" if count else "!, identifier, or 'end of string'"
            raise BadRequest(f"found '{start}', expected: {wanted}")
        yield _requirement(tokens)
        end = tokens.take()
        if not end:
            return
        if end != ",":
            raise BadRequest(f"found '{end}', expected: ',' or 'end of string'")
    raise _too_many()


def _requirement(tokens: _Tokens) -> Requirement:
    absent = tokens.peek() == "!"
    if absent:
        tokens.take()
    key = tokens.take()
    if key in _SYMBOLS:
        raise _unparsable(f"found '{key}', expected: identifier")
    problems = qualified_name(key)
    if problems:
        raise _unparsable(f"<nil>: Invalid value: {shown(key)}: {'; '.join(problems)}")
    if absent or tokens.peek() in {"", ","}:
        return Requirement(key, "!" if absent else "exists")
    said = tokens.take()
    operator = _OPERATORS.get(said)
    if operator is None:
        raise _unparsable(f"found '{said}', expected: in, notin, =, ==, !=, gt, lt")
    values = tuple(sorted(_values(tokens) if operator in {"in", "notin"} else {_value(tokens)}))
    _check_values(key, operator, values)
    return Requirement(key, operator, values)


def _check_values(key: str, operator: Operator, values: tuple[str, ...]) -> None:
    for at, value in enumerate(values):
        if operator in {">", "<"} and _int64(value) is None:
            wanted = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise _unparsable(f"values[{at}]: Invalid value: {shown(value)}: {wanted}")
        problems = label_value(value)
        if problems:
            raise _unparsable(f"values[{at}][{key}]: Invalid value: {shown(value)}: {'; '.join(problems)}")


def _value(tokens: _Tokens) -> str:
    """What follows `=`; nothing is the empty text."""
    if tokens.peek() in {"", ","}:
        return ""
    token = tokens.take()
    if token in _SYMBOLS:
        raise _unparsable(f"found '{token}', expected: identifier")
    return token


def _values(tokens: _Tokens) -> set[str]:
    """What follows `in`: texts in parentheses. Where one is missing, as in `()` and `(a,,b)`, it is the empty text."""
    opening = tokens.take()
    if opening != "(":
        raise _unparsable(f"found '{opening}' expected: '('")
    if tokens.peek() not in {",", ")"} and tokens.peek() in _SYMBOLS:
        raise _unparsable(f"found '{tokens.peek()}', expected: ',', ')' or identifier")
    values: set[str] = set()
    while True:
        value = "" if tokens.peek() in {",", ")"} else tokens.take()
        if value in _SYMBOLS - {""}:
            raise _unparsable(f"found '{value}', expected: ',', or identifier")
        if not value and not tokens.peek():
            raise _unparsable("found '', expected: ',', or identifier")
        values.add(value)
        if tokens.peek() not in {",", ")"}:
            raise _unparsable(f"found '{tokens.peek()}', expected: ',' or ')'")
        if tokens.take() == ")":
            return values


def _term(part: str, text: str) -> Term:
    found = re.match(r"((?:[^\\=!]|\\.|!(?!=))*)(!=|==|=)(.*)", part, re.DOTALL)
    if not found:
        raise BadRequest(f"invalid selector: '{text}'; can't understand '{part}'")
    path, operator, value = found.groups()
    return Term(path, _unescaped(value), operator != "!=")


def _unescaped(value: str) -> str:
    for piece in re.finditer(r"\\(.?)|[,=]", value, re.DOTALL):
        if piece[1] is None:
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord(piece[0])}")
        if piece[1] not in {"\\", ",", "="}:
            raise BadRequest(f"invalid field selector: invalid escape sequence: {piece[0]}")
    return re.sub(r"\\(.)", r"\1", value)


def _sets(requirements: Iterable[Requirement], *operators: Operator) -> Iterator[tuple[str, frozenset[str]]]:
    return ((one.key, frozenset(one.values)) for one in requirements if one.operator in operators)


def _between(requirements: Iterable[Requirement]) -> Iterator[tuple[str, int, int]]:
    """`>` and `<` as open intervals; the other end is beyond every number that a label can say."""
    for one in requirements:
        if one.operator in {">", "<"}:
            bound = int(one.values[0])
            yield (one.key, bound, _INT64) if one.operator == ">" else (one.key, -_INT64 - 1, bound)


def _int64(text: str) -> int | None:
    if not _INTEGER(text):
        return None
    number = int(text)
    return number if -_INT64 <= number < _INT64 else None


def _bounded(text: str) -> None:
    if len(text) > LENGTH_LIMIT:
        raise BadRequest(f"a selector may not be longer than {LENGTH_LIMIT} characters")


def _too_many() -> BadRequest:
    return BadRequest(f"a selector may not have more than {REQUIREMENT_LIMIT} requirements")


def _unparsable(problem: str) -> BadRequest:
    return BadRequest(f"unable to parse requirement: {problem}")
