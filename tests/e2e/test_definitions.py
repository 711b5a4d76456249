"""Kinds that are defined with kubectl, on a real server: used at once, there after a restart, gone with their objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.kubectl import Kubectl, environment, programs, rows
from tests.servers import running


def definition(plural: str, kind: str, short: str) -> dict[str, Any]:
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "description": "How big it is."},
            "count": {"type": "integer", "default": 1},
        },
    }
    status = {"type": "object", "properties": {"count": {"type": "integer"}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.count"}},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.hardware.example"},
        "spec": {
            "group": "hardware.example",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [short], "categories": ["all"]},
            "versions": [version],
        },
    }


def thing(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "hardware.example/v1", "kind": kind, "metadata": {"name": name}, "spec": {"size": 8}}


def test_kinds_are_defined_used_kept_and_deleted(tmp_path: Path) -> None:
    program = next(iter(programs().values()))
    assert program is not None, "there is no kubectl on PATH: install one to run these tests"
    data = tmp_path / "data"
    with running([], data_dir=data) as server:
        kubectl = Kubectl(program, "default", environment(tmp_path / "home", server.kubeconfig))
        both = {"apiVersion": "v1", "kind": "List", "items": [definition("bolts", "Bolt", "bo"), definition("nuts", "Nut", "nu")]}
        kubectl("apply", "-f", "-", stdin=both)
        kubectl("apply", "-f", "-", stdin=thing("Bolt", "m8"))
        kubectl("wait", "--for=condition=Established", "crd/bolts.hardware.example")
        assert rows(kubectl("get", "bo"))[1][:2] == ["m8", "8"]
        assert "How big it is." in kubectl("explain", "bolt.spec.size")
        kubectl("scale", "bolt/m8", "--replicas=3")
        assert kubectl("get", "bolt", "m8", "-o", "jsonpath={.spec.count}") == "3"
        assert 'unknown field "spec.sise"' in kubectl.refused(
            "apply", "-f", "-", stdin={**thing("Bolt", "odd"), "spec": {"size": 1, "sise": 1}}
        )
        assert "is forbidden: the kind is declared at" in kubectl.refused("delete", "crd", "actors.skep.dev")
    with running([], data_dir=data) as server:
        kubectl = Kubectl(program, "default", environment(tmp_path / "home", server.kubeconfig))
        assert rows(kubectl("get", "bolts"))[1][0] == "m8"
        kubectl("delete", "crd", "bolts.hardware.example")
        kubectl.refused("get", "bolts")
        kubectl("apply", "-f", "-", stdin=thing("Nut", "m8"))
        assert rows(kubectl("get", "nu"))[1][0] == "m8"
