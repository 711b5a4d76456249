"""Documents as Go reads them: metadata of every kind, and all of a built-in kind, are structs to a Kubernetes API server.

A value of the wrong type ends the reading. The first one in the order of the document is named in the words of Go's encoding/json,
which tools and people know: `json: cannot unmarshal number into Go struct field ConfigMap.data of type string`. What is of the
right type is brought into its one form: a null field is no field, a null in a map or list is the zero value, times are in UTC.
"""

from __future__ import annotations

from typing import Any

from registry.formats import base64_fault, is_base64
from registry.nodes import Node
from registry.times import normalise_micro, normalise_time

TIMES = {"date-time": normalise_time, "micro-time": normalise_micro}
"""How a time of a format is brought into its one form. Constant."""

_GO_TYPES = {"string": "string", "boolean": "bool", "number": "float64"}
_ZERO = {"string": "", "boolean": False, "number": 0, "integer": 0}


class Unreadable(Exception):
    """The document is not of its kind's form: the message says why, as Go does."""


def decode(node: Node, value: Any) -> Any:
    """The value in its one form; the same object if it was so already. Raises Unreadable."""
    return _decode(node, value, "", "")


def _decode(node: Node, value: Any, struct: str, path: str) -> Any:
    if (node.preserve and not node.properties) or not (node.type or node.int_or_string):
        return value
    if isinstance(value, dict) and node.type == "object":
        return _decode_object(node, value, struct, path)
    if isinstance(value, list) and node.type == "array" and node.items is not None:
        return _decode_list(node.items, value, struct, path)
    if isinstance(value, str) and (node.type == "string" or node.int_or_string):
        return _decode_text(node, value)
    if type(value) is int and (node.type == "integer" or node.int_or_string):
        least, greatest = node.bounds
        if least <= value <= greatest:
            return value
    elif (type(value) in (int, float) and node.type == "number") or (isinstance(value, bool) and node.type == "boolean"):
        return value
    where = f"struct field {struct}.{path}" if path else "value"
    raise Unreadable(f"json: cannot unmarshal {_json_kind(node, value)} into Go {where} of type {go_type(node)}")


def _decode_object(node: Node, value: dict[str, Any], struct: str, path: str) -> dict[str, Any]:
    """Fields of a struct have a path; keys of a map have none."""
    struct = node.name if node.properties else struct
    decoded: dict[str, Any] = {}
    changed = False
    for key, item in value.items():
        child = node.properties.get(key)
        if child is not None:
            inner = f"{path}.{key}" if path else key
        elif node.additional is not None:
            child, inner = node.additional, path
        else:
            decoded[key] = item
            continue
        if item is not None:
            decoded[key] = _decode(child, item, struct, inner)
        elif child.nullable:
            decoded[key] = None
        elif child is node.additional:
            decoded[key] = _zero(child)
        changed = changed or decoded.get(key) is not item
    return decoded if changed else value


def _decode_list(items: Node, value: list[Any], struct: str, path: str) -> list[Any]:
    decoded = [_decode_item(items, item, struct, path) for item in value]
    return decoded if any(new is not old for new, old in zip(decoded, value, strict=True)) else value


def _decode_item(items: Node, item: Any, struct: str, path: str) -> Any:
    if item is None:
        return None if items.nullable else _zero(items)
    return _decode(items, item, struct, path)


def _decode_text(node: Node, value: str) -> str:
    normalise = TIMES.get(node.format)
    if normalise is not None:
        try:
            normal = normalise(value)
        except ValueError as error:
            raise Unreadable(str(error)) from error
        return value if normal == value else normal
    if node.format == "byte" and not is_base64(value):
        raise Unreadable(f"illegal base64 data at input byte {base64_fault(value)}")
    return value


def _zero(node: Node) -> Any:
    if node.type == "object":
        return {}
    return [] if node.type == "array" else _ZERO.get(node.type)


def _json_kind(node: Node, value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value}" if node.type == "integer" else "number"
    if value is None:
        return "null"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def go_type(node: Node) -> str:
    """What a Go program declares for a value of this form."""
    if node.int_or_string:
        return "intstr.IntOrString"
    if node.type == "array":
        return f"[]{go_type(node.items) if node.items else 'interface {}'}"
    if node.type == "object":
        if node.additional is not None:
            return f"map[string]{go_type(node.additional)}"
        return f"v1.{node.name}" if node.name else "map[string]interface {}"
    if node.type == "integer":
        return node.format if node.format == "int32" else "int64"
    if node.format == "byte":
        return "[]uint8"
    return _GO_TYPES.get(node.type, "interface {}")
