"""Strategic merge patches: merge patches that know which lists are merged by item, and by which key.

Objects merge as in a merge patch (null removes). A list merges where the schema says that it is a map (by its keys) or a set (of
scalars); any other list is replaced. The items of a patch come first, as far as they have no place in the list yet. Directives:

    $patch: replace | delete | merge      an object is replaced, emptied or merged. In an item of a list: `delete` takes out the
                                          item with these keys; an item that is `{"$patch": "replace"}` replaces the list
    $retainKeys: [..]                     fields that are not named here are removed
    $deleteFromPrimitiveList/name: [..]   items that are taken out of a set
    $setElementOrder/name: [..]           the order of the items of a list, as their keys or as scalars

Nothing given is changed; the result shares what is the same. The work is linear in patch and document, but for sorting. A patch
that makes no sense is a BadRequest. Source: Kubernetes, "Strategic Merge Patch" (sig-api-machinery), and recorded answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from registry.errors import BadRequest
from registry.merging import child, mergeable
from registry.nodes import Document, ListType, Node
from registry.patches import check_depth

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"

_encode = msgspec.json.Encoder(order="sorted").encode


def strategic_merge(document: Document, patch: Mapping[str, Any], root: Node) -> Document:
    """The document after a strategic merge patch; `root` is the root of its schema. Raises BadRequest."""
    check_depth(patch)
    return _object(mergeable(root), document, patch)


def _object(node: Node | None, current: Any, patch: Mapping[str, Any]) -> Document:
    """An object after a patch of it; what is no object counts as empty."""
    directive = patch.get(DIRECTIVE, "merge")
    if directive == "delete":
        return {}
    if directive not in ("merge", "replace"):
        raise BadRequest(f"unknown patch type: {_shown(directive)}")
    kept = current if isinstance(current, dict) and directive == "merge" else {}
    result: Document = dict(_retained(kept, patch))
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif not _is_directive(key):
            result[key] = _value(child(node, key), result.get(key), value)
    for key, value in patch.items():
        if key.startswith(DELETE_FROM):
            _delete_from(result, key.removeprefix(DELETE_FROM), _list(key, value))
    for key, value in patch.items():
        if key.startswith(SET_ORDER):
            name = key.removeprefix(SET_ORDER)
            _reorder(child(node, name), result, name, _list(key, value), kept.get(name))
    return result


def _is_directive(key: str) -> bool:
    return key in (DIRECTIVE, RETAIN) or key.startswith((DELETE_FROM, SET_ORDER))


def _value(node: Node | None, current: Any, patch: Any) -> Any:
    if isinstance(patch, dict):
        return _object(node, current, patch)
    if isinstance(patch, list):
        return _items(node, current if isinstance(current, list) else [], patch)
    return patch


def _retained(current: Document, patch: Mapping[str, Any]) -> Document:
    """The object without what `$retainKeys` does not name."""
    if RETAIN not in patch:
        return current
    retained = _list(RETAIN, patch[RETAIN])
    names = {name for name in retained if isinstance(name, str)}
    if any(not _is_directive(key) and key not in names for key, value in patch.items() if value is not None):
        raise BadRequest("invalid patch format of $retainKeys: the patch sets a field that it does not retain")
    return {key: value for key, value in current.items() if key in names}


def _delete_from(result: Document, name: str, items: list[Any]) -> None:
    """Takes scalars out of the list of that name, which may be gone."""
    current = result.get(name)
    if isinstance(current, list):
        gone = set(map(_encode, items))
        result[name] = [item for item in current if _encode(item) not in gone]


def _reorder(node: Node | None, result: Document, name: str, order: list[Any], before: Any) -> None:
    """Puts the list of that name in order. Items that the order does not name stay where they stood between the others."""
    current = result.get(name)
    if not isinstance(current, list) or not _merges(node):
        return
    wanted = [_identity(node, item) for item in order]
    place = {identity: at for at, identity in reversed(list(enumerate(wanted)))}
    items = _stored(node, current)
    named = sorted((pair for pair in items if pair[0] in place), key=lambda pair: place[pair[0]])
    others = [pair for pair in items if pair[0] not in place]
    earlier = [identity for identity, _ in _stored(node, before)] if isinstance(before, list) else []
    result[name] = _interleaved(named, others, earlier)


def _items(node: Node | None, current: list[Any], patch: list[Any]) -> list[Any]:
    """A list after a patch of it."""
    if not _merges(node):
        return [_plain(item) for item in patch if not _is_replace(item)]
    if any(map(_is_replace, patch)):
        return [_plain(item) for item in patch if not _is_replace(item) and not _is_delete(item)]
    deleted = {_identity(node, item) for item in patch if _is_delete(item)}
    old = [pair for pair in _stored(node, current) if pair[0] not in deleted]
    known = dict(reversed(old))
    merged: dict[bytes, Any] = {}
    for item in patch:
        if not _is_delete(item):
            identity = _identity(node, item)
            merged[identity] = _value(None if node is None else node.items, merged.get(identity, known.get(identity)), item)
    others = [pair for pair in old if pair[0] not in merged]
    return _interleaved(list(merged.items()), others, [identity for identity, _ in old])


def _interleaved(patched: Sequence[tuple[bytes, Any]], others: Sequence[tuple[bytes, Any]], order: Sequence[bytes]) -> list[Any]:
    """Both in their own order; one of the others stands before a patched one if it did so in `order`, else behind it."""
    place = {identity: at for at, identity in reversed(list(enumerate(order)))}
    result = []
    waiting = list(reversed(others))
    for identity, item in patched:
        here = place.get(identity, -1)
        while waiting and place.get(waiting[-1][0], len(place)) < here:
            result.append(waiting.pop()[1])
        result.append(item)
    return result + [item for _, item in reversed(waiting)]


def _merges(node: Node | None) -> bool:
    """Whether a list is merged by item."""
    return node is not None and (node.list_type is ListType.SET or (node.list_type is ListType.MAP and bool(node.list_map_keys)))


def _stored(node: Node | None, items: list[Any]) -> list[tuple[bytes, Any]]:
    """The items that are there, each with what tells it apart: its keys, or, where it lacks one, all of it."""
    keys = node.list_map_keys if node is not None and node.list_type is ListType.MAP else ()
    whole = [not keys or not isinstance(item, dict) or any(key not in item for key in keys) for item in items]
    return [(_encode(item) if is_whole else _identity(node, item), item) for item, is_whole in zip(items, whole, strict=True)]


def _identity(node: Node | None, item: Any) -> bytes:
    """What tells an item of a patch apart. Raises BadRequest for an item of a map without its keys."""
    if node is None or node.list_type is not ListType.MAP:
        return _encode(item)
    if not isinstance(item, dict):
        raise BadRequest(f"an item of a list that is merged by {node.list_map_keys[0]} must be an object")
    missing = [key for key in node.list_map_keys if key not in item]
    if missing:
        raise BadRequest(f"map: {_shown(item)} does not contain declared merge key: {missing[0]}")
    return _encode([item[key] for key in node.list_map_keys])


def _is_replace(item: Any) -> bool:
    """Whether an item of a patch says that the list is replaced. Raises BadRequest for a directive that is none."""
    if not isinstance(item, dict) or DIRECTIVE not in item:
        return False
    if item[DIRECTIVE] not in ("replace", "delete", "merge"):
        raise BadRequest(f"unknown patch type: {_shown(item[DIRECTIVE])}")
    return bool(item[DIRECTIVE] == "replace")


def _is_delete(item: Any) -> bool:
    return isinstance(item, dict) and item.get(DIRECTIVE) == "delete"


def _plain(value: Any) -> Any:
    """What a patch puts where nothing was: it has no directives and no nulls that remove."""
    return _object(None, None, value) if isinstance(value, dict) else value


def _list(directive: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"invalid patch format: {_clipped(directive)} must be a list")
    return value


def _shown(value: Any) -> str:
    return _clipped(_encode(value).decode())


def _clipped(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "..."
