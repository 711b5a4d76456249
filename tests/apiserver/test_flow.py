"""Rates and fair queues around requests: what callers are told, who waits, and who does not."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest

from admission.identity import ADMIN, CREDENTIAL_ID, Identity, authenticated
from admission.tokens import TokenTable
from apiserver import flow as flows
from apiserver import forms
from apiserver.asgi import App
from apiserver.discovery import Discovery
from apiserver.documents import OpenAPIDocuments
from apiserver.flow import Flow
from apiserver.health import Health, ping
from apiserver.pages import Pages
from apiserver.protocol import COMPLETE
from apiserver.sections import MIB
from apiserver.sections import Flow as Settings
from registry.errors import TooManyRequests
from tests.apiserver.world import CONFIGMAPS, NOW, World, opened
from tests.storage.tools import together

pytestmark = pytest.mark.anyio

ANN, BOB, ROBOT = (authenticated(Identity(name)) for name in ("ann", "bob", "system:actor:polish"))
TOKENS = {"ann": ANN, "bob": BOB, "robot": ROBOT, "admin": ADMIN}
ROOMY = Settings()
LIMIT, REMAINING, RESET, RETRY = b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"retry-after"


class Answer(msgspec.Struct):
    """What came back, as far as it has come."""

    status: int = 0
    headers: dict[bytes, bytes] = {}
    body: bytes = b""

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found


class Clock:
    """Seconds that a test lets go by."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Door:
    """The application, asked as a socket asks it. `pause`: awaited before each piece that is sent."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.world = world
        self.clock = Clock()
        self.flow = Flow(msgspec.structs.replace(settings, refusal_seconds=0.0), self.clock, {ROBOT.username})
        health = Health({"readyz": {"ping": ping}, "livez": {"ping": ping}, "healthz": {"ping": ping}}, lambda *_: None)
        self.app = App(
            world.manager,
            world.store,
            Pages(
                Discovery(world.manager.catalog),
                OpenAPIDocuments(world.manager.catalog),
                health,
                {"major": "1"},
                lambda _: (b"", "text/plain"),
            ),
            TokenTable(list(TOKENS.items())),
            access=_Unheard(),
            log=world.log,
            now=lambda: NOW,
            chance=random.Random(1),
            body_limit=3 * MIB,
            flow=self.flow,
        )

    async def ask(
        self,
        who: str,
        path: str,
        method: str = "GET",
        body: bytes = b"",
        *,
        address: str = "192.0.2.1",
        pause: Callable[[], Awaitable[None]] | None = None,
        into: Answer | None = None,
        headers: Mapping[bytes, bytes] = {},
    ) -> Answer:
        path, _, query = path.partition("?")
        answer = into or Answer()
        credential = [(b"authorization", f"Bearer {who}".encode())] if who else []

        async def receive() -> dict[str, Any]:
            if method != "GET":
                return {"type": "http.request", "body": body, "more_body": False}
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Any) -> None:
            if pause is not None:
                await pause()
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], dict(message["headers"])
            else:
                answer.body += message["body"]

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "client": (address, 1),
            "headers": [(b"accept", b"application/json"), (b"content-type", b"application/json"), *credential, *headers.items()],
            "root_path": "",
            "http_version": "1.1",
            "scheme": "https",
            "server": ("127.0.0.1", 1),
            COMPLETE: True,
        }
        await self.app(scope, receive, send)
        return answer

    async def make(self, who: str, name: str) -> Answer:
        return await self.ask(who, CONFIGMAPS, "POST", msgspec.json.encode({"metadata": {"name": name}}))


class _Unheard:
    def record(self, *_: object) -> None:
        """Nobody reads it."""


@asynccontextmanager
async def door(settings: Settings) -> AsyncIterator[Door]:
    async with opened() as world:
        yield Door(world, settings)


def told(answer: Answer) -> tuple[int, ...]:
    return tuple(int(answer.headers[name]) for name in (LIMIT, REMAINING, RESET))


# Rates


async def test_every_answer_tells_what_is_left_and_without_a_token_it_is_429() -> None:
    async with door(Settings(per_second=0.5, burst=3)) as at:
        assert told(await at.ask("ann", f"{CONFIGMAPS}")) == (3, 2, 2)
        assert told(await at.ask("ann", f"{CONFIGMAPS}/none")) == (3, 1, 4)
        assert told(await at.ask("ann", "/apis")) == (3, 0, 6)
        refused = await at.make("ann", "a")
        assert refused.status == 429
        assert refused.headers[RETRY] == b"2"
        assert told(refused) == (3, 0, 6)
        assert refused.document == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "ann asks more often than it may (3 at once): try again in 2 s",
            "reason": "TooManyRequests",
            "details": {"retryAfterSeconds": 2},
            "code": 429,
        }
        assert (await at.ask("bob", CONFIGMAPS)).status == 200, "somebody else's bucket"
        at.clock.now += 2
        assert (await at.make("ann", "a")).status == 201


async def test_a_watch_and_a_page_tell_it_too() -> None:
    async with door(Settings(burst=100)) as at:
        watch = Answer()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(at.ask, "ann", f"{CONFIGMAPS}?watch=1", into=watch))
            while not watch.status:
                await anyio.lowlevel.checkpoint()
            at.app.end_watches()
        page = await at.ask("ann", "/openapi/v2")
        assert [told(answer)[:2] for answer in (watch, page)] == [(100, 99), (100, 98)]


async def test_who_shows_no_credential_or_a_wrong_one_pays_by_address() -> None:
    async with door(Settings(anonymous_per_second=1, anonymous_burst=2)) as at:
        statuses = [
            (await at.ask(who, path)).status for who, path in (("", "/version"), ("guess", CONFIGMAPS), ("guess2", CONFIGMAPS))
        ]
        assert [status == 429 for status in statuses] == [False, False, True]
        assert statuses[1] == 401
        assert (await at.ask("", "/version", address="192.0.2.2")).status != 429
        assert (await at.ask("ann", CONFIGMAPS)).status == 200, "who shows one that holds is known by name"
        nobody = Identity("system:anonymous", groups=("system:unauthenticated",))
        with pytest.raises(TooManyRequests, match=r"192\.0\.2\.1 asks more often"):
            at.flow.admit(nobody, "192.0.2.1", "/version")
        sixth = [(await at.ask("", "/version", address=f"2001:db8::{n}")).status for n in range(1, 4)]
        assert [status == 429 for status in sixth] == [False, False, True], "one network, one bucket"


async def test_one_user_has_one_bucket_however_many_credentials_and_groups() -> None:
    flow = Flow(Settings(per_second=0.5, burst=10, rates=("group:devs=0.5/5",)), Clock())

    def told_to(group: str, credential: int) -> int:
        extra = ((CREDENTIAL_ID, (f"key {credential}",)),)
        _, pairs = flow.admit(authenticated(Identity("ann", groups=(group,), extra=extra)), "192.0.2.1", CONFIGMAPS)
        return int(dict(pairs)[REMAINING])

    assert [told_to("qa", number) for number in range(4)] == [9, 8, 7, 6]
    assert [told_to("devs", number) for number in range(3)] == [4, 3, 2], "a group with a rate of its own"
    assert [told_to(group, 0) for group in ("qa", "devs", "qa", "devs")] == [5, 1, 4, 0]
    with pytest.raises(TooManyRequests):
        told_to("devs", 7)


async def test_addresses_of_ipv4_are_told_apart_on_a_socket_of_ipv6() -> None:
    flow = Flow(Settings(anonymous_per_second=1, anonymous_burst=1), Clock())
    for address in ("::ffff:192.0.2.1", "::ffff:192.0.2.2", "2001:db8::1"):
        flow.admit(None, address, "/version")
        with pytest.raises(TooManyRequests):
            flow.admit(None, address, "/version")


async def test_nothing_but_health_is_exempt_as_health() -> None:
    flow = Flow(Settings(anonymous_per_second=1, anonymous_burst=1), Clock())
    for path in ("/healthz", "/livez/ping", "/readyz"):
        assert flow.admit(None, "192.0.2.1", path) == (None, flows.UNBOUNDED)
    flow.admit(None, "192.0.2.1", "/healthzzz")
    with pytest.raises(TooManyRequests):
        flow.admit(None, "192.0.2.1", "/livez-or-not")


async def test_paths_that_are_remembered_are_bounded_in_number_and_in_length() -> None:
    async with door(ROOMY) as at:
        for name in ("a", "b" * 60_000):
            assert (await at.ask("ann", f"{CONFIGMAPS}/{name}")).status == 404
        assert list(at.app._targets) == [f"{CONFIGMAPS}/a".encode()]


async def test_health_the_servers_own_actors_and_masters_are_exempt() -> None:
    async with door(
        Settings(per_second=0.001, burst=1, anonymous_per_second=0.001, anonymous_burst=1, reading=1, queue_length=0)
    ) as at:
        asked = [("", "/readyz"), ("ann", "/livez"), ("admin", CONFIGMAPS), ("robot", CONFIGMAPS)] * 3
        answers = [await at.ask(who, path) for who, path in asked]
        assert 429 not in {answer.status for answer in answers}
        assert {told(answer) for answer in answers} == {(1_000_000, 1_000_000, 0)}


async def test_rates_of_users_and_groups_count_and_impersonation_does_not_change_who_pays() -> None:
    async with door(Settings(rates=("user:bob=1/2", "group:system:authenticated=1/9"))) as at:
        assert [told(await at.ask(who, CONFIGMAPS))[0] for who in ("ann", "bob")] == [9, 2]
        acting = await at.ask("admin", CONFIGMAPS, headers={b"impersonate-user": b"bob"})
        assert told(acting)[0] == 1_000_000


async def test_only_so_many_callers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "CALLERS", 50)
    flow = Flow(Settings(anonymous_burst=2, anonymous_per_second=0.001), lambda: 0.0)
    for number in range(500):
        flow.admit(None, f"10.0.{number // 256}.{number % 256}", "/version")
        flow.admit(None, "192.0.2.9", "/version") if number < 2 else None
    assert len(flow._callers) == 50
    kept = Flow(Settings(burst=1, per_second=0.001), lambda: 0.0)
    kept.admit(ANN, "", "/api/v1/x")
    for number in range(200):
        kept.admit(None, f"10.0.0.{number}", "/version")
        with pytest.raises(TooManyRequests):
            kept.admit(ANN, "", "/api/v1/x")


# Seats


async def test_reads_that_come_at_once_are_answered_a_few_in_each_turn_and_everybody_in_turn() -> None:
    async with door(Settings(reading=2, queue_length=100, hand=1)) as at:
        await at.world.make(CONFIGMAPS, "a")
        order: list[str] = []

        async def read(who: str) -> None:
            answer = await at.ask(who, f"{CONFIGMAPS}/a")
            assert answer.status == 200
            order.append(who)

        await together(*(partial(read, "ann") for _ in range(40)), *(partial(read, "bob") for _ in range(4)))
        assert Counter(order) == {"ann": 40, "bob": 4}
        assert max(place for place, who in enumerate(order) if who == "bob") < 14, "not behind the forty who came before"
        await anyio.lowlevel.checkpoint()
        assert at.flow.reading.queues.taken == 0


async def test_writes_beyond_the_seats_wait_for_those_before_them_and_a_full_queue_is_429() -> None:
    async with door(Settings(writing=2, queue_length=3, hand=1, queues=1000)) as at:
        results = await together(*(partial(at.make, "ann", f"a{n}") for n in range(8)), partial(at.make, "bob", "b"))
        answers = [result for result in results if isinstance(result, Answer)]
        assert [answer.status for answer in answers] == [201] * 5 + [429] * 3 + [201]
        assert {answer.headers[RETRY] for answer in answers[5:8]} == {b"1"}
        assert answers[5].document["message"] == "too many requests are waiting already: try again in 1 s"
        assert answers[5].document["details"] == {"retryAfterSeconds": 1}
        assert told(answers[5])[0] == ROOMY.burst
        assert at.flow.writing.queues.taken == at.flow.writing.queues.waiting == 0
        assert max(at.world.store.stats().recent_batches) <= 2, "no more were under way"


async def test_bodies_that_wait_are_bounded_by_their_bytes() -> None:
    async with door(Settings(writing=1, queued_bytes=MIB)) as at:
        body = msgspec.json.encode({"metadata": {"generateName": "big-"}, "data": {"a": "x" * 400_000}})
        results = await together(*(partial(at.ask, "ann", CONFIGMAPS, "POST", body) for _ in range(5)))
        assert [result.status for result in results if isinstance(result, Answer)] == [201, 201, 201, 429, 429]
        assert at.flow.writing.queues.bytes == 0


async def test_who_reads_a_long_list_slowly_keeps_no_seat() -> None:
    async with door(Settings(reading=1, queue_length=0)) as at:
        for number in range(40):
            await at.world.make(CONFIGMAPS, f"c{number:02}", data={"a": "x" * 20_000})
        go = anyio.Event()
        slow, answer = Answer(), Answer()

        async def read() -> None:
            await at.ask("ann", CONFIGMAPS, pause=go.wait, into=slow)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            while at.flow.reading.queues.taken == 0:
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            assert slow.status == 0
            await at.ask("bob", f"{CONFIGMAPS}/c00", into=answer)
            assert answer.status == 200
            go.set()
        assert [item["metadata"]["name"] for item in slow.document["items"]] == [f"c{number:02}" for number in range(40)]


async def test_the_pieces_of_a_long_list_take_turns_with_the_reads_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "CHUNK", 64_000)
    async with door(Settings(reading=1, queue_length=100)) as at:
        for number in range(40):
            await at.world.make(CONFIGMAPS, f"c{number:02}", data={"a": "x" * 20_000})
        order: list[str] = []

        async def listing() -> None:
            await at.ask("ann", CONFIGMAPS, pause=partial(_note, order, "piece"))

        async def reading() -> None:
            for _ in range(6):
                assert (await at.ask("bob", f"{CONFIGMAPS}/c00")).status == 200
                order.append("read")

        await together(listing, reading)
        pieces = [place for place, what in enumerate(order) if what == "piece"]
        assert len(pieces) > 6
        assert order[-1] == "piece", "the reads did not wait for the end of the list"


async def _note(order: list[str], what: str) -> None:
    order.append(what)


async def test_a_watch_holds_a_seat_only_until_it_has_begun() -> None:
    async with door(Settings(reading=1, queue_length=0)) as at, anyio.create_task_group() as tasks:
        begun = [Answer() for _ in range(3)]
        for answer in begun:
            tasks.start_soon(partial(at.ask, "ann", f"{CONFIGMAPS}?watch=1", into=answer))
            while not answer.status:
                await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        assert [answer.status for answer in begun] == [200] * 3
        assert at.app.watchers == 3
        assert (await at.ask("bob", CONFIGMAPS)).status == 200
        at.app.end_watches()


async def test_one_identity_has_only_so_many_watches_open_and_others_have_theirs() -> None:
    async with door(Settings(watches=2)) as at, anyio.create_task_group() as tasks:

        async def watch(who: str) -> Answer:
            answer = Answer()
            tasks.start_soon(partial(at.ask, who, f"{CONFIGMAPS}?watch=1", into=answer))
            while not answer.status:
                await anyio.lowlevel.checkpoint()
            return answer

        opened = [(await watch(who)).status for who in ("ann", "ann", "bob", "admin", "admin", "admin", "robot", "robot", "robot")]
        assert opened == [200] * 9, "those who are exempt have no bound"
        refused = await watch("ann")
        assert (refused.status, refused.headers[RETRY]) == (429, b"10")
        assert refused.document["message"].startswith("ann has 2 watches open")
        assert (await at.ask("ann", CONFIGMAPS)).status == 200
        at.app.end_watches()
        while at.app.watchers:
            await anyio.lowlevel.checkpoint()
        assert not at.flow._watches


async def test_who_waits_too_long_is_refused_and_who_goes_away_leaves_the_queue() -> None:
    async with door(Settings(writing=1, wait_seconds=0.02)) as at:
        held = at.flow.writing
        assert held.take()
        late = await at.make("ann", "late")
        assert (late.status, late.headers[RETRY]) == (429, b"1")
        assert late.document["message"] == "the request waited too long for its turn: try again in 1 s"
        caller, _ = at.flow.admit(BOB, "", "/api/v1/x")
        assert caller is not None
        gone = asyncio.ensure_future(held.enter(caller))
        await anyio.lowlevel.checkpoint()
        assert held.queues.waiting == 1
        gone.cancel()
        await anyio.wait_all_tasks_blocked()
        assert held.queues.waiting == 0
        given = asyncio.ensure_future(held.enter(caller))
        await anyio.lowlevel.checkpoint()
        held.leave()  # gives it the seat
        given.cancel()  # in the same moment
        with pytest.raises(asyncio.CancelledError):
            await given
        assert held.queues.taken == 0
        assert held.take()
        late_leaver = asyncio.ensure_future(held.enter(caller))
        await anyio.lowlevel.checkpoint()
        late_leaver.cancel()
        held.leave()  # to one that is gone, and has not said so yet
        with pytest.raises(asyncio.CancelledError):
            await late_leaver
        assert (held.queues.taken, held.queues.waiting) == (0, 0)
        assert (await at.make("ann", "after")).status == 201


async def test_a_refusal_is_held_back_and_only_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "HELD", 2)
    flow = Flow(Settings(refusal_seconds=0.05), lambda: 0.0)
    ended: list[int] = []

    async def refuse(number: int) -> None:
        await flow.hold()
        ended.append(number)

    await together(*(partial(refuse, number) for number in range(4)))
    assert ended[:2] == [2, 3], "there is no room for these"
    assert sorted(ended[2:]) == [0, 1]
    assert flow._held == 0


@pytest.mark.parametrize("verb", ["get", "create"])
async def test_beside_a_greedy_client_others_wait_for_as_many_of_its_requests_as_there_are_seats(verb: str) -> None:
    # Counted in requests, not in seconds: it holds on any machine, however busy.
    async with door(Settings(per_second=1e6, burst=10**7, reading=8, writing=8)) as at:
        await at.world.make(CONFIGMAPS, "a")
        done, stopped, behind = Counter[str](), False, list[int]()

        async def ask(who: str) -> int:
            if verb == "get":
                return (await at.ask(who, f"{CONFIGMAPS}/a")).status
            return (await at.make(who, f"{who}-{done.total()}-{random.random()}")).status

        async def greedy() -> None:
            while not stopped:
                assert await ask("ann") in (200, 201)
                done["ann"] += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(greedy)
            while done["ann"] < 400:
                await anyio.lowlevel.checkpoint()
            for _ in range(20):
                before = done["ann"]
                assert await ask("bob") in (200, 201)
                behind.append(done["ann"] - before)
                while done["ann"] < before + 50:
                    await anyio.lowlevel.checkpoint()
            stopped = True
        assert max(behind) <= 3 * 8, "of two hundred that are always there"
