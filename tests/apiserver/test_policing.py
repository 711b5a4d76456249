"""Policies in a real manager: what they refuse, warn of and note, when they are asked, and that none can stop the server."""

from __future__ import annotations

import json
import re
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from admission.conditions import Conditions
from admission.identity import ADMIN, Identity, authenticated
from admission.policies import Policy, judge
from apiserver.calls import Kept
from apiserver.patching import MERGE_PATCH
from apiserver.policing import FAILURE_NOTE
from apiserver.wiring import SYSTEM
from registry.cel import Meter
from registry.errors import ApiError, Invalid
from storage.store import Put
from tests.apiserver.latecomers import late_kind
from tests.apiserver.world import CONFIGMAPS, GADGETS, NAMESPACES, TRINKETS, WIDGETS, Document, World, opened

pytestmark = pytest.mark.anyio

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/validatingadmissionpolicies"
BINDINGS = f"{GROUP}/validatingadmissionpolicybindings"
EVERYTHING = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}


def rule(**fields: Any) -> Document:
    """A rule for writes of widgets, but for what is given."""
    widgets = {"operations": ["CREATE", "UPDATE"], "apiGroups": ["reference.example.com"], "apiVersions": ["v1"]}
    return {**widgets, "resources": ["widgets"], **fields}


async def policy(world: World, *validations: str | Document, name: str = "small", **spec: Any) -> None:
    """Stores a policy about widgets."""
    rules = [{"expression": each} if isinstance(each, str) else each for each in validations]
    await world.make(POLICIES, name, spec={"matchConstraints": {"resourceRules": [rule()]}, "validations": rules, **spec})


async def bound(world: World, *validations: str | Document, actions: tuple[str, ...] = ("Deny",), **spec: Any) -> None:
    """Stores a policy and a binding of it."""
    await policy(world, *validations, **spec)
    await world.make(BINDINGS, "small", spec={"policyName": "small", "validationActions": list(actions)})


async def change(world: World, **spec: Any) -> None:
    """Changes the policy."""
    await world.merge(f"{POLICIES}/small", {"spec": spec})


async def widget(world: World, name: str = "a", who: Identity = ADMIN, **spec: Any) -> Any:
    """Makes a widget, for a trial; the call, with what was warned of and noted, and how it was refused, if it was."""
    call = world.call("create", WIDGETS, {"metadata": {"name": name}, "spec": {"size": 6, **spec}}, query="dryRun=All", who=who)
    call = replace(call, warnings=[], kept=Kept())
    try:
        await world.manager.handle(call)
    except ApiError as error:
        return call, error
    return call, None


async def refusal(world: World, **spec: Any) -> str:
    """Why a policy refuses a widget; empty if it does not."""
    _, error = await widget(world, **spec)
    if error is None:
        return ""
    found = re.fullmatch(
        r'widgets.reference.example.com "a" is forbidden: ValidatingAdmissionPolicy \'small\' with binding '
        r"'small' denied request: (.*)",
        error.message,
        re.DOTALL,
    )
    assert found is not None, error.message
    return found[1]


async def test_a_policy_holds_from_the_answer_of_its_binding_to_the_answer_of_its_deletion() -> None:
    async with opened() as world:
        await policy(world, "object.spec.size <= 50")
        assert not await refusal(world, size=60)
        await world.make(BINDINGS, "small", spec={"policyName": "small", "validationActions": ["Deny"]})
        assert await refusal(world, size=60) == "failed expression: object.spec.size <= 50"
        assert not await refusal(world, size=50)
        await world.merge(f"{POLICIES}/small", {"spec": {"validations": [{"expression": "object.spec.size <= 70"}]}})
        assert not await refusal(world, size=60)
        assert await refusal(world, size=80)
        await world.do("delete", f"{BINDINGS}/small")
        assert not await refusal(world, size=80)


async def test_the_reason_of_a_rule_is_that_of_the_refusal() -> None:
    async with opened() as world:
        await bound(world, {"expression": "false", "message": "no"})
        for reason, code in (
            (None, 422),
            ("Invalid", 422),
            ("Forbidden", 403),
            ("RequestEntityTooLarge", 413),
            ("Unauthorized", 401),
        ):
            await change(world, validations=[{"expression": "false", "message": "no", "reason": reason}])
            _, error = await widget(world)
            assert (error.code, error.reason) == (code, reason or "Invalid")
            assert error.status()["details"]["causes"] == [{"message": error.message.partition("is forbidden: ")[2]}]


