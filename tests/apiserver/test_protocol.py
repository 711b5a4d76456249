"""HTTP/1.1 on real connections: bounds on heads, trailers and time, requests in a row, and bytes that stay in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
import uvicorn
from anyio.abc import ByteStream
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from apiserver.protocol import COMPLETE, CONNECTION, LONG, Joined, bounded

pytestmark = pytest.mark.anyio

LIMIT = 2_000
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


REFUSED = [(b"content-length", b"2"), (b"connection", b"close")]


class App:
    """Answers with what it was sent: method, path, number of headers, body.

    `/hold` waits for its gate before it answers; `/refuse` reads no body, and closes.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.seen: list[tuple[str, str, bytes]] = []
        self.complete: list[bool] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.complete.append(COMPLETE in scope)
        if scope["path"] == "/stream":
            await self.stream(scope, send)
            return
        if scope["path"] == "/refuse":
            await send({"type": "http.response.start", "status": 413, "headers": REFUSED})
            await send({"type": "http.response.body", "body": b"no"})
            return
        body = b""
        if scope["path"] != "/unread":
            message: dict[str, Any] = {"more_body": True}
            while message.get("more_body"):
                message = await receive()
                body += message.get("body", b"")
        self.seen.append((scope["method"], scope["path"], body))
        if scope["path"] == "/hold":
            await self.gate.wait()
        answer = f"{scope['method']} {scope['path']} ".encode() + body
        headers = [(b"content-length", str(len(answer)).encode()), (b"x-head", b"yes")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer})

    async def stream(self, scope: dict[str, Any], send: Send) -> None:
        """Sends pieces by the two ways that there are, in turn."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        push = scope[CONNECTION].pusher(scope)
        for n in range(50):
            piece = f"{n},".encode()
            if n % 3 or not push(piece):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def connected(app: App, *, seconds: float = 30.0) -> AsyncIterator[ByteStream]:
    """A connection to a server of its own."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, server_header=False, date_header=False)
    state, protocol = ServerState(), bounded(LIMIT, seconds)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            yield stream
            app.gate.set()
        while state.connections:
            await anyio.lowlevel.checkpoint()


async def answers(stream: ByteStream, count: int) -> list[bytes]:
    """The bodies of so many answers with a length, from one connection."""
    found: list[bytes] = []
    rest = b""
    while len(found) < count:
        head, separator, after = rest.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        if separator and len(after) >= length:
            found.append(after[:length])
            rest = after[length:]
            continue
        rest += await stream.receive()
    assert rest == b""
    return found


async def everything(stream: ByteStream) -> bytes:
    """What comes until the server ends the connection."""
    found = b""
    try:
        while True:
            found += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return found


async def refusal(stream: ByteStream) -> bytes:
    """The answer to what is refused. The connection does not end with it while the rest of the request is to come."""
    found = b""
    while True:
        head, separator, body = found.partition(b"\r\n\r\n")
        if separator and len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return found
        found += await stream.receive()


async def send_all(stream: ByteStream, pieces: Iterable[bytes]) -> None:
    """Sends piece by piece, until the server hears no more."""
    try:
        for piece in pieces:
            await stream.send(piece)
            await anyio.lowlevel.checkpoint()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


def request(method: str = "GET", path: str = "/", body: bytes = b"", *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: here", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def status(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    decoded: dict[str, Any] = msgspec.json.decode(body)
    return {**decoded, "line": head.split(b"\r\n")[0]}


# Heads


@pytest.mark.parametrize("size", [1, 7, 10_000], ids=["bytes", "pieces", "whole"])
@pytest.mark.parametrize("what", ["header", "headers", "path"])
async def test_a_head_over_the_limit_is_refused_in_one_piece_and_in_many(what: str, size: int) -> None:
    filler = {
        "header": request("GET", "/", b"", f"x: {'a' * LIMIT}"),
        "headers": request("GET", "/", b"", *(f"x-{n}: {'a' * 10}" for n in range(200))),
        "path": request("GET", "/" + "a" * LIMIT),
    }[what]
    app = App()
    async with connected(app) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, stream, [filler[n : n + size] for n in range(0, len(filler), size)])
        refused = status(await refusal(stream))
        tasks.cancel_scope.cancel()
    assert refused["line"] == b"HTTP/1.1 431 Request Header Fields Too Large"
    assert (refused["kind"], refused["code"], refused["reason"]) == ("Status", 431, "RequestHeaderFieldsTooLarge")
    assert app.seen == []


