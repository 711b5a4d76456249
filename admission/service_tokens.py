"""Tokens of service accounts: made for whoever may ask for one, and recognized when they are shown.

Their claims are those of Kubernetes ("Managing Service Accounts", bound tokens): `iss sub aud exp iat nbf jti`, and `kubernetes.io`
with the namespace, the name and the uid of the account, and of the Secret that the token is bound to, if it is.

What it promises:

* A token is good for as long as its account is: for the account of this uid, and not for another one of the same name later. The
  same goes for its Secret, and for the key that signed it. All three are looked at every time the token is used, in memory.
* A signature is checked once: after that a token costs the digest of its text, and these looks.
* A token for other audiences is no credential here, however good it is.
* Whatever is wrong is one and the same 401 for the caller; why is in the error, for those who may know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from admission import jwt
from admission.identity import CREDENTIAL_ID, Credentials, Identity, service_account
from admission.token_keys import KeySource
from admission.tokens import bearer
from registry.actors import user_of_account
from registry.errors import Unauthorized

CLOCKS = 60.0
"""Seconds by which the clocks of replicas may differ."""
FRESH = 60.0
"""A token that is younger may be of an account that this replica has not read of yet (seconds)."""


class Reference(msgspec.Struct, frozen=True):
    """An object of the account's namespace, by name and uid."""

    name: str
    uid: str


class Bound(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a token is bound to: the claim `kubernetes.io`."""

    namespace: str
    serviceaccount: Reference
    secret: Reference | None = None


class _Claims(jwt.Times, frozen=True, rename={"bound": "kubernetes.io"}):
    iss: str = ""
    sub: str = ""
    aud: str | tuple[str, ...] = ()
    jti: str = ""
    bound: Bound | None = None


class Issued(msgspec.Struct, frozen=True):
    """A token, and when it expires (seconds since 1970)."""

    token: str
    expires: float


class Accounts(Protocol):
    """What is there of the objects that tokens are bound to. Both are asked for every use of a token, and read memory alone."""

    def account(self, namespace: str, name: str) -> str | None:
        """The uid of an account; None if there is none, or it is being deleted."""
        ...

    def secret(self, namespace: str, name: str) -> str | None:
        """The same of a Secret."""
        ...

    async def caught_up(self) -> None:
        """Returns when all that was committed before can be seen."""
        ...


class _Known(msgspec.Struct, frozen=True, gc=False):
    """A token whose signature holds."""

    key_id: str
    times: jwt.Times
    audiences: tuple[str, ...]
    bound: Bound
    identity: Identity


class ServiceTokens:
    """Makes, recognizes and reviews the tokens of service accounts: an `Authenticator` and a `TokenReviewer`.

    `issuer` says whose tokens these are, the first of `audiences` whom they are for unless somebody asks for another; all of them
    are this server. `now` is the time in seconds since 1970, `unique` makes the names of tokens (UUIDs).
    """

    def __init__(
        self,
        keys: KeySource,
        accounts: Accounts,
        *,
        issuer: str,
        audiences: Sequence[str] = (),
        now: Callable[[], float],
        unique: Callable[[], str],
    ) -> None:
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._keys = keys
        self._accounts = accounts
        self._now = now
        self._unique = unique
        self._known: jwt.Remembered[_Known] = jwt.Remembered()

    def issue(self, bound: Bound, audiences: Sequence[str], seconds: int) -> Issued:
        """A token for an account that is good for so many seconds."""
        now = int(self._now())
        subject = user_of_account(bound.namespace, bound.serviceaccount.name)
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": self._unique(),
            "kubernetes.io": bound,
            "nbf": now,
            "sub": subject,
        }
        return Issued(jwt.signed(claims, self._keys.latest().signing), now + seconds)

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Who a request is from. None: no bearer token, or none that says it is from here. Raises Unauthorized."""
        token = bearer(credentials.headers.get(b"authorization"))
        if token is None:
            return None
        known = self._known.get(token)
        if known is None:
            if not self.issued(token):
                return None
            known = await self._verified(token)
        else:
            self._check(known)
        if self.audiences[0] not in known.audiences:  # nearly all tokens are for that
            self._meant(known, self.audiences)
        return known.identity

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[Identity, tuple[str, ...]]:
        """See `TokenReviewer`."""
        raw = token.encode()
        known = self._known.get(raw)
        if known is None:
            known = await self._verified(raw)
        else:
            self._check(known)
        return known.identity, self._meant(known, tuple(audiences) or self.audiences)

    def issued(self, token: bytes) -> bool:
        """Whether a token says that it is from here, so that nobody else is to be asked about it."""
        said = jwt.unverified(token)
        return said is not None and said.issuer == self.issuer

    async def _verified(self, token: bytes) -> _Known:
        """Checks the signature of a token, and all else."""
        said = jwt.unverified(token)
        if said is None or said.issuer != self.issuer:
            raise Unauthorized("invalid bearer token")
        key = self._keys.current().find(said.key_id) or self._keys.latest().find(said.key_id)
        if key is None:
            raise Unauthorized("the token was signed with a key that is not known here, or no longer")
        known = _read(jwt.verified(token, key, ("ES256",)), said.key_id, self.issuer)
        jwt.check_times(known.times, self._now(), before=CLOCKS)
        if self._why_dead(known) is not None and self._now() - known.times.iat < FRESH:
            await self._accounts.caught_up()
        self._check(known)
        self._known.put(token, known)
        return known

    def _check(self, known: _Known) -> None:
        """Raises Unauthorized for a token that is not good any more. Asked every time."""
        now = self._now()
        if now >= known.times.exp:
            raise Unauthorized("the token has expired")
        if self._keys.current().find(known.key_id) is None:
            raise Unauthorized("the token was signed with a key that is not valid any more")
        why = self._why_dead(known)
        if why is not None:
            raise Unauthorized(why)

    def _why_dead(self, known: _Known) -> str | None:
        bound = known.bound
        if self._accounts.account(bound.namespace, bound.serviceaccount.name) != bound.serviceaccount.uid:
            return f"the service account {bound.namespace}/{bound.serviceaccount.name} that the token was made for is gone"
        if bound.secret is not None and self._accounts.secret(bound.namespace, bound.secret.name) != bound.secret.uid:
            return f"the secret {bound.namespace}/{bound.secret.name} that the token is bound to is gone"
        return None

    def _meant(self, known: _Known, audiences: Sequence[str]) -> tuple[str, ...]:
        """Those of the audiences that the token is for. Raises Unauthorized when it is for none."""
        meant = tuple(audience for audience in audiences if audience in known.audiences)
        if not meant:
            raise Unauthorized(f"the token is for the audiences {list(known.audiences)}, not for {list(audiences)}")
        return meant


def _read(claims: dict[str, object], key_id: str, issuer: str) -> _Known:
    """The claims of a token whose signature holds. Raises Unauthorized when they are none that this server makes."""
    try:
        said = msgspec.convert(claims, _Claims)
    except msgspec.ValidationError:
        raise Unauthorized("the claims of the token are not those of a service account") from None
    bound, account = said.bound, said.bound.serviceaccount if said.bound else None
    if bound is None or account is None or said.iss != issuer or said.sub != user_of_account(bound.namespace, account.name):
        raise Unauthorized("the claims of the token are not those of a service account")
    extra = ((CREDENTIAL_ID, (f"JTI={said.jti}",)),)
    identity = service_account(bound.namespace, account.name, account.uid, extra)
    audiences = (said.aud,) if isinstance(said.aud, str) else said.aud
    return _Known(key_id, jwt.Times(said.exp, said.nbf, said.iat), audiences, bound, identity)
