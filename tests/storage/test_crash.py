"""kill -9 under load, again and again. SKEP_TEST_CRASHES says how often (5)."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from storage.opening import open_store
from storage.sql import Options
from storage.store import Change
from tests.storage.tools import PROBES

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
CRASHES = int(os.environ.get("SKEP_TEST_CRASHES", "5"))


def crash(url: str, after: int) -> dict[str, int]:
    """Kills a writer when it has acknowledged `after` writes; returns the newest revision of each object it acknowledged."""
    command = [sys.executable, "-m", "tests.storage.crash_writer", url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        lines = list(islice(writer.stdout, after))
        writer.kill()
        lines += [line for line in writer.stdout if line.endswith("\n")]
    return {name: int(revision) for name, revision in (line.split() for line in lines)}


async def test_an_acknowledged_write_survives_kill_9_and_a_cursor_goes_on_without_loss(database: str) -> None:
    # etcd#14370: an acknowledged write was lost in a crash.
    acknowledged: dict[str, int] = {}
    revision, seen = 0, list[Change]()
    for n in range(CRASHES):
        acknowledged |= crash(database, 200 + 137 * n)
        async with open_store(database, Options(window=Options().window._replace(changes=64))) as store:
            assert store.revision >= max(acknowledged.values())
            assert store.revision > revision
            revision = store.revision
            cursor = store.watch(PROBES, seen[-1].revision if seen else 0)
            while cursor.revision < revision:
                seen += await cursor.next()
            objects = {record.key.name: record for record in store.list(PROBES).records}
            assert not [name for name, newest in acknowledged.items() if name not in objects or objects[name].revision < newest]
    assert [change.revision for change in seen] == list(range(1, revision + 1))
    assert {change.record.key.name: change.record for change in seen} == objects
