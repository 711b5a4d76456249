"""The core of the store without an event loop: decisions, transactions, cache and window, each against a plain model."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Connection

from storage import history, tables, transaction
from storage.cache import Cache
from storage.decide import decide, undo
from storage.engine import Engines, connect
from storage.store import Change, Conflict, Head, Key, Op, Put, Record, Remove, Write
from storage.store import State as StoreState
from storage.window import Window, weight
from tests.storage.tools import plain

NAMES = st.sampled_from(["a", "b", "c"])
KEYS = st.builds(Key, st.sampled_from(["probes", "leases"]), st.sampled_from(["", "shop"]), NAMES)
BODIES = st.sampled_from([b"", b"1", b"2", b'{"x":"\xc3\xa9\x00"}'])


Intent = tuple[Key, str, bytes, bytes, bool, bool]
"""What to do, two bodies, whether the caller knows the newest revision, and whether there may be no more than `MOST` objects."""
MOST = 2
T = TypeVar("T")
KEY = "resource = '' AND namespace = '' AND name = ''"
INTENTS = st.lists(
    st.tuples(KEYS, st.sampled_from(["put", "put", "remove"]), BODIES, BODIES, st.booleans(), st.booleans()), min_size=1, max_size=6
)
State = dict[Key, Record]


class Full(Exception):
    """There are too many already: `names`."""

    def __init__(self, count: int, names: list[str]) -> None:
        super().__init__(count, names)


def limited(key: Key, state: StoreState) -> Exception | None:
    """Refuses what is more than `MOST`, counted in the state that the write meets."""
    count = state.count(key.resource, key.namespace)
    return Full(count, [record.key.name for record in state.list(key.resource, key.namespace)]) if count >= MOST else None


def cached(state: State) -> Cache:
    cache = Cache()
    for record in state.values():
        cache.put(record)
    return cache


def refusal_of(result: Change | Exception) -> object:
    """A refusal, so that two can be compared."""
    if isinstance(result, Change):
        return None
    return result.found if isinstance(result, Conflict) else (type(result), result.args)


def writes_of(intents: list[Intent], state: State) -> list[Write]:
    writes: list[Write] = []
    for key, verb, desired, status, knows, bounded in intents:
        found = state[key].revision if key in state else 0
        expect = found if knows else found + 1
        if verb == "remove" and expect:
            writes.append(Remove(key, expect))
        else:
            writes.append(Put(key, "u-" + key.name, "v1", desired, status, expect, guard=limited if bounded else None))
    return writes


class Model:
    """What the store should hold after each revision, by copying everything each time."""

    def __init__(self) -> None:
        self.states: list[State] = [{}]
        self.changes: list[tuple[int, str, Record, Record | None]] = []

    @property
    def now(self) -> State:
        return self.states[-1]

    def write(self, write: Write) -> object:
        """Does it; returns the revision that was found if it is a conflict, the refusal if there are too many."""
        previous = self.now.get(write.key)
        found = previous.revision if previous is not None else 0
        if found != write.expect:
            return found
        if isinstance(write, Put) and write.guard is not None:
            names = sorted(key.name for key in self.now if key[:2] == write.key[:2])
            if len(names) >= MOST:
                return Full, (len(names), names)
        revision, state = len(self.states), dict(self.now)
        if isinstance(write, Put):
            state[write.key] = record = Record(write.key, write.uid, revision, write.api_version, write.desired, write.status)
            op = Op.MODIFIED if previous is not None else Op.ADDED
        else:
            assert previous is not None
            del state[write.key]
            record = Record(previous.key, previous.uid, revision, previous.api_version, previous.desired, previous.status)
            op = Op.DELETED
        self.changes.append((revision, op.value, record, previous))
        self.states.append(state)
        return None


class Core(RuleBasedStateMachine):
    """Batches of writes by two processes that share a database, compaction, and every way to read."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.horizon = 0
        self.engines: Engines = connect("sqlite://")
        self.caches: list[tuple[Cache, int]] = []

    @initialize()
    def start(self) -> None:
        transaction.write(self.engines.write, tables.create)
        self.caches = [(Cache(), 0), (Cache(chunk=1), 0)]

    @rule(intents=INTENTS, process=st.integers(0, 1))
    def write(self, intents: list[Intent], process: int) -> None:
        writes = writes_of(intents, self.model.now)
        cache, seen = self.caches[process]
        known = (
            [plain(change) for change in self.read(lambda c: history.page(c, None, seen, 10_000, 10_000))]
            if seen >= self.horizon
            else []
        )
        try:
            outcome = transaction.write(
                self.engines.write, lambda connection: transaction.commit_batch(connection, writes, Head(seen, 0), cache, 5.0)
            )
        except transaction.Behind:
            assert seen < self.horizon
            self.reload(process)
            self.write(intents, process)
            return
        assert [plain(change) for change in outcome.missed] == known
        expected = [self.model.write(write) for write in writes]
        assert [refusal_of(result) for result in outcome.plan.results] == expected
        for change in [*outcome.missed, *outcome.plan.changes]:
            cache.apply(change)
        self.caches[process] = (cache, outcome.head.revision)

    @rule(process=st.integers(0, 1))
    def reload(self, process: int) -> None:
        cache = Cache()
        loaded = self.read(lambda connection: transaction.load(connection, cache.put, cache.get, count=5, size=10**6))
        assert [plain(change) for change in loaded.changes] == self.model.changes[loaded.start : loaded.head.revision]
        assert len(loaded.changes) == min(5, loaded.head.revision - self.horizon)
        self.caches[process] = (cache, loaded.head.revision)

    @rule(keep=st.integers(0, 20), step=st.integers(1, 5))
    def compact(self, keep: int, step: int) -> None:
        head, count = transaction.write(self.engines.write, lambda c: transaction.compact_step(c, 0.0, keep, step))
        newest = len(self.model.changes)
        assert count == min(step, max(newest - keep - self.horizon, 0))
        self.horizon += count
        assert head == (newest, self.horizon)

    @rule(
        after=st.integers(0, 60),
        length=st.integers(0, 60),
        limit=st.integers(1, 9),
        resource=st.sampled_from([None, "probes", "leases"]),
    )
    def read_a_page(self, after: int, length: int, limit: int, resource: str | None) -> None:
        newest = len(self.model.changes)
        after = min(max(after, self.horizon), newest)
        until = min(after + length, newest)
        page = self.read(lambda connection: history.page(connection, resource, after, until, limit))
        expected = [change for change in self.model.changes[after:until] if resource in (None, change[2].key.resource)]
        assert [plain(change) for change in page] == expected[:limit]

    @rule(revision=st.integers(0, 60), namespace=st.sampled_from([None, "", "shop"]))
    def list_the_past(self, revision: int, namespace: str | None) -> None:
        revision = min(max(revision, self.horizon), len(self.model.changes))
        records = self.read(lambda connection: history.objects_at(connection, revision, "probes", namespace))
        state = self.model.states[revision]
        assert records == [state[key] for key in sorted(state) if key.resource == "probes" and namespace in (None, key.namespace)]

    @invariant()
    def the_objects_are_the_model(self) -> None:
        if self.caches:
            assert list(self.read(lambda connection: list(history.objects(connection)))) == [
                self.model.now[key] for key in sorted(self.model.now)
            ]

    def read(self, work: Callable[[Connection], T]) -> T:
        return transaction.read(self.engines.read, work)

    def teardown(self) -> None:
        self.engines.dispose()


