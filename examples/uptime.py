"""Probes that check whether a URL answers: one kind, two rules, one actor, in one file.

skep serve --plugin examples/uptime.py
kubectl apply -f examples/probe.yaml
kubectl get probes -w
"""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import urlsplit

import httpx

from actors import Again, Client, Outcome, Run
from admission.review import Review
from registry.errors import Cause, invalid
from registry.kinds import Column
from registry.plugin import Plugin
from registry.resource import Conditions, Meta, Resource, Spec, Status, Time, replace
from registry.times import format_time


class ProbeSpec(Spec):
    """What is to be checked, and how often."""

    url: Annotated[str, Meta(max_length=2048, description="What to fetch: http or https, without credentials.")]
    interval_seconds: Annotated[int, Meta(ge=1, le=3600, description="Seconds from one check to the next.")] = 30
    timeout_seconds: Annotated[int, Meta(ge=1, le=60, description="Seconds until a check that is not answered has failed.")] = 5


class ProbeStatus(Status):
    """What the last check found."""

    ready: bool = False
    conditions: Conditions = ()
    last_code: int | None = None
    latency_ms: float | None = None
    last_probe_time: Time | None = None


class Probe(Resource[ProbeSpec, ProbeStatus]):
    """Checks that a URL answers."""


plugin = Plugin("uptime")
plugin.kind(
    Probe,
    group="uptime.example",
    version="v1",
    plural="probes",
    short_names=["pr"],
    categories=["all"],
    columns=[
        Column("URL", ".spec.url"),
        Column("READY", ".status.ready", "boolean"),
        Column("CODE", ".status.lastCode", "integer"),
        Column("LATENCY", ".status.latencyMs", "number", "Milliseconds until the answer", priority=1),
        Column("CHECKED", ".status.lastProbeTime", "date"),
    ],
)


@plugin.mutates(Probe)
def lower_case_host(review: Review[Probe]) -> Probe | None:
    """The names of hosts are the same in any case: one form of each, so that people can find them."""
    spec = review.new.spec
    host = spec.url.partition("://")[2].partition("/")[0]
    if not host.isascii() or host == host.lower() or "@" in host:
        return None
    return replace(review.new, spec=replace(spec, url=spec.url.replace(host, host.lower(), 1)))


@plugin.validates(Probe)
def fetchable(review: Review[Probe]) -> list[Cause]:
    """Web addresses only, and no secrets in them: a spec is read by everybody who may read probes."""
    url = review.new.spec.url
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018  (raises for a port that is no number)
    except ValueError as error:
        return [invalid("spec.url", url, f"is not a URL: {error}")]
    if parts.username is not None or parts.password is not None:
        return [invalid("spec.url", f"{parts.scheme}://***@{host}", "must not hold credentials")]
    if parts.scheme not in ("http", "https") or not host:
        return [invalid("spec.url", url, "must begin with http:// or https:// and name a host")]
    return []


@plugin.actor(Probe, concurrency=16)
class Check:
    """Fetches the URL, writes down what came, and looks again after the interval."""

    transport: httpx.AsyncBaseTransport | None = None
    """What tests put in the place of the network."""

    async def setup(self, client: Client) -> None:
        """One pool of connections for all probes."""
        agent = {"user-agent": "skep-uptime/1"}
        self.http = httpx.AsyncClient(transport=self.transport, follow_redirects=False, trust_env=False, headers=agent)

    async def teardown(self) -> None:
        """Closes the pool."""
        await self.http.aclose()

    async def reconcile(self, probe: Probe, client: Client, run: Run) -> Outcome:
        """One check. That the site is down is a finding, not a failure of the actor."""
        begun = time.perf_counter()
        try:
            async with self.http.stream("GET", probe.spec.url, timeout=probe.spec.timeout_seconds) as response:
                code, reason, message = response.status_code, "Answered", f"answered {response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            code, reason, message = None, type(error).__name__, str(error) or "no answer"
        latency = round((time.perf_counter() - begun) * 1000, 1)
        ready = code is not None and code < 400
        before = probe.status or ProbeStatus()
        if ready != before.ready:
            run.tell(reason, f"{probe.spec.url} {message}", warning=not ready)
        status = ProbeStatus(
            ready=ready,
            conditions=run.condition(before.conditions, "Ready", ready, reason, message),
            last_code=code,
            latency_ms=latency if code is not None else None,
            last_probe_time=format_time(run.time),
        )
        return Again(probe.spec.interval_seconds, status)
