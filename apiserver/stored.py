"""Documents and the records that they are stored as, each made of the other. Pure.

A record is in the version that it was written in last, as the kind was stored then; a document is in the version of whoever asks.
What is made of a record for another version is remembered (`registry.remembering`): reading it again costs a look-up.
"""

from __future__ import annotations

from typing import Any

import msgspec

from apiserver.target import Target
from registry.documents import canonical
from registry.errors import BadRequest
from registry.kinds import Kind, Version
from registry.views import MARK, Views, closed, opened
from registry.ways import ConversionError, Ways
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
    """A stored object as a document in a version. Raises ConversionError."""
    document = document_of(record if version.ways is None else converted(version, record))
    document["apiVersion"], document["kind"] = version.api_version, version.kind
    return document


class Shown(Record, frozen=True, gc=False):
    """An object in the form in which it is shown in its version: nothing more is to be done to it."""


def converted(version: Version, record: Record) -> Record:
    """A stored object as it would be if it was stored in this version. Raises ConversionError: again and again, but tried once.

    Raises Unasked where somebody has to be asked: to be called by `registry.unasked.answered`, or for what `shown` gave.
    """
    ways = version.ways
    if ways is None or _is_so(ways, version, record):
        return record
    place = (record.key, version.api_version)
    found: Record | ConversionError | None = ways.memory.get(place, record)
    if found is None or (isinstance(found, ConversionError) and ways.stale(found)):
        try:
            found = (_as_it_is_now if ways.settles else _convert)(version, ways, record)
        except ConversionError as error:
            found = error
        ways.memory.put(place, record, found, FAILURE if isinstance(found, ConversionError) else _cost(found))
    if isinstance(found, ConversionError):
        raise type(found)(found.message, details=found.details) from found.__cause__
    return found


def _is_so(ways: Ways, version: Version, record: Record) -> bool:
    if ways.settles:
        return type(record) is Shown and record.api_version == version.api_version
    return ways.same(record.api_version, version.api_version) and MARK not in record.desired


def _convert(version: Version, ways: Ways, record: Record) -> Record:
    document = document_of(record)
    if MARK in record.desired:
        made = opened(ways, document).seen(version.api_version)
    else:
        made = ways.convert(document, version.api_version)
    encoded = canonical(made)
    return Record(record.key, record.uid, record.revision, version.api_version, encoded.desired, encoded.status)


def _as_it_is_now(version: Version, ways: Ways, record: Record) -> Shown:
    stored = document_of(record)
    made = ways.convert(stored, version.api_version)
    return _the_same(record) if made is stored else as_shown(record, made)


def _the_same(record: Record) -> Shown:
    return Shown(record.key, record.uid, record.revision, record.api_version, record.desired, record.status)


def known(version: Version, record: Record) -> Shown:
    """An object of which it is known that it is stored as it is shown in this version: it was just written in it."""
    found = _the_same(record)
    if version.ways is not None:
        version.ways.memory.put((record.key, version.api_version), record, found, _cost(found))
    return found


def _cost(found: Record) -> int:
    """What is remembered of an object is counted in full, also where the store has the same bytes: it may be deleted there."""
    return len(found.desired) + len(found.status) + BESIDE


def as_shown(record: Record, document: Document) -> Shown:
    """The object of a record as a document has it."""
    encoded = canonical(document)
    return Shown(record.key, record.uid, record.revision, document["apiVersion"], encoded.desired, encoded.status)


def is_convertible(version: Version, record: Record) -> bool:
    """Whether the object can be shown in a version."""
    try:
        converted(version, record)
    except ConversionError:
        return False
    return True


FAILURE, BESIDE = 1_500, 500
"""Bytes that a failure, and everything else that is remembered of an object, are counted as."""


def put(
    kind: Kind,
    form: Version | Views,
    key: Key,
    document: Document,
    *,
    expect: int,
    require: tuple[Key, int] | None = None,
    guard: Guard | None = None,
) -> Put:
    """The write of a document in the version that the kind is stored in. `form` is the version that it is in, or all forms that
    there are of it. Raises ConversionError."""
    storage = kind.storage
    if isinstance(form, Views):
        document = _settled(form, storage, document)
    elif form.ways is not None:
        document = form.ways.convert({**document, "apiVersion": form.api_version}, storage.api_version)
    elif document.get("apiVersion") != storage.api_version:
        document = {**document, "apiVersion": storage.api_version}
    return as_it_is(key, document, expect=expect, require=require, guard=guard)


def _settled(views: Views, storage: Version, document: Document) -> Document:
    views = views.with_metadata(document["metadata"])
    try:
        return closed(*views.settled(storage.api_version))
    except ConversionError:
        return views.unsettled()


def as_it_is(
    key: Key, document: Document, *, expect: int, require: tuple[Key, int] | None = None, guard: Guard | None = None
) -> Put:
    """The write of a document in the very form that it has, with whatever is kept aside in it."""
    encoded = canonical(document)
    uid = document["metadata"]["uid"]
    return Put(key, uid, document["apiVersion"], encoded.desired, encoded.status, expect, require, None, guard)


def unstored(write: Put, revision: int) -> Record:
    """The object as a dry run, or a removal, shows it: as it would be, at the revision that it had (0: none)."""
    return Record(write.key, write.uid, revision, write.api_version, write.desired, write.status)


def is_deleting(record: Record) -> bool:
    """Whether the object waits for its finalizers. Reads no more of it than that."""
    return _read_deleting(record.desired).metadata.deletion_timestamp is not None


def seen_as(change: Change, op: Op, version: Version) -> Record:
    """The object of a change as a watcher is shown it: what left a selector as it was before, with the revision of the change."""
    if version.ways is not None and op is Op.DELETED and change.previous is not None:  # what is remembered of it, is found
        return msgspec.structs.replace(converted(version, change.previous), revision=change.revision)
    if op is Op.DELETED and change.op is not Op.DELETED and change.previous is not None:
        return msgspec.structs.replace(change.previous, revision=change.revision)
    return change.record
