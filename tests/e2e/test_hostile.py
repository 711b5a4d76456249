"""Hostile input over a real socket: whatever is sent, the answer is one that helps, and the server goes on.

The oracle is the same for everything: there is an answer; it is no 5xx (but 504 for a revision that is not there yet, which the
API documents); it is a Status that says what is wrong, or the plain text that Kubernetes uses for health and for paths that do not
exist; and it shows no insides. At the end of the module the server is well, has logged no error of its own, and has not grown.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.e2e.wire import Headers, Place, Reply, Wire, place_of
from tests.servers import Running, running

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/reference.example.com/v1/namespaces/default/widgets"
JSON = {"content-type": "application/json"}
YAML = {"content-type": "application/yaml"}
MERGE = {"content-type": "application/merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}
WIDGET: dict[str, Any] = {
    "apiVersion": "reference.example.com/v1",
    "kind": "Widget",
    "metadata": {"name": "a"},
    "spec": {"size": 3},
}
CONFIG_MAP: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
MEMORY_MIB = 256
"""What the server may have grown to at its peak: bodies of 3 MiB may cost a multiple of their length, and nothing may cost more."""

often = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server of its own: what it logs, and how large it is at the end, tells."""
    with running() as server:
        yield server
        with Wire(place_of(server.url, server.ca, server.token)) as wire:
            assert wire.ask("GET", "/readyz").body == b"ok"
        wrong = [line for line in server.log.splitlines() if '"level": "error"' in line]
        assert wrong == []
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
        assert peak is not None
        assert int(peak[1]) < MEMORY_MIB * 1024


@pytest.fixture(scope="module")
def wire(server: Running) -> Iterator[Wire]:
    """A connection to it, with an object of each kind in the default namespace."""
    with Wire(place_of(server.url, server.ca, server.token)) as wire:
        assert wire.post(CONFIG_MAPS, CONFIG_MAP).status == 201
        assert wire.post(WIDGETS, WIDGET).status == 201
        yield wire


def judged(reply: Reply, method: str = "GET") -> Reply:
    """The oracle."""
    assert reply.status < 500 or reply.status == 504, reply
    assert b"Traceback" not in reply.body
    assert b"<html" not in reply.body.lower()
    assert b'File "' not in reply.body
    if reply.status < 400 or method == "HEAD" or not reply.body:
        assert reply.body or method == "HEAD" or reply.status in (301, 304, 404, 406), reply
    elif reply.media == "application/json":
        status = reply.json()
        assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", reply.status)
        assert status["message"]
        assert status["reason"]
    else:
        assert reply.media in ("text/plain", "application/yaml", "application/vnd.kubernetes.protobuf"), reply
    return reply


def attack(wire: Wire, method: str, target: str | bytes, body: bytes | None = None, headers: Headers | None = None) -> Reply:
    """One request, judged."""
    return judged(wire.ask(method, target, body, headers), method)


# Paths

