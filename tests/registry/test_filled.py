"""What defaults may add: a schema of a few lines, or a body of many small parts, must not become more than there is room for."""

from __future__ import annotations

import pytest

from registry.custom.schema import custom_schema
from registry.custom.structural import problems
from registry.nodes import Document
from registry.schema import LIGHT, ROOM

TEXT = "y" * 100_000


def mapped(values: Document, kind: str = "map") -> Document:
    """A schema with many of these."""
    many = {"type": "object", "additionalProperties": values} if kind == "map" else {"type": "array", "items": values}
    return {"type": "object", "properties": {"many": many}}


def fanned(depth: int) -> Document:
    """Defaults within defaults: each has ten of the next."""
    if not depth:
        return {"type": "object", "properties": {"x": {"type": "string", "default": "y"}}}
    many = {"type": "object", "additionalProperties": fanned(depth - 1), "default": {letter: {} for letter in "abcdefghij"}}
    return {"type": "object", "properties": {"m": many}}


def test_defaults_within_defaults_are_bounded() -> None:
    schema = {"type": "object", "properties": {"spec": fanned(20)}}
    assert ["defaults within defaults add more than" in cause.message for cause in problems(schema, "s")] == [True]
    assert problems({"type": "object", "properties": {"spec": fanned(3)}}, "s") == []


@pytest.mark.parametrize("kind", ["map", "list"])
@pytest.mark.parametrize("default", [TEXT, {"a": TEXT}, {str(at): [] for at in range(2_000)}], ids=["text", "object", "lists"])
def test_a_long_default_is_not_filled_in_everywhere(kind: str, default: object) -> None:
    wanted = {"type": "string"} if default == TEXT else {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = custom_schema(mapped({"type": "object", "properties": {"d": {**wanted, "default": default}}}, kind))
    few = {"many": {"a": {}, "b": {}} if kind == "map" else [{}, {}]}
    assert schema.apply(few).document["many"]["a" if kind == "map" else 0] == {"d": default}
    many = {"many": {str(at): {} for at in range(20_000)} if kind == "map" else [{} for _ in range(20_000)]}
    assert "its defaults would make it larger" in schema.apply(many).unreadable


def test_a_long_default_does_not_take_the_place_of_every_null() -> None:
    schema = custom_schema(mapped({"type": "string", "default": TEXT}, "list"))
    assert schema.apply({"many": [None, "a"]}).document == {"many": [TEXT, "a"]}
    assert "its defaults would make it larger" in schema.apply({"many": [None] * 20_000}).unreadable


def test_many_short_defaults_are_filled_in() -> None:
    schema = custom_schema(mapped({"type": "object", "properties": {"d": {"type": "string", "default": "z" * (LIGHT - 1)}}}))
    document = schema.apply({"many": {str(at): {} for at in range(20_000)}}).document
    assert all(len(each["d"]) == LIGHT - 1 for each in document["many"].values())
    assert 20_000 * LIGHT < ROOM
