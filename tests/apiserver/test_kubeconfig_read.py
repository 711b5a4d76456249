"""Reading kubeconfigs: what a client finds in them, and what it says of those that it cannot use."""

from __future__ import annotations

import copy
import ssl
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver import kubeconfig, tls
from apiserver.kubeconfig_read import KubeconfigError, read
from apiserver.sections import Tls
from tests.apiserver.served import certificate

Document = dict[str, Any]
SECRET = "s3cr3t-token"


def config() -> Document:
    ca = b64encode(certificate().ca_pem).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "near",
        "clusters": [
            {"name": "here", "cluster": {"server": "https://127.0.0.1:7443/", "certificate-authority-data": ca}},
            {"name": "there", "cluster": {"server": "https://api.example", "tls-server-name": "inside.example"}},
        ],
        "users": [{"name": "me", "user": {"token": SECRET}}, {"name": "file", "user": {"tokenFile": "token"}}],
        "contexts": [
            {"name": "near", "context": {"cluster": "here", "user": "me"}},
            {"name": "far", "context": {"cluster": "there", "user": "file"}},
        ],
    }


def written(folder: Path, document: Any) -> Path:
    path = folder / "config"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_the_kubeconfig_that_a_server_writes_is_read_back(tmp_path: Path) -> None:
    path = kubeconfig.write(tmp_path, server="https://[::1]:7443", ca_pem=certificate().ca_pem, token=SECRET)
    found = read(path)
    assert (found.server, found.bearer(), found.named) == ("https://[::1]:7443", SECRET, "skep")
    assert found.context.verify_mode is ssl.CERT_REQUIRED
    assert len(found.context.get_ca_certs()) == 1
    assert SECRET not in repr(found)


def test_a_context_chooses_a_cluster_and_a_user_and_a_server_goes_before_that_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, config())
    assert read(path).server == "https://127.0.0.1:7443"
    (tmp_path / "token").write_text("from a file\n")
    far = read(path, context="far", server="https://other.example:1")
    assert (far.server, far.server_name, far.bearer()) == ("https://other.example:1", "inside.example", "from a file")
    (tmp_path / "token").write_text("renewed")
    assert far.bearer() == "renewed"


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_is_loaded_with_its_key_inline_or_from_files_beside_the_kubeconfig(
    tmp_path: Path, inline: bool
) -> None:
    pair = tls.certificate(tmp_path, Tls(), host="127.0.0.1", hostname="localhost", now=datetime.now(UTC))
    document = config()
    if inline:
        user = {
            "client-certificate-data": b64encode(pair.cert_file.read_bytes()).decode(),
            "client-key-data": b64encode(pair.key_file.read_bytes()).decode(),
        }
    else:
        user = {"client-certificate": pair.cert_file.name, "client-key": pair.key_file.name}
    document["users"][0]["user"] = user
    found = read(written(tmp_path, document))
    assert found.bearer() == ""


Change = Callable[[Document], object]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("current-context"), "it has no current-context"),
        (lambda c: c.update({"current-context": "gone"}), "there is no context 'gone' in it"),
        (lambda c: c.pop("contexts"), "there is no context 'near' in it"),
        (lambda c: c.update(users=[]), "there is no user 'me' in it"),
        (lambda c: c.update(clusters="x"), "there is no cluster 'here' in it"),
        (lambda c: c.update(kind="Pod"), "is not a kubeconfig"),
        (lambda c: c["clusters"][0]["cluster"].update(server="http://plain.example"), "is no https:// address"),
        (lambda c: c["clusters"][0]["cluster"].update(server=f"https://u:{SECRET}@x"), "is no https:// address"),
        (lambda c: c["clusters"][0]["cluster"].pop("server"), "is no https:// address"),
        (lambda c: c["clusters"][0]["cluster"].update({"insecure-skip-tls-verify": True}), "is not accepted"),
        (lambda c: c["clusters"][0]["cluster"].update({"proxy-url": "http://x"}), "'proxy-url', which is not read here"),
        (
            lambda c: c["clusters"][0]["cluster"].update({"certificate-authority-data": "%"}),
            "certificate-authority-data is not base64",
        ),
        (lambda c: c["clusters"][0]["cluster"].update({"certificate-authority-data": "eA=="}), "is not a PEM certificate"),
        (lambda c: c["users"][0]["user"].update(exec={"command": "x"}), "uses 'exec', which is not read here"),
        (lambda c: c["users"][0]["user"].update(password=SECRET), "uses 'password', which is not read here"),
        (lambda c: c["users"][0]["user"].update({"client-key-data": "eA=="}), "go together"),
        (lambda c: c["users"][0]["user"].update({"client-key": "gone", "client-certificate-data": "eA=="}), "cannot be read"),
        (lambda c: c["users"][0]["user"].update({"client-key-data": "eA==", "client-certificate-data": "eA=="}), "are no PEM pair"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_it_and_shows_no_secret(tmp_path: Path, change: Change, said: str) -> None:
    document = copy.deepcopy(config())
    change(document)
    path = written(tmp_path, document)
    with pytest.raises(KubeconfigError) as refused:
        read(path)
    assert refused.value.message.startswith(f"{path}: ")
    assert said in refused.value.message
    assert "\n" not in refused.value.message
    assert SECRET not in "".join(refused.value.lines())
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "is not YAML, line 2"), ("- 1", "is not a kubeconfig"), ("x" * 2_000_000, "larger than")]
)
def test_a_file_that_is_no_kubeconfig_is_said_to_be_none(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(KubeconfigError, match=said):
        read(written(tmp_path, text))
