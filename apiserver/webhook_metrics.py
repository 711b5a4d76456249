"""What `/metrics` says of webhooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from apiserver.webhook_calls import View

STATES = ("closed", "half-open", "open")


def webhook_families(views: Iterable[View]) -> Iterator[Metric]:
    """The metrics of webhooks."""
    of = ["type", "configuration", "name"]
    calls = CounterMetricFamily("skep_webhook_calls", "Calls of a webhook by what they came to", labels=[*of, "result"])
    seconds = CounterMetricFamily("skep_webhook_seconds", "How long calls of a webhook took together", labels=of)
    state = GaugeMetricFamily("skep_webhook_circuit", "1 for the state that its circuit breaker is in", labels=[*of, "state"])
    running = GaugeMetricFamily("skep_webhook_running", "Calls of a webhook under way", labels=of)
    waiting = GaugeMetricFamily("skep_webhook_waiting", "Calls of a webhook that wait for others of it", labels=of)
    for view in views:
        for result, count in view.results.items():
            calls.add_metric([*view.id, result], count)
        seconds.add_metric(view.id, view.seconds)
        for each in STATES:
            state.add_metric([*view.id, each], float(view.state == each))
        running.add_metric(view.id, view.running)
        waiting.add_metric(view.id, view.waiting)
    yield from (calls, seconds, state, running, waiting)
