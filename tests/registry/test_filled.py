"""What a document may become, and what may be said of it: a schema of a few lines, or a body of many small parts, must not become
more than there is room for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec import UNSET

from registry.custom.clauses import Effort, Where, clause_of, examine
from registry.custom.schema import custom_schema
from registry.custom.structural import problems
from registry.errors import LONGEST_SHOWN
from registry.nodes import TOLD, Document
from registry.schema import LIGHT, ROOM, Outcome

TEXT = "y" * 100_000
ALTERNATIVES = [{"pattern": f"^{at}"} for at in range(3)]


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


# What is said about what is wrong


def wrong(items: Document, value: object, count: int) -> Outcome:
    return custom_schema({"type": "object", "properties": {"l": {"type": "array", "items": items}}}).apply({"l": [value] * count})


@pytest.mark.parametrize(
    ("items", "value"),
    [
        ({"type": "string", "enum": [f"choice{at}" for at in range(20_000)]}, "none"),
        ({"type": "string", "allOf": [{"pattern": f"^{at}"} for at in range(50)], "maxLength": 3}, "b" * 50_000),
        ({"type": "string", "format": "date-time"}, "b" * 50_000),
    ],
    ids=["enum", "junctors", "format"],
)
def test_what_is_wrong_is_said_in_few_words(items: Document, value: str) -> None:
    causes = wrong(items, value, 30).causes
    assert causes
    assert max(len(cause.message) for cause in causes) < 3 * LONGEST_SHOWN


def test_no_more_items_are_examined_than_are_told() -> None:
    """Which of many alternatives came furthest takes long to find out."""
    schema = {"type": "object", "properties": {"l": {"type": "array", "items": {"type": "string", "anyOf": ALTERNATIVES}}}}
    clause = clause_of(schema)
    assert clause is not None
    items = Counted(["a"] * 3 * TOLD)
    assert len(examine(clause, {"l": items}, UNSET, Where("", "", "<nil>", Effort())).causes) >= TOLD
    assert items.taken <= TOLD


class Counted(list[str]):
    """A list that knows how many of its items were looked at."""

    taken = 0

    def __iter__(self) -> Iterator[str]:
        for item in super().__iter__():
            self.taken += 1
            yield item


def test_what_is_unknown_of_many_embedded_resources_is_told_as_far_as_it_helps() -> None:
    values = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    resource = {"apiVersion": "v1", "kind": "A", "metadata": {"x": 1}}
    outcome = custom_schema(mapped(values)).apply({"many": {str(at): resource for at in range(3 * TOLD)}})
    assert len(outcome.unknown) == TOLD
    assert all(each["metadata"] == {} for each in outcome.document["many"].values())


@pytest.mark.parametrize(
    "branches",
    [[{"pattern": f"^{at}"} for at in range(300)], [{"minLength": 2, "maxLength": 2 + at % 7} for at in range(300)]],
    ids=["patterns", "lengths"],
)
def test_alternatives_without_end_are_given_up(branches: list[Document]) -> None:
    """The last item alone is wrong, and each of the others fits the last alternative alone."""
    last = {"pattern": "^b"} if "pattern" in branches[0] else {"maxLength": 1}
    schema = custom_schema(mapped({"type": "string", "anyOf": [*branches, last]}, "list"))
    assert schema.apply({"many": ["b"] * 300}).causes == ()
    assert "too many to say what is wrong" in schema.apply({"many": [*["b"] * 3_000, "9wrong999"]}).causes[0].message
