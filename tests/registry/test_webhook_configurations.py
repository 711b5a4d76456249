"""Webhook configurations: what they say by default is stored, and all that is wrong with one is told together."""

from __future__ import annotations

from typing import Any

import pytest

from registry.builtin.webhook_checks import check
from registry.builtin.webhooks import MUTATING, VALIDATING

Document = dict[str, Any]
RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "*"}
GOOD: Document = {
    "name": "a.hooks.example",
    "clientConfig": {"url": "https://hooks.example/a"},
    "rules": [RULE],
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "sideEffects": "None",
    "timeoutSeconds": 10,
    "admissionReviewVersions": ["v1", "v1beta1"],
}


def wrong(webhook: Document) -> list[str]:
    """What is wrong with a webhook, without the path of itself."""
    return [str(cause).removeprefix("webhooks[0].") for cause in check({"webhooks": [webhook]}, None)]


def test_what_is_left_out_is_stored_as_its_default() -> None:
    sent = {"webhooks": [{"name": "a.b.c", "namespaceSelector": None, "rules": [{}], "clientConfig": {"service": {}}}]}
    stored = MUTATING.storage.schema.apply(sent).document["webhooks"][0]
    assert stored == {
        "name": "a.b.c",
        "clientConfig": {"service": {"namespace": "", "name": "", "port": 443}},
        "rules": [{"scope": "*"}],
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "timeoutSeconds": 10,
        "reinvocationPolicy": "Never",
    }
    assert "reinvocationPolicy" not in VALIDATING.storage.schema.apply(sent).document["webhooks"][0]


def test_a_good_one_has_no_causes() -> None:
    assert wrong(GOOD) == []
    assert wrong({**GOOD, "clientConfig": {"service": {"namespace": "a", "name": "b", "path": "/x/y/", "port": 9443}}}) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": ""}, "name: Required value"),
        ({"name": "a.b"}, 'name: Invalid value: "a.b": should be a domain with at least three segments separated by dots'),
        ({"sideEffects": None}, "sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        ({"sideEffects": "Some"}, 'sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"'),
        ({"failurePolicy": "no"}, 'failurePolicy: Unsupported value: "no": supported values: "Fail", "Ignore"'),
        ({"timeoutSeconds": 0}, "timeoutSeconds: Invalid value: 0: the timeout value must be between 1 and 30 seconds"),
        ({"admissionReviewVersions": []}, "admissionReviewVersions: Required value: must specify one of v1"),
        (
            {"admissionReviewVersions": ["v1beta1"]},
            'admissionReviewVersions: Invalid value: ["v1beta1"]: must include at least one of v1',
        ),
        ({"admissionReviewVersions": ["v1", "v1"]}, 'admissionReviewVersions[1]: Duplicate value: "v1"'),
        ({"clientConfig": {}}, "clientConfig: Required value: exactly one of url or service is required"),
        (
            {"clientConfig": {"url": "http://x"}},
            "clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
        ),
        (
            {"clientConfig": {"url": "https://u:secret@x"}},
            'clientConfig.url: Invalid value: "": user information is not permitted in the URL',
        ),
        ({"clientConfig": {"url": "https://x?a=b"}}, 'clientConfig.url: Invalid value: "a=b": query parameters'),
        ({"clientConfig": {"service": {"name": "a"}}}, "clientConfig.service.namespace: Required value"),
        (
            {"clientConfig": {"service": {"name": "a", "namespace": "b", "path": "x"}}},
            "clientConfig.service.path: Invalid value: \"x\": must start with a '/'",
        ),
        (
            {"rules": [{**RULE, "operations": ["READ"]}]},
            'rules[0].operations[0]: Unsupported value: "READ": supported values: "*", "CONNECT"',
        ),
        ({"rules": [{**RULE, "apiGroups": ["*", "a"]}]}, 'rules[0].apiGroups: Invalid value: ["*","a"]: if \'*\' is present'),
        (
            {"rules": [{**RULE, "resources": ["pods/*", "pods/status"]}]},
            "rules[0].resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
        ),
        ({"matchConditions": [{"name": "a b", "expression": ""}]}, "matchConditions[0].expression: Required value"),
        (
            {"objectSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}},
            'objectSelector.matchExpressions[0].operator: Invalid value: "Is"',
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_field(changes: Document, told: str) -> None:
    assert [cause for cause in wrong({**GOOD, **changes}) if cause.startswith(told)]


def test_a_url_whose_password_is_refused_is_not_repeated() -> None:
    assert not [cause for cause in wrong({**GOOD, "clientConfig": {"url": "https://u:secret@x?y"}}) if "secret" in cause]


def test_all_causes_of_all_webhooks_are_told_at_once() -> None:
    causes = check({"webhooks": [{**GOOD, "sideEffects": None}, {**GOOD, "timeoutSeconds": 99}]}, None)
    assert [cause.field for cause in causes] == ["webhooks[1].name", "webhooks[0].sideEffects", "webhooks[1].timeoutSeconds"]


def test_what_was_stored_before_is_not_looked_at_again() -> None:
    stored = {"webhooks": [{**GOOD, "sideEffects": "Unknown"}]}
    assert check(stored, stored) == []
    assert check({"webhooks": [{**GOOD, "sideEffects": "Unknown", "timeoutSeconds": 5}]}, stored)
