"""`/registry`: what a server says of its own registry, to whom, and that it is what is in force."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pytest

from apiserver import inspecting
from apiserver.inspecting import Inspection
from registry.custom.conversion import NoAnswer, webhook_ways
from registry.description import Description, KindDescription, read
from registry.description_fields import at, fields_of
from registry.kinds import Kind
from registry.schema import Schema
from tests.apiserver.defining import GROUP, defining, definition, path, versioned
from tests.apiserver.served import TOKEN, served
from tests.apiserver.world import World, opened
from tests.plugins import apiary, gauges

pytestmark = pytest.mark.anyio

HIVES = f"/apis/{apiary.GROUP}/v1/namespaces/shop/hives"


@asynccontextmanager
async def asked(folder: Path, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a served world, as its admin."""
    async with served(world, folder) as serving:
        trust, headers = serving.credentials.context, {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=serving.credentials.server, headers=headers, verify=trust, trust_env=False) as client:
            yield client


def kind(described: Description, resource: str) -> KindDescription:
    [found] = [each for each in described.kinds if each.resource == resource]
    return found


async def test_all_kinds_in_brief_and_one_with_everything(tmp_path: Path) -> None:
    async with opened(apiary.plugin) as world, asked(tmp_path, world) as client:
        await world.make(HIVES, "home", spec={"place": "garden"})
        whole = await client.get("/registry")
        assert whole.headers["content-type"] == "application/json"
        described = read(whole.json())
        hives = kind(described, "hives.bees.example")
        assert (hives.objects, hives.versions[0].schema) == ({"bees.example/v1": 1}, None)
        assert kind(described, "bees.bees.example").objects == {}
        assert kind(described, "namespaces").objects == {"v1": 2}
        assert [actor.name for actor in described.actors] == ["keeper"]
        one = read((await client.get("/registry/hives.bees.example")).json())
        [hives] = one.kinds
        assert hives.objects == {"bees.example/v1": 1}
        assert hives.versions[0].schema is not None
        assert one.actors == described.actors
        assert (await client.get("/registry/nothing")).status_code == 404
        assert (await client.post("/registry")).status_code == 405
        assert "/registry" in (await client.get("/")).json()["paths"]


async def test_what_is_unchanged_is_not_sent_again(tmp_path: Path) -> None:
    async with opened(apiary.plugin) as world, asked(tmp_path, world) as client:
        for page in ("/registry", "/registry/hives.bees.example"):
            first = await client.get(page)
            known = {"If-None-Match": first.headers["etag"]}
            assert (await client.get(page, headers=known)).status_code == 304
            await world.make(HIVES, page.replace("/", "x"), spec={"place": "garden"})
            assert (await client.get(page, headers=known)).status_code == 200


async def test_it_is_shown_to_whom_roles_allow(tmp_path: Path) -> None:
    async with opened(apiary.plugin, roles=True) as world, asked(tmp_path, world) as client:
        for page in ("/registry", "/registry/hives.bees.example", "/registry/nothing"):
            ann = {"Impersonate-User": "ann"}
            assert (await client.get(page, headers=ann)).status_code == 403
            viewer = [("Impersonate-User", "ann"), ("Impersonate-Group", "skep:registry-viewers")]
            assert (await client.get(page, headers=viewer)).status_code == (404 if page.endswith("nothing") else 200)


async def test_objects_are_counted_in_the_version_that_each_is_stored_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "STEP", 2)
    async with opened(gauges.plugin()) as world:
        for name in "abcde":
            await world.make(path("gauges", group=gauges.GROUP), name, spec={"target": {"url": "https://a.example"}})
        old = [msgspec.structs.replace(each, api_version=gauges.OLD) for each in world.stored(f"gauges.{gauges.GROUP}")[:2]]
        for record in old:
            world.store.state.put(record)  # type: ignore[attr-defined]
        inspection = Inspection(lambda: world.registry, world.store)
        found = await inspection.one(f"gauges.{gauges.GROUP}")
        assert found is not None
        [told] = read(msgspec.json.decode(found[0])).kinds
        assert told.objects == {gauges.OLD: 2, gauges.NEW: 3}


async def test_kinds_that_come_and_go_at_run_time_are_followed() -> None:
    async with opened(apiary.plugin) as world:
        inspection = Inspection(lambda: world.registry, world.store)

        async def there() -> dict[str, KindDescription]:
            body, _ = await inspection.whole()
            return {each.resource: each for each in read(msgspec.json.decode(body)).kinds}

        before = await there()
        hive = world.registry.of_resource("hives.bees.example")
        assert hive is not None
        version = replace(hive.storage, group="late.example", model=None, kind="Late", schema=Schema(hive.storage.schema.node))
        late = replace(hive, name="Late", plural="lates", versions=(version,), storage=version, source="")
        world.manager.catalog.replace(put=[late])
        after = await there()
        assert after.keys() - before.keys() == {"lates.late.example"}
        assert after["lates.late.example"].declared == "definition"
        renamed = replace(late, short_names=("lt",))
        world.manager.catalog.replace(put=[renamed])
        assert (await there())["lates.late.example"].short_names == ("lt",)
        world.manager.catalog.replace(gone=["lates.late.example"])
        assert await there() == before
        assert await inspection.one("lates.late.example") is None


async def test_a_kind_of_a_definition_says_how_it_is_converted_and_what_its_rules_are() -> None:
    rules = [{"rule": "self.size < 10", "message": "too big"}]
    size = {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}, "x-kubernetes-validations": rules}
    schema = {"type": "object", "properties": {"spec": size}}
    versions = [versioned(schema=schema), versioned("v1beta1", storage=False, deprecated=True)]
    webhook = {
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:9/convert"}},
    }
    async with opened(apiary.plugin) as world, defining(world) as defined:
        await defined.define(definition(versions=versions, names={"shortNames": ["bo"]}))
        await defined.define(definition("nuts", "Nut", versions=versions, conversion=webhook))
        await defined.settled()
        nut = world.registry.of_resource(f"nuts.{GROUP}")
        assert nut is not None
        world.manager.catalog.replace(put=[asked_of_nobody(nut)])
        for plural in ("bolts", "nuts"):
            await world.make(path(plural), "a", spec={"size": 1})
        inspection = Inspection(lambda: world.registry, world.store)
        found = [await inspection.one(f"{plural}.{GROUP}") for plural in ("bolts", "nuts")]
        bolts, nuts = (read(msgspec.json.decode(each[0])).kinds[0] for each in found if each is not None)
        assert (bolts.conversion, nuts.conversion) == ("", "webhook")
        assert (bolts.declared, bolts.owner, bolts.short_names) == ("definition", "", ("bo",)), "it has no status"
        assert bolts.objects == {f"{GROUP}/v1": 1}
        assert [(each.name, each.deprecated, each.storage) for each in bolts.versions] == [
            ("v1", False, True),
            ("v1beta1", True, False),
        ]
        told = at(bolts.versions[0].schema or {}, ("spec",))
        assert told is not None
        assert told.rules == ["rule self.size < 10 (too big)"]
        assert [(field.name, field.rules) for field in fields_of(told.schema)] == [("size", ["default 3"])]


def asked_of_nobody(kind: Kind) -> Kind:
    """The same kind, whose objects are converted by a webhook that cannot be asked."""

    async def call(documents: object, target: str) -> list[object]:
        raise NoAnswer(target)

    ways = webhook_ways(kind.name, {version.api_version: version.schema for version in kind.versions}, call)
    versions = tuple(replace(version, ways=ways) for version in kind.versions)
    return replace(kind, versions=versions, storage=next(each for each in versions if each.name == kind.storage.name))
