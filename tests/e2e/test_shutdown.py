"""SIGTERM under load: readiness drops first, watches end as HTTP has it, what is in flight is answered and kept, exit code 0."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPException, IncompleteRead
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.wire import Place, Reply, Stream, Wire, each_revision, place_of, quiet, request, revision_of
from tests.servers import ROOT, Running, running

WIDGETS = "/apis/reference.example.com/v1/namespaces/default/widgets"
WATCHES = 50
GRACE = 5
"""Seconds within which the server has to be gone: the promise of the issue."""


def widget(name: str) -> dict[str, Any]:
    """A Widget that is good."""
    return {"apiVersion": "reference.example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1}}


def place(server: Running) -> Place:
    """Where it is."""
    return place_of(server.url, server.ca, server.token)


def gone(server: Running, number: signal.Signals = signal.SIGTERM) -> int:
    """Sends the signal and returns the exit code."""
    server.process.send_signal(number)
    return server.process.wait(GRACE)


def follow(stream: Stream) -> list[dict[str, Any]]:
    """Reads a watch to its end. Raises IncompleteRead when it breaks off."""
    return list(stream)


def write(place: Place, writer: int) -> dict[str, int]:
    """Creates objects until the server is gone; returns the acknowledged ones with their revisions."""
    stored: dict[str, int] = {}
    try:
        with Wire(place) as wire:
            for number in count():
                reply = wire.post(WIDGETS, widget(f"w{writer}-{number}"))
                if reply.status == 503:
                    break
                assert reply.status == 201, reply
                stored[f"w{writer}-{number}"] = revision_of(reply.json())
    except (OSError, HTTPException):
        pass  # between two requests the connection was closed: that one was not acknowledged
    return stored


def read(place: Place) -> int:
    """Lists until the server is gone. An answer that has begun must be whole: IncompleteRead is not caught."""
    lists = 0
    try:
        with Wire(place) as wire:
            while True:
                assert wire.ask("GET", WIDGETS).status == 200
                lists += 1
    except IncompleteRead:
        raise
    except (OSError, HTTPException):
        return lists


def probe(place: Place) -> list[Reply]:
    """Asks for readiness, again and again on one connection, until it is closed. The answers."""
    answers: list[Reply] = []
    try:
        with Wire(place) as wire:
            while True:
                answers.append(wire.ask("GET", "/readyz?verbose", token=False))
                if answers[-1].status != 200:
                    return answers
    except (OSError, HTTPException):
        return answers


@contextmanager
def threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are waited for."""
    with ThreadPoolExecutor(number) as pool:
        yield pool


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_under_load_everybody_is_told_and_nothing_is_lost(tmp_path: Path, number: signal.Signals) -> None:
    with running(data_dir=tmp_path) as server, threads(WATCHES + 8) as pool, ExitStack() as stack:
        with Wire(place(server)) as wire:
            quiet(wire)
            start = revision_of(wire.ask("GET", WIDGETS).json())
        target = f"{WIDGETS}?watch=1&allowWatchBookmarks=true&resourceVersion={start}"
        streams = [stack.enter_context(Stream(place(server), target)) for _ in range(WATCHES)]
        seen = [pool.submit(follow, stream) for stream in streams]
        probing = pool.submit(probe, place(server))
        with Wire(place(server)) as wire, Stream(place(server), target) as one:
            writing = [pool.submit(write, place(server), writer) for writer in range(4)]
            reading = [pool.submit(read, place(server)) for _ in range(2)]
            one.until(start + 200)  # everybody is at work
            head, body = in_flight(place(server), "in-flight")
            wire.send(head)
            server.process.send_signal(number)
            assert probing.result()[-1].status == 500, "readiness dropped before the connection did"
            wire.send(body)
            answered = wire.reply("POST")
        assert server.process.wait(GRACE) == 0
        assert "Traceback" not in server.log
        assert answered.status == 201
        stored = {name: revision for future in writing for name, revision in future.result().items()}
        stored["in-flight"] = revision_of(answered.json())
        assert [future.result() for future in reading] != [0, 0]
        stories = [each_revision(future.result()) for future in seen]  # raises for a stream that was cut
    assert [reply.status for reply in probing.result()[:-1]] == [200] * (len(probing.result()) - 1)
    assert b"[-]shutdown failed" in probing.result()[-1].body
    for story in stories:
        assert story == list(range(start + 1, start + 1 + len(story)))
        assert len(story) >= 200
    resumed(tmp_path, stored, [story[-1] for story in stories])


