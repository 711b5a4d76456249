"""Schemas that arrive at run time do what a real server does with them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from registry.custom.schema import NOT_CHECKED, CustomSchema, custom_schema, late_schema
from registry.custom.structural import problems
from registry.errors import Cause
from registry.openapi_schemas import schema_of_node

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def schema_of(said: dict[str, Any] | None = None, **properties: Any) -> CustomSchema:
    """A schema whose spec has some fields; `said` is what else is said of the spec. It is one that a server takes."""
    source = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties, **(said or {})}}}
    assert problems(source, "") == []
    return custom_schema(source)


def thing(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "e.com/v1", "kind": "Thing", "spec": spec}


def told(schema: CustomSchema, document: dict[str, Any], old: dict[str, Any] | None = None, part: str = "") -> list[str]:
    return [str(cause) for cause in schema.apply(document, old=old, part=part).causes]


def test_unknown_fields_are_dropped_and_defaults_filled_in() -> None:
    outcome = schema_of(size={**NUMBER, "default": 3}, name=TEXT).apply(thing(name="a", color="red"))
    assert outcome.document["spec"] == {"name": "a", "size": 3}
    assert outcome.unknown == ("spec.color",)
    assert outcome.causes == ()


ALTERNATIVES = {"oneOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"maximum": 3}}}]}
JUNCTORS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "one of, none": (
        ALTERNATIVES,
        {"b": 5},
        [
            '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid',
            "spec.b: Invalid value: 5: spec.b in body should be less than or equal to 3",
        ],
    ),
    "one of, both": (
        ALTERNATIVES,
        {"a": "x", "b": 2},
        ['<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives'],
    ),
    "one of, one": (ALTERNATIVES, {"a": "x", "b": 7}, []),
    "any of, none": (
        {"anyOf": [{"required": ["a"]}, {"minProperties": 2}]},
        {"b": 1},
        ['<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)', "spec.a: Required value"],
    ),
    "all of, some": (
        {"allOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"b": 1},
        ["spec.a: Required value", '<nil>: Invalid value: "": "spec" must validate all the schemas (allOf)'],
    ),
    "all of, none": (
        {"allOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {},
        [
            "spec.a: Required value",
            "spec.b: Required value",
            '<nil>: Invalid value: "": "spec" must validate all the schemas (allOf). None validated',
        ],
    ),
    "not": (
        {"not": {"required": ["a", "b"]}},
        {"a": "x", "b": 1},
        ['<nil>: Invalid value: "": "spec" must not validate the schema (not)'],
    ),
    "the alternative that came furthest is told": (
        {"anyOf": [{"required": ["a", "b"]}, {"properties": {"a": {"minLength": 1}, "b": {"minimum": 9}}}]},
        {"a": "x", "b": 1},
        [],
    ),
    "in items": (
        {"properties": {"l": {"type": "array", "items": {**TEXT, "anyOf": [{"pattern": "^a"}, {"enum": ["b"]}]}}}},
        {"l": ["ab", "b", "c"]},
        [
            '<nil>: Invalid value: "": "spec.l[2]" must validate at least one schema (anyOf)',
            "spec.l[2]: Invalid value: \"c\": spec.l[2] in body should match '^a'",
        ],
    ),
    "a null is not looked at": (
        {"properties": {"n": {**NUMBER, "nullable": True, "not": {"minimum": 0}}}},
        {"n": None},
        [],
    ),
    "formats": (
        {"properties": {"t": {**TEXT, "oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]}}},
        {"t": "::1"},
        [],
    ),
}


@pytest.mark.parametrize("name", JUNCTORS)
def test_logical_junctors_are_told_in_a_real_servers_words(name: str) -> None:
    said, spec, expected = JUNCTORS[name]
    assert told(schema_of(said, **said.get("properties", {"a": TEXT, "b": NUMBER})), thing(**spec)) == expected


def test_of_alternatives_that_all_fail_the_one_that_came_furthest_is_told() -> None:
    said = {"anyOf": [{"required": ["c"]}, {"properties": {"a": {"minLength": 1}, "b": {"minimum": 9}}}]}
    found = told(schema_of(said, a=TEXT, b=NUMBER, c=TEXT), thing(a="x", b=1))
    assert found[1:] == ["spec.b: Invalid value: 1: spec.b in body should be greater than or equal to 9"]


def test_a_status_is_told_of_by_its_own_paths() -> None:
    source = {
        "type": "object",
        "properties": {"status": {"type": "object", "properties": {"n": {**NUMBER, "not": {"maximum": 0}}}}},
    }
    schema = custom_schema(source)
    found = schema.apply({**thing(), "status": {"n": 0, "x": 1}}, part="status")
    assert found.unknown == ("status.x",)
    assert list(map(str, found.causes)) == ['status: Invalid value: "": "n" must not validate the schema (not)']
    assert schema.apply(thing(anything=1), part="status").causes == ()


def test_what_was_wrong_already_may_stay() -> None:
    schema = schema_of(ALTERNATIVES, a=TEXT, b=NUMBER, note=TEXT)
    assert told(schema, thing(b=5), thing(b=5)) == []
    assert told(schema, thing(b=5, note="x"), thing(b=5)) == []  # what is wrong with b has not changed
    assert told(schema, thing(b=6), thing(b=5))
    assert told(schema, thing(note="x"), thing())  # of the spec itself something is wrong, and it has changed
    assert told(schema, thing(note="x"), thing(note="x")) == []


@pytest.mark.parametrize(("list_type", "tolerated"), [(None, True), ("atomic", False), ("set", False), ("map", True)])
def test_items_that_were_wrong_already_are_known_by_place_or_key_and_not_in_sets(list_type: str | None, tolerated: bool) -> None:
    fields = {"k": TEXT, "n": {**NUMBER, "maximum": 3}}
    item = {"type": "object", "properties": fields, "required": ["k"], "x-kubernetes-map-type": "atomic"}
    said = {"x-kubernetes-list-type": list_type} if list_type else {}
    if list_type == "map":
        said["x-kubernetes-list-map-keys"] = ["k"]
    schema = schema_of(l={"type": "array", "items": item, **said})
    wrong, right = {"k": "a", "n": 9}, {"k": "b", "n": 1}
    assert (told(schema, thing(l=[wrong, right]), thing(l=[wrong])) == []) == tolerated
    assert told(schema, thing(l=[wrong]), thing(l=[wrong])) == []


def test_numbers_or_texts_are_both() -> None:
    schema = schema_of(port={"x-kubernetes-int-or-string": True, "anyOf": [NUMBER, TEXT], "minimum": 1})
    assert told(schema, thing(port=80)) == told(schema, thing(port="http")) == []
    assert told(schema, thing(port=0)) == ["spec.port: Invalid value: 0: spec.port in body should be greater than or equal to 1"]
    assert told(schema, thing(port=True))[0] == (
        'spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"'
    )


def test_what_is_preserved_is_kept_and_known_fields_in_it_are_not_free() -> None:
    schema = schema_of(
        free={"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {"type": "object"}}}
    )
    kept = schema.apply(thing(free={"x": {"y": [None]}, "a": {"z": 1}}))
    assert kept.document["spec"]["free"] == {"x": {"y": [None]}, "a": {}}
    assert kept.unknown == ("spec.free.a.z",)


def test_a_kind_may_keep_all_that_it_does_not_know() -> None:
    source = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"a": TEXT, "l": {"type": "array", "items": {}}}}},
    }
    schema = custom_schema(source, preserve_unknown=True)
    sent = {**thing(a="x", b=1, l=[{"c": 1}]), "other": {"d": 1}}
    assert schema.apply(sent) == (sent, (), (), "")
    assert len(told(schema, thing(a=1))) == 1


def test_the_metadata_of_an_embedded_resource_is_like_any() -> None:
    schema = schema_of(job={"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True})
    meta = {"name": "a", "labels": {"x": "y"}, "wrong": 1, "creationTimestamp": None}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"any": 1}}
    outcome = schema.apply(thing(job=job))
    assert outcome.causes == ()
    assert outcome.unknown == ("spec.job.metadata.wrong",)
    assert outcome.document["spec"]["job"] == {**job, "metadata": {"name": "a", "labels": {"x": "y"}}}
    assert schema.apply(outcome.document) == (outcome.document, (), (), "")
    assert told(schema, thing(job={"kind": "not a kind", "metadata": {"labels": 1}}))[0] == "spec.job.apiVersion: Required value"


@pytest.mark.parametrize("metadata", [{"labels": {"": "x"}}, {"labels": 3}, {"name": "a/b"}, 7])
def test_metadata_of_an_embedded_resource_that_is_none_is_refused(metadata: Any) -> None:
    schema = schema_of(job={"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True})
    assert told(schema, thing(job={"apiVersion": "v1", "kind": "A", "metadata": metadata}))


def test_names_can_be_restricted() -> None:
    restricted = {"type": "object", "properties": {"name": {**TEXT, "maxLength": 3}}}
    schema = custom_schema(
        {"type": "object", "properties": {"metadata": restricted, "spec": {"type": "object"}}, "required": ["metadata", "spec"]}
    )
    assert told(schema, {**thing(), "metadata": {"name": "abc"}}) == []
    assert told(schema, {**thing(), "metadata": {"name": "abcd"}}) == ["metadata.name: Too long: may not be more than 3 bytes"]
    assert told(schema, thing()) == []  # what every object has is not missed where it is not shown


def test_a_pattern_that_would_take_ages_elsewhere_is_answered() -> None:
    schema = schema_of(a={**TEXT, "pattern": "^(a*)*$"}, b={**TEXT, "not": {"pattern": "^(a|a)*b$"}})
    assert told(schema, thing(b="a" * 100_000)) == []
    assert len(told(schema, thing(a="a" * 50_000 + "!"))) == 1


@pytest.mark.parametrize("pattern", ["^(?i)(abort|warn)?$", r"^\pL+\z", r"\Qa.b\E", "[[:alpha:]]+", "(?P<n>x)"])
def test_patterns_are_those_of_go(pattern: str) -> None:
    schema = schema_of(a={**TEXT, "pattern": pattern}, b={**TEXT, "oneOf": [{"pattern": pattern}]})
    good = {"^(?i)(abort|warn)?$": "ABORT", r"^\pL+\z": "é", r"\Qa.b\E": "a.b", "[[:alpha:]]+": "a", "(?P<n>x)": "x"}[pattern]
    assert told(schema, thing(a=good, b=good)) == []
    assert len(told(schema, thing(a="%", b="%"))) == 3


def test_numbers_that_no_validator_can_hold_are_answered() -> None:
    schema = schema_of(
        {"not": {"required": ["z"]}}, n={"type": "number"}, free={"x-kubernetes-preserve-unknown-fields": True}, z=TEXT
    )
    assert told(schema, thing(free=10**400, n=1e308)) == []


@pytest.mark.parametrize("said", [{"multipleOf": 0}, {"multipleOf": -2}, {"minLength": -1}, {"maxItems": -1}, {"enum": []}])
def test_limits_that_make_no_sense_make_no_trouble(said: dict[str, Any]) -> None:
    schema = schema_of(a={"x-kubernetes-preserve-unknown-fields": True, "anyOf": [said, {"enum": ["never"]}]})
    for value in (4, "text", [], {}):
        schema.apply(thing(a=value))


def test_fields_that_are_named_like_keywords_are_fields() -> None:
    names = dict.fromkeys(("$ref", "$id", "id", "$schema", "properties", "not"), TEXT)
    away = {"enum": [{"$ref": "http://127.0.0.1:1/x", "$id": "http://127.0.0.1:1/y"}]}
    schema = schema_of({"oneOf": [{"properties": {name: {"maxLength": 1} for name in names}}, away]}, **names)
    assert told(schema, thing(**dict.fromkeys(names, "x"))) == []
    assert len(told(schema, thing(**dict.fromkeys(names, "xy")))) == 1 + len(names)


def test_an_unchanged_status_is_no_fault() -> None:
    source = {"type": "object", "properties": {"status": {"type": "object", "properties": {"a": TEXT}, "not": {"required": ["a"]}}}}
    schema = custom_schema(source)
    assert told(schema, {**thing(), "status": {"a": "x"}}, {**thing(), "status": {"a": "x"}}, "status") == []
    assert len(told(schema, {**thing(), "status": {"a": "x"}}, {**thing(), "status": {"a": "y"}}, "status")) == 1
    assert len(told(schema, {**thing(), "status": {"a": "x"}}, thing(), "status")) == 1


class Recorder:
    """Rules that are asked, and say what they are told to."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def check(self, new: dict[str, Any], old: dict[str, Any] | None, part: str = "") -> list[Cause]:
        self.asked.append((new, old, part))
        return [Cause("FieldValueInvalid", "no", "spec")]


