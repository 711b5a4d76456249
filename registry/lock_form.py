"""The form of a lock, for who reads one that somebody may have changed by hand. Only what a diff looks at is said here."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

Count = Annotated[int, Meta(ge=0)] | None
Number = int | float | None
Text = dict[str, str]


class SchemaForm(Struct, frozen=True):
    """A schema, in OpenAPI."""

    type: str = ""
    properties: dict[str, SchemaForm] = {}
    required: list[str] = []
    items: SchemaForm | None = None
    others: SchemaForm | bool | None = field(default=None, name="additionalProperties")
    enum: Annotated[list[Any], Meta(min_length=1)] | None = None
    pattern: str = ""
    format: str = ""
    nullable: bool = False
    minimum: Number = None
    maximum: Number = None
    multiple: Number = field(default=None, name="multipleOf")
    exclusive_minimum: bool = field(default=False, name="exclusiveMinimum")
    exclusive_maximum: bool = field(default=False, name="exclusiveMaximum")
    min_length: Count = field(default=None, name="minLength")
    max_length: Count = field(default=None, name="maxLength")
    min_items: Count = field(default=None, name="minItems")
    max_items: Count = field(default=None, name="maxItems")
    min_properties: Count = field(default=None, name="minProperties")
    max_properties: Count = field(default=None, name="maxProperties")
    list_type: str = field(default="", name="x-kubernetes-list-type")
    list_keys: list[str] = field(default_factory=list, name="x-kubernetes-list-map-keys")
    map_type: str = field(default="", name="x-kubernetes-map-type")
    either: bool = field(default=False, name="x-kubernetes-int-or-string")
    preserve: bool = field(default=False, name="x-kubernetes-preserve-unknown-fields")
    rules: list[dict[str, Any]] = field(default_factory=list, name="x-kubernetes-validations")


class LifeForm(Struct, frozen=True):
    """The life of a version."""

    introduced: Text = {}
    deprecated: Text = {}
    removed: Text = {}
    successor: str = ""


class VersionForm(Struct, frozen=True):
    """A version of a kind."""

    served: bool
    lifecycle: LifeForm
    columns: dict[str, Text]
    selectable: list[str]
    schema: SchemaForm
    waived: Text = {}


class KindForm(Struct, frozen=True):
    """A kind."""

    kind: str
    singular: str
    scope: str
    status: bool
    storage: str
    versions: dict[str, VersionForm]
    list_kind: str = field(name="listKind")
    short_names: list[str] = field(name="shortNames")
    categories: list[str]
    writer: str = field(name="statusWriter")
    scale: Text | None = None
    ttl: Text | None = None


class LockForm(Struct, frozen=True):
    """A lock."""

    release: Text
    kinds: dict[str, KindForm]