SAYINGS: list[tuple[Document, str]] = [
    ({}, "failed expression: object.spec.size > 6"),
    ({"message": " too small "}, "too small"),
    ({"messageExpression": "'only ' + string(object.spec.size)", "message": "too small"}, "only 6"),
    ({"messageExpression": "object.spec.nope + ''", "message": "too small"}, "too small"),
    ({"messageExpression": "'a\\nb'", "message": "too small"}, "too small"),
    ({"messageExpression": "' '"}, "failed expression: object.spec.size > 6"),
    ({"messageExpression": "'x'" + ".replace('x', 'xxxxxxxxxx')" * 4, "message": "too small"}, "too small"),
    ({"messageExpression": "'x'" + ".replace('x', 'xxxxxxxxxx')" * 9, "message": "too small"}, "too small"),
]


async def test_a_refusal_says_what_the_rule_says() -> None:
    async with opened() as world:
        await bound(world, "true")
        for fields, said in SAYINGS:
            await change(world, validations=[{"expression": "object.spec.size > 6", **fields}])
            assert await refusal(world) == said


SEEN = [
    "object.spec.size == 6 && object.kind == 'Widget' && object.apiVersion == 'reference.example.com/v1'",
    "oldObject == null",
    "request.operation == 'CREATE' && request.name == 'a' && request.namespace == 'shop' && request.dryRun",
    "request.kind.kind == 'Widget' && request.resource.resource == 'widgets' && request.requestKind.version == 'v1'",
    "request.userInfo.username == 'admin' && 'system:authenticated' in request.userInfo.groups",
    "!has(request.subResource) && !has(request.userInfo.uid) && request.options.kind == 'CreateOptions'",
    "namespaceObject.metadata.name == 'shop' && namespaceObject.status.phase == 'Active'",
    "variables.double == 12 && variables.big",
    "authorizer.group('').resource('configmaps').namespace('shop').check('get').allowed()",
    "authorizer.requestResource.check('create').allowed() && authorizer.path('/healthz').check('get').allowed()",
]


async def test_an_expression_sees_the_write() -> None:
    variables = [
        {"name": "double", "expression": "object.spec.size * 2"},
        {"name": "big", "expression": "variables.double > 10"},
        {"name": "broken", "expression": "object.spec.nope"},
    ]
    async with opened() as world:
        await bound(world, *SEEN, variables=variables)
        assert not await refusal(world)


async def test_an_update_sees_both_objects_and_a_deletion_only_the_old_one() -> None:
    rules = [rule(operations=["UPDATE", "DELETE"])]
    async with opened() as world:
        await bound(
            world,
            {"expression": "object == null || object.spec.size >= oldObject.spec.size", "message": "it cannot shrink"},
            {"expression": "object != null || oldObject.spec.size < 10", "message": "it is too big to go"},
            matchConstraints={"resourceRules": rules},
        )
        await world.make(WIDGETS, "a", spec={"size": 6})
        with pytest.raises(ApiError, match="it cannot shrink"):
            await world.merge(f"{WIDGETS}/a", {"spec": {"size": 5}})
        await world.merge(f"{WIDGETS}/a", {"spec": {"size": 10}})
        with pytest.raises(ApiError, match="it is too big to go"):
            await world.do("delete", f"{WIDGETS}/a")
        with pytest.raises(ApiError, match="it is too big to go"):
            await world.do("deletecollection", WIDGETS)
        assert len(world.stored("widgets.reference.example.com")) == 1


async def test_an_object_is_seen_in_the_version_that_the_rule_names() -> None:
    async with opened() as world:
        expression = "object.apiVersion == 'reference.example.com/v1beta1' && request.requestKind.version == 'v1'"
        await bound(world, expression, matchConstraints={"resourceRules": [rule(apiVersions=["v1beta1"])]})
        assert not await refusal(world)
        await world.merge(f"{POLICIES}/small", {"spec": {"validations": [{"expression": "false"}]}})
        assert await refusal(world)
        await world.merge(f"{POLICIES}/small", {"spec": {"matchConstraints": {"matchPolicy": "Exact"}}})
        assert not await refusal(world)


async def test_a_binding_narrows_what_its_policy_is_about() -> None:
    async with opened() as world:
        await bound(world, "false")
        await world.make(f"{NAMESPACES}", "strict", metadata={"labels": {"rules": "on"}})
        selector = {"namespaceSelector": {"matchLabels": {"rules": "on"}}}
        await world.merge(f"{BINDINGS}/small", {"spec": {"matchResources": selector}})
        assert not await refusal(world)
        with pytest.raises(ApiError):
            await world.make(WIDGETS.replace("/shop/", "/strict/"), "a", spec={"size": 1})
        await world.merge(f"{NAMESPACES}/shop", {"metadata": {"labels": {"rules": "on"}}})
        assert await refusal(world)


