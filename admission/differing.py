"""What somebody changed in a document, told by what they saw of it. Pure.

A handler sees a value of its own model, in its own version; the document has more than that. So its changes are carried over
(`changed`): what differs between what it was given and what it returned is done to the document, and all else stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from registry.resource import Struct
from registry.typed import to_document, wire_fields

Document = dict[str, Any]

PATHS = 64
"""Changes of one handler that are told; a last one says that there were more."""
ABSENT = object()


def changed(document: Document, before: Document, after: Document) -> Document:
    """The document with what changed from `before` to `after`, which are the document as somebody sees it."""
    made: Document = _carried(document, before, after)
    return made


def changed_value(document: Document, before: Struct, after: Struct) -> Document:
    """The same of two values that are not equal. Where a few texts or numbers differ, nothing else is made a document."""
    if type(before) is not type(after):
        return changed(document, to_document(before), to_document(after))
    made = document.copy()
    for name, wire, omitted in wire_fields(type(after)):
        was, now = getattr(before, name), getattr(after, name)
        if was is now or was == now:
            continue
        known = made.get(wire)
        if _is_plain(now):
            value = now
        elif isinstance(now, Struct) and isinstance(was, Struct) and type(known) is dict and not omitted:
            value = changed_value(known, was, now)
        else:
            return changed(document, to_document(before), to_document(after))
        if value == omitted:
            made.pop(wire, None)
        else:
            made[wire] = value
    return made


def _is_plain(value: Any) -> bool:
    """Whether a value surely is the same in a document."""
    kind = type(value)
    return kind is bool or (kind is str and value.isascii()) or (kind is int and -(2**63) <= value < 2**63)


def _carried(document: Any, before: Any, after: Any) -> Any:
    if before == after and type(before) is type(after):
        return document
    if isinstance(document, dict) and isinstance(before, dict) and isinstance(after, dict):
        kept = {key: value for key, value in document.items() if key not in before or key in after}
        for key, value in after.items():
            if key not in before:
                kept[key] = value
            elif key in document:
                kept[key] = _carried(document[key], before[key], value)
            elif before[key] != value:
                kept[key] = value
        return kept
    if isinstance(document, list) and isinstance(before, list) and isinstance(after, list) and len(document) == len(before):
        return _items(document, before, after)
    return after


def _items(document: list[Any], before: list[Any], after: list[Any]) -> list[Any]:
    """An item that is as it was before stays what it is in the document, wherever it went; one at its old place is changed."""
    free = list(range(len(before)))
    taken: dict[int, int] = {}
    for place, item in enumerate(after):
        if place < len(before) and before[place] == item and place in free:
            taken[place] = place
            free.remove(place)
    for place, item in enumerate(after):
        if place not in taken:
            same = next((index for index in free if before[index] == item), None)
            if same is not None:
                taken[place] = same
                free.remove(same)
    items = []
    for place, item in enumerate(after):
        if place in taken:
            items.append(document[taken[place]])
        elif place in free:
            items.append(_carried(document[place], before[place], item))
        else:
            items.append(item)
    return items


def filled(given: Any, returned: Any) -> Any:
    """What was given, with what is only in `returned`: a default never changes what somebody has set."""
    if isinstance(given, dict) and isinstance(returned, dict):
        added = {key: value for key, value in returned.items() if key not in given}
        return {**{key: filled(value, returned[key]) if key in returned else value for key, value in given.items()}, **added}
    if isinstance(given, list) and isinstance(returned, list) and len(given) == len(returned):
        return [filled(mine, other) for mine, other in zip(given, returned, strict=True)]
    return given


def paths(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, str]]:
    """What changed, as operations of a JSON patch (RFC 6902) without values: `{"op": "replace", "path": "/spec/url"}`."""
    found: list[dict[str, str]] = []
    for operation, path in _paths(before, after, ""):
        if len(found) == PATHS:
            return [*found, {"op": "...", "path": ""}]
        found.append({"op": operation, "path": path})
    return found


def _paths(before: Any, after: Any, path: str) -> Iterator[tuple[str, str]]:
    if before is after or (before == after and type(before) is type(after)):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in (*before, *(key for key in after if key not in before)):
            yield from _entry(before.get(key, ABSENT), after.get(key, ABSENT), f"{path}/{_escaped(key)}")
    elif isinstance(before, list) and isinstance(after, list):
        for place in range(max(len(before), len(after))):
            was = before[place] if place < len(before) else ABSENT
            yield from _entry(was, after[place] if place < len(after) else ABSENT, f"{path}/{place}")
    else:
        yield "replace", path


def _entry(before: Any, after: Any, path: str) -> Iterator[tuple[str, str]]:
    if before is ABSENT:
        yield "add", path
    elif after is ABSENT:
        yield "remove", path
    else:
        yield from _paths(before, after, path)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
