"""Tokens on a real server, with a real issuer beside it: asked for, shown, checked by others, turned over, dead at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from apiserver.cli import main
from registry.actors import BUILTIN_ACTORS
from tests.apiserver.served import certificate
from tests.issuer import Issuer, issuing
from tests.servers import ROOT, Running, running

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
SYSTEM = "/api/v1/namespaces/kube-system/serviceaccounts"
SHIFTS = ROOT / "tests/plugins/shifts.py"


class Place(NamedTuple):
    server: Running
    admin: httpx.Client
    issuer: Issuer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    shown = certificate()
    ca = tmp_path_factory.mktemp("issuer") / "ca.pem"
    ca.write_bytes(shown.ca_pem or b"")
    with issuing(str(shown.cert_file), str(shown.key_file), ca.read_text()) as issuer:
        env = {
            "SKEP_OIDC_ISSUER": issuer.url,
            "SKEP_OIDC_AUDIENCES": "skep",
            "SKEP_OIDC_CA": str(ca),
            "SKEP_OIDC_GROUPS_CLAIM": "groups",
            "SKEP_OIDC_USERNAME_PREFIX": "oidc:",
        }
        with running([SHIFTS], "--no-actors", env=env) as server, server.client() as admin:
            yield Place(server, admin, issuer)


def account(place: Place, name: str) -> str:
    """Makes an account; a token of it."""
    place.admin.post(ACCOUNTS, json={"metadata": {"name": name}}).raise_for_status()
    return asked(place, f"{ACCOUNTS}/{name}")


def asked(place: Place, path: str, **spec: Any) -> str:
    answer = place.admin.post(f"{path}/token", json={"spec": spec})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["status"]["token"])


def who(place: Place, token: str) -> str:
    """Whom a token stands for: a refusal names him."""
    refused = shown(place, token, **{"Impersonate-User": "somebody-else"})
    assert refused.status_code == 403
    found = re.search(r'User "([^"]+)" cannot impersonate', refused.json()["message"])
    assert found is not None
    return found[1]


def shown(place: Place, token: str, path: str = "/api", **headers: str) -> httpx.Response:
    """The answer to a request with a token."""
    headers = {"Authorization": f"Bearer {token}", **headers}
    with httpx.Client(base_url=place.server.url, headers=headers, verify=place.server.trust, trust_env=False) as client:
        return client.get(path)


def test_a_token_is_a_credential_until_its_account_is_deleted_and_a_watch_under_it_ends(place: Place) -> None:
    token = account(place, "till")
    assert who(place, token) == "system:serviceaccount:default:till"
    headers = {"Authorization": f"Bearer {token}"}
    with (
        httpx.Client(base_url=place.server.url, headers=headers, verify=place.server.trust, trust_env=False) as client,
        client.stream("GET", "/api/v1/namespaces/default/configmaps?watch=1") as watch,
    ):
        allowed = watch.status_code == 200
        place.admin.delete(f"{ACCOUNTS}/till").raise_for_status()
        assert shown(place, token).status_code == 401  # the very next request
        if allowed:
            assert [line for line in watch.iter_lines() if '"ERROR"' not in line] == []
    assert token not in place.server.log


def test_others_check_a_token_by_what_the_server_publishes(place: Place) -> None:
    token = account(place, "vault")
    about = shown(place, token, "/.well-known/openid-configuration")
    if about.status_code == 403:  # roles say who may look
        about = place.admin.get("/.well-known/openid-configuration")
    assert about.headers["content-type"] == "application/json"
    assert about.json()["issuer"] == "https://skep"
    keys = place.admin.get(httpx.URL(about.json()["jwks_uri"]).path)
    assert keys.headers["content-type"] == "application/jwk-set+json"
    assert about.json()["jwks_uri"].startswith(place.server.url)
    claims = jwt.decode(token, KeySet.import_key_set(keys.json()), algorithms=["ES256"]).claims
    assert claims["sub"] == "system:serviceaccount:default:vault"
    assert {"/.well-known/openid-configuration", "/openid/v1/jwks"} <= set(place.admin.get("/").json()["paths"])
    for written in (SYSTEM, "/openid/v1/jwks"):
        assert '"d"' not in place.admin.get(written).text


def test_keys_are_turned_over_under_a_server_that_runs(place: Place) -> None:
    old = account(place, "turned")
    assert shown(place, old).status_code == 200
    assert main(["token-keys", "rotate", "--data-dir", str(place.server.data_dir)]) == 0
    new = asked(place, f"{ACCOUNTS}/turned")
    assert shown(place, new).status_code == shown(place, old).status_code == 200
    assert len(place.admin.get("/openid/v1/jwks").json()["keys"]) == 2
    assert main(["token-keys", "rotate", "--data-dir", str(place.server.data_dir)]) == 0
    while shown(place, old).status_code != 401:  # within a second
        time.sleep(0.05)
    assert shown(place, new).status_code == 200


def test_a_person_logs_in_at_the_issuer(place: Place) -> None:
    token = place.issuer.token("ann", groups=["staff"])
    assert who(place, token) == "oidc:ann"
    assert shown(place, place.issuer.token("ann", audience="wiki")).status_code == 401
    head, claims, signature = token.split(".")
    assert shown(place, f"{head}.{claims}.{signature[:-6]}AAAAAA").status_code == 401
    assert token not in place.server.log


def test_every_actor_has_an_account_and_a_runner_works_with_its_token_alone(place: Place, tmp_path: Path) -> None:
    names = {
        item["metadata"]["name"]: item["metadata"]["annotations"]
        for item in place.admin.get(SYSTEM).json()["items"]
        if item["metadata"]["name"].startswith("skep-actor-")
    }
    assert names == {f"skep-actor-{name}": {"skep.dev/actor": name} for name in (*BUILTIN_ACTORS, "work")}
    file = tmp_path / "token"
    file.write_text(asked(place, f"{SYSTEM}/skep-actor-work"))
    command = [sys.executable, "-m", "apiserver", "actor", "run", "--plugin", str(SHIFTS)]
    command += ["--kubeconfig", str(place.server.kubeconfig), "--token-file", str(file), "--lease", "2"]
    env = {**os.environ, "SHIFTS": str(tmp_path / "book")}
    path = "/apis/shifts.example/v1/namespaces/default/shifts"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Skep runs work")
            place.admin.post(path, json={"apiVersion": "shifts.example/v1", "kind": "Shift", "metadata": {"name": "a"}, "spec": {}})
            with place.admin.stream("GET", f"{path}?watch=1") as watch:
                assert any((json.loads(line)["object"].get("status") or {}).get("runs") for line in watch.iter_lines())
        finally:
            process.terminate()
    while not (said := said_by(place.server, "shifts.shifts.example/status")):  # the log is written now and then
        time.sleep(0.05)
    assert said == {"system:serviceaccount:kube-system:skep-actor-work"}  # itself, and not somebody as somebody else


def said_by(server: Running, resource: str) -> set[str]:
    """Who asked for a resource, as the access log says."""
    lines = [json.loads(line) for line in server.log.splitlines()]
    return {line["identity"] for line in lines if line.get("resource") == resource}


def test_settings_of_an_issuer_that_cannot_be_meant_end_the_start(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wrong = ["--set", "oidc.issuer=http://login.example", "--set", "oidc.algorithms=none,HS256"]
    assert main(["serve", "--data-dir", str(tmp_path / "data"), *wrong]) == 2
    said = capsys.readouterr().err
    assert said.count("oidc.algorithms") == 2
    assert "oidc.audiences" in said
    assert "no https:// URL" in said
    assert not (tmp_path / "data").exists()
