"""Merge patches and JSON patches: the cases of their RFCs, the words of refusals, and bounds against hostile ones."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import BadRequest, TooLarge
from registry.patches import (
    DEPTH_LIMIT,
    OPERATION_LIMIT,
    PatchError,
    check_depth,
    json_patch,
    merge_patch,
    parse_json_patch,
    parse_merge_patch,
    read_json_patch,
)

GENERIC = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "the server rejected our request due to an error in our request",
    "reason": "Invalid",
    "details": {},
    "code": 422,
}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def patched(document: Any, *operations: dict[str, Any]) -> Any:
    return json_patch(document, read_json_patch(list(operations)))


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": 1}, {"a": {"b": None, "c": 2}}, {"a": {"c": 2}}),
        ({"a": 1}, {"b": [None]}, {"a": 1, "b": [None]}),
    ],
)
def test_a_merge_patch_does_as_rfc_7386_says(document: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    assert merge_patch(document, patch) == result


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "error decoding patch: unexpected end of JSON input"),
        (b"", "error decoding patch: unexpected end of JSON input"),
        (b"[]", "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (b'"x"', "error decoding patch: json: cannot unmarshal string into Go value of type map[string]interface {}"),
        (b"null", "Invalid JSON Patch"),
    ],
)
def test_what_is_no_merge_patch_is_refused_in_the_words_of_kubernetes(raw: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_merge_patch(raw)
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            b'{"op":"add"}',
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
        (b"[", "error decoding patch: unexpected end of JSON input"),
        (b"", "error decoding patch: unexpected end of JSON input"),
        (b"[1]", "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
        (
            b'[{"op":5,"path":"/a"}]',
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
        ),
    ],
)
def test_what_is_no_json_patch_is_refused_in_the_words_of_kubernetes(raw: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_json_patch(raw)
    assert refused.value.message == message


RFC_6902: list[Any] = [  # the cases of appendix A whose result is an object
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo", "foo": "bar"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], None),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"grandchild": {}}}], {"foo": "bar", "child": {"grandchild": {}}}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], None),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], None),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
]

OTHERS: list[Any] = [
    ({"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2]}),
    ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 2}], None),
    ({"a": [1]}, [{"op": "add", "path": "/a/01", "value": 2}], None),
    ({"a": [1]}, [{"op": "add", "path": "/a/-1", "value": 2}], None),
    ({"a": [1]}, [{"op": "remove", "path": "/a/-"}], None),
    ({"a": [1]}, [{"op": "replace", "path": "/a/1", "value": 2}], None),
    ({"a": 1}, [{"op": "add", "path": "/a/b", "value": 2}], None),
    ({"a": 1}, [{"op": "replace", "path": "/b", "value": 2}], None),
    ({"a": 1}, [{"op": "remove", "path": "/b"}], None),
    ({"a": 1}, [{"op": "remove", "path": ""}], None),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 1}}], {"b": 1}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": [1]}], None),
    ({"": {"": 1}}, [{"op": "replace", "path": "//", "value": 2}], {"": {"": 2}}),
    ({"a": 1}, [{"op": "test", "path": "/a"}], None),
    ({"a": 1}, [{"op": "add", "path": "/b"}], None),
    ({"a": 1}, [{"op": "add"}], None),
    ({"a": 1}, [{"op": "jump", "path": "/a"}], None),
    ({"a": 1}, [{"op": "copy", "path": "/a"}], None),
    ({"a": 1}, [{"op": "add", "path": "/b~2", "value": 1}], None),
    ({"a": 1}, [None], None),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/c"}], None),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": {"b": 1}}),
    ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/a/c"}], {"a": {"b": 1, "c": {"b": 1}}}),
    ({"a": {"b": 1}}, [{"op": "copy", "from": "", "path": "/a/c"}], {"a": {"b": 1, "c": {"a": {"b": 1}}}}),
    (
        {"a": {"b": 1}},
        [
            {"op": "copy", "from": "/a", "path": "/c"},
            {"op": "replace", "path": "/a/b", "value": 2},
            {"op": "replace", "path": "/c/b", "value": 3},
        ],
        {"a": {"b": 2}, "c": {"b": 3}},
    ),
    (
        {"a": {}},
        [
            {"op": "add", "path": "/a/b", "value": {"c": 1}},
            {"op": "replace", "path": "/a/b/c", "value": 2},
            {"op": "copy", "from": "/a/b", "path": "/d"},
            {"op": "replace", "path": "/d/c", "value": 3},
        ],
        {"a": {"b": {"c": 2}}, "d": {"c": 3}},
    ),
    # What Kubernetes takes beyond the RFC.
    ({"a": 1}, [{"op": "copy", "from": "/nothing", "path": "/b"}], {"a": 1, "b": None}),
    ({"a": 1}, [{"op": "copy", "from": "/nothing/x", "path": "/b"}], None),
    ({"a": 1}, [{"op": "add", "path": "spec/size", "value": 1}], {"a": 1, "size": 1}),
    ({"a": 1}, [{"op": "add", "path": "spec", "value": 1}], None),
]


@pytest.mark.parametrize(("document", "operations", "result"), RFC_6902 + OTHERS)
def test_a_json_patch_does_as_rfc_6902_says_or_nothing_at_all(
    document: dict[str, Any], operations: list[Any], result: dict[str, Any] | None
) -> None:
    before = copy.deepcopy((document, operations))
    if result is None:
        with pytest.raises(PatchError) as refused:
            patched(document, *operations)
        assert refused.value.status() == GENERIC
        assert list(refused.value.status()) == list(GENERIC)
    else:
        assert patched(document, *operations) == result
    assert (document, operations) == before


@pytest.mark.parametrize(
    ("value", "other", "equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (1, "1", False),
        (None, False, False),
        ({"a": [1, {"b": True}]}, {"a": [1.0, {"b": True}]}, True),
        ({"a": [1, {"b": True}]}, {"a": [1, {"b": 1}]}, False),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ([], {}, False),
    ],
)
def test_a_test_compares_values_and_not_their_spelling(value: Any, other: Any, equal: bool) -> None:
    document = {"v": value}
    test = {"op": "test", "path": "/v", "value": other}
    if equal:
        assert patched(document, test) is document
    else:
        with pytest.raises(PatchError):
            patched(document, test)


def test_what_a_patch_does_not_touch_is_shared() -> None:
    document = {"spec": {"big": list(range(10))}, "status": {"x": 1}}
    for result in (merge_patch(document, {"status": {"x": 2}}), patched(document, {"op": "add", "path": "/status/x", "value": 2})):
        assert result["spec"] is document["spec"]
        assert result["status"] == {"x": 2}


leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab~/", max_size=2)
keys = st.sampled_from(["a", "b", "~", "/", "", "0", "-"])
json_values: st.SearchStrategy[Any] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)
documents: st.SearchStrategy[dict[str, Any]] = st.dictionaries(keys, json_values, max_size=4)


def without_nulls(value: Any) -> Any:
    """Objects cannot hold null after a merge patch made them."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


