"""A tour with kubectl of kinds that are defined while the server runs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.kubectl import Kubectl, environment, next_row, programs, rows
from tests.registry.projects import definition as of_a_project
from tests.servers import Running

Document = dict[str, Any]
CRD = "hives.tour.example"


def definition(column: str = "Frames", **more: Any) -> Document:
    spec = {
        "type": "object",
        "required": ["frames"],
        "properties": {
            "frames": {"type": "integer", "minimum": 1, "description": "How many frames it holds."},
            "queens": {"type": "integer", "default": 1},
            "walls": {"type": "array", "items": {"type": "object", "properties": {"wood": {"type": "string"}}}},
        },
    }
    status = {"type": "object", "properties": {"queens": {"type": "integer"}, "honey": {"type": "string"}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.queens", "statusReplicasPath": ".status.queens"}},
        "additionalPrinterColumns": [
            {"name": column, "type": "integer", "jsonPath": ".spec.frames"},
            {"name": "Honey", "type": "string", "jsonPath": ".status.honey", "priority": 1},
        ],
        "selectableFields": [{"jsonPath": ".spec.frames"}],
        "schema": {
            "openAPIV3Schema": {"type": "object", "description": "Where bees live.", "properties": {"spec": spec, "status": status}}
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD, **more},
        "spec": {
            "group": "tour.example",
            "scope": "Namespaced",
            "names": {"plural": "hives", "kind": "Hive", "shortNames": ["hi"], "categories": ["bees"]},
            "versions": [version],
        },
    }


def hive(name: str, frames: int = 8, **more: Any) -> Document:
    return {"apiVersion": "tour.example/v1", "kind": "Hive", "metadata": {"name": name, **more}, "spec": {"frames": frames}}


@pytest.fixture(scope="module")
def anywhere(reference_server: Running, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl with a cache of its own, which knows nothing of what is defined later."""
    program = next(iter(programs().values()))
    assert program is not None, "there is no kubectl on PATH: install one to run these tests"
    kubectl = Kubectl(program, "default", environment(tmp_path_factory.mktemp("defined"), reference_server.kubeconfig))
    kubectl("api-resources")
    return kubectl


@pytest.fixture
def kubectl(anywhere: Kubectl) -> Iterator[Kubectl]:
    """The kind Hive is defined, with one hive, until the test ends."""
    anywhere("apply", "-f", "-", stdin=definition())
    anywhere("apply", "-f", "-", stdin=hive("garden"))
    yield anywhere
    anywhere("delete", "crd", CRD, "--ignore-not-found", "--timeout=60s")


def test_a_kind_is_there_at_once_under_all_of_its_names(anywhere: Kubectl) -> None:
    anywhere("create", "-f", "-", stdin=definition())
    assert anywhere.run("get", "hives").err == "No resources found in default namespace.\n"
    anywhere("wait", "--for=condition=Established", f"crd/{CRD}")
    anywhere("create", "-f", "-", stdin=hive("garden"))
    for words in ("hi", "hive", "hives.tour.example", "hives.v1.tour.example", "bees", "hive/garden"):
        assert rows(anywhere("get", words)) == [["NAME", "FRAMES"], ["garden", "8"]], words
    shown = rows(anywhere("api-resources", "--api-group=tour.example", "-o", "wide"))[1]
    assert shown == [
        *("hives", "hi", "tour.example/v1", "true", "Hive"),
        "delete,deletecollection,get,list,patch,create,update,watch",
        "bees",
    ]
    assert {CRD, "widgets.reference.example.com"} <= {row[0] for row in rows(anywhere("get", "crd"))}
    anywhere("delete", "crd", CRD, "--timeout=60s")
    assert CRD not in anywhere("get", "crd")


def test_it_is_explained_and_described(kubectl: Kubectl) -> None:
    assert "Where bees live." in kubectl("explain", "hive")
    tree = kubectl("explain", "hive", "--recursive")
    assert "frames\t<integer> -required-" in tree
    assert "wood\t<string>" in tree
    assert "How many frames it holds." in kubectl("explain", "hi.spec.frames")
    assert "Frames:  8" in kubectl("describe", "hive", "garden")
    assert "Reason:                InitialNamesAccepted" in kubectl("describe", "crd", CRD)


def test_who_may_do_what_is_answered(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "hives.tour.example") == "yes\n"
    assert kubectl("auth", "can-i", "update", "hives.tour.example", "--subresource=status") == "yes\n"
    assert kubectl.run("auth", "can-i", "list", "hives.tour.example", "--as=somebody").out == "no\n"


