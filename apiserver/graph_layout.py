"""Where boxes go, and the lines between them: a layered drawing from left to right, after Sugiyama, Tagawa and Toda (1981). Pure.

    layers      every box stands right of what leads to it; circles are cut where they close
    order       within a layer, boxes stand near to what they are joined to, so that few lines cross
    heights     boxes move towards the middle of their neighbours, and never into each other
    lines       leave at the right and arrive at the left; through a layer between, they have a lane of their own

Parts that nothing joins are laid out one by one: those with lines below each other, single boxes in rows. The same input gives the
same drawing, and no two boxes overlap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

GAP_X, GAP_Y, LANE = 110.0, 28.0, 14.0
"""Between two layers, between two boxes of a layer, and the height of a lane for lines that pass."""
SWEEPS = 8
ROW = 1_200.0
"""How wide a row of single boxes may be, if nothing else is wider."""

Point = tuple[float, float]


class Box(NamedTuple):
    """A box to be placed."""

    key: str
    width: float
    height: float


class Placed(NamedTuple):
    """Where a box is: its upper left corner, and its size."""

    x: float
    y: float
    width: float
    height: float


class Layout(NamedTuple):
    """Boxes by key, and the points of each line, in the order of the links. From point to point a line goes straight and curved in
    turn, straight first and last."""

    boxes: dict[str, Placed]
    lines: list[list[Point]]
    width: float
    height: float


@dataclass(slots=True)
class _Slot:
    """A box in its layer, or the lane of a line that passes (`key` is empty). `y` is the middle."""

    key: str
    height: float
    layer: int
    y: float = 0.0
    left: list[_Slot] = field(default_factory=list)
    right: list[_Slot] = field(default_factory=list)


def layout(boxes: Sequence[Box], links: Sequence[tuple[str, str]]) -> Layout:
    """Places all boxes, and draws a line for each link between two different ones of them."""
    sizes = {box.key: box for box in boxes}
    placed: dict[str, Placed] = {}
    lines: list[list[Point]] = [[] for _ in links]
    top = width = 0.0
    single: list[Box] = []
    for part in _parts(sizes, links):
        if len(part) == 1:
            single.append(sizes[part[0]])
            continue
        inside = set(part)
        own = [at for at, link in enumerate(links) if link[0] in inside]
        drawn = _draw([sizes[key] for key in part], [links[at] for at in own])
        for key, box in drawn.boxes.items():
            placed[key] = box._replace(y=box.y + top)
        for at, points in zip(own, drawn.lines, strict=True):
            lines[at] = [(x, y + top) for x, y in points]
        top += drawn.height + GAP_Y * 1.5
        width = max(width, drawn.width)
    bottom, right = _rows(single, top, max(width, ROW), placed)
    height = bottom if single else max(0.0, top - GAP_Y * 1.5)
    return Layout(placed, lines, max(width, right), height)


def _parts(sizes: Mapping[str, Box], links: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The boxes that are joined with each other, in the order in which they came."""
    near: dict[str, list[str]] = {key: [] for key in sizes}
    for start, end in links:
        near[start].append(end)
        near[end].append(start)
    seen: set[str] = set()
    parts = []
    for key in sizes:
        if key in seen:
            continue
        seen.add(key)
        part, waiting = [], deque([key])
        while waiting:
            here = waiting.popleft()
            part.append(here)
            fresh = [each for each in dict.fromkeys(near[here]) if each not in seen]
            seen.update(fresh)
            waiting.extend(fresh)
        parts.append(part)
    return parts


def _rows(boxes: Sequence[Box], top: float, widest: float, placed: dict[str, Placed]) -> tuple[float, float]:
    """Places boxes in rows; their lower and their right end."""
    x, y, tallest, right = 0.0, top, 0.0, 0.0
    for box in boxes:
        if x and x + box.width > widest:
            x, y, tallest = 0.0, y + tallest + GAP_Y, 0.0
        placed[box.key] = Placed(x, y, box.width, box.height)
        tallest, right = max(tallest, box.height), max(right, x + box.width)
        x += box.width + GAP_Y
    return y + tallest, right


def _draw(boxes: Sequence[Box], links: Sequence[tuple[str, str]]) -> Layout:
    """One part whose boxes are all joined."""
    forward = _forward([box.key for box in boxes], links)
    layer_of = _layers([box.key for box in boxes], forward)
    slots = {box.key: _Slot(box.key, box.height, layer_of[box.key]) for box in boxes}
    layers: list[list[_Slot]] = [[] for _ in range(max(layer_of.values()) + 1)]
    for box in boxes:
        layers[layer_of[box.key]].append(slots[box.key])
    ways = [_way(slots[start], slots[end], layers) for start, end in forward]
    _order(layers)
    _heights(layers)
    columns = [max((box.width for box in boxes if layer_of[box.key] == at), default=0.0) for at in range(len(layers))]
    lefts = [sum(columns[:at]) + GAP_X * at for at in range(len(layers))]
    placed = {box.key: Placed(lefts[layer_of[box.key]], slots[box.key].y - box.height / 2, box.width, box.height) for box in boxes}
    ports = _ports(ways)
    lines = []
    for at, (way, link) in enumerate(zip(ways, links, strict=True)):
        points = _points(way, ports[at], placed, lefts, columns)
        lines.append(points if way[0].key == link[0] else points[::-1])
    bottom = max(box.y + box.height for box in placed.values())
    return Layout(placed, lines, lefts[-1] + columns[-1], max(bottom, *(y + LANE for points in lines for _, y in points)))


