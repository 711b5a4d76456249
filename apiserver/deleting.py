"""What a delete comes to: its options, its preconditions, and its answer. Pure."""

from __future__ import annotations

from typing import Any

from apiserver import refusals
from apiserver.intake import parse_body
from apiserver.options import DeleteOptions, Query, delete_options
from apiserver.target import Target
from registry.documents import Malformed
from registry.errors import BadRequest, details
from storage.store import Record

Document = dict[str, Any]
SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"


def options_of(body: bytes | Document, content_type: str, query: Query) -> DeleteOptions:
    """The options in a body, or where that says nothing in the query. Raises BadRequest, Invalid, UnsupportedMediaType."""
    document: Document = body if isinstance(body, dict) else {}
    if isinstance(body, bytes) and body:
        try:
            document = parse_body(body, content_type).document
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


def gone(target: Target, record: Record) -> Document:
    """The Status of success: its details name the object, and by `kind` the plural."""
    body = details(name=record.key.name, group=target.version.group, kind=target.kind.plural, uid=record.uid)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": body}
