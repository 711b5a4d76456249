"""How commands reach a server that runs: what a kubeconfig says, plain requests, and every failure as one line that says what to
do.

Of a kubeconfig the current context counts (`apiserver.kubeconfig_read`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import httpx

from apiserver.config import StartError
from apiserver.kubeconfig_read import Credentials, read

Document = dict[str, Any]

PATIENCE = 30.0
MERGE_PATCH = "application/merge-patch+json"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Refused(StartError):
    """The server answered, and not with what was asked for. `code` is the HTTP status."""

    def __init__(self, code: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint, exit_code=1)
        self.code = code


def from_kubeconfig(path: Path, server: str = "") -> Remote:
    """The server that a file names, as the user of its current context. `server` goes before its own. Raises StartError."""
    if not path.exists():
        hint = "the first `skep serve` makes it; --data-dir or --kubeconfig says where it is"
        raise StartError(f"there is no {path}", hint)
    return Remote(read(path, server=server), path)


class Remote:
    """Requests to a server. Used as a context manager. `origin` is the file that says where it is, `namespace` what it means."""

    def __init__(self, credentials: Credentials, origin: Path) -> None:
        """Raises StartError when the credential cannot be read."""
        self.server, self.namespace, self.origin = credentials.server, credentials.namespace, origin
        try:
            token = credentials.bearer()
        except OSError as error:
            raise StartError(f"{credentials.token_file} cannot be read: {error.strerror}", exit_code=2) from None
        self._shown = None if not (token or credentials.named) else credentials.token_file or origin
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(
            base_url=credentials.server,
            headers={**bearer, "Accept": "application/json", "User-Agent": "skep"},
            verify=credentials.context,
            timeout=PATIENCE,
            trust_env=httpx.URL(credentials.server).host not in LOOPBACK,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def get(self, path: str) -> Document:
        """What is at a path. Raises Refused, StartError."""
        return self._asked("GET", path)

    def create(self, path: str, document: Document) -> Document:
        """Makes an object in the collection at a path. Raises Refused, StartError."""
        return self._asked("POST", path, content=json.dumps(document), headers={"Content-Type": "application/json"})

    def delete(self, path: str) -> Document:
        """Deletes the object at a path. Raises Refused, StartError."""
        return self._asked("DELETE", path)

    def merge(self, path: str, change: Document) -> Document:
        """What a merge patch makes of the object at a path. Raises Refused, StartError."""
        return self._asked("PATCH", path, content=json.dumps(change), headers={"Content-Type": MERGE_PATCH})

    def _asked(self, method: str, path: str, **more: Any) -> Document:
        server = self.server
        try:
            answer = self._client.request(method, path, **more)
        except httpx.TimeoutException as error:
            raise StartError(f"{server} did not answer within {PATIENCE:g} seconds", "its log may say what it is at") from error
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        try:
            document = answer.json()
        except ValueError:
            document = None
        if answer.is_success and isinstance(document, dict):
            return document
        raise self._refused(answer, document)

    def _unreachable(self, error: httpx.TransportError) -> StartError:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return StartError(
                f"the certificate of {self.server} is not one that {self.origin} trusts: {_line(error)}",
                "is this another server? `skep serve` writes the kubeconfig of its own data folder",
            )
        return StartError(
            f"nothing answers at {self.server}: {_line(error)}",
            "start it with `skep serve`; --data-dir, --kubeconfig or --server names another",
        )

    def _refused(self, answer: httpx.Response, document: Any) -> Refused:
        if not isinstance(document, dict) or document.get("kind") != "Status":
            return Refused(
                answer.status_code, f"what answers at {self.server} is not Skep, or has no actors ({answer.status_code})"
            )
        if answer.status_code == 401:
            return self._unknown()
        return Refused(answer.status_code, _line(document.get("message") or document.get("reason") or answer.status_code))

    def _unknown(self) -> Refused:
        if self._shown is None:
            return Refused(401, f"{self.server} answers nobody who shows no credential", "--token-file names a token to show")
        if self._shown != self.origin:
            hint = "it may be over, or of another server"
        else:
            hint = "`skep token rotate` needs a new start of the server; is this the kubeconfig of that server?"
        return Refused(401, f"the credential in {self._shown} is not accepted at {self.server}", hint)


def _line(said: object) -> str:
    return " ".join(str(said).split())
