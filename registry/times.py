"""Times as the API writes them: RFC 3339 in UTC, whole seconds for `Time`, exactly six digits for `MicroTime`, and ages for tables.

Reading is lenient (any offset, up to nine digits of a second, `t` and `z` in either case, more precise than stored is cut off);
writing is strict, since clients parse with fixed layouts. What cannot be read is a ValueError in the words that Go clients know.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import NoReturn

from registry.errors import shown

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
).fullmatch

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"

# The elements of a layout with what stands for each: where a text stops to fit is the element that is named in the error.
_ELEMENTS = tuple(
    (element, re.compile(pattern))
    for element, pattern in (
        ("2006", "[0-9]{4}"),
        ("-", "-"),
        ("01", "[0-9]{2}"),
        ("-", "-"),
        ("02", "[0-9]{2}"),
        ("T", "[Tt]"),
        ("15", "[0-9]{2}"),
        (":", ":"),
        ("04", "[0-9]{2}"),
        (":", ":"),
        ("05", r"[0-9]{2}(?:\.[0-9]{1,9})?"),
        ("Z07:00", "[Zz]|[+-][0-9]{2}:[0-9]{2}"),
    )
)

_SHOWN_CHARACTERS = 100


def format_time(moment: datetime | float) -> str:
    """`2026-01-02T03:04:05Z`: a moment (aware, or seconds since 1970) as a `Time`. What is less than a second is cut off."""
    if isinstance(moment, datetime):
        return f"{_utc(moment).replace(microsecond=0).isoformat()}Z"
    return _format_second(math.floor(moment))


@lru_cache(maxsize=16)
def _format_second(second: int) -> str:
    """The text of a second. Many objects are made in the same one."""
    return f"{_utc(second).isoformat()}Z"


def format_micro(moment: datetime | float) -> str:
    """`2026-01-02T03:04:05.000000Z`: a moment (aware, or seconds since 1970) as a `MicroTime`, always with six digits."""
    return f"{_utc(moment).isoformat(timespec='microseconds')}Z"


def parse_time(text: str) -> datetime:
    """The moment, in UTC, that an RFC 3339 text says. ValueError: it says none."""
    return _parse(text, _LAYOUT)


def normalise_time(text: str) -> str:
    """A `Time` as it is stored. ValueError: not a time."""
    return format_time(_parse(text, _LAYOUT))


def normalise_micro(text: str) -> str:
    """A `MicroTime` as it is stored. ValueError: not a time."""
    return format_micro(_parse(text, _MICRO_LAYOUT))


def age(seconds: float) -> str:
    """How long ago, as tables show it: the two greatest units while they matter (`118s`, `5m30s`, `47h`, `3d4h`, `2y10d`).

    Parts of zero are left out. Up to a second in the future is `0s`, since clocks differ; beyond that it is `<invalid>`.
    """
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{max(whole, 0)}s"
    if minutes < 10:
        return _two_units(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two_units(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two_units(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def since(time: object, now: float) -> str:
    """How long ago a timestamp was, as kubectl shows it."""
    if not isinstance(time, str):
        return "<unknown>"
    try:
        return age(now - parse_time(time).timestamp())
    except ValueError:
        return "<invalid>"


def _two_units(greater: int, unit: str, lesser: int, lesser_unit: str) -> str:
    return f"{greater}{unit}{lesser}{lesser_unit}" if lesser else f"{greater}{unit}"


def _utc(moment: datetime | float) -> datetime:
    """The moment in UTC, without a zone, so that isoformat writes none."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is no moment")
    return moment.astimezone(UTC).replace(tzinfo=None)


def _parse(text: str, layout: str) -> datetime:
    found = _TIME(text)
    if not found:
        _refuse(text, layout)
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = found.groups()[6:]
    microsecond = int((fraction or "").ljust(6, "0")[:6])
    try:
        zone = UTC
        if sign:
            offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
            zone = timezone(-offset if sign == "-" else offset)
        return datetime(year, month, day, hour, minute, second, microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"parsing time {_quoted(text)}: {_out_of_range(month, hour, minute, second)} out of range") from error


def _out_of_range(month: int, hour: int, minute: int, second: int) -> str:
    if not 1 <= month <= 12:
        return "month"
    for name, value, limit in (("hour", hour, 23), ("minute", minute, 59), ("second", second, 59)):
        if value > limit:
            return name
    return "day"


def _refuse(text: str, layout: str) -> NoReturn:
    start = f"parsing time {_quoted(text)}"
    position = 0
    for element, pattern in _ELEMENTS:
        found = pattern.match(text, position)
        if not found:
            raise ValueError(f"{start} as {_quoted(layout)}: cannot parse {_quoted(text[position:])} as {_quoted(element)}")
        position = found.end()
    raise ValueError(f"{start}: extra text: {_quoted(text[position:])}")


def _quoted(text: str) -> str:
    return shown(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...")
