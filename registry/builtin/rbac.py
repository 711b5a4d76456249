"""Role, ClusterRole, RoleBinding, ClusterRoleBinding (rbac.authorization.k8s.io/v1): what may be done, and by whom.

A role holds rules; a binding gives the rules of one role to subjects. A Role and a RoleBinding count in their namespace; a
ClusterRole counts wherever it is bound: everywhere by a ClusterRoleBinding, in one namespace by a RoleBinding there. What the rules
mean is in `admission.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from registry.builtin.common import AGE, NAME, builtin, column, made, version, without_empty
from registry.errors import Cause, invalid, not_supported, required
from registry.kinds import Column, Document, Printer
from registry.names import dns1123_subdomain, path_segment
from registry.resource import Meta, Object, OmitEmpty, Struct
from registry.selectors import check_object

GROUP = "rbac.authorization.k8s.io"
API_VERSION = f"{GROUP}/v1"
USER, GROUP_KIND, ACCOUNT = "User", "Group", "ServiceAccount"


class PolicyRule(Struct):
    """PolicyRule holds what may be done: verbs on resources, or on paths that are no resources."""

    verbs: Annotated[list[str] | None, Meta(description="Verbs, as get; * is all of them.")] = None
    api_groups: Annotated[
        list[str] | None, OmitEmpty, Meta(description="Groups of the resources; '' is the core group, * is all of them.")
    ] = None
    resources: Annotated[
        list[str] | None, OmitEmpty, Meta(description="Plurals, as pods; pods/status and */scale are subresources; * is all.")
    ] = None
    resource_names: Annotated[
        list[str] | None, OmitEmpty, Meta(description="The only names of objects that the rule is about; none: all objects.")
    ] = None
    non_resource_urls: Annotated[
        list[str] | None, OmitEmpty, Meta(description="Paths that are no resources, as /metrics; a * at the end is any rest.")
    ] = msgspec.field(default=None, name="nonResourceURLs")


class Subject(Struct):
    """Subject is who gets the rules of a role: a user, a group, or a service account."""

    kind: Annotated[str, Meta(description="User, Group or ServiceAccount.")] = ""
    name: Annotated[str, Meta(description="The name of the user, the group or the account.")] = ""
    api_group: Annotated[
        str, OmitEmpty, Meta(description="Of users and groups rbac.authorization.k8s.io, of service accounts nothing.")
    ] = ""
    namespace: Annotated[str, OmitEmpty, Meta(description="Where the service account is.")] = ""


class RoleRef(Struct):
    """RoleRef names the role that is bound."""

    api_group: Annotated[str, Meta(description="rbac.authorization.k8s.io")] = ""
    kind: Annotated[str, Meta(description="Role, of the same namespace, or ClusterRole.")] = ""
    name: Annotated[str, Meta(description="The name of the role. It need not be there.")] = ""


class SelectorRequirement(Struct):
    """A label selector requirement is a key, an operator, and values that relate to it."""

    key: Annotated[str, Meta(description="The label's key.")]
    operator: Annotated[str, Meta(description="In, NotIn, Exists or DoesNotExist.")]
    values: Annotated[list[str] | None, OmitEmpty, Meta(description="The values for In and NotIn.")] = None


class RoleSelector(Struct):
    """A label selector is a query over labels; an empty one matches everything."""

    match_labels: Annotated[dict[str, str] | None, OmitEmpty, Meta(description="Labels with these values.")] = None
    match_expressions: Annotated[list[SelectorRequirement] | None, OmitEmpty, Meta(description="Further requirements.")] = None


class AggregationRule(Struct):
    """AggregationRule says of which cluster roles another one is made."""

    cluster_role_selectors: Annotated[
        list[RoleSelector] | None, OmitEmpty, Meta(description="A role that any of these selects gives its rules.")
    ] = None


Rules = Annotated[list[PolicyRule] | None, Meta(description="What may be done. There is no rule that forbids.")]
Subjects = Annotated[list[Subject] | None, OmitEmpty, Meta(description="Who may do it.")]


class Role(Object):
    """Role is a set of rules that count in its namespace."""

    rules: Rules = None


class ClusterRole(Object):
    """ClusterRole is a set of rules that count wherever they are bound."""

    rules: Rules = None
    aggregation_rule: Annotated[
        AggregationRule | None, Meta(description="If it is there, the rules are those of other roles, and are kept so.")
    ] = None


class RoleBinding(Object):
    """RoleBinding gives the rules of a role to subjects, in its namespace."""

    subjects: Subjects = None
    role_ref: Annotated[RoleRef, Meta(description="The role. It cannot be changed.")] = RoleRef()


class ClusterRoleBinding(Object):
    """ClusterRoleBinding gives the rules of a cluster role to subjects, everywhere."""

    subjects: Subjects = None
    role_ref: Annotated[RoleRef, Meta(description="The role. It cannot be changed.")] = RoleRef()


def prepare_role(new: Document, old: Document | None) -> Document:
    """Rules are always there, if only as null; empty lists in them are not stored."""
    del old
    rules = [without_empty(rule, "apiGroups", "resources", "resourceNames", "nonResourceURLs") for rule in new.get("rules") or ()]
    return {**new, "rules": rules or new.get("rules")}


def prepare_binding(new: Document, old: Document | None) -> Document:
    """Users and groups are of the API group of roles, and so is the role, if nothing else is said."""
    del old
    document = {**new, "roleRef": _grouped(new.get("roleRef") or {})}
    if new.get("subjects"):
        document["subjects"] = [_with_group(subject) for subject in new["subjects"]]
    return without_empty(document, "subjects")


def _with_group(subject: Document) -> Document:
    return _grouped(subject) if subject.get("kind") in (USER, GROUP_KIND) else without_empty(subject, "apiGroup")


def _grouped(document: Document) -> Document:
    return document if document.get("apiGroup") else {**document, "apiGroup": GROUP}


def check_role(new: Document, old: Document | None) -> list[Cause]:
    """Every rule is about resources, and about some."""
    del old
    return [cause for at, rule in enumerate(new.get("rules") or ()) for cause in rule_causes(rule, f"rules[{at}]", namespaced=True)]


def check_cluster_role(new: Document, old: Document | None) -> list[Cause]:
    """Every rule is about resources or about paths; an aggregation selects something."""
    del old
    rules = enumerate(new.get("rules") or ())
    causes = [cause for at, rule in rules for cause in rule_causes(rule, f"rules[{at}]", namespaced=False)]
    aggregation = new.get("aggregationRule")
    if aggregation is None:
        return causes
    field = "aggregationRule.clusterRoleSelectors"
    selectors = aggregation.get("clusterRoleSelectors") or ()
    if not selectors:
        causes.append(required(field, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
    return causes + [cause for at, selector in enumerate(selectors) for cause in check_object(selector, f"{field}[{at}]")]


def rule_causes(rule: Document, field: str, *, namespaced: bool) -> Iterable[Cause]:
    """What is wrong with a rule."""
    if not rule.get("verbs"):
        yield required(f"{field}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            yield invalid(f"{field}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid(f"{field}.nonResourceURLs", urls, why)
        return
    if not rule.get("apiGroups"):
        yield required(f"{field}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{field}.resources", "resource rules must supply at least one resource")


def check_role_binding(new: Document, old: Document | None) -> list[Cause]:
    """It binds a role or a cluster role, always the same."""
    return list(_binding_causes(new, old, ("Role", "ClusterRole"), namespaced=True))


def check_cluster_role_binding(new: Document, old: Document | None) -> list[Cause]:
    """It binds a cluster role, always the same."""
    return list(_binding_causes(new, old, ("ClusterRole",), namespaced=False))


def _binding_causes(new: Document, old: Document | None, kinds: tuple[str, ...], *, namespaced: bool) -> Iterable[Cause]:
    ref = new.get("roleRef") or {}
    group, kind, name = ref.get("apiGroup", ""), ref.get("kind", ""), ref.get("name", "")
    if group != GROUP:
        yield not_supported("roleRef.apiGroup", group, [GROUP])
    if kind not in kinds:
        yield not_supported("roleRef.kind", kind, kinds)
    if not name:
        yield required("roleRef.name")
    for problem in path_segment(name):
        yield invalid("roleRef.name", name, problem)
    for at, subject in enumerate(new.get("subjects") or ()):
        yield from _subject_causes(subject, f"subjects[{at}]", namespaced=namespaced)
    if old is not None and ref != old.get("roleRef"):
        yield invalid("roleRef", {"APIGroup": group, "Kind": kind, "Name": name}, "cannot change roleRef")


def _subject_causes(subject: Document, field: str, *, namespaced: bool) -> Iterable[Cause]:
    kind, name, group = subject.get("kind", ""), subject.get("name", ""), subject.get("apiGroup", "")
    if not name:
        yield required(f"{field}.name")
    if kind == ACCOUNT:
        for problem in dns1123_subdomain(name) if name else ():
            yield invalid(f"{field}.name", name, problem)
        if group:
            yield not_supported(f"{field}.apiGroup", group, [""])
        if not namespaced and not subject.get("namespace"):
            yield required(f"{field}.namespace")
    elif kind in (USER, GROUP_KIND):
        if group != GROUP:
            yield not_supported(f"{field}.apiGroup", group, [GROUP])
    else:
        yield not_supported(f"{field}.kind", kind, [ACCOUNT, USER, GROUP_KIND])


def bound_cells(document: Document, now: float) -> list[Any]:
    """The row of a binding."""
    ref = document.get("roleRef") or {}
    named: dict[str, list[str]] = {USER: [], GROUP_KIND: [], ACCOUNT: []}
    for subject in document.get("subjects") or ():
        name = subject.get("name", "")
        named.setdefault(subject.get("kind", ""), []).append(
            f"{subject.get('namespace', '')}/{name}" if subject.get("kind") == ACCOUNT else name
        )
    joined = [", ".join(named[kind]) for kind in (USER, GROUP_KIND, ACCOUNT)]
    return [document["metadata"]["name"], f"{ref.get('kind', '')}/{ref.get('name', '')}", made(document, now), *joined]


ROLE_TABLE = Printer(
    (NAME, Column("Created At", "", "date", "When the role was made.")),
    lambda document, _: [document["metadata"]["name"], document["metadata"].get("creationTimestamp")],
)
BINDING_TABLE = Printer(
    (
        NAME,
        column("Role", "The role that is bound."),
        AGE,
        column("Users", "The users to whom it is bound.", wide=True),
        column("Groups", "The groups to which it is bound.", wide=True),
        column("ServiceAccounts", "The service accounts to which it is bound.", wide=True),
    ),
    bound_cells,
)
ROLE = builtin(
    "Role",
    "roles",
    (version(Role, GROUP, "v1", "Role", ROLE_TABLE),),
    prepare=prepare_role,
    check=check_role,
    name_rule=path_segment,
    create_on_update=True,
)
CLUSTER_ROLE = builtin(
    "ClusterRole",
    "clusterroles",
    (version(ClusterRole, GROUP, "v1", "ClusterRole", ROLE_TABLE),),
    prepare=prepare_role,
    check=check_cluster_role,
    namespaced=False,
    name_rule=path_segment,
    create_on_update=True,
)
ROLE_BINDING = builtin(
    "RoleBinding",
    "rolebindings",
    (version(RoleBinding, GROUP, "v1", "RoleBinding", BINDING_TABLE),),
    prepare=prepare_binding,
    check=check_role_binding,
    name_rule=path_segment,
    create_on_update=True,
)
CLUSTER_ROLE_BINDING = builtin(
    "ClusterRoleBinding",
    "clusterrolebindings",
    (version(ClusterRoleBinding, GROUP, "v1", "ClusterRoleBinding", BINDING_TABLE),),
    prepare=prepare_binding,
    check=check_cluster_role_binding,
    namespaced=False,
    name_rule=path_segment,
    create_on_update=True,
)
