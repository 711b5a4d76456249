"""Formats of texts (JSON Schema's `format`): which texts have them. A format that is not known here holds for every text.

The formats are those that a Kubernetes API server enforces for custom kinds.
"""

from __future__ import annotations

import binascii
import functools
import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import urlsplit

from registry.formats_rare import LONG_DURATION, RARE
from registry.names import dns1123_label, dns1123_subdomain

Check = Callable[[str], bool]

PATTERN_MEMORY = 1 << 20
"""Bytes that a pattern may take that somebody sends: one that needs more is refused."""

# Escapes and classes are passed over whole, so that a $ within them is let alone.
_PATTERN_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", re.DOTALL)
_AS_PYTHON = {"$": r"\Z", r"\z": r"\Z"}

# A time in its usual form, on a day that every month has: what this matches needs no calendar.
_PLAIN_TIME = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_PLAIN = re.compile(rf"(?!0000){_PLAIN_TIME}(?:\.\d{{1,9}})?Z", re.ASCII).fullmatch
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII).fullmatch
_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.ASCII | re.IGNORECASE).fullmatch
_HOSTNAME_LABEL = re.compile(r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE).fullmatch
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}").fullmatch
_DURATION = re.compile(r"[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)", re.ASCII).fullmatch
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_MAC = re.compile(r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.ASCII | re.IGNORECASE).fullmatch


@functools.lru_cache(maxsize=1024)
def searcher(pattern: str) -> Callable[[str], object]:
    """Searches for a pattern in the dialect of Go (RE2): `$` is the end of the text and nothing else, and classes are ASCII.

    Raises ValueError for a pattern that is none.
    """
    translated = _PATTERN_PARTS.sub(lambda part: _AS_PYTHON.get(part[0], part[0]), pattern)
    try:
        return re.compile(translated, re.ASCII).search
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} cannot be read: {error}") from error


@functools.lru_cache(maxsize=1024)
def linear_searcher(pattern: str) -> Callable[[str], object]:
    """The same by RE2 itself: its time is linear in the text, whatever the pattern. Raises ValueError for a pattern that is none.

    A set of one pattern is the quick way to ask RE2. It may give up where the automaton is large, so a no is asked again.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY
    try:
        search = re2.compile(pattern, options).search
        one = re2.Set.SearchSet(options)
        one.Add(pattern)
        one.Compile()
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"the pattern {pattern!r} cannot be read: {said}") from error
    match = one.Match
    return lambda text: match(text) or search(text)


def search_of(pattern: str, *, linear: bool) -> Callable[[str], object]:
    """What looks for the pattern of a node. Raises ValueError for a pattern that is none."""
    return linear_searcher(pattern) if linear else searcher(pattern)


def is_date_time(text: str) -> bool:
    """RFC 3339, with a date that exists."""
    if _PLAIN(text):
        return True
    if not _DATE_TIME(text):
        return False
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


NORMAL_TIMES = {
    "date-time": re.compile(f"(?!0000){_PLAIN_TIME}Z", re.ASCII).fullmatch,
    "micro-time": re.compile(rf"(?!0000){_PLAIN_TIME}\.\d{{6}}Z", re.ASCII).fullmatch,
}
"""Format of a time -> recognizes texts that are in its one form already (not all of them: not on the last days of a month).
Constant.
"""


def is_date(text: str) -> bool:
    """`2026-01-02`, a day that exists."""
    if len(text) != 10:
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_base64(text: str) -> bool:
    """RFC 4648 with padding; line ends are passed over."""
    try:
        binascii.a2b_base64(text.replace("\n", "").replace("\r", ""), strict_mode=True)
    except ValueError:
        return False
    return True


def base64_fault(text: str) -> int:
    """Where, in bytes, a text that is not base64 ceases to be."""
    count = 0
    group = 0  # where the four characters begin that are being read
    for position, character in enumerate(text):
        if character in "\r\n":
            continue
        if character not in _ALPHABET:
            return position
        if count % 4 == 0:
            group = position
        count += 1
    return group


def _is_hostname(text: str) -> bool:
    return len(text) <= 253 and all(map(_HOSTNAME_LABEL, text.removesuffix(".").split(".")))


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme or text.startswith("/")) and not re.search(r"\s", text)


def _is_duration(text: str) -> bool:
    return bool(_DURATION(text) or linear_searcher(LONG_DURATION)(text))


def _readable(parse: Callable[[str], object]) -> Check:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


FORMATS: dict[str, Check] = {
    "date-time": is_date_time,
    "micro-time": is_date_time,
    "date": is_date,
    "byte": is_base64,
    "uuid": lambda text: bool(_UUID(text)),
    "email": lambda text: bool(_EMAIL(text)),
    "hostname": _is_hostname,
    "ipv4": _readable(ipaddress.IPv4Address),
    "ipv6": _readable(ipaddress.IPv6Address),
    "ip": _readable(ipaddress.ip_address),
    "cidr": _readable(lambda text: ipaddress.ip_network(text, strict=False)),
    "mac": lambda text: bool(_MAC(text)),
    "uri": _is_uri,
    "duration": _is_duration,
    "datetime": is_date_time,
    "k8s-short-name": lambda text: not dns1123_label(text),
    "k8s-long-name": lambda text: not dns1123_subdomain(text),
    **RARE,
}
"""Format -> whether a text has it. Constant."""
