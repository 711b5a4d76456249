"""Metrics of actors for Prometheus, under the names that users of controller-runtime know, and the port that shows them.

Figures are read from snapshots when they are asked for: nothing is counted twice, and nothing is kept here.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager

import anyio
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from actors.histogram import BOUNDS, Counted
from actors.insight import Snapshot
from actors.leading import Leading
from apiserver.config import Address
from apiserver.listening import serving
from apiserver.protocol import bounded
from apiserver.sockets import bind

RESULTS = {
    "success": "success",
    "again": "requeue_after",
    "error": "error",
    "conflict": "error",
    "terminal": "error",
    "gone": "success",
}
"""Results of runs in the words of controller-runtime."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_of(snapshots: Iterable[Snapshot], now: float, leading: Iterable[tuple[str, bool]] = ()) -> bytes:
    """The metrics in the text format of Prometheus. `now` is of the same clock as the times of the snapshots; `leading` says of
    each lease whether its holder is this process."""
    shown, elected = tuple(snapshots), tuple(leading)

    class Collector:
        def collect(self) -> Iterator[Metric]:
            yield from _runs(shown)
            yield from _queues(shown, now)
            if elected:
                status = GaugeMetricFamily(
                    "leader_election_master_status",
                    "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master.",
                    labels=["name"],
                )
                for name, leads in elected:
                    status.add_metric([name], float(leads))
                yield status

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry)


def _runs(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    """What runs came to, and how long they took."""
    total = CounterMetricFamily(
        "controller_runtime_reconcile", "Total number of reconciliations per controller", labels=["controller", "result"]
    )
    errors = CounterMetricFamily(
        "controller_runtime_reconcile_errors", "Total number of reconciliation errors per controller", labels=["controller"]
    )
    terminal = CounterMetricFamily(
        "controller_runtime_terminal_reconcile_errors", "Total number of terminal errors per controller", labels=["controller"]
    )
    time = HistogramMetricFamily(
        "controller_runtime_reconcile_time_seconds", "Length of time per reconciliation per controller", labels=["controller"]
    )
    active = GaugeMetricFamily(
        "controller_runtime_active_workers", "Number of currently used workers per controller", labels=["controller"]
    )
    for each in snapshots:
        counts = dict.fromkeys(("success", "requeue_after", "error"), 0)
        for result, count in each.totals.items():
            counts[RESULTS[result]] += count
        for label, count in counts.items():
            total.add_metric([each.name, label], count)
        errors.add_metric([each.name], counts["error"])
        terminal.add_metric([each.name], each.totals.get("terminal", 0))
        time.add_metric([each.name], _buckets(each.durations), each.durations.seconds)
        active.add_metric([each.name], len(each.running))
    yield from (total, errors, terminal, time, active)


def _queues(snapshots: Sequence[Snapshot], now: float) -> Iterator[Metric]:
    """What waits, and for how long it has."""
    labels = ["name", "controller"]
    depth = GaugeMetricFamily("workqueue_depth", "Current depth of workqueue", labels=labels)
    oldest = GaugeMetricFamily(
        "workqueue_oldest_waiting_seconds", "How many seconds the key has waited that is taken next", labels=labels
    )
    unfinished = GaugeMetricFamily(
        "workqueue_unfinished_work_seconds", "How many seconds of work is in progress and has not been observed yet", labels=labels
    )
    longest = GaugeMetricFamily(
        "workqueue_longest_running_processor_seconds", "How many seconds the longest running run has been at work", labels=labels
    )
    waited = HistogramMetricFamily(
        "workqueue_queue_duration_seconds", "How long in seconds a key stays in workqueue before being requested", labels=labels
    )
    worked = HistogramMetricFamily(
        "workqueue_work_duration_seconds", "How long in seconds processing a key from workqueue takes.", labels=labels
    )
    retries = CounterMetricFamily("workqueue_retries", "Total number of retries handled by workqueue", labels=labels)
    failing = GaugeMetricFamily("workqueue_failing_keys", "Keys whose last run failed", labels=labels)
    for each in snapshots:
        name = [each.name, each.name]
        since = [now - began for began in each.running.values()]
        depth.add_metric(name, each.depth)
        oldest.add_metric(name, 0.0 if each.waits_since is None else now - each.waits_since)
        unfinished.add_metric(name, sum(since))
        longest.add_metric(name, max(since, default=0.0))
        waited.add_metric(name, _buckets(each.waits), each.waits.seconds)
        worked.add_metric(name, _buckets(each.durations), each.durations.seconds)
        retries.add_metric(name, each.totals.get("error", 0) + each.totals.get("conflict", 0))
        failing.add_metric(name, len(each.failing))
    yield from (depth, oldest, unfinished, longest, waited, worked, retries, failing)


def _buckets(counted: Counted) -> list[tuple[str, float]]:
    return [
        ("+Inf" if math.isinf(bound) else repr(bound), float(count)) for bound, count in zip(BOUNDS, counted.counts, strict=True)
    ]


@asynccontextmanager
async def serving_health(
    address: Address | None, leads: Sequence[Leading], ready: Callable[[], dict[str, bool]]
) -> AsyncIterator[Address | None]:
    """Serves `/healthz`, `/readyz` and `/metrics` for the body, and gives the address that it got. None: nothing is served."""
    if address is None:
        yield None
        return
    listener, bound = bind(address)
    config = uvicorn.Config(
        health_app(leads, ready),
        http=bounded(16 * 1024, 10.0),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    with listener:
        async with serving(config, listener):
            yield bound


def health_app(leads: Sequence[Leading], ready: Callable[[], dict[str, bool]]) -> Starlette:
    """`/healthz`: the process answers. `/readyz`: each actor is ready, by name. `/metrics`: see `metrics_of`."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(request: Request) -> Response:
        checks = ready()
        lines = [f"[{'+' if good else '-'}]{name} {'ok' if good else 'failed'}" for name, good in checks.items()]
        return PlainTextResponse("\n".join([*lines, ""]), 200 if all(checks.values()) else 503)

    async def show(request: Request) -> Response:
        body = metrics_of(
            (each.snapshot() for each in leads),
            anyio.current_time(),
            ((each.lease, each.standing().leading) for each in leads),
        )
        return Response(body, headers={"content-type": CONTENT_TYPE})

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show)])
