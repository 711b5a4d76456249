"""Kinds that come, change and go while a server serves: on a real socket, beside streams of others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from admission.identity import AUTHENTICATED, Identity
from admission.review import Attributes
from apiserver.discovery import AGGREGATED
from registry.catalog import RegistryError
from tests.apiserver.latecomers import GROUP, late_kind
from tests.apiserver.served import TOKEN, served
from tests.apiserver.world import CONFIGMAPS, TRINKETS, World, opened

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
COMETS = f"/apis/{GROUP}/v1/namespaces/shop/comets"


def comet(name: str, **spec: object) -> Document:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Comet", "metadata": {"name": name}, "spec": {"size": 1, **spec}}


@asynccontextmanager
async def reached(folder: Path) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    """A served world, and a client for its administrator."""
    async with (
        opened() as world,
        served(world, folder) as serving,
        httpx.AsyncClient(
            base_url=serving.credentials.server,
            headers={"Authorization": f"Bearer {TOKEN}"},
            verify=serving.credentials.context,
            trust_env=False,
        ) as client,
    ):
        yield world, client


class Watching:
    """What a client has of a watch. `ended` is set by a clean end."""

    def __init__(self) -> None:
        self.events: list[Document] = []
        self.ended = anyio.Event()
        self.begun = anyio.Event()
        self._grown = anyio.Event()

    async def run(self, client: httpx.AsyncClient, path: str) -> None:
        async with client.stream("GET", path, params={"watch": "1"}, timeout=None) as answer:
            assert answer.status_code == 200
            self.begun.set()
            async for line in answer.aiter_lines():
                self.events.append(msgspec.json.decode(line))
                self._grown.set()
        self.ended.set()

    async def come(self, count: int) -> None:
        while len(self.events) < count:
            self._grown = anyio.Event()
            await self._grown.wait()


async def test_a_kind_that_is_put_is_served_at_once_and_one_that_goes_is_not(tmp_path: Path) -> None:
    async with reached(tmp_path) as (world, client):
        assert (await client.get(COMETS)).status_code == 404
        world.manager.catalog.replace(put=[late_kind(short="cm-")])
        made = await client.post(COMETS, json=comet("halley", size=11, tail="x"))
        assert (made.status_code, made.json()["spec"]) == (201, {"size": 11})
        assert (await client.get(f"{COMETS}/halley")).json() == made.json()
        listed = (await client.get(COMETS)).json()
        assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == ("CometList", ["halley"])
        table = await client.get(COMETS, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
        assert table.json()["rows"][0]["cells"] == ["halley", 11]
        [entry, status] = (await client.get(f"/apis/{GROUP}/v1")).json()["resources"]
        assert (entry["name"], entry["shortNames"], status["name"]) == ("comets", ["cm-"], "comets/status")
        patched = await client.patch(
            f"{COMETS}/halley/status", json={"status": {"seen": True}}, headers={"Content-Type": "application/merge-patch+json"}
        )
        assert patched.json()["status"] == {"seen": True}
        world.manager.catalog.replace(gone=[f"comets.{GROUP}"])
        for path in (COMETS, f"{COMETS}/halley", f"/apis/{GROUP}", f"/apis/{GROUP}/v1", f"/openapi/v3/apis/{GROUP}/v1"):
            assert (await client.get(path)).status_code == 404, path
        assert GROUP not in (await client.get("/apis")).text


async def test_streams_of_what_changed_or_went_end_cleanly_and_those_of_others_go_on(tmp_path: Path) -> None:
    async with reached(tmp_path) as (world, client), anyio.create_task_group() as tasks:
        catalog = world.manager.catalog
        catalog.replace(put=[late_kind(), late_kind("Meteor")])
        watched = {path: Watching() for path in (COMETS, COMETS.replace("comets", "meteors"), CONFIGMAPS, TRINKETS)}
        for path, watching in watched.items():
            tasks.start_soon(watching.run, client, path)
            await watching.begun.wait()
        comets, meteors, configmaps, trinkets = watched.values()
        await world.do("create", COMETS, comet("before"))
        await comets.come(1)
        catalog.replace(put=[late_kind("Comet", "v1", "v2")])  # v1 is what it was
        await world.do("create", COMETS, comet("between"))
        await comets.come(2)
        catalog.replace(put=[late_kind("Comet", "v1", "v2", columns=())])
        await comets.ended.wait()
        again = Watching()
        tasks.start_soon(again.run, client, COMETS.replace("/v1/", "/v2/"))
        await again.come(2)
        assert again.events[0]["object"]["apiVersion"] == f"{GROUP}/v2"
        catalog.replace(gone=[f"meteors.{GROUP}"])
        await meteors.ended.wait()
        catalog.replace(put=[late_kind("Planet", group="other.example")])
        await world.make(CONFIGMAPS, "a")
        await world.make(TRINKETS, "t", spec={"size": 1})
        await world.do("create", COMETS, comet("after"))
        await configmaps.come(1)
        await trinkets.come(1)
        await again.come(3)
        assert not configmaps.ended.is_set()
        assert not trinkets.ended.is_set()
        assert [event["object"]["metadata"]["name"] for event in again.events] == ["before", "between", "after"]
        tasks.cancel_scope.cancel()


async def test_an_etag_changes_with_what_it_is_about_and_with_nothing_else(tmp_path: Path) -> None:
    async with reached(tmp_path) as (world, client):
        catalog = world.manager.catalog
        catalog.replace(put=[late_kind(), late_kind("Planet", group="other.example")])

        async def tags() -> tuple[str, str, str, Document]:
            found = [await client.get(path, headers={"Accept": AGGREGATED}) for path in ("/api", "/apis")]
            swagger = await client.get("/openapi/v2")
            paths = (await client.get("/openapi/v3")).json()["paths"]
            return found[0].headers["etag"], found[1].headers["etag"], swagger.headers["etag"], paths

        before = await tags()
        catalog.replace(put=[late_kind()])  # other objects that say the same
        assert await tags() == before
        same = await client.get("/apis", headers={"Accept": AGGREGATED, "If-None-Match": before[1]})
        assert (same.status_code, same.content) == (304, b"")
        assert (await client.get("/openapi/v2", headers={"If-None-Match": before[2]})).status_code == 304
        catalog.replace(put=[late_kind(short="co")])  # what discovery says, and no schema does
        named = await tags()
        assert (named[0], named[2:]) == (before[0], before[2:])
        assert named[1] != before[1]
        catalog.replace(put=[late_kind("Comet", "v1", "v2", short="co")])
        more = await tags()
        assert more[0] == before[0]
        assert len({before[1], named[1], more[1]}) == 3
        assert more[2] != before[2]
        assert more[3].keys() - before[3].keys() == {f"apis/{GROUP}/v2"}
        assert all(more[3][place] == url for place, url in before[3].items())
        catalog.replace(put=[late_kind()])
        assert await tags() == before


async def test_the_index_of_paths_is_of_what_is_there_now(tmp_path: Path) -> None:
    async with reached(tmp_path) as (world, client):
        before = (await client.get("/")).json()["paths"]
        world.manager.catalog.replace(put=[late_kind()])
        now = (await client.get("/")).json()["paths"]
        assert set(now) - set(before) == {f"/apis/{GROUP}", f"/apis/{GROUP}/v1", f"/openapi/v3/apis/{GROUP}/v1"}
        world.manager.catalog.replace(gone=[f"comets.{GROUP}"])
        assert (await client.get("/")).json()["paths"] == before


async def test_groups_are_listed_in_an_order_that_says_nothing_about_when_they_came(tmp_path: Path) -> None:
    async with reached(tmp_path) as (world, client):
        for group in ("zebra.example", "ant.example", "late.example"):
            world.manager.catalog.replace(put=[late_kind(group=group)])
        listed = [group["name"] for group in (await client.get("/apis")).json()["groups"]]
        own = [group for group in listed if group.endswith(".k8s.io")]
        assert listed[: len(own)] == own
        assert listed[len(own) :] == sorted(listed[len(own) :])
        items = (await client.get("/apis", headers={"Accept": AGGREGATED})).json()["items"]
        assert [item["metadata"]["name"] for item in items] == listed


async def test_what_is_declared_in_code_stays_and_a_twin_is_refused() -> None:
    async with opened() as world:
        catalog, before = world.manager.catalog, world.registry
        with pytest.raises(RegistryError, match=r"widgets.reference.example.com is declared in code"):
            catalog.replace(gone=["widgets.reference.example.com"])
        with pytest.raises(RegistryError, match="is declared in code"):
            catalog.replace(put=[late_kind("Trinket", group="trinkets.example")])
        with pytest.raises(RegistryError, match="declared twice"):
            catalog.replace(put=[late_kind(), replace(late_kind(), plural="planets")])
        assert catalog.registry is before


async def test_the_status_of_a_kind_that_came_late_belongs_to_whoever_has_the_right() -> None:
    async with opened(roles=True) as world:
        world.manager.catalog.replace(put=[late_kind()])
        ann = Identity("ann", groups=(AUTHENTICATED,))
        asked = Attributes(ann, "update", "comets.late.example", subresource="status", namespace="shop", name="a")
        refused = world.manager.authorization.decide(asked)
        assert (refused.allowed, refused.reason) == (False, "")
