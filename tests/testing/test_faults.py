"""Faults by request: each does what the real one does, as often as it was asked for."""

from __future__ import annotations

import pytest

from actors import Again, Client, Done, Observation, Run
from actors.testing import serving
from registry.errors import ConflictError, ServiceUnavailable
from registry.resource import Metadata, replace
from tests.testing.stalls import Crate, CrateSpec, Stall, StallStatus, crate, keeps, market, stall

pytestmark = pytest.mark.anyio


async def test_a_conflict_ends_the_run_and_the_next_one_gets_over_it() -> None:
    async with serving(market(keeps)) as server:
        server.conflict(Stall, "a", times=2)
        await server.client.create(stall())
        await server.settled()
        assert [ran.result for ran in server.ran()] == ["failed"]
        await server.advance(10)
        assert [ran.result for ran in server.ran()] == ["failed", "failed", "done"]
        assert len(server.writes(Crate, verb="create")) == 2
        assert "patch Stall default/a refused: ConflictError" in server.story()


async def test_only_what_was_asked_for_is_refused() -> None:
    async with serving(market(keeps, concurrency=2)) as server:
        server.conflict(Stall, "b")
        server.fail(lambda: ServiceUnavailable("away"), Crate, verbs=["get"], times=1)
        await server.client.create(stall("a"))
        await server.client.create(stall("b"))
        await server.settled()
        assert [ran.result for ran in server.ran(name="a")] == ["failed"]  # its first look at a crate
        assert [ran.result for ran in server.ran(name="b")] == ["failed"]
        await server.advance(10)
        assert [ran.result for ran in server.ran()].count("done") == 2


async def test_an_update_with_a_retry_does_not_notice_a_conflict() -> None:
    async def retries(one: Stall, client: Client) -> None:
        await client.update_with(Stall, one.metadata.name, "default", noted)

    async with serving(market(retries)) as server:
        server.conflict(Stall, times=3)
        await server.client.create(stall())
        await server.settled()
        assert {ran.result for ran in server.ran()} == {"done"}
        assert len(server.writes(Stall)) == 1


def noted(one: Stall) -> Stall:
    return replace(one, spec=replace(one.spec, note="noted"))


@pytest.mark.parametrize("written", [False, True])
async def test_a_write_that_is_not_answered_was_made_or_not(written: bool) -> None:
    async with serving(market(keeps)) as server:
        server.time_out(Crate, "a-0", written=written)
        await server.client.create(stall())
        await server.settled()
        assert (await server.client.get(Crate, "a-0", "default") is not None) == written
        await server.advance(10)
        assert [ran.result for ran in server.ran()] == ["failed", "done"]
        assert len((await server.client.list(Crate)).items) == 2


async def test_a_child_that_is_created_without_a_look_is_found_by_an_answer_that_gets_lost() -> None:
    async def blind(one: Stall, client: Client) -> None:
        await client.create(crate(one, None))

    async with serving(market(blind)) as server:
        server.time_out(Crate, written=True)
        await server.client.create(stall())
        await server.advance(10)
        assert len((await server.client.list(Crate)).items) == 2  # and one was wanted


async def test_changes_are_seen_after_a_watch_was_dropped() -> None:
    async with serving(market(keeps, observes=[Crate])) as server:
        await server.client.create(stall())
        await server.settled()
        server.drop_watches()
        await server.client.delete(Crate, "a-1", "default")
        await server.settled()
        assert await server.client.get(Crate, "a-1", "default") is None  # nobody listens
        await server.advance(1)
        assert await server.client.get(Crate, "a-1", "default") is not None


async def test_changes_are_seen_although_history_has_expired() -> None:
    async with serving(market(keeps, observes=[Crate])) as server:
        await server.client.create(stall())
        await server.settled()
        listed = await server.client.list(Crate)
        await server.expire_history()
        await server.client.delete(Crate, "a-0", "default")
        await server.client.create(stall("b"))
        await server.expire_history()
        await server.advance(1)
        assert [each.metadata.name for each in (await server.client.list(Crate)).items] == ["a-0", "a-1", "b-0", "b-1"]
        with pytest.raises(Exception, match="too old resource version"):
            await anext(server.client.watch(Crate, "default", after=listed.revision))


