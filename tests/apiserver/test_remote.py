"""The way to a server elsewhere: connections that die, answers that are none, kinds that are not there. All on real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from actors.actor import Again, from_declaration
from actors.cache import Cache
from actors.client import Client
from actors.clock import SystemClock
from actors.door import Query, TypedClient
from actors.feed import follow
from actors.recorder import EventRecorder
from actors.runner import Environment, Runner
from apiserver import remote, remote_watch
from apiserver.config import Address
from apiserver.kubeconfig_read import Credentials
from apiserver.listening import http_config, serving
from apiserver.remote import Api, RemoteDoor, RemoteEvents, open_api
from apiserver.remote_watch import RemoteSource, Streams
from apiserver.sections import Limits
from apiserver.sockets import bind
from registry import errors
from registry.builtin import KINDS
from registry.catalog import Registry
from registry.declarations import ActorDeclaration, Place
from registry.errors import ApiError, Cause, ExpiredError, Invalid, NotFound, ServiceUnavailable, Timeout, Unauthorized, from_status
from registry.plugin import Plugin, build
from registry.resource import Resource, Spec, Status
from tests.actors.world import Lines
from tests.apiserver.served import TOKEN, Served, certificate, served
from tests.apiserver.world import NAMESPACES, OWNER, TRINKETS, Trinket, World, opened

pytestmark = pytest.mark.anyio

A = Place("shop", "a")
ME = OWNER.username
Send = Callable[[dict[str, Any]], Awaitable[None]]


@pytest.fixture
async def server(world: World, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(world, tmp_path) as made:
        yield made


@pytest.fixture
async def api(server: Served) -> AsyncIterator[Api]:
    async with open_api(server.credentials, "test") as made:
        yield made.acting_as(ME)


def door(api: Api, registry: Registry) -> RemoteDoor:
    return RemoteDoor(api, registry, Streams().watch)


class Proxy:
    """Forwards bytes. It can fall silent on the connections that it has, without closing them, and cut them off."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._generation = 0
        self._deaf_before = 0
        self.cut_next = False
        self.connections = 0

    def fall_silent(self) -> None:
        """Nothing comes through on the connections there are, in either direction. New ones work."""
        self._generation += 1
        self._deaf_before = self._generation

    async def handle(self, client: anyio.abc.ByteStream) -> None:
        generation = self._generation
        self.connections += 1
        async with client, await anyio.connect_tcp("127.0.0.1", self._port) as upstream, anyio.create_task_group() as tasks:

            async def pump(source: anyio.abc.ByteStream, sink: anyio.abc.ByteStream, *, sends: bool) -> None:
                try:
                    async for data in source:
                        if generation < self._deaf_before:
                            continue
                        if sends and self.cut_next:
                            self.cut_next = False
                            break
                        await sink.send(data)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(lambda: pump(client, upstream, sends=True))
            tasks.start_soon(lambda: pump(upstream, client, sends=False))


@asynccontextmanager
async def proxied(credentials: Credentials) -> AsyncIterator[tuple[Proxy, Credentials]]:
    proxy = Proxy(int(credentials.server.rpartition(":")[2]))
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, proxy.handle)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield proxy, Credentials(server=f"https://127.0.0.1:{port}", context=credentials.context, token=credentials.token)
        tasks.cancel_scope.cancel()


# Watches


