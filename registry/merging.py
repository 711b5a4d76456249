"""What a schema says about merging: which fields a document has, in which two differ, how one is merged into another.

Objects are merged field by field and lists of type set or map item by item; everything else - scalars, other lists, objects of map
type atomic - is replaced whole and counts as one field. Where the schema says nothing, objects are merged and lists are not. A list
whose items cannot be told apart (a key is missing, an item is there twice) is as atomic as one without a type.

Values of a wrong type do no harm here: they are one field, and the validation finds them. Nothing given is changed. The rules are
those of structured-merge-diff, the library of Kubernetes' server-side apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from registry.fieldsets import HERE, LEAF, NONE, Fields, field_step, key_step, union, value_step
from registry.nodes import Document, ListType, Node, below, same
from registry.resource import Metadata
from registry.typed import node_of


class Comparison(NamedTuple):
    """In which fields a document differs from an older one. Of what was added or removed, every level is named."""

    added: Fields
    modified: Fields
    removed: Fields

    @property
    def written(self) -> Fields:
        """What is new, or has a new value."""
        return union(self.modified, self.added)


_UNCHANGED = Comparison(NONE, NONE, NONE)


class Part(NamedTuple):
    """A field or item of a value. `named`: it is a field that the schema names, not an entry of a map or an item of a list."""

    step: str
    node: Node | None
    value: Any
    named: bool


def _metadata() -> Node:
    """ObjectMeta as it is merged: an owner reference is replaced whole."""
    node = node_of(Metadata)
    owners = node.properties["ownerReferences"]
    owners = replace(owners, items=replace(owners.items or Node(), map_type="atomic"))
    return replace(node, properties={**node.properties, "ownerReferences": owners})


METADATA = _metadata()


def mergeable(root: Node) -> Node:
    """The root of a schema, with metadata as it is merged in every kind."""
    return replace(root, properties={**root.properties, "metadata": METADATA})


def child(node: Node | None, key: str) -> Node | None:
    """The node of a field; None where the schema says nothing."""
    return None if node is None else node.properties.get(key, node.additional)


def identities(node: Node | None, items: list[Any]) -> list[str] | None:
    """The steps to the items of a list that is merged by item; None if it is replaced whole."""
    if node is None or node.list_type not in (ListType.SET, ListType.MAP):
        return None
    by_key = node.list_type is ListType.MAP
    steps = [_key_of(node, item) if by_key else value_step(item) for item in items]
    found = [step for step in steps if step]
    return found if len(found) == len(set(found)) == len(items) else None


def _key_of(node: Node, item: Any) -> str:
    """The step to an item of a map; empty if it lacks a key."""
    if not isinstance(item, dict) or not node.list_map_keys:
        return ""
    keys = {}
    for key in node.list_map_keys:
        field = child(node.items, key)
        if key in item:
            keys[key] = item[key]
        elif field is not None and field.has_default:
            keys[key] = field.default
        else:
            return ""
    return key_step(keys)


def parts(node: Node | None, value: Any) -> list[Part] | None:
    """The fields or items that a value is merged by; None if it is replaced whole."""
    if isinstance(value, dict):
        if node is not None and node.map_type == "atomic":
            return None
        named: Mapping[str, Node] = {} if node is None else node.properties
        return [Part(field_step(key), child(node, key), item, key in named) for key, item in value.items()]
    if isinstance(value, list) and node is not None:
        steps = identities(node, value)
        if steps is not None:
            return [Part(step, node.items, item, False) for step, item in zip(steps, value, strict=True)]
    return None


def fields_of(node: Node | None, value: Any) -> Fields:
    """The fields that an applied configuration speaks of: leaves, items of lists, entries of maps, and objects that are empty."""
    return _fields_of(node, value, is_item=False)


def _fields_of(node: Node | None, value: Any, *, is_item: bool) -> Fields:
    inner = parts(node, value)
    if inner is None:
        return LEAF
    found: dict[str, Fields] = {}
    for part in inner:
        below = _fields_of(part.node, part.value, is_item=not part.named)
        if below:
            found[part.step] = below
    return {HERE: NONE, **found} if is_item or value == {} else found


def everything(node: Node | None, value: Any) -> Fields:
    """All places of a value, on every level."""
    return {HERE: NONE, **{part.step: everything(part.node, part.value) for part in parts(node, value) or ()}}


def compare(node: Node | None, old: Any, new: Any) -> Comparison:
    """In which fields `new` differs from `old`."""
    if old is new:
        return _UNCHANGED
    before, after = parts(node, old), parts(node, new)
    if before is None or after is None or type(old) is not type(new):
        if same(old, new):
            return _UNCHANGED
        return Comparison(_below(after), LEAF, _below(before))
    was = {part.step: part for part in before}
    levels: tuple[dict[str, Fields], dict[str, Fields], dict[str, Fields]] = ({}, {}, {})
    for part in after:
        earlier = was.pop(part.step, None)
        if earlier is None:
            levels[0][part.step] = everything(part.node, part.value)
        else:
            for level, found in zip(levels, compare(part.node, earlier.value, part.value), strict=True):
                if found:
                    level[part.step] = found
    levels[2].update({step: everything(part.node, part.value) for step, part in was.items()})
    return Comparison(*levels)


def _below(inner: list[Part] | None) -> Fields:
    return {part.step: everything(part.node, part.value) for part in inner or ()}


def merge(node: Node | None, live: Any, config: Any) -> Any:
    """`live` with all that `config` says. Items that only `live` has keep their place, new ones come after those before them."""
    before = parts(node, live)
    if before is None:
        return config
    if config is None:
        return live
    after = parts(node, config)
    if after is None or type(live) is not type(config):
        return config
    if isinstance(live, dict):
        return {**live, **{key: merge(child(node, key), live[key], item) if key in live else item for key, item in config.items()}}
    return _merge_items(before, after)


def _merge_items(live: list[Part], config: list[Part]) -> list[Any]:
    """The items of both: those of `config` in its order, the others where they stood between them."""
    old = {part.step: part.value for part in live}
    applied = {part.step for part in config}
    shared = iter([part.step for part in config if part.step in old])
    upcoming = next(shared, None)
    at = 0
    merged: list[Any] = []
    for part in config:
        while at < len(live) and live[at].step != upcoming:
            if live[at].step not in applied:
                merged.append(live[at].value)
            at += 1
        if part.step == upcoming:
            merged.append(merge(part.node, old[part.step], part.value))
            upcoming = next(shared, None)
        else:
            merged.append(part.value)
    return merged + [part.value for part in live[at:] if part.step not in applied]


def remove(node: Node | None, value: Any, fields: Fields) -> Any:
    """The value without the fields and items of a set, each with all that is below it."""
    inner = parts(node, value)
    if inner is None or not fields:
        return value
    kept = [
        (part, remove(part.node, part.value, fields.get(part.step, NONE)))
        for part in inner
        if HERE not in fields.get(part.step, NONE)
    ]
    if isinstance(value, dict):
        return {part.step[2:]: item for part, item in kept}
    return [item for _, item in kept]


def with_parents(node: Node | None, fields: Fields) -> Fields:
    """The set with those fields that the schema names and that lead to a place in it: they are there because of it."""
    found: dict[str, Fields] = {}
    for step, inner in fields.items():
        key, is_field = step[2:], step.startswith("f:")
        if node is None:
            found[step] = with_parents(None, inner)
        elif is_field:
            inside = with_parents(child(node, key), inner)
            found[step] = {HERE: NONE, **inside} if key in node.properties else inside
        else:
            found[step] = with_parents(node.items, inner)
    return found


def undeclared(node: Node | None, value: Any, path: str = "") -> Iterator[str]:
    """The paths (`spec.items[0].name`) of the fields that a schema does not know."""
    if node is None:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from undeclared(node.items, item, f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    is_closed = bool(node.type or node.properties) and not node.preserve and node.additional is None
    for key, item in value.items():
        if is_closed and key not in node.properties:
            yield below(path, key)
        else:
            yield from undeclared(child(node, key), item, below(path, key))


def without_nulls(node: Node | None, value: Any) -> Any:
    """The value without the fields that are null where the schema has no null: they say nothing."""
    if isinstance(value, list):
        return [without_nulls(None if node is None else node.items, item) for item in value]
    if not isinstance(value, dict):
        return value
    kept: Document = {}
    for key, item in value.items():
        inner = child(node, key)
        if item is not None or inner is None or inner.nullable:
            kept[key] = without_nulls(inner, item)
    return kept
