"""What is wrong with an openAPIV3Schema: everything at once, in the words of a Kubernetes API server.

    problems(schema, "spec.versions[0].schema.openAPIV3Schema")

A schema that has none of these problems is structural: its form says of every field what it is, and everything else that it says
only makes that narrower. Three passes find them, each only if it can make sense of the schema: what may not be there at all and
what contradicts itself (this module), the form (`registry.custom.forms`), and the defaults, which must obey their own schema.

Rules in expressions are not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from registry import errors
from registry.custom import keywords
from registry.custom.clauses import Clause, clause_of
from registry.custom.embedded import Embedded
from registry.custom.forms import misshapen
from registry.custom.junctors import Junctors
from registry.custom.keywords import named
from registry.custom.tree import META_FIELDS, node_of_schema, root_of
from registry.errors import Cause
from registry.nodes import TOLD, Document, Node
from registry.schema import settle, with_defaults
from registry.validation import check

TYPES = ("array", "boolean", "integer", "number", "object", "string")
"""What `type` may be. Constant."""

_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_AT_ROOT = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems "
    "UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations"
)
_AT_ROOT_KEYWORDS = frozenset(
    [name[0].lower() + name[1:] for name in _AT_ROOT.split()] + ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"]
)
_LIST_TYPES, _MAP_TYPES = ("atomic", "set", "map"), ("atomic", "granular")


def problems(schema: Document, path: str, *, status: bool = False) -> list[Cause]:
    """Everything that is wrong with a schema that was sent. `path` is where it is; `status`: the kind has a status of its own."""
    read = keywords.read(schema, path)
    if read.causes:
        return list(read.causes)
    causes = [*_at_root(read.schema, path, status=status), *_contradictions(read.schema, path, _ROOT)]
    if not _has_unsupported(read.schema):
        shape = misshapen(read.schema, path)
        causes += shape or _defaults(read.schema, path)
    return causes[:TOLD] or _unusable(read.schema, path)


def _at_root(schema: Document, path: str, *, status: bool) -> Iterator[Cause]:
    """What the root may not have, since a status is looked at apart from it."""
    kind = schema.get("type", "")
    if status:
        if kind and kind != "object":
            detail = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
            yield errors.invalid(f"{path}.type", kind, detail)
        others = sorted(keyword for keyword, value in schema.items() if value and keyword not in _AT_ROOT_KEYWORDS)
        if others:
            detail = f"only [{_AT_ROOT}] fields are allowed at the root of the schema if the status subresource is enabled"
            yield errors.invalid(path, others, detail)
    if schema.get("nullable"):
        yield errors.forbidden(f"{path}.nullable", "nullable cannot be true at the root")


class _Place(NamedTuple):
    """Where a schema is. `no_default` says why it may have no default; `in_meta`: it is about the metadata of a resource."""

    root: bool = False
    no_default: str = ""
    in_meta: bool = False


_ROOT = _Place(root=True)


def _contradictions(schema: Document, path: str, place: _Place) -> Iterator[Cause]:
    """What a schema may not say, and what does not go together, wherever it stands."""
    yield from _supported(schema, path, place)
    others = schema.get("additionalProperties")
    if others is not None and others is not True and schema.get("properties"):
        yield errors.forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    for below, child in keywords.below(schema):
        yield from _contradictions(child, f"{path}{below}", _place_of(schema, below, place))
    yield from _of_extensions(schema, path)


def _place_of(schema: Document, below: str, place: _Place) -> _Place:
    """Where a schema below another is."""
    if below == ".additionalProperties" and place.in_meta:
        return _Place(no_default=" inside additionalProperties applying to object metadata", in_meta=True)
    for field in META_FIELDS:
        if below == f".properties[{field}]" and (place.root or schema.get("x-kubernetes-embedded-resource")):
            return _Place(no_default=f" in top-level {field}" if place.root else place.no_default, in_meta=True)
    return place._replace(root=False)


def _supported(schema: Document, path: str, place: _Place) -> Iterator[Cause]:
    if place.no_default and "default" in schema:
        yield errors.forbidden(f"{path}.default", f"must not be set{place.no_default}")
    for keyword in _UNSUPPORTED:
        if schema.get(keyword) or (keyword in schema and keyword in ("additionalItems", "dependencies", "$ref")):
            yield errors.forbidden(f"{path}.{keyword}", f"{keyword} is not supported")
    kind = schema.get("type", "")
    if kind == "null":
        yield errors.forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    elif kind and kind not in TYPES:
        yield errors.not_supported(f"{path}.type", kind, TYPES)
    if isinstance(schema.get("items"), list):
        yield errors.forbidden(f"{path}.items", "items must be a schema object and not an array")
    if place.in_meta and schema.get("x-kubernetes-embedded-resource"):
        yield errors.forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta")
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield errors.forbidden(f"{path}.uniqueItems", detail)


def _of_extensions(schema: Document, path: str) -> Iterator[Cause]:
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        yield errors.invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    yield from _typed(schema, path, "x-kubernetes-map-type", "object", _MAP_TYPES)
    yield from _typed(schema, path, "x-kubernetes-list-type", "array", _LIST_TYPES)
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", ())
    if keys and list_type != "map":
        field, detail = f"{path}.x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is non-empty"
        yield errors.required(field, detail) if list_type is None else errors.invalid(field, list_type, detail)
    items = schema.get("items")
    if list_type == "map":
        yield from _of_map(schema, path)
    if isinstance(items, dict) and list_type in ("set", "map"):
        if items.get("nullable"):
            yield errors.forbidden(f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {list_type}")
        yield from _of_set_items(items, f"{path}.items") if list_type == "set" else _of_map_keys(schema, items, path)


def _typed(schema: Document, path: str, keyword: str, wanted: str, known: tuple[str, ...]) -> Iterator[Cause]:
    """What is wrong with an extension that says how values of one type are merged."""
    said, kind = schema.get(keyword), schema.get("type", "")
    if said is None:
        return
    if kind != wanted:
        detail = f"must be {wanted} if {keyword} is specified"
        yield errors.invalid(f"{path}.type", kind, detail) if kind else errors.required(f"{path}.type", detail)
    if said not in known:
        yield errors.not_supported(f"{path}.{keyword}", said, known)


def _of_set_items(items: Document, path: str) -> Iterator[Cause]:
    """Items of a set are told apart whole, so they are merged whole."""
    detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
    inner, mapped = items.get("x-kubernetes-list-type"), items.get("x-kubernetes-map-type")
    if items.get("type") == "array" and inner not in (None, "atomic"):
        yield errors.invalid(f"{path}.x-kubernetes-list-type", inner, detail)
    if items.get("type") == "object" and mapped != "atomic":
        yield errors.invalid(f"{path}.x-kubernetes-map-type", mapped, detail)


def _of_map(schema: Document, path: str) -> Iterator[Cause]:
    keys, items = schema.get("x-kubernetes-list-map-keys", ()), schema.get("items")
    field = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        yield errors.required(field, "must not be empty if x-kubernetes-list-type is map")
    if items is None:
        yield errors.required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
    if not isinstance(items, dict):
        return
    kind = items.get("type", "")
    if kind != "object":
        yield errors.invalid(f"{path}.items.type", kind, "must be object if parent array's x-kubernetes-list-type is map")
        return
    properties = items.get("properties", {})
    if any(key not in properties for key in keys):  # said once: it shows all of them
        yield errors.invalid(field, keys, "entries must all be names of item properties")
    if len(set(keys)) < len(keys):
        yield errors.invalid(field, keys, "must not contain duplicate entries")
    for key in dict.fromkeys(keys):
        child = properties.get(key, {})
        if child.get("type") in ("array", "object"):
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield errors.invalid(f"{path}.items.properties{named(key)}.type", kind, detail)


def _of_map_keys(schema: Document, items: Document, path: str) -> Iterator[Cause]:
    """Every item has all of its keys."""
    about = "this property is in x-kubernetes-list-map-keys, so it"
    for key in schema.get("x-kubernetes-list-map-keys", ()):
        child, field = items.get("properties", {}).get(key), f"{path}.items.properties{named(key)}"
        if child is None:
            continue
        if key not in items.get("required", ()) and "default" not in child:
            yield errors.required(f"{field}.default", f"{about} must have a default or be a required property")
        if child.get("nullable"):
            yield errors.forbidden(f"{field}.nullable", f"{about} cannot be nullable")


def _has_unsupported(schema: Document) -> bool:
    """Whether something is there that no structural schema can be made of: then there is no use in looking for its form."""
    here = any(schema.get(keyword) for keyword in ("$schema", *_UNSUPPORTED)) or isinstance(schema.get("items"), list)
    return here or any(_has_unsupported(child) for _, child in keywords.below(schema))


class _Form(NamedTuple):
    """A part of a schema for those who check values. It is made once for the whole, since defaults may be at every depth."""

    node: Node
    embedded: Embedded | None
    clause: Clause | None

    def field(self, name: str) -> _Form:
        embedded, clause = self.embedded, self.clause
        return _Form(
            self.node.properties[name],
            embedded.properties.get(name) if embedded is not None else None,
            clause.properties.get(name) if clause is not None else None,
        )

    def items(self) -> _Form:
        embedded, clause = self.embedded, self.clause
        return _Form(
            self.node.items or Node(),
            embedded.items if embedded is not None else None,
            clause.items if clause is not None else None,
        )


def _defaults(schema: Document, path: str) -> list[Cause]:
    form = _Form(node_of_schema(schema), Embedded.of(schema), clause_of(schema))
    return list(islice(_broken_defaults(schema, path, form, is_root=True), TOLD))


def _broken_defaults(schema: Document, path: str, form: _Form, *, is_root: bool = False, in_meta: bool = False) -> Iterator[Cause]:
    """Defaults that do not obey their own schemas. They have their place in fields and in items, not in maps."""
    if "default" in schema:
        yield from _against_default(form, schema["default"], f"{path}.default", in_meta=in_meta)
    if isinstance(schema.get("items"), dict):
        yield from _broken_defaults(schema["items"], f"{path}.items", form.items(), in_meta=in_meta)
    resource = is_root or schema.get("x-kubernetes-embedded-resource", False)
    for name, child in schema.get("properties", {}).items():
        inside = in_meta or (resource and name in META_FIELDS)
        yield from _broken_defaults(child, f"{path}.properties{named(name)}", form.field(name), in_meta=inside)


def _against_default(form: _Form, value: Any, path: str, *, in_meta: bool) -> Iterator[Cause]:
    unknown: list[str] = []
    settle(form.node, value, "", unknown)
    if unknown and not in_meta:
        yield errors.invalid(path, value, "must not have unknown fields")
    yield from check(form.node, value, path, "")
    if form.embedded is not None:
        yield from (_moved(cause, path) for cause in form.embedded.apply(value, None, "")[2])
    if form.clause is not None:
        yield from (_moved(cause, path) for cause in Junctors(form.clause).causes(value, None))


def _moved(cause: Cause, path: str) -> Cause:
    field = "" if cause.field == "<nil>" else cause.field
    return Cause(cause.reason, cause.message, f"{path}.{field}" if field else path)


def _unusable(schema: Document, path: str) -> list[Cause]:
    """That nothing can be made of a schema which seems right: defaults in defaults, say, may add up to more than there may be. This
    is the last word: what passes here can be served."""
    try:
        with_defaults(root_of(schema))
    except ValueError as error:
        return [errors.invalid(path, "", f"error building validator: {error}")]
    return []