async def test_a_connection_that_falls_silent_without_closing_is_noticed_and_nothing_is_missed(
    world: World, server: Served
) -> None:
    cache, log = Cache(), Lines()
    arrived = anyio.Event()

    async def watch(source: RemoteSource) -> None:
        async for _ in follow(source, Trinket, cache, SystemClock(), Random(1), log):
            if Place("shop", "b") in list(cache):
                arrived.set()

    async with (
        proxied(server.credentials) as (proxy, credentials),
        open_api(credentials, "test") as api,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(watch, RemoteSource(api, world.registry, Streams(2, grace=0.5)))
        await world.make(TRINKETS, "a", spec={})
        while A not in list(cache):
            await anyio.sleep(0.01)
        proxy.fall_silent()
        await world.make(TRINKETS, "b", spec={})
        await arrived.wait()
        tasks.cancel_scope.cancel()
    assert proxy.connections >= 2
    assert sorted(cache) == [A, Place("shop", "b")]


async def test_a_server_that_never_says_anything_is_a_timeout_for_whoever_watches(world: World, server: Served) -> None:
    async with proxied(server.credentials) as (proxy, credentials), open_api(credentials, "test") as api:
        source = RemoteSource(api, world.registry, Streams(1, grace=0.2))
        proxy.fall_silent()
        proxy._generation = 0
        with pytest.raises(Timeout):
            await anext(source.watch(Trinket, world.store.revision))


async def test_a_quiet_watch_goes_on_from_its_bookmarks_and_is_not_expired_by_what_happened_to_others(
    world: World, server: Served, api: Api
) -> None:
    source = RemoteSource(api, world.registry, Streams(1))
    after = world.store.revision
    seen: list[str] = []

    async def watch() -> None:
        async with aclosing(source.watch(Trinket, after)) as batches:
            async for batch in batches:
                seen.extend(change.held.place.name for change in batch)
                if "late" in seen:
                    return

    def watches() -> int:
        return sum(verb == "watch" for _, verb, _, _ in server.requests)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        for n in range(3):
            await world.make(NAMESPACES, f"other-{n}")
        while watches() < 3:
            await anyio.sleep(0.01)
        await world.store.compact(0.0, max_age=float("inf"), max_count=0)
        begun = watches()
        while watches() < begun + 1:
            await anyio.sleep(0.01)
        await world.make(TRINKETS, "late", spec={})
    assert seen == ["late"]
    with pytest.raises(ExpiredError):  # who has seen no bookmark
        await anext(RemoteSource(api, world.registry, Streams(1)).watch(Trinket, after))


async def test_a_watch_that_is_left_closes_its_stream(world: World, server: Served, api: Api) -> None:
    await world.make(TRINKETS, "a", spec={})
    async with aclosing(door(api, world.registry).watch(Trinket, None, Query(), 1)) as batches:
        await anext(batches)
        assert server.app.watchers == 1
    while server.app.watchers:
        await anyio.sleep(0.01)


# Calls


async def test_a_read_that_got_no_answer_is_asked_again_and_a_write_is_not(world: World, server: Served) -> None:
    async with proxied(server.credentials) as (proxy, credentials), open_api(credentials, "test") as api:
        made = door(api.acting_as(ME), world.registry)
        await made.create(Trinket, "shop", {"metadata": {"name": "a"}, "spec": {}})
        proxy.cut_next = True
        assert (await made.get(Trinket, A))["metadata"]["name"] == "a"
        proxy.cut_next = True
        before = world.store.revision
        with pytest.raises(ServiceUnavailable, match=r"PATCH https://127\.0\.0\.1:\d+/apis/trinkets\.example/v1/"):
            await made.patch(Trinket, A, {"spec": {"size": 3}}, "")
        assert world.store.revision == before


async def test_a_server_that_is_not_there_is_named_and_the_token_is_not(server: Served) -> None:
    gone, address = bind(Address("127.0.0.1", 0))
    gone.close()
    credentials = Credentials(server=f"https://{address}", context=server.credentials.context, token=TOKEN)
    async with open_api(credentials, "test") as api:
        with pytest.raises(ServiceUnavailable) as refused:
            await api.get("/version")
    assert str(address) in refused.value.message
    assert TOKEN not in refused.value.message
    assert TOKEN not in repr(credentials)


async def test_a_certificate_that_is_not_trusted_is_refused_before_the_token_is_sent(server: Served) -> None:
    stranger = Credentials(server=server.credentials.server, context=ssl.create_default_context(), token=TOKEN)
    async with open_api(stranger, "test") as api:
        with pytest.raises(ServiceUnavailable, match="certificate"):
            await api.get("/version")
    assert server.requests == []


async def test_a_credential_that_does_not_hold_is_unauthorized_and_a_token_in_a_file_is_read_anew(
    server: Served, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("wrong")
    context = server.credentials.context
    async with open_api(Credentials(server.credentials.server, context, token_file=file), "test") as api:
        with pytest.raises(Unauthorized):
            await api.get("/api/v1/namespaces")
        file.write_text(f"{TOKEN}\n")
        assert (await api.get("/api/v1/namespaces"))["kind"] == "NamespaceList"
        file.unlink()
        with pytest.raises(ServiceUnavailable, match="cannot be read"):
            await api.get("/api/v1/namespaces")


async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(20):
        await world.make(TRINKETS, f"t{n:02}", spec={"note": "x" * 3_000})
    monkeypatch.setattr(remote, "LARGEST", 20_000)
    listing = await RemoteSource(api, world.registry, Streams()).list(Trinket)
    assert [held.place.name for held in listing.objects] == [f"t{n:02}" for n in range(20)]
    await world.merge(f"{TRINKETS}/t00", {"spec": {"note": "x" * 30_000}})
    with pytest.raises(ApiError, match="more than 20000 bytes"):
        await RemoteSource(api, world.registry, Streams()).list(Trinket)


class GizmoSpec(Spec):
    size: int = 1


class Gizmo(Resource[GizmoSpec, Status]):
    """A kind that is served in a version that others do not know."""


def gizmos(version: str) -> Registry:
    plugin = Plugin("gizmos")
    plugin.kind(Gizmo, group="gizmos.example", version=version, plural="gizmos")
    return build([plugin], KINDS)


async def test_a_kind_that_the_server_lacks_is_told_apart_from_an_object_that_is_not_there(tmp_path: Path) -> None:
    other = Plugin("gizmos")
    other.kind(Gizmo, group="gizmos.example", version="v1beta1", plural="gizmos")
    async with opened(other) as world, served(world, tmp_path) as server, open_api(server.credentials, "test") as api:
        client = TypedClient(door(api, gizmos("v1beta1")), SystemClock())
        assert await client.get(Gizmo, "a", "shop") is None
        newer = TypedClient(door(api, gizmos("v1")), SystemClock())
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: newer.get(Gizmo, "a", "shop"),
            lambda: newer.list(Gizmo),
            lambda: RemoteSource(api, gizmos("v1"), Streams()).list(Gizmo),
        ]
        for call in calls:
            with pytest.raises(ServiceUnavailable, match=r"does not serve gizmos\.gizmos\.example/v1: it serves v1beta1"):
                await call()
    async with opened(Plugin("nothing")) as world, served(world, tmp_path) as server, open_api(server.credentials, "test") as api:
        with pytest.raises(ServiceUnavailable, match="load the plugin into the server as well"):
            await door(api, gizmos("v1")).create(Gizmo, "shop", {"metadata": {"name": "a"}})


@pytest.mark.parametrize(
    "place", [Place("", "a"), Place("shop", ""), Place("shop", ".."), Place("shop", "a/status"), Place("a/b", "c")]
)
async def test_a_name_that_no_object_has_is_not_found_and_addresses_nothing_else(api: Api, world: World, place: Place) -> None:
    await world.make(TRINKETS, "a", spec={})
    with pytest.raises(NotFound):
        await door(api, world.registry).get(Trinket, place)


# Servers that are none


@asynccontextmanager
async def speaking(status: int, *pieces: bytes) -> AsyncIterator[Api]:
    """A server that answers everything with this."""

    async def app(scope: dict[str, Any], receive: Any, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/html")]})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    shown = certificate()
    config = http_config(app, cert_file=shown.cert_file, key_file=shown.key_file, limits=Limits(), grace=1)
    listener, address = bind(Address("127.0.0.1", 0))
    context = ssl.create_default_context(cadata=shown.ca_pem.decode())
    with listener:
        async with serving(config, listener) as server:
            async with open_api(Credentials(f"https://{address}", context, TOKEN), "test") as api:
                yield api
            server.should_exit = True


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (200, b"<html>hello</html>", ServiceUnavailable, "the answer is no JSON object"),
        (200, b"[1]", ServiceUnavailable, "the answer is no JSON object"),
        (502, b"<html>bad gateway</html>", errors.InternalError, "answered 502: <html>bad gateway</html>"),
        (503, b"", ServiceUnavailable, "answered 503"),
        (404, b"nothing here", NotFound, "answered 404: nothing here"),
        (418, b'{"kind": "Status", "message": "short and stout"}', errors.BadRequest, "short and stout"),
        (409, b'{"kind": "Status", "code": "x", "details": 7}', errors.InternalError, "refused with x"),
        (422, b'{"kind":"Status","code":422,"reason":"Invalid","details":{"causes":[1,{"field":2}]}}', Invalid, "Invalid"),
    ],
)
async def test_an_answer_that_is_none_of_ours_is_a_refusal_that_shows_it(
    status: int, body: bytes, kind: type[ApiError], said: str
) -> None:
    async with speaking(status, body) as api:
        with pytest.raises(ApiError) as refused:
            await api.get("/x")
    assert (type(refused.value), said in refused.value.message) == (kind, True), refused.value.message


