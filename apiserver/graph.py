"""Kinds, converters, admission handlers and actors as a graph. Pure: it is made of a description, and drawn by others.

A kind is a cluster: its versions, with an edge for each converter, and its handlers as a chain, in the order in which they are
called, that ends at the version that is stored. What wakes an actor leads to it; what it owns and writes follows it. A kind that
only an actor speaks of is a node outside of the clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from registry.description import Description, HandlerDescription, KindDescription, VersionDescription

VERSION, HANDLER, ACTOR, OTHER = "version", "handler", "actor", "other"
CONVERTS, ADMITS, OWNS, WAKES, WRITES = "converts", "admits", "owns", "wakes", "writes"


class Node(NamedTuple):
    """A version, a handler, an actor, or a kind of which no more is shown. `key` is its own in the graph."""

    key: str
    role: str
    label: str
    detail: str = ""


class Edge(NamedTuple):
    """From one node to another, by their keys."""

    start: str
    end: str
    role: str
    label: str = ""


class Cluster(NamedTuple):
    """A kind. `entry` is the node that stands for it: the version that is stored."""

    key: str
    label: str
    detail: str
    versions: tuple[Node, ...]
    handlers: tuple[Node, ...]
    entry: str

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All in it."""
        return self.versions + self.handlers


class Graph(NamedTuple):
    """All of it. `others` are the nodes that are in no cluster."""

    clusters: tuple[Cluster, ...]
    others: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node."""
        return tuple(node for cluster in self.clusters for node in cluster.nodes) + self.others


def graph_of(description: Description) -> Graph:
    """The graph of all kinds and actors of a description."""
    clusters = tuple(_cluster(f"k{at}", kind) for at, kind in enumerate(description.kinds))
    entries = {kind.resource: cluster.entry for kind, cluster in zip(description.kinds, clusters, strict=True)}
    edges = [edge for kind, cluster in zip(description.kinds, clusters, strict=True) for edge in _inner(kind, cluster)]
    others: list[Node] = []
    for actor in description.actors:
        for resource in (actor.owns, *actor.observes, *actor.writes):
            if resource and resource not in entries:
                entries[resource] = f"o{len(others)}"
                others.append(Node(entries[resource], OTHER, resource))
    for at, actor in enumerate(description.actors):
        key = f"a{at}"
        others.append(Node(key, ACTOR, actor.name, "actor"))
        edges += [Edge(entries[resource], key, WAKES, "wakes") for resource in actor.observes]
        edges += [Edge(key, entries[actor.owns], OWNS, "owns status")] if actor.owns else []
        edges += [Edge(key, entries[resource], WRITES, "writes") for resource in actor.writes]
    return Graph(clusters, tuple(others), tuple(edges))


def _cluster(key: str, kind: KindDescription) -> Cluster:
    versions = tuple(Node(f"{key}v{at}", VERSION, kind.called(each), about(each)) for at, each in enumerate(kind.versions))
    handlers = tuple(
        Node(f"{key}h{at}", HANDLER, f"{at + 1} {each.role} {each.name}", on(each)) for at, each in enumerate(kind.handlers)
    )
    stored = next((at for at, each in enumerate(kind.versions) if each.storage), 0)
    return Cluster(key, kind.kind, kind.resource, versions, handlers, f"{key}v{stored}")


def _inner(kind: KindDescription, cluster: Cluster) -> Iterator[Edge]:
    keys = {kind.called(each): node.key for each, node in zip(kind.versions, cluster.versions, strict=True)}
    for converter in kind.converters:
        for old in converter.old[:1]:  # versions of one shape are one here
            for new in converter.new[:1]:
                yield Edge(keys[old], keys[new], CONVERTS, converter.name)
    for start, end in pairwise([*(node.key for node in cluster.handlers), cluster.entry]):
        yield Edge(start, end, ADMITS)


def about(version: VersionDescription) -> str:
    """What is to be known of a version, in few words."""
    said = [version.stability] if version.stability else []
    said += [word for word, holds in (("stored", version.storage), ("deprecated", version.deprecated)) if holds]
    if not version.served:
        said.append("not served")
    removed = version.lifecycle.get("removed") or {}
    if removed:
        said.append(f"ends in {removed.get('version') or removed.get('date')}")
    return ", ".join(said)


def on(handler: HandlerDescription) -> str:
    """What a handler is asked about, in few words."""
    below = [f"/{name}" for name in handler.subresources if name]
    objects = [handler.version] if "" in handler.subresources else []
    return f"{', '.join(objects + below)}: {', '.join(handler.operations)}"
