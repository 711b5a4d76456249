"""What a schema makes of documents, in the words that a kube-apiserver was recorded with, and that its two ways agree."""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from registry.compiled import Untidy
from registry.errors import Cause
from registry.nodes import same
from registry.resource import Format, ListSet, MicroTime, Object, Spec, Time, replace
from registry.schema import Dialect, ListType, Node, Schema, unreadable
from registry.typed import schema_of
from tests.registry.widgets import Cam, Widget, widget

SCHEMA = schema_of(Widget)
STRING, INTEGER = Node(type="string"), Node(type="integer")


def said(causes: tuple[Cause, ...]) -> set[tuple[str, str, str]]:
    return {(cause.reason.removeprefix("FieldValue"), cause.field, cause.message) for cause in causes}


RECORDED: list[tuple[str, dict[str, Any], set[tuple[str, str, str]]]] = [
    (
        "all at once",
        widget(size=0, color="mauve", tags=["a", 1], env={"A": 5}, notes="n" * 65),
        {
            ("TooLong", "spec.notes", "Too long: may not be more than 64 bytes"),
            ("Invalid", "spec.size", "Invalid value: 0: spec.size in body should be greater than or equal to 1"),
            ("TypeInvalid", "spec.tags[1]", 'Invalid value: "integer": spec.tags[1] in body must be of type string: "integer"'),
            ("NotSupported", "spec.color", 'Unsupported value: "mauve": supported values: "red", "green", "blue"'),
            ("TypeInvalid", "spec.env.A", 'Invalid value: "integer": spec.env.A in body must be of type string: "integer"'),
        },
    ),
    (
        "too great",
        widget(size=101),
        {("Invalid", "spec.size", "Invalid value: 101: spec.size in body should be less than or equal to 100")},
    ),
    ("no size", widget(), {("Required", "spec.size", "Required value")}),
    ("no spec", {"metadata": {"name": "a"}}, {("Required", "spec", "Required value")}),
    ("null spec", {"metadata": {"name": "a"}, "spec": None}, {("Required", "spec", "Required value")}),
    (
        "a fraction",
        widget(size=1.5),
        {
            ("TypeInvalid", "spec.size", 'Invalid value: "number": spec.size in body must be of type integer: "number"'),
            ("Invalid", "<nil>", 'Invalid value: "": Checked value must be of type integer (default format) in spec.size'),
        },
    ),
    (
        "a text",
        widget(size="1"),
        {("TypeInvalid", "spec.size", 'Invalid value: "string": spec.size in body must be of type integer: "string"')},
    ),
    (
        "a list",
        {"metadata": {"name": "a"}, "spec": []},
        {("TypeInvalid", "spec", 'Invalid value: "array": spec in body must be of type object: "array"')},
    ),
    ("set", widget(size=1, tags=["a", "b", "a"]), {("Duplicate", "spec.tags[2]", 'Duplicate value: "a"')}),
]


@pytest.mark.parametrize(("name", "document", "causes"), RECORDED, ids=[name for name, _, _ in RECORDED])
def test_broken_rules_are_all_named_in_recorded_words(
    name: str, document: dict[str, Any], causes: set[tuple[str, str, str]]
) -> None:
    assert said(SCHEMA.apply(document).causes) == causes


def test_formats_and_bounds_are_named_in_recorded_words() -> None:
    spec = {"port": 1.5, "when": "soon", "host": "ABC", "binary": "?", "short": 3000000000, "numbers": [1, 2, 3]}
    assert said(schema_of(Cam).apply({"spec": spec}).causes) == {
        ("Invalid", "<nil>", 'Invalid value: "": Checked value must be of type integer with format int32 in spec.short'),
        ("Invalid", "spec.host", "Invalid value: \"ABC\": spec.host in body should match '^[a-z]+$'"),
        ("TypeInvalid", "spec.port", 'Invalid value: "number": spec.port in body must be of type integer,string: "number"'),
        ("TypeInvalid", "spec.binary", 'Invalid value: "?": spec.binary in body must be of type byte: "?"'),
        *(
            (
                "TypeInvalid",
                f"spec.numbers[{index}]",
                f'Invalid value: "integer": spec.numbers[{index}] in body must be of type object: "integer"',
            )
            for index in range(3)
        ),
        ("TooMany", "spec.numbers", "Too many: 3: must have at most 2 items"),
        ("TypeInvalid", "spec.when", 'Invalid value: "soon": spec.when in body must be of type date-time: "soon"'),
    }


