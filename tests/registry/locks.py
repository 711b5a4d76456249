"""Locks for tests, made of what a test is about."""

from __future__ import annotations

from typing import Any

from registry.lock import Document, read, text_of
from registry.names import stability

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}


def struct(required: str = "", **properties: Schema) -> Schema:
    """The schema of an object with these fields; the required ones are named in one text."""
    said: Schema = {"type": "object", "properties": properties}
    return said | ({"required": sorted(required.split())} if required else {})


def version(name: str, spec: Schema | None = None, **said: Any) -> Document:
    """A version with this spec, and what else is said of it."""
    level = stability(name)
    usual: Document = {
        "stability": level.value if level else "",
        "served": True,
        "lifecycle": {},
        "columns": {},
        "selectable": [],
        "schema": struct(spec=struct() if spec is None else spec),
    }
    return usual | said


def lock(
    versions: dict[str, Document], release: tuple[str, str] = ("1.1", "2020-02-01"), name: str = "Thing", **said: Any
) -> Document:
    """The lock of one kind, in the form in which it is read from a file."""
    plural = f"{name.lower()}s"
    usual: Document = {
        "kind": name,
        "listKind": f"{name}List",
        "singular": name.lower(),
        "plural": plural,
        "group": "things.example",
        "shortNames": [],
        "categories": [],
        "scope": "Namespaced",
        "status": True,
        "statusWriter": "external",
        "storage": next(iter(versions), ""),
        "versions": versions,
    }
    kinds = {f"{plural}.things.example": usual | said} if versions else {}
    return read(text_of({"lock": 1, "release": {"version": release[0], "date": release[1]}, "kinds": kinds}))