async def test_a_namespace_is_said_to_be_in_itself() -> None:
    async with opened() as world:
        namespaces = rule(apiGroups=[""], resources=["namespaces"])
        expression = "request.namespace == 'made' && namespaceObject == null && object.metadata.name == 'made'"
        await bound(world, expression, matchConstraints={"resourceRules": [namespaces]})
        await world.make(NAMESPACES, "made")
        with pytest.raises(ApiError):
            await world.make(NAMESPACES, "other")


async def test_status_is_asked_about_only_where_it_is_named() -> None:
    async with opened() as world:
        await bound(world, "request.operation == 'CREATE'")
        await world.make(WIDGETS, "a", spec={"size": 6})
        await world.merge(f"{WIDGETS}/a/status", {"status": {"phase": "x"}})
        await world.merge(
            f"{POLICIES}/small", {"spec": {"matchConstraints": {"resourceRules": [rule(resources=["widgets/status"])]}}}
        )
        with pytest.raises(ApiError):
            await world.merge(f"{WIDGETS}/a/status", {"status": {"phase": "y"}})
        await world.merge(f"{WIDGETS}/a", {"spec": {"size": 7}})


async def test_what_a_match_condition_leaves_out_is_not_asked_about() -> None:
    async with opened() as world:
        await bound(
            world,
            "false",
            matchConditions=[
                {"name": "not-the-boss", "expression": "request.userInfo.username != 'boss'"},
                {"name": "big", "expression": "object.spec.size > 5"},
            ],
        )
        boss = authenticated(Identity("boss", groups=("system:masters",)))
        assert (await widget(world, who=boss))[1] is None
        assert not await refusal(world, size=5)
        assert await refusal(world)


BROKEN: list[tuple[Document, str]] = [
    ({}, "expression 'object.spec.nope == 1' resulted in error: no such key: nope"),
    (
        {"matchConditions": [{"name": "a", "expression": "object.spec.none == 1"}]},
        "expression 'object.spec.none == 1' resulted in error: no such key: none",
    ),
    (
        {"paramKind": {"apiVersion": "nope.example/v1", "kind": "Nope"}},
        "failed to configure binding: paramKind kind `nope.example/v1, Nope` not known",
    ),
]


async def test_what_cannot_be_evaluated_counts_as_the_failure_policy_says() -> None:
    async with opened() as world:
        await policy(world, "object.spec.nope == 1")
        ref = {"name": "x", "parameterNotFoundAction": "Allow"}
        await world.make(BINDINGS, "small", spec={"policyName": "small", "validationActions": ["Deny"], "paramRef": ref})
        for spec, why in BROKEN:
            await change(world, failurePolicy="Fail", **spec)
            assert await refusal(world) == why
            await change(world, failurePolicy="Ignore")
            assert not await refusal(world)


async def test_a_condition_that_is_false_makes_the_error_of_another_not_matter() -> None:
    async with opened() as world:
        conditions = [{"name": "a", "expression": "object.spec.none == 1"}, {"name": "b", "expression": "object.spec.size == 1"}]
        await bound(world, "false", matchConditions=conditions)
        assert not await refusal(world)


async def test_warn_lets_it_pass_and_audit_notes_it() -> None:
    async with opened() as world:
        annotations = [
            {"key": "size", "valueExpression": "'is ' + string(object.spec.size)"},
            {"key": "nothing", "valueExpression": "' '"},
            {"key": "null", "valueExpression": "null"},
        ]
        await bound(
            world, {"expression": "false", "message": "rather big"}, actions=("Warn", "Audit"), auditAnnotations=annotations
        )
        call, error = await widget(world)
        assert error is None
        assert call.warnings == ["Validation failed for ValidatingAdmissionPolicy 'small' with binding 'small': rather big"]
        assert set(call.kept.notes) == {"small/size", FAILURE_NOTE}
        assert call.kept.notes["small/size"] == "is 6"
        noted = {"message": "rather big", "policy": "small", "binding": "small", "expressionIndex": 0}
        assert json.loads(call.kept.notes[FAILURE_NOTE]) == [{**noted, "validationActions": ["Warn", "Audit"]}]


# Parameters

LIMITS = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}


async def with_params(world: World, ref: Document, expression: str = "object.spec.size <= int(params.data.most)") -> None:
    await policy(world, {"expression": expression, "messageExpression": "'at most ' + params.data.most"}, **LIMITS)
    await world.make(BINDINGS, "small", spec={"policyName": "small", "validationActions": ["Deny"], "paramRef": ref})


