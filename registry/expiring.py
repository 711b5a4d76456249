"""When objects expire: durations as people write them, the annotation, and what a kind says about itself. Pure.

An object of a custom kind is deleted when its time to live is over: what its annotation `skep.dev/ttl` says, counted from its
creation, or else what its kind reads from its fields. Events are deleted some time after they were last seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from registry.errors import Cause, invalid
from registry.nodes import Document, Node
from registry.times import parse_time

TTL_ANNOTATION = "skep.dev/ttl"
LONGEST = 100 * 366 * 86400.0
"""Seconds that no time to live is longer than: a hundred years."""

CREATED = ".metadata.creationTimestamp"
_PATH = re.compile(r"(?:\.[A-Za-z_][A-Za-z0-9_-]*)+").fullmatch
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:[0-9]{1,10}[smhd])+").fullmatch
_PART = re.compile(r"([0-9]+)([smhd])")
_FIELD = f"metadata.annotations[{TTL_ANNOTATION}]"


@dataclass(frozen=True, slots=True)
class Ttl:
    """Where a kind says how long its objects live: `seconds` is the path of a number, in the stored version (`.spec.ttlSeconds`).

    `since` is the path of the time that it is counted from. As long as either is not there the object does not expire, so
    `since=".status.finishedAt"` lets it live for as long as it is not finished.
    """

    seconds: str
    since: str = CREATED

    def expires(self, document: Document) -> float | None:
        """When, in seconds since 1970; None: never, as far as can be told now."""
        seconds, since = _at(document, self.seconds), _at(document, self.since)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST:
            return None
        begun = _moment(since)
        return None if begun is None else begun + seconds


def parse_duration(text: str) -> float:
    """Seconds: `90s`, `2h`, `1d12h`. Raises ValueError, which says how to write one."""
    if not _DURATION(text):
        raise ValueError("must be a duration: whole numbers with the units s, m, h and d, such as '90s', '2h' or '1d12h'")
    seconds = float(sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    if seconds > LONGEST:
        raise ValueError("must not be longer than 36600d")
    return seconds


def check(new: Document, old: Document | None) -> list[Cause]:
    """What is wrong with the annotation of an object. One that was there before and is the same is let through."""
    text = _annotation(new)
    if text is None or (old is not None and _annotation(old) == text):
        return []
    try:
        parse_duration(text)
    except ValueError as error:
        return [invalid(_FIELD, text, str(error))]
    return []


def of_annotation(text: str, created: str) -> float | None:
    """When an object with this annotation expires. None: never, since it cannot be understood."""
    begun = _moment(created)
    try:
        return None if begun is None else begun + parse_duration(text)
    except ValueError:
        return None


def of_event(document: Document, seconds: float, now: float) -> float:
    """When an Event expires: so long after it was last seen. Times in the future are not believed."""
    series = document.get("series") or {}
    times = [
        document["metadata"].get("creationTimestamp"),
        document.get("firstTimestamp"),
        document.get("lastTimestamp"),
        document.get("eventTime"),
        series.get("lastObservedTime") if isinstance(series, dict) else None,
    ]
    moments = [moment for time in times if (moment := _moment(time)) is not None and moment <= now + _SKEW]
    return max(moments, default=now) + seconds


_SKEW = 300.0
"""Seconds that the clock of whoever reports an Event may be ahead."""


def problem(ttl: Ttl, form: Node) -> str:
    """Why objects of this form cannot expire like this; empty if they can."""
    for path, wanted in ((ttl.seconds, ("integer", "number")), (ttl.since, ("string",))):
        if not _PATH(path):
            return f"ttl path {path!r} is not a path of names alone, as in '.spec.ttlSeconds'"
        if path.startswith(".metadata."):
            if path != CREATED or wanted != ("string",):
                return f"ttl path {path!r} is not one of .spec or .status, nor {CREATED} as a beginning"
            continue
        node: Node | None = form
        for name in path.removeprefix(".").split("."):
            node = None if node is None else node.properties.get(name, node.additional)
        if node is None or node.type not in wanted:
            return f"ttl path {path!r} is not {'a time' if wanted == ('string',) else 'a number'} of the kind"
    return ""


def _annotation(document: Document) -> str | None:
    annotations = document["metadata"].get("annotations")
    return annotations.get(TTL_ANNOTATION) if annotations else None


def _at(document: Any, path: str) -> Any:
    for name in path.removeprefix(".").split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _moment(time: object) -> float | None:
    if not isinstance(time, str):
        return None
    try:
        return parse_time(time).timestamp()
    except ValueError:
        return None
