"""Documents and the records that they are stored as, each made of the other. Pure.

A record is in the version that the kind is stored in; a document is in the version of whoever asked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from apiserver.target import Target
from registry.documents import canonical
from registry.errors import BadRequest
from registry.kinds import Kind, Version
from storage.store import Change, Guard, Key, Op, Put, Record

Document = dict[str, Any]

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _Deleting(msgspec.Struct):
    deletion_timestamp: str | None = msgspec.field(default=None, name="deletionTimestamp")


class _MaybeDeleting(msgspec.Struct):
    metadata: _Deleting


_read_deleting = msgspec.json.Decoder(_MaybeDeleting).decode


def key_of(target: Target) -> Key:
    """Where the store has the object that a path names. Raises BadRequest when it names none."""
    if not target.name:
        raise BadRequest("name must be provided")
    return Key(target.kind.resource, target.namespace or "", target.name)


def document_of(record: Record) -> Document:
    """A stored object in its stored version, with its resourceVersion and status."""
    document = _decode(record.desired)
    if record.revision:
        document["metadata"]["resourceVersion"] = str(record.revision)
    if record.status:
        document["status"] = msgspec.json.decode(record.status)
    return document


def in_version(version: Version, record: Record) -> Document:
    """A stored object as a document in a version."""
    document = document_of(record)
    if version.codec is not None:
        document = version.codec.decode(document)
    document["apiVersion"], document["kind"] = version.api_version, version.kind
    return document


def put(
    kind: Kind,
    version: Version,
    key: Key,
    document: Document,
    *,
    expect: int,
    require: tuple[Key, int] | None = None,
    guard: Guard | None = None,
) -> Put:
    """The write of a document that is in `version`, in the version that the kind is stored in."""
    storage = kind.storage
    if version.codec is not None:
        document = version.codec.encode(document)
    if document.get("apiVersion") != storage.api_version:
        document = {**document, "apiVersion": storage.api_version}
    encoded = canonical(document)
    uid = document["metadata"]["uid"]
    return Put(key, uid, storage.api_version, encoded.desired, encoded.status, expect, require, None, guard)


def unstored(write: Put, revision: int) -> Record:
    """The object as a dry run, or a removal, shows it: as it would be, at the revision that it had (0: none)."""
    return Record(write.key, write.uid, revision, write.api_version, write.desired, write.status)


def is_deleting(record: Record) -> bool:
    """Whether the object waits for its finalizers. Reads no more of it than that."""
    return _read_deleting(record.desired).metadata.deletion_timestamp is not None


def seen_as(change: Change, op: Op) -> Record:
    """The object of a change as a watcher is shown it: what left a selector as it was before, with the revision of the change."""
    if op is Op.DELETED and change.op is not Op.DELETED and change.previous is not None:
        return msgspec.structs.replace(change.previous, revision=change.revision)
    return change.record
