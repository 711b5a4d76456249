"""A server of its own, with kubectl: the admin shows a certificate, keys are objects, and nobody is let in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx

from admission.apikeys import digest_of, hint_of, make_key
from registry.builtin.apikey import name_of
from tests.e2e.kubectl import Kubectl, environment, programs, rows
from tests.e2e.wire import Wire, place_of
from tests.servers import Running, running

SETTINGS = {"SKEP_AUTHENTICATION_ADMIN_CREDENTIAL": "certificate", "SKEP_AUTHENTICATION_ANONYMOUS": "off"}
KEY = make_key(lambda alphabet: alphabet[11])


def test_the_admin_shows_a_certificate_keys_are_objects_and_their_last_use_is_kept(tmp_path: Path) -> None:
    data, program = tmp_path / "data", next(path for path in programs().values() if path is not None)
    name = name_of(digest_of(KEY))
    with running([], data_dir=data, env=SETTINGS) as server:
        kubectl = Kubectl(program, "default", environment(tmp_path / "home", server.kubeconfig))
        assert "token" not in server.kubeconfig.read_text()
        assert {path.stat().st_mode & 0o777 for path in data.iterdir() if path.suffix in (".key", ".crt")} == {0o600}
        spec = {"user": "ann", "digest": digest_of(KEY), "hint": hint_of(KEY)}
        kubectl(
            "create", "-f", "-", stdin={"apiVersion": "skep.dev/v1", "kind": "ApiKey", "metadata": {"name": name}, "spec": spec}
        )
        assert status(server, KEY) == 200
        smuggled(server)
    with running([], data_dir=data, env=SETTINGS) as server:
        kubectl = replace(kubectl, environment=environment(tmp_path / "home", server.kubeconfig))
        header, row = rows(kubectl("get", "apikeys"))
        assert header == ["NAME", "USER", "KEY", "EXPIRES", "LAST", "USED", "AGE"]
        assert row == [name, "ann", f"{hint_of(KEY)}...", "<never>", "<age>", "<age>"]
        assert status(server, KEY) == 200
        kubectl("delete", "apikey", name)
        assert status(server, KEY) == 401
        while f'"credential":"{hint_of(KEY)}"' not in server.log:
            pass
        assert KEY[14:] not in server.log


def status(server: Running, key: str) -> int:
    """What a request with a key is answered."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{server.url}/api/v1/namespaces", headers=headers, verify=server.trust, trust_env=False).status_code


def smuggled(server: Running) -> None:
    """Heads that one reader takes for a credential, and another does not."""
    token = f"Bearer {server.token}".encode()
    with Wire(place_of(server.url, server.ca, server.token)) as wire:
        for head, codes in (
            (b"Authorization : " + token, {400}),
            (b" Authorization: " + token, {400, 401}),
            (b"X-A: b\r\n Authorization: " + token, {400, 401}),
            (b"X-A: b\rAuthorization: " + token, {400}),
            (b"X-A: b\nAuthorization: " + token + b"\nAuthorization: Bearer x", {400, 401}),
            (b"Authorization\x00: " + token, {400}),
            (b"Authorization: Bearer x\r\nAuthorization: " + token, {401}),
            (b"Authorization: " + token + b"\r\nX-API-Key: x", {401}),
            (b"X-Remote-User: admin\r\nX-Remote-Group: system:masters", {401}),
        ):
            wire.close()
            wire.send(b"GET /api/v1/namespaces HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
            assert wire.reply("GET").status in codes, head
