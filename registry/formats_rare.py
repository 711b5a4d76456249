"""Formats of texts that few schemas name, and that a Kubernetes API server enforces all the same (see `registry.formats`)."""

from __future__ import annotations

import re
from collections.abc import Callable

_HEX = r"[0-9a-f]"
_GREATER_UUID = rf"{_HEX}{{8}}-?{_HEX}{{4}}-?%d{_HEX}{{3}}-?[89ab]{_HEX}{{3}}-?{_HEX}{{12}}"
_BYTE = r"\s*(?:0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*"
_CARD = re.compile(
    r"4\d{12}(?:\d{3})?|5[1-5]\d{14}|6(?:011|5\d\d)\d{12}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|(?:2131|1800|35\d{3})\d{11}",
    re.ASCII,
).fullmatch

LONG_DURATION = (
    r"(?i)\d+\s*(?:ns|nano[a-zµ]*|us|µs|micro[a-zµ]*|ms|milli[a-zµ]*|s|sec[a-zµ]*|m|min[a-zµ]*|h|hr|hour[a-zµ]*|d|day[a-zµ]*|w|wk|week[a-zµ]*)"
    r"(?:[^a-zµ]|$)"
)
"""A duration with its unit in words (`3 days`), anywhere in a text: for RE2. Constant."""


def _like(pattern: str) -> Callable[[str], bool]:
    matches = re.compile(pattern, re.ASCII | re.IGNORECASE).fullmatch
    return lambda text: bool(matches(text))


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text, flags=re.ASCII)
    if not _CARD(digits):
        return False
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _is_isbn10(text: str) -> bool:
    digits = re.sub(r"[\s-]+", "", text)
    if not re.fullmatch(r"\d{9}[\dX]", digits, re.ASCII):
        return False
    return sum((index + 1) * (10 if digit == "X" else int(digit)) for index, digit in enumerate(digits)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = re.sub(r"[\s-]+", "", text)
    if not re.fullmatch(r"\d{13}", digits, re.ASCII):
        return False
    return sum(int(digit) * (1 + 2 * (index % 2)) for index, digit in enumerate(digits)) % 10 == 0


RARE: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _like(rf"{_HEX}{{24}}"),
    "uuid3": _like(rf"{_HEX}{{8}}-?{_HEX}{{4}}-?3{_HEX}{{3}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid4": _like(_GREATER_UUID % 4),
    "uuid5": _like(_GREATER_UUID % 5),
    "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "creditcard": _is_card,
    "ssn": _like(r"\d{3}[- ]\d{2}[- ]\d{4}"),
    "hexcolor": _like(rf"#?(?:{_HEX}{{3}}|{_HEX}{{6}})"),
    "rgbcolor": lambda text: bool(re.fullmatch(rf"rgb\({_BYTE},{_BYTE},{_BYTE}\)", text, re.ASCII)),
    "quantity": lambda text: bool(
        re.fullmatch(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?", text, re.ASCII)
    ),
}
"""Format -> whether a text has it. Constant."""
