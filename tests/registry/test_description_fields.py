"""What a schema says, in few words."""

from __future__ import annotations

from typing import Any

import pytest

from registry.description import describe
from registry.description_fields import Field, at, fields_of, rules_of, steps_of, type_of
from registry.plugin import build
from tests.plugins.apiary import plugin

HIVE = describe(build([plugin])).kinds[0].versions[0].schema or {}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string"}, "string"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "list of list of integer"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "map of string"),
        ({"type": "object", "additionalProperties": True}, "object"),
        ({"x-kubernetes-int-or-string": True, "anyOf": []}, "integer or string"),
        ({"x-kubernetes-preserve-unknown-fields": True}, "anything"),
        ({"type": "array"}, "list"),
    ],
)
def test_types_are_words(schema: dict[str, Any], said: str) -> None:
    assert type_of(schema) == said


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"minimum": 0, "maximum": 9}, ["0 to 9"]),
        ({"minimum": 0, "exclusiveMinimum": True, "maximum": 9}, ["more than 0", "at most 9"]),
        ({"minLength": 1, "maxLength": 3}, ["1 to 3 characters"]),
        ({"minItems": 2, "maxItems": 2}, ["2 items"]),
        ({"maxProperties": 0}, ["at most 0 keys"]),
        ({"default": None}, ["default null"]),
        ({"default": "a b"}, ['default "a b"']),
        ({"default": {"a": "x" * 100}}, [f'default {{"a": "{"x" * 53}...']),
        ({"enum": ["", "a", 1]}, ['one of "", a, 1']),
        ({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"]}, ["items are known by a and b"]),
        ({"x-kubernetes-list-type": "set"}, ["no item twice"]),
        ({"x-kubernetes-map-type": "atomic"}, ["written as a whole"]),
        ({"x-kubernetes-validations": [{"rule": "self > 1", "message": "too small"}]}, ["rule self > 1 (too small)"]),
        ({"nullable": True, "format": "date"}, ["format date", "may be null"]),
    ],
)
def test_rules_are_few_words(schema: dict[str, Any], said: list[str]) -> None:
    assert rules_of(schema) == said


@pytest.mark.parametrize("path", ["spec.frames.kilos", "spec.frames[].kilos", ".spec.frames[3].kilos"])
def test_a_path_leads_through_lists(path: str) -> None:
    found = at(HIVE, steps_of(path))
    assert found is not None
    assert (found.name, found.type, found.rules, found.summary) == (
        "kilos",
        "integer",
        ["default 0", "at least 0"],
        "How much honey is in it.",
    )


def test_a_path_leads_through_maps_and_no_further_than_there_is() -> None:
    note = at(HIVE, ("spec", "notes", "anything"))
    assert note is not None
    assert note.type == "string"
    assert at(HIVE, ("spec", "nothing")) is None
    assert at(HIVE, ("spec", "place", "deeper")) is None
    assert at(HIVE, ()) == Field("", HIVE)
    place, *_ = fields_of(HIVE["properties"]["spec"])
    assert (place.name, place.required) == ("place", True)


def test_a_summary_is_the_first_paragraph_in_one_line() -> None:
    assert Field("", {"description": "One\ntwo.\n\nThree."}).summary == "One two."
