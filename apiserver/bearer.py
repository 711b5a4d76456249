"""The token that a runner of actors shows: where it comes from, whose it is, and how it is renewed before it ends.

What it promises:

* A token in a file is read again for every request, so that whoever renews the file need tell nobody.
* Whose a token is can be seen from it (the claim `sub`); that is for deciding what else to send, and nobody is let in by it.
* A token of a service account is renewed by TokenRequest when four fifths of its life are over, if its account may. What is renewed
  stays in memory, and a file that changes goes before it. When it may not, the log says when the token will end.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from random import Random
from typing import Any, Protocol
from urllib.parse import quote

import anyio
import anyio.to_thread
import msgspec

from actors.clock import Clock, sleep_until
from actors.recorder import Log, presentable
from admission import jwt
from apiserver.kubeconfig_read import Credentials
from registry.actors import SERVICE_ACCOUNT
from registry.errors import ApiError, ServiceUnavailable
from registry.times import format_time

Document = dict[str, Any]
RENEW_AT = 0.8
"""At which part of its life a token is renewed. Kubernetes: the same."""
AGAIN = 60.0
"""Seconds until it is tried again, and between two looks at a file."""
SHORTEST = 600
_TOKEN = re.compile(r"[\x21-\x7e]+").fullmatch


class Claims(msgspec.Struct, frozen=True, rename={"bound": "kubernetes.io"}):
    """What a token says of itself."""

    sub: str = ""
    exp: float | None = None
    iat: float | None = None
    aud: str | tuple[str, ...] = ()
    bound: Document = {}

    @property
    def account(self) -> tuple[str, str] | None:
        """Namespace and name of the service account that it is of; None if it is not of one."""
        if not self.sub.startswith(SERVICE_ACCOUNT):
            return None
        namespace, _, name = self.sub[len(SERVICE_ACCOUNT) :].partition(":")
        return (namespace, name) if namespace and name else None


NOTHING = Claims()


class Bearer:
    """The token as it is now. `credentials` say where it comes from."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._given = credentials.token  # as it was last found
        self._renewed = ""  # goes before it, until it changes
        self._read: tuple[str, Claims] = ("", NOTHING)

    async def token(self) -> str:
        """The token; empty, if the credential is another one. Raises ServiceUnavailable when its file cannot be read."""
        file = self._credentials.token_file
        if file is not None:
            given = await anyio.to_thread.run_sync(self._content, file)
            if given != self._given:
                self._given, self._renewed = given, ""
        return self._renewed or self._given

    def _content(self, file: Path) -> str:
        try:
            content = self._credentials.bearer()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise ServiceUnavailable(f"{file}: cannot be read: {why}") from None
        if not _TOKEN(content):  # a header would not hold it, and whoever says so would show it
            raise ServiceUnavailable(f"{file}: there is no token in it, or more than one")
        return content

    async def claims(self) -> Claims:
        """What the token says of itself; nothing, if it is none that says anything."""
        return self.claims_of(await self.token())

    def claims_of(self, token: str) -> Claims:
        """What a token says of itself."""
        if self._read[0] != token:
            self._read = (token, claims_of(token))
        return self._read[1]

    def renew(self, token: str) -> None:
        """From now on this one, until there is another one in the file."""
        self._renewed = token


class Api(Protocol):
    """What is needed of `apiserver.remote.Api` to ask for a token."""

    async def send(self, method: str, path: str, body: Document) -> Document: ...


def claims_of(token: str) -> Claims:
    """What a token says of itself, whoever made it."""
    try:
        said = jwt.unverified_claims(token.encode("ascii"))
        return NOTHING if said is None else msgspec.convert(said, Claims)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return NOTHING


async def keep_fresh(bearer: Bearer, api: Api, clock: Clock, chance: Random, log: Log) -> None:
    """Renews the token whenever it is time. Never returns; does nothing for a credential that does not end, or is no account's."""
    told = ""
    while True:
        claims, pause = NOTHING, AGAIN
        try:
            claims = await bearer.claims()
            due = _due_in(claims, clock.time(), chance)
            if due <= 0:
                bearer.renew(await _renewed(claims, api))
                told = ""
                log.info("the token was renewed", account=claims.sub)
            else:
                pause = min(due, AGAIN)
        except ApiError as error:
            if told != error.message:
                told = error.message
                ends = {} if claims.exp is None else {"ends": format_time(claims.exp)}
                log.warning("the token cannot be renewed", error=presentable(error.message), **ends)
        await sleep_until(clock, clock.now() + pause)


def _due_in(claims: Claims, now: float, chance: Random) -> float:
    """Seconds until it is to be renewed. Many runners do not do it at once."""
    if claims.account is None or claims.exp is None or claims.iat is None:
        return math.inf
    life = claims.exp - claims.iat
    return claims.iat + life * (RENEW_AT - 0.05 * chance.random()) - now


async def _renewed(claims: Claims, api: Api) -> str:
    """A token like that one. Raises ApiError."""
    namespace, name = claims.account or ("", "")
    secret = claims.bound.get("secret")
    reference = {"kind": "Secret", "apiVersion": "v1", **secret} if isinstance(secret, dict) else None
    spec = {
        "audiences": [claims.aud] if isinstance(claims.aud, str) else list(claims.aud),
        "expirationSeconds": max(int((claims.exp or 0) - (claims.iat or 0)), SHORTEST),
        "boundObjectRef": reference,
    }
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/serviceaccounts/{quote(name, safe='')}/token"
    token = (await api.send("POST", path, body)).get("status", {}).get("token")
    if not isinstance(token, str) or not token:
        raise ServiceUnavailable("the server answered without a token")
    return token
