"""OpenAPI of a group and version, made of plain descriptions of what is served there: what `kubectl explain` shows, and what
kubectl asks before it sends (`--validate`).

Pure: equal descriptions give equal documents, and so equal digests; clients keep a document for ever under its digest.

What kubectl relies on: a path item with a `patch` whose `x-kubernetes-group-version-kind` is an object and whose parameters name
`fieldValidation`; no strategic merge among the media types of a custom kind; `x-kubernetes-group-version-kind` as an array in the
schema of the kind. The words of standard metadata and of parameters are our own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from registry.nodes import Document, Node
from registry.openapi_schemas import META, component, kind_schemas, meta_schemas, reference

JSON_PATCHES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")
"""Media types of patches that every kind takes."""

SWAGGER_PROTOBUF = b"\n\x032.0"
"""The smallest OpenAPI v2 document in protobuf: `swagger: "2.0"` and nothing else, which old validators take as knowing no kind."""

SWAGGER_PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Its media type. Clients ask for it with an @ in the place of the second dot, but cannot read that in an answer."""

ALL_VERBS = frozenset(("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"))

_BODIES = ("application/json", "application/yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One kind in one version, as clients meet it. `selectable` are paths without the leading dot.

    `document` is its schema where that came as one; otherwise it is what `node` says.
    """

    group: str
    version: str
    kind: str
    list_kind: str
    plural: str
    node: Node | None = None
    document: Document | None = None
    namespaced: bool = True
    has_status: bool = True
    has_scale: bool = False
    custom: bool = True
    patches: tuple[str, ...] = JSON_PATCHES
    selectable: tuple[str, ...] = ()
    verbs: frozenset[str] = ALL_VERBS

    @property
    def root(self) -> str:
        """The path of the group and version."""
        return f"/{path_of(self.group, self.version)}"


def path_of(group: str, version: str) -> str:
    """How the index names a group and version: `api/v1`, `apis/uptime.example/v1`."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def digest(document: bytes) -> str:
    """The name of an encoded document that no other has: it changes whenever the document does."""
    return hashlib.sha256(document).hexdigest().upper()


def index(digests: Mapping[str, str]) -> Document:
    """The index: `digests` are those of the documents, by their `path_of`."""
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"} for path, digest in sorted(digests.items())}}


def openapi_v3(served: Iterable[Served]) -> Document:
    """The OpenAPI v3 document of the kinds of one group and version."""
    kinds = sorted(served, key=lambda kind: kind.plural)
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = meta_schemas("#/components/schemas/", [(kind.group, kind.version) for kind in kinds])
    for kind in kinds:
        paths |= _paths(kind)
        schemas |= kind_schemas(kind, "#/components/schemas/")
    return {
        "openapi": "3.0.0",
        "info": {"title": "Skep", "version": "v1"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def openapi_v2(served: Iterable[Served]) -> Document:
    """The definitions of all kinds as OpenAPI v2, for clients that look nothing else up there."""
    kinds = list(served)
    definitions = v2_meta((kind.group, kind.version) for kind in kinds)
    for kind in kinds:
        definitions |= v2_definitions(kind)
    return {**V2_HEAD, "definitions": dict(sorted(definitions.items()))}


V2_HEAD: Mapping[str, Any] = {"swagger": "2.0", "info": {"title": "Skep", "version": "v1"}, "paths": {}}
"""An OpenAPI v2 document without its definitions."""


def v2_meta(versions: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The definitions that the kinds of these groups and versions share."""
    return {name: _without_v3(schema) for name, schema in meta_schemas("#/definitions/", list(versions)).items()}


def v2_definitions(kind: Served) -> dict[str, Any]:
    """The definitions of a kind and of its list."""
    return {name: _without_v3(schema) for name, schema in kind_schemas(kind, "#/definitions/").items()}


def _without_v3(schema: Any) -> Any:
    """The schema without the words that v2 does not have."""
    if isinstance(schema, list):
        return [_without_v3(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    is_property_map = all(isinstance(value, dict) for value in schema.values())
    return {key: _without_v3(value) for key, value in schema.items() if is_property_map or key not in ("nullable", "anyOf")}


# Paths.


def _paths(kind: Served) -> dict[str, Any]:
    scope = f"{kind.root}/namespaces/{{namespace}}" if kind.namespaced else kind.root
    one = f"{scope}/{kind.plural}/{{name}}"
    items: dict[str, Any] = {
        f"{scope}/{kind.plural}": _item(kind, ("list", "create", "deletecollection"), "", named=False),
        one: _item(kind, ("get", "update", "delete", "patch"), "", named=True),
    }
    if kind.namespaced and "list" in kind.verbs:
        items[f"{kind.root}/{kind.plural}"] = {
            "get": _operation(kind, "list", f"list{_scope(kind)}{kind.kind}ForAllNamespaces", ""),
            "parameters": [*_LIST_PARAMETERS, _PRETTY],
        }
    for subresource, is_there in (("scale", kind.has_scale), ("status", kind.has_status)):
        if is_there:
            items[f"{one}/{subresource}"] = _item(kind, ("get", "update", "patch"), subresource, named=True)
    return {path: item for path, item in items.items() if item.keys() - {"parameters"}}


_OPERATIONS = {
    "list": ("get", "list", "list{}"),
    "create": ("post", "post", "create{}"),
    "deletecollection": ("delete", "deletecollection", "deleteCollection{}"),
    "get": ("get", "get", "read{}"),
    "update": ("put", "put", "replace{}"),
    "delete": ("delete", "delete", "delete{}"),
    "patch": ("patch", "patch", "patch{}"),
}
"""Verb -> HTTP method, what `x-kubernetes-action` calls it, and how its operationId begins. Constant."""


def _item(kind: Served, verbs: Iterable[str], subresource: str, *, named: bool) -> dict[str, Any]:
    parameters = [_path_parameter("name", f"name of the {kind.kind}")] if named else []
    if kind.namespaced:
        parameters.append(_path_parameter("namespace", "the namespace that the object is in"))
    item: dict[str, Any] = {"parameters": [*parameters, _PRETTY]}
    for verb in verbs:
        if verb in kind.verbs:
            item[_OPERATIONS[verb][0]] = _operation(kind, verb, _operation_id(kind, verb, subresource), subresource)
    return item


def _operation_id(kind: Served, verb: str, subresource: str) -> str:
    """As Kubernetes names them: `readCoreV1NamespacedConfigMap`, `deleteUptimeExampleV1CollectionNamespacedProbe`."""
    scope = _scope(kind)
    namespaced = "Namespaced" if kind.namespaced else ""
    begin = _OPERATIONS[verb][2]
    if verb == "deletecollection":
        return f"delete{scope}Collection{namespaced}{kind.kind}"
    return f"{begin.format(scope)}{namespaced}{kind.kind}{subresource.capitalize()}"


def _scope(kind: Served) -> str:
    group = kind.group.removesuffix(".k8s.io") or "core"
    return "".join(part.capitalize() for part in group.replace("-", ".").split(".")) + kind.version.capitalize()


def _operation(kind: Served, verb: str, operation_id: str, subresource: str) -> dict[str, Any]:
    is_scale = subresource == "scale"
    schema = "io.k8s.api.autoscaling.v1.Scale" if is_scale else component(kind.group, kind.version, kind.kind, custom=kind.custom)
    answer = {"list": component(kind.group, kind.version, kind.list_kind, custom=kind.custom)}.get(verb, schema)
    if verb in ("delete", "deletecollection"):
        answer = f"{META}Status"
    operation: dict[str, Any] = {
        "description": _said(kind, verb, subresource),
        "operationId": operation_id,
        "parameters": _PARAMETERS[verb],
        "responses": {code: _response(text, answer) for code, text in _CODES[verb].items()}
        | {"401": {"description": "Unauthorized"}},
        "tags": [_tag(kind)],
        "x-kubernetes-action": _OPERATIONS[verb][1],
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    }
    if verb in ("create", "update"):
        operation["requestBody"] = {"content": {media: {"schema": _reference(schema)} for media in _BODIES}, "required": True}
    elif verb in ("delete", "deletecollection"):
        operation["requestBody"] = {"content": {media: {"schema": _reference(f"{META}DeleteOptions")} for media in _BODIES}}
    elif verb == "patch":
        medias = [media for media in kind.patches if not (is_scale and "strategic" in media)]
        operation["requestBody"] = {
            "content": {media: {"schema": _reference(f"{META}Patch")} for media in medias},
            "required": True,
        }
    return operation


def _tag(kind: Served) -> str:
    return f"{kind.group.removesuffix('.k8s.io').replace('.', '')}_{kind.version}" if kind.group else f"core_{kind.version}"


_SENTENCES = {
    "list": "list or watch objects of kind {}",
    "create": "create a {}",
    "deletecollection": "delete a collection of {}",
    "get": "read {}the specified {}",
    "update": "replace {}the specified {}",
    "delete": "delete a {}",
    "patch": "partially update {}the specified {}",
}


def _said(kind: Served, verb: str, subresource: str) -> str:
    part = f"{subresource} of " if subresource else ""
    sentence = _SENTENCES[verb]
    return sentence.format(part, kind.kind) if sentence.count("{}") > 1 else sentence.format(kind.kind)


def _response(text: str, schema: str) -> dict[str, Any]:
    return {"description": text, "content": {media: {"schema": _reference(schema)} for media in _BODIES}}


def _reference(name: str) -> dict[str, str]:
    return reference("#/components/schemas/", name)


_CODES = {
    "list": {"200": "OK"},
    "create": {"200": "OK", "201": "Created", "202": "Accepted"},
    "deletecollection": {"200": "OK"},
    "get": {"200": "OK"},
    "update": {"200": "OK", "201": "Created"},
    "delete": {"200": "OK", "202": "Accepted"},
    "patch": {"200": "OK", "201": "Created"},
}


def _path_parameter(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "description": description,
        "required": True,
        "schema": {"type": "string", "uniqueItems": True},
    }


def _query(name: str, description: str, type_: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": type_, "uniqueItems": True}}


_PRETTY = _query("pretty", "Taken and ignored.")
_DRY_RUN = _query("dryRun", "With All, everything is done but the storing, and the answer is what would have been stored.")
_MANAGER = _query("fieldManager", "Who writes: the name that the written fields have in managedFields. At most 128 characters.")
_VALIDATION = _query(
    "fieldValidation",
    "What is done about unknown and repeated fields: Ignore drops them, Warn (the default) drops them and says so in Warning "
    "headers, Strict refuses the request.",
)
_FORCE = _query("force", "For apply: takes fields over that other managers own.", "boolean")
_CONTINUE = _query("continue", "The token of the page before, to get the next one.")
_LIMIT = _query("limit", "The greatest number of items in an answer; the rest is got with the token in its metadata.", "integer")
_LIST_PARAMETERS = [
    _query("allowWatchBookmarks", "A watch may have events of type BOOKMARK, which only say how far it has come.", "boolean"),
    _CONTINUE,
    _query("fieldSelector", "Chooses objects by their fields: `metadata.name=a,spec.color!=red`."),
    _query("labelSelector", "Chooses objects by their labels: `app=web,tier in (a,b),!old`."),
    _LIMIT,
    _query("resourceVersion", "The revision that the answer must show: see resourceVersionMatch. A watch begins after it."),
    _query("resourceVersionMatch", "Exact: as it was at resourceVersion. NotOlderThan: as it was then or later."),
    _query("sendInitialEvents", "A watch begins with what is there, and marks the end of that with a bookmark.", "boolean"),
    _query("shardSelector", "Taken and ignored."),
    _query("timeoutSeconds", "A watch ends after so many seconds.", "integer"),
    _query("watch", "The answer is a stream of changes.", "boolean"),
]
_DELETE_PARAMETERS = [
    _DRY_RUN,
    _query("gracePeriodSeconds", "Seconds until the object goes. Zero: at once.", "integer"),
    _query("orphanDependents", "Obsolete: use propagationPolicy.", "boolean"),
    _query(
        "propagationPolicy",
        "What becomes of what the object owns: Background deletes it afterwards, Foreground before, Orphan lets it be.",
    ),
]
_WRITE_PARAMETERS = [_DRY_RUN, _MANAGER, _VALIDATION]
_PARAMETERS: Mapping[str, list[dict[str, Any]]] = {
    "list": _LIST_PARAMETERS,
    "create": _WRITE_PARAMETERS,
    "deletecollection": [*_LIST_PARAMETERS, *_DELETE_PARAMETERS],
    "get": [_query("resourceVersion", "The revision that the answer must show, or a later one.")],
    "update": _WRITE_PARAMETERS,
    "delete": _DELETE_PARAMETERS,
    "patch": [*_WRITE_PARAMETERS, _FORCE],
}
