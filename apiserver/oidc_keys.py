"""Asks an OpenID Connect issuer for its keys (OpenID Connect Discovery, section 4; RFC 7517), and keeps them.

What it promises:

* The issuer is asked by one task, when somebody needs it: keys are missing, or older than `refresh`. Nobody whose key is known
  waits.
* A key that is not known makes it ask at once, but not more often than every `AGAIN` seconds, whatever tokens are shown. Whoever
  waits for an answer waits `PATIENCE` seconds at most.
* When the issuer does not answer, the last keys go on for `stale` seconds, and it is asked ever less often, up to once a minute.
* It is asked over TLS alone, follows no redirect, reads no more than `LARGEST` bytes, and takes no longer than `SECONDS`.
* Symmetric keys, keys that are not for signatures, and RSA keys that are too short, or so long that they cost too much, are left
  out.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import httpx
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import base64_to_int

from admission.jwt import PublicKey

AGAIN = 10.0
PATIENCE = 5.0
SECONDS = 10.0
LARGEST = 512 * 1024
LONGEST_PAUSE = 60.0
MOST_KEYS = 100
RSA_BITS = (2048, 16_384)
"""From how many bits (NIST SP 800-131A) to how many an RSA key is used."""
FITS = {"RS": ("RSA",), "PS": ("RSA",), "ES": ("EC",), "Ed": ("OKP",)}
"""Types of keys by how the name of an algorithm begins."""


class Log(Protocol):
    """Where it is told what the issuer does."""

    def info(self, event: str, /, **values: Any) -> object: ...
    def warning(self, event: str, /, **values: Any) -> object: ...


@dataclass(frozen=True, slots=True)
class Published:
    """Keys, and when they were got (in the time of the clock that does not go back)."""

    keys: tuple[PublicKey, ...]
    at: float


class DiscoveredKeys:
    """Implements `admission.oidc.IssuerKeys`. `run` has to run; `now` is a time in seconds that does not go back."""

    def __init__(
        self,
        issuer: str,
        context: ssl.SSLContext,
        log: Log,
        now: Callable[[], float],
        *,
        refresh: float = 600.0,
        stale: float = 86_400.0,
    ) -> None:
        self._issuer = issuer
        self._context = context
        self._log = log
        self._now = now
        self._refresh = refresh
        self._stale = stale
        self._published: Published | None = None
        self._failures = 0
        self._not_before = 0.0  # the issuer is not asked before
        self._wanted = asyncio.Event()
        self._turn = asyncio.Event()  # set when the attempt that is next, or under way, is over; then there is a new one

    async def find(self, key_id: str, algorithm: str) -> PublicKey | None:
        """See `IssuerKeys`."""
        published = self._usable()
        found = _pick(published.keys, key_id, algorithm) if published is not None else None
        if published is not None and found is not None:
            if self._now() - published.at > self._refresh and self._now() >= self._not_before:
                self._wanted.set()
            return found
        return await self._asked(key_id, algorithm)

    async def renewed(self, key: PublicKey, algorithm: str) -> PublicKey | None:
        """See `IssuerKeys`."""
        found = await self._asked("", algorithm)
        return None if found is key else found

    async def _asked(self, key_id: str, algorithm: str) -> PublicKey | None:
        """The key, once the issuer has been asked; None at once, if it was asked a moment ago."""
        if self._now() < self._not_before:
            return None
        turn = self._turn
        self._wanted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await turn.wait()
        published = self._usable()
        return _pick(published.keys, key_id, algorithm) if published is not None else None

    def holds(self, key: PublicKey) -> bool:
        """See `IssuerKeys`. Keys that are due to be asked for again are asked for again."""
        published = self._usable()
        if published is None or not any(key is each for each in published.keys):
            return False
        if self._now() - published.at > self._refresh and self._now() >= self._not_before:
            self._wanted.set()
        return True

    async def run(self) -> None:
        """Asks the issuer whenever that is wanted. For ever."""
        async with httpx.AsyncClient(verify=self._context, follow_redirects=False, timeout=SECONDS, trust_env=False) as http:
            while True:
                await self._wanted.wait()
                await self._ask(http)
                self._wanted.clear()
                self._turn.set()
                self._turn = asyncio.Event()

    def _usable(self) -> Published | None:
        published = self._published
        return published if published is not None and self._now() - published.at <= self._stale else None

    async def _ask(self, http: httpx.AsyncClient) -> None:
        try:
            with anyio.fail_after(SECONDS):
                keys = await _discovered(http, self._issuer)
        except Exception as error:  # whatever the issuer sends, the server goes on
            self._failures += 1
            pause = min(AGAIN * 2 ** (self._failures - 1), LONGEST_PAUSE)
            self._not_before = self._now() + pause
            why = str(error) or type(error).__name__
            self._log.warning("the keys of the OpenID Connect issuer cannot be had", issuer=self._issuer, error=why, pause=pause)
            return
        self._failures = 0
        self._not_before = self._now() + AGAIN
        before = self._published.keys if self._published is not None else ()
        self._published = Published(_kept(before, keys), self._now())
        if self._published.keys != before:
            self._log.info("the OpenID Connect issuer has published keys", issuer=self._issuer, keys=len(keys))


class Refused(Exception):
    """What the issuer answered is not what an issuer answers."""


def context_of(ca: str | None) -> ssl.SSLContext:
    """What the issuer's certificate is checked by: these certificates (PEM), or the system's. ValueError."""
    try:
        return ssl.create_default_context(cadata=ca) if ca is not None else ssl.create_default_context()
    except ssl.SSLError as error:
        raise ValueError(f"there is no PEM certificate in it: {error.reason}") from None


async def _discovered(http: httpx.AsyncClient, issuer: str) -> tuple[PublicKey, ...]:
    """The keys of an issuer. Raises Refused, and what httpx raises."""
    document = await _fetched(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise Refused(f"it says that it is another issuer: {str(document.get('issuer'))[:200]!r}")
    where = document.get("jwks_uri")
    if not isinstance(where, str) or not where.startswith("https://"):
        raise Refused(f"its jwks_uri is no https:// URL: {str(where)[:200]!r}")
    listed = (await _fetched(http, where)).get("keys")
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise Refused(f"its keys are no list, or more than {MOST_KEYS}")
    keys = tuple(key for each in listed if (key := read_key(each)) is not None)
    if not keys:
        raise Refused("it publishes no key that can be used")
    return keys


async def _fetched(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    async with http.stream("GET", url, headers={"Accept": "application/json", "Accept-Encoding": "identity"}) as response:
        if response.status_code != 200:
            raise Refused(f"{url} is answered with {response.status_code}")
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > LARGEST:
                raise Refused(f"{url} is answered with more than {LARGEST} bytes")
    try:
        return msgspec.json.decode(bytes(content), type=dict[str, Any])
    except msgspec.MsgspecError:
        raise Refused(f"{url} is answered with no JSON object") from None


PARTS = ("kty", "kid", "alg", "n", "e", "crv", "x", "y")
"""What is read of a published key. Of the rest nothing is needed."""
CURVES = ("P-256", "P-384", "P-521", "Ed25519", "Ed448")


def read_key(published: object) -> PublicKey | None:
    """A key as an issuer publishes it; None for one that no token may be checked by."""
    if not isinstance(published, dict) or published.get("use", "sig") != "sig":
        return None
    parts: dict[str, str | list[str]] = {
        name: value for name, value in published.items() if name in PARTS and isinstance(value, str)
    }
    kinds: dict[object, type[ECKey | RSAKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    kind = kinds.get(parts.get("kty"))
    try:
        if kind is None or not (_fit_for_rsa(parts) if kind is RSAKey else parts.get("crv") in CURVES):
            return None
        return kind.import_key(parts)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _fit_for_rsa(parts: Mapping[str, str | list[str]]) -> bool:
    """Whether modulus and exponent are such as a key has."""
    modulus, exponent = (base64_to_int(str(parts[name])) for name in ("n", "e"))
    low, high = RSA_BITS
    return low <= modulus.bit_length() <= high and exponent.bit_length() <= 64


def _pick(keys: Sequence[PublicKey], key_id: str, algorithm: str) -> PublicKey | None:
    """The key of a name that fits an algorithm; without a name, the only one that fits."""
    fitting = [key for key in keys if key.key_type in FITS[algorithm[:2]] and key.get("alg", algorithm) == algorithm]
    if key_id:
        return next((key for key in fitting if key.kid == key_id), None)
    return fitting[0] if len(fitting) == 1 else None


def _kept(before: Sequence[PublicKey], now: Sequence[PublicKey]) -> tuple[PublicKey, ...]:
    """The keys of now; one that was there before stays the same object, so that what it signed is still known."""
    return tuple(next((old for old in before if old == key), key) for key in now)
