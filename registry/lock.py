"""What a set of plugins promises, written down: kinds, versions, schemas, lifecycles, and the release that they are of.

`lock_of` makes it, `text_of` writes it as it is kept in a repository (`registry.lock.json`), `read` takes it in again. The text is
canonical: the same promises are the same bytes, whoever writes them, and one thing that changes is one line that changes. So names
are sorted, and nothing is in it that promises nothing: no descriptions, no handlers, no names of classes.

    {"kinds": {"probes.uptime.example": {"kind": "Probe", "versions": {"v1": {...}}, ...}}, "lock": 1, "release": {...}}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from registry import lifecycle
from registry.kinds import EXTERNAL, Kind, Version
from registry.lifecycle import Release
from registry.lock_form import LockForm
from registry.names import stability
from registry.openapi_schemas import schema_of_node

Document = dict[str, Any]

FILE = "registry.lock.json"
FORM = 1
"""The form of the document. It changes when an older program could not read it."""

_TOLD = frozenset({"title", "description", "example", "examples", "externalDocs"})
"""Keywords that explain and promise nothing."""
_OURS = ("apiVersion", "kind", "metadata")
"""Fields of the root that every kind has from the server."""


class LockError(ValueError):
    """A document is no lock, or one of a newer form."""


def lock_of(kinds: Iterable[Kind], release: Release | None = None) -> Document:
    """What these kinds promise in this release. Built-in kinds are left out: they are not the plugin's to promise."""
    listed = {kind.resource: _kind(kind) for kind in kinds if not kind.strategy.builtin}
    return {"lock": FORM, "release": lifecycle.release_document(release or Release()), "kinds": listed}


def text_of(lock: Document) -> str:
    """The lock as it stands in its file."""
    return json.dumps(lock, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read(text: str | bytes) -> Document:
    """The lock that a file holds. Raises LockError."""
    try:
        lock = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LockError(f"it is not JSON: {error}") from None
    if not isinstance(lock, dict) or type(lock.get("lock")) is not int:
        raise LockError("it is not what `skep registry lock` writes")
    if lock["lock"] > FORM:
        raise LockError(f"it is of the form {lock['lock']}, which a newer skep has written; this one reads {FORM}")
    try:
        _check(lock)
    except (ValueError, RecursionError) as error:
        raise LockError(f"it has been changed by hand: {error}") from None
    return lock


def _check(lock: Document) -> None:
    """ValueError if what a diff looks at is not there, or is something else."""
    msgspec.convert(lock, LockForm)
    lifecycle.release_from(lock["release"])
    for resource, kind in lock["kinds"].items():
        if kind["storage"] not in kind["versions"]:
            raise ValueError(f"{resource} is stored in {kind['storage']!r}, which is no version of it")
        for version in kind["versions"].values():
            lifecycle.from_document(version["lifecycle"])


def _kind(kind: Kind) -> Document:
    said: Document = {
        "kind": kind.name,
        "listKind": kind.list_kind,
        "singular": kind.singular,
        "plural": kind.plural,
        "group": kind.group,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "status": kind.has_status,
        "statusWriter": "external" if kind.owner == EXTERNAL else "actor",
        "storage": kind.storage.name,
        "versions": {version.name: _version(version) for version in kind.versions},
    }
    if kind.scale is not None:
        paths = {"spec": kind.scale.spec, "status": kind.scale.status, "selector": kind.scale.selector}
        said["scale"] = {name: path for name, path in paths.items() if path}
    if kind.ttl is not None:
        said["ttl"] = {"seconds": kind.ttl.seconds, "since": kind.ttl.since}
    return said


def _version(version: Version) -> Document:
    level = stability(version.name)
    said: Document = {
        "stability": level.value if level is not None else "",
        "served": version.served,
        "lifecycle": lifecycle.document(version.lifecycle),
        "columns": {column.name: {"path": column.path, "type": column.type} for column in version.columns},
        "selectable": sorted(version.selectable),
        "schema": promised(schema_of_node(version.schema.node), root=True),
    }
    if version.waived:
        said["waived"] = dict(version.waived)
    return said


def promised(schema: Mapping[str, Any], *, root: bool = False) -> Document:
    """A schema without what only explains it, and with names in order. At the root, without the fields that every kind has."""
    kept: Document = {}
    for key, value in schema.items():
        if key in _TOLD:
            continue
        if key == "properties":
            kept[key] = {name: promised(each) for name, each in value.items() if not (root and name in _OURS)}
        elif key in ("items", "additionalProperties") and isinstance(value, Mapping):
            kept[key] = promised(value)
        elif key == "required":
            kept[key] = sorted(name for name in value if not (root and name in _OURS))
        else:
            kept[key] = value
    return {key: value for key, value in kept.items() if value != []}
