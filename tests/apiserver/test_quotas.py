"""Quotas: never more objects than they allow, however they are made; and what their status tells."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apiserver import usage
from apiserver.patching import APPLY_PATCH
from apiserver.quotas import Quotas
from registry.errors import ApiError, Forbidden
from storage.store import Key, Record
from tests.apiserver.keeping import keeping
from tests.apiserver.world import CONFIGMAPS, SOMEBODY, WIDGETS, World, opened
from tests.storage.tools import together

pytestmark = pytest.mark.anyio

QUOTAS = "/api/v1/namespaces/shop/resourcequotas"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
COUNT = "count/widgets.reference.example.com"


async def limit(world: World, name: str = "most", **hard: str) -> None:
    await world.make(QUOTAS, name, spec={"hard": {key.replace("__", "/"): value for key, value in hard.items()}})


async def refused(act: Callable[[], Awaitable[object]]) -> ApiError | None:
    try:
        await act()
    except ApiError as error:
        return error
    return None


async def test_the_refusal_is_that_of_kubernetes(world: World) -> None:
    await world.make(QUOTAS, "most", spec={"hard": {"configmaps": "2", "count/configmaps": 1}})
    await world.make(CONFIGMAPS, "a")
    with pytest.raises(Forbidden) as error:
        await world.make(CONFIGMAPS, "b")
    assert error.value.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "b" is forbidden: exceeded quota: most, requested: count/configmaps=1, used: count/configmaps=1, '
        "limited: count/configmaps=1",
        "reason": "Forbidden",
        "details": {"name": "b", "kind": "configmaps"},
        "code": 403,
    }


async def test_however_an_object_is_made_it_counts(world: World) -> None:
    await world.make(QUOTAS, "most", spec={"hard": {COUNT: "1", "count/leases.coordination.k8s.io": "0"}})
    applied = b"apiVersion: reference.example.com/v1\nkind: Widget\nmetadata: {name: x}\nspec: {size: 1}\n"
    await world.make(WIDGETS, "w", spec={"size": 1})
    ways = [
        partial(world.do, "create", WIDGETS, {"metadata": {"generateName": "w-"}, "spec": {"size": 1}}),
        partial(world.do, "create", WIDGETS, {"metadata": {"name": "y"}, "spec": {"size": 1}}, query="dryRun=All"),
        partial(world.do, "create", WIDGETS, {"metadata": {"name": "y"}, "spec": {"size": 1}}, who=SOMEBODY),
        partial(world.do, "patch", f"{WIDGETS}/x", applied, content_type=APPLY_PATCH, query="fieldManager=me"),
        partial(world.do, "update", f"{LEASES}/l", {"metadata": {"name": "l"}, "spec": {}}),
    ]
    for way in ways:
        error = await refused(way)
        assert isinstance(error, Forbidden), way
        assert "exceeded quota: most" in error.message
    assert [record.key.name for record in world.stored("widgets.reference.example.com")] == ["w"]
    await world.merge(f"{WIDGETS}/w", {"spec": {"size": 2}})
    await world.do("delete", f"{WIDGETS}/w")
    await world.make(WIDGETS, "w2", spec={"size": 1})


async def test_what_was_there_before_its_quota_stays_and_no_more_is_made(world: World) -> None:
    for name in "abc":
        await world.make(CONFIGMAPS, name)
    await limit(world, configmaps="2")
    assert await refused(partial(world.make, CONFIGMAPS, "d"))
    for name in "ab":
        await world.do("delete", f"{CONFIGMAPS}/{name}")
    await world.make(CONFIGMAPS, "d")
    assert await refused(partial(world.make, CONFIGMAPS, "e"))


async def test_the_smallest_of_several_quotas_counts_and_those_of_other_namespaces_do_not(world: World) -> None:
    await limit(world, "wide", configmaps="5")
    await limit(world, "narrow", configmaps="1")
    await world.make("/api/v1/namespaces/default/resourcequotas", "none", spec={"hard": {"configmaps": "0"}})
    await world.make(CONFIGMAPS, "a")
    error = await refused(partial(world.make, CONFIGMAPS, "b"))
    assert error is not None
    assert "exceeded quota: narrow" in error.message
    await world.do("delete", f"{QUOTAS}/narrow")
    await world.make(CONFIGMAPS, "b")
    assert await refused(partial(world.make, "/api/v1/namespaces/default/configmaps", "a"))


async def test_quotas_and_events_themselves(world: World) -> None:
    await limit(world, resourcequotas="1", count__events="0")
    assert await refused(partial(limit, world, "second"))
    await world.make("/api/v1/namespaces/shop/events", "told", involvedObject={"namespace": "shop", "name": "a"})


async def test_of_a_hundred_at_once_as_many_are_made_as_may_be(world: World) -> None:
    await limit(world, configmaps="7")
    results = await together(*(partial(world.make, CONFIGMAPS, f"c{n}") for n in range(100)))
    assert sum(isinstance(result, Forbidden) for result in results) == 93
    assert len(world.stored("configmaps")) == 7


Step = tuple[str, int]
STEPS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["make", "make", "make", "drop", "quota", "free"]), st.integers(0, 3)), min_size=1, max_size=8
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(rounds=STEPS)
async def test_whatever_is_done_at_once_nothing_is_made_beyond_a_quota_that_was_there(rounds: list[list[Step]]) -> None:
    async with opened() as world:
        made = 0

        async def act(verb: str, number: int) -> None:
            nonlocal made
            if verb == "make":
                made += 1
                await world.make(CONFIGMAPS, f"c{made}")
            elif verb == "drop" and (there := world.stored("configmaps")):
                await world.do("delete", f"{CONFIGMAPS}/{there[number % len(there)].key.name}")
            elif verb == "quota":
                await limit(world, f"q{number}", configmaps=str(number))
            elif verb == "free":
                await world.do("delete", f"{QUOTAS}/q{number}")

        for steps in rounds:
            await together(*(partial(act, *step) for step in steps))
        _replay(world)


def _replay(world: World) -> None:
    """Goes through history: at each creation there was room under every quota that was there at that moment."""
    cursors = [world.store.watch(name, 0) for name in ("configmaps", "resourcequotas")]
    quotas: dict[str, int] = {}
    there: set[str] = set()
    for change in sorted((change for cursor in cursors for change in cursor.take()), key=lambda change: change.revision):
        name, gone = change.record.key.name, change.op.value == "DELETED"
        if change.record.key.resource == "configmaps":
            assert gone or len(there) < min(quotas.values(), default=len(there) + 1), (there, quotas)
            (there.discard if gone else there.add)(name)
        elif gone:
            del quotas[name]
        else:
            quotas[name] = int(json.loads(change.record.desired)["spec"]["hard"]["configmaps"])


def test_limits_are_read_again_when_the_quota_says_something_else() -> None:
    def quota(most: str) -> Record:
        desired = b'{"spec":{"hard":{"configmaps":"%s"}}}' % most.encode()
        return Record(Key("resourcequotas", "shop", "q"), "u", 1, "v1", desired, b"")

    quotas = Quotas()
    assert [quotas.limits(quota(most))["configmaps"]["configmaps"] for most in ("1", "2")] == [1, 2]


# What is used


async def test_the_status_says_what_is_used_and_many_changes_are_counted_together() -> None:
    async with keeping() as keeper:
        world = keeper.world

        async def report(wanted: dict[str, Any]) -> None:
            await keeper.clock.advance(usage.PAUSE)
            with anyio.fail_after(20):
                while (await world.get(f"{QUOTAS}/most")).get("status") != wanted:
                    await anyio.lowlevel.checkpoint()

        await world.make(QUOTAS, "most", spec={"hard": {"configmaps": "60", "pods": "4"}})
        await report({"hard": {"configmaps": "60", "pods": "4"}, "used": {"configmaps": "0", "pods": "0"}})
        before = world.store.revision
        await together(*(partial(world.make, CONFIGMAPS, f"c{n}") for n in range(50)))
        await report({"hard": {"configmaps": "60", "pods": "4"}, "used": {"configmaps": "50", "pods": "0"}})
        assert world.store.revision == before + 51, "one status for fifty objects"
        await world.do("delete", f"{CONFIGMAPS}/c1")
        await world.merge(f"{QUOTAS}/most", {"spec": {"hard": {"pods": None, "count/configmaps": "70"}}})
        hard = {"configmaps": "60", "count/configmaps": "70"}
        await report({"hard": hard, "used": {"configmaps": "49", "count/configmaps": "49"}})
        await world.do("delete", f"{QUOTAS}/most")
        await keeper.quiet()
        assert keeper.builtins.usage._listening == {}, "nobody counts them any more"


async def test_the_status_of_a_quota_is_written_by_the_server_alone(world: World) -> None:
    await limit(world, configmaps="1")
    with pytest.raises(Forbidden, match="written by its owner alone, system:apiserver"):
        await world.merge(f"{QUOTAS}/most/status", {"status": {"used": {"configmaps": "0"}}})
