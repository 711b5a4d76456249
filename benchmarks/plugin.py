"""The kinds that are measured: a Parcel, about 1 KB as JSON, whose status anybody may write; and the same with two handlers."""

from __future__ import annotations

from typing import Annotated

from msgspec.structs import replace

from admission.review import Review
from registry.errors import Cause
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


class Guarded(Resource[ParcelSpec, ParcelStatus]):
    """A parcel that two handlers look at."""


class CrateBetaSpec(Spec):
    """What is in a crate, as it was said first: with the weight as a text."""

    to: str
    note: Annotated[str, Meta(max_length=128)] = ""
    weight: str = "0g"
    insured: bool = False
    items: list[Item] | None = None


class Crate(Resource[ParcelSpec, ParcelStatus]):
    """A parcel in two versions of different shapes."""


class CrateBeta(Resource[CrateBetaSpec, ParcelStatus]):
    """The older one."""


plugin = Plugin("benchmarks")
plugin.kind(
    Parcel,
    group="bench.example.com",
    version="v1",
    plural="parcels",
    columns=[Column("To", ".spec.to"), Column("Phase", ".status.phase")],
    owner="external",
)
plugin.kind(Guarded, group="bench.example.com", version="v1", plural="guardeds", owner="external")


plugin.kind(Crate, group="bench.example.com", version="v1", plural="crates", owner="external")
plugin.kind(CrateBeta, group="bench.example.com", version="v1beta1", plural="crates", kind="Crate", owner="external")


@plugin.converts(CrateBeta, Crate)
def to_grams(old: CrateBeta) -> Crate:
    """The weight as a number."""
    said = old.spec
    grams = int(said.weight.removesuffix("g"))
    spec = ParcelSpec(to=said.to, note=said.note, weight_grams=grams, insured=said.insured, items=said.items)
    return Crate(spec=spec, status=old.status)


@plugin.converts(Crate, CrateBeta)
def to_text(new: Crate) -> CrateBeta:
    """The weight as a text."""
    said = new.spec
    spec = CrateBetaSpec(to=said.to, note=said.note, weight=f"{said.weight_grams}g", insured=said.insured, items=said.items)
    return CrateBeta(spec=spec, status=new.status)


@plugin.mutates(Guarded)
def weigh(review: Review[Guarded]) -> Guarded:
    """Weights are in hundreds of grams, so that every object is changed."""
    spec = review.new.spec
    return replace(review.new, spec=replace(spec, weight_grams=-(-spec.weight_grams // 100) * 100))


@plugin.validates(Guarded)
def goes_somewhere(review: Review[Guarded]) -> list[Cause]:
    """A parcel goes somewhere, and there is something in it."""
    spec = review.new.spec
    causes = [] if spec.to.strip() else [Cause("FieldValueRequired", "a parcel goes somewhere", "spec.to")]
    if not spec.items:
        causes.append(Cause("FieldValueRequired", "a parcel is not empty", "spec.items"))
    return causes
