"""Bytes to documents and back: JSON and YAML in, the canonical bytes of the store, and the JSON and YAML that go out.

* What is parsed is JSON and nothing else: objects with text keys, lists, texts, numbers, booleans, null. NaN is not; integers keep
all
  their digits.
* Nothing nests deeper than `MAX_DEPTH`, so that whoever walks a document may recurse.
* A key that is there twice is found and said where; the last one wins, as in Go.
* Whatever the bytes are, the only exception is `Malformed`, a 400. The work is linear in their number.
* `render` makes the served JSON of an object from its stored bytes by joining, without decoding them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from registry import yamls
from registry.errors import BadRequest
from registry.nodes import Document

__all__ = [
    "MAX_DEPTH",
    "TYPE_META",
    "Encoded",
    "Malformed",
    "Parsed",
    "canonical",
    "dump_yaml",
    "parse_json",
    "parse_value",
    "parse_yaml",
    "render",
    "unrecognized",
]

MAX_DEPTH = 128
"""Objects and lists within each other. Real objects have some ten, definitions of deep schemas some fifty."""

TYPE_META = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
"""What a Go server reads of a body before it knows what it is, as its messages say it."""

TWICE_ROOM = 64 * 1024
"""Characters, about, that the paths of keys that are there twice may have together; what is beyond is not told.

