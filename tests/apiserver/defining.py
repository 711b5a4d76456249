"""Definitions of kinds for tests, and a world in which they are followed and kept."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import structlog

from actors.builtin.pool import Surroundings
from actors.clock import SystemClock
from admission.identity import Identity, actor_identity
from apiserver.definitions import RESOURCE, Definitions
from apiserver.definitions_keeper import NAME, Keeper, status_of
from apiserver.stored import document_of
from registry.builtin.customresourcedefinition import FINALIZER
from registry.nodes import Document
from storage.store import Record
from tests.apiserver.world import World

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "things.example"
SCHEMA: Document = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}


def versioned(name: str = "v1", *, storage: bool = True, served: bool = True, schema: Document = SCHEMA, **more: Any) -> Document:
    """A version of a definition."""
    return {"name": name, "served": served, "storage": storage, "schema": {"openAPIV3Schema": schema}, **more}


def definition(
    plural: str = "bolts",
    kind: str = "Bolt",
    *,
    versions: Sequence[Document] = (versioned(),),
    group: str = GROUP,
    scope: str = "Namespaced",
    names: Document | None = None,
    **spec: Any,
) -> Document:
    """A definition."""
    named = {"plural": plural, "kind": kind, **(names or {})}
    body = {"group": group, "scope": scope, "names": named, "versions": list(versions), **spec}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": body,
    }


def path(plural: str = "bolts", version: str = "v1", namespace: str = "shop", group: str = GROUP) -> str:
    """Where the objects of a kind are."""
    return f"/apis/{group}/{version}/namespaces/{namespace}/{plural}"


@dataclass(frozen=True, slots=True)
class Defining:
    """A world whose definitions count."""

    world: World
    definitions: Definitions
    keeper: Keeper

    async def define(self, body: Document, **more: Any) -> Document:
        """Makes a definition; its answer."""
        return self.world.document(DEFINITIONS, await self.world.do("create", DEFINITIONS, body, **more))

    async def settled(self) -> None:
        """Waits until every status says what is so, and nothing is left that could go. What is held may still be there."""
        await anyio.sleep(0.001)
        while not all(self._is_kept(record) for record in self.world.stored(RESOURCE)):
            await anyio.sleep(0.001)

    def _is_kept(self, record: Record) -> bool:
        entry, document = self.definitions.find(record.key.name), document_of(record)
        if entry is None:
            return True
        metadata = document["metadata"]
        goes = "deletionTimestamp" in metadata and FINALIZER in metadata.get("finalizers", ())
        if goes and not self.world.stored(record.key.name):
            return False
        return status_of(document["status"], entry, "", goes=goes) == document["status"]

    async def conditions(self, name: str) -> dict[str, tuple[str, str]]:
        """The conditions of a definition: status and reason by type."""
        await self.settled()
        status = (await self.world.get(f"{DEFINITIONS}/{name}"))["status"]
        return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def surroundings() -> Surroundings:
    """Real time."""
    return Surroundings(SystemClock(), random.Random(0), structlog.get_logger())


@asynccontextmanager
async def defining(world: World, who: Identity | None = None) -> AsyncIterator[Defining]:
    """Follows the definitions of a world, and keeps them, until it is killed."""
    around = surroundings()
    definitions = Definitions(world.manager.catalog, around.log)
    end = definitions.follow(world.store)
    keeper = Keeper(world.manager, world.store, definitions, who or actor_identity(NAME), around)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.run)
        yield Defining(world, definitions, keeper)
        tasks.cancel_scope.cancel()
    end()
