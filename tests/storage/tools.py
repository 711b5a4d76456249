"""Short words for what the tests of storage do again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from storage.sql import SqlStore
from storage.store import Change, Key, Put, Record, Remove

PROBES = "probes.uptime.example"
LEASES = "leases.coordination.k8s.io"


def key(name: str, namespace: str = "shop", resource: str = PROBES) -> Key:
    return Key(resource, namespace, name)


def put(at: Key, body: str = "{}", *, expect: int = 0, status: str = "", require: tuple[Key, int] | None = None) -> Put:
    return Put(at, f"uid-{at.name}", "uptime.example/v1", body.encode(), status.encode(), expect, require)


async def create(store: SqlStore, name: str, body: str = "{}", namespace: str = "shop", resource: str = PROBES) -> Change:
    return await store.commit(put(key(name, namespace, resource), body))


async def update(store: SqlStore, at: Key, body: str, status: str = "") -> Change:
    return await store.commit(put(at, body, expect=revision_of(store, at), status=status))


async def remove(store: SqlStore, at: Key) -> Change:
    return await store.commit(Remove(at, revision_of(store, at)))


def revision_of(store: SqlStore, at: Key) -> int:
    record = store.get(at)
    return record.revision if record is not None else 0


async def together(*calls: Callable[[], Awaitable[object]]) -> Sequence[object]:
    """Starts all of them before any goes on; returns what each returned or raised, in order."""
    results: list[object] = [None] * len(calls)

    async def run(place: int) -> None:
        try:
            results[place] = await calls[place]()
        except Exception as error:
            results[place] = error

    async with anyio.create_task_group() as tasks:
        for place in range(len(calls)):
            tasks.start_soon(run, place)
    return results


def plain(change: Change) -> tuple[int, str, Record, Record | None]:
    """A change without its identity."""
    return change.revision, change.op.value, change.record, change.previous
