"""Client certificates: the common name is the user, the organizations are the groups (Kubernetes: "X.509 client certificates").

TLS has checked, when the connection began, that the certificate is of the authority of this server, in its time, and for clients. A
connection may outlive its certificate: what counts here is the moment of the request.

A browser shows the certificate of its user whichever page asks, so what the page of another site asks for is nobody's (cross-site
request forgery; W3C Fetch Metadata). Keys and tokens are shown by programs alone.
"""

from __future__ import annotations

from collections.abc import Callable

from admission.identity import CREDENTIAL_ID, Credentials, Identity, authenticated
from registry.errors import Unauthorized

FOREIGN = (b"cross-site", b"same-site")
"""What a browser says in `Sec-Fetch-Site` of a request by the page of another origin. Programs do not send it."""


class ClientCertificates:
    """An authenticator. `now` is the time in seconds since 1970."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Whose certificate the connection has shown. Raises Unauthorized: it names nobody, or it is not the time for it."""
        certificate = credentials.certificate
        if certificate is None:
            return None
        if credentials.headers.get(b"sec-fetch-site") in FOREIGN:
            raise Unauthorized
        if not certificate.common_name or not certificate.not_before <= self._now() < certificate.not_after:
            raise Unauthorized
        extra = ((CREDENTIAL_ID, (f"X509SHA256={certificate.fingerprint}",)),)
        return authenticated(Identity(certificate.common_name, groups=certificate.organizations, extra=extra))
