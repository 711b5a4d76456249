"""What somebody changed in one form of an object, done to another form of it that holds more. Pure.

    carried(kept, before, after)

`before` and `after` are an object as somebody saw it and as they left it; `kept` is the same object as it is, with what they could
not see. What differs between the first two is done to the third, and all else stays. So nothing is lost that was not seen, and
`carried(kept, before, before)` is `kept` itself.

The items of a list that is a map are known by their keys. Those of other lists are known by what they are, then by their place.
"""

from __future__ import annotations

from typing import Any

from registry.nodes import ListType, Node

ANY = Node(preserve=True)


def carried(kept: Any, before: Any, after: Any, node: Node = ANY) -> Any:
    """`kept` with what changed from `before` to `after`; `node` is the schema of all three."""
    if before is after or (type(before) is type(after) and before == after):
        return kept
    if isinstance(kept, dict) and isinstance(before, dict) and isinstance(after, dict):
        return _object(kept, before, after, node)
    if isinstance(kept, list) and isinstance(before, list) and isinstance(after, list):
        return _list(kept, before, after, node)
    return after


def _object(kept: dict[str, Any], before: dict[str, Any], after: dict[str, Any], node: Node) -> dict[str, Any]:
    made = {key: value for key, value in kept.items() if key not in before or key in after}
    for key, value in after.items():
        if key in kept and (key in before or isinstance(value, dict | list)):
            seen = before.get(key, type(value)())  # what was not seen at all was empty for whoever did not see it
            made[key] = carried(kept[key], seen, value, node.properties.get(key) or node.additional or ANY)
        elif key not in before or before[key] != value:
            made[key] = value
    return made


def _list(kept: list[Any], before: list[Any], after: list[Any], node: Node) -> list[Any]:
    items = node.items or ANY
    keys = node.list_map_keys if node.list_type is ListType.MAP else ()
    seen = _pairs(before, kept, keys)  # by place in `before`: the place in `kept`
    came = _pairs(after, before, keys)  # by place in `after`: the place in `before`
    unseen = set(range(len(kept))) - set(seen.values())
    behind = {place: _following(place, unseen, len(kept)) for place in (-1, *seen.values())}
    made = [kept[place] for place in behind[-1]]
    for place, item in enumerate(after):
        was = came.get(place)
        own = None if was is None else seen.get(was)
        if was is None or own is None:
            made.append(item)
            continue
        made.append(carried(kept[own], before[was], item, items))
        made += [kept[other] for other in behind[own]]
    gone = set(seen.values()) - {seen[was] for was in came.values() if was in seen}
    for place in sorted(gone):  # what was behind an item that is gone was not seen, and is not gone
        made += [kept[other] for other in behind[place]]
    return made


def _following(place: int, unseen: set[int], end: int) -> list[int]:
    """The places right behind one that nobody saw."""
    found = []
    while place + 1 < end and place + 1 in unseen:
        place += 1
        found.append(place)
    return found


def _pairs(items: list[Any], others: list[Any], keys: tuple[str, ...]) -> dict[int, int]:
    """Which item of one list is which of the other, by their places: the same keys, or equal, or what is left at the same place."""
    free = dict.fromkeys(range(len(others)))
    pairs: dict[int, int] = {}

    def pair(place: int, other: int) -> None:
        pairs[place] = other
        del free[other]

    for place, item in enumerate(items):
        if place < len(others) and place in free and _same(item, others[place], keys):
            pair(place, place)
    for place, item in enumerate(items):
        if place not in pairs and (other := next((each for each in free if _same(item, others[each], keys)), None)) is not None:
            pair(place, other)
    if not keys:
        for place in range(min(len(items), len(others))):
            if place not in pairs and place in free:
                pair(place, place)
    return pairs


def _same(item: Any, other: Any, keys: tuple[str, ...]) -> bool:
    if keys and isinstance(item, dict) and isinstance(other, dict):
        return [item.get(key) for key in keys] == [other.get(key) for key in keys]
    return type(item) is type(other) and bool(item == other)
