"""What rules in a schema see: the types of values by their schemas, and values as values of these types.

Names of properties that are no names in an expression are escaped: `a-b` is `a__dash__b`, `namespace` is `__namespace__`. Texts
with the formats `date-time` and `date` are timestamps, `duration` is a duration, `byte` is bytes; all numbers of type `number` are
doubles; lists of type `set` and `map` do not depend on the order of their items. A property without a type cannot be seen.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from registry.cel import times
from registry.cel.types import BOOL, BYTES, DOUBLE, DURATION, INT, STRING, TIMESTAMP, Type, optional_of
from registry.cel.values import Duration, EvaluationError, Keyless, Timestamp
from registry.nodes import Document

RULES = "x-kubernetes-validations"
LONGEST_NAME = 200
MOST_BYTES = 3 * 1024 * 1024
"""What a request may have: without a limit of its own, a list, map or text is as large as that allows."""
_WORDS = "as break const continue else false for function if import in let loop namespace null package return true var void while"
RESERVED = frozenset(_WORDS.split())
_ESCAPABLE = re.compile(r"[A-Za-z_.\-/][A-Za-z0-9_.\-/]*")
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_LENGTHS = {"date-time": 29, "date": 12, "duration": 32}
_LEAST = {"date-time": 21, "date": 12, "duration": 4}
_META: Document = {
    "kind": {"type": "string"},
    "apiVersion": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}
"""What rules see of every object, whatever its schema says."""

Reader = Callable[[Any], Any]
"""Makes of a value one of the type that rules see."""


class Rule(msgspec.Struct, frozen=True):
    """One rule as it is written."""

    rule: str = ""
    message: str = ""
    expression: str = ""
    reason: str = ""
    path: str = ""
    optional: bool = False

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Rule:
        """From a schema."""
        keys = ("rule", "message", "messageExpression", "reason", "fieldPath")
        rule, message, expression, reason, path = (written.get(key) or "" for key in keys)
        return cls(rule, message, expression, reason, path, bool(written.get("optionalOldSelf")))

    def variables(self, kind: Type) -> dict[str, Type]:
        """What it sees, where values are of a type."""
        return {"self": kind, "oldSelf": optional_of(kind) if self.optional else kind}

    @property
    def told(self) -> str:
        """What messages call it by."""
        return self.message.strip() or self.rule.strip()


def escaped(name: str) -> str | None:
    """A property as expressions call it; None: there is no way to."""
    if name in RESERVED:
        return f"__{name}__"
    if not _ESCAPABLE.fullmatch(name):
        return None
    return re.sub(r"__|[.\-/]", lambda found: dict(_ESCAPES)[found[0]], name)


def properties(schema: Document, *, root: bool = False) -> Document:
    """The properties that rules can see: at the root, and in embedded objects, those of every object too."""
    known: Document = schema.get("properties") or {}
    return {**known, **_META} if root or schema.get("x-kubernetes-embedded-resource") else known


def entries(schema: Document) -> Document | None:
    """The schema of the values of a map; None: it is none."""
    found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else None


def type_of(schema: Document, name: str = "self", *, root: bool = False) -> Type | None:
    """The type of a value; None: it has none that rules could go by. `name` is that of the type, if it is an object."""
    if schema.get("x-kubernetes-int-or-string"):
        return Type("dyn", size=MOST_BYTES - 2)
    match schema.get("type"):
        case "array":
            item = type_of(schema["items"], _named(name, "@idx")) if isinstance(schema.get("items"), dict) else None
            most = _limit(schema, "maxItems", (MOST_BYTES - 2) // ((item.least if item else 0) + 1))
            return Type("list", (item,), size=most, least=2) if item is not None else None
        case "object":
            return _object_type(schema, name, root=root)
        case "string":
            return _text_type(schema)
        case "boolean":
            return Type(BOOL.name, least=4)
        case "integer":
            return INT
        case "number":
            return DOUBLE
    return None


def _named(whole: str, key: str) -> str:
    """The name of a type within another one. Names do not grow with the depth of the schema: there is one for each object in it."""
    name = f"{whole}.{key}"
    return name if len(name) <= LONGEST_NAME else f"object-{sha256(name.encode(errors='replace')).hexdigest()[:32]}"


def _object_type(schema: Document, name: str, *, root: bool) -> Type | None:
    of = entries(schema)
    if of is not None and not root:
        value = type_of(of, _named(name, "@elem"))  # keys have no size: only their number counts
        if value is None:
            return None
        return Type("map", (STRING, value), size=_limit(schema, "maxProperties", (MOST_BYTES - 2) // (value.least + 6)), least=2)
    fields, least, required = {}, 2, set(schema.get("required") or ())
    for key, inner in properties(schema, root=root).items():
        kind = type_of(inner, _named(name, key))
        called = escaped(key)
        if kind is None or called is None:
            continue
        fields[called] = kind
        if key in required and "default" not in inner:
            least += len(key.encode(errors="replace")) + kind.least + 4
    return Type(name, fields=fields, least=least)


def _text_type(schema: Document) -> Type:
    kind, format_ = STRING, schema.get("format") or ""
    size, limit = _LENGTHS.get(format_, MOST_BYTES - 2), schema.get("maxLength")
    match format_:
        case "date-time" | "date":
            return Type(TIMESTAMP.name, size=size, least=_LEAST[format_])
        case "duration":
            return Type(DURATION.name, size=size, least=_LEAST[format_])
        case "byte":
            return Type(BYTES.name, size=_limit(schema, "maxLength", size), least=2)
    if limit is not None:
        size = max(0, int(limit)) * 4  # it counts characters, and they may take four bytes each
    elif schema.get("enum"):
        size = max((len(each.encode(errors="replace")) for each in schema["enum"] if isinstance(each, str)), default=size)
    return Type(kind.name, size=size, least=2)


def _limit(schema: Document, keyword: str, otherwise: int) -> int:
    limit = schema.get(keyword)
    return otherwise if limit is None else max(0, int(limit))


def type_below(whole: Type | None, kind: str, key: str) -> Type | None:
    """The type of what is below, from that of the whole: of a property (`field`), or of what is in a list or map."""
    if whole is None:
        return None
    if kind != "field":
        return whole.of[-1] if whole.of else None
    called = escaped(key)
    return whole.fields.get(called) if whole.fields is not None and called is not None else None


def reader_of(schema: Document, *, root: bool = False) -> Reader | None:
    """Makes values what rules see; None: they are that already."""
    if schema.get("x-kubernetes-int-or-string"):
        return None
    match schema.get("type"):
        case "array":
            return _list_reader(schema)
        case "object":
            of = entries(schema)
            return _map_reader(of) if of is not None and not root else _object_reader(schema, root=root)
        case "string":
            return _TEXTS.get(schema.get("format") or "")
        case "number":
            return _double
    return None


def _list_reader(schema: Document) -> Reader | None:
    items, kind = schema.get("items"), schema.get("x-kubernetes-list-type")
    inner = reader_of(items) if isinstance(items, dict) else None
    if inner is None and kind not in ("set", "map"):
        return None
    keys = tuple(filter(None, map(escaped, schema.get("x-kubernetes-list-map-keys") or ())))

    def key_of(item: Any) -> Any:
        return [item.get(key) for key in keys] if isinstance(item, dict) else item

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        made = value if inner is None else [inner(item) for item in value]
        return made if kind not in ("set", "map") else Keyless(made, key_of if kind == "map" else None)

    return read


def _map_reader(of: Document) -> Reader | None:
    inner = reader_of(of)
    if inner is None:
        return None
    return lambda value: {key: inner(item) for key, item in value.items()} if isinstance(value, dict) else value


def _object_reader(schema: Document, *, root: bool) -> Reader | None:
    known = properties(schema, root=root)
    readers = {key: reader for key, inner in known.items() if (reader := reader_of(inner)) is not None}
    names = {key: called for key in known if (called := escaped(key)) is not None and called != key}
    if not readers and not names:
        return None

    hidden = set(names.values())  # fields that the schema does not know, and that would be taken for others

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if hidden:
            value = {key: item for key, item in value.items() if key in known or key not in hidden}
        return {names.get(key, key): readers[key](item) if key in readers else item for key, item in value.items()}

    return read


def _double(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _text_reader(make: Callable[[str], Any]) -> Reader:
    """What is no such text stays one: the schema says that it is wrong."""

    def read(value: Any) -> Any:
        if type(value) is not str:
            return value
        try:
            return make(value)
        except (EvaluationError, ValueError):
            return value

    return read


def _day(text: str) -> Timestamp:
    return times.parse_timestamp(f"{text}T00:00:00Z")


def _duration(text: str) -> Duration:
    return times.parse_duration(text)


_TEXTS = {
    "date-time": _text_reader(lambda text: times.parse_timestamp(text.upper())),
    "date": _text_reader(_day),
    "duration": _text_reader(_duration),
    "byte": _text_reader(binascii.a2b_base64),
}


def children(schema: Document, *, root: bool = False) -> Iterator[tuple[str, str, Document]]:
    """What is below a schema, in the order in which a server looks at it: what it is (`map`, `field`, `list`), the name of the
    property, and its schema."""
    of = entries(schema)
    if of is not None:
        yield "map", "", of
    for key, inner in (schema.get("properties") or {}).items():
        if isinstance(inner, dict) and not (root and key == "metadata"):
            yield "field", key, inner
    if isinstance(schema.get("items"), dict):
        yield "list", "", schema["items"]
