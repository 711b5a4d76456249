"""Supervision and insight on a real server whose actors are in every kind of trouble (`tests/plugins/troubled.py`)."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.kubectl import Kubectl, environment, next_row, programs, rows
from tests.servers import ROOT, Running, running

TROUBLED = ROOT / "tests/plugins/troubled.py"
GROUP = "/apis/troubled.example/v1/namespaces/default"
ACTORS = "/apis/skep.dev/v1/actors"
MERGE = {"Content-Type": "application/merge-patch+json"}
Document = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the actors look into."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture
def server(folder: Path) -> Iterator[Running]:
    with running(
        [TROUBLED],
        "--set",
        "insight.blocked_seconds=0.2",
        "--set",
        "insight.report_seconds=1",
        env={"SKEP_TEST_FOLDER": str(folder)},
    ) as server:
        yield server


@pytest.fixture
def api(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def make(api: httpx.Client, kind: str, name: str, note: str = "") -> None:
    body = {"apiVersion": "troubled.example/v1", "kind": kind, "metadata": {"name": name}, "spec": {"note": note}}
    answer = api.post(f"{GROUP}/{kind.lower()}s", json=body)
    assert answer.status_code == 201, answer.text


def patch(api: httpx.Client, path: str, change: Document) -> httpx.Response:
    return api.patch(path, content=json.dumps(change), headers=MERGE)


def until(api: httpx.Client, collection: str, name: str, holds: Callable[[Document], bool]) -> Document:
    """The object of a watch as soon as something holds of it."""
    query = {"watch": "1", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": "60"}
    with api.stream("GET", collection, params=query) as lines:
        for line in lines.iter_lines():
            seen: Document = json.loads(line)["object"]
            if holds(seen):
                return seen
    pytest.fail(f"not seen within a minute: {name} in {collection}")


def saw(note: str) -> Callable[[Document], bool]:
    return lambda seen: bool(seen.get("status", {}).get("saw") == note)


def state(wanted: str) -> Callable[[Document], bool]:
    return lambda actor: bool(actor["status"].get("state") == wanted)


def logged(server: Running, event: str) -> list[Document]:
    """The lines of the log about an event, as soon as there is one."""
    while True:
        lines = [json.loads(line) for line in server.log.splitlines() if line.endswith("}")]
        found = [line for line in lines if line.get("event") == event]
        if found:
            return found
        time.sleep(0.01)


def test_what_blocks_the_event_loop_is_named_in_the_log_with_how_long(server: Running, api: httpx.Client, folder: Path) -> None:
    make(api, "Blocker", "stone")
    (line,) = logged(server, "the event loop is blocked")
    assert (line["actor"], line["at"]) == ("blocker", "default/stone")
    assert line["seconds"] >= 0.2
    assert any(call.startswith("blocker ") and "troubled.py:" in call for call in line["stack"])
    (folder / "release").touch()
    (over,) = logged(server, "the event loop turns again")
    assert over["seconds"] >= line["seconds"]
    until(api, f"{GROUP}/blockers", "stone", saw(""))
    text = api.get("/metrics").text
    samples = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert samples["skep_event_loop_blocked_total"] >= 1
    assert samples["skep_event_loop_blocked_seconds_total"] >= over["seconds"] - 0.001


def test_a_server_that_was_suspended_says_that_it_stood_still_and_blames_nobody(server: Running, api: httpx.Client) -> None:
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(0.7)  # that it takes longer than the limit is what it is about
    server.process.send_signal(signal.SIGCONT)
    assert api.get("/livez").text == "ok"
    (line, *_) = logged(server, "the process stood still")
    assert line["seconds"] >= 0.3
    assert "actor" not in line


def test_an_actor_that_cannot_be_set_up_is_named_until_it_can_and_the_others_go_on(
    server: Running, api: httpx.Client, folder: Path
) -> None:
    down = until(api, ACTORS, "waiter", state("Failed"))
    assert down["status"]["message"].startswith("FileNotFoundError: ")
    assert down["status"]["conditions"][0] | {"lastTransitionTime": "", "observedGeneration": 1} == {
        "type": "Ready",
        "status": "False",
        "reason": "Failed",
        "message": down["status"]["message"],
        "lastTransitionTime": "",
        "observedGeneration": 1,
    }
    readiness = api.get("/readyz?verbose")
    assert readiness.status_code == 500
    assert "[-]actor-waiter failed" in readiness.text
    assert "[+]actor-well ok" in readiness.text
    assert api.get("/livez").status_code == 200
    make(api, "Well", "one", "seen")
    until(api, f"{GROUP}/wells", "one", saw("seen"))
    make(api, "Waiter", "two", "later")
    (folder / "there").write_text("")
    until(api, f"{GROUP}/waiters", "two", saw("later"))
    until(api, ACTORS, "waiter", state("Running"))
    assert api.get("/readyz").text == "ok"


def test_an_actor_that_breaks_is_started_again_and_takes_nobody_with_it(server: Running, api: httpx.Client, folder: Path) -> None:
    (folder / "there").write_text("")
    make(api, "Breaker", "one", "mended")
    down = until(api, ACTORS, "breaker", state("Failed"))
    assert down["status"]["message"] == "RuntimeError: no words"
    make(api, "Well", "one", "seen")
    until(api, f"{GROUP}/wells", "one", saw("seen"))
    again = until(api, ACTORS, "breaker", lambda actor: actor["status"]["totals"]["restarts"] >= 1)
    assert again["status"]["totals"]["runs"] == 0, "a run that breaks its actor has no end to be counted"
    (folder / "mended").touch()
    until(api, f"{GROUP}/breakers", "one", saw("mended"))
    until(api, ACTORS, "breaker", state("Running"))
    assert api.get("/readyz").text == "ok"
    assert {line["actor"] for line in logged(server, "an actor broke; it is started again")} == {"breaker"}


def test_a_failing_key_is_told_with_its_error_and_its_next_retry_and_can_be_woken(api: httpx.Client) -> None:
    make(api, "Failer", "good", "a")
    make(api, "Failer", "bad", "b")
    actor = until(api, ACTORS, "failer", lambda actor: actor["status"].get("failing", [{}])[0].get("failures", 0) >= 2)
    (failing,) = actor["status"]["failing"]
    assert failing["key"] == "default/bad"
    assert failing["error"] == "RuntimeError: cannot: token=*** b"
    assert failing["nextRetry"]
    assert actor["status"]["timers"] == 2
    results = {past["key"]: past["result"] for past in actor["status"]["last"]}
    assert results == {"default/bad": "error", "default/good": "again"}
    runs = actor["status"]["totals"]["results"]["again"]
    answer = patch(api, f"{ACTORS}/failer", {"metadata": {"annotations": {"skep.dev/wake": "default/good"}}})
    assert answer.status_code == 200, answer.text
    woken = until(api, ACTORS, "failer", lambda actor: actor["status"]["totals"]["results"]["again"] > runs)
    assert "skep.dev/wake" not in woken["metadata"].get("annotations", {})
    text = api.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    retries = {sample.labels["name"]: sample.value for sample in families["workqueue_retries"].samples}
    assert retries["failer"] >= 2
    assert retries["well"] == 0
    assert "topsecret" not in text


def test_metrics_need_a_token(server: Running, api: httpx.Client) -> None:
    with httpx.Client(verify=server.trust, trust_env=False) as nobody:
        assert nobody.get(f"{server.url}/metrics").status_code == 401
    answer = api.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    assert api.post("/metrics").status_code == 405
    assert "/metrics" in api.get("/").json()["paths"]


def test_a_pause_holds_over_a_restart_and_what_happened_meanwhile_is_done_after_it(folder: Path, tmp_path: Path) -> None:
    env = {"SKEP_TEST_FOLDER": str(folder)}
    data = tmp_path / "data"
    with running([TROUBLED], data_dir=data, env=env) as server, server.client() as api:
        make(api, "Well", "one", "first")
        until(api, f"{GROUP}/wells", "one", saw("first"))
        patch(api, f"{ACTORS}/well", {"spec": {"paused": True}})
        until(api, ACTORS, "well", state("Paused"))
        patch(api, f"{GROUP}/wells/one", {"spec": {"note": "second"}})
    with running([TROUBLED], data_dir=data, env=env) as server, server.client() as api:
        until(api, ACTORS, "well", lambda actor: state("Paused")(actor) and actor["status"]["queue"] == 1)
        patch(api, f"{GROUP}/wells/one", {"spec": {"note": "third"}})
        assert api.get(f"{GROUP}/wells/one").json()["status"]["saw"] == "first"
        patch(api, f"{ACTORS}/well", {"spec": {"paused": False}})
        until(api, f"{GROUP}/wells", "one", saw("third"))
        assert until(api, ACTORS, "well", lambda actor: actor["status"]["totals"]["runs"] >= 1)["status"]["totals"]["runs"] == 1


# As a person uses it.


@pytest.mark.parametrize("version", programs())
def test_kubectl_shows_watches_explains_pauses_and_wakes_actors(
    version: str, server: Running, api: httpx.Client, folder: Path, tmp_path: Path
) -> None:
    program = programs()[version]
    assert program is not None, "there is no kubectl on the PATH"
    kubectl = Kubectl(program, "default", environment(tmp_path, server.kubeconfig))
    (folder / "there").write_text("")
    kubectl("wait", "--for=condition=Ready", "actors", "--all", "--timeout=60s")
    with kubectl.running("get", "actors", "well", "-w") as watch:
        heading = next_row(watch)
        assert heading == ["NAME", "KIND", "STATE", "QUEUE", "RUNNING", "FAILING", "RUNS", "LAST", "RUN", "AGE"]
        assert next_row(watch) == ["well", "Well", "Running", "0", "0", "0", "0", "<none>", "<age>"]
        make(api, "Well", "one")
        assert next_row(watch)[:7] == ["well", "Well", "Running", "0", "0", "0", "1"]
        assert kubectl("patch", "actor", "well", "--type=merge", "-p", '{"spec":{"paused":true}}').startswith("actor.skep.dev/well")
        row = next_row(watch)
        while row[2] != "Paused":
            row = next_row(watch)
    wide = rows(kubectl("get", "actors", "-o", "wide"))
    assert [row[0] for row in wide[1:]] == ["blocker", "breaker", "failer", "waiter", "well"]
    assert any("troubled.py:" in cell for cell in wide[1])
    shown = kubectl.get("actor", "failer")
    assert (shown["spec"]["concurrency"], shown["spec"]["owns"]["kind"], shown["spec"]["mode"]) == (2, "Failer", "Async")
    described = kubectl("describe", "actor", "well")
    assert "State:" in described
    assert "Paused" in described
    assert "Lists in" not in kubectl("explain", "actor.spec.paused")
    assert "Begin no more runs" in kubectl("explain", "actor.spec.paused")
    assert "RunningKey" not in kubectl("explain", "actor.status.failing")
    assert "annotated" in kubectl("annotate", "actor", "failer", "skep.dev/wake=default/any")
    assert "Forbidden" in kubectl.refused("delete", "actor", "well")
    assert "declared in the plugin" in kubectl.refused("patch", "actor", "well", "--type=merge", "-p", '{"spec":{"concurrency":3}}')
    assert "NAMESPACE/NAME" in kubectl.refused("annotate", "actor", "failer", "skep.dev/wake=A/b/c", "--overwrite")
    resources = rows(kubectl("api-resources", "--api-group=skep.dev"))
    assert resources[1] == ["actors", "skep.dev/v1", "false", "Actor"]
