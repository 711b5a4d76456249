"""The built-in actors on a real manager and a real store, with a clock that stands still; they can be killed and started again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio

from actors.builtin.pool import Surroundings
from apiserver.builtins import Builtins
from apiserver.calls import Answer, Call
from registry.plugin import Plugin
from tests.actors.world import Lines, VirtualClock, settled
from tests.apiserver.world import World, opened

WRITES = frozenset({"create", "update", "patch", "delete"})
SHOP = "/apis/reference.example.com/v1/namespaces/shop/widgets"
WIDGET = {"apiVersion": "reference.example.com/v1", "kind": "Widget"}
GADGET = {"apiVersion": "reference.example.com/v1", "kind": "Gadget"}

ACTORS = "system:serviceaccount:kube-system:skep-actor-"
"""How the user names of actors begin."""

Document = dict[str, Any]


class Keeper:
    """See the module. `kill_at` ends the actors at their n-th write from now on: before it, or right after it."""

    def __init__(self, world: World, clock: VirtualClock, *, event_seconds: float = 3600.0) -> None:
        self.world = world
        self.clock = clock
        self.log = Lines()
        self.writes: list[tuple[str, str, str]] = []  # of the actors: who, verb, resource and name
        self.faults: list[Exception] = []  # raised by their next writes
        self.kill_at: int | None = None
        self.kill_before = True
        self.killed = False
        self._event_seconds = event_seconds
        self._handle = world.manager.handle
        self._scope = anyio.CancelScope()
        self._tasks: Any = None
        self._starts = 0
        world.manager.handle = self._handled  # type: ignore[method-assign]
        world.manager._now = clock.time

    def build(self) -> Builtins:
        """Makes them anew, as a server does that begins."""
        self._scope.cancel()
        self._starts += 1
        self.killed = False
        around = Surroundings(self.clock, Random(self._starts), self.log)
        self.builtins = Builtins(self.world.manager, self.world.store, lambda _: around, event_seconds=self._event_seconds)
        return self.builtins

    async def start(self) -> None:
        """Starts them anew."""
        self.build()
        self._tasks.start_soon(self._run, self.builtins)
        await self.quiet()

    async def restart(self) -> None:
        """Kills them in the middle of what they do, and starts them again."""
        self._scope.cancel()
        await settled()
        await self.start()

    async def _run(self, builtins: Builtins) -> None:
        with anyio.CancelScope() as self._scope:
            await builtins.run()

    async def _handled(self, call: Call) -> Answer:
        if not call.identity.username.startswith(ACTORS) or call.verb not in WRITES:
            return await self._handle(call)
        if self.faults:
            raise self.faults.pop(0)
        if self.kill_at == 0 and self.kill_before:
            await self._die()
        self.writes.append(
            (call.identity.username.removeprefix(ACTORS), call.verb, f"{call.target.kind.resource} {call.target.name}")
        )
        answer = await self._handle(call)
        if self.kill_at is not None:
            if self.kill_at == 0:
                await self._die()
            self.kill_at -= 1
        return answer

    async def _die(self) -> None:
        self.kill_at, self.killed = None, True
        self._scope.cancel()
        await anyio.sleep_forever()

    async def quiet(self) -> None:
        """Returns when there is nothing left to do, or they are dead. The clock goes on only for what failed and is tried again."""
        while True:
            await settled()
            store = self.world.store
            if store._pending or store._writing.locked():
                await store.reached(store.revision + 1, 0.002)
                continue
            if self.killed:
                return
            built = self.builtins
            pools = (built.collector._pool, built.expiry._pool)
            snapshot = built.namespaces.snapshot()
            if any(pool._queue.failures for pool in pools) or snapshot.failing:
                await self.clock.advance(1.0)
            elif all(pool.idle for pool in pools) and not snapshot.depth and not snapshot.running and built.synced:
                return

    # Objects

    async def widget(self, name: str, *owners: Document, namespace: str = "shop", **metadata: Any) -> Document:
        """Makes a widget with these owners."""
        path = f"/apis/reference.example.com/v1/namespaces/{namespace}/widgets"
        return await self.world.make(path, name, metadata={"ownerReferences": list(owners), **metadata}, spec={"size": 1})

    async def gadget(self, name: str, *owners: Document, **metadata: Any) -> Document:
        """Makes a gadget, which has no namespace."""
        return await self.world.make(
            "/apis/reference.example.com/v1/gadgets", name, metadata={"ownerReferences": list(owners), **metadata}
        )

    async def delete(self, made: Document, propagation: str | None = None) -> None:
        """Deletes an object, as somebody does."""
        options = {"propagationPolicy": propagation} if propagation else {}
        await self.world.do("delete", path_of(made), options)

    async def free(self, made: Document) -> None:
        """Takes the finalizers of people out of an object, as somebody does."""
        await self.world.merge(path_of(made), {"metadata": {"finalizers": None}})

    def there(self) -> dict[str, Document]:
        """The widgets and gadgets that are there, by name."""
        found = {}
        for resource, kind in (("widgets.reference.example.com", WIDGET), ("gadgets.reference.example.com", GADGET)):
            for record in self.world.stored(resource):
                document = self.world.document(_path(kind["kind"], record.key.namespace, record.key.name), Answer(record=record))
                found[record.key.name] = document
        return found


def owner(made: Document, **more: Any) -> Document:
    """A reference to an object."""
    return {"apiVersion": made["apiVersion"], "kind": made["kind"]} | {key: made["metadata"][key] for key in ("name", "uid")} | more


def path_of(made: Document) -> str:
    """Where an object is."""
    return _path(made["kind"], made["metadata"].get("namespace", ""), made["metadata"]["name"])


def _path(kind: str, namespace: str, name: str) -> str:
    room = f"namespaces/{namespace}/" if namespace else ""
    return f"/apis/reference.example.com/v1/{room}{kind.lower()}s/{name}"


@asynccontextmanager
async def keeping(*plugins: Plugin, event_seconds: float = 3600.0) -> AsyncIterator[Keeper]:
    """A world with its built-in actors running; when the block is entered, nothing is left to do."""
    async with opened(*plugins) as world, anyio.create_task_group() as tasks:
        keeper = Keeper(world, VirtualClock(), event_seconds=event_seconds)
        keeper._tasks = tasks
        await keeper.start()
        yield keeper
        tasks.cancel_scope.cancel()
