"""Label and field selectors: grammar, matching, and the words of their errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import BadRequest
from registry.selectors import (
    LENGTH_LIMIT,
    REQUIREMENT_LIMIT,
    FieldSelector,
    LabelSelector,
    Requirement,
    Term,
    check_object,
    unknown_field,
    unsupported_field,
)

OBJECTS = {
    "ref-a": {"app": "x", "tier": "1"},
    "ref-b": {"app": "y", "tier": "5"},
    "ref-c": {"app": "x", "odd": ""},
    "ref-d": {},
}
NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
NOT_WITH_EXISTS = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
NO_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", "abcd"),
        ("  ", "abcd"),
        ("app=x", "ac"),
        ("app==x", "ac"),
        ("app!=x", "bd"),
        ("app", "abc"),
        ("!app", "d"),
        ("! app", "d"),
        ("app in (x,y)", "abc"),
        ("app notin (x)", "bd"),
        ("app in (x),tier", "a"),
        ("app=x,tier=1", "a"),
        ("tier>2", "b"),
        ("tier<2", "a"),
        ("tier>0,tier<9", "ab"),
        ("tier>+4", None),
        ("app>2", ""),
        ("odd=", "c"),
        ("odd", "c"),
        ("odd!=", "abd"),
        ("app=x,app=y", ""),
        (" app = x , tier ", "a"),
        ("app\tin\n(x, z)", "ac"),
        ("reference.example.com/any", ""),
        ("app in ()", ""),
        ("odd in (,a)", "c"),
        ("odd in (a,,b)", "c"),
        ("odd in (a,)", "c"),
        ("odd notin ()", "abd"),
        ("in", ""),
        ("in in (in)", ""),
        ("app in (x,y),app!=y,!odd", "a"),
    ],
)
def test_a_label_selector_chooses_as_kubernetes_does(text: str, chosen: str | None) -> None:
    if chosen is None:  # a sign makes it no label value
        with pytest.raises(BadRequest):
            LabelSelector.parse(text)
        return
    selector = LabelSelector.parse(text)
    assert [name for name, labels in OBJECTS.items() if selector.matches(labels)] == [f"ref-{letter}" for letter in chosen]
    assert LabelSelector.parse(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("app=x=y", "found '=', expected: ',' or 'end of string'"),
        ("app=bad!", "found '!', expected: ',' or 'end of string'"),
        ("!app=x", "found '=', expected: ',' or 'end of string'"),
        ("app notin ()x", "found 'x', expected: ',' or 'end of string'"),
        ("app,", "found '', expected: identifier after ','"),
        ("app,,b", "found ',', expected: identifier after ','"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!!a", "unable to parse requirement: found '!', expected: identifier"),
        ("app=(", "unable to parse requirement: found '(', expected: identifier"),
        ("app in x", "unable to parse requirement: found 'x' expected: '('"),
        ("app in", "unable to parse requirement: found '' expected: '('"),
        ("app in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("app in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("app in (x y)", "unable to parse requirement: found 'y', expected: ',' or ')'"),
        ("app in (x,", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("app in (x,=)", "unable to parse requirement: found '=', expected: ',', or identifier"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a!b", "unable to parse requirement: found '!', expected: in, notin, =, ==, !=, gt, lt"),
        ("-bad=x", f'unable to parse requirement: <nil>: Invalid value: "-bad": {NAME_PART}'),
        (
            "tier>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("app=bad_", f'unable to parse requirement: values[0][app]: Invalid value: "bad_": {NO_VALUE}'),
    ],
)
def test_a_label_selector_that_does_not_parse_is_refused_in_the_words_of_kubernetes(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        LabelSelector.parse(text)
    assert refused.value.message == message


def test_a_selector_says_whether_it_asks_for_anything() -> None:
    assert not LabelSelector.parse("")
    assert LabelSelector.parse("a")
    assert not FieldSelector.parse(",")
    assert FieldSelector.parse("a=")


def test_selectors_that_say_the_same_are_equal_whatever_the_order() -> None:
    one, other = LabelSelector.parse("b=1,a in (y,x),a in (x,y)"), LabelSelector.parse("a in (x,y),b==1")
    assert one == other
    assert hash(one) == hash(other)
    assert one != LabelSelector.parse("a in (x,y)")


keys = st.sampled_from(["a", "b", "example.com/c", "in", "notin"])
values = st.sampled_from(["", "x", "y", "1", "22", "in"])
requirements = st.one_of(
    st.builds(Requirement, keys, st.sampled_from(["=", "!="]), values.map(lambda value: (value,))),
    st.builds(
        Requirement, keys, st.sampled_from(["in", "notin"]), st.sets(values, min_size=1).map(lambda found: tuple(sorted(found)))
    ),
    st.builds(Requirement, keys, st.sampled_from(["exists", "!"])),
    st.builds(Requirement, keys, st.sampled_from([">", "<"]), st.integers(0, 99).map(lambda number: (str(number),))),
)


def holds(one: Requirement, labels: dict[str, str]) -> bool:
    """What a requirement means, said as plainly as possible."""
    value = labels.get(one.key)
    match one.operator:
        case "=" | "in":
            return value is not None and value in one.values
        case "!=" | "notin":
            return value is None or value not in one.values
        case "exists":
            return value is not None
        case "!":
            return value is None
        case ">":
            return value is not None and value.isdigit() and int(value) > int(one.values[0])
        case _:
            return value is not None and value.isdigit() and int(value) < int(one.values[0])


@given(st.lists(requirements, max_size=4), st.dictionaries(keys, values, max_size=4))
def test_a_label_selector_matches_when_every_requirement_holds_and_survives_its_own_text(
    wanted: list[Requirement], labels: dict[str, str]
) -> None:
    selector = LabelSelector(tuple(wanted))
    assert selector.matches(labels) is all(holds(one, labels) for one in wanted)
    assert LabelSelector.parse(str(selector)) == selector


@given(st.text(st.sampled_from("ab=!<>(), \tin-/1é\\"), max_size=30) | st.text(max_size=30))
def test_any_text_is_a_selector_or_a_bad_request(text: str) -> None:
    for parse in (LabelSelector.parse, FieldSelector.parse):
        try:
            selector = parse(text)
        except BadRequest:
            continue
        assert str(parse(str(selector))) == str(selector)


@pytest.mark.parametrize("parse", [LabelSelector.parse, FieldSelector.parse])
def test_selectors_are_bounded_in_length_and_in_requirements(parse: Any) -> None:
    assert len(str(parse(",".join(f"k{at}=v" for at in range(REQUIREMENT_LIMIT))))) > REQUIREMENT_LIMIT
    with pytest.raises(BadRequest, match="requirements"):
        parse(",".join(f"k{at}=v" for at in range(REQUIREMENT_LIMIT + 1)))
    with pytest.raises(BadRequest, match="characters"):
        parse("a=" + "x" * LENGTH_LIMIT)


def test_the_object_form_means_the_same_as_the_text() -> None:
    selector = {
        "matchLabels": {"app": "x"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["2", "1"]},
            {"key": "odd", "operator": "NotIn", "values": ["a"]},
            {"key": "here", "operator": "Exists"},
            {"key": "gone", "operator": "DoesNotExist", "values": []},
        ],
    }
    assert LabelSelector.from_object(selector) == LabelSelector.parse("app=x,tier in (1,2),odd notin (a),here,!gone")
    assert LabelSelector.from_object({}).matches({})


@pytest.mark.parametrize(
    ("selector", "causes"),
    [
        ([], ["spec.selector: Invalid value: null: must be an object"]),
        ({"matchLabels": []}, []),
        ({"matchLabels": {"-": "x"}}, [f'spec.selector.matchLabels: Invalid value: "-": {NAME_PART}']),
        ({"matchLabels": {"a": 1}}, ["spec.selector.matchLabels: Invalid value: null: must be a string"]),
        (
            {"matchExpressions": [{"key": "a", "operator": "In"}]},
            ["spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"],
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]},
            [f"spec.selector.matchExpressions[0].values: {NOT_WITH_EXISTS}"],
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "Like"}]},
            ['spec.selector.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator'],
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "-"]}]},
            [f'spec.selector.matchExpressions[0].values[1]: Invalid value: "-": {NO_VALUE}'],
        ),
    ],
)
def test_what_is_wrong_with_an_object_form_is_told_by_field(selector: Any, causes: list[str]) -> None:
    assert [str(cause) for cause in check_object(selector, "spec.selector")] == causes


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["key", "operator", "values", "a"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["matchLabels", "matchExpressions"]), json_values | st.lists(json_values, max_size=2)))
def test_any_object_is_a_selector_or_has_causes(selector: dict[str, Any]) -> None:
    causes = check_object(selector, "s")
    if causes:
        with pytest.raises(BadRequest):
            LabelSelector.from_object(selector)
    else:
        assert isinstance(LabelSelector.from_object(selector).matches({}), bool)


FIELDS = {
    "ref-a": {"metadata.name": "ref-a", "spec.color": "red"},
    "ref-b": {"metadata.name": "ref-b", "spec.color": "green"},
    "ref-d": {"metadata.name": "ref-d"},
}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", "abd"),
        (",", "abd"),
        ("metadata.name=ref-a", "a"),
        ("metadata.name==ref-a", "a"),
        ("metadata.name!=ref-a", "bd"),
        ("metadata.name=ref-a,metadata.name=ref-b", ""),
        ("spec.color=red", "a"),
        ("spec.color!=red", "bd"),
        ("metadata.name=ref-a,", "a"),
        ("spec.color=", "d"),
        (r"spec.color=a\,b\=c\\", ""),
    ],
)
def test_a_field_selector_chooses_and_skips_empty_terms(text: str, chosen: str) -> None:
    selector = FieldSelector.parse(text)
    assert [name for name, fields in FIELDS.items() if selector.matches(fields.get)] == [f"ref-{letter}" for letter in chosen]
    assert FieldSelector.parse(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "invalid selector: 'nonsense'; can't understand 'nonsense'"),
        ("a=b,nonsense", "invalid selector: 'a=b,nonsense'; can't understand 'nonsense'"),
        ("metadata.name>a", "invalid selector: 'metadata.name>a'; can't understand 'metadata.name>a'"),
        (r"spec.color=a\x", r"invalid field selector: invalid escape sequence: \x"),
        ("spec.color=a\\", "invalid field selector: invalid escape sequence: \\"),
        ("metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_a_field_selector_that_does_not_parse_is_refused_in_the_words_of_kubernetes(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        FieldSelector.parse(text)
    assert refused.value.message == message


@given(st.lists(st.builds(Term, st.sampled_from(["a.b", "c"]), st.text(max_size=8), st.booleans()), max_size=4))
def test_a_field_selector_survives_its_own_text_with_any_value(terms: list[Term]) -> None:
    selector = FieldSelector(tuple(terms))
    assert FieldSelector.parse(str(selector)) == selector


def test_the_name_that_a_field_selector_requires_is_known_without_matching() -> None:
    selector = FieldSelector.parse("metadata.name=x,metadata.namespace!=y,metadata.name!=z")
    assert selector.requires("metadata.name") == "x"
    assert selector.requires("metadata.namespace") is None
    assert selector.paths == ("metadata.name", "metadata.namespace")
    assert selector.without("metadata.name") == FieldSelector.parse("metadata.namespace!=y")


def test_fields_that_cannot_be_selected_are_refused_in_the_words_of_the_kind() -> None:
    assert unsupported_field("spec.size").message == "field label not supported: spec.size"
    known = ("metadata.name", "metadata.namespace")
    said = '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'
    assert unknown_field("data.a", known).message == said
