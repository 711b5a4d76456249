"""Patches: from a body and its media type to a function from the object as it is to the object as it shall be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from apiserver import intake
from apiserver.negotiation import PROTOBUF
from apiserver.options import WriteOptions
from apiserver.target import Target
from registry.errors import Invalid, UnsupportedMediaType, invalid
from registry.kinds import Kind
from registry.patches import json_patch, merge_patch, parse_json_patch, parse_merge_patch
from registry.strategic import strategic_merge

Document = dict[str, Any]
Patch = Callable[[Document], Document]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def media_type(content_type: str) -> str:
    """The media type of a body, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def accepted(kind: Kind) -> tuple[str, ...]:
    """The media types of patches that a kind takes. A strategic merge patch is for the kinds whose lists clients know by heart."""
    return (JSON_PATCH, MERGE_PATCH, *((STRATEGIC_PATCH,) if kind.strategy.builtin else ()), APPLY_PATCH)


def parse(body: bytes, content_type: str, target: Target) -> Patch:
    """The patch in a body. Raises BadRequest, TooLarge, and UnsupportedMediaType for a form that is not known.

    Apply is not one of these: it needs to know who applies, and makes what is not there (`apiserver.applying`).
    """
    media = media_type(content_type)
    if media == JSON_PATCH:
        operations = parse_json_patch(body)
        return lambda document: json_patch(document, operations)
    if media == MERGE_PATCH:
        patch = parse_merge_patch(body)
        return lambda document: merge_patch(document, patch)
    if media == STRATEGIC_PATCH and target.kind.strategy.builtin:
        strategic = parse_merge_patch(body)
        root = target.version.schema.node
        return lambda document: strategic_merge(document, strategic, root)
    if media == PROTOBUF:
        raise UnsupportedMediaType("415: Unsupported Media Type", details={})
    raise not_taken(accepted(target.kind))


def not_taken(forms: Sequence[str]) -> UnsupportedMediaType:
    """415: a patch in none of the forms that are taken."""
    said = "the body of the request was in an unknown format - accepted media types include"
    return UnsupportedMediaType(f"{said}: {', '.join(forms)}")


def propose(target: Target, patched: Document, base: Document, options: WriteOptions) -> intake.Intake:
    """The object that a patch makes of `base`, understood as one that was sent whole. Raises BadRequest, Invalid."""
    version = target.version
    kind, api_version = patched.get("kind"), patched.get("apiVersion")
    if kind != version.kind:
        raise intake.wrong_kind(version, kind if isinstance(kind, str) else "", patched)
    if api_version != version.api_version:
        cause = invalid("apiVersion", api_version if isinstance(api_version, str) else "", f"must be {version.api_version}")
        refused = Invalid(version.kind, version.group, target.name, [cause])
        refused.warnings = intake.unknown_version_warnings(patched)
        raise refused
    return intake.understand(target, patched, options, (), (), base=base)
