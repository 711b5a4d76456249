"""Signed webhook requests: how this server signs them, and how who receives them finds out that they are genuine, new, and not seen
before.

    Webhook-Id: 5b0f...                      of this one request
    Webhook-Timestamp: 1767225600            seconds since 1970
    Webhook-Signature: sha256=2c26...        HMAC-SHA256 over `TIMESTAMP.BODY`, in hex; with two secrets there are two, with a comma

A receiver:

    verifier = Verifier([secret])
    verifier.verify(request.headers, body, time.time())      # raises Refused

What the verifier promises: it takes each signed request once. A request is told apart by its signature, not by its id: the id is
not signed, so that a replay could give itself another one. What is older, or farther in the future, than the tolerance is refused;
so memory is bounded by time, and besides by number: when too many are remembered, the oldest are forgotten, and nothing as old as
they is taken any more, also when the clock is set back.

To change a secret: sign with both (the server), take the new one alone (each receiver), sign with the new one alone.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from heapq import heappop, heappush

ID, TIMESTAMP, SIGNATURE = "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"
SHORTEST = 16
"""Bytes of a secret. A shorter one could be guessed from one signed request."""
TOLERANCE = 300.0
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII).fullmatch
_MOST_SIGNATURES = 8


class Refused(Exception):
    """A request is not taken. The message says why; it repeats nothing of what was sent."""


def headers(secrets: Sequence[bytes], body: bytes, now: float, identifier: str) -> dict[str, str]:
    """The headers of a request that is signed with every one of the secrets."""
    timestamp = str(int(now))
    signed = ",".join(f"sha256={_mac(_checked(secret), timestamp, body).hex()}" for secret in secrets)
    return {ID: identifier, TIMESTAMP: timestamp, SIGNATURE: signed}


class Verifier:
    """Checks the requests that one receiver gets. Any one of `secrets` is good. Not for several threads at once.

    A receiver that runs as several processes has a memory in each: a replay is taken once by each of them.
    """

    def __init__(self, secrets: Iterable[bytes], *, tolerance: float = TOLERANCE, remembered: int = 100_000) -> None:
        """`tolerance` is in seconds, `remembered` the most requests that are kept in mind. ValueError: no secret, or a short
        one."""
        self._secrets = [_checked(secret) for secret in secrets]
        if not self._secrets:
            raise ValueError("a verifier needs a secret")
        self._tolerance = tolerance
        self._remembered = remembered
        self._seen: set[bytes] = set()
        self._by_time: list[tuple[int, bytes]] = []  # a heap: the oldest first
        self._floor = -1  # nothing from this second or before is taken: it may have been forgotten

    def verify(self, headers: Mapping[str, str], body: bytes, now: float) -> str:
        """The id of the request, when it may be taken. Raises Refused. `headers` are looked up in any case of letters."""
        sent = {name.lower(): value for name, value in headers.items()}
        timestamp, signatures = sent.get(TIMESTAMP.lower(), ""), sent.get(SIGNATURE.lower(), "")
        if not timestamp or not signatures:
            raise Refused(f"the request is not signed: it has no {TIMESTAMP if not timestamp else SIGNATURE}")
        if not _SECONDS(timestamp):
            raise Refused(f"{TIMESTAMP} is not a number of seconds")
        if not self._genuine(timestamp, signatures, body):
            raise Refused(f"{SIGNATURE} is not that of this body and this {TIMESTAMP} by any secret that is known here")
        self._once(int(timestamp), sha256(timestamp.encode() + b"." + body).digest(), now)
        return sent.get(ID.lower(), "")

    def _genuine(self, timestamp: str, signatures: str, body: bytes) -> bool:
        sent = [part.strip().encode(errors="replace") for part in signatures.split(",", _MOST_SIGNATURES)[:_MOST_SIGNATURES]]
        wanted = [f"sha256={_mac(secret, timestamp, body).hex()}".encode() for secret in self._secrets]
        return any(hmac.compare_digest(one, other) for one in sent for other in wanted)

    def _once(self, at: int, digest: bytes, now: float) -> None:
        while self._by_time and self._by_time[0][0] < now - self._tolerance:
            self._forget()
        if abs(now - at) > self._tolerance:
            raise Refused(f"{TIMESTAMP} is more than {self._tolerance:g} s away from now: the request is old, or clocks differ")
        if digest in self._seen:
            raise Refused("the request was received before")
        if at <= self._floor:
            raise Refused("the request is older than what is still remembered")
        self._seen.add(digest)
        heappush(self._by_time, (at, digest))
        if len(self._by_time) > self._remembered:
            self._forget()

    def _forget(self) -> None:
        """The oldest."""
        self._floor, forgotten = heappop(self._by_time)
        self._seen.discard(forgotten)


def _mac(secret: bytes, timestamp: str, body: bytes) -> bytes:
    mac = hmac.new(secret, timestamp.encode(), sha256)
    mac.update(b".")
    mac.update(body)
    return mac.digest()


def _checked(secret: bytes) -> bytes:
    if len(secret) < SHORTEST:
        raise ValueError(f"a secret for signatures has at least {SHORTEST} bytes")
    return secret
