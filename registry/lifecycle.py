"""When a version of a kind comes and goes: what a declaration says of it, and what can be reckoned from that without a clock.

    plugin = Plugin("uptime", release=Release("1.6", "2026-01-15"))
    plugin.kind(
        Probe, group="uptime.example", version="v1beta1", plural="probes",
        introduced=Release("1.2", "2025-01-15"),
        deprecated=Release("1.6", "2026-01-15"),
        removed=Release("1.9", "2026-10-15"),
        successor="v1",
    )

How stable a version is follows from its name (`registry.names.stability`). What its promises demand is in `registry.promises`.
Releases are counted by their numbers: from 1.2 to 1.5 there are three. Over a new major number only those are counted that
must have been, so a count is never too high.
"""

from __future__ import annotations

import calendar
import datetime
import re
from dataclasses import dataclass
from typing import Any

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}").fullmatch


@dataclass(frozen=True, slots=True)
class Release:
    """A release of a plugin: its number (`1.4`) and its day (`2026-01-15`). One of them may be left out.

    Raises ValueError for a number or a day that is none.
    """

    version: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        if self.version and not _NUMBER(self.version):
            raise ValueError(f"release {self.version!r} is not a number such as '1.4': Release('1.4', '2026-01-15')")
        if self.date and self.day is None:
            raise ValueError(f"{self.date!r} is not a day such as '2026-01-15': Release('1.4', '2026-01-15')")

    @property
    def numbers(self) -> tuple[int, ...]:
        """The number of the release, to be compared. Empty: not known."""
        return tuple(int(part) for part in self.version.split(".")) if self.version else ()

    @property
    def day(self) -> datetime.date | None:
        """The day, to be reckoned with; None: not known."""
        try:
            return datetime.date.fromisoformat(self.date) if len(self.date) == 10 else None
        except ValueError:
            return None

    def __str__(self) -> str:
        return " of ".join(part for part in (self.version, self.date) if part)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What a version says about its life. None: not said. An empty release: it is so, and nobody said since when."""

    introduced: Release | None = None
    deprecated: Release | None = None
    removed: Release | None = None
    successor: str = ""

    @property
    def order(self) -> tuple[tuple[str, Release], ...]:
        """What is known of its life, in the order in which it has to happen."""
        named = (("introduced", self.introduced), ("deprecated", self.deprecated), ("removed", self.removed))
        return tuple((name, release) for name, release in named if release is not None)


UNSAID = Lifecycle()
"""Of a version that says nothing about its life."""


def document(lifecycle: Lifecycle) -> dict[str, Any]:
    """A lifecycle as JSON."""
    said: dict[str, Any] = {name: release_document(release) for name, release in lifecycle.order}
    return {**said, "successor": lifecycle.successor} if lifecycle.successor else said


def release_document(release: Release) -> dict[str, str]:
    """A release as JSON."""
    return {key: value for key, value in (("version", release.version), ("date", release.date)) if value}


def from_document(said: dict[str, Any]) -> Lifecycle:
    """The lifecycle that JSON says. Raises ValueError."""
    releases = {name: release_from(said[name]) for name in ("introduced", "deprecated", "removed") if name in said}
    return Lifecycle(**releases, successor=str(said.get("successor", "")))


def release_from(said: Any) -> Release:
    """The release that JSON says. Raises ValueError."""
    if not isinstance(said, dict) or not all(isinstance(each, str) for each in said.values()):
        raise ValueError(f"{said!r} is not a release; it has a version and a date, both texts")
    return Release(said.get("version", ""), said.get("date", ""))


def warning(this: str, lifecycle: Lifecycle, successor: str) -> str:
    """What clients of a deprecated version are told: since when, until when, and what instead.

    `this` and `successor` are types such as `uptime.example/v1 Probe`; an empty successor: there is none.
    """
    since, until = lifecycle.deprecated, lifecycle.removed
    text = f"{this} is deprecated"
    if since is not None and since.version:
        text += f" in {since.version}+"
    if until is not None and str(until):
        text += f", unavailable in {until.version}+" if until.version else ", unavailable"
        text += f" from {until.date}" if until.date else ""
    return f"{text}; use {successor}" if successor else text


def months_after(start: datetime.date, months: int) -> datetime.date:
    """The same day some months later, or the last one of a month that is shorter."""
    index = start.year * 12 + start.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return datetime.date(year, month, min(start.day, calendar.monthrange(year, month)[1]))


def releases_between(first: Release, last: Release) -> int | None:
    """How many releases it takes at least from one to the other; patches do not count. None: the numbers are not known."""
    start, end = first.numbers, last.numbers
    if not start or not end:
        return None
    start, end = (*start, 0)[:2], (*end, 0)[:2]
    if start[0] == end[0]:
        return end[1] - start[1]
    return (end[0] - start[0] + end[1]) if end > start else (end[0] - start[0])


def before(first: Release, last: Release) -> bool:
    """Whether what is known says that the first came before the last."""
    numbers = bool(first.numbers and last.numbers) and first.numbers < last.numbers
    days = first.day is not None and last.day is not None and first.day < last.day
    return numbers or days
