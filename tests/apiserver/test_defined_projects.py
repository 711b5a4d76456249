"""Kinds of well-known projects, defined and used on the whole way of a request; see `tests/registry/crds/README.md`."""

from __future__ import annotations

from typing import Any

import pytest

from registry.errors import Invalid
from tests.apiserver.defining import defining, path
from tests.apiserver.world import opened
from tests.registry.projects import OBJECTS, definition

pytestmark = pytest.mark.anyio


def made_of(name: str, spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where the objects of a definition are, and one with that spec."""
    said = definition(name)["spec"]
    version = said["versions"][0]["name"]
    where = path(said["names"]["plural"], version, group=said["group"])
    document = {"apiVersion": f"{said['group']}/{version}", "kind": said["names"]["kind"], "metadata": {"name": "a"}, "spec": spec}
    return where, document


@pytest.mark.parametrize("name", OBJECTS)
async def test_a_kind_of_a_well_known_project_is_defined_and_used(name: str) -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition(name))
        where, document = made_of(name, OBJECTS[name])
        await world.do("create", where, document)
        stored = await world.get(f"{where}/a")
        assert stored["spec"].keys() >= document["spec"].keys()
        await world.merge(f"{where}/a", {"metadata": {"labels": {"seen": "yes"}}})
        assert (await world.get(f"{where}/a"))["spec"] == stored["spec"]


async def test_an_object_that_breaks_a_junctor_or_a_rule_is_refused_with_all_reasons() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition("destinationrule"))
        both = {"simple": "RANDOM", "consistentHash": {"useSourceIp": True}, "warmup": {"duration": "0s"}}
        where, document = made_of("destinationrule", {"host": "reviews", "trafficPolicy": {"loadBalancer": both}})
        with pytest.raises(Invalid) as refused:
            await world.do("create", where, document)
        said = [str(cause) for cause in refused.value.causes]
        place = "spec.trafficPolicy.loadBalancer"
        assert said == [
            f'<nil>: Invalid value: "": "{place}" must validate one and only one schema (oneOf). Found 2 valid alternatives',
            f'{place}.warmup.duration: Invalid value: "0s": must be a valid duration greater than 1ms',
        ]


async def test_a_definition_that_is_not_structural_is_refused_with_all_reasons() -> None:
    async with opened() as world, defining(world) as defined:
        broken = definition("prometheusrule")
        fields = broken["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        del fields["groups"]["type"]
        fields["groups"]["items"]["properties"]["query_offset"] = {"anyOf": [{"type": "string"}], "pattern": "("}
        with pytest.raises(Invalid) as refused:
            await defined.define(broken)
        at = "spec.validation.openAPIV3Schema.properties[spec].properties[groups]"
        assert {(cause.field, cause.reason) for cause in refused.value.causes} == {
            (f"{at}.type", "FieldValueRequired"),
            (f"{at}.items.properties[query_offset].type", "FieldValueRequired"),
            (f"{at}.items.properties[query_offset].anyOf[0].type", "FieldValueForbidden"),
            (f"{at}.items.properties[query_offset].pattern", "FieldValueInvalid"),
        }
        assert world.registry.of_resource("prometheusrules.monitoring.coreos.com") is None
