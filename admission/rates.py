"""How often somebody may ask: token buckets. No clock: the caller says what time it is.

A bucket holds `burst` tokens and gets `per_second` new ones a second. A request takes one; when there is none it is refused, and
told when there will be. All that is kept of a bucket is the moment at which it is full again (the generic cell rate algorithm), so
a bucket that nobody has used for a while is as good as none, and may be forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType

import msgspec

from admission.identity import Identity


class Rate(msgspec.Struct, frozen=True):
    """Requests a second, and how many may come at once after a pause."""

    per_second: float
    burst: int


class Bucket:
    """One caller's tokens, all there at first."""

    __slots__ = ("_cost", "_depth", "_full_at", "burst")

    def __init__(self, rate: Rate) -> None:
        self.burst = rate.burst
        self._cost = 1.0 / rate.per_second  # seconds that a token takes to come
        self._depth = rate.burst * self._cost
        self._full_at = -math.inf

    def take(self, now: float) -> float | None:
        """Takes a token. Returns the seconds until the bucket is full again, None if there is no token."""
        full_at = self._full_at
        if full_at < now:  # noqa: PLR1730  # a call of max costs as much as all the rest
            full_at = now
        debt = full_at + self._cost - now
        if debt > self._depth + 1e-9:
            return None
        self._full_at = now + debt
        return debt

    def left(self, debt: float) -> int:
        """Whole tokens that are there while it will be full in `debt` seconds."""
        return int((self._depth - debt) / self._cost + 1e-6)

    def full_in(self, now: float) -> float:
        """Seconds until it is full."""
        return max(self._full_at - now, 0.0)

    def wait(self, now: float) -> float:
        """Seconds until there is a token."""
        return max(self.full_in(now) + self._cost - self._depth, 0.0)


class Rates:
    """Which rate is whose: that of the user name, if there is one; else the most generous one of the user's groups; else `default`.
    Who is nobody has `anonymous`, by address."""

    def __init__(
        self,
        default: Rate,
        anonymous: Rate,
        users: Mapping[str, Rate] = MappingProxyType({}),
        groups: Mapping[str, Rate] = MappingProxyType({}),
    ) -> None:
        self._default = default
        self.anonymous = anonymous
        self._users = dict(users)
        self._groups = dict(groups)

    def of(self, identity: Identity) -> Rate:
        """The rate of somebody who has shown a credential."""
        own = self._users.get(identity.username)
        if own is not None:
            return own
        shared = [self._groups[group] for group in identity.groups if group in self._groups]
        return max(shared, key=lambda rate: rate.per_second, default=self._default)


def neighbourhood(address: str) -> str:
    """Who is counted together: an address, or the network (/64) of one in IPv6, since there everybody has as many as they like. One
    of IPv4 in the form of IPv6 counts as that of IPv4. Whatever is no address is one and the same."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Address(int(found) >> 64 << 64))


def parse(entries: Iterable[str]) -> tuple[dict[str, Rate], dict[str, Rate]]:
    """The rates of users and of groups, out of `user:NAME=PER_SECOND/BURST` and `group:NAME=...`. Raises ValueError, which says
    which entry is wrong."""
    users: dict[str, Rate] = {}
    groups: dict[str, Rate] = {}
    for entry in entries:
        name, equals, said = entry.rpartition("=")
        kind, colon, who = name.partition(":")
        per_second, slash, burst = said.partition("/")
        if not (equals and colon and who and slash and kind in ("user", "group")):
            raise ValueError(f"{entry!r} is no rate: write user:NAME=PER_SECOND/BURST or group:NAME=PER_SECOND/BURST")
        try:
            rate = Rate(float(per_second), int(burst))
        except ValueError:
            raise ValueError(f"{entry!r}: {said!r} is not PER_SECOND/BURST, as 100/200") from None
        if not (0.001 <= rate.per_second <= 1e6 and 1 <= rate.burst <= 10**7):
            raise ValueError(f"{entry!r}: from 0.001 to 1000000 a second, and bursts from 1 to 10000000")
        (users if kind == "user" else groups)[who] = rate
    return users, groups
