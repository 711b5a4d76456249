"""SQLite: what can go wrong with a file, a folder and a disk, and memory."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest

import migrations
from storage.checkpoint import Checkpointer, passive
from storage.engine import InvalidDatabase
from storage.lock import Locked
from storage.opening import open_store
from storage.sql import Options
from storage.store import Unavailable
from tests.storage.tools import PROBES, create, key, together, update

pytestmark = pytest.mark.anyio


async def refusal(url: str) -> str:
    """The one line that says why a database cannot be opened."""
    with pytest.raises(InvalidDatabase) as refused:
        async with open_store(url):
            pass
    message = str(refused.value)
    assert "\n" not in message
    return message


async def test_a_store_in_memory_needs_no_file_and_is_empty_each_time() -> None:
    for _ in range(2):
        async with open_store("sqlite://") as store:
            assert (await create(store, "a")).revision == 1
            assert (await store.list_at(0, PROBES)).records == []


async def test_a_full_disk_refuses_writes_and_reads_go_on_and_so_do_writes_when_there_is_room(sqlite_file: Path) -> None:
    async with open_store(f"sqlite:///{sqlite_file}") as store:
        await create(store, "before")
        with store._engines.write.connect() as connection:
            room = connection.exec_driver_sql("PRAGMA max_page_count").scalar_one()
            connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes the present size instead
        writes = [partial(create, store, f"big-{n}", "x" * 20_000) for n in range(5)]
        results = await together(*writes)
        assert [type(result) for result in results] == [Unavailable] * 5
        assert {(str(result), result.committed) for result in results if isinstance(result, Unavailable)} == {
            ("the disk of the database is full (database or disk is full)", False)
        }
        assert [record.key.name for record in store.list(PROBES).records] == ["before"]
        assert store.revision == 1
        with store._engines.write.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {room}")
        results = await together(*writes)
        assert not [result for result in results if isinstance(result, Exception)]
        assert store.revision == 6
    async with open_store(f"sqlite:///{sqlite_file}") as store:
        assert len(store.list(PROBES).records) == 6


async def test_a_database_that_another_program_has_locked_is_unavailable_until_it_lets_go(sqlite_file: Path) -> None:
    async with open_store(f"sqlite:///{sqlite_file}") as store:
        with store._engines.write.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 10")
        with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked by another process") as refused:
                await create(store, "a")
            with pytest.raises(Unavailable):
                await store.check()
            assert refused.value.committed is False
            assert store.list(PROBES).records == []
        await store.check()
        assert (await create(store, "a")).revision == 1


async def test_a_second_server_on_the_same_file_is_refused_and_names_the_first(sqlite_file: Path) -> None:
    code = (
        "import sys, anyio\n"
        "from storage.opening import open_store\n"
        "async def main():\n"
        "    async with open_store(sys.argv[1]):\n"
        "        print('open', flush=True)\n"
        "        await anyio.to_thread.run_sync(sys.stdin.read)\n"
        "anyio.run(main)\n"
    )
    url = f"sqlite:///{sqlite_file}"
    command = [sys.executable, "-c", code, url]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with pytest.raises(Locked, match=f"in use by process {first.pid}:"):
            async with open_store(url):
                pass
        first.stdin.close()
        assert first.wait() == 0
    async with open_store(url) as store:
        await create(store, "a")
        with pytest.raises(Locked, match=f"in use by process {os.getpid()}:"):
            async with open_store(url):
                pass


async def test_a_link_to_the_file_of_another_store_is_the_same_file(sqlite_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(sqlite_file)
    async with open_store(f"sqlite:///{sqlite_file}"):
        with pytest.raises(Locked):
            async with open_store(f"sqlite:///{link}"):
                pass


async def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    migrations.upgrade(url)
    async with open_store(url) as store:
        await create(store, "secret")
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert files == dict.fromkeys(("new.db", "new.db-wal", "new.db-shm", "new.db.lock"), 0o600)


async def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("Dear diary, " * 1000)
    assert "the file is not an SQLite database" in await refusal(f"sqlite:///{path}")
    with pytest.raises(InvalidDatabase, match="is not an SQLite database"):
        migrations.upgrade(f"sqlite:///{path}")


async def test_a_damaged_file_is_refused_in_one_line(sqlite_file: Path) -> None:
    async with open_store(f"sqlite:///{sqlite_file}") as store:
        for n in range(100):
            await create(store, f"{n}", "x" * 1000)
    size = sqlite_file.stat().st_size
    with sqlite_file.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    assert "restore a backup" in await refusal(f"sqlite:///{sqlite_file}")


async def test_a_file_without_tables_says_how_to_make_them(tmp_path: Path) -> None:
    assert "run `skep db upgrade`" in await refusal(f"sqlite:///{tmp_path / 'empty.db'}")


async def test_a_folder_that_does_not_exist_is_refused_in_one_line(tmp_path: Path) -> None:
    assert "check that it exists" in await refusal(f"sqlite:///{tmp_path / 'no' / 'such.db'}")
    with pytest.raises(InvalidDatabase, match="check that its folder exists"):
        migrations.upgrade(f"sqlite:///{tmp_path / 'no' / 'such.db'}")


@pytest.fixture
def nobody() -> Iterator[None]:
    """Does the test without root's right to write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


