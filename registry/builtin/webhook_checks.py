"""What is wrong with a webhook configuration: every broken rule with its field, in the words of Kubernetes. Pure.

One thing is stricter: a webhook has to understand `v1` of AdmissionReview, the only version that is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from registry.builtin.expressions import expression_causes, length_causes
from registry.cel import Shape
from registry.cel.reviews import WEBHOOK
from registry.errors import Cause, duplicate, invalid, not_supported, required, too_many
from registry.kinds import Document
from registry.names import dns1035_label, dns1123_subdomain, qualified_name
from registry.selectors import check_object

REVIEW_VERSION = "v1"
OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
CONDITION_LIMIT = 64
CHOICES = {
    "failurePolicy": ("Fail", "Ignore"),
    "matchPolicy": ("Equivalent", "Exact"),
    "reinvocationPolicy": ("IfNeeded", "Never"),
}
SIDE_EFFECTS = ("None", "NoneOnDryRun")
_URL_FORM = "; desired format: https://host[/path]"


def check(new: Document, old: Document | None) -> list[Cause]:
    """All causes. What is equal to what was stored is not looked at again."""
    webhooks = new.get("webhooks") or []
    if old is not None and webhooks == (old.get("webhooks") or []):
        return []
    conditions = (condition for webhook in webhooks for condition in webhook.get("matchConditions") or ())
    causes = list(length_causes((condition.get("expression", "") for condition in conditions), "webhooks"))
    if causes:
        return causes
    causes = list(_repeated(webhooks, "webhooks"))
    return causes + [cause for at, webhook in enumerate(webhooks) for cause in _webhook(webhook, f"webhooks[{at}]")]


def _repeated(named: Sequence[Mapping[str, Any]], path: str) -> Iterator[Cause]:
    """The names that are there a second time."""
    names = [each.get("name", "") for each in named]
    seen: set[str] = set()
    for at, name in enumerate(names):
        if name and name in seen:
            yield duplicate(f"{path}[{at}].name", name)
        seen.add(name)


def _webhook(webhook: Document, path: str) -> Iterator[Cause]:
    yield from _review_versions(webhook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions")
    yield from _qualified(webhook.get("name", ""), f"{path}.name")
    for at, rule in enumerate(webhook.get("rules") or ()):
        yield from rule_causes(rule, f"{path}.rules[{at}]")
    for field, choices in CHOICES.items():
        if field in webhook and webhook[field] not in choices:
            yield not_supported(f"{path}.{field}", webhook[field], choices)
    side_effects = webhook.get("sideEffects")
    if side_effects is None:
        yield required(f"{path}.sideEffects", f"must specify one of {', '.join(SIDE_EFFECTS)}")
    elif side_effects not in SIDE_EFFECTS:
        yield not_supported(f"{path}.sideEffects", side_effects, SIDE_EFFECTS)
    seconds = webhook.get("timeoutSeconds", 10)
    if not 1 <= seconds <= 30:
        yield invalid(f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
    for field in ("namespaceSelector", "objectSelector"):
        yield from check_object(webhook.get(field) or {}, f"{path}.{field}")
    yield from client_causes(webhook.get("clientConfig") or {}, f"{path}.clientConfig")
    yield from condition_causes(webhook.get("matchConditions") or [], f"{path}.matchConditions")


def _review_versions(versions: Sequence[str], path: str) -> Iterator[Cause]:
    if not versions:
        yield required(path, f"must specify one of {REVIEW_VERSION}")
        return
    for at, one in enumerate(versions):
        if one in versions[:at]:
            yield duplicate(f"{path}[{at}]", one)
            continue
        for problem in dns1035_label(one):
            yield invalid(f"{path}[{at}]", one, problem)
    if REVIEW_VERSION not in versions:
        yield invalid(path, list(versions), f"must include at least one of {REVIEW_VERSION}")


def _qualified(name: str, path: str) -> Iterator[Cause]:
    if not name:
        yield required(path)
        return
    problems = dns1123_subdomain(name)
    for problem in problems:
        yield invalid(path, name, problem)
    if not problems and name.count(".") < 2:
        yield invalid(path, name, "should be a domain with at least three segments separated by dots")


def rule_causes(rule: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What is wrong with a rule about operations and resources."""
    operations = rule.get("operations") or []
    yield from _several(operations, f"{path}.operations", "operations")
    for at, operation in enumerate(operations):
        if operation not in OPERATIONS:
            yield not_supported(f"{path}.operations[{at}]", operation, OPERATIONS)
    yield from _several(rule.get("apiGroups") or [], f"{path}.apiGroups", "API groups")
    versions = rule.get("apiVersions") or []
    yield from _several(versions, f"{path}.apiVersions", "API versions")
    yield from (required(f"{path}.apiVersions[{at}]") for at, version in enumerate(versions) if not version)
    yield from _resources(rule.get("resources") or [], f"{path}.resources")
    if rule.get("scope", "*") not in ("*", "Cluster", "Namespaced"):
        yield not_supported(f"{path}.scope", rule["scope"], ("*", "Cluster", "Namespaced"))


