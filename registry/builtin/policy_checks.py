"""What is wrong with a policy or a binding: every broken rule with its field, in the words of Kubernetes. Pure.

Expressions are compiled here: what is stored can be evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from registry.builtin.expressions import expression_causes, length_causes
from registry.builtin.webhook_checks import condition_causes, rule_causes
from registry.cel.reviews import of_policy
from registry.errors import Cause, duplicate, forbidden, invalid, not_supported, required, too_many
from registry.kinds import Document
from registry.names import dns1035_label, dns1123_label, dns1123_subdomain, qualified_name
from registry.selectors import check_object

ANNOTATIONS = 20
ACTIONS = ("Audit", "Deny", "Warn")
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    ("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import")
)
_RESERVED |= {"let", "loop", "package", "namespace", "return", "var", "void", "while"}


def check_policy(new: Document, old: Document | None) -> list[Cause]:
    """All causes. A spec that is equal to what was stored is not looked at again."""
    spec = new.get("spec") or {}
    if old is not None and spec == (old.get("spec") or {}):
        return []
    return list(_policy(new["metadata"].get("name", ""), spec))


def check_binding(new: Document, old: Document | None) -> list[Cause]:
    """All causes. A spec that is equal to what was stored is not looked at again."""
    spec = new.get("spec") or {}
    if old is not None and spec == (old.get("spec") or {}):
        return []
    return list(_binding(spec))


def _policy(name: str, spec: Document) -> Iterator[Cause]:
    if spec.get("failurePolicy") not in ("Fail", "Ignore"):
        yield not_supported("spec.failurePolicy", spec.get("failurePolicy"), ("Fail", "Ignore"))
    if spec.get("paramKind") is not None:
        yield from _param_kind(spec["paramKind"], "spec.paramKind")
    if spec.get("matchConstraints") is None:
        yield required("spec.matchConstraints")
    else:
        yield from _resources(spec["matchConstraints"], "spec.matchConstraints")
        if not spec["matchConstraints"].get("resourceRules"):
            yield required("spec.matchConstraints.resourceRules")
    too_long = list(length_causes(_texts(spec), "spec"))
    yield from too_long or _expressions(name, spec)


def _texts(spec: Document) -> Iterator[str]:
    for field, keys in (
        ("validations", ("expression", "messageExpression")),
        ("auditAnnotations", ("valueExpression",)),
        ("matchConditions", ("expression",)),
        ("variables", ("expression",)),
    ):
        for each in spec.get(field) or ():
            yield from (each.get(key) or "" for key in keys)


def _expressions(name: str, spec: Document) -> Iterator[Cause]:
    params = spec.get("paramKind") is not None
    conditions = spec.get("matchConditions") or []
    yield from condition_causes(conditions, "spec.matchConditions", of_policy(params=params))
    variables: dict[str, str] = {}
    for at, variable in enumerate(spec.get("variables") or ()):
        yield from _variable(variable, variables, f"spec.variables[{at}]", params=params)
    validations, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not annotations:
        for field in ("validations", "auditAnnotations"):
            yield required(f"spec.{field}", "validations or auditAnnotations must contain at least one item")
    for at, validation in enumerate(validations):
        yield from _validation(validation, variables, f"spec.validations[{at}]", params=params)
    if len(annotations) > ANNOTATIONS:
        yield too_many("spec.auditAnnotations", len(annotations), ANNOTATIONS)
        return
    keys: set[str] = set()
    for at, annotation in enumerate(annotations):
        path, key = f"spec.auditAnnotations[{at}]", annotation.get("key", "")
        if not key:
            yield required(f"{path}.key")
        elif key in keys:
            yield duplicate(f"{path}.key", key)
        else:
            yield from (invalid(f"{path}.key", key, problem) for problem in qualified_name(f"{name}/{key}"))
        keys.add(key)
        seen = of_policy(params=params, variables=variables)
        text = annotation.get("valueExpression", "")
        yield from expression_causes(text, seen, f"{path}.valueExpression", ("string", "null"))[0]


def _variable(variable: Mapping[str, Any], known: dict[str, str], path: str, *, params: bool) -> Iterator[Cause]:
    """Adds it to those that expressions after it know."""
    name = variable.get("name", "")
    if not name.strip():
        yield required(f"{path}.name", "name is not specified")
    elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
        yield invalid(f"{path}.name", name, "name is not a valid CEL identifier")
    elif name in known:
        yield duplicate(f"{path}.name", name)
    else:
        seen = of_policy(params=params, variables=known)
        causes, program = expression_causes(variable.get("expression", ""), seen, f"{path}.expression", ())
        yield from causes
        known[name] = program.declarable if program is not None else "any"


def _validation(validation: Mapping[str, Any], variables: Mapping[str, str], path: str, *, params: bool) -> Iterator[Cause]:
    seen = of_policy(params=params, variables=variables)
    yield from expression_causes(validation.get("expression", ""), seen, f"{path}.expression")[0]
    said, message = validation.get("messageExpression") or "", validation.get("message") or ""
    if said and not said.strip():
        yield invalid(f"{path}.messageExpression", said, "must be non-empty if specified")
    elif said:
        seen = of_policy(params=params, variables=variables, authorizer=False)
        yield from expression_causes(said, seen, f"{path}.messageExpression", ("string",))[0]
    if message and not message.strip():
        yield invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif "\n" in message.strip():
        yield invalid(f"{path}.message", message, "message must not contain line breaks")
    elif not message and "\n" in validation.get("expression", "").strip():
        yield required(f"{path}.message", "message must be specified if expression contains line breaks")
    if validation.get("reason") is not None and validation["reason"] not in REASONS:
        yield not_supported(f"{path}.reason", validation["reason"], REASONS)


def _param_kind(kind: Mapping[str, Any], path: str) -> Iterator[Cause]:
    version, name = kind.get("apiVersion", ""), kind.get("kind", "")
    if not version:
        yield required(f"{path}.apiVersion")
    else:
        group, slash, short = version.rpartition("/")
        problems = dns1123_subdomain(group) if slash else []
        yield from (invalid(f"{path}.apiVersion", version, problem) for problem in (*problems, *dns1035_label(short)))
    if not name:
        yield required(f"{path}.kind")
    else:
        yield from (
            invalid(f"{path}.kind", name, f"may have mixed case, but should otherwise match: {problem}")
            for problem in dns1035_label(name.lower())
        )


def _resources(resources: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if resources.get("matchPolicy", "Equivalent") not in ("Equivalent", "Exact"):
        yield not_supported(f"{path}.matchPolicy", resources["matchPolicy"], ("Equivalent", "Exact"))
    for field in ("namespaceSelector", "objectSelector"):
        yield from check_object(resources.get(field) or {}, f"{path}.{field}")
    for field in ("resourceRules", "excludeResourceRules"):
        for at, rule in enumerate(resources.get(field) or ()):
            yield from rule_causes(rule, f"{path}.{field}[{at}]")
            names = rule.get("resourceNames") or ()
            for index, name in enumerate(names):
                if name in names[:index]:
                    yield duplicate(f"{path}.{field}[{at}].resourceNames[{index}]", name)


def _binding(spec: Document) -> Iterator[Cause]:
    if not spec.get("policyName"):
        yield required("spec.policyName")
    else:
        yield from (invalid("spec.policyName", spec["policyName"], problem) for problem in dns1123_subdomain(spec["policyName"]))
    if spec.get("paramRef") is not None:
        yield from _param_ref(spec["paramRef"], "spec.paramRef")
    if spec.get("matchResources") is not None:
        yield from _resources(spec["matchResources"], "spec.matchResources")
    actions = spec.get("validationActions") or []
    if not actions:
        yield required("spec.validationActions")
    for at, action in enumerate(actions):
        if action not in ACTIONS:
            yield not_supported(f"spec.validationActions[{at}]", action, ACTIONS)
        if action in actions[:at]:
            yield duplicate(f"spec.validationActions[{at}]", action)
    if "Deny" in actions and "Warn" in actions:
        why = "repeating the same validation failure information in the API response and headers serves no purpose"
        yield invalid("spec.validationActions", actions, f"must not contain both Deny and Warn ({why})")


def _param_ref(ref: Mapping[str, Any], path: str) -> Iterator[Cause]:
    name, selector = ref.get("name"), ref.get("selector")
    if name:
        yield from (invalid(f"{path}.name", name, problem) for problem in dns1123_subdomain(name))
        if selector is not None:
            for field in ("name", "selector"):
                yield forbidden(f"{path}.{field}", "name and selector are mutually exclusive")
    elif selector is None:
        yield required(path, "one of name or selector must be specified")
    if selector is not None:
        yield from check_object(selector, f"{path}.selector")
    if ref.get("namespace"):
        yield from (invalid(f"{path}.namespace", ref["namespace"], problem) for problem in dns1123_label(ref["namespace"]))
    action = ref.get("parameterNotFoundAction")
    if action is None:
        yield required(f"{path}.parameterNotFoundAction")
    elif action not in ("Allow", "Deny"):
        yield not_supported(f"{path}.parameterNotFoundAction", action, ("Allow", "Deny"))
