"""From a definition to the kind that is served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from registry import expiring
from registry.custom.conversion import Call, webhook_ways
from registry.custom.definition import ColumnText, Definition, Names, VersionText
from registry.custom.rules import compile_rules
from registry.custom.schema import late_schema
from registry.jsonpath import JSONPath
from registry.jsonpath import parse as parse_path
from registry.kinds import EXTERNAL, Beside, Column, Kind, Scale, Strategy, Version
from registry.names import version_key
from registry.plugin import AGE, described
from registry.schema import Schema
from registry.ways import Ways

TERMINATING = "create not allowed while custom resource definition is terminating"

RULES = b"x-kubernetes-validations"

ENDING_VERBS = ("delete", "deletecollection", "get", "list", "watch")
VERBS = (*ENDING_VERBS[:4], "patch", "create", "update", "watch")
"""What discovery says that can be done with objects; while their definition goes, nobody is led to write them."""
Before = tuple[Definition, Kind]
"""A definition, and the kind that was made of it."""
CallOf = Callable[[Definition], Call | None]
"""Who converts the objects of a kind; None: they get another apiVersion, and nothing else is different."""


def relabelled(definition: Definition) -> Call | None:
    """All versions have one shape."""
    del definition
    return None


def kind_of(
    definition: Definition,
    names: Names,
    call_of: CallOf = relabelled,
    before: Before | None = None,
    *,
    hidden: bool = False,
) -> Kind:
    """The kind, under the names that it got; `hidden`: nobody can ask for it. `before` is what it was: schemas that are the same
    are taken from there. Raises ValueError for what cannot be served."""
    texts = sorted(definition.versions, key=lambda text: version_key(text.name))
    known = dict(_schemas(*before)) if before is not None else {}
    made = [known.get((text.name, bytes(text.schema.schema))) or _schema(definition, text) for text in texts]
    versions = tuple(_version(definition, text, names, schema) for text, schema in zip(texts, made, strict=True))
    schemas = {version.api_version: version.schema for version in versions}
    ways = _ways(definition, schemas, before) or webhook_ways(names.kind, schemas, call_of(definition))
    versions = tuple(replace(version, ways=ways, served=version.served and not hidden) for version in versions)
    storage = next(version for version, text in zip(versions, texts, strict=True) if text.storage)
    beside = storage.beside or Beside()
    return Kind(
        name=names.kind,
        plural=names.plural,
        singular=names.singular,
        list_kind=names.list_kind,
        versions=versions,
        storage=storage,
        namespaced=definition.namespaced,
        short_names=names.short_names,
        categories=names.categories,
        has_status=beside.status,
        scale=beside.scale,
        owner=EXTERNAL,
        strategy=Strategy(check=expiring.check),
        defined=True,
        closed=TERMINATING if definition.deleting else "",
        verbs=ENDING_VERBS if definition.deleting else VERBS,
    )


def _ways(definition: Definition, schemas: dict[str, Schema], before: Before | None) -> Ways | None:
    """The ways that there are already, if they would be the same: they remember what they have converted."""
    if before is None or before[0].names.kind != definition.names.kind:
        return None
    known = {version.api_version: version.schema for version in before[1].versions}
    same = known.keys() == schemas.keys() and all(known[name] is schema for name, schema in schemas.items())
    return before[1].storage.ways if same and _conversion(before[0]) == _conversion(definition) else None


def _conversion(definition: Definition) -> tuple[str, bytes]:
    return definition.conversion.strategy, bytes(definition.conversion.webhook)


def _schemas(definition: Definition, kind: Kind) -> Iterator[tuple[tuple[str, bytes], Schema]]:
    """What there is already, by version and text."""
    texts = {text.name: text for text in definition.versions}
    for version in kind.versions:
        if version.name in texts:
            yield (version.name, bytes(texts[version.name].schema.schema)), version.schema


def _schema(definition: Definition, text: VersionText) -> Schema:
    source = text.schema.schema
    rules_of = compile_rules if RULES in bytes(source) else None
    return late_schema(source, preserve_unknown=definition.preserve_unknown_fields, rules_of=rules_of)


def _version(definition: Definition, text: VersionText, names: Names, schema: Schema) -> Version:
    warning = ""
    if text.deprecated:
        warning = text.deprecation_warning or f"{definition.group}/{text.name} {names.kind} is deprecated"
    return Version(
        group=definition.group,
        name=text.name,
        kind=names.kind,
        schema=schema,
        columns=tuple(_columns(text.additional_printer_columns)) or (AGE,),
        selectable=dict(_selectable(text)),
        warning=warning,
        served=text.served,
        beside=_beside(text),
    )


def _beside(text: VersionText) -> Beside:
    below = text.subresources
    if below is None:
        return Beside()
    paths = below.scale
    scale = None
    if paths is not None and all(
        map(_is_readable, (paths.spec_replicas_path, paths.status_replicas_path, paths.label_selector_path))
    ):
        scale = Scale(paths.spec_replicas_path, paths.status_replicas_path, paths.label_selector_path or "")
    return Beside(below.status is not None, scale)


def _is_readable(path: str | None) -> bool:
    try:
        parse_path(path or ".spec")
    except ValueError:
        return False
    return True


def _columns(texts: tuple[ColumnText, ...]) -> list[Column]:
    """The columns whose paths mean anything."""
    columns = []
    for text in texts:
        try:
            parse_path(text.json_path)
        except ValueError:
            continue
        column = Column(text.name, text.json_path, text.type, text.description, text.priority, text.format)
        columns.append(column if text.description else replace(column, description=described(column)))
    return columns


def _selectable(text: VersionText) -> list[tuple[str, JSONPath]]:
    return [(each.json_path.lstrip("."), parse_path(each.json_path)) for each in text.selectable_fields]
