"""A registry as a graph: what is in it, that every form says the same, and that no name can be more than a name."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.cli import main
from apiserver.config import catalog
from apiserver.graph import ACTOR, ADMITS, CONVERTS, HANDLER, OWNS, VERSION, WAKES, WRITES, Cluster, Edge, Graph, Node, graph_of
from apiserver.graph_forms import as_dot, as_json, as_mermaid, as_text, clean
from apiserver.graph_layout import Box, layout
from apiserver.graph_svg import as_svg
from registry.builtin import KINDS
from registry.description import describe
from registry.plugin import build
from tests.plugins import apiary
from tests.plugins.apiary import plugin

APIARY = describe(build([plugin], KINDS), brief=True)
MINE = graph_of(describe(build([plugin]), brief=True))
SVG = "{http://www.w3.org/2000/svg}"


def edges(graph: Graph) -> list[tuple[str, str, str]]:
    """The edges, by the labels of their ends."""
    names = {node.key: node.label for node in graph.nodes}
    return [(names[edge.start], edge.role, names[edge.end]) for edge in graph.edges]


def test_all_that_is_declared_is_in_the_graph() -> None:
    assert edges(MINE) == [
        ("v1beta1", CONVERTS, "v1"),
        ("v1", CONVERTS, "v1beta1"),
        ("1 defaults apiary.half_shade", ADMITS, "2 mutates apiary.early"),
        ("2 mutates apiary.early", ADMITS, "3 mutates apiary.late"),
        ("3 mutates apiary.late", ADMITS, "4 validates apiary.nowhere"),
        ("4 validates apiary.nowhere", ADMITS, "v1"),
        ("v1alpha1", WAKES, "keeper"),
        ("keeper", OWNS, "v1"),
        ("keeper", WRITES, "v1alpha1"),
    ]
    assert [cluster.detail for cluster in MINE.clusters] == ["hives.bees.example", "bees.bees.example"]


def test_a_kind_with_two_versions_of_one_name_has_them_apart() -> None:
    events = graph_of(describe(build([], KINDS), brief=True)).clusters
    [event] = [cluster for cluster in events if cluster.detail == "events"]
    assert [node.label for node in event.versions] == ["v1", "events.k8s.io/v1"]


def test_in_a_terminal_it_is_a_tree() -> None:
    assert as_text(MINE).splitlines() == [
        "Hive  hives.bees.example",
        "├─ versions",
        "│  ├─ v1  GA, stored",
        "│  └─ v1beta1  beta, deprecated, ends in 1.8",
        "├─ converters",
        "│  ├─ v1beta1 ──▶ v1  apiary.newer",
        "│  └─ v1 ──▶ v1beta1  apiary.older",
        "├─ handlers, in their order",
        "│  ├─ 1 defaults apiary.half_shade  v1: create, update",
        "│  ├─ 2 mutates apiary.early  v1: create, update",
        "│  ├─ 3 mutates apiary.late  v1: create, update",
        "│  └─ 4 validates apiary.nowhere  v1beta1: create, delete",
        "└─ actors",
        "   └─ keeper owns its status",
        "",
        "Bee  bees.bees.example",
        "├─ versions",
        "│  └─ v1alpha1  alpha, stored",
        "└─ actors",
        "   ├─ wakes keeper",
        "   └─ keeper writes it",
        "",
        "keeper  actor",
        "├─ ◀── bees.bees.example  wakes it",
        "├─ ──▶ hives.bees.example  owns status",
        "└─ ──▶ bees.bees.example  writes",
    ]


# Names that hold what means something in one of the languages, and any others.
words = st.text(max_size=12) | st.sampled_from(
    [
        'a"]; b["',
        "</text><script>alert(1)</script>",
        "end",
        "%%{init: {}}%%",
        "#quot;",
        "`**a**`",
        "a\\",
        '\\"',
        "a\nb",
        "-->",
        "&amp;",
        "<b>",
        "\x1b[31m",
        "|x|",
        "\\N",
    ]
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph of a few kinds and actors, with any names."""
    clusters = []
    made = []
    for at in range(draw(st.integers(0, 3))):
        versions = tuple(Node(f"k{at}v{each}", VERSION, draw(words), draw(words)) for each in range(draw(st.integers(1, 2))))
        handlers = tuple(Node(f"k{at}h{each}", HANDLER, draw(words), draw(words)) for each in range(draw(st.integers(0, 2))))
        clusters.append(Cluster(f"k{at}", draw(words), draw(words), versions, handlers, f"k{at}v0"))
        made += [Edge(start.key, versions[0].key, ADMITS, draw(words)) for start in handlers]
        made += [Edge(versions[-1].key, versions[0].key, CONVERTS, draw(words))] if len(versions) > 1 else []
    others = tuple(Node(f"a{at}", ACTOR, draw(words), draw(words)) for at in range(draw(st.integers(0, 3))))
    if clusters and others:
        for _ in range(draw(st.integers(0, 6))):
            pair = (draw(st.sampled_from(clusters)).entry, draw(st.sampled_from(others)).key)
            start, end = pair if draw(st.booleans()) else pair[::-1]
            made.append(Edge(start, end, draw(st.sampled_from([OWNS, WAKES, WRITES])), draw(words)))
    return Graph(tuple(clusters), others, tuple(made))


