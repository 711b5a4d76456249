"""What went wrong with watches and lists in other API servers, held against a real one of ours over its socket.

Each test names the story it tells. The server has a small window and quick bookmarks: what takes an hour elsewhere is seen at once.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from zlib import crc32

import pytest

from tests.e2e.wire import Place, Reply, Stream, Wire, each_revision, place_of, quiet, revision_of
from tests.servers import REFERENCE, Running, running

GROUP = "/apis/reference.example.com/v1"
CLUSTER = f"{GROUP}/widgets"
END_OF_LIST = "k8s.io/initial-events-end"
Event = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server whose watches live on a small window, and whose bookmarks come five times a second."""
    with running((REFERENCE,), "--set", "watch.window_changes=64", "--set", "watch.bookmark_seconds=0.2") as server:
        yield server


@pytest.fixture
def place(server: Running) -> Place:
    return place_of(server.url, server.ca, server.token)


@pytest.fixture
def wire(place: Place) -> Iterator[Wire]:
    with Wire(place) as wire:
        yield wire


@pytest.fixture
def widgets(wire: Wire, request: pytest.FixtureRequest) -> str:
    """The Widgets of a namespace that is the test's own."""
    name = f"ns-{crc32(request.node.name.encode())}"
    assert wire.post("/api/v1/namespaces", {"metadata": {"name": name}}).status == 201
    return f"{GROUP}/namespaces/{name}/widgets"


