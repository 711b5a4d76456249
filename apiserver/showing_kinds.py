"""Kinds as people read them in a terminal, and as programs do. What is shown is a `registry.description`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import to_builtins
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from apiserver.showing import cell, machine, table, write
from registry.description import BUILTIN, DEFINITION, Description, KindDescription, VersionDescription
from registry.description_fields import OURS, Field, fields_of

FOLDED = ("VERSIONS", "RULES", "DESCRIPTION", "SOURCE", "HANDLERS", "CONVERTERS", "OBSERVED BY", "ON", "LIFE", "IS")
LONGEST_SUMMARY = 100
"""Characters of a description that a line of a tree shows."""
FAMILIES = {"table": 0, "wide": 1}


def listed(description: Description, output: str, *, counted: bool) -> None:
    """A list of kinds."""
    if output == "name":
        sys.stdout.writelines(f"{each.resource}\n" for each in description.kinds)
    elif output not in FAMILIES:
        machine(to_builtins(description), output)
    elif not description.kinds:
        write(Text("there are no such kinds", style="dim"))
    else:
        headings = ["NAME", "SHORT", "KIND", "GROUP", "SCOPE", "VERSIONS", "STATUS BY"]
        headings += (["OBJECTS"] if counted else []) + (_WIDE if output == "wide" else [])
        rows = [_row(each, counted=counted, wide=output == "wide") for each in description.kinds]
        write(table(headings, rows, FOLDED))


_WIDE = ["STORED", "CATEGORIES", "HANDLERS", "CONVERTERS", "OBSERVED BY", "SOURCE"]


def _row(kind: KindDescription, *, counted: bool, wide: bool) -> list[Any]:
    row: list[Any] = [
        kind.plural,
        ",".join(kind.short_names),
        kind.kind,
        kind.group,
        kind.scope,
        ", ".join(_marked(kind, each) for each in kind.versions),
        status_writer(kind),
    ]
    if counted:
        row.append(sum((kind.objects or {}).values()))
    if wide:
        observed = ", ".join(kind.observers)
        row += [kind.storage, ", ".join(kind.categories), len(kind.handlers), len(kind.converters), observed, origin(kind)]
    return row


def _marked(kind: KindDescription, version: VersionDescription) -> str:
    """A version with what one has to know of it."""
    marks = [mark for mark, holds in (("deprecated", version.deprecated), ("not served", not version.served)) if holds]
    return f"{kind.called(version)} ({', '.join(marks)})" if marks else kind.called(version)


def status_writer(kind: KindDescription) -> str:
    """Who writes the status of its objects."""
    if "status" not in kind.subresources:
        return ""
    return kind.owner or "nobody"


def origin(kind: KindDescription) -> str:
    """Where it is declared."""
    if kind.declared == BUILTIN:
        return "built in"
    return "definition" if kind.declared == DEFINITION else place(kind.source)


def place(source: str) -> str:
    """A `file:line` as it is seen from here, if it is below."""
    return source.removeprefix(f"{os.getcwd()}{os.sep}")


def one(
    description: Description, kind: KindDescription, version: VersionDescription, output: str, *, depth: int | None = None
) -> None:
    """One kind, with all that is known of it. `version` is the one whose schema is shown, to a `depth`."""
    if output == "name":
        sys.stdout.write(f"{kind.resource}\n")
    elif output not in FAMILIES:
        machine(to_builtins(kind), output)
    else:
        shown: list[RenderableType] = [_grid(_facts(kind))]
        shown += _part("Versions", _VERSIONS, [_version_row(kind, each) for each in kind.versions])
        shown += _part("Converters", ("FROM", "TO", "NAME", "SOURCE"), [_converter_row(each) for each in kind.converters])
        shown += _part("Handlers", _HANDLERS, [[at, *_handler_row(each)] for at, each in enumerate(kind.handlers, 1)])
        shown += _part("Actors", ("ACTOR", "DOES", "SOURCE"), list(_actor_rows(description, kind)))
        if output == "wide":
            columns = [(each.name, each.type, each.path, each.priority or "", each.description) for each in version.columns]
            shown += _part(f"Columns of {version.name}", ("COLUMN", "TYPE", "PATH", "PRIORITY", "DESCRIPTION"), columns)
            waived = [(each.name, rule, reason) for each in kind.versions for rule, reason in each.waived.items()]
            shown += _part("Rules that are switched off", ("VERSION", "RULE", "DESCRIPTION"), waived)
        rows = list(tree_rows(version.schema or {}, depth))
        shown += _part(f"Fields of {version.name}", ("FIELD", "TYPE", "RULES", "DESCRIPTION"), rows)
        write(*shown)


_VERSIONS = ("VERSION", "IS", "OBJECTS", "LIFE", "SOURCE")
_HANDLERS = ("", "DOES", "NAME", "VERSION", "ON", "SECONDS", "SOURCE")


def _facts(kind: KindDescription) -> list[tuple[str, str]]:
    count = "" if kind.objects is None else str(sum(kind.objects.values()))
    facts = [
        ("Kind", f"{kind.kind}; lists are {kind.list_kind}"),
        ("Resource", kind.resource),
        ("Names", ", ".join(dict.fromkeys((kind.plural, kind.singular, *kind.short_names)))),
        ("Categories", ", ".join(kind.categories)),
        ("Scope", "in namespaces" if kind.namespaced else "in no namespace"),
        ("Declared", origin(kind)),
        ("Status", _status(kind)),
        ("Conversion", "by a webhook" if kind.conversion == "webhook" else ""),
        ("Made by", f"{kind.maker} alone" if kind.maker else ""),
        ("Subresources", ", ".join(kind.subresources)),
        ("Scale", ", ".join(f"{what} at {path}" for what, path in kind.scale.items())),
        ("Expires", f"{kind.ttl['seconds']} seconds after {kind.ttl['since']}" if "since" in kind.ttl else ""),
        ("Selectable", ", ".join(dict.fromkeys(path for each in kind.versions for path in each.selectable))),
        ("Verbs", ", ".join(sorted(kind.verbs))),
        ("Objects", count),
    ]
    return [(what, value) for what, value in facts if value]


def _status(kind: KindDescription) -> str:
    writer = status_writer(kind)
    if not writer:
        return "there is none"
    return {"nobody": "written by nobody: no actor owns it", "external": "written by whoever is authorized"}.get(
        writer, f"written by {writer} alone"
    )


def _version_row(kind: KindDescription, version: VersionDescription) -> list[Any]:
    states = [word for word, holds in (("stored", version.storage), ("deprecated", version.deprecated)) if holds]
    is_ = [version.stability or "of no stability", *states, *([] if version.served else ["not served"])]
    count = "" if kind.objects is None else kind.objects.get(version.api_version, 0)
    return [kind.called(version), ", ".join(is_), count, life(version), place(version.source)]


def life(version: VersionDescription) -> str:
    """What is said of its life, in one line."""
    said = [f"{event} {release}" for event in _EVENTS if (release := _release(version.lifecycle.get(event)))]
    heir = version.lifecycle.get("successor")
    return "; ".join([*said, f"then use {heir}"] if heir else said)


_EVENTS = ("introduced", "deprecated", "removed")


def _release(said: dict[str, str] | None) -> str:
    return " of ".join(said[key] for key in ("version", "date") if said.get(key)) if said else ""


def _converter_row(converter: Any) -> list[Any]:
    return [", ".join(converter.old), ", ".join(converter.new), converter.name, place(converter.source)]


def _handler_row(handler: Any) -> list[Any]:
    on = ", ".join(handler.operations)
    below = [f"/{name}" if name else "the object" for name in handler.subresources]
    if below != ["the object"]:
        on += f" of {', '.join(below)}"
    return [handler.role, handler.name, handler.version, on, f"{handler.timeout_seconds:g}", place(handler.source)]


def _actor_rows(description: Description, kind: KindDescription) -> Iterator[list[Any]]:
    for actor in description.actors:
        does = [
            verb
            for verb, named in (("owns", [actor.owns]), ("observes", actor.observes), ("writes", actor.writes))
            if kind.resource in named
        ]
        if does:
            yield [actor.name, ", ".join(does), place(actor.source)]


def tree_rows(schema: dict[str, Any], depth: int | None = None) -> Iterator[list[str]]:
    """The fields of a schema as a tree, a row for each; what every object has is left out."""
    own = [field for field in fields_of(schema) if field.name not in OURS]
    yield from _branches(own, "", depth)


def _branches(fields: Sequence[Field], before: str, depth: int | None, *, root: bool = True) -> Iterator[list[str]]:
    for at, field in enumerate(fields, 1):
        last = at == len(fields)
        joint = "" if root else ("└─ " if last else "├─ ")
        below = fields_of(field.schema) if depth is None or depth > 1 else []
        yield [f"{before}{joint}{field.name}", field.type, "; ".join(field.rules), summary(field)]
        further = before if root else before + ("   " if last else "│  ")
        yield from _branches(below, further, None if depth is None else depth - 1, root=False)


def summary(field: Field) -> str:
    """What it says of itself, in one line."""
    said = field.summary
    return said if len(said) <= LONGEST_SUMMARY else f"{said[:LONGEST_SUMMARY]}..."


def _part(title: str, headings: Sequence[str], rows: Sequence[Iterable[Any]]) -> list[RenderableType]:
    """A table with a title; nothing if it is empty. Columns without a value are left out."""
    if not rows:
        return []
    values = [list(row) for row in rows]
    kept = [at for at in range(len(headings)) if any(str(row[at]) for row in values)]
    made = table([headings[at] for at in kept], [[row[at] for at in kept] for row in values], FOLDED)
    return [Text(), Text(title, style="bold underline"), made]


def _grid(facts: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for what, value in facts:
        grid.add_row(Text(f"{what}:"), cell(value))
    return grid