async def test_a_folder_that_cannot_be_written_is_refused_in_one_line(nobody: None) -> None:
    assert "may be written" in await refusal("sqlite:////usr/skep.db")
    with pytest.raises(InvalidDatabase, match="may be written"):
        migrations.upgrade("sqlite:////usr/skep.db")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("skep.db", "is no database URL: use sqlite:///path"),
        ("mysql://root@localhost/skep", "type 'mysql' are not supported: use sqlite:///"),
        ("", "is no database URL"),
        ("postgresql://host:port/x", "is no database URL"),
    ],
)
async def test_a_wrong_url_is_refused_in_one_line(url: str, advice: str) -> None:
    assert advice in await refusal(url)


async def test_objects_are_held_once_in_memory(sqlite_file: Path) -> None:
    async with open_store(f"sqlite:///{sqlite_file}") as store:
        await together(*(partial(create, store, f"{n}", "x" * 1000) for n in range(50)))
        await update(store, key("7"), "x" * 1000, "ready")
        for change in store.watch(PROBES, 0).take():
            record = store.get(change.record.key)
            assert record is not None
            assert record.desired is change.record.desired


async def test_the_write_ahead_log_of_a_busy_file_stays_short(sqlite_file: Path) -> None:
    log = sqlite_file.with_name(f"{sqlite_file.name}-wal")
    async with open_store(f"sqlite:///{sqlite_file}", Options(log_pages=200)) as store:
        sizes = []
        for number in range(60):
            await together(*[partial(create, store, f"{number}-{n}", "x" * 4_000) for n in range(50)])
            sizes.append(log.stat().st_size)
        assert store._checkpointer is not None
        assert store._checkpointer.copied > 5
    assert max(sizes) < 8_000_000, "12 MB were written, and as much again into indexes and logs"
    async with open_store(f"sqlite:///{sqlite_file}") as store:
        assert len(store.list(PROBES).records) == 3_000


async def test_writers_take_their_turns_while_the_log_is_copied_and_wait_for_the_short_rest_alone() -> None:
    turn, gate, begun = anyio.Lock(), threading.Event(), anyio.Event()
    loop = asyncio.get_running_loop()
    turns_during_copies: list[bool] = []

    def copy() -> None:
        turns_during_copies.append(turn.locked())
        loop.call_soon_threadsafe(begun.set)
        gate.wait(30)

    checkpointer = Checkpointer(copy, turn, pages=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(checkpointer.run)
        checkpointer.wrote([])
        await begun.wait()
        async with turn:
            pass
        gate.set()
        while not checkpointer.copied:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert turns_during_copies == [False, True]


def test_a_log_that_cannot_be_copied_stays_for_another_time(tmp_path: Path) -> None:
    passive(tmp_path / "no such folder" / "skep.db")()
    (tmp_path / "note.txt").write_text("Dear diary, " * 1_000)
    passive(tmp_path / "note.txt")()
    assert (tmp_path / "note.txt").read_text() == "Dear diary, " * 1_000
