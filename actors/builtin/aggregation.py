"""Cluster roles that are made of others (`aggregationRule`) say what they are made of: their rules are written as a copy.

An ordinary actor. What the sum is, whoever decides by roles knows, and decides by that, not by the copy: the copy follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from actors.actor import Actor, Done, Outcome, from_declaration
from actors.client import Client
from registry.builtin.rbac import ClusterRole
from registry.declarations import ActorDeclaration, Observation
from registry.typed import to_document

NAME = "clusterrole-aggregation"


class Sums(Protocol):
    """What cluster roles are made of."""

    def aggregated(self) -> Iterable[str]:
        """The names of those that are made of others."""
        ...

    def rules(self, name: str) -> list[dict[str, Any]]:
        """The rules of one, as they are on the wire."""
        ...


def aggregator(sums: Sums) -> Actor:
    """The actor."""

    async def reconcile(role: ClusterRole, client: Client) -> Outcome:
        if role.aggregation_rule is None:
            return Done()
        wanted = sums.rules(role.metadata.name or "")
        if [to_document(rule) for rule in role.rules or ()] != wanted:
            await client.patch(ClusterRole, role.metadata.name or "", "", {"rules": wanted}, uid=role.metadata.uid or "")
        return Done()

    declaration = ActorDeclaration(
        name=NAME,
        model=ClusterRole,
        reconcile=reconcile,
        backoff=(0.1, 60.0),
        observes=[Observation(ClusterRole, to=_of_any(sums))],
        source=__name__,
    )
    return from_declaration(declaration)


def _of_any(sums: Sums) -> Callable[[Any], Sequence[tuple[str, str]]]:
    """Whose turn it is when any cluster role changes: all that are made of others, since its labels may have changed."""

    def of(role: Any) -> Sequence[tuple[str, str]]:
        del role
        return [("", name) for name in sums.aggregated()]

    return of