def difference(old: Any, new: Any) -> dict[str, Any]:
    """The merge patch that leads from one object to another one without nulls."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        if isinstance(value, dict):
            patch[key] = difference(old.get(key) if isinstance(old.get(key), dict) else {}, value)
        else:
            patch[key] = value
    return patch


@given(documents, documents)
def test_the_difference_of_two_documents_merges_one_into_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    new = without_nulls(new)
    before = copy.deepcopy(old)
    patch = difference(old, new)
    assert merge_patch(old, patch) == new
    assert old == before


@given(documents, documents)
def test_a_merge_patch_done_twice_is_as_done_once(document: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once
    assert merge_patch(document, {}) == document


pointers = st.lists(keys, max_size=4).map(lambda way: "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in way))
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"from": pointers, "value": json_values},
)


def steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def place(container: Any, key: str, *, end: int) -> Any:
    """The key or index that a step means; `end` 1: the place after the last item is one. LookupError: it means none."""
    if isinstance(container, dict):
        return key
    if key == "-" and end:
        return len(container)
    if not isinstance(container, list) or str(int(key)) != key or not 0 <= int(key) < len(container) + end:
        raise LookupError
    return int(key)


def value_at(document: Any, way: list[str]) -> Any:
    for key in way:
        document = document[place(document, key, end=0)]
    return document


def put(document: Any, way: list[str], value: Any) -> Any:
    if not way:
        return value
    parent = value_at(document, way[:-1])
    key = place(parent, way[-1], end=1)
    if isinstance(parent, list):
        parent.insert(key, value)
    else:
        parent[key] = value
    return document


def take(document: Any, way: list[str]) -> Any:
    parent = value_at(document, way[:-1])
    return parent.pop(place(parent, way[-1], end=0))


def replace(document: Any, way: list[str], value: Any) -> Any:
    if not way:
        return value
    parent = value_at(document, way[:-1])
    key = place(parent, way[-1], end=0)
    _ = parent[key]
    parent[key] = value
    return document


def copied(document: Any, way: list[str]) -> Any:
    """With the freedom of Kubernetes: a member that is not there is null."""
    parent = value_at(document, way[:-1])
    if way and isinstance(parent, dict) and way[-1] not in parent:
        return None
    return copy.deepcopy(value_at(document, way))


def plainly(document: Any, operation: dict[str, Any]) -> Any:
    """RFC 6902 for one operation on a document of one's own. An exception: it does not fit."""
    path = steps(operation["path"])
    match operation["op"]:
        case "add":
            return put(document, path, copy.deepcopy(operation["value"]))
        case "replace":
            return replace(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            take(document, path)
            return document
        case "test":
            texts = [msgspec.json.encode(value, order="sorted") for value in (value_at(document, path), operation["value"])]
            return document if texts[0] == texts[1] else 1 / 0
        case "copy":
            return put(document, path, copied(document, steps(operation["from"])))
    source = steps(operation["from"])
    if source == path:
        value_at(document, source)
        return document
    return 1 / 0 if path[: len(source)] == source else put(document, path, take(document, source))


def comparable(value: Any) -> Any:
    """Floats that are whole as integers, so that the plain comparison of texts is the one of values."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: comparable(inner) for key, inner in value.items()}
    return [comparable(inner) for inner in value] if isinstance(value, list) else value


@given(documents.map(comparable), st.lists(operations.map(comparable), max_size=6))
def test_a_json_patch_does_what_one_plain_operation_after_the_other_does(
    document: dict[str, Any], patch: list[dict[str, Any]]
) -> None:
    before = copy.deepcopy((document, patch))
    expected: Any = copy.deepcopy(document)
    try:
        for operation in patch:
            expected = plainly(expected, operation)
    except (LookupError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        expected = None
    if isinstance(expected, dict):
        assert json_patch(document, read_json_patch(patch)) == expected
    else:
        with pytest.raises(PatchError):
            json_patch(document, read_json_patch(patch))
    assert (document, patch) == before


hostile = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["op", "path", "from", "value"]), inner | pointers, max_size=4)
    ),
    max_leaves=10,
)


@given(st.binary(max_size=40) | hostile.map(msgspec.json.encode), documents)
def test_a_hostile_patch_is_done_or_refused_and_nothing_else(raw: bytes, document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    with contextlib.suppress(BadRequest, PatchError):
        assert isinstance(json_patch(document, parse_json_patch(raw)), dict)
    with contextlib.suppress(BadRequest):
        assert isinstance(merge_patch(document, parse_merge_patch(raw)), dict)
    assert document == before


def test_too_many_operations_are_refused_with_413() -> None:
    operation = {"op": "add", "path": "/a", "value": 1}
    assert patched({}, *[operation] * OPERATION_LIMIT) == {"a": 1}
    with pytest.raises(TooLarge) as refused:
        parse_json_patch(msgspec.json.encode([operation] * (OPERATION_LIMIT + 1)))
    said = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    assert refused.value.message == said


def test_copies_that_double_what_is_there_are_refused_before_they_fill_the_memory() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": f"/a/{at}"} for at in range(64)]
    with pytest.raises(PatchError) as refused:
        patched({"a": {"text": "x" * 1000}}, *doubling)
    assert refused.value.why == "the copies are too large"


def test_a_patch_that_moves_a_long_list_over_and_over_is_refused() -> None:
    with pytest.raises(TooLarge):
        patched({"a": [0] * 100_000}, *[{"op": "add", "path": "/a/0", "value": 1}] * 1000)


def test_nesting_is_bounded_whether_sent_at_once_or_built_step_by_step() -> None:
    raw = b'{"a":' * 100_000
    steps = [{"op": "add", "path": "/a" * level, "value": {}} for level in range(1, 2000)]
    for refused in (
        lambda: parse_merge_patch(raw),
        lambda: parse_json_patch(b"[" * 100_000),
        lambda: merge_patch({}, nested(DEPTH_LIMIT + 1)),
        lambda: patched({}, {"op": "add", "path": "/a", "value": nested(DEPTH_LIMIT)}),
        lambda: patched({}, *steps),
        lambda: check_depth(nested(DEPTH_LIMIT + 1)),
    ):
        with pytest.raises((BadRequest, PatchError)):
            refused()
    check_depth(nested(DEPTH_LIMIT))
    assert merge_patch({}, nested(DEPTH_LIMIT)) == nested(DEPTH_LIMIT)


def test_the_same_operations_can_be_applied_again_to_another_document() -> None:
    parsed = parse_json_patch(b'[{"op":"add","path":"/a","value":{}},{"op":"add","path":"/a/b","value":1}]')
    assert json_patch({}, parsed) == {"a": {"b": 1}}
    assert json_patch({"c": 1}, parsed) == {"c": 1, "a": {"b": 1}}