STATUSES: list[tuple[str, dict[str, Any], set[tuple[str, str, str]]]] = [
    (
        "type",
        {"ready": "yes"},
        {("TypeInvalid", "status.ready", 'Invalid value: "string": ready in body must be of type boolean: "string"')},
    ),
    (
        "twins",
        {"conditions": [{"type": "A", "status": "True"}, {"type": "A", "status": "False"}]},
        {("Duplicate", "status.conditions[1]", 'Duplicate value: {"type":"A"}')},
    ),
    (
        "item",
        {"conditions": [{"status": "Maybe"}]},
        {
            (
                "NotSupported",
                "status.conditions[0].status",
                'Unsupported value: "Maybe": supported values: "True", "False", "Unknown"',
            ),
            ("Required", "status.conditions[0].type", "Required value"),
        },
    ),
    (
        "time",
        {"conditions": [{"type": "A", "status": "True", "lastTransitionTime": "yesterday"}]},
        {
            (
                "TypeInvalid",
                "status.conditions[0].lastTransitionTime",
                'Invalid value: "yesterday": conditions[0].lastTransitionTime in body must be of type date-time: "yesterday"',
            )
        },
    ),
]


@pytest.mark.parametrize(("name", "status", "causes"), STATUSES, ids=[name for name, _, _ in STATUSES])
def test_a_status_alone_is_named_by_the_path_within_it(
    name: str, status: dict[str, Any], causes: set[tuple[str, str, str]]
) -> None:
    assert said(SCHEMA.apply({**widget(size=1), "status": status}, part="status").causes) == causes


def test_a_part_is_looked_at_and_the_rest_let_alone() -> None:
    document = {"spec": {"size": "broken", "nope": 1}, "status": {"phase": "x", "nope": 1}}
    outcome = SCHEMA.apply(document, part="status")
    assert outcome.document == {"spec": {"size": "broken", "nope": 1}, "status": {"phase": "x"}}
    assert (outcome.unknown, outcome.causes) == (("status.nope",), ())


def test_unknown_fields_are_dropped_at_any_depth_and_named_in_order() -> None:
    document = {**widget(size=1, unknown={"a": 1}), "extra": True, "status": {"nothing": 1, "conditions": [{"type": "A", "x": 1}]}}
    outcome = SCHEMA.apply(document)
    assert outcome.unknown == ("extra", "spec.unknown", "status.conditions[0].x", "status.nothing")
    assert outcome.document["spec"] == {"size": 1, "color": "red", "replicas": 1}
    assert "extra" not in outcome.document


def test_unknown_fields_of_metadata_count_too() -> None:
    document = {**widget(size=1, colour="red", more={"deep": 1}), "metadata": {"name": "a", "unknownMeta": "x"}, "top": 1}
    assert SCHEMA.apply(document).unknown == ("metadata.unknownMeta", "spec.colour", "spec.more", "top")


def test_a_null_gives_way_to_a_default_or_is_dropped() -> None:
    outcome = SCHEMA.apply(widget(size=1, color=None, notes=None, tags=None))
    assert outcome.document["spec"] == {"size": 1, "color": "red", "replicas": 1}
    assert (outcome.unknown, outcome.causes) == ((), ())


def test_a_null_is_kept_where_it_says_something() -> None:
    schema = Schema(Node(type="object", properties={"maybe": Node(type="string", nullable=True, default="x")}))
    assert schema.apply({"maybe": None}).document == {"maybe": None}
    assert schema.apply({}).document == {"maybe": "x"}


def test_a_null_in_a_list_is_a_wrong_type() -> None:
    assert said(SCHEMA.apply(widget(size=1, tags=["a", None])).causes) == {
        ("TypeInvalid", "spec.tags[1]", 'Invalid value: "null": spec.tags[1] in body must be of type string: "null"')
    }


def test_a_whole_number_that_is_written_as_a_fraction_is_an_integer() -> None:
    document = SCHEMA.apply(widget(size=2.0)).document
    assert document["spec"]["size"] == 2
    assert type(document["spec"]["size"]) is int


