"""The scale subresource: an `autoscaling/v1` Scale as a view of an object's replicas. Pure.

Source: Kubernetes, "Custom Resources", scale subresource; the paths are those of the kind.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from apiserver.intake import bad_patch
from registry.errors import BadRequest, Cause, Invalid, invalid, shown
from registry.jsonpath import JSONPath, parse
from registry.kinds import Kind, Scale, Version
from registry.patches import json_type

Document = dict[str, Any]

NOT_NEGATIVE = "should be a non-negative integer"
parse_path: Callable[[str], JSONPath] = lru_cache(maxsize=1_024)(parse)
GO_TYPES = {list: "[]interface {}", str: "string", bool: "bool", int: "int64", float: "float64"}
"""How messages call the types of JSON values."""


def scale_of(kind: Kind, document: Document) -> Document:
    """The Scale of an object."""
    paths = _paths(kind)
    metadata = document["metadata"]
    status: Document = {"replicas": parse_path(paths.status).first(document) or 0}
    selector = parse_path(paths.selector).first(document) if paths.selector else None
    if selector:
        status["selector"] = selector
    replicas = parse_path(paths.spec).first(document)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if key in metadata
        },
        "spec": {"replicas": replicas} if replicas is not None else {},
        "status": status,
    }


def checked(scale: Document, current: Document) -> Document:
    """A Scale that was sent whole. Raises BadRequest when it is none."""
    if scale.get("kind", "Scale") != "Scale" or scale.get("apiVersion", "autoscaling/v1") != "autoscaling/v1":
        scheme = "k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go:781"
        raise BadRequest(f'no kind is registered for the type v1.Scale in scheme "{scheme}"')
    problem = _problem(scale)
    if problem:
        raise BadRequest(f'Scale in version "v1" cannot be handled as a Scale: {problem}')
    metadata = scale.get("metadata") or {}
    name = metadata.get("name") or current["metadata"]["name"]
    return {**scale, "metadata": {**metadata, "name": name}}


def patched(change: Callable[[Document], Document], current: Document) -> Document:
    """A Scale as a patch makes it. Raises Invalid when the result is none."""
    scale = change(current)
    problem = _problem(scale)
    if problem:
        raise bad_patch(scale, problem)
    return scale


def rescaled(kind: Kind, version: Version, old: Document, scale: Document) -> Document:
    """The object with the replicas, and the preconditions, of a Scale. Raises Invalid."""
    paths = _paths(kind)
    replicas = scale.get("spec", {}).get("replicas", 0)
    if replicas < 0:
        cause = invalid(paths.spec, replicas, NOT_NEGATIVE)
        raise Invalid(kind.name, version.group, old["metadata"]["name"], [cause])
    sent = scale.get("metadata", {})
    document = parse_path(paths.spec).set(old, replicas)
    metadata = {**old["metadata"], **{key: sent[key] for key in ("name", "namespace", "uid") if sent.get(key)}}
    metadata["resourceVersion"] = sent.get("resourceVersion", "")
    return {**document, "metadata": metadata}


def with_replicas_of(kind: Kind, document: Document, other: Document) -> Document:
    """The object with the replicas that another form of it has, and nothing else of that."""
    path = parse_path(_paths(kind).spec)
    replicas = path.first(other)
    return document if replicas is None or replicas == path.first(document) else path.set(document, replicas)


def check(kind: Kind, document: Document) -> list[Cause]:
    """What makes an object useless for /scale: replicas that are no count, or that cannot be reached."""
    if kind.scale is None:
        return []
    value: Any = document
    for name in parse_path(kind.scale.spec).fields or ():
        if not isinstance(value, dict):
            said = f"{shown(value)} is of the type {GO_TYPES.get(type(value), 'nil')}, expected map[string]interface{{}}"
            return [invalid(kind.scale.spec, 0, f"{kind.scale.spec} accessor error: {said}")]
        value = value.get(name)
        if value is None:
            return []
    if isinstance(value, int) and value < 0:
        return [invalid(kind.scale.spec, value, NOT_NEGATIVE)]
    return []


def _paths(kind: Kind) -> Scale:
    if kind.scale is None:
        raise AssertionError(f"{kind.name} has no scale")
    return kind.scale


def _problem(scale: Document) -> str:
    """What a Go decoder would say of a field of the wrong type; empty when there is nothing to say."""
    for field, go_type in (("metadata", "v1.ObjectMeta"), ("spec", "v1.ScaleSpec")):
        if not isinstance(scale.get(field, {}), dict):
            return f"json: cannot unmarshal {json_type(scale[field])} into Go struct field Scale.{field} of type {go_type}"
    for name in ("name", "namespace", "uid", "resourceVersion"):
        value = scale.get("metadata", {}).get(name, "")
        if not isinstance(value, str):
            return f"json: cannot unmarshal {json_type(value)} into Go struct field ObjectMeta.metadata.{name} of type string"
    replicas = scale.get("spec", {}).get("replicas", 0)
    if isinstance(replicas, bool) or not isinstance(replicas, int) or not -(2**31) <= replicas < 2**31:
        said = f"number {replicas}" if isinstance(replicas, int | float) and not isinstance(replicas, bool) else json_type(replicas)
        return f"json: cannot unmarshal {said} into Go struct field ScaleSpec.spec.replicas of type int32"
    return ""