async def test_a_head_that_never_ends_is_refused_at_the_limit() -> None:
    async with connected(App()) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, stream, [b"GET / HTTP/1.1\r\nx: ", *([b"a" * 100] * 1_000)])
        assert status(await refusal(stream))["code"] == 431
        tasks.cancel_scope.cancel()


async def test_a_head_below_the_limit_is_taken_however_it_comes() -> None:
    head = request("GET", "/a", b"", f"x: {'a' * (LIMIT - 100)}")
    async with connected(App()) as stream:
        for size in (len(head), 100, 1):
            for n in range(0, len(head), size):
                await stream.send(head[n : n + size])
            assert await answers(stream, 1) == [b"GET /a "]


async def test_a_large_body_is_no_large_head() -> None:
    body = b"b" * 10 * LIMIT
    async with connected(App()) as stream:
        for _ in range(2):
            await stream.send(request("POST", "/", body))
            assert await answers(stream, 1) == [b"POST / " + body]


@pytest.mark.parametrize("begin", [b"", b"G", b"GET / HTTP/1.1\r\nhost:"])
async def test_a_head_that_does_not_come_in_time_ends_the_connection(begin: bytes) -> None:
    async with connected(App(), seconds=0.05) as stream:
        if begin:
            await stream.send(begin)
        assert await everything(stream) == b""


async def test_a_head_cannot_be_drawn_out_by_sending_a_little_of_it_again_and_again() -> None:
    async def drip(stream: ByteStream) -> None:
        await send_all(stream, [b"GET / HTTP/1.1\r\n"])
        while True:
            await send_all(stream, [b"x: y\r\n"])
            await anyio.sleep(0.005)

    async with connected(App(), seconds=0.1) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(drip, stream)
        assert await everything(stream) == b""
        tasks.cancel_scope.cancel()


async def test_the_time_for_a_head_is_over_when_it_has_come() -> None:
    app = App()
    async with connected(app, seconds=0.05) as stream:
        await stream.send(request("GET", "/hold"))
        await anyio.sleep(0.15)
        app.gate.set()
        assert await answers(stream, 1) == [b"GET /hold "]


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01 TLS?\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"])
async def test_what_is_no_http_is_refused_as_a_status(garbage: bytes) -> None:
    async with connected(App()) as stream:
        await stream.send(garbage)
        refused = status(await refusal(stream))
    assert (refused["code"], refused["reason"], refused["kind"]) == (400, "BadRequest", "Status")


# Requests in a row


async def test_requests_that_come_together_are_answered_in_order() -> None:
    async with connected(App()) as stream:
        await stream.send(b"".join(request("POST", f"/{n}", f"body {n}".encode()) for n in range(10)))
        assert await answers(stream, 10) == [f"POST /{n} body {n}".encode() for n in range(10)]


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_requests_may_be_cut_anywhere(size: int) -> None:
    data = b"".join(request("POST", f"/{n}", b"b" * n) for n in range(5))
    async with connected(App()) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, stream, [data[n : n + size] for n in range(0, len(data), size)])
        assert await answers(stream, 5) == [f"POST /{n} ".encode() + b"b" * n for n in range(5)]


async def test_a_refusal_is_not_taken_for_the_answer_to_the_request_before() -> None:
    app = App()
    async with connected(app) as stream:
        await stream.send(request("POST", "/hold", b"first"))
        while not app.seen:
            await anyio.lowlevel.checkpoint()
        await send_all(stream, [request("POST", "/", b"second", f"x: {'a' * LIMIT}"), request("POST", "/", b"third")])
        assert await everything(stream) == b""
    assert app.seen == [("POST", "/hold", b"first")]