@pytest.mark.parametrize("size", [2**63, -(2**63) - 1, 10**400, 1e300])
def test_a_number_beyond_64_bits_is_no_integer(size: float) -> None:
    fields = [cause.field for cause in SCHEMA.apply(widget(size=size)).causes]
    assert fields[:2] == ["spec.size", "<nil>"]


def test_defaults_are_filled_in_below_parents_that_are_there() -> None:
    nested = Node(type="object", properties={"a": Node(type="string", default="x")})
    schema = Schema(
        Node(type="object", properties={"absent": nested, "present": nested, "given": Node(**fields_of(nested), default={})})
    )
    assert schema.apply({"present": {}}).document == {"present": {"a": "x"}, "given": {"a": "x"}}


def fields_of(node: Node) -> dict[str, Any]:
    return {"type": node.type, "properties": node.properties}


@pytest.mark.parametrize("document", [{}, {"list": None}])
def test_a_default_is_never_shared_between_documents(document: dict[str, Any]) -> None:
    schema = Schema(Node(type="object", properties={"list": Node(type="array", items=STRING, default=["a"])}))
    schema.apply(document).document["list"].append("b")
    assert schema.apply(document).document == {"list": ["a"]}


def test_a_default_that_breaks_its_own_rules_is_refused_when_the_schema_is_made() -> None:
    with pytest.raises(ValueError, match=r"default of spec\.size is not valid"):
        Schema(
            Node(type="object", properties={"spec": Node(type="object", properties={"size": Node(type="integer", default="x")})})
        )


def test_a_pattern_that_cannot_be_read_is_refused_when_the_schema_is_made() -> None:
    with pytest.raises(ValueError, match="pattern"):
        Schema(Node(type="object", properties={"a": Node(type="string", pattern="(")}))


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [("^[a-z]+$", "abc", True), ("^[a-z]+$", "abc\n", False), (r"^\d$", "٣", False), (r"^[$]$", "$", True), (r"a\$", "a$", True)],
)
def test_patterns_are_those_of_go(pattern: str, text: str, fits: bool) -> None:
    schema = Schema(Node(type="object", properties={"a": Node(type="string", pattern=pattern)}))
    assert (not schema.apply({"a": text}).causes) is fits


def test_preserved_fields_are_let_alone_and_known_ones_among_them_are_not() -> None:
    node = Node(type="object", preserve=True, properties={"known": Node(type="object", properties={"a": INTEGER})})
    free = {"any": {"thing": [1, None, True]}, "known": {"a": 1, "b": 2}}
    outcome = Schema(node).apply(free)
    assert outcome.document == {"any": {"thing": [1, None, True]}, "known": {"a": 1}}
    assert outcome.unknown == ("known.b",)


def test_an_object_without_known_fields_is_emptied() -> None:
    schema = Schema(Node(type="object", properties={"spec": Node(type="object")}))
    assert schema.apply({"spec": {"a": 1}}).document == {"spec": {}}


def test_what_did_not_change_is_shared_and_what_came_in_is_as_it_was() -> None:
    document = widget(size=1, env={"A": "1"})
    before = deepcopy(document)
    after = SCHEMA.apply(document).document
    assert document == before
    assert after is not document
    assert after["metadata"] is document["metadata"]
    assert after["spec"]["env"] is document["spec"]["env"]  # type: ignore[index]


def test_a_document_in_its_one_form_comes_back_itself() -> None:
    document = SCHEMA.apply(widget(size=1)).document
    assert SCHEMA.apply(document).document is document


BROKEN = {"size": 500, "color": "red", "replicas": 1, "tags": ["a", "a"], "env": {"A": "1"}}


def test_what_was_wrong_before_and_is_the_same_is_tolerated() -> None:
    old = widget(**BROKEN)
    assert SCHEMA.apply(widget(**{**BROKEN, "replicas": 2}), old=old).causes == ()


def test_what_was_wrong_before_and_changes_must_be_right() -> None:
    old = widget(**BROKEN)
    assert [cause.field for cause in SCHEMA.apply(widget(**{**BROKEN, "size": 501}), old=old).causes] == ["spec.size"]
    assert [cause.field for cause in SCHEMA.apply(widget(**{**BROKEN, "tags": ["a", "a", "b"]}), old=old).causes] == [
        "spec.tags[1]"
    ]