Without a bound a small body would make a huge answer: each path says again what its keys are below."""

_SUMMARY = 30
_METADATA = b'"metadata":{'
_GO_KINDS = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class Parsed(NamedTuple):
    """A value, and what strict field validation says about its text (`duplicate field "spec.a"`)."""

    document: Any
    duplicates: tuple[str, ...] = ()


class Encoded(NamedTuple):
    """An object as it is stored: all but resourceVersion and status, and its status (empty: none)."""

    desired: bytes
    status: bytes


class Malformed(BadRequest):
    """The bytes are not what they are said to be. `message` is what a Go parser says of them.

    `stage` is what a Go server writes before it when it looks for the kind of an object.
    """

    def __init__(self, message: str, *, stage: str = "couldn't get version/kind; json parse error: ") -> None:
        super().__init__(message)
        self.stage = stage


def unrecognized(kind: str, error: Malformed, raw: bytes) -> BadRequest:
    """The 400 for a body, where an object of `kind` was expected, that could not be parsed."""
    return BadRequest(
        f"the object provided is unrecognized (must be of type {kind}): {error.stage}{error.message} ({summary(raw)})"
    )


def summary(raw: bytes) -> str:
    """The beginning of a body for a message: as text if it looks like JSON, else in hex."""
    if not raw:
        return "<empty>"
    more = " ..." if len(raw) > _SUMMARY else ""
    start = raw[:_SUMMARY]
    return f"{start.decode(errors='replace') if raw[:1] == b'{' else start.hex()}{more}"


def parse_json(raw: bytes, into: str = TYPE_META) -> Parsed:
    """A JSON object. `into` names the Go type that messages speak of. Raises Malformed."""
    value = _decoded(raw)
    return Parsed(_object(value, into), _duplicates(raw, value))


def parse_value(raw: bytes) -> Parsed:
    """Any JSON value, such as a JSON patch. Raises Malformed."""
    value = _decoded(raw)
    return Parsed(value, _duplicates(raw, value))


def parse_yaml(raw: bytes, into: str = TYPE_META) -> Parsed:
    """A YAML document that is a JSON object (JSON is YAML too). One document, no tags of its own. Raises Malformed."""
    if raw[:1] == b"{":
        try:
            return parse_json(raw, into)
        except Malformed:
            pass  # flow style that is not JSON; what it is, the YAML parser says
    try:
        value, twice = yamls.load(raw, MAX_DEPTH)
    except yamls.YAMLProblem as error:
        raise Malformed(f"yaml: {error}", stage="") from error
    lines = "".join(f'\n  line {line}: key "{key}" already set in map' for line, key in twice)
    return Parsed(_object(value, into), (f"yaml: unmarshal errors:{lines}",) if twice else ())


def dump_yaml(document: Any) -> bytes:
    """A document as YAML: keys in order, texts quoted where they could be taken for something else."""
    return yamls.dump(document)


def canonical(document: Document) -> Encoded:
    """The bytes that the store holds of a document. Equal documents have equal bytes. `metadata` has at least a name."""
    metadata = document["metadata"]
    if "resourceVersion" in metadata:
        metadata = {key: value for key, value in metadata.items() if key != "resourceVersion"}
    rest = {key: value for key, value in document.items() if key not in _BESIDE}
    parts = [
        b'{"apiVersion":',
        _encode(document["apiVersion"]),
        b',"kind":',
        _encode(document["kind"]),
        b',"metadata":',
        _encode_sorted(metadata),
    ]
    parts += [b",", _encode_sorted(rest)[1:]] if rest else [b"}"]
    return Encoded(b"".join(parts), _encode_sorted(document["status"]) if "status" in document else b"")


_BESIDE = frozenset(("apiVersion", "kind", "metadata", "status"))


def render(head: bytes, revision: int, desired: bytes, status: bytes) -> tuple[bytes, ...]:
    """The parts of the JSON of an object, to be joined.

    `head` is how it begins, up to the inside of the metadata: `{"apiVersion":"g/v","kind":"K","metadata":{`
    (`registry.kinds.head`).
    """
    inside = desired.index(_METADATA) + len(_METADATA)
    if status:
        return head, b'"resourceVersion":"%d",' % revision, desired[inside:-1], b',"status":', status, b"}"
    return head, b'"resourceVersion":"%d",' % revision, desired[inside:]


def _object(value: Any, into: str) -> Document:
    """The value, if it is an object whose type can be read."""
    if not isinstance(value, dict):
        raise Malformed(f"json: cannot unmarshal {_GO_KINDS.get(type(value), 'null')} into Go value of type {into}")
    if into is TYPE_META:
        for name in ("apiVersion", "kind"):
            said = value.get(name)
            if said is not None and not isinstance(said, str):
                kind = _GO_KINDS.get(type(said), "object")
                raise Malformed(f"json: cannot unmarshal {kind} into Go struct field .{name} of type string")
    return value


def _decoded(raw: bytes) -> Any:
    try:
        value = _decode(raw)
    except UnicodeDecodeError as error:
        raise Malformed(f"invalid UTF-8 in a text: {error.reason}") from error
    except msgspec.DecodeError as error:
        raise Malformed(_in_words(raw, str(error))) from error
    except ValueError as error:  # an integer of thousands of digits
        raise Malformed("cannot unmarshal number: value out of range") from error
    except RecursionError:
        value = None
        too_deep = True
    else:
        too_deep = raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and is_deeper(value, MAX_DEPTH)
    if too_deep:
        raise Malformed(f"exceeded max depth of {MAX_DEPTH}")
    return value


def is_deeper(value: Any, limit: int) -> bool:
    """Whether more than `limit` objects and lists are within each other. Does not recurse."""
    level = [value]
    for _ in range(limit):
        level = [item for holder in level for item in _items(holder) if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


_WHERE = re.compile(r"\(byte (\d+)\)")
_AFTER = {
    "expected ',' or '}'": "after object key:value pair",
    "expected ',' or ']'": "after array element",
    "expected ':'": "after object key",
    "object keys must be strings": "looking for beginning of object key string",
    "trailing comma in object": "looking for beginning of object key string",
    "trailing comma in array": "looking for beginning of value",
    "trailing characters": "after top-level value",
    "invalid number": "in numeric literal",
    "invalid escape character": "in string escape code",
    "invalid character in unicode escape": "in \\u hexadecimal character escape",
}


def _in_words(raw: bytes, problem: str) -> str:
    """What Go says where msgspec said `problem`."""
    where = _WHERE.search(problem)
    if "out of range" in problem:
        return "cannot unmarshal number: value out of range"
    if where is None:
        return "invalid surrogate pair in a text" if "surrogate" in problem else _truncated(raw)
    context = next((said for key, said in _AFTER.items() if key in problem), "looking for beginning of value")
    position = int(where[1])
    if "trailing characters" in problem:
        position -= 1
    character = raw[position : position + 1]
    return f"invalid character {_go_quoted(character)} {context}" if character else _truncated(raw)


def _truncated(raw: bytes) -> str:
    """A text that ends within an escape is taken by msgspec for a body that ends too early."""
    lone = re.search(rb"\\u[dD][89abAB][0-9a-fA-F]{2}", raw)
    ended = raw.rstrip()[-1:] in (b"}", b"]", b'"')
    return "invalid surrogate pair in a text" if lone and ended else "unexpected end of JSON input"


def _go_quoted(character: bytes) -> str:
    text = character.decode("latin-1")
    special = {"'": r"'\''", '"': "'\"'", "\\": r"'\\'", "\n": r"'\n'", "\t": r"'\t'", "\r": r"'\r'"}
    return special.get(text) or (f"'{text}'" if text.isprintable() else f"'\\x{ord(text):02x}'")


# Keys that are there twice.


def _duplicates(raw: bytes, value: Any) -> tuple[str, ...]:
    if _has_unique_keys(raw, value):
        return ()
    pairs = json.loads(raw, object_pairs_hook=_Pairs)
    told: dict[str, None] = {}
    room = TWICE_ROOM
    for place in _twice(pairs, None):
        path = _spelled(place)
        told[f'duplicate field "{path}"'] = None
        room -= len(path) + 20
        if room < 0:
            break
    return tuple(told)


def _has_unique_keys(raw: bytes, value: Any) -> bool:
    """Whether it is certain, at first sight, that no key is there twice.

    A key that is followed by its colon at once is a `":` in the text. The only others are texts that begin with a colon, and `\\":`
    within texts; without `\\u` they are the same in the text and in the encoded value. So when the numbers are equal no key was
    lost.
    """
    encoded = _encode(value)
    if encoded == raw:
        return True
    loose = b"\\u" in raw or any(space in raw for space in (b" :", b"\t:", b"\n:", b"\r:"))
    return not loose and raw.count(b'":') == encoded.count(b'":')


_Place = tuple["_Place", str | int] | None
"""Where a value is: the place of what holds it, and its key or index there. It is spelled out only for what is told."""


class _Pairs(list[Any]):
    """A JSON object as its pairs, in their order."""


def _twice(value: Any, place: _Place) -> Iterator[_Place]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        told: set[str] = set()
        for key, item in value:
            inner = (place, key)
            if key in seen and key not in told:
                told.add(key)
                yield inner
            seen.add(key)
            yield from _twice(item, inner)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _twice(item, (place, index))


def _spelled(place: _Place) -> str:
    """A place as a path: `spec.tags[3]`."""
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return "".join(reversed(steps)).removeprefix(".")
