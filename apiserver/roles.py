"""Roles and bindings as they are stored, told to the one who decides by them (`admission.rbac`) in the step that commits them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from admission.authorizer import MastersAuthorizer, OwnerAuthorizer
from admission.identity import Identity
from admission.rbac import Binding, Place, Rbac, Role, Subject
from admission.review import Attributes, Authorizer, Decision
from admission.rules import Rule, on_wire
from apiserver.following import follow
from registry.builtin import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from registry.builtin.rbac import GROUP
from registry.catalog import Catalog, Update
from registry.errors import ApiError
from registry.kinds import Kind, resource_name
from registry.selectors import LabelSelector
from storage.sql import SqlStore
from storage.store import Record


class _Metadata(msgspec.Struct):
    labels: dict[str, str] = {}


class _Aggregation(msgspec.Struct, rename="camel"):
    cluster_role_selectors: list[dict[str, Any]] | None = None


class StoredRole(msgspec.Struct, rename="camel"):
    """What matters of a Role or a ClusterRole."""

    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    rules: tuple[Rule, ...] | None = None
    aggregation_rule: _Aggregation | None = None


class _RoleRef(msgspec.Struct, rename="camel"):
    api_group: str = ""
    kind: str = ""
    name: str = ""


class StoredBinding(msgspec.Struct, rename="camel"):
    """What matters of a RoleBinding or a ClusterRoleBinding."""

    role_ref: _RoleRef = msgspec.field(default_factory=_RoleRef)
    subjects: tuple[Subject, ...] | None = None


class Authorization:
    """Who may do what on a server: what `admission.authorizer` says, and after it the roles."""

    def __init__(self, authorizer: Authorizer, rbac: Rbac) -> None:
        self.decide: Callable[[Attributes], Decision] = authorizer.decide
        self.rbac = rbac

    def rules_for(self, identity: Identity, namespace: str) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
        """All that somebody may do in a namespace (none: everywhere) by their roles: about resources, and about paths."""
        return self.rbac.rules_for(identity, namespace)


def authorization(catalog: Catalog, store: SqlStore, then: Authorizer | None = None) -> Authorization:
    """Decides by who owns what in the registry, always the newest, and then by the roles in the store (or whatever else is to
    decide)."""
    rbac = rbac_of(store)
    owners = OwnerAuthorizer({}, then=then or MastersAuthorizer(rbac))
    for kind in catalog.registry.kinds:
        _give(owners, kind)

    def follow_kinds(update: Update) -> None:
        for resource in update.changed:
            before, after = update.before.of_resource(resource), update.after.of_resource(resource)
            for each in () if before is None else _resources(before):
                owners.leave(each)
            if after is not None:
                _give(owners, after)

    catalog.follow(follow_kinds)
    return Authorization(owners, rbac)


def _give(owners: OwnerAuthorizer, kind: Kind) -> None:
    for resource in _resources(kind):
        owners.give(resource, kind.owner, kind.maker)


def _resources(kind: Kind) -> set[str]:
    """What the kind is called by who asks for it: it may be served in several groups."""
    return {resource_name(kind.plural, version.group) for version in kind.versions}


def rbac_of(store: SqlStore) -> Rbac:
    """Decides by the roles and bindings that the store has, always the newest."""
    rbac = Rbac()
    for resource in (ROLE.resource, CLUSTER_ROLE.resource):
        follow(store, resource, _Follower(msgspec.json.Decoder(StoredRole).decode, role_of, rbac.put_role, rbac.remove_role))
    for resource in (ROLE_BINDING.resource, CLUSTER_ROLE_BINDING.resource):
        decode = msgspec.json.Decoder(StoredBinding).decode
        follow(store, resource, _Follower(decode, binding_of, rbac.put_binding, rbac.remove_binding))
    return rbac


def read_role(document: Mapping[str, Any]) -> Role:
    """A role, as it was written. Raises ValueError."""
    return role_of(msgspec.convert(document, StoredRole))


def read_binding(document: Mapping[str, Any]) -> Binding:
    """A binding, as it was written. Raises ValueError."""
    return binding_of(msgspec.convert(document, StoredBinding))


def role_of(stored: StoredRole) -> Role:
    """What a role means. Raises BadRequest for selectors that are none."""
    aggregation = stored.aggregation_rule
    selectors = None
    if aggregation is not None:
        selectors = tuple(LabelSelector.from_object(selector) for selector in aggregation.cluster_role_selectors or ())
    return Role(stored.rules or (), stored.metadata.labels, selectors)


def binding_of(stored: StoredBinding) -> Binding:
    """What a binding means. One that is not about a role of this API binds nothing."""
    ref = stored.role_ref
    return Binding(ref.kind if ref.api_group == GROUP else "", ref.name, stored.subjects or ())


class _Follower:
    """Tells what is read of each record. What cannot be read counts as absent: it allows nothing."""

    def __init__(
        self,
        decode: Callable[[bytes], Any],
        read: Callable[[Any], Any],
        put: Callable[[Place, Any], None],
        remove: Callable[[Place], None],
    ) -> None:
        self._decode = decode
        self._read = read
        self._put = put
        self._remove = remove

    def put(self, record: Record) -> None:
        """See `Follower`."""
        place = Place(record.key.namespace, record.key.name)
        try:
            value = self._read(self._decode(record.desired))
        except (msgspec.MsgspecError, ApiError, ValueError):
            self._remove(place)
            return
        self._put(place, value)

    def remove(self, record: Record) -> None:
        """See `Follower`."""
        self._remove(Place(record.key.namespace, record.key.name))


class RoleSums:
    """Implements `actors.builtin.aggregation.Sums`."""

    def __init__(self, rbac: Rbac) -> None:
        self._rbac = rbac

    def aggregated(self) -> list[str]:
        """See `Sums`."""
        return [place.name for place in self._rbac.aggregated()]

    def rules(self, name: str) -> list[dict[str, Any]]:
        """See `Sums`."""
        return on_wire(self._rbac.rules_of(Place("", name)))
