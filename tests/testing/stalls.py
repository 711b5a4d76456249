"""A market for the tests of the harness: a Stall wants Crates, a Crate says whether it is full. Who does the work is up to the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from registry.plugin import Plugin
from registry.resource import Metadata, OwnerReference, Resource, Spec, Status


class StallSpec(Spec):
    crates: int = 2
    note: str = ""


class StallStatus(Status):
    crates: int = 0
    full: int = 0
    turns: int = 0


class Stall(Resource[StallSpec, StallStatus]):
    """Wants so many crates."""


class CrateSpec(Spec):
    content: str = ""


class CrateStatus(Status):
    full: bool = False
    turns: int = 0


class Crate(Resource[CrateSpec, CrateStatus]):
    """Belongs to a stall."""


def market(reconcile: Callable[..., Any] | None = None, **options: Any) -> Plugin:
    """The kinds, and the actor `market-keep` of Stalls."""
    plugin = Plugin("market")
    plugin.kind(Stall, group="market.example", version="v1", plural="stalls")
    plugin.kind(Crate, group="market.example", version="v1", plural="crates")
    if reconcile is not None:
        plugin.actor(Stall, name="market-keep", **options)(reconcile)
    return plugin


def stall(name: str = "a", crates: int = 2, note: str = "") -> Stall:
    return Stall(metadata=Metadata(name=name, namespace="default"), spec=StallSpec(crates=crates, note=note))


def crate(of: Stall, number: int | None) -> Crate:
    """The crate with a number; without one its name is left to the server."""
    owner = OwnerReference(api_version=of.api_version, kind=of.kind, name=of.metadata.name, uid=of.metadata.uid)
    named = {"generate_name": f"{of.metadata.name}-"} if number is None else {"name": f"{of.metadata.name}-{number}"}
    return Crate(metadata=Metadata(namespace=of.metadata.namespace, owner_references=(owner,), **named), spec=CrateSpec())
