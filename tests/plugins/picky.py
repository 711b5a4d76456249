"""A kind whose actor picks its objects by label and field, counts what names them by a label, and says good-bye. For tests."""

from __future__ import annotations

from actors import Client, Done, Observation, Run
from registry.builtin.configmap import ConfigMap
from registry.plugin import Plugin
from registry.resource import Metadata, Resource, Spec, Status


class PickSpec(Spec):
    size: int = 1
    open: bool = True


class PickStatus(Status):
    seen: int = 0
    notes: int = 0
    observed_generation: int | None = None


class Pick(Resource[PickSpec, PickStatus]):
    """Pick is an object that its actor looks after only when it is golden and open."""


plugin = Plugin("picky")
plugin.kind(Pick, group="picky.example", version="v1", plural="picks")


async def farewell(pick: Pick, client: Client) -> None:
    """What is left outside: here a ConfigMap that nobody owns."""
    name = f"gone-{pick.metadata.name}"
    if await client.get(ConfigMap, name, pick.metadata.namespace) is None:
        await client.create(ConfigMap(metadata=Metadata(name=name, namespace=pick.metadata.namespace)))


@plugin.actor(
    Pick,
    labels={"tier": "gold"},
    fields="spec.open=true",
    observes=[Observation(ConfigMap, label="picky.example/pick")],
    writes=[ConfigMap],
    cleanup=farewell,
    finalizer="picky.example/farewell",
)
async def choose(pick: Pick, client: Client, run: Run) -> Done:
    """Counts the ConfigMaps that name it."""
    notes = await client.list(ConfigMap, pick.metadata.namespace, labels={"picky.example/pick": pick.metadata.name})
    return Done(PickStatus(seen=pick.spec.size, notes=len(notes.items)))
