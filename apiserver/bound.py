"""The roles and bindings that a server makes at its start, as values. Pure.

* What every Kubernetes cluster has: `cluster-admin`, `admin`, `edit`, `view`, and what everybody may do (`system:...`).
* `admin`, `edit` and `view` are made of the roles that have the labels `rbac.authorization.k8s.io/aggregate-to-...`. The kinds of
  plugins are among them by two roles, `skep:aggregate-to-edit` and `skep:aggregate-to-view`: whoever has `edit` in a namespace may
  write the objects of every plugin's kind there, whoever has `view` may read them and their status. Kinds without namespaces are
  not: who may have them is for the administrator to say.
* One role for each actor, with just what it needs by what it declares, and one for its lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from actors.actor import Actor
from actors.builtin import namespaces
from actors.permissions import Permission, permissions
from admission.identity import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from admission.rules import Rule, on_wire
from apiserver import builtins
from registry.actors import ACTOR_NAMESPACE, SERVICE_ACCOUNT, account_name, user_of
from registry.builtin import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from registry.builtin import CUSTOM_RESOURCE_DEFINITION as DEFINITION
from registry.builtin.namespace import Namespace
from registry.builtin.rbac import GROUP, ClusterRole
from registry.builtin.serviceaccount import ServiceAccount
from registry.catalog import Registry
from registry.kinds import Kind
from registry.names import path_segment
from registry.nodes import Document

UPDATED = "rbac.authorization.kubernetes.io/autoupdate"
"""The annotation of what is brought back at every start. With "false" it is left alone."""
DEFAULTS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
OURS = "skep.dev/made-for"
"""The label of roles that are written anew at every start, and of those that go when nobody needs them any more."""
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

ACTOR_ROLE = "system:actor:"
"""How the names of the roles of actors begin."""

READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
HEALTH = ("/healthz", "/livez", "/readyz")
LEASES, EVENTS = "coordination.k8s.io", "events.k8s.io"
AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"


class Bound(msgspec.Struct, frozen=True):
    """A role or a binding that has to be there. `exact`: it is as it is here; otherwise it has at least what is here."""

    kind: Kind
    namespace: str
    name: str
    body: Document
    labels: dict[str, str] = msgspec.field(default_factory=DEFAULTS.copy)
    exact: bool = False


def bound(registry: Registry, actors: Iterable[Actor]) -> list[Bound]:
    """All of them; roles before the bindings that bind them."""
    return [
        *_defaults(),
        *_of_kinds(registry),
        *_of_builtins(registry),
        *(each for actor in actors for each in _of_actor(actor, registry)),
    ]


def on(group: str, resources: Iterable[str], verbs: Iterable[str], names: Iterable[str] = ()) -> Rule:
    """A rule about resources of one group."""
    return Rule(tuple(verbs), (group,), tuple(resources), tuple(names))


def at(*paths: str) -> Rule:
    """A rule about reading paths."""
    return Rule(verbs=("get",), non_resource_urls=paths)


def _defaults() -> Iterator[Bound]:
    everything = (Rule(("*",), ("*",), ("*",)), Rule(verbs=("*",), non_resource_urls=("*",)))
    yield from _everywhere("cluster-admin", everything, MASTERS)
    paths = ("/api", "/api/*", "/apis", "/apis/*", *HEALTH, "/openapi", "/openapi/*", "/version", "/version/")
    yield from _everywhere("system:discovery", [at(*paths)], AUTHENTICATED)
    reviews = [
        on(AUTHORIZATION, ("selfsubjectaccessreviews", "selfsubjectrulesreviews"), ("create",)),
        on(AUTHENTICATION, ("selfsubjectreviews",), ("create",)),
    ]
    yield from _everywhere("system:basic-user", reviews, AUTHENTICATED)
    public = [at(*HEALTH, "/version", "/version/")]
    yield from _everywhere("system:public-info-viewer", public, AUTHENTICATED, UNAUTHENTICATED)
    watched = [at("/metrics", *HEALTH, *(f"{path}/*" for path in HEALTH))]
    yield from _everywhere("system:monitoring", watched, "system:monitoring")
    reviewers = [
        on(AUTHENTICATION, ("tokenreviews",), ("create",)),
        on(AUTHORIZATION, ("subjectaccessreviews",), ("create",)),
    ]
    yield _cluster_role("system:auth-delegator", reviewers)
    yield from _for_people()


def _for_people() -> Iterator[Bound]:
    """The roles that are bound to people, and what they are made of."""
    yield _sum("admin")
    yield _sum("edit", "admin")
    yield _sum("view", "edit")
    admin = [
        on(AUTHORIZATION, ("localsubjectaccessreviews",), ("create",)),
        on(GROUP, ("roles", "rolebindings"), (*READ, *WRITE)),
    ]
    edit = [
        on("", ("secrets",), READ),
        on("", ("serviceaccounts",), ("impersonate",)),
        on("", ("serviceaccounts/token",), ("create",)),
        on("", ("configmaps", "events", "secrets", "serviceaccounts"), WRITE),
        on(LEASES, ("leases",), (*READ, *WRITE)),
        on(EVENTS, ("events",), WRITE),
    ]
    view = [
        on(
            "",
            (
                "configmaps",
                "events",
                "namespaces",
                "namespaces/status",
                "resourcequotas",
                "resourcequotas/status",
                "serviceaccounts",
            ),
            READ,
        ),
        on(EVENTS, ("events",), READ),
    ]
    for name, rules in (("admin", admin), ("edit", edit), ("view", view)):
        yield _cluster_role(f"system:aggregate-to-{name}", rules, labels={**DEFAULTS, f"{AGGREGATE}{name}": "true"})


def _of_kinds(registry: Registry) -> Iterator[Bound]:
    """What `edit` and `view` say of the kinds of plugins."""
    edit, view = [], []
    for kind in registry.kinds:
        if kind.strategy.builtin or not kind.namespaced:
            continue
        readable = [kind.plural, *(f"{kind.plural}/{name}" for name, verbs in kind.subresources.items() if "get" in verbs)]
        writable = [kind.plural, *([f"{kind.plural}/scale"] if kind.scale is not None else [])]
        for group in dict.fromkeys(version.group for version in kind.versions):
            view.append(on(group, readable, READ))
            edit.append(on(group, writable, WRITE))
    for name, rules in (("edit", edit), ("view", view)):
        labels = {OURS: "kinds", f"{AGGREGATE}{name}": "true"}
        yield _cluster_role(f"skep:aggregate-to-{name}", rules, labels=labels, exact=True)


def _of_builtins(registry: Registry) -> Iterator[Bound]:
    """The server's own actors, which no plugin declares."""
    every = on("*", ("*",), ("get", "list", "watch", "patch", "delete"))
    yield from _actor_roles(builtins.COLLECTOR, user_of(builtins.COLLECTOR), [every])
    yield from _actor_roles(builtins.EXPIRY, user_of(builtins.EXPIRY), [on("*", ("*",), ("get", "delete"))])
    keeper = [
        on("*", ("*",), ("get", "delete")),
        on("", ("namespaces/finalize",), ("update",)),
        *_rules(permissions(Namespace, [ServiceAccount], [ServiceAccount]), registry),
    ]
    yield from _actor_roles(namespaces.NAME, user_of(namespaces.NAME), keeper)
    definer = [
        on("*", ("*",), ("delete",)),
        on(DEFINITION.group, (DEFINITION.plural,), ("patch",)),
        on(DEFINITION.group, (f"{DEFINITION.plural}/status",), ("update",)),
    ]
    yield from _actor_roles(builtins.DEFINITIONS, user_of(builtins.DEFINITIONS), definer)
    adder = _rules(permissions(ClusterRole, [], []), registry)
    yield from _actor_roles(builtins.AGGREGATION, user_of(builtins.AGGREGATION), adder)


