"""What a delete comes to: its options, its preconditions, and its answer. Pure."""

from __future__ import annotations

from typing import Any

from apiserver import refusals
from apiserver.intake import parse_body
from apiserver.options import DeleteOptions, Query, delete_options
from apiserver.target import Target
from registry.documents import Malformed
from registry.errors import BadRequest, details
from registry.kinds import Kind
from storage.store import Record

Document = dict[str, Any]
SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"


def options_of(body: bytes | Document, content_type: str, query: Query) -> DeleteOptions:
    """The options in a body, or where that says nothing in the query. Raises BadRequest, Invalid, UnsupportedMediaType."""
    document: Document = body if isinstance(body, dict) else {}
    if isinstance(body, bytes) and body:
        try:
            document = parse_body(body, content_type, "v1", "DeleteOptions").document
        except Malformed as error:
            raise BadRequest(f"{error.stage}{error.message}") from None
    kind, api_version = document.get("kind", "DeleteOptions"), document.get("apiVersion", "v1")
    if kind != "DeleteOptions":
        raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}" in scheme "{SCHEME}"')
    return delete_options(document, query)


def check(target: Target, record: Record, options: DeleteOptions) -> None:
    """Whether the object may go. Raises Forbidden for what is protected, ConflictError for a precondition that does not hold."""
    if record.key.name in target.kind.strategy.protected:
        raise refusals.forbidden(target, record.key.name, "this namespace may not be deleted")
    if options.uid and options.uid != record.uid:
        raise refusals.precondition(
            target,
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({record.uid}). "
            "The object might have been deleted and then recreated",
        )
    if options.resource_version and options.resource_version != str(record.revision):
        raise refusals.precondition(
            target,
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion in record "
            f"({record.revision}). The object might have been modified",
        )


PROPAGATION = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
"""The finalizers that a deletion asks for by its propagation; the garbage collector takes them out."""


def propagated(kind: Kind, document: Document, propagation: str) -> Document:
    """The object with the finalizers that its first deletion asks for: that of the propagation, and never the other one.

    A deletion that says nothing leaves them as they are, and so does one of an object that is being deleted already. What takes no
    part in garbage collection gets none.
    """
    document = _held_to_the_last(kind, document)
    metadata = document["metadata"]
    before: list[str] = metadata.get("finalizers") or []
    if not propagation or not kind.strategy.collected or "deletionTimestamp" in metadata:
        return document
    wanted = [finalizer for finalizer in before if finalizer not in PROPAGATION.values()]
    wanted += [PROPAGATION[propagation]] if propagation in PROPAGATION else []
    if wanted == before:
        return document
    metadata = {key: value for key, value in metadata.items() if key != "finalizers"}
    return {**document, "metadata": {**metadata, "finalizers": wanted} if wanted else metadata}


def _held_to_the_last(kind: Kind, document: Document) -> Document:
    """The object with the finalizer that its kind has for whatever is deleted."""
    metadata, last = document["metadata"], kind.strategy.last_finalizer
    before: list[str] = metadata.get("finalizers") or []
    if not last or last in before or "deletionTimestamp" in metadata:
        return document
    return {**document, "metadata": {**metadata, "finalizers": [*before, last]}}


def gone(target: Target, record: Record) -> Document:
    """The Status of success: its details name the object, and by `kind` the plural."""
    body = details(name=record.key.name, group=target.version.group, kind=target.kind.plural, uid=record.uid)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": body}
