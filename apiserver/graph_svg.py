"""A graph as an SVG picture of its own: no script, no font and no picture from elsewhere, light and dark as the viewer is.

Every kind is a card with its versions, converters and handlers; actors are small cards; lines say what wakes, owns and writes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple
from xml.sax.saxutils import escape

from apiserver.graph import ACTOR, CONVERTS, OWNS, WAKES, WRITES, Cluster, Graph, Node
from apiserver.graph_forms import clean
from apiserver.graph_layout import Box, Layout, Placed, Point, layout

LETTER, LINE, PAD, MARGIN, GAP = 7.3, 19.0, 14.0, 24.0, 22.0
"""Width of a letter and height of a line at 12 pixels, room in a card, round the picture, and between two columns of a card."""
LONGEST = 60
"""Letters of a name that a card shows."""

_STYLE = """
text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #1f2328; }
.title { font-weight: 700; font-size: 14px; }
.part { font-size: 10px; letter-spacing: .08em; fill: #656d76; }
.detail { fill: #656d76; }
.label { font-size: 11px; fill: #424a53; stroke: #ffffff; stroke-width: 4px; paint-order: stroke; }
.page { fill: #ffffff; }
.card { fill: #f6f8fa; stroke: #8c959f; }
.actor { fill: #ddf4ff; stroke: #0969da; }
.other { fill: #ffffff; stroke: #8c959f; stroke-dasharray: 4 3; }
.rule { stroke: #d0d7de; }
.line { fill: none; stroke: #57606a; stroke-width: 1.4; }
.owns { stroke: #0969da; stroke-width: 2.2; }
.wakes { stroke-dasharray: 6 4; }
.tip { fill: #57606a; }
.owns-tip { fill: #0969da; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .part, .detail { fill: #8d96a0; }
  .label { fill: #c9d1d9; stroke: #0d1117; }
  .page { fill: #0d1117; }
  .card { fill: #161b22; stroke: #6e7681; }
  .actor { fill: #0c2d4d; stroke: #4493f8; }
  .other { fill: #0d1117; stroke: #6e7681; }
  .rule { stroke: #30363d; }
  .line { stroke: #8d96a0; }
  .owns { stroke: #4493f8; }
  .tip { fill: #8d96a0; }
  .owns-tip { fill: #4493f8; }
}
"""


class Row(NamedTuple):
    """A line of a card: two columns, or the name of a part."""

    name: str
    detail: str = ""
    style: str = ""


class Card(NamedTuple):
    """What is drawn in one box. `nodes` are those of the graph that it stands for."""

    key: str
    style: str
    title: str
    subtitle: str
    rows: tuple[Row, ...]
    nodes: tuple[str, ...]

    @property
    def names(self) -> float:
        """Where the second column begins, from the left side of the card."""
        widest = max((wide(row.name) for row in self.rows if not row.style), default=0.0)
        return PAD + widest + GAP

    @property
    def box(self) -> Box:
        """How large it has to be."""
        rows = [self.names + wide(row.detail) if row.detail else PAD + wide(row.name) for row in self.rows]
        heads = [PAD + wide(self.title) * 14 / 12, PAD + wide(self.subtitle)]
        lines = 1 + bool(self.subtitle) + len(self.rows)
        return Box(self.key, max(*rows, *heads) + PAD if rows else max(heads) + PAD, lines * LINE + 1.5 * PAD)


def as_svg(graph: Graph) -> str:
    """The picture, as a document."""
    cards = [*(_kind(graph, cluster) for cluster in graph.clusters), *(_other(node) for node in graph.others)]
    home = {node: card.key for card in cards for node in card.nodes}
    edges = [edge for edge in graph.edges if edge.role in (OWNS, WAKES, WRITES) and home[edge.start] != home[edge.end]]
    placed = layout([card.box for card in cards], [(home[edge.start], home[edge.end]) for edge in edges])
    drawn = [_card(card, placed.boxes[card.key]) for card in cards]
    lines = [_line(points, edge.role) for edge, points in zip(edges, placed.lines, strict=True)]
    labels = [_label(points, edge.label) for edge, points in zip(edges, placed.lines, strict=True)]
    return _document(placed, [*lines, *drawn, *labels])


def wide(text: str) -> float:
    """How wide a text is, at 12 pixels: letters of East Asia are twice as wide."""
    return LETTER * sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _kind(graph: Graph, cluster: Cluster) -> Card:
    names = {node.key: node.label for node in cluster.nodes}
    converters = [
        Row(_short(f"{names[edge.start]} → {names[edge.end]}"), _short(edge.label))
        for edge in graph.edges
        if edge.role == CONVERTS and edge.start in names
    ]
    rows = [Row("VERSIONS", style="part"), *(_row(node) for node in cluster.versions)]
    rows += [Row("CONVERTERS", style="part"), *converters] if converters else []
    rows += [Row("HANDLERS, IN THEIR ORDER", style="part"), *(_row(node) for node in cluster.handlers)] if cluster.handlers else []
    keys = tuple(node.key for node in cluster.nodes)
    return Card(cluster.key, "card", _short(cluster.label), _short(cluster.detail), tuple(rows), keys)


def _row(node: Node) -> Row:
    return Row(_short(node.label), _short(node.detail))


def _other(node: Node) -> Card:
    return Card(node.key, "actor" if node.role == ACTOR else "other", _short(node.label), _short(node.detail), (), (node.key,))


def _short(text: str) -> str:
    line = clean(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _card(card: Card, place: Placed) -> str:
    x, y, width, height = place
    round_ = 18 if card.style == "actor" else 6
    parts = [f'<rect class="{card.style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{round_}"/>']
    line = y + PAD / 2 + LINE * 0.8
    parts.append(_text(x + PAD, line, card.title, "title"))
    if card.subtitle:
        line += LINE
        parts.append(_text(x + PAD, line, card.subtitle, "detail"))
    for row in card.rows:
        line += LINE
        if row.style:
            rule = line - LINE * 0.72
            parts.append(f'<line class="rule" x1="{x:.1f}" y1="{rule:.1f}" x2="{x + width:.1f}" y2="{rule:.1f}"/>')
        parts.append(_text(x + PAD, line, row.name, row.style))
        if row.detail:
            parts.append(_text(x + card.names, line, row.detail, "detail"))
    return f"<g>{''.join(parts)}</g>"


def _text(x: float, y: float, text: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" xml:space="preserve">{escape(text)}</text>'


def _line(points: Sequence[Point], role: str) -> str:
    """Straight and curved in turn, with a tip at the end."""
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for at, ((x, y), (to_x, to_y)) in enumerate(pairwise(points)):
        if (x, y) == (to_x, to_y):  # a tip after nothing would point nowhere
            continue
        middle = (x + to_x) / 2
        straight = f"L{to_x:.1f} {to_y:.1f}"
        path.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}" if at % 2 else straight)
    style, tip = (" owns", "owns-tip") if role == OWNS else (" wakes" if role == WAKES else "", "tip")
    return f'<path class="line{style}" d="{"".join(path)}" marker-end="url(#{tip})"/>'


def _label(points: Sequence[Point], text: str) -> str:
    """In the middle of the first curve of a line."""
    (x, y), (to_x, to_y) = points[1], points[2]
    middle = (x + to_x) / 2
    return (
        f'<text class="label" x="{middle:.1f}" y="{(y + to_y) / 2 - 4:.1f}" text-anchor="middle" xml:space="preserve">'
        f"{escape(clean(text))}</text>"
    )


def _document(placed: Layout, parts: Sequence[str]) -> str:
    width, height = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN
    tips = "".join(
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" '
        f'orient="auto"><path class="{name}" d="M0 0L10 5L0 10z"/></marker>'
        for name in ("tip", "owns-tip")
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-MARGIN:.0f} {-MARGIN:.0f} {width:.0f} {height:.0f}" role="img">\n'
        f"<title>Kinds, converters, handlers and actors</title>\n<style>{_STYLE}</style>\n<defs>{tips}</defs>\n"
        f'<rect class="page" x="{-MARGIN:.0f}" y="{-MARGIN:.0f}" width="{width:.0f}" height="{height:.0f}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
