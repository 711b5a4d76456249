"""The promises of `storage.store`, one by one, on both backends."""

from __future__ import annotations

from functools import partial

import anyio
import msgspec
import pytest

from storage.opening import open_store
from storage.sql import Options, SqlStore
from storage.store import Change, Closed, Conflict, Expired, Guard, Key, Op, Put, Remove, State, Unavailable
from tests.storage.conftest import Statements
from tests.storage.tools import LEASES, PROBES, create, key, plain, put, remove, revision_of, together, update

pytestmark = pytest.mark.anyio


async def test_own_writes_are_seen_by_get_list_and_cursor_as_soon_as_commit_returns(store: SqlStore) -> None:
    cursor = store.watch(PROBES, 0)
    change = await create(store, "home", '{"a":1}')
    assert (change.revision, change.op, change.previous) == (1, Op.ADDED, None)
    assert store.get(key("home")) == change.record
    assert store.list(PROBES) == (1, [change.record])
    assert cursor.take() == [change]


async def test_a_change_carries_the_object_after_it_and_before_it(store: SqlStore) -> None:
    added = await create(store, "home", '{"a":1}')
    modified = await update(store, key("home"), '{"a":2}', '{"ready":true}')
    assert (modified.op, modified.record.desired, modified.record.status) == (Op.MODIFIED, b'{"a":2}', b'{"ready":true}')
    assert modified.previous == added.record


async def test_a_deletion_carries_the_last_state_and_the_revision_of_the_deletion(store: SqlStore) -> None:
    added = await create(store, "home", '{"a":1}')
    deleted = await remove(store, key("home"))
    assert (deleted.op, deleted.revision, deleted.record.revision) == (Op.DELETED, 2, 2)
    assert (deleted.record.desired, deleted.record.uid) == (b'{"a":1}', added.record.uid)
    assert deleted.previous == added.record
    assert store.get(key("home")) is None
    assert store.list(PROBES) == (2, [])


async def test_of_many_writers_with_the_same_revision_exactly_one_wins(store: SqlStore) -> None:
    first = await create(store, "home")
    writes = [put(key("home"), f'{{"writer":{n}}}', expect=first.revision) for n in range(50)]
    results = await together(*(partial(store.commit, write) for write in writes))
    won = [n for n, result in enumerate(results) if isinstance(result, Change)]
    lost = [result for result in results if isinstance(result, Conflict)]
    assert (len(won), len(lost)) == (1, 49)
    assert {(conflict.key, conflict.found) for conflict in lost} == {(key("home"), 2)}
    record = store.get(key("home"))
    assert record is not None
    assert record.desired == writes[won[0]].desired


async def test_a_creation_of_what_exists_and_a_removal_of_what_does_not_are_conflicts(store: SqlStore) -> None:
    await create(store, "home")
    with pytest.raises(Conflict) as there:
        await create(store, "home")
    with pytest.raises(Conflict) as gone:
        await store.commit(Remove(key("other"), 7))
    with pytest.raises(Conflict) as update_of_nothing:
        await store.commit(put(key("other"), expect=7))
    assert (there.value.found, gone.value.found, update_of_nothing.value.found) == (1, 0, 0)


async def test_one_conflict_in_a_batch_fails_one_write_and_not_its_neighbours(store: SqlStore) -> None:
    # Grafana's revision manager failed the whole batch.
    await create(store, "there")
    writes: list[Put | Remove] = [put(key("a")), put(key("there")), put(key("b")), Remove(key("c"), 5), put(key("d"))]
    results = await together(*(partial(store.commit, write) for write in writes))
    assert store.stats().recent_batches[-1] == 5, "they went down together"
    assert [type(result) for result in results] == [Change, Conflict, Change, Conflict, Change]
    assert [result.revision for result in results if isinstance(result, Change)] == [2, 3, 4], "refused writes take no revision"
    assert [record.key.name for record in store.list(PROBES).records] == ["a", "b", "d", "there"]


async def test_several_writes_of_one_object_in_one_batch_are_decided_in_order(store: SqlStore) -> None:
    at = key("home")
    writes: list[Put | Remove] = [
        put(at, "1"),
        put(at, "2", expect=1),
        put(at, "no", expect=1),
        Remove(at, 2),
        put(at, "4"),
        put(key("away")),
    ]
    results = await together(*(partial(store.commit, write) for write in writes))
    assert store.stats().recent_batches[-1] == 6
    assert [type(result) for result in results] == [Change, Change, Conflict, Change, Change, Change]
    record = store.get(at)
    assert record is not None
    assert (record.revision, record.desired) == (4, b"4")
    assert [change.op.value for change in store.watch(PROBES, 0).take()] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "ADDED"]