async def test_nothing_that_follows_a_refusal_is_carried_out() -> None:
    app = App()
    async with connected(app) as stream:
        await stream.send(request("GET", "/first"))
        assert await answers(stream, 1) == [b"GET /first "]
        await stream.send(request("POST", "/", b"second", f"x: {'a' * LIMIT}") + request("POST", "/", b"third"))
        assert status(await refusal(stream))["code"] == 431
    assert [path for _, path, _ in app.seen] == ["/first"]


BIG = 4 * 1024 * 1024


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        (f"POST /refuse HTTP/1.1\r\nhost: here\r\ncontent-length: {BIG}\r\n\r\n", b"b" * BIG),
        ("GET / HTTP/1.1\r\nno header\r\n", b"x: y\r\n" * (BIG // 6)),
        (f"GET / HTTP/1.1\r\nx: {'a' * LIMIT}", b"a" * BIG),
    ],
    ids=["body", "no HTTP", "head"],
)
async def test_who_sends_on_before_it_reads_still_gets_the_answer(begin: str, rest: bytes) -> None:
    # RFC 9112, section 9.6: bytes that reach a closed socket make the client's system forget what it has not read yet.
    async with connected(App()) as stream:
        await stream.send(begin.encode())
        await stream.send(rest)
        assert b"connection: close" in await refusal(stream)


async def test_who_never_stops_sending_is_not_heard_for_ever() -> None:
    async with connected(App(), seconds=1.0) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, stream, [f"POST /refuse HTTP/1.1\r\ncontent-length: {BIG}\r\n\r\n".encode(), *[b"b"] * BIG])
        assert b"connection: close" in await everything(stream)
        tasks.cancel_scope.cancel()


async def test_what_follows_a_refused_body_is_not_carried_out() -> None:
    app = App()
    async with connected(app) as stream:
        await stream.send(b"POST /refuse HTTP/1.1\r\ncontent-length: 4\r\n\r\nbo")
        answer = await stream.receive()
        await stream.send(b"dy" + request("POST", "/second"))
        await stream.send_eof()
        assert (answer + await everything(stream)).count(b"HTTP/1.1") == 1
    assert app.seen == []


async def test_head_is_answered_by_a_head_alone() -> None:
    async with connected(App()) as stream:
        await stream.send(request("HEAD", "/a") + request("GET", "/b"))
        found = b""
        while not found.endswith(b"GET /b "):
            found += await stream.receive()
    first, second, body = found.split(b"\r\n\r\n")
    assert b"content-length: 8" in first
    assert (second.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b"GET /b ")


async def test_a_client_that_asks_first_is_told_to_continue() -> None:
    async with connected(App()) as stream:
        await stream.send(request("POST", "/", b"", "expect: 100-continue", "content-length: 4"))
        assert await stream.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send(b"body")
        assert await answers(stream, 1) == [b"POST / body"]


async def test_a_connection_that_is_to_be_closed_is_closed_after_the_answer() -> None:
    async with connected(App()) as stream:
        await stream.send(request("GET", "/", b"", "connection: close"))
        assert (await everything(stream)).endswith(b"GET / ")


# Bodies in chunks

CHUNKED = request("POST", "/", b"", "transfer-encoding: chunked")


@pytest.mark.parametrize("size", [1, 5, 1_000])
async def test_a_body_in_chunks_is_put_together(size: int) -> None:
    data = CHUNKED + b"4\r\nbody\r\n5;extension=x\r\n more\r\n0\r\ntrailer: x\r\n\r\n"
    async with connected(App()) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, stream, [data[n : n + size] for n in range(0, len(data), size)])
        assert await answers(stream, 1) == [b"POST / body more"]