def test_items_of_a_map_are_compared_by_their_key_wherever_they_stand() -> None:
    bad, good = {"type": "A", "status": "Maybe"}, {"type": "B", "status": "True"}
    old = {**widget(size=1), "status": {"conditions": [bad, good]}}
    new = {**widget(size=1), "status": {"conditions": [good, bad]}}
    assert SCHEMA.apply(new, old=old).causes == ()
    assert SCHEMA.apply(new, old=old, part="status").causes == ()


def test_an_equal_number_of_another_type_is_a_change() -> None:
    old = {"apiVersion": "v", "spec": {"size": True}}
    assert [cause.field for cause in SCHEMA.apply({"spec": {"size": 1000}}, old=old).causes] == ["spec.size"]
    assert [cause.field for cause in SCHEMA.apply({"spec": {"size": True}}, old={"spec": {"size": 1}}).causes] == ["spec.size"]


def test_causes_are_found_at_nodes_by_their_paths() -> None:
    assert (
        SCHEMA.at("status", "conditions", "[]", "type")
        == SCHEMA.node.properties["status"].properties["conditions"].items.properties["type"]
    )  # type: ignore[union-attr]
    assert SCHEMA.at("spec", "nope") is None


WORDS: list[tuple[str, Node, Any, str]] = [
    ("most length", Node(type="string", max_length=2), "äöü", "Too long: may not be more than 2 bytes"),
    ("most items", Node(type="array", items=STRING, max_items=1), ["", ""], "Too many: 2: must have at most 1 items"),
    ("least length", Node(type="string", min_length=2), "a", 'Invalid value: "a": a in body should be at least 2 chars long'),
    ("least items", Node(type="array", items=STRING, min_items=1), [], "Invalid value: 0: a in body should have at least 1 items"),
    (
        "least fields",
        Node(type="object", additional=STRING, min_properties=1),
        {},
        "Invalid value: 0: a in body should have at least 1 properties",
    ),
    (
        "most fields",
        Node(type="object", additional=STRING, max_properties=1),
        {"x": "", "y": ""},
        "Too many: 2: must have at most 1 items",
    ),
    (
        "above",
        Node(type="number", minimum=1, exclusive_minimum=True),
        1,
        "Invalid value: 1: a in body should be greater than 1",
    ),
    (
        "below",
        Node(type="number", maximum=1.5, exclusive_maximum=True),
        1.5,
        "Invalid value: 1.5: a in body should be less than 1.5",
    ),
    ("multiple", Node(type="integer", multiple_of=3), 4, "Invalid value: 4: a in body should be a multiple of 3"),
    ("choice", Node(type="integer", enum=(1, 2)), 3, 'Unsupported value: 3: supported values: "1", "2"'),
    ("uuid", Node(type="string", format="uuid"), "x", 'Invalid value: "x": a in body must be of type uuid: "x"'),
]


@pytest.mark.parametrize(("name", "node", "value", "message"), WORDS, ids=[case[0] for case in WORDS])
def test_every_rule_has_its_words(name: str, node: Node, value: Any, message: str) -> None:
    assert [cause.message for cause in Schema(Node(type="object", properties={"a": node})).apply({"a": value}).causes] == [message]


# Built-in kinds.


class LeaseSpec(Spec):
    renew_time: MicroTime | None = None
    transitions: Annotated[int, Format("int32")] | None = None
    enabled: bool | None = None


class Lease(Object):
    spec: LeaseSpec | None = None
    data: dict[str, str] | None = None
    binary: dict[str, bytes] | None = None
    times: list[Time] | None = None
    names: Annotated[list[str] | None, ListSet] = None


LEASE = schema_of(Lease, Dialect.BUILTIN)

