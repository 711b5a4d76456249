"""Kinds that are defined at run time, from their definition to their end."""

from __future__ import annotations

import pytest

from registry.errors import BadRequest, Forbidden, Invalid, NotFound
from registry.nodes import Document
from tests.apiserver.defining import DEFINITIONS, GROUP, defining, definition, path, versioned
from tests.apiserver.world import SOMEBODY, opened

pytestmark = pytest.mark.anyio
BOLT = f"bolts.{GROUP}"


def bolt(name: str, **metadata: object) -> Document:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Bolt", "metadata": {"name": name, **metadata}, "spec": {"size": 1}}


async def test_a_kind_can_be_used_as_soon_as_its_definition_is_answered() -> None:
    async with opened() as world, defining(world) as defined:
        answer = await defined.define(definition())
        assert answer["spec"]["names"] == {"plural": "bolts", "singular": "bolt", "kind": "Bolt", "listKind": "BoltList"}
        assert answer["spec"]["conversion"] == {"strategy": "None"}
        status = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"]}
        assert answer["status"] == status
        await world.do("create", path(), bolt("a"))
        assert (await world.get(f"{path()}/a"))["spec"] == {"size": 1}
        assert await defined.conditions(BOLT) == {
            "NamesAccepted": ("True", "NoConflicts"),
            "Established": ("True", "InitialNamesAccepted"),
        }


async def test_a_new_status_makes_no_other_kind_and_a_new_version_does() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition())
        before = world.registry.of_resource(BOLT)
        await defined.settled()
        assert world.registry.of_resource(BOLT) is before
        both = [versioned(), versioned("v2", storage=False)]
        await world.merge(f"{DEFINITIONS}/{BOLT}", {"spec": {"versions": both}})
        after = world.registry.of_resource(BOLT)
        assert after is not None
        assert before is not None
        assert [version.name for version in after.versions] == ["v2", "v1"]
        assert after.versions[1].schema is before.versions[0].schema
        await world.do("create", path(), bolt("a"))
        assert (await world.get(f"{path(version='v2')}/a"))["apiVersion"] == f"{GROUP}/v2"


async def test_other_names_and_a_deletion_leave_the_versions_what_they_are() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition())
        await world.do("create", path(), bolt("held", finalizers=["things.example/hold"]))
        before = world.target(path()).version
        await world.merge(f"{DEFINITIONS}/{BOLT}", {"spec": {"names": {"shortNames": ["bo"]}}})
        await world.do("delete", f"{DEFINITIONS}/{BOLT}")
        after = world.target(path())
        assert (after.kind.short_names, after.kind.closed != "") == (("bo",), True)
        assert after.version == before  # so those who watch go on
        await world.merge(f"{path()}/held", {"metadata": {"finalizers": None}})


async def test_a_version_that_is_not_served_any_more_cannot_be_asked_for() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition(versions=[versioned(), versioned("v2", storage=False)]))
        hidden = [versioned(), versioned("v2", storage=False, served=False)]
        await world.merge(f"{DEFINITIONS}/{BOLT}", {"spec": {"versions": hidden}})
        with pytest.raises(NotFound):
            world.target(path(version="v2"))


async def test_the_storage_versions_of_the_past_are_remembered() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition(versions=[versioned(), versioned("v2", storage=False)]))
        moved = [versioned(storage=False), versioned("v2")]
        answer = await world.merge(f"{DEFINITIONS}/{BOLT}", {"spec": {"versions": moved}})
        assert answer["status"]["storedVersions"] == ["v1", "v2"]
        with pytest.raises(Invalid, match="v1 was previously a storage version"):
            await world.merge(f"{DEFINITIONS}/{BOLT}", {"spec": {"versions": [versioned("v2")]}})


async def test_who_comes_second_waits_until_the_names_are_free() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition(names={"shortNames": ["bo"]}))
        await defined.define(definition("screws", "Screw", names={"shortNames": ["bo"]}))
        assert await defined.conditions(f"screws.{GROUP}") == {
            "NamesAccepted": ("False", "ShortNamesConflict"),
            "Established": ("False", "NotAccepted"),
        }
        with pytest.raises(NotFound):
            world.target(path("screws"))
        await world.do("delete", f"{DEFINITIONS}/{BOLT}")
        assert (await defined.conditions(f"screws.{GROUP}"))["Established"] == ("True", "InitialNamesAccepted")
        assert world.target(path("screws")).kind.short_names == ("bo",)


async def test_a_kind_of_the_servers_own_keeps_its_names() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition("wares", "Trinket", group="trinkets.example"))
        found = await defined.conditions("wares.trinkets.example")
        assert found["NamesAccepted"] == ("False", "ListKindConflict")
        assert world.registry.of_type("trinkets.example/v1", "Trinket") is not None
        assert world.registry.of_resource("wares.trinkets.example") is None


async def test_a_definition_goes_when_the_last_of_its_objects_has_gone() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition())
        for name in ("a", "b"):
            await world.do("create", path(), bolt(name))
        await world.do("create", path(), bolt("held", finalizers=["things.example/hold"]))
        gone = await world.do("delete", f"{DEFINITIONS}/{BOLT}")
        assert world.document(DEFINITIONS, gone)["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
        with pytest.raises(Forbidden, match="create not allowed while custom resource definition is terminating"):
            await world.do("create", path(), bolt("late"))
        while len(world.stored(BOLT)) > 1:
            await defined.settled()
        assert (await defined.conditions(BOLT))["Terminating"] == ("True", "InstanceDeletionInProgress")
        await world.merge(f"{path()}/held", {"metadata": {"finalizers": None}})
        while world.registry.of_resource(BOLT) is not None:
            await defined.settled()
        with pytest.raises(NotFound):
            await world.get(f"{DEFINITIONS}/{BOLT}")


async def test_quotas_count_the_objects_of_a_defined_kind() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition())
        await world.make("/api/v1/namespaces/shop/resourcequotas", "few", spec={"hard": {f"count/{BOLT}": "1"}})
        await world.do("create", path(), bolt("a"), who=SOMEBODY)
        with pytest.raises(Forbidden, match="exceeded quota: few"):
            await world.do("create", path(), bolt("b"), who=SOMEBODY)


async def test_what_is_made_of_a_definition_that_is_gone_is_found_nowhere() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition())
        late = world.call("create", path(), bolt("late"))  # on its way already
        await world.do("delete", f"{DEFINITIONS}/{BOLT}")
        while world.registry.of_resource(BOLT) is not None:
            await defined.settled()
        with pytest.raises(NotFound):
            await world.manager.handle(late)
        assert world.stored(BOLT) == []


async def test_what_no_schema_has_is_dropped_with_a_warning_or_refused() -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "colour": "red"}}}
    async with opened() as world, defining(world):
        with pytest.raises(BadRequest, match=r'unknown field "spec.versions\[0\].schema.openAPIV3Schema.prop.*colour"'):
            await world.do("create", DEFINITIONS, definition(versions=[versioned(schema=schema)]), query="fieldValidation=Strict")
        call = world.call("create", DEFINITIONS, definition(versions=[versioned(schema=schema)]))
        made = world.document(DEFINITIONS, await world.manager.handle(call))
        assert made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] == {"spec": {"type": "object"}}
        assert call.warnings == ['unknown field "spec.versions[0].schema.openAPIV3Schema.properties[spec].colour"']
