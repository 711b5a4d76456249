"""Schemas as OpenAPI says them: of kinds, of their lists, and of what all kinds have in common.

`prefix` is where a document keeps its schemas (`#/components/schemas/`, `#/definitions/`), for references.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Protocol

import msgspec
from msgspec import Meta

from registry.nodes import Document, Node
from registry.resource import Metadata, Struct
from registry.typed import node_of

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
"""How the names of the schemas begin that all kinds share."""


class KindLike(Protocol):
    """What is asked of a kind here; see `registry.openapi.Served`."""

    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def list_kind(self) -> str: ...
    @property
    def node(self) -> Node | None: ...
    @property
    def document(self) -> Document | None: ...
    @property
    def custom(self) -> bool: ...
    @property
    def selectable(self) -> tuple[str, ...]: ...


def component(group: str, version: str, kind: str, *, custom: bool) -> str:
    """The name of a kind's schema: the group backwards for a custom kind, the Go package of Kubernetes for a built-in one."""
    if custom:
        return f"{'.'.join(reversed(group.split('.')))}.{version}.{kind}"
    return f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}.{kind}"


def reference(prefix: str, name: str) -> dict[str, str]:
    """A reference to a schema of the same document."""
    return {"$ref": f"{prefix}{name}"}


def schema_of_node(node: Node) -> dict[str, Any]:
    """A node and all below it as an OpenAPI schema, with the `x-kubernetes-*` extensions that say the rest."""
    said: dict[str, Any] = {
        "title": node.title,
        "description": node.description,
        "type": node.type,
        "format": node.format.replace("micro-time", "date-time"),
        "required": list(node.required),
        "properties": {key: schema_of_node(child) for key, child in node.properties.items()},
        "enum": list(node.enum),
        "pattern": node.pattern,
        "nullable": node.nullable and bool(node.type or node.int_or_string),
        "exclusiveMinimum": node.exclusive_minimum,
        "exclusiveMaximum": node.exclusive_maximum,
        "x-kubernetes-list-type": node.list_type.value if node.list_type else "",
        "x-kubernetes-list-map-keys": list(node.list_map_keys),
        "x-kubernetes-map-type": node.map_type,
        "x-kubernetes-preserve-unknown-fields": node.preserve,
        "x-kubernetes-int-or-string": node.int_or_string,
    }
    schema = {key: value for key, value in said.items() if value}
    schema |= {key: value for key, value in _numbers(node).items() if value is not None}
    if node.additional is not None:
        schema["additionalProperties"] = schema_of_node(node.additional)
    if node.items is not None:
        schema["items"] = schema_of_node(node.items)
    if node.has_default:
        schema["default"] = node.default
    if node.int_or_string:
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    return schema | dict(node.extensions)


def schema_of(kind: KindLike) -> dict[str, Any]:
    """The schema of a kind, without what all kinds have: as it came, or as its node says."""
    return dict(kind.document) if kind.document is not None else schema_of_node(kind.node or Node())


def _numbers(node: Node) -> dict[str, float | None]:
    """The keywords where zero says something."""
    return {
        "minimum": node.minimum,
        "maximum": node.maximum,
        "multipleOf": node.multiple_of,
        "minLength": node.min_length,
        "maxLength": node.max_length,
        "minItems": node.min_items,
        "maxItems": node.max_items,
        "minProperties": node.min_properties,
        "maxProperties": node.max_properties,
    }


def kind_schemas(kind: KindLike, prefix: str) -> dict[str, Any]:
    """The schemas of a kind and of its list, by name."""
    name = component(kind.group, kind.version, kind.kind, custom=kind.custom)
    schema = schema_of(kind)
    schema["properties"] = {**schema.get("properties", {}), "metadata": _metadata(prefix, "ObjectMeta", "Standard metadata.")}
    for field, description in _TYPE_META.items():
        schema["properties"][field] = {"type": "string", "description": description}
    item: dict[str, Any] = {
        "description": f"{kind.list_kind} is a list of {kind.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": _TYPE_META["apiVersion"]},
            "kind": {"type": "string", "description": _TYPE_META["kind"]},
            "metadata": _metadata(prefix, "ListMeta", "What the list says of itself."),
            "items": {"type": "array", "description": "The objects.", "items": reference(prefix, name)},
        },
    }
    for said, kind_name in ((schema, kind.kind), (item, kind.list_kind)):
        said["x-kubernetes-group-version-kind"] = [{"group": kind.group, "version": kind.version, "kind": kind_name}]
        if kind.selectable:
            said["x-kubernetes-selectable-fields"] = [{"fieldPath": path} for path in kind.selectable]
    return {name: schema, component(kind.group, kind.version, kind.list_kind, custom=kind.custom): item}


def _metadata(prefix: str, name: str, description: str) -> dict[str, Any]:
    return {"description": description, "allOf": [reference(prefix, META + name)]}


