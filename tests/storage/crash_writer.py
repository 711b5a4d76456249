"""Writes to a store as fast as it can, and says what was acknowledged: to be killed.

`python crash_writer.py URL` prints `ready`, then a line `name revision` for each write that was acknowledged.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import anyio

from storage.opening import open_store
from storage.sql import SqlStore
from storage.store import Key, Put

WRITERS = 16


async def write(store: SqlStore, writer: int) -> None:
    """Creates objects, and updates each once."""
    start = store.revision
    n = 0
    while True:
        n += 1
        name = f"{start}-{writer}-{n}"
        put = Put(Key("probes.uptime.example", "shop", name), f"uid-{name}", "v1", b"x" * 500, b"", 0)
        for status in (b"", b"ready"):
            change = await store.commit(Put(put.key, put.uid, put.api_version, put.desired, status, put.expect))
            put = Put(put.key, put.uid, put.api_version, put.desired, status, change.revision)
            os.write(1, f"{name} {change.revision}\n".encode())


async def main(url: str) -> None:
    async with open_store(url) as store, anyio.create_task_group() as tasks:
        os.write(1, b"ready\n")
        for writer in range(WRITERS):
            tasks.start_soon(partial(write, store, writer))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
