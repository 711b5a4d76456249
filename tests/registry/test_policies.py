"""Policies and bindings as kinds: what is refused, in which words, and what is written into them."""

from __future__ import annotations

from typing import Any

import pytest

from registry.builtin import POLICY, POLICY_BINDING
from registry.builtin.expressions import ALTOGETHER
from registry.builtin.webhook_checks import condition_causes
from registry.kinds import Document, Kind

RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
POLICY_SPEC = {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]}
BINDING_SPEC = {"policyName": "a", "validationActions": ["Deny"]}
NEITHER = "validations or auditAnnotations must contain at least one item"
EOF = "mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, "


def applied(kind: Kind, spec: Document) -> Document:
    """An object with what its schema writes into it."""
    outcome = kind.storage.schema.apply({"apiVersion": kind.storage.api_version, "kind": kind.name, "spec": spec})
    assert not outcome.causes
    return {**outcome.document, "metadata": {"name": "a"}}


def wrong(kind: Kind, spec: Document) -> list[str]:
    """What is said against a spec."""
    return [str(cause) for cause in kind.strategy.check(applied(kind, spec), None)]


def test_what_a_policy_says_by_default_is_written_into_it() -> None:
    spec = applied(POLICY, POLICY_SPEC)["spec"]
    everything = {"namespaceSelector": {}, "objectSelector": {}, "matchPolicy": "Equivalent"}
    assert spec["failurePolicy"] == "Fail"
    assert spec["matchConstraints"] == {"resourceRules": [{**RULE, "scope": "*"}], **everything}
    assert POLICY.strategy.prepare({"metadata": {}, "spec": spec}, None)["status"] == {}


