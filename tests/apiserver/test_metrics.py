"""Metrics, read back by Prometheus' own parser: names and labels that dashboards know, and numbers that are true."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from actors import Place
from actors.insight import Distribution, Failing, Snapshot
from admission.authentication import Failures
from apiserver.metrics import Metrics, actor_families, exposition
from apiserver.watchdog import Blockages
from tests.actors.world import Stage

NOW = 1000.0
Samples = dict[tuple[str, str], float]


def snapshot(name: str = "a", **changes: Any) -> Snapshot:
    template = Stage().runner(lambda obj, client: None).snapshot()
    return Snapshot(**{each: getattr(template, each) for each in Snapshot.__slots__} | {"name": name} | changes)


def samples(text: str) -> Samples:
    """All samples of a text, by name and by labels (`a=b,c=d`)."""
    return {
        (sample.name, ",".join(f"{label}={value}" for label, value in sorted(sample.labels.items()))): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def told(*snapshots: Snapshot) -> Samples:
    return samples(exposition(actor_families(snapshots, NOW))[0].decode())


def test_what_operators_know_from_controller_runtime_is_there_under_those_names() -> None:
    spread = Distribution((0.1, 1.0), (2, 3, 1), 7.5)
    found = told(
        snapshot(
            concurrency=4,
            depth=7,
            adds=20,
            retries=5,
            running={Place("", "x"): 990.0, Place("", "y"): 998.0},
            totals={"success": 1, "gone": 2, "again": 4, "error": 8, "conflict": 16, "terminal": 32},
            ran=spread,
            worked=spread,
            waited=spread,
        )
    )
    for result, count in {"success": 3, "requeue_after": 4, "error": 56, "requeue": 0}.items():
        assert found["controller_runtime_reconcile_total", f"controller=a,result={result}"] == count
    assert found["controller_runtime_reconcile_errors_total", "controller=a"] == 56
    assert found["controller_runtime_terminal_reconcile_errors_total", "controller=a"] == 32
    assert found["controller_runtime_max_concurrent_reconciles", "controller=a"] == 4
    assert found["controller_runtime_active_workers", "controller=a"] == 2
    queue = "controller=a,name=a"
    assert found["workqueue_depth", queue] == 7
    assert found["workqueue_adds_total", queue] == 20
    assert found["workqueue_retries_total", queue] == 5
    assert found["workqueue_unfinished_work_seconds", queue] == 12
    assert found["workqueue_longest_running_processor_seconds", queue] == 10
    for histogram, labels in (
        ("controller_runtime_reconcile_time_seconds", "controller=a"),
        ("workqueue_queue_duration_seconds", queue),
        ("workqueue_work_duration_seconds", queue),
    ):
        bounds = {bound: found[f"{histogram}_bucket", _with(labels, bound)] for bound in ("0.1", "1", "+Inf")}
        assert bounds == {"0.1": 2, "1": 5, "+Inf": 6}, "buckets count what is below"
        assert (found[f"{histogram}_count", labels], found[f"{histogram}_sum", labels]) == (6, 7.5)


def _with(labels: str, bound: str) -> str:
    return ",".join(sorted([*labels.split(","), f"le={bound}"]))


def test_our_own_results_and_states_are_told_apart() -> None:
    failing = (Failing(Place("", "x"), "no", 1, None),)
    found = told(snapshot(totals={"terminal": 2}, failing=failing, objects=9, timers=3, paused=True, synced=False))
    assert found["skep_actor_runs_total", "actor=a,result=terminal"] == 2
    assert found["skep_actor_runs_total", "actor=a,result=success"] == 0, "a rate needs a zero to begin at"
    expected = {"objects": 9, "failing_keys": 1, "timers": 3, "paused": 1, "synced": 0}
    assert {name: found[f"skep_actor_{name}", "actor=a"] for name in expected} == expected


def test_actors_are_told_apart_and_a_name_of_any_kind_is_quoted() -> None:
    found = told(snapshot("one", depth=1), snapshot('t"w\\o\n', depth=2))
    assert found["workqueue_depth", "controller=one,name=one"] == 1
    assert found["workqueue_depth", 'controller=t"w\\o\n,name=t"w\\o\n'] == 2


def test_without_actors_there_is_no_sample() -> None:
    assert told() == {}


def metrics(**changes: Any) -> Metrics:
    known: dict[str, Any] = {
        "now": lambda: NOW,
        "version": "1.2.3",
        "blockages": lambda: Blockages(3, 4.5, 2.0),
        "watches": lambda: 6,
        "failures": Failures(1, 0.001, lambda: 0.0),
    }
    return Metrics([], **known | changes)


def test_the_server_tells_of_its_loop_its_watches_and_its_process() -> None:
    failures = Failures(1, 0.001, lambda: 0.0)
    for _ in range(3):
        failures.failed("192.0.2.1")
    body, media = metrics(failures=failures).scrape()
    assert media.startswith("text/plain; version=0.0.4")
    found = samples(body.decode())
    assert found["skep_build_info", "version=1.2.3"] == 1
    assert found["skep_event_loop_blocked_total", ""] == 3
    assert found["skep_event_loop_blocked_seconds_total", ""] == 4.5
    assert found["skep_watches", ""] == 6
    assert (found["skep_failed_logins_total", ""], found["skep_slowed_logins_total", ""]) == (3, 2)
    assert found["process_resident_memory_bytes", ""] > 1_000_000
    assert found["python_gc_collections_total", "generation=0"] >= 0


def test_who_reads_open_metrics_gets_it_whole_and_valid() -> None:
    body, media = metrics().scrape("application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert media.startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(body.decode())}
    assert families["skep_event_loop_blocked"].type == "counter"


def test_every_family_of_an_actor_is_valid_open_metrics_too() -> None:
    body, _ = exposition(actor_families([snapshot()], NOW), "application/openmetrics-text; version=1.0.0")
    families = list(parse_openmetrics(body.decode()))
    assert {family.type for family in families} == {"counter", "gauge", "histogram"}
    assert _finite(sample.value for family in families for sample in family.samples)


def _finite(values: Iterable[float]) -> bool:
    return all(math.isfinite(value) for value in values)


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "garbage;;;,,q="])
def test_whatever_is_accepted_there_is_an_answer(accept: str) -> None:
    body, media = metrics().scrape(accept)
    assert media.startswith("text/plain")
    assert body
