"""What went wrong with storage in other API servers, held against a real one of ours over its socket. Each test names its story.

What needs a clock or a count of statements (a day of lease renewals, compaction between writers, cursors that cost no SQL) is
proved on the store itself, in `tests/storage`.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.wire import Place, Stream, Wire, each_revision, place_of, request, revision_of
from tests.servers import Running, running

pytestmark = pytest.mark.anyio
GROUP = "/apis/reference.example.com/v1"
WIDGETS = f"{GROUP}/namespaces/default/widgets"
MANY = 10_000
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def place(server: Running) -> Place:
    return place_of(server.url, server.ca, server.token)


@pytest.fixture
def wire(place: Place) -> Iterator[Wire]:
    with Wire(place) as wire:
        yield wire


def widget(name: str, padding: int = 0) -> dict[str, Any]:
    """A Widget of about `padding` bytes."""
    metadata = {"name": name, **({"annotations": {"padding": "x" * padding}} if padding else {})}
    return {"apiVersion": "reference.example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 1}}


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> tuple[int, bytes]:
    """Status and body of one request on a connection."""
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None, head
    return int(head.split()[1]), await reader.readexactly(int(length[1]))


async def test_a_thousand_clients_at_once_are_all_served_and_nobody_hears_of_locks(place: Place) -> None:
    # k0smotron's measurement of kine on SQLite: 88.7 % errors, most of them "database is locked".
    context = place.context()
    connected = asyncio.Event()
    handshakes = asyncio.Semaphore(50)  # as many as a backlog takes without loss
    waiting = 0

    async def client(number: int) -> Counter[int]:
        nonlocal waiting
        async with handshakes:
            reader, writer = await asyncio.open_connection(place.host, place.port, ssl=context)
        waiting += 1
        if waiting == 1_000:
            connected.set()
        await connected.wait()
        codes: Counter[int] = Counter()
        own, shared = f"own-{number}", f"shared-{number % 100}"
        for target, document in ((WIDGETS, widget(own)), (WIDGETS, widget(shared))):
            status, body = await exchange(reader, writer, request(place, "POST", target, msgspec.json.encode(document), JSON))
            assert b"locked" not in body
            codes[status] += 1
        status, body = await exchange(reader, writer, request(place, "GET", f"{WIDGETS}/{own}"))
        assert status == 200, body
        writer.close()
        await writer.wait_closed()
        return codes

    async with asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(client(number)) for number in range(1_000)]
    total = sum((task.result() for task in clients), Counter[int]())
    assert total == {201: 1_100, 409: 900}, "each name once, and a conflict fails nobody else's write"


def test_conflicts_in_a_group_commit_fail_alone(wire: Wire, place: Place) -> None:
    # Grafana's revision manager: one conflict failed the whole batch.
    assert wire.post(WIDGETS, widget("taken")).status == 201
    start = revision_of(wire.ask("GET", WIDGETS).json())
    together = threading.Barrier(32)

    def create(number: int) -> tuple[int, int]:
        with Wire(place) as own:
            own.ask("GET", "/livez")
            together.wait()
            reply = own.post(WIDGETS, widget("taken" if number % 2 else f"free-{number}"))
            return reply.status, revision_of(reply.json()) if reply.status == 201 else 0

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(create, range(32)))
    assert [status for status, _ in results] == [201, 409] * 16
    assert sorted(revision for _, revision in results if revision) == list(range(start + 1, start + 17)), (
        "a refused write leaves no gap"
    )


def peak(server: Running) -> int:
    """Its greatest resident size, in KiB, since `forget_peak`."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def forget_peak(server: Running) -> None:
    """Begins to measure anew (proc(5), clear_refs)."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def fill(place: Place, widgets: str, number: int) -> None:
    """Creates objects of 1 KB, from several connections."""

    def some(numbers: range) -> None:
        with Wire(place) as wire:
            for each in numbers:
                assert wire.post(widgets, widget(f"w{each:05}", 1_000)).status == 201

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, [range(start, number, 8) for start in range(8)]))


def pages(wire: Wire, target: str, limit: int) -> Iterator[dict[str, Any]]:
    """The pages of a list."""
    token = ""
    while True:
        page = wire.ask("GET", f"{target}?limit={limit}&continue={token}").json()
        yield page
        token = page["metadata"].get("continue", "")
        if not token:
            return


@pytest.fixture(scope="module")
def crowd() -> Iterator[tuple[Running, Place, str]]:
    """A server with ten thousand objects in one namespace."""
    with running() as server:
        place = place_of(server.url, server.ca, server.token)
        with Wire(place) as wire:
            assert wire.post("/api/v1/namespaces", {"metadata": {"name": "crowd"}}).status == 201
        widgets = f"{GROUP}/namespaces/crowd/widgets"
        fill(place, widgets, MANY)
        yield server, place, widgets


def test_pages_of_a_large_list_are_of_one_moment_whatever_is_written_meanwhile(crowd: tuple[Running, Place, str]) -> None:
    _, place, widgets = crowd
    with Wire(place) as wire, Wire(place) as writer:
        found: list[str] = []
        revisions = set()
        for number, page in enumerate(pages(wire, widgets, 700)):
            found += [item["metadata"]["name"] for item in page["items"]]
            revisions.add(revision_of(page))
            assert page["metadata"].get("remainingItemCount", 0) == MANY - len(found)
            assert writer.merge(f"{widgets}/w{number:05}", {"spec": {"size": 2}}).status == 200
            assert writer.ask("DELETE", f"{widgets}/w{9_000 + number:05}").status == 200
            assert writer.post(widgets, widget(f"w{5_000 + number:05}-more", 1_000)).status == 201
        assert found == [f"w{number:05}" for number in range(MANY)]
        assert len(revisions) == 1
        for number in range(len(found) // 700 + 1):  # as it was
            assert writer.ask("DELETE", f"{widgets}/w{5_000 + number:05}-more").status == 200
            assert writer.post(widgets, widget(f"w{9_000 + number:05}", 1_000)).status == 201


def test_large_lists_that_nobody_reads_are_not_held_in_memory(crowd: tuple[Running, Place, str]) -> None:
    # KEP-3157: 16 informers listed 400 MB, and the server was gone. Here 16 answers are 200 MB together, and nobody reads them yet.
    server, place, widgets = crowd
    with Wire(place) as wire, ExitStack() as stack:
        size = len(wire.ask("GET", widgets).body)
        assert size > MANY * 1_000
        forget_peak(server)
        before = peak(server)
        informers = [stack.enter_context(Wire(place)) for _ in range(16)]
        for informer in informers:
            informer.send(request(place, "GET", widgets))
        for _ in range(50):  # others are served meanwhile
            assert wire.ask("GET", f"{widgets}/w00001").status == 200
        grown = (peak(server) - before) * 1024
        assert grown < 8 * size, f"{grown} bytes for 16 lists of {size}: some pieces of each are under way, not half of them all"
        for informer in informers:
            assert len(informer.reply().json()["items"]) == MANY
        assert (peak(server) - before) * 1024 < 8 * size


def test_a_namespace_of_ten_thousand_objects_is_emptied_by_one_request_and_every_deletion_is_told(
    crowd: tuple[Running, Place, str],
) -> None:
    # kcp#4072: it took an hour.
    _, place, widgets = crowd
    with Wire(place) as wire:
        start = revision_of(wire.ask("GET", f"{widgets}?limit=1").json())
        with Stream(place, f"{widgets}?watch=1&resourceVersion={start}") as stream, ThreadPoolExecutor(1) as pool:
            told = pool.submit(stream.until, start + MANY)
            assert len(wire.ask("DELETE", widgets).json()["items"]) == MANY
            events = told.result()
        assert {event["type"] for event in events} == {"DELETED"}
        assert each_revision(events) == list(range(start + 1, start + MANY + 1))
        assert wire.ask("GET", widgets).json()["items"] == []


def test_an_idle_server_leaves_its_database_alone(server: Running, place: Place) -> None:
    # grafana#99749, obot#7737: polling multiplied the load of a database at which nothing happened. At most one query a minute.
    with ExitStack() as stack, Wire(place) as wire:
        for _ in range(20):
            stack.enter_context(Stream(place, f"{WIDGETS}?watch=1&resourceVersion={revision_of(wire.ask('GET', WIDGETS).json())}"))
        quiet = done(server)
        while (again := done_after(server, 0.5)) != quiet:  # the last lines of the log
            quiet = again
        assert done_after(server, 2.0) == quiet


def done(server: Running) -> tuple[str, ...]:
    """What it has read and written so far: calls and bytes (proc(5))."""
    lines = Path(f"/proc/{server.process.pid}/io").read_text().splitlines()
    return tuple(line for line in lines if line.startswith(("rchar", "wchar", "read_bytes", "write_bytes")))


def done_after(server: Running, seconds: float) -> tuple[str, ...]:
    """The same, when a while has gone by in which nobody asks for anything."""
    threading.Event().wait(seconds)
    return done(server)
