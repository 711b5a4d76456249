"""Stored objects are brought into the version that is stored: nobody sees a difference, and nobody's write is lost."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.authentication import AuthenticatorChain
from admission.identity import ADMIN, Identity, authenticated
from admission.tokens import TokenTable
from apiserver.cli import main
from apiserver.cli_registry_migrate import DEFINITIONS, Pace, named, run
from apiserver.config import StartError
from apiserver.migrating import Migrator, Step, rewritten
from apiserver.reaching import Refused
from apiserver.stored import as_it_is, document_of
from registry.errors import ApiError, ConflictError, NotFound
from registry.views import ASIDE
from storage.store import Key, Op, Unavailable
from tests.apiserver.served import TOKEN, Access, application, served
from tests.apiserver.test_conversion import BROKEN, FULL, VERSIONS, path, store_as, stored
from tests.apiserver.world import SOMEBODY, World, opened
from tests.plugins import gauges
from tests.plugins.gauges import GROUP

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
RESOURCE = f"gauges.{GROUP}"
OLDER = ({"url": "u", "interval": "060s", "hint": "h"}, {"url": "u", "intervalSeconds": 7, "retries": 3})


def migrator(world: World) -> Migrator:
    return Migrator(world.manager.catalog, world.store)


async def migrated(world: World, limit: int = 100, **more: Any) -> Counter[str]:
    """Goes through all gauges once."""
    tally: Counter[str] = Counter()
    after = ""
    while True:
        done = await migrator(world).step(migrator(world).kind(RESOURCE), Step(after, limit, **more))
        tally += Counter(rewritten=done.rewritten, looked=done.looked, busy=len(done.busy), failed=len(done.failed), steps=1)
        after = done.after
        if not after:
            return tally


async def seen(world: World, name: str) -> list[Document]:
    """An object in all versions, without its resourceVersion."""
    found = [await world.get(path(version, name)) for version in VERSIONS]
    for each in found:
        del each["metadata"]["resourceVersion"]
    return found


async def test_every_object_is_stored_anew_and_is_the_same_in_every_version() -> None:
    async with opened(gauges.plugin()) as world:
        await store_as(world, "v1alpha1", "a", OLDER[0])
        await store_as(world, "v1beta1", "b", OLDER[1])
        await world.merge(path("v1beta1", "b/status"), {"status": {"ready": True}})
        await store_as(world, "v1beta1", "c", OLDER[1])
        await world.make(path("v1"), "d", spec=FULL)
        before = {name: await seen(world, name) for name in "abcd"}
        untouched = [stored(world, name) for name in "bd"]
        revision = world.store.revision
        told = await migrator(world).told(migrator(world).kind(RESOURCE))
        assert told["stored"] == {gauges.NEW: 2, gauges.OLD: 1, gauges.MIDDLE: 1}
        assert (await migrated(world)) == Counter(rewritten=2, looked=4, steps=1)
        assert {record.api_version for record in world.stored(RESOURCE)} == {gauges.NEW}
        assert {name: await seen(world, name) for name in "abcd"} == before
        assert [stored(world, name) for name in "bd"] == untouched
        changes = await world.store.watch(RESOURCE, revision).next()
        assert [(change.op, change.record.key.name) for change in changes] == [(Op.MODIFIED, "a"), (Op.MODIFIED, "c")]
        assert ASIDE in document_of(stored(world, "a"))["metadata"]["annotations"]
        assert (await migrated(world))["rewritten"] == 0
        assert world.store.revision == revision + 2


@settings(max_examples=10)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(VERSIONS), st.sampled_from(["interval", "status", "hint", "full", "migrate"]), st.integers(1, 99)
        ),
        max_size=6,
    ),
    st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=3),
)
async def test_whatever_was_written_reads_the_same_after_any_number_of_migrations(
    writes: list[tuple[str, str, int]], storages: list[str]
) -> None:
    async with opened(gauges.plugin(storages[0])) as world:
        await world.make(path("v1"), "g", spec=FULL)
        for version, what, value in writes:
            if what == "interval":
                field = {"interval": f"{value:03}s"} if version == "v1alpha1" else {"intervalSeconds": value}
                await world.merge(path(version, "g"), {"spec": field})
            elif what == "status":
                await world.merge(path(version, "g/status"), {"status": {"ready": bool(value % 2)}})
            elif what == "hint":
                await world.merge(path("v1alpha1", "g"), {"spec": {"hint": str(value)}})
            elif what == "full":
                await world.merge(path("v1", "g"), {"spec": {"replicas": value}})
            else:
                await _into(world, version)
        before = await seen(world, "g")
        for storage in storages:
            await _into(world, storage)
            assert stored(world, "g").api_version == f"{GROUP}/{storage}"
            assert await seen(world, "g") == before


async def _into(world: World, storage: str) -> None:
    """Another version is the one to be stored from now on, as after a new start with another plugin; all is migrated."""
    async with opened(gauges.plugin(storage)) as other:
        world.manager.catalog.registry = other.registry
    assert not (await migrated(world))["failed"]


async def test_what_cannot_be_converted_is_named_and_left_as_it_is_and_the_others_are_done() -> None:
    async with opened(gauges.plugin()) as world:
        await store_as(world, "v1alpha1", "a", OLDER[0])
        await store_as(world, "v1alpha1", "b", BROKEN)
        await store_as(world, "v1alpha1", "c", OLDER[0])
        before = stored(world, "b")
        done = await migrator(world).step(migrator(world).kind(RESOURCE), Step())
        assert done.rewritten == 2
        [(place, why)] = done.failed
        assert place == "shop/b"
        assert "converter gauges.to_seconds failed" in why
        assert "soon" not in why
        assert stored(world, "b") is before


async def test_an_object_that_would_read_otherwise_is_not_written() -> None:
    """Converters that give back something else each time they are asked are the only way to that."""
    plugin = gauges.plugin()
    count = iter(range(1, 10_000))
    plugin.converters = [each for each in plugin.converters if each.old is not gauges.GaugeAlpha]
    plugin.converts(gauges.GaugeAlpha, gauges.GaugeBeta)(
        lambda old: gauges.GaugeBeta(spec=gauges.BetaSpec(url=old.spec.url, interval_seconds=next(count)))
    )
    async with opened(plugin) as world:
        await store_as(world, "v1alpha1", "a", OLDER[0])
        before = stored(world, "a")
        done = await migrator(world).step(migrator(world).kind(RESOURCE), Step())
        assert [place for place, _ in done.failed] == ["shop/a"]
        assert "would not be the same in gauges.example/v1" in done.failed[0][1]
        assert stored(world, "a") is before


async def test_a_dry_run_writes_nothing_and_tells_what_it_would() -> None:
    async with opened(gauges.plugin()) as world:
        await store_as(world, "v1alpha1", "a", OLDER[0])
        await store_as(world, "v1alpha1", "b", BROKEN)
        revision = world.store.revision
        assert (await migrated(world, dry_run=True)) == Counter(rewritten=1, failed=1, looked=2, steps=1)
        assert world.store.revision == revision


async def test_it_goes_on_where_it_was_stopped_and_neither_misses_nor_repeats_an_object() -> None:
    async with opened(gauges.plugin()) as world:
        for at in range(23):
            await store_as(world, "v1beta1", f"g-{at:02}", OLDER[1])
        kind = migrator(world).kind(RESOURCE)
        first = await migrator(world).step(kind, Step(limit=5))
        assert (first.rewritten, first.after) == (5, "shop/g-04")
        revisions = {record.key: record.revision for record in world.stored(RESOURCE)}
        # Whoever asked is gone. Another one begins at the beginning.
        assert (await migrated(world, limit=7)) == Counter(rewritten=18, looked=23, steps=3)
        kept = [key for key, revision in revisions.items() if stored(world, key.name).revision == revision]
        assert kept == [Key(RESOURCE, "shop", f"g-{at:02}") for at in range(5)]


async def test_a_migration_that_breaks_off_in_the_middle_leaves_every_object_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(gauges.plugin()) as world:
        for at in range(40):
            await store_as(world, "v1alpha1", f"g-{at:02}", OLDER[0])
        before = {f"g-{at:02}": await seen(world, f"g-{at:02}") for at in range(40)}
        commit, left = world.store.commit, iter(range(9))

        async def failing(write: Any) -> Any:
            if next(left, None) is None:
                raise Unavailable("the disk is full")
            return await commit(write)

        monkeypatch.setattr(world.store, "commit", failing)
        with pytest.raises(ApiError) as caught:
            await migrated(world)
        assert caught.value.code in (500, 503)
        monkeypatch.undo()
        counts = Counter(record.api_version for record in world.stored(RESOURCE))
        assert counts == {gauges.NEW: 9, gauges.OLD: 31}
        assert (await migrated(world))["rewritten"] == 31
        assert {name: await seen(world, name) for name in before} == before


@pytest.mark.parametrize("seed", range(8))
async def test_writers_at_the_same_time_lose_nothing(seed: int) -> None:
    chance = random.Random(seed)
    async with opened(gauges.plugin()) as world:
        names = [f"g{at}" for at in range(6)]
        for name in names:
            await store_as(world, "v1alpha1", name, OLDER[0])
        wrote: Counter[str] = Counter()
        deleted: set[str] = set()

        async def writer(own: int, plan: list[tuple[str, str, str, int]]) -> None:
            for at, (what, name, version, pause) in enumerate(plan):
                for _ in range(pause):
                    await anyio.lowlevel.checkpoint()
                try:
                    if what == "delete":
                        await world.do("delete", path("v1", name))
                        deleted.add(name)
                    else:
                        await world.merge(path(version, name), {"metadata": {"annotations": {f"w{own}-{at}": "x"}}})
                        wrote[name] += 1
                except NotFound:
                    assert name in deleted
                except ConflictError:
                    continue

        async with anyio.create_task_group() as tasks:
            for own in range(4):
                plan = [
                    (
                        "delete" if chance.random() < 0.04 else "write",
                        chance.choice(names),
                        chance.choice(VERSIONS),
                        chance.randrange(4),
                    )
                    for _ in range(8)
                ]
                tasks.start_soon(writer, own, plan)
            tasks.start_soon(migrated, world, 2)
        await migrated(world)
        for name in names:
            if name in deleted:
                continue
            assert stored(world, name).api_version == gauges.NEW
            for version in VERSIONS:
                found = await world.get(path(version, name))
                assert sum(key.startswith("w") for key in found["metadata"].get("annotations", {})) == wrote[name]
            assert (await world.get(path("v1alpha1", name)))["spec"] == OLDER[0]


async def test_an_object_that_others_write_each_time_is_told_of() -> None:
    async with opened(gauges.plugin()) as world:
        await store_as(world, "v1beta1", "g", OLDER[1])
        commit = world.store.commit

        async def late(write: Any) -> Any:
            record = stored(world, "g")
            touched = document_of(record)
            touched["metadata"]["annotations"] = {"at": str(record.revision)}
            await commit(as_it_is(record.key, touched, expect=record.revision))
            return await commit(write)

        kind = migrator(world).kind(RESOURCE)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(world.store, "commit", late)
            done = await migrator(world).step(kind, Step())
        assert (done.rewritten, done.busy) == (0, ["shop/g"])
        assert (await migrated(world))["rewritten"] == 1


async def test_kinds_of_one_shape_are_relabelled() -> None:
    async with opened() as world:
        await world.make("/apis/trinkets.example/v1/namespaces/shop/trinkets", "t", spec={"size": 3})
        [record] = world.stored("trinkets.trinkets.example")
        kind = migrator(world).kind("trinkets.trinkets.example")
        old = as_it_is(record.key, {**document_of(record), "apiVersion": "trinkets.example/v0"}, expect=record.revision)
        change = await world.store.commit(old)
        write = rewritten(kind, change.record)
        assert write is not None
        assert (write.desired, write.status, write.api_version) == (record.desired, record.status, "trinkets.example/v1")
        assert rewritten(kind, record) is None


async def test_who_has_no_right_to_the_path_may_neither_look_nor_migrate(tmp_path: Path) -> None:
    async with opened(gauges.plugin(), roles=True) as world:
        await store_as(world, "v1beta1", "g", OLDER[1])
        rules = [{"verbs": ["get", "post"], "nonResourceURLs": [f"/migrations/{RESOURCE}"]}]
        await world.make("/apis/rbac.authorization.k8s.io/v1/clusterroles", "migrator", rules=rules)
        subject = {"kind": "User", "name": "helper", "apiGroup": "rbac.authorization.k8s.io"}
        reference = {"kind": "ClusterRole", "name": "migrator", "apiGroup": "rbac.authorization.k8s.io"}
        bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        await world.make(bindings, "migrator", roleRef=reference, subjects=[subject])
        chain = AuthenticatorChain([TokenTable([(TOKEN, ADMIN), ("s", SOMEBODY), ("h", authenticated(Identity("helper")))])])
        app = application(world, chain, Access())
        transport = httpx.ASGITransport(app=cast("Any", app))
        async with httpx.AsyncClient(transport=transport, base_url="https://x") as http:

            async def asked(method: str, where: str, token: str, body: Any = None) -> httpx.Response:
                headers = {"authorization": f"Bearer {token}"} if token else {}
                return await http.request(method, where, json=body, headers=headers)

            own = f"/migrations/{RESOURCE}"
            for token, code in (("", 401), ("s", 403)):
                for method, where in (("GET", "/migrations"), ("GET", own), ("POST", own)):
                    assert (await asked(method, where, token, {})).status_code in (code, 403)
            assert stored(world, "g").api_version == gauges.MIDDLE
            assert (await asked("GET", "/migrations", "h")).status_code == 403
            assert (await asked("POST", "/migrations/secrets", "h", {})).status_code == 403
            assert (await asked("POST", own, "h", {"dryRun": True})).json()["rewritten"] == 1
            assert (await asked("POST", own, "h", {"limit": 0})).status_code == 400
            assert (await asked("POST", own, "h", {"limmit": 1})).status_code == 400
            assert (await asked("DELETE", own, TOKEN)).status_code == 405
            assert (await asked("POST", "/migrations", TOKEN, {})).status_code == 405
            assert (await asked("POST", "/migrations/nothing.example", TOKEN, {})).status_code == 404
            assert (await asked("POST", own, "h", {"junk": "x" * 20_000})).status_code == 413
            done = (await asked("POST", own, "h", {})).json()
            assert (done["rewritten"], done["failed"], done["after"]) == (1, [], "")
            told = (await asked("GET", own, "h")).json()
            assert told["stored"] == {gauges.NEW: 1}
            kinds = (await asked("GET", "/migrations", TOKEN)).json()["kinds"]
            assert {each["resource"]: each["stored"] for each in kinds}[RESOURCE] == {gauges.NEW: 1}


# The command


async def test_the_command_migrates_a_server_and_names_what_it_could_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(gauges.plugin()) as world:
        for at in range(5):
            await store_as(world, "v1beta1", f"g{at}", OLDER[1])
        await store_as(world, "v1alpha1", "broken", BROKEN)
        async with served(world, tmp_path) as place:
            monkeypatch.chdir(tmp_path)
            flags = ["--kubeconfig", str(place.kubeconfig)]

            async def skep(*words: str) -> tuple[int, str, str]:
                code = await anyio.to_thread.run_sync(main, ["registry", "migrate", *words, *flags])
                said = capsys.readouterr()
                return code, said.out, said.err

            code, out, err = await skep("gauges", "--dry-run")
            assert code == 1
            assert "5 would be rewritten, 1 failed" in out
            code, out, err = await skep("Gauge")
            assert code == 1
            assert out.splitlines() == [
                f"{RESOURCE}: 1 in gauges.example/v1alpha1, 5 in gauges.example/v1beta1; stored in gauges.example/v1",
                f"{RESOURCE}: 5 rewritten, 1 failed; now 5 in gauges.example/v1, 1 in gauges.example/v1alpha1",
            ]
            assert err.startswith("  shop/broken: ")
            await world.do("delete", path("v1", "broken"))
            assert (await skep("--all"))[:2] == (0, "every object is in the version that its kind is stored in\n")
            assert (await skep(RESOURCE))[0] == 0
            code, _, err = await skep("gauge-s")
            assert (code, "gauges" in err) == (3, True)
            assert (await skep())[0] == 2


class Busy:
    """A server that does three objects for each request, and now and then has too much to do."""

    def __init__(self, objects: int) -> None:
        self.asked: list[Document] = []
        self.left = objects

    def get(self, path: str) -> Document:
        if path.startswith(DEFINITIONS):
            raise Refused(404, "there is none")
        return {"stored": {"x/v2": 7}}

    def merge(self, path: str, change: Document) -> Document:
        raise AssertionError(path)

    def create(self, path: str, document: Document) -> Document:
        self.asked.append(document)
        if len(self.asked) % 3 == 0:
            raise Refused(429, "too much to do")
        done = min(self.left, document["limit"])
        self.left -= done
        return {"rewritten": done, "failed": [], "busy": [], "after": "a/b" if self.left else ""}


def test_the_pace_is_kept_and_a_server_that_is_busy_is_asked_again() -> None:
    clock = [0.0]
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    server = Busy(100)
    kind = {"resource": "xs.x", "storage": "x/v2", "stored": {"x/v1": 100}}
    assert run(server, kind, Pace(20, lambda: clock[0], sleep), dry_run=False)
    assert server.left == 0
    assert {each["limit"] for each in server.asked} == {10}
    assert clock[0] >= 100 / 20 - 1.5  # the last one is not waited for, and a second may be made up for
    assert 0.5 in waited


def test_a_kind_is_named_in_every_way_that_kubectl_knows_and_what_is_unclear_is_said() -> None:
    kinds = [
        {"resource": f"probes.{group}", "plural": "probes", "singular": "probe", "kind": "Probe", "shortNames": [short]}
        for group, short in (("a.example", "pa"), ("b.example", "pb"))
    ]
    assert named(kinds, "pb")["resource"] == "probes.b.example"
    assert named(kinds, "probes.a.example")["resource"] == "probes.a.example"
    assert named(kinds[:1], "PROBE")["resource"] == "probes.a.example"
    with pytest.raises(StartError, match=r"probes\.a\.example or probes\.b\.example"):
        named(kinds, "probes")
