"""From an openAPIV3Schema to the tree of nodes that prunes, defaults and validates (`registry.nodes`).

A node says all that a structural schema says about the form of a value. What it has no word for - logical junctors, rules, the
marks of embedded resources - goes along in its `extensions`, so that OpenAPI says it again; it is carried out in
`registry.custom.junctors` and `registry.custom.embedded`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import UNSET

from registry.nodes import Document, ListType, Node
from registry.resource import Metadata
from registry.typed import node_of

META_FIELDS = ("apiVersion", "kind", "metadata")
"""What every resource has, also one that is embedded in another. Constant."""

_ANYTHING = Node(preserve=True)
_META = {"apiVersion": Node(type="string"), "kind": Node(type="string"), "metadata": Node(type="object", preserve=True)}

_SAME: Mapping[str, str] = {
    "type": "type",
    "title": "title",
    "description": "description",
    "nullable": "nullable",
    "format": "format",
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "exclusive_minimum",
    "exclusiveMaximum": "exclusive_maximum",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "pattern": "pattern",
    "minItems": "min_items",
    "maxItems": "max_items",
    "minProperties": "min_properties",
    "maxProperties": "max_properties",
    "x-kubernetes-preserve-unknown-fields": "preserve",
    "x-kubernetes-int-or-string": "int_or_string",
    "x-kubernetes-map-type": "map_type",
}
"""Keyword -> field of a node that holds the same. Constant."""

_KEPT = (
    "x-kubernetes-validations",
    "x-kubernetes-embedded-resource",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "externalDocs",
    "example",
    "nullable",
)


_LIST_TYPES = frozenset(each.value for each in ListType)


def root_of(schema: Document, *, preserve_unknown: bool = False) -> Node:
    """The root of a kind: the schema, with the type and the metadata that every resource has.

    `preserve_unknown`: fields that it does not name are kept, wherever they are.
    """
    fields = {name: child for name, child in schema.get("properties", {}).items() if name not in META_FIELDS}
    children = {name: node_of_schema(child, preserve_unknown=preserve_unknown) for name, child in fields.items()}
    said = _said(schema) | {"type": "object", "properties": {**_root_meta(), **children}}
    if preserve_unknown:
        said["preserve"] = True
    return Node(**said)


def node_of_schema(schema: Document, *, preserve_unknown: bool = False) -> Node:
    """A schema, which has no keyword of a wrong type, and all below it. What is not structural in it is passed over."""

    def below(child: Document) -> Node:
        return node_of_schema(child, preserve_unknown=preserve_unknown)

    said = _said(schema)
    said["properties"] = {name: below(child) for name, child in schema.get("properties", {}).items()}
    others = schema.get("additionalProperties")
    if isinstance(others, dict):
        said["additional"] = below(others)
    elif others:
        said["additional"] = _ANYTHING
    if isinstance(schema.get("items"), dict):
        said["items"] = below(schema["items"])
    if schema.get("x-kubernetes-embedded-resource"):
        said["properties"] = {**_META, **said["properties"]}
    if preserve_unknown and said.get("type", "object") == "object":
        said["preserve"] = True
    return Node(**said)


def own_node(schema: Document, *, listed: bool = False) -> Node:
    """What a schema says of its own value alone. `listed`: no more than how the items of a list are told apart."""
    said = _said(schema)
    names = ("list_type", "list_map_keys", "int_or_string") if listed else tuple(said)
    return Node(**{name: said[name] for name in names if name in said and name != "extensions"})


def _said(schema: Document) -> dict[str, Any]:
    """What a schema says of its own value, as the fields of a node."""
    said: dict[str, Any] = {_SAME[keyword]: value for keyword, value in schema.items() if keyword in _SAME}
    said["required"] = tuple(schema.get("required", ()))
    said["enum"] = tuple(schema.get("enum", ()))
    said["list_map_keys"] = tuple(schema.get("x-kubernetes-list-map-keys", ()))
    said["linear"] = "pattern" in schema
    said["default"] = schema.get("default", UNSET)
    kept = {keyword: schema[keyword] for keyword in _KEPT if keyword in schema}
    if isinstance(schema.get("additionalProperties"), bool):
        kept["additionalProperties"] = schema["additionalProperties"]
    if kept:
        said["extensions"] = kept
    if schema.get("x-kubernetes-list-type") in _LIST_TYPES:
        said["list_type"] = ListType(schema["x-kubernetes-list-type"])
    return said


@lru_cache(maxsize=1)
def _root_meta() -> Mapping[str, Node]:
    return {"apiVersion": Node(type="string"), "kind": Node(type="string"), "metadata": node_of(Metadata)}
