"""The example: what a Probe may be, and that its actor really fetches, looks again, and tells the change."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.e2e.test_actors import until
from tests.servers import ROOT, Running, running

PROBES = "/apis/uptime.example/v1/namespaces/default/probes"


class Site(ThreadingHTTPServer):
    """A site that answers with the code that it is told to."""

    code = 200


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        self.send_response(self.server.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running([ROOT / "examples/uptime.py"]) as server:
        yield server


@pytest.fixture
def api(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(("127.0.0.1", 0), Answer) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield site
        site.shutdown()


def probe(name: str, url: str, **spec: int) -> dict[str, object]:
    return {"apiVersion": "uptime.example/v1", "kind": "Probe", "metadata": {"name": name}, "spec": {"url": url, **spec}}


def test_a_site_that_answers_makes_its_probe_ready_and_one_that_fails_later_makes_it_not_ready(
    api: httpx.Client, site: Site
) -> None:
    url = f"http://127.0.0.1:{site.server_port}/"
    made = api.post(PROBES, json=probe("site", url, intervalSeconds=1)).json()
    assert made["spec"]["timeoutSeconds"] == 5, "defaults are stored"
    up = until(api, PROBES, "metadata.name=site", lambda one: one.get("status", {}).get("ready") is True)
    assert up["status"]["lastCode"] == 200
    assert up["status"]["latencyMs"] > 0
    condition = up["status"]["conditions"][0]
    assert (condition["type"], condition["status"], condition["observedGeneration"]) == ("Ready", "True", 1)
    site.code = 503
    down = until(api, PROBES, "metadata.name=site", lambda one: one.get("status", {}).get("lastCode") == 503)
    assert down["status"]["ready"] is False
    selector = "involvedObject.name=site,type=Warning"
    event = until(api, "/api/v1/namespaces/default/events", selector, lambda one: "503" in one.get("message", ""))
    assert event["involvedObject"]["uid"] == made["metadata"]["uid"]


def test_a_site_that_is_not_there_is_a_finding_and_no_failure_of_the_actor(server: Running, api: httpx.Client) -> None:
    api.post(PROBES, json=probe("nowhere", "http://127.0.0.1:9/", intervalSeconds=60))
    seen = until(api, PROBES, "metadata.name=nowhere", lambda one: "status" in one)
    assert seen["status"]["ready"] is False
    assert "lastCode" not in seen["status"]
    assert seen["status"]["conditions"][0]["reason"] == "ConnectError"
    assert "ReconcileFailed" not in server.log


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/", "must begin with http:// or https://"),
        ("example.com", "must begin with http:// or https://"),
        ("http:///path", "must begin with http:// or https://"),
        ("http://user:hunter2@example.com/", "must not hold credentials"),
        ("http://example.com:port/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
        ("http://example.com/" + "x" * 3000, "may not be more than 2048 bytes"),
    ],
)
def test_only_web_addresses_without_credentials_are_taken(api: httpx.Client, url: str, said: str) -> None:
    answer = api.post(PROBES, json=probe("refused", url))
    assert answer.status_code == 422, answer.text
    cause = answer.json()["details"]["causes"][0]
    assert cause["field"] == "spec.url"
    assert said in cause["message"]
    assert "hunter2" not in answer.text, "a secret is not repeated"


def test_every_wrong_field_is_reported_at_once(api: httpx.Client) -> None:
    answer = api.post(PROBES, json=probe("wrong", "http://example.com/", intervalSeconds=0, timeoutSeconds=61))
    fields = {cause["field"] for cause in answer.json()["details"]["causes"]}
    assert fields == {"spec.intervalSeconds", "spec.timeoutSeconds"}


def test_kubectl_shows_the_columns_that_the_plugin_names(api: httpx.Client) -> None:
    table = api.get(PROBES, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}).json()
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name",
        "URL",
        "READY",
        "CODE",
        "LATENCY",
        "CHECKED",
        "Age",
    ]
    assert json.dumps(table["rows"])
