"""The one protobuf message that is written: a Status, for clients that accept nothing else.

Wire format: https://protobuf.dev/programming-guides/encoding. Envelope of the Kubernetes API: four magic bytes, then `Unknown`
with the type in field 1 and the message in field 2. Field numbers of Status: 2 status, 3 message, 4 reason, 6 code.
"""

from __future__ import annotations

MAGIC = b"k8s\x00"


def encode_status(message: str, reason: str, code: int) -> bytes:
    """A failed Status in the protobuf envelope."""
    status = _text(2, "Failure") + _text(3, message) + _text(4, reason) + _varint(6 << 3) + _varint(code)
    kind = _text(1, "v1") + _text(2, "Status")
    return MAGIC + _bytes(1, kind) + _bytes(2, status)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
