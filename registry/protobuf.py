"""Bodies in protobuf, as client-go and kubectl (from 1.32 on) send them for built-in kinds: read, never written.

A body is four magic bytes and a message `Unknown`: what the object is, and its own message in bytes. What it comes to is the
document that the same client would have sent in JSON:

* A value that is zero is absent, unless the field is a pointer in Go. A time that is an empty message is absent.
* Bytes are base64, a time is RFC 3339 (whole seconds, or six digits of them), a quantity is its text.
* Fields that the table does not have are passed over, as every reader of protobuf does. A field of another wire type than the
  table's is a fault.

Whatever the bytes are, the only exception is `Malformed`. The work is linear in their number, and the depth is that of the table
(`registry.messages`). The runtime is imported, and its messages are made, when the first such body comes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from registry.documents import Malformed, parse_json
from registry.messages import KINDS, MESSAGES
from registry.nodes import Document
from registry.times import format_micro, format_time

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAGIC = b"k8s\x00"
PACKAGE = "skep"
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""Seconds since 1970 of the first and the last second that RFC 3339 can write."""


class Envelope(NamedTuple):
    """What a body says that it is, and the bytes of its message."""

    api_version: str
    kind: str
    raw: bytes


def open_envelope(raw: bytes) -> Envelope:
    """What is in a body. Raises Malformed, in the words of a Go server."""
    if not raw.startswith(MAGIC):
        prefix = f"[{' '.join(str(byte) for byte in MAGIC)}]"
        said = f"provided data does not appear to be a protobuf message, expected prefix {prefix}" if raw else "empty data"
        raise Malformed(said, stage="")
    if len(raw) == len(MAGIC):
        raise Malformed("empty body", stage="")
    said = _runtime().readers["Unknown"](_parsed("Unknown", raw[len(MAGIC) :]))
    type_ = said.get("typeMeta", {})
    return Envelope(type_.get("apiVersion", ""), type_.get("kind", ""), said.get("raw", b""))


def knows(api_version: str, kind: str) -> bool:
    """Whether bodies of a kind can be read."""
    return (api_version, kind) in KINDS


def read_message(api_version: str, kind: str, raw: bytes) -> Document:
    """The document of a message, without its apiVersion and kind. KeyError: not a kind that is known. Raises Malformed."""
    name = KINDS[api_version, kind]
    document: Document = _runtime().readers[name](_parsed(name, raw))
    return document


# The messages, made of the table.


class Field(NamedTuple):
    """A field as the table says it. `form` is "" (a value), "?" (a pointer), "[]", "{}" or "..." (fields of the outer message)."""

    number: int
    name: str
    type: str
    form: str


@lru_cache(maxsize=256)
def fields_of(message: str) -> tuple[Field, ...]:
    """The fields of a message of the table."""
    return tuple(_field(*said.split()) for said in MESSAGES[message].split(", "))


def _field(number: str, name: str, said: str = "string") -> Field:
    for begin, end in (("[", "]"), ("{", "}"), ("", "..."), ("", "?")):
        if said.startswith(begin) and said.endswith(end):
            return Field(int(number), name, said[len(begin) : -len(end)] or "string", begin + end)
    return Field(int(number), name, said, "")


Read = Callable[[Any], Any]
"""Makes the JSON of a value. None: the field is absent."""


class Runtime(NamedTuple):
    """What has been made of the table: a class for each message, and what turns its values into documents."""

    classes: Mapping[str, type[Message]]
    readers: Mapping[str, Read]


SCALARS = {"string": 12, "bytes": 12, "raw": 12, "int": 3, "bool": 8}
"""Types of FieldDescriptorProto: bytes, int64, bool. Texts are read as bytes, so that UTF-8 is checked here."""
MESSAGE_TYPE, OPTIONAL, REPEATED = 11, 1, 3
TIMES = frozenset(("Time", "MicroTime"))


@lru_cache(maxsize=1)
def _runtime() -> Runtime:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="skep.proto", package=PACKAGE, syntax="proto2")
    maps: dict[str, str] = {}
    for name in MESSAGES:
        message = file.message_type.add(name=name)
        for field in fields_of(name):
            type_ = field.type
            if field.form == "{}":
                type_ = maps.setdefault(type_, f"MapOf{type_.capitalize()}")
            label = REPEATED if field.form in ("[]", "{}") else OPTIONAL
            message.field.add(name=field.name, number=field.number, label=label, **_wire_type(type_))
    for value, name in maps.items():
        message = file.message_type.add(name=name)
        message.field.add(name="key", number=1, label=OPTIONAL, **_wire_type("string"))
        message.field.add(name="value", number=2, label=OPTIONAL, **_wire_type(value))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    names = [*MESSAGES, *maps.values()]
    classes = {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in names}
    return Runtime(classes, _readers())


