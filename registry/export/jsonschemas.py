"""Kinds as JSON Schema (draft 2020-12), for editors and for checks without a server: one file for each kind and version.

Whatever the server takes without a warning, the schema takes: a null where the server drops it, a required field that has a default
left out. What the server refuses for another reason than the form (a handler, a rule), the schema does not see.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from registry.export.choosing import Form

Document = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SAME = (
    "title",
    "description",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
    "default",
)
JUNCTORS = ("allOf", "anyOf", "oneOf")
ALL = "all.json"


def json_schemas(forms: Iterable[Form]) -> dict[str, str]:
    """The files by their paths, `GROUP/KIND_VERSION.json` as tools for Kubernetes look for them; and one that knows all of them."""
    made = {path_of(form): text(document(form)) for form in forms}
    every = {"$schema": DIALECT, "description": "An object of any of these kinds.", "oneOf": [{"$ref": path} for path in made]}
    return {**made, ALL: text(every)}


def bundled(files: Mapping[str, str]) -> str:
    """The same in one file."""
    parts = {path: json.loads(each) for path, each in files.items() if path != ALL}
    if len(parts) == 1:
        return next(each for path, each in files.items() if path != ALL)
    inner = {path.replace("/", "_").removesuffix(".json"): part for path, part in parts.items()}
    for part in inner.values():
        del part["$schema"]
    return text({"$schema": DIALECT, "oneOf": [{"$ref": f"#/$defs/{name}"} for name in inner], "$defs": inner})


def path_of(form: Form) -> str:
    """Where the schema of a kind in a version is."""
    return f"{form.version.group or 'core'}/{form.kind.kind.lower()}_{form.version.name}.json"


def text(document: Document) -> str:
    """A document as it is kept in a file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def document(form: Form) -> Document:
    """The schema of a kind in a version."""
    made = converted(form.schema, closed=True)
    given: Document = {"apiVersion": {"const": form.api_version}, "kind": {"const": form.kind.kind}}
    properties = {key: value for key, value in made.get("properties", {}).items() if key not in given}
    required = [each for each in made.get("required", ()) if each not in given]
    head = {"$schema": DIALECT, "title": f"{form.api_version} {form.kind.kind}"}
    return head | made | {"type": "object", "properties": {**given, **properties}, "required": [*given, *required]}


def converted(schema: Mapping[str, Any], *, closed: bool, null: bool = False) -> Document:
    """A schema of OpenAPI in the words of JSON Schema.

    `closed`: fields that it does not name are errors. `null`: a null may be there, since the server drops it.
    """
    made: Document = {key: schema[key] for key in SAME if key in schema}
    integers_or_texts = schema.get("x-kubernetes-int-or-string", False)
    types = ["integer", "string"] if integers_or_texts else [schema["type"]] if schema.get("type") else []
    null = null or bool(schema.get("nullable"))
    if types:
        made["type"] = [*types, "null"] if null else types if len(types) > 1 else types[0]
    if "enum" in schema:
        made["enum"] = [*schema["enum"], *([None] if null and None not in schema["enum"] else [])]
    for bound, word in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.get(word) is True and bound in made:
            made[word] = made.pop(bound)
    # A float of JSON is none of a server's, to the last digit.
    if isinstance(schema.get("multipleOf"), int | float) and schema["multipleOf"] == int(schema["multipleOf"]):
        made["multipleOf"] = int(schema["multipleOf"])
    if schema.get("uniqueItems") or schema.get("x-kubernetes-list-type") == "set":
        made["uniqueItems"] = True
    if "items" in schema:
        made["items"] = converted(schema["items"], closed=closed, null="default" in schema["items"])
    _object(schema, made, closed=closed)
    for word in JUNCTORS:
        if word in schema and not (integers_or_texts and word == "anyOf"):
            made[word] = [converted(each, closed=False) for each in schema[word]]
    if "not" in schema:
        made["not"] = converted(schema["not"], closed=False)
    return made


def _object(schema: Mapping[str, Any], made: Document, *, closed: bool) -> None:
    properties: Mapping[str, Any] = schema.get("properties", {})
    filled = {key for key, child in properties.items() if "default" in child}
    required = [key for key in schema.get("required", ()) if key not in filled]
    if properties:
        made["properties"] = {
            key: converted(child, closed=closed, null=key in filled or key not in required) for key, child in properties.items()
        }
    if required:
        made["required"] = required
    more = schema.get("additionalProperties")
    drops = False
    if isinstance(more, Mapping):
        made["additionalProperties"] = converted(more, closed=closed, null=True)
        drops = not more.get("nullable")
    elif more is None and closed and schema.get("type") == "object" and not _open(schema):
        made["additionalProperties"] = False
    # A server counts fields when defaults are there, and nulls are not.
    if "minProperties" in schema and not filled:
        made["minProperties"] = schema["minProperties"]
    if "maxProperties" in schema and not drops:
        made["maxProperties"] = schema["maxProperties"]


def _open(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource"))