def test_objects_are_changed_in_every_way(kubectl: Kubectl) -> None:
    kubectl("scale", "hive/garden", "--replicas=3")
    kubectl("patch", "hive", "garden", "--type=json", "-p", '[{"op": "replace", "path": "/spec/frames", "value": 9}]')
    kubectl("patch", "hive", "garden", "--subresource=status", "--type=merge", "-p", '{"status": {"honey": "12 kg"}}')
    assert rows(kubectl("get", "hives", "-o", "wide")) == [["NAME", "FRAMES", "HONEY"], ["garden", "9", "12", "kg"]]
    kubectl.seeing(KUBE_EDITOR="sed -i s/frames:.*/frames:\\ 10/")("edit", "hive", "garden")
    assert kubectl.get("hive", "garden")["spec"] == {"frames": 10, "queens": 3}
    assert rows(kubectl("get", "hives", "--field-selector", "spec.frames=10"))[1][0] == "garden"
    assert "should be greater than or equal to 1" in kubectl.refused(
        "patch", "hive", "garden", "--type=merge", "-p", '{"spec":{"frames":0}}'
    )
    diff = kubectl.run("diff", "-f", "-", stdin=hive("garden", 11)).out
    assert ("-  frames: 10" in diff, "+  frames: 11" in diff) == (True, True)
    kubectl("apply", "--server-side", "-f", "-", stdin=hive("garden", 11))
    kubectl("diff", "--server-side", "-f", "-", stdin=hive("garden", 11))
    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    assert "Apply failed with 1 conflict" in kubectl.refused(*other, stdin=hive("garden", 12))
    assert kubectl.get("hive", "garden")["spec"] == {"frames": 11, "queens": 3}


def test_a_watch_ends_when_the_columns_change_and_the_next_one_has_them(kubectl: Kubectl) -> None:
    with kubectl.running("get", "hives", "--watch") as watch:
        assert next_row(watch) == ["NAME", "FRAMES"]
        assert next_row(watch) == ["garden", "8"]
        kubectl("apply", "-f", "-", stdin=definition("Combs"))
        assert next_row(watch) == []
        assert watch.wait() == 0
    with kubectl.running("get", "hives", "--watch") as watch:
        assert next_row(watch) == ["NAME", "COMBS"]
        assert next_row(watch) == ["garden", "8"]
        kubectl("patch", "hive", "garden", "--type=merge", "-p", '{"spec": {"frames": 5}}')
        assert next_row(watch) == ["garden", "5"]


def test_a_definition_goes_with_its_objects_and_waits_for_those_that_are_held(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=hive("held", finalizers=["tour.example/hold"]))
    kubectl("delete", "crd", CRD, "--wait=false")
    kubectl("wait", "--for=condition=Terminating", f"crd/{CRD}", "--timeout=60s")
    kubectl("wait", "--for=delete", "hive/garden", "--timeout=60s")
    assert "create not allowed while custom resource definition is terminating" in kubectl.refused(
        "create", "-f", "-", stdin=hive("late")
    )
    assert "object is being deleted" in kubectl.refused("create", "-f", "-", stdin=definition())
    kubectl("patch", "hive", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    kubectl("wait", "--for=delete", f"crd/{CRD}", "--timeout=60s")
    assert "the server could not find the requested resource" in kubectl.refused("get", "hives")


def test_a_definition_that_is_too_long_for_an_annotation_is_written_in_the_other_ways(anywhere: Kubectl) -> None:
    big = copy.deepcopy(of_a_project("daskcluster"))
    big["metadata"] = {"name": "bigs.tour.example"}
    big["spec"] |= {"group": "tour.example", "names": {"kind": "Big", "plural": "bigs"}}
    version = big["spec"]["versions"][0]
    big["spec"]["versions"] = [{**version, "name": f"v{at}", "storage": at == 1} for at in range(1, 5)]
    assert "metadata.annotations: Too long: may not be more than 262144 bytes" in anywhere.refused("apply", "-f", "-", stdin=big)
    anywhere("create", "-f", "-", stdin=big)
    assert anywhere.run("get", "bigs").err == "No resources found in default namespace.\n"
    big["spec"]["versions"][3]["name"] = "v5"
    anywhere("replace", "-f", "-", stdin=big)
    anywhere("get", "bigs.v5.tour.example")
    big["spec"]["versions"][3]["name"] = "v6"
    anywhere("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=big)
    assert anywhere("get", "--raw", "/apis/tour.example").count('"version":"v6"') == 2  # it is the preferred one
    anywhere("delete", "crd", "bigs.tour.example", "--timeout=60s")
