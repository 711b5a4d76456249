"""How commands reach a server that runs: what a kubeconfig says, plain requests, and every failure as one line that says what to
do.

Of a kubeconfig the current context counts: its server, authority, token and namespace. Credentials of other kinds (client
certificates, programs) are refused by name.
"""

from __future__ import annotations

import json
import ssl
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from apiserver.config import StartError

Document = dict[str, Any]

PATIENCE = 30.0
MERGE_PATCH = "application/merge-patch+json"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a server is, how it is trusted, and who asks. `origin` is the file that says so."""

    server: str
    trust: ssl.SSLContext
    token: str
    namespace: str
    origin: Path


class Refused(StartError):
    """The server answered, and not with what was asked for. `code` is the HTTP status."""

    def __init__(self, code: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint, exit_code=1)
        self.code = code


def from_kubeconfig(path: Path, server: str = "") -> Reach:
    """What the file says; `server` goes before its own. Raises StartError."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        hint = "the first `skep serve` makes it; --data-dir or --kubeconfig says where it is"
        raise StartError(f"there is no {path}", hint) from None
    except OSError as error:
        raise StartError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise StartError(f"{path} is not YAML: {' '.join(str(error).split())}", exit_code=2) from error
    try:
        return _reach(path, document, server)
    except (KeyError, TypeError, AttributeError, ValueError, ssl.SSLError) as error:
        raise StartError(f"{path} is not a complete kubeconfig: {error}", "name another with --kubeconfig", exit_code=2) from error


def _reach(path: Path, document: Document, server: str) -> Reach:
    context = _named(document, "contexts", document["current-context"])["context"]
    cluster = _named(document, "clusters", context["cluster"])["cluster"]
    user = _named(document, "users", context["user"])["user"] or {}
    url = server or cluster["server"]
    if not url.startswith("https://"):
        raise StartError(f"the server {url} is not https://HOST:PORT: a token is not sent over plain HTTP", exit_code=2)
    return Reach(url.rstrip("/"), _trust(path, cluster), _token(path, user), context.get("namespace") or "default", path)


def _named(document: Document, section: str, name: str) -> Document:
    for each in document[section]:
        if each["name"] == name:
            found: Document = each
            return found
    raise KeyError(f"there is no {name!r} in {section}")


def _trust(path: Path, cluster: Mapping[str, Any]) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        raise StartError(
            f"{path} asks to trust any certificate (insecure-skip-tls-verify), which this command does not", exit_code=2
        )
    if data := cluster.get("certificate-authority-data"):
        return ssl.create_default_context(cadata=b64decode(data, validate=True).decode("ascii") or "none")
    if file := cluster.get("certificate-authority"):
        return ssl.create_default_context(cafile=path.parent / file)
    return ssl.create_default_context()


def _token(path: Path, user: Mapping[str, Any]) -> str:
    if token := user.get("token"):
        return str(token)
    if file := user.get("tokenFile"):
        return Path(path.parent, file).read_text().strip()
    other = ", ".join(key for key in user if key != "name") or "nothing"
    raise StartError(
        f"the user in {path} has no token (but {other})", "name a kubeconfig with a token by --kubeconfig", exit_code=2
    )


class Remote:
    """Requests to the server that was reached. Used as a context manager."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        host = httpx.URL(reach.server).host
        self._client = httpx.Client(
            base_url=reach.server,
            headers={"Authorization": f"Bearer {reach.token}", "Accept": "application/json", "User-Agent": "skep"},
            verify=reach.trust,
            timeout=PATIENCE,
            trust_env=host not in LOOPBACK,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def get(self, path: str) -> Document:
        """What is at a path. Raises Refused, StartError."""
        return self._asked("GET", path)

    def merge(self, path: str, change: Document) -> Document:
        """What a merge patch makes of the object at a path. Raises Refused, StartError."""
        return self._asked("PATCH", path, content=json.dumps(change), headers={"Content-Type": MERGE_PATCH})

    def _asked(self, method: str, path: str, **more: Any) -> Document:
        server = self.reach.server
        try:
            answer = self._client.request(method, path, **more)
        except httpx.TimeoutException as error:
            raise StartError(f"{server} did not answer within {PATIENCE:g} seconds", "its log may say what it is at") from error
        except httpx.TransportError as error:
            raise _unreachable(self.reach, error) from error
        try:
            document = answer.json()
        except ValueError:
            document = None
        if answer.is_success and isinstance(document, dict):
            return document
        raise _refused(self.reach, answer, document)


def _unreachable(reach: Reach, error: httpx.TransportError) -> StartError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StartError(
            f"the certificate of {reach.server} is not one that {reach.origin} trusts: {_line(error)}",
            "is this another server? `skep serve` writes the kubeconfig of its own data folder",
        )
    return StartError(
        f"nothing answers at {reach.server}: {_line(error)}",
        "start it with `skep serve`; --data-dir, --kubeconfig or --server names another",
    )


def _refused(reach: Reach, answer: httpx.Response, document: Any) -> Refused:
    if not isinstance(document, dict) or document.get("kind") != "Status":
        return Refused(answer.status_code, f"what answers at {reach.server} is not Skep, or has no actors ({answer.status_code})")
    if answer.status_code == 401:
        hint = "`skep token rotate` needs a new start of the server; is this the kubeconfig of that server?"
        return Refused(401, f"the token in {reach.origin} is not accepted at {reach.server}", hint)
    return Refused(answer.status_code, _line(document.get("message") or document.get("reason") or answer.status_code))


def _line(said: object) -> str:
    return " ".join(str(said).split())
