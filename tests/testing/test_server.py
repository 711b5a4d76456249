"""The server under test: it is a real one, time stands still in it, and `settled` means what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actors import Again, BlockingClient, Client, Done, Observation, Outcome, Run, Wake
from actors.testing import Restless, serving
from admission.review import Review
from registry.catalog import RegistryError
from registry.errors import Cause, Forbidden, Invalid, invalid
from registry.plugin import Plugin
from registry.resource import Metadata, replace
from tests.testing.stalls import Crate, CrateSpec, CrateStatus, Stall, StallStatus, counts, crate, its_crates, keeps, market, stall

pytestmark = pytest.mark.anyio


async def one_stall(plugin: Plugin, error: BaseException | None = None, **options: Any) -> None:
    """What happens with one stall; then the error is raised."""
    async with serving(plugin, **options) as server:
        await server.client.create(stall())
        await server.settled()
        if error is not None:
            raise error


async def test_what_follows_from_a_write_has_happened_when_it_is_settled() -> None:
    async with serving(market(keeps, counts, observes=[Crate])) as server:
        await server.client.create(stall(crates=3))
        await server.settled()
        crates = (await server.client.list(Crate)).items
        assert [(each.metadata.name, each.status.of) for each in crates if each.status] == [("a-0", 3), ("a-1", 3), ("a-2", 3)]
        assert [str(each.model.__name__) for each in server.writes(actor="market-keep")] == ["Crate", "Crate", "Crate", "Stall"]
        [status] = server.writes(Stall, "a")
        assert (status.verb, status.subresource, status.run in server.ran("market-keep", "a")) == ("patch", "status", True)


async def test_nothing_happens_while_time_stands_still_and_all_of_it_in_order_when_it_passes() -> None:
    seen: list[tuple[float, str]] = []

    async def clock_in(one: Stall, client: Client, run: Run) -> Again:
        seen.append((server.now(), one.metadata.name))
        return Again(10 if one.metadata.name == "a" else 15)

    async with serving(market(clock_in)) as server:
        await server.client.create(stall("a"))
        await server.client.create(stall("b"))
        await server.settled()
        await server.settled()
        assert seen == [(0, "a"), (0, "b")]
        await server.advance(9.9)
        assert len(seen) == 2
        await server.advance(26)
        assert seen[2:] == [(10, "a"), (15, "b"), (20, "a"), (30, "b"), (30, "a")]
        assert server.now() == pytest.approx(35.9)
        assert [ran.wake for ran in server.ran()[2:]] == [Wake.TIMER] * 5


async def test_a_year_passes_in_no_time() -> None:
    async def daily(one: Stall, client: Client) -> Again:
        return Again(86_400)

    async with serving(market(daily)) as server:
        await server.client.create(stall())
        await server.advance(365 * 86_400)
        assert server.runs() == 1 + 365


async def test_a_failure_is_tried_again_after_its_backoff_and_shown() -> None:
    async def fails(one: Stall, client: Client, run: Run) -> Done:
        if run.attempt < 3:
            raise RuntimeError("the market is closed")
        return Done()

    async with serving(market(fails, backoff=(10.0, 40.0))) as server:
        await server.client.create(stall())
        await server.settled()
        assert [ran.result for ran in server.ran()] == ["failed"]
        await server.advance(10 + 20)
        assert [ran.result for ran in server.ran()] == ["failed", "failed", "done"]
        assert 8 <= server.ran()[1].at <= 10
        [said] = await server.events("a")
        assert (said.type, said.reason, said.times) == ("Warning", "ReconcileFailed", 2)
        assert [line.event for line in server.log if line.level == "error"] == ["reconcile failed"] * 2


async def test_admission_and_the_rule_about_the_status_are_the_real_ones() -> None:
    plugin = market(keeps)

    @plugin.mutates(Stall)
    def noted(review: Review[Stall]) -> Stall:
        return replace(review.new, spec=replace(review.new.spec, note="seen"))

    @plugin.validates(Stall)
    def not_many(review: Review[Stall]) -> list[Cause]:
        return [invalid("spec.crates", review.new.spec.crates, "too many")] if review.new.spec.crates > 9 else []

    async with serving(plugin) as server:
        assert (await server.client.create(stall())).spec.note == "seen"
        with pytest.raises(Invalid, match="too many"):
            await server.client.create(stall("b", crates=10))
        with pytest.raises(Forbidden):
            await server.client.patch_status(Stall, "a", "default", {"crates": 7})


async def test_what_is_outside_is_waited_for_in_real_time() -> None:
    async def over_the_wire(one: Stall, client: Client) -> Done:
        host, port = site
        async with await anyio.connect_tcp(host, port) as stream:
            answer = await stream.receive()
        return Done(StallStatus(turns=int(answer)))

    async def answer(stream: Any) -> None:
        async with stream:
            await anyio.to_thread.run_sync(time.sleep, 0.05)  # far longer than the loop is busy
            await stream.send(b"42")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        site = listener.extra(anyio.abc.SocketAttribute.local_address)
        tasks.start_soon(listener.serve, answer)
        async with serving(market(over_the_wire)) as server:
            await server.client.create(stall())
            await server.settled()
            seen = await server.client.get(Stall, "a", "default")
            assert seen is not None
            assert seen.status == StallStatus(turns=42)
        tasks.cancel_scope.cancel()


async def test_threads_of_plain_functions_are_waited_for() -> None:
    here = threading.get_ident()

    def slowly(one: Stall, client: BlockingClient) -> Done:
        time.sleep(0.05)
        client.patch(Stall, one.metadata.name, "default", {"spec": {"note": "here" if threading.get_ident() == here else "aside"}})
        return Done(StallStatus(turns=1))

    async with serving(market(slowly)) as server:
        await server.client.create(stall())
        await server.settled()
        seen = await server.client.get(Stall, "a", "default")
        assert seen is not None
        assert (seen.spec.note, seen.status) == ("aside", StallStatus(turns=1))


async def test_a_run_that_waits_for_the_server_is_not_waited_for() -> None:
    async def patient(one: Stall, client: Client) -> Done:
        found = await client.wait_until(Crate, "x", "default", lambda crate: crate is not None, within=30)
        return Done(StallStatus(crates=1 if found else 0))

    async with serving(market(patient)) as server:
        await server.client.create(stall())
        await server.settled()
        assert [ran.result for ran in server.ran()] == ["running"]
        await server.client.create(Crate(metadata=Metadata(name="x", namespace="default"), spec=CrateSpec()))
        await server.settled()
        assert [ran.result for ran in server.ran()] == ["done"]


async def test_a_run_that_waits_too_long_is_ended_by_the_virtual_clock() -> None:
    async def patient(one: Stall, client: Client) -> None:
        await client.wait_until(Crate, "x", "default", lambda crate: crate is not None)

    async with serving(market(patient, timeout=60.0)) as server:
        await server.client.create(stall())
        await server.advance(59)
        assert [ran.result for ran in server.ran()] == ["running"]
        await server.advance(1.01)
        assert server.ran()[0].result == "failed"


async def test_a_class_is_set_up_before_the_first_run_and_torn_down_at_the_end() -> None:
    told: list[str] = []

    class Keeper:
        def setup(self, client: BlockingClient) -> None:
            time.sleep(0.02)
            told.append("setup")

        async def teardown(self) -> None:
            await anyio.sleep(0.01)
            told.append("teardown")

        async def reconcile(self, one: Stall, client: Client) -> None:
            told.append("run")

    async with serving(market(Keeper)) as server:
        assert told == ["setup"]
        await server.client.create(stall())
        await server.settled()
    assert told == ["setup", "run", "teardown"]


async def test_what_never_answers_is_named() -> None:
    async def stuck(one: Stall, client: Client) -> None:
        await anyio.sleep_forever()

    with pytest.raises(Restless, match=r"still under way after 0\.05 real seconds: market-keep default/a; give the actor"):
        await one_stall(market(stuck), patience=0.05)


async def test_an_actor_that_wakes_itself_for_ever_is_named_with_what_it_writes() -> None:
    async def busy(one: Stall, client: Client) -> None:
        await client.patch(Stall, one.metadata.name, "default", {"spec": {"note": f"{int(one.spec.note or 0) + 1}"}})

    with pytest.raises(Restless) as raised:
        await one_stall(market(busy))
    said = str(raised.value)
    assert said.startswith("the actor market-keep does not come to rest: 201 runs of default/a while no time passed")
    assert said.count("patch Stall default/a {'spec'") == 5


async def test_an_actor_that_looks_again_at_once_for_ever_is_named() -> None:
    async def hasty(one: Stall, client: Client) -> Again:
        return Again(0)

    with pytest.raises(Restless, match="201 runs of default/a while no time passed; it wrote nothing"):
        await one_stall(market(hasty))


async def test_a_run_that_never_lets_go_of_the_loop_for_good_is_named() -> None:
    async def spins(one: Stall, client: Client) -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    with pytest.raises(Restless, match="the event loop does not come to rest; under way: market-keep default/a"):
        await one_stall(market(spins))


async def test_two_actors_that_wake_each_other_for_ever_are_found() -> None:
    async def turns_of_crates(one: Stall, client: Client) -> Done:
        first = await client.get(Crate, "a-0", "default")
        return Done(StallStatus(turns=1 + (first.status.turns if first and first.status else 0)))

    plugin = market(turns_of_crates, observes=[Crate])

    @plugin.actor(Crate, name="market-turn", observes=[Observation(Stall, to=its_crates)])
    async def turns_of_stalls(one: Crate, client: Client) -> Done:
        its = await client.get(Stall, one.spec.stall, "default")
        return Done(CrateStatus(turns=its.status.turns if its and its.status else 0))

    async with serving(plugin) as server:
        await server.client.create(crate(await server.client.create(stall()), 0))
        with pytest.raises(Restless, match=r"(?s)does not come to rest: 201 runs of default/a.*patch .*/status .*turns"):
            await server.settled()


async def test_a_storm_of_changes_is_no_endless_loop() -> None:
    async def note(one: Stall, client: Client) -> Outcome:
        return Done(StallStatus(turns=one.spec.crates))

    async with serving(market(note), most_runs=20) as server:
        await server.client.create(stall())
        for number in range(1000):
            await server.client.patch(Stall, "a", "default", {"spec": {"crates": number}})
        await server.settled()
        seen = await server.client.get(Stall, "a", "default")
        assert seen is not None
        assert seen.status == StallStatus(turns=999)


async def test_a_storm_of_changes_of_one_object_does_not_starve_the_others() -> None:
    async def note(one: Stall, client: Client) -> Outcome:
        return Done(StallStatus(turns=one.spec.crates))

    async with serving(market(note)) as server:
        await server.client.create(stall("busy"))
        for number in range(200):
            await server.client.patch(Stall, "busy", "default", {"spec": {"crates": number}})
            if number % 20 == 10:
                await server.client.create(stall(f"calm-{number}"))
        await server.settled()
        order = [ran.place.name for ran in server.ran()]
        assert 1 < order.count("busy") <= 201, "many changes may come to one run"
        for number in range(10, 200, 20):
            waited = order.index(f"calm-{number}") - sum(name.startswith("calm") for name in order[: order.index(f"calm-{number}")])
            assert waited <= number + 3, "it had its turn while the other one went on"


async def test_thousands_of_objects_are_no_endless_loop_either() -> None:
    async def note(one: Stall, client: Client) -> None: ...

    for seed in (0, 1):
        async with serving(market(note), seed=seed) as server:
            await server.kill()
            for number in range(2000):
                await server.client.create(stall(f"s{number}"))
            await server.restart()
            await server.settled()
            assert {ran.place.name for ran in server.ran()} == {f"s{number}" for number in range(2000)}
            assert server.runs() == 2000


async def test_errors_in_the_body_come_out_as_they_are_with_a_note_of_what_happened() -> None:
    with pytest.raises(KeyError) as raised:
        await one_stall(market(keeps), KeyError("mine"), seed=17)
    [note] = raised.value.__notes__
    assert "seed 17 (only this one again: SKEP_SEED=17)" in note
    assert "market-keep: create Crate default/a-1" in note


async def test_a_failed_assertion_of_pytest_comes_out_as_it_is() -> None:
    with pytest.raises(pytest.fail.Exception, match="on purpose"):
        await one_stall(market(keeps), pytest.fail.Exception("on purpose"))


async def test_an_actor_is_to_be_named_only_where_there_are_several() -> None:
    async with serving(market(keeps, counts)) as server:
        with pytest.raises(ValueError, match="say which actor: there are market-count, market-keep"):
            server.runs()
        with pytest.raises(ValueError, match="there is no actor 'keep': there are market-count, market-keep"):
            server.runs("keep")


async def test_a_server_takes_no_thread_no_file_and_no_socket() -> None:
    threads, files = threading.enumerate(), open_files()
    async with serving(market(keeps, counts)) as server:
        await server.client.create(stall())
        await server.settled()
        assert len(server.writes()) > 0
        assert set(threading.enumerate()) <= set(threads)
        assert open_files() == files


def open_files() -> list[str]:
    return sorted(os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if is_open(number))


def is_open(number: str) -> bool:
    """The one that listed the folder is closed by now."""
    return os.path.exists(f"/proc/self/fd/{number}")


def test_on_another_event_loop_it_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"runs on asyncio.*`anyio_backend` return \"asyncio\""):
        serving(market(keeps)).__aenter__().send(None)


async def test_what_is_wrong_with_a_plugin_is_said_at_once() -> None:
    plugin = market(keeps)

    @plugin.actor(Stall, name="market-other")
    async def second(one: Stall, client: Client) -> None: ...

    with pytest.raises(RegistryError, match=r"test_server.py:\d+: Stall has an owner already: 'market-keep'"):
        await one_stall(plugin)


def test_whoever_imports_actors_does_not_get_a_server() -> None:
    code = "import sys, actors.runner; print({'apiserver', 'storage', 'admission', 'sqlalchemy'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"


def test_the_harness_needs_no_pytest() -> None:
    code = "import sys, actors.testing; print('pytest' in sys.modules, 'uvicorn' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False False\n"
