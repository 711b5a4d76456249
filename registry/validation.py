"""What is wrong with a document: every broken rule of its schema, each with its path, in the words of a Kubernetes API server.

A part that is equal to what was stored before is not looked at (ratcheting): a rule that was added later does not keep people from
changing something else. Items of a list are compared with the old item of the same key if the list is a map, and with the one in
the same place if nothing is said of the list; a set or an atomic list is one value, and looked at whole when it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
from msgspec import UNSET

from registry import errors
from registry.errors import Cause
from registry.formats import FORMATS, search_of
from registry.nodes import EXACT_FLOAT, INT64, TOLD, ListType, Node, below, same

_encode_key = msgspec.json.Encoder(order="sorted").encode


def check(node: Node, value: Any, field: str = "", body: str = "", old: Any = UNSET) -> list[Cause]:
    """The causes, none if there is nothing wrong. `value` is pruned and defaulted.

    `field` is the path of the value, `body` the path that messages call it by (a status write calls `status.ready` `ready`).
    `old` is what was stored at the same place.
    """
    causes: list[Cause] = []
    _Walk(causes).check(node, value, field, body, old)
    return causes


def check_own(node: Node, value: Any, field: str = "", body: str = "") -> list[Cause]:
    """The same for the value itself alone, without what is below it."""
    causes: list[Cause] = []
    _Walk(causes).own(node, value, field, body)
    return causes


class _Walk:
    """One walk through a document, with what it has found so far."""

    def __init__(self, causes: list[Cause]) -> None:
        self._causes = causes

    def check(self, node: Node, value: Any, field: str, body: str, old: Any) -> None:
        if old is not UNSET and same(value, old):
            return
        if len(self._causes) >= TOLD or not self.own(node, value, field, body):
            return
        if isinstance(value, dict):
            self._fields(node, value, field, body, old)
        elif isinstance(value, list):
            self._items(node, value, field, body, old)

    def own(self, node: Node, value: Any, field: str, body: str) -> bool:
        """Says what is wrong with a value itself. Whether it makes sense to look below it."""
        if value is None and node.nullable:
            return False
        fits = is_of_type(node, value)
        if not fits:
            expected = "integer,string" if node.int_or_string else node.type
            kind = type_name(value)
            self._causes.append(errors.type_invalid(field, kind, f'{body} in body must be of type {expected}: "{kind}"'))
        if node.type in ("integer", "number", "") and type(value) in (int, float):
            self._number(node, value, field, body)
        if not fits:
            return False
        if isinstance(value, str):
            self._text(node, value, field, body)
        elif isinstance(value, dict):
            self._object(node, value, field, body)
        elif isinstance(value, list):
            self._list(node, value, field, body)
        if node.enum and not _is_among(value, node.enum):
            self._causes.append(errors.not_supported(field, value, map(shown_choice, node.enum)))
        return True

    def _number(self, node: Node, value: float, field: str, body: str) -> None:
        said = self._causes.append
        if node.type == "integer" and not (_is_integer(value) and node.bounds[0] <= value <= node.bounds[1]):
            kind = "with format int32" if node.format == "int32" else "(default format)"
            said(errors.invalid("<nil>", "", f"Checked value must be of type integer {kind} in {body}"))
        if node.maximum is not None and (value >= node.maximum if node.exclusive_maximum else value > node.maximum):
            relation = "less than" if node.exclusive_maximum else "less than or equal to"
            said(errors.invalid(field, value, f"{body} in body should be {relation} {_plain(node.maximum)}"))
        if node.minimum is not None and (value <= node.minimum if node.exclusive_minimum else value < node.minimum):
            relation = "greater than" if node.exclusive_minimum else "greater than or equal to"
            said(errors.invalid(field, value, f"{body} in body should be {relation} {_plain(node.minimum)}"))
        if node.multiple_of and not is_multiple(value, node.multiple_of):
            said(errors.invalid(field, value, f"{body} in body should be a multiple of {_plain(node.multiple_of)}"))

    def _text(self, node: Node, value: str, field: str, body: str) -> None:
        said = self._causes.append
        if node.max_length is not None and len(value) > node.max_length:
            said(errors.too_long(field, node.max_length))
        if node.min_length is not None and len(value) < node.min_length:
            said(errors.invalid(field, value, f"{body} in body should be at least {node.min_length} chars long"))
        if node.pattern and not search_of(node.pattern, linear=node.linear)(value):
            said(errors.invalid(field, value, f"{body} in body should match '{node.pattern}'"))
        has_format = FORMATS.get(node.format)
        if has_format is not None and not has_format(value):
            name = node.format.replace("micro-time", "date-time")
            said(errors.type_invalid(field, value, f'{body} in body must be of type {name}: "{value}"'))

    def _object(self, node: Node, value: dict[str, Any], field: str, body: str) -> None:
        said = self._causes.append
        for key in node.required:
            if key not in value:
                said(errors.required(f"{field}.{key}" if field else key))
        if node.max_properties is not None and len(value) > node.max_properties:
            said(errors.too_many(field, len(value), node.max_properties))
        if node.min_properties is not None and len(value) < node.min_properties:
            said(errors.invalid(field, len(value), f"{body} in body should have at least {node.min_properties} properties"))

    def _fields(self, node: Node, value: dict[str, Any], field: str, body: str, old: Any) -> None:
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            child = node.properties.get(key, node.additional)
            if child is not None:
                self.check(child, item, below(field, key), below(body, key), before.get(key, UNSET))

    def _list(self, node: Node, value: list[Any], field: str, body: str) -> None:
        said = self._causes.append
        if node.max_items is not None and len(value) > node.max_items:
            said(errors.too_many(field, len(value), node.max_items))
        if node.min_items is not None and len(value) < node.min_items:
            said(errors.invalid(field, len(value), f"{body} in body should have at least {node.min_items} items"))

    def _items(self, node: Node, value: list[Any], field: str, body: str, old: Any) -> None:
        said = self._causes.append
        if node.items is not None:
            before = counterpart(node, old)
            for index, item in enumerate(value):
                self.check(node.items, item, f"{field}[{index}]", f"{body}[{index}]", before(index, item))
        for index, shown in islice(twins(node, value), max(0, TOLD - len(self._causes))):
            said(errors.duplicate(f"{field}[{index}]", shown))


def is_of_type(node: Node, value: Any) -> bool:
    """Whether the value has the JSON type that the node asks for."""
    if node.int_or_string:
        return isinstance(value, str) or (_is_integer(value) and INT64[0] <= value <= INT64[1])
    match node.type:
        case "":
            return True
        case "string":
            return isinstance(value, str)
        case "integer":
            return _is_integer(value) and INT64[0] <= value <= INT64[1]
        case "number":
            return type(value) in (int, float)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


def twins(node: Node, value: list[Any]) -> Iterator[tuple[int, Any]]:
    """The items of a set or map that were there before: the index of each, and what is shown of it."""
    if node.list_type not in (ListType.SET, ListType.MAP):
        return
    seen: set[bytes] = set()
    for index, item in enumerate(value):
        shown = item
        if node.list_type is ListType.MAP:
            if not isinstance(item, dict):
                continue
            shown = map_key(node, item)
        key = _encode_key(shown)
        if key in seen:
            yield index, shown
        seen.add(key)


def map_key(node: Node, item: dict[str, Any]) -> dict[str, Any]:
    """What names an item of a list of type map."""
    return {key: item[key] for key in node.list_map_keys if key in item}


def is_multiple(value: float, factor: float) -> bool:
    """Whether a number is a whole multiple of another."""
    if isinstance(value, int) and float(factor).is_integer():
        return value % int(factor) == 0
    try:
        return (value / factor).is_integer()
    except OverflowError:
        return False


def type_name(value: Any) -> str:
    """The JSON type of a value; an integer beyond 64 bits is a number."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer" if INT64[0] <= value <= INT64[1] else "number"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _is_among(value: Any, choices: Sequence[Any]) -> bool:
    return value in choices if type(value) is str else any(same(value, choice) for choice in choices)


def shown_choice(choice: Any) -> str:
    """One of the supported values as a message lists it."""
    return choice if isinstance(choice, str) else errors.shown(choice)


def counterpart(node: Node, old: Any) -> Callable[[int, Any], Any]:
    """Finds the old item that a new one is compared with."""
    if not isinstance(old, list):
        return lambda index, item: UNSET
    if node.list_type is ListType.MAP:
        by_key = {_encode_key(map_key(node, item)): item for item in old if isinstance(item, dict)}
        return lambda index, item: by_key.get(_encode_key(map_key(node, item)), UNSET) if isinstance(item, dict) else UNSET
    if node.list_type is not None:
        return lambda index, item: UNSET
    return lambda index, item: old[index] if index < len(old) else UNSET


def _is_integer(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer() and abs(value) <= EXACT_FLOAT)


def _plain(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else str(bound)