def labels_of(graph: Graph) -> list[str]:
    """Everything that a form shows as text, in the order of the lines."""
    said = []
    for cluster in graph.clusters:
        said.append(clean(f"{cluster.label} {cluster.detail}"))
        said += [both(node) for node in cluster.nodes]
    return [*said, *(both(node) for node in graph.others), *(clean(edge.label) for edge in graph.edges)]


def both(node: Node) -> str:
    return clean(node.label) + (f"\n{clean(node.detail)}" if node.detail else "")


MERMAID_LINE = re.compile(
    r"  (?:  )?(?:subgraph k\d+\[(?P<title>\"[^\"]*\")\]|\w+(?:\(\[|\[|\{\{)(?P<node>\"[^\"]*\")(?:\]\)|\]|\}\})"
    r"|\w+ (?:-->|==>|-\.->)(?:\|(?P<edge>\"[^\"]*\")\|)? \w+|end)"
)


@given(graphs())
def test_in_mermaid_every_name_is_a_quoted_text_that_says_it(graph: Graph) -> None:
    head, *lines = as_mermaid(graph).splitlines()
    assert head == "flowchart LR"
    said = []
    for line in lines:
        found = MERMAID_LINE.fullmatch(line)
        assert found, line
        quoted = found["title"] or found["node"] or found["edge"]
        if quoted is not None:
            text = quoted[1:-1]
            inner = text.replace("<br/>", "")
            assert not re.search(r"[<>&`\"\[\]{}|()]|%%", inner)
            said.append(re.sub(r"#(\d+);", lambda code: chr(int(code[1])), text.replace("<br/>", "\n")))
    expected = labels_of(graph)
    unlabelled = [at for at, edge in enumerate(graph.edges, len(expected) - len(graph.edges)) if not edge.label]
    assert said == [each for at, each in enumerate(expected) if at not in unlabelled]


DOT_TEXT = r'"(?:[^"\\]|\\.)*"'
DOT_LINE = re.compile(
    rf"  (?:  )?(?:label=(?P<title>{DOT_TEXT});|\w+ \[label=(?P<node>{DOT_TEXT})(?:, shape=hexagon)?\];"
    rf"|\w+ -> \w+ \[label=(?P<edge>{DOT_TEXT})(?:, style=\w+)?\];|subgraph cluster_k\d+ \{{|\}})"
)


def undot(quoted: str) -> str:
    """What a quoted text of DOT shows."""
    plain = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], quoted[1:-1])
    return html.unescape(plain)


@given(graphs())
def test_in_dot_every_name_is_a_quoted_text_that_says_it(graph: Graph) -> None:
    lines = as_dot(graph).splitlines()
    assert (lines[0], lines[-1]) == ("digraph registry {", "}")
    said = []
    for line in lines[4:-1]:
        found = DOT_LINE.fullmatch(line)
        assert found, line
        quoted = found["title"] or found["node"] or found["edge"]
        if quoted is not None:
            said.append(undot(quoted))
    assert said == labels_of(graph)


