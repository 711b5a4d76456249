"""A CustomResourceDefinition as the server goes by it: read once from what is stored, and frozen.

What is stored was checked when it was written, maybe by an older server: `read` takes all that it needs and raises ValueError for
what it cannot go by.
"""

from __future__ import annotations

from typing import Any

import msgspec

DECLARED = "skep.dev/declared-by"
"""The annotation of a definition that tells of a kind of this server's own: where it is declared. It can only be read."""
ESTABLISHED = "Established"
"""The condition of a definition that is served."""


class Names(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The names of a kind."""

    plural: str = ""
    singular: str = ""
    short_names: tuple[str, ...] = ()
    kind: str = ""
    list_kind: str = ""
    categories: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether there is all that a kind cannot be served without."""
        return bool(self.plural and self.singular and self.kind and self.list_kind)

    @property
    def resources(self) -> tuple[str, ...]:
        """The names that stand for the resource."""
        return tuple(name for name in (self.plural, self.singular, *self.short_names) if name)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names that stand for the kind in documents."""
        return tuple(name for name in (self.kind, self.list_kind) if name)


def names_document(names: Names) -> dict[str, Any]:
    """Names as documents have them: two of them always, the others where there are any."""
    told: dict[str, Any] = {"plural": names.plural, "kind": names.kind}
    others: dict[str, Any] = {"singular": names.singular, "listKind": names.list_kind}
    others |= {"shortNames": list(names.short_names), "categories": list(names.categories)}
    return told | {key: value for key, value in others.items() if value}


class ScalePaths(msgspec.Struct, frozen=True, rename="camel"):
    """Where replicas are."""

    spec_replicas_path: str
    status_replicas_path: str
    label_selector_path: str | None = None


class Subresources(msgspec.Struct, frozen=True):
    """What a version's objects have below their paths."""

    status: dict[str, msgspec.Raw] | None = None
    scale: ScalePaths | None = None


class ColumnText(msgspec.Struct, frozen=True, rename="camel"):
    """A column, as it is written."""

    name: str
    type: str
    json_path: str = msgspec.field(name="jsonPath")
    format: str = ""
    description: str = ""
    priority: int = 0


class Selectable(msgspec.Struct, frozen=True):
    """A field that selectors may name."""

    json_path: str = msgspec.field(name="jsonPath")


class Validation(msgspec.Struct, frozen=True):
    """The schema, as bytes: most of them are needed late, if ever."""

    schema: msgspec.Raw = msgspec.field(name="openAPIV3Schema")


class VersionText(msgspec.Struct, frozen=True, rename="camel"):
    """One version."""

    name: str
    schema: Validation
    served: bool = False
    storage: bool = False
    deprecated: bool = False
    deprecation_warning: str | None = None
    subresources: Subresources | None = None
    additional_printer_columns: tuple[ColumnText, ...] = ()
    selectable_fields: tuple[Selectable, ...] = ()


class Conversion(msgspec.Struct, frozen=True):
    """How versions are converted; `webhook` is as it is written, for whoever calls it; empty: it says nothing."""

    strategy: str = "None"
    webhook: msgspec.Raw = msgspec.Raw()


class Condition(msgspec.Struct, frozen=True):
    """What of a condition matters here."""

    type: str
    status: str


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    group: str
    scope: str
    names: Names
    versions: tuple[VersionText, ...]
    conversion: Conversion = Conversion()
    preserve_unknown_fields: bool = False


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    uid: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None
    annotations: dict[str, str] = {}


class _Desired(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    accepted_names: Names = Names()
    conditions: tuple[Condition, ...] | None = None


_read_desired = msgspec.json.Decoder(_Desired).decode
_read_status = msgspec.json.Decoder(_Status).decode


class Definition(msgspec.Struct, frozen=True):
    """A kind as somebody defines it. `name` is that of its resource; `accepted` are the names that it got so far.

    `deleting`: it goes, and so do its objects. `declared`: the kind is this server's own, declared there; this only tells of it.
    """

    name: str
    uid: str
    generation: int
    group: str
    namespaced: bool
    names: Names
    versions: tuple[VersionText, ...]
    conversion: Conversion
    accepted: Names = Names()
    established: bool = False
    deleting: bool = False
    declared: str = ""
    preserve_unknown_fields: bool = False

    @property
    def storage(self) -> VersionText:
        """The version that objects are stored in."""
        return next(version for version in self.versions if version.storage)


def read(desired: bytes, status: bytes) -> Definition:
    """The definition of a stored object: its bytes without the status, and those of the status. Raises ValueError."""
    found = _read_desired(desired)
    was = _read_status(status) if status else _Status()
    spec, metadata = found.spec, found.metadata
    if sum(version.storage for version in spec.versions) != 1:
        raise ValueError("one version is stored, not none and not several")
    if metadata.name != f"{spec.names.plural}.{spec.group}":
        raise ValueError(f"its name is not {spec.names.plural}.{spec.group}")
    return Definition(
        metadata.name,
        metadata.uid,
        metadata.generation,
        spec.group,
        spec.scope == "Namespaced",
        spec.names,
        spec.versions,
        spec.conversion,
        was.accepted_names,
        any((each.type, each.status) == (ESTABLISHED, "True") for each in was.conditions or ()),
        metadata.deletion_timestamp is not None,
        metadata.annotations.get(DECLARED, ""),
        spec.preserve_unknown_fields,
    )
