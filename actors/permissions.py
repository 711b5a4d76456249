"""What an actor has to be allowed, made of what it says of itself: the source of its role. Data only; nothing is granted here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from registry.builtin.event import CoreEvent

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete")


class Permission(NamedTuple):
    """Verbs on the objects of a kind, or on one of their subresources."""

    model: type
    subresource: str
    verbs: tuple[str, ...]


def permissions(own: type, observes: Iterable[type], writes: Iterable[type]) -> tuple[Permission, ...]:
    """One for each kind and subresource, in the order in which they were named.

    * Its own kind: it reads, writes the status, and patches the object, which is how finalizers come and go.
    * `finalizers` of its own kind: children that it makes may say that they block the deletion of their owner.
    * What it observes it reads; what it writes it reads, and writes in every way but the status, which belongs to another.
    * Events it makes and counts up.
    """
    wanted: dict[tuple[type, str], dict[str, None]] = {}

    def allow(model: type, verbs: Iterable[str], subresource: str = "") -> None:
        wanted.setdefault((model, subresource), {}).update(dict.fromkeys(verbs))

    allow(own, (*READ, "patch"))
    allow(own, ("get", "update", "patch"), "status")
    allow(own, ("update",), "finalizers")
    for model in observes:
        allow(model, READ)
    for model in writes:
        allow(model, (*READ, *WRITE))
    allow(CoreEvent, ("create", "patch"))
    return tuple(Permission(model, subresource, tuple(verbs)) for (model, subresource), verbs in wanted.items())
