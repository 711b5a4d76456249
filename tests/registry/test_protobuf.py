"""Bodies in protobuf become the documents that the same client would have sent in JSON, and nothing else comes of any bytes."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.builtin import KINDS as BUILTIN
from registry.catalog import Registry
from registry.documents import Malformed
from registry.messages import KINDS, MESSAGES
from registry.nodes import Node
from registry.protobuf import EARLIEST, LATEST, MAGIC, SCALARS, Field, fields_of, knows, open_envelope, read_message
from registry.times import format_micro, format_time

Document = dict[str, Any]
SPECIAL = {"Time", "MicroTime", "FieldsV1", "Quantity", "Strings"}
"""Types that are something else in JSON than an object."""


# --- a writer of the wire format, by hand: https://protobuf.dev/programming-guides/encoding ---


def varint(number: int) -> bytes:
    """Negative numbers take ten bytes, as the two's complement of 64 bits."""
    number &= 2**64 - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def block(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def enveloped(api_version: str, kind: str, raw: bytes) -> bytes:
    return (
        MAGIC + block(1, block(1, api_version.encode()) + block(2, kind.encode())) + block(2, raw) + block(3, b"") + block(4, b"")
    )


def written(message: str, document: Document, *, as_go: bool = False) -> bytes:
    """A document as bytes. `as_go`: values that are no pointers are written even when there are none, as gogo does."""
    return b"".join(_field(field, document, as_go=as_go) for field in fields_of(message))


def _field(field: Field, document: Document, *, as_go: bool) -> bytes:
    if field.form == "...":
        return block(field.number, written(field.type, document, as_go=as_go))
    if field.name not in document:
        zero = {"string": "", "bytes": b"", "raw": b"", "int": 0, "bool": False, "Time": None, "MicroTime": None}
        plain = as_go and field.form == "" and field.type in zero
        return _value(field.number, field.type, zero[field.type], as_go=as_go) if plain else b""
    value = document[field.name]
    if field.form == "[]":
        return b"".join(_value(field.number, field.type, item, as_go=as_go) for item in value)
    if field.form == "{}":
        entries = (block(1, key.encode()) + _value(2, field.type, item, as_go=as_go) for key, item in reversed(value.items()))
        return b"".join(block(field.number, entry) for entry in entries)
    return _value(field.number, field.type, value, as_go=as_go)


def _value(number: int, type_: str, value: Any, *, as_go: bool) -> bytes:
    match type_:
        case "int" | "bool":
            return number_field(number, int(value))
        case "string":
            return block(number, value.encode())
        case "bytes" | "raw":
            return block(number, value)
        case "Time" | "MicroTime":
            seconds, nanos = value or (0, 0)
            return block(number, number_field(1, seconds) + number_field(2, nanos) if value else b"")
        case "Quantity":
            return block(number, block(1, value.encode()))
        case "Strings":
            return block(number, b"".join(block(1, item.encode()) for item in value))
        case "FieldsV1":
            return block(number, block(1, b'{"f:data":{}}') if value else b"")
    return block(number, written(type_, value, as_go=as_go))


# --- documents that the table allows: what is written, and what is read ---

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
Pair = tuple[Any, Any]
"""A value as `written` takes it, and its JSON."""


def scalar(type_: str, *, zero: bool) -> st.SearchStrategy[Pair]:
    match type_:
        case "string":
            return texts.filter(lambda text: bool(text) or zero).map(lambda text: (text, text))
        case "int":
            numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)
            return numbers.filter(lambda number: number != 0 or zero).map(lambda number: (number, number))
        case "bool":
            return (st.booleans() if zero else st.just(True)).map(lambda value: (value, value))
        case "bytes":
            return st.binary(min_size=0 if zero else 1, max_size=6).map(lambda raw: (raw, b64encode(raw).decode()))
        case "Time" | "MicroTime":
            moments = st.tuples(st.integers(EARLIEST, LATEST), st.integers(0, 999_999_999))
            return moments.map(lambda moment: (moment, shown(type_, *moment)))
        case "Quantity":
            return st.sampled_from(["10", "1Gi"]).map(lambda text: (text, text))
        case "Strings":
            return st.lists(texts, max_size=3).map(lambda items: (items, items))
    return st.just((True, {"f:data": {}}))


def shown(type_: str, seconds: int, nanos: int) -> str:
    if type_ == "Time":
        return format_time(seconds)
    return re.sub(r"\.\d{6}Z", f".{nanos // 1_000:06d}Z", format_micro(seconds))


