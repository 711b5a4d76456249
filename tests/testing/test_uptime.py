"""examples/uptime.py, in a web of a few lines: hours of checks in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from actors.testing import Server, every_crash, seeds, serving
from apiserver.cli import main
from examples import uptime
from examples.uptime import Probe, ProbeAlpha, ProbeAlphaSpec, ProbeBeta, ProbeSpec, ProbeStatus
from registry.errors import Invalid
from registry.resource import Metadata

pytestmark = pytest.mark.anyio


class Web:
    """Sites by host name: the code that each answers with, or what goes wrong. It counts who was asked."""

    def __init__(self) -> None:
        self.sites: dict[str, int | Exception] = {}
        self.asked: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host)
        found = self.sites.get(request.url.host, httpx.ConnectError("no such host"))
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    web = Web()
    monkeypatch.setattr(uptime.Check, "transport", httpx.MockTransport(web.answer))
    return web


def probe(name: str, *, interval: int = 30) -> Probe:
    spec = ProbeSpec(url=f"https://{name}.example/", interval_seconds=interval)
    return Probe(metadata=Metadata(name=name, namespace="default"), spec=spec)


async def status(server: Server, name: str) -> ProbeStatus:
    found = await server.client.get(Probe, name, "default")
    assert found is not None
    assert found.status is not None
    return found.status


async def test_a_site_is_checked_at_once_and_then_at_its_interval(web: Web) -> None:
    web.sites["home.example"] = 200
    async with serving(uptime.plugin) as server:
        await server.client.create(probe("home"))
        await server.settled()
        found = await status(server, "home")
        assert (found.ready, found.last_code) == (True, 200)
        await server.advance(8 * 3600)
        assert [ran.at for ran in server.ran()] == [30.0 * number for number in range(8 * 120 + 1)]


async def test_what_changes_is_told_once_and_what_stays_is_not(web: Web) -> None:
    web.sites["home.example"] = 200
    async with serving(uptime.plugin) as server:
        await server.client.create(probe("home"))
        await server.advance(300)
        web.sites["home.example"] = 503
        await server.advance(300)
        web.sites["home.example"] = httpx.ReadTimeout("too slow")
        await server.advance(300)
        found = await status(server, "home")
        assert (found.ready, found.last_code, found.latency_ms) == (False, None, None)
        assert found.conditions[0].reason == "ReadTimeout"
        web.sites["home.example"] = 204
        await server.advance(300)
        assert sorted((said.type, said.message, said.times) for said in await server.events("home")) == [
            ("Normal", "https://home.example/ answered 200", 1),
            ("Normal", "https://home.example/ answered 204", 1),
            ("Warning", "https://home.example/ answered 503", 1),
        ]
        assert {ran.result for ran in server.ran()} == {"done"}  # a site that is down is no failure


async def test_another_url_is_checked_at_once_and_a_deleted_probe_no_more(web: Web) -> None:
    async with serving(uptime.plugin) as server:
        await server.client.create(probe("home", interval=3600))
        await server.settled()
        await server.client.patch(Probe, "home", "default", {"spec": {"url": "https://moved.example/"}})
        await server.settled()
        assert web.asked == ["home.example", "moved.example"]
        await server.client.delete(Probe, "home", "default")
        await server.advance(24 * 3600)
        assert web.asked == ["home.example", "moved.example"]


async def test_each_run_writes_one_status_and_nothing_else(web: Web) -> None:
    async with serving(uptime.plugin) as server:
        await server.client.create(probe("home"))
        await server.advance(3600)
        assert {(written.verb, written.subresource) for written in server.writes()} == {("patch", "status")}
        runs = [written.run for written in server.writes()]
        assert len(runs) == len(set(runs))


async def test_a_status_that_could_not_be_written_is_written_soon_after(web: Web) -> None:
    web.sites["home.example"] = 200
    async with serving(uptime.plugin) as server:
        server.conflict(Probe, "home", times=2)
        await server.client.create(probe("home"))
        await server.advance(5)
        assert [ran.result for ran in server.ran()] == ["failed", "failed", "done"]
        assert (await status(server, "home")).ready


async def test_only_web_addresses_are_taken(web: Web) -> None:
    async with serving(uptime.plugin) as server:
        with pytest.raises(Invalid, match="must begin with http:// or https://"):
            await server.client.create(Probe(metadata=Metadata(name="x", namespace="default"), spec=ProbeSpec(url="ftp://x/")))


async def test_who_wrote_against_an_older_version_still_gets_it(web: Web) -> None:
    web.sites["home.example"] = 200
    async with serving(uptime.plugin) as server:
        old = ProbeAlpha(
            metadata=Metadata(name="home", namespace="default"), spec=ProbeAlphaSpec(url="https://HOME.example/", interval="90s")
        )
        made = await server.client.create(old)
        assert made.spec == ProbeAlphaSpec(url="https://home.example/", interval="90s")
        await server.advance(180)
        assert [ran.at for ran in server.ran()] == [0.0, 90.0, 180.0]
        await server.client.patch(Probe, "home", "default", {"spec": {"timeoutSeconds": 9}})
        await server.client.patch(ProbeAlpha, "home", "default", {"spec": {"interval": "60s"}})
        newest = await server.client.get(Probe, "home", "default")
        assert newest is not None
        assert newest.spec == ProbeSpec(url="https://home.example/", interval_seconds=60, timeout_seconds=9)
        between = await server.client.get(ProbeBeta, "home", "default")
        assert between is not None
        assert (between.spec.interval_seconds, between.status) == (60, newest.status)


async def test_what_an_older_version_refuses_is_told_in_its_own_words(web: Web) -> None:
    async with serving(uptime.plugin) as server:
        with pytest.raises(Invalid) as refused:
            await server.client.create(
                ProbeAlpha(metadata=Metadata(name="x", namespace="default"), spec=ProbeAlphaSpec(url="", interval="soon"))
            )
        assert {cause.field for cause in refused.value.causes} == {"spec.url", "spec.interval"}
        assert not [line for line in server.log if line.level == "error"]


EXAMPLE = Path(uptime.__file__)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check",), "v1beta1 does not have .spec.timeoutSeconds; the server keeps it"),
        (("lint", "--strict"), "0 errors, 0 warnings, 0 waived"),
        (("lock", "--check", "--file", str(EXAMPLE.with_name("registry.lock.json"))), "is up to date"),
        (("diff", "--against", str(EXAMPLE.with_name("registry.lock.json"))), "nothing has changed"),
    ],
)
def test_the_tools_find_nothing_wrong_with_it(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", *words, "--plugin", str(EXAMPLE)]) == 0
    assert said in capsys.readouterr().out


async def two_days(server: Server) -> None:
    for name in ("up", "down"):
        await server.client.create(probe(name, interval=3600))
    await server.advance(4 * 3600)


async def one_is_up(server: Server) -> None:
    assert (await status(server, "up")).ready
    assert not (await status(server, "down")).ready


async def test_it_gets_over_every_crash(web: Web) -> None:
    web.sites["up.example"] = 200
    assert await every_crash(uptime.plugin, scenario=two_days, check=one_is_up) >= 4


async def test_two_hundred_orders_come_to_the_same(web: Web) -> None:
    web.sites["up.example"] = 200
    for seed in seeds(200):
        async with serving(uptime.plugin, seed=seed) as server:
            for name in ("up", "down"):
                await server.client.create(probe(name))
            await server.advance(30)
            await one_is_up(server)
            assert server.runs() == 4
