"""kubectl's `auth` and `create` families: what it sends in protobuf from 1.32 on, with every kubectl that there is.

Where something can be read back, it is read back as JSON: so what was sent in protobuf is what `create -f` would have made.
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kubectl import Kubectl, environment, programs, rows
from tests.servers import Running

RBAC = "rbac.authorization.k8s.io"
_numbers = count(1)


@pytest.fixture(scope="module", params=programs().items(), ids=lambda program: program[0])
def kubectl(request: pytest.FixtureRequest, reference_server: Running, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl in a namespace that it made itself."""
    version, program = request.param
    if program is None:
        pytest.fail("there is no kubectl on PATH: install one to run these tests")
    seen = environment(tmp_path_factory.mktemp(f"kubectl-auth-{version}"), reference_server.kubeconfig)
    name = f"auth-{version.replace('.', '')}-{next(_numbers)}"
    made = Kubectl(program, name, seen)("create", "namespace", name)
    assert made == f"namespace/{name} created\n"
    return Kubectl(program, name, seen)


def shown(kubectl: Kubectl, *words: str) -> dict[str, Any]:
    """What was made, without what the server sets."""
    made: dict[str, Any] = kubectl.get(*words)
    return {key: value for key, value in made.items() if key not in ("apiVersion", "kind", "metadata")}


def test_config_is_made_from_the_command_line(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "logo").write_bytes(b"\xff\x00")
    kubectl("create", "configmap", "words", "--from-literal=greeting=grüß dich", f"--from-file=logo={tmp_path / 'logo'}")
    assert shown(kubectl, "configmap", "words") == {"data": {"greeting": "grüß dich"}, "binaryData": {"logo": "/wA="}}
    kubectl("create", "secret", "generic", "pass", "--from-literal=word=open", "--type=skep.dev/door")
    assert shown(kubectl, "secret", "pass") == {"data": {"word": "b3Blbg=="}, "type": "skep.dev/door"}
    assert kubectl("create", "serviceaccount", "robot") == "serviceaccount/robot created\n"
    assert "already exists" in kubectl.refused("create", "serviceaccount", "robot")
    assert kubectl("create", "configmap", "dry", "--dry-run=server") == "configmap/dry created (server dry run)\n"
    assert '"dry" not found' in kubectl.refused("get", "configmap", "dry")
    assert "must not contain dots" in kubectl.refused("create", "namespace", "a.b")


def test_roles_and_bindings_are_made_from_the_command_line(kubectl: Kubectl) -> None:
    everywhere = f"{kubectl.namespace}-all"
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps,widgets.reference.example.com/status")
    assert shown(kubectl, "role", "reader")["rules"] == [
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]},
        {"verbs": ["get", "list"], "apiGroups": ["reference.example.com"], "resources": ["widgets/status"]},
    ]
    kubectl("create", "clusterrole", everywhere, "--verb=get", "--non-resource-url=/metrics")
    assert shown(kubectl, "clusterrole", everywhere)["rules"] == [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]
    account = f"{kubectl.namespace}:robot"
    kubectl("create", "rolebinding", "readers", "--role=reader", "--user=anna", "--group=team", f"--serviceaccount={account}")
    assert shown(kubectl, "rolebinding", "readers") == {
        "subjects": [
            {"kind": "User", "apiGroup": RBAC, "name": "anna"},
            {"kind": "Group", "apiGroup": RBAC, "name": "team"},
            {"kind": "ServiceAccount", "name": "robot", "namespace": kubectl.namespace},
        ],
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "reader"},
    }
    kubectl("create", "clusterrolebinding", everywhere, f"--clusterrole={everywhere}", "--user=prometheus")
    assert kubectl("auth", "can-i", "get", "/metrics", "--as=prometheus") == "yes\n"
    assert kubectl("auth", "can-i", "list", "cm", "--as=anna") == "yes\n"
    assert kubectl("auth", "can-i", "get", "widgets", "--subresource=status", "--as=x", "--as-group=team") == "yes\n"
    denied = kubectl.run("auth", "can-i", "delete", "cm", "--as=anna")
    assert (denied.code, denied.out) == (1, "no\n")
    assert kubectl.run("auth", "can-i", "list", "cm", "--as=anna", "--all-namespaces").out == "no\n"


def test_everybody_is_told_who_they_are_and_what_they_may_do(kubectl: Kubectl) -> None:
    assert rows(kubectl("auth", "whoami"))[1:] == [["Username", "admin"], ["Groups", "[system:masters", "system:authenticated]"]]
    who = json.loads(kubectl("auth", "whoami", "-o", "json", "--as=anna", "--as-group=team", "--as-uid=7"))
    assert who["status"]["userInfo"] == {"username": "anna", "uid": "7", "groups": ["team", "system:authenticated"]}
    assert kubectl("auth", "can-i", "*", "*") == "yes\n"
    assert ["*.*", "[]", "[]", "[*]"] in rows(kubectl("auth", "can-i", "--list"))
    poor = rows(kubectl("auth", "can-i", "--list", "--as=nobody"))
    assert ["selfsubjectreviews.authentication.k8s.io", "[]", "[]", "[create]"] in poor
    assert ["*.*", "[]", "[]", "[*]"] not in poor


def test_a_token_is_made_and_recognized(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "clerk")
    token = kubectl("create", "token", "clerk", "--duration=1h").strip()
    assert token.count(".") == 2
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answered = json.loads(kubectl("create", "-f", "-", "-o", "json", stdin=review))
    assert answered["status"]["authenticated"]
    assert answered["status"]["user"]["username"] == f"system:serviceaccount:{kubectl.namespace}:clerk"
    who = rows(kubectl("auth", "whoami", f"--token={token}"))
    assert ["Username", f"system:serviceaccount:{kubectl.namespace}:clerk"] in who
    assert kubectl.run("auth", "can-i", "list", "cm", f"--token={token}").out == "no\n"
    assert "may not specify a duration less than 10 minutes" in kubectl.refused("create", "token", "clerk", "--duration=1m")
    assert '"nobody" not found' in kubectl.refused("create", "token", "nobody")


def test_reconcile_brings_roles_to_what_a_file_says(kubectl: Kubectl, tmp_path: Path) -> None:
    def files(verbs: list[str], role: str) -> str:
        rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}]
        wanted = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": "keeper", "namespace": kubectl.namespace},
            "rules": rules,
        }
        subjects = [{"kind": "User", "apiGroup": RBAC, "name": "bert"}]
        reference = {"apiGroup": RBAC, "kind": "Role", "name": role}
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "keepers", "namespace": kubectl.namespace},
            "subjects": subjects,
            "roleRef": reference,
        }
        path = tmp_path / "roles.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [wanted, binding]}))
        return str(path)

    kubectl("auth", "reconcile", "-f", files(["get"], "keeper"))
    assert kubectl("auth", "can-i", "get", "secrets", "--as=bert") == "yes\n"
    kubectl("auth", "reconcile", "-f", files(["get", "list"], "keeper"))
    assert kubectl("auth", "can-i", "list", "secrets", "--as=bert") == "yes\n"
    kubectl("auth", "reconcile", "-f", files(["get"], "another"))
    assert kubectl.get("rolebinding", "keepers")["roleRef"]["name"] == "another"
    assert "another" in kubectl.run("auth", "can-i", "get", "secrets", "--as=bert").out