def values(type_: str, *, zero: bool) -> st.SearchStrategy[Pair]:
    return scalar(type_, zero=zero) if type_ in SCALARS or type_ in SPECIAL else st.deferred(lambda: messages(type_))


def messages(name: str) -> st.SearchStrategy[Pair]:
    """A message with any of its fields."""

    @st.composite
    def drawn(draw: st.DrawFn) -> Pair:
        wire: Document = {}
        read: Document = {}
        for field in fields_of(name):
            if field.form == "...":
                inner, plain = draw(values(field.type, zero=False))
                wire |= inner
                read |= plain
            elif draw(st.integers(0, 2)) == 0:
                wire[field.name], read[field.name] = draw(contents(field))
        return wire, read

    return drawn()


def contents(field: Field) -> st.SearchStrategy[Pair]:
    one = values(field.type, zero=field.form != "")
    if field.form == "[]":
        return st.lists(one, min_size=1, max_size=2).map(lambda pairs: ([pair[0] for pair in pairs], [pair[1] for pair in pairs]))
    if field.form == "{}":
        pairs = st.dictionaries(texts, one, min_size=1, max_size=2)
        return pairs.map(lambda found: ({k: v[0] for k, v in found.items()}, {k: v[1] for k, v in found.items()}))
    return one


bodies = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), messages(KINDS[kind])))


@given(bodies)
def test_what_is_written_is_read(body: tuple[tuple[str, str], Pair]) -> None:
    (api_version, kind), (wire, expected) = body
    envelope = open_envelope(enveloped(api_version, kind, written(KINDS[api_version, kind], wire)))
    assert (envelope.api_version, envelope.kind) == (api_version, kind)
    assert read_message(api_version, kind, envelope.raw) == expected


@given(bodies)
def test_zeros_that_go_writes_for_what_was_not_set_are_not_there(body: tuple[tuple[str, str], Pair]) -> None:
    (api_version, kind), (wire, expected) = body
    assert read_message(api_version, kind, written(KINDS[api_version, kind], wire, as_go=True)) == expected


@given(bodies, st.data())
def test_broken_bodies_are_malformed_and_nothing_else(body: tuple[tuple[str, str], Pair], data: st.DataObject) -> None:
    (api_version, kind), (wire, _) = body
    raw = bytearray(enveloped(api_version, kind, written(KINDS[api_version, kind], wire, as_go=True)))
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(raw) - 1))
        raw[where : where + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    with suppress(Malformed):
        envelope = open_envelope(bytes(raw))
        read_message(api_version, kind, envelope.raw)


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=60))
def test_any_bytes_are_read_or_malformed(kind: tuple[str, str], raw: bytes) -> None:
    with suppress(Malformed):
        open_envelope(MAGIC + raw)
    with suppress(Malformed):
        read_message(*kind, raw)


# --- single facts ---

LEASE = ("coordination.k8s.io/v1", "Lease")
CONFIG_MAP = ("v1", "ConfigMap")


def test_a_pointer_to_zero_is_a_value() -> None:
    raw = block(2, block(1, b"") + number_field(5, 0))
    assert read_message(*LEASE, raw) == {"spec": {"holderIdentity": "", "leaseTransitions": 0}}


def test_a_time_that_is_empty_is_none_and_the_year_1970_is_a_time() -> None:
    assert read_message(*CONFIG_MAP, block(1, block(8, b""))) == {"metadata": {}}
    epoch = number_field(1, 0) + number_field(2, 0)
    assert read_message(*CONFIG_MAP, block(1, block(8, epoch))) == {"metadata": {"creationTimestamp": "1970-01-01T00:00:00Z"}}


def test_nanoseconds_are_cut_off_and_negative_ones_are_borrowed() -> None:
    moment = number_field(1, 10) + number_field(2, -1_000)
    assert read_message(*LEASE, block(2, block(4, moment))) == {"spec": {"renewTime": "1970-01-01T00:00:09.999999Z"}}


@pytest.mark.parametrize("seconds", [LATEST + 1, EARLIEST - 1, 2**63 - 1, -(2**63)])
def test_a_time_that_cannot_be_written_is_malformed(seconds: int) -> None:
    with pytest.raises(Malformed, match="outside of the years 1 to 9999"):
        read_message(*LEASE, block(2, block(4, number_field(1, seconds))))


