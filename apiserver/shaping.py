"""Writes of kinds whose versions have different shapes: from the version of the path to all forms that are kept of the object.

Admission sees such an object in the version that it is stored in, where all is that the versions have in common: a handler that
was written against a newer version sees, and sets, what an older client does not know. What the object has become then is brought
back into the version of the path. Kinds of one shape, and those whose versions all hold the same, do not come by here.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from apiserver import converting, deleting, prepare
from apiserver.admitting import Admission
from apiserver.calls import Answer, Call, Document
from apiserver.options import WriteOptions
from apiserver.stored import as_it_is, document_of, put
from apiserver.target import Target
from registry.errors import Cause
from registry.kinds import Kind, Version
from registry.views import Views, body, opened, without_aside
from registry.ways import ConversionError, Ways
from storage.store import Put, Record


def shaped(version: Version) -> Ways | None:
    """The ways of a kind whose objects have more than one form; None: one is all."""
    ways = version.ways
    return None if ways is None or ways.exact else ways


async def admitted(
    admission: Admission,
    call: Call,
    options: WriteOptions,
    new: Document,
    found: tuple[Document, Record] | None,
    causes: Sequence[Cause],
) -> tuple[Document, Views | None]:
    """What becomes of a write that is understood: the object in the version of the call, and all its forms (None: that is all).

    `found` is what there is of it, in the version of the call and as it is stored. Raises what admission raises, and
    ConversionError.
    """
    old, record = found or (None, None)
    ways = shaped(call.target.version)
    if ways is None:
        return await admission.admit(call, options, new, old, causes), None
    before = Views(ways, {}, {}) if record is None else opened(ways, document_of(record))
    version = call.target.version.api_version
    views = before.written(version, old, without_aside(new))
    try:
        views = await _in_stored_version(admission, call, options, before if old else None, views, causes)
    except ConversionError:
        if record is None or not views.same(before):
            raise
        # Nothing but the metadata is written. It stays as it is stored, so that what cannot be converted can be let go of.
        made = await admission.admit(call, options, {**new, "metadata": views.metadata}, old, causes)
        views = before.written(version, old, made)
    return views.seen(version), views


def unchanged(views: Views, version: Version, record: Record) -> bool:
    """Whether no form of an object is another than it was."""
    ways = shaped(version)
    return ways is None or views.same(opened(ways, document_of(record)))


def marked(kind: Kind, record: Record, document: Document) -> Put:
    """The write of nothing but the metadata of an object, which is in the form that is stored, and stays in it."""
    if kind.storage.ways is not None:
        return as_it_is(record.key, document, expect=record.revision)
    return put(kind, kind.storage, record.key, document, expect=record.revision)


def rewritten(kind: Kind, form: Version | Views, record: Record, old: Document, new: Document) -> Put:
    """The write of an object that was `old` and is `new`, in the version of the request. Raises ConversionError, and Unasked.

    Where a webhook converts, one that is seen in the version that it is stored in stays in that, if nothing but its metadata is
    written: owners and finalizers come and go without the webhook.
    """
    ways = form.ways if isinstance(form, Version) else None
    if ways is not None and ways.remote and old["apiVersion"] == record.api_version and body(old) == body(new):
        return as_it_is(record.key, new, expect=record.revision)
    return put(kind, form, record.key, new, expect=record.revision)


async def marked_answer(target: Target, record: Record) -> Answer:
    """The answer to a delete that waits for finalizers: the object, or that it was done, when the object cannot be shown."""
    try:
        return Answer(record=await converting.one(target.version, record))
    except ConversionError:
        return Answer(document=deleting.gone(target, record))


async def _in_stored_version(
    admission: Admission, call: Call, options: WriteOptions, before: Views | None, views: Views, causes: Sequence[Cause]
) -> Views:
    target = call.target
    storage = target.kind.storage
    proposed = views.seen(storage.api_version)
    old = _as_stored(before, storage)
    part = "status" if target.subresource == "status" else ""
    if old is not None and not part:
        prepare.count(target.kind, proposed, old)
    outcome = storage.schema.apply(proposed, old=old, part=part)
    found = causes or [replace(cause, message=f"{cause.message} (in {storage.api_version})") for cause in outcome.causes]
    hub = replace(call, target=replace(target, version=storage, asked=target.version))
    if before is not None and old is None:  # it could not be converted, and now it can: there is nothing to compare it with
        old = {**outcome.document, "metadata": before.metadata}
    made = await admission.admit(hub, options, outcome.document, old, found)
    return views.written(storage.api_version, proposed, made)


def _as_stored(views: Views | None, storage: Version) -> Document | None:
    """The object as it was, in the version that the kind is stored in; None: nobody can tell."""
    try:
        return None if views is None else views.seen(storage.api_version)
    except ConversionError:
        return None
