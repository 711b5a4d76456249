"""An OpenID Connect issuer for tests: `oidc-provider-mock` behind TLS, in a process of its own, and the way by which a person gets
a token there (the authorization code flow). Run as a program it serves; its first line says where.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

CLIENT = "skep"
BACK = "https://client.example/back"


@dataclass(frozen=True)
class Issuer:
    """Where it is, and what its certificate is checked by (PEM)."""

    url: str
    ca: str

    def token(self, user: str, *, audience: str = CLIENT, **claims: object) -> str:
        """The id token of a user who logs in with these claims."""
        context = ssl.create_default_context(cadata=self.ca)
        with httpx.Client(base_url=self.url, verify=context, trust_env=False) as http:
            http.put(f"/users/{user}", json=claims).raise_for_status()
            ask = {"client_id": audience, "redirect_uri": BACK, "response_type": "code", "scope": "openid email profile"}
            sent = http.post("/oauth2/authorize", params=ask, data={"sub": user})
            code = parse_qs(urlsplit(sent.headers["location"]).query)["code"][0]
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
            got = http.post("/oauth2/token", data=form, auth=(audience, "any secret")).raise_for_status()
            return str(got.json()["id_token"])


@contextmanager
def issuing(cert_file: str, key_file: str, ca_pem: str, port: int = 0) -> Iterator[Issuer]:
    """Runs an issuer, with a new key, for the body."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), cert_file, key_file, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Issuer(process.stdout.readline().strip(), ca_pem)
        finally:
            process.terminate()


def serve(cert_file: str, key_file: str, port: int) -> None:
    """Serves until the process is ended."""
    import logging

    import oidc_provider_mock
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", port, oidc_provider_mock.app(), threaded=True, ssl_context=(cert_file, key_file))
    sys.stdout.write(f"https://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
