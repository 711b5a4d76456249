"""Refusals that name an object, in the words of the Kubernetes API. Pure: each is a value to raise."""

from __future__ import annotations

from typing import Any

from admission.review import Attributes
from apiserver.target import Target
from registry.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Cause,
    ConflictError,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    ServerTimeout,
    details,
    invalid,
)
from registry.kinds import resource_name
from storage.store import Record, Unavailable

MUST_MATCH = "the object has been modified; please apply your changes to the latest version and try again"


def resource_of(target: Target) -> str:
    """The resource as messages call it: the plural and the group of the path."""
    return resource_name(target.kind.plural, target.version.group)


def object_details(target: Target, name: str, **more: Any) -> dict[str, Any]:
    """The details of a Status about one object."""
    return details(name=name, group=target.version.group, kind=target.kind.plural, **more)


def not_found(target: Target) -> NotFound:
    """404: there is no such object."""
    return NotFound(f'{resource_of(target)} "{target.name}" not found', details=object_details(target, target.name))


def no_namespace(namespace: str) -> NotFound:
    """404: an object cannot be made in a namespace that is not there."""
    return NotFound(f'namespaces "{namespace}" not found', details=details(name=namespace, kind="namespaces"))


def modified(target: Target, why: str = MUST_MATCH) -> ConflictError:
    """409: the object is not what the write was decided on."""
    message = f'Operation cannot be fulfilled on {resource_of(target)} "{target.name}": {why}'
    return ConflictError(message, details=object_details(target, target.name))


def other_uid(target: Target, sent: str, record: Record) -> ConflictError:
    """409: a PUT of an object that went, and came again under the same name."""
    parts = ("/registry", target.version.group, target.kind.plural, record.key.namespace, record.key.name)
    return modified(
        target,
        f"StorageError: invalid object, Code: 4, Key: {'/'.join(part for part in parts if part)}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {sent}, UID in object meta: {record.uid}",
    )


def precondition(target: Target, why: str) -> ConflictError:
    """409: a precondition of a delete does not hold."""
    kind, group = target.kind.name, target.version.group
    qualified = f"{kind}.{group}" if group else kind
    message = f'Operation cannot be fulfilled on {qualified} "{target.name}": {why}'
    return ConflictError(message, details=details(name=target.name, group=group, kind=kind))


def forbidden(target: Target, name: str, why: str, causes: tuple[Cause, ...] = ()) -> Forbidden:
    """403: this object may not be written so, whoever asks."""
    return Forbidden(f'{resource_of(target)} "{name}" is forbidden: {why}', details=object_details(target, name, causes=causes))


def unauthorized(asked: Attributes, why: str = "") -> Forbidden:
    """403: who may not do what, where, and why if there is anything to say."""
    return not_allowed(asked, f'User "{asked.identity.username}" cannot {asked.verb}', why)


def not_allowed(asked: Attributes, action: str, why: str = "") -> Forbidden:
    """403 for an action on what is asked for, be it there or not."""
    because = f": {why}" if why else ""
    if asked.path:
        return Forbidden(f'forbidden: {action} path "{asked.path}"{because}', details={})
    plural, _, group = asked.resource.partition(".")
    resource = f"{plural}/{asked.subresource}" if asked.subresource else plural
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    begun = f'{asked.resource} "{asked.name}" is forbidden' if asked.name else f"{asked.resource} is forbidden"
    said = f'{begun}: {action} resource "{resource}" in API group "{group}" {where}{because}'
    return Forbidden(said, details=details(name=asked.name, group=group, kind=plural))


def terminating(target: Target, namespace: str, name: str) -> Forbidden:
    """403: a namespace that goes takes nothing new. Event recorders look for the cause."""
    cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    return forbidden(target, name, why, (cause,))


def taken(target: Target, name: str, *, deleting: bool) -> AlreadyExists:
    """409: the name is taken, perhaps by something that is about to go."""
    message = f'{resource_of(target)} "{name}" already exists'
    return AlreadyExists(f"object is being deleted: {message}" if deleting else message, details=object_details(target, name))


def unversioned(target: Target) -> Invalid:
    """422: an update has to say which revision it was decided on."""
    cause = invalid("metadata.resourceVersion", 0, "must be specified for an update")
    return Invalid(target.kind.plural, target.version.group, target.name, [cause])


def other_name(target: Target, name: str) -> BadRequest:
    """400: the body names another object than the path."""
    if not name:
        return BadRequest(f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided")
    return BadRequest(f"the name of the object ({name}) does not match the name on the URL ({target.name})")


def other_namespace() -> BadRequest:
    """400: the body names another namespace than the path."""
    return BadRequest("the namespace of the provided object does not match the namespace sent on the request")


def no_verb(target: Target, verb: str) -> MethodNotAllowed:
    """405: the resource, or its subresource, does not know the verb."""
    said = details(group=target.version.group, kind=target.kind.plural)
    return MethodNotAllowed(f'{verb} is not supported on resources of kind "{resource_of(target)}"', details=said)


def unavailable(error: Unavailable) -> ApiError:
    """500: the store did not take it. Retry-After only where nothing can have been written: clients repeat any verb that carries
    it."""
    if error.committed is None:
        return ServerTimeout(f"the write may or may not have been stored: {error}; read the object before you repeat it")
    retry = {"retryAfterSeconds": 1}
    return ServerTimeout(f"the store did not take the request: {error}", details=retry, headers=[("retry-after", "1")])
