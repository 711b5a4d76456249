"""What has expired is deleted on time, on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from registry.errors import Invalid
from registry.expiring import Ttl
from registry.plugin import Plugin
from registry.resource import Resource, Spec, Status, Time
from registry.times import format_micro, format_time
from tests.apiserver.keeping import Keeper, keeping, path_of
from tests.plugins.reference import plugin as reference

pytestmark = pytest.mark.anyio

EVENTS = "/api/v1/namespaces/shop/events"
PASSES = "/apis/gate.example/v1/namespaces/shop/passes"
RUNS = "/apis/gate.example/v1/namespaces/shop/runs"


class PassSpec(Spec):
    ttl_seconds: int | None = None


class Pass(Resource[PassSpec, None]):
    """Pass is good for some time."""


class RunStatus(Status):
    finished_at: Time | None = None


class Run(Resource[PassSpec, RunStatus]):
    """Run is kept for some time after it has finished."""


def gate() -> Plugin:
    plugin = Plugin("gate")
    plugin.kind(Pass, group="gate.example", version="v1", plural="passes", ttl=".spec.ttlSeconds")
    since = Ttl(".spec.ttlSeconds", since=".status.finishedAt")
    plugin.kind(Run, group="gate.example", version="v1", plural="runs", ttl=since, owner="external")
    return plugin


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    async with keeping(reference, gate(), event_seconds=600.0) as made:
        yield made


def names(keeper: Keeper, resource: str) -> list[str]:
    return [record.key.name for record in keeper.world.stored(resource)]


async def passed(keeper: Keeper, seconds: float) -> None:
    await keeper.clock.advance(seconds)
    await keeper.quiet()


async def test_an_object_is_deleted_when_its_annotation_says(keeper: Keeper) -> None:
    await keeper.widget("short", annotations={"skep.dev/ttl": "90s"})
    await keeper.widget("long", annotations={"skep.dev/ttl": "1d12h"})
    await keeper.widget("ever")
    await passed(keeper, 89.0)
    assert set(keeper.there()) == {"short", "long", "ever"}
    await passed(keeper, 1.0)
    assert set(keeper.there()) == {"long", "ever"}
    await passed(keeper, 36 * 3600 - 91.0)
    assert set(keeper.there()) == {"long", "ever"}
    await passed(keeper, 1.0)
    assert set(keeper.there()) == {"ever"}


async def test_an_object_is_deleted_when_its_kind_says(keeper: Keeper) -> None:
    await keeper.world.make(PASSES, "short", spec={"ttlSeconds": 60})
    await keeper.world.make(PASSES, "ever", spec={})
    await keeper.world.make(PASSES, "annotated", metadata={"annotations": {"skep.dev/ttl": "2m"}}, spec={"ttlSeconds": 60})
    await passed(keeper, 59.0)
    assert names(keeper, "passes.gate.example") == ["annotated", "ever", "short"]
    await passed(keeper, 1.0)
    assert names(keeper, "passes.gate.example") == ["annotated", "ever"]
    await passed(keeper, 60.0)
    assert names(keeper, "passes.gate.example") == ["ever"]


async def test_a_time_to_live_may_begin_with_something_in_the_status(keeper: Keeper) -> None:
    await keeper.world.make(RUNS, "r", spec={"ttlSeconds": 60})
    await passed(keeper, 600.0)
    assert names(keeper, "runs.gate.example") == ["r"]
    await keeper.world.merge(f"{RUNS}/r/status", {"status": {"finishedAt": format_time(keeper.clock.time())}})
    await passed(keeper, 59.0)
    assert names(keeper, "runs.gate.example") == ["r"]
    await passed(keeper, 1.0)
    assert names(keeper, "runs.gate.example") == []


async def test_a_time_can_be_put_off_and_taken_back_and_brought_forward(keeper: Keeper) -> None:
    made = [await keeper.widget(name, annotations={"skep.dev/ttl": "60s"}) for name in ("off", "back", "forward")]
    for each, text in zip(made, ("120s", None, "10s"), strict=True):
        await keeper.world.merge(path_of(each), {"metadata": {"annotations": {"skep.dev/ttl": text}}})
    await passed(keeper, 10.0)
    assert set(keeper.there()) == {"off", "back"}
    await passed(keeper, 109.0)
    assert set(keeper.there()) == {"off", "back"}
    await passed(keeper, 1.0)
    assert set(keeper.there()) == {"back"}


async def test_what_expired_while_nobody_looked_goes_when_somebody_does(keeper: Keeper) -> None:
    keeper.kill_before, keeper.kill_at = True, 0
    await keeper.widget("short", annotations={"skep.dev/ttl": "60s"})
    await passed(keeper, 60.0)
    assert keeper.killed
    assert set(keeper.there()) == {"short"}
    await passed(keeper, 600.0)
    await keeper.start()
    assert not keeper.there()


async def test_an_expired_object_waits_for_its_finalizers_and_is_deleted_once(keeper: Keeper) -> None:
    made = await keeper.widget("held", annotations={"skep.dev/ttl": "60s"}, finalizers=["example.com/hold"])
    await passed(keeper, 60.0)
    await passed(keeper, 3600.0)
    assert keeper.there()["held"]["metadata"]["deletionTimestamp"]
    assert [write for write in keeper.writes if write[0] == "expiry"] == [
        ("expiry", "delete", "widgets.reference.example.com held")
    ]
    await keeper.free(made)
    assert not keeper.there()


async def test_what_depends_on_an_expired_object_goes_with_it(keeper: Keeper) -> None:
    made = await keeper.widget("parent", annotations={"skep.dev/ttl": "60s"})
    reference = {"apiVersion": made["apiVersion"], "kind": "Widget", "name": "parent", "uid": made["metadata"]["uid"]}
    await keeper.widget("child", reference)
    await passed(keeper, 60.0)
    assert not keeper.there()


async def test_an_object_that_was_put_off_at_the_last_moment_stays(keeper: Keeper) -> None:
    made = await keeper.widget("a", annotations={"skep.dev/ttl": "60s"})
    handle = keeper.world.manager.handle

    async def put_off(call: Any) -> Any:
        if call.verb == "delete" and call.identity.username == "system:serviceaccount:kube-system:skep-actor-expiry":
            keeper.world.manager.handle = handle  # type: ignore[method-assign]
            await keeper.world.merge(path_of(made), {"metadata": {"annotations": {"skep.dev/ttl": "1h"}}})
        return await handle(call)

    keeper.world.manager.handle = put_off  # type: ignore[method-assign]
    await passed(keeper, 600.0)
    assert set(keeper.there()) == {"a"}
    await passed(keeper, 3000.0)
    assert not keeper.there()


@pytest.mark.parametrize("text", ["", "soon", "10", "-1s", "1.5h", "10 s", "99999999999d", "36601d"])
async def test_an_annotation_that_says_no_time_is_refused(keeper: Keeper, text: str) -> None:
    with pytest.raises(Invalid, match=r"metadata.annotations\[skep.dev/ttl\]: Invalid value: .* must "):
        await keeper.widget("a", annotations={"skep.dev/ttl": text})
    made = await keeper.widget("b")
    with pytest.raises(Invalid, match=r"skep\.dev/ttl"):
        await keeper.world.merge(path_of(made), {"metadata": {"annotations": {"skep.dev/ttl": text}}})


async def test_the_annotation_means_nothing_on_kinds_of_kubernetes(keeper: Keeper) -> None:
    path = "/api/v1/namespaces/shop/configmaps"
    await keeper.world.make(path, "c", metadata={"annotations": {"skep.dev/ttl": "1s"}}, data={})
    await passed(keeper, 3600.0)
    assert names(keeper, "configmaps") == ["c"]


async def test_an_event_is_deleted_some_time_after_it_was_last_seen(keeper: Keeper) -> None:
    about = {"involvedObject": {"namespace": "shop", "name": "x"}}
    now = keeper.clock.time()
    await keeper.world.make(EVENTS, "plain", **about)
    await keeper.world.make(EVENTS, "repeated", lastTimestamp=format_time(now), **about)
    await keeper.world.make(EVENTS, "ahead", lastTimestamp=format_time(now + 86400), **about)
    series = {"count": 2, "lastObservedTime": format_micro(now + 60)}
    await keeper.world.make(EVENTS, "series", series=series, **about)
    await passed(keeper, 300.0)
    await keeper.world.merge(f"{EVENTS}/repeated", {"lastTimestamp": format_time(keeper.clock.time()), "count": 2})
    await passed(keeper, 299.0)
    assert names(keeper, "events") == ["ahead", "plain", "repeated", "series"]
    await passed(keeper, 1.0)
    assert names(keeper, "events") == ["repeated", "series"]
    await passed(keeper, 60.0)
    assert names(keeper, "events") == ["repeated"]
    await passed(keeper, 240.0)
    assert names(keeper, "events") == []


async def test_nothing_is_done_before_something_is_due(keeper: Keeper) -> None:
    for number in range(50):
        await keeper.widget(f"w{number}", annotations={"skep.dev/ttl": "30d"})
    before = len(keeper.writes)
    await passed(keeper, 29 * 86400.0)
    assert len(keeper.writes) == before
    await passed(keeper, 86400.0)
    assert not keeper.there()