def test_rules_are_asked_once_and_only_of_what_has_the_right_form() -> None:
    rules = Recorder()
    schema = custom_schema({"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": NUMBER}}}}, rules=rules)
    broken = schema.apply(thing(n="x")).causes
    assert schema.against(thing(n="x"), None, broken) == (NOT_CHECKED,)
    assert rules.asked == []
    narrow = [Cause("FieldValueInvalid", "too small", "spec.n")]
    assert schema.against(thing(n=1), thing(n=2), narrow) == [Cause("FieldValueInvalid", "no", "spec")]
    assert rules.asked == [(thing(n=1), thing(n=2), "")]
    assert NOT_CHECKED.message.startswith("Invalid value: null: some validation rules were not checked because ")


def test_nothing_is_made_of_a_schema_before_it_is_used_and_only_once_for_all_that_are_alike() -> None:
    source = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {**TEXT, "default": "only here"}}}}}
    one, other = custom_schema(source), custom_schema(json.loads(json.dumps(source)))
    assert one.node.properties["spec"].properties["a"].default == "only here"
    assert not one._source.used
    one.apply(thing())
    assert one._source.used
    assert other._source is one._source
    assert other.node is one.node
    assert custom_schema(source, preserve_unknown=True)._source is not one._source
    assert one.document == source