async def test_a_parameter_is_an_object_of_any_kind_where_the_write_is() -> None:
    async with opened() as world:
        await with_params(world, {"name": "limits", "parameterNotFoundAction": "Allow"})
        assert not await refusal(world)
        await world.merge(f"{BINDINGS}/small", {"spec": {"paramRef": {"parameterNotFoundAction": "Deny"}}})
        missing = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        assert await refusal(world) == missing
        await world.make(CONFIGMAPS, "limits", data={"most": "5"})
        assert await refusal(world) == "at most 5"
        await world.merge(f"{CONFIGMAPS}/limits", {"data": {"most": "6"}})
        assert not await refusal(world)


async def test_parameters_may_be_of_a_kind_that_comes_later_and_goes() -> None:
    async with opened() as world:
        comets = {"paramKind": {"apiVersion": "late.example/v1", "kind": "Comet"}}
        await policy(world, "object.spec.size <= params.spec.size", **comets)
        ref = {"name": "limits", "parameterNotFoundAction": "Deny"}
        await world.make(BINDINGS, "small", spec={"policyName": "small", "validationActions": ["Deny"], "paramRef": ref})
        unknown = "failed to configure binding: paramKind kind `late.example/v1, Comet` not known"
        assert await refusal(world) == unknown
        world.manager.catalog.replace(put=[late_kind()])
        body = {"apiVersion": "late.example/v1", "kind": "Comet", "metadata": {"name": "limits"}, "spec": {"size": 9}}
        await world.do("create", "/apis/late.example/v1/namespaces/shop/comets", body)
        assert not await refusal(world)
        world.manager.catalog.replace(gone=["comets.late.example"])
        assert await refusal(world) == unknown


async def test_what_a_policy_is_about_is_found_anew_when_a_kind_changes() -> None:
    async with opened() as world:
        late = rule(apiGroups=["late.example"], apiVersions=["v2"], resources=["comets"])
        await bound(world, "false", matchConstraints={"resourceRules": [late]})
        comet = {"apiVersion": "late.example/v1", "kind": "Comet", "metadata": {"generateName": "c"}, "spec": {"size": 9}}
        path = "/apis/late.example/v1/namespaces/shop/comets"
        world.manager.catalog.replace(put=[late_kind()])
        await world.do("create", path, comet)  # it has no such version
        world.manager.catalog.replace(put=[late_kind("Comet", "v1", "v2")])
        with pytest.raises(ApiError, match="denied request"):
            await world.do("create", path, comet)


async def test_a_rule_has_to_hold_for_every_parameter_that_is_selected() -> None:
    async with opened() as world:
        selector = {"matchLabels": {"limits": "widgets"}}
        await with_params(world, {"selector": selector, "namespace": "default", "parameterNotFoundAction": "Allow"})
        for name, most, labels in (("a", "9", selector["matchLabels"]), ("b", "5", selector["matchLabels"]), ("c", "1", {})):
            path = CONFIGMAPS.replace("/shop/", "/default/")
            await world.make(path, name, metadata={"labels": labels}, data={"most": most})
        assert await refusal(world) == "at most 5"
        assert not await refusal(world, size=5)


