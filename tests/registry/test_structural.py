"""What is wrong with a schema is told all at once, in a real server's words and with its paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.custom.keywords import DEEPEST, read
from registry.custom.structural import TYPES, problems

CASES = Path(__file__).parents[1] / "reference" / "cases"
TEXT, NUMBER, FREE = {"type": "string"}, {"type": "integer"}, {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def recorded() -> list[Any]:
    """Every schema that was sent to a real server, with what that said about it."""
    found = []
    for topic in ("crds", "crd-rules"):
        for case in json.loads((CASES / f"{topic}.json").read_text())["cases"]:
            for step in case["steps"]:
                sent = step["request"].get("body")
                if step["request"]["method"] != "POST" or not isinstance(sent, dict) or "versions" not in sent.get("spec", {}):
                    continue
                told = (step["response"]["body"].get("details") or {}).get("causes", [])
                about_form = [
                    cause for cause in told if "openAPIV3Schema" in cause["field"] and "rule cost" not in cause["message"]
                ]
                about_form = [cause for cause in about_form if "x-kubernetes-validations" not in cause["field"]]
                for version in sent["spec"]["versions"]:
                    if "schema" in version:
                        found.append(pytest.param(version, about_form, id=f"{topic}-{case['name']}-{len(found)}"))
    return found


@pytest.mark.parametrize(("version", "told"), recorded())
def test_what_a_real_server_said_of_a_schema_is_said_here(version: dict[str, Any], told: list[dict[str, str]]) -> None:
    schema = version["schema"]["openAPIV3Schema"]
    found = problems(schema, "spec.validation.openAPIV3Schema", status="status" in version.get("subresources", {}))
    assert [(cause.reason, cause.message, cause.field) for cause in found] == [
        (cause["reason"], cause["message"], cause["field"]) for cause in told
    ]


def root(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def listed(**said: Any) -> dict[str, Any]:
    return root(a={"type": "array", "items": TEXT, **said})


def mapped(**said: Any) -> dict[str, Any]:
    items = {"type": "object", "properties": {"k": TEXT, "v": {"type": "array", "items": TEXT}}, "required": ["k"]}
    return listed(**{"items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]} | said)


NAMES = ", ".join(f'"{name}"' for name in TYPES)
ABOUT_KEY = "this property is in x-kubernetes-list-map-keys, so it"
HAS_KEY = "must have a default or be a required property"
ATOMIC = "must be atomic as item of a list with x-kubernetes-list-type=set"
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a type that is none": (
        root(a={"type": "text"}),
        [
            f'.properties[a].type: Unsupported value: "text": supported values: {NAMES}',
        ],
    ),
    "null as a type": (
        root(a={"type": "null"}),
        [".properties[a].type: Forbidden: type cannot be set to null, use nullable as an alternative"],
    ),
    "items without a type": (
        root(a={"type": "array", "items": {}}),
        [".properties[a].items.type: Required value: must not be empty for specified array items"],
    ),
    "a list as items": (
        root(a={"type": "array", "items": [TEXT]}),
        [".properties[a].items: Forbidden: items must be a schema object and not an array"],
    ),
    "other fields at the root": (
        {"type": "object", "additionalProperties": TEXT},
        [".additionalProperties: Forbidden: must not be used at the root"],
    ),
    "a root that is a list": (
        {"type": "array", "items": TEXT},
        ['.type: Invalid value: "array": must be object at the root'],
    ),
    "a root that may be null": (
        {"type": "object", "nullable": True},
        [".nullable: Forbidden: nullable cannot be true at the root"],
    ),
    "what is not supported, all of it": (
        {**root(a=TEXT), "id": "x", "definitions": {"x": TEXT}, "patternProperties": {"x": TEXT}, "dependencies": {"a": ["b"]}},
        [
            ".id: Forbidden: id is not supported",
            ".patternProperties: Forbidden: patternProperties is not supported",
            ".definitions: Forbidden: definitions is not supported",
            ".dependencies: Forbidden: dependencies is not supported",
        ],
    ),
    "additional items": (
        listed(additionalItems=True),
        [".properties[a].additionalItems: Forbidden: additionalItems is not supported"],
    ),
    "preserving nothing": (
        root(a={"type": "object", "x-kubernetes-preserve-unknown-fields": False}),
        [".properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"],
    ),
    "within junctors only what narrows": (
        root(a={**TEXT, "anyOf": [{"default": "x", "title": "t", "description": "d", "nullable": True}]}),
        [
            ".properties[a].anyOf[0].default: Forbidden: must be undefined to be structural",
            ".properties[a].anyOf[0].description: Forbidden: must be empty to be structural",
            ".properties[a].anyOf[0].nullable: Forbidden: must be false to be structural",
            ".properties[a].anyOf[0].title: Forbidden: must be empty to be structural",
        ],
    ),
    "within junctors no extensions": (
        root(a={**FREE, "not": {"x-kubernetes-preserve-unknown-fields": True, "additionalProperties": TEXT}}),
        [
            ".properties[a].not.additionalProperties: Forbidden: must be undefined to be structural",
            ".properties[a].not.x-kubernetes-preserve-unknown-fields: Forbidden: must be false to be structural",
        ],
    ),
    "within junctors no rules": (
        root(a={**TEXT, "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]}),
        [".properties[a].allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"],
    ),
    "within junctors no metadata": (
        root(metadata={"type": "object"}) | {"not": {"properties": {"metadata": {"required": ["name"]}}}},
        [".not.properties[metadata]: Forbidden: must not be specified in a nested context"],
    ),
    "junctors about what the form does not name": (
        root(a=root()) | {"oneOf": [{"properties": {"a": {"properties": {"b": {"minLength": 1}}}}}]},
        [".properties[a].properties[b]: Required value: because it is defined in .oneOf[0].properties[a].properties[b]"],
    ),
    "types in another order than the one that is excepted": (
        root(a={"x-kubernetes-int-or-string": True, "anyOf": [TEXT, NUMBER]}),
        [
            ".properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
            ".properties[a].anyOf[1].type: Forbidden: must be empty to be structural",
        ],
    ),
    "numbers or texts that are kept as they are": (
        root(a={"x-kubernetes-int-or-string": True, "x-kubernetes-preserve-unknown-fields": True}),
        [
            (
                ".properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: "
                "must be false if x-kubernetes-int-or-string is true"
            )
        ],
    ),
    "a pattern that is none": (
        root(a={**TEXT, "pattern": "[a"}),
        [
            (
                '.properties[a].pattern: Invalid value: "[a": must be a valid regular expression, but isn\'t: '
                "error parsing regexp: missing closing ]: `[a`"
            )
        ],
    ),
    "an embedded resource that is a text": (
        root(a={**TEXT, "x-kubernetes-embedded-resource": True}),
        [
            (
                ".properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields"
            ),
            '.properties[a].type: Invalid value: "string": must be object if x-kubernetes-embedded-resource is true',
        ],
    ),
    "an embedded resource that is a map": (
        root(a={**FREE, "x-kubernetes-embedded-resource": True, "additionalProperties": TEXT}),
        [".properties[a].additionalProperties: Forbidden: must not be used if x-kubernetes-embedded-resource is set"],
    ),
    "a kind that is a number": (
        root(kind=NUMBER, apiVersion=NUMBER, metadata=TEXT),
        [
            '.properties[apiVersion].type: Invalid value: "integer": must be string',
            '.properties[kind].type: Invalid value: "integer": must be string',
            '.properties[metadata].type: Invalid value: "string": must be object',
        ],
    ),
    "a description of metadata": (
        root(metadata={"type": "object", "properties": {"name": TEXT}, "maxProperties": 2}),
        [
            (
                ".properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is "
                "implicitly specified"
            )
        ],
    ),
    "a default in metadata": (
        root(metadata={"type": "object", "properties": {"name": {**TEXT, "default": "x"}}}),
        [".properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata"],
    ),
    "a list type of no list": (
        root(a={"type": "object", "x-kubernetes-list-type": "set"}),
        ['.properties[a].type: Invalid value: "object": must be array if x-kubernetes-list-type is specified'],
    ),
    "a list type that is none": (
        listed(**{"x-kubernetes-list-type": "bag"}),
        ['.properties[a].x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map"'],
    ),
    "a map type of no object": (
        root(a={**TEXT, "x-kubernetes-map-type": "loose"}),
        [
            '.properties[a].type: Invalid value: "string": must be object if x-kubernetes-map-type is specified',
            '.properties[a].x-kubernetes-map-type: Unsupported value: "loose": supported values: "atomic", "granular"',
        ],
    ),
    "keys of no map": (
        listed(**{"x-kubernetes-list-map-keys": ["k"]}),
        [".properties[a].x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"],
    ),
    "keys that are no fields, and twice": (
        mapped(**{"x-kubernetes-list-map-keys": ["x", "k", "k"]}),
        [
            '.properties[a].x-kubernetes-list-map-keys: Invalid value: ["x","k","k"]: entries must all be names of item properties',
            '.properties[a].x-kubernetes-list-map-keys: Invalid value: ["x","k","k"]: must not contain duplicate entries',
        ],
    ),
    "a key that may be absent and is a list": (
        mapped(**{"x-kubernetes-list-map-keys": ["v"]}),
        [
            (
                '.properties[a].items.properties[v].type: Invalid value: "object": must be a scalar type if parent array\'s '
                "x-kubernetes-list-type is map"
            ),
            f".properties[a].items.properties[v].default: Required value: {ABOUT_KEY} {HAS_KEY}",
        ],
    ),
    "a key that may be null": (
        mapped(items={"type": "object", "properties": {"k": {**TEXT, "nullable": True}}, "required": ["k"], "nullable": True}),
        [
            ".properties[a].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is map",
            f".properties[a].items.properties[k].nullable: Forbidden: {ABOUT_KEY} cannot be nullable",
        ],
    ),
    "a map of texts": (
        mapped(items=TEXT),
        ['.properties[a].items.type: Invalid value: "string": must be object if parent array\'s x-kubernetes-list-type is map'],
    ),
    "a set of objects that are merged": (
        listed(**{"items": {"type": "object"}, "x-kubernetes-list-type": "set"}),
        [f".properties[a].items.x-kubernetes-map-type: Invalid value: null: {ATOMIC}"],
    ),
    "a set of lists that are merged": (
        listed(**{"items": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, "x-kubernetes-list-type": "set"}),
        [f'.properties[a].items.x-kubernetes-list-type: Invalid value: "set": {ATOMIC}'],
    ),
    "a default with unknown fields": (
        root(a={**root(b=TEXT), "default": {"c": 1}}),
        ['.properties[a].default: Invalid value: {"c":1}: must not have unknown fields'],
    ),
    "a default that breaks its rules": (
        root(a={**root(b={**NUMBER, "minimum": 3}), "required": ["c"], "default": {"b": 2}}),
        [
            ".properties[a].default.c: Required value",
            ".properties[a].default.b: Invalid value: 2: b in body should be greater than or equal to 3",
        ],
    ),
    "a default that breaks a junctor": (
        root(a={**TEXT, "default": "x", "oneOf": [{"enum": ["x"]}, {"maxLength": 1}]}),
        ['.properties[a].default: Invalid value: "": "" must validate one and only one schema (oneOf). Found 2 valid alternatives'],
    ),
    "a limit that is no number": (
        root(a={**NUMBER, "maximum": 10**400}),
        ['.properties[a].maximum: Invalid value: "number": must be of type number: "number"'],
    ),
    "keywords of a wrong type, before all else": (
        {"type": "list", "properties": [], "required": "a", "maxLength": 1.5, "anyOf": {}, "not": True, "nullable": "yes"},
        [
            '.properties: Invalid value: "array": must be of type object: "array"',
            '.required: Invalid value: "string": must be of type array of strings: "string"',
            '.maxLength: Invalid value: "number": must be of type integer: "number"',
            '.anyOf: Invalid value: "object": must be of type array: "object"',
            '.not: Invalid value: "boolean": must be of type object: "boolean"',
            '.nullable: Invalid value: "string": must be of type boolean: "string"',
        ],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_reason_is_told(name: str) -> None:
    schema, said = WRONG[name]
    assert [str(cause) for cause in problems(schema, "")] == said


RIGHT: dict[str, dict[str, Any]] = {
    "numbers or texts": root(a={"x-kubernetes-int-or-string": True, "anyOf": [NUMBER, TEXT]}),
    "numbers or texts that are narrowed": root(
        a={"x-kubernetes-int-or-string": True, "allOf": [{"anyOf": [NUMBER, TEXT]}, {"pattern": "x"}]}
    ),
    "anything at all": root(a={"x-kubernetes-preserve-unknown-fields": True}),
    "names that are restricted": root(metadata={"type": "object", "properties": {"name": {**TEXT, "maxLength": 9}}}),
    "an embedded resource": root(a={**FREE, "x-kubernetes-embedded-resource": True}),
    "a map by key": mapped(),
    "other fields beside known ones": root(a={**root(b=TEXT), "additionalProperties": True}),
    "a default that is whole": root(a={**root(b={**TEXT, "default": "x"}), "default": {}}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_structural_is_taken(name: str) -> None:
    assert problems(RIGHT[name], "") == []


def test_with_a_status_of_its_own_the_root_says_little() -> None:
    schema = {**root(spec=root()), "oneOf": [{"required": ["spec"]}]}
    assert problems(schema, "s") == []
    (told,) = problems(schema, "s", status=True)
    assert told.field == "s"
    assert told.message.startswith('Invalid value: ["oneOf"]: only [Description Type Format ')


def test_a_default_that_grows_too_large_by_the_defaults_in_it_is_refused() -> None:
    inner = {"b": {**TEXT, "default": "x"}, "c": {**TEXT, "default": "y"}}
    schema = root(a={"type": "object", "properties": inner, "maxProperties": 1, "default": {}})
    (told,) = problems(schema, "s")
    assert told.field == "s"
    assert told.message.startswith('Invalid value: "": error building validator: the default of a is not valid: ')


def test_unknown_keywords_are_dropped_and_named() -> None:
    found = read(root(a={**TEXT, "const": "x", "x-mine": 1}) | {"default": None}, "s")
    assert found.schema == root(a=TEXT)
    assert found.unknown == ("s.properties[a].const", "s.properties[a].x-mine")


def test_a_schema_that_is_too_deep_is_refused_before_anybody_walks_it() -> None:
    schema: dict[str, Any] = TEXT
    for _ in range(DEEPEST * 2):
        schema = root(a=schema)
    (told,) = problems(schema, "")
    assert told.message == f"Forbidden: must not be nested more than {DEEPEST} deep"


def test_a_schema_that_is_wrong_a_million_times_is_told_a_thousand() -> None:
    found = problems(root(**{f"f{index}": {} for index in range(3_000)}), "")
    assert len(found) == 1_000


@pytest.mark.parametrize("sent", [None, 1, "x", [], {"properties": {"a": 3}}, {"items": 1}, {"type": None}])
def test_whatever_is_sent_is_answered(sent: Any) -> None:
    assert problems(sent, "s")
