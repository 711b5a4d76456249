"""Two small libraries of Kubernetes: formats with names (`format.dns1123Label().validate(text)`), and semantic versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import total_ordering
from typing import Any, ClassVar

from registry import formats, names
from registry.cel.running import Function
from registry.cel.values import INT_MAX, NOTHING, EvaluationError, Meter, Opaque, Optional, no_overload

LONGEST = 2_048
"""Characters that a text may have to be looked at: longer than what any of the formats allows."""
_NUMBER = r"(?:0|[1-9][0-9]{0,18})"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_PRE}(?:\.{_PRE})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?", re.ASCII
)
_LOOSE = re.compile(r"v?([0-9]{1,19})(?:\.([0-9]{1,19}))?(?:\.([0-9]{1,19}))?([-+].*)?", re.ASCII)

Judge = Callable[[str], list[str]]
"""Says what is wrong with a text."""


class NamedFormat(Opaque):
    """A format by its name."""

    __slots__ = ("judge", "name")
    type_name: ClassVar[str] = "kubernetes.NamedFormat"

    def __init__(self, name: str, judge: Judge) -> None:
        self.name = name
        self.judge = judge

    def same(self, other: Any) -> bool:
        """By name."""
        return bool(self.name == other.name)


def _prefix(rule: Judge) -> Judge:
    return lambda text: names.prefix_problems(rule, text)


def _known(name: str, said: str) -> Judge:
    return lambda text: [] if formats.FORMATS[name](text) else [said]


_FORMATS: Mapping[str, NamedFormat] = {
    name: NamedFormat(name, judge)
    for name, judge in {
        "dns1123Label": names.dns1123_label,
        "dns1123Subdomain": names.dns1123_subdomain,
        "dns1035Label": names.dns1035_label,
        "qualifiedName": names.qualified_name,
        "dns1123LabelPrefix": _prefix(names.dns1123_label),
        "dns1123SubdomainPrefix": _prefix(names.dns1123_subdomain),
        "dns1035LabelPrefix": _prefix(names.dns1035_label),
        "labelValue": names.label_value,
        "uri": _known("uri", "invalid URI for request"),
        "uuid": _known("uuid", "does not match the UUID format"),
        "byte": _known("byte", "invalid base64"),
        "date": _known("date", "invalid date"),
        "datetime": _known("date-time", "invalid datetime"),
    }.items()
}
FORMAT_NAMES = tuple(_FORMATS)


def _named(meter: Meter, name: Any) -> Optional:
    del meter
    if type(name) is not str:
        no_overload("format.named", name)
    return Optional(_FORMATS[name], there=True) if name in _FORMATS else NOTHING


def _validate(meter: Meter, form: Any, text: Any) -> Optional:
    if not isinstance(form, NamedFormat) or type(text) is not str:
        no_overload("validate", form, text)
    meter.spend(1 + min(len(text), LONGEST))
    wrong = form.judge(text) if len(text) <= LONGEST else [f"must be no more than {LONGEST} characters"]
    return Optional(wrong, there=True) if wrong else NOTHING


def _constant(form: NamedFormat) -> Function:
    return lambda meter: form


@total_ordering
class Semver(Opaque):
    """A semantic version (semver.org, 2.0). What stands behind a plus does not count."""

    __slots__ = ("numbers", "pre")
    type_name: ClassVar[str] = "kubernetes.Semver"

    def __init__(self, numbers: tuple[int, int, int], pre: tuple[tuple[bool, int, str], ...]) -> None:
        self.numbers = numbers
        self.pre = pre

    def _key(self) -> tuple[Any, ...]:
        return self.numbers, not self.pre, self.pre  # without a pre-release it is the last of its number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self._key() == other._key()

    def __lt__(self, other: Semver) -> bool:
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def same(self, other: Any) -> bool:
        """By what they are, not by how they are written."""
        return bool(self == other)


def semver(text: str, *, loose: bool = False) -> Semver:
    """`1.2.3-rc.1+linux`; `loose`: `v1.2` too. Raises EvaluationError."""
    found = _SEMVER.fullmatch(_tightened(text) if loose else text) if len(text) <= LONGEST else None
    if found is None or any(int(each) > INT_MAX for each in found.groups()[:3]):
        raise EvaluationError(f"semver parse error: {text[:64]!r} is no semantic version")
    parts = found[4].split(".") if found[4] else []
    pre = tuple((not each.isdigit(), int(each) if each.isdigit() else 0, "" if each.isdigit() else each) for each in parts)
    return Semver((int(found[1]), int(found[2]), int(found[3])), pre)


def _tightened(text: str) -> str:
    found = _LOOSE.fullmatch(text)
    if found is None:
        return text
    return ".".join(str(int(each or "0")) for each in found.groups()[:3]) + (found[4] or "")


def _semver(meter: Meter, text: Any, loose: Any = False) -> Semver:
    if type(text) is not str or type(loose) is not bool:
        no_overload("semver", text, loose)
    meter.spend(1 + min(len(text), LONGEST) // 10)
    return semver(text, loose=loose)


def _is_semver(meter: Meter, text: Any, loose: Any = False) -> bool:
    try:
        _semver(meter, text, loose)
    except EvaluationError as error:
        if str(error).startswith("no such overload"):
            raise
        return False
    return True


def shared(name: str, on_others: Function, act: Callable[..., Any]) -> Function:
    """A function of semantic versions that has the name of one of other values."""

    def function(meter: Meter, value: Any, *others: Any) -> Any:
        if not isinstance(value, Semver):
            return on_others(meter, value, *others)
        if not all(isinstance(each, Semver) for each in others):
            no_overload(name, value, *others)
        return act(value, *others)

    return function


def _part(name: str, at: int) -> Function:
    return shared(name, lambda meter, value: no_overload(name, value), lambda one: one.numbers[at])


def libraries(known: Mapping[str, Function]) -> Mapping[str, Function]:
    """Their functions. `known` are those that versions share their names with."""
    return {
        "format.named": _named,
        **{f"format.{name}": _constant(form) for name, form in _FORMATS.items()},
        "validate": _validate,
        "semver": _semver,
        "isSemver": _is_semver,
        **{name: _part(name, at) for at, name in enumerate(("major", "minor", "patch"))},
        "isGreaterThan": shared("isGreaterThan", known["isGreaterThan"], lambda one, other: one > other),
        "isLessThan": shared("isLessThan", known["isLessThan"], lambda one, other: one < other),
        "compareTo": shared("compareTo", known["compareTo"], lambda one, other: (one > other) - (one < other)),
    }
