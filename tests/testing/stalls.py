"""A market for the tests of the harness: a Stall wants Crates, which its keeper makes. Some keepers are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors import Client, Done, Observation
from registry.plugin import Plugin
from registry.resource import Metadata, OwnerReference, Resource, Spec, Status


class StallSpec(Spec):
    crates: int = 2
    note: str = ""


class StallStatus(Status):
    crates: int = 0
    turns: int = 0


class Stall(Resource[StallSpec, StallStatus]):
    """Wants so many crates."""


class CrateSpec(Spec):
    stall: str = ""


class CrateStatus(Status):
    of: int = 0
    turns: int = 0


class Crate(Resource[CrateSpec, CrateStatus]):
    """Belongs to a stall, and says of how many crates it is one."""


def stall(name: str = "a", crates: int = 2, note: str = "") -> Stall:
    return Stall(metadata=Metadata(name=name, namespace="default"), spec=StallSpec(crates=crates, note=note))


def crate(of: Stall, number: int | None) -> Crate:
    """The crate with a number; without one its name is left to the server."""
    owner = OwnerReference(api_version=of.api_version, kind=of.kind, name=of.metadata.name, uid=of.metadata.uid)
    named = {"generate_name": f"{of.metadata.name}-"} if number is None else {"name": f"{of.metadata.name}-{number}"}
    metadata = Metadata(namespace=of.metadata.namespace, owner_references=(owner,), **named)
    return Crate(metadata=metadata, spec=CrateSpec(stall=of.metadata.name))


Function = Callable[..., Any]


def market(keep: Function | None = None, count: Function | None = None, **options: Any) -> Plugin:
    """The kinds, with an actor `market-keep` of Stalls (which has the options) and `market-count` of Crates, as far as given."""
    plugin = Plugin("market")
    plugin.kind(Stall, group="market.example", version="v1", plural="stalls")
    plugin.kind(Crate, group="market.example", version="v1", plural="crates")
    if keep is not None:
        plugin.actor(Stall, name="market-keep", **{"writes": [Crate, Stall], **options})(keep)
    if count is not None:
        plugin.actor(Crate, name="market-count", observes=[Observation(Stall, to=its_crates if count is counts else nobody)])(count)
    return plugin


async def keeps(stall: Stall, client: Client) -> Done:
    """Right: what is to be there has a name that says so."""
    for number in range(stall.spec.crates):
        if await client.get(Crate, f"{stall.metadata.name}-{number}", stall.metadata.namespace or "") is None:
            await client.create(crate(stall, number))
    return Done(StallStatus(crates=stall.spec.crates))


async def makes_twice(stall: Stall, client: Client) -> Done:
    """Wrong: what was made is known from the status alone, which is written later."""
    have = stall.status.crates if stall.status else 0
    for _ in range(have, stall.spec.crates):
        await client.create(crate(stall, None))
    return Done(StallStatus(crates=stall.spec.crates))


async def counts(crate: Crate, client: Client) -> Done:
    """Right: it is woken when the stall changes."""
    stall = await client.get(Stall, crate.spec.stall, crate.metadata.namespace or "")
    return Done(CrateStatus(of=stall.status.crates if stall and stall.status else 0))


async def hopes(crate: Crate, client: Client) -> Done:
    """Wrong: does the same, and nothing wakes it when the stall changes. It hopes that the keeper was faster."""
    return await counts(crate, client)


def nobody(stall: Stall) -> list[tuple[str, str]]:
    """Whom a stall wakes that is only read."""
    del stall
    return []


def its_crates(stall: Stall) -> list[tuple[str, str]]:
    return [(stall.metadata.namespace or "", f"{stall.metadata.name}-{number}") for number in range(stall.spec.crates)]