def _forward(keys: Sequence[str], links: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The links, those turned round that close a circle."""
    after: dict[str, list[str]] = {key: [] for key in keys}
    for start, end in links:
        after[start].append(end)
    arriving = {end for _, end in links}
    done: set[str] = set()
    open_: set[str] = set()
    back: set[tuple[str, str]] = set()
    for root in sorted(keys, key=lambda key: key in arriving):  # what nothing leads to goes first
        if root in done:
            continue
        path = [(root, iter(after[root]))]
        open_.add(root)
        while path:
            here, further = path[-1]
            there = next(further, None)
            if there is None:
                path.pop()
                open_.discard(here)
                done.add(here)
            elif there in open_:
                back.add((here, there))
            elif there not in done:
                open_.add(there)
                path.append((there, iter(after[there])))
    return [(end, start) if (start, end) in back else (start, end) for start, end in links]


def _layers(keys: Sequence[str], links: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The layer of each box: one more than that of the last that leads to it."""
    waits = dict.fromkeys(keys, 0)
    after: dict[str, list[str]] = {key: [] for key in keys}
    for start, end in links:
        waits[end] += 1
        after[start].append(end)
    layers = dict.fromkeys(keys, 0)
    ready = deque(key for key in keys if not waits[key])
    while ready:
        here = ready.popleft()
        for there in after[here]:
            layers[there] = max(layers[there], layers[here] + 1)
            waits[there] -= 1
            if not waits[there]:
                ready.append(there)
    return layers


def _way(start: _Slot, end: _Slot, layers: list[list[_Slot]]) -> list[_Slot]:
    """The slots that a link passes, with lanes in the layers between."""
    lanes = [_Slot("", LANE, at) for at in range(start.layer + 1, end.layer)]
    for lane in lanes:
        layers[lane.layer].append(lane)
    way = [start, *lanes, end]
    for here, there in pairwise(way):
        here.right.append(there)
        there.left.append(here)
    return way


def _order(layers: list[list[_Slot]]) -> None:
    """Sorts every layer by the middle of its neighbours, from both sides in turn."""
    places = {id(slot): at for layer in layers for at, slot in enumerate(layer)}
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        for layer in layers if forth else reversed(layers):
            middles = {}
            for slot in layer:
                middle = _middle([places[id(each)] for each in (slot.left if forth else slot.right)])
                middles[id(slot)] = float(places[id(slot)]) if middle is None else middle
            layer.sort(key=lambda slot: middles[id(slot)])
            places |= {id(slot): at for at, slot in enumerate(layer)}


def _middle(places: Sequence[float]) -> float | None:
    return sum(places) / len(places) if places else None


def _heights(layers: list[list[_Slot]]) -> None:
    """Finds the heights: near to the neighbours, in order, and apart."""
    for layer in layers:
        _settle(layer, [0.0] * len(layer))
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        for layer in layers if forth else reversed(layers):
            sides = [(slot.left if forth else slot.right) or (slot.right if forth else slot.left) for slot in layer]
            middles = [_middle([each.y for each in side]) for side in sides]
            _settle(layer, [slot.y if middle is None else middle for slot, middle in zip(layer, middles, strict=True)])
    top = min(slot.y - slot.height / 2 for layer in layers for slot in layer)
    for layer in layers:
        for slot in layer:
            slot.y -= top


def _settle(layer: Sequence[_Slot], wanted: Sequence[float]) -> None:
    """Puts the slots as near as can be to where they want to be, in their order and apart (isotonic regression: those that would be
    in each other's way are put together, round the middle of what they want)."""
    offsets, offset = [], 0.0
    for at, slot in enumerate(layer):
        offset += (layer[at - 1].height + slot.height) / 2 + GAP_Y if at else 0.0
        offsets.append(offset)
    groups: list[tuple[float, int]] = []  # the sum of what they want, without the offsets, and how many they are
    for want, own in zip(wanted, offsets, strict=True):
        groups.append((want - own, 1))
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] >= groups[-1][0] / groups[-1][1]:
            (one, many), (other, more) = groups.pop(), groups.pop()
            groups.append((one + other, many + more))
    middles = [total / count for total, count in groups for _ in range(count)]
    for slot, own, middle in zip(layer, offsets, middles, strict=True):
        slot.y = middle + own


def _ports(ways: Sequence[Sequence[_Slot]]) -> list[tuple[float, float]]:
    """The height at which each line leaves its first box, and arrives at its last: one below the other, in the order of where they
    come from, so that they do not cross."""
    leaving: dict[str, list[int]] = {}
    arriving: dict[str, list[int]] = {}
    for at, way in enumerate(ways):
        leaving.setdefault(way[0].key, []).append(at)
        arriving.setdefault(way[-1].key, []).append(at)
    heights = [[0.0, 0.0] for _ in ways]
    for side, ends, box, next_to in ((0, leaving, 0, 1), (1, arriving, -1, -2)):
        for found in ends.values():
            found.sort(key=lambda at: (ways[at][next_to].y, at))
            for place, at in enumerate(found, 1):
                slot = ways[at][box]
                heights[at][side] = slot.y - slot.height / 2 + slot.height * place / (len(found) + 1)
    return [(leave, arrive) for leave, arrive in heights]


def _points(
    way: Sequence[_Slot],
    ports: tuple[float, float],
    placed: Mapping[str, Placed],
    lefts: Sequence[float],
    columns: Sequence[float],
) -> list[Point]:
    """From box to box: straight to the end of the own column, curved over each gap, straight through each lane."""
    first, last = placed[way[0].key], placed[way[-1].key]
    leave, arrive = ports
    points = [(first.x + first.width, leave), (lefts[way[0].layer] + columns[way[0].layer], leave)]
    for lane in way[1:-1]:
        points += [(lefts[lane.layer], lane.y), (lefts[lane.layer] + columns[lane.layer], lane.y)]
    return [*points, (last.x, arrive), (last.x, arrive)]
