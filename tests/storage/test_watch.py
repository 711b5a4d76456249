"""Cursors under concurrent writers: the guarantees that etcd gives its watches, by name, on both backends."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import anyio
import pytest

from storage.opening import open_store
from storage.sql import Options, SqlStore
from storage.store import Change, Conflict, Expired, Key, Op, Record, Remove
from tests.storage.tools import LEASES, PROBES, create, key, plain, put, remove, revision_of, together, update

pytestmark = pytest.mark.anyio

TINY = Options(window=Options().window._replace(changes=8), page=7)
WRITERS, ROUNDS = 4, 60


async def write_at_random(store: SqlStore, seed: int) -> None:
    """Writes few objects of two resources, so that writers meet."""
    chance = random.Random(seed)
    for n in range(ROUNDS):
        at = key(f"{chance.randrange(6)}", chance.choice(("shop", "bank")), chance.choice((PROBES, PROBES, LEASES)))
        expect = revision_of(store, at)
        write = Remove(at, expect) if expect and chance.random() < 0.3 else put(at, f"{seed}-{n}", expect=expect, status=f"{n % 3}")
        try:
            await store.commit(write)
        except Conflict:
            continue


async def follow(store: SqlStore, seen: list[Change], after: int, until: anyio.Event, *, lazy: bool = False) -> None:
    """Collects changes of PROBES until the writers are done and the cursor has reached the end."""
    cursor = store.watch(PROBES, after)
    while not (until.is_set() and cursor.revision >= store.revision):
        with anyio.move_on_after(0.01):
            seen += await cursor.next()
        if lazy:
            for _ in range(50):
                await anyio.lowlevel.checkpoint()


async def resume_often(store: SqlStore, seen: list[Change], until: anyio.Event) -> None:
    """The same with a new cursor for each step, made from the revision of the last: a client that reconnects all the time."""
    after = 0
    while not (until.is_set() and after >= store.revision):
        cursor = store.watch(PROBES, after)
        with anyio.move_on_after(0.01):
            seen += await cursor.next()
        after = cursor.revision


@pytest.fixture
async def history(database: str) -> tuple[list[list[Change]], list[Change], dict[Key, Record]]:
    """What five readers saw, each change that the store has published, and the objects at the end."""
    async with open_store(database, TINY) as store:
        everything: list[Change] = []
        for resource in (PROBES, LEASES):
            store.subscribe(resource, everything.extend)
        readers: list[list[Change]] = [[] for _ in range(5)]
        done = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow, store, readers[0], 0, done)
            tasks.start_soon(follow, store, readers[1], 0, done)
            tasks.start_soon(partial(follow, store, readers[2], 0, done, lazy=True))
            tasks.start_soon(resume_often, store, readers[3], done)
            async with anyio.create_task_group() as writers:
                for seed in range(WRITERS):
                    writers.start_soon(write_at_random, store, seed)
            done.set()
            tasks.start_soon(follow, store, readers[4], 0, done)  # reads everything from the log
        everything.sort(key=lambda change: change.revision)  # subscribers of two resources hear of a batch one after the other
        return readers, everything, {record.key: record for record in store.list(PROBES).records}


History = tuple[list[list[Change]], list[Change], dict[Key, Record]]


async def test_ordered_unique_reliable_and_resumable(history: History) -> None:
    readers, everything, _ = history
    expected = [change.revision for change in everything if change.record.key.resource == PROBES]
    assert len(expected) > ROUNDS
    assert expected == sorted(set(expected))
    for seen in readers:
        assert [change.revision for change in seen] == expected


async def test_every_way_to_a_change_gives_the_same_change(history: History) -> None:
    readers, everything, _ = history
    expected = [plain(change) for change in everything if change.record.key.resource == PROBES]
    for seen in readers:
        assert [plain(change) for change in seen] == expected


async def test_atomic_each_change_starts_where_the_one_before_it_ended_and_the_last_is_the_state(history: History) -> None:
    readers, everything, objects = history
    assert [change.revision for change in everything] == list(range(1, len(everything) + 1)), "dense, over all resources"
    state: dict[Key, Record] = {}
    for change in readers[0]:
        assert change.previous == state.get(change.record.key)
        if change.op is Op.DELETED:
            del state[change.record.key]
        else:
            assert (change.op is Op.ADDED) == (change.previous is None)
            state[change.record.key] = change.record
    assert state == objects


async def test_filtered_a_reader_can_tell_from_the_state_before_whether_an_object_left_its_selection(history: History) -> None:
    readers, _, objects = history
    selected: dict[Key, Record] = {}
    for change in readers[3]:
        was = change.previous is not None and change.previous.status == b"1"
        now = change.op is not Op.DELETED and change.record.status == b"1"
        assert was == (change.record.key in selected)
        if now:
            selected[change.record.key] = change.record
        else:
            selected.pop(change.record.key, None)
    assert selected == {at: record for at, record in objects.items() if record.status == b"1"}


async def test_bookmarkable_a_quiet_resource_moves_on_with_the_store_and_survives_compaction(database: str) -> None:
    async with open_store(database, TINY) as store:
        await create(store, "quiet")
        cursor = store.watch(PROBES, 0)
        assert len(cursor.take()) == 1
        for n in range(20):
            await update(store, key("lease", resource=LEASES), f"{n}")
        assert cursor.revision == 21, "a truthful bookmark: there is nothing of this resource up to here"
        await store.compact(0, max_age=1e12, max_count=0)
        for n in range(20):
            await update(store, key("lease", resource=LEASES), f"{n}")
        await store.compact(0, max_age=1e12, max_count=0)
        assert store.horizon == 41
        change = await create(store, "again")
        assert await cursor.next() == [change]


async def test_a_bookmark_never_passes_a_change_that_was_not_yielded(store: SqlStore) -> None:
    cursor = store.watch(PROBES, 0)
    await create(store, "a")
    await create(store, "other", resource=LEASES)
    assert cursor.revision == 0
    assert len(cursor.take()) == 1
    assert cursor.revision == 2


async def test_a_reader_that_waits_is_woken_by_its_resource_alone(store: SqlStore) -> None:
    seen: list[Change] = []

    async def wait() -> None:
        seen.extend(await store.watch(PROBES, 0).next())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await create(store, "other", resource=LEASES)
        await anyio.wait_all_tasks_blocked()
        assert seen == []
        await create(store, "mine")
    assert [change.revision for change in seen] == [2]


async def test_a_reader_that_never_reads_does_not_hold_up_a_writer_and_is_expired_after_compaction(database: str) -> None:
    # tilt: an unbuffered send under a lock let one slow watcher block all writers.
    async with open_store(database, TINY) as store:
        cursor = store.watch(PROBES, 0)
        for n in range(50):
            await update(store, key("home"), f"{n}")
        assert store.stats().windows[PROBES][0] <= 8, "nothing is kept for it"
        await store.compact(0, max_age=1e12, max_count=20)
        with pytest.raises(Expired) as expired:
            await cursor.next()
        assert (expired.value.revision, expired.value.horizon) == (0, 30)


async def test_a_reader_that_has_fallen_out_of_the_window_reads_the_log_and_comes_back(database: str) -> None:
    async with open_store(database, TINY) as store:
        cursor = store.watch(PROBES, 0)
        for n in range(50):
            await update(store, key(f"{n % 5}"), f"{n}")
        assert cursor.take() == (), "what is only in the log is not there without waiting"
        seen: list[Change] = []
        while len(seen) < 50:
            some = await cursor.next()
            assert 1 <= len(some) <= 8
            seen += some
        change = await create(store, "new")
        assert cursor.take() == [change]
        assert [change.revision for change in seen] == list(range(1, 51))


async def test_list_then_watch_from_its_revision_misses_nothing_and_repeats_nothing(database: str) -> None:
    # ark#2680: objects came again as ADDED to a watch that began at the revision of its own list.
    async with open_store(database, TINY) as store:
        done = anyio.Event()
        states: list[dict[Key, Record]] = []

        async def inform() -> None:
            snapshot = store.list(PROBES)
            state = {record.key: record for record in snapshot.records}
            seen: list[Change] = []
            await follow(store, seen, snapshot.revision, done)
            for change in seen:
                assert change.previous == state.get(change.record.key)
                state[change.record.key] = change.record
                if change.op is Op.DELETED:
                    del state[change.record.key]
            states.append(state)

        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as writers:
                for seed in range(WRITERS):
                    writers.start_soon(write_at_random, store, seed)
                for _ in range(10):
                    tasks.start_soon(inform)
                    for _ in range(random.Random(1).randrange(10)):
                        await anyio.lowlevel.checkpoint()
            done.set()
        assert states == [{record.key: record for record in store.list(PROBES).records}] * 10


@pytest.mark.parametrize("options", [Options(), TINY], ids=["from the window", "from the log"])
async def test_a_list_of_the_past_is_what_the_list_was_then(database: str, options: Options) -> None:
    async with open_store(database, options) as store:
        past: dict[int, tuple[Sequence[Record], Sequence[Record]]] = {}

        def note(_changes: Sequence[Change]) -> None:
            past[store.revision] = (store.list(PROBES).records, store.list(PROBES, "shop").records)

        store.subscribe(PROBES, note)
        async with anyio.create_task_group() as writers:
            for seed in range(WRITERS):
                writers.start_soon(write_at_random, store, seed)
        assert len(past) > 30
        for revision, (everywhere, shop) in past.items():
            assert await store.list_at(revision, PROBES) == (revision, everywhere)
            assert await store.list_at(revision, PROBES, "shop") == (revision, shop)


async def test_the_recent_changes_are_bounded_by_bytes_too(database: str) -> None:
    async with open_store(database, Options(window=Options().window._replace(size=100_000))) as store:
        cursor = store.watch(PROBES, 0)
        for n in range(30):
            await update(store, key("big"), f"{n}" + "x" * 10_000)
        count, size = store.stats().windows[PROBES]
        assert 0 < count < 11
        assert 0 < size <= 100_000
        seen: list[Change] = []
        while len(seen) < 30:
            seen += await cursor.next()
        assert [change.revision for change in seen] == list(range(1, 31))


async def test_a_day_of_lease_renewals_leaves_a_bounded_log(database: str) -> None:
    # k3s#10619: history tables of 25 million rows.
    now, leases, period, kept = [0.0], 10, 120.0, 3600.0
    most = 0
    async with open_store(database, Options(clock=lambda: now[0])) as store:
        while now[0] < 86_400:
            now[0] += period
            await together(*(partial(update, store, key(f"{n}", resource=LEASES), f"{now[0]}") for n in range(leases)))
            if now[0] % 600 == 0:
                most = max(most, store.revision - store.horizon)
                await store.compact(now[0], max_age=kept, max_count=1_000_000)
        assert store.revision == leases * 86_400 / period
        assert most <= leases * (kept + 600) / period
        oldest = store.watch(LEASES, store.horizon)
        assert oldest.revision == store.horizon
        assert len((await store.list_at(store.horizon, LEASES)).records) == leases


async def test_compaction_lets_writers_in_between_its_steps(database: str) -> None:
    async with open_store(database, Options(step=10)) as store:
        for n in range(10):
            await together(*(partial(update, store, key(f"{n}"), f"{n}") for n in range(20)))
        order: list[str] = []

        async def compact() -> None:
            await store.compact(0, max_age=1e12, max_count=0)
            order.append("compacted")

        async def write() -> None:
            for n in range(5):
                await update(store, key("busy"), f"{n}")
                order.append("written")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(compact)
            tasks.start_soon(write)
        assert order.index("compacted") >= 4


async def test_the_compactor_asks_nothing_while_nothing_can_be_due(database: str) -> None:
    now, turns = [0.0], anyio.Semaphore(0)
    idle = anyio.Event()

    async def sleep(seconds: float) -> None:
        idle.set()
        await turns.acquire()
        now[0] += seconds

    async with open_store(database, Options(clock=lambda: now[0])) as store:

        async def turn() -> int:
            nonlocal idle
            before = store.stats().statements
            idle = anyio.Event()
            turns.release()
            await idle.wait()
            return store.stats().statements - before

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(store.compactor, interval=60, max_age=300, max_count=1000, sleep=sleep))
            await anyio.wait_all_tasks_blocked()
            assert await turn() == 0, "there is no history"
            await create(store, "a")
            assert await turn() > 0, "it learns how old the oldest change is"
            assert [await turn() for _ in range(3)] == [0, 0, 0]
            assert await turn() > 0, "its time has come"
            assert store.horizon == 1
            assert [await turn() for _ in range(20)] == [0] * 20
            tasks.cancel_scope.cancel()


async def test_removed_objects_are_gone_and_their_name_can_be_used_again(store: SqlStore) -> None:
    first = await create(store, "home", "first")
    await remove(store, key("home"))
    second = await create(store, "home", "second")
    assert (first.revision, second.revision) == (1, 3)
    assert [record.desired for record in (await store.list_at(1, PROBES)).records] == [b"first"]
    assert (await store.list_at(2, PROBES)).records == []
