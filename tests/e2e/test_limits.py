"""Bounds: what is too slow, too large, too many or never ends costs whoever sends it, and nobody else.

Also here: small bodies that would become large ones (aliases, paths), since what bounds them is a limit.
"""

from __future__ import annotations

import json
import re
import resource
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.wire import Place, Reply, Wire, place_of, request
from tests.servers import REFERENCE, Running, running

WIDGETS = "/apis/reference.example.com/v1/namespaces/default/widgets"
WIDGET: dict[str, Any] = {
    "apiVersion": "reference.example.com/v1",
    "kind": "Widget",
    "metadata": {"name": "a"},
    "spec": {"size": 1},
}
JSON = {"content-type": "application/json"}
YAML = {"content-type": "application/yaml"}
MIB = 2**20


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server that waits half a second for a request to be complete."""
    with running((REFERENCE,), "--set", "limits.request_seconds=0.5") as server:
        yield server
        assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def place(server: Running) -> Place:
    return place_of(server.url, server.ca, server.token)


@pytest.fixture
def wire(place: Place) -> Iterator[Wire]:
    with Wire(place) as wire:
        assert wire.ask("GET", "/readyz").status == 200
        yield wire


def status_of(reply: Reply) -> tuple[int, str]:
    """Code and reason of a refusal, which is a Status with a message."""
    status = reply.json()
    assert status["kind"] == "Status"
    assert status["message"]
    assert status["code"] == reply.status
    return reply.status, status["reason"]


def drip(wire: Wire, piece: bytes) -> bytes:
    """Sends a piece whenever nothing comes back for a moment, until the server answers or ends the connection; what it answered."""
    wire.socket.settimeout(0.1)
    for _ in range(600):
        try:
            wire.socket.sendall(piece)
            answer = wire.socket.recv(65_536)
        except TimeoutError:
            continue
        except (ssl.SSLError, OSError):
            return b""
        return answer
    pytest.fail("the server goes on waiting")


@pytest.mark.parametrize("begun", [b"GET /livez HTTP/1.1\r\nhost: x\r\n", b"GET /liv", b""], ids=["headers", "line", "nothing"])
def test_a_head_that_comes_drop_by_drop_is_not_waited_for(place: Place, wire: Wire, begun: bytes) -> None:
    with Wire(place) as slow:
        slow.send(begun)
        assert drip(slow, b"x: y\r\n" if begun.endswith(b"\n") else b"z" if begun else b"") == b""
    assert wire.ask("GET", "/readyz").status == 200


def test_a_body_that_comes_drop_by_drop_is_answered_with_408(place: Place, wire: Wire) -> None:
    for framing in ({"content-length": "1000000"}, {"transfer-encoding": "chunked"}):
        with Wire(place) as slow:
            slow.send(request(place, "POST", WIDGETS, b"", {**JSON, **framing}))
            answer = drip(slow, b" " if "content-length" in framing else b"1\r\n \r\n")
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"connection: close" in answer
            assert b'"kind":"Status"' in answer
    assert wire.ask("GET", "/readyz").status == 200


def test_connections_that_do_nothing_and_handshakes_that_do_not_end_are_in_nobodys_way(place: Place, wire: Wire) -> None:
    context = place.context()
    with ExitStack() as stack:
        for number in range(300):
            connection = stack.enter_context(place.socket())
            if number % 3 == 0:
                connection.sendall(b"\x16\x03\x01\x02\x00")  # the begin of a ClientHello
            elif number % 3 == 1:
                stack.enter_context(context.wrap_socket(connection, server_hostname=place.host))
        for _ in range(20):
            assert wire.ask("GET", WIDGETS).status == 200
        with Wire(place) as newcomer:
            assert newcomer.ask("GET", "/readyz").status == 200


def test_a_server_that_has_no_more_file_descriptors_goes_on_when_it_has() -> None:
    with running() as server, Wire(place := place_of(server.url, server.ca, server.token)) as wire:
        assert wire.ask("GET", "/readyz").status == 200
        used = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        resource.prlimit(
            server.process.pid, resource.RLIMIT_NOFILE, (used + 20, resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[1])
        )
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(place.socket())
            assert wire.ask("GET", "/livez").status == 200, "who is there is served"
            assert wire.post(WIDGETS, WIDGET).status == 201
        assert served(place, f"{WIDGETS}/a").status == 200


def served(place: Place, target: str) -> Reply:
    """The answer on a new connection; those that are refused while the server has no room for them are tried again."""
    while True:
        with Wire(place) as newcomer, suppress(ConnectionResetError, ssl.SSLError):
            return newcomer.ask("GET", target)


def test_a_server_takes_as_many_connections_as_the_system_lets_it() -> None:
    """The usual limit of 1,024 files is for programs that use select(2): a thousand watchers are more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with running() as server:
            assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("how", ["length", "chunks", "expect"])
