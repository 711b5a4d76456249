"""A graph as text: a tree for a terminal, Mermaid, DOT, JSON. Whatever a name holds, it is a name in the end, and nothing else."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator, Sequence

from apiserver.graph import ADMITS, CONVERTS, OTHER, OWNS, WAKES, WRITES, Cluster, Edge, Graph, Node

_PLAIN = frozenset(string.ascii_letters + string.digits + " _.,:/-+=")
"""What needs no escape in Mermaid. Of all else some means something somewhere: brackets, quotes, `#`, `%%`, HTML, Markdown."""
LONGEST = 200
"""Characters of a label."""


def clean(text: str) -> str:
    """A label in one line, without what cannot be printed, and not too long."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def as_text(graph: Graph) -> str:
    """A tree: each kind with its versions, converters, handlers and actors, then each actor with its kinds."""
    names = {node.key: node for node in graph.nodes}
    homes = {node.key: cluster for cluster in graph.clusters for node in cluster.nodes}

    def called(key: str) -> str:
        return homes[key].detail if key in homes else names[key].label

    lines: list[str] = []
    for cluster in graph.clusters:
        lines += [clean(f"{cluster.label}  {cluster.detail}"), *_tree(_of_kind(graph, cluster, names)), ""]
    actors = [node for node in graph.others if node.role != OTHER]
    for actor in actors:
        below: list[Branch] = [(said, []) for said in _of_actor(graph, actor, called)]
        lines += [clean(f"{actor.label}  actor"), *_tree(below), ""]
    return "\n".join(lines)


Branch = tuple[str, list["Branch"]]


def _of_kind(graph: Graph, cluster: Cluster, names: dict[str, Node]) -> list[Branch]:
    keys = {node.key for node in cluster.nodes}
    converters: list[Branch] = [
        (f"{names[edge.start].label} ──▶ {names[edge.end].label}  {edge.label}", [])
        for edge in graph.edges
        if edge.role == CONVERTS and edge.start in keys
    ]
    versions: list[Branch] = [(f"{node.label}  {node.detail}", []) for node in cluster.versions]
    handlers: list[Branch] = [(f"{node.label}  {node.detail}", []) for node in cluster.handlers]
    actors: list[Branch] = []
    for edge in graph.edges:
        if edge.role in (OWNS, WRITES) and edge.end == cluster.entry:
            actors.append((f"{names[edge.start].label} {'owns its status' if edge.role == OWNS else 'writes it'}", []))
        elif edge.role == WAKES and edge.start == cluster.entry:
            actors.append((f"wakes {names[edge.end].label}", []))
    parts = (("versions", versions), ("converters", converters), ("handlers, in their order", handlers), ("actors", actors))
    return [(title, below) for title, below in parts if below]


def _of_actor(graph: Graph, actor: Node, called: Callable[[str], str]) -> Iterator[str]:
    for edge in graph.edges:
        if edge.end == actor.key:
            yield f"◀── {called(edge.start)}  wakes it"
    for edge in graph.edges:
        if edge.start == actor.key:
            yield f"──▶ {called(edge.end)}  {edge.label}"


def _tree(branches: Sequence[Branch], before: str = "") -> Iterator[str]:
    for at, (said, below) in enumerate(branches, 1):
        last = at == len(branches)
        yield f"{before}{'└─ ' if last else '├─ '}{clean(said)}".rstrip()
        yield from _tree(below, before + ("   " if last else "│  "))


def as_mermaid(graph: Graph) -> str:
    """A flowchart of Mermaid."""
    lines = ["flowchart LR"]
    for cluster in graph.clusters:
        lines.append(f'  subgraph {cluster.key}["{mermaid(f"{cluster.label} {cluster.detail}")}"]')
        lines += [f"    {_mermaid_node(node)}" for node in cluster.nodes]
        lines.append("  end")
    lines += [f"  {_mermaid_node(node)}" for node in graph.others]
    lines += [f"  {_mermaid_edge(edge)}" for edge in graph.edges]
    return "\n".join([*lines, ""])


def mermaid(text: str) -> str:
    """A text inside of the quotes of Mermaid: entities stand for all that could mean something."""
    return "".join(each if each in _PLAIN or (not each.isascii() and each.isalnum()) else f"#{ord(each)};" for each in clean(text))


_SHAPES = {"version": ("([", "])"), "handler": ("[", "]"), "actor": ("{{", "}}"), OTHER: ("([", "])")}
_ARROWS = {CONVERTS: "-->", ADMITS: "-->", OWNS: "==>", WAKES: "-.->", WRITES: "-->"}


def _mermaid_node(node: Node) -> str:
    before, after = _SHAPES[node.role]
    detail = f"<br/>{mermaid(node.detail)}" if node.detail else ""
    return f'{node.key}{before}"{mermaid(node.label)}{detail}"{after}'


def _mermaid_edge(edge: Edge) -> str:
    label = f'|"{mermaid(edge.label)}"|' if edge.label else ""
    return f"{edge.start} {_ARROWS[edge.role]}{label} {edge.end}"


def as_dot(graph: Graph) -> str:
    """A graph in the language of Graphviz."""
    lines = ["digraph registry {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    lines.append('  edge [fontname="sans-serif", fontsize=10];')
    for cluster in graph.clusters:
        lines += [f"  subgraph cluster_{cluster.key} {{", f"    label={dot(f'{cluster.label} {cluster.detail}')};"]
        lines += [f"    {_dot_node(node)}" for node in cluster.nodes]
        lines.append("  }")
    lines += [f"  {_dot_node(node)}" for node in graph.others]
    for edge in graph.edges:
        style = {OWNS: ", style=bold", WAKES: ", style=dashed"}.get(edge.role, "")
        lines.append(f"  {edge.start} -> {edge.end} [label={dot(edge.label)}{style}];")
    return "\n".join([*lines, "}", ""])


def dot(*texts: str) -> str:
    """A quoted text of DOT, each argument in a line of its own."""
    escaped = (clean(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '"' + "\\n".join(escaped) + '"'


def _dot_node(node: Node) -> str:
    shape = ", shape=hexagon" if node.role == "actor" else ""
    return f"{node.key} [label={dot(node.label, *filter(None, [node.detail]))}{shape}];"


def as_json(graph: Graph) -> str:
    """Nodes and edges, for programs."""
    said = {
        "kinds": [{"resource": cluster.detail, "nodes": [node.key for node in cluster.nodes]} for cluster in graph.clusters],
        "nodes": [node._asdict() for node in graph.nodes],
        "edges": [edge._asdict() for edge in graph.edges],
    }
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"
