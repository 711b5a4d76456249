"""What expressions about writes see: the variables of policies and of match conditions, and the types of their fields."""

from __future__ import annotations

from collections.abc import Mapping

from registry.cel import ANY, AUTHORIZER, Shape

_KIND = {f"{field}.{name}": "string" for field in ("kind", "requestKind") for name in ("group", "version", "kind")}
_RESOURCE = {f"{field}.{name}": "string" for field in ("resource", "requestResource") for name in ("group", "version", "resource")}

REQUEST = Shape(
    {
        **dict.fromkeys(("kind", "resource", "requestKind", "requestResource", "userInfo", "options"), ANY),
        **_KIND,
        **_RESOURCE,
        **dict.fromkeys(("subResource", "requestSubResource", "name", "namespace", "operation"), "string"),
        "userInfo.username": "string",
        "userInfo.uid": "string",
        "userInfo.groups": "strings",
        "userInfo.extra": ANY,
        "dryRun": "bool",
    }
)
"""The fields of an AdmissionRequest, but for the objects, which are variables of their own."""

WEBHOOK: Mapping[str, str | Shape] = {
    "object": ANY,
    "oldObject": ANY,
    "request": REQUEST,
    "authorizer": AUTHORIZER,
    "authorizer.requestResource": "resource",
}
"""What match conditions of webhooks see."""

POLICY: Mapping[str, str | Shape] = {**WEBHOOK, "namespaceObject": ANY}
"""What expressions of policies see; besides, `params` and `variables`, if the policy has any."""


def of_policy(*, params: bool, variables: Mapping[str, str] | None = None, authorizer: bool = True) -> Mapping[str, str | Shape]:
    """The variables of an expression of a policy. `variables`: those that are declared before it, with their types."""
    seen = {name: kind for name, kind in POLICY.items() if authorizer or not name.startswith("authorizer")}
    if params:
        seen["params"] = ANY
    if variables is not None:
        seen["variables"] = Shape(variables)
    return seen
