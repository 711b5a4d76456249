"""The kubeconfig of the admin: one file with which kubectl and every client library reach this server.

It holds everything inline (authority, token), so that it can be copied to another machine. It is ours: it is written again at a
start that finds another address, authority or token. The form is that of `clientcmd/v1` (Kubernetes, "Organizing Cluster Access
Using kubeconfig Files").
"""

from __future__ import annotations

import shlex
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from apiserver.config import Address
from apiserver.datadir import write_private

FILE = "kubeconfig"


def server_url(address: Address) -> str:
    """The URL under which this machine reaches what listens on the address: an address of all interfaces becomes the loopback's."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (a key to look up)
    return f"https://{Address(loopback.get(address.host, address.host), address.port)}"


class ClientPair(NamedTuple):
    """A client certificate and its key, PEM."""

    certificate: bytes
    key: bytes


def write(folder: Path, *, server: str, ca_pem: bytes, token: str = "", client: ClientPair | None = None) -> Path:
    """Writes `kubeconfig` in the folder if it is not that already, and returns its path.

    An empty `ca_pem`: the system's authorities. The admin shows the token, or a certificate in its stead.
    """
    path = folder / FILE
    content = rendered(server=server, ca_pem=ca_pem, user="admin", credential=client or token)
    if not path.exists() or path.read_bytes() != content:
        write_private(path, content)
    return path


def replace_token(folder: Path, token: str) -> Path | None:
    """Puts a new token into the kubeconfig of the folder; None when there is none, or none with a token."""
    path = folder / FILE
    if not path.exists():
        return None
    document = yaml.safe_load(path.read_bytes())
    user = document["users"][0]["user"]
    if "token" not in user:
        return None  # it shows a certificate
    user["token"] = token
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())
    return path


def server_of(folder: Path) -> tuple[str, bytes]:
    """The address in the kubeconfig of the folder, and the authorities that it is checked by (PEM)."""
    cluster = yaml.safe_load((folder / FILE).read_bytes())["clusters"][0]["cluster"]
    return cluster["server"], b64decode(cluster.get("certificate-authority-data", ""))


def export_line(path: Path) -> str:
    """What a person types so that kubectl uses the file."""
    return f"export KUBECONFIG={shlex.quote(str(path))}"


def rendered(*, server: str, ca_pem: bytes, user: str, credential: str | ClientPair) -> bytes:
    """A kubeconfig with one server and one user."""
    return yaml.safe_dump(_document(server, ca_pem, user, _user(credential)), sort_keys=False).encode()


def _user(credential: str | ClientPair) -> dict[str, str]:
    if isinstance(credential, str):
        return {"token": credential}
    pair = {"client-certificate-data": credential.certificate, "client-key-data": credential.key}
    return {name: b64encode(pem).decode() for name, pem in pair.items()}


def _document(server: str, ca_pem: bytes, name: str, user: dict[str, str]) -> dict[str, Any]:
    cluster = {"server": server}
    if ca_pem:
        cluster["certificate-authority-data"] = b64encode(ca_pem).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "skep", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "skep", "context": {"cluster": "skep", "user": name, "namespace": "default"}}],
        "current-context": "skep",
    }
