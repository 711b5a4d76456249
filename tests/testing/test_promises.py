"""What is promised to actors, on a real server, whatever the order of things. Each test runs once for each seed."""

from __future__ import annotations

import pytest

from actors import Wake
from actors.testing import Server, fixture
from registry.resource import Metadata
from tests.plugins.moody import Mood, MoodSpec, MoodStatus, plugin

pytestmark = pytest.mark.anyio

server = fixture(plugin, seeds=8)


async def make(server: Server, name: str, mood: str = "calm", note: str = "") -> None:
    metadata = Metadata(name=name, namespace="default")
    await server.client.create(Mood(metadata=metadata, spec=MoodSpec(mood=mood, note=note)))


async def change(server: Server, name: str, **spec: str) -> None:
    await server.client.patch(Mood, name, "default", {"spec": spec})


async def status(server: Server, name: str) -> MoodStatus:
    found = await server.client.get(Mood, name, "default")
    assert found is not None
    return found.status or MoodStatus()


async def test_a_run_for_each_change_and_none_for_its_own_status(server: Server) -> None:
    await make(server, "a", note="one")
    await server.settled()
    await change(server, "a", note="two")
    await server.advance(3600)
    assert [(ran.wake, ran.result) for ran in server.ran()] == [(Wake.DESIRED, "done"), (Wake.DESIRED, "done")]
    found = await server.client.get(Mood, "a", "default")
    assert found is not None
    assert found.metadata.generation == 2, "status writes do not count"


async def test_one_status_write_a_run_and_none_if_nothing_changed(server: Server) -> None:
    for name in "abc":
        await make(server, name, "strange", note=name)
    await server.settled()
    for name in "abc":
        server.wake(name, "default")
    await server.settled()
    assert server.runs() == 6
    assert sorted(written.place.name for written in server.writes()) == ["a", "b", "c"]


async def test_who_asks_to_look_again_is_woken_when_it_is_time(server: Server) -> None:
    await make(server, "a", "restless")
    await server.advance(0.26)
    assert [round(ran.at, 3) for ran in server.ran()] == [0, 0.05, 0.1, 0.15, 0.2, 0.25]
    assert [ran.wake for ran in server.ran()] == [Wake.DESIRED, *[Wake.TIMER] * 5]
    await server.advance(3600)
    assert server.runs() == 6


async def test_who_gives_up_says_so_and_is_not_run_again_until_the_object_changes(server: Server) -> None:
    await make(server, "a", "hopeless")
    await server.settled()
    assert [(said.type, said.reason) for said in await server.events("a")] == [("Warning", "Hopeless")]
    await server.advance(24 * 3600)
    assert server.runs() == 1
    [stalled] = (await status(server, "a")).conditions
    assert (stalled.type, stalled.status, stalled.reason, stalled.message) == ("Stalled", "True", "Hopeless", "nothing can be done")
    await change(server, "a", mood="calm")
    await server.settled()
    [stalled] = (await status(server, "a")).conditions
    assert stalled.status == "False"


async def test_a_failure_is_tried_again_ever_more_slowly_and_shown_without_its_secret(server: Server) -> None:
    await make(server, "a", "broken", note="it")
    await server.advance(10)
    waits = [after.at - before.at for before, after in zip(server.ran(), server.ran()[1:], strict=False)]
    for wait, longest in zip(waits, [0.05, 0.1, *[0.2] * len(waits)], strict=False):
        assert 0.8 * longest <= wait <= longest + 1e-9
    [said] = await server.events("a")
    assert (said.type, said.reason, said.times) == ("Warning", "ReconcileFailed", server.runs())
    assert said.message == "RuntimeError: token=*** cannot bear it"
    await change(server, "a", mood="calm")
    await server.settled()
    assert (await status(server, "a")).saw == "it"


async def test_a_failing_object_does_not_hold_up_the_others(server: Server) -> None:
    await make(server, "bad", "broken")
    for number in range(20):
        await make(server, f"good-{number}", note="x")
    await server.settled()
    assert [(await status(server, f"good-{number}")).saw for number in range(20)] == ["x"] * 20


async def test_after_a_restart_every_object_is_looked_at_and_what_changed_meanwhile_is_seen(server: Server) -> None:
    await make(server, "a", note="before")
    await make(server, "b", "strange", note="before")
    await server.settled()
    await server.kill()
    await change(server, "a", note="meanwhile")
    await server.client.delete(Mood, "b", "default")
    await make(server, "c", note="new")
    await server.restart()
    await server.settled()
    assert (await status(server, "a")).saw == "meanwhile"
    assert (await status(server, "c")).saw == "new"
    assert server.runs(name="a") == 2
    assert server.runs(name="b") == 1, "it is gone"


async def test_a_run_never_sees_less_than_the_actor_has_written_however_late_it_hears_of_it(server: Server) -> None:
    server.delay_wakes(60)
    await make(server, "a", note="x")
    await server.advance(60)
    for _ in range(3):
        server.wake("a", "default")
        await server.settled()
    assert (await status(server, "a")).runs == server.runs(), "each run counts on from the status of the last"


async def test_another_object_of_the_same_name_gets_no_status_of_the_first(server: Server) -> None:
    await make(server, "a", note="first")
    await server.settled()
    server.delay_wakes(5)
    await server.client.delete(Mood, "a", "default")
    await make(server, "a", "strange", note="second")
    server.wake("a", "default")  # the actor still sees the first one
    await server.settled()
    assert await status(server, "a") == MoodStatus()
    await server.advance(3600)
    assert ((await status(server, "a")).saw, (await status(server, "a")).runs) == ("second", 1)


async def test_lost_watches_expired_history_and_conflicts_lose_nothing(server: Server) -> None:
    for round_ in range(3):
        server.drop_watches()
        await make(server, f"a-{round_}", note="x")
        await server.expire_history()
        await change(server, f"a-{round_}", note="y")
        server.conflict(Mood, f"a-{round_}")
        await server.advance(60)
    assert [(await status(server, f"a-{round_}")).saw for round_ in range(3)] == ["y"] * 3