@given(graphs())
def test_the_picture_is_xml_with_nothing_but_texts_and_shapes_in_it(graph: Graph) -> None:
    root = ET.fromstring(as_svg(graph))
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "style", "defs", "marker", "path", "rect", "g", "text", "line"}
    shown = [element.text or "" for element in root.iter(f"{SVG}text")]
    for node in graph.nodes:
        assert clean(node.label) in shown
    lines = [edge for edge in graph.edges if edge.role in (OWNS, WAKES, WRITES)]
    assert len([each for each in root.iter(f"{SVG}path") if "line" in each.get("class", "").split()]) == len(lines)


@given(graphs())
def test_a_terminal_is_shown_nothing_that_it_would_obey(graph: Graph) -> None:
    assert all(line.isprintable() for line in as_text(graph).splitlines())
    json.loads(as_json(graph))


sizes = st.floats(10, 400)


@given(st.lists(st.tuples(sizes, sizes), max_size=9), st.data())
def test_boxes_never_overlap_and_lines_go_from_box_to_box(sides: Sequence[tuple[float, float]], data: st.DataObject) -> None:
    boxes = [Box(f"b{at}", *size) for at, size in enumerate(sides)]
    pair = st.tuples(st.integers(0, len(boxes) - 1), st.integers(0, len(boxes) - 1)).filter(lambda each: each[0] != each[1])
    drawn = data.draw(st.lists(pair, max_size=12)) if len(boxes) > 1 else []
    links = [(f"b{start}", f"b{end}") for start, end in drawn]
    made = layout(boxes, links)
    assert made == layout(boxes, links)
    placed = [made.boxes[box.key] for box in boxes]
    for at, one in enumerate(placed):
        assert one.x >= 0
        assert one.y >= -0.01
        assert one.x + one.width <= made.width + 0.01
        assert one.y + one.height <= made.height + 0.01
        for other in placed[at + 1 :]:
            beside = one.x + one.width <= other.x or other.x + other.width <= one.x
            assert beside or one.y + one.height <= other.y + 0.01 or other.y + other.height <= one.y + 0.01
    for (start, end), points in zip(links, made.lines, strict=True):
        for key, (x, y) in ((start, points[0]), (end, points[-1])):
            box = made.boxes[key]
            assert min(abs(x - box.x), abs(x - box.x - box.width)) < 0.01
            assert box.y <= y <= box.y + box.height
        forth = points[0][0] <= points[-1][0]
        assert all((x <= to_x + 0.01) if forth else (x >= to_x - 0.01) for (x, _), (to_x, _) in pairwise(points))


def test_what_leads_somewhere_stands_left_of_it() -> None:
    boxes = [Box(name, 100, 50) for name in "dcba"]
    made = layout(boxes, [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")]).boxes
    assert [name for name, _ in sorted(made.items(), key=lambda item: item[1].x)] == ["a", "b", "c", "d"]


def test_two_thousand_kinds_are_drawn() -> None:
    kinds = describe(build([plugin]), brief=True).kinds
    many = [kinds[at % 2] for at in range(2_000)]
    root = ET.fromstring(as_svg(graph_of(type(APIARY)(kinds=tuple(many), actors=()))))
    assert len(list(root.iter(f"{SVG}g"))) == 2_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and no settings of whoever runs the tests."""
    for setting in catalog():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_draws_what_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("registry", "graph", "--plugin", str(Path(apiary.__file__)))
    assert main(words) == 0
    assert capsys.readouterr().out == as_text(MINE)
    assert main((*words, "bees", "-o", "text")) == 0
    out = capsys.readouterr().out
    assert "hives.bees.example  owns status" in out, "an actor's other kinds are named"
    assert "Hive " not in out
    assert main((*words, "bees.example", "--out", "a.svg")) == 0
    assert (folder / "a.svg").read_text() == as_svg(MINE)
    assert main((*words, "-o", "dot", "--out", "a.txt")) == 0
    assert (folder / "a.txt").read_text() == as_dot(MINE)
    assert main((*words, "-o", "mermaid")) == 0
    capsys.readouterr()
    assert main((*words, "hivs")) == 3
    assert "did you mean hives?" in capsys.readouterr().err
