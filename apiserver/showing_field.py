"""One field of a kind, explained: what it is, what holds for it, and what it is in every version."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.text import Text

from apiserver.showing import cell, machine, table, write
from apiserver.showing_kinds import FOLDED, place, summary, tree_rows
from registry.description import KindDescription, VersionDescription
from registry.description_fields import Field, at, fields_of

Document = dict[str, Any]


class Explained(NamedTuple):
    """A field of a version of a kind. An empty path: the object itself."""

    kind: KindDescription
    version: VersionDescription
    path: tuple[str, ...]
    field: Field


class Elsewhere(NamedTuple):
    """What a field is in one version. None: it has no such field."""

    version: VersionDescription
    field: Field | None


def in_versions(kind: KindDescription, path: Sequence[str]) -> list[Elsewhere]:
    """What a field is in every version of the kind, preferred ones first."""
    return [Elsewhere(version, at(version.schema or {}, path)) for version in kind.versions]


def explain(explained: Explained, output: str, *, recursive: bool) -> None:
    """Shows it."""
    if output == "name":
        sys.stdout.write(f"{'.'.join((explained.kind.resource, *explained.path))}\n")
        return
    if output not in ("table", "wide"):
        machine(_document(explained), output)
        return
    kind, version, path, field = explained
    name = ".".join(path)
    heads = [("KIND", f"{kind.kind} ({kind.resource})"), ("VERSION", version.name)]
    shown: list[RenderableType] = [cell(f"{what + ':':<10}{said}") for what, said in heads]
    shown.append(cell(f"{'FIELD:':<10}{name or 'the object itself'} <{field.type}>"))
    shown += [Text(), *(cell(line) for line in (field.description or "It says nothing of itself.").splitlines())]
    rules = field.rules
    if rules:
        shown += [Text(), Text("RULES", style="bold"), *(cell(f"  {rule}") for rule in rules)]
    shown += _below(field, recursive=recursive)
    if path:
        rows = [_row(kind, each) for each in in_versions(kind, path)]
        shown += [Text(), table(("IN VERSION", "TYPE", "RULES", "SINCE"), rows, FOLDED)]
        shown += [cell(line) for line in ways(kind, path)]
    write(*shown)


def _below(field: Field, *, recursive: bool) -> list[RenderableType]:
    fields = fields_of(field.schema)
    if not fields:
        return []
    if recursive:
        rows = list(tree_rows(field.schema))
    else:
        rows = [[each.name, each.type, "; ".join(each.rules), summary(each)] for each in fields]
    return [Text(), table(("FIELD", "TYPE", "RULES", "DESCRIPTION"), rows, FOLDED)]


def _row(kind: KindDescription, each: Elsewhere) -> list[str]:
    version, field = each
    name = kind.called(version)
    here = f"{name} ({version.stability})" if version.stability else name
    introduced = version.lifecycle.get("introduced") or {}
    since = " of ".join(introduced[key] for key in ("version", "date") if introduced.get(key))
    if field is None:
        return [here, "is not there", "", ""]
    return [here, field.type, "; ".join(field.rules), since]


def ways(kind: KindDescription, path: Sequence[str]) -> list[str]:
    """What is known of what becomes of a field between versions that have it and versions that have not."""
    found = in_versions(kind, path)
    if kind.conversion == "webhook" and any(each.field is None for each in found):
        return ["What becomes of it is up to the webhook that converts the kind."]
    there = {kind.called(each.version) for each in found if each.field is not None}
    return [
        f"From {', '.join(each.old)} to {', '.join(each.new)}, what becomes of it is up to {each.name} at {place(each.source)}."
        for each in kind.converters
        if any((old in there) != (new in there) for old in each.old for new in each.new)
    ]


def _document(explained: Explained) -> Document:
    kind, version, path, field = explained
    return {
        "resource": kind.resource,
        "kind": kind.kind,
        "version": version.name,
        "path": ".".join(path),
        "type": field.type,
        "required": field.required,
        "rules": field.rules,
        "description": field.description,
        "fields": [{"name": each.name, "type": each.type, "required": each.required} for each in fields_of(field.schema)],
        "versions": [_told(each) for each in in_versions(kind, path)],
        "schema": field.schema,
    }


def _told(each: Elsewhere) -> Document:
    version, field = each
    said: Document = {"version": version.name, "stability": version.stability, "there": field is not None}
    if field is not None:
        said |= {"type": field.type, "rules": field.rules}
    if version.lifecycle:
        said["lifecycle"] = version.lifecycle
    return said