Core.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestCore = Core.TestCase


@given(batches=st.lists(INTENTS, max_size=6))
def test_decisions_agree_with_the_model_and_their_sum_is_the_next_state(batches: list[list[Intent]]) -> None:
    model, state = Model(), dict[Key, Record]()
    for intents in batches:
        writes = writes_of(intents, model.now)
        revision = len(model.changes)
        plan = decide(writes, cached(state), revision)
        expected = [model.write(write) for write in writes]
        assert [refusal_of(result) for result in plan.results] == expected
        assert [plain(change) for change in plan.changes] == model.changes[revision:]
        assert not {record.key for record in plan.upserts} & set(plan.removes)
        state |= {record.key: record for record in plan.upserts}
        for key in plan.removes:
            del state[key]
        assert state == model.now
        undone = dict(state)
        undo(undone, reversed(plan.changes))
        assert undone == model.states[revision]


def test_what_a_write_leaves_as_it_was_is_kept_once() -> None:
    before = Record(Key("probes", "shop", "a"), "u", 1, "v1", b"desired", b"old")
    write = Put(Key("probes", "shop", "a"), "u", "v1", bytes(bytearray(b"desired")), b"new", 1)
    plan = decide([write], cached({before.key: before}), 1)
    assert plan.changes[0].record.desired is before.desired
    assert plan.changes[0].record.key is before.key


class CacheMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache()
        self.model: State = {}
        self.revision = 0

    @rule(key=KEYS, desired=BODIES)
    def put(self, key: Key, desired: bytes) -> None:
        self.revision += 1
        self.model[key] = Record(key, "u", self.revision, "v1", desired, b"")
        self.cache.put(self.model[key])

    @rule(key=KEYS)
    def remove(self, key: Key) -> None:
        if key in self.model:
            del self.model[key]
            self.cache.remove(key)

    @invariant()
    def reads_agree(self) -> None:
        for resource in ("probes", "leases", "none"):
            for namespace in (None, "", "shop"):
                keys = sorted(key for key in self.model if key.resource == resource and namespace in (None, key.namespace))
                assert self.cache.list(resource, namespace) == [self.model[key] for key in keys]
        counts = {name: count for name, count in self.cache.counts().items() if count}
        assert sum(counts.values()) == len(self.model)
        assert all(self.cache.get(key) is record for key, record in self.model.items())


TestCache = CacheMachine.TestCase


