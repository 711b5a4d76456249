"""Rules in schemas: what they see, when they are asked, what they say, and what is refused before they are."""

from __future__ import annotations

import json
import operator
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import cel
from registry.cel.types import BOOL, DYN, INT, STRING, list_of
from registry.custom.rules import OUT_OF_BUDGET, Rules, compile_rules, problems
from registry.custom.schema import NOT_CHECKED
from registry.errors import Cause

REFERENCE = Path(__file__).parent.parent / "reference" / "cases" / "crd-rules.json"
Document = dict[str, Any]


def recorded(name: str) -> list[Document]:
    """The steps of a case that a real server answered."""
    cases = json.loads(REFERENCE.read_text())["cases"]
    found: list[Document] = next(case["steps"] for case in cases if case["name"] == name)
    return found


def merged(old: Any, patch: Any) -> Any:
    """A merge patch, applied."""
    if not isinstance(patch, dict):
        return patch
    whole = {**(old if isinstance(old, dict) else {}), **{key: merged((old or {}).get(key), value) for key, value in patch.items()}}
    return {key: value for key, value in whole.items() if value is not None}


def causes(step: Document) -> list[Cause]:
    """What the server said."""
    details = step["response"]["body"].get("details") or {}
    return [Cause(**each) for each in details.get("causes") or []]


@pytest.mark.parametrize("name", ["rules", "status", "invalid-rules", "optional-old-self"])
def test_definitions_and_writes_are_answered_as_a_real_server_answers_them(name: str) -> None:
    rules: Rules | None = None
    stored: Document | None = None
    asked = 0
    for step in recorded(name):
        body, patched = step["request"].get("body"), step["request"]["method"] == "PATCH"
        if body is None:
            continue
        if body.get("kind") == "CustomResourceDefinition":
            schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            assert problems(schema, "spec.validation.openAPIV3Schema") == causes(step)
            rules = compile_rules(schema)
            continue
        assert rules is not None
        expected, new = causes(step), merged(stored, body) if patched else body
        if NOT_CHECKED in expected:
            continue  # the schema is broken: rules are not asked
        assert rules.check(new, stored if patched else None) == expected
        stored = new if step["response"]["status"] < 300 else stored
        asked += 1
    assert asked or name == "invalid-rules"


def schema_of(spec: Document, **more: Any) -> Document:
    """The schema of a kind whose spec is as given."""
    return {"type": "object", "properties": {"spec": spec}, **more}


def ruled(kind: Document, *rules: str | Document) -> Document:
    """A schema with rules."""
    return {**kind, "x-kubernetes-validations": [{"rule": each} if isinstance(each, str) else each for each in rules]}


def told(schema: Document, new: Any, old: Any = None) -> list[str]:
    """What the rules say of a write, as lines; `new` and `old` are specs."""
    rules = compile_rules(schema)
    assert rules is not None
    found = rules.check({"metadata": {"name": "n"}, "spec": new}, None if old is None else {"metadata": {"name": "n"}, "spec": old})
    return [str(cause) for cause in found]


def wrong(schema: Document, old: Document | None = None) -> list[str]:
    """What is wrong with the rules of a schema, as lines."""
    return [str(cause) for cause in problems(schema, "schema", old)]


TEXT, NUMBER, INTEGER = {"type": "string", "maxLength": 20}, {"type": "number"}, {"type": "integer"}
MISMATCH = "call arguments did not match a supported operator, function or macro signature for rule"
AT = "schema.properties[spec].x-kubernetes-validations[0]"


def test_a_schema_without_rules_costs_nothing() -> None:
    assert compile_rules(schema_of({"type": "object", "properties": {"a": TEXT}})) is None


