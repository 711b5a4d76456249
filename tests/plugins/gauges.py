"""A kind in three versions of different shapes, each of which holds something that another does not."""

from __future__ import annotations

from typing import Annotated

from registry.kinds import Column, Scale
from registry.plugin import Plugin
from registry.resource import ListMap, Meta, OmitEmpty, Resource, Spec, Status, Struct

GROUP = "gauges.example"
OLD, MIDDLE, NEW = (f"{GROUP}/{version}" for version in ("v1alpha1", "v1beta1", "v1"))


class AlphaSpec(Spec):
    url: str
    interval: str = "30s"
    hint: str | None = None


class GaugeStatus(Status):
    ready: bool = False


class GaugeAlpha(Resource[AlphaSpec, GaugeStatus]):
    """The first one: the interval is a text, and there is a hint that was dropped later."""


class BetaSpec(Spec):
    url: str
    interval_seconds: int = 30
    retries: int | None = None


class GaugeBeta(Resource[BetaSpec, GaugeStatus]):
    """The second one: seconds are a number."""


class Header(Struct):
    name: str
    value: Annotated[str, OmitEmpty] = ""


class Target(Struct):
    url: str
    insecure: Annotated[bool, OmitEmpty] = False


class GaugeSpec(Spec):
    target: Target
    interval_seconds: Annotated[int, Meta(ge=1, le=3600)] = 30
    retries: int | None = None
    headers: Annotated[list[Header], ListMap("name")] | None = None
    replicas: int = 1


class FullStatus(Status):
    ready: bool = False
    replicas: int | None = None
    latency: float | None = None


class Gauge(Resource[GaugeSpec, FullStatus]):
    """The newest one."""


def plugin(storage: str = "v1") -> Plugin:
    """The plugin, with another version that is stored."""
    made = Plugin("gauges")
    scale = Scale(".spec.replicas", ".status.replicas") if storage == "v1" else None
    columns = [Column("URL", ".spec.target.url")]
    for model, version, more in (
        (Gauge, "v1", {"scale": scale, "columns": columns, "selectable": [".spec.target.url"]}),
        (GaugeBeta, "v1beta1", {"columns": [Column("Seconds", ".spec.intervalSeconds", "integer")]}),
        (GaugeAlpha, "v1alpha1", {"selectable": [".spec.interval"]}),
    ):
        made.kind(
            model,
            group=GROUP,
            version=version,
            plural="gauges",
            kind="Gauge",
            owner="external",
            storage=version == storage,
            **more,  # type: ignore[arg-type]
        )
    made.converts(GaugeAlpha, GaugeBeta)(to_seconds)
    made.converts(GaugeBeta, GaugeAlpha)(to_text)
    made.converts(GaugeBeta, Gauge)(to_target)
    made.converts(Gauge, GaugeBeta)(to_url)
    return made


def to_seconds(old: GaugeAlpha) -> GaugeBeta:
    """Raises ValueError for an interval that is none."""
    return GaugeBeta(spec=BetaSpec(url=old.spec.url, interval_seconds=int(old.spec.interval.removesuffix("s"))), status=old.status)


def to_text(new: GaugeBeta) -> GaugeAlpha:
    return GaugeAlpha(spec=AlphaSpec(url=new.spec.url, interval=f"{new.spec.interval_seconds}s"), status=new.status)


def to_target(old: GaugeBeta) -> Gauge:
    status = None if old.status is None else FullStatus(ready=old.status.ready)
    spec = GaugeSpec(target=Target(url=old.spec.url), interval_seconds=old.spec.interval_seconds, retries=old.spec.retries)
    return Gauge(spec=spec, status=status)


def to_url(new: Gauge) -> GaugeBeta:
    status = None if new.status is None else GaugeStatus(ready=new.status.ready)
    spec = BetaSpec(url=new.spec.target.url, interval_seconds=new.spec.interval_seconds, retries=new.spec.retries)
    return GaugeBeta(spec=spec, status=status)