SEGMENTS = [
    *(
        "api",
        "apis",
        "v1",
        "v1beta1",
        "namespaces",
        "default",
        "configmaps",
        "secrets",
        "widgets",
        "gadgets",
        "leases",
        "events",
        "a",
    ),
    *("reference.example.com", "coordination.k8s.io", "events.k8s.io", "status", "scale", "finalize", "watch", "proxy", "exec"),
    *("openapi", "v2", "v3", "healthz", "livez", "readyz", "ping", "version", "metrics", "debug", "pprof", "logs", ""),
    *(
        "..",
        ".",
        "%2e%2e",
        "%2F",
        "%2f..%2f",
        "%00",
        "%ff",
        "%",
        "%zz",
        "%u0041",
        "~",
        "*",
        ";x=y",
        "a" * 300,
        "%E2%80%AE",
        "\\",
        "'\"<>",
    ),
]
paths = st.one_of(
    st.lists(st.sampled_from(SEGMENTS), max_size=9).map(lambda parts: "/" + "/".join(parts)),
    st.lists(st.sampled_from(SEGMENTS), max_size=5).map(lambda parts: f"{WIDGETS}/" + "/".join(parts)),
    st.lists(st.sampled_from(SEGMENTS), max_size=5).map(lambda parts: "/apis/reference.example.com/v1/" + "/".join(parts)),
    st.text(st.characters(codec="utf-8"), max_size=60).map(lambda text: f"/{quote(text, safe='/%')}"),
    st.binary(max_size=40).map(lambda raw: f"/api/v1/{quote(raw)}"),
)
METHODS = ["GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "CONNECT"]
NUMBERS = [
    "-1",
    "+1",
    "0",
    "1.5",
    "1e9",
    "x",
    "",
    "%00",
    "9" * 25,
    "9" * 5000,
    "18446744073709551615",
    "9223372036854775808",
    "%D9%A3",
]


@often
@given(method=st.sampled_from(METHODS), path=paths)
def test_no_path_and_no_method_leads_to_a_server_error(wire: Wire, method: str, path: str) -> None:
    query = "?timeoutSeconds=1&resourceVersion=0&dryRun=All"  # whatever turns out to be a watch ends, and nothing is deleted
    body = b"{}" if method in ("POST", "PUT", "PATCH", "DELETE") else None
    attack(wire, method, f"{path}{query}".encode(), body, MERGE if method == "PATCH" else JSON)


def documented(wire: Wire) -> list[str]:
    """Every path of discovery and of the OpenAPI documents, for the objects and namespaces that are there and for others."""
    found = list(wire.ask("GET", "/").json()["paths"])
    for document in wire.ask("GET", "/openapi/v3").json()["paths"].values():
        found += wire.ask("GET", document["serverRelativeURL"]).json()["paths"]
    filled = [path.replace("{namespace}", namespace).replace("{name}", "a") for path in found for namespace in ("default", "none")]
    assert f"{WIDGETS}/a/scale" in filled
    return sorted(set(filled))


@pytest.mark.parametrize("method", sorted(set(METHODS)))
def test_every_documented_path_answers_every_method_with_every_body(wire: Wire, method: str) -> None:
    for path in documented(wire):
        for body in (b"{}", b"[[", b'{"kind":1,"metadata":[]}', b"\xff"):
            for headers in (JSON, MERGE):
                attack(wire, method, f"{path}?dryRun=All", body, headers)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/api/v1/../v1/namespaces", id="dots"),
        pytest.param("/api/v1/%2e%2e/v1/namespaces", id="encoded-dots"),
        pytest.param("/api/v1//namespaces", id="empty-segment"),
        pytest.param("//api/v1/namespaces", id="empty-first-segment"),
        pytest.param("/api%2Fv1%2Fnamespaces", id="encoded-slashes"),
        pytest.param("/api/v1/namespaces/default%2Fconfigmaps", id="encoded-slash-in-a-name"),
        pytest.param("/api/v1/namespaces/%ff", id="not-utf-8"),
        pytest.param("/api/v1/namespaces/%00", id="nul"),
        pytest.param("/api/v1/watch/namespaces/default/configmaps/a/status", id="watch-of-a-subresource"),
        pytest.param("/api/v1/watch", id="watch-of-nothing"),
        pytest.param("/" + "a/" * 30_000, id="long"),
    ],
)
def test_a_trick_with_a_path_addresses_nothing(wire: Wire, path: str) -> None:
    assert attack(wire, "GET", path).status == 404


# Query strings