_TYPE_META = {
    "apiVersion": "The group and version of the schema that this object is written in: `group/version`.",
    "kind": "The kind of object that this is, in CamelCase.",
}


# What all kinds share.


class ListMeta(Struct):
    """What a list says of itself."""

    resource_version: Annotated[str, Meta(description="The revision that the list shows; a watch may begin after it.")] | None = (
        None
    )
    continue_: Annotated[str, Meta(description="The token to get the next page with; none on the last one.")] | None = (
        msgspec.field(default=None, name="continue")
    )
    remaining_item_count: Annotated[int, Meta(description="How many items come after this page, if that is known.")] | None = None
    self_link: Annotated[str, Meta(description="Obsolete; never set.")] | None = None


class Preconditions(Struct):
    """What must hold of an object for it to be deleted."""

    uid: Annotated[str, Meta(description="It must be this very object.")] | None = None
    resource_version: Annotated[str, Meta(description="It must be at this revision.")] | None = None


class DeleteOptions(Struct):
    """How an object is to be deleted."""

    api_version: str | None = None
    kind: str | None = None
    dry_run: Annotated[list[str], Meta(description="With All, nothing is deleted.")] | None = None
    grace_period_seconds: Annotated[int, Meta(description="Seconds until the object goes. Zero: at once.")] | None = None
    orphan_dependents: Annotated[bool, Meta(description="Obsolete: use propagationPolicy.")] | None = None
    preconditions: Preconditions | None = None
    propagation_policy: (
        Annotated[str, Meta(description="What becomes of what the object owns: Background, Foreground or Orphan.")] | None
    ) = None


class StatusCause(Struct):
    """One of the reasons of a refusal."""

    field: Annotated[str, Meta(description="The path of the field that is meant.")] | None = None
    message: Annotated[str, Meta(description="What is wrong, in a sentence.")] | None = None
    reason: Annotated[str, Meta(description="What is wrong, in one word.")] | None = None


class StatusDetails(Struct):
    """More about an answer: the object that it is about, and all causes."""

    name: str | None = None
    group: str | None = None
    kind: str | None = None
    uid: str | None = None
    causes: list[StatusCause] | None = None
    retry_after_seconds: Annotated[int, Meta(description="Seconds to wait before another try.")] | None = None


class AnswerStatus(Struct):
    """The answer to what has no other answer: a refusal, or a deletion."""

    wire_name: ClassVar[str] = "Status"

    api_version: str | None = None
    kind: str | None = None
    metadata: ListMeta | None = None
    status: Annotated[str, Meta(description="Success or Failure.")] | None = None
    message: Annotated[str, Meta(description="What happened, in a sentence.")] | None = None
    reason: Annotated[str, Meta(description="Why it was refused, in one word.")] | None = None
    details: StatusDetails | None = None
    code: Annotated[int, Meta(description="The HTTP status code.")] | None = None


class ScaleSpec(Struct):
    """What is wanted."""

    replicas: Annotated[int, Meta(description="How many replicas are wanted.")] | None = None


class ScaleStatus(Struct):
    """What is there."""

    replicas: Annotated[int, Meta(description="How many replicas there are.")]
    selector: Annotated[str, Meta(description="The label selector of the replicas.")] | None = None


class Scale(Struct):
    """The size of something that can be scaled."""

    api_version: str | None = None
    kind: str | None = None
    metadata: Metadata | None = None
    spec: ScaleSpec | None = None
    status: ScaleStatus | None = None


def meta_schemas(prefix: str, versions: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The schemas that every document has; `versions` are the groups and versions in which DeleteOptions are taken."""
    schemas = {
        META + name: schema_of_node(node_of(model))
        for name, model in (
            ("ObjectMeta", Metadata),
            ("ListMeta", ListMeta),
            ("DeleteOptions", DeleteOptions),
            ("Preconditions", Preconditions),
            ("Status", AnswerStatus),
        )
    }
    schemas[META + "Patch"] = {"type": "object", "description": "The change, in the form that the media type says."}
    scale = schema_of_node(node_of(Scale))
    scale["properties"]["metadata"] = _metadata(prefix, "ObjectMeta", "Standard metadata.")
    scale["x-kubernetes-group-version-kind"] = [{"group": "autoscaling", "version": "v1", "kind": "Scale"}]
    schemas["io.k8s.api.autoscaling.v1.Scale"] = scale
    taken = sorted({("", "v1"), *versions})
    schemas[META + "DeleteOptions"]["x-kubernetes-group-version-kind"] = [
        {"group": group, "version": version, "kind": "DeleteOptions"} for group, version in taken
    ]
    schemas[META + "Status"]["x-kubernetes-group-version-kind"] = [{"group": "", "version": "v1", "kind": "Status"}]
    return schemas
