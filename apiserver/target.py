"""URL paths and what they address. Pure: no request, no store.

    /api/v1/namespaces/{ns}/configmaps/{name}/{subresource}
    /apis/{group}/{version}/namespaces/{ns}/{plural}/{name}/{subresource}

Paths are split before they are percent-decoded, so an encoded slash is part of a name and never makes a segment. A trailing slash
addresses the same resource (some clients write one).
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import msgspec

from registry.catalog import Registry
from registry.errors import NotFound
from registry.kinds import Kind, Version
from registry.names import path_segment


class Target(msgspec.Struct, frozen=True, gc=False):
    """What a path addresses: a collection (no name), an object, or a subresource of one.

    `namespace` is None for a collection over all namespaces and for kinds without. `watch_prefix` tells the old form of a watch,
    with `/watch/` in the path.
    """

    kind: Kind
    version: Version
    namespace: str | None
    name: str = ""
    subresource: str = ""
    watch_prefix: bool = False
    asked: Version | None = None


class PageNotFound(NotFound):
    """404 for a path that addresses nothing: answered as plain text, as Kubernetes does."""

    def __init__(self) -> None:
        super().__init__("404 page not found")


def unknown_resource() -> NotFound:
    """404 for a resource that a built-in group does not have."""
    return NotFound("the server could not find the requested resource", details={})


def segments(raw_path: bytes) -> list[str]:
    """The decoded segments of a path, without the empty ones at its ends. Raises PageNotFound if one is empty or not UTF-8."""
    try:
        if b"%" in raw_path:
            parts = [unquote_to_bytes(part).decode() for part in raw_path.strip(b"/").split(b"/")]
        else:
            parts = raw_path.decode().strip("/").split("/")
    except UnicodeDecodeError:
        raise PageNotFound from None
    if raw_path.startswith(b"//") or "" in parts[1:]:
        raise PageNotFound
    return parts


def resource_parts(raw_path: bytes) -> list[str] | None:
    """The segments of a path that is one of a resource, be it served or not; None for every other path. Raises PageNotFound for a
    path that is none."""
    if not raw_path.startswith((b"/apis/", b"/api/")):
        return None
    parts = segments(raw_path)
    if len(parts) < 3 or (len(parts) == 3 and parts[0] == "apis"):
        return None
    return parts


def resolve(registry: Registry, parts: list[str]) -> Target:
    """The target of a path below `/api/v1` or `/apis/{group}/{version}`. Raises NotFound in the form that its group uses."""
    if parts[0] == "api":
        group, version, rest, builtin = "", parts[1], parts[2:], True
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
        builtin = group.endswith(".k8s.io") or group in {"apps", "batch", "autoscaling", "policy", "extensions"}
    prefixed = rest[0] == "watch" and len(rest) > 1
    if prefixed:
        rest = rest[1:]
    target = _target(registry, group, version, rest, prefixed)
    if target is None or (prefixed and (target.subresource or path_segment(target.name))):
        raise unknown_resource() if builtin and version in registry.groups.get(group, ()) else _missing(registry, group)
    return target


def _missing(registry: Registry, group: str) -> NotFound:
    return unknown_resource() if not group and "" in registry.groups else PageNotFound()


def _target(registry: Registry, group: str, version: str, rest: list[str], prefixed: bool) -> Target | None:
    namespace: str | None = None
    if rest[0] == "namespaces" and len(rest) > 2:
        found = registry.find(group, version, rest[2])
        if found is not None and found[0].namespaced:
            namespace, rest = rest[1], rest[2:]
        elif group or found is not None or not _is_subresource(registry, version, rest[2]):
            return None
    found = registry.find(group, version, rest[0])
    if found is None or len(rest) > 3:
        return None
    kind, served = found
    if kind.namespaced and namespace is None and len(rest) > 1:
        return None
    name = rest[1] if len(rest) > 1 else ""
    return Target(kind, served, namespace, name, rest[2] if len(rest) > 2 else "", prefixed)


def _is_subresource(registry: Registry, version: str, segment: str) -> bool:
    found = registry.find("", version, "namespaces")
    return found is not None and (segment == "status" or segment in found[0].extra_subresources)