def _wire_type(type_: str) -> dict[str, Any]:
    if type_ in SCALARS:
        return {"type": SCALARS[type_]}
    return {"type": MESSAGE_TYPE, "type_name": f".{PACKAGE}.{'Timestamp' if type_ in TIMES else type_}"}


def _parsed(name: str, raw: bytes) -> Any:
    """The message in `raw`. Raises Malformed."""
    from google.protobuf.message import DecodeError

    try:
        return _runtime().classes[name].FromString(raw)
    except DecodeError:
        raise Malformed(_fault(raw), stage="") from None


# From messages to documents.


def _readers() -> dict[str, Read]:
    """What reads each message. One that contains others uses theirs, which are therefore made first."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    readers: dict[str, Read] = {
        "string": _text,
        "bytes": lambda value: b64encode(value).decode(),
        "raw": bytes,
        "int": int,
        "bool": bool,
        "Time": _time,
        "MicroTime": _micro_time,
        "FieldsV1": lambda message: parse_json(message.raw).document if message.raw else None,
        "Quantity": lambda message: _text(message.string),
        "Strings": lambda message: [_text(item) for item in message.items],
    }

    def reader(name: str) -> Read:
        if name not in readers:
            readers[name] = _checked(name, _document(fields_of(name), reader), UnknownFieldSet)
        return readers[name]

    for special in ("Timestamp", "FieldsV1", "Quantity", "Strings"):
        readers[special] = _checked(special, readers.get(special, lambda _: None), UnknownFieldSet)
    for time in TIMES:
        readers[time] = _checked("Timestamp", readers[time], UnknownFieldSet)
    for name in MESSAGES:
        reader(name)
    return readers


def _checked(name: str, read: Read, unknown: Callable[[Any], Any]) -> Read:
    """Refuses a message one of whose fields came in another wire type than its own: to the runtime that is an unknown field."""
    known = {field.number: field.name for field in fields_of(name)}

    def checked(message: Any) -> Any:
        for field in unknown(message):
            if field.field_number in known:
                said = known[field.field_number]
                raise Malformed(f"proto: wrong wireType = {field.wire_type} for field {said[0].upper()}{said[1:]}", stage="")
        return read(message)

    return checked


def _document(fields: tuple[Field, ...], reader: Callable[[str], Read]) -> Read:
    """Reads the fields that are there, in the order of their numbers."""
    puts = {field.number: _put(field, reader(field.type)) for field in fields}

    def read(message: Any) -> Document:
        document: Document = {}
        for descriptor, value in message.ListFields():
            puts[descriptor.number](document, value)
        return document

    return read


def _put(field: Field, read: Read) -> Callable[[Document, Any], None]:
    """Writes the value of a field into a document."""
    name = field.name
    zero_is_nothing = field.form == "" and field.type in SCALARS

    def one(document: Document, value: Any) -> None:
        if value or not zero_is_nothing:
            found = read(value)
            if found is not None:
                document[name] = found

    def many(document: Document, values: Any) -> None:
        document[name] = [read(value) for value in values]

    def keyed(document: Document, entries: Any) -> None:
        document[name] = {_text(entry.key): read(entry.value) for entry in entries}

    def spread(document: Document, value: Any) -> None:
        document.update(read(value))

    return {"[]": many, "{}": keyed, "...": spread}.get(field.form, one)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Malformed("proto: a text contains invalid UTF-8", stage="") from None


def _time(message: Any) -> str | None:
    """Whole seconds: what is less was never stored from protobuf."""
    moment = _moment(message)
    return None if moment is None else format_time(moment[0])


def _micro_time(message: Any) -> str | None:
    moment = _moment(message)
    if moment is None:
        return None
    seconds, nanos = moment
    return format_micro(seconds)[: -len("000000Z")] + f"{nanos // 1_000:06d}Z"


def _moment(message: Any) -> tuple[int, int] | None:
    """Seconds since 1970 and nanoseconds; None: an empty message, which is no time. Raises Malformed."""
    if not message.HasField("seconds") and not message.HasField("nanos"):
        return None
    more, nanos = divmod(message.nanos, 1_000_000_000)
    seconds = message.seconds + more
    if not EARLIEST <= seconds <= LATEST:
        raise Malformed(f"a time of {seconds} seconds since 1970 is outside of the years 1 to 9999", stage="")
    return seconds, nanos


# What is wrong with bytes that the runtime did not take, in the words of a Go server.


def _fault(raw: bytes) -> str:
    """Walks over the outermost fields to where they end."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        match tag & 7:
            case 0:
                _, at = _varint(raw, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(raw, at)
                at += length
            case 5:
                at += 4
            case other:
                return "unexpected EOF" if at > len(raw) else f"proto: illegal wireType {other}"
        if at > len(raw):
            return "unexpected EOF"
    return "proto: a message within the message is broken"


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; beyond the end of the bytes if it has none."""
    number = 0
    for index, byte in enumerate(raw[at : at + 10]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, at + index + 1
    return 0, len(raw) + 1
