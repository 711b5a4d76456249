"""Query parameters: what they are read as, and in which words they are refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.options import (
    DeleteOptions,
    ListOptions,
    Query,
    WriteOptions,
    delete_options,
    flag,
    list_options,
    number,
    parse_query,
    revision,
    write_options,
)
from registry.errors import BadRequest, Invalid
from tests.apiserver.world import refusal


def parse_and(read: Callable[[Query], object], raw: bytes) -> object:
    return read(parse_query(raw))


def causes(caught: pytest.ExceptionInfo[Invalid]) -> list[tuple[str, str]]:
    return [(cause.field, cause.message) for cause in caught.value.causes]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", False),
        (b"watch=0", False),
        (b"watch=false", False),
        (b"watch=FALSE", False),
        (b"watch", True),
        (b"watch=", True),
        (b"watch=1", True),
        (b"watch=true", True),
        (b"watch=no", True),
        (b"watch=0&watch=1", False),
    ],
)
def test_a_flag_is_false_only_for_what_kubernetes_calls_false(query: bytes, expected: bool) -> None:
    assert flag(parse_query(query), "watch") is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("7", 7), ("-7", -7), ("%2B7", 7), ("0007", 7), ("-0", 0), ("0" * 5_000 + "7", 7)]
)
def test_a_number_is_decimal_with_a_sign_perhaps(text: str, expected: int) -> None:
    assert number(parse_query(f"limit={text}".encode()), "limit") == expected


@pytest.mark.parametrize("text", ["", "x", "1x", "1_0", "1.5", "-", "%2B", "-%2B1", "%2B-1", "--1", "+1", "%D9%A3", "0x1"])
def test_what_is_no_number_is_refused_as_kubernetes_refuses_it(text: str) -> None:
    with pytest.raises(BadRequest, match=r"strconv.ParseInt: parsing .* invalid syntax"):
        number(parse_query(f"limit={text}".encode()), "limit")


@given(st.integers())
def test_numbers_are_those_of_64_bits(value: int) -> None:
    query = {"limit": [str(value)]}
    if -(2**63) <= value < 2**63:
        assert number(query, "limit") == value
    else:
        with pytest.raises(BadRequest, match="value out of range"):
            number(query, "limit")


@pytest.mark.parametrize("digits", ["9" * 5_000, "-" + "9" * 5_000, "0" * 30 + "9" * 20])
def test_a_number_of_any_length_is_refused_in_time(digits: str) -> None:
    with pytest.raises(BadRequest, match="value out of range"):
        number({"limit": [digits]}, "limit")


@given(st.integers(min_value=0, max_value=2**70))
def test_resource_versions_are_those_of_64_bits_without_a_sign(value: int) -> None:
    if value < 2**64:
        assert revision(str(value)) == value
    else:
        with pytest.raises(BadRequest, match="value out of range"):
            revision(str(value))


@pytest.mark.parametrize("text", ["x", "-1", "+1", "1.0", " 1", "٣"])
def test_a_resource_version_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match=r"strconv.ParseUint: parsing .* invalid syntax"):
        revision(text)


def test_blank_and_repeated_parameters_are_kept_and_unknown_ones_ignored() -> None:
    query = parse_query(b"dryRun=All&dryRun=All&fieldManager=&pretty=true&x=y")
    assert query["dryRun"] == ["All", "All"]
    assert write_options(query, "CreateOptions") == WriteOptions(dry_run=True)


@pytest.mark.parametrize("raw", [b"a=%FF", b"\xff=1", b"&".join(b"x=1" for _ in range(1_001))])
def test_a_query_that_cannot_be_decoded_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_query(raw)


WRITES: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("dryRun=None", "CreateOptions", [("dryRun", 'Unsupported value: ["None"]: supported values: "All"')]),
    ("dryRun=", "CreateOptions", [("dryRun", 'Unsupported value: [""]: supported values: "All"')]),
    ("dryRun=All&dryRun=x", "CreateOptions", [("dryRun", 'Unsupported value: ["All","x"]: supported values: "All"')]),
    ("force=true", "PatchOptions", [("force", "Forbidden: may not be specified for non-apply patch")]),
    ("fieldManager=" + "m" * 129, "UpdateOptions", [("fieldManager", "Too long: may not be more than 128 bytes")]),
    ("fieldManager=" + "%C3%A9" * 65, "UpdateOptions", [("fieldManager", "Too long: may not be more than 128 bytes")]),
    (
        "fieldManager=a%00",
        "UpdateOptions",
        [("fieldManager", 'Invalid value: "a\\u0000": should only contain printable characters')],
    ),
    (
        "fieldValidation=strict",
        "UpdateOptions",
        [("fieldValidation", 'Unsupported value: "strict": supported values: "", "Ignore", "Strict", "Warn"')],
    ),
]


@pytest.mark.parametrize(("query", "kind", "expected"), WRITES, ids=[query[:24] for query, *_ in WRITES])
def test_an_option_of_a_write_that_makes_no_sense_is_a_cause(query: str, kind: str, expected: list[tuple[str, str]]) -> None:
    with pytest.raises(Invalid, match=f'^{kind}.meta.k8s.io "" is invalid') as caught:
        write_options(parse_query(query.encode()), kind)
    assert causes(caught) == expected


def test_all_that_is_wrong_with_a_write_is_said_together() -> None:
    with pytest.raises(Invalid) as caught:
        write_options(parse_query(b"force=1&dryRun=x&fieldValidation=y&fieldManager=%01"), "PatchOptions")
    assert [field for field, _ in causes(caught)] == ["force", "fieldManager", "dryRun", "fieldValidation"]


def test_force_is_an_option_of_patches_alone() -> None:
    assert write_options(parse_query(b"force=true"), "UpdateOptions") == WriteOptions()


LISTS = [
    ("resourceVersionMatch=Exact", False, ["resourceVersionMatch is forbidden unless resourceVersion is provided"]),
    ("resourceVersionMatch=Exact&resourceVersion=0", False, ['resourceVersionMatch "exact" is forbidden for resourceVersion "0"']),
    ("resourceVersionMatch=x&resourceVersion=1", False, ['supported values: "Exact", "NotOlderThan", ""']),
    (
        "resourceVersionMatch=Exact&continue=x",
        False,
        ["forbidden when continue is provided", "forbidden unless resourceVersion is provided"],
    ),
    ("sendInitialEvents=false", False, ["sendInitialEvents is forbidden for list"]),
    ("sendInitialEvents=true", True, ["sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"]),
    (
        "sendInitialEvents=true&resourceVersionMatch=Exact",
        True,
        ["sendInitialEvents requires setting", 'supported values: "NotOlderThan"'],
    ),
    ("resourceVersionMatch=NotOlderThan", True, ["forbidden for watch unless sendInitialEvents is provided"]),
    ("resourceVersionMatch=Exact", True, ["forbidden for watch unless", 'supported values: "NotOlderThan"']),
    ("resourceVersionMatch=NotOlderThan&sendInitialEvents=true&continue=x", True, ["forbidden when continue is provided"]),
]


@pytest.mark.parametrize(("query", "watch", "expected"), LISTS)
def test_options_of_lists_and_watches_that_contradict_each_other_are_refused(query: str, watch: bool, expected: list[str]) -> None:
    with pytest.raises(Invalid, match=r'^ListOptions.meta.k8s.io "" is invalid') as caught:
        list_options(parse_query(query.encode()), watch=watch)
    said = [message for _, message in causes(caught)]
    assert len(said) == len(expected)
    assert all(part in message for part, message in zip(expected, said, strict=True))


@pytest.mark.parametrize(
    ("query", "watch", "expected"),
    [
        ("", False, ListOptions()),
        ("limit=5&continue=x", False, ListOptions(limit=5, token="x")),
        ("resourceVersion=5&resourceVersionMatch=Exact", False, ListOptions(resource_version="5", match="Exact")),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan", False, ListOptions(resource_version="0", match="NotOlderThan")),
        (
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            True,
            ListOptions(send_initial=True, match="NotOlderThan", bookmarks=True),
        ),
        ("timeoutSeconds=9&labelSelector=a%3Db", True, ListOptions(timeout_seconds=9, label_selector="a=b")),
    ],
)
def test_options_that_fit_together_are_taken(query: str, watch: bool, expected: ListOptions) -> None:
    assert list_options(parse_query(query.encode()), watch=watch) == expected


def test_the_body_of_a_delete_comes_before_its_query() -> None:
    query = parse_query(b"propagationPolicy=Orphan&dryRun=All")
    assert delete_options({}, query) == DeleteOptions(dry_run=True, propagation="Orphan")
    assert delete_options({"kind": "DeleteOptions", "apiVersion": "v1"}, query).propagation == "Orphan"
    assert delete_options({"propagationPolicy": "Foreground"}, query) == DeleteOptions(propagation="Foreground")


@pytest.mark.parametrize(("orphan", "expected"), [(True, "Orphan"), (False, "Background")])
def test_the_old_word_for_orphans_means_a_propagation(orphan: bool, expected: str) -> None:
    assert delete_options({"orphanDependents": orphan}, {}).propagation == expected


DELETES = [
    ({"propagationPolicy": "Never"}, 'propagationPolicy: Unsupported value: "Never"'),
    ({"propagationPolicy": "Orphan", "orphanDependents": False}, "orphanDependents and deletionPropagation cannot be both set"),
    ({"dryRun": ["x"]}, "dryRun: Unsupported value"),
]


@pytest.mark.parametrize(("body", "said"), DELETES)
def test_an_option_of_a_delete_that_makes_no_sense_is_a_cause(body: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=r'^DeleteOptions.meta.k8s.io "" is invalid') as caught:
        delete_options(body, {})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"dryRun": "All"}, "dryRun"),
        ({"dryRun": [1]}, "dryRun"),
        ({"propagationPolicy": 1}, "propagationPolicy"),
        ({"orphanDependents": "yes"}, "orphanDependents"),
        ({"gracePeriodSeconds": "1"}, "gracePeriodSeconds"),
        ({"gracePeriodSeconds": True}, "gracePeriodSeconds"),
        ({"preconditions": []}, "preconditions"),
        ({"preconditions": {"uid": 1}}, "uid"),
        ({"preconditions": {"resourceVersion": 1}}, "resourceVersion"),
    ],
)
def test_an_option_of_the_wrong_type_is_refused_as_go_refuses_it(body: dict[str, object], field: str) -> None:
    with pytest.raises(BadRequest, match=f"json: cannot unmarshal .* into Go struct field DeleteOptions.{field} of type"):
        delete_options(body, {})


names = st.sampled_from(
    [
        "watch",
        "limit",
        "continue",
        "resourceVersion",
        "resourceVersionMatch",
        "timeoutSeconds",
        "sendInitialEvents",
        "allowWatchBookmarks",
        "labelSelector",
        "dryRun",
        "force",
        "fieldManager",
        "fieldValidation",
        "gracePeriodSeconds",
        "orphanDependents",
        "propagationPolicy",
    ]
)
values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["0", "1", "true", "All", "Exact", "NotOlderThan", "-+1", "+-1", "Orphan", "Strict"]),
    st.integers().map(str),
)
pairs = st.lists(st.tuples(names, values), max_size=6).map(lambda found: urlencode(found).encode())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["uid", "resourceVersion", "x"]), inner),
    max_leaves=5,
)
bodies = st.dictionaries(
    st.sampled_from(["dryRun", "orphanDependents", "propagationPolicy", "gracePeriodSeconds", "preconditions", "kind"]), json_values
)


@given(st.one_of(pairs, st.binary()), bodies)
def test_any_query_and_any_options_are_read_or_refused(raw: bytes, body: dict[str, object]) -> None:
    reads: list[Callable[[Query], object]] = [
        lambda query: list_options(query, watch=False),
        lambda query: list_options(query, watch=True),
        lambda query: write_options(query, "PatchOptions"),
        lambda query: delete_options(body, query),
    ]
    for read in reads:
        error = refusal(partial(parse_and, read, raw))
        assert error is None or error.code in (400, 422)