async def test_a_write_is_refused_when_the_object_it_requires_has_moved_on(store: SqlStore) -> None:
    namespace = Key("namespaces", "", "shop")
    made = await store.commit(put(namespace))
    accepted = await store.commit(put(key("a"), require=(namespace, made.revision)))
    await update(store, namespace, '{"phase":"Terminating"}')
    with pytest.raises(Conflict) as refused:
        await store.commit(put(key("b"), require=(namespace, made.revision)))
    assert accepted.op is Op.ADDED
    assert (refused.value.key, refused.value.found) == (namespace, 3)
    assert store.get(key("b")) is None


async def test_a_required_object_that_moves_on_in_the_same_batch_counts(store: SqlStore) -> None:
    namespace = Key("namespaces", "", "shop")
    made = await store.commit(put(namespace))
    writes: list[Put | Remove] = [
        put(key("before"), require=(namespace, made.revision)),
        Remove(namespace, made.revision),
        put(key("after"), require=(namespace, made.revision)),
    ]
    results = await together(*(partial(store.commit, write) for write in writes))
    assert [type(result) for result in results] == [Change, Change, Conflict]


async def test_a_write_behind_a_fence_that_has_moved_is_refused_be_it_a_deletion(store: SqlStore) -> None:
    lease = key("l", "kube-system", LEASES)
    held = (await store.commit(put(lease))).revision
    made = await store.commit(msgspec.structs.replace(put(key("a")), fence=(lease, held)))
    await update(store, lease, '{"renewed":true}')
    for write in (
        msgspec.structs.replace(put(key("a"), '{"late":true}', expect=made.revision), fence=(lease, held)),
        Remove(key("a"), made.revision, fence=(lease, held)),
    ):
        with pytest.raises(Conflict) as refused:
            await store.commit(write)
        assert (refused.value.key, refused.value.found) == (lease, revision_of(store, lease))
    await store.commit(Remove(key("a"), made.revision, fence=(lease, revision_of(store, lease))))


class Full(Exception):
    """There are as many as there may be."""


def at_most(most: int) -> Guard:
    def guard(at: Key, state: State) -> Exception | None:
        assert state.count(at.resource, at.namespace) == len(state.list(at.resource, at.namespace))
        return Full(at.name) if state.count(at.resource, at.namespace) >= most else None

    return guard


def guarded(name: str, most: int, namespace: str = "shop") -> Put:
    return msgspec.structs.replace(put(key(name, namespace)), guard=at_most(most))


async def test_a_guard_counts_what_is_there_in_the_transaction_and_what_the_batch_adds_and_takes(store: SqlStore) -> None:
    made = await create(store, "old")
    writes: list[Put | Remove] = [
        guarded("a", 2),
        guarded("b", 2),
        guarded("elsewhere", 2, "other"),
        Remove(key("old"), made.revision),
        guarded("c", 2),
        guarded("d", 2),
    ]
    results = await together(*(partial(store.commit, write) for write in writes))
    assert store.stats().recent_batches[-1] == 6
    assert [type(result) for result in results] == [Change, Full, Change, Change, Change, Full]
    assert [result.revision for result in results if isinstance(result, Change)] == [2, 3, 4, 5], "refused writes take no revision"
    assert [record.key.name for record in store.list(PROBES, "shop").records] == ["a", "c"]


async def test_a_guard_sees_objects_that_the_batch_changed_as_they_are_then(store: SqlStore) -> None:
    # A quota is an object, too: one that was made, changed or deleted just before counts.
    quota = key("most", resource="quotas")

    def guard(at: Key, state: State) -> Exception | None:
        most = [int(record.desired) for record in state.list("quotas", at.namespace)]
        return Full(at.name) if most and state.count(at.resource, at.namespace) >= min(most) else None

    def child(name: str) -> Put:
        return msgspec.structs.replace(put(key(name)), guard=guard)

    writes: list[Put | Remove] = [
        child("a"),
        put(quota, "1"),
        child("b"),
        put(quota, "2", expect=2),
        child("c"),
        child("d"),
        Remove(quota, 3),
        child("e"),
    ]
    results = await together(*(partial(store.commit, write) for write in writes))
    assert store.stats().recent_batches[-1] == 8
    assert [isinstance(result, Change) for result in results] == [True, True, False, True, True, False, True, True]


async def test_many_guarded_writes_make_as_many_as_there_may_be_in_as_few_statements_as_any(
    store: SqlStore, statements: Statements
) -> None:
    statements.clear()
    results = await together(*(partial(store.commit, guarded(f"p{n}", 7)) for n in range(100)))
    assert sum(isinstance(result, Change) for result in results) == 7
    assert sum(isinstance(result, Full) for result in results) == 93
    assert (store.stats().batches, len(statements)) == (1, 3)


