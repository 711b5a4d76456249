"""What the rules of roles mean: which of them are about a request, which cover another one, and how they are written down.

The semantics are those of Kubernetes (`rbac.authorization.k8s.io/v1`). Rules only allow, so they can be asked in any order:

* A rule is about a resource when verb, API group and resource are in its lists, where `*` is anything. A subresource is a resource
  of its own, `pods/status`; `*/scale` is that subresource of every resource; `*` is every resource with every subresource.
* With `resourceNames` it is about these names alone: not about a list, and not about a create, which have none.
* `nonResourceURLs` are paths; a `*` at the end is any rest.

A table of rules is made in time that is linear in their length, whatever they are, and asked in time that does not grow with rules
about other resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple

import msgspec

ALL = "*"
MOST_PIECES = 50_000
"""Single permissions that a list of rules may consist of to be compared one by one."""
MOST_TOLD = 100
"""Missing permissions that are told."""

_NO_NAMES: frozenset[str] = frozenset()


class Rule(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One PolicyRule, as it is on the wire."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")

    def __str__(self) -> str:
        """The rule in one line, as refusals of Kubernetes show it."""
        parts = (
            ("APIGroups", self.api_groups),
            ("Resources", self.resources),
            ("NonResourceURLs", self.non_resource_urls),
            ("ResourceNames", self.resource_names),
            ("Verbs", self.verbs),
        )
        return "{" + ", ".join(f"{name}:{quoted(values)}" for name, values in parts if values) + "}"


class TooManyPieces(Exception):
    """Rules that consist of so many permissions that nobody compares them."""


class Reach(NamedTuple):
    """For which names something is allowed: for any, or for some."""

    any: bool
    names: frozenset[str]


NOTHING = Reach(False, _NO_NAMES)


class _Compiled(NamedTuple):
    verbs: frozenset[str]
    groups: frozenset[str]
    names: frozenset[str]


class Table:
    """Some rules, by resource."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_resource: dict[str, list[_Compiled]] = {}
        self._paths: list[tuple[frozenset[str], tuple[str, ...]]] = []
        for rule in self.rules:
            if rule.non_resource_urls:
                self._paths.append((frozenset(rule.verbs), rule.non_resource_urls))
            if rule.resources:
                compiled = _Compiled(frozenset(rule.verbs), frozenset(rule.api_groups), frozenset(rule.resource_names))
                for resource in dict.fromkeys(rule.resources):
                    self._by_resource.setdefault(resource, []).append(compiled)

    def reach(self, verb: str, group: str, resource: str) -> Reach:
        """For which names the rules allow a verb on a resource (`pods`, or `pods/status`)."""
        names: frozenset[str] = _NO_NAMES
        by_resource = self._by_resource
        for key in _wildcards(resource):
            for rule in by_resource.get(key, ()):
                if (verb in rule.verbs or ALL in rule.verbs) and (group in rule.groups or ALL in rule.groups):
                    if not rule.names:
                        return Reach(True, _NO_NAMES)
                    names |= rule.names
        return Reach(False, names) if names else NOTHING

    def allows_path(self, verb: str, path: str) -> bool:
        """Whether the rules allow a verb on what is no resource."""
        return any(
            (verb in verbs or ALL in verbs) and any(covers_path(pattern, path) for pattern in patterns)
            for verbs, patterns in self._paths
        )


def _wildcards(resource: str) -> tuple[str, ...]:
    """How rules may call a resource."""
    _, slash, subresource = resource.partition("/")
    return (resource, f"*/{subresource}", ALL) if slash else (resource, ALL)


def covers_path(pattern: str, path: str) -> bool:
    """Whether a path, or another pattern, is within a pattern."""
    return pattern in (path, ALL) or (pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL)))


def missing(held: Table, wanted: Iterable[Rule]) -> list[Rule]:
    """What of some rules is not held, as single permissions. Raises TooManyPieces."""
    lacking: list[Rule] = []
    count = 0
    for rule in wanted:
        count += _size(rule)
        if count > MOST_PIECES:
            raise TooManyPieces
        lacking += [piece for piece in _pieces(rule) if not _holds(held, piece)]
    return lacking


def _size(rule: Rule) -> int:
    resources = len(rule.api_groups) * len(rule.resources) * max(1, len(rule.resource_names))
    return len(rule.verbs) * (resources + len(rule.non_resource_urls))


def _pieces(rule: Rule) -> Iterator[Rule]:
    """The rule as rules of one verb, one group, one resource and one name each, or one verb and one path."""
    names: list[tuple[str, ...]] = [(name,) for name in rule.resource_names] or [()]
    for group, resource, verb, name in product(rule.api_groups, rule.resources, rule.verbs, names):
        yield Rule((verb,), (group,), (resource,), name)
    for path, verb in product(rule.non_resource_urls, rule.verbs):
        yield Rule(verbs=(verb,), non_resource_urls=(path,))


def _holds(held: Table, piece: Rule) -> bool:
    verb = piece.verbs[0]
    if piece.non_resource_urls:
        return held.allows_path(verb, piece.non_resource_urls[0])
    reach = held.reach(verb, piece.api_groups[0], piece.resources[0])
    return reach.any or (bool(piece.resource_names) and piece.resource_names[0] in reach.names)


def compact(pieces: Iterable[Rule]) -> list[Rule]:
    """Single permissions with the verbs of each resource, name or path together."""
    verbs: dict[Rule, dict[str, None]] = {}
    for piece in pieces:
        verbs.setdefault(msgspec.structs.replace(piece, verbs=()), {}).update(dict.fromkeys(piece.verbs))
    return [msgspec.structs.replace(piece, verbs=tuple(said)) for piece, said in verbs.items()]


def told(pieces: Iterable[Rule]) -> str:
    """Missing permissions, one resource a line, as a refusal lists them."""
    lines = sorted(str(rule) for rule in compact(pieces))
    more = [f"... and {len(lines) - MOST_TOLD} more"] if len(lines) > MOST_TOLD else []
    return "\n".join([*lines[:MOST_TOLD], *more])


def on_wire(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """Rules as they stand in a role."""
    documents: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(list(rules)))
    return documents


def quoted(texts: Iterable[str]) -> str:
    """A list of texts as Kubernetes shows it: `["a" "b"]`."""
    return "[" + " ".join(msgspec.json.encode(text).decode() for text in texts) + "]"
