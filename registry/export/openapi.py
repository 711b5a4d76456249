"""OpenAPI documents of chosen kinds: one for each group and version, or one of all. Made of the documents that a server has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from registry.export.choosing import Form
from registry.export.jsonschemas import text
from registry.openapi import path_of

Document = dict[str, Any]

COMPONENTS = "#/components/schemas/"
TYPES = "x-kubernetes-group-version-kind"


def place_of(form: Form) -> str:
    """How a server names the document that a version is in."""
    return path_of(form.version.group, form.version.name)


def openapi_files(forms: Iterable[Form], documents: Mapping[str, Document]) -> dict[str, str]:
    """A file for each group and version, as `apis/uptime.example/v1.json`. `documents` are the server's, by place."""
    places: dict[str, list[Form]] = {}
    for form in forms:
        places.setdefault(place_of(form), []).append(form)
    return {f"{place}.json": text(narrowed(documents[place], each)) for place, each in places.items()}


def openapi_file(forms: Iterable[Form], documents: Mapping[str, Document]) -> str:
    """One document of all."""
    forms = tuple(forms)
    places = dict.fromkeys(place_of(form) for form in forms)
    parts = [narrowed(documents[place], [form for form in forms if place_of(form) == place]) for place in places]
    paths = {path: item for part in parts for path, item in part["paths"].items()}
    schemas: Document = {}
    for part in parts:
        for name, schema in part["components"]["schemas"].items():
            schemas[name] = _joined(schemas[name], schema) if name in schemas else schema
    whole = {**parts[0], "paths": dict(sorted(paths.items())), "components": {"schemas": dict(sorted(schemas.items()))}}
    return text(whole)


def narrowed(document: Document, forms: Iterable[Form]) -> Document:
    """A document with nothing but these kinds, all of its version, and what they refer to."""
    plurals = {form.kind.plural for form in forms}
    paths = {path: item for path, item in document["paths"].items() if _plural(path) in plurals}
    schemas = document["components"]["schemas"]
    needed: dict[str, None] = {}
    waiting = [*_references(paths)]
    while waiting:
        name = waiting.pop()
        if name not in needed and name in schemas:
            needed[name] = None
            waiting += _references(schemas[name])
    return {
        "openapi": document["openapi"],
        "info": document["info"],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {name: schemas[name] for name in sorted(needed)}},
    }


def _plural(path: str) -> str:
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if len(rest) > 2 and rest[:2] == ["namespaces", "{namespace}"]:
        rest = rest[2:]
    return rest[0] if rest else ""


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        named = value.get("$ref")
        if isinstance(named, str):
            yield named.removeprefix(COMPONENTS)
        for item in value.values():
            yield from _references(item)


def _joined(one: Document, other: Document) -> Document:
    """What two documents say of one schema. Those that all kinds share name the versions that take them."""
    named = [each for schema in (one, other) for each in schema.get(TYPES, ())]
    if not named:
        return one
    unique = {tuple(sorted(each.items())): each for each in named}
    return {**one, TYPES: [unique[key] for key in sorted(unique)]}
