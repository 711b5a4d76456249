"""What types in Python mean as schemas, and that values and documents are two forms of the same."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import Cause
from registry.nodes import ListType, Node
from registry.resource import (
    Condition,
    Conditions,
    Format,
    IntOrString,
    ListMap,
    ListSet,
    Meta,
    Metadata,
    MicroTime,
    OmitEmpty,
    PreserveUnknown,
    Resource,
    Spec,
    Status,
    Struct,
    Time,
)
from registry.schema import Schema
from registry.typed import from_document, node_of, schema_of, to_document
from tests.registry.widgets import Widget, WidgetSpec


class Mode(Enum):
    FAST = "fast"
    SLOW = "slow"


class Part(Struct):
    """A part."""

    name: str
    weight: Annotated[float, Meta(gt=0)] = 1.5


class EverySpec(Spec):
    text: Annotated[str, Meta(min_length=1, max_length=5, pattern="^[a-z]+$", title="Text", description="Some text.")]
    level: Literal["low", "high", "all"] = "low"
    mode: Mode = Mode.SLOW
    count: Annotated[int, Meta(ge=0, le=9)] = 3
    share: Annotated[float, Meta(gt=0, lt=1)] | None = None
    on: bool = True
    blob: bytes | None = None
    moment: datetime | None = None
    day: date | None = None
    uid: UUID | None = None
    at: Time | None = None
    exactly: MicroTime | None = None
    small: Annotated[int, Format("int32")] = 0
    port: IntOrString = 80
    tags: Annotated[list[str], ListSet, Meta(max_length=3)] = []
    unique: frozenset[str] = frozenset()
    parts: Annotated[tuple[Part, ...], ListMap("name")] = ()
    by_name: dict[str, Part] = {}
    labels: Annotated[dict[str, str], OmitEmpty] = {}
    free: dict[str, Any] | None = None
    anything: Any = None
    main: Part = Part(name="main")
    maybe: str | None = "x"
    must: int | None


class EveryStatus(Status):
    ready: bool = False
    conditions: Conditions = ()


class Every(Resource[EverySpec, EveryStatus]):
    """Every tries every type."""


class Plain(Resource[WidgetSpec, None]):
    """Plain has no status."""


NODE = node_of(Every)
SPEC = NODE.properties["spec"].properties
SCHEMA = schema_of(Every)


def known(node: Node) -> dict[str, Any]:
    """What a node says, without what it leaves open."""
    return {field: getattr(node, field) for field in node.__struct_fields__ if getattr(node, field) != getattr(Node(), field)}


FIELDS: dict[str, dict[str, Any]] = {
    "text": {
        "type": "string",
        "min_length": 1,
        "max_length": 5,
        "pattern": "^[a-z]+$",
        "title": "Text",
        "description": "Some text.",
    },
    "level": {"type": "string", "enum": ("low", "high", "all"), "default": "low"},
    "mode": {"type": "string", "enum": ("fast", "slow"), "default": "slow"},
    "count": {"type": "integer", "minimum": 0, "maximum": 9, "default": 3},
    "share": {"type": "number", "minimum": 0, "maximum": 1, "exclusive_minimum": True, "exclusive_maximum": True},
    "on": {"type": "boolean", "default": True},
    "blob": {"type": "string", "format": "byte"},
    "moment": {"type": "string", "format": "date-time"},
    "day": {"type": "string", "format": "date"},
    "uid": {"type": "string", "format": "uuid"},
    "at": {"type": "string", "format": "date-time"},
    "exactly": {"type": "string", "format": "micro-time"},
    "small": {"type": "integer", "format": "int32", "default": 0},
    "port": {"int_or_string": True, "default": 80},
    "tags": {"type": "array", "list_type": ListType.SET, "max_items": 3, "default": []},
    "unique": {"type": "array", "list_type": ListType.SET, "default": []},
    "parts": {"type": "array", "list_type": ListType.MAP, "list_map_keys": ("name",), "default": []},
    "byName": {"type": "object", "default": {}},
    "labels": {"type": "object"},
    "free": {"type": "object", "preserve": True},
    "anything": {"preserve": True, "nullable": True},
    "maybe": {"type": "string", "nullable": True, "default": "x"},
    "must": {"type": "integer", "nullable": True},
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_type_says_what_its_field_may_be(field: str) -> None:
    said = known(SPEC[field])
    assert {key: value for key, value in said.items() if key not in ("items", "additional")} == FIELDS[field]


def test_a_struct_says_its_fields_and_what_it_is() -> None:
    main = SPEC["main"]
    assert (main.type, main.name, main.description, main.required) == ("object", "Part", "A part.", ("name",))
    assert known(main.properties["weight"]) == {"type": "number", "minimum": 0, "exclusive_minimum": True, "default": 1.5}
    assert main.default == {"name": "main", "weight": 1.5}


def test_a_docstring_of_a_base_is_no_description() -> None:
    assert (NODE.description, NODE.properties["spec"].description) == ("Every tries every type.", "")


def test_only_fields_without_a_default_are_required() -> None:
    assert NODE.required == ("spec",)
    assert set(NODE.properties["spec"].required) == {"text", "must"}


def test_a_kind_without_status_has_no_such_field() -> None:
    assert "status" not in node_of(Plain).properties
    assert "status" in node_of(Widget).properties


def test_metadata_has_the_name_that_it_has_on_the_wire() -> None:
    assert node_of(Metadata).name == "ObjectMeta"
    assert NODE.properties["metadata"].properties["managedFields"].items.properties["fieldsV1"].preserve  # type: ignore[union-attr]


def test_preserve_unknown_keeps_what_the_type_does_not_know() -> None:
    class Loose(Spec):
        part: Annotated[Part, PreserveUnknown]

    outcome = Schema(node_of(Loose)).apply({"part": {"name": "a", "weight": 1.0, "more": 1}})
    assert outcome.document["part"]["more"] == 1


class Pair(Spec):
    of: tuple[int, str]


class Either(Spec):
    one: str | list[str]


class Number(Spec):
    value: complex


class Keys(Spec):
    by: dict[int, str]


class Tree(Spec):
    below: list[Tree] = []


class Unkeyed(Spec):
    parts: Annotated[list[Part], ListMap("nme")] = []


class Mixed(Spec):
    value: Literal["a", 1]


class Outer(Spec):
    inner: Pair


REFUSED = [
    (Pair, r"Pair\.of"),
    (Either, r"Either\.one"),
    (Number, r"Number.*complex"),
    (Keys, r"Keys\.by"),
    (Tree, r"Tree\.below\[\].*contains itself"),
    (Unkeyed, r"Unkeyed\.parts.*'nme'"),
    (Mixed, r"Mixed\.value"),
    (Outer, r"Outer\.inner\.of"),
]


@pytest.mark.parametrize(("model", "message"), REFUSED, ids=[model.__name__ for model, _ in REFUSED])
def test_a_type_that_a_schema_cannot_say_is_refused_by_class_and_field(model: type, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        schema_of(model)


def test_a_default_that_breaks_its_own_constraint_is_refused() -> None:
    class Wrong(Spec):
        size: Annotated[int, Meta(ge=1)] = 0

    with pytest.raises(ValueError, match=r"Wrong: the default of size is not valid"):
        schema_of(Wrong)


# Values and documents.


def test_a_value_becomes_a_document_without_what_says_nothing() -> None:
    document = to_document(Widget(metadata=Metadata(name="a"), spec=WidgetSpec(size=1)))
    assert document == {"metadata": {"name": "a"}, "spec": {"size": 1, "color": "red", "replicas": 1}}


def test_a_none_that_is_not_the_default_is_kept() -> None:
    spec = to_document(EverySpec(text="a", must=None, maybe=None))
    assert (spec["maybe"], spec["must"]) == (None, None)


def test_a_document_holds_nothing_but_json() -> None:
    value = EverySpec(
        text="a",
        must=1,
        blob=b"hi",
        moment=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        unique=frozenset("cab"),
        parts=(Part(name="p"),),
        by_name={"x": Part(name="y")},
    )
    document = to_document(value)
    assert (document["blob"], document["moment"], document["unique"]) == ("aGk=", "2026-01-02T03:04:05Z", ["a", "b", "c"])
    assert document["parts"] == [{"name": "p", "weight": 1.5}]
    assert type(document["parts"]) is list
    assert document["byName"] == {"x": {"name": "y", "weight": 1.5}}


def test_a_stored_document_may_have_fields_that_its_type_has_no_more() -> None:
    document = {"apiVersion": "g/v1", "kind": "Widget", "metadata": {"name": "a", "old": 1}, "spec": {"size": 1, "gone": {"a": 1}}}
    widget = from_document(Widget)(document)
    assert (widget.spec.size, widget.metadata.name) == (1, "a")


def test_a_document_with_causes_is_no_value() -> None:
    with pytest.raises(msgspec.ValidationError):
        from_document(Widget)({"spec": {"size": "x"}})


NAMES = st.text("abcdefg", min_size=1, max_size=5)
MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
PARTS = st.builds(Part, name=NAMES, weight=st.floats(0.5, 10))
CONDITIONS = st.lists(st.builds(Condition, type=NAMES, status=st.sampled_from(["True", "False"])), unique_by=lambda one: one.type)
SPECS = st.builds(
    EverySpec,
    text=NAMES,
    level=st.sampled_from(["low", "high", "all"]),
    mode=st.sampled_from(Mode),
    count=st.integers(0, 9),
    share=st.none() | st.floats(0.1, 0.9),
    blob=st.none() | st.binary(max_size=6),
    moment=st.none() | MOMENTS,
    day=st.none() | st.dates(),
    uid=st.none() | st.uuids(),
    port=st.integers(0, 99) | NAMES,
    tags=st.lists(NAMES, max_size=3, unique=True),
    unique=st.frozensets(NAMES, max_size=3),
    parts=st.lists(PARTS, max_size=3, unique_by=lambda part: part.name).map(tuple),
    by_name=st.dictionaries(NAMES, PARTS, max_size=2),
    labels=st.dictionaries(NAMES, NAMES, max_size=2),
    main=PARTS,
    maybe=st.none() | NAMES,
    must=st.none() | st.integers(-5, 5),
)
VALUES = st.builds(
    Every,
    metadata=st.builds(Metadata, name=NAMES, labels=st.dictionaries(NAMES, NAMES, max_size=2)),
    spec=SPECS,
    status=st.none() | st.builds(EveryStatus, ready=st.booleans(), conditions=CONDITIONS.map(tuple)),
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_a_value_survives_being_a_document(value: Every) -> None:
    assert from_document(Every)(to_document(value)) == value


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_the_schema_takes_the_document_of_every_value_as_it_is(value: Every) -> None:
    document = to_document(value)
    outcome = SCHEMA.apply(document)
    assert (outcome.unknown, outcome.causes, outcome.unreadable) == ((), (), "")
    assert outcome.document is document


ODD = st.sampled_from(
    [None, "", "abc", "ABC", 0, -1, 3, 10, 0.5, 1.0, True, [], ["a", "a"], {}, {"name": "a"}, "2026-01-02", "aGk=", "low"]
)


@settings(max_examples=500, deadline=None)
@given(VALUES, st.sampled_from(sorted(SPEC)), ODD)
def test_what_the_schema_takes_can_be_made_a_value_and_what_it_refuses_cannot(value: Every, field: str, odd: Any) -> None:
    document = to_document(value)
    outcome = SCHEMA.apply({**document, "spec": {**document["spec"], field: odd}})
    try:
        from_document(Every)(outcome.document)
    except msgspec.ValidationError:
        assert outcome.causes
    else:
        assert all(only_the_schema_knows(cause) for cause in outcome.causes)


def only_the_schema_knows(cause: Cause) -> bool:
    """Rules that a type in Python does not have: formats of texts, 32 bits, and items that differ."""
    return cause.field in ("spec.at", "spec.exactly", "spec.small") or cause.reason == "FieldValueDuplicate"


class OpenSpec(Spec):
    name: str = ""
    free: Any = None
    more: dict[str, list[Any]] | None = None


class Open(Resource[OpenSpec, None]):
    """Has fields in which there may be anything."""


def test_a_value_shares_nothing_with_the_document_that_it_was_made_of() -> None:
    document = {"metadata": {"name": "a"}, "spec": {"free": {"a": [1]}, "more": {"b": [{"c": 2}]}}}
    before = msgspec.json.encode(document)
    made = from_document(Open)(document)
    made.spec.free["a"].append(2)
    assert made.spec.more is not None
    made.spec.more["b"][0]["c"] = 3
    assert msgspec.json.encode(document) == before
    assert to_document(made)["spec"] == {"name": "", "free": {"a": [1, 2]}, "more": {"b": [{"c": 3}]}}