def test_a_policy_and_a_binding_in_which_nothing_is_wrong() -> None:
    full = {
        **POLICY_SPEC,
        "paramKind": {"apiVersion": "rules.example/v1", "kind": "Limit"},
        "matchConditions": [{"name": "a", "expression": "request.operation == params.operation"}],
        "variables": [{"name": "a", "expression": "1"}, {"name": "b", "expression": "variables.a + 1"}],
        "validations": [
            {"expression": "variables.b == 2", "messageExpression": "string(variables.a)", "message": "a", "reason": "Forbidden"},
            {"expression": "authorizer.requestResource.check('get').allowed() && params.x == namespaceObject.y"},
        ],
        "auditAnnotations": [{"key": "a", "valueExpression": "string(variables.b)"}],
    }
    assert wrong(POLICY, full) == []
    ref = {"selector": {"matchLabels": {"a": "b"}}, "namespace": "x", "parameterNotFoundAction": "Deny"}
    assert wrong(POLICY_BINDING, {**BINDING_SPEC, "paramRef": ref, "matchResources": {"objectSelector": {}}}) == []


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        ({"failurePolicy": "x"}, ['spec.failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore"']),
        ({"matchConstraints": None}, ["spec.matchConstraints: Required value"]),
        ({"matchConstraints": {}}, ["spec.matchConstraints.resourceRules: Required value"]),
        (
            {"matchConstraints": {"resourceRules": [{**RULE, "operations": ["X"], "resourceNames": ["a", "a"]}]}},
            [
                'spec.matchConstraints.resourceRules[0].operations[0]: Unsupported value: "X": supported values: "*", "CONNECT", ',
                'spec.matchConstraints.resourceRules[0].resourceNames[1]: Duplicate value: "a"',
            ],
        ),
        (
            {"validations": []},
            [f"spec.validations: Required value: {NEITHER}", f"spec.auditAnnotations: Required value: {NEITHER}"],
        ),
        (
            {"validations": [{"expression": " "}]},
            ["spec.validations[0].expression: Required value: expression is not specified"],
        ),
        (
            {"validations": [{"expression": "object.spec.size"}, {"expression": "1 == 1", "messageExpression": "1"}]},
            [
                'spec.validations[0].expression: Invalid value: "object.spec.size": must evaluate to bool',
                'spec.validations[1].messageExpression: Invalid value: "1": must evaluate to string',
            ],
        ),
        (
            {"validations": [{"expression": "true", "messageExpression": "string(authorizer == authorizer)"}]},
            ["undeclared reference to 'authorizer'"],
        ),
        (
            {"validations": [{"expression": "params.x == 1"}]},
            ["undeclared reference to 'params"],
        ),
        (
            {"validations": [{"expression": "variables.b == 1"}], "variables": [{"name": "a", "expression": "1"}]},
            ["compilation failed: ERROR: <input>:1:10: undefined field 'b'"],
        ),
        (
            {"variables": [{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "1"}]},
            ["spec.variables[0].expression: Invalid value"],
        ),
        (
            {"variables": [{"name": "in", "expression": "1"}, {"name": "", "expression": "1"}]},
            [
                'spec.variables[0].name: Invalid value: "in": name is not a valid CEL identifier',
                "spec.variables[1].name: Required value: name is not specified",
            ],
        ),
        (
            {"validations": [{"expression": "true ||\nfalse"}, {"expression": "true", "message": "a\nb", "reason": "No"}]},
            [
                "spec.validations[0].message: Required value: message must be specified if expression contains line breaks",
                'spec.validations[1].message: Invalid value: "a\\nb": message must not contain line breaks',
                (
                    'spec.validations[1].reason: Unsupported value: "No": supported values: "Forbidden", "Invalid", '
                    '"RequestEntityTooLarge", "Unauthorized"'
                ),
            ],
        ),
        (
            {"auditAnnotations": [{"key": "a", "valueExpression": "1"}, {"key": "a", "valueExpression": "''"}]},
            [
                'spec.auditAnnotations[0].valueExpression: Invalid value: "1": must evaluate to one of [string null]',
                'spec.auditAnnotations[1].key: Duplicate value: "a"',
            ],
        ),
        (
            {"paramKind": {"apiVersion": "", "kind": "A B"}},
            ["spec.paramKind.apiVersion: Required value", 'spec.paramKind.kind: Invalid value: "A B": may have mixed case'],
        ),
        (
            {"matchConditions": [{"name": "a", "expression": "1"}, {"name": "a", "expression": "true"}]},
            ['spec.matchConditions[1].name: Duplicate value: "a"', 'expression: Invalid value: "1": must evaluate to bool'],
        ),
        (
            {"validations": [{"expression": "object.a == " + "1" * 4_000}] * 6},
            [f"spec: Forbidden: its expressions may have at most {ALTOGETHER} characters together, they have 24072"],
        ),
    ],
)
def test_what_is_wrong_with_a_policy_is_said_with_its_field(change: Document, causes: list[str]) -> None:
    found = wrong(POLICY, {**POLICY_SPEC, **change})
    assert len(found) == len(causes), found
    assert [expected for expected in causes if not any(expected in said for said in found)] == []


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        ({"policyName": ""}, ["spec.policyName: Required value"]),
        ({"validationActions": []}, ["spec.validationActions: Required value"]),
        (
            {"validationActions": ["Deny", "Warn"]},
            ['spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn'],
        ),
        (
            {"validationActions": ["Audit", "Audit", "No"]},
            [
                'spec.validationActions[1]: Duplicate value: "Audit"',
                'spec.validationActions[2]: Unsupported value: "No": supported values: "Audit", "Deny", "Warn"',
            ],
        ),
        (
            {"paramRef": {}},
            [
                "spec.paramRef.parameterNotFoundAction: Required value",
                "spec.paramRef: Required value: one of name or selector must be specified",
            ],
        ),
        (
            {"paramRef": {"name": "a", "selector": {}, "parameterNotFoundAction": "Allow"}},
            [
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            ],
        ),
    ],
)
def test_what_is_wrong_with_a_binding_is_said_with_its_field(change: Document, causes: list[str]) -> None:
    found = sorted(wrong(POLICY_BINDING, {**BINDING_SPEC, **change}))
    assert len(found) == len(causes), found
    assert all(said.startswith(expected) for said, expected in zip(found, sorted(causes), strict=True)), found


def test_a_spec_that_is_as_it_was_is_not_looked_at_again() -> None:
    old = applied(POLICY, {**POLICY_SPEC, "validations": [{"expression": "gone()"}]})
    assert POLICY.strategy.check({**old, "metadata": {"name": "a", "labels": {"a": "b"}}}, old) == []


def test_a_match_condition_of_a_webhook_has_to_compile() -> None:
    found: list[Any] = list(condition_causes([{"name": "a", "expression": "object.a =="}], "webhooks[0].matchConditions"))
    assert [cause.field for cause in found] == ["webhooks[0].matchConditions[0].expression"]
    assert f'Invalid value: "object.a ==": compilation failed: ERROR: <input>:1:12: Syntax error: {EOF}' in found[0].message
    assert list(condition_causes([{"name": "a", "expression": "has(request.subResource)"}], "x")) == []