async def test_a_body_in_many_small_chunks_is_no_large_head() -> None:
    async with connected(App()) as stream:
        await stream.send(CHUNKED)
        await send_all(stream, [b"1\r\nb\r\n" * 100] * 10)
        await stream.send(b"0\r\n\r\n")
        assert await answers(stream, 1) == [b"POST / " + b"b" * 1_000]


@pytest.mark.parametrize("endless", [b"x: y\r\n" * 20, b"a" * 100], ids=["trailers", "one trailer"])
async def test_trailers_are_bounded_like_heads(endless: bytes) -> None:
    app = App()
    begin = CHUNKED + b"4\r\nbody\r\n0\r\n" + (b"" if b":" in endless else b"x: ")
    async with connected(app) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, stream, [begin, *([endless] * 1_000)])
        assert status(await refusal(stream))["code"] == 431
        tasks.cancel_scope.cancel()


async def test_trailers_of_a_request_that_is_answered_already_are_bounded_too() -> None:
    async with connected(App()) as stream:
        await stream.send(CHUNKED.replace(b"POST /", b"POST /unread") + b"0\r\n")
        assert await answers(stream, 1) == [b"POST /unread "]
        await send_all(stream, [b"x: y\r\n" * 20] * 1_000)
        assert await everything(stream) == b""


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"4\r\nbodyX\r\n", b"-1\r\n"])
async def test_a_chunk_that_cannot_be_read_is_refused(chunk: bytes) -> None:
    async with connected(App()) as stream:
        await stream.send(CHUNKED + chunk)
        assert status(await refusal(stream))["code"] == 400


async def test_the_application_knows_whether_a_body_is_here_already() -> None:
    app = App()
    async with connected(app) as stream:
        await stream.send(request("POST", "/", b"body"))
        await answers(stream, 1)
        await stream.send(request("POST", "/", b"body")[:-1])
        while len(app.complete) < 2:
            await anyio.lowlevel.checkpoint()
        await stream.send(b"y")
        await answers(stream, 1)
    assert app.complete == [True, False]


# Streams


async def test_pieces_that_are_pushed_and_pieces_that_are_sent_come_in_order() -> None:
    async with connected(App()) as stream:
        await stream.send(request("GET", "/stream", b"", "connection: close"))
        _, _, body = (await everything(stream)).partition(b"\r\n\r\n")
    pieces = body.split(b"\r\n")
    assert b"".join(pieces[1::2]) == b"".join(f"{n},".encode() for n in range(50))


class Transport:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        assert data
        self.written += data
        self.writes += 1

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
data = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [HEAD, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 ", b"HTTP/1.1 404 Not Found\r\n\r\n", b"b" * (LONG + 1), b""]
    ),
)


@given(st.lists(st.one_of(data, st.just("flush"))), st.booleans())
def test_whatever_is_written_goes_out_whole_and_in_order(steps: list[bytes | str], flushed: bool) -> None:
    transport = Transport()
    joined = Joined(transport, lambda: None)  # type: ignore[arg-type]
    expected = b""
    for step in steps:
        if isinstance(step, bytes):
            joined.write(step)
            expected += step
        else:
            joined.flush()
            assert transport.written == expected
        assert expected.startswith(transport.written)
        assert joined.holds == (transport.written != expected)
    if flushed:
        joined.flush()
        assert transport.written == expected
    joined.close()
    assert transport.written == expected
    assert joined.is_closing()
    assert not transport.closed, "when it ends is for others to decide"
    joined.close()
    assert transport.closed


def test_a_head_goes_out_with_the_first_piece_of_its_body() -> None:
    transport = Transport()
    joined = Joined(transport, lambda: None)  # type: ignore[arg-type]
    joined.write(HEAD)
    assert (transport.writes, joined.holds) == (0, True)
    joined.write(b"body")
    assert (transport.writes, transport.written) == (1, HEAD + b"body")
    joined.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (transport.writes, joined.holds) == (2, False)
    assert joined.get_extra_info("peer") == "the peer"