async def test_a_list_is_ordered_by_namespace_and_name_and_does_not_change_afterwards(store: SqlStore) -> None:
    for namespace, name in [
        ("shop", "b"),
        ("bank", "z"),
        ("shop", "a"),
        ("shop-2", "a"),
        ("bank", "é"),
        ("shop", "a.b"),
        ("shop", "a-b"),
    ]:
        await create(store, name, namespace=namespace)
    before = store.list(PROBES)
    names = [(record.key.namespace, record.key.name) for record in before.records]
    assert names == sorted(names)
    assert [record.key.name for record in store.list(PROBES, "shop").records] == ["a", "a-b", "a.b", "b"]
    await remove(store, key("a"))
    await create(store, "c")
    assert [(record.key.namespace, record.key.name) for record in before.records] == names
    assert store.list("nothing.example").records == []
    assert store.list(PROBES, "nowhere").records == []


async def test_reached_waits_for_a_revision_and_gives_up_in_time(store: SqlStore) -> None:
    seen: list[bool] = []

    async def wait() -> None:
        seen.append(await store.reached(2, 30))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await create(store, "a")
        assert seen == []
        await create(store, "b")
    assert seen == [True]
    assert await store.reached(2, 0)
    assert not await store.reached(3, 0)


async def test_synced_and_check_answer_when_the_database_is_there(store: SqlStore) -> None:
    await create(store, "a")
    assert await store.synced() == 1
    await store.check()
    assert store.revision == 1


async def test_many_who_ask_for_the_newest_revision_at_once_share_a_query(store: SqlStore, statements: Statements) -> None:
    await create(store, "a")
    statements.clear()
    assert await together(*([store.synced] * 100)) == [1] * 100
    assert len(statements) <= 4


async def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(store: SqlStore, statements: Statements) -> None:
    async def cost(size: int) -> int:
        statements.clear()
        await together(*(partial(create, store, f"{size}-{n}") for n in range(size)))
        await together(*(partial(update, store, key(f"{size}-{n}"), "new") for n in range(size)))
        await together(*(partial(remove, store, key(f"{size}-{n}")) for n in range(size)))
        assert store.stats().recent_batches[-3:] == (size, size, size)
        return len(statements)

    assert await cost(1) == await cost(2) == await cost(100) == 3 * 3


async def test_a_write_with_a_thousand_cursors_costs_as_many_statements_as_with_none(
    store: SqlStore, statements: Statements
) -> None:
    # ark#2683: every watcher read SQL again on each write.
    await create(store, "alone")
    alone = len(statements)
    seen: list[Change] = []

    async def follow() -> None:
        seen.extend(await store.watch(PROBES, 1).next())

    statements.clear()
    async with anyio.create_task_group() as tasks:
        for _ in range(1000):
            tasks.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        await create(store, "watched")
    assert len(statements) == alone
    assert len(seen) == 1000
    assert len({id(change) for change in seen}) == 1, "all see the same value, with what others derived from it"


async def test_a_batch_of_refused_writes_alone_writes_nothing(store: SqlStore, statements: Statements) -> None:
    await create(store, "a")
    statements.clear()
    with pytest.raises(Conflict):
        await create(store, "a")
    assert [statement.split()[0] for statement in statements] == ["SELECT"]


async def test_a_write_that_the_database_cannot_hold_is_refused_and_its_neighbours_are_not(store: SqlStore) -> None:
    names = ["before", "half of a pair \ud800", "after"]
    results = await together(*(partial(create, store, name) for name in names))
    assert store.revision == 2
    assert [type(result) for result in results] == [Change, Unavailable, Change]
    assert [record.key.name for record in store.list(PROBES).records] == ["after", "before"]
    assert [change.revision for change in store.watch(PROBES, 0).take()] == [1, 2]


async def test_a_caller_that_is_cancelled_leaves_its_write_to_the_batch_and_its_neighbours_unharmed(store: SqlStore) -> None:
    cursor = store.watch(PROBES, 0)
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(partial(create, store, "neighbour"))
            scope.cancel()
            await create(store, "cancelled")
    await create(store, "later")
    names = [change.record.key.name for change in cursor.take()]
    assert sorted(names) == ["cancelled", "later", "neighbour"]
    assert {record.key.name for record in store.list(PROBES).records} == set(names)
    assert store.revision == 3


