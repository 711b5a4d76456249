"""What an actor may declare, in a real server: selectors, observations by label, a cleanup with a finalizer of another name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.test_actors import until
from tests.servers import ROOT, Running, running

PICKY = ROOT / "tests/plugins/picky.py"
PICKS = "/apis/picky.example/v1/namespaces/default/picks"
NOTES = "/api/v1/namespaces/default/configmaps"
MERGE = {"Content-Type": "application/merge-patch+json"}
Document = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running([PICKY]) as server:
        yield server


@pytest.fixture
def api(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def make(api: httpx.Client, name: str, tier: str = "gold", **spec: Any) -> Document:
    body = {"apiVersion": "picky.example/v1", "kind": "Pick", "metadata": {"name": name, "labels": {"tier": tier}}, "spec": spec}
    answer = api.post(PICKS, json=body)
    assert answer.status_code == 201, answer.text
    made: Document = answer.json()
    return made


def patch(api: httpx.Client, name: str, change: Document) -> Document:
    answer = api.patch(f"{PICKS}/{name}", content=json.dumps(change), headers=MERGE)
    assert answer.status_code == 200, answer.text
    patched: Document = answer.json()
    return patched


def seen(api: httpx.Client, name: str, size: int) -> Document:
    return until(api, PICKS, f"metadata.name={name}", lambda one: one.get("status", {}).get("seen") == size)


def test_what_does_not_match_is_left_alone_until_it_does_and_again_when_it_does_not(api: httpx.Client) -> None:
    make(api, "tin", tier="tin", size=2)
    make(api, "shut", open=False, size=2)
    make(api, "gold", size=2)
    assert seen(api, "gold", 2)["metadata"]["finalizers"] == ["picky.example/farewell"]
    patch(api, "tin", {"metadata": {"labels": {"tier": "gold"}}})
    seen(api, "tin", 2)
    patch(api, "shut", {"spec": {"open": True}})
    seen(api, "shut", 2)
    patch(api, "gold", {"spec": {"open": False}})
    patch(api, "gold", {"spec": {"size": 3}})
    patch(api, "tin", {"spec": {"size": 3}})
    seen(api, "tin", 3)
    assert api.get(f"{PICKS}/gold").json()["status"]["seen"] == 2


def test_what_names_an_object_by_a_label_wakes_it(api: httpx.Client) -> None:
    make(api, "named")
    seen(api, "named", 1)
    for number in (1, 2):
        metadata = {"name": f"note-{number}", "labels": {"picky.example/pick": "named"}}
        assert api.post(NOTES, json={"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).status_code == 201
        until(api, PICKS, "metadata.name=named", lambda one: one["status"]["notes"] == number)  # noqa: B023


@pytest.mark.parametrize("left", [False, True], ids=["while-it-matches", "after-it-ceased-to-match"])
def test_what_was_held_is_cleaned_up_and_what_was_not_goes_at_once(api: httpx.Client, left: bool) -> None:
    name = f"held-{left}".lower()
    make(api, name)
    seen(api, name, 1)
    if left:
        patch(api, name, {"metadata": {"labels": {"tier": "tin"}}})
    api.delete(f"{PICKS}/{name}")
    until(api, NOTES, f"metadata.name=gone-{name}", lambda one: True)
    with api.stream("GET", PICKS, params={"watch": "1", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": "60"}) as lines:
        if api.get(f"{PICKS}/{name}").status_code != 404:
            assert any(json.loads(line)["type"] == "DELETED" for line in lines.iter_lines())
    make(api, f"never-{name}", tier="tin")
    assert api.delete(f"{PICKS}/never-{name}").json()["status"] == "Success"
    assert api.get(f"{NOTES}/gone-never-{name}").status_code == 404


def test_an_object_that_is_held_and_deleted_while_the_server_is_killed_is_cleaned_up_by_the_next(tmp_path: Any) -> None:
    with running([PICKY], data_dir=tmp_path) as server, server.client() as api:
        make(api, "a")
        seen(api, "a", 1)
        api.delete(f"{PICKS}/a")
        server.kill()
    with running([PICKY], data_dir=tmp_path) as server, server.client() as api:
        until(api, NOTES, "metadata.name=gone-a", lambda one: True)
