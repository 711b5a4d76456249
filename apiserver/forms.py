"""Stored objects as bytes on the wire, in every form that a client may ask for.

What is stored is canonical JSON, so the common form is made by joining bytes, not by encoding: the head of the version that was
asked for, the revision, the rest of what is stored, the status. Tables, metadata and YAML decode the object first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from apiserver.negotiation import JSON, YAML, Form, Shape
from apiserver.stored import converted, document_of, seen_as
from registry.documents import dump_yaml
from registry.errors import BadRequest, NotAcceptable
from registry.jsonpath import JSONPath
from registry.jsonpath import parse as parse_path
from registry.kinds import Column, Kind, Version, head
from registry.times import since
from storage.store import Change, Op, Record

Document = dict[str, Any]
CHUNK = 1024 * 1024
"""Bytes of a long list that are sent at once. A list below that is sent whole, with its length, and is not copied into chunks."""

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _RawMeta(msgspec.Struct):
    metadata: msgspec.Raw


_raw_metadata = msgspec.json.Decoder(_RawMeta).decode


class View(msgspec.Struct, frozen=True, gc=False):
    """How objects of one kind are shown to one client: the version of the path, the form of Accept, what a table's rows carry.

    `now` is the time that ages are counted from, in seconds since 1970.
    """

    kind: Kind
    version: Version
    form: Form
    include: str = "Metadata"
    now: float = 0.0

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """Equal for views that show the same bytes (but for ages)."""
        shape = self.form.shape
        include = self.include if shape is Shape.TABLE else ""
        return (self.version.api_version, self.form.media, shape.value, self.form.version, include)


def check_view(view: View, *, collection: bool) -> None:
    """Refuses a form that does not fit: metadata of one for a list, and the other way round. Raises NotAcceptable and
    BadRequest."""
    if view.form.shape is Shape.METADATA and collection:
        raise NotAcceptable(
            "you requested PartialObjectMetadata, but the requested object is a list (*unstructured.UnstructuredList)"
        )
    if view.form.shape is Shape.METADATA_LIST and not collection:
        raise NotAcceptable("you requested PartialObjectMetadataList, but the requested object is not a list")
    if view.form.shape is Shape.TABLE and view.include not in ("", "Metadata", "Object", "None"):
        detail = f"includeObject: Invalid value: {_encode(view.include).decode()}: must be 'Metadata', 'Object', 'None', or empty"
        raise BadRequest(f"Unable to convert to Table as requested: {detail}")


def object_json(kind: Kind, version: Version, record: Record, item_head: bytes = b"") -> bytes:
    """One object in a version, as JSON. `item_head` replaces the head (items of built-in lists carry no type)."""
    record = converted(version, record)
    skip = len(head(record.api_version, kind.name))
    begin = item_head or version.head
    revision = b'"resourceVersion":"%d",' % record.revision if record.revision else b""
    if record.status:
        return b"".join((begin, revision, record.desired[skip:-1], b',"status":', record.status, b"}"))
    return b"".join((begin, revision, record.desired[skip:]))


def one(view: View, record: Record) -> bytes:
    """The body of an answer that is one object."""
    body = _shaped(view, record, with_columns=True)
    return body if view.form.media != YAML else dump_yaml(_decode(body))


def _shaped(view: View, record: Record, *, with_columns: bool) -> bytes:
    shape = view.form.shape
    if shape is Shape.OBJECT:
        return object_json(view.kind, view.version, record)
    if shape is Shape.TABLE:
        table = _table(view, {"resourceVersion": str(record.revision)}, [record])
        return _encode(table if with_columns else table | {"columnDefinitions": None})
    return _metadata(view, record)


def _metadata(view: View, record: Record) -> bytes:
    record = converted(view.version, record)
    inside = bytes(_raw_metadata(record.desired).metadata)[1:]
    begin = f'{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{view.form.version}","metadata":{{'.encode()
    return b"".join((begin, b'"resourceVersion":"%d",' % record.revision if record.revision else b"", inside, b"}"))


class Page(msgspec.Struct, frozen=True):
    """The objects of one answer to a list, with what its metadata says. `spoilt` tells of those that nobody knows whether they
    belong to it."""

    records: Sequence[Record]
    revision: int
    token: str = ""
    remaining: int | None = None
    spoilt: tuple[str, ...] = ()

    def metadata(self) -> Document:
        """The list's own metadata."""
        found: Document = {"resourceVersion": str(self.revision)}
        if self.token:
            found["continue"] = self.token
        if self.remaining is not None:
            found["remainingItemCount"] = self.remaining
        return found


def many(view: View, page: Page) -> Iterator[bytes]:
    """The body of an answer that is a list, in pieces of about CHUNK bytes."""
    if view.form.media == YAML:
        as_json = msgspec.structs.replace(view, form=msgspec.structs.replace(view.form, media=JSON))
        yield dump_yaml(_decode(b"".join(many(as_json, page))))
    elif view.form.shape is Shape.TABLE:
        yield _encode(_table(view, page.metadata(), page.records))
    else:
        yield from _list_json(view, page)


