"""What `/metrics` says, in the forms that Prometheus reads. Made when it is asked for, out of snapshots: nothing is counted twice,
and nothing is done for it while nobody asks.

Actors have the names that controller-runtime gave such things, so that dashboards and alerts for operators fit; what is ours alone
begins with `skep_`. `actor_families` needs no server: whoever runs actors has snapshots of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from actors.actor import Result
from actors.insight import Distribution, Snapshot
from admission.authentication import Failures
from apiserver.audit_file import Counts
from apiserver.callers import Requested
from apiserver.supervision import WELL, Supervisor
from apiserver.watchdog import Blockages
from apiserver.webhook_calls import View
from apiserver.webhook_metrics import webhook_families

RESULTS: dict[Result, str] = {
    "success": "success",
    "gone": "success",
    "again": "requeue_after",
    "error": "error",
    "conflict": "error",
    "terminal": "error",
}
"""What controller-runtime calls the results of runs."""


class _Collected:
    """A registry of what has been collected already, as encoders want one."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(families: Iterable[Metric], accept: str = "") -> tuple[bytes, str]:
    """The text of metrics and its content type: what a client accepts of the Prometheus text format and OpenMetrics."""
    encode, content_type = choose_encoder(accept)
    return encode(_Collected(families)), content_type


def actor_families(snapshots: Sequence[Snapshot], now: float) -> Iterator[Metric]:
    """The metrics of actors, from snapshots and the time (of their clock) at which they were taken."""
    yield from _runs(snapshots)
    yield from _queues(snapshots, now)
    yield from _own(snapshots)


