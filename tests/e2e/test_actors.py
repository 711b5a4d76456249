"""Actors in a real server: they are woken, write their status, are retried when they fail, and nobody else writes for them.

What is promised to them in detail is tried in `tests/testing/test_promises.py`, with a clock that the tests own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import ROOT, Running, running

MOODY = ROOT / "tests/plugins/moody.py"
MOODS = "/apis/moody.example/v1/namespaces/default/moods"
MERGE = {"Content-Type": "application/merge-patch+json"}
Document = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running([MOODY]) as server:
        yield server


@pytest.fixture
def api(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def make(api: httpx.Client, name: str, **spec: str) -> Document:
    body = {"apiVersion": "moody.example/v1", "kind": "Mood", "metadata": {"name": name}, "spec": spec}
    answer = api.post(MOODS, json=body)
    assert answer.status_code == 201, answer.text
    made: Document = answer.json()
    return made


def patch(api: httpx.Client, path: str, change: Document) -> httpx.Response:
    return api.patch(path, content=json.dumps(change), headers=MERGE)


def until(api: httpx.Client, collection: str, selector: str, holds: Callable[[Document], bool]) -> Document:
    """The first object of a watch of which something holds."""
    query = {"watch": "1", "fieldSelector": selector, "timeoutSeconds": "60"}
    with api.stream("GET", collection, params=query) as lines:
        for line in lines.iter_lines():
            seen: Document = json.loads(line)["object"]
            if holds(seen):
                return seen
    pytest.fail(f"not seen within a minute: {selector} in {collection}")


def status(mood: Document) -> Document:
    found: Document = mood.get("status", {})
    return found


def test_a_new_object_and_a_changed_one_are_reconciled_and_the_actor_is_not_woken_by_its_own_status(api: httpx.Client) -> None:
    make(api, "first", note="a")
    first = until(api, MOODS, "metadata.name=first", lambda mood: status(mood).get("saw") == "a")
    assert status(first)["runs"] == 1
    patch(api, f"{MOODS}/first", {"spec": {"note": "b"}})
    second = until(api, MOODS, "metadata.name=first", lambda mood: status(mood).get("saw") == "b")
    assert status(second)["runs"] == 2, "a run for each change of the spec, and none for the status that a run wrote"
    assert second["metadata"]["generation"] == 2, "status writes do not count"


def test_a_failing_reconcile_shows_in_an_event_without_its_secrets_and_is_retried_until_it_succeeds(
    server: Running, api: httpx.Client
) -> None:
    make(api, "failing", mood="broken", note="it")
    selector = "involvedObject.name=failing,reason=ReconcileFailed"
    event = until(api, "/api/v1/namespaces/default/events", selector, lambda event: (event.get("count") or 1) >= 2)
    assert event["type"] == "Warning"
    assert "cannot bear it" in event["message"]
    assert "topsecret" not in event["message"]
    assert "topsecret" not in server.log
    assert "failing" in server.log
    patch(api, f"{MOODS}/failing", {"spec": {"mood": "calm"}})
    assert until(api, MOODS, "metadata.name=failing", lambda mood: status(mood).get("saw") == "it")
    assert api.get("/readyz").text == "ok", "the server goes on"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_nobody_but_the_owner_writes_a_status_and_the_refusal_says_who_may(api: httpx.Client, method: str) -> None:
    mood = make(api, f"owned-{method.lower()}", note="mine")
    path = f"{MOODS}/{mood['metadata']['name']}/status"
    if method == "PUT":
        answer = api.put(path, json={**mood, "status": {"saw": "stolen"}})
    else:
        answer = patch(api, path, {"status": {"saw": "stolen"}})
    assert answer.status_code == 403
    assert answer.json()["reason"] == "Forbidden"
    assert "system:serviceaccount:kube-system:skep-actor-moody-obey" in answer.json()["message"]
    assert api.get(path).status_code == 200, "reading it is another matter"


def test_after_a_restart_every_object_is_looked_at_also_those_that_changed_while_nobody_watched(tmp_path: Path) -> None:
    with running([MOODY], data_dir=tmp_path) as server, server.client() as api:
        make(api, "kept", note="before")
        until(api, MOODS, "metadata.name=kept", lambda mood: status(mood).get("saw") == "before")
        server.kill()
    plain = tmp_path / "plain.py"
    plain.write_text(MOODY.read_text().partition("@plugin.actor")[0])
    with running([plain], data_dir=tmp_path) as server, server.client() as api:
        patch(api, f"{MOODS}/kept", {"spec": {"note": "meanwhile"}})
        refused = patch(api, f"{MOODS}/kept/status", {"status": {"saw": "stolen"}})
        assert refused.status_code == 403, "a kind without an owner has a status that nobody writes"
        assert "owner='external'" in refused.json()["message"]
    with running([MOODY], data_dir=tmp_path) as server, server.client() as api:
        mood = until(api, MOODS, "metadata.name=kept", lambda mood: status(mood).get("saw") == "meanwhile")
        assert status(mood)["runs"] == 2