def in_flight(place: Place, name: str) -> tuple[bytes, bytes]:
    """A create in two parts: all but the last byte, and that."""
    whole = request(place, "POST", WIDGETS, msgspec.json.encode(widget(name)), {"content-type": "application/json"})
    return whole[:-1], whole[-1:]


def resumed(folder: Path, stored: dict[str, int], places: list[int]) -> None:
    """After the restart: what was acknowledged is there, and watches go on from where they were, without a gap."""
    with running(data_dir=folder) as server, Wire(place(server)) as wire:
        listed = wire.ask("GET", WIDGETS).json()
        found = {item["metadata"]["name"]: revision_of(item) for item in listed["items"]}
        assert stored.items() <= found.items()
        newest = revision_of(wire.post(WIDGETS, widget("newest")).json())
        for after in sorted(set(places)):
            with Stream(place(server), f"{WIDGETS}?watch=1&resourceVersion={after}") as stream:
                assert each_revision(stream.until(newest)) == list(range(after + 1, newest + 1))


def test_clients_that_stall_do_not_keep_the_server(tmp_path: Path) -> None:
    with (
        running((ROOT / "tests/plugins/reference.py",), "--shutdown-grace", "1", data_dir=tmp_path) as server,
        ExitStack() as stack,
    ):
        for number in range(40):
            with Wire(place(server)) as wire:
                big = {**widget(f"big{number}"), "metadata": {"name": f"big{number}", "annotations": {"a": "x" * 200_000}}}
                assert wire.post(WIDGETS, big).status == 201
        head, _ = in_flight(place(server), "never")
        for sent in (
            b"GET /heal",  # a head that does not go on
            head,  # a body that does not go on
            request(place(server), "GET", WIDGETS),  # a list of 8 MB that nobody reads
            request(place(server), "GET", f"{WIDGETS}?watch=1&resourceVersion=0"),  # a watch that nobody reads
            b"",  # nothing
        ):
            wire = stack.enter_context(Wire(place(server)))
            wire.send(sent)
        half = stack.enter_context(place(server).socket())
        half.sendall(b"\x16\x03\x01")  # a handshake that does not go on
        with Wire(place(server)) as wire:
            assert wire.ask("GET", "/readyz").status == 200
        assert gone(server) == 0
        assert "Traceback" not in server.log


def test_an_idle_server_leaves_at_once_with_0_and_says_so() -> None:
    with running() as server:
        assert gone(server) == 0
        assert '"event": "stopped"' in server.log


def test_a_second_signal_does_not_turn_a_clean_end_into_a_broken_one() -> None:
    with running() as server, Stream(place(server), f"{WIDGETS}?watch=1") as stream:
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)
        assert follow(stream) == []
        assert server.process.wait(GRACE) == 0


@pytest.mark.parametrize("appears", ["admin.token", "ca.crt", "server.crt", "kubeconfig", "skep.db", "skep.db.lock"])
def test_a_signal_during_the_start_ends_it_without_damage(tmp_path: Path, appears: str) -> None:
    """Whatever was there already when the signal came, the next start works."""
    folder = tmp_path / "data"
    command = [sys.executable, "-m", "apiserver", "serve", "--listen", "127.0.0.1:0", "--data-dir", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (folder / appears).exists():
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert "Traceback" not in errors
    with running(data_dir=folder) as server, Wire(place(server)) as wire:
        assert wire.post(WIDGETS, widget("works")).status == 201


def test_a_stream_that_breaks_off_is_noticed_by_these_tests(tmp_path: Path) -> None:
    """The tests above count on it: a watch that does not end as HTTP has it raises."""
    with running(data_dir=tmp_path) as server, Stream(place(server), f"{WIDGETS}?watch=1") as stream, threads(1) as pool:
        reading: Future[list[dict[str, Any]]] = pool.submit(follow, stream)
        server.kill()
        with pytest.raises((IncompleteRead, OSError)):
            reading.result()
