"""Bearer tokens that are known in advance (RFC 6750, `Authorization: Bearer`).

The table keeps digests, never tokens: a dump of the process's objects gives nothing away. A token is looked up by its SHA-256, so
what a caller can learn from the time of the lookup is a prefix of a digest, which says nothing of the token; the last comparison
takes the same time whatever is compared. There is no cache: the lookup costs less than a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest

from admission.identity import Credentials, Identity, authenticated
from registry.errors import Unauthorized

LONGEST_TOKEN = 16 * 1024
"""In bytes. A longer one is refused before it is hashed; a JSON web token with many groups stays below 8 KiB."""


class TokenTable:
    """An authenticator over a fixed set of tokens."""

    def __init__(self, tokens: Iterable[tuple[str, Identity]]) -> None:
        """Takes pairs of a token and whom it stands for. ValueError when a token is empty, or stands for two."""
        self._known: dict[bytes, tuple[bytes, Identity]] = {}
        for token, identity in tokens:
            if not token:
                raise ValueError(f"the token of {identity.username} is empty")
            digest = sha256(token.encode()).digest()
            if digest in self._known:
                raise ValueError(f"one token stands for {self._known[digest][1].username} and for {identity.username}")
            self._known[digest] = (digest, authenticated(identity))

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Who the `Authorization` header stands for.

        None: no bearer token, or one that is not in the table and may be known to another. Raises Unauthorized: it is too long.
        """
        token = bearer(credentials.headers.get(b"authorization"))
        if token is None:
            return None
        if len(token) > LONGEST_TOKEN:
            raise Unauthorized
        digest = sha256(token).digest()
        found = self._known.get(digest)
        return found[1] if found is not None and compare_digest(found[0], digest) else None


def bearer(authorization: bytes | None) -> bytes | None:
    """The token in the value of an `Authorization` header; None when there is none. The scheme is in any case (RFC 9110)."""
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip() or None