def _several(values: Sequence[str], path: str, what: str) -> Iterator[Cause]:
    if not values:
        yield required(path)
    elif len(values) > 1 and "*" in values:
        yield invalid(path, list(values), f"if '*' is present, must not specify other {what}")


def _resources(resources: Sequence[str], path: str) -> Iterator[Cause]:
    if not resources:
        yield required(path)
    whole: set[str] = set()  # resources of which all subresources are named
    everywhere: set[str] = set()  # subresources that are named for all resources
    for at, named in enumerate(resources):
        resource, slash, subresource = named.partition("/")
        if not named:
            yield required(f"{path}[{at}]")
        if not slash:
            continue
        if resource in whole:
            yield invalid(f"{path}[{at}]", named, f"if '{resource}/*' is present, must not specify {named}")
        if subresource in everywhere:
            yield invalid(f"{path}[{at}]", named, f"if '*/{subresource}' is present, must not specify {named}")
        if subresource == "*":
            whole.add(resource)
        if resource == "*":
            everywhere.add(subresource)
    if len(resources) > 1 and "*/*" in resources:
        yield invalid(path, list(resources), "if '*/*' is present, must not specify other resources")
    if "*" in resources and any(named and named != "*" and "/" not in named for named in resources):
        yield invalid(path, list(resources), "if '*' is present, must not specify other resources without subresources")


def client_causes(config: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What is wrong with where a webhook is."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield required(path, "exactly one of url or service is required")
    elif url is not None:
        yield from _url(url, f"{path}.url")
    elif service is not None:
        yield from _service(service, f"{path}.service")


def _url(url: str, path: str) -> Iterator[Cause]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        yield required(path, f"url must be a valid URL: {error}{_URL_FORM}")
        return
    if not url.isascii() or not url.isprintable() or " " in url or port == 0:
        yield required(path, f"url must be a valid URL: it has a port from 1 on and no blanks{_URL_FORM}")
    if parts.scheme != "https":
        yield invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_URL_FORM}")
    if not parts.hostname:
        yield invalid(path, parts.hostname or "", f"host must be specified{_URL_FORM}")
    if "@" in parts.netloc:
        yield invalid(path, "", "user information is not permitted in the URL")  # which is a secret: not shown
    if parts.fragment:
        yield invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield invalid(path, parts.query, "query parameters are not permitted in the URL")


def _service(service: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for field in ("name", "namespace"):
        if not service.get(field):
            yield required(f"{path}.{field}", f"service {field} is required")
    port = service.get("port", 443)
    if not 1 <= port <= 65535:
        yield invalid(f"{path}.port", port, "port is not valid: must be between 1 and 65535, inclusive")
    url_path = service.get("path") or "/"
    if url_path == "/":
        return
    if url_path == "//":
        yield invalid(f"{path}.path", url_path, "segment[0] may not be empty")
        return
    if not url_path.startswith("/"):
        yield invalid(f"{path}.path", url_path, "must start with a '/'")
    for at, segment in enumerate(url_path[1:].removesuffix("/").split("/")):
        if not segment:
            yield invalid(f"{path}.path", url_path, f"segment[{at}] may not be empty")
        else:
            for problem in dns1123_subdomain(segment):
                yield invalid(f"{path}.path", url_path, f"segment[{at}]: {problem}")


def condition_causes(
    conditions: Sequence[Mapping[str, Any]], path: str, variables: Mapping[str, str | Shape] = WEBHOOK
) -> Iterator[Cause]:
    """What is wrong with the names and the number of match conditions, and with their expressions, which see `variables`."""
    if len(conditions) > CONDITION_LIMIT:
        yield too_many(path, len(conditions), CONDITION_LIMIT)
        return
    yield from _repeated(conditions, path)
    for at, condition in enumerate(conditions):
        name = condition.get("name", "")
        if not name:
            yield required(f"{path}[{at}].name")
        else:
            yield from (invalid(f"{path}[{at}].name", name, problem) for problem in qualified_name(name))
        text = condition.get("expression", "")
        if not text.strip():
            yield required(f"{path}[{at}].expression")
        else:
            yield from expression_causes(text, variables, f"{path}[{at}].expression")[0]
