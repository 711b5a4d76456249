"""What is wrong with a CustomResourceDefinition: every broken rule with its field, in the words of Kubernetes. Pure.

What all versions have in common (a schema, subresources, columns) is told of once, as a real server does: `spec.validation`,
`spec.subresources`, `spec.additionalPrinterColumns`.

What is stored already, and is not touched, is not looked at again. One thing is stricter: a conversion webhook has to understand
`v1` of ConversionReview, the only version that is sent.
"""

from __future__ import annotations

import ssl
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from registry.builtin.common import IMMUTABLE
from registry.builtin.customresourcedefinition_schemas import schema_causes, selectable_causes
from registry.builtin.webhook_checks import client_causes
from registry.custom.definition import DECLARED, ESTABLISHED
from registry.errors import CAUSES_TOLD, Cause, forbidden, invalid, not_supported, required
from registry.kinds import Document
from registry.names import dns1035_label, dns1123_subdomain

APPROVED = "api-approved.kubernetes.io"
SCOPES = ("Cluster", "Namespaced")
STRATEGIES = ("None", "Webhook")
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
REVIEW_VERSION = "v1"
LONGEST_WARNING = 256
_MIXED = "may have mixed case, but should otherwise match: "
_HOW = "see https://github.com/kubernetes/enhancements/pull/1111"

Versions = Sequence[Mapping[str, Any]]


def check(new: Document, old: Document | None) -> list[Cause]:
    """All causes, as far as an answer tells them. What is declared in code has been looked at there."""
    if DECLARED in (new["metadata"].get("annotations") or {}):
        return []
    return list(islice(_causes(new, old), CAUSES_TOLD))


def _causes(new: Document, old: Document | None) -> Iterator[Cause]:
    spec, status = new.get("spec") or {}, new.get("status") or {}
    before = (old.get("spec") or {}) if old is not None else None
    if old is None:
        yield from _name_causes(new["metadata"].get("name", ""), spec)
    if spec != before:
        yield from _spec_causes(spec, before)
        yield from _kept(spec, before, established=_is_established(old))
        yield from _approval(new, old)
    yield from names_causes(status.get("acceptedNames") or {}, "status.acceptedNames")
    yield from _stored(status.get("storedVersions"), spec.get("versions") or ())


def _name_causes(name: str, spec: Document) -> Iterator[Cause]:
    names = spec.get("names") or {}
    if name and name != f"{names.get('plural', '')}.{spec.get('group', '')}":
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')


def _is_established(document: Document | None) -> bool:
    conditions = ((document or {}).get("status") or {}).get("conditions") or ()
    return any(each.get("type") == ESTABLISHED and each.get("status") == "True" for each in conditions)


def _spec_causes(spec: Document, before: Document | None) -> Iterator[Cause]:
    yield from _group(spec.get("group", ""))
    scope = spec.get("scope", "")
    if not scope:
        yield required("spec.scope")
    elif scope not in SCOPES:
        yield not_supported("spec.scope", scope, SCOPES)
    names = spec.get("names") or {}
    for field in ("plural", "singular", "kind", "listKind"):
        if not names.get(field):
            yield required(f"spec.names.{field}")
    yield from names_causes(names, "spec.names")
    versions = spec.get("versions") or ()
    yield from _versions(versions)
    yield from _parts(versions, (before or {}).get("versions") or ())
    yield from _conversion(spec.get("conversion") or {}, "spec.conversion")
    if spec.get("preserveUnknownFields"):
        detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield invalid("spec.preserveUnknownFields", True, detail)


def _group(group: str) -> Iterator[Cause]:
    if not group:
        yield required("spec.group")
    elif problems := dns1123_subdomain(group):
        yield invalid("spec.group", group, ",".join(problems))
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")


