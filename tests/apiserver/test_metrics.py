"""Metrics in the text format of Prometheus, read back by its own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from actors.histogram import Counted, Histogram
from actors.insight import Failing, Snapshot
from apiserver.metrics import metrics_of
from registry.declarations import Place

A, B = Place("shop", "a"), Place("shop", "b")


def counted(*seconds: float) -> Counted:
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    return histogram.counted()


SNAPSHOT = Snapshot(
    name='odd"name',
    synced=True,
    objects=3,
    depth=2,
    waits_since=95.0,
    timers=1,
    running={A: 90.0, B: 98.0},
    last=(),
    failing=(Failing(A, "boom", 2, None),),
    totals={"success": 5, "gone": 1, "again": 2, "error": 3, "conflict": 1, "terminal": 1},
    seconds=6.5,
    durations=counted(0.5, 6.0),
    waits=counted(0.0, 0.002, 400.0),
)


def samples(text: bytes) -> dict[tuple[str, str], float]:
    """Samples by name and result (or name of the lease)."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation
        for sample in family.samples:
            if "le" in sample.labels:
                continue
            found[sample.name, sample.labels.get("result", "")] = sample.value
    return found


def test_a_snapshot_is_told_in_the_names_of_controller_runtime() -> None:
    text = metrics_of([SNAPSHOT], 100.0, [("skep-actor-odd", True)])
    assert samples(text) == {
        ("controller_runtime_reconcile_total", "success"): 6,
        ("controller_runtime_reconcile_total", "requeue_after"): 2,
        ("controller_runtime_reconcile_total", "error"): 5,
        ("controller_runtime_reconcile_errors_total", ""): 5,
        ("controller_runtime_terminal_reconcile_errors_total", ""): 1,
        ("controller_runtime_reconcile_time_seconds_count", ""): 2,
        ("controller_runtime_reconcile_time_seconds_sum", ""): 6.5,
        ("controller_runtime_active_workers", ""): 2,
        ("workqueue_depth", ""): 2,
        ("workqueue_oldest_waiting_seconds", ""): 5,
        ("workqueue_unfinished_work_seconds", ""): 12,
        ("workqueue_longest_running_processor_seconds", ""): 10,
        ("workqueue_queue_duration_seconds_count", ""): 3,
        ("workqueue_queue_duration_seconds_sum", ""): 400.002,
        ("workqueue_work_duration_seconds_count", ""): 2,
        ("workqueue_work_duration_seconds_sum", ""): 6.5,
        ("workqueue_retries_total", ""): 4,
        ("workqueue_failing_keys", ""): 1,
        ("leader_election_master_status", ""): 1,
    }
    names = {
        sample.labels.get("controller") for family in text_string_to_metric_families(text.decode()) for sample in family.samples
    }
    assert names == {'odd"name', None}


def test_durations_are_told_in_buckets_that_add_up() -> None:
    text = metrics_of([SNAPSHOT], 100.0)
    waits = {
        sample.labels["le"]: sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == "workqueue_queue_duration_seconds_bucket"
    }
    assert (waits["0.001"], waits["0.005"], waits["300.0"], waits["+Inf"]) == (1, 2, 2, 3)
    assert list(waits.values()) == sorted(waits.values())


def test_without_an_election_nothing_is_said_of_one() -> None:
    assert b"leader_election" not in metrics_of([SNAPSHOT], 100.0)
    assert metrics_of([], 0.0)
