"""PostgreSQL: lost connections, commits of which nobody heard, and several processes on one database."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import msgspec
import psycopg
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketStream

from storage.engine import InvalidDatabase
from storage.opening import open_store
from storage.sql import Options, SqlStore
from storage.store import Change, Closed, Conflict, Expired, Key, State, Unavailable
from tests.postgres import Postgres
from tests.storage.tools import PROBES, create, key, plain, put, remove, revision_of, together, update

pytestmark = pytest.mark.anyio
EAGER = Options(retry=0.01)


@pytest.fixture
async def url(postgres: Postgres) -> AsyncIterator[str]:
    with postgres.database() as fresh:
        yield fresh


def kill_connections(url: str) -> int:
    """Ends every connection to the database but its own."""
    with psycopg.connect(url, autocommit=True) as admin:
        found = admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(found)


async def test_connections_that_were_killed_between_writes_are_made_anew(url: str) -> None:
    async with open_store(url) as store:
        for n in range(5):
            await create(store, f"{n}")
            assert kill_connections(url) > 0
        assert await store.synced() == 5
        assert [change.revision for change in store.watch(PROBES, 0).take()] == [1, 2, 3, 4, 5]


async def test_connections_that_are_killed_under_load_lose_nothing_that_was_acknowledged(url: str) -> None:
    acknowledged: dict[str, int] = {}
    unknown: set[str] = set()
    async with open_store(url, EAGER) as store:
        cursor = store.watch(PROBES, 0)

        async def write(writer: int) -> None:
            for n in range(40):
                name = f"{writer}-{n}"
                try:
                    acknowledged[name] = (await create(store, name)).revision
                except Unavailable as error:
                    if error.committed is None:
                        unknown.add(name)

        async with anyio.create_task_group() as tasks:
            for writer in range(8):
                tasks.start_soon(write, writer)
            for _ in range(10):
                await anyio.to_thread.run_sync(kill_connections, url)
        last = await create(store, "last")
        seen: list[Change] = []
        while cursor.revision < last.revision:
            seen += await cursor.next()
        names = {change.record.key.name: change.revision for change in seen}
        assert [change.revision for change in seen] == list(range(1, last.revision + 1))
        assert acknowledged.items() <= names.items()
        assert names.keys() - acknowledged.keys() - {"last"} <= unknown
    async with open_store(url) as again:
        assert {record.key.name for record in again.list(PROBES).records} == names.keys()


@asynccontextmanager
async def proxy(port: int, cut: Callable[[], str | None]) -> AsyncIterator[int]:
    """Passes connections on to `port`. At a COMMIT, `cut` says where to cut the line: "before" or "after" it, or not (None)."""

    async def handle(client: SocketStream) -> None:
        server = await anyio.connect_tcp("127.0.0.1", port)
        async with client, server, anyio.create_task_group() as tasks:
            tasks.start_soon(answers, server, client, tasks.cancel_scope)
            await questions(client, server)
            tasks.cancel_scope.cancel()

    async def answers(server: ByteStream, client: ByteStream, scope: anyio.CancelScope) -> None:
        try:
            while True:
                await client.send(await server.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()

    async def questions(client: ByteStream, server: ByteStream) -> None:
        try:
            while True:
                data = await client.receive()
                where = cut() if b"COMMIT" in data else None
                if where == "after":
                    await client.aclose()
                    await server.send(data)
                    await anyio.sleep_forever()  # until the answer has come, and found the line cut
                if where is not None:
                    return
                await server.send(data)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_commit_of_which_nobody_heard_is_unknown_and_then_the_store_finds_out(
    url: str, postgres: Postgres, where: str
) -> None:
    cuts: list[str] = []
    async with (
        proxy(postgres.port, lambda: cuts.pop() if cuts else None) as port,
        open_store(url.replace(f":{postgres.port}/", f":{port}/"), EAGER) as store,
    ):
        cursor = store.watch(PROBES, 0)
        await create(store, "known")
        cuts.append(where)
        with pytest.raises(Unavailable) as refused:
            await create(store, "doubtful")
        assert refused.value.committed is None
        if where == "after":
            assert await store.reached(2, 60), "without another write"
        await create(store, "next")
        expected = ["known", "doubtful", "next"] if where == "after" else ["known", "next"]
        changes = cursor.take()
        assert [(change.revision, change.record.key.name) for change in changes] == list(enumerate(expected, 1))
        assert sorted(record.key.name for record in store.list(PROBES).records) == sorted(expected)


async def test_a_database_that_is_down_is_unavailable_and_is_found_again(url: str, postgres: Postgres) -> None:
    async with open_store(url) as store:
        await create(store, "before")
        name = url.rsplit("/", 1)[1]
        postgres.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", (name,))
        with pytest.raises(Unavailable) as refused:
            await create(store, "during")
        assert refused.value.committed is False
        with pytest.raises(Unavailable):
            await store.check()
        with pytest.raises(Unavailable):
            await store.synced()
        assert len(store.list(PROBES).records) == 1
        postgres.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        await store.check()
        assert (await create(store, "after")).revision == 2


async def test_two_processes_on_one_database_have_one_order_of_changes(url: str) -> None:
    # kine#82, #676: ids that are given before the commit made readers skip rows.
    async with open_store(url) as one, open_store(url) as two:
        cursors = [one.watch(PROBES, 0), two.watch(PROBES, 0)]
        wins: list[str] = []

        async def write(store: SqlStore, seed: int) -> None:
            chance = random.Random(seed)
            for n in range(40):
                at = key(f"{chance.randrange(3)}")
                try:
                    change = await store.commit(put(at, f"{seed}-{n}", expect=revision_of(store, at)))
                    wins.append(f"{seed}-{n}")
                    assert store.get(at) is not None
                    assert store.revision >= change.revision
                except Conflict:
                    continue

        async with anyio.create_task_group() as tasks:
            for seed in range(6):
                tasks.start_soon(write, (one, two)[seed % 2], seed)
        newest = max(one.revision, two.revision)
        assert [await one.synced(), await two.synced()] == [newest, newest]
        first, second = ([plain(change) for change in cursor.take()] for cursor in cursors)
        assert first == second
        assert [change[0] for change in first] == list(range(1, newest + 1))
        assert sorted(change[2].desired.decode() for change in first) == sorted(wins), (
            "each is there that was acknowledged, no other"
        )
        assert one.list(PROBES) == two.list(PROBES)


async def test_of_writers_in_two_processes_with_the_same_revision_exactly_one_wins(url: str) -> None:
    async with open_store(url) as one, open_store(url) as two:
        await create(one, "home")
        await two.synced()
        for revision in range(1, 11):
            writes = [put(key("home"), f"{n}", expect=revision) for n in range(10)]
            results = await together(*(partial((one, two)[n % 2].commit, write) for n, write in enumerate(writes)))
            assert sum(isinstance(result, Change) for result in results) == 1
            assert sum(isinstance(result, Conflict) for result in results) == 9
            assert await one.synced() == await two.synced() == revision + 1


async def test_what_a_guard_counts_includes_what_other_processes_wrote(url: str) -> None:
    def full(at: Key, state: State) -> Exception | None:
        return RuntimeError(at.name) if state.count(at.resource, at.namespace) >= 25 else None

    async with open_store(url, Options(batch_count=4)) as one, open_store(url, Options(batch_count=4)) as two:
        writes = [msgspec.structs.replace(put(key(f"{n}")), guard=full) for n in range(80)]
        results = await together(*(partial((one, two)[n % 2].commit, write) for n, write in enumerate(writes)))
        assert sum(isinstance(result, Change) for result in results) == 25
        assert sum(isinstance(result, RuntimeError) for result in results) == 55
        assert await one.synced() == await two.synced() == 25
        await remove(one, one.list(PROBES).records[0].key)
        fresh = [msgspec.structs.replace(put(key(f"new-{n}")), guard=full) for n in range(3)]
        results = await together(*(partial(two.commit, write) for write in fresh))
        assert sum(isinstance(result, Change) for result in results) == 1, "it had not heard of the removal, and counts it"


async def test_a_process_publishes_what_others_wrote_before_what_it_writes_itself(url: str) -> None:
    async with open_store(url) as one, open_store(url) as two:
        cursor = two.watch(PROBES, 0)
        for n in range(5):
            await update(one, key("home"), f"{n}")
        await remove(one, key("home"))
        await create(two, "mine")
        assert [change.op.value for change in cursor.take()] == ["ADDED", *["MODIFIED"] * 4, "DELETED", "ADDED"]
        assert [record.key.name for record in two.list(PROBES).records] == ["mine"]


async def test_a_process_that_is_far_behind_catches_up_page_by_page(url: str) -> None:
    async with open_store(url) as one, open_store(url) as two:
        for n in range(5):
            await together(*(partial(update, one, key(f"{m}"), f"{n}") for m in range(450)))
        change = await create(two, "mine")
        assert change.revision == 2251
        assert [seen.revision for seen in two.watch(PROBES, 1800).take()] == list(range(1801, 2252))
        await one.synced()
        assert one.list(PROBES) == two.list(PROBES)


async def test_a_process_that_is_behind_the_horizon_reads_the_state_anew_and_its_cursors_are_expired(url: str) -> None:
    async with open_store(url) as one, open_store(url) as two:
        behind = two.watch(PROBES, 0)
        await create(one, "away")
        await two.synced()
        told: list[Change] = []
        two.subscribe(PROBES, told.extend)
        await remove(one, key("away"))
        for n in range(8):
            await update(one, key("home"), f"{n}")
        await one.compact(0, max_age=1e12, max_count=2)
        await create(two, "mine")
        assert [(change.op.value, change.record.key.name) for change in told] == [
            ("DELETED", "away"),
            ("ADDED", "home"),
            ("ADDED", "mine"),
        ], "who listens learns what has become of each object"
        assert two.revision == 11
        assert [record.key.name for record in two.list(PROBES).records] == ["home", "mine"]
        with pytest.raises(Expired):
            await behind.next()
        assert [change.revision for change in two.watch(PROBES, 8).take()] == [9, 10, 11]


async def test_a_database_without_tables_says_how_to_make_them(postgres: Postgres) -> None:
    with postgres.database(migrated=False) as empty, pytest.raises(InvalidDatabase, match="run `skep db upgrade`"):
        async with open_store(empty):
            pass


async def test_a_database_at_another_schema_says_what_to_do(url: str) -> None:
    with psycopg.connect(url) as admin:
        admin.execute("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(InvalidDatabase, match=r"at schema 0000.*run `skep db upgrade`"):
        async with open_store(url):
            pass


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (("/test_", "/nowhere_"), "no such database or user"),
        (("postgres@", "nobody:secret@"), "no such database or user"),
        (("127.0.0.1", "no-such-host.invalid"), "the host name is not known"),
        ((":{port}/", ":1/"), "nothing listens there"),
    ],
)
async def test_a_wrong_url_is_refused_in_one_line_without_its_password(
    url: str, postgres: Postgres, change: tuple[str, str], advice: str
) -> None:
    old, new = change
    with pytest.raises(InvalidDatabase, match=advice) as refused:
        async with open_store(url.replace(old.format(port=postgres.port), new)):
            pass
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


async def test_pending_writes_of_a_closing_store_are_committed_or_refused_never_lost(url: str) -> None:
    results: list[object] = []

    async def write(store: SqlStore) -> None:
        results.extend(await together(*(partial(create, store, f"{n}") for n in range(50))))

    async with anyio.create_task_group() as tasks, open_store(url, Options(batch_count=3)) as store:
        tasks.start_soon(write, store)
        await anyio.lowlevel.checkpoint()
    accepted = [result for result in results if isinstance(result, Change)]
    assert len(accepted) + sum(isinstance(result, Closed) for result in results) == 50
    async with open_store(url) as again:
        assert again.revision == len(accepted)
