"""OpenID Connect: who somebody is, as an issuer says that this server was told to trust (OpenID Connect Core, section 3.1.3.7).

What it promises:

* Only the configured issuer is believed, only for the configured audiences, only by the allowed algorithms, which are never `none`
  and never a shared secret, and only by keys that the issuer itself has published.
* `exp` has to be there; `nbf` and `iat` are kept to; clocks may differ by the leeway.
* No issuer makes anybody a part of the system: a name that begins with `system:` is refused, a group of that kind is left out.
* A signature is checked once; after that a token is only looked up, and holds no longer than the key that signed it and its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from admission import jwt
from admission.identity import Credentials, Identity, authenticated
from admission.tokens import bearer
from registry.errors import Unauthorized

RESERVED = "system:"
MOST_GROUPS = 1_000
LONGEST_NAME = 1_024


class IssuerKeys(Protocol):
    """The keys that an issuer signs with."""

    async def find(self, key_id: str, algorithm: str) -> jwt.PublicKey | None:
        """The key that a token names; for a token that names none, the only one that fits its algorithm.

        Asks the issuer, if the key is not known, and not more often than is decent. None: there is no such key.
        """
        ...

    async def renewed(self, key: jwt.PublicKey, algorithm: str) -> jwt.PublicKey | None:
        """The key that has come in the place of one, for a token that names none. Asks the issuer, as seldom. None: the same."""
        ...

    def holds(self, key: jwt.PublicKey) -> bool:
        """Whether a key that was found before is still one of the issuer's, as far as is known. Cheap."""
        ...


@dataclass(frozen=True, slots=True)
class Trust:
    """What is believed of an issuer's tokens. A prefix is put before a name as it is."""

    issuer: str
    audiences: tuple[str, ...]
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    required: tuple[tuple[str, str], ...] = ()
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    leeway: float = 10.0


def problems(trust: Trust) -> list[str]:
    """What is wrong with it, each in a sentence that begins with the setting."""
    wrong = [
        f"oidc.algorithms: {name!r} is not allowed: one of {', '.join(jwt.ALGORITHMS)}"
        for name in trust.algorithms
        if name not in jwt.ALGORITHMS
    ]
    if not trust.algorithms:
        wrong.append("oidc.algorithms: it is empty, so that no token could be checked")
    if not trust.audiences:
        wrong.append("oidc.audiences: it is empty: name the client id that tokens are made for, or anybody's tokens would do")
    if not trust.issuer.startswith("https://"):
        wrong.append(f"oidc.issuer: {trust.issuer!r} is no https:// URL")
    return wrong


class _Claims(jwt.Times, frozen=True):
    iss: str = ""
    aud: str | tuple[str, ...] = ()


class _Known(msgspec.Struct, frozen=True, gc=False):
    key: Any
    times: jwt.Times
    identity: Identity


class OidcTokens:
    """An `Authenticator` for the tokens of one issuer. `now` is the time in seconds since 1970."""

    def __init__(self, trust: Trust, keys: IssuerKeys, now: Callable[[], float]) -> None:
        """ValueError for a trust that cannot be meant."""
        wrong = problems(trust)
        if wrong:
            raise ValueError("\n".join(wrong))
        self._trust = trust
        self._keys = keys
        self._now = now
        self._known: jwt.Remembered[_Known] = jwt.Remembered()

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Who a request is from. None: no bearer token, or none that says it is from this issuer. Raises Unauthorized."""
        token = bearer(credentials.headers.get(b"authorization"))
        if token is None:
            return None
        known = self._known.get(token)
        if known is not None and self._keys.holds(known.key):
            self._check_times(known.times)
            return known.identity
        said = jwt.unverified(token)
        if said is None or said.issuer != self._trust.issuer:
            return None
        known = await self._verified(token, said)
        self._known.put(token, known)
        return known.identity

    async def _verified(self, token: bytes, said: jwt.Unverified) -> _Known:
        if said.algorithm not in self._trust.algorithms:
            raise Unauthorized(f"the token is signed with an algorithm that is not allowed: {said.algorithm[:20]!r}")
        key = await self._keys.find(said.key_id, said.algorithm)
        if key is None:
            raise Unauthorized(f"the key that signed the token is none that {self._trust.issuer} publishes, or it cannot be asked")
        try:
            claims = jwt.verified(token, key, (said.algorithm,))
        except Unauthorized:
            newer = None if said.key_id else await self._keys.renewed(key, said.algorithm)
            if newer is None:
                raise
            key, claims = newer, jwt.verified(token, newer, (said.algorithm,))
        try:
            read = msgspec.convert(claims, _Claims)
        except msgspec.ValidationError as error:
            raise Unauthorized(f"the claims of the token cannot be read: {error}") from None
        if read.iss != self._trust.issuer:
            raise Unauthorized("the token is from another issuer")
        self._check_times(read)
        return _Known(key, jwt.Times(read.exp, read.nbf, read.iat), identity_of(claims, self._trust))

    def _check_times(self, times: jwt.Times) -> None:
        jwt.check_times(times, self._now(), before=self._trust.leeway, after=self._trust.leeway)


def identity_of(claims: Mapping[str, Any], trust: Trust) -> Identity:
    """Whom claims that hold are about. Raises Unauthorized when they are not meant for here, or do not say who it is."""
    audiences = claims.get("aud")
    meant = [audiences] if isinstance(audiences, str) else audiences if isinstance(audiences, list) else []
    if not any(audience in trust.audiences for audience in meant):
        raise Unauthorized(f"the token is for another audience than {list(trust.audiences)}")
    for claim, value in trust.required:
        if claims.get(claim) != value:
            raise Unauthorized(f"the token lacks the claim {claim}={value}")
    name = claims.get(trust.username_claim)
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME:
        raise Unauthorized(f"the claim {trust.username_claim} of the token is no user name")
    if trust.username_claim == "email" and claims.get("email_verified", True) is not True:
        raise Unauthorized("the issuer has not verified the email address")
    username = trust.username_prefix + name
    if username.startswith(RESERVED):
        raise Unauthorized(f"the name {username[:80]!r} is one of the system's")
    groups = (trust.groups_prefix + group for group in _groups(claims, trust.groups_claim))
    mine = dict.fromkeys(group for group in groups if not group.startswith(RESERVED))
    return authenticated(Identity(username, groups=tuple(mine)))


def _groups(claims: Mapping[str, Any], claim: str) -> Sequence[str]:
    """The groups in a claim: a text, a list of texts, or nothing. Raises Unauthorized for anything else: half of it would be worse
    than none."""
    value = claims.get(claim) if claim else None
    groups = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise Unauthorized(f"the claim {claim} of the token is neither a text nor a list of texts")
    if len(groups) > MOST_GROUPS:
        raise Unauthorized(f"the token has {len(groups)} groups; at most {MOST_GROUPS} are taken")
    return [group for group in groups if group and len(group) <= LONGEST_NAME]
