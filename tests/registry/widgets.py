"""The Widget of the reference cases, as an author of kinds writes it."""

from __future__ import annotations

from typing import Annotated, Literal

from registry.resource import Format, ListMap, ListSet, Meta, Resource, Spec, Status, Struct, Time


class WidgetSpec(Spec):
    size: Annotated[int, Meta(ge=1, le=100, description="How big the widget is.")]
    color: Literal["red", "green", "blue"] = "red"
    replicas: int = 1
    tags: Annotated[list[str] | None, ListSet] = None
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
    conditions: Annotated[list[WidgetCondition] | None, ListMap("type")] = None


class Widget(Resource[WidgetSpec, WidgetStatus]):
    """Widget is what the reference cases are about."""


class CamSpec(Spec):
    port: int | str | None = None
    when: Time | None = None
    host: Annotated[str, Meta(pattern="^[a-z]+$")] | None = None
    binary: bytes | None = None
    short: Annotated[int, Format("int32")] | None = None
    numbers: Annotated[list[dict[str, int]], Meta(max_length=2)] | None = None


class Cam(Resource[CamSpec, None]):
    """Cam tries the formats."""


def widget(**spec: object) -> dict[str, object]:
    """A widget as a client sends it."""
    return {"apiVersion": "reference.example.com/v1", "kind": "Widget", "metadata": {"name": "ref-a"}, "spec": spec}