def token(value: Any) -> str:
    """A continue token as somebody makes one up."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


JUNK = st.one_of(
    st.sampled_from(NUMBERS),
    st.text(st.characters(codec="utf-8"), max_size=30).map(quote),
    st.binary(max_size=10).map(quote),
    st.text("%zu0=,!()&a ", max_size=20).map(lambda text: text.replace(" ", "+")),
)
TOKENS = [
    token({"rv": -1, "after": "x"}),
    token({"rv": "1", "after": "x"}),
    token({"rv": 1, "after": None}),
    token({"rv": 1, "after": "\0", "ns": "\U0001f600"}),
    token({"rv": 1, "after": "x", "extra": 1}),
    token({}),
    token([]),
    token(b"\xff\xff"),
    token(b"[" * 5_000),
    token(b'{"rv":1,"after":"\\ud800"}'),
    "=",
    "A" * 50_000,
]
PARAMETERS = [
    *("limit", "timeoutSeconds", "resourceVersion", "resourceVersionMatch", "continue", "labelSelector", "fieldSelector", "watch"),
    *("sendInitialEvents", "allowWatchBookmarks", "dryRun", "fieldManager", "fieldValidation", "force", "pretty", "includeObject"),
    *("propagationPolicy", "orphanDependents", "gracePeriodSeconds", "hash", "exclude", "verbose", ""),
]
queries = st.lists(st.tuples(st.sampled_from(PARAMETERS), JUNK), max_size=5).map(
    lambda pairs: "&".join(["timeoutSeconds=1", *(f"{name}={value}" for name, value in pairs if name != "timeoutSeconds")])
)


@often
@given(
    request=st.sampled_from(
        [
            ("GET", CONFIG_MAPS, None),
            ("GET", f"{WIDGETS}/a", None),
            ("GET", "/apis", None),
            ("GET", "/openapi/v3/api/v1", None),
            ("GET", "/readyz", None),
            ("POST", WIDGETS, b"{}"),
            ("PUT", f"{WIDGETS}/a", b"{}"),
            ("PATCH", f"{WIDGETS}/a", b"{}"),
            ("DELETE", f"{WIDGETS}/none", b""),
        ]
    ),
    query=queries,
)
def test_no_query_string_leads_to_a_server_error(wire: Wire, request: tuple[str, str, bytes | None], query: str) -> None:
    if re.search(r"resourceVersion=\+?[0-9]{2,}", query) or "watch=" in query:
        query = query.replace(
            "resourceVersion=", "x="
        )  # a read of the future waits three seconds, a watch as long as it was asked to
    method, target, body = request
    attack(wire, method, f"{target}?{query}", body, MERGE if method == "PATCH" else JSON)


@pytest.mark.parametrize("number", [number for number in NUMBERS if number not in ("0", "-1", "+1", "", "18446744073709551615")])
@pytest.mark.parametrize("name", ["limit", "timeoutSeconds"])
def test_a_number_that_is_none_is_refused_with_what_was_sent(wire: Wire, name: str, number: str) -> None:
    reply = attack(wire, "GET", f"{CONFIG_MAPS}?{name}={number}")
    assert reply.status == 400
    assert "strconv.ParseInt" in reply.json()["message"]


@pytest.mark.parametrize("version", ["-1", "abc", "1.5", "0x10", "%20", "%D9%A3", "9" * 5_000, "18446744073709551616"])
def test_a_resource_version_that_is_none_is_a_400(wire: Wire, version: str) -> None:
    for target in (CONFIG_MAPS, f"{CONFIG_MAPS}/a"):
        for query in ("", "&watch=1&timeoutSeconds=1", "&resourceVersionMatch=Exact"):
            reply = attack(wire, "GET", f"{target}?resourceVersion={version}{query}")
            assert reply.status == 400 or "watch" in query, reply
            assert b"nvalid" in reply.body or b"out of range" in reply.body


@pytest.mark.parametrize("made_up", TOKENS, ids=range(len(TOKENS)))
def test_a_made_up_continue_token_is_a_400_or_shows_what_may_be_listed_anyway(wire: Wire, made_up: str) -> None:
    reply = attack(wire, "GET", f"{CONFIG_MAPS}?limit=1&continue={quote(made_up)}")
    assert reply.status in (400, 410), reply
    assert reply.status == 410 or "continue" in reply.json()["message"]


@pytest.mark.parametrize(
    "selector", ["a in (b", "!!a", "a=b=c", "a>x", "(" * 5_000, "a notin b", "\0", "a=" + "x" * 64, "a,,b", "="]
)
def test_a_label_selector_that_is_none_is_a_400_that_names_it(wire: Wire, selector: str) -> None:
    reply = attack(wire, "GET", f"{CONFIG_MAPS}?labelSelector={quote(selector)}")
    assert reply.status == 400
    assert attack(wire, "GET", f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1&labelSelector={quote(selector)}").status == 400


@pytest.mark.parametrize("selector", ["a", "metadata.name", "metadata.name=\\", "x.y=1", "=", "metadata.name=a\\b", "\0=\0"])
def test_a_field_selector_that_is_none_is_a_400(wire: Wire, selector: str) -> None:
    assert attack(wire, "GET", f"{CONFIG_MAPS}?fieldSelector={quote(selector)}").status == 400


# Headers


@often
@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["accept", "content-type", "content-encoding", "authorization", "host", "range", "if-none-match", "x-y", "expect"]
        ),
        st.one_of(
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
            st.sampled_from(
                ["application/json", "application/yaml", "*/*;q=nan", ";;=;q=", "application/json;as=Table;g=meta.k8s.io;v=v1"]
            ),
            st.sampled_from(
                ["application/vnd.kubernetes.protobuf", "gzip", "100-continue", "application/apply-patch+yaml", "a/b," * 900]
            ),
        ),
        max_size=4,
    ),
    request=st.sampled_from(
        [("GET", CONFIG_MAPS), ("GET", "/apis"), ("GET", "/openapi/v2"), ("POST", WIDGETS), ("PATCH", f"{WIDGETS}/a")]
    ),
)
def test_no_header_leads_to_a_server_error(wire: Wire, headers: dict[str, str], request: tuple[str, str]) -> None:
    method, target = request
    attack(wire, method, target, None if method == "GET" else b"{}", headers)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param({"accept": "a/b," * 10_000}, 400, id="thousands-of-clauses"),
        pytest.param({"accept": "text/html"}, 406, id="html-wanted"),
        pytest.param({"x-long": "x" * 100_000}, 431, id="long-header"),
        pytest.param({f"x-{n}": "y" for n in range(9_000)}, 431, id="many-headers"),
        pytest.param({"content-encoding": "gzip"}, 415, id="compressed"),
        pytest.param({"content-type": "text/html"}, 415, id="html-sent"),
        pytest.param({"authorization": "Bearer wrong"}, 401, id="wrong-token"),
        pytest.param({"authorization": "Basic YTpi"}, 401, id="password"),
        pytest.param({"content-length": "99999999999999999999999"}, 400, id="length-beyond-64-bits"),
        pytest.param({"content-length": "-1"}, 400, id="negative-length"),
        pytest.param({"content-length": "4000000"}, 413, id="long-body-announced"),
        pytest.param({"expect": "100-continue", "content-length": "4000000"}, 413, id="long-body-asked-for"),
        pytest.param({"transfer-encoding": "gzip"}, 400, id="unknown-coding"),
    ],
)
def test_a_header_that_cannot_be_served_is_refused_with_its_own_code(wire: Wire, headers: dict[str, str], code: int) -> None:
    wire.close()
    reply = attack(wire, "POST", CONFIG_MAPS, b"{}", {**JSON, **headers})
    wire.close()
    assert reply.status == code, reply


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(bytes(range(256)) * 10, id="noise"),
        pytest.param(b"GET /\r\n\r\n", id="no-version"),
        pytest.param(b"GET /healthz HTTP/9.9\r\nhost: x\r\n\r\n", id="no-such-version"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="http-2"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nbad header: x\r\n\r\n", id="space-in-a-name"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nx: a\0b\r\n\r\n", id="nul-in-a-value"),
        pytest.param(b"GET /api/v1/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n", id="bytes-in-a-path"),
        pytest.param(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", id="two-lengths"),
        pytest.param(
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="smuggling"
        ),
        pytest.param(b"POST /api/v1/x/y HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", id="no-chunk-size"),
    ],
)
def test_what_is_not_http_gets_an_answer_and_an_end(wire: Wire, sent: bytes) -> None:
    wire.close()
    wire.send(sent)
    reply = judged(wire.reply())
    wire.close()
    assert reply.status in (400, 401, 404, 505), reply


# Bodies

DEEP = b'{"a":' * 10_000 + b"1" + b"}" * 10_000


def config_map(data: bytes) -> bytes:
    """A ConfigMap with something in its data."""
    return b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"hostile"},"data":' + data + b"}"


def nested_duplicates() -> bytes:
    """A key of a megabyte, and below it thousands of keys that are there twice: each has a path of a megabyte."""
    twice = b",".join(b'"%d":1,"%d":1' % (n, n) for n in range(90_000))
    return config_map(b'{"' + b"k" * 2**20 + b'":{' + twice + b"}}")


BODIES = {
    "nothing": b"",
    "truncated": json.dumps(CONFIG_MAP).encode()[:-5],
    "deep-objects": DEEP,
    "deep-lists": b"[" * 10_000 + b"]" * 10_000,
    "deep-in-data": config_map(DEEP),
    "deep-and-open": b"[" * 1_000_000,
    "flow-yaml-deep": b"{a: " * 10_000,
    "not-a-number": config_map(b'{"a":NaN,"b":.nan}'),
    "infinity": config_map(b'{"a":-Infinity,"b":-.inf}'),
    "huge-integer": config_map(b'{"a":' + b"9" * 1_000_000 + b"}"),
    "huge-float": config_map(b'{"a":1e400}'),
    "lone-surrogate": config_map(b'{"a":"\\ud800"}'),
    "not-utf-8": config_map(b'{"a":"\xff"}'),
    "utf-16": json.dumps(CONFIG_MAP).encode("utf-16"),
    "nul": b"\0",
    "null": b"null",
    "number": b"17",
    "text": b'"text"',
    "list": b"[]",
    "kind-is-a-list": b'{"kind":[],"apiVersion":{}}',
    "many-lists": b"[" + b"[]," * 200_000 + b"[]]",
    "name-with-nul": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a\\u0000b"}}',
    "labels-by-the-thousand": json.dumps(
        {**CONFIG_MAP, "metadata": {"name": "x", "labels": {f"!{n}": "?" for n in range(50_000)}}}
    ).encode(),
    "finalizers-by-the-thousand": json.dumps({**CONFIG_MAP, "metadata": {"name": "x", "finalizers": ["!"] * 100_000}}).encode(),
    "owners-by-the-thousand": json.dumps({**CONFIG_MAP, "metadata": {"name": "x", "ownerReferences": [{}] * 50_000}}).encode(),
    "tags-of-the-wrong-type": json.dumps({**WIDGET, "spec": {"size": 1, "tags": [1] * 300_000}}).encode(),
    "tags-all-the-same": json.dumps({**WIDGET, "spec": {"size": 1, "tags": ["x"] * 300_000}}).encode(),
    "paths-of-a-megabyte": nested_duplicates(),
    "laughs": b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 10)) for n in range(98, 110)),
    "text-by-alias": b'a: &a "' + b"x" * 100_000 + b'"\ndata:\n' + b"".join(b"  k%d: *a\n" % n for n in range(50_000)),
    "key-by-alias": b'a: &a "' + b"x" * 100_000 + b'"\ndata:\n' + b"".join(b"  *a : 1\n" for _ in range(50_000)),
    "python-tag": b"!!python/object/apply:os.system ['true']",
    "own-tag": b"!mine {}",
    "two-documents": b"---\na: 1\n---\nb: 2\n",
    "anchor-in-itself": b"&a [*a]",
    "directives": b"%TAG ! tag:x\n" * 1_000 + b"--- {}",
}
WRITES: list[tuple[str, str, Headers]] = [
    ("POST", CONFIG_MAPS, JSON),
    ("POST", WIDGETS, JSON),
    ("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", YAML),
    ("POST", f"{WIDGETS}?fieldValidation=Strict", YAML),
    ("PUT", f"{CONFIG_MAPS}/a", JSON),
    ("PUT", f"{WIDGETS}/a", YAML),
    ("PUT", f"{WIDGETS}/a/status", JSON),
    ("PUT", f"{WIDGETS}/a/scale", JSON),
    ("PATCH", f"{CONFIG_MAPS}/b", MERGE),
    ("PATCH", f"{WIDGETS}/b", JSON_PATCH),
    ("PATCH", f"{CONFIG_MAPS}/a", JSON_PATCH),
    ("DELETE", f"{CONFIG_MAPS}/b", JSON),
    ("DELETE", f"{WIDGETS}?labelSelector=none", JSON),
]


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused_by_every_write(wire: Wire, name: str) -> None:
    for method, target, headers in WRITES:
        reply = attack(wire, method, target, BODIES[name], headers)
        says_nothing = method == "DELETE" or (headers is JSON_PATCH and name in ("null", "list"))  # no options, no operations
        assert 400 <= reply.status < 500 or says_nothing, (method, target, reply)
        assert len(reply.body) < 2**20, (method, target, len(reply.body))


def test_what_breaks_a_rule_is_named_with_its_place(wire: Wire) -> None:
    reply = wire.post(
        WIDGETS, {**WIDGET, "metadata": {"name": "b"}, "spec": {"size": "x", "color": "pink", "tags": [1], "env": {"k": 2}}}
    )
    assert reply.status == 422
    assert {cause["field"] for cause in reply.json()["details"]["causes"]} == {
        "spec.size",
        "spec.color",
        "spec.tags[0]",
        "spec.env.k",
    }


json_values: SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.sampled_from(["", "a", "True", "2024-01-01T00:00:00Z", "9" * 30, "Widget", "v1"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
METADATA = [
    *(
        "name",
        "namespace",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "labels",
    ),
    *("annotations", "ownerReferences", "finalizers", "managedFields", "selfLink", "deletionGracePeriodSeconds"),
]
PLACES = [
    *([field] for field in ("apiVersion", "kind", "metadata", "spec", "status", "data", "binaryData", "immutable")),
    *(["metadata", field] for field in METADATA),
    *(["metadata", field, inner] for field in ("labels", "annotations") for inner in ("a", "", "A/b", "x" * 70)),
    *(["spec", field] for field in ("size", "color", "replicas", "tags", "env", "notes", "unknown")),
    *(["status", field] for field in ("phase", "ready", "replicas", "selector", "conditions")),
    *(["data", "k"], ["binaryData", "k"], ["spec", "env", "k"], ["dryRun"], ["preconditions"], ["propagationPolicy"]),
]


def placed(document: dict[str, Any], place: list[str], value: Any) -> dict[str, Any]:
    """The document with a value at a place."""
    first, *rest = place
    inner = document.get(first)
    return {**document, first: placed(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


@settings(often, max_examples=500)
@given(write=st.sampled_from(WRITES[:9] + WRITES[11:]), place=st.sampled_from(PLACES), value=json_values)
def test_no_value_of_the_wrong_type_leads_to_a_server_error(
    wire: Wire, write: tuple[str, str, Headers], place: list[str], value: Any
) -> None:
    method, target, headers = write
    document = WIDGET if "widgets" in target else CONFIG_MAP
    body = placed({} if method in ("PATCH", "DELETE") else document, place, value)
    attack(wire, method, target + ("&" if "?" in target else "?") + "dryRun=All", json.dumps(body).encode(), headers)


pointers = st.one_of(
    st.sampled_from(
        ["", "/", "/spec", "/spec/size", "/spec/tags", "/spec/tags/-", "/spec/tags/0", "/metadata", "/metadata/name", "/kind"]
    ),
    st.sampled_from(
        ["/metadata/labels/a~1b", "/a~2", "/metadata/uid", "/status", "/spec/tags/01", "/spec/tags/-1", "x", "/spec/env/k/y"]
    ),
    st.text("/~01a-", max_size=12),
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "replace", "remove", "test", "move", "copy", "x", "", None, 1])},
    optional={"path": st.one_of(pointers, json_values), "from": st.one_of(pointers, json_values), "value": json_values},
)


@settings(often, max_examples=300)
@given(target=st.sampled_from(["", "/status", "/scale"]), patch=st.one_of(st.lists(operations, max_size=6), json_values))
def test_no_json_patch_leads_to_a_server_error(wire: Wire, target: str, patch: Any) -> None:
    attack(wire, "PATCH", f"{WIDGETS}/a{target}?dryRun=All", json.dumps(patch).encode(), JSON_PATCH)


def doubling(times: int) -> list[dict[str, Any]]:
    """Operations each of which makes the object twice as large."""
    seed = {"op": "add", "path": "/spec/env", "value": {"seed": "x" * 1_000}}
    return [seed, *({"op": "copy", "from": "/spec", "path": f"/spec/x{n}"} for n in range(times))]


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        pytest.param([{"op": "test", "path": "/kind", "value": "Widget"}] * 10_001, 413, id="10001-operations"),
        pytest.param(doubling(40), 422, id="doubling-copies"),
        pytest.param([{"op": "add", "path": "/" + "x/" * 5_000, "value": 1}], 422, id="long-pointer"),
        pytest.param([{"op": "replace", "path": "", "value": []}], 422, id="no-object-left"),
        pytest.param([{"op": "move", "from": "/spec", "path": "/spec/x"}], 422, id="into-itself"),
        pytest.param([{"op": "test", "path": "/kind", "value": "Gadget"}], 422, id="failed-test"),
    ],
)
def test_a_json_patch_that_is_too_much_or_does_not_fit_changes_nothing(wire: Wire, patch: Any, code: int) -> None:
    before = wire.ask("GET", f"{WIDGETS}/a").body
    assert attack(wire, "PATCH", f"{WIDGETS}/a", json.dumps(patch).encode(), JSON_PATCH).status == code
    assert wire.ask("GET", f"{WIDGETS}/a").body == before


def test_an_answer_has_no_more_headers_than_clients_take(wire: Wire) -> None:
    # Python's http.client gives up at 100 headers: an object with many unknown fields made the answer unreadable for it.
    spec = {"size": 1, **{f"x{n}": n for n in range(10_000)}}
    reply = attack(
        wire, "POST", f"{WIDGETS}?dryRun=All", json.dumps({**WIDGET, "metadata": {"name": "w"}, "spec": spec}).encode(), JSON
    )
    assert reply.status == 201
    assert "warning" in reply.headers


def test_a_page_that_does_not_end_with_its_request_is_still_answered(wire: Wire) -> None:
    """Requests behind each other on one connection are answered one by one."""
    wire.close()
    wire.send(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" * 300)
    assert [wire.reply().status for _ in range(300)] == [200] * 300


def test_a_place_is_what_the_wire_needs(server: Running) -> None:
    place = place_of(server.url, server.ca, server.token)
    assert place == Place("127.0.0.1", server.port, server.ca, server.token)
