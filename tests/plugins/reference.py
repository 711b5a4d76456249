"""The kinds of the recorded reference cases: Widget, in two versions of one shape, and Gadget. Their owner is external."""

from __future__ import annotations

from typing import Annotated, Literal

from registry.kinds import Column, Scale
from registry.plugin import Plugin
from registry.resource import ListMap, ListSet, Meta, Object, Resource, Spec, Status, Struct, Time

GROUP = "reference.example.com"


class WidgetSpec(Spec):
    size: Annotated[int, Meta(ge=1, le=100, description="How big the widget is.")]
    color: Literal["red", "green", "blue"] = "red"
    replicas: int = 1
    tags: Annotated[list[str], ListSet] | None = None
    env: dict[str, str] | None = None
    notes: Annotated[str, Meta(max_length=64)] | None = None


class WidgetCondition(Struct):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str | None = None
    message: str | None = None
    last_transition_time: Time | None = None


class WidgetStatus(Status):
    phase: str | None = None
    ready: bool | None = None
    replicas: int | None = None
    selector: str | None = None
    conditions: Annotated[list[WidgetCondition], ListMap("type")] | None = None


class Widget(Resource[WidgetSpec, WidgetStatus]):
    """Widget is what the reference cases are about."""


class GadgetSpec(Spec):
    size: int | None = None


class GadgetStatus(Status):
    phase: str | None = None


class Gadget(Object):
    """Gadget is a kind without a namespace."""

    spec: GadgetSpec | None = None
    status: GadgetStatus | None = None


plugin = Plugin("reference")
for version, deprecated in (("v1", False), ("v1beta1", True)):
    plugin.kind(
        Widget,
        group=GROUP,
        version=version,
        plural="widgets",
        short_names=["wd"],
        categories=["all"],
        columns=[
            Column("Size", ".spec.size", "integer", "How big the widget is"),
            Column("Color", ".spec.color"),
            Column("Ready", ".status.ready", "boolean"),
            Column("Notes", ".spec.notes", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ],
        scale=Scale(".spec.replicas", ".status.replicas", ".status.selector"),
        selectable=[".spec.color"],
        owner="external",
        deprecated=deprecated,
    )
plugin.kind(
    Gadget,
    group=GROUP,
    version="v1",
    plural="gadgets",
    short_names=["gd"],
    namespaced=False,
    status_subresource=False,
    owner="external",
)