@given(
    gaps=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 200)), max_size=60),
    count=st.integers(1, 20),
    size=st.integers(400, 5000),
    limit=st.integers(1, 30),
)
def test_a_window_has_all_that_came_after_its_start_and_keeps_its_bounds(
    gaps: list[tuple[int, int]], count: int, size: int, limit: int
) -> None:
    window, changes, revision = Window(5, max_count=count, max_bytes=size), list[Change](), 5
    for gap, length in gaps:
        revision += gap
        record = Record(Key("probes", "", "a"), "u", revision, "v1", b"x" * length, b"")
        changes.append(Change(revision, Op.ADDED, record, None))
        window.append(changes[-1])
        assert len(window) <= count
        assert window.bytes <= size
        kept = [change for change in changes if change.revision > window.start]
        assert len(window) == len(kept)
        assert window.bytes == sum(weight(change) for change in kept)
        revisions = [change.revision for change in kept]
        for after in range(window.start - 2, revision + 2):
            expected = kept[bisect.bisect_right(revisions, after) :] if after >= window.start else None
            assert window.after(after, limit) == (expected[:limit] if expected is not None else None)
            assert window.back_to(after) == (expected[::-1] if expected is not None else None)


@contextmanager
def connected() -> Iterator[Connection]:
    engines = connect("sqlite://")
    transaction.write(engines.write, tables.create)
    with engines.write.connect() as connection:
        yield connection
    engines.dispose()


def commit(connection: Connection, cache: Cache, writes: list[Write], now: float) -> None:
    seen = transaction.head_of(connection).revision
    for change in transaction.commit_batch(connection, writes, Head(seen, 0), cache, now).plan.changes:
        cache.apply(change)


def test_a_status_write_logs_the_old_status_alone_and_an_addition_logs_no_body() -> None:
    with connected() as connection:
        cache, key = Cache(), Key("probes", "shop", "a")
        commit(connection, cache, [Put(key, "u", "v1", b"big", b"", 0)], 1.0)
        commit(connection, cache, [Put(key, "u", "v1", b"big", b"ready", 1)], 1.0)
        commit(connection, cache, [Put(key, "u", "v1", b"bigger", b"ready", 2)], 1.0)
        commit(connection, cache, [Put(key, "u", "v1", b"bigger", b"ready", 3)], 1.0)
        commit(connection, cache, [Remove(key, 4)], 1.0)
        rows = connection.exec_driver_sql("SELECT desired, status FROM log ORDER BY revision").all()
        assert [tuple(row) for row in rows] == [(None, None), (None, b""), (b"big", None), (b"bigger", None), (b"bigger", b"ready")]


@pytest.mark.parametrize("times", [[10.0, 20.0, 30.0], [20.0, 10.0, 30.0]], ids=["in order", "the clock was set back"])
def test_age_compaction_stops_at_the_first_change_that_is_young(times: list[float]) -> None:
    with connected() as connection:
        cache = Cache()
        for n, time in enumerate(times):
            commit(connection, cache, [Put(Key("probes", "", f"{n}"), "u", "v1", b"", b"", 0)], time)
        head, count = transaction.compact_step(connection, 15.0, 1000, 256)
        expected = 1 if times[0] <= 15.0 else 0
        assert (count, head.horizon) == (expected, expected)


names = st.text("abc", min_size=1, max_size=4)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["", "a", "b"]), names), max_size=60), st.integers(1, 3))
def test_a_cache_lists_what_is_in_it_in_order_however_it_is_cut_into_chunks(steps: list[tuple[bool, str, str]], chunk: int) -> None:
    cache = Cache(chunk)
    model: dict[Key, Record] = {}
    for revision, (put, namespace, name) in enumerate(steps, 1):
        key = Key("probes", namespace, name)
        if put:
            model[key] = Record(key, "u", revision, "v1", b"", b"")
            cache.put(model[key])
        elif model.pop(key, None) is not None:
            cache.remove(key)
        assert cache.list("probes") == [model[key] for key in sorted(model)]
        assert cache.list("probes", "a") == [model[key] for key in sorted(model) if key.namespace == "a"]
        assert cache.get(key) is model.get(key)
        assert cache.populated("a") == any(key.namespace == "a" for key in model)
        assert cache.counts().get("probes", 0) == len(model)


@pytest.mark.parametrize("resource", ["probes", None])
def test_the_log_is_read_by_index(resource: str | None) -> None:
    with connected() as connection:
        where = "resource = 'probes' AND revision > 1" if resource else "revision > 1"
        plans = [
            f"SELECT * FROM log WHERE {where} ORDER BY revision",
            f"SELECT min(revision) FROM log WHERE {KEY} AND revision > 1 AND status IS NOT NULL",
            "SELECT * FROM objects WHERE (resource, namespace, name) IN (VALUES ('a', 'b', 'c'))",
        ]
        for plan in plans:
            steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {plan}")]
            assert not [step for step in steps if step.startswith("SCAN") and "SUBQUERY" not in step and "CONSTANT" not in step], (
                steps
            )
