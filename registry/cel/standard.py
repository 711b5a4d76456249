"""The functions and operators of the standard library of CEL, and of its optional values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from registry.cel import times
from registry.cel.patterns import search
from registry.cel.running import Function
from registry.cel.values import (
    NOTHING,
    Duration,
    EvaluationError,
    Keyless,
    Meter,
    Opaque,
    Optional,
    Timestamp,
    TypeName,
    Uint,
    canonical,
    equal,
    int64,
    is_number,
    map_of,
    no_overload,
    order,
    type_name,
    uint64,
)

Arithmetic = Callable[[Any, Any], Any]
LONGEST_NUMBER = 64
"""Characters that a text of a number may have."""
_INTEGER = re.compile(r"[-+]?[0-9]+")
_DOUBLE = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?(?:[iI]nf(?:inity)?)|[nN]a[nN]")


def _numbers(name: str, on_ints: Callable[[int, int], int], on_doubles: Callable[[float, float], float] | None) -> Function:
    """An operator on two numbers of the same type."""

    def function(meter: Meter, one: Any, other: Any) -> Any:
        del meter
        kind = type(one)
        if kind is type(other):
            if kind is int:
                return int64(on_ints(one, other))
            if kind is Uint:
                return uint64(on_ints(int(one), int(other)))
            if kind is float and on_doubles is not None:
                return on_doubles(one, other)
        return no_overload(name, one, other)

    return function


def _quotient(one: int, other: int) -> int:
    """Rounds towards zero."""
    if other == 0:
        raise EvaluationError("division by zero")
    whole = abs(one) // abs(other)
    return whole if (one < 0) is (other < 0) else -whole


def _remainder(one: int, other: int) -> int:
    """Has the sign of the dividend."""
    if other == 0:
        raise EvaluationError("modulus by zero")
    left = abs(one) % abs(other)
    return -left if one < 0 else left


def _ratio(one: float, other: float) -> float:
    if other == 0:
        if one == 0 or math.isnan(one):
            return math.nan
        return math.copysign(math.inf, one) * math.copysign(1, other)
    return one / other


_plus = _numbers("_+_", lambda one, other: one + other, lambda one, other: one + other)
_minus = _numbers("_-_", lambda one, other: one - other, lambda one, other: one - other)


def _add(meter: Meter, one: Any, other: Any) -> Any:
    kinds = (type(one), type(other))
    if kinds in ((str, str), (bytes, bytes)):
        meter.spend((len(one) + len(other)) // 10)
        return one + other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        meter.spend(len(one) + len(other))
        return one.plus(other, meter) if isinstance(one, Keyless) else [*one, *other]
    if kinds in ((Timestamp, Duration), (Duration, Timestamp)):
        return times.timestamp(one.nanos + other.nanos)
    if kinds == (Duration, Duration):
        return times.duration(one.nanos + other.nanos)
    return _plus(meter, one, other)


def _subtract(meter: Meter, one: Any, other: Any) -> Any:
    kinds = (type(one), type(other))
    if kinds == (Timestamp, Duration):
        return times.timestamp(one.nanos - other.nanos)
    if kinds in ((Timestamp, Timestamp), (Duration, Duration)):
        return times.duration(one.nanos - other.nanos)
    return _minus(meter, one, other)


def _negate(meter: Meter, value: Any) -> Any:
    del meter
    if type(value) is int:
        return int64(-value)
    return -value if type(value) is float else no_overload("-_", value)


def _not(meter: Meter, value: Any) -> bool:
    del meter
    return not value if type(value) is bool else no_overload("!_", value)


def _compare(name: str, holds: Callable[[int], bool]) -> Function:
    def function(meter: Meter, one: Any, other: Any) -> bool:
        found = order(name, one, other, meter)
        return found is not None and holds(found)

    return function


def _equals(meter: Meter, one: Any, other: Any) -> bool:
    return equal(one, other, meter)


def _differs(meter: Meter, one: Any, other: Any) -> bool:
    return not equal(one, other, meter)


def _in(meter: Meter, one: Any, other: Any) -> bool:
    if isinstance(other, Mapping):
        try:
            return one in other
        except TypeError:  # a list or a map is no key
            return False
    if not isinstance(other, list | tuple):
        no_overload("@in", one, other)
    for item in other:
        meter.spend(1)
        if equal(one, item, meter):
            return True
    return False


def _index(meter: Meter, whole: Any, key: Any) -> Any:
    del meter
    if type(whole) is Optional:
        return _at(whole.value, key) if whole.there else NOTHING
    found = _at(whole, key)
    if found.there:
        return found.value
    raise EvaluationError(f"index out of bounds: {key}" if isinstance(whole, list | tuple) else f"no such key: {key}")


def _optional_index(meter: Meter, whole: Any, key: Any) -> Optional:
    del meter
    if type(whole) is Optional:
        return _at(whole.value, key) if whole.there else NOTHING
    return _at(whole, key)


def _at(whole: Any, key: Any) -> Optional:
    if isinstance(whole, Mapping) and not isinstance(key, list | tuple | Mapping):
        try:
            if type(key) is bool and isinstance(whole, dict):
                return NOTHING
            return Optional(whole[key], there=True)
        except (KeyError, TypeError):
            return NOTHING
    if not isinstance(whole, list | tuple) or not is_number(key):
        no_overload("_[_]", whole, key)
    if type(key) is float and not key.is_integer():
        raise EvaluationError(f"unsupported index value: {key}")
    at = int(key)
    return Optional(whole[at], there=True) if 0 <= at < len(whole) else NOTHING


def _size(meter: Meter, value: Any) -> int:
    del meter
    if isinstance(value, str | bytes | list | tuple | Mapping):
        return len(value)
    return no_overload("size", value)


def _type(meter: Meter, value: Any) -> TypeName:
    del meter
    return TypeName(type_name(value))


def _as_int(meter: Meter, value: Any) -> int:
    del meter
    kind = type(value)
    if kind in (int, Uint):
        return int64(int(value))
    if kind is float:
        if math.isnan(value) or not -(2.0**63) < value < 2.0**63:
            raise EvaluationError("integer overflow")
        return int(value)
    if kind is str:
        return int64(_whole(value))
    if kind is Timestamp:
        return int(value.nanos // times.SECOND)
    if kind is Duration:
        return int(value.nanos)
    return no_overload("int", value)


def _as_uint(meter: Meter, value: Any) -> Uint:
    del meter
    kind = type(value)
    if kind in (int, Uint):
        return uint64(int(value))
    if kind is float:
        if math.isnan(value) or not -1 < value < 2.0**64:
            raise EvaluationError("unsigned integer overflow")
        return Uint(int(value)) if value >= 0 else no_overload("uint", value)
    return uint64(_whole(value)) if kind is str else no_overload("uint", value)


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER or not _INTEGER.fullmatch(text):
        raise EvaluationError(f"type conversion error from 'string' to 'int': {text[:LONGEST_NUMBER]!r} is no integer")
    return int(text)


def _as_double(meter: Meter, value: Any) -> float:
    del meter
    if is_number(value):
        return float(value)
    if type(value) is str:
        if len(value) <= LONGEST_NUMBER and _DOUBLE.fullmatch(value):
            return float(value)
        raise EvaluationError(f"type conversion error from 'string' to 'double': {value[:LONGEST_NUMBER]!r} is no number")
    return no_overload("double", value)


def _as_string(meter: Meter, value: Any) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind in (int, Uint):
        return str(int(value))
    if kind is float:
        return shown_double(value)
    if kind is bytes:
        meter.spend(len(value) // 10)
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if kind is Timestamp:
        return times.format_timestamp(value)
    if kind is Duration:
        return times.format_duration(value)
    return str(value) if isinstance(value, Opaque) else no_overload("string", value)


def shown_double(value: float) -> str:
    """A double as Go writes it: the shortest digits, an exponent from 21 digits on."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value.is_integer() and abs(value) < 1e21:
        return "-0" if value == 0 and math.copysign(1, value) < 0 else str(int(value))
    return repr(value)


