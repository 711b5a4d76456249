"""What of a body may be in the audit log. Pure, and called in the thread that writes it.

Never are the bodies of what holds or makes credentials (`NEVER`). Of other kinds the fields are masked that their model marks:
`Annotated[str, Format("password")]` (the format of OpenAPI), or the extension `x-skep-secret`. A body of which it cannot be told
where those fields are is left out whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from apiserver.negotiation import JSON, YAML
from apiserver.target import Target
from registry.documents import Malformed, parse_yaml
from registry.kinds import Kind, Version
from registry.nodes import Node

Path = tuple[str, ...]

MASK = "***"
LONGEST = 256 * 1024
"""Bytes of a body that are told; a longer one is left out."""
NEVER = frozenset({"secrets", "apikeys", "tokenreviews"})
"""Plurals of kinds whose bodies are never told, in whichever group."""
NEVER_KINDS = frozenset({"Secret", "SecretList", "ApiKey", "ApiKeyList", "TokenReview", "TokenRequest"})
"""What a body of those calls itself, also where it was sent to a wrong path."""
NEVER_BELOW = frozenset({"token"})
"""The same, subresources."""
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MARK = "x-skep-secret"
EACH = "*"
"""In a path: every item, or every key."""


def is_secret(target: Target | None) -> bool:
    """Whether nothing of the bodies may be told, nor of messages, which may quote them."""
    return target is not None and (target.kind.plural in NEVER or target.subresource in NEVER_BELOW)


def _paths(node: Node, path: Path) -> Sequence[Path]:
    if node.format == "password" or node.extensions.get(MARK):
        return [path]
    found: list[Path] = []
    for key, child in node.properties.items():
        found += _paths(child, (*path, key))
    for child_node in (node.additional, node.items):
        if child_node is not None:
            found += _paths(child_node, (*path, EACH))
    return found


class Body(msgspec.Struct, frozen=True):
    """What was sent or answered."""

    data: bytes
    media: str = JSON
    patch: bool = False


class Secrets:
    """Knows where the secrets of each kind are."""

    def __init__(self) -> None:
        self._marked: dict[str, tuple[tuple[Version, ...], tuple[Path, ...]]] = {}  # by resource: of which versions

    def marked(self, target: Target | None) -> tuple[Path, ...]:
        """The paths of the fields that are masked, of all versions together: one that has no such field has nothing there."""
        if target is None:
            return ()
        found = self._marked.get(target.kind.resource)
        if found is None or found[0] is not target.kind.versions:
            paths = (path for version in target.kind.versions for path in _paths(version.schema.node, ()))
            found = self._marked[target.kind.resource] = (target.kind.versions, tuple(dict.fromkeys(paths)))
        return found[1]

    def quoted(self, target: Target | None) -> bool:
        """Whether a refusal may quote a secret, since it is about what has some."""
        return is_secret(target) or bool(self.marked(target))

    def told(self, body: Body, target: Target | None) -> tuple[Any, str]:
        """What may be told of a body, and if that is nothing, why."""
        if is_secret(target):
            return None, "it may hold credentials"
        if len(body.data) > LONGEST:
            return None, f"it has {len(body.data)} bytes, and no more than {LONGEST} are told"
        try:
            value = _read(body)
        except (msgspec.DecodeError, Malformed, UnicodeDecodeError, ValueError, RecursionError):
            return None, "it is not JSON or YAML that can be read"
        if isinstance(value, dict) and value.get("kind") in NEVER_KINDS:
            return None, "it may hold credentials"
        paths = self.marked(target)
        if target is None or not paths:
            return value, ""
        if isinstance(value, list):  # a JSON patch: its paths may be above or below those of the marks
            return [_without_value(each) for each in value], ""
        if not isinstance(value, dict):
            return None, "it is not known where its secrets are"
        return _masked_document(value, target.kind, paths, patch=body.patch)


def _read(body: Body) -> Any:
    media = body.media.partition(";")[0].strip().lower()
    if media == YAML or media.endswith(("+yaml", "/yaml")):
        return parse_yaml(body.data).document
    return msgspec.json.decode(body.data)


def _masked_document(value: dict[str, Any], kind: Kind, paths: Sequence[Path], *, patch: bool) -> tuple[Any, str]:
    named = value.get("kind")
    if named == kind.list_kind and isinstance(value.get("items"), list):
        return {**value, "items": [_masked(each, paths) for each in value["items"]]}, ""
    if named == kind.name or (patch and named in (None, "")):
        return _masked(value, paths), ""
    if named in ("Status", "Scale", "DeleteOptions"):
        return value if named != "Status" else {**value, "message": MASK, "details": MASK}, ""
    return None, "it is not known where its secrets are"


def _masked(document: Any, paths: Sequence[Path]) -> Any:
    for path in paths:
        document = _mask(document, path)
    annotations = document.get("metadata", {}).get("annotations") if isinstance(document, dict) else None
    if isinstance(annotations, dict) and APPLIED in annotations:
        metadata = {**document["metadata"], "annotations": {**annotations, APPLIED: MASK}}
        document = {**document, "metadata": metadata}
    return document


def _mask(value: Any, path: Path) -> Any:
    if not path:
        return value if value is None else MASK
    first, rest = path[0], path[1:]
    if isinstance(value, list):
        return [_mask(each, rest if first == EACH else path) for each in value]
    if not isinstance(value, dict):
        return MASK if value is not None else None  # of another form than it should be: nobody knows what it is
    if first == EACH:
        return {key: _mask(each, rest) for key, each in value.items()}
    return {**value, first: _mask(value[first], rest)} if first in value else value


def _without_value(operation: Any) -> Any:
    if not isinstance(operation, dict):
        return MASK
    return {key: MASK if key not in ("op", "path", "from") else value for key, value in operation.items()}