@pytest.mark.parametrize(
    "lines", [b"hello\n", b'{"type": "ADDED"}\n', b'{"type": 1, "object": {}}\n', b'{"type":"ERROR","object":{"code":500}}\n']
)
async def test_a_line_of_a_watch_that_is_no_event_ends_it_with_a_refusal(world: World, lines: bytes) -> None:
    async with speaking(200, lines) as api:
        with pytest.raises(ApiError):
            await anext(RemoteSource(api, world.registry, Streams()).watch(Trinket, 1))


async def test_a_line_without_an_end_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_watch, "LARGEST", 100_000)
    async with speaking(200, *[b"x" * 10_000] * 20) as api:
        with pytest.raises(ServiceUnavailable, match="more than 100000 bytes"):
            await anext(RemoteSource(api, world.registry, Streams()).watch(Trinket, 1))


async def test_lines_may_be_cut_anywhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_watch, "SHORT", 600.0)  # however long the stream takes, it is not taken up again
    event = b'{"type":"ADDED","object":{"metadata":{"name":"t\xc3\xa4","resourceVersion":"%d"}}}\n'
    whole = b"".join(event % n for n in range(5, 9)) + b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"20"}}}\n'
    for size in (1, 7, 80, len(whole)):
        async with speaking(200, *[whole[start : start + size] for start in range(0, len(whole), size)]) as api:
            source = RemoteSource(api, world.registry, Streams())
            seen = [change.revision async for batch in source.watch(Trinket, 4) for change in batch]
            assert seen == [5, 6, 7, 8]
            assert source._quiet[Trinket] == (8, 20)