def widget(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A Widget that is good."""
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "reference.example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 1, **spec}}


def created(reply: Reply) -> dict[str, Any]:
    """The object that was created."""
    assert reply.status == 201, reply
    document: dict[str, Any] = reply.json()
    return document


def churn(place: Place, widgets: str, writer: int, rounds: int) -> None:
    """Creates, changes and deletes."""
    chance = random.Random(writer)
    with Wire(place) as wire:
        for number in range(rounds):
            name = f"w{writer}-{number}"
            created(wire.post(widgets, widget(name)))
            assert wire.merge(f"{widgets}/{name}", {"spec": {"size": 2}}).status == 200
            assert wire.merge(f"{widgets}/{name}/status", {"status": {"phase": "Done"}}).status == 200
            if chance.random() < 0.5:
                assert wire.ask("DELETE", f"{widgets}/{name}").status == 200


def replayed(items: Sequence[dict[str, Any]], events: Sequence[Event]) -> dict[str, int]:
    """The names and revisions that a client holds after a list and the events that came after it. Checks each event on the way."""
    held = {item["metadata"]["name"]: revision_of(item) for item in items}
    for event in events:
        name, revision = event["object"]["metadata"]["name"], revision_of(event["object"])
        assert (event["type"] == "ADDED") == (name not in held), f"{event['type']} of {name}"
        assert revision > held.get(name, 0)
        if event["type"] == "DELETED":
            del held[name]
        else:
            held[name] = revision
    return held


def test_a_list_and_the_watch_from_its_revision_miss_nothing_and_repeat_nothing_under_writers(
    place: Place, wire: Wire, widgets: str
) -> None:
    # agents-at-scale-ark#2680, #3246: objects came again as ADDED on a watch that began at the list's own revision.
    begun = threading.Barrier(7)

    def informer(delay: int) -> tuple[list[dict[str, Any]], Stream]:
        with Wire(place) as own:
            begun.wait()
            for _ in range(delay):  # begins somewhere in the middle of the writes
                listed = own.ask("GET", widgets).json()
        return listed["items"], Stream(place, f"{widgets}?watch=1&resourceVersion={revision_of(listed)}")

    def writer(number: int) -> None:
        begun.wait()
        churn(place, widgets, number, 40)

    with ThreadPoolExecutor(7) as pool:
        informers = [pool.submit(informer, 1 + 5 * number) for number in range(4)]
        list(pool.map(writer, range(3)))
        last = revision_of(created(wire.post(widgets, widget("last"))))
        final = {item["metadata"]["name"]: revision_of(item) for item in wire.ask("GET", widgets).json()["items"]}
        for future in informers:
            items, stream = future.result()
            with stream:
                events = stream.until(last)
            revisions = each_revision(events)
            assert revisions == sorted(set(revisions))
            assert replayed(items, events) == final


def test_a_deletion_carries_the_last_state_of_the_object_and_the_revision_of_the_deletion(
    place: Place, wire: Wire, widgets: str
) -> None:
    # agents-at-scale-ark#1523: DELETED came without the object.
    first = created(wire.post(widgets, widget("a", {"app": "x"}, notes="the last state")))
    changed = wire.merge(f"{widgets}/a/status", {"status": {"phase": "Done"}}).json()
    wire.ask("DELETE", f"{widgets}/a")
    after = revision_of(created(wire.post(widgets, widget("b"))))
    with Stream(place, f"{widgets}?watch=1&resourceVersion={revision_of(changed)}") as stream:
        deletion, addition = stream.until(after)
    assert deletion["type"] == "DELETED"
    assert {**deletion["object"], "metadata": None} == {**changed, "metadata": None}
    assert deletion["object"]["metadata"]["uid"] == first["metadata"]["uid"]
    assert deletion["object"]["metadata"]["labels"] == {"app": "x"}
    assert revision_of(changed) < revision_of(deletion["object"]) < revision_of(addition["object"])


def test_an_object_that_leaves_a_selection_is_a_deletion_for_it_and_one_that_comes_is_an_addition(
    place: Place, wire: Wire, widgets: str
) -> None:
    start = revision_of(wire.ask("GET", widgets).json())
    created(wire.post(widgets, widget("a", {"app": "x"})))
    wire.merge(f"{widgets}/a", {"metadata": {"labels": {"app": "y"}}})
    wire.merge(f"{widgets}/a", {"spec": {"size": 3}})
    wire.merge(f"{widgets}/a", {"metadata": {"labels": {"app": "x"}}})
    last = revision_of(created(wire.post(widgets, widget("end", {"app": "x"}))))
    with Stream(place, f"{widgets}?watch=1&resourceVersion={start}&labelSelector=app%3Dx") as stream:
        events = stream.until(last)
    seen = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    assert seen == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("ADDED", "end")]
    assert each_revision(events) == sorted(each_revision(events))


def test_a_bookmark_is_true_for_the_selection_of_its_watcher(place: Place, wire: Wire, widgets: str) -> None:
    # agents-at-scale-ark#1523: a bookmark that is ahead of what was sent loses what lies between. Resume from each, and see.
    start = revision_of(wire.ask("GET", widgets).json())
    query = "labelSelector=app%3Dx&allowWatchBookmarks=true"
    story: list[Event] = []
    with Stream(place, f"{widgets}?watch=1&resourceVersion={start}&{query}") as stream:
        for number in range(5):
            created(wire.post(widgets, widget(f"x{number}", {"app": "x"})))
            other = revision_of(created(wire.post(widgets, widget(f"y{number}", {"app": "y"}))))
            for event in stream:
                story.append(event)
                if event["type"] == "BOOKMARK" and revision_of(event["object"]) >= other:
                    break  # it has passed what the watcher does not see
    names = [event["object"]["metadata"]["name"] for event in story if event["type"] != "BOOKMARK"]
    assert names == [f"x{number}" for number in range(5)]
    last = revision_of(created(wire.post(widgets, widget("end", {"app": "x"}))))
    for position, event in enumerate(story):
        if event["type"] == "BOOKMARK":
            assert event["object"]["kind"] == "Widget"
            with Stream(place, f"{widgets}?watch=1&resourceVersion={revision_of(event['object'])}&{query}") as stream:
                rest = [later for later in stream.until(last) if later["type"] != "BOOKMARK"]
            told = [later for later in story[position:] if later["type"] != "BOOKMARK"]
            assert each_revision(rest) == [*each_revision(told), last]


def test_a_watch_list_ends_its_list_with_its_bookmark_and_goes_on(place: Place, wire: Wire, widgets: str) -> None:
    # kubernetes#140890, static-kas#43, tilt-apiserver#98: informers hang when sendInitialEvents is ignored.
    for number in range(700):  # more than is sent at once
        created(wire.post(widgets, widget(f"w{number:03}")))
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    with Stream(place, f"{widgets}?watch=1&{query}") as stream:
        initial = []
        for event in stream:
            initial.append(event)
            if event["type"] == "BOOKMARK":
                break
        *added, bookmark = initial
        assert [event["type"] for event in added] == ["ADDED"] * 700
        assert [event["object"]["metadata"]["name"] for event in added] == [f"w{number:03}" for number in range(700)]
        assert bookmark["object"]["metadata"]["annotations"] == {END_OF_LIST: "true"}
        assert revision_of(bookmark["object"]) >= max(each_revision(added))
        after = revision_of(created(wire.post(widgets, widget("after"))))
        later = [event for event in stream.until(after) if event["type"] != "BOOKMARK"]
        assert each_revision(later) == [after]


def test_a_watch_from_a_revision_of_the_future_tells_nothing_old_and_vouches_for_nothing(
    place: Place, wire: Wire, widgets: str
) -> None:
    # etcd#20221: a watch on a future revision returned old events. A bookmark there would make the client skip what is yet to come.
    current = revision_of(created(wire.post(widgets, widget("old"))))
    future = current + 3
    query = "allowWatchBookmarks=true&timeoutSeconds=1"
    with Stream(place, f"{widgets}?watch=1&resourceVersion={current}&{query}") as now:
        assert {event["type"] for event in now} == {"BOOKMARK"}
    with Stream(place, f"{widgets}?watch=1&resourceVersion={future}&{query}") as then:
        assert list(then) == []
    with Stream(place, f"{widgets}?watch=1&resourceVersion={future}") as stream:
        made = [revision_of(created(wire.post(widgets, widget(f"new{number}")))) for number in range(6)]
        assert each_revision(stream.until(made[-1])) == [revision for revision in made if revision > future]


@pytest.mark.parametrize("part", ["", "/status", "/scale"])
def test_of_writers_with_the_same_revision_exactly_one_wins(place: Place, wire: Wire, widgets: str, part: str) -> None:
    # tilt#5292: two conflicting updates were both accepted, and status writes were not checked at all.
    created(wire.post(widgets, widget("a")))
    for _ in range(10):
        current = wire.ask("GET", f"{widgets}/a{part}").json()
        together = threading.Barrier(8)

        def update(writer: int, current: dict[str, Any] = current, together: threading.Barrier = together) -> int:
            changes: dict[str, dict[str, Any]] = {
                "": {"spec": {**current["spec"], "size": writer + 10}},
                "/status": {"status": {"phase": f"by {writer}"}},
                "/scale": {"spec": {"replicas": writer + 10}},
            }
            with Wire(place) as own:
                own.ask("GET", "/livez")
                together.wait()
                if writer % 2:
                    patch = {**changes[part], "metadata": {"resourceVersion": current["metadata"]["resourceVersion"]}}
                    return own.merge(f"{widgets}/a{part}", patch).status
                return own.put(f"{widgets}/a{part}", {**current, **changes[part]}).status

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(update, range(8))) == [200, *[409] * 7]
        wire.merge(f"{widgets}/a", {"spec": {"size": 1, "replicas": 1}, "metadata": {"labels": None}})
        wire.merge(f"{widgets}/a/status", {"status": {"phase": None}})


def test_a_watcher_that_never_reads_holds_up_no_writer_and_is_told_that_history_is_gone() -> None:
    # tilt: an unbuffered send under a lock stopped all writers. Here one watcher sleeps while 24 MB of changes pass it by.
    settings = ("watch.window_changes=16", "watch.window_bytes=65536", "history.max_changes=100", "history.compact_seconds=0.1")
    with running((REFERENCE,), *(word for item in settings for word in ("--set", item))) as server:
        place = place_of(server.url, server.ca, server.token)
        widgets = f"{GROUP}/namespaces/default/widgets"
        with Wire(place) as wire:
            quiet(wire)
            start = revision_of(created(wire.post(widgets, widget("a"))))
            with Stream(place, f"{widgets}?watch=1&resourceVersion={start}") as asleep:
                for number in range(400):
                    patch = {"metadata": {"annotations": {"padding": f"{number}" * 20_000}}}
                    assert wire.merge(f"{widgets}/a", patch).status == 200
                last = revision_of(created(wire.post(widgets, widget("last"))))
                events = list(asleep) if gone(wire, widgets, start) else []
            *told, final = events
            assert each_revision(told) == list(range(start + 1, start + 1 + len(told))), "what it was sent is whole"
            assert len(told) < last - start
            assert final["type"] == "ERROR"
            assert (final["object"]["code"], final["object"]["reason"]) == (410, "Expired")
            with Stream(place, f"{widgets}?watch=1&timeoutSeconds=1") as again:
                assert {event["object"]["metadata"]["name"] for event in again} == {"a", "last"}


def gone(wire: Wire, widgets: str, revision: int) -> bool:
    """Waits until the server has forgotten what came after a revision."""
    while True:
        reply = wire.ask("GET", f"{widgets}?watch=1&timeoutSeconds=1&resourceVersion={revision}")
        if b'"code":410' in reply.body:
            return True


def test_a_server_that_slept_longer_than_every_time_out_calls_nothing_stale_fresh() -> None:
    # etcd#20418: stale reads after a pause of the process.
    settings = (
        "watch.timeout_seconds=0.5",
        "watch.bookmark_seconds=0.2",
        "limits.request_seconds=0.5",
        "history.compact_seconds=0.2",
    )
    with running((REFERENCE,), *(word for item in settings for word in ("--set", item))) as server:
        place = place_of(server.url, server.ca, server.token)
        widgets = f"{GROUP}/namespaces/default/widgets"
        with Wire(place) as wire, Wire(place) as other, ThreadPoolExecutor(2) as pool:
            before = revision_of(created(wire.post(widgets, widget("before"))))
            with Stream(place, f"{widgets}?watch=1&resourceVersion={before}&allowWatchBookmarks=true&timeoutSeconds=600") as stream:
                server.process.send_signal(signal.SIGSTOP)
                writing = pool.submit(wire.post, widgets, widget("during"))
                reading = pool.submit(other.ask, "GET", widgets)
                threading.Event().wait(2.5)  # the pause itself: longer than each of the times above
                assert not writing.done()
                server.process.send_signal(signal.SIGCONT)
                during = revision_of(created(writing.result()))
                listed = reading.result().json()
                assert (revision_of(listed) >= during) == ("during" in {item["metadata"]["name"] for item in listed["items"]})
                fresh = other.ask("GET", widgets).json()
                assert revision_of(fresh) >= during
                assert "during" in {item["metadata"]["name"] for item in fresh["items"]}
                events = stream.until(during)
            assert each_revision(events) == [during]
            assert [event for event in events[:-1] if event["type"] != "BOOKMARK"] == []
            assert all(revision_of(event["object"]) < during for event in events[:-1])


def test_watchers_that_go_away_leave_nothing_behind(server: Running, place: Place, wire: Wire, widgets: str) -> None:
    """Half of them say so, half of them are reset, some in the middle of what is sent to them."""
    for number in range(50):
        created(
            wire.post(widgets, {**widget(f"w{number}"), "metadata": {"name": f"w{number}", "annotations": {"a": "x" * 20_000}}})
        )
    wire.ask("GET", "/livez")
    before = connections(server)
    for number in range(60):
        stream = Stream(place, f"{widgets}?watch=1")
        if number % 3:
            next(iter(stream))
        if number % 2:
            stream.reset()
        stream.close()
    while connections(server) > before:
        wire.ask("GET", "/livez")
    assert revision_of(created(wire.post(widgets, widget("still-there"))))
    assert '"level": "error"' not in server.log


def connections(server: Running) -> int:
    """How many sockets it has open."""
    folder = f"/proc/{server.process.pid}/fd"
    found = 0
    for name in os.listdir(folder):
        try:
            found += os.readlink(f"{folder}/{name}").startswith("socket:")
        except FileNotFoundError:
            continue
    return found