def test_fields_that_nobody_knows_are_passed_over() -> None:
    raw = block(1, block(1, b"a") + block(900, b"x")) + number_field(77, 5) + block(2, block(1, b"k") + block(2, b"v"))
    assert read_message(*CONFIG_MAP, raw) == {"metadata": {"name": "a"}, "data": {"k": "v"}}


def test_a_field_of_another_wire_type_is_a_fault_and_not_a_field_that_is_missing() -> None:
    with pytest.raises(Malformed, match="proto: wrong wireType = 0 for field Name"):
        read_message(*CONFIG_MAP, block(1, number_field(1, 5)))
    with pytest.raises(Malformed, match="proto: wrong wireType = 2 for field Immutable"):
        read_message(*CONFIG_MAP, block(4, b"x"))


def test_the_last_of_two_entries_of_a_map_counts() -> None:
    entries = block(2, block(1, b"k") + block(2, b"one")) + block(2, block(1, b"k") + block(2, b"two"))
    assert read_message(*CONFIG_MAP, entries) == {"data": {"k": "two"}}


def test_an_entry_of_a_map_may_leave_out_what_is_empty() -> None:
    assert read_message(*CONFIG_MAP, block(2, b"") + block(3, block(1, b"k"))) == {"data": {"": ""}, "binaryData": {"k": ""}}


def test_a_text_is_utf_8() -> None:
    with pytest.raises(Malformed, match="invalid UTF-8"):
        read_message(*CONFIG_MAP, block(1, block(1, b"\xff")))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty data"),
        (b"k8s\x00", "empty body"),
        (b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (b"k8s\x00\xff\xff\xff", "unexpected EOF"),
        (b"k8s\x00\x0a\x05v", "unexpected EOF"),
        (b"k8s\x00\x0e", "proto: illegal wireType 6"),
        (b"k8s\x00" + block(1, b"\x0a\x05v"), "proto: a message within the message is broken"),
        (b"k8s\x00" + number_field(2, 1), "proto: wrong wireType = 0 for field Raw"),
    ],
)
def test_what_is_no_envelope_is_told_so(raw: bytes, said: str) -> None:
    with pytest.raises(Malformed) as malformed:
        open_envelope(raw)
    assert malformed.value.message == said
    assert malformed.value.stage == ""


def test_a_server_that_sees_no_protobuf_does_not_import_it() -> None:
    check = "import sys, apiserver.serve; sys.exit(any(name.startswith('google.protobuf') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# --- the table ---


def test_the_table_holds_together() -> None:
    for message in MESSAGES:
        fields = fields_of(message)
        assert len({field.number for field in fields}) == len(fields), message
        assert len({field.name for field in fields}) == len(fields), message
        assert all(field.type in MESSAGES or field.type in SCALARS or field.type in SPECIAL for field in fields), message
    assert set(KINDS.values()) <= set(MESSAGES)


def test_no_message_contains_itself() -> None:
    def below(message: str, above: tuple[str, ...]) -> None:
        assert message not in above
        for field in fields_of(message):
            if field.type in MESSAGES:
                below(field.type, (*above, message))

    for message in MESSAGES:
        below(message, ())


RECURSIVE = ("CustomResourceDefinition",)
"""What is not taken in protobuf: its message holds itself, at any depth."""
SERVED = [
    (version.api_version, version.kind, version.schema.node)
    for kind in Registry(BUILTIN).kinds
    for version in kind.versions
    if kind.name not in RECURSIVE
]


@pytest.mark.parametrize(("api_version", "kind", "node"), SERVED, ids=lambda value: value if isinstance(value, str) else "")
def test_every_built_in_kind_can_be_sent_and_every_field_of_its_message_is_one_of_the_kind(
    api_version: str, kind: str, node: Node
) -> None:
    assert knows(api_version, kind)
    assert list(strangers(KINDS[api_version, kind], node, kind)) == []


def strangers(message: str, node: Node, path: str) -> Iterator[str]:
    """Fields of a message that a schema does not have."""
    for field in fields_of(message):
        inner = node if field.form == "..." else node.properties.get(field.name)
        if inner is None:
            yield f"{path}.{field.name}"
            continue
        holder = inner.items if field.form == "[]" else inner.additional if field.form == "{}" else inner
        assert holder is not None, f"{path}.{field.name}"
        if field.type in MESSAGES and field.type not in SPECIAL:
            yield from strangers(field.type, holder, f"{path}.{field.name}")