async def test_parameters_that_cannot_be_found_refuse() -> None:
    async with opened() as world:
        everything = {"resourceRules": [rule(resources=["gadgets", "widgets"])]}
        await policy(world, "params != null", **LIMITS, matchConstraints=everything)
        ref = {"name": "limits", "parameterNotFoundAction": "Allow"}
        await world.make(BINDINGS, "small", spec={"policyName": "small", "validationActions": ["Deny"], "paramRef": ref})
        with pytest.raises(
            ApiError, match="cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        ):
            await world.make(GADGETS, "a")
        await world.merge(f"{POLICIES}/small", {"spec": {"paramKind": {"kind": "Namespace"}}})
        await world.merge(f"{BINDINGS}/small", {"spec": {"paramRef": {"namespace": "shop"}}})
        assert "must not be provided for a cluster-scoped" in await refusal(world)


async def test_a_binding_without_parameters_leaves_params_null() -> None:
    async with opened() as world:
        await bound(world, "params == null", **LIMITS)
        assert not await refusal(world)


# Attacks


async def test_a_policy_about_everything_can_be_removed_by_whoever_made_it() -> None:
    async with opened() as world:
        await bound(world, "false", matchConstraints={"resourceRules": [EVERYTHING]})
        with pytest.raises(ApiError):
            await world.make(CONFIGMAPS, "a")
        await world.merge(f"{POLICIES}/small", {"spec": {"failurePolicy": "Ignore"}})
        await world.do("delete", f"{BINDINGS}/small")
        await world.do("delete", f"{POLICIES}/small")
        await world.make(CONFIGMAPS, "a")


async def test_a_slow_policy_is_ended_and_others_are_served_meanwhile() -> None:
    """The widget is made while its policy is evaluated; so are config maps, which no policy is about."""
    slow = "object.spec.notes.split('').all(a, object.spec.notes.split('').all(b, a == b && object.spec.notes.size() > 0))"
    slow = f"[1, 2, 3, 4, 5, 6, 7, 8, 9].all(x, [1, 2, 3, 4, 5, 6, 7, 8, 9].all(y, {slow}))"
    made = 0
    async with opened() as world:
        await bound(world, slow)
        done = anyio.Event()

        async def one() -> None:
            budget = "validation failed due to running out of cost budget, no further validation rules will be run"
            assert await refusal(world, notes="x" * 64) == budget
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            while not done.is_set():
                await world.make(CONFIGMAPS, f"c{made}")
                made += 1
        assert made > 20


async def test_a_policy_whose_expressions_take_long_to_compile_is_refused_before_they_are() -> None:
    async with opened() as world:
        long = " || ".join(["object.spec.size == 1"] * 190)
        with pytest.raises(Invalid, match="may have at most 20000 characters together"):
            await policy(world, *[long] * 5)
        with pytest.raises(Invalid, match="may have at most 5000 characters"):
            await policy(world, "x" * 5_001)


async def test_a_slow_question_to_the_authorizer_is_asked_from_the_loop() -> None:
    asking = "[1, 2, 3, 4, 5, 6, 7, 8, 9].all(x, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].all(y, "
    asking += "authorizer.requestResource.check('create').allowed()))"
    async with opened() as world:
        await bound(world, asking)
        assert not await refusal(world)


async def test_a_policy_that_no_longer_compiles_fails_closed() -> None:
    document = {"metadata": {"name": "old"}, "spec": {"validations": [{"expression": "gone()"}], "matchConstraints": {}}}
    (verdict,) = judge(Policy.of(document), {}, [None], Meter(1))
    assert verdict.failures[0].message.startswith("failed to configure policy: compilation failed: ERROR: <input>:1:5: undeclared")
    assert Conditions.of([{"name": "a", "expression": "gone()"}]).broken


async def test_trinkets_and_their_handlers_are_asked_before_policies() -> None:
    async with opened() as world:
        trinkets = rule(apiGroups=["trinkets.example"], resources=["trinkets"])
        await bound(world, "object.spec.size == 1", matchConstraints={"resourceRules": [trinkets]})
        await world.make(TRINKETS, "a", spec={})
        with pytest.raises(ApiError, match="failed expression"):
            await world.do("patch", f"{TRINKETS}/a", {"spec": {"size": 2}}, content_type=MERGE_PATCH)


async def test_no_policy_and_no_quota_keeps_the_server_from_starting_and_nobody_is_the_server_by_its_name_alone() -> None:
    accounts = "/api/v1/namespaces/kube-system/serviceaccounts"
    async with opened() as world:
        await world.make(NAMESPACES, "kube-system")
        await world.make("/api/v1/namespaces/kube-system/resourcequotas", "none", spec={"hard": {"count/serviceaccounts": "0"}})
        await bound(world, "false", matchConstraints={"resourceRules": [EVERYTHING]})
        for who in (ADMIN, authenticated(Identity(SYSTEM.username))):
            with pytest.raises(ApiError, match="denied request"):
                await world.do("create", accounts, {"metadata": {"name": "a"}}, who=who)
        await world.do("create", accounts, {"metadata": {"name": "a"}}, who=SYSTEM)
        await world.do("delete", f"{BINDINGS}/small")
        with pytest.raises(ApiError, match="exceeded quota"):
            await world.do("create", accounts, {"metadata": {"name": "b"}})


async def test_a_policy_that_cannot_be_read_any_more_refuses_and_can_be_removed(world: World) -> None:
    await bound(world, "true")
    await world.make(CONFIGMAPS, "a")
    [record] = world.stored("validatingadmissionpolicies.admissionregistration.k8s.io")
    broken = msgspec.json.encode({**msgspec.json.decode(record.desired), "spec": {"matchConstraints": ["?"], "validations": 1}})
    await world.store.commit(Put(record.key, record.uid, record.api_version, broken, record.status, record.revision))
    with pytest.raises(ApiError, match="it cannot be read"):
        await world.make(CONFIGMAPS, "b")
    await world.do("delete", f"{POLICIES}/small")
    await world.make(CONFIGMAPS, "b")
