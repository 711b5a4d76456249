"""Kinds as CustomResourceDefinitions (apiextensions.k8s.io/v1), for a Kubernetes API server: schemas are structural, and nothing is
said that such a server does not take.

Handlers, actors, owners of the status and times to live are not part of a definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from registry.description import DEFINITION
from registry.documents import dump_yaml
from registry.export.choosing import ExportError, Form

Document = dict[str, Any]

KEPT = frozenset(
    (
        "title",
        "description",
        "type",
        "format",
        "required",
        "enum",
        "pattern",
        "nullable",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "uniqueItems",
        "default",
        "example",
        "externalDocs",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-validations",
    )
)
"""The words of a schema in a definition. A server refuses, or drops, all others."""
MADE_UP = "Custom resource definition column (in JSONPath format): "
"""How the description of a column begins that nobody described."""
SELECTABLE = 8
"""Fields that a server lets be selectable."""
WARNING = 256


def definitions(forms: Iterable[Form]) -> dict[str, str]:
    """A file in YAML for each kind, by its name. Raises ExportError."""
    made = {}
    for _, each in groupby(forms, key=lambda form: form.kind.resource):
        document = definition(tuple(each))
        made[f"{document['metadata']['name']}.yaml"] = dump_yaml(document).decode()
    return made


def definition(forms: Sequence[Form]) -> Document:
    """The definition of a kind in these versions. Raises ExportError."""
    kind = forms[0].kind
    if not kind.group:
        raise ExportError(f"{kind.resource} is in the core group, which definitions have no kinds in", "choose others with --group")
    groups = {form.version.group for form in forms}
    if len(groups) > 1:
        raise ExportError(f"{kind.resource} is served in several groups: {', '.join(sorted(groups))}", "choose one with --group")
    if len(forms) > 1 and not _same_shape(forms):
        listed = ", ".join(form.version.name for form in forms)
        raise ExportError(
            f"the versions of {kind.resource} have different shapes ({listed}), and converters in Python, which no definition has",
            f"export one of them, as {kind.plural}.{kind.storage}.{next(iter(groups))}",
        )
    storage = next((form.version.name for form in forms if form.version.storage), forms[0].version.name)
    [group] = groups
    names: Document = {"plural": kind.plural, "singular": kind.singular, "kind": kind.kind, "listKind": kind.list_kind}
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    if kind.categories:
        names["categories"] = list(kind.categories)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{group}"},
        "spec": {
            "group": group,
            "names": names,
            "scope": kind.scope,
            "conversion": {"strategy": "None"},
            "versions": [_version(form, storage) for form in forms],
        },
    }


def _same_shape(forms: Sequence[Form]) -> bool:
    """Whether no converter is between any two of these versions."""
    shapes = [set(each) for step in forms[0].kind.converters for each in (step.old, step.new)]
    names = {form.version.name for form in forms}
    return not shapes or any(names <= shape for shape in shapes)


def _version(form: Form, storage: str) -> Document:
    version, kind = form.version, form.kind
    document: Document = {"name": version.name, "served": True, "storage": version.name == storage}
    if version.deprecated:
        document["deprecated"] = True
        if version.warning:
            document["deprecationWarning"] = version.warning[:WARNING]
    document["schema"] = {"openAPIV3Schema": root(form.schema, f"{kind.resource} {version.name}", null=kind.declared != DEFINITION)}
    subresources: Document = {"status": {}} if form.status else {}
    if kind.scale:
        scale = {"specReplicasPath": kind.scale["spec"], "statusReplicasPath": kind.scale["status"]}
        if kind.scale.get("selector"):
            scale["labelSelectorPath"] = kind.scale["selector"]
        subresources["scale"] = scale
    if subresources:
        document["subresources"] = subresources
    if version.selectable:
        if len(version.selectable) > SELECTABLE:
            raise ExportError(f"{kind.resource} {version.name} has more than {SELECTABLE} selectable fields", "declare fewer")
        document["selectableFields"] = [{"jsonPath": f".{path.lstrip('.')}"} for path in version.selectable]
    if version.columns:
        document["additionalPrinterColumns"] = [
            {"name": each.name, "type": each.type, "jsonPath": each.path}
            | ({"description": each.description} if each.description and not each.description.startswith(MADE_UP) else {})
            | ({"priority": each.priority} if each.priority else {})
            for each in version.columns
        ]
    return document


def root(schema: Document, where: str, *, null: bool = False) -> Document:
    """The schema of a kind, without what every kind has. Raises ExportError. `null`: what may be anything may be null."""
    made = structural(schema, where, null=null)
    properties = dict(made.get("properties", {}))
    for name in ("apiVersion", "kind"):
        properties[name] = {"type": "string"} | (
            {"description": schema["properties"][name]["description"]}
            if "description" in schema.get("properties", {}).get(name, {})
            else {}
        )
    limited = properties.get("metadata", {}).get("properties", {}).keys() <= {"name", "generateName"}
    said = properties.get("metadata", {}) if limited else {}
    properties["metadata"] = {**{key: value for key, value in said.items() if key == "properties"}, "type": "object"}
    order = ("apiVersion", "kind", "metadata")
    rest = {key: value for key, value in properties.items() if key not in order}
    made["properties"] = {**{key: properties[key] for key in order}, **rest}
    made["type"] = "object"
    return made


def structural(schema: Mapping[str, Any], where: str, *, null: bool = False) -> Document:
    """A schema in the words that a definition may have, and with what lists and maps must say of themselves. Raises ExportError."""
    made = {key: value for key, value in schema.items() if key in KEPT}
    if "properties" in schema:
        made["properties"] = {key: structural(child, f"{where}.{key}", null=null) for key, child in schema["properties"].items()}
    if "additionalProperties" in schema and "properties" not in schema:
        more = schema["additionalProperties"]
        made["additionalProperties"] = more if isinstance(more, bool) else structural(more, f"{where}.*", null=null)
    if "items" in schema:
        made["items"] = structural(schema["items"], f"{where}[]", null=null)
    if made.get("x-kubernetes-list-type") == "set":
        made["items"] = _whole(made["items"])
    elif made.get("x-kubernetes-list-type") == "map":
        _check_keys(made, where)
    if not made.get("type") and not made.get("x-kubernetes-int-or-string"):
        made["x-kubernetes-preserve-unknown-fields"] = True
        if null:
            made["nullable"] = True
    return made


def _whole(items: Document) -> Document:
    """The items of a set are compared as wholes, and have to say so."""
    extra = {"object": "x-kubernetes-map-type", "array": "x-kubernetes-list-type"}.get(items.get("type", ""))
    return {**items, extra: "atomic"} if extra else items


def _check_keys(schema: Document, where: str) -> None:
    items = schema.get("items", {})
    for key in schema.get("x-kubernetes-list-map-keys", ()):
        if key not in items.get("required", ()) and "default" not in items.get("properties", {}).get(key, {}):
            raise ExportError(f"{where}: {key!r} is a key of a list, and may be left out", "make it required, or give it a default")
