"""Definitions of well-known projects are taken, and what their authors got wrong would be refused; see `crds/README.md`."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from registry.custom.keywords import read
from registry.custom.schema import custom_schema
from registry.custom.structural import problems
from tests.registry.projects import CONTAINER, FILES, FOLDER, OBJECTS, definition


def schema(name: str) -> Any:
    """The schema of the first version of a definition."""
    return definition(name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def thing(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "e.com/v1", "kind": "Thing", "spec": spec}


@pytest.mark.parametrize("name", FILES)
def test_a_definition_of_a_well_known_project_is_taken(name: str) -> None:
    for each in definition(name)["spec"]["versions"]:
        source = each["schema"]["openAPIV3Schema"]
        assert problems(source, "schema", status="status" in each.get("subresources", {})) == []
        assert read(source, "schema").unknown == ()


@pytest.mark.parametrize("name", FILES)
def test_where_each_is_from_is_said(name: str) -> None:
    assert f"`{name}`" in (FOLDER / "README.md").read_text()


def holds(made: Any, sent: Any) -> bool:
    """Whether all that was sent is there: defaults are there too."""
    if isinstance(sent, dict):
        return all(key in made and holds(made[key], item) for key, item in sent.items())
    if isinstance(sent, list):
        return len(made) == len(sent) and all(map(holds, made, sent))
    return bool(made == sent)


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_as_its_project_shows_it_is_taken_as_it_is(name: str) -> None:
    outcome = custom_schema(schema(name)).apply(thing(**OBJECTS[name]))
    assert [str(cause) for cause in outcome.causes] == []
    assert outcome.unknown == ()
    assert holds(outcome.document["spec"], OBJECTS[name])


DURATION = "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"
INTERVAL = "spec.groups[0].interval"
KEYS = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
HASH = "spec.trafficPolicy.loadBalancer.consistentHash"
NEITHER = "must validate one and only one schema (oneOf)."
REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "destinationrule",
        {"host": "a", "trafficPolicy": {"loadBalancer": {"consistentHash": {"useSourceIp": True, "httpHeaderName": "x"}}}},
        [
            f'<nil>: Invalid value: "": "{HASH}" {NEITHER} Found 2 valid alternatives',
            f'<nil>: Invalid value: "": "{HASH}" must validate all the schemas (allOf)',
        ],
    ),
    (
        "destinationrule",
        {"host": "a", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM", "consistentHash": {}}}},
        [f'<nil>: Invalid value: "": "spec.trafficPolicy.loadBalancer" {NEITHER} Found 2 valid alternatives'],
    ),
    (
        "prometheusrule",
        {"groups": [{"name": "a", "interval": "soon", "rules": [{"alert": "x"}]}, {"name": "a"}]},
        [
            f"{INTERVAL}: Invalid value: \"soon\": {INTERVAL} in body should match '{DURATION}'",
            "spec.groups[0].rules[0].expr: Required value",
            'spec.groups[1]: Duplicate value: {"name":"a"}',
        ],
    ),
    (
        "referencegrant",
        {"from": [], "to": [{"group": "", "kind": "Service"}] * 17},
        [
            "spec.from: Invalid value: 0: spec.from in body should have at least 1 items",
            "spec.to: Too many: 17: must have at most 16 items",
        ],
    ),
    (
        "daskcluster",
        {
            "worker": {"replicas": "two", "spec": {"containers": [{}]}},
            "scheduler": {"spec": {"containers": [CONTAINER]}, "service": {}},
        },
        [
            'spec.worker.replicas: Invalid value: "string": spec.worker.replicas in body must be of type integer: "string"',
            "spec.worker.spec.containers[0].name: Required value",
        ],
    ),
]


@pytest.mark.parametrize(("name", "spec", "said"), REFUSED, ids=[f"{name}-{index}" for index, (name, *_) in enumerate(REFUSED)])
def test_an_object_that_breaks_rules_of_its_project_is_refused(name: str, spec: dict[str, Any], said: list[str]) -> None:
    found = [str(cause) for cause in custom_schema(schema(name)).apply(thing(**spec)).causes]
    assert [cause for cause in said if cause not in found] == []


def _without_type(source: Any) -> None:
    del source["properties"]["spec"]["properties"]["groups"]["items"]["properties"]["labels"]["type"]


def _without_keys(source: Any) -> None:
    source["properties"]["spec"]["properties"]["groups"]["items"]["required"] = []


def _merged(source: Any) -> None:
    source["properties"]["spec"]["properties"]["groups"]["x-kubernetes-list-type"] = "set"


def _defaulted(source: Any) -> None:
    source["properties"]["spec"]["properties"]["groups"]["items"]["properties"]["limit"]["default"] = "many"


def _typed_alternative(source: Any) -> None:
    source["properties"]["spec"]["oneOf"] = [{"type": "object"}]


GROUPS = "s.properties[spec].properties[groups]"
BROKEN = [
    (_without_type, [f"{GROUPS}.items.properties[labels].type: Required value: must not be empty for specified object fields"]),
    (
        _without_keys,
        [
            f"{GROUPS}.items.properties[name].default: Required value: {KEYS}",
        ],
    ),
    (
        _merged,
        [
            f'{GROUPS}.x-kubernetes-list-type: Invalid value: "set": must be map if x-kubernetes-list-map-keys is non-empty',
            (
                f"{GROUPS}.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with "
                "x-kubernetes-list-type=set"
            ),
        ],
    ),
    (
        _defaulted,
        [f'{GROUPS}.items.properties[limit].default: Invalid value: "string":  in body must be of type integer: "string"'],
    ),
    (_typed_alternative, ["s.properties[spec].oneOf[0].type: Forbidden: must be empty to be structural"]),
]


@pytest.mark.parametrize(("spoil", "said"), BROKEN, ids=[spoil.__name__ for spoil, _ in BROKEN])
def test_what_an_author_of_one_could_get_wrong_is_refused(spoil: Any, said: list[str]) -> None:
    source = copy.deepcopy(schema("prometheusrule"))
    spoil(source)
    assert [str(cause) for cause in problems(source, "s")] == said
