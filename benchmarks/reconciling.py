"""How fast actors get through a backlog: `python -m benchmarks.reconciling` prints one line of JSON.

10,000 objects are there when an actor starts, in a process with the store, the manager and no socket. Two actors are measured, one
after the other: one that looks and writes nothing, and one that writes a status into each object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

import anyio
import structlog
import uvloop

import migrations
from actors import Client, Done
from actors.clock import SystemClock
from actors.runner import Runner
from admission.identity import ADMIN
from apiserver.calls import Call
from apiserver.manager import Manager
from apiserver.target import Target, resolve, segments
from apiserver.wiring import actors_of, bootstrap, environment, make_manager
from benchmarks.parcels import API_VERSION, collection, parcel
from benchmarks.plugin import Parcel, ParcelStatus
from registry.builtin import KINDS, NAMESPACE
from registry.plugin import Plugin, build
from storage.opening import open_store
from storage.sql import SqlStore

OBJECTS = 10_000
CONCURRENCY = 32
Reconcile = Callable[[Parcel, Client], Awaitable[Done]]


class Seen:
    """When each object was reconciled first, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.all = asyncio.Event()

    def note(self, name: str) -> None:
        """The object was looked at."""
        self.at.setdefault(name, time.monotonic())
        if len(self.at) == OBJECTS:
            self.all.set()


def looks(seen: Seen) -> Reconcile:
    """A reconcile that writes nothing."""

    async def reconcile(parcel: Parcel, client: Client) -> Done:
        del client
        seen.note(parcel.metadata.name)
        return Done()

    return reconcile


def writes(seen: Seen) -> Reconcile:
    """A reconcile that writes a status."""

    async def reconcile(parcel: Parcel, client: Client) -> Done:
        del client
        seen.note(parcel.metadata.name)
        return Done(ParcelStatus(phase="Packed", scans=1))

    return reconcile


async def measure(url: str, name: str, reconcile: Reconcile, seen: Seen) -> dict[str, float]:
    """Runs an actor over everything that is stored, and waits until its queue is empty."""
    plugin = Plugin("benchmarks")
    plugin.kind(Parcel, group=API_VERSION.partition("/")[0], version="v1", plural="parcels")
    plugin.actor(Parcel, name=name, concurrency=CONCURRENCY)(reconcile)
    registry = build((plugin,), KINDS)
    log = structlog.get_logger()
    async with open_store(url) as store:
        chance = SystemRandom()
        manager = make_manager(registry, store, log, now=time.time, chance=chance, body_bytes=3 * 2**20)
        await bootstrap(manager, store, time.time())
        await _seed(manager, store)
        (actor,) = actors_of(registry)
        runner = Runner(actor, environment(manager, actor, clock=SystemClock(), chance=chance, log=log))
        before, begun = _memory_mb(), time.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await seen.all.wait()
            while (state := runner.snapshot()).depth or state.running:
                await anyio.sleep(0.005)
            took = time.monotonic() - begun
            runner.stop()
        totals = runner.snapshot().totals
        if totals != {"success": OBJECTS}:
            raise SystemExit(f"error: {name}: {dict(totals)}, where {OBJECTS} runs were to succeed")
        return {
            "first_s": round(min(seen.at.values()) - begun, 3),
            "per_s": round(OBJECTS / took),
            "grown_mb": round(_memory_mb() - before, 1),
        }


async def _seed(manager: Manager, store: SqlStore) -> None:
    if store.list("parcels.bench.example.com").records:
        return
    await manager.handle(Call(ADMIN, "create", Target(NAMESPACE, NAMESPACE.storage, None), body={"metadata": {"name": "bench"}}))
    target = resolve(manager.registry, segments(collection("bench").encode()))
    names = iter(range(OBJECTS))

    async def create() -> None:
        for number in names:
            body = parcel(f"parcel-{number}", "waits")
            await manager.handle(Call(ADMIN, "create", target, body=body, content_type="application/json"))

    async with anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(create)


def _memory_mb() -> float:
    """The largest that the process has been."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main() -> dict[str, Any]:
    """Both actors, on the same 10,000 objects."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        url = f"sqlite:///{Path(folder) / 'skep.db'}"
        migrations.upgrade(url)
        found: dict[str, Any] = {"objects": OBJECTS, "concurrency": CONCURRENCY}
        for name, made in (("looks", looks), ("writes", writes)):
            seen = Seen()
            found[name] = await measure(url, name, made(seen), seen)
        return found


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        print(json.dumps(uvloop.run(main())))
