"""JSON web tokens (RFC 7519), as this server takes them: signed by an asymmetric key that it chose itself, and by nothing else.

What it promises:

* The algorithm is one that the caller of `verified` names and the key is one that it hands in: what a token says of keys and
  algorithms (`alg`, `jwk`, `jku`, `x5c`) chooses among those at most. There is no `none`, and no algorithm with a shared secret.
* Nothing of a token is believed before its signature was checked, but for who is to check it (`unverified`).
* A token has one spelling: a signature that is spelt otherwise (bits that base64 leaves over, padding) is refused.
* What is not a JSON web token is told apart from a bad one in time that is linear in its length, which is bounded.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Generic, TypeVar

import msgspec
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from registry.errors import Unauthorized

PublicKey = ECKey | RSAKey | OKPKey

LONGEST = 16 * 1024
"""Bytes of a token. One with many groups stays below 8 KiB."""

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
"""All that may ever be allowed (RFC 7518, RFC 9864)."""

REMEMBERED = 4_096
"""Tokens whose signature has been checked that are remembered."""

_SHAPE = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)").fullmatch

T = TypeVar("T")


class Unverified(msgspec.Struct, frozen=True):
    """What a token says of itself: for finding out who is to check it, and nothing else."""

    algorithm: str
    key_id: str
    issuer: str


class Times(msgspec.Struct, frozen=True):
    """From when to when a token is good, in seconds since 1970."""

    exp: float
    nbf: float = 0.0
    iat: float = 0.0


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""
    crit: Any = msgspec.UNSET
    b64: Any = msgspec.UNSET


class _Said(msgspec.Struct):
    iss: str = ""


class _Registry(jws.JWSRegistry):
    """Header parameters that nobody knows are passed over (RFC 7515, section 4): issuers send their own."""

    max_header_length = 4 * 1024
    max_payload_length = LONGEST

    def __init__(self, algorithms: Sequence[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)


_header = msgspec.json.Decoder(_Header).decode
_said = msgspec.json.Decoder(_Said).decode
_claims = msgspec.json.Decoder(dict[str, Any]).decode


def unverified(token: bytes) -> Unverified | None:
    """What a token says of itself; None for what is no JSON web token.

    Extensions that would have to be understood (`crit`, and `b64`, which changes what is signed) make it none.
    """
    found = _SHAPE(token) if len(token) <= LONGEST else None
    if found is None:
        return None
    try:
        header, said = _header(_decoded(found[1])), _said(_decoded(found[2]))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if header.crit is not msgspec.UNSET or header.b64 is not msgspec.UNSET:
        return None
    return Unverified(header.alg, header.kid, said.iss)


def unverified_claims(token: bytes) -> dict[str, Any] | None:
    """All that a token says, for whoever holds it; None for what is no JSON web token. Nobody may be let in by this."""
    found = _SHAPE(token) if len(token) <= LONGEST else None
    if found is None:
        return None
    try:
        return _claims(_decoded(found[2]))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def verified(token: bytes, key: PublicKey, algorithms: Sequence[str]) -> dict[str, Any]:
    """The claims of a token that this key has signed by one of these algorithms. Raises Unauthorized."""
    allowed = [algorithm for algorithm in algorithms if algorithm in ALGORITHMS]
    if not allowed:  # joserfc takes an empty list for its own default
        raise Unauthorized("no algorithm is allowed")
    signature = token.rpartition(b".")[2]
    try:
        if urlsafe_b64encode(_decoded(signature)).rstrip(b"=") != signature:
            raise Unauthorized("the token's signature is not spelt as it was made")
        payload = jws.deserialize_compact(token, key, registry=_Registry(allowed), algorithms=allowed).payload
        return _claims(payload or b"")
    except Unauthorized:
        raise
    except Exception as error:  # what breaks whoever reads it is no token: it is never somebody, and never a failure of ours
        raise Unauthorized("the token's signature does not hold") from error


def signed(claims: dict[str, Any], key: ECKey) -> str:
    """A token that this key signs with ES256. It names the key."""
    header = {"alg": "ES256", "kid": key.thumbprint()}
    return jws.serialize_compact(header, msgspec.json.encode(claims), key, ["ES256"])


def check_times(times: Times, now: float, *, before: float, after: float = 0.0) -> None:
    """Raises Unauthorized for a token that has expired, or is not good yet. Clocks may differ: it may be used so many seconds
    `before` it is good, and so many `after` it ends."""
    if now >= times.exp + after:
        raise Unauthorized("the token has expired")
    if now < max(times.nbf, times.iat) - before:
        raise Unauthorized("the token is not valid yet")


def _decoded(segment: bytes) -> bytes:
    return urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


class Remembered(Generic[T]):
    """What was found out about tokens whose signature holds, by their digest: a dump of memory shows no token.

    Bounded: the one that was put first goes first. Bad tokens are not put here, so that nobody can fill it with those.
    """

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._known: dict[bytes, T] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, token: bytes) -> T | None:
        """What was put for this token."""
        return self._known.get(sha256(token).digest())

    def put(self, token: bytes, found: T) -> None:
        """Remembers it."""
        if len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[sha256(token).digest()] = found

    def forget(self, token: bytes) -> None:
        """Remembers it no longer."""
        self._known.pop(sha256(token).digest(), None)