def _list_json(view: View, page: Page) -> Iterator[bytes]:
    shows_objects = view.form.shape is Shape.OBJECT
    kind = view.kind.list_kind if shows_objects else "PartialObjectMetadataList"
    api_version = view.version.api_version if shows_objects else f"meta.k8s.io/{view.form.version}"
    begin = f'{{"kind":"{kind}","apiVersion":"{api_version}","metadata":'.encode() + _encode(page.metadata()) + b',"items":['
    if not shows_objects:
        return _chunks(begin, (_metadata(view, record) for record in page.records), b"]}")
    item_head = b'{"metadata":{' if view.kind.strategy.builtin else view.version.head
    records: Iterable[Record] = page.records
    if view.version.ways is not None:
        records = (converted(view.version, record) for record in records)
    return _joined(begin, view.kind.name, item_head, records)


def _joined(begin: bytes, kind: str, item_head: bytes, records: Iterable[Record]) -> Iterator[bytes]:
    """A list of objects that are sent as they are stored: what `object_json` makes of each, but all in one join, since this loop is
    what a list costs."""
    lead = item_head.replace(b"%", b"%%") + b'"resourceVersion":"%d",'
    following = b"," + lead
    parts, size = [begin], 0
    stored, skip = "", 0
    for record in records:
        if record.api_version != stored:
            stored = record.api_version
            skip = len(head(stored, kind))
        desired, status = record.desired, record.status
        if status:
            parts += (lead % record.revision, desired[skip:-1], b',"status":', status, b"}")
        else:
            parts += (lead % record.revision, desired[skip:])
        lead = following
        size += len(desired) + len(status)
        if size >= CHUNK:
            yield b"".join(parts)
            parts, size = [], 0
    parts.append(b"]}")
    yield b"".join(parts)


def _chunks(begin: bytes, items: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    parts, size = [begin], len(begin)
    first = True
    for item in items:
        if not first:
            parts.append(b",")
        first = False
        parts.append(item)
        size += len(item) + 1
        if size >= CHUNK:
            yield b"".join(parts)
            parts, size = [], 0
    parts.append(end)
    yield b"".join(parts)


def event(view: View, change: Change, op: Op, *, first: bool) -> bytes:
    """One line of a watch: the object as `op` says that this watcher sees it. Encoded once per change and view.

    An object that left a selector is shown as it was before, with the revision of the change.
    """
    key = (view.key, op, first and view.form.shape is Shape.TABLE)
    line = change.derived.get(key)
    if line is None:
        line = change.derived[key] = event_line(op.value, _shaped(view, seen_as(change, op, view.version), with_columns=first))
    found: bytes = line
    return found


def added(view: View, record: Record, *, first: bool) -> bytes:
    """The line for an object that was there before the watch began."""
    return event_line("ADDED", _shaped(view, record, with_columns=first))


def bookmark(view: View, revision: int, *, initial: bool = False, first: bool = False) -> bytes:
    """The line that says that everything up to `revision` was sent; `initial` marks the end of what was there at the beginning."""
    metadata: Document = {"resourceVersion": str(revision)}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    body: Document
    if view.form.shape is Shape.TABLE:
        body = _table(view, {"resourceVersion": str(revision)}, [])
        row = {"cells": [None] * len(_columns(view)), "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}}
        row["object"] |= {"metadata": metadata | {"creationTimestamp": None}}  # type: ignore[operator]
        body |= {"columnDefinitions": body["columnDefinitions"] if first else None, "rows": [row]}
    elif view.form.shape is Shape.OBJECT:
        body = {"kind": view.version.kind, "apiVersion": view.version.api_version, "metadata": metadata}
    else:
        body = {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{view.form.version}", "metadata": metadata}
    return event_line("BOOKMARK", _encode(body))


def event_line(kind: str, body: bytes) -> bytes:
    """The envelope of a watch event: one JSON object on one line."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), body)


# Tables

NAME = Column("Name", ".metadata.name", "string", "Name must be unique within a namespace.", 0, "name")


def _columns(view: View) -> tuple[Column, ...]:
    printer = view.version.printer
    return printer.columns if printer is not None else (NAME, *view.version.columns)


def _table(view: View, metadata: Document, records: Iterable[Record]) -> Document:
    columns = [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in _columns(view)
    ]
    rows = [{"cells": _cells(view, record), "object": _row_object(view, record)} for record in records]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{view.form.version}",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }


def _cells(view: View, record: Record) -> list[Any]:
    document = document_of(converted(view.version, record))
    if view.version.printer is not None:
        return view.version.printer.cells(document, view.now)
    return [record.key.name, *(_cell(column, _path(column.path).first(document), view.now) for column in view.version.columns)]


@lru_cache(maxsize=4_096)
def _path(text: str) -> JSONPath:
    return parse_path(text)


def _cell(column: Column, value: Any, now: float) -> Any:
    if column.type == "date":
        return since(value, now)
    if value is None or isinstance(value, str | int | float):
        return value
    return _encode(value).decode()


def _row_object(view: View, record: Record) -> Any:
    if view.include == "None":
        return None
    if view.include == "Object":
        return msgspec.Raw(object_json(view.kind, view.version, record))
    return msgspec.Raw(_metadata(View(view.kind, view.version, Form()), record))