def names_causes(names: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What is wrong with names that are there."""
    for field, mixed in (("plural", False), ("singular", False), ("kind", True), ("listKind", True)):
        name = names.get(field, "")
        problems = dns1035_label(name.lower() if mixed else name) if name else []
        if problems:
            yield invalid(f"{path}.{field}", name, (_MIXED if mixed else "") + ",".join(problems))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield invalid(f"{path}.listKind", names["listKind"], "kind and listKind may not be the same")
    for field in ("shortNames", "categories"):
        for at, name in enumerate(names.get(field) or ()):
            if problems := dns1035_label(name):
                yield invalid(f"{path}.{field}[{at}]", name, ",".join(problems))


def _versions(versions: Versions) -> Iterator[Cause]:
    named = [version.get("name", "") for version in versions]
    for at, name in enumerate(named):
        if problems := dns1035_label(name):
            yield invalid(f"spec.versions[{at}].name", name, ",".join(problems))
    if len(set(named)) < len(named):
        yield invalid("spec.versions", _shown(versions), "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid("spec.versions", _shown(versions), "must have exactly one version marked as storage version")


def _shown(versions: Versions) -> list[dict[str, Any]]:
    """Versions as messages show them: what is large is left out."""
    return [
        {
            "Name": version.get("name", ""),
            "Served": bool(version.get("served")),
            "Storage": bool(version.get("storage")),
            "Deprecated": bool(version.get("deprecated")),
            "DeprecationWarning": version.get("deprecationWarning"),
            "Schema": None,
            "Subresources": None,
            "AdditionalPrinterColumns": None,
            "SelectableFields": None,
        }
        for version in versions
    ]


PartCheck = Callable[[Any, str, Mapping[str, Any], Mapping[str, Any]], Iterator[Cause]]
"""What is wrong with a part of a version: the part, its path, the version, and that version as it was."""


def _parts(versions: Versions, before: Versions) -> Iterator[Cause]:
    """What is in versions; what is the same in all of them is told of once."""
    old = {version.get("name", ""): version for version in before}
    for at, version in enumerate(versions):
        warning = version.get("deprecationWarning")
        if warning is not None:
            yield from _warning(warning, f"spec.versions[{at}].deprecationWarning", deprecated=bool(version.get("deprecated")))
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            yield required(f"spec.versions[{at}].schema.openAPIV3Schema")
    checks: Sequence[tuple[str, str, PartCheck]] = (
        ("schema", "validation", _schema),
        ("subresources", "subresources", _subresources),
        ("additionalPrinterColumns", "additionalPrinterColumns", _columns),
        ("selectableFields", "selectableFields", _selectable),
    )
    for field, common, causes in checks:
        alike = all(version.get(field) == versions[0].get(field) for version in versions)
        for at, version in enumerate(versions[:1] if alike else versions):
            part, was = version.get(field), old.get(version.get("name", ""), {})
            known = part == was.get(field) and version.get("schema") == was.get("schema")
            if part and not known:
                yield from causes(part, f"spec.{common}" if alike else f"spec.versions[{at}].{field}", version, was)


def _schema(part: Any, path: str, version: Mapping[str, Any], was: Mapping[str, Any]) -> Iterator[Cause]:
    schema = part.get("openAPIV3Schema")
    if schema is not None:
        has_status = (version.get("subresources") or {}).get("status") is not None
        before = (was.get("schema") or {}).get("openAPIV3Schema")
        yield from schema_causes(schema, f"{path}.openAPIV3Schema", has_status=has_status, before=before)


def _selectable(part: Any, path: str, version: Mapping[str, Any], was: Mapping[str, Any]) -> Iterator[Cause]:
    del was
    yield from selectable_causes(part, path, (version.get("schema") or {}).get("openAPIV3Schema") or {})


def _warning(warning: str, path: str, *, deprecated: bool) -> Iterator[Cause]:
    if not deprecated:
        yield invalid(path, warning, "can only be set for deprecated versions")
        return
    if not warning:
        yield invalid(path, warning, "must not be empty")
    if len(warning.encode()) > LONGEST_WARNING:
        yield invalid(path, warning, f"must be <= {LONGEST_WARNING} characters long")
    for at, letter in enumerate(warning):
        if not letter.isprintable():
            yield invalid(
                path, warning, f"must only contain printable UTF-8 characters; non-printable character found at index {at}"
            )
            return


def _subresources(part: Any, path: str, version: Mapping[str, Any], was: Mapping[str, Any]) -> Iterator[Cause]:
    del version, was
    scale = part.get("scale")
    if scale is None:
        return
    for field, below in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        text = scale.get(field, "")
        if not text:
            yield required(f"{path}.scale.{field}")
        else:
            yield from _path_below(text, f"{path}.scale.{field}", below)
    selector = scale.get("labelSelectorPath")
    if selector:
        yield from _path_below(selector, f"{path}.scale.labelSelectorPath", ".spec", ".status")


def _path_below(text: str, path: str, *roots: str) -> Iterator[Cause]:
    if not text.startswith("."):
        yield invalid(path, text, "must be a simple json path starting with .")
    elif not text.startswith(tuple(f"{root}." for root in roots)):
        yield invalid(path, text, f"should be a json path under {'either ' if len(roots) > 1 else ''}{' or '.join(roots)}")


def _columns(part: Any, path: str, version: Mapping[str, Any], was: Mapping[str, Any]) -> Iterator[Cause]:
    del version, was
    types, formats = ",".join(COLUMN_TYPES), ",".join(COLUMN_FORMATS)
    for at, column in enumerate(part):
        where = f"{path}[{at}]"
        if not column.get("name"):
            yield required(f"{where}.name")
        if not column.get("type"):
            yield required(f"{where}.type", f"must be one of {types}")
        elif column["type"] not in COLUMN_TYPES:
            yield invalid(f"{where}.type", column["type"], f"must be one of {types}")
        if column.get("format") and column["format"] not in COLUMN_FORMATS:
            yield invalid(f"{where}.format", column["format"], f"must be one of {formats}")
        text = column.get("jsonPath", "")
        if not text:
            yield required(f"{where}.JSONPath")
        elif not text.startswith("."):
            yield invalid(f"{where}.JSONPath", text, "must be a simple json path starting with .")


def _conversion(conversion: Mapping[str, Any], path: str) -> Iterator[Cause]:
    strategy, webhook = conversion.get("strategy", ""), conversion.get("webhook") or {}
    config, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy not in STRATEGIES:
        yield not_supported(f"{path}.strategy", strategy, STRATEGIES)
    if strategy != "Webhook":
        for field, there in (("webhookClientConfig", config is not None), ("conversionReviewVersions", bool(versions))):
            if there:
                yield forbidden(f"{path}.{field}", "should not be set when strategy is not set to Webhook")
        return
    if config is None:
        yield required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook")
    else:
        yield from client_causes(config, f"{path}.webhookClientConfig")
        yield from _bundle(config.get("caBundle"), f"{path}.webhookClientConfig.caBundle")
    if not versions:
        yield required(f"{path}.conversionReviewVersions")
    else:
        yield from _review_versions(versions, f"{path}.conversionReviewVersions")


def _bundle(bundle: str | None, path: str) -> Iterator[Cause]:
    """Certificates that nobody can be checked by are better known of now than at the first conversion."""
    if not bundle:
        return
    try:
        ssl.create_default_context(cadata=b64decode(bundle).decode("ascii"))
    except (ssl.SSLError, ValueError):
        said = "unable to load root certificates: unable to parse bytes as PEM block"
        yield Cause("FieldValueInvalid", f"Invalid value: {said}", path)


def _review_versions(versions: Sequence[str], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for at, name in enumerate(versions):
        if name in seen:
            yield invalid(f"{path}[{at}]", name, "duplicate version")
        elif problems := dns1035_label(name):
            yield from (invalid(f"{path}[{at}]", name, problem) for problem in problems)
        seen.add(name)
    if REVIEW_VERSION not in versions:
        yield invalid(path, list(versions), f"must include at least one of {REVIEW_VERSION}")


def _kept(spec: Document, before: Document | None, *, established: bool) -> Iterator[Cause]:
    """What cannot change: where objects are stored, and, once they can be, what they are."""
    if before is None:
        return
    names, were = spec.get("names") or {}, before.get("names") or {}
    compared = [("group", spec.get("group"), before.get("group")), ("names.plural", names.get("plural"), were.get("plural"))]
    if established:
        compared += [("scope", spec.get("scope"), before.get("scope")), ("names.kind", names.get("kind"), were.get("kind"))]
    for field, now, then in compared:
        if now != then:
            yield invalid(f"spec.{field}", now, IMMUTABLE)


def _approval(new: Document, old: Document | None) -> Iterator[Cause]:
    """Groups of Kubernetes itself are for what Kubernetes has agreed to, or says that it has not."""
    group: str = (new.get("spec") or {}).get("group", "")
    if not group.endswith((".k8s.io", ".kubernetes.io")) and group not in ("k8s.io", "kubernetes.io"):
        return
    said = (new["metadata"].get("annotations") or {}).get(APPROVED, "")
    if old is not None and said == (old["metadata"].get("annotations") or {}).get(APPROVED, ""):
        return
    field = f"metadata.annotations[{APPROVED}]"
    if not said:
        yield required(field, f'protected groups must have approval annotation "{APPROVED}", {_HOW}')
    elif not said.startswith("unapproved") and not _is_url(said):
        how = 'with either a URL or a reason starting with "unapproved"'
        yield invalid(field, said, f'protected groups must have approval annotation "{APPROVED}" {how}, {_HOW}')


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def _stored(stored: Sequence[str] | None, versions: Versions) -> Iterator[Cause]:
    """Objects may be stored in a version for as long as nobody says that none is."""
    path = "status.storedVersions"
    if not stored:
        yield invalid(path, stored, "must have at least one stored version")
        return
    for version in versions:
        if version.get("storage") and version.get("name", "") not in stored:
            yield invalid(path, list(stored), f"must have the storage version {version.get('name', '')}")
    known = {version.get("name", "") for version in versions}
    for at, name in enumerate(stored):
        if name not in known:
            yield invalid(
                f"{path}[{at}]",
                name,
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a "
                f"storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions",
            )
