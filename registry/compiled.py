"""The fast way through a schema, for documents that nothing needs to be said about.

`compile_node` makes of a node a function that takes a value and gives it back in its one form: the same object if it was in it, a
copy of what changed if only defaults were missing, nulls were to be dropped, or an integer was written as a float. For anything
else - an unknown field, a broken rule, a time to be normalised - it raises `Untidy`, and the slow way (`registry.schema`) says what
it is. So the rules are here a second time, without words; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from registry.formats import FORMATS, NORMAL_TIMES, search_of
from registry.nodes import EXACT_FLOAT, Dialect, Document, ListType, Node, copied
from registry.validation import is_multiple, is_of_type, twins

Tidy = Callable[[Any], Any]
Again = Callable[[Any, Any], Any]

DROP = object()
"""What takes the place of a null that is dropped."""


class Untidy(Exception):
    """There is something to be said, or to be done, that the fast way does not know."""


class _Child:
    """A node below another: `want` is the type that most values have, `deep` what is still to be asked of them (None: nothing),
    `odd` takes values of all other types."""

    __slots__ = ("deep", "odd", "want")

    def __init__(self, node: Node, dialect: Dialect, place: str) -> None:
        self.want, self.deep = _common(node, dialect)
        self.odd = _odd(node, self.deep, dialect, place)


def compile_node(node: Node, dialect: Dialect) -> Tidy:
    """A function that gives a document of this root in its one form, or raises Untidy."""
    deep = _object(node, dialect, is_root=True)

    def tidy(document: Any) -> Any:
        if type(document) is not dict:
            raise Untidy
        return document if deep is None else deep(document)

    return tidy


def compile_again(node: Node, dialect: Dialect) -> Again:
    """The same for a document that was made of one which is in its one form, the second argument: of that, what is the very same
    object at the same place is not looked at again."""
    return _object_again(node, dialect, is_root=True)


def _common(node: Node, dialect: Dialect) -> tuple[type | None, Tidy | None]:
    if node.enum and node.type != "string":
        return None, None
    match node.type:
        case "object":
            return dict, _object(node, dialect)
        case "array":
            return list, _list(node, dialect)
        case "string":
            return str, _text(node, dialect)
        case "integer":
            return int, _integer(node)
        case "number":
            return float, _number(node) if _has_bounds(node) else None
        case "boolean":
            return bool, None
    return (str, _text(node, dialect)) if node.int_or_string else (None, None)


def _odd(node: Node, deep: Tidy | None, dialect: Dialect, place: str) -> Tidy:
    """Takes nulls, and the other types that a value may have. `place` is where the value is: property, map, list or root."""
    strict_null = dialect is Dialect.BUILTIN and place != "property"
    replaces = node.has_default and not strict_null
    drops = place in ("property", "map") and not strict_null
    integer = _integer(node) if node.type == "integer" or node.int_or_string else None
    number = _number(node) if node.type == "number" else None
    anything = not (node.type or node.int_or_string or node.enum or node.properties or node.additional or node.items)
    if not (node.nullable or replaces or integer or number or anything):
        return _null_only if drops else _nothing

    def odd(value: Any) -> Any:
        if value is None:
            if node.nullable:
                return value
            if replaces:
                return _default(node)
            if drops:
                return DROP
            raise Untidy
        if integer is not None and not isinstance(value, bool):
            if type(value) is float and dialect is Dialect.CUSTOM and value.is_integer() and abs(value) <= EXACT_FLOAT:
                return integer(int(value))
            if type(value) is int:
                return integer(value)
        elif number is not None and type(value) in (int, float):
            return number(value)
        elif anything:
            return value
        raise Untidy

    return odd


def _null_only(value: Any) -> Any:
    """For most fields: shared, since a server may have a hundred thousand."""
    if value is None:
        return DROP
    raise Untidy


def _nothing(value: Any) -> Any:
    raise Untidy


def _object(node: Node, dialect: Dialect, *, is_root: bool = False) -> Tidy | None:
    table, others = _children(node, dialect, is_root=is_root)
    finish = _finish(node)
    preserve = node.preserve
    if preserve and not table and others is None:
        return finish
    find = table.get

    def tidy(value: Document) -> Document:
        result = value
        for key, item in value.items():
            child = find(key, others)
            if child is None:
                if preserve:
                    continue
                raise Untidy
            if type(item) is not child.want:
                new = child.odd(item)
            elif child.deep is None:
                continue
            else:
                new = child.deep(item)
            if new is not item:
                if result is value:
                    result = value.copy()
                if new is DROP:
                    del result[key]
                else:
                    result[key] = new
        return result if finish is None else finish(result)

    return tidy


def _children(node: Node, dialect: Dialect, *, is_root: bool) -> tuple[dict[str, _Child], _Child | None]:
    """What is below an object: its fields, and all others."""
    table = {
        key: _metadata(child) if is_root and key == "metadata" else _Child(child, dialect, "property")
        for key, child in node.properties.items()
    }
    return table, _Child(node.additional, dialect, "map") if node.additional is not None else None


@lru_cache(maxsize=8)
def _metadata(node: Node) -> _Child:
    """The metadata of a root. Kinds that arrive at run time all have the very same node for it, and share what is made of it."""
    return _Child(node, Dialect.BUILTIN, "property")


def _dialect_of(key: str, dialect: Dialect, *, is_root: bool) -> Dialect:
    return Dialect.BUILTIN if is_root and key == "metadata" else dialect


def _object_again(node: Node, dialect: Dialect, *, is_root: bool = False) -> Again:
    table, others = _children(node, dialect, is_root=is_root)
    inner = {
        key: _object_again(child, _dialect_of(key, dialect, is_root=is_root))
        for key, child in node.properties.items()
        if table[key].want is dict and table[key].deep is not None
    }
    finish = _finish(node)
    preserve = node.preserve

    def again(value: Document, known: Document) -> Document:
        result = value
        for key, item in value.items():
            before = known.get(key, DROP)
            if item is before:
                continue
            child = table.get(key, others)
            if child is None:
                if preserve:
                    continue
                raise Untidy
            if type(item) is not child.want:
                new = child.odd(item)
            elif child.deep is None:
                continue
            elif type(before) is dict and key in inner:
                new = inner[key](item, before)
            else:
                new = child.deep(item)
            if new is not item:
                if result is value:
                    result = value.copy()
                if new is DROP:
                    del result[key]
                else:
                    result[key] = new
        return result if finish is None else finish(result)

    return again


def _default(node: Node) -> Any:
    """What is filled in; what has to be counted, is where there are words."""
    if node.bulky:
        raise Untidy
    return copied(node.default)


def _finish(node: Node) -> Tidy | None:
    """What is asked of an object as a whole, when its fields are in their one form: defaults, required fields, their number."""
    required = frozenset(node.required)
    defaults = {key: child.default for key, child in node.properties.items() if child.has_default}
    wanted = required | defaults.keys()
    least = node.min_properties or 0
    most = node.max_properties if node.max_properties is not None else float("inf")
    counted = node.min_properties is not None or node.max_properties is not None
    if not (wanted or counted):
        return None

    def finish(value: Document) -> Document:
        if not value.keys() >= wanted:
            if node.bulky:
                raise Untidy
            value = value | {key: copied(default) for key, default in defaults.items() if key not in value}
            if not value.keys() >= required:
                raise Untidy
        if counted and not least <= len(value) <= most:
            raise Untidy
        return value

    return finish


def _list(node: Node, dialect: Dialect) -> Tidy | None:
    if node.items is None:
        return None
    child = _Child(node.items, dialect, "list")
    want, deep, odd = child.want, child.deep, child.odd
    least = node.min_items or 0
    most = node.max_items if node.max_items is not None else float("inf")
    unique = _unique(node)

    def tidy(value: list[Any]) -> list[Any]:
        if not least <= len(value) <= most:
            raise Untidy
        changed: list[Any] | None = None
        for index, item in enumerate(value):
            if type(item) is not want:
                new = odd(item)
            elif deep is None:
                continue
            else:
                new = deep(item)
            if new is not item:
                if changed is None:
                    changed = value.copy()
                changed[index] = new
        result = value if changed is None else changed
        if unique is not None and len(result) > 1 and not unique(result):
            raise Untidy
        return result

    return tidy


def _unique(node: Node) -> Callable[[list[Any]], bool] | None:
    """Whether all items of a set or map differ. It may say no when it does not know."""
    if node.list_type is ListType.SET and node.items is not None and node.items.type in ("string", "integer", "boolean"):
        return lambda value: len(set(value)) == len(value)
    if node.list_type in (ListType.SET, ListType.MAP):
        keys = node.list_map_keys if node.list_type is ListType.MAP else ()
        if len(keys) == 1:
            key = keys[0]
            return lambda value: _differ([item.get(key) if isinstance(item, dict) else item for item in value])
        return lambda value: not any(True for _ in twins(node, value))
    return None


def _differ(values: list[Any]) -> bool:
    try:
        return len(set(values)) == len(values)
    except TypeError:  # objects and lists as keys
        return False


def _text(node: Node, dialect: Dialect) -> Tidy | None:
    checks = list(_text_checks(node, dialect))
    least, most = node.min_length or 0, node.max_length if node.max_length is not None else float("inf")
    if node.min_length is None and node.max_length is None and not checks:
        return None

    def tidy(value: str) -> str:
        if not least <= len(value) <= most:
            raise Untidy
        for holds in checks:
            if not holds(value):
                raise Untidy
        return value

    return tidy


def _text_checks(node: Node, dialect: Dialect) -> Iterator[Callable[[str], object]]:
    if node.enum:
        yield frozenset(choice for choice in node.enum if isinstance(choice, str)).__contains__
    if node.pattern:
        yield search_of(node.pattern, linear=node.linear)
    if dialect is Dialect.BUILTIN and node.format in NORMAL_TIMES:
        yield NORMAL_TIMES[node.format]
    elif node.format in FORMATS:
        yield FORMATS[node.format]


def _has_bounds(node: Node) -> bool:
    return node.minimum is not None or node.maximum is not None or bool(node.multiple_of)


def _integer(node: Node) -> Tidy:
    least, greatest = node.bounds
    if node.enum or node.exclusive_minimum or node.exclusive_maximum or node.multiple_of:
        number = _number(node)

        def bounded(value: int) -> int:
            if not least <= value <= greatest:
                raise Untidy
            number(value)
            return value

        return bounded
    low = least if node.minimum is None else max(least, node.minimum)
    high = greatest if node.maximum is None else min(greatest, node.maximum)

    def tidy(value: int) -> int:
        if not low <= value <= high:
            raise Untidy
        return value

    return tidy


def _number(node: Node) -> Tidy:
    least = node.minimum if node.minimum is not None else float("-inf")
    greatest = node.maximum if node.maximum is not None else float("inf")
    above, below, factor = node.exclusive_minimum, node.exclusive_maximum, node.multiple_of
    choices = node.enum

    def tidy(value: float) -> float:
        if not least <= value <= greatest or (above and value == least) or (below and value == greatest):
            raise Untidy
        if factor and not is_multiple(value, factor):
            raise Untidy
        if choices and not (is_of_type(node, value) and any(type(value) is type(choice) and value == choice for choice in choices)):
            raise Untidy
        return value

    return tidy
