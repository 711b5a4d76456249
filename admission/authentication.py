"""Who a request is from: the chain of those who know credentials, and what becomes of a request that nobody knows.

What it promises:

* **One credential counts.** A request shows one in `Authorization` or in `X-API-Key`, once; two of them, or one of them twice, are
  refused, whatever they are: what a proxy in front looked at and what is looked at here are one. No other header says who asks.
* **A header goes before the certificate of the connection**, and a bad one is never covered by a good certificate: who connects may
  pass on the requests of others.
* **The first that knows it answers.** "Not mine" goes on to the next; "mine, and bad" is the end, and so is a credential that
  nobody knows. Who shows none is `system:anonymous`, where that is allowed.
* **Failures cost whoever fails.** Each address may fail so often; then it is told to come back later. A credential that is good is
  good from there too: many people share an address.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from admission.identity import NOBODY, Authenticator, Credentials, Identity
from admission.rates import Bucket, Rate, neighbourhood
from registry.errors import ApiError, TooManyRequests, Unauthorized

Anonymous = Literal["off", "health", "on"]

PUBLIC = ("/version", "/healthz", "/livez", "/readyz")
"""Paths, with all below them, that tell nobody anything but that a server is there, and how it is."""


REMEMBERED = 4_096
"""Credentials of which it is remembered who knew them."""
TELL_EVERY = 60.0
"""Seconds between two times that it is told that logins are slowed."""


def is_public(path: str) -> bool:
    """Whether a path, percent-decoded, is one that everybody may ask for by default."""
    return below(path, PUBLIC)


def below(path: str, roots: tuple[str, ...]) -> bool:
    """Whether a path is one of these, or below one of them."""
    return path.startswith(roots) and any(path == each or path.startswith(f"{each}/") for each in roots)


class Failures:
    """Counts the logins that failed, by address: a token bucket for each, in a table of a bounded size.

    What counts together is a `neighbourhood`.
    """

    def __init__(
        self,
        burst: int,
        per_second: float,
        now: Callable[[], float],
        *,
        most: int = 10_000,
        tell: Callable[[str], None] = lambda _address: None,
    ) -> None:
        """`burst` may fail at once, then `per_second`. `now` is in seconds and never goes back; `most` addresses are remembered.

        `tell` is called with an address that is slowed, once in `TELL_EVERY` seconds, whichever it is.
        """
        self._rate = Rate(per_second, burst)
        self._now = now
        self._most = most
        self._tell = tell
        self._told_at = -TELL_EVERY
        self._buckets: dict[str, Bucket] = {}  # who failed last stands last
        self.total = 0  # logins that failed, ever
        self.slowed = 0  # and of these: those that were told to come back later

    def failed(self, address: str) -> float:
        """Counts a failure. The seconds until the next one is answered as such; 0: this one may be."""
        self.total += 1
        now, key = self._now(), neighbourhood(address)
        bucket = self._buckets[key] = self._buckets.pop(key) if key in self._buckets else Bucket(self._rate)
        if len(self._buckets) > self._most:
            del self._buckets[next(iter(self._buckets))]
        if bucket.take(now) is not None:
            return 0.0
        self.slowed += 1
        if now - self._told_at >= TELL_EVERY:
            self._told_at = now
            self._tell(key)
        return bucket.wait(now)


class AuthenticatorChain:
    """See the module. Implements `Authenticator`; never answers None."""

    def __init__(
        self, authenticators: Sequence[Authenticator], *, anonymous: Anonymous = "health", failures: Failures | None = None
    ) -> None:
        self._authenticators = tuple(authenticators)
        self._anonymous = anonymous
        self._failures = failures
        self._whose: dict[int, Authenticator] = {}  # who knew what was shown last, by its hash: whom to ask first

    async def authenticate(self, credentials: Credentials) -> Identity:
        """Who it is. Raises Unauthorized, and TooManyRequests for who has failed too often."""
        try:
            return await self._known(credentials)
        except Unauthorized:
            if self._failures is not None and shows(credentials):
                self._count(self._failures, credentials.address)
            raise

    async def holds(self, credentials: Credentials) -> bool:
        """Whether a credential that was good still is; also yes when that cannot be told now. It is no login: it counts nowhere."""
        try:
            await self._known(credentials)
        except Unauthorized:
            return False
        except ApiError:
            return True
        return True

    async def _known(self, credentials: Credentials) -> Identity:
        headers = credentials.headers
        authorization, key = headers.get(b"authorization"), headers.get(b"x-api-key")
        if authorization is not None or key is not None:
            if (authorization is not None and key is not None) or b"," in (authorization or key or b""):
                raise Unauthorized
            if credentials.certificate is not None:
                credentials = Credentials(headers, credentials.address, None, credentials.path)
        elif credentials.certificate is None:
            if self._anonymous == "on" or (self._anonymous == "health" and is_public(credentials.path)):
                return NOBODY
            raise Unauthorized
        shown = hash(authorization or key or credentials.certificate)
        known = self._whose.get(shown)
        if known is not None:  # no two know the same credential, so the order says nothing of a good one
            try:
                identity = await known.authenticate(credentials)
            except ApiError:
                identity = None
            if identity is not None:
                return identity
            self._whose.pop(shown, None)
        return await self._asked(shown, credentials)

    async def _asked(self, shown: int, credentials: Credentials) -> Identity:
        """The answer of the first that knows such a credential."""
        for authenticator in self._authenticators:
            identity = await authenticator.authenticate(credentials)
            if identity is not None:
                if len(self._whose) >= REMEMBERED:
                    self._whose.clear()
                self._whose[shown] = authenticator
                return identity
        raise Unauthorized

    def _count(self, failures: Failures, address: str) -> None:
        seconds = math.ceil(failures.failed(address))
        if seconds:
            raise TooManyRequests(
                f"too many failed logins from this address: try again in {seconds} s, with a credential that holds",
                details={"retryAfterSeconds": seconds},
                headers=[("retry-after", str(seconds))],
            ) from None


def shows(credentials: Credentials) -> bool:
    """Whether there is a credential, good or bad."""
    headers = credentials.headers
    return credentials.certificate is not None or b"authorization" in headers or b"x-api-key" in headers
