"""Brings the roles and bindings that a server needs (`apiserver.bound`) into its store.

At every start what is missing is added: a role of Kubernetes' own that somebody widened stays wider, one that somebody narrowed
gets back what it needs, and one whose annotation `rbac.authorization.kubernetes.io/autoupdate` is "false" is left alone. The
roles of actors are brought to exactly what the actors declare, and go with their actors. What is as it should be is not written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import anyio

from admission.identity import Identity
from admission.rules import Table, compact, missing, on_wire
from apiserver.bound import OURS, UPDATED, Bound
from apiserver.calls import Call
from apiserver.manager import Manager
from apiserver.roles import RoleSums, read_role
from apiserver.stored import document_of
from apiserver.target import Target
from registry.builtin import CLUSTER_ROLE, ROLES
from registry.errors import AlreadyExists, ConflictError, NotFound
from registry.nodes import Document
from storage.store import Key


async def bring(manager: Manager, identity: Identity, wanted: Iterable[Bound]) -> None:
    """Makes it so. Servers that start together on one database do not disturb each other."""
    wanted = list(wanted)
    async with anyio.create_task_group() as tasks:
        for each in wanted:
            tasks.start_soon(_bring_one, manager, identity, each)
        for target in _abandoned(manager, wanted):
            tasks.start_soon(_ask, manager, Call(identity, "delete", target))
    await _sum_up(manager, identity)


async def _sum_up(manager: Manager, identity: Identity) -> None:
    """Writes into the roles that are made of others what they are made of, so that nothing is left to do after the start."""
    sums = RoleSums(manager.authorization.rbac)
    for name in sums.aggregated():
        record = manager.store.get(Key(CLUSTER_ROLE.resource, "", name))
        rules = sums.rules(name)
        if record is not None and (document := document_of(record)).get("rules") != rules:
            target = Target(CLUSTER_ROLE, CLUSTER_ROLE.storage, None, name)
            await _ask(manager, Call(identity, "update", target, body={**document, "rules": rules}))


async def _bring_one(manager: Manager, identity: Identity, wanted: Bound) -> None:
    kind = wanted.kind
    target = Target(kind, kind.storage, wanted.namespace or None, wanted.name)
    record = manager.store.get(Key(kind.resource, wanted.namespace, wanted.name))
    if record is None:
        await _create(manager, identity, target, wanted)
        return
    old = document_of(record)
    if (old["metadata"].get("annotations") or {}).get(UPDATED) == "false":
        return
    if "roleRef" in wanted.body and old["roleRef"] != wanted.body["roleRef"]:  # it cannot be changed
        await _ask(manager, Call(identity, "delete", target))
        await _create(manager, identity, target, wanted)
        return
    new = brought(old, wanted)
    if new != old:
        await _ask(manager, Call(identity, "update", target, body=new))


async def _create(manager: Manager, identity: Identity, target: Target, wanted: Bound) -> None:
    metadata = {"name": wanted.name, "labels": wanted.labels, "annotations": {UPDATED: "true"}}
    place = Target(target.kind, target.version, target.namespace)
    await _ask(manager, Call(identity, "create", place, body={"metadata": metadata, **wanted.body}))


async def _ask(manager: Manager, call: Call) -> None:
    """Another server may have been faster, and wants the same."""
    try:
        await manager.handle(call)
    except (AlreadyExists, NotFound, ConflictError):
        return


def brought(old: Document, wanted: Bound) -> Document:
    """What a role or a binding that is there has to become. Pure."""
    metadata = old["metadata"]
    labels = {**metadata.get("labels", {}), **wanted.labels}
    new = {**old, "metadata": {**metadata, "labels": labels}}
    if wanted.exact:
        return {**new, **wanted.body}
    if "subjects" in wanted.body:
        return {**new, "subjects": _with(old.get("subjects"), wanted.body["subjects"])}
    if "aggregationRule" in wanted.body:  # its rules follow
        asked = (old.get("aggregationRule") or {}).get("clusterRoleSelectors")
        return {
            **new,
            "aggregationRule": {"clusterRoleSelectors": _with(asked, wanted.body["aggregationRule"]["clusterRoleSelectors"])},
        }
    lacking = compact(missing(Table(read_role(old).rules), read_role({"rules": wanted.body["rules"]}).rules))
    return {**new, "rules": [*(old.get("rules") or ()), *on_wire(lacking)] or None}


def _with(there: list[Any] | None, wanted: list[Any]) -> list[Any]:
    return [*(there or ()), *(each for each in wanted if each not in (there or ()))]


def _abandoned(manager: Manager, wanted: Iterable[Bound]) -> Iterable[Target]:
    """What was made for actors that are not there any more."""
    needed = {Key(each.kind.resource, each.namespace, each.name) for each in wanted}
    for kind in ROLES:
        for record in manager.store.list(kind.resource).records:
            if record.key in needed:
                continue
            metadata = document_of(record)["metadata"]
            ours = OURS in (metadata.get("labels") or {})
            if ours and (metadata.get("annotations") or {}).get(UPDATED) == "true":
                yield Target(kind, kind.storage, record.key.namespace or None, record.key.name)
