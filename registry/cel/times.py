"""Timestamps and durations of the expression language: nanoseconds, RFC 3339, and Go's way to write a length of time."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from registry.cel.values import INT_MAX, INT_MIN, Duration, EvaluationError, Timestamp

SECOND = 1_000_000_000
EARLIEST = -62_135_596_800 * SECOND
LATEST = 253_402_300_800 * SECOND - 1
_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND}
_DURATION = re.compile(r"([-+]?)((?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)")
_PART = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)")
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = 64
"""Characters that a text of a moment or a length of time may have."""


def timestamp(nanos: int) -> Timestamp:
    """A moment between the years 1 and 9999. Raises EvaluationError."""
    if not EARLIEST <= nanos <= LATEST:
        raise EvaluationError("timestamp overflow")
    return Timestamp(nanos)


def duration(nanos: int) -> Duration:
    """A length of time of at most 292 years. Raises EvaluationError."""
    if not INT_MIN <= nanos <= INT_MAX:
        raise EvaluationError("duration overflow")
    return Duration(nanos)


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339. Raises EvaluationError."""
    found = _MOMENT.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise EvaluationError(f"invalid timestamp: {text[:LONGEST]!r}")
    try:
        moment = datetime.fromisoformat(found[1] + ("+00:00" if found[3] == "Z" else found[3]))
    except ValueError:
        raise EvaluationError(f"invalid timestamp: {text!r}") from None
    since = moment - _EPOCH
    return timestamp((since.days * 86_400 + since.seconds) * SECOND + int((found[2] or "").ljust(9, "0")))


def parse_duration(text: str) -> Duration:
    """`1h30m`, `1.5s`, `-10ms`. Raises EvaluationError."""
    found = _DURATION.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise EvaluationError(f"invalid duration: {text[:LONGEST]!r}")
    total = 0
    for whole, fraction, unit in _PART.findall(found[2]):
        total += int(whole or "0") * _UNITS[unit]
        if fraction:
            total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
    return duration(-total if found[1] == "-" else total)


def format_timestamp(moment: Timestamp) -> str:
    """RFC 3339 in UTC, with as many digits after the second as there are."""
    seconds, nanos = divmod(moment.nanos, SECOND)
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + _fraction(nanos) + "Z"


def format_duration(length: Duration) -> str:
    """Seconds: `90s`, `-0.5s`."""
    seconds, nanos = divmod(abs(length.nanos), SECOND)
    return f"{'-' if length.nanos < 0 else ''}{seconds}{_fraction(nanos)}s"


def _fraction(nanos: int) -> str:
    return f".{nanos:09d}".rstrip("0") if nanos else ""


def _day_of_year(moment: datetime) -> int:
    return moment.timetuple().tm_yday - 1


_OF_MOMENTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda moment: moment.year,
    "getMonth": lambda moment: moment.month - 1,
    "getDate": lambda moment: moment.day,
    "getDayOfMonth": lambda moment: moment.day - 1,
    "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getDayOfYear": _day_of_year,
    "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute,
    "getSeconds": lambda moment: moment.second,
}
_OF_DURATIONS = {"getHours": 3_600 * SECOND, "getMinutes": 60 * SECOND, "getSeconds": SECOND, "getMilliseconds": 1_000_000}
GETTERS = frozenset({*_OF_MOMENTS, *_OF_DURATIONS})


def part(function: str, value: Any, zone: str = "UTC") -> int | None:
    """What a getter says of a moment or of a length of time; None if it says nothing of such a value. Raises EvaluationError."""
    if type(value) is Duration and function in _OF_DURATIONS:
        whole = abs(value.nanos) // _OF_DURATIONS[function]
        whole = whole % 1_000 if function == "getMilliseconds" else whole
        return -whole if value.nanos < 0 else whole
    if type(value) is not Timestamp:
        return None
    seconds, nanos = divmod(value.nanos, SECOND)
    if function == "getMilliseconds":
        return nanos // 1_000_000
    try:
        return _OF_MOMENTS[function]((_EPOCH + timedelta(seconds=seconds)).astimezone(_zone(zone)))
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    found = _OFFSET.fullmatch(name)
    try:
        if found is not None:
            offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
            return timezone(-offset if found[1] == "-" else offset)
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise EvaluationError(f"unknown time zone: {name[:LONGEST]!r}") from None