REFUSALS = [
    each for each in ApiError.__subclasses__() if each.__module__ == errors.__name__ and each not in (Unauthorized, Invalid)
]


@pytest.mark.parametrize("kind", REFUSALS)
def test_every_refusal_reads_back_as_what_it_was(kind: type[ApiError]) -> None:
    told = kind("why", details={"name": "a", "kind": "trinkets"})
    read = from_status(told.status())
    assert (type(read), read.status()) == (kind, told.status())


def test_what_is_invalid_reads_back_with_its_causes() -> None:
    told = Invalid("Trinket", "trinkets.example", "a", [Cause("FieldValueInvalid", "Invalid value: 1: x", "spec.size")])
    read = from_status(told.status())
    assert isinstance(read, Invalid)
    assert (read.causes, read.status()) == (told.causes, told.status())
    assert type(from_status(Unauthorized().status())) is Unauthorized


# An actor on the other side


async def test_a_run_sees_what_the_run_before_it_wrote_though_the_watch_has_not_told_it(world: World, server: Served) -> None:
    sizes: list[int] = []
    done = anyio.Event()

    async def grow(trinket: Trinket, client: Client) -> Again:
        sizes.append(trinket.spec.size)
        if len(sizes) == 5:
            done.set()
            return Again(3600)
        if len(sizes) == 1:
            proxy.fall_silent()
        await client.patch(Trinket, "a", "shop", {"spec": {"size": trinket.spec.size + 1}})
        return Again(0)

    await world.make(TRINKETS, "a", spec={"size": 1})
    async with (
        proxied(server.credentials) as (proxy, credentials),
        open_api(credentials, "t") as deaf,
        open_api(server.credentials, "t") as api,
    ):
        acting, clock, log = api.acting_as(ME), SystemClock(), Lines()
        environment = Environment(
            source=RemoteSource(deaf, world.registry, Streams()),
            door=door(acting, world.registry),
            recorder=EventRecorder(RemoteEvents(acting), "polish", clock, Random(1), log),
            clock=clock,
            chance=Random(1),
            log=log,
        )
        runner = Runner(from_declaration(ActorDeclaration(name="polish", model=Trinket, reconcile=grow, source="x:1")), environment)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await done.wait()
            tasks.cancel_scope.cancel()
    assert sizes == [1, 2, 3, 4, 5]


async def test_many_calls_at_once_share_connections_and_all_are_answered(world: World, api: Api) -> None:
    made = door(api, world.registry)

    async def one(n: int) -> None:
        name = f"t{n}"
        await made.create(Trinket, "shop", {"metadata": {"name": name}, "spec": {"size": n}})
        assert (await made.get(Trinket, Place("shop", name)))["spec"]["size"] == n

    async with anyio.create_task_group() as tasks:
        for n in range(100):
            tasks.start_soon(one, n)
    assert len((await made.list(Trinket, "shop", Query(), "")).documents) == 100
