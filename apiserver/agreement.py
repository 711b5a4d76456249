"""What a body may not contradict: the address that it is sent to, and the object that it was decided on. Pure."""

from __future__ import annotations

from typing import Any

from apiserver import refusals
from apiserver.stored import is_deleting
from apiserver.target import Target
from registry.errors import BadRequest
from storage.store import Key, Record, Store

Document = dict[str, Any]


def check_namespace(target: Target, document: Document) -> None:
    """A body may leave its namespace out; it may not name another. Raises BadRequest."""
    namespace = document["metadata"].get("namespace")
    if target.kind.namespaced and namespace and namespace != target.namespace:
        raise refusals.other_namespace()


def check_address(target: Target, document: Document) -> None:
    """The body of a write to an object names that object. Raises BadRequest."""
    check_namespace(target, document)
    name = document["metadata"].get("name", "")
    if name != target.name:
        raise refusals.other_name(target, name)


def check_current(target: Target, document: Document, record: Record, *, replaces: bool) -> None:
    """The resourceVersion of a body is a precondition, and so is the uid of one that replaces or that is for the status alone.

    A patch of the rest that names another uid would change it, and is refused as such (`registry.metadata.validate_update`).
    Raises ConflictError, Invalid, BadRequest.
    """
    sent = document["metadata"].get("resourceVersion")
    if not sent or sent == "0":
        if not target.kind.strategy.unconditional_update and target.subresource != "scale":
            raise refusals.unversioned(target)
    elif not (sent.isascii() and sent.isdigit()):
        raise BadRequest(f'strconv.ParseUint: parsing "{sent}": invalid syntax')
    elif sent != str(record.revision):
        raise refusals.modified(target)
    uid = document["metadata"].get("uid")
    precondition = replaces or (target.subresource == "status" and not target.kind.strategy.builtin)
    if precondition and uid and uid != record.uid:
        raise refusals.other_uid(target, uid, record)


def check_absent(target: Target, document: Document) -> None:
    """A uid or resourceVersion is a precondition that nothing meets when there is no object. Raises ConflictError."""
    uid = document["metadata"].get("uid")
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise refusals.modified(target, why)
    if document["metadata"].get("resourceVersion"):
        raise refusals.modified(target)


def check_open(target: Target, document: Document) -> None:
    """Whether objects of the kind can be made at all. Raises Forbidden."""
    if target.kind.closed:
        raise refusals.forbidden(target, document["metadata"].get("name", ""), target.kind.closed)


def required_namespace(store: Store, target: Target, name: str) -> tuple[Key, int] | None:
    """The namespace, and the revision at which it was found to take new objects. Raises NotFound, Forbidden."""
    if target.namespace is None:
        return None
    key = Key("namespaces", "", target.namespace)
    record = store.get(key)
    if record is None:
        raise refusals.no_namespace(target.namespace)
    if is_deleting(record):
        raise refusals.terminating(target, target.namespace, name)
    return key, record.revision
