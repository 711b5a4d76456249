"""OpenAPI as it was recorded, and what kubectl relies on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.openapi import Served, digest, index, openapi_v2, openapi_v3, path_of
from registry.resource import IntOrString, Object, Resource, Spec
from registry.typed import node_of
from tests.registry.widgets import Widget

GROUP = "reference.example.com"
GVK = {"group": GROUP, "version": "v1", "kind": "Widget"}
ONE = f"/apis/{GROUP}/v1/namespaces/{{namespace}}/widgets/{{name}}"
OBJECT_META = {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
STRING, INTEGER = {"type": "string"}, {"type": "integer"}


class GadgetSpec(Spec):
    size: int | None = None
    port: IntOrString | None = None


class Gadget(Resource[GadgetSpec, None]):
    """Gadget is a cluster-scoped kind."""


class ConfigMap(Object):
    data: dict[str, str] | None = None


WIDGETS = Served(
    group=GROUP,
    version="v1",
    kind="Widget",
    list_kind="WidgetList",
    plural="widgets",
    node=node_of(Widget),
    has_scale=True,
    selectable=("spec.color",),
)
GADGETS = Served(
    group=GROUP,
    version="v1",
    kind="Gadget",
    list_kind="GadgetList",
    plural="gadgets",
    node=node_of(Gadget),
    namespaced=False,
    has_status=False,
)
CONFIG_MAPS = Served(
    group="",
    version="v1",
    kind="ConfigMap",
    list_kind="ConfigMapList",
    plural="configmaps",
    node=node_of(ConfigMap),
    has_status=False,
    custom=False,
)
DOCUMENT = openapi_v3([WIDGETS, GADGETS])

OPERATIONS = {
    ("gadgets", "get"): ("listReferenceExampleComV1Gadget", "list"),
    ("gadgets", "post"): ("createReferenceExampleComV1Gadget", "post"),
    ("gadgets", "delete"): ("deleteReferenceExampleComV1CollectionGadget", "deletecollection"),
    ("gadgets/{name}", "get"): ("readReferenceExampleComV1Gadget", "get"),
    ("gadgets/{name}", "put"): ("replaceReferenceExampleComV1Gadget", "put"),
    ("gadgets/{name}", "delete"): ("deleteReferenceExampleComV1Gadget", "delete"),
    ("gadgets/{name}", "patch"): ("patchReferenceExampleComV1Gadget", "patch"),
    ("namespaces/{namespace}/widgets", "get"): ("listReferenceExampleComV1NamespacedWidget", "list"),
    ("namespaces/{namespace}/widgets", "post"): ("createReferenceExampleComV1NamespacedWidget", "post"),
    ("namespaces/{namespace}/widgets", "delete"): ("deleteReferenceExampleComV1CollectionNamespacedWidget", "deletecollection"),
    ("namespaces/{namespace}/widgets/{name}", "get"): ("readReferenceExampleComV1NamespacedWidget", "get"),
    ("namespaces/{namespace}/widgets/{name}", "put"): ("replaceReferenceExampleComV1NamespacedWidget", "put"),
    ("namespaces/{namespace}/widgets/{name}", "delete"): ("deleteReferenceExampleComV1NamespacedWidget", "delete"),
    ("namespaces/{namespace}/widgets/{name}", "patch"): ("patchReferenceExampleComV1NamespacedWidget", "patch"),
    ("namespaces/{namespace}/widgets/{name}/scale", "get"): ("readReferenceExampleComV1NamespacedWidgetScale", "get"),
    ("namespaces/{namespace}/widgets/{name}/scale", "put"): ("replaceReferenceExampleComV1NamespacedWidgetScale", "put"),
    ("namespaces/{namespace}/widgets/{name}/scale", "patch"): ("patchReferenceExampleComV1NamespacedWidgetScale", "patch"),
    ("namespaces/{namespace}/widgets/{name}/status", "get"): ("readReferenceExampleComV1NamespacedWidgetStatus", "get"),
    ("namespaces/{namespace}/widgets/{name}/status", "put"): ("replaceReferenceExampleComV1NamespacedWidgetStatus", "put"),
    ("namespaces/{namespace}/widgets/{name}/status", "patch"): ("patchReferenceExampleComV1NamespacedWidgetStatus", "patch"),
    ("widgets", "get"): ("listReferenceExampleComV1WidgetForAllNamespaces", "list"),
}


def test_the_paths_and_operations_are_those_that_were_recorded() -> None:
    found = {
        (path.removeprefix(f"/apis/{GROUP}/v1/"), method): (operation["operationId"], operation["x-kubernetes-action"])
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert found == OPERATIONS


def test_the_patch_operation_has_what_kubectl_looks_for_before_it_sends() -> None:
    item = DOCUMENT["paths"][ONE]
    patch = item["patch"]
    assert patch["x-kubernetes-group-version-kind"] == GVK
    assert {parameter["name"] for parameter in patch["parameters"]} == {"dryRun", "fieldManager", "fieldValidation", "force"}
    assert [(one["name"], one["in"], one.get("required")) for one in item["parameters"]] == [
        ("name", "path", True),
        ("namespace", "path", True),
        ("pretty", "query", None),
    ]
    assert set(patch["requestBody"]["content"]) == {
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
    }
    assert set(patch["responses"]["200"]["content"]) == {"application/json", "application/yaml"}
    assert "401" in patch["responses"]


def test_the_parameters_of_a_list_are_those_that_were_recorded() -> None:
    listed = DOCUMENT["paths"][f"/apis/{GROUP}/v1/namespaces/{{namespace}}/widgets"]["get"]["parameters"]
    assert {one["name"]: one["schema"] for one in listed} == {
        name: {"type": kind, "uniqueItems": True}
        for name, kind in {
            "allowWatchBookmarks": "boolean",
            "continue": "string",
            "fieldSelector": "string",
            "labelSelector": "string",
            "limit": "integer",
            "resourceVersion": "string",
            "resourceVersionMatch": "string",
            "sendInitialEvents": "boolean",
            "shardSelector": "string",
            "timeoutSeconds": "integer",
            "watch": "boolean",
        }.items()
    }


def without_descriptions(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_descriptions(item) for item in schema]
    if isinstance(schema, dict):
        return {
            key: without_descriptions(value) for key, value in schema.items() if key != "description" or isinstance(value, dict)
        }
    return schema


def test_the_schema_of_a_kind_is_the_one_that_was_recorded() -> None:
    widget = DOCUMENT["components"]["schemas"]["com.example.reference.v1.Widget"]
    assert widget["description"] == "Widget is what the reference cases are about."
    assert widget["properties"]["spec"]["properties"]["size"]["description"] == "How big the widget is."
    assert without_descriptions(widget) == {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": STRING,
            "kind": STRING,
            "metadata": {"allOf": [OBJECT_META]},
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "color": {"type": "string", "default": "red", "enum": ["red", "green", "blue"]},
                    "env": {"type": "object", "additionalProperties": STRING},
                    "notes": {"type": "string", "maxLength": 64},
                    "replicas": {"type": "integer", "default": 1},
                    "size": {"type": "integer", "maximum": 100, "minimum": 1},
                    "tags": {"type": "array", "items": STRING, "x-kubernetes-list-type": "set"},
                },
            },
            "status": {
                "type": "object",
                "properties": {
                    "conditions": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["type", "status"],
                            "properties": {
                                "lastTransitionTime": {"type": "string", "format": "date-time"},
                                "message": STRING,
                                "reason": STRING,
                                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                                "type": STRING,
                            },
                        },
                        "x-kubernetes-list-map-keys": ["type"],
                        "x-kubernetes-list-type": "map",
                    },
                    "phase": STRING,
                    "ready": {"type": "boolean"},
                    "replicas": INTEGER,
                    "selector": STRING,
                },
            },
        },
        "x-kubernetes-group-version-kind": [GVK],
        "x-kubernetes-selectable-fields": [{"fieldPath": "spec.color"}],
    }


def test_the_schema_of_a_list_is_the_one_that_was_recorded() -> None:
    listed = DOCUMENT["components"]["schemas"]["com.example.reference.v1.WidgetList"]
    assert listed["description"] == "WidgetList is a list of Widget"
    assert without_descriptions(listed) == {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": STRING,
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/com.example.reference.v1.Widget"}},
            "kind": STRING,
            "metadata": {"allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"}]},
        },
        "x-kubernetes-group-version-kind": [{"group": GROUP, "kind": "WidgetList", "version": "v1"}],
        "x-kubernetes-selectable-fields": [{"fieldPath": "spec.color"}],
    }


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {value["$ref"]} if isinstance(value.get("$ref"), str) else set().union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize(
    ("document", "prefix"),
    [
        (DOCUMENT, "#/components/schemas/"),
        (openapi_v3([CONFIG_MAPS]), "#/components/schemas/"),
        (openapi_v2([WIDGETS, CONFIG_MAPS]), "#/definitions/"),
    ],
)
def test_every_reference_leads_to_a_schema(document: dict[str, Any], prefix: str) -> None:
    schemas = document["definitions"] if "definitions" in document else document["components"]["schemas"]
    assert references(document) <= {prefix + name for name in schemas}


def test_a_built_in_kind_has_the_names_that_it_has_in_kubernetes() -> None:
    document = openapi_v3([CONFIG_MAPS])
    assert "io.k8s.api.core.v1.ConfigMap" in document["components"]["schemas"]
    assert (
        document["paths"]["/api/v1/namespaces/{namespace}/configmaps"]["post"]["operationId"] == "createCoreV1NamespacedConfigMap"
    )
    assert document["paths"]["/api/v1/configmaps"]["get"]["operationId"] == "listCoreV1ConfigMapForAllNamespaces"


def test_metadata_is_described_for_explain() -> None:
    metadata = DOCUMENT["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]
    assert metadata["description"]
    assert all(said.get("description") for said in metadata["properties"].values())


def test_a_verb_that_is_not_served_is_not_described() -> None:
    served = Served(**{**{name: getattr(CONFIG_MAPS, name) for name in CONFIG_MAPS.__slots__}, "verbs": frozenset({"create"})})
    assert {path: sorted(item) for path, item in openapi_v3([served])["paths"].items()} == {
        "/api/v1/namespaces/{namespace}/configmaps": ["parameters", "post"]
    }


def test_the_old_form_has_the_definitions_without_the_words_that_it_lacks() -> None:
    definitions = openapi_v2([WIDGETS, GADGETS])["definitions"]
    widget = definitions["com.example.reference.v1.Widget"]
    assert (widget["type"], widget["required"], widget["x-kubernetes-group-version-kind"]) == ("object", ["spec"], [GVK])
    port = definitions["com.example.reference.v1.Gadget"]["properties"]["spec"]["properties"]["port"]
    assert port == {"x-kubernetes-int-or-string": True}


def test_the_index_names_every_document_with_its_digest() -> None:
    digests = {path_of(GROUP, "v1"): "AB", path_of("", "v1"): "CD"}
    assert index(digests) == {
        "paths": {
            "api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=CD"},
            f"apis/{GROUP}/v1": {"serverRelativeURL": f"/openapi/v3/apis/{GROUP}/v1?hash=AB"},
        }
    }


def test_the_digest_changes_with_the_document_and_with_nothing_else() -> None:
    def encoded(*served: Served) -> bytes:
        return json.dumps(openapi_v3(served)).encode()

    assert digest(encoded(WIDGETS, GADGETS)) == digest(encoded(GADGETS, WIDGETS))
    assert digest(encoded(WIDGETS)) != digest(encoded(WIDGETS, GADGETS))
