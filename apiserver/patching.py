"""Patches: from a body and its media type to a function from the object as it is to the object as it shall be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apiserver import intake
from apiserver.options import WriteOptions
from apiserver.target import Target
from registry.errors import Invalid, UnsupportedMediaType, invalid
from registry.kinds import Kind
from registry.patches import json_patch, merge_patch, parse_json_patch, parse_merge_patch

Document = dict[str, Any]
Patch = Callable[[Document], Document]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
ACCEPTED = f"{JSON_PATCH}, {MERGE_PATCH}, application/apply-patch+yaml"


def parse(body: bytes, content_type: str, kind: Kind) -> Patch:
    """The patch in a body. Raises BadRequest, TooLarge, and UnsupportedMediaType for a form that is not known."""
    media = content_type.partition(";")[0].strip().lower()
    if media == JSON_PATCH:
        operations = parse_json_patch(body)
        return lambda document: json_patch(document, operations)
    if media == MERGE_PATCH:
        patch = parse_merge_patch(body)
        return lambda document: merge_patch(document, patch)
    raise UnsupportedMediaType(f"the body of the request was in an unknown format - accepted media types include: {ACCEPTED}")


def propose(target: Target, patched: Document, options: WriteOptions) -> intake.Intake:
    """The object that a patch makes, understood as one that was sent whole. Raises BadRequest, Invalid."""
    version = target.version
    kind, api_version = patched.get("kind"), patched.get("apiVersion")
    if kind != version.kind:
        raise intake.wrong_kind(version, kind if isinstance(kind, str) else "", patched)
    if api_version != version.api_version:
        cause = invalid("apiVersion", api_version if isinstance(api_version, str) else "", f"must be {version.api_version}")
        refused = Invalid(version.kind, version.group, target.name, [cause])
        refused.warnings = intake.unknown_version_warnings(patched)
        raise refused
    return intake.understand(target, patched, options, (), (), patched=True)