def test_a_body_over_the_limit_is_refused_in_words_although_its_sender_goes_on(place: Place, wire: Wire, how: str) -> None:
    body = json.dumps({**WIDGET, "metadata": {"name": "big", "annotations": {"a": "x" * 20 * MIB}}}).encode()
    headers: dict[str, str] = {**JSON, **({"transfer-encoding": "chunked"} if how == "chunks" else {})}
    headers |= {"expect": "100-continue"} if how == "expect" else {}
    sent = b"".join(b"10000\r\n%b\r\n" % body[at : at + 65_536] for at in range(0, 20 * MIB, 65_536)) if how == "chunks" else body
    with Wire(place) as own, ThreadPoolExecutor(1) as pool:
        whole = request(
            place,
            "POST",
            WIDGETS,
            b"" if how == "expect" else sent,
            {**headers, **({} if how == "chunks" else {"content-length": str(len(body))})},
        )
        _ = own.socket
        pool.submit(own.send, whole)
        reply = own.reply("POST")
        assert status_of(reply) == (413, "RequestEntityTooLarge")
        assert reply.json()["message"].endswith(f"limit is {3 * MIB}")
    assert wire.ask("GET", f"{WIDGETS}/big").status == 404


def test_the_largest_body_that_is_allowed_is_taken(wire: Wire) -> None:
    document = {**WIDGET, "metadata": {"name": "largest"}, "spec": {"size": 1, "env": {"k": ""}}}
    document["spec"]["env"]["k"] = "x" * (3 * MIB - len(json.dumps(document)))
    body = json.dumps(document).encode()
    assert len(body) == 3 * MIB
    assert wire.ask("POST", WIDGETS, body, JSON).status == 201
    assert status_of(wire.ask("POST", WIDGETS, body + b" ", JSON)) == (413, "RequestEntityTooLarge")
    assert wire.ask("DELETE", f"{WIDGETS}/largest").status == 200


def test_an_object_cannot_be_patched_beyond_all_bounds(wire: Wire) -> None:
    # etcd refuses requests of more than 1.5 MiB; where nothing does, patch after patch makes an object that nobody can list.
    assert wire.post(WIDGETS, {**WIDGET, "metadata": {"name": "grows"}}).status == 201
    target = f"{WIDGETS}/grows"
    replies = [wire.merge(target, {"spec": {"env": {f"k{number}": "x" * (2 * MIB)}}}) for number in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 413, 413]
    assert status_of(replies[-1]) == (413, "RequestEntityTooLarge")
    assert wire.ask("GET", target).json()["spec"]["env"].keys() == {"k0", "k1"}
    assert wire.merge(target, {"spec": {"env": {"k0": None}}}).status == 200
    assert wire.ask("DELETE", target).status == 200


def test_a_head_over_the_limit_is_refused_in_words(place: Place) -> None:
    for target, headers in (
        (f"/{'a' * 70_000}", {}),
        ("/livez", {"x": "y" * 70_000}),
        ("/livez", {f"x-{n}": "y" * 90 for n in range(700)}),
    ):
        with Wire(place) as own:
            assert status_of(own.ask("GET", target, None, headers)) == (431, "RequestHeaderFieldsTooLarge")
    with Wire(place) as own:
        assert own.ask("GET", "/livez", None, {"x": "y" * 60_000}).status == 200


