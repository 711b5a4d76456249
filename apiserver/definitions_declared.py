"""Kinds that are declared in code, told as CustomResourceDefinitions: clients look for kinds there.

They are stored objects, so that lists and watches of them mean what they always mean; they are brought up to date at every start,
and can only be read (`apiserver.definitions_guard`). Nothing is served by them: those whose kinds nobody declares any more go, and
the objects of those kinds stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from admission.identity import Identity
from apiserver.calls import Call
from apiserver.definitions import RESOURCE, names_of
from apiserver.manager import Manager
from apiserver.stored import document_of
from apiserver.target import Target
from registry.builtin.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION as DEFINITION
from registry.builtin.customresourcedefinition import FINALIZER
from registry.custom.definition import DECLARED, ESTABLISHED, names_document
from registry.errors import AlreadyExists, ConflictError, NotFound
from registry.kinds import Column, Kind, Version
from registry.nodes import Document
from registry.openapi_schemas import schema_of_node
from registry.times import format_time
from storage.store import Key, Record

MARK = DECLARED.encode()
"""Is in the bytes of every definition of a declared kind: there are thousands of others, which need not be read."""


async def declare(manager: Manager, identity: Identity, now: float) -> None:
    """Makes the definitions what the code declares. Servers that start together on one database do not disturb each other."""
    kinds = {kind.resource: kind for kind in manager.registry.kinds if is_declared(kind)}
    for record in manager.store.list(RESOURCE).records:
        if record.key.name not in kinds and MARK in record.desired and where_declared(document := document_of(record)):
            await _drop(manager, identity, document)
    async with anyio.create_task_group() as tasks:
        for kind in kinds.values():
            tasks.start_soon(_declare_one, manager, identity, kind, format_time(now))


def is_declared(kind: Kind) -> bool:
    """Whether a kind is one of this server's own that would be a definition elsewhere."""
    return kind.stored and not kind.strategy.builtin and not kind.defined


def where_declared(document: Document) -> str:
    """Where the kind of a definition is declared; empty: nowhere, it is defined by that."""
    annotations: Mapping[str, str] = document["metadata"].get("annotations") or {}
    return annotations.get(DECLARED, "")


async def _declare_one(manager: Manager, identity: Identity, kind: Kind, now: str) -> None:
    place = Target(DEFINITION, DEFINITION.storage, None)
    record = manager.store.get(Key(RESOURCE, "", kind.resource))
    body = definition_of(kind)
    if record is None:
        record = await _ask(manager, Call(identity, "create", place, body=body))
    else:
        old = document_of(record)
        finalizers = [each for each in old["metadata"].get("finalizers") or () if each != FINALIZER]
        metadata = {**old["metadata"], **body["metadata"], "finalizers": finalizers}
        record = await _write(manager, identity, "", {**body, "metadata": metadata, "status": old.get("status")})
    if record is not None:
        old = document_of(record)
        await _write(manager, identity, "status", {**old, "status": status_of(kind, old.get("status") or {}, now)})


async def _write(manager: Manager, identity: Identity, subresource: str, body: Document) -> Record | None:
    """Writes a definition. An unchanged one is not written: the manager sees to that."""
    target = Target(DEFINITION, DEFINITION.storage, None, body["metadata"]["name"], subresource)
    return await _ask(manager, Call(identity, "update", target, body=body))


async def _drop(manager: Manager, identity: Identity, document: Document) -> None:
    """Takes away a definition that tells of a kind which is no more. Nothing is to be done about its objects."""
    name = document["metadata"]["name"]
    await _ask(manager, Call(identity, "delete", Target(DEFINITION, DEFINITION.storage, None, name)))
    record = manager.store.get(Key(RESOURCE, "", name))
    if record is not None:
        left = document_of(record)
        finalizers = [each for each in left["metadata"].get("finalizers") or () if each != FINALIZER]
        await _write(manager, identity, "", {**left, "metadata": {**left["metadata"], "finalizers": finalizers}})


async def _ask(manager: Manager, call: Call) -> Record | None:
    """Another server may have been faster, and wants the same."""
    try:
        return (await manager.handle(call)).record
    except (AlreadyExists, NotFound, ConflictError):
        return None


def definition_of(kind: Kind) -> Document:
    """The definition that a kind would have, without its status. Pure."""
    versions = [_version(kind, version) for version in kind.versions if version.group == kind.group]
    return {
        "metadata": {"name": kind.resource, "annotations": {DECLARED: kind.source or "skep"}},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": names_document(names_of(kind)),
            "versions": versions,
            "conversion": {"strategy": "None"},
        },
    }


def _version(kind: Kind, version: Version) -> Document:
    below: Document = {"status": {}} if kind.has_status else {}
    if kind.scale is not None:
        paths = {"specReplicasPath": kind.scale.spec, "statusReplicasPath": kind.scale.status}
        below["scale"] = paths | ({"labelSelectorPath": kind.scale.selector} if kind.scale.selector else {})
    told: Document = {
        "name": version.name,
        "served": version.served,
        "storage": version is kind.storage,
        "schema": {"openAPIV3Schema": schema_of_node(version.schema.node)},
    }
    if version.warning:
        told |= {"deprecated": True, "deprecationWarning": version.warning}
    if below:
        told["subresources"] = below
    if version.columns:
        told["additionalPrinterColumns"] = [_column(column) for column in version.columns]
    if version.selectable:
        told["selectableFields"] = [{"jsonPath": f".{name}"} for name in version.selectable]
    return told


def _column(column: Column) -> Document:
    told: Document = {"name": column.name, "type": column.type, "jsonPath": column.path}
    more = {"description": column.description, "priority": column.priority, "format": column.format}
    return told | {key: value for key, value in more.items() if value}


def status_of(kind: Kind, status: Document, now: str) -> Document:
    """The status of such a definition: its names are its own. Pure."""
    since = {each["type"]: each.get("lastTransitionTime") for each in status.get("conditions") or ()}
    told = (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        (ESTABLISHED, "InitialNamesAccepted", "the initial names have been accepted"),
    )
    conditions = [
        {"type": each, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since.get(each) or now}
        for each, reason, message in told
    ]
    stored = status.get("storedVersions") or [kind.storage.name]
    return {**status, "conditions": conditions, "acceptedNames": names_document(names_of(kind)), "storedVersions": stored}
