"""Discovery: the walk and the two aggregated answers tell of the same resources."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from apiserver.discovery import AGGREGATED, Discovery
from registry.builtin import KINDS
from registry.catalog import Catalog
from registry.errors import NotAcceptable
from registry.plugin import build
from tests.apiserver.world import trinkets
from tests.plugins.reference import GROUP, plugin

REGISTRY = build([plugin, trinkets()], KINDS)
DISCOVERY = Discovery(Catalog(REGISTRY))
KUBECTL = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
Document = dict[str, Any]


def at(path: str, accept: str = "") -> Document:
    page = DISCOVERY.find(path, accept)
    assert page is not None
    document: Document = msgspec.json.decode(page.body)
    return document


def aggregated() -> list[Document]:
    return [group for path in ("api", "apis") for group in at(path, KUBECTL)["items"]]


def walked() -> set[tuple[str, str, str, tuple[str, ...]]]:
    """Group, version, name and verbs of every resource, as the walk tells it."""
    found = set()
    places = [("", version, f"api/{version}") for version in at("api")["versions"]]
    for group in at("apis")["groups"]:
        assert at(f"apis/{group['name']}") == {"kind": "APIGroup", "apiVersion": "v1", **group}
        places += [(group["name"], served["version"], f"apis/{served['groupVersion']}") for served in group["versions"]]
    for group, version, path in places:
        found |= {(group, version, entry["name"], tuple(entry["verbs"])) for entry in at(path)["resources"]}
    return found


def test_the_walk_and_the_aggregated_answer_tell_of_the_same_resources() -> None:
    found = set()
    for group in aggregated():
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            for resource in version["resources"]:
                found.add((name, version["version"], resource["resource"], tuple(resource["verbs"])))
                for sub in resource.get("subresources", ()):
                    found.add((name, version["version"], f"{resource['resource']}/{sub['subresource']}", tuple(sub["verbs"])))
    assert found == walked()
    assert (GROUP, "v1beta1", "widgets/scale", ("get", "patch", "update")) in found
    assert ("", "v1", "serviceaccounts/token", ("create",)) in found


def test_a_resource_tells_its_names_and_what_can_be_done_with_it() -> None:
    entries = {entry["name"]: entry for entry in at(f"apis/{GROUP}/v1")["resources"]}
    assert set(entries) == {"widgets", "widgets/status", "widgets/scale", "gadgets"}
    widget = entries["widgets"]
    assert (widget["singularName"], widget["kind"], widget["namespaced"]) == ("widget", "Widget", True)
    assert (widget["shortNames"], widget["categories"]) == (["wd"], ["all"])
    assert set(widget["verbs"]) == {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
    assert entries["widgets/scale"] | {"verbs": []} == {
        "name": "widgets/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": [],
    }
    assert not entries["gadgets"]["namespaced"]


def test_versions_of_a_group_are_told_most_preferred_first() -> None:
    group = at(f"apis/{GROUP}")
    assert [version["version"] for version in group["versions"]] == ["v1", "v1beta1"]
    assert group["preferredVersion"]["version"] == "v1"
    [item] = [item for item in at("apis", KUBECTL)["items"] if item["metadata"]["name"] == GROUP]
    assert [version["version"] for version in item["versions"]] == ["v1", "v1beta1"]


def test_the_versions_of_a_kind_are_stored_as_one() -> None:
    def stored(version: str) -> dict[str, str]:
        resources = at(f"apis/{GROUP}/{version}")["resources"]
        return {entry["name"]: entry["storageVersionHash"] for entry in resources if "storageVersionHash" in entry}

    assert stored("v1")["widgets"] == stored("v1beta1")["widgets"] != stored("v1")["gadgets"]


@pytest.mark.parametrize("accept", [KUBECTL, f"application/json,{AGGREGATED}"])
def test_aggregated_discovery_is_answered_to_whoever_knows_it(accept: str) -> None:
    for path in ("api", "apis"):
        page = DISCOVERY.find(path, accept)
        assert page is not None
        assert page.content_type == AGGREGATED
        assert page.etag.startswith('"')
    plain = DISCOVERY.find(f"apis/{GROUP}", accept)
    assert plain is not None
    assert plain.content_type == "application/json"


def test_the_etag_tells_two_registries_apart_and_equal_ones_not() -> None:
    def tag(discovery: Discovery) -> str:
        page = discovery.find("apis", KUBECTL)
        assert page is not None
        return page.etag

    assert tag(Discovery(Catalog(build([plugin, trinkets()], KINDS)))) == tag(DISCOVERY)
    assert tag(Discovery(Catalog(build([plugin], KINDS)))) != tag(DISCOVERY)


def test_plain_discovery_can_be_yaml() -> None:
    page = DISCOVERY.find("apis", "application/yaml")
    assert page is not None
    assert page.content_type == "application/yaml"
    assert yaml.safe_load(page.body) == at("apis")


@pytest.mark.parametrize(
    "accept", ["text/html", "application/vnd.kubernetes.protobuf", "application/json;as=Table;v=v1;g=meta.k8s.io"]
)
def test_a_form_that_cannot_be_made_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        DISCOVERY.find("apis", accept)


@pytest.mark.parametrize("path", ["", "api/v2", "apis/nobody.example", f"apis/{GROUP}/v2", "apis/", "version"])
def test_there_is_nothing_where_nothing_is_served(path: str) -> None:
    assert DISCOVERY.find(path, "") is None


def test_the_paths_are_those_that_answer() -> None:
    assert {f"/apis/{GROUP}/v1", "/api/v1", "/api", "/apis"} <= set(DISCOVERY.paths)
    assert all(DISCOVERY.find(path.strip("/"), "") is not None for path in DISCOVERY.paths)