def test_the_library_is_loaded_when_a_rule_is_first_needed() -> None:
    script = """
import sys
from registry.custom.rules import compile_rules
rules = compile_rules({"type": "object", "x-kubernetes-validations": [{"rule": "self.kind == 'A'"}]})
assert "cel_expr_python" not in sys.modules
assert rules.check({"kind": "B"})
assert "cel_expr_python" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("kind", "value", "rule"),
    [
        (TEXT, "abc", "self.startsWith('a') && size(self) == 3"),
        (INTEGER, 3, "self + 1 == 4 && self < 3.5 && type(self) == int"),
        (NUMBER, 3, "self * 2.0 == 6.0 && type(self) == double"),
        ({"type": "boolean"}, True, "self"),
        (
            {"type": "string", "format": "date-time"},
            "2026-01-02T03:04:05Z",
            "self.getFullYear() == 2026 && self < timestamp('2027-01-01T00:00:00Z')",
        ),
        ({"type": "string", "format": "date"}, "2026-01-02", "self.getDate() == 2"),
        ({"type": "string", "format": "duration"}, "1h30m", "self == duration('90m') && self.getMinutes() == 90"),
        ({"type": "string", "format": "byte"}, "YWJj", "self == b'abc'"),
        ({"x-kubernetes-int-or-string": True}, 5, "type(self) == int ? self < 10 : self.endsWith('%')"),
        ({"x-kubernetes-int-or-string": True}, "5%", "type(self) == int ? self < 10 : self.endsWith('%')"),
        ({"type": "array", "items": INTEGER}, [1, 2], "self.sum() == 3 && self[1] == 2 && 2 in self && self.exists(x, x == 1)"),
        (
            {"type": "object", "additionalProperties": INTEGER},
            {"a": 1},
            "self['a'] == 1 && self.all(k, self[k] > 0) && 'a' in self",
        ),
        ({"type": "object", "additionalProperties": INTEGER}, {"a": 1}, "self.all(k, v, k == 'a' && v == 1)"),
        (
            {"type": "object", "properties": {"a": TEXT, "b": TEXT}},
            {"a": "x"},
            "has(self.a) && !has(self.b) && self.?b.orValue('y') == 'y'",
        ),
        (
            {"type": "object", "properties": {"namespace": TEXT, "a-b": TEXT, "c.d": TEXT, "e/f": TEXT, "g__h": TEXT}},
            {"namespace": "1", "a-b": "2", "c.d": "3", "e/f": "4", "g__h": "5"},
            "self.__namespace__ + self.a__dash__b + self.c__dot__d + self.e__slash__f + self.g__underscores__h == '12345'",
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
            ["a", "b"],
            "self == ['b', 'a'] && (self + ['b', 'c']).size() == 3",
        ),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": TEXT, "v": INTEGER}},
            },
            [{"k": "a", "v": 1}, {"k": "b", "v": 2}],
            "(self + self).size() == 2 && self.exists_one(e, e.k == 'a') && self.transformList(i, e, e.v > 1, e.k) == ['b']",
        ),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
            {"kind": "Pod", "metadata": {"name": "p"}},
            "self.kind == 'Pod' && self.metadata.name == 'p'",
        ),
        (TEXT, "1.5Gi", "isQuantity(self) && quantity(self).isGreaterThan(quantity('1Gi'))"),
        (TEXT, "a-b", "!format.dns1123Label().validate(self).hasValue()"),
    ],
)
def test_a_rule_sees_a_value_as_its_schema_types_it(kind: Document, value: Any, rule: str) -> None:
    bounded = {**kind, **{"array": {"maxItems": 5}, "object": {"maxProperties": 5}}.get(kind.get("type", ""), {})}
    schema = schema_of(ruled(bounded, rule))
    assert wrong(schema) == []
    assert told(schema, value) == []
    assert told(schema_of(ruled(bounded, f"!({rule})")), value) != []


def test_a_set_and_a_map_keep_the_places_of_the_first_when_two_are_added() -> None:
    items = {"type": "object", "properties": {"k": TEXT, "v": INTEGER}}
    keyed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "maxItems": 5, "items": items}
    says = {"rule": "self == oldSelf", "messageExpression": "(self + oldSelf).map(e, e.k + string(e.v)).join(' ')"}
    new, old = [{"k": "x", "v": 1}, {"k": "y", "v": 1}], [{"k": "z", "v": 2}, {"k": "x", "v": 2}]
    assert told(schema_of(ruled(keyed, says)), new, old) == ["spec: Invalid value: x2 y1 z2"]
    unordered = {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT}
    says = {"rule": "self == oldSelf", "messageExpression": "(self + oldSelf).join(' ')"}
    assert told(schema_of(ruled(unordered, says)), ["b", "a"], ["c", "a"]) == ["spec: Invalid value: b a c"]
    assert told(schema_of(ruled(unordered, says)), ["b", "a"], ["a", "b"]) == []


def test_at_the_root_a_rule_sees_the_name_and_no_more_of_the_metadata() -> None:
    rule = "self.metadata.name == 'n' && self.kind != '' && self.apiVersion != '' && self.metadata.generateName == ''"
    assert wrong(ruled({"type": "object"}, rule)) == []
    assert "undefined field 'labels'" in wrong(ruled({"type": "object"}, "has(self.metadata.labels)"))[0]
    assert "undefined field 'spec'" in wrong(ruled({"type": "object"}, "has(self.spec)"))[0]


def test_a_field_that_only_looks_like_an_escaped_one_is_not_taken_for_it() -> None:
    kind = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a-b": TEXT}}
    assert told(schema_of(ruled(kind, "!has(self.a__dash__b)")), {"a__dash__b": "forged"}) == []
    assert told(schema_of(ruled(kind, "self.a__dash__b == 'true'")), {"a-b": "true", "a__dash__b": "forged"}) == []


# What changed


def test_what_has_not_changed_does_not_keep_an_object_from_being_written() -> None:
    schema = schema_of({"type": "object", "properties": {"a": ruled(INTEGER, "self < 10"), "b": INTEGER}})
    assert told(schema, {"a": 50, "b": 2}, {"a": 50, "b": 1}) == []
    assert told(schema, {"a": 51, "b": 1}, {"a": 50, "b": 1}) == ["spec.a: Invalid value: 51: failed rule: self < 10"]


def test_items_of_a_list_are_the_same_as_before_only_if_the_list_is_a_map() -> None:
    item = ruled({"type": "object", "properties": {"k": TEXT, "v": INTEGER}}, "self.v < 10")
    keyed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item}
    old, new = [{"k": "a", "v": 50}], [{"k": "b", "v": 1}, {"k": "a", "v": 50}]
    assert told(schema_of(keyed), new, old) == []
    assert told(schema_of({"type": "array", "items": item}), new, old) == ["spec[1]: Invalid value: failed rule: self.v < 10"]
    assert told(schema_of({"type": "array", "items": item}), old, old) == []


def test_a_transition_rule_is_asked_of_what_was_there_before_even_if_it_did_not_change() -> None:
    grows = ruled(INTEGER, "self > oldSelf")
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": TEXT, "v": grows}},
    }
    values = {"type": "object", "additionalProperties": grows}
    assert told(schema_of(grows), 1) == []
    assert told(schema_of(grows), 1, 1) == ["spec: Invalid value: 1: failed rule: self > oldSelf"]
    assert told(schema_of(values), {"a": 2, "b": 0}, {"a": 2}) == ["spec[a]: Invalid value: 2: failed rule: self > oldSelf"]
    assert told(schema_of(keyed), [{"k": "n", "v": 0}, {"k": "a", "v": 1}], [{"k": "a", "v": 2}]) == [
        "spec[1].v: Invalid value: 1: failed rule: self > oldSelf"
    ]


def test_a_value_of_a_converted_type_has_an_old_value_of_that_type() -> None:
    moment = ruled({"type": "string", "format": "date-time"}, "self >= oldSelf")
    whole = ruled({"type": "object", "properties": {"a-b": moment}}, "self.a__dash__b == oldSelf.a__dash__b || true")
    assert told(schema_of(whole), {"a-b": "2026-01-02T00:00:00Z"}, {"a-b": "2026-01-01T12:00:00Z"}) == []
    assert len(told(schema_of(whole), {"a-b": "2026-01-01T00:00:00Z"}, {"a-b": "2026-01-01T12:00:00Z"})) == 1


@given(st.data())
def test_an_update_that_changes_nothing_of_a_failing_part_passes(data: st.DataObject) -> None:
    names = ["a", "b", "c"]
    schema = schema_of({"type": "object", "properties": {name: ruled(INTEGER, "self < 10", "self != 3") for name in names}})
    spec = st.dictionaries(st.sampled_from(names), st.integers(0, 20))
    old, new = data.draw(spec), data.draw(spec)
    failing = {line.partition(":")[0] for line in told(schema, new, old)}
    assert failing == {f"spec.{key}" for key, value in new.items() if (value >= 10 or value == 3) and old.get(key) != value}


def test_a_rule_at_the_root_is_not_told_of_what_it_cannot_see() -> None:
    rules = compile_rules(ruled(schema_of({"type": "object", "properties": {"a": INTEGER}}), "self.spec.a < 10", "self == oldSelf"))
    assert rules is not None
    old = {"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {"a": 50}}
    labelled = {"metadata": {"name": "n", "resourceVersion": "2", "labels": {"a": "b"}}, "spec": {"a": 50}}
    assert rules.check(labelled, old) == []
    assert [cause.field for cause in rules.check({**old, "spec": {"a": 51}}, old)] == ["<nil>", "<nil>"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abknv") | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
ANYTHING = ruled(
    {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "a": ruled({"type": "string", "format": "date-time"}, "self > timestamp('2026-01-01T00:00:00Z') || oldSelf == self"),
            "b": ruled({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}, "self == self + self"),
            "k": ruled(
                {"type": "object", "additionalProperties": ruled({"type": "number"}, "self * 2.0 > oldSelf")}, "self == oldSelf"
            ),
            "n": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": ruled(
                    {"type": "object", "properties": {"k": TEXT, "v": {"x-kubernetes-int-or-string": True}}}, "self.v > 1"
                ),
            },
        },
    },
    "self == oldSelf || has(self.a) && self.b.size() > 1",
)


@given(JSON, JSON)
def test_whatever_a_document_holds_rules_answer(new: Any, old: Any) -> None:
    assert all(": " in line for line in told(schema_of(ANYTHING), new, old))


# What is said


def test_a_broken_rule_says_what_its_author_wrote() -> None:
    reasons = ["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]
    rules = [{"rule": "self != 'x'", "message": f" m{at} ", "reason": reason} for at, reason in enumerate(reasons)]
    assert told(schema_of(ruled(TEXT, *rules)), "x") == [
        'spec: Invalid value: "x": m0',
        "spec: Forbidden: m1",
        "spec: Required value: m2",
        'spec: Duplicate value: "x"',
    ]


@pytest.mark.parametrize(
    "expression", ["'two\\nlines'", "' '", "'x' + self + self[5:6]", "self.charAt(100)", "['a'].join(self).substring(0, 0)"]
)
def test_a_message_that_cannot_be_made_gives_way_to_the_plain_one(expression: str) -> None:
    said = {"rule": "false", "message": "plain", "messageExpression": expression}
    line = told(schema_of(ruled(TEXT, said)), "x")[0]
    assert line == 'spec: Invalid value: "x": plain' or "rule compile error" in line


def test_a_rule_that_has_no_value_is_broken_and_says_why() -> None:
    kind = {"type": "object", "properties": {"a": INTEGER, "b": {"x-kubernetes-int-or-string": True}}}
    assert told(schema_of(ruled(kind, "self.a == 1")), {}) == ["spec: Invalid value: no such key: a evaluating rule: self.a == 1"]
    assert told(schema_of(ruled(kind, "self.b > 1")), {"b": "x"}) == [
        f"spec: Invalid value: 'no such overload: _>_(string, int)': {MISMATCH}: self.b > 1"
    ]
    assert told(schema_of(ruled(INTEGER, {"rule": "1 / self == 1", "message": "m"})), 0) == [
        "spec: Invalid value: 0: division by zero evaluating rule: m"
    ]


# What is refused


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (
            ruled(TEXT, "self == 1"),
            f"{AT}.rule: * found no matching overload for '_==_' applied to '(string, int)'\n | self == 1\n | .....^",
        ),
        (ruled(TEXT, "old == self"), f"{AT}.rule: * undeclared reference to 'old' (in container '')*"),
        (ruled(TEXT, "self.size()"), f"{AT}.rule: * cel expression must evaluate to a bool"),
        (ruled(TEXT, "self.matches('(')"), f"{AT}.rule: * invalid matches argument*"),
        (
            ruled(TEXT, {"rule": "true", "messageExpression": "1"}),
            f"{AT}.messageExpression: *: messageExpression must evaluate to a string",
        ),
        (
            ruled(TEXT, {"rule": "true", "messageExpression": "self +"}),
            f"{AT}.messageExpression: *: messageExpression compilation failed: ERROR*",
        ),
        (
            ruled(TEXT, {"rule": "true", "messageExpression": " "}),
            f"{AT}.messageExpression: Required value: must be non-empty if specified",
        ),
        (ruled(TEXT, {"rule": "true", "message": " "}), f'{AT}.message: Invalid value: " ": must be non-empty if specified'),
        (ruled(TEXT, "true ||\ntrue"), f"{AT}.message: Required value: message must be specified if rule contains line breaks"),
        (
            ruled(TEXT, {"rule": "true", "optionalOldSelf": True}),
            f"{AT}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule",
        ),
        (
            ruled(TEXT, {"rule": "oldSelf == self", "optionalOldSelf": True}),
            f"{AT}.rule: *found no matching overload for '_==_' applied to '(optional_type(string), string)'*",
        ),
        (
            ruled(TEXT, "self < 'a' && self.x"),
            f'{AT}.rule: Invalid value: {{"Rule":"self \\u003c \'a\' \\u0026\\u0026 self.x",*does not support field selection*',
        ),
        (
            {"type": "array", "maxItems": 5, "items": ruled(TEXT, "self == oldSelf")},
            "schema.*.items.x*.rule: *: oldSelf cannot be used on the uncorrelatable portion of the schema within *",
        ),
    ],
)
def test_a_rule_that_is_none_is_refused_with_its_place_and_the_reason(spec: Document, line: str) -> None:
    (found,) = wrong(schema_of(spec))
    assert fnmatchcase(found, line.replace("[", "[[]")), found


@pytest.mark.parametrize("key", ["rule", "message", "messageExpression", "reason", "fieldPath", "optionalOldSelf"])
@pytest.mark.parametrize("value", [5, ["x"], {"a": 1}])
def test_a_rule_of_the_wrong_form_is_refused(key: str, value: Any) -> None:
    (line,) = wrong(schema_of({"type": "array", "items": ruled(TEXT, {"rule": "true", key: value})}))
    assert line.startswith(f"schema.properties[spec].items.x-kubernetes-validations[0].{key}: Invalid value: ")
    assert "must be of type" in line


def test_a_rule_about_what_has_no_type_is_refused() -> None:
    (line,) = wrong(schema_of(ruled({"x-kubernetes-preserve-unknown-fields": True}, "true", "self.a == 1")))
    assert line.startswith("schema.properties[spec].x-kubernetes-validations: Internal error: ")


def test_paths_of_fields_lead_to_what_is_there() -> None:
    spec = {
        "type": "object",
        "properties": {"a": {"type": "object", "properties": {"b.c": TEXT}}, "m": {"type": "object", "additionalProperties": TEXT}},
    }
    for path in (".a", ".a['b.c']", ".m.x", ".m['x y']", "['a']"):
        assert wrong(schema_of(ruled(spec, {"rule": "true", "fieldPath": path}))) == []
    for path in (".b", "a", ".a.b.c", ".a['b.c'].d", ".m[x]", ".a[0]", ".", "..a", ".a['\\q']"):
        assert wrong(schema_of(ruled(spec, {"rule": "true", "fieldPath": path}))) == [
            f"{AT}.fieldPath: Invalid value: {json.dumps(path)}: must be a valid path"
        ]


def test_the_cost_of_a_rule_is_that_of_all_values_that_it_may_be_asked_of() -> None:
    def costly(most: int | None) -> Document:
        items = ruled(
            {"type": "object", "properties": {"l": {"type": "array", "maxItems": 1000, "items": INTEGER}}}, "self.l.all(x, x > 0)"
        )
        return schema_of({"type": "array", "items": items, **({"maxItems": most} if most is not None else {})})

    assert wrong(costly(100)) == []
    (line,) = wrong(costly(3_000))
    assert "Forbidden: estimated rule cost exceeds budget by factor of 1.5" in line
    assert "more than 100x" in wrong(costly(None))[0] or "exceeds budget by factor of" in wrong(costly(None))[0]


def test_a_rule_that_was_there_before_is_not_newly_refused_for_its_cost() -> None:
    endless = {"type": "array", "items": {"type": "string"}}
    old = schema_of(ruled(endless, "self.all(x, self.all(y, x == y))"))
    assert len(wrong(old)) == 3
    assert wrong(old, old) == []
    new = schema_of(ruled(endless, "self.all(x, self.all(y, x == y))", "self.all(x, self.all(y, x != y))"))
    assert [line for line in wrong(new, old) if "estimated rule cost exceeds" in line] == [
        line for line in wrong(new) if "[1].rule" in line and "estimated rule cost exceeds" in line
    ]


def test_a_definition_cannot_have_rules_without_end() -> None:
    assert "characters together" in wrong(schema_of(ruled(TEXT, *["self == 'aaaaaaaaaaaaaaaaaaaa'"] * 5_000)))[0]


def test_a_schema_that_is_too_deep_is_refused() -> None:
    deep: Document = ruled(TEXT, "true")
    for _ in range(2_000):
        deep = {"type": "object", "properties": {"a": deep}}
    assert "nested too deeply" in wrong(deep)[0]


# What a write may cost


@pytest.mark.parametrize(
    ("spec", "value", "rule"),
    [
        ({"type": "array", "items": INTEGER}, list(range(30_000)), "self.all(x, self.all(y, x + y >= 0))"),
        (
            {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
            [str(n) for n in range(30_000)],
            "self.all(x, self == self)",
        ),
        (
            {"type": "string"},
            "x" * 1_000_000,
            "!self.matches('(x+x+)+y') && self.findAll('x').all(y, self.contains(y + 'z') || true)",
        ),
        (
            {"type": "object", "additionalProperties": INTEGER},
            {str(n): n for n in range(30_000)},
            "self.all(k, v, self.all(l, w, v >= 0))",
        ),
        (
            {"type": "object", "additionalProperties": INTEGER},
            {str(n): n for n in range(30_000)},
            "self.all(k, self.transformMap(a, b, b).size() > 0)",
        ),
    ],
)
def test_a_hostile_document_ends_at_the_cost_and_no_rule_is_asked_after_that(spec: Document, value: Any, rule: str) -> None:
    lines = told(schema_of(ruled(spec, rule, "false")), value)
    assert len(lines) == 1
    assert "no further validation rules will be run due to call cost exceeds limit for rule" in lines[0]


@pytest.mark.parametrize(
    ("items", "value"),
    [
        (ruled({"type": "array", "items": INTEGER}, "self.all(x, x >= 0)"), [list(range(50_000))] * 40),
        (ruled(INTEGER, "self >= 0", "true"), [1] * 500_000),
    ],
)
def test_all_rules_of_a_write_share_one_budget(items: Document, value: list[Any]) -> None:
    (line,) = told(schema_of({"type": "array", "items": items}), value)
    assert line.endswith(OUT_OF_BUDGET)


# An independent judge

COMPARED: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}
Judged = tuple[str, Callable[[dict[str, int]], bool]]


def _number(name: str) -> tuple[str, Callable[[dict[str, int]], int]]:
    return f"(has(self.{name}) ? self.{name} : 7)", lambda spec: spec.get(name, 7)


def _comparison(sign: str, one: str, other: str, plus: int) -> Judged:
    (left, of_left), (right, of_right) = _number(one), _number(other)
    return f"{left} + {plus} {sign} {right}", lambda spec: COMPARED[sign](of_left(spec) + plus, of_right(spec))


def _both(one: Judged, other: Judged) -> Judged:
    return f"({one[0]}) && ({other[0]})", lambda spec: one[1](spec) and other[1](spec)


def _either(one: Judged, other: Judged) -> Judged:
    return f"({one[0]}) || ({other[0]})", lambda spec: one[1](spec) or other[1](spec)


def _not(one: Judged) -> Judged:
    return f"!({one[0]})", lambda spec: not one[1](spec)


NAMES = st.sampled_from(["a", "b", "c"])
JUDGED = st.recursive(
    st.builds(_comparison, st.sampled_from(sorted(COMPARED)), NAMES, NAMES, st.integers(0, 5)),
    lambda inner: st.builds(_both, inner, inner) | st.builds(_either, inner, inner) | st.builds(_not, inner),
    max_leaves=5,
)


@given(st.lists(JUDGED, min_size=1, max_size=3), st.dictionaries(NAMES, st.integers(0, 12)))
def test_a_document_passes_exactly_when_every_rule_holds_to_another_judge(rules: list[Judged], spec: dict[str, int]) -> None:
    kind = {"type": "object", "properties": dict.fromkeys("abc", INTEGER)}
    schema = schema_of(ruled(kind, *[text for text, _ in rules]))
    assert wrong(schema) == []
    broken = [text for text, holds in rules if not holds(spec)]
    assert told(schema, spec) == [f"spec: Invalid value: failed rule: {text}" for text in broken]


# The two checkers: the library's, and the one that knows schemas

TYPES = {"s": STRING, "i": INT, "b": BOOL, "l": list_of(STRING), "o": DYN}
AS_NAMED = {"s": "string", "i": "int", "b": "bool", "l": "strings", "o": "any"}
VALUES = {"s": "text", "i": 3, "b": True, "l": ["a", "text"], "o": {"x": 1}}
EXPRESSIONS = st.recursive(
    st.sampled_from([*TYPES, "1", "'x'", "true", "[1]", "['a']", "{'a': 1}", "o.x", "unknown"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "==", "!=", "<", "&&", "||", "in"]), inner).map(lambda of: f"({' '.join(of)})")
        | st.tuples(inner, inner, inner).map(lambda of: f"({of[0]} ? {of[1]} : {of[2]})")
        | st.tuples(inner, st.sampled_from(["size()", "startsWith(s)", "all(x, x == s)", "map(x, [x])", "x"])).map(".".join)
        | st.tuples(st.sampled_from(["size", "int", "string", "type", "dyn", "!"]), inner).map(lambda of: f"{of[0]}({of[1]})")
        | st.tuples(inner, inner).map(lambda of: f"{of[0]}[{of[1]}]")
    ),
    max_leaves=6,
)


def outcome(compiled: Callable[[], cel.Program]) -> tuple[bool, Any]:
    """Whether a text is an expression, and its value; an error stands for itself."""
    try:
        program = compiled()
    except cel.CompileError:
        return False, None
    try:
        return True, program.evaluate(VALUES)
    except cel.EvaluationError as error:
        return True, str(error)


@given(EXPRESSIONS)
def test_the_checker_that_knows_schemas_takes_what_the_reference_takes(text: str) -> None:
    assert outcome(lambda: cel.compile_typed(text, TYPES).program) == outcome(lambda: cel.compile(text, AS_NAMED))