UNREADABLE: list[tuple[dict[str, Any], str]] = [
    ({"data": {"a": 5}}, "json: cannot unmarshal number into Go struct field Lease.data of type string"),
    ({"data": "x"}, "json: cannot unmarshal string into Go struct field Lease.data of type map[string]string"),
    ({"names": {}}, "json: cannot unmarshal object into Go struct field Lease.names of type []string"),
    ({"names": [True]}, "json: cannot unmarshal bool into Go struct field Lease.names of type string"),
    ({"spec": []}, "json: cannot unmarshal array into Go struct field Lease.spec of type v1.LeaseSpec"),
    ({"spec": {"renewTime": 5}}, "json: cannot unmarshal number into Go struct field LeaseSpec.spec.renewTime of type string"),
    (
        {"spec": {"transitions": "many"}},
        "json: cannot unmarshal string into Go struct field LeaseSpec.spec.transitions of type int32",
    ),
    (
        {"spec": {"transitions": 3000000000}},
        "json: cannot unmarshal number 3000000000 into Go struct field LeaseSpec.spec.transitions of type int32",
    ),
    ({"spec": {"enabled": 1}}, "json: cannot unmarshal number into Go struct field LeaseSpec.spec.enabled of type bool"),
    ({"binary": {"bin": "not base64!"}}, "illegal base64 data at input byte 3"),
    (
        {"spec": {"renewTime": "now"}},
        'parsing time "now" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "now" as "2006"',
    ),
    ({"metadata": {"name": 5}}, "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"),
    ({"data": {"a": 5}, "spec": []}, "json: cannot unmarshal number into Go struct field Lease.data of type string"),
]


@pytest.mark.parametrize(("document", "message"), UNREADABLE, ids=[message[:60] for _, message in UNREADABLE])
def test_a_wrong_type_in_a_built_in_kind_is_told_as_go_tells_it(document: dict[str, Any], message: str) -> None:
    assert LEASE.apply(document).unreadable == message


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("text", "json: cannot unmarshal string into Go value of type v1.ObjectMeta"),
        ({"name": 5}, "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"),
        ({"labels": {"a": 5}}, "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"),
    ],
)
def test_metadata_of_a_custom_kind_is_read_as_go_reads_it(metadata: Any, message: str) -> None:
    outcome = SCHEMA.apply({**widget(size=1), "metadata": metadata})
    assert outcome.unreadable == message
    assert unreadable("Widget", "v1", message).message == f'Widget in version "v1" cannot be handled as a Widget: {message}'


def test_times_of_a_built_in_kind_are_brought_into_their_one_form() -> None:
    document = {"spec": {"renewTime": "2026-01-02T04:04:05.123456+01:00"}, "times": ["2026-01-31T03:04:05.9Z"]}
    assert LEASE.apply(document).document == {
        "spec": {"renewTime": "2026-01-02T03:04:05.123456Z"},
        "times": ["2026-01-31T03:04:05Z"],
    }


def test_times_of_a_custom_kind_stay_as_they_were_written() -> None:
    document = {"spec": {"when": "2026-01-02T04:04:05.5+01:00"}}
    assert schema_of(Cam).apply(document).document is document


def test_nulls_of_a_built_in_kind_are_nothing_in_a_field_and_zero_in_a_map_or_list() -> None:
    assert LEASE.apply({"spec": None, "data": {"a": None}, "names": [None]}).document == {"data": {"a": ""}, "names": [""]}


def test_unknown_fields_of_a_built_in_kind_are_named_in_the_order_of_the_document() -> None:
    assert LEASE.apply({"metadata": {"name": "a", "nope": 1}, "data": {}, "dada": {}}).unknown == ("metadata.nope", "dada")


def test_items_of_a_set_in_a_built_in_kind_may_repeat() -> None:
    assert LEASE.apply({"names": ["a", "a"]}).causes == ()


def test_metadata_that_clients_send_without_need_is_taken() -> None:
    metadata = {"name": "a", "creationTimestamp": None, "managedFields": [], "selfLink": "/x"}
    outcome = SCHEMA.apply({**widget(size=1), "metadata": metadata, "status": {}})
    assert (outcome.unknown, outcome.causes, outcome.unreadable) == ((), (), "")
    assert "creationTimestamp" not in outcome.document["metadata"]


# Any schema, any document.

KEYS = st.sampled_from(["a", "b", "c", "metadata"])
TEXTS = st.sampled_from(["", "a", "b", "ab", "2026-01-02T03:04:05Z", "2026-01-31T03:04:05.5+01:00", "aGk=", "x y"])
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([1.0, 2.5, 2**31, 2**63, 1e300, -0.0]))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