@pytest.mark.parametrize("depth", [100, 10_000])
@pytest.mark.parametrize("kind", [JSON, YAML, {"content-type": "application/merge-patch+json"}], ids=["json", "yaml", "merge"])
def test_nesting_is_bounded_and_the_bound_is_said(wire: Wire, kind: dict[str, str], depth: int) -> None:
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    body = (
        b'{"apiVersion":"reference.example.com/v1","kind":"Widget","metadata":{"name":"%s"},"spec":{"size":1},"x":' + nested + b"}"
    )
    wire.post(WIDGETS, WIDGET)
    method, target, name = ("PATCH", f"{WIDGETS}/a", b"a") if "merge" in str(kind) else ("POST", WIDGETS, b"deep")
    body = body.replace(b"%s", name)
    reply = wire.ask(method, f"{target}?dryRun=All", body, kind)
    if depth == 100:
        assert reply.status in (200, 201)
    else:
        assert status_of(reply) == (400, "BadRequest")
        assert "depth" in reply.json()["message"]


def test_a_text_that_many_aliases_stand_for_is_not_written_a_million_times(wire: Wire) -> None:
    # 3 MB of YAML would have been 150 GB of JSON.
    head = b'apiVersion: reference.example.com/v1\nkind: Widget\nmetadata: {name: b}\nspec:\n  size: 1\n  notes: &a "'
    many = head + b"x" * MIB + b'"\n  env:\n' + b"".join(b"    k%d: *a\n" % number for number in range(100_000))
    keys = head + b"x" * MIB + b'"\n  env:\n' + b"".join(b"    *a : v\n" for _ in range(100_000))
    for body in (many, keys):
        assert status_of(reply := wire.ask("POST", WIDGETS, body, YAML)) == (400, "BadRequest")
        assert "excessive aliasing" in reply.json()["message"]
    few = head + b"x" * 60 + b'"\n  env:\n' + b"".join(b"    k%d: *a\n" % number for number in range(100))
    reply = wire.ask("POST", f"{WIDGETS}?dryRun=All", few, YAML)
    assert reply.status == 201
    assert reply.json()["spec"]["env"]["k99"] == "x" * 60


@pytest.mark.parametrize("strict", ["Strict", "Warn"])
def test_what_is_wrong_with_a_body_is_not_a_hundred_times_as_long_as_it(server: Running, wire: Wire, strict: str) -> None:
    # A path says again what the keys above it are called: 90,000 keys, each there twice, below a key of a megabyte were 90 GB.
    twice = ",".join(f'"{number}":1,"{number}":1' for number in range(90_000))
    begin = json.dumps({**WIDGET, "metadata": {"name": "d"}}).removesuffix("}}")
    long = f'{begin}, "{"k" * MIB}":{{{twice}}}}}}}'
    wrong = {**WIDGET, "spec": {"size": 1, "tags": [1] * 500_000}}
    unknown = {**WIDGET, "metadata": {"name": "u"}, "spec": {"size": 1, **{f"x{number}": 1 for number in range(100_000)}}}
    before = peak(server)
    for body in (long, json.dumps(wrong), json.dumps(unknown)):
        reply = wire.ask("POST", f"{WIDGETS}?dryRun=All&fieldValidation={strict}", body.encode(), JSON)
        assert reply.status in (201, 400, 422)
        assert len(reply.body) < 4 * MIB
    assert peak(server) - before < 200 * 1024


def peak(server: Running) -> int:
    """Its greatest resident size so far, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def test_clients_that_go_away_in_the_middle_of_anything_leave_no_trace_but_their_requests(
    server: Running, place: Place, wire: Wire
) -> None:
    for number in range(20):
        document = {**WIDGET, "metadata": {"name": f"gone{number}"}, "spec": {"size": 1, "env": {"k": "x" * 200_000}}}
        assert wire.post(WIDGETS, document).status in (201, 409)
    create = request(place, "POST", WIDGETS, json.dumps({**WIDGET, "metadata": {"name": "half"}}).encode(), JSON)
    for sent in (b"GET", create[:-10], create[:60], request(place, "GET", WIDGETS), request(place, "GET", f"{WIDGETS}?watch=1")):
        for _ in range(10):
            with Wire(place) as own:
                own.send(sent)
    assert wire.ask("GET", f"{WIDGETS}/half").status == 404, "half a create creates nothing"
    for number in range(20):
        assert wire.ask("DELETE", f"{WIDGETS}/gone{number}").status == 200
    assert '"level": "error"' not in server.log
