"""Versions that are stored and not served, and actors on the other side of a socket, which have the version that they name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from actors.actor import Again, from_declaration
from actors.client import Client, Place
from actors.clock import SystemClock
from actors.recorder import EventRecorder
from actors.runner import Environment, Runner
from apiserver.remote import RemoteDoor, RemoteEvents, open_api
from apiserver.remote_watch import RemoteSource, Streams
from apiserver.target import PageNotFound
from registry.builtin import KINDS
from registry.catalog import RegistryError
from registry.declarations import ActorDeclaration
from registry.diff import Verdict, diff
from registry.lifecycle import Lifecycle, Release
from registry.lock import lock_of
from registry.plugin import Plugin, build
from registry.promises import broken
from tests.actors.world import Lines
from tests.apiserver.served import served
from tests.apiserver.test_conversion import FULL, path, spec_in, store_as
from tests.apiserver.world import opened
from tests.plugins import gauges
from tests.plugins.gauges import GaugeAlpha, GaugeBeta

pytestmark = pytest.mark.anyio

Document = dict[str, Any]


def without(version: str, **said: Any) -> Plugin:
    """The plugin, with a version that is not served any more."""
    plugin = gauges.plugin()
    plugin.kinds = [replace(each, served=False, **said) if each.version == version else each for each in plugin.kinds]
    return plugin


async def test_what_is_stored_in_a_version_that_is_not_served_is_read_in_the_others_and_nobody_can_ask_for_it() -> None:
    async with opened(without("v1alpha1")) as world:
        await store_as(world, "v1alpha1", "a", {"url": "https://a", "interval": "60s", "hint": "h"})
        assert (await world.get(path("v1beta1", "a")))["spec"] == {"url": "https://a", "intervalSeconds": 60}
        page = (await world.do("list", path("v1"))).page
        assert page is not None
        assert [record.key.name for record in page.records] == ["a"]
        with pytest.raises(PageNotFound):
            world.target(path("v1alpha1"))
        await world.merge(path("v1", "a"), {"spec": {"intervalSeconds": 5}})
        assert (await world.get(path("v1beta1", "a")))["spec"]["intervalSeconds"] == 5
        assert [version.name for version in world.registry.kinds[-1].served] == ["v1", "v1beta1"]


def problems(plugin: Plugin) -> list[str]:
    """What building says."""
    with pytest.raises(RegistryError) as refused:
        build([plugin], KINDS)
    return list(refused.value.problems)


def test_a_kind_is_stored_in_a_version_that_is_served() -> None:
    (said,) = problems(without("v1"))
    assert "it is stored in v1, which is not served: store it in one that is" in said


def test_a_kind_has_a_version_that_is_served() -> None:
    plugin = Plugin("gauges")
    plugin.kind(gauges.Gauge, group=gauges.GROUP, version="v1", plural="gauges", served=False)
    (said,) = problems(plugin)
    assert "no version of it is served" in said


def test_an_actor_is_not_written_against_a_version_that_is_not_served() -> None:
    plugin = without("v1alpha1")
    plugin.kinds = [replace(each, owner=None) for each in plugin.kinds]

    @plugin.actor(GaugeAlpha)
    async def watch(gauge: GaugeAlpha, client: Client) -> None:
        del gauge, client

    (said,) = problems(plugin)
    assert said.endswith("owns Gauge v1alpha1, which is not served; write it against v1, v1beta1")


def test_lock_and_diff_tell_that_a_version_is_not_served_any_more() -> None:
    before, after = (lock_of(build([plugin], KINDS).kinds) for plugin in (gauges.plugin(), without("v1beta1")))
    found = [change for change in diff(before, after) if change.version == "v1beta1"]
    assert [(change.verdict, change.message) for change in found] == [
        (Verdict.BREAKING, "it is no longer served, and nobody was told: deprecate it first")
    ]
    assert [change for change in diff(after, after) if change.verdict is Verdict.BREAKING] == []
    (again,) = [change for change in diff(after, before) if change.version == "v1beta1"]
    assert (again.verdict, again.message) == (Verdict.COMPATIBLE, "it is served again")


def test_a_version_that_went_when_it_was_to_go_breaks_no_promise() -> None:
    now = Release("2.0", "2026-01-01")
    life = Lifecycle(Release("0.1", "2023-01-01"), Release("1.0", "2024-01-01"), now, "v1")
    gone, there = without("v1beta1", life=life), without("v1alpha1")
    there.kinds = [replace(each, life=life) if each.version == "v1beta1" else each for each in there.kinds]
    said = {}
    for name, plugin in (("gone", gone), ("there", there)):
        kind = build([plugin], KINDS).of_resource(f"gauges.{gauges.GROUP}")
        assert kind is not None
        said[name] = [finding.rule.id for finding in broken(kind, now)]
    assert "SKEP116" in said["there"]
    assert "SKEP116" not in said["gone"]


def test_a_successor_is_served() -> None:
    plugin = without("v1beta1")
    plugin.kinds = [
        replace(each, life=Lifecycle(successor="v1beta1")) if each.version == "v1alpha1" else each for each in plugin.kinds
    ]
    (said,) = problems(plugin)
    assert "the successor 'v1beta1' is not served" in said


async def test_an_actor_on_the_other_side_has_the_version_that_it_was_written_against(tmp_path: Path) -> None:
    seen: list[GaugeBeta] = []
    done = anyio.Event()

    async def check(gauge: GaugeBeta, client: Client) -> Again:
        seen.append(gauge)
        if gauge.metadata.name == "b":
            await client.patch(GaugeBeta, "b", "shop", {"spec": {"intervalSeconds": 61}})
        if {each.metadata.name for each in seen} == {"a", "b"} and any(each.spec.interval_seconds == 61 for each in seen):
            done.set()
        return Again(3600)

    async with opened(gauges.plugin()) as world, served(world, tmp_path) as server:
        await store_as(world, "v1alpha1", "a", {"url": "https://a", "interval": "9s"})
        await world.make(path("v1"), "b", spec=FULL)
        async with open_api(server.credentials, "t") as api:
            clock, log, streams = SystemClock(), Lines(), Streams()
            environment = Environment(
                source=RemoteSource(api, world.registry, streams),
                door=RemoteDoor(api, world.registry, streams.watch),
                recorder=EventRecorder(RemoteEvents(api), "check", clock, Random(1), log),
                clock=clock,
                chance=Random(1),
                log=log,
            )
            declared = ActorDeclaration(name="check", model=GaugeBeta, reconcile=check, source="x:1")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Runner(from_declaration(declared), environment).run)
                await done.wait()
                tasks.cancel_scope.cancel()
            page = await RemoteDoor(api, world.registry, streams.watch).get(GaugeAlpha, Place("shop", "b"))
        assert {type(each) for each in seen} == {GaugeBeta}
        assert {(each.metadata.name, each.spec.interval_seconds, each.spec.retries) for each in seen} == {
            ("a", 9, None),
            ("b", 60, 3),
            ("b", 61, 3),
        }
        assert page["spec"] == {"url": "https://a", "interval": "61s"}
        assert (await world.get(path("v1", "b")))["spec"] == spec_in("v1", {"intervalSeconds": 61})
        assert {request[2] for request in server.requests if request[1] in ("list", "watch")} == {f"gauges.{gauges.GROUP}"}
