"""Bytes to documents and back: recorded words, hostile bytes, keys that are there twice, YAML, and the canonical form."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registry.documents import (
    MAX_DEPTH,
    Malformed,
    canonical,
    dump_yaml,
    parse_json,
    parse_value,
    parse_yaml,
    render,
    unrecognized,
)
from registry.errors import ApiError
from registry.nodes import same

PREFIX = "the object provided is unrecognized (must be of type Widget): "
STAGE = "couldn't get version/kind; json parse error: "
INTO = r'Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


def refusal(parse: Any, raw: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        parse(raw)
    refused = unrecognized("Widget", caught.value, raw)
    assert refused.code == 400
    return refused.message


RECORDED = [
    (b"{", f"{PREFIX}{STAGE}unexpected end of JSON input ({{)"),
    (b"[]", f"{PREFIX}{STAGE}json: cannot unmarshal array into {INTO} (5b5d)"),
    (b'"text"', f"{PREFIX}{STAGE}json: cannot unmarshal string into {INTO} (227465787422)"),
    (
        b'{"apiVersion":"reference.example.com/v1","kind":"Widget"} trailing',
        PREFIX + STAGE + 'invalid character \'t\' after top-level value ({"apiVersion":"reference.examp ...)',
    ),
    (b"", f"{PREFIX}{STAGE}unexpected end of JSON input (<empty>)"),
]


@pytest.mark.parametrize(("raw", "message"), RECORDED)
def test_a_body_that_does_not_parse_is_told_in_recorded_words(raw: bytes, message: str) -> None:
    assert refusal(parse_json, raw) == message


def test_yaml_that_does_not_parse_is_told_in_recorded_words() -> None:
    raw = b"apiVersion: reference.example.com/v1\nkind: Widget\n  bad: [\n"
    start = "61706956657273696f6e3a207265666572656e63652e6578616d706c652e ..."
    assert refusal(parse_yaml, raw) == f"{PREFIX}yaml: line 3: mapping values are not allowed in this context ({start})"
    with pytest.raises(Malformed, match=r"^yaml: line 1: did not find expected node content$"):
        parse_yaml(b"a: [")


WRONG = [
    (b"nul", "unexpected end of JSON input"),
    (b'{"a":NaN}', "invalid character 'N' looking for beginning of value"),
    (b'{"a":-Infinity}', "invalid"),
    (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
    (b'{"a" 1}', "invalid character '1' after object key"),
    (b'{"a":1 2}', "invalid character '2' after object key:value pair"),
    (b"[1 2]", "invalid character '2' after array element"),
    (b'{"a":1,}', "looking for beginning of object key string"),
    (b'{"a":1e999}', "out of range"),
    (b'{"a":' + b"9" * 6000 + b"}", "out of range"),
    (b'{"a":"\\ud800"}', "surrogate"),
    (b'{"a":"\\udc00x"}', ""),
    (b'{"a":"\xff"}', "invalid UTF-8"),
    (b'\xef\xbb\xbf{"a":1}', "invalid character"),
    (b'{"kind":5}', "json: cannot unmarshal number into Go struct field .kind of type string"),
    (b'{"apiVersion":{}}', "json: cannot unmarshal object into Go struct field .apiVersion of type string"),
    (b"[" * 100_000, "exceeded max depth of 128"),
    (b'{"a":' * 500 + b"1" + b"}" * 500, "exceeded max depth of 128"),
    (b"null", "json: cannot unmarshal null into Go value"),
]


@pytest.mark.parametrize(("raw", "message"), WRONG, ids=[repr(raw[:20]) for raw, _ in WRONG])
def test_what_is_not_json_is_refused_and_said_why(raw: bytes, message: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_json(raw)
    assert message in caught.value.message


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_the_depth_is_bounded_exactly() -> None:
    assert parse_json(nested(MAX_DEPTH)).document
    with pytest.raises(Malformed):
        parse_json(nested(MAX_DEPTH + 1))
    assert parse_yaml(nested(MAX_DEPTH).replace(b'"', b"").replace(b":", b": ")).document
    with pytest.raises(Malformed):
        parse_yaml(nested(MAX_DEPTH + 1).replace(b'"', b"").replace(b":", b": "))


def test_many_brackets_beside_each_other_are_not_deep() -> None:
    assert len(parse_json(b'{"a":[' + b",".join([b"{}"] * 1000) + b"]}").document["a"]) == 1000


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**30, 9007199254740993])
def test_integers_keep_all_their_digits(number: int) -> None:
    assert parse_json(json.dumps({"a": number}).encode()).document == {"a": number}
    assert json.loads(canonical({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "a": number}).desired)["a"] == number


DUPLICATES = [
    (
        b'{"metadata":{"name":"ref-b","name":"ref-b"},"spec":{"size":1,"size":2,"env":{"A":"1","A":"2"}}}',
        {"metadata": {"name": "ref-b"}, "spec": {"size": 2, "env": {"A": "2"}}},
        ("metadata.name", "spec.size", "spec.env.A"),
    ),
    (b'{"a":1,"a":1,"a":1}', {"a": 1}, ("a",)),
    (b'{"l":[{"x":1},{"x":1,"x":2}]}', {"l": [{"x": 1}, {"x": 2}]}, ("l[1].x",)),
    (b'{"a" :1,"a":2}', {"a": 2}, ("a",)),
    (b'{"a":"\\u0022:","a":1,"b":":"}', {"a": 1, "b": ":"}, ("a",)),
    (b'{"a":":","a":1}', {"a": 1}, ("a",)),
    (b'{"\\u0061":1,"a":2}', {"a": 2}, ("a",)),
    (b'{"a":{"b":1},"a":{"c":1}}', {"a": {"c": 1}}, ("a",)),
]


@pytest.mark.parametrize(("raw", "document", "paths"), DUPLICATES)
def test_keys_that_are_there_twice_are_found_with_their_paths_and_the_last_wins(
    raw: bytes, document: dict[str, Any], paths: tuple[str, ...]
) -> None:
    assert parse_json(raw) == (document, tuple(f'duplicate field "{path}"' for path in paths))


def test_keys_that_are_there_twice_in_yaml_are_found_with_their_lines() -> None:
    raw = b"apiVersion: reference.example.com/v1\nkind: Widget\nmetadata: {name: ref-c}\nspec:\n  size: 1\n  size: 2\n"
    parsed = parse_yaml(raw)
    assert parsed.duplicates == ('yaml: unmarshal errors:\n  line 6: key "size" already set in map',)
    assert parsed.document["spec"] == {"size": 2}


def test_a_json_patch_is_a_list() -> None:
    assert parse_value(b'[{"op":"test","path":"/a","value":1}]').document == [{"op": "test", "path": "/a", "value": 1}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(max_size=6).filter(lambda key: key not in ("apiVersion", "kind")), JSON, max_size=4)


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, st.sampled_from([None, 1]), st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]))
def test_any_way_of_writing_json_gives_the_document_and_no_duplicates(
    document: dict[str, Any], indent: int | None, ascii_only: bool, separators: tuple[str, str]
) -> None:
    raw = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators).encode()
    assert parse_json(raw) == (document, ())


def pairs_text(value: Any, spaces: str) -> str:
    """JSON with the pairs as they are, twins and all."""
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return "{" + ",".join(f"{json.dumps(key)}{spaces}:{pairs_text(item, spaces)}" for key, item in value) + "}"
    return json.dumps(value)


PAIRS = st.recursive(
    st.integers(0, 3) | st.sampled_from([":", '":', 'a":"b', '\\":', "x"]),
    lambda inner: st.lists(st.tuples(st.sampled_from(["a", ":", '":']), inner), min_size=1, max_size=3),
    max_leaves=6,
)


def has_twins(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    keys = [key for key, _ in value]
    return len(set(keys)) < len(keys) or any(has_twins(item) for _, item in value)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", ":", '":']), PAIRS), min_size=1, max_size=3), st.sampled_from(["", " "]))
def test_twins_are_found_whatever_the_texts_around_them_look_like(pairs: list[tuple[str, Any]], spaces: str) -> None:
    assert bool(parse_json(pairs_text(pairs, spaces).encode()).duplicates) is has_twins(pairs)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | st.text("{}[]\":,\\u0019deE+-. &*!|>#%@`'?\n\tatrue<", max_size=60).map(str.encode))
@example(b"\xff\xfe{\x00}\x00")
@example(b"%TAG ! !\n---\na")
@example(b"? {a: b}\n: c")
@example(b"!!binary x")
@example(b"0x")
def test_whatever_the_bytes_are_the_only_error_is_a_400(raw: bytes) -> None:
    for parse in (parse_json, parse_value, parse_yaml):
        refused: ApiError | None = None
        try:
            json.dumps(parse(raw).document, allow_nan=False).encode()
        except ApiError as error:
            refused = error
        assert refused is None or (refused.code == 400 and refused.message)


# YAML.

SCALARS = [
    ("yes", True), ("On", True), ("off", False), ("n", False), ("true", True), ("~", None), ("", None), ("null", None),
    ("017", 15), ("0o17", 15), ("0x1F", 31), ("0b101", 5), ("1_000", 1000), ("+5", 5), ("-0", 0), ("08", 8.0),
    ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("1:30", "1:30"), ("2026-01-02", "2026-01-02"),
    ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"), ("'yes'", "yes"), ('"1"', "1"), ("!!str 1", "1"), ("! 1", "1"),
    ("a b", "a b"), ("!!float 1", 1.0), ("=", "="), ("1.2.3", "1.2.3"), ("0xg", "0xg"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_plain_texts_mean_what_they_mean_to_kubernetes(text: str, value: Any) -> None:
    assert same(parse_yaml(f"a: {text}\n".encode()).document, {"a": value})


def test_keys_become_texts() -> None:
    assert parse_yaml(b"1: a\ntrue: b\n1.5: c\n'x': d\n").document == {"1": "a", "true": "b", "1.5": "c", "x": "d"}


def test_aliases_and_merges_are_copies() -> None:
    document = parse_yaml(b"a: &a {x: [1]}\nb: *a\nc:\n  <<: [*a, {x: 2, w: 3}]\n  z: 4\n").document
    assert document == {"a": {"x": [1]}, "b": {"x": [1]}, "c": {"x": [1], "w": 3, "z": 4}}
    document["a"]["x"].append(2)
    assert (document["b"], document["c"]["x"]) == ({"x": [1]}, [1])


REFUSED = [
    ("a: 1\n---\nb: 2\n", "more than one document"),
    ("a: .nan", "JSON has no number for nan"),
    ("a: -.inf", "JSON has no number"),
    ("a: !mine 5", "the tag !mine is not known"),
    ("a: !!python/object x", "is not known"),
    ("a: &a [*a]", "unknown anchor 'a'"),
    ("? [a]\n: b", "a key is a text"),
    ("~: b", "a key is a text"),
    ("<<: 5", "map merge requires"),
    ("- a", "json: cannot unmarshal array into Go value"),
    ("", "json: cannot unmarshal null into Go value"),
    ("[" * 100_000, "exceeded max depth"),
    ("? " * 100_000, "exceeded max depth"),
    ("%TAG !a! x\n" * 100_000, "too many directives"),
    (
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"k{i}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)),
        "aliasing",
    ),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:20] for text, _ in REFUSED])
def test_yaml_that_is_no_json_document_is_refused(text: str, message: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_yaml(text.encode())
    assert message in caught.value.message


def test_an_alias_to_something_deep_counts_as_deep() -> None:
    half = "[" * (MAX_DEPTH // 2) + "]" * (MAX_DEPTH // 2)
    holder = "[" * (MAX_DEPTH // 2) + "*a" + "]" * (MAX_DEPTH // 2)
    with pytest.raises(Malformed, match="exceeded max depth"):
        parse_yaml(f"a: &a {half}\nb: {holder}\n".encode())


def test_a_document_is_dumped_as_a_real_server_dumps_it() -> None:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "message": 'widgets.reference.example.com "ref-missing" not found',
        "details": {"name": "ref-missing", "causes": [{"field": "a"}], "list": []},
        "code": 404,
        "yes": "on",
        "time": "2026-01-02T03:04:05Z",
        "number": "1",
        "lines": "one\ntwo\n",
    }
    assert dump_yaml(status).decode() == (
        "apiVersion: v1\ncode: 404\ndetails:\n  causes:\n  - field: a\n  list: []\n  name: ref-missing\nkind: Status\n"
        "lines: |\n  one\n  two\n"
        'message: widgets.reference.example.com "ref-missing" not found\nmetadata: {}\nnumber: "1"\n'
        'time: "2026-01-02T03:04:05Z"\n"yes": "on"\n'
    )


@settings(max_examples=500, deadline=None)
@given(DOCUMENTS)
@example({"a": "\n"})
@example({"a": "x\n\n"})
@example({"a": " x\ny"})
@example({"a": "x \ny"})
@example({"a": "\x85\u2028\ufeff\x7f\x00\U0001f600"})
@example({"a": "#\n- x: y"})
@example({"a": "---\n..."})
@example({"y": 1, "1": 2, "": 3, "<<": {"b": 1}, "=": "="})
def test_a_document_survives_being_yaml(document: dict[str, Any]) -> None:
    assert same(parse_yaml(dump_yaml(document)).document, document)


# The canonical form.

HEAD = b'{"apiVersion":"g/v1","kind":"K","metadata":{'
METADATA = st.dictionaries(st.text(max_size=6), JSON, max_size=3).map(lambda metadata: {**metadata, "name": "a"})
OBJECTS = st.builds(
    lambda rest, metadata, status, revision: {
        **rest,
        **status,
        "metadata": {**metadata, "resourceVersion": str(revision)},
        "kind": "K",
        "apiVersion": "g/v1",
    },
    DOCUMENTS,
    METADATA,
    st.just({}) | st.fixed_dictionaries({"status": JSON}),
    st.integers(1, 2**63),
)


@settings(max_examples=300, deadline=None)
@given(OBJECTS)
@example({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": '"metadata":{', "resourceVersion": "1"}, "a": '"metadata":{'})
def test_what_is_rendered_of_what_is_stored_is_the_document(document: dict[str, Any]) -> None:
    before = deepcopy(document)
    stored = canonical(document)
    assert stored.desired.startswith(HEAD)
    revision = int(document["metadata"]["resourceVersion"])
    assert json.loads(b"".join(render(HEAD, revision, stored.desired, stored.status))) == document
    assert document == before


@settings(max_examples=200, deadline=None)
@given(OBJECTS)
def test_equal_documents_have_equal_bytes(document: dict[str, Any]) -> None:
    assert canonical(turned(document)) == canonical(document)


def turned(value: Any) -> Any:
    """The same value with all keys in the other order."""
    if isinstance(value, dict):
        return {key: turned(item) for key, item in reversed(value.items())}
    return [turned(item) for item in value] if isinstance(value, list) else value


def test_another_version_is_rendered_with_another_head() -> None:
    stored = canonical({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a"}, "spec": {}, "status": {"x": 1}})
    served = b"".join(render(b'{"metadata":{', 7, *stored))
    assert json.loads(served) == {"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {}, "status": {"x": 1}}
