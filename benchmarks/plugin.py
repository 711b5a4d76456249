"""The kind that is measured: a Parcel, about 1 KB as JSON, whose status anybody may write."""

from __future__ import annotations

from typing import Annotated

from registry.kinds import Column
from registry.plugin import Plugin
from registry.resource import Conditions, Meta, Resource, Spec, Status, Struct


class Item(Struct):
    """Something in a parcel."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    count: Annotated[int, Meta(ge=1, le=1000)] = 1
    fragile: bool = False


class ParcelSpec(Spec):
    """What is in a parcel, and where it goes."""

    to: str
    note: Annotated[str, Meta(max_length=128)] = ""
    weight_grams: Annotated[int, Meta(ge=0)] = 0
    insured: bool = False
    items: list[Item] | None = None


class ParcelStatus(Status):
    """Where a parcel is."""

    phase: str | None = None
    scans: int = 0
    conditions: Conditions = ()


class Parcel(Resource[ParcelSpec, ParcelStatus]):
    """Goes from here to there."""


plugin = Plugin("benchmarks")
plugin.kind(
    Parcel,
    group="bench.example.com",
    version="v1",
    plural="parcels",
    columns=[Column("To", ".spec.to"), Column("Phase", ".status.phase")],
    owner="external",
)
