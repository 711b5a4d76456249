"""Whether a schema is structural: whether it says of every value what it is, and once only.

    misshapen(schema, path)     everything that keeps it from that, in the words of a Kubernetes API server

What junctors (`allOf`, `anyOf`, `oneOf`, `not`) say is no part of the form: in them there may be nothing but what makes values
narrower, about fields that the form names. The one exception is `anyOf: [{type: integer}, {type: string}]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from registry import errors
from registry.custom.keywords import JUNCTORS, named
from registry.errors import Cause
from registry.formats import linear_searcher
from registry.nodes import TOLD, Document

INT_OR_STRING: list[Document] = [{"type": "integer"}, {"type": "string"}]
"""The alternatives that may name types. Constant."""

_LEVELS = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
_UNDEFINED, _EMPTY, _FALSE = (
    "must be undefined to be structural",
    "must be empty to be structural",
    "must be false to be structural",
)
_NARROWING_ONLY = {
    "type": _EMPTY,
    "additionalProperties": _UNDEFINED,
    "default": _UNDEFINED,
    "title": _EMPTY,
    "description": _EMPTY,
    "nullable": _FALSE,
    "x-kubernetes-preserve-unknown-fields": _FALSE,
    "x-kubernetes-embedded-resource": _FALSE,
    "x-kubernetes-int-or-string": _FALSE,
    "x-kubernetes-list-map-keys": _EMPTY,
    "x-kubernetes-list-type": _UNDEFINED,
    "x-kubernetes-map-type": _UNDEFINED,
    "x-kubernetes-validations": _EMPTY,
}
"""What may not be said within junctors, and what is told who says it. Constant."""

_SAY_NOTHING: tuple[Any, ...] = ("", False, [])


def misshapen(schema: Document, path: str) -> list[Cause]:
    """What keeps a schema, which has no keyword of a wrong type, from being structural: sorted, as a real server does."""
    found = [*islice(_form(schema, path, "root"), TOLD), *islice(_complete(schema, schema, path, path), TOLD)]
    return sorted(found, key=str)


def _form(schema: Document, path: str, level: str) -> Iterator[Cause]:
    items, others = schema.get("items"), schema.get("additionalProperties")
    if schema.get("type") == "array" and items is None:
        yield errors.required(f"{path}.items", "must be specified")
    if items is not None:
        yield from _form(items, f"{path}.items", "item")
    for name, child in schema.get("properties", {}).items():
        yield from _form(child, f"{path}.properties{named(name)}", "field")
    if others is not None and level == "root":
        yield errors.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if isinstance(others, dict):
        yield from _form(others, f"{path}.additionalProperties", "field")
    if schema.get("x-kubernetes-int-or-string"):
        for keyword in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if schema.get(keyword):
                yield errors.invalid(f"{path}.{keyword}", True, "must be false if x-kubernetes-int-or-string is true")
    yield from _of_type(schema, path, level)
    yield from _of_resource(schema, path, level)
    yield from _values(schema, path, any_of=schema.get("anyOf") == INT_OR_STRING, all_of=_begins_with_alternative(schema))


def _begins_with_alternative(schema: Document) -> bool:
    every = schema.get("allOf", [])
    return bool(every) and every[0].get("anyOf") == INT_OR_STRING


def _of_type(schema: Document, path: str, level: str) -> Iterator[Cause]:
    kind, field = schema.get("type", ""), f"{path}.type"
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        yield errors.invalid(field, kind, detail) if kind else errors.required(field, detail)
    elif not (kind or schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")):
        yield errors.required(field, _LEVELS[level])
    if level == "root" and kind not in ("", "object"):
        yield errors.invalid(field, kind, "must be object at the root")


def _of_resource(schema: Document, path: str, level: str) -> Iterator[Cause]:
    """What a resource may say of what every resource has."""
    embedded, fields = schema.get("x-kubernetes-embedded-resource"), schema.get("properties", {})
    if embedded and "additionalProperties" in schema:
        detail = "must not be used if x-kubernetes-embedded-resource is set"
        yield errors.forbidden(f"{path}.additionalProperties", detail)
    if embedded and not schema.get("x-kubernetes-preserve-unknown-fields") and not fields:
        detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        yield errors.required(f"{path}.properties", detail)
    if level != "root" and not embedded:
        return
    for name, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        if name in fields and fields[name].get("type", "") != wanted:
            yield errors.invalid(f"{path}.properties[{name}].type", fields[name].get("type", ""), f"must be {wanted}")
    if level == "root" and "metadata" in fields and not _restricts_names_only(fields["metadata"]):
        detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield errors.forbidden(f"{path}.properties[metadata]", detail)


def _restricts_names_only(metadata: Document) -> bool:
    said = {keyword: value for keyword, value in metadata.items() if value not in (*_SAY_NOTHING, {})}
    fields = said.pop("properties", {})
    return fields.keys() <= {"name", "generateName"} and said.keys() <= {"type", "default"}


def _values(schema: Document, path: str, *, any_of: bool = False, all_of: bool = False) -> Iterator[Cause]:
    """What is wrong with the junctors of a schema, and with its pattern. `any_of`: it is the one that may name types; `all_of`: it
    is in the first of these."""
    for keyword in JUNCTORS:
        for index, branch in enumerate(schema.get(keyword, ())):
            if not (keyword == "anyOf" and any_of):
                excepted = keyword == "allOf" and all_of and index == 0
                yield from _nested(branch, f"{path}.{keyword}[{index}]", any_of=excepted)
    if "not" in schema:
        yield from _nested(schema["not"], f"{path}.not")
    pattern = schema.get("pattern")
    problem = _wrong_with_pattern(pattern) if pattern else ""
    if problem:
        detail = f"must be a valid regular expression, but isn't: error parsing regexp: {problem}"
        yield errors.invalid(f"{path}.pattern", pattern, detail)


def _nested(schema: Document, path: str, *, any_of: bool = False) -> Iterator[Cause]:
    yield from _values(schema, path, any_of=any_of)
    if isinstance(schema.get("items"), dict):
        yield from _nested(schema["items"], f"{path}.items")
    for name, child in schema.get("properties", {}).items():
        yield from _nested(child, f"{path}.properties{named(name)}")
    for keyword, said in _NARROWING_ONLY.items():
        if keyword in schema and (keyword == "additionalProperties" or schema[keyword] not in _SAY_NOTHING or keyword == "default"):
            yield errors.forbidden(f"{path}.{keyword}", said)
    if "externalDocs" in schema:
        yield errors.forbidden(f"{path}.externalDocs", _UNDEFINED)
    if "metadata" in schema.get("properties", {}):
        yield errors.forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _complete(schema: Any, form: Any, form_path: str, path: str) -> Iterator[Cause]:
    """Fields and items of which junctors speak, and not the form. As real servers do, only the junctors of the root are asked."""
    for keyword in JUNCTORS:
        for index, branch in enumerate(schema.get(keyword, ())):
            yield from _mentioned(branch, form, form_path, f"{path}.{keyword}[{index}]")
    if "not" in schema:
        yield from _mentioned(schema["not"], form, form_path, f"{path}.not")


def _mentioned(schema: Document, form: Any, form_path: str, path: str) -> Iterator[Cause]:
    if not isinstance(form, dict):
        yield errors.required(form_path, f"because it is defined in {path}")
        return
    yield from _complete(schema, form, form_path, path)
    if isinstance(schema.get("items"), dict):
        yield from _mentioned(schema["items"], form.get("items"), f"{form_path}.items", f"{path}.items")
    for name, child in schema.get("properties", {}).items():
        step = f".properties{named(name)}"
        yield from _mentioned(child, form.get("properties", {}).get(name), f"{form_path}{step}", f"{path}{step}")


_AS_GO: dict[str, str] = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
    "trailing \\": "trailing backslash at end of expression",
}


def _wrong_with_pattern(pattern: str) -> str:
    """What Go says where RE2 finds a pattern wrong; empty: it is none."""
    try:
        linear_searcher(pattern)
    except ValueError as error:
        problem, colon, what = str(error.__cause__.args[0].decode() if error.__cause__ else error).partition(": ")
        return f"{_AS_GO.get(problem, problem)}: `{what}`" if colon else _AS_GO.get(problem, problem)
    return ""
