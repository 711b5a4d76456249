"""A kopf operator, unmodified, for a kind that is defined while it runs, goes, and comes again, on a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.kubectl import Kubectl, environment, programs
from tests.servers import ROOT, Running

OPERATOR = ROOT / "tests/plugins/kopf_wells.py"
CRD = "wells.wells.example"


def definition() -> dict[str, Any]:
    """As kopf's documentation has them: the operator keeps what it likes in the status."""
    spec = {"type": "object", "properties": {"depth": {"type": "integer", "minimum": 1}}}
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD},
        "spec": {
            "group": "wells.example",
            "scope": "Namespaced",
            "names": {"kind": "Well", "plural": "wells"},
            "versions": [version],
        },
    }


def well(name: str, depth: int) -> dict[str, Any]:
    return {"apiVersion": "wells.example/v1", "kind": "Well", "metadata": {"name": name}, "spec": {"depth": depth}}


@contextmanager
def operator(kubectl: Kubectl, told: Path) -> Iterator[subprocess.Popen[str]]:
    """kopf as a process of its own, until the body ends."""
    command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--standalone", str(OPERATOR)]
    process = subprocess.Popen(
        command, env={**kubectl.environment, "TOLD": str(told)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], words: str) -> None:
    """Waits until kopf has said that."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return
    raise AssertionError("".join(lines))


def test_a_kopf_operator_serves_a_kind_that_comes_and_goes(reference_server: Running, tmp_path: Path) -> None:
    program = next(iter(programs().values()))
    assert program is not None, "there is no kubectl on PATH: install one to run these tests"
    kubectl = Kubectl(program, "default", environment(tmp_path / "home", reference_server.kubeconfig))
    told = tmp_path / "told"

    def watered(name: str, water: int) -> None:
        kubectl("wait", f"--for=jsonpath={{.status.water}}={water}", f"well/{name}", "--timeout=60s")

    with operator(kubectl, told) as process:
        said(process, "Unresolved resources cannot be served")
        kubectl("apply", "-f", "-", stdin=definition())
        kubectl("apply", "-f", "-", stdin=well("garden", 4))
        watered("garden", 8)
        made = kubectl.get("well", "garden")
        assert made["status"]["made"] == {"by": "kopf"}
        assert made["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
        kubectl("patch", "well", "garden", "--type=merge", "-p", '{"spec": {"depth": 5}}')
        watered("garden", 10)
        kubectl("delete", "well", "garden", "--timeout=60s")
        kubectl("delete", "crd", CRD, "--timeout=60s")
        said(process, "Unresolved resources cannot be served")
        kubectl("apply", "-f", "-", stdin=definition())
        kubectl("apply", "-f", "-", stdin=well("yard", 3))
        watered("yard", 6)
        kubectl("delete", "well", "yard", "--timeout=60s")
    kubectl("delete", "crd", CRD, "--timeout=60s")
    assert told.read_text().splitlines() == [
        "garden is made",
        "garden is changed from 4 to 5",
        "garden is deleted",
        "yard is made",
        "yard is deleted",
    ]