async def test_an_actor_that_does_not_look_when_its_child_goes_is_found() -> None:
    async with serving(market(keeps)) as server:  # it observes no crates
        await server.client.create(stall())
        await server.settled()
        await server.client.delete(Crate, "a-0", "default")
        await server.settled()
        assert await server.client.get(Crate, "a-0", "default") is None


async def test_an_actor_that_counts_its_runs_is_found_by_wakes_that_come_twice() -> None:
    async def turns(one: Stall, client: Client) -> Done:
        return Done(StallStatus(turns=1 + (one.status.turns if one.status else 0)))

    for twice in (False, True):
        async with serving(market(turns)) as server:
            server.duplicate_wakes(twice)
            await server.client.create(stall())
            await server.settled()
            seen = await server.client.get(Stall, "a", "default")
            assert seen is not None
            assert seen.status == StallStatus(turns=1 + twice)


async def test_wakes_that_come_twice_have_the_same_reasons_and_end() -> None:
    async def looks(one: Stall, client: Client, run: Run) -> Again:
        return Again(10)

    async with serving(market(looks)) as server:
        server.duplicate_wakes()
        await server.client.create(stall())
        await server.advance(25)
        assert [(ran.at, ran.wake.name) for ran in server.ran()] == [
            (0, "DESIRED"),
            (0, "DESIRED"),
            (10, "TIMER"),
            (10, "TIMER"),
            (20, "TIMER"),
            (20, "TIMER"),
        ]


async def test_delayed_wakes_come_in_order_and_late() -> None:
    async with serving(market(keeps, observes=[Crate])) as server:
        server.delay_wakes(5)
        await server.client.create(stall())
        await server.settled()
        assert server.runs() == 0
        await server.advance(5)
        assert server.ran()[0].at == 5
        assert len((await server.client.list(Crate)).items) == 2
        server.delay_wakes(0)
        await server.advance(60)
        assert server.ran()[-1].result == "done"


async def test_an_actor_sees_its_own_writes_however_late_changes_come() -> None:
    seen: list[str] = []

    async def notes(one: Stall, client: Client) -> None:
        seen.append(one.spec.note)
        if one.spec.note != "mine":
            await client.patch(Stall, one.metadata.name, "default", {"spec": {"note": "mine"}})

    async with serving(market(notes)) as server:
        await server.client.create(stall())
        await server.settled()
        server.delay_wakes(30)
        await server.client.patch(Stall, "a", "default", {"spec": {"note": "theirs"}})
        await server.advance(29)
        server.wake("a", "default")
        await server.settled()
        assert seen[-1] == "mine"  # the old state: it has not heard of theirs
        await server.advance(120)
        assert (await server.client.get(Stall, "a", "default")).spec.note == "mine"  # type: ignore[union-attr]
        assert seen[-2:] == ["theirs", "mine"]


async def test_faults_are_for_actors_and_not_for_the_test() -> None:
    async with serving(market(keeps)) as server:
        server.fail(lambda: ConflictError("no"), times=100)
        await server.client.create(stall())
        await server.client.patch(Stall, "a", "default", {"spec": {"note": "x"}})
        await server.client.delete(Stall, "a", "default")


async def test_an_observation_with_a_function_is_woken_for_what_it_says() -> None:
    def everywhere(one: Crate) -> list[tuple[str, str]]:
        return [("default", name) for name in "ab"]

    async def looks(one: Stall, client: Client) -> None: ...

    async with serving(market(looks, observes=[Observation(Crate, to=everywhere)])) as server:
        for name in "ab":
            await server.client.create(stall(name))
        await server.settled()
        await server.client.create(Crate(metadata=Metadata(name="x", namespace="default"), spec=CrateSpec()))
        await server.settled()
        assert [ran.place.name for ran in server.ran()[2:]] == ["a", "b"]
