"""Patches as requests: their media types, and apply on a real server, with the owners of fields that it leaves."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver import applying, patching
from apiserver.target import Target
from registry.builtin import CONFIG_MAP, KINDS
from registry.errors import ApiError, UnsupportedMediaType
from registry.plugin import build
from tests.plugins.reference import plugin
from tests.servers import Running

VERSION = "reference.example.com/v1"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
WIDGET = build([plugin], KINDS).of_type(VERSION, "Widget")
assert WIDGET is not None
WIDGETS = Target(WIDGET[0], WIDGET[1], "default", "a")
CONFIG_MAPS = Target(CONFIG_MAP, CONFIG_MAP.storage, "default", "a")

Document = dict[str, Any]
_numbers = count(1)


# Media types.


@pytest.mark.parametrize(
    ("media", "body", "result"),
    [
        ("application/json-patch+json", b'[{"op":"add","path":"/data/b","value":"2"}]', {"data": {"a": "1", "b": "2"}}),
        ("application/merge-patch+json; charset=utf-8", b'{"data":{"a":null}}', {"data": {}}),
        ("Application/Strategic-Merge-Patch+JSON", b'{"data":{"$patch":"replace","z":"26"}}', {"data": {"z": "26"}}),
    ],
)
def test_the_media_type_says_what_kind_of_patch_it_is(media: str, body: bytes, result: Document) -> None:
    assert patching.parse(body, media, CONFIG_MAPS)({"data": {"a": "1"}}) == result


@pytest.mark.parametrize("media", ["application/json", "", "application/strategic-merge-patch+json", "application/x-nothing"])
def test_custom_kinds_take_no_strategic_patch_and_say_what_they_take(media: str) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        patching.parse(b"{}", media, WIDGETS)
    accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    assert refused.value.message.endswith(f"accepted media types include: {accepted}")


def test_builtin_kinds_say_that_they_take_a_strategic_patch_too() -> None:
    with pytest.raises(UnsupportedMediaType, match=r"application/strategic-merge-patch\+json"):
        patching.parse(b"{}", "application/json", CONFIG_MAPS)


def test_a_scale_is_not_applied_to() -> None:
    scale = msgspec.structs.replace(WIDGETS, subresource="scale")
    with pytest.raises(UnsupportedMediaType):
        applying.parse(b"{}", scale, {"fieldManager": ["one"]}, "2026-01-02T03:04:05Z")


# Configurations of any form.

keys = st.sampled_from(["apiVersion", "kind", "metadata", "name", "labels", "finalizers", "spec", "size", "tags", "env", "status"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a", VERSION, "Widget"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=16,
)
STORED = {
    "apiVersion": VERSION,
    "kind": "Widget",
    "metadata": {"name": "a", "namespace": "default", "resourceVersion": "1", "managedFields": [{"operation": "x"}]},
    "spec": {"size": 1, "color": "red", "replicas": 1, "tags": ["a"]},
}


@given(anything, anything, st.booleans(), st.sampled_from(["", "status"]))
def test_an_apply_of_any_form_is_refused_or_proposed(spec: Any, metadata: Any, force: bool, subresource: str) -> None:
    config = {"apiVersion": VERSION, "kind": "Widget", "metadata": metadata, "spec": spec, "status": spec}
    target = msgspec.structs.replace(WIDGETS, subresource=subresource)
    query = {"fieldManager": ["one"], "force": [str(force).lower()]}
    before = json.dumps(STORED)
    with contextlib.suppress(ApiError):
        apply = applying.parse(json.dumps(config).encode(), target, query, "2026-01-02T03:04:05Z")
        proposed = apply.propose(STORED)
        assert proposed.document["metadata"]["name"] == apply.config["metadata"]["name"]
        assert json.dumps(apply.creation())
    assert json.dumps(STORED) == before


@given(st.binary(max_size=60) | st.text(alphabet="ab:[]{}&*!- \n\"'", max_size=60).map(str.encode))
def test_a_body_of_any_bytes_is_refused(raw: bytes) -> None:
    with pytest.raises(ApiError):
        applying.parse(raw, WIDGETS, {"fieldManager": ["one"]}, "2026-01-02T03:04:05Z")


# Apply on a real server.


class Api:
    """Widgets and ConfigMaps in a namespace of its own."""

    def __init__(self, client: httpx.Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    def path(self, plural: str) -> str:
        group = "/api/v1" if plural == "configmaps" else f"/apis/{VERSION}"
        return f"{group}/namespaces/{self.namespace}/{plural}"

    def create(self, document: Document, plural: str = "widgets", **query: str) -> httpx.Response:
        return self.client.post(self.path(plural), json=document, params=query)

    def get(self, name: str = "a", plural: str = "widgets") -> Document:
        found: Document = self.client.get(f"{self.path(plural)}/{name}").json()
        return found

    def patch(self, body: Any, media: str, name: str, plural: str = "widgets", **query: str) -> httpx.Response:
        headers = {"content-type": f"application/{media}", "user-agent": "some-client/v1 (linux)"}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.patch(f"{self.path(plural)}/{name}", content=content, headers=headers, params=query)

    def merge(self, body: Any, name: str = "a", **query: str) -> httpx.Response:
        return self.patch(body, "merge-patch+json", name, **query)

    def apply(self, document: Document, manager: str = "one", subresource: str = "", **query: str) -> httpx.Response:
        plural = "configmaps" if document["kind"] == "ConfigMap" else "widgets"
        name = document["metadata"]["name"] + subresource
        return self.patch(document, "apply-patch+yaml", name, plural, fieldManager=manager, **query)


@pytest.fixture
def api(reference_server: Running) -> Iterator[Api]:
    with reference_server.client() as client:
        name = f"patching-{next(_numbers)}"
        made = client.post("/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        assert made.status_code == 201
        yield Api(client, name)


def widget(metadata: Document | None = None, **spec: Any) -> Document:
    return {"apiVersion": VERSION, "kind": "Widget", "metadata": {"name": "a", **(metadata or {})}, "spec": {"size": 1, **spec}}


def config_map(metadata: Document | None = None, **data: str) -> Document:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **(metadata or {})}, "data": data}


def managers(document: Document) -> dict[str, Document]:
    """Who owns what of an object, by manager."""
    return {entry["manager"]: entry["fieldsV1"] for entry in document["metadata"].get("managedFields", [])}


def test_nobody_owns_fields_of_an_object_that_nobody_applied_to(api: Api) -> None:
    assert managers(api.create(widget()).json()) == {}
    assert managers(api.merge({"spec": {"notes": "n"}}).json()) == {}


def test_after_the_first_apply_every_write_is_tracked(api: Api) -> None:
    api.create(widget(notes="n"))
    owners = managers(api.apply(widget()).json())
    assert owners["one"] == {"f:spec": {"f:size": {}}}
    assert owners["before-first-apply"]["f:spec"] == {
        ".": {},
        **{f"f:{name}": {} for name in ("color", "notes", "replicas", "size")},
    }
    owners = managers(api.merge({"spec": {"notes": "m", "env": {"A": "1"}}}).json())
    assert owners["some-client"] == {"f:spec": {"f:notes": {}, "f:env": {".": {}, "f:A": {}}}}
    assert "f:notes" not in owners["before-first-apply"]["f:spec"]
    owners = managers(api.merge({"status": {"phase": "p"}}, "a/status", fieldManager="actor").json())
    assert owners["actor"] == {"f:status": {".": {}, "f:phase": {}}}
    owners = managers(api.merge({"spec": {"replicas": 5}}, "a/scale", fieldManager="scaler").json() and api.get())
    assert owners["scaler"] == {"f:spec": {"f:replicas": {}}}


def test_a_write_that_changes_nothing_owns_nothing(api: Api) -> None:
    applied = api.apply(widget()).json()
    assert api.merge({"spec": {"size": 1}}, fieldManager="two").json() == applied


def test_what_another_has_written_since_is_a_conflict_for_an_apply(api: Api) -> None:
    api.apply(widget(notes="n"))
    api.merge({"spec": {"notes": "m"}}, fieldManager="two")
    refused = api.apply(widget(notes="n"))
    assert refused.status_code == 409
    assert refused.json()["message"] == f'Apply failed with 1 conflict: conflict with "two" using {VERSION}: .spec.notes'
    assert api.apply(widget(notes="n"), force="true").json()["spec"]["notes"] == "n"


def test_an_empty_list_of_managed_fields_makes_everybody_forget(api: Api) -> None:
    api.apply(widget())
    assert managers(api.merge({"metadata": {"managedFields": []}}).json()) == {}
    assert managers(api.merge({"spec": {"notes": "n"}}).json()) == {}


def test_managed_fields_that_make_no_sense_do_not_replace_those_that_do(api: Api) -> None:
    api.apply(widget())
    nonsense = [{"manager": "x", "operation": "Apply", "fieldsV1": {"nonsense": {}}}]
    assert set(managers(api.merge({"metadata": {"managedFields": nonsense}}).json())) == {"one"}


def test_managed_fields_that_a_client_writes_are_taken(api: Api) -> None:
    api.create(config_map(a="1"), "configmaps")
    api.apply(config_map(b="2"))
    entry = {
        "manager": "two",
        "operation": "Apply",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:a": {}}},
    }
    operations = [{"op": "replace", "path": "/metadata/managedFields", "value": [entry]}]
    patched = api.patch(operations, "json-patch+json", "a", "configmaps").json()
    assert managers(patched) == {"two": {"f:data": {"f:a": {}}}}
    assert api.apply(config_map(c="3"), "two").json()["data"] == {"b": "2", "c": "3"}


def test_kubectl_takes_over_what_it_applied_itself_and_nobody_else_does(api: Api) -> None:
    said = json.dumps(config_map(a="1", b="1"))
    api.create(config_map({"annotations": {LAST_APPLIED: said}}, a="1", b="1"), "configmaps")
    assert api.apply(config_map(a="2"), "someone").status_code == 409
    changed = api.apply(config_map(a="2"), "kubectl").json()
    assert changed["data"] == {"a": "2", "b": "1"}
    assert managers(changed)["kubectl"] == {"f:data": {"f:a": {}}}
    assert managers(changed)["kubectl-client-side-apply"]["f:data"] == {".": {}, "f:b": {}}


def test_what_kubectl_keeps_in_its_annotation_is_what_it_applied_last(api: Api) -> None:
    api.create(config_map({"annotations": {LAST_APPLIED: json.dumps(config_map(a="1"))}}, a="1"), "configmaps")
    api.apply(config_map(a="2"), "someone", force="true")
    assert json.loads(api.get("a", "configmaps")["metadata"]["annotations"][LAST_APPLIED]) == config_map(a="1")
    applied = api.apply(config_map(a="3"), "kubectl", force="true").json()
    assert json.loads(applied["metadata"]["annotations"][LAST_APPLIED]) == config_map(a="3")
    assert api.apply(config_map(a="3"), "kubectl").json() == applied


def test_what_kubectl_did_not_apply_it_does_not_take_over(api: Api) -> None:
    said = json.dumps(config_map(a="1"))
    api.create(config_map({"annotations": {LAST_APPLIED: said}}, a="1", b="1"), "configmaps")
    refused = api.apply(config_map(a="2", b="2"), "kubectl")
    assert [cause["field"] for cause in refused.json()["details"]["causes"]] == [".data.b"]


def test_a_dry_run_shows_what_an_apply_would_do_and_does_not(api: Api) -> None:
    shown = api.apply(widget(), dryRun="All")
    assert (shown.status_code, managers(shown.json())) == (201, {"one": {"f:spec": {"f:size": {}}}})
    assert api.get()["code"] == 404
    made = api.apply(widget()).json()
    assert api.apply(widget(notes="n"), dryRun="All").json()["spec"]["notes"] == "n"
    assert api.get() == made


def test_labels_and_owners_of_finalizers_are_tracked_like_all_else(api: Api) -> None:
    metadata = {"labels": {"x": "1"}, "finalizers": ["example.com/a"]}
    owners = managers(api.apply(widget(metadata)).json())
    assert owners["one"]["f:metadata"] == {"f:labels": {"f:x": {}}, "f:finalizers": {'v:"example.com/a"': {}}}
    assert "finalizers" not in api.apply(widget()).json()["metadata"]


def test_a_status_is_applied_beside_the_object_and_not_with_it(api: Api) -> None:
    applied = api.apply({**widget(), "status": {"phase": "p"}}).json()
    assert "status" not in applied
    status = {**widget({"labels": {"x": "1"}}, size=7), "status": {"phase": "p", "ready": True}}
    applied = api.apply(status, "actor", "/status").json()
    assert (applied["spec"]["size"], applied["status"]) == (1, {"phase": "p", "ready": True})
    assert "labels" not in applied["metadata"]
    assert managers(applied) == {"one": {"f:spec": {"f:size": {}}}, "actor": {"f:status": {"f:phase": {}, "f:ready": {}}}}
    applied = api.apply({**widget(), "status": {"phase": "q"}}, "actor", "/status").json()
    assert applied["status"] == {"phase": "q"}


def test_a_status_of_what_is_not_there_cannot_be_applied(api: Api) -> None:
    assert api.apply({**widget(), "status": {}}, "actor", "/status").status_code == 404


def test_fields_of_one_version_conflict_in_another(api: Api) -> None:
    api.apply(widget(notes="n"))
    other = {**widget(notes="m"), "apiVersion": "reference.example.com/v1beta1"}
    path = api.path("widgets").replace("/v1/", "/v1beta1/")
    headers = {"content-type": "application/apply-patch+yaml"}
    refused = api.client.patch(f"{path}/a", json=other, headers=headers, params={"fieldManager": "two"})
    assert [cause["field"] for cause in refused.json()["details"]["causes"]] == [".spec.notes"]
    again = api.client.patch(f"{path}/a", json={**other, "spec": {"size": 1}}, headers=headers, params={"fieldManager": "one"})
    assert "notes" not in again.json()["spec"]


def test_keys_that_are_there_twice_are_refused_or_warned_of(api: Api) -> None:
    text = f"apiVersion: {VERSION}\nkind: Widget\nmetadata: {{name: a}}\nspec:\n  size: 1\n  size: 2\n".encode()
    strict = api.patch(text, "apply-patch+yaml", "a", fieldManager="one", fieldValidation="Strict")
    assert (strict.status_code, "already set in map" in strict.json()["message"]) == (400, True)
    warned = api.patch(text, "apply-patch+yaml", "a", fieldManager="one")
    assert (warned.status_code, "already set in map" in warned.headers["warning"]) == (201, True)
    ignored = api.patch(text, "apply-patch+yaml", "a", fieldManager="one", fieldValidation="Ignore")
    assert "warning" not in ignored.headers


def test_unknown_fields_cannot_be_applied(api: Api) -> None:
    refused = api.apply(widget({"nope": 1}, nope=1), fieldValidation="Ignore")
    listed = "errors:\n  .metadata.nope: field not declared in schema\n  .spec.nope: field not declared in schema"
    assert refused.status_code == 400
    assert refused.json()["message"] == f"failed to create typed patch object (/a; {VERSION}, Kind=Widget): {listed}"


def test_a_resource_version_is_a_precondition_also_of_what_is_not_there(api: Api) -> None:
    assert api.apply(widget({"resourceVersion": "1"})).status_code == 409
    made = api.apply(widget()).json()
    assert api.apply(widget({"resourceVersion": made["metadata"]["resourceVersion"]}, notes="n")).status_code == 200
    assert api.apply(widget({"resourceVersion": made["metadata"]["resourceVersion"]}, notes="m")).status_code == 409
