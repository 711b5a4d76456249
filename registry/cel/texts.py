"""Functions on texts and lists beyond the standard ones: the `strings` extension, sets, lists and regular expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from registry.cel.patterns import compiled
from registry.cel.running import Function
from registry.cel.standard import STANDARD, shown_double
from registry.cel.values import (
    Duration,
    EvaluationError,
    Meter,
    Opaque,
    Timestamp,
    TypeName,
    equal,
    is_number,
    no_overload,
    order,
    type_name,
)

_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_ASCII_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


def on_text(name: str, act: Callable[..., Any]) -> Function:
    """A function of a text, and of texts and integers. `act` gets the meter too, and pays for what it makes."""

    def function(meter: Meter, text: Any, *others: Any) -> Any:
        if type(text) is not str or any(type(other) not in (str, int) for other in others):
            no_overload(name, text, *others)
        meter.spend(len(text) // 10)
        return act(meter, text, *others)

    return function


def _char_at(meter: Meter, text: str, at: int) -> str:
    del meter
    if not 0 <= at <= len(text):
        raise EvaluationError(f"index out of range: {at}")
    return text[at : at + 1]


def _index_of(meter: Meter, text: Any, piece: Any, start: int = 0) -> int:
    if isinstance(text, list | tuple):
        return next((at for at, item in enumerate(text) if _same(meter, item, piece)), -1)
    if type(text) is not str or type(piece) is not str or type(start) is not int:
        no_overload("indexOf", text, piece)
    if start and not 0 <= start < len(text):
        raise EvaluationError(f"index out of range: {start}")
    meter.spend((len(text) + len(piece)) // 10)
    return text.find(piece, start)


def _last_index_of(meter: Meter, text: Any, piece: Any, start: int | None = None) -> int:
    if isinstance(text, list | tuple):
        return next((at for at in range(len(text) - 1, -1, -1) if _same(meter, text[at], piece)), -1)
    if type(text) is not str or type(piece) is not str:
        no_overload("lastIndexOf", text, piece)
    meter.spend((len(text) + len(piece)) // 10)
    if start is None:
        return text.rfind(piece)
    if type(start) is not int or not 0 <= start < len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.rfind(piece, 0, start + len(piece))


def _same(meter: Meter, one: Any, other: Any) -> bool:
    meter.spend(1)
    return equal(one, other, meter)


def _substring(meter: Meter, text: str, start: int, end: int | None = None) -> str:
    del meter
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise EvaluationError(f"invalid substring range. start: {start}, end: {stop}")
    return text[start:stop]


def _replace(meter: Meter, text: str, old: str, new: str, most: int = -1) -> str:
    count = min(text.count(old), most) if most >= 0 else text.count(old)
    meter.spend((len(text) + max(0, count * (len(new) - len(old)))) // 10)
    return text.replace(old, new, most)


def _split(meter: Meter, text: str, separator: str, most: int = -1) -> list[str]:
    if most == 0:
        return []
    if most == 1:
        return [text]
    pieces = list(text) if not separator else text.split(separator, most - 1 if most > 0 else -1)
    if not separator and 0 < most < len(pieces):
        pieces = [*pieces[: most - 1], "".join(pieces[most - 1 :])]
    meter.spend(len(pieces))
    return pieces


def _join(meter: Meter, items: Any, separator: Any = "") -> str:
    if not isinstance(items, list | tuple) or type(separator) is not str or any(type(item) is not str for item in items):
        no_overload("join", items, separator)
    meter.spend(len(items) + (sum(map(len, items)) + len(separator) * len(items)) // 10)
    return separator.join(items)


def _quote(meter: Meter, text: Any) -> str:
    if type(text) is not str:
        no_overload("strings.quote", text)
    meter.spend(len(text) // 10)
    escapes: dict[str, str | int | None] = {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        "\\": "\\\\",
        '"': '\\"',
    }
    return f'"{text.translate(str.maketrans(escapes))}"'


def _format(meter: Meter, text: Any, arguments: Any) -> str:
    """`%s %d %f %e %x %X %o %b %%`, as far as their arguments are of the types that they take."""
    if type(text) is not str or not isinstance(arguments, list | tuple):
        no_overload("format", text, arguments)
    made, at, used = [], 0, 0
    while (mark := text.find("%", at)) >= 0:
        made.append(text[at:mark])
        end = mark + 1
        while end < len(text) and text[end] in ".0123456789" and end - mark < 8:
            end += 1
        clause, precision, at = text[end : end + 1], text[mark + 1 : end], end + 1
        if clause == "%" and not precision:
            made.append("%")
            continue
        if used >= len(arguments):
            raise EvaluationError(f"index {used} out of range")
        made.append(_formatted(meter, clause, precision, arguments[used]))
        used += 1
    made.append(text[at:])
    result = "".join(made)
    meter.spend(1 + len(result) // 10)
    return result


def _formatted(meter: Meter, clause: str, precision: str, value: Any) -> str:
    whole = type(value) is not bool and isinstance(value, int)
    digits = precision.removeprefix(".")
    if (precision and not precision.startswith(".")) or (digits and int(digits) > 100):
        raise EvaluationError(f"could not parse formatting clause: unrecognized precision {precision!r}")
    match clause:
        case "s":
            return shown(meter, value)
        case "d" if whole:
            return str(int(value))
        case "f" | "e" if is_number(value):
            return f"{float(value):.{digits or 6}{clause}}"
        case "b" if type(value) is bool:
            return "1" if value else "0"
        case "b" | "o" | "x" | "X" if whole:
            return format(int(value), clause)
        case "x" | "X" if type(value) in (str, bytes):
            raw = value.encode() if type(value) is str else value
            meter.spend(len(raw) // 5)
            return raw.hex() if clause == "x" else raw.hex().upper()
    raise EvaluationError(f"could not parse formatting clause: %{clause} does not take {type_name(value)}")


def shown(meter: Meter, value: Any) -> str:
    """A value as `%s` shows it."""
    meter.spend(1)
    if isinstance(value, str | Timestamp | Duration | Opaque):
        return str(STANDARD["string"](meter, value))
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if is_number(value):
        return shown_double(value) if type(value) is float else str(int(value))
    if type(value) is bytes:
        meter.spend(len(value) // 10)
        return str(value, "utf-8", "replace")
    if type(value) is TypeName:
        return value.name
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(meter, item) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = sorted((shown(meter, key), shown(meter, item)) for key, item in value.items())
        return f"{{{', '.join(f'{key}: {item}' for key, item in pairs)}}}"
    return no_overload("format", value)


def _find(meter: Meter, text: str, pattern: str) -> str:
    meter.spend(len(text) * (1 + len(pattern) // 10) // 10)
    found = compiled(meter, pattern).search(text)
    return str(found.group(0)) if found is not None else ""


def _find_all(meter: Meter, text: str, pattern: str, most: int = -1) -> list[str]:
    """Each match may look at all of the text that is left."""
    wanted, made, at = compiled(meter, pattern), list[str](), 0
    while at <= len(text) and (most < 0 or len(made) < most):
        meter.spend(1 + (len(text) - at) * (1 + len(pattern) // 10) // 10)
        found = wanted.search(text, at)
        if found is None:
            break
        made.append(str(found.group(0)))
        at = found.end() if found.end() > found.start() else found.end() + 1
    return made


# Lists


def on_list(name: str, act: Callable[..., Any]) -> Function:
    """A function of a list. Every item costs a step."""

    def function(meter: Meter, items: Any, *others: Any) -> Any:
        if not isinstance(items, list | tuple):
            no_overload(name, items, *others)
        meter.spend(len(items))
        return act(meter, items, *others)

    return function


def _is_sorted(meter: Meter, items: list[Any]) -> bool:
    return all((order("isSorted", one, other, meter) or 0) <= 0 for one, other in pairwise(items))


def _sum(meter: Meter, items: list[Any]) -> Any:
    total: Any = items[0] if items else 0
    for item in items[1:]:
        total = STANDARD["_+_"](meter, total, item)
    if not (is_number(total) or type(total) is Duration):
        no_overload("sum", items)
    return total


def _extreme(name: str, sign: int) -> Function:
    def function(meter: Meter, items: list[Any]) -> Any:
        if not items:
            raise EvaluationError(f"{name} called on empty list")
        best = items[0]
        for item in items[1:]:
            best = item if (order(name, item, best, meter) or 0) * sign > 0 else best
        return best

    return function


def _contains_all(meter: Meter, whole: Any, part: Any) -> bool:
    if not isinstance(whole, list | tuple) or not isinstance(part, list | tuple):
        no_overload("sets.contains", whole, part)
    return all(STANDARD["@in"](meter, item, whole) for item in part)


def _equivalent(meter: Meter, one: Any, other: Any) -> bool:
    return _contains_all(meter, one, other) and _contains_all(meter, other, one)


def _intersects(meter: Meter, one: Any, other: Any) -> bool:
    if not isinstance(one, list | tuple) or not isinstance(other, list | tuple):
        no_overload("sets.intersects", one, other)
    return any(STANDARD["@in"](meter, item, other) for item in one)


TEXTS: Mapping[str, Function] = {
    "charAt": on_text("charAt", _char_at),
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "lowerAscii": on_text("lowerAscii", lambda _, text: text.translate(_ASCII_LOWER)),
    "upperAscii": on_text("upperAscii", lambda _, text: text.translate(_ASCII_UPPER)),
    "trim": on_text("trim", lambda _, text: text.strip(_WHITE)),
    "reverse": on_text("reverse", lambda _, text: text[::-1]),
    "substring": on_text("substring", _substring),
    "replace": on_text("replace", _replace),
    "split": on_text("split", _split),
    "join": _join,
    "strings.quote": _quote,
    "format": _format,
    "find": on_text("find", _find),
    "findAll": on_text("findAll", _find_all),
    "isSorted": on_list("isSorted", _is_sorted),
    "sum": on_list("sum", _sum),
    "min": on_list("min", _extreme("min", -1)),
    "max": on_list("max", _extreme("max", 1)),
    "sets.contains": _contains_all,
    "sets.equivalent": _equivalent,
    "sets.intersects": _intersects,
}
"""By the names that `registry.cel.declared` declares."""
