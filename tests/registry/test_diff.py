"""What a diff promises whatever changed: nothing that breaks a document goes unsaid, and nothing is said where nothing changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.diff import Verdict, diff
from registry.diff_schema import compare
from registry.lock import promised
from registry.nodes import ListType, Node
from registry.openapi_schemas import schema_of_node
from registry.schema import Schema
from tests.registry.locks import NUMBER, TEXT, lock, struct, version

WORDS = ("a", "b", "aa", "bb", "ab")
BOUND = st.none() | st.integers(0, 3)


@st.composite
def nodes(draw: st.DrawFn, depth: int = 2, kind: str = "") -> Node:
    """A structural schema over a few names and values, so that two of them often disagree about the same document."""
    leaves = ("string", "string", "integer", "boolean", "either")
    kinds = leaves if depth == 0 else ("object", "object", "array", "array", "map", "open", *leaves[1:3])
    chosen = kind or draw(st.sampled_from(kinds))
    nullable = draw(st.booleans())
    if chosen == "string":
        enum = draw(st.just(()) | st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True).map(tuple))
        pattern = draw(st.sampled_from(("", "^a", "b$")))
        low, high = draw(BOUND), draw(BOUND)
        return Node(type="string", nullable=nullable, enum=enum, pattern=pattern, min_length=low, max_length=high)
    if chosen == "integer":
        low, high, excluded = draw(BOUND), draw(BOUND), draw(st.booleans())
        multiple = draw(st.none() | st.integers(1, 4))
        exclusive = excluded and low is not None
        return Node(type="integer", nullable=nullable, minimum=low, maximum=high, exclusive_minimum=exclusive, multiple_of=multiple)
    if chosen in ("boolean", "either"):
        return Node(type="boolean" if chosen == "boolean" else "", int_or_string=chosen == "either", nullable=nullable)
    if chosen == "array":
        unique = draw(st.sampled_from((None, ListType.ATOMIC, ListType.SET)))
        items = draw(nodes(depth=0))
        return Node(type="array", items=items, list_type=unique, min_items=draw(BOUND), max_items=draw(BOUND))
    if chosen == "map":
        return Node(type="object", additional=draw(nodes(depth=depth - 1)), max_properties=draw(BOUND))
    if chosen == "open":
        return Node(type="object", preserve=True, max_properties=draw(BOUND))
    names = draw(st.lists(st.sampled_from(("x", "y", "z")), min_size=1, unique=True))
    properties = {name: draw(nodes(depth=depth - 1)) for name in names}
    required = tuple(name for name in names if draw(st.booleans()))
    return Node(type="object", properties=properties, required=required, nullable=nullable)


@st.composite
def changed(draw: st.DrawFn, node: Node, depth: int = 2) -> Node:
    """The node with one thing changed, so that nothing else can hide what is to be found."""
    properties = dict(node.properties)
    name = draw(st.sampled_from(sorted(properties))) if properties else ""
    ways = ["inside", "drop", "require", "release"] if name else []
    ways += ["items"] if node.items is not None else ["values", "close"] if node.additional is not None else []
    way = draw(st.sampled_from([*ways, "word"] if ways else ["word"]))
    if way == "inside":
        return replace(node, properties={**properties, name: draw(changed(properties[name], depth - 1))})
    if way == "drop":
        del properties[name]
        return replace(node, properties=properties, required=tuple(each for each in node.required if each != name))
    if way == "require":
        return replace(node, required=tuple(sorted({*node.required, name})))
    if way == "release":
        return replace(node, required=tuple(each for each in node.required if each != name))
    if way == "items" and node.items is not None:
        return replace(node, items=draw(changed(node.items, 0)))
    if way == "values" and node.additional is not None:
        return replace(node, additional=draw(changed(node.additional, depth - 1)))
    if way == "close":
        return replace(node, additional=None)
    return draw(worded(node, depth))


@st.composite
def worded(draw: st.DrawFn, node: Node, depth: int) -> Node:
    """The node with one keyword of another."""
    kind = draw(st.sampled_from((_kind_of(node), _kind_of(node), "")))
    other = draw(nodes(depth=max(depth, 0), kind=kind))
    if _kind_of(other) != _kind_of(node):
        return other
    structure = {"type", "properties", "required", "items", "additional", "exclusive_minimum"}
    words = [word for word in node.__struct_fields__ if word not in structure and getattr(node, word) != getattr(other, word)]
    if not words:
        return node
    word = draw(st.sampled_from(words))
    if word == "minimum" and other.minimum is None:
        return replace(node, minimum=None, exclusive_minimum=False)
    return replace(node, **{word: getattr(other, word)})


def _kind_of(node: Node) -> str:
    """The word by which `nodes` makes one like it."""
    if node.type == "object":
        return "map" if node.additional is not None else "open" if node.preserve else "object"
    return node.type or "either"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 5) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("x", "y", "z")), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def fitting(draw: st.DrawFn, node: Node) -> Any:
    """A value that is likely to be taken."""
    if node.nullable and draw(st.integers(0, 5)) == 0:
        return None
    if node.type == "object" and (node.properties or not (node.preserve or node.additional)):
        return {
            name: draw(fitting(child)) for name, child in node.properties.items() if name in node.required or draw(st.booleans())
        }
    if node.additional is not None:
        return {name: draw(fitting(node.additional)) for name in draw(st.lists(st.sampled_from(("x", "y")), unique=True))}
    if node.type == "array" and node.items is not None:
        return [draw(fitting(node.items)) for _ in range(draw(st.integers(0, 3)))]
    if node.type == "string":
        return draw(st.sampled_from(node.enum or WORDS))
    if node.type == "integer":
        return draw(st.integers(0, 5))
    return draw(VALUES) if not node.preserve else draw(st.dictionaries(st.sampled_from(("x", "y")), VALUES, max_size=2))


def takes(node: Node, value: Any) -> bool:
    """Whether the schema takes a document with this value, and keeps all of it."""
    outcome = Schema(Node(type="object", properties={"it": node})).apply({"it": value})
    return not outcome.causes and not outcome.unknown and not outcome.unreadable and outcome.document == {"it": value}


@settings(max_examples=150, database=None)
@given(st.data())
def test_a_document_that_is_taken_no_longer_is_never_called_compatible(data: st.DataObject) -> None:
    old = data.draw(nodes())
    new = data.draw(changed(old))
    value = next(
        (value for value in [data.draw(fitting(old)) for _ in range(4)] if takes(old, value) and not takes(new, value)), None
    )
    if value is not None:
        found = compare(promised(schema_of_node(old)), promised(schema_of_node(new)))
        assert [delta for delta in found if delta.rule], (old, new, value)


@settings(max_examples=100, database=None)
@given(nodes())
def test_nothing_is_said_where_nothing_changed(node: Node) -> None:
    schema = promised(schema_of_node(node))
    assert compare(schema, schema) == []


def test_a_change_names_the_field_through_lists_and_maps() -> None:
    def nested(inner: dict[str, Any]) -> dict[str, Any]:
        rows = {"type": "array", "items": struct(cells={"type": "object", "additionalProperties": struct(it=inner)})}
        return struct(rows=rows)

    [change] = diff(lock({"v1": version("v1", nested(TEXT))}), lock({"v1": version("v1", nested(NUMBER))}))
    assert change.where == "things.things.example/v1 spec.rows[].cells{}.it"
    assert (change.verdict, change.rule and change.rule.id) == (Verdict.BREAKING, "SKEP204")


def test_a_reason_lets_a_change_pass_at_its_field_and_below_and_nowhere_else() -> None:
    def versions(waived: dict[str, str], **fields: Any) -> dict[str, Any]:
        return {"v1": version("v1", struct(**fields), waived=waived)}

    old = lock(versions({}, a=struct(b=TEXT), ab=TEXT))
    changes = diff(old, lock(versions({"SKEP201 spec.a": "nobody ever wrote it"}, a=struct())))
    assert {(change.path, change.waived, change.refused) for change in changes} == {
        ("spec.a.b", "nobody ever wrote it", False),
        ("spec.ab", "", True),
    }
    assert not any(change.refused for change in diff(old, lock(versions({"SKEP201": "a version of its own"}, a=struct()))))
    assert all(change.refused for change in diff(old, lock(versions({"SKEP202": "another rule"}, a=struct()))))


def test_a_field_of_the_status_that_may_be_missing_breaks_those_who_read_it() -> None:
    def status(required: str) -> dict[str, Any]:
        return {"v1": version("v1", schema=struct(spec=struct(required, it=TEXT), status=struct(required, it=TEXT)))}

    found = {change.path: change.verdict for change in diff(lock(status("it")), lock(status("")))}
    assert found == {"spec.it": Verdict.COMPATIBLE, "status.it": Verdict.BREAKING}


def test_a_required_field_with_a_default_may_be_left_out() -> None:
    plain, filled = struct("it", it=TEXT), struct("it", it={**TEXT, "default": "a"})
    for old, new in ((struct(), filled), (plain, filled)):
        assert {change.verdict for change in diff(lock({"v1": version("v1", old)}), lock({"v1": version("v1", new)}))} == {
            Verdict.COMPATIBLE
        }


def test_a_version_that_is_stored_does_not_go_at_once() -> None:
    lived = {"deprecated": {"version": "1.0", "date": "2018-01-01"}, "removed": {"version": "1.2", "date": "2020-01-01"}}
    both = {"v2": version("v2"), "v1": version("v1", lifecycle={**lived, "successor": "v2"})}
    for storage, refused in (("v1", {"SKEP225"}), ("v2", set())):
        old, new = lock(both, storage=storage), lock({"v2": both["v2"]}, ("1.2", "2020-02-01"))
        assert {change.rule.id for change in diff(old, new) if change.rule and change.refused} == refused


def test_a_ga_version_stays_without_a_successor_and_a_year() -> None:
    def refused(successor: str, told: str) -> set[str]:
        lived = {"deprecated": {"version": "1.0", "date": told}, "removed": {"version": "1.2", "date": "2020-01-01"}}
        old = {"v2": version("v2"), "v1": version("v1", lifecycle={**lived, "successor": successor})}
        changes = diff(lock(old), lock({"v2": version("v2")}, ("1.2", "2020-01-01")))
        return {change.rule.id for change in changes if change.rule and change.refused}

    assert refused("v2", "2019-01-01") == set()
    assert refused("v2", "2019-01-02") == {"SKEP231"}
    assert refused("", "2019-01-01") == {"SKEP231"}


def test_a_version_goes_neither_before_its_day_nor_on_a_day_that_nobody_knows() -> None:
    lived = {
        "introduced": {"version": "1.0", "date": "2018-01-01"},
        "deprecated": {"version": "1.1", "date": "2019-01-01"},
        "removed": {"version": "1.5", "date": "2020-01-01"},
        "successor": "v1",
    }
    both = {"v1": version("v1"), "v1beta1": version("v1beta1", lifecycle=lived)}
    for release, verdict in (
        (("1.4", "2019-12-01"), Verdict.BREAKING),
        (("1.5", "2020-01-01"), Verdict.COMPATIBLE),
        (("", ""), Verdict.BREAKING),
    ):
        [change] = diff(lock(both), lock({"v1": both["v1"]}, release))
        assert change.verdict is verdict, release


@pytest.mark.parametrize(
    ("changed", "heir", "why"),
    [
        ({}, {}, ""),
        ({"successor": "things.example/v1"}, {}, ""),
        ({"introduced": {}}, {}, "nobody knows since when it was"),
        ({}, {"served": False}, "v1 was never served beside it"),
        ({}, {"lifecycle": {"introduced": {"version": "1.5", "date": "2020-01-01"}}}, "when it is removed already"),
    ],
)
def test_a_beta_goes_when_it_was_served_long_enough_and_beside_its_successor(
    changed: dict[str, Any], heir: dict[str, Any], why: str
) -> None:
    lived: dict[str, Any] = {
        "introduced": {"version": "1.0", "date": "2018-01-01"},
        "deprecated": {"version": "1.1", "date": "2019-01-01"},
        "removed": {"version": "1.5", "date": "2020-01-01"},
        "successor": "v1",
        **changed,
    }
    lived = {key: value for key, value in lived.items() if value}
    both = {"v1": version("v1", **heir), "v1beta1": version("v1beta1", lifecycle=lived)}
    changes = diff(lock(both, ("1.4", "2019-12-01")), lock({"v1": version("v1")}, ("1.5", "2020-01-01")))
    [gone] = [change for change in changes if change.version == "v1beta1"]
    assert gone.refused == bool(why)
    assert why in gone.message


def test_history_is_not_written_otherwise() -> None:
    def rules(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
        before, after = ({"v1": version("v1"), "v1beta1": version("v1beta1", lifecycle=each)} for each in (old, new))
        changes = diff(lock(before, ("1.4", "2020-01-01")), lock(after, ("1.5", "2020-04-01")))
        return {change.rule.id for change in changes if change.rule is not None}

    def at(number: str, day: str) -> dict[str, str]:
        return {"version": number, "date": day}

    assert rules({"introduced": at("1.2", "2019-01-01")}, {"introduced": at("1.1", "2018-01-01")}) == {"SKEP234"}
    assert rules({}, {"deprecated": at("1.3", "2019-06-01"), "successor": "v1"}) == {"SKEP234"}
    assert rules({}, {"deprecated": at("1.4", "2020-01-01"), "successor": "v1"}) == {"SKEP234"}
    assert rules({}, {"deprecated": at("1.5", "2020-04-01"), "successor": "v1"}) == set()
    told = {"deprecated": at("1.3", "2019-06-01"), "removed": at("1.8", "2021-01-01")}
    assert rules(told, {**told, "removed": at("1.7", "2020-10-01")}) == {"SKEP233"}
    assert rules(told, {**told, "removed": at("1.9", "2021-04-01")}) == set()


def test_what_is_most_stable_does_not_go_away() -> None:
    old = lock({"v1": version("v1"), "v1beta1": version("v1beta1")}, storage="v1beta1")
    found = {change.rule.id for change in diff(old, lock({"v1beta1": version("v1beta1")})) if change.rule}
    assert found == {"SKEP231", "SKEP235"}


def test_a_version_that_is_served_no_longer_is_as_gone() -> None:
    old = lock({"v1": version("v1"), "v1beta1": version("v1beta1")})
    unserved = lock({"v1": version("v1"), "v1beta1": version("v1beta1", served=False)})
    assert [change.rule.id for change in diff(old, unserved) if change.rule] == ["SKEP231"]
    assert [change.verdict for change in diff(unserved, old)] == [Verdict.COMPATIBLE]
    assert [change.verdict for change in diff(unserved, lock({"v1": version("v1")}))] == [Verdict.COMPATIBLE]


def test_names_and_what_else_is_said_of_a_kind() -> None:
    def rule(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        return [
            change.rule.id if change.rule else ""
            for change in diff(lock({"v1": version("v1")}, **old), lock({"v1": version("v1")}, **new))
        ]

    scale = {"spec": ".spec.replicas", "status": ".status.replicas"}
    assert rule({}, {"singular": "that"}) == ["SKEP221"]
    assert rule({"shortNames": ["th"]}, {}) == ["SKEP221"]
    assert rule({"categories": ["all"]}, {}) == ["SKEP221"]
    assert rule({"scale": scale}, {}) == ["SKEP222"]
    assert rule({"scale": scale}, {"scale": {**scale, "spec": ".spec.size"}}) == ["SKEP222"]
    assert rule({"statusWriter": "external"}, {"statusWriter": "actor"}) == ["SKEP224"]
    assert rule({"statusWriter": "actor"}, {"statusWriter": "external"}) == [""]
    old, new = (lock({"v1": version("v1", selectable=fields)}) for fields in (["spec.url"], []))
    assert [change.rule and change.rule.id for change in diff(old, new)] == ["SKEP223"]


def test_a_deprecation_is_no_older_than_the_lock_where_the_release_is_not_known() -> None:
    def rules(since: dict[str, str]) -> set[str]:
        old, new = ({"v1": version("v1"), "v1beta1": version("v1beta1", lifecycle=each)} for each in ({}, {"deprecated": since}))
        return {change.rule.id for change in diff(lock(old, ("1.4", "2020-01-01")), lock(new, ("", ""))) if change.rule is not None}

    assert rules({"version": "1.4", "date": "2020-01-01"}) == {"SKEP234"}
    assert rules({"version": "1.5", "date": "2020-04-01"}) == set()


def test_an_alpha_is_served_by_a_release_before_it_goes() -> None:
    def verdict(introduced: str, last: str, this: str) -> Verdict:
        lived = {"introduced": {"version": introduced, "date": "2020-01-01"}} if introduced else {}
        both = {"v1": version("v1"), "v1alpha1": version("v1alpha1", lifecycle=lived)}
        [change] = diff(lock(both, (last, "2020-01-01")), lock({"v1": both["v1"]}, (this, "2020-04-01")))
        return change.verdict

    assert verdict("1.4", "1.4", "1.5") is Verdict.ALLOWED
    assert verdict("1.4", "1.4", "1.4") is Verdict.BREAKING
    assert verdict("1.3", "1.4", "1.4") is Verdict.ALLOWED
    assert verdict("", "1.4", "1.5") is Verdict.ALLOWED
    assert verdict("", "1.4", "1.4") is Verdict.BREAKING