def _runs(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    of = ["controller"]
    results = CounterMetricFamily(
        "controller_runtime_reconcile", "Total number of reconciliations per controller", labels=[*of, "result"]
    )
    errors = CounterMetricFamily("controller_runtime_reconcile_errors", "Total number of reconciliation errors", labels=of)
    terminal = CounterMetricFamily(
        "controller_runtime_terminal_reconcile_errors", "Total number of terminal reconciliation errors", labels=of
    )
    seconds = HistogramMetricFamily(
        "controller_runtime_reconcile_time_seconds", "Length of time per reconciliation per controller", labels=of
    )
    workers = GaugeMetricFamily(
        "controller_runtime_max_concurrent_reconciles", "Maximum number of concurrent reconciles per controller", labels=of
    )
    active = GaugeMetricFamily("controller_runtime_active_workers", "Number of currently used workers per controller", labels=of)
    for snapshot in snapshots:
        name = [snapshot.name]
        counts = dict.fromkeys(("success", "error", "requeue", "requeue_after"), 0)
        for result, count in snapshot.totals.items():
            counts[RESULTS[result]] += count
        for result_name, count in counts.items():
            results.add_metric([*name, result_name], count)
        errors.add_metric(name, counts["error"])
        terminal.add_metric(name, snapshot.totals.get("terminal", 0))
        _histogram(seconds, name, snapshot.ran)
        workers.add_metric(name, snapshot.concurrency)
        active.add_metric(name, len(snapshot.running))
    yield from (results, errors, terminal, seconds, workers, active)


def _queues(snapshots: Sequence[Snapshot], now: float) -> Iterator[Metric]:
    of = ["name", "controller"]
    depth = GaugeMetricFamily("workqueue_depth", "Current depth of workqueue", labels=of)
    adds = CounterMetricFamily("workqueue_adds", "Total number of adds handled by workqueue", labels=of)
    retries = CounterMetricFamily("workqueue_retries", "Total number of retries handled by workqueue", labels=of)
    waited = HistogramMetricFamily(
        "workqueue_queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested", labels=of
    )
    worked = HistogramMetricFamily(
        "workqueue_work_duration_seconds", "How long in seconds processing an item from workqueue takes", labels=of
    )
    unfinished = GaugeMetricFamily(
        "workqueue_unfinished_work_seconds", "Seconds of work in progress that work_duration has not observed yet", labels=of
    )
    longest = GaugeMetricFamily(
        "workqueue_longest_running_processor_seconds", "How many seconds the longest running processor has been running", labels=of
    )
    for snapshot in snapshots:
        name = [snapshot.name, snapshot.name]
        depth.add_metric(name, snapshot.depth)
        adds.add_metric(name, snapshot.adds)
        retries.add_metric(name, snapshot.retries)
        _histogram(waited, name, snapshot.waited)
        _histogram(worked, name, snapshot.worked)
        under_way = [max(0.0, now - since) for since in snapshot.running.values()]
        unfinished.add_metric(name, sum(under_way))
        longest.add_metric(name, max(under_way, default=0.0))
    yield from (depth, adds, retries, waited, worked, unfinished, longest)


def _own(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    of = ["actor"]
    runs = CounterMetricFamily("skep_actor_runs", "Runs of an actor by what they came to", labels=[*of, "result"])
    gauges: tuple[tuple[str, str, Callable[[Snapshot], float]], ...] = (
        ("skep_actor_objects", "Objects of the kind that an actor owns", lambda snapshot: snapshot.objects),
        ("skep_actor_failing_keys", "Objects whose last run failed", lambda snapshot: len(snapshot.failing)),
        ("skep_actor_timers", "Objects that have a time at which they are looked at again", lambda snapshot: snapshot.timers),
        ("skep_actor_synced", "Whether an actor has seen every object", lambda snapshot: snapshot.synced),
        ("skep_actor_paused", "Whether an actor is paused", lambda snapshot: snapshot.paused),
    )
    for snapshot in snapshots:
        for result in RESULTS:
            runs.add_metric([snapshot.name, result], snapshot.totals.get(result, 0))
    yield runs
    for family, said, value in gauges:
        gauge = GaugeMetricFamily(family, said, labels=of)
        for snapshot in snapshots:
            gauge.add_metric([snapshot.name], float(value(snapshot)))
        yield gauge


def supervision_families(supervisors: Sequence[Supervisor]) -> Iterator[Metric]:
    """Whether actors are up, and how often they were started again."""
    up = GaugeMetricFamily("skep_actor_up", "Whether an actor is at work, paused, or stands by", labels=["actor"])
    restarts = CounterMetricFamily("skep_actor_restarts", "How often an actor broke and was started again", labels=["actor"])
    for supervisor in supervisors:
        up.add_metric([supervisor.name], supervisor.state in WELL)
        restarts.add_metric([supervisor.name], supervisor.restarts)
    yield from (up, restarts)


def leading_families(leading: Iterable[tuple[str, bool]]) -> Iterator[Metric]:
    """Of each lease, whether its holder is this process."""
    status = GaugeMetricFamily(
        "leader_election_master_status",
        "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master",
        labels=["name"],
    )
    for name, leads in leading:
        status.add_metric([name], float(leads))
    yield status


class Audited(Protocol):
    """Who counts what is told to the audit log."""

    @property
    def counts(self) -> Counts: ...


def audit_families(counts: Counts) -> Iterator[Metric]:
    """What became of the events of the audit log."""
    yield CounterMetricFamily("skep_audit_events", "Events that were written to the audit log", value=counts.written)
    lost = CounterMetricFamily("skep_audit_lost", "Events that did not get into the audit log, by why", labels=["why"])
    lost.add_metric(["queue_full"], counts.full)
    lost.add_metric(["write_failed"], counts.failed)
    yield lost


def requested_families(requested: Mapping[Requested, int]) -> Iterator[Metric]:
    """Which deprecated versions are called, under the name that Kubernetes gave it, and how often. By whom is in no label: that is
    what `versionuses.skep.dev` is for."""
    of = ["group", "version", "resource", "subresource", "removed_release"]
    gauge = GaugeMetricFamily("apiserver_requested_deprecated_apis", "Deprecated versions that have been called", labels=of)
    calls = CounterMetricFamily("skep_deprecated_calls", "Calls of deprecated versions since the server was started", labels=of[:4])
    for labels, count in requested.items():
        gauge.add_metric(labels, 1)
        calls.add_metric(labels[:4], count)
    yield from (gauge, calls)


class Metrics:
    """What the server tells of itself: its actors, its event loop, its watches, its process."""

    def __init__(
        self,
        supervisors: Sequence[Supervisor],
        *,
        now: Callable[[], float],
        version: str,
        blockages: Callable[[], Blockages],
        watches: Callable[[], int],
        failures: Failures,
        webhooks: Callable[[], Iterable[View]] = tuple,
        audit: Audited | None = None,
        requested: Mapping[Requested, int] = MappingProxyType({}),
    ) -> None:
        """`now` is the clock of the actors; the other functions tell what is so when they are called."""
        self._supervisors = supervisors
        self._now = now
        self._version = version
        self._blockages = blockages
        self._watches = watches
        self._failures = failures
        self._webhooks = webhooks
        self._audit = audit
        self._requested = requested
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)

    def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """The text of all metrics, and its content type."""
        return exposition(self._families(), accept)

    def _families(self) -> Iterator[Metric]:
        yield InfoMetricFamily("skep_build", "What is running", value={"version": self._version})
        yield from actor_families([supervisor.view().snapshot for supervisor in self._supervisors], self._now())
        yield from supervision_families(self._supervisors)
        blockages = self._blockages()
        yield CounterMetricFamily("skep_event_loop_blocked", "How often the event loop was blocked", value=blockages.times)
        yield CounterMetricFamily("skep_event_loop_blocked_seconds", "How long, together", value=blockages.seconds)
        yield GaugeMetricFamily("skep_watches", "Watches that clients have open", value=self._watches())
        yield CounterMetricFamily("skep_failed_logins", "Requests whose credential was refused", value=self._failures.total)
        slowed = self._failures.slowed
        yield CounterMetricFamily("skep_slowed_logins", "Failed logins that were told to come back later", value=slowed)
        yield from webhook_families(self._webhooks())
        yield from requested_families(self._requested)
        if self._audit is not None:
            yield from audit_families(self._audit.counts)
        yield from self._process.collect()


def _histogram(family: HistogramMetricFamily, labels: Sequence[str], spread: Distribution) -> None:
    """Adds a distribution, as cumulative counts."""
    buckets, below = [], 0
    for bound, count in zip((*(f"{bound:g}" for bound in spread.bounds), "+Inf"), spread.counts, strict=True):
        below += count
        buckets.append((bound, below))
    family.add_metric(labels, buckets, spread.seconds)