def _of_actor(actor: Actor, registry: Registry) -> Iterator[Bound]:
    """What an actor needs, and its lease."""
    yield from _actor_roles(actor.name, actor.identity, _rules(actor.permissions(), registry))
    lease = [on(LEASES, ("leases",), ("get", "update", "patch"), (account_name(actor.name),)), on(LEASES, ("leases",), ("create",))]
    name, labels = _role_name(actor.name), {OURS: "actor"}
    yield Bound(ROLE, ACTOR_NAMESPACE, name, _role_body(lease), labels, exact=True)
    body = _binding_body("Role", name, [_user(actor.identity)])
    yield Bound(ROLE_BINDING, ACTOR_NAMESPACE, name, body, labels, exact=True)


def _rules(wanted: Iterable[Permission], registry: Registry) -> list[Rule]:
    rules = []
    for permission in wanted:
        found = registry.of_model(permission.model)
        if found is not None:
            kind, version = found
            plural = f"{kind.plural}/{permission.subresource}" if permission.subresource else kind.plural
            rules.append(on(version.group, (plural,), permission.verbs))
    return rules


def _actor_roles(actor: str, username: str, rules: Iterable[Rule]) -> Iterator[Bound]:
    name, labels = _role_name(actor), {OURS: "actor"}
    yield Bound(CLUSTER_ROLE, "", name, _role_body(rules), labels, exact=True)
    yield Bound(CLUSTER_ROLE_BINDING, "", name, _binding_body("ClusterRole", name, [_user(username)]), labels, exact=True)


def _role_name(actor: str) -> str:
    """The name of an actor's role. An actor's name that no role could have is digested."""
    return ACTOR_ROLE + (actor if not path_segment(actor) else account_name(actor))


def _everywhere(name: str, rules: Iterable[Rule], *groups: str) -> Iterator[Bound]:
    """A cluster role, bound everywhere to groups."""
    yield _cluster_role(name, rules)
    subjects = [{"kind": "Group", "apiGroup": GROUP, "name": group} for group in groups]
    yield Bound(CLUSTER_ROLE_BINDING, "", name, _binding_body("ClusterRole", name, subjects))


def _cluster_role(name: str, rules: Iterable[Rule], *, labels: dict[str, str] = DEFAULTS, exact: bool = False) -> Bound:
    return Bound(CLUSTER_ROLE, "", name, _role_body(rules), labels, exact=exact)


def _sum(name: str, part_of: str = "") -> Bound:
    """A cluster role that is made of others, and may be a part of another one."""
    rule = {"clusterRoleSelectors": [{"matchLabels": {f"{AGGREGATE}{name}": "true"}}]}
    labels = {**DEFAULTS, **({f"{AGGREGATE}{part_of}": "true"} if part_of else {})}
    return Bound(CLUSTER_ROLE, "", name, {"aggregationRule": rule}, labels)


def _role_body(rules: Iterable[Rule]) -> Document:
    return {"rules": on_wire(rules) or None}


def _binding_body(kind: str, name: str, subjects: list[dict[str, Any]]) -> Document:
    return {"roleRef": {"apiGroup": GROUP, "kind": kind, "name": name}, "subjects": subjects}


def _user(username: str) -> dict[str, Any]:
    """The subject that a user name stands for."""
    namespace, colon, name = username.removeprefix(SERVICE_ACCOUNT).partition(":")
    if username.startswith(SERVICE_ACCOUNT) and colon:
        return {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    return {"kind": "User", "apiGroup": GROUP, "name": username}
