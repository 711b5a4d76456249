"""Reads a kubeconfig as a client does: where the server is, what it is checked by, and the credential to show it.

The form is that of `clientcmd/v1` (Kubernetes, "Organizing Cluster Access Using kubeconfig Files"): contexts, certificates and keys
inline or as files beside it, bearer tokens inline or in a file. What is not read is refused by name, never passed over: plugins
that run a program, old auth providers, passwords, and servers without TLS (nobody sends a credential there).
"""

from __future__ import annotations

import ssl
import tempfile
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from apiserver.config import StartError

Document = dict[str, Any]
LONGEST = 1024 * 1024
"""Bytes of a kubeconfig, and of a file that it names."""
NOT_READ = ("exec", "auth-provider", "username", "password", "as", "as-groups", "as-uid", "as-user-extra")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach a server. `context` checks its certificate, and shows the client's if there is one.

    `token` is what goes into `Authorization: Bearer`, if there is one; `token_file` is read anew for each connection's worth of
    requests, since tokens in files are renewed. Neither is shown by `repr`. `named` is the context, `namespace` what it means.
    """

    server: str
    context: ssl.SSLContext = field(repr=False)
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    server_name: str = ""
    named: str = ""
    namespace: str = "default"

    def bearer(self) -> str:
        """The token as it is now; empty if there is none. Raises OSError when its file cannot be read."""
        if self.token_file is None:
            return self.token
        with self.token_file.open() as file:
            return file.read(LONGEST).strip()


class KubeconfigError(StartError):
    """A kubeconfig that cannot be used. It names the file and the field, and never shows a credential."""

    def __init__(self, path: Path, problem: str, hint: str = "") -> None:
        super().__init__(f"{path}: {problem}", hint, exit_code=2)


def read(path: Path, *, context: str = "", server: str = "", token_file: Path | None = None) -> Credentials:
    """The credentials of a context (empty: the current one). `server` goes before the URL in the file, `token_file` before its
    user, of which nothing is shown then. Raises KubeconfigError."""
    config = _document(path)
    name = context or config.get("current-context") or ""
    if not name:
        raise KubeconfigError(path, "it has no current-context", "name one with --context")
    chosen = _named(path, config, "contexts", "context", name)
    cluster = _named(path, config, "clusters", "cluster", str(chosen.get("cluster") or ""))
    user = {"tokenFile": token_file} if token_file else _named(path, config, "users", "user", str(chosen.get("user") or ""))
    url = _url(path, server or str(cluster.get("server") or ""))
    found = sorted(key for key in NOT_READ if user.get(key))
    if found:
        raise KubeconfigError(path, f"user {chosen.get('user')!r} uses {found[0]!r}, which is not read here", _USE)
    if cluster.get("proxy-url"):
        raise KubeconfigError(path, f"cluster {chosen.get('cluster')!r} uses 'proxy-url', which is not read here")
    if cluster.get("insecure-skip-tls-verify"):
        raise KubeconfigError(
            path, "'insecure-skip-tls-verify' is not accepted", "put the server's CA into certificate-authority-data"
        )
    file = user.get("tokenFile") or ""
    return Credentials(
        server=url,
        context=_context(path, cluster, user),
        token="" if file else str(user.get("token") or ""),
        token_file=(path.parent / file) if file else None,
        server_name=str(cluster.get("tls-server-name") or ""),
        named=name,
        namespace=str(chosen.get("namespace") or "default"),
    )


def given(server: str, ca: Path, token_file: Path | None) -> Credentials:
    """Credentials without a kubeconfig: a server, what its certificate is checked by, and a token if there is one. Raises
    KubeconfigError, which names the file of the CA."""
    return Credentials(
        server=_url(ca, server),
        context=_context(ca.absolute(), {"certificate-authority": str(ca.absolute())}, {}),
        token_file=token_file,
    )


_USE = "use a user with a token, a tokenFile, or a client certificate"


def _document(path: Path) -> Document:
    try:
        content = _content(path)
    except OSError as error:
        raise KubeconfigError(
            path, f"cannot be read: {error.strerror}", "`skep kubeconfig --path` shows where a server's is"
        ) from None
    try:
        config = yaml.load(content, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise KubeconfigError(path, f"is not YAML{where}") from None
    if not isinstance(config, dict) or config.get("kind") not in (None, "Config"):
        raise KubeconfigError(path, "is not a kubeconfig")
    return config


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise KubeconfigError(path, f"is larger than {LONGEST} bytes")
    return content


def _named(path: Path, config: Document, collection: str, key: str, name: str) -> Document:
    """The entry of a name in one of the lists of a kubeconfig."""
    entries = config.get(collection)
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    for entry in known:
        if entry.get("name") == name and name:
            found = entry.get(key)
            return found if isinstance(found, dict) else {}
    there = ", ".join(sorted(str(entry.get("name")) for entry in known)) or "none"
    raise KubeconfigError(path, f"there is no {key} {name!r} in it", f"{collection} in it: {there}")


def _url(path: Path, server: str) -> str:
    try:
        url = httpx.URL(server)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme != "https" or not url.host or url.userinfo:
        raise KubeconfigError(
            path, f"the server {server.rpartition('@')[2]!r} is no https:// address", "credentials are sent over TLS alone"
        )
    return server.rstrip("/")


def _context(path: Path, cluster: Document, user: Document) -> ssl.SSLContext:
    authority = _inline(path, cluster, "certificate-authority")
    try:
        context = ssl.create_default_context(cadata=authority.decode()) if authority else ssl.create_default_context()
    except (ssl.SSLError, ValueError):
        raise KubeconfigError(path, "certificate-authority is not a PEM certificate") from None
    certificate, key = _inline(path, user, "client-certificate"), _inline(path, user, "client-key")
    if bool(certificate) != bool(key):
        raise KubeconfigError(path, "client-certificate and client-key go together: only one of them is there")
    if certificate:
        with tempfile.NamedTemporaryFile(prefix="skep-", mode="wb") as file:  # mode 0600; ssl reads nothing but files
            file.write(certificate + b"\n" + key)
            file.flush()
            try:
                context.load_cert_chain(file.name, password=lambda: b"")
            except (ssl.SSLError, ValueError):
                raise KubeconfigError(path, "client-certificate and client-key are no PEM pair without a pass phrase") from None
    return context


def _inline(path: Path, entry: Document, key: str) -> bytes:
    """The bytes of `<key>-data`, or of the file that `<key>` names; empty if there is neither."""
    data, file = entry.get(f"{key}-data"), entry.get(key)
    try:
        if data:
            return b64decode(str(data), validate=True)
        return _content(path.parent / str(file)) if file else b""
    except ValueError:
        raise KubeconfigError(path, f"{key}-data is not base64") from None
    except OSError as error:
        raise KubeconfigError(path, f"{key} {file}: cannot be read: {error.strerror}") from None
