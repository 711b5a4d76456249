"""A kind that is defined at run time changes the version that it is stored in, is migrated, and loses the old version for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apiserver.cli import main
from apiserver.config import catalog
from tests.servers import Running

Document = dict[str, Any]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "lamps.migrated.example"


def definition(*versions: str) -> Document:
    """The first one is stored."""
    spec = {"type": "object", "properties": {"watts": {"type": "integer"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": "migrated.example",
            "names": {"plural": "lamps", "kind": "Lamp"},
            "scope": "Namespaced",
            "versions": [{"name": name, "served": True, "storage": name == versions[0], "schema": schema} for name in versions],
        },
    }


def test_a_version_can_be_taken_away_after_a_migration(
    reference_server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting in catalog():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.chdir(tmp_path)

    def migrate(*words: str) -> tuple[int, str]:
        code = main(["registry", "migrate", *words, "--kubeconfig", str(reference_server.kubeconfig)])
        return code, capsys.readouterr().out

    with reference_server.client() as http:

        def put(*versions: str) -> int:
            held = http.get(f"{CRDS}/{NAME}").json()
            document = definition(*versions)
            document["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"]
            return http.put(f"{CRDS}/{NAME}", json=document).status_code

        assert http.post(CRDS, json=definition("v1alpha1", "v1")).status_code == 201
        lamps = "/apis/migrated.example/{}/namespaces/default/lamps"
        for at in range(3):
            lamp = {"apiVersion": "migrated.example/v1", "kind": "Lamp", "metadata": {"name": f"l{at}"}, "spec": {"watts": at}}
            assert http.post(lamps.format("v1"), json=lamp).status_code == 201
        before = http.get(lamps.format("v1")).json()["items"]
        assert put("v1", "v1alpha1") == 200
        assert http.get(f"{CRDS}/{NAME}").json()["status"]["storedVersions"] == ["v1alpha1", "v1"]
        assert put("v1") == 422
        code, said = migrate("lamps", "--dry-run")
        assert (code, "3 would be rewritten" in said) == (0, True)
        code, said = migrate("lamps")
        assert (code, said.splitlines()) == (
            0,
            [
                f"{NAME}: 3 in migrated.example/v1alpha1; stored in migrated.example/v1",
                f"{NAME}: 3 rewritten, 0 failed; now 3 in migrated.example/v1",
                f"{NAME}: v1 is the only one of status.storedVersions now",
            ],
        )
        assert http.get(f"{CRDS}/{NAME}").json()["status"]["storedVersions"] == ["v1"]
        assert put("v1") == 200
        after = http.get(lamps.format("v1")).json()["items"]
        for each in (*before, *after):
            each["metadata"].pop("resourceVersion")
        assert after == before
        assert http.delete(f"{CRDS}/{NAME}").status_code == 200
