"""What the built-in kinds share: how they are declared, and pieces of their rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from registry.errors import Cause, invalid
from registry.jsonpath import parse
from registry.kinds import EXTERNAL, Check, Column, Document, Kind, NameRule, Prepare, Printer, Strategy, Version, no_causes
from registry.names import config_key, dns1123_subdomain
from registry.nodes import Dialect
from registry.times import since
from registry.typed import schema_of
from registry.ways import Ways

MIB = 1024 * 1024
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
IMMUTABLE = "field is immutable"

NAME = Column("Name", "", "string", "Name must be unique within its namespace.", 0, "name")
AGE = Column("Age", "", "string", "How long ago the object was made.")


def column(name: str, description: str, *, wide: bool = False) -> Column:
    """A column whose cells a function computes."""
    return Column(name, "", "string", description, 1 if wide else 0)


def made(document: Document, now: float) -> str:
    """The age of an object."""
    return since(document["metadata"].get("creationTimestamp"), now)


def printer(columns: Iterable[Column], cells: Callable[[Document, float], list[Any]]) -> Printer:
    """A table with the name first and the age last; `cells` are those in between."""

    def row(document: Document, now: float) -> list[Any]:
        return [document["metadata"]["name"], *cells(document, now), made(document, now)]

    return Printer((NAME, *columns, AGE), row)


def version(
    model: type,
    group: str,
    name: str,
    kind: str,
    table: Printer,
    *,
    selectable: Mapping[str, str] | None = None,
    ways: Ways | None = None,
    check: Check = no_causes,
) -> Version:
    """A served version of a built-in kind. `selectable` are paths in its own form."""
    return Version(
        group=group,
        name=name,
        kind=kind,
        schema=schema_of(model, Dialect.BUILTIN),
        model=model,
        printer=table,
        selectable={field: parse(path) for field, path in (selectable or {}).items()},
        ways=ways,
        check=check,
    )


def builtin(
    name: str,
    plural: str,
    versions: tuple[Version, ...],
    *,
    prepare: Prepare,
    check: Check = no_causes,
    short: tuple[str, ...] = (),
    namespaced: bool = True,
    has_status: bool = False,
    name_rule: NameRule = dns1123_subdomain,
    verbs: tuple[str, ...] = VERBS,
    subresources: Mapping[str, tuple[str, ...]] | None = None,
    **strategy: Any,
) -> Kind:
    """A built-in kind: stored in its first version, its status written by whoever is authorized."""
    return Kind(
        name=name,
        plural=plural,
        singular=name.lower(),
        list_kind=f"{name}List",
        versions=versions,
        storage=versions[0],
        namespaced=namespaced,
        short_names=short,
        has_status=has_status,
        owner=EXTERNAL,
        verbs=verbs,
        extra_subresources=subresources or {},
        strategy=Strategy(
            builtin=True,
            name_rule=name_rule,
            counts_generation=False,
            unconditional_update=strategy.pop("unconditional_update", True),
            prepare=prepare,
            check=check,
            **strategy,
        ),
    )


def without_empty(document: Document, *fields: str) -> Document:
    """The document without those of the fields that hold nothing: they are not stored."""
    if all(document.get(field, True) for field in fields):
        return document
    return {key: value for key, value in document.items() if value or key not in fields}


def key_causes(field: str, keys: Iterable[str]) -> Iterable[Cause]:
    """What is wrong with the keys of a map of data."""
    return (invalid(f"{field}[{key}]", key, problem) for key in keys for problem in config_key(key))
