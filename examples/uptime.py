"""Probes that check whether a URL answers: one kind in three versions, two rules, one actor, in one file.

skep serve --plugin examples/uptime.py
kubectl apply -f examples/probe.yaml
kubectl get probes -w

The first version had the interval as a text (`30s`), the second as a number of seconds, the third has a timeout too. Whoever wrote
against one of them still gets it: clients, rules and the actor. `docs/versions.md` tells how that went.
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
from registry.lifecycle import Release
from registry.plugin import Plugin
from registry.resource import Conditions, Meta, Resource, Spec, Status, Time, replace
from registry.times import format_time

Url = Annotated[str, Meta(min_length=1, max_length=2048, description="What to fetch: http or https, without credentials.")]
Interval = Annotated[int, Meta(ge=1, le=3600, description="Seconds from one check to the next.")]


class ProbeStatus(Status):
    """What the last check found. It is the same in all versions."""

    observed_generation: int | None = None
    ready: Annotated[bool, Meta(description="Whether the last check was answered, and with less than 400.")] = False
    conditions: Conditions = ()
    last_code: Annotated[int | None, Meta(description="The HTTP status of the answer, if there was one.")] = None
    latency_ms: Annotated[float | None, Meta(description="Milliseconds until it came.")] = None
    last_probe_time: Annotated[Time | None, Meta(description="When the last check was made.")] = None


class ProbeAlphaSpec(Spec):
    """What is to be checked, and how often, in v1alpha1."""

    url: Url
    interval: Annotated[
        str,
        Meta(
            pattern="^([1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|3600)s$",
            max_length=5,
            description="From one check to the next, in seconds, as 30s.",
            examples=["1s", "30s", "90s", "3600s"],
        ),
    ] = "30s"


class ProbeAlpha(Resource[ProbeAlphaSpec, ProbeStatus]):
    """Checks that a URL answers."""


class ProbeBetaSpec(Spec):
    """What is to be checked, and how often, in v1beta1."""

    url: Url
    interval_seconds: Interval = 30


class ProbeBeta(Resource[ProbeBetaSpec, ProbeStatus]):
    """Checks that a URL answers."""


class ProbeSpec(Spec):
    """What is to be checked, and how often."""

    url: Url
    interval_seconds: Interval = 30
    timeout_seconds: Annotated[int, Meta(ge=1, le=60, description="Seconds until a check that is not answered has failed.")] = 5


class Probe(Resource[ProbeSpec, ProbeStatus]):
    """Checks that a URL answers."""


COLUMNS = [
    Column("URL", ".spec.url"),
    Column("READY", ".status.ready", "boolean"),
    Column("CODE", ".status.lastCode", "integer"),
    Column("LATENCY", ".status.latencyMs", "number", "Milliseconds until the answer", priority=1),
    Column("CHECKED", ".status.lastProbeTime", "date"),
]

plugin = Plugin("uptime", release=Release("1.3", "2026-10-15"))
plugin.kind(
    Probe,
    group="uptime.example",
    version="v1",
    plural="probes",
    short_names=["pr"],
    categories=["all"],
    columns=COLUMNS,
    introduced=Release("1.2", "2026-07-15"),
)
plugin.kind(
    ProbeBeta,
    group="uptime.example",
    version="v1beta1",
    plural="probes",
    kind="Probe",
    columns=COLUMNS,
    introduced=Release("1.1", "2026-04-15"),
    deprecated=Release("1.3", "2026-10-15"),
    removed=Release("1.6", "2027-07-15"),
    successor="v1",
)
plugin.kind(
    ProbeAlpha,
    group="uptime.example",
    version="v1alpha1",
    plural="probes",
    kind="Probe",
    columns=COLUMNS,
    introduced=Release("1.0", "2026-01-15"),
    deprecated=Release("1.2", "2026-07-15"),
    removed=Release("1.4", "2027-01-15"),
    successor="v1",
)


@plugin.converts(ProbeAlpha, ProbeBeta)
def interval_to_seconds(old: ProbeAlpha) -> ProbeBeta:
    """`30s` is 30."""
    spec = ProbeBetaSpec(url=old.spec.url, interval_seconds=int(old.spec.interval.removesuffix("s")))
    return ProbeBeta(spec=spec, status=old.status)


@plugin.converts(ProbeBeta, ProbeAlpha)
def interval_to_text(new: ProbeBeta) -> ProbeAlpha:
    """30 is `30s`."""
    return ProbeAlpha(spec=ProbeAlphaSpec(url=new.spec.url, interval=f"{new.spec.interval_seconds}s"), status=new.status)


@plugin.converts(ProbeBeta, Probe)
def with_timeout(old: ProbeBeta) -> Probe:
    """The timeout is the default; one that is stored already stays."""
    return Probe(spec=ProbeSpec(url=old.spec.url, interval_seconds=old.spec.interval_seconds), status=old.status)


@plugin.converts(Probe, ProbeBeta)
def without_timeout(new: Probe) -> ProbeBeta:
    """What v1beta1 does not know, the server keeps."""
    return ProbeBeta(spec=ProbeBetaSpec(url=new.spec.url, interval_seconds=new.spec.interval_seconds), status=new.status)


@plugin.mutates(ProbeBeta)
def lower_case_host(review: Review[ProbeBeta]) -> ProbeBeta | None:
    """The names of hosts are the same in any case: one form of each, so that people can find them.

    It was written against v1beta1, and is given that, whatever a client sends.
    """
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
