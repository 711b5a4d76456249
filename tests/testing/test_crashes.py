"""Crashes: an actor that is killed at any point either gets over it, or is found out."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest

from actors import BlockingClient, Client, Done
from actors.testing import Server, every_crash, serving
from registry.errors import AlreadyExists
from tests.testing.stalls import Crate, Stall, StallStatus, crate, keeps, makes_twice, market, stall

pytestmark = pytest.mark.anyio


async def open_and_close(server: Server) -> None:
    await server.client.create(stall(crates=3))
    await server.settled()
    await server.client.patch(Stall, "a", "default", {"spec": {"crates": 4}})


async def four(server: Server) -> None:
    assert len((await server.client.list(Crate)).items) == 4
    one = await server.client.get(Stall, "a", "default")
    assert one is not None
    assert one.status == StallStatus(crates=4)


async def test_children_that_are_made_twice_are_found() -> None:
    async with serving(market(makes_twice)) as server:
        await open_and_close(server)
        await server.settled()
        await four(server)  # nothing is wrong as long as nobody dies
    with pytest.raises(AssertionError) as raised:
        await every_crash(market(makes_twice), scenario=open_and_close, check=four)
    assert "every_crash: the actor market-keep was killed after its write 1" in raised.value.__notes__
    assert "killed after its write 1" in raised.value.__notes__[0]


async def test_an_actor_whose_children_have_names_gets_over_every_crash() -> None:
    assert await every_crash(market(keeps, observes=[Crate]), scenario=open_and_close, check=four) == 2 * 6  # 4 crates, 2 statuses


async def test_it_gets_over_every_crash_in_every_order() -> None:
    for seed in range(1, 6):
        assert await every_crash(market(keeps, observes=[Crate]), scenario=open_and_close, check=four, seed=seed) >= 2 * 5


async def test_a_crash_is_followed_by_a_start_from_what_is_stored(tmp_path: Path) -> None:
    made = tmp_path / "made"

    async def outside_first(one: Stall, client: Client) -> Done:
        made.write_text(f"{made.read_text() if made.exists() else ''}x")
        await client.create(crate(one, None))
        return Done(StallStatus(turns=1))

    async with serving(market(outside_first)) as server:
        server.crash(before_write=1)
        await server.client.create(stall())
        await server.settled()
        assert made.read_text() == "xx"  # what is outside was done twice, the write once
        assert len(server.writes(Crate)) == 1
        assert [ran.result for ran in server.ran()] == ["killed", "done"]


async def test_a_crash_after_a_write_leaves_the_write_and_loses_the_answer() -> None:
    async def hopeful(one: Stall, client: Client) -> None:
        try:
            await client.create(crate(one, 0))
        except AlreadyExists:
            await client.create(crate(one, 1))

    async with serving(market(hopeful)) as server:
        server.crash(after_write=1)
        await server.client.create(stall())
        await server.settled()
        assert [written.place.name for written in server.writes(Crate)] == ["a-0", "a-1"]
        assert [ran.result for ran in server.ran()] == ["killed", "done"]


async def test_a_dead_actor_does_nothing_until_it_is_started_and_then_sees_what_it_missed() -> None:
    async with serving(market(keeps)) as server:
        await server.kill()
        await server.client.create(stall())
        await server.advance(3600)
        assert server.runs() == 0
        await server.restart()
        await server.settled()
        assert [written.place.name for written in server.writes(Crate)] == ["a-0", "a-1"]


async def test_a_crash_may_be_for_good() -> None:
    async with serving(market(keeps)) as server:
        server.crash(after_write=1, restart=False)
        await server.client.create(stall())
        await server.advance(3600)
        assert [written.place.name for written in server.writes()] == ["a-0"]
        await server.restart()
        await server.settled()
        assert [written.place.name for written in server.writes(Crate)] == ["a-0", "a-1"]


async def test_others_live_on_when_one_is_killed() -> None:
    plugin = market(keeps)
    seen: list[str] = []

    @plugin.actor(Crate, name="market-see")
    async def sees(one: Crate, client: Client) -> None:
        seen.append(one.metadata.name)

    async with serving(plugin) as server:
        await server.kill("market-keep")
        made = await server.client.create(stall())
        await server.client.create(crate(made, 7))
        await server.settled()
        assert seen == ["a-7"]


async def test_nothing_is_written_after_the_end_whatever_the_actor_tries() -> None:
    async def clings(one: Stall, client: Client) -> None:
        try:
            await client.create(crate(one, 0))
        finally:
            with anyio.CancelScope(shield=True):
                await client.create(crate(one, 1))

    async with serving(market(clings)) as server:
        server.crash(after_write=1, restart=False)
        await server.client.create(stall())
        await server.settled()
        assert [written.place.name for written in server.writes()] == ["a-0"]


async def test_a_thread_that_outlives_its_actor_can_write_no_more_and_is_waited_for() -> None:
    ended: list[int] = []

    def slow(one: Stall, client: BlockingClient) -> None:
        for number in range(3):
            try:
                client.create(crate(one, number))
            except BaseException:  # cancelled, or Killed: and it does not take the hint
                time.sleep(0.02)
                ended.append(number)

    async with serving(market(slow)) as server:
        server.crash(before_write=2, restart=False)
        await server.client.create(stall())
        await server.settled()
        assert ended == [1, 2]
        assert [written.place.name for written in server.writes()] == ["a-0"]


async def test_a_crash_is_asked_for_in_one_way() -> None:
    async with serving(market(keeps)) as server:
        for asked in ({}, {"before_write": 1, "after_write": 1}):
            with pytest.raises(ValueError, match="either before_write=n or after_write=n"):
                server.crash(**asked)
