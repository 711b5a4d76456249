"""Rights that are given by roles: what is there from the start, who gets in where, and that nobody gives what they do not have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from admission.identity import ADMIN, Identity, actor_identity, authenticated
from admission.review import Attributes
from apiserver.bootstrapping import bring
from apiserver.bound import UPDATED, bound
from apiserver.patching import APPLY_PATCH, JSON_PATCH, MERGE_PATCH
from apiserver.wiring import actors_of
from registry.actors import BUILTIN_ACTORS, account_name, user_of
from registry.declarations import DeclarationError
from registry.errors import ApiError, Forbidden, Invalid, NotFound
from tests.apiserver.world import CONFIGMAPS, GADGETS, NAMESPACES, TRINKETS, WIDGETS, Orphan, World, opened, trinkets

pytestmark = pytest.mark.anyio

Document = dict[str, Any]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES, BINDINGS = f"{RBAC}/namespaces/shop/roles", f"{RBAC}/namespaces/shop/rolebindings"
CLUSTER_ROLES, CLUSTER_BINDINGS = f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings"
ANN = authenticated(Identity("ann"))
VERBS = ("get", "list", "create", "update", "patch", "delete", "deletecollection")


@pytest.fixture
async def strict() -> AsyncIterator[World]:
    """A world with the roles of a server, in which only the administrator may do anything."""
    async with opened(roles=True) as made:
        yield made


def rule(verbs: str, resources: str, group: str = "", names: str = "") -> Document:
    given = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return given | ({"resourceNames": names.split()} if names else {})


def user(name: str = "ann") -> Document:
    return {"kind": "User", "name": name}


async def give(world: World, *rules: Document, name: str = "given") -> None:
    """Lets Ann do something in the shop."""
    await world.make(ROLES, name, rules=list(rules))
    await world.make(BINDINGS, name, roleRef={"kind": "Role", "name": name}, subjects=[user()])


async def give_everywhere(world: World, *rules: Document, name: str = "given") -> None:
    await world.make(CLUSTER_ROLES, name, rules=list(rules))
    await world.make(CLUSTER_BINDINGS, name, roleRef={"kind": "ClusterRole", "name": name}, subjects=[user()])


POLISH = user_of("polish")
"""The user name of an actor of the trinkets."""


async def bind(world: World, role: str) -> None:
    """Gives Ann a cluster role in the shop."""
    await world.make(BINDINGS, role, roleRef={"kind": "ClusterRole", "name": role}, subjects=[user()])


async def refused(world: World, verb: str, path: str, body: Document | bytes = b"", **more: Any) -> str:
    """Why Ann may not; fails if she may."""
    with pytest.raises(Forbidden) as error:
        await world.do(verb, path, body, who=ANN, **more)
    return error.value.message


async def passes(world: World, verb: str, path: str, body: Document | bytes = b"", **more: Any) -> bool:
    """Whether Ann is let through, whatever becomes of her request."""
    try:
        await world.do(verb, path, body, who=ANN, **more)
    except Forbidden:
        return False
    except ApiError:
        return True
    return True


# Default deny


async def test_whoever_has_no_role_may_do_nothing_and_learns_nothing(strict: World) -> None:
    await strict.make(CONFIGMAPS, "there")
    for kind in strict.registry.kinds:
        for version in kind.versions:
            base = f"/apis/{version.group}/{version.name}" if version.group else f"/api/{version.name}"
            place = f"{base}/namespaces/shop/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
            for verb in VERBS:
                if verb == "create" and kind.plural.startswith("selfsubject"):
                    continue  # everybody may ask about themselves
                path = place if verb in ("list", "create", "deletecollection") else f"{place}/some"
                assert "cannot" in await refused(strict, verb, path, {}), (verb, path)
            for subresource, verbs in kind.subresources.items():
                for verb in verbs:
                    await refused(strict, verb, f"{place}/some/{subresource}", {})
    there, missing = [await refused(strict, "get", f"{CONFIGMAPS}/{name}") for name in ("there", "gone")]
    assert there.replace("there", "gone") == missing


async def test_a_right_on_some_kinds_is_none_on_their_subresources_or_elsewhere(strict: World) -> None:
    await give(strict, rule("*", "widgets", "reference.example.com"))
    assert await passes(strict, "get", f"{WIDGETS}/a")
    for path in (f"{WIDGETS}/a/status", f"{WIDGETS}/a/scale", f"{CONFIGMAPS}/a", f"{GADGETS}/a"):
        assert not await passes(strict, "get", path), path
    assert not await passes(strict, "list", "/apis/reference.example.com/v1/widgets"), "all namespaces"
    assert not await passes(strict, "get", WIDGETS.replace("shop", "default") + "/a")
    await give(strict, rule("create", "serviceaccounts"), name="accounts")
    assert not await passes(strict, "create", f"{NAMESPACES}/shop/serviceaccounts/default/token", {})


async def test_a_namespace_is_in_the_namespace_of_its_name(strict: World) -> None:
    await give(strict, rule("get", "namespaces"))
    assert await passes(strict, "get", f"{NAMESPACES}/shop")
    assert not await passes(strict, "get", f"{NAMESPACES}/default")
    assert not await passes(strict, "list", NAMESPACES)


async def test_names_bound_what_has_a_name_and_nothing_that_has_none(strict: World) -> None:
    await give(strict, rule("*", "configmaps", names="mine"))
    assert await passes(strict, "get", f"{CONFIGMAPS}/mine")
    assert await passes(strict, "list", CONFIGMAPS, query="fieldSelector=metadata.name%3Dmine")
    assert not await passes(strict, "list", CONFIGMAPS, query="fieldSelector=metadata.name!%3Dmine")
    assert not await passes(strict, "list", CONFIGMAPS)
    for verb in ("create", "deletecollection"):
        query = "fieldSelector=metadata.name%3Dmine"
        assert not await passes(strict, verb, CONFIGMAPS, {"metadata": {"name": "other"}}, query=query), verb


async def test_what_an_update_or_an_apply_would_make_needs_the_right_to_create(strict: World) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
    await give(strict, rule("update patch", "leases", "coordination.k8s.io"))
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}, "spec": {}}
    assert "cannot create" in await refused(strict, "update", f"{leases}/a", lease)
    apply: Document = {"content_type": APPLY_PATCH, "query": "fieldManager=me"}
    said = await refused(strict, "patch", f"{leases}/a", b'{"apiVersion":"coordination.k8s.io/v1","kind":"Lease"}', **apply)
    assert "cannot create" in said
    await strict.make(leases, "a")
    assert await passes(strict, "update", f"{leases}/a", lease)


async def test_a_status_is_its_owners_even_for_administrators_and_the_owner_needs_its_role(strict: World) -> None:
    await strict.make(TRINKETS, "a", spec={})
    with pytest.raises(Forbidden, match=f"written by its owner alone, {POLISH}"):
        await strict.merge(f"{TRINKETS}/a/status", {"status": {"shine": 1}})
    owner = authenticated(Identity(POLISH))
    assert (await strict.merge(f"{TRINKETS}/a/status", {"status": {"shine": 1}}, who=owner))["status"] == {"shine": 1}
    await strict.do("delete", f"{CLUSTER_BINDINGS}/system:actor:polish")
    with pytest.raises(Forbidden, match="an actor may do what it declares"):
        await strict.merge(f"{TRINKETS}/a/status", {"status": {"shine": 2}}, who=owner)


# What is there from the start


async def test_view_reads_edit_writes_and_admin_gives_and_plugins_kinds_are_among_them(strict: World) -> None:
    may = {
        "view": [("get", TRINKETS), ("get", CONFIGMAPS)],
        "edit": [("create", TRINKETS), ("get", f"{NAMESPACES}/shop/secrets"), ("update", f"{WIDGETS}/a/scale")],
        "admin": [("create", ROLES), ("delete", BINDINGS)],
    }
    names = list(may)
    for number, name in enumerate(names):
        await bind(strict, name)
        for other in names:
            for verb, path in may[other]:
                body = {"metadata": {"name": "x"}, "rules": []}
                target = path if verb == "create" or path.endswith("scale") else f"{path}/x"
                allowed = await passes(strict, verb, target, body, query="dryRun=All")
                assert allowed is (names.index(other) <= number), (name, verb, path)
        assert not await passes(strict, "patch", f"{TRINKETS}/x/status", {}, content_type=MERGE_PATCH)
        assert not await passes(strict, "get", f"{GADGETS}/x"), "kinds without namespaces are for the administrator to give"
        await strict.do("delete", f"{BINDINGS}/{name}")


async def test_a_second_start_writes_nothing_and_brings_back_what_is_missing(strict: World) -> None:
    async def start() -> None:
        await bring(strict.manager, ADMIN, bound(strict.registry, actors_of(strict.registry)))

    before = strict.store.revision
    await start()
    assert strict.store.revision == before
    wider = {"verbs": ["get"], "nonResourceURLs": ["/more"]}
    await strict.merge(f"{CLUSTER_ROLES}/system:public-info-viewer", {"rules": [wider]})
    await strict.merge(f"{CLUSTER_BINDINGS}/cluster-admin", {"subjects": [user()]})
    await strict.merge(f"{CLUSTER_ROLES}/system:discovery", {"rules": None, "metadata": {"annotations": {UPDATED: "false"}}})
    await strict.merge(f"{CLUSTER_ROLES}/system:actor:polish", {"rules": [wider]})
    await strict.do("delete", f"{CLUSTER_ROLES}/system:basic-user")
    await start()
    public = await strict.get(f"{CLUSTER_ROLES}/system:public-info-viewer")
    assert public["rules"][0] == wider
    assert {path for each in public["rules"] for path in each["nonResourceURLs"]} >= {"/more", "/version", "/healthz"}
    assert [each["name"] for each in (await strict.get(f"{CLUSTER_BINDINGS}/cluster-admin"))["subjects"]] == [
        "ann",
        "system:masters",
    ]
    assert (await strict.get(f"{CLUSTER_ROLES}/system:discovery"))["rules"] is None
    assert wider not in (await strict.get(f"{CLUSTER_ROLES}/system:actor:polish"))["rules"]
    assert (await strict.get(f"{CLUSTER_ROLES}/system:basic-user"))["rules"]


async def test_the_role_of_an_actor_goes_with_the_actor(strict: World) -> None:
    await bring(strict.manager, ADMIN, bound(strict.registry, []))
    for path in (f"{CLUSTER_ROLES}/system:actor:polish", f"{CLUSTER_BINDINGS}/system:actor:polish"):
        with pytest.raises(NotFound):
            await strict.get(path)
    assert await strict.get(f"{CLUSTER_ROLES}/system:actor:garbage-collector")


async def test_an_actor_may_do_what_it_declares_and_nothing_else() -> None:
    async with opened(trinkets(), roles=True) as world:
        decide = world.manager.authorization.decide
        owner = authenticated(Identity(POLISH))

        def may(verb: str, resource: str, subresource: str = "", namespace: str = "shop", name: str = "x") -> bool:
            return decide(Attributes(owner, verb, resource, subresource, namespace, name)).allowed

        assert all(may(verb, "trinkets.trinkets.example") for verb in ("get", "list", "watch", "patch"))
        assert may("patch", "trinkets.trinkets.example", "status")
        assert may("create", "events")
        leases, own = "leases.coordination.k8s.io", "skep-actor-polish"
        assert may("update", leases, namespace="kube-system", name=own)
        assert not may("update", leases, namespace="kube-system", name="skep-actor-other")
        assert not may("update", leases, name=own)
        for verb, resource in (("delete", "trinkets.trinkets.example"), ("get", "secrets"), ("get", "orphans.trinkets.example")):
            assert not may(verb, resource), (verb, resource)


# Roles that are made of others


async def test_what_is_taken_out_of_a_part_is_out_of_the_sum_at_once(strict: World) -> None:
    await strict.make(CLUSTER_ROLES, "part", metadata={"labels": {"of": "sum"}}, rules=[rule("get", "configmaps")])
    selectors = {"clusterRoleSelectors": [{"matchLabels": {"of": "sum"}}]}
    await strict.make(CLUSTER_ROLES, "sum", aggregationRule=selectors, rules=[rule("get", "secrets")])
    await bind(strict, "sum")
    assert await passes(strict, "get", f"{CONFIGMAPS}/a")
    assert not await passes(strict, "get", f"{NAMESPACES}/shop/secrets/a"), "its own rules are a copy, and do not count"
    await strict.merge(f"{CLUSTER_ROLES}/part", {"metadata": {"labels": {"of": None}}})
    assert not await passes(strict, "get", f"{CONFIGMAPS}/a")


# Nobody gives what they do not have

MAKER = (rule("create get update patch", "roles rolebindings", "rbac.authorization.k8s.io"), rule("get", "configmaps"))
NOT_HELD = "is attempting to grant RBAC permissions not currently held"


async def test_a_role_with_more_than_its_writer_has_is_refused_however_it_is_written(strict: World) -> None:
    await give(strict, *MAKER)
    more = [rule("get", "secrets")]
    await strict.do("create", ROLES, {"metadata": {"name": "mine"}, "rules": [rule("get", "configmaps")]}, who=ANN)
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "mine"}, "rules": more}
    assert NOT_HELD in await refused(strict, "create", ROLES, {"metadata": {"name": "more"}, "rules": more})
    assert NOT_HELD in await refused(strict, "update", f"{ROLES}/mine", role)
    assert NOT_HELD in await refused(strict, "update", f"{ROLES}/new", {**role, "metadata": {"name": "new"}})
    assert NOT_HELD in await refused(strict, "patch", f"{ROLES}/mine", {"rules": more}, content_type=MERGE_PATCH)
    pointed = b'[{"op": "replace", "path": "/rules/0/resources/0", "value": "secrets"}]'
    assert NOT_HELD in await refused(strict, "patch", f"{ROLES}/mine", pointed, content_type=JSON_PATCH)
    applied = (
        b'{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}'
    )
    for name in ("mine", "new"):
        apply: Document = {"content_type": APPLY_PATCH, "query": "fieldManager=me&force=true"}
        assert NOT_HELD in await refused(strict, "patch", f"{ROLES}/{name}", applied, **apply)
    assert NOT_HELD in await refused(strict, "create", ROLES, {"metadata": {"name": "more"}, "rules": more}, query="dryRun=All")
    assert (await strict.get(f"{ROLES}/mine"))["rules"] == [rule("get", "configmaps")]


async def test_a_role_is_bound_by_whoever_holds_it_or_may_bind_it(strict: World) -> None:
    await give(strict, *MAKER[1:], rule("create update patch", "rolebindings", "rbac.authorization.k8s.io"))
    ref = {"kind": "ClusterRole", "name": "cluster-admin"}
    assert NOT_HELD in await refused(strict, "create", BINDINGS, {"metadata": {"name": "b"}, "roleRef": ref, "subjects": [user()]})
    await strict.make(BINDINGS, "theirs", roleRef=ref, subjects=[user("root")])
    assert NOT_HELD in await refused(strict, "patch", f"{BINDINGS}/theirs", {"subjects": [user()]}, content_type=MERGE_PATCH)
    tidied = {"metadata": {"finalizers": ["a.example/b"]}}
    await strict.merge(f"{BINDINGS}/theirs", tidied, who=ANN)
    with pytest.raises(NotFound):
        await strict.do("create", BINDINGS, {"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "none"}}, who=ANN)
    await give(strict, rule("bind", "clusterroles", "rbac.authorization.k8s.io", names="view"), name="binder")
    assert NOT_HELD in await refused(strict, "create", BINDINGS, {"metadata": {"name": "b"}, "roleRef": ref})
    bound_view = {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"}}
    await strict.do("create", BINDINGS, bound_view, who=ANN)


async def test_nobody_becomes_an_administrator_by_aggregation_or_by_labels(strict: World) -> None:
    maker = rule("create update patch get", "clusterroles", "rbac.authorization.k8s.io")
    await give_everywhere(strict, maker, rule("get", "configmaps"))
    gather: Document = {"clusterRoleSelectors": [{}]}
    said = await refused(strict, "create", CLUSTER_ROLES, {"metadata": {"name": "all"}, "aggregationRule": gather})
    assert "must have cluster-admin privileges to use the aggregationRule" in said
    own = {"metadata": {"name": "own"}, "rules": [rule("get", "configmaps")]}
    await strict.do("create", CLUSTER_ROLES, own, who=ANN)
    for change in (
        {"aggregationRule": gather},
        {"rules": [rule("*", "*", "*")]},
    ):
        await refused(strict, "patch", f"{CLUSTER_ROLES}/own", change, content_type=MERGE_PATCH)
    label = {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}
    said = await refused(strict, "patch", f"{CLUSTER_ROLES}/cluster-admin", label, content_type=MERGE_PATCH)
    assert NOT_HELD in said
    narrowed = {"aggregationRule": None, "rules": None}
    await refused(strict, "patch", f"{CLUSTER_ROLES}/view", narrowed, content_type=MERGE_PATCH)


async def test_whoever_may_escalate_roles_may_write_any(strict: World) -> None:
    await give(strict, rule("create escalate", "roles", "rbac.authorization.k8s.io"))
    await strict.do("create", ROLES, {"metadata": {"name": "x"}, "rules": [rule("*", "*", "*")]}, who=ANN)


async def test_rules_that_take_long_to_compare_are_refused_instead(strict: World) -> None:
    await give(strict, *MAKER)
    many = [f"n{number}" for number in range(500)]
    huge = {"metadata": {"name": "x"}, "rules": [{"verbs": many, "apiGroups": many, "resources": many}]}
    assert "too long to be compared" in await refused(strict, "create", ROLES, huge)


async def test_a_rule_that_is_null_is_told_to_be_wrong_and_never_let_through(strict: World) -> None:
    await give(strict, *MAKER)
    for rules in ([{"verbs": None, "apiGroups": [""], "resources": ["secrets"]}], [{"verbs": ["get"], "nonResourceURLs": ["*"]}]):
        with pytest.raises((Invalid, Forbidden)):
            await strict.do("create", ROLES, {"metadata": {"name": "x"}, "rules": rules}, who=ANN)


def test_no_actor_of_a_plugin_takes_the_name_and_the_rights_of_the_servers_own() -> None:
    plugin = trinkets()
    with pytest.raises(DeclarationError, match="the server has one of this name"):

        @plugin.actor(Orphan, name="garbage-collector")
        async def take(orphan: Orphan, client: object) -> None:
            del orphan, client


@pytest.mark.parametrize("actor", BUILTIN_ACTORS)
async def test_whoever_may_make_tokens_and_impersonate_accounts_everywhere_is_no_actor_of_the_servers_own(
    strict: World, actor: str
) -> None:
    await give_everywhere(strict, rule("impersonate create get", "serviceaccounts serviceaccounts/token"))
    name = account_name(actor)
    for who, allowed in ((ANN, False), (ADMIN, True)):
        for verb, subresource in (("impersonate", ""), ("create", "token")):
            asked = Attributes(who, verb, "serviceaccounts", subresource, "kube-system", name)
            decide = strict.manager.authorization.decide
            assert decide(asked).allowed is allowed
            assert decide(msgspec.structs.replace(asked, name="skep-actor-polish")).allowed, "actors of plugins may run elsewhere"
            assert decide(msgspec.structs.replace(asked, namespace="shop")).allowed, "another account of the same name"
    assert strict.manager.authorization.decide(Attributes(ANN, "get", "serviceaccounts", "", "kube-system", name)).allowed


async def test_whoever_writes_the_copy_of_what_a_role_is_made_of_may_write_that_and_nothing_else(strict: World) -> None:
    part = {"metadata": {"name": "part", "labels": {"part": "yes"}}, "rules": [rule("get", "secrets")]}
    await strict.do("create", CLUSTER_ROLES, part)
    await strict.make(CLUSTER_ROLES, "sum", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]})
    adder = actor_identity("clusterrole-aggregation")
    path, more = f"{CLUSTER_ROLES}/sum", {"who": adder, "content_type": MERGE_PATCH}
    exact = [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]
    await strict.do("patch", path, {"rules": exact}, **more)
    assert (await strict.get(path))["rules"] == exact
    for change in (
        {"rules": [rule("*", "*", "*")]},
        {"rules": exact, "metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}},
        {"rules": exact, "aggregationRule": None},
        {"rules": exact, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "no"}}]}},
    ):
        with pytest.raises(Forbidden):
            await strict.do("patch", path, change, **more)
    with pytest.raises(Forbidden):
        await strict.do("patch", f"{CLUSTER_ROLES}/system:basic-user", {"rules": exact}, **more)


async def test_whoever_may_change_an_object_but_not_delete_it_does_not_let_it_expire(strict: World) -> None:
    await give(strict, rule("get create update patch", "widgets", "reference.example.com"))
    mine = {"metadata": {"name": "mine", "annotations": {"skep.dev/ttl": "1h"}}, "spec": {"size": 1}}
    await strict.do("create", WIDGETS, mine, who=ANN)
    await strict.make(WIDGETS, "w", spec={"size": 1})
    soon = {"metadata": {"annotations": {"skep.dev/ttl": "1s"}}}
    for name in ("w", "mine"):
        said = await refused(strict, "patch", f"{WIDGETS}/{name}", soon, content_type=MERGE_PATCH)
        assert f'widgets.reference.example.com "{name}" is forbidden: User "ann" cannot delete it' in said
    applied = b"apiVersion: reference.example.com/v1\nkind: Widget\nmetadata: {name: w, annotations: {skep.dev/ttl: 1s}}\n"
    await refused(strict, "patch", f"{WIDGETS}/w", applied, content_type=APPLY_PATCH, query="fieldManager=me")
    for change in ({"spec": {"size": 2}}, {"metadata": {"annotations": {"skep.dev/ttl": None}}}):
        await strict.do("patch", f"{WIDGETS}/mine", change, who=ANN, content_type=MERGE_PATCH)
    await give(strict, rule("delete", "widgets", "reference.example.com", names="w"), name="more")
    await strict.do("patch", f"{WIDGETS}/w", soon, who=ANN, content_type=MERGE_PATCH)
    await refused(strict, "patch", f"{WIDGETS}/mine", soon, content_type=MERGE_PATCH)
