"""Hives and their bees: two kinds, three versions, converters, handlers of all roles, and two actors that look at each other's."""

from __future__ import annotations

from typing import Annotated, Literal

from admission.review import Review
from registry.declarations import Observation
from registry.errors import Cause
from registry.kinds import Column, Scale
from registry.lifecycle import Release
from registry.plugin import Plugin
from registry.resource import ListMap, Meta, Resource, Spec, Status, Struct

GROUP = "bees.example"


class Frame(Struct):
    """What combs are built in."""

    name: Annotated[str, Meta(max_length=20, description="Which one it is.")]
    kilos: Annotated[int, Meta(ge=0, description="How much honey is in it.")] = 0


class HiveSpec(Spec):
    """What the hive is to be."""

    place: Annotated[str, Meta(max_length=80, description="Where it stands.\n\nAs a beekeeper says it.")]
    shade: Annotated[Literal["sun", "half", "full"], Meta(description="How much shade it gets.")] = "half"
    replicas: Annotated[int, Meta(ge=0, le=9, description="How many colonies it has.")] = 1
    frames: Annotated[list[Frame], ListMap("name"), Meta(max_length=10, description="The frames in it.")] = []
    notes: Annotated[dict[str, str] | None, Meta(description="What else is to be known.")] = None


class HiveStatus(Status):
    """How the hive is."""

    replicas: Annotated[int, Meta(description="How many colonies there are.")] = 0


class Hive(Resource[HiveSpec, HiveStatus]):
    """A place where bees live."""


class OldHiveSpec(Spec):
    """What the hive is to be."""

    location: Annotated[str, Meta(max_length=80, description="Where it stands.")]


class OldHive(Resource[OldHiveSpec, HiveStatus]):
    """A place where bees live, as it was written at first."""


class BeeSpec(Spec):
    """What the bee is to do."""

    hive: Annotated[str, Meta(description='The name of its hive: "home" | [a] --> {b} <script>alert(1)</script> & more')]


class Bee(Resource[BeeSpec, None]):
    """One of many."""


plugin = Plugin("apiary", release=Release("1.4", "2026-01-15"))
plugin.kind(
    Hive,
    group=GROUP,
    version="v1",
    plural="hives",
    short_names=["hv"],
    categories=["all"],
    columns=[Column("PLACE", ".spec.place"), Column("SHADE", ".spec.shade", priority=1)],
    selectable=[".spec.place"],
    scale=Scale(),
    introduced=Release("1.2", "2025-06-15"),
)
plugin.kind(
    OldHive,
    group=GROUP,
    version="v1beta1",
    plural="hives",
    kind="Hive",
    introduced=Release("1.0", "2025-01-15"),
    deprecated=Release("1.4", "2026-01-15"),
    removed=Release("1.8", "2027-01-15"),
    successor="v1",
)
plugin.kind(Bee, group=GROUP, version="v1alpha1", plural="bees", namespaced=False)


@plugin.converts(OldHive, Hive)
def newer(old: OldHive) -> Hive:
    """What was the location is the place."""
    return Hive(spec=HiveSpec(place=old.spec.location), status=old.status)


@plugin.converts(Hive, OldHive)
def older(new: Hive) -> OldHive:
    """What is the place was the location."""
    return OldHive(spec=OldHiveSpec(location=new.spec.place), status=new.status)


@plugin.defaults(Hive)
def half_shade(review: Review[Hive]) -> None:
    """Fills in nothing."""


@plugin.mutates(Hive, order=5)
def late(review: Review[Hive]) -> None:
    """Changes nothing, late."""


@plugin.mutates(Hive)
def early(review: Review[Hive]) -> None:
    """Changes nothing, early."""


@plugin.validates(OldHive, operations=("create", "delete"))
def nowhere(review: Review[OldHive]) -> list[Cause]:
    """Finds nothing wrong."""
    return []


@plugin.actor(Hive, name="keeper", observes=[Observation(Bee, label="hive")], writes=[Bee])
async def keep(hive: Hive, client: object) -> None:
    """Keeps bees."""
