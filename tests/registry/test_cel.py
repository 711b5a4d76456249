"""The expression language: what expressions mean, what is refused, and that nothing in them can be slow, large, or harmful."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from cel_expr_python import cel as library
from cel_expr_python.ext import ext_optional
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registry import cel
from registry.cel import ANY, AUTHORIZER, CompileError, CostExceeded, EvaluationError, Fields, Meter, Question, Shape
from registry.cel.signatures import SIGNATURES
from registry.cel.times import format_duration, format_timestamp, parse_duration, parse_timestamp
from registry.cel.types import DYN, STRING
from registry.cel.values import Duration, Optional, Timestamp, Uint

DOCUMENT = {
    "spec": {"size": 3, "color": "red", "tags": ["a", "b"], "ratio": 1.5, "labels": {"a/b": "x"}, "none": None, "on": True},
    "metadata": {"name": "n"},
}
VARIABLES: Mapping[str, str | Shape] = {
    "o": ANY,
    "l": ANY,
    "s": "string",
    "variables": Shape({"tall": "bool"}),
    "authorizer": AUTHORIZER,
}
VALUES = {"o": DOCUMENT, "l": [1, 2, 3], "s": "text", "variables": {"tall": True}}


def value(text: str, **more: Any) -> Any:
    """What an expression evaluates to."""
    return cel.compile(text, VARIABLES).evaluate({**VALUES, **more})


def error(text: str, **more: Any) -> str:
    """Why an expression has no value."""
    with pytest.raises(EvaluationError) as raised:
        value(text, **more)
    return str(raised.value)


def refusal(text: str, *wanted: str) -> str:
    """Why a text is no expression."""
    with pytest.raises(CompileError) as raised:
        cel.compile(text, VARIABLES, wanted)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("o.spec.size <= 50", True),
        ("has(o.spec.nope) || has(o.spec.none)", True),
        ("o.spec.none == null", True),
        ("o.spec.nope == 1 || true", True),
        ("o.spec.nope == 1 && false", False),
        ("true ? 1 : 1 / 0", 1),
        ("o.spec.size == 3.0", True),
        ("o.spec.size < 3.5 && o.spec.ratio > 1", True),
        ("o.spec.on == 1", False),
        ("[o.spec.on, 1] == [1, 1]", False),
        ("-7 / 2 == -3 && -7 % 2 == -1 && 7 / -2 == -3", True),
        ("9223372036854775807 - 1", 9223372036854775806),
        ("18446744073709551615u", Uint(18446744073709551615)),
        ("{1: 'a', true: 'b', 'c': 'd'}[true]", "b"),
        ("dyn({1: 'a'})[1u] + dyn({1: 'b'})[1.0]", "ab"),
        ("'a/b' in o.spec.labels && !('z' in o.spec.tags)", True),
        ("l.all(x, x > 0) && l.exists(x, x == 3) && l.exists_one(x, x > 2)", True),
        ("l.map(x, x * 2) + l.map(x, x > 1, x) + l.filter(x, x < 2)", [2, 4, 6, 2, 3, 1]),
        ("[0, 1].all(x, 1 / x > 5)", False),
        ("[1, 0].exists(x, 1 / x == 1)", True),
        ("l.all(x, l.exists(y, y == x)) && l.map(x, l.map(y, x * y).size()).size() == 3", True),
        ("o.spec.labels.all(k, k.startsWith('a'))", True),
        ("o.?spec.?nope.orValue(4) + o.?spec.?size.orValue(4)", 7),
        ("o.?nope.?more.hasValue() || o[?'spec'].hasValue()", True),
        ("[?o.?nope, 1].size() + {?'a': o.?spec, ?'b': o.?nope}.size()", 2),
        ("optional.of(2).optMap(x, x + 1).value()", 3),
        ("optional.ofNonZeroValue('').or(optional.of('b')).value()", "b"),
        ("size('é€\U0001f600') + 'é'.size() + size([1]) + size({'a': 1})", 6),
        ("string(1) + string(1.0) + string(1.5) + string(true) + string(b'a') + string(2u)", "111.5truea2"),
        ("int('12') + int(2.9) + int(-2.9) + int(3u)", 15),
        ("double('1e3')", 1000.0),
        ("type(o) == map && type(1) == int && type(1u) == uint && type(null) == null_type", True),
        ("s.matches('^t.*t$') && !'x'.matches('y')", True),
        ("'tacocat'.indexOf('c') + 'tacocat'.lastIndexOf('c') + 'tacocat'.indexOf('c', 3)", 10),
        ("' A-b '.trim().lowerAscii().replace('-', '+').split('+').join('*')", "a*b"),
        ("'hello'.substring(1, 3) + 'hello'.charAt(4) + 'abc'.reverse() + 'a'.upperAscii()", "elocbaA"),
        ("'%s is %d, %.2f, %x, %s %%'.format(['a', 2, 1.5, 255, [1, 'b', true]])", "a is 2, 1.50, ff, [1, b, true] %"),
        ("strings.quote('a\"b\\n')", '"a\\"b\\n"'),
        ("'a1b22'.find('[0-9]+') + 'a1b22'.findAll('[0-9]+').join('-') + 'a1b22'.findAll('[0-9]', 1).join()", "11-221"),
        ("[3, 1].min() + [3, 1].max() + [3, 1].sum() + [5, 6].indexOf(6) + [5, 5].lastIndexOf(5)", 10),
        ("[1, 2].isSorted() && !['b', 'a'].isSorted()", True),
        ("sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && sets.intersects([1], [1, 2])", True),
        ("timestamp('2026-01-02T03:04:05Z') + duration('1h') == timestamp('2026-01-02T04:04:05Z')", True),
        ("timestamp('2026-01-02T03:04:05.5Z').getHours('+02:00') + timestamp('2026-01-02T03:04:05Z').getMonth()", 5),
        ("string(timestamp('2026-01-02T03:04:05.120Z')) + string(duration('1m0.5s'))", "2026-01-02T03:04:05.12Z60.5s"),
        ("duration('1h30m').getMinutes() + duration('90s').getSeconds()", 180),
        ("quantity('1.5Gi').isGreaterThan(quantity('1500M')) && quantity('100m').isLessThan(quantity('1'))", True),
        ("quantity('1k') == quantity('1000') && quantity('1').add(quantity('1')).sub(1).asInteger() == 1", True),
        ("isQuantity('1Zi') || isQuantity('1.3.4') || isURL('::') || isIP('1.2.3.256') || isCIDR('1.2.3.4')", False),
        ("url('https://u@a.b:8/c/d?e=f&e=g').getHost() + url('https://a.b/c?e=f').getEscapedPath()", "a.b:8/c"),
        ("url('https://a.b/?e=f&e=g').getQuery()['e'] == ['f', 'g'] && url('/p').getScheme() == ''", True),
        ("ip('::1').isLoopback() && ip('::1').family() == 6 && !ip.isCanonical('::0:1')", True),
        ("cidr('10.1.2.3/8').containsIP('10.9.9.9') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))", True),
        ("cidr('10.1.2.3/8').masked().prefixLength() == 8 && cidr('10.1.2.3/8').ip() == ip('10.1.2.3')", True),
        ("variables.tall", True),
        ("has(variables.tall) && !has(variables.tall) == false && (has(variables.tall) ? variables.tall : false)", True),
        ("o.spec.`size` + o.metadata.name.size()", 4),
        ('\'a\\u00e9\\x41\' + r\'\\n\' + """b""" // a comment', "aéA\\nb"),
    ],
)
def test_an_expression_means_what_it_means_in_kubernetes(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("o.spec.nope == 1", "no such key: nope"),
        ("o.spec.size.nope", "no such overload: select 'nope'(int)"),
        ("l[3]", "index out of bounds: 3"),
        ("o['nope']", "no such key: nope"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("-(-9223372036854775807 - 1)", "integer overflow"),
        ("1u - 2u", "unsigned integer overflow"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("int(1e30)", "integer overflow"),
        ("uint(-1)", "unsigned integer overflow"),
        ("int('x')", "is no integer"),
        ("int('1' + '0'.replace('0', '00000000000000000000000000000000000000000000000000000000000000000000'))", "is no integer"),
        ("o.spec.size + 1.5", "no such overload: _+_(int, double)"),
        ("o.spec + o.spec", "no such overload: _+_(map, map)"),
        ("!o.spec.size", "no such overload: !_(int)"),
        ("o.spec.size && true", "no such overload: _&&_(int)"),
        ("o.spec.size ? 1 : 2", "no such overload"),
        ("l.all(x, x / 0 > 0)", "division by zero"),
        ("l.map(x, 1 / (x - 2))", "division by zero"),
        ("{'a': 1, 'a': 2}", "duplicate key in map: a"),
        ("optional.none().value()", "optional.none() dereference"),
        ("'abc'.matches('(')", "error parsing regexp: missing )"),
        ("'abc'.matches('(?<=a)b')", "error parsing regexp"),
        ("'abc'.substring(2, 1)", "invalid substring range"),
        ("timestamp('0001-01-01T00:00:00Z') - duration('1h')", "timestamp overflow"),
        ("timestamp('yesterday')", "invalid timestamp"),
        ("duration('1 hour')", "invalid duration"),
        ("timestamp('2026-01-01T00:00:00Z').getHours('../../etc/passwd')", "unknown time zone"),
        ("quantity('1Zi')", "quantities must match"),
        ("url('a b')", "URL parse error"),
        ("ip('1.2.3.4.5')", "parse error"),
        ("[].min()", "min called on empty list"),
        ("authorizer.group('').resource('pods').check('get').allowed()", "no such attribute(s): authorizer"),
    ],
)
def test_an_error_says_why_there_is_no_value(text: str, why: str) -> None:
    assert why in error(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("o.spec.size <=", "ERROR: <input>:1:15: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!',"),
        ("nope == 1", "ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')\n | nope == 1\n | ^"),
        ("1 + true", "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, bool)'"),
        ("variables.short", "ERROR: <input>:1:10: undefined field 'short'\n | variables.short\n | .........^"),
        (
            "true &&\n  variables.short == 1",
            "ERROR: <input>:2:12: undefined field 'short'\n |   variables.short == 1\n | ...........^",
        ),
        ("has(variables.short)", "undefined field 'short'"),
        ("s.frobnicate()", "undeclared reference to 'frobnicate'"),
        ("cel.bind(x, 1, x)", "undeclared reference to 'cel'"),
        ("google.protobuf.Timestamp{seconds: 1}", "message 'google.protobuf.Timestamp' is not supported"),
        ("has(o)", "has() argument must be a field selection"),
        ("authorizer.resource('pods')", "found no matching overload for 'resource'"),
        ("authorizer.group('').check('get')", "found no matching overload for 'check'"),
        ("", "Syntax error"),
        ("'a\0b'", "no text"),
        ("'\ud800'", "no text"),
        ("{1.5: 1}", "Unsupported map key type"),
    ],
)
def test_a_text_that_is_no_expression_is_refused_with_its_place(text: str, why: str) -> None:
    assert why in refusal(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l.all(i, v, v == i + 1)", True),
        ("l.exists(i, v, i == 2 && v == 3)", True),
        ("l.existsOne(i, v, v > 1)", False),
        ("l.exists_one(i, v, v > 2)", True),
        ("l.exists(i, v, v / (v - 1) > 1 || v == 1)", True),
        ("l.transformList(i, v, v * 10 + i)", [10, 21, 32]),
        ("l.transformList(i, v, v > 1, v)", [2, 3]),
        ("l.transformMap(i, v, v > 1, v)[2]", 3),
        ("o.spec.labels.transformMap(k, v, k + v)", {"a/b": "a/bx"}),
        ("o.spec.labels.transformMapEntry(k, v, {v: k})", {"x": "a/b"}),
        ("o.spec.labels.all(k, v, k == 'a/b' && v == 'x')", True),
        ("l.all(i, v, l.exists(j, w, i == j && v == w) && variables.tall)", True),
        ("authorizer.requestResource.check('get').allowed() && l.all(i, v, i < 3)", True),
        ("format.named('dns1123Label').value().validate('A').hasValue()", True),
        ("format.uuid().validate('x').value()", ["does not match the UUID format"]),
        ("[format.dns1123Label().validate('a'), format.dns1035LabelPrefix().validate('a-')].exists(f, f.hasValue())", False),
        ("format.named('nope').hasValue()", False),
        ("semver('1.2.3-rc.2').isLessThan(semver('1.2.3-rc.10')) && semver('1.2.3-rc').isLessThan(semver('1.2.3'))", True),
        ("semver('1.2.3+a') == semver('1.2.3+b') && semver('2.0.0').compareTo(semver('10.0.0')) == -1", True),
        ("semver('v1.2', true).patch() == 0 && !isSemver('v1.2') && isSemver('01.2.3', true) && !isSemver('01.2.3')", True),
        ("quantity('1Gi').isGreaterThan(quantity('1G'))", True),
        ("duration(int(duration('1s'))) == duration('1s')", True),
    ],
)
def test_macros_with_two_variables_formats_and_versions(text: str, expected: Any) -> None:
    variables = {**VARIABLES, "authorizer.requestResource": "resource"}
    asked = Question(lambda *_: (True, ""), "resource", {"resource": "pods"})
    assert cel.compile(text, variables).evaluate({**VALUES, "authorizer.requestResource": asked}) == expected


def test_a_macro_with_two_variables_is_checked_like_any_other() -> None:
    assert "undeclared reference to 'w'" in refusal("l.all(i, v, w)")
    assert "undefined field 'short'" in refusal("l.all(i, v, variables.short)")
    assert refusal("l.transformList(i, v, v)", "bool") == "must evaluate to bool"
    assert cel.compile("l.all(i, v, v > 1)", VARIABLES, ("bool",)).type == "bool"
    assert error("l.transformMapEntry(i, v, {'a': v})") == "insert failed: key a already exists"


@pytest.mark.parametrize(
    "text", ["l.size() + 1", "o.spec.tags.map(t, t + 'x')", "s.split('').filter(c, c != 't')", "has(o.spec.size) ? 1 : 2"]
)
def test_both_ways_to_compile_give_the_same_value(text: str) -> None:
    typed = cel.compile_typed(text, {"o": DYN, "l": DYN, "s": STRING})
    assert typed.program.evaluate(VALUES) == value(text)


def test_what_an_expression_evaluates_to_is_known_when_it_is_compiled() -> None:
    assert cel.compile("o.spec.size > 1", VARIABLES, ("bool",)).type == "bool"
    assert cel.compile("variables.tall", VARIABLES, ("bool",)).type == "bool"
    assert refusal("o.spec.on", "bool") == "must evaluate to bool"
    assert refusal("1", "string", "null") == "must evaluate to one of [string null]"
    assert cel.compile("null", VARIABLES, ("string", "null")).type == "null"


def test_what_is_not_asked_for_is_not_evaluated_and_what_is_once() -> None:
    asked: list[str] = []

    def find(name: str) -> Any:
        asked.append(name)
        if name == "bad":
            raise EvaluationError("it is bad")
        return 5

    fields = Fields(frozenset({"one", "two", "bad"}), find)
    shape = {"variables": Shape(dict.fromkeys(("one", "two", "bad"), ANY))}
    assert cel.compile("variables.one + variables.one", shape).evaluate({"variables": fields}) == 10
    assert cel.compile("variables.bad == 1 || true", shape).evaluate({"variables": fields}) is True
    assert cel.compile("variables.bad == 1 || has(variables.two)", shape).evaluate({"variables": fields}) is True
    assert asked == ["one", "bad"]


def test_the_authorizer_is_asked_what_the_expression_says() -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    def access(verb: str, about: Mapping[str, str]) -> tuple[bool, str]:
        asked.append((verb, dict(about)))
        return verb == "get", "because"

    question = Question(access)
    text = "authorizer.group('apps').resource('pods').subresource('log').namespace('n').name('a').check('get').allowed()"
    assert value(text, authorizer=question) is True
    assert value("authorizer.path('/healthz').check('delete').reason()", authorizer=question) == "because"
    about = {"group": "apps", "resource": "pods", "subresource": "log", "namespace": "n", "name": "a"}
    assert asked == [("get", about), ("delete", {"path": "/healthz"})]
    text = "authorizer.group('').resource('pods').fieldSelector('spec.nodeName=n').labelSelector('a=b').check('list').allowed()"
    assert value(text, authorizer=question) is False
    assert asked[-1] == ("list", {"group": "", "resource": "pods", "fieldSelector": "spec.nodeName=n", "labelSelector": "a=b"})
    assert "found no matching overload" in refusal("authorizer.fieldSelector('a=b')")


def test_values_are_not_changed_by_what_is_made_of_them() -> None:
    given = {"items": [1, 2], "map": {"a": [1]}}
    text = "[o.items.map(x, x), o.items + [3], o.items.filter(x, true), o.map.map(k, o.map[k] + [2])].size()"
    assert value(text, o=given) == 4
    assert given == {"items": [1, 2], "map": {"a": [1]}}


# What an expression may cost

MANY = list(range(10_000))


@pytest.mark.parametrize(
    "text",
    [
        "l.all(a, l.all(b, a + b >= 0))",
        "l.all(a, l.all(b, l.all(c, l.all(d, true))))",
        "l.map(a, l.map(b, l)).size() > 0",
        "l.map(a, l).map(b, b + b).map(c, c + c).map(d, d + d).size() > 0",
        "[s].map(a, a + a)" + ".map(a, a + a)" * 25 + "[0].size() > 0",
        "[[s]].map(a, a + a)" + ".map(a, a + a)" * 25 + "[0].size() > 0",
        "[s]" + ".map(a, a.replace('x', 'xxxxxxxxxx'))" * 25 + "[0].size() > 0",
        "[l.map(a, s)]" + ".map(a, [a.join('xxxxxxx'), a.join(s)])" * 10 + "[0].size() > 0",
        "l.all(a, s.matches('(x+x+)+y') || true)",
        "l.all(a, !s.matches('(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)[^x]'))",
        "l.all(a, s.matches('x{0,99}' + string(a) + '{1,9}') || true)",
        "l.all(a, s.findAll('x').size() >= 0)",
        "s.matches('(x?){1000}x{1000}') || true",
        "(s + 'é').find('(x?){1000}y{1000}') == ''",
        "l.exists(a, s.matches('^[a-w]{0,200}$'))",
        "l.all(a, s.contains('y') || s.startsWith(s) || s == s + '')",
        "l.all(a, l == l && o == o)",
        "l.all(a, a in l)",
        "l.all(a, sets.equivalent(l, l))",
        "l.all(a, l.sum() > 0 && l.isSorted() && l.indexOf(9999) > 0)",
        "l.all(a, s.split('').size() > 0 && s.split('').join('').size() > 0)",
        "l.all(a, '%s'.format([l]).size() > 0 && s.reverse() == s && s.lowerAscii() == s)",
        "l.all(a, bytes(s).size() > 0 && s.trim() == s && s.substring(1) != s)",
        "l.all(a, authorizer.path('/x').check('get').allowed())",
        "l.exists(a, l.exists_one(b, b == -1))",
        "l.all(a, b, l.all(c, d, a + d >= 0))",
        "l.transformMap(a, b, l.transformMap(c, d, d)).size() > 0",
        "l.transformList(a, b, l + l).size() > 0",
        "l.all(a, cidr('10.0.0.0/8').containsIP('10.0.0.1') && quantity('1Gi').compareTo(quantity('1G')) > 0 && l.max() > 1)",
    ],
)
def test_what_would_take_too_long_or_too_much_room_is_ended(text: str) -> None:
    program = cel.compile(text, VARIABLES)
    given = {"l": MANY, "s": "x" * 100_000, "o": {"deep": [MANY] * 5}, "authorizer": Question(lambda *_: (True, ""))}
    meter = Meter(20_000)
    with pytest.raises(CostExceeded):
        program.evaluate(given, meter)
    assert meter.left < 0


def test_what_a_meter_has_left_is_what_several_evaluations_share() -> None:
    meter, program = Meter(100), cel.compile("l.all(x, x > 0)", VARIABLES)
    program.evaluate(VALUES, meter)
    after_one = meter.left
    program.evaluate(VALUES, meter)
    assert 100 - after_one == after_one - meter.left > 3


def test_a_cost_is_nothing_that_an_expression_can_pass_over() -> None:
    with pytest.raises(CostExceeded):
        cel.compile("l.all(x, x >= 0) || true", VARIABLES).evaluate({"l": MANY}, Meter(1_000))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4_000,
        "(" * 2_000 + "1" + ")" * 2_000,
        "[" * 2_000 + "]" * 2_000,
        "!(" * 1_000 + "true" + ")" * 1_000,
        "- " * 1_000 + "x",
        "o" + ".a" * 2_400,
        "o" + "[0]" * 1_600,
        "1" + "+1" * 2_400,
        "l.all(x," * 500 + "true" + ")" * 500,
        "true?1:" * 700 + "1",
        "{'a':" * 900 + "1" + "}" * 900,
        "'" + "\\" * 4_000,
        "é" * 4_900,
        "a||" * 1_600 + "a",
        "x" * 5_001,
        "o.a" + "/*" * 2_000,
    ],
)
def test_a_text_that_is_deep_or_long_or_wrong_everywhere_is_refused_shortly(text: str) -> None:
    assert len(refusal(text)) < 2_100


def test_a_document_may_be_deeper_than_anything_can_compare() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert value("o.x.size() == 1", o={"x": deep}) is True
    with pytest.raises(CostExceeded):
        value("o.x == o.y", o={"x": deep, "y": [deep]})


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.text("abo.[](){}?:'\"!-+*/%<>=&|,0123 \\nrux\n", max_size=200))
@example("[?")
@example("o.?")
@example("o.a.?b[?0].optMap(x,x).optFlatMap(y,y)")
@example("'\\ud800'")
@example("0x")
@example("1e999999999")
def test_no_text_breaks_the_compiler(text: str) -> None:
    try:
        program = cel.compile(text, VARIABLES)
        program.evaluate(VALUES, Meter(1_000))
    except (CompileError, EvaluationError, CostExceeded):
        return


# The reference implementation evaluates, too: without a meter. Here, where nothing is large, both have to agree.

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text("ab1é", max_size=3),
)
FEW = st.lists(st.integers(-1, 2), max_size=3)
FIELDS = {"a": st.integers(-3, 3) | SCALARS, "b": FEW | st.text("ab1", max_size=3), "c": SCALARS}
DOCUMENTS = st.one_of(
    st.fixed_dictionaries(FIELDS),
    st.fixed_dictionaries({"a": st.fixed_dictionaries(FIELDS), "b": FEW}),
    st.lists(st.integers(-3, 3) | st.fixed_dictionaries(FIELDS), max_size=3),
    SCALARS,
)
WORDS = "null true false 0 1 2 -1 3u 0u 1.5 -0.5 '' 'a' 'b1' b'a' [] [1,2] ['a'] {} {'a':1} {1:2}"
LITERALS = st.sampled_from(
    [*WORDS.split(), "9223372036854775807", "duration('1h')", "timestamp('2026-01-02T03:04:05Z')"],
)
NAMES = st.sampled_from(
    [
        "o",
        "p",
        "o.a",
        "o.b",
        "o.c",
        "o.a.a",
        "o.a.b",
        "[o.a, 1]",
        "[o.b, p.b]",
        "o.a",
        "p.b",
        "o.?a",
        "o['b']",
        "o[0]",
        "p[?0]",
        "o[?'a']",
    ]
)
BINARY = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"])
FUNCTIONS = st.sampled_from(["size", "uint", "double", "string", "bytes", "bool", "dyn"])
METHODS = st.sampled_from(
    ["startsWith('a')", "endsWith('1')", "contains('b')", "matches('a*')", "size()", "hasValue()", "orValue(1)"]
)
MACROS = st.sampled_from(
    [
        "all(x,{})",
        "exists(x,{})",
        "exists_one(x,{})",
        "map(x,{})",
        "filter(x,{})",
        "map(x,{},x)",
        "all(x,x=={})",
        "exists(x,x/{}>0)",
    ]
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    dynamic = inner.map(lambda text: f"dyn({text})")
    return st.one_of(
        st.tuples(dynamic, BINARY, dynamic).map(lambda three: f"({three[0]} {three[1]} {three[2]})"),
        st.tuples(FUNCTIONS, inner).map(lambda two: f"{two[0]}(dyn({two[1]}))"),
        st.tuples(dynamic, METHODS).map(lambda two: f"{two[0]}.{two[1]}"),
        st.tuples(dynamic, MACROS, inner).map(lambda three: f"{three[0]}.{three[1].format(f'dyn({three[2]})')}"),
        st.tuples(dynamic, dynamic, dynamic).map(lambda three: f"({three[0]} ? {three[1]} : {three[2]})"),
        st.tuples(inner, inner).map(lambda two: f"[dyn({two[0]}), dyn({two[1]})]"),
        st.tuples(dynamic, dynamic).map(lambda two: f"{two[0]}[{two[1]}]"),
        inner.map(lambda text: f"!dyn({text})"),
        inner.map(lambda text: f"-dyn({text})"),
        inner.map(lambda text: f"has(dyn({text}).a)"),
        inner.map(lambda text: f"[?optional.of(dyn({text})), dyn({text}).?a.orValue(2)]"),
    )


EXPRESSIONS = st.recursive(LITERALS | NAMES, _larger, max_leaves=6)
REFERENCE = library.NewEnv(variables={"o": library.Type.DYN, "p": library.Type.DYN}, extensions=[ext_optional.ExtOptional()])
FAILED = object()
FORMLESS = object()
"""A value with an optional value in it, which the library cannot make a value of Python."""


def plain(found: Any) -> Any:
    """A value of ours as the library gives it."""
    match found:
        case Timestamp():
            return datetime.fromisoformat(format_timestamp(found))
        case Duration():
            return timedelta(microseconds=found.nanos // 1000)
        case list() | tuple():
            return [plain(each) for each in found]
        case Mapping():
            return {key: plain(each) for key, each in found.items()}
        case bytes():
            return bytearray(found)
    return found


def normal(found: Any) -> str:
    """A value as text, whatever the order of maps, and of lists that were made of them."""
    if isinstance(found, list):
        return f"[{', '.join(sorted(normal(each) for each in found))}]"
    if isinstance(found, dict):
        return f"{{{', '.join(sorted(f'{normal(key)}: {normal(each)}' for key, each in found.items()))}}}"
    return json.dumps(found, default=str)


def ours(text: str, given: dict[str, Any]) -> Any:
    try:
        return plain(cel.compile(text, {"o": ANY, "p": ANY}).evaluate(given))
    except EvaluationError:
        return FAILED


def theirs(text: str, given: dict[str, Any]) -> Any:
    try:
        found = REFERENCE.compile(text).eval(data=given)
        return FAILED if found.type() == library.Type.ERROR else found.plain_value()
    except RuntimeError:
        return FAILED
    except SystemError:
        return FORMLESS


@settings(max_examples=600, deadline=None)
@given(EXPRESSIONS, DOCUMENTS, DOCUMENTS)
def test_what_we_evaluate_is_what_the_reference_implementation_evaluates(text: str, o: Any, p: Any) -> None:
    given = {"o": o, "p": p}
    try:
        found = ours(text, given)
    except CompileError:
        return
    if isinstance(found, Optional) or "type(" in text or ("has(" in text and "?" in text):
        return  # no form in the library's Python; and `has` of an optional value is what only the one for Go knows
    expected = theirs(text, given)
    if expected is FORMLESS:
        return
    assert (found is FAILED) == (expected is FAILED), (found, expected)
    if found is not FAILED:
        assert normal(found) == normal(expected)


# Times and other functions


@given(st.integers(-62_135_596_800_000_000_000, 253_402_300_799_999_999_999))
def test_every_moment_is_read_as_it_is_written(nanos: int) -> None:
    assert parse_timestamp(format_timestamp(Timestamp(nanos))) == Timestamp(nanos)


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_length_of_time_is_read_as_it_is_written(nanos: int) -> None:
    assert parse_duration(format_duration(Duration(nanos))) == Duration(nanos)


def test_every_function_that_is_declared_can_be_evaluated() -> None:
    """A function that the checker knows and the evaluator does not would be refused by its name."""
    names = {line.partition("(")[0] for line in SIGNATURES.split("\n") if line}
    assert names
    for name in names:
        last = name.rpartition(".")[2]
        assert last in cel._FUNCTIONS or name in cel._FUNCTIONS, name


def test_a_server_without_expressions_does_not_load_the_libraries() -> None:
    code = "import sys, apiserver.serve; print([name for name in sys.modules if name in ('re2', 'cel_expr_python')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_not_a_number_is_equal_to_nothing() -> None:
    assert math.isnan(value("double('NaN')"))
    assert value("double('NaN') == double('NaN') || double('NaN') < 1.0 || double('NaN') >= 1.0") is False