def test_a_source_that_is_part_of_a_stored_text_is_not_copied_and_not_read_before_it_is_needed() -> None:
    asked: list[dict[str, Any]] = []
    stored = msgspec.json.encode({"schema": {"type": "object", "properties": {"spec": {"type": "object"}}}})
    text = msgspec.json.decode(stored, type=dict[str, msgspec.Raw])["schema"]
    schema = late_schema(text, rules_of=asked.append)
    assert schema._source.text is text
    assert "made" not in vars(schema._source)
    assert schema.digest == late_schema(msgspec.Raw(bytes(text))).digest != late_schema(text, preserve_unknown=True).digest
    assert (schema.published, asked) == (msgspec.json.decode(text), [])
    assert schema.against(thing(), None, ()) == schema.against(thing(), None, ()) == ()
    assert asked == [schema.published], "its rules are looked for once"


def test_a_document_made_of_a_tidy_one_is_looked_at_where_it_changed() -> None:
    schema = schema_of(ALTERNATIVES, a=TEXT, b=NUMBER)
    tidied = schema.apply(thing(a="x")).document
    assert schema.again({**tidied, "spec": {"a": "y"}}, tidied) == thing(a="y")
    assert schema.again({**tidied, "spec": {"b": 9}}, tidied) is None
    assert schema.again(tidied, tidied) is tidied