@st.composite
def leaves(draw: st.DrawFn) -> Node:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "", "int-or-string"]))
    nullable = draw(st.booleans())
    if kind == "string":
        return Node(
            type=kind,
            nullable=nullable,
            max_length=draw(maybe(st.integers(0, 3))),
            min_length=draw(maybe(st.integers(0, 1))),
            pattern=draw(st.sampled_from(["", "^a"])),
            enum=draw(st.sampled_from([(), ("a", "b")])),
            format=draw(st.sampled_from(["", "date-time", "micro-time", "byte", "unheard-of"])),
        )
    if kind in ("integer", "number"):
        return Node(
            type=kind,
            nullable=nullable,
            format=draw(st.sampled_from(["", "int32"])),
            minimum=draw(maybe(st.integers(-1, 1))),
            maximum=draw(maybe(st.integers(1, 2))),
            exclusive_minimum=draw(st.booleans()),
            multiple_of=draw(st.sampled_from([None, 2, 0.5])),
            enum=draw(st.sampled_from([(), (1, 2)])),
        )
    if kind == "int-or-string":
        return Node(int_or_string=True, nullable=nullable)
    return Node(type=kind, preserve=not kind, nullable=nullable)


def holders(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.one_of(
        st.builds(
            lambda properties, required, preserve, most: Node(
                type="object", properties=properties, required=tuple(required), preserve=preserve, max_properties=most
            ),
            st.dictionaries(KEYS, inner, max_size=3),
            st.lists(KEYS, max_size=1),
            st.booleans(),
            maybe(st.integers(0, 2)),
        ),
        st.builds(lambda additional: Node(type="object", additional=additional), inner),
        st.builds(
            lambda items, most, kind: Node(
                type="array", items=items, max_items=most, list_type=kind, list_map_keys=("a",) if kind is ListType.MAP else ()
            ),
            inner,
            maybe(st.integers(0, 2)),
            st.sampled_from([None, ListType.SET, ListType.MAP]),
        ),
    )


NODES = st.recursive(leaves(), holders, max_leaves=6)


@st.composite
def defaulted(draw: st.DrawFn) -> Node:
    """A root, some of whose fields have a default: one that fits, since a schema with another cannot be made."""
    properties = {}
    for key, node in draw(st.dictionaries(KEYS, NODES, max_size=3)).items():
        properties[key] = node
        if draw(st.booleans()):
            with_default = replace(node, default=draw(VALUES))
            try:
                Schema(Node(type="object", properties={key: with_default}))
            except ValueError:
                continue
            properties[key] = with_default
    return Node(
        type="object", properties=properties, required=tuple(draw(st.lists(KEYS, max_size=1))), preserve=draw(st.booleans())
    )


DIALECTS = st.sampled_from(Dialect)
LEAVES = {
    "string": TEXTS,
    "integer": st.sampled_from([-1, 0, 1, 2, 3, 2.0, 2**31]),
    "number": st.sampled_from([-1, 0, 1, 1.0, 1.5, 2, 2.5]),
    "boolean": st.booleans(),
}


def fitting(node: Node) -> st.SearchStrategy[Any]:
    """Values that have the form of the node, mostly: one of ten is something else."""
    if node.type == "object":
        values: st.SearchStrategy[Any] = st.fixed_dictionaries(
            {}, optional={key: fitting(child) for key, child in node.properties.items()}
        )
        if node.additional is not None:
            values = st.dictionaries(KEYS, fitting(node.additional), max_size=2)
        if not node.properties and node.additional is None:
            values = st.dictionaries(KEYS, VALUES, max_size=1)
    elif node.type == "array":
        values = st.lists(fitting(node.items or Node()), max_size=3)
    else:
        values = LEAVES.get(node.type, NUMBERS | TEXTS)
    return st.integers(0, 19).flatmap(lambda chance: VALUES if chance == 0 else st.none() if chance == 1 else values)


@st.composite
def documents(draw: st.DrawFn, root: Node) -> dict[str, Any]:
    """Documents for a schema: those of its fields that fit, mostly, and now and then a field that it does not know."""
    document: dict[str, Any] = draw(
        st.fixed_dictionaries({}, optional={key: fitting(node) for key, node in root.properties.items()})
    )
    return document | (draw(st.dictionaries(KEYS, VALUES, max_size=1)) if draw(st.integers(0, 9)) == 0 else {})


@settings(max_examples=1000, deadline=None)
@given(st.data(), defaulted(), DIALECTS)
def test_the_fast_way_does_nothing_that_the_slow_way_would_not(data: st.DataObject, node: Node, dialect: Dialect) -> None:
    schema = Schema(node, dialect)
    document = data.draw(documents(node))
    slow = schema._whole.apply(document, UNSET)
    fast = schema.apply(document)
    assert fast[1:] == slow[1:]
    assert same(fast.document, slow.document)


@settings(max_examples=300, deadline=None)
@given(st.data(), defaulted(), DIALECTS)
def test_a_document_made_of_a_tidy_one_is_read_as_if_it_were_new(data: st.DataObject, node: Node, dialect: Dialect) -> None:
    schema = Schema(node, dialect)
    first = schema.apply(data.draw(documents(node)))
    if first.unreadable or first.causes:
        return
    tidied, before = first.document, deepcopy(first.document)
    other = data.draw(documents(node))
    made = {**tidied, **{key: _mixed(tidied.get(key), value) for key, value in other.items()}}
    for key in data.draw(st.sets(st.sampled_from(sorted(made)))) if made else ():
        del made[key]
    again, anew = schema.again(made, tidied), schema.apply(made)
    assert same(tidied, before)
    if again is None:
        with pytest.raises(Untidy):
            schema._whole.tidy(made)
    else:
        assert anew[1:] == ((), (), "")
        assert same(again, anew.document)


def test_what_is_left_of_a_tidy_document_still_lacks_what_it_lacks() -> None:
    inner = Node(
        type="object", properties={"a": Node(type="integer", maximum=3), "b": Node(type="string", default="x")}, required=("a",)
    )
    schema = Schema(
        Node(type="object", properties={"spec": inner, "each": Node(type="array", items=inner), "free": Node(preserve=True)})
    )
    tidied = {"spec": {"a": 1, "b": "y"}, "each": [{"a": 2, "b": "z"}], "free": {"n": [1]}}
    assert schema.again(tidied, tidied) is tidied
    assert schema.again({**tidied, "spec": {"a": 2}}, tidied) == {**tidied, "spec": {"a": 2, "b": "x"}}
    assert schema.again({**tidied, "each": [{"a": 3.0}]}, tidied) == {**tidied, "each": [{"a": 3, "b": "x"}]}
    for wrong in ({"b": "y"}, {"a": 4, "b": "y"}, {"a": 1, "b": "y", "c": 1}, {"a": "1", "b": "y"}, [1]):
        assert schema.again({**tidied, "spec": wrong}, tidied) is None
        assert schema.again({**tidied, "each": [*tidied["each"], wrong]}, tidied) is None
    assert schema.again({**tidied, "more": 1}, tidied) is None
    assert schema.again({**tidied, "spec": None}, tidied) == {key: tidied[key] for key in ("each", "free")}


def _mixed(tidied: Any, other: Any) -> Any:
    """Half of the fields of the one, with those of the other."""
    if not (isinstance(tidied, dict) and isinstance(other, dict)):
        return other
    return {**dict(list(tidied.items())[::2]), **{key: _mixed(tidied.get(key), value) for key, value in other.items()}}


@settings(max_examples=400, deadline=None)
@given(st.data(), defaulted(), DIALECTS)
def test_a_schema_changes_nothing_about_its_own_outcome(data: st.DataObject, node: Node, dialect: Dialect) -> None:
    schema = Schema(node, dialect)
    document = data.draw(documents(node))
    before = deepcopy(document)
    once = schema.apply(document)
    assert same(document, before)
    if once.unreadable:
        return
    twice = schema.apply(once.document)
    assert twice.document is once.document
    assert (twice.unknown, twice.causes, twice.unreadable) == ((), once.causes, "")


@settings(max_examples=300, deadline=None)
@given(st.data(), defaulted())
def test_an_unchanged_document_is_always_tolerated(data: st.DataObject, node: Node) -> None:
    schema = Schema(node)
    once = schema.apply(data.draw(documents(node)))
    if not once.unreadable:
        assert schema.apply(once.document, old=deepcopy(once.document)).causes == ()


@settings(max_examples=300, deadline=None)
@given(st.data(), defaulted())
def test_what_is_not_tolerated_is_a_part_of_what_is_wrong(data: st.DataObject, node: Node) -> None:
    schema = Schema(node)
    document, old = data.draw(documents(node)), data.draw(documents(node))
    assert set(schema.apply(document, old=old).causes) <= set(schema.apply(document).causes)
