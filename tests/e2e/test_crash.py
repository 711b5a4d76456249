"""kill -9 under concurrent writes, again and again. SKEP_TEST_CRASHES says how often (4).

etcd#14370: an acknowledged write was lost in a crash. Here every answer that a client got before the server was killed is held
against what the next server says, and one watch, resumed over all the crashes, has to tell the whole story once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.wire import Place, Stream, Wire, each_revision, place_of, quiet, revision_of
from tests.servers import running

CRASHES = int(os.environ.get("SKEP_TEST_CRASHES", "4"))
WRITERS = 6
WIDGETS = "/apis/reference.example.com/v1/namespaces/default/widgets"


@dataclass
class Book:
    """What writers were told.

    `exact`: objects as they were acknowledged, None for one that was deleted. `floor`: the revision that was acknowledged of
    objects to which one more write was under way when the server was killed.
    """

    exact: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    floor: dict[str, int] = field(default_factory=dict)
    count: int = 0
    enough: threading.Event = field(default_factory=threading.Event)
    target: int = 0

    def doubt(self, name: str, *, deleting: bool = False) -> None:
        """A write begins: until it is answered, nobody knows whether it was done."""
        before = self.exact.pop(name, None)
        if before is not None and not deleting:
            self.floor[name] = revision_of(before)

    def note(self, name: str, document: dict[str, Any] | None) -> None:
        """A write was acknowledged."""
        self.floor.pop(name, None)
        self.exact[name] = document
        self.count += 1
        if self.count >= self.target:
            self.enough.set()


def write(place: Place, writer: int, numbers: Iterator[int], book: Book) -> None:
    """Creates, changes and deletes objects of its own until the server is gone."""
    with Wire(place) as wire:
        for number in numbers:
            try:
                _live(wire, f"w{writer}-{number}", number, book)
            except (OSError, HTTPException):
                return


def _live(wire: Wire, name: str, number: int, book: Book) -> None:
    """The life of one object. Nobody else writes it, so nothing is refused."""
    target = f"{WIDGETS}/{name}"
    created = wire.post(
        WIDGETS,
        {
            "apiVersion": "reference.example.com/v1",
            "kind": "Widget",
            "metadata": {"name": name},
            "spec": {"size": 1, "notes": str(number)},
        },
    )
    assert created.status == 201, created
    book.note(name, created.json())
    book.doubt(name)
    changed = wire.merge(target, {"spec": {"size": 2}})
    assert changed.status == 200, changed
    book.note(name, changed.json())
    book.doubt(name)
    status = wire.merge(f"{target}/status", {"status": {"phase": "Done"}})
    assert status.status == 200, status
    book.note(name, status.json())
    if number % 3 == 0:
        book.doubt(name, deleting=True)
        assert wire.ask("DELETE", target).status == 200
        book.note(name, None)


def collect(place: Place, after: int, events: list[dict[str, Any]]) -> None:
    """Watches from a revision until the server is gone."""
    try:
        with Stream(place, f"{WIDGETS}?watch=1&resourceVersion={after}") as stream:
            events.extend(stream_events(stream))
    except (OSError, HTTPException, ValueError):
        return  # killed in the middle of a line, perhaps


def stream_events(stream: Stream) -> Iterator[dict[str, Any]]:
    """Events of a stream, without those of no object."""
    for event in stream:
        assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
        yield event


@pytest.mark.timeout(60 + 15 * CRASHES)
def test_every_acknowledged_write_survives_kill_9_and_a_watch_goes_on_without_loss(tmp_path: Path) -> None:
    book = Book()
    numbers = [count() for _ in range(WRITERS)]
    seen: list[dict[str, Any]] = []
    newest = start = 0
    for crash in range(CRASHES):
        with (
            running(data_dir=tmp_path) as server,
            ThreadPoolExecutor(WRITERS + 1) as threads,
            Wire(place := place_of(server.url, server.ca, server.token)) as wire,
        ):
            quiet(wire)
            newest = survived(wire, book, newest)
            start = start or newest
            events: list[dict[str, Any]] = []
            watching = threads.submit(collect, place, each_revision(seen)[-1] if seen else start, events)
            book.enough.clear()
            book.target = book.count + 100 + 37 * crash
            writing = [threads.submit(write, place, writer, numbers[writer], book) for writer in range(WRITERS)]
            assert book.enough.wait(60)
            server.kill()
            for future in (watching, *writing):
                future.result()
            seen += events
    with running(data_dir=tmp_path) as server, Wire(place := place_of(server.url, server.ca, server.token)) as wire:
        newest = survived(wire, book, newest)
        with Stream(place, f"{WIDGETS}?watch=1&resourceVersion={each_revision(seen)[-1]}&timeoutSeconds=2") as stream:
            seen += stream_events(stream)
        assert each_revision(seen) == list(range(start + 1, newest + 1)), "every revision once, in order, and none left out"
        told = {event["object"]["metadata"]["name"]: event["object"] for event in seen if event["type"] != "DELETED"}
        gone = {event["object"]["metadata"]["name"] for event in seen if event["type"] == "DELETED"}
        listed = {item["metadata"]["name"]: item for item in wire.ask("GET", WIDGETS).json()["items"]}
        assert {name: revision_of(told[name]) for name in told.keys() - gone} == {
            n: revision_of(item) for n, item in listed.items()
        }


def survived(wire: Wire, book: Book, before: int) -> int:
    """Holds the server against the book; returns its revision."""
    found = wire.ask("GET", WIDGETS).json()
    items = {item["metadata"]["name"]: item for item in found["items"]}
    revision = revision_of(found)
    assert revision >= before
    for name, document in book.exact.items():
        if document is None:
            assert name not in items
        else:
            assert name in items, f"{name} was acknowledged as {document}"
            assert {**document, **items[name]} == document  # a list says the kind of its items once
    assert not {name: floor for name, floor in book.floor.items() if name not in items or revision_of(items[name]) < floor}
    return revision