SPOKEN = {
    "type": "object",
    "title": "t",
    "description": "d",
    "required": ["spec"],
    "x-kubernetes-validations": [{"rule": "true"}],
    "properties": {
        "spec": {
            "type": "object",
            "externalDocs": {"url": "u"},
            "properties": {
                "a": {
                    **TEXT,
                    "pattern": "^a$",
                    "minLength": 0,
                    "maxLength": 9,
                    "enum": ["a"],
                    "format": "hostname",
                    "default": "a",
                },
                "n": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "multipleOf": 0.5, "nullable": True},
                "l": {
                    "type": "array",
                    "minItems": 0,
                    "maxItems": 3,
                    "items": {"type": "object", "properties": {"k": TEXT}, "required": ["k"]},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                },
                "m": {"type": "object", "additionalProperties": TEXT, "x-kubernetes-map-type": "atomic", "maxProperties": 2},
                "every": {"type": "object", "additionalProperties": True, "example": {"a": 1}},
                "any": {"x-kubernetes-preserve-unknown-fields": True, "nullable": True},
                "port": {"x-kubernetes-int-or-string": True, "anyOf": [NUMBER, TEXT]},
                "job": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "x-kubernetes-preserve-unknown-fields": True,
                },
            },
            "oneOf": [{"required": ["a"]}, {"not": {"required": ["a"]}}],
        },
    },
}


def test_all_that_a_source_says_is_said_by_its_node_again() -> None:
    assert problems(SPOKEN, "") == []

    def holds(said: Any, source: Any) -> bool:
        if isinstance(source, dict):
            return isinstance(said, dict) and all(key in said and holds(said[key], item) for key, item in source.items())
        return bool(said == source)

    assert holds(schema_of_node(custom_schema(SPOKEN).node), SPOKEN)


def test_a_source_with_nulls_and_unknown_keywords_is_read_as_without() -> None:
    odd = {"type": "object", "properties": {"spec": {**TEXT, "default": None, "enum": None, "x-mine": 1}}, "items": None}
    outcome = custom_schema(odd).apply({**thing(), "spec": "x"})
    assert outcome == ({**thing(), "spec": "x"}, (), (), "")