async def test_cancelling_callers_at_any_moment_never_parts_commit_from_publication(store: SqlStore) -> None:
    async def one(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            await create(store, name)

    for round_ in range(20):
        scopes = [anyio.CancelScope() for _ in range(5)]
        async with anyio.create_task_group() as tasks:
            for n, scope in enumerate(scopes):
                tasks.start_soon(one, f"{round_}-{n}", scope)
            for _ in range(round_ % 5):
                await anyio.lowlevel.checkpoint()
            for scope in scopes[: 1 + round_ % 4]:
                scope.cancel()
    last = await create(store, "last")
    seen = [change.revision for change in store.watch(PROBES, 0).take()]
    assert seen == list(range(1, last.revision + 1))
    assert len(store.list(PROBES).records) == last.revision


async def test_a_store_that_closes_commits_what_is_pending_then_ends_cursors_and_takes_no_more(database: str) -> None:
    ended: list[str] = []
    results: list[object] = []

    async def follow(store: SqlStore) -> None:
        cursor = store.watch(PROBES, 0)
        while len(ended) < 20:
            ended.extend(change.record.key.name for change in await cursor.next())
        with pytest.raises(Closed):
            await cursor.next()

    async def write(store: SqlStore) -> None:
        results.extend(await together(*(partial(create, store, f"{n}") for n in range(20))))

    async with anyio.create_task_group() as tasks, open_store(database) as store:
        tasks.start_soon(follow, store)
        tasks.start_soon(write, store)
        await anyio.wait_all_tasks_blocked()
    assert [type(result) for result in results] == [Change] * 20
    assert len(ended) == 20
    with pytest.raises(Closed):
        await create(store, "late")
    with pytest.raises(Closed):
        store.watch(PROBES, 20)
    async with open_store(database) as again:
        assert len(again.list(PROBES).records) == 20


async def test_watches_can_be_ended_before_writes_are(store: SqlStore) -> None:
    cursor = store.watch(PROBES, 0)
    heard: list[int] = []
    store.subscribe(PROBES, lambda changes: heard.append(len(changes)))
    store.end_watches()
    store.end_watches()
    with pytest.raises(Closed):
        await cursor.next()
    assert (await create(store, "a")).revision == 1
    assert heard[0] == 0, "a subscriber is told the end by an empty sequence"


async def test_subscribers_hear_of_changes_in_the_step_that_publishes_them_until_they_leave(store: SqlStore) -> None:
    heard: list[tuple[int, bool]] = []
    leave = store.subscribe(
        PROBES, lambda changes: heard.extend((c.revision, store.get(c.record.key) == c.record) for c in changes)
    )
    await create(store, "a")
    await create(store, "other", resource=LEASES)
    await create(store, "b")
    leave()
    leave()
    await create(store, "c")
    assert heard == [(1, True), (3, True)]


async def test_a_restarted_store_has_the_same_objects_revision_and_recent_changes(database: str) -> None:
    async with open_store(database) as store:
        await create(store, "a", '{"a":1}')
        await create(store, "b")
        await update(store, key("a"), '{"a":1}', '{"ready":true}')
        await update(store, key("a"), '{"a":2}', '{"ready":true}')
        await remove(store, key("b"))
        await create(store, "b", "new")
        before = [plain(change) for change in store.watch(PROBES, 0).take()]
        objects, revision = store.list(PROBES), store.revision
    async with open_store(database) as store:
        assert store.revision == revision
        assert store.list(PROBES) == objects
        assert [plain(change) for change in store.watch(PROBES, 0).take()] == before
        assert [change.revision for change in store.watch(PROBES, 4).take()] == [5, 6]
        assert (await create(store, "c")).revision == revision + 1


async def test_a_restarted_store_with_a_small_window_reads_the_rest_from_the_log(database: str) -> None:
    async with open_store(database) as store:
        for n in range(30):
            await update(store, key(f"{n % 3}"), f"{n}")
        before = [plain(change) for change in store.watch(PROBES, 0).take()]
    async with open_store(database, Options(window=Options().window._replace(changes=8), page=5)) as store:
        cursor = store.watch(PROBES, 0)
        seen: list[object] = []
        assert cursor.take() == ()
        while len(seen) < 30:
            seen += [plain(change) for change in await cursor.next()]
    assert seen == before


async def test_history_that_was_compacted_is_expired_and_what_is_left_can_be_read(store: SqlStore) -> None:
    for n in range(10):
        await update(store, key("home"), f"{n}")
    assert await store.compact(0, max_age=1e12, max_count=4) == 6
    assert store.horizon == 6
    with pytest.raises(Expired) as expired:
        store.watch(PROBES, 5)
    with pytest.raises(Expired):
        await store.list_at(5, PROBES)
    assert (expired.value.revision, expired.value.horizon) == (5, 6)
    assert [change.revision for change in store.watch(PROBES, 6).take()] == [7, 8, 9, 10]
    assert [record.desired for record in (await store.list_at(6, PROBES)).records] == [b"5"]
    record = store.get(key("home"))
    assert record is not None
    assert record.desired == b"9", "compaction forgets history, never objects"


async def test_a_list_at_a_revision_of_the_future_is_an_error_of_the_caller(store: SqlStore) -> None:
    with pytest.raises(ValueError, match="future"):
        await store.list_at(1, PROBES)


async def test_an_unknown_object_is_absent(store: SqlStore) -> None:
    assert store.get(key("nobody")) is None
    assert revision_of(store, key("nobody")) == 0
