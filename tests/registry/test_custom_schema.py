"""Schemas that arrive at run time do what a real server does with them."""

from __future__ import annotations

from typing import Any

from registry.custom.schema import custom_schema
from registry.errors import Cause


def kind(**properties: Any) -> dict[str, Any]:
    """A schema whose spec has some fields."""
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def thing(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "e.com/v1", "kind": "Thing", "spec": spec}


def test_unknown_fields_are_dropped_and_defaults_filled_in() -> None:
    schema = custom_schema(kind(size={"type": "integer", "default": 3}, name={"type": "string"}))
    outcome = schema.apply(thing(name="a", color="red"))
    assert outcome.document["spec"] == {"name": "a", "size": 3}
    assert outcome.unknown == ("spec.color",)
    assert outcome.causes == ()


def test_of_one_of_exactly_one_alternative_must_hold() -> None:
    alternatives = [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"maximum": 3}}}]
    source = kind(a={"type": "string"}, b={"type": "integer"})
    source["properties"]["spec"]["oneOf"] = alternatives
    schema = custom_schema(source)
    assert schema.apply(thing(a="x")).causes == ()
    none, both = schema.apply(thing(b=5)).causes, schema.apply(thing(a="x", b=2)).causes
    said = 'Invalid value: "": "spec" must validate one and only one schema (oneOf). '
    assert Cause("FieldValueInvalid", f"{said}Found none valid", "<nil>") in none
    assert Cause("FieldValueInvalid", "Invalid value: 5: spec.b in body should be less than or equal to 3", "spec.b") in none
    assert both == (Cause("FieldValueInvalid", f"{said}Found 2 valid alternatives", "<nil>"),)
