"""Who calls deprecated versions: what is counted, what is written, and what a command makes of it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import yaml
from anyio import to_thread
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from admission.identity import SYSTEM, Identity, actor_identity
from apiserver.callers import SOON, STALE, WRITE_EVERY, Callers, Uses, added, agent_of
from apiserver.cli import main
from apiserver.client import ManagerDoor, ManagerSource
from apiserver.metrics import exposition, requested_families
from registry.builtin.versionuse import MOST_AGENTS, MOST_CALLERS, OTHERS, VERSION_USE, calls, cells, tallies
from registry.errors import ConflictError, Forbidden, NotFound, ServerTimeout
from registry.kinds import Kind
from registry.lifecycle import Release
from registry.plugin import Plugin
from registry.resource import Resource, Spec
from registry.times import format_time
from tests.actors.world import Lines, VirtualClock, settled
from tests.apiserver.served import TOKEN, served
from tests.apiserver.world import SOMEBODY, World, opened

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
OLD = "/apis/gauges.example/v1beta1/namespaces/shop/gauges"
NEW = "/apis/gauges.example/v1/namespaces/shop/gauges"
USE = "/apis/skep.dev/v1/versionuses/v1beta1.gauges.gauges.example"


class GaugeSpec(Spec):
    size: int = 1


class Gauge(Resource[GaugeSpec, None]):
    """Gauge is served in two versions of one shape."""


class GaugeBeta(Resource[GaugeSpec, None]):
    """GaugeBeta is what an old actor was written against."""

    wire_name = "Gauge"


def gauges() -> Plugin:
    plugin = Plugin("gauges")
    plugin.kind(Gauge, group="gauges.example", version="v1", plural="gauges")
    plugin.kind(
        GaugeBeta,
        group="gauges.example",
        version="v1beta1",
        plural="gauges",
        kind="Gauge",
        introduced=Release("1.0", "2025-01-15"),
        deprecated=Release("1.4", "2026-01-15"),
        removed=Release("1.7", "2026-10-15"),
        successor="v1",
    )

    @plugin.converts(GaugeBeta, Gauge)
    def up(old: GaugeBeta) -> Gauge:
        return Gauge(spec=old.spec)

    @plugin.converts(Gauge, GaugeBeta)
    def down(new: Gauge) -> GaugeBeta:
        return GaugeBeta(spec=new.spec)

    return plugin


class Counted:
    """A world that counts on a clock of the test."""

    def __init__(self, world: World) -> None:
        self.world, self.clock, self.log = world, VirtualClock(), Lines()
        self.door = ManagerDoor(world.manager, SYSTEM)
        self.callers = self.another()
        world.manager.deprecated = self.callers.note

    def another(self) -> Callers:
        """What another server on the same store counts with."""
        return Callers(self.clock, self.log)

    async def status(self) -> Document:
        """What is written."""
        await self.callers.write(self.door)
        return (await self.world.get(USE))["status"]

    def note(self, callers: Callers, user: str, agent: str = "", verb: str = "get") -> None:
        call = self.world.call(verb, OLD, who=Identity(user))
        call.agent = agent.encode()
        callers.note(call)

    @property
    def kind(self) -> Kind:
        return self.world.target(OLD).kind


@pytest.fixture
async def counted() -> AsyncIterator[Counted]:
    async with opened(gauges()) as world:
        yield Counted(world)


async def test_calls_of_a_deprecated_version_are_counted_by_user_and_by_what_they_do(counted: Counted) -> None:
    world, clock = counted.world, counted.clock
    await world.make(OLD, "river", spec={})
    await world.do("get", f"{OLD}/river", who=SOMEBODY)
    clock.moment += 60
    await world.do("list", OLD, who=SOMEBODY)
    await world.merge(f"{OLD}/river", {"spec": {"size": 2}}, who=SOMEBODY)
    await world.do("delete", f"{OLD}/river", who=SOMEBODY)
    with pytest.raises(NotFound):
        await world.get(f"{OLD}/river")
    first, last = format_time(clock.time() - 60), format_time(clock.time())
    assert await counted.status() == {
        "callers": [
            {"user": "admin", "reads": 1, "writes": 1, "watches": 0, "first": first, "last": last},
            {"user": "somebody", "reads": 2, "writes": 2, "watches": 0, "first": first, "last": last},
        ]
    }
    assert (await world.get(USE))["spec"] == {
        "resource": "gauges.gauges.example",
        "apiVersion": "gauges.example/v1beta1",
        "kind": "Gauge",
        "deprecated": {"release": "1.4", "date": "2026-01-15"},
        "removed": {"release": "1.7", "date": "2026-10-15"},
        "successor": "v1",
    }


async def test_nothing_is_counted_for_other_versions_nor_for_who_may_not_nor_for_the_server(counted: Counted) -> None:
    world = counted.world
    await world.make(NEW, "river", spec={})
    await world.do("list", NEW, who=SOMEBODY)
    with pytest.raises(Forbidden):
        await world.do("list", OLD, who=Identity("nobody"))
    with pytest.raises(NotFound):
        await world.do("get", f"{OLD}/river/made-up-by-the-client", who=SOMEBODY)
    await world.do("list", OLD, who=SYSTEM)
    await world.do("list", OLD, who=actor_identity("garbage-collector"))
    await counted.callers.write(counted.door)
    assert not world.stored(VERSION_USE.resource)
    assert not counted.callers.requested


async def test_an_actor_of_an_old_version_is_a_caller_and_its_watches_count_when_they_begin(counted: Counted) -> None:
    identity = actor_identity("reader")
    source = ManagerSource(counted.world.manager, identity)
    listing = await source.list(GaugeBeta)
    stream = source.watch(GaugeBeta, listing.revision)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anext, stream)
        await settled()
        await counted.world.make(NEW, "river", spec={})
    [caller] = (await counted.status())["callers"]
    await stream.aclose()
    assert (caller["user"], caller["reads"], caller["watches"]) == (identity.username, 1, 1)


async def test_what_servers_count_on_one_store_is_added_and_survives_them(counted: Counted) -> None:
    one, two = counted.another(), counted.another()
    counted.note(one, "ann", "kubectl/v1.30.0 (linux/amd64)")
    counted.note(two, "ann", "kubectl/v1.30.0 (darwin/arm64)")
    counted.note(two, "bob")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.write, counted.door)
        tasks.start_soon(two.write, counted.door)
    counted.note(two, "ann", "kubectl/v1.30.0", "watch")
    await two.finish(counted.door)
    found = await counted.status()
    assert [(each["user"], each.get("agent"), calls(each)) for each in found["callers"]] == [
        ("ann", "kubectl/v1.30.0", 3),
        ("bob", None, 1),
    ]
    assert counted.log.of("who calls a deprecated version is not written") == []


class Broken(ManagerDoor):
    """A door whose first patches fail."""

    def __init__(self, door: ManagerDoor, *errors: Exception) -> None:
        super().__init__(door._manager, door._identity)
        self.errors = list(errors)
        self.patches = 0

    async def patch(self, *arguments: Any) -> Document:
        try:
            if self.errors:
                raise self.errors.pop(0)
            return await super().patch(*arguments)
        finally:
            self.patches += 1


async def until(true: Callable[[], bool]) -> None:
    """Returns when it is so, and what follows from it has happened."""
    while not true():
        await anyio.lowlevel.checkpoint()
    await settled()


async def test_a_write_that_fails_is_made_again_later_with_what_is_counted_meanwhile(counted: Counted) -> None:
    door = Broken(counted.door, ConflictError("faster"), ServerTimeout("the disk is full"))
    counted.note(counted.callers, "ann")
    await counted.callers.write(door)
    assert len(counted.log.of("who calls a deprecated version is not written")) == 1
    counted.note(counted.callers, "ann")
    counted.note(counted.callers, "bob")
    await counted.callers.write(door)
    assert [calls(each) for each in (await counted.world.get(USE))["status"]["callers"]] == [2, 1]
    await counted.callers.write(door)
    assert door.patches == 3


class Slow(ManagerDoor):
    """A door at which the first who comes waits."""

    def __init__(self, counted: Counted) -> None:
        super().__init__(counted.world.manager, SYSTEM)
        self.asked, self.open = anyio.Event(), anyio.Event()

    async def get(self, *asked: Any, **more: Any) -> Any:
        self.asked.set()
        await self.open.wait()
        return await super().get(*asked, **more)


async def test_a_server_that_ends_while_it_writes_writes_to_the_end(counted: Counted) -> None:
    callers, door = counted.callers, Slow(counted)
    counted.note(callers, "a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(callers.write, door)
        await door.asked.wait()

        async def end() -> None:
            await callers.finish(door, seconds=60)
            tasks.cancel_scope.cancel()

        tasks.start_soon(end)
        await settled()
        door.open.set()
    status = (await counted.world.get(USE))["status"]
    assert [each["user"] for each in status["callers"]] == ["a"]


async def test_the_first_call_is_written_soon_the_others_seldom_and_nothing_when_nobody_calls(counted: Counted) -> None:
    door = Broken(counted.door)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(counted.callers.run, door)
        counted.note(counted.callers, "ann")
        await counted.clock.advance(SOON)
        await until(lambda: door.patches == 1)
        counted.note(counted.callers, "ann")
        await counted.clock.advance(WRITE_EVERY - SOON)
        assert door.patches == 1
        await counted.clock.advance(SOON)
        await until(lambda: door.patches == 2)
        await counted.clock.advance(10 * WRITE_EVERY)
        assert door.patches == 2
        tasks.cancel_scope.cancel()


async def test_users_and_programs_without_end_are_counted_together(counted: Counted) -> None:
    for each in range(100):
        counted.note(counted.callers, "flood", f"program/{each}")
    for each in range(MOST_CALLERS):
        counted.note(counted.callers, f"user-{each}")
    status = await counted.status()
    flood = [each for each in status["callers"] if each["user"] == "flood"]
    assert len(flood) == MOST_AGENTS + 1
    assert [calls(each) for each in flood if each["agent"] == OTHERS] == [100 - MOST_AGENTS]
    assert len(status["callers"]) == MOST_CALLERS
    assert calls(status["others"]) == MOST_AGENTS + 1
    counted.clock.moment += STALE + 1
    counted.note(counted.callers, "late")
    status = await counted.status()
    assert status["callers"][0]["user"] == "late"
    assert len(status["callers"]) == MOST_CALLERS
    assert sum(map(calls, tallies({"status": status}))) == 101 + MOST_CALLERS


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.sampled_from(["reads", "writes", "watches"])), max_size=60),
        max_size=4,
    )
)
def test_no_call_is_lost_however_many_call_and_whoever_writes(batches: list[list[tuple[int, int, str]]]) -> None:
    async def world() -> Kind:
        async with opened(gauges()) as made:
            return made.target(OLD).kind

    kind = KINDS.get("gauges") or KINDS.setdefault("gauges", anyio.run(world))
    status: Document = {}
    now = 1_000.0
    for batch in batches:
        uses = Uses(kind, kind.versions[1])
        for user, agent, counted in batch:
            now += 1
            uses.add((f"user-{user}" * (1 + user % 2), f"agent/{agent}"), counted, now)
        status = added(status, uses)
    told = tallies({"status": status})
    assert sum(map(calls, told)) == sum(map(len, batches))
    assert len(status.get("callers", ())) <= MOST_CALLERS
    assert all(each["first"] <= each["last"] for each in told)


KINDS: dict[str, Kind] = {}


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (b"kubectl/v1.33.0 (linux/amd64) kubernetes/f1a2b3c", "kubectl/v1.33.0"),
        (b"OpenAPI-Generator/32.0.1/python", "OpenAPI-Generator/32.0.1"),
        (b"", ""),
        (b"\xff\xfe", ""),
        (b"<script>", ""),
        (b"a" * 300, "a" * 64),
    ],
)
def test_a_program_is_the_first_word_of_its_user_agent(header: bytes, shown: str) -> None:
    assert agent_of(header) == shown


def test_a_key_in_a_user_agent_is_not_kept() -> None:
    from admission.apikeys import make_key

    key = make_key(lambda choices: choices[7])
    assert key[14:20] not in agent_of(key.encode())


async def test_nobody_else_writes_what_is_counted(counted: Counted) -> None:
    counted.note(counted.callers, "ann")
    await counted.callers.write(counted.door)
    for verb, path in (("patch", f"{USE}/status"), ("delete", USE)):
        with pytest.raises(Forbidden):
            await counted.world.do(verb, path, {"status": {"callers": []}}, content_type="application/merge-patch+json")


async def test_metrics_tell_which_versions_are_called_and_not_by_whom(counted: Counted) -> None:
    for user in ("ann", "bob"):
        counted.note(counted.callers, user)
    text = exposition(requested_families(counted.callers.requested))[0].decode()
    assert "ann" not in text
    found = {sample.name: sample for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found["apiserver_requested_deprecated_apis"].labels == {
        "group": "gauges.example",
        "version": "v1beta1",
        "resource": "gauges",
        "subresource": "",
        "removed_release": "1.7",
    }
    assert (found["apiserver_requested_deprecated_apis"].value, found["skep_deprecated_calls_total"].value) == (1, 2)


async def test_the_table_of_kubectl_sums_up(counted: Counted) -> None:
    counted.note(counted.callers, "ann")
    counted.note(counted.callers, "bob", verb="update")
    await counted.callers.write(counted.door)
    assert cells(await counted.world.get(USE), counted.clock.time() + 300) == [2, 2, "5m", "1.7 of 2026-10-15", "v1"]


@pytest.fixture
def skep(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `skep registry callers`, beside the server of the test: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    async def run(*words: str) -> tuple[int, str, str]:
        code = await to_thread.run_sync(main, ["registry", "callers", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


async def test_the_command_shows_and_filters_and_fails_if_it_is_asked_to(
    counted: Counted, skep: Callable[..., Any], tmp_path: Path
) -> None:
    async with served(counted.world, tmp_path) as server:
        where = ("--kubeconfig", str(server.kubeconfig))
        assert await skep(*where, "--fail-if-used") == (0, "nobody has called a deprecated version\n", "")
        counted.clock.time = time.time  # type: ignore[method-assign]
        counted.note(counted.callers, "ann", "kubectl/v1.30.0", "watch")
        await counted.callers.write(counted.door)
        code, out, err = await skep(*where)
        head, row = (line.split() for line in out.splitlines())
        assert (code, err) == (0, "")
        assert head == ["KIND", "VERSION", "USER", "PROGRAM", "CALLS", "LAST", "CALL", "REMOVED"]
        assert row[:5] == ["Gauge", "v1beta1", "ann", "kubectl/v1.30.0", "1"]
        assert row[-3:] == ["1.7", "of", "2026-10-15"]
        code, out, err = await skep(*where, "--fail-if-used", "gauge.v1beta1", "--since", "1h", "-o", "json")
        [told] = json.loads(out)["callers"]
        assert (code, told["watches"], told["user"], told["successor"]) == (1, 1, "ann", "v1")
        assert "gauges.gauges.example/v1beta1: somebody still calls what is deprecated" in err
        assert yaml.safe_load((await skep(*where, "-o", "yaml"))[1])["callers"] == [told]
        assert (await skep(*where, "--fail-if-used", "gauges.v1"))[0] == 0
        assert "v1beta1" in (await skep(*where, "-o", "wide"))[1]
        assert (await skep(*where, "--since", "often"))[0] == 2
        code, _, err = await skep(*where, "--fail-if-used", "gauge.v1beta2")
        assert (code, err.splitlines()[0]) == (3, "error: there is no kind 'gauge.v1beta2'")
        counted.clock.time = lambda: time.time() + 86_400  # type: ignore[method-assign]
    assert TOKEN not in json.dumps(told)


async def test_over_a_socket_every_call_has_its_program_and_watches_too(counted: Counted, tmp_path: Path) -> None:
    from httpx import AsyncClient

    async with served(counted.world, tmp_path) as server:
        said = server.credentials
        headers = {"authorization": f"Bearer {TOKEN}", "user-agent": "gauger/2.1 (linux)"}
        async with AsyncClient(base_url=said.server, verify=said.context, trust_env=False, headers=headers) as client:
            answer = await client.get(OLD)
            assert (
                "is deprecated in 1.4+, unavailable in 1.7+ from 2026-10-15; use gauges.example/v1 Gauge"
                in answer.headers["warning"]
            )
            await client.get(OLD, params={"watch": "1", "timeoutSeconds": "1"})
    [caller] = (await counted.status())["callers"]
    assert (caller["user"], caller["agent"], caller["reads"], caller["watches"]) == ("admin", "gauger/2.1", 1, 1)