def _as_bytes(meter: Meter, value: Any) -> bytes:
    if type(value) is bytes:
        return bytes(value)
    if type(value) is not str:
        no_overload("bytes", value)
    meter.spend(len(value) // 10)
    return str(value).encode()


def _as_bool(meter: Meter, value: Any) -> bool:
    del meter
    if type(value) is bool:
        return bool(value)
    if type(value) is str:
        if value in ("true", "True", "TRUE", "t", "1"):
            return True
        if value in ("false", "False", "FALSE", "f", "0"):
            return False
        raise EvaluationError("type conversion error from 'string' to 'bool'")
    return no_overload("bool", value)


def _as_duration(meter: Meter, value: Any) -> Duration:
    del meter
    if type(value) is str:
        return times.parse_duration(value)
    if type(value) is int:
        return times.duration(value)
    return value if type(value) is Duration else no_overload("duration", value)


def _as_timestamp(meter: Meter, value: Any) -> Timestamp:
    del meter
    if type(value) is str:
        return times.parse_timestamp(value)
    if type(value) is int:
        return times.timestamp(value * times.SECOND)
    return value if type(value) is Timestamp else no_overload("timestamp", value)


def _getter(name: str) -> Function:
    def function(meter: Meter, value: Any, *zone: Any) -> int:
        del meter
        if zone and type(zone[0]) is not str:
            no_overload(name, value, *zone)
        found = times.part(name, value, *zone)
        return found if found is not None else no_overload(name, value, *zone)

    return function


def _texts(name: str, test: Callable[[str, str], bool]) -> Function:
    def function(meter: Meter, whole: Any, piece: Any) -> bool:
        if type(whole) is not str or type(piece) is not str:
            no_overload(name, whole, piece)
        meter.spend((len(whole) + len(piece)) // 10)
        return test(whole, piece)

    return function


def _matches(meter: Meter, text: Any, pattern: Any) -> bool:
    if type(text) is not str or type(pattern) is not str:
        no_overload("matches", text, pattern)
    return search(meter, pattern, text) is not None


def _identity(meter: Meter, value: Any) -> Any:
    del meter
    return value


def _optional(name: str, act: Callable[..., Any]) -> Function:
    def function(meter: Meter, value: Any, *others: Any) -> Any:
        del meter
        if type(value) is not Optional:
            no_overload(name, value, *others)
        return act(value, *others)

    return function


def _value(optional: Optional) -> Any:
    if not optional.there:
        raise EvaluationError("optional.none() dereference")
    return optional.value


def _of_non_zero(meter: Meter, value: Any) -> Optional:
    del meter
    empty = value is None or value is False or (is_number(value) and value == 0)
    empty = empty or (isinstance(value, str | bytes | list | tuple | Mapping) and not value)
    return NOTHING if empty else Optional(value, there=True)


def _some(meter: Meter, value: Any) -> Optional:
    del meter
    return Optional(value, there=True)


def _none(meter: Meter) -> Optional:
    del meter
    return NOTHING


def _merged(meter: Meter, maps: Any) -> Mapping[Any, Any]:
    """One map of all entries. A key that is there twice is an error."""
    if not isinstance(maps, list | tuple) or not all(isinstance(each, Mapping) for each in maps):
        no_overload("transformMapEntry", maps)
    pairs = [pair for each in maps for pair in each.items()]
    meter.spend(len(pairs))
    seen = set()
    for key, _ in pairs:
        known = canonical(key)
        if known in seen:
            raise EvaluationError(f"insert failed: key {key} already exists")
        seen.add(known)
    return map_of(pairs)


STANDARD: Mapping[str, Function] = {
    "_+_": _add,
    "_-_": _subtract,
    "_*_": _numbers("_*_", lambda one, other: one * other, lambda one, other: one * other),
    "_/_": _numbers("_/_", _quotient, _ratio),
    "_%_": _numbers("_%_", _remainder, None),
    "-_": _negate,
    "!_": _not,
    "_==_": _equals,
    "_!=_": _differs,
    "_<_": _compare("_<_", lambda found: found < 0),
    "_<=_": _compare("_<=_", lambda found: found <= 0),
    "_>_": _compare("_>_", lambda found: found > 0),
    "_>=_": _compare("_>=_", lambda found: found >= 0),
    "@in": _in,
    "_[_]": _index,
    "_[?_]": _optional_index,
    "size": _size,
    "@merged": _merged,
    "type": _type,
    "dyn": _identity,
    "int": _as_int,
    "uint": _as_uint,
    "double": _as_double,
    "string": _as_string,
    "bytes": _as_bytes,
    "bool": _as_bool,
    "duration": _as_duration,
    "timestamp": _as_timestamp,
    "contains": _texts("contains", lambda whole, piece: piece in whole),
    "startsWith": _texts("startsWith", lambda whole, piece: whole.startswith(piece)),
    "endsWith": _texts("endsWith", lambda whole, piece: whole.endswith(piece)),
    "matches": _matches,
    **{name: _getter(name) for name in times.GETTERS | {"getMilliseconds"}},
    "optional.of": _some,
    "optional.none": _none,
    "optional.ofNonZeroValue": _of_non_zero,
    "hasValue": _optional("hasValue", lambda optional: optional.there),
    "value": _optional("value", _value),
    "or": _optional("or", lambda optional, other: optional if optional.there else other),
    "orValue": _optional("orValue", lambda optional, other: optional.value if optional.there else other),
}
"""By the names that the checker knows them by."""
