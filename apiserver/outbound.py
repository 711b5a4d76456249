"""Where the server connects to when somebody else says where: the way out for webhooks.

What it promises: a host is looked up once, and the address that was checked is the one that is connected to, so that a name cannot
be one thing when it is looked at and another when it is used (DNS rebinding). Addresses that are not public - loopback, private
networks, link-local (where clouds keep their metadata), multicast, and IPv6 forms of such - are refused unless a network of the
configuration holds them. Nobody's proxies are used, and no redirect is followed here.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

import anyio
import httpcore
from anyio import to_thread

Ip = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int, anyio.CapacityLimiter], Awaitable[Sequence[str]]]
"""The addresses of a host, the preferred first. Raises OSError. The limiter is for threads that wait for a name server."""

NAT64 = IPv6Network("64:ff9b::/96")
COMPATIBLE = IPv6Network("::/96")
NOT_PUBLIC: tuple[Network, ...] = tuple(
    ip_network(each)
    for each in ("168.63.129.16/32", "192.0.0.0/24", "64:ff9b:1::/48", "100::/64", "fec0::/10", "3fff::/20", "5f00::/16")
)
"""What one version of `ipaddress` or another takes for public: metadata of clouds, and what IANA keeps for special use."""


LOOKUPS = 2
"""Threads in which one webhook's host may be looked up at the same time: name servers that do not answer hold up nobody else."""
ELSEWHERE_SECONDS = 2.0
"""How long an address may take to be connected to while there are others."""


class AddressRefused(OSError):
    """The server does not connect to where it was told to."""


class Place(NamedTuple):
    """Where a service is, as the configuration says. Without a port, it is that of the service."""

    host: str
    port: int | None


class Networks:
    """Which addresses may be connected to."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """`allowed` are networks in CIDR form, or single addresses. ValueError: one is neither."""
        self._allowed: tuple[Network, ...] = tuple(ip_network(each) for each in allowed)

    def permit(self, address: str) -> bool:
        """Whether an address is public, or in an allowed network. One that stands for another is judged as that one."""
        try:
            ip = _meant(ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        if any(ip in network for network in self._allowed if network.version == ip.version):
            return True
        special = any(ip in network for network in NOT_PUBLIC if network.version == ip.version)
        return ip.is_global and not (ip.is_multicast or ip.is_reserved or special)


def _meant(ip: Ip) -> Ip:
    """The IPv4 address that an IPv6 address leads to, if it is one of those."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in NAT64 or (ip in COMPATIBLE and int(ip) > 1):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or ip


async def looked_up(host: str, port: int, limiter: anyio.CapacityLimiter) -> Sequence[str]:
    """The addresses that the system knows of a host. A thread that waits for it cannot be stopped, and is left alone."""

    def look_up() -> Sequence[str]:
        return [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    return await to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=limiter)


class Outbound(httpcore.AsyncNetworkBackend):
    """Connects to a host at an address that is permitted, or to where the configuration says that it is."""

    def __init__(self, networks: Networks, resolve: Resolve, place: Place | None = None) -> None:
        """With a `place`, everything is connected to there, without a check: the configuration's word is its owner's."""
        self._networks = networks
        self._resolve = resolve
        self._place = place
        self._tcp = httpcore.AnyIOBackend()
        self._lookups = anyio.CapacityLimiter(LOOKUPS)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first of the host's permitted addresses that takes one. Raises ConnectError, AddressRefused."""
        addresses, port = await self._addresses(host, port)
        failed: Exception | None = None
        for address in addresses:
            patience = timeout if address is addresses[-1] else ELSEWHERE_SECONDS
            try:
                return await self._tcp.connect_tcp(address, port, patience, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError(f"{host} has no address")

    async def _addresses(self, host: str, port: int) -> tuple[Sequence[str], int]:
        if self._place is not None:
            found = await self._found(self._place.host, self._place.port or port)
            return found, self._place.port or port
        found = await self._found(host, port)
        permitted = [address for address in found if self._networks.permit(address)]
        if found and not permitted:
            raise AddressRefused(
                f"{host} is at {', '.join(found[:4])}, which is no public address; if it may be connected to, add its network to "
                "the server's setting webhooks.allow"
            )
        return permitted, port

    async def _found(self, host: str, port: int) -> Sequence[str]:
        try:
            return await self._resolve(host, port, self._lookups)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be looked up: {error}") from error
        except UnicodeError as error:
            raise httpcore.ConnectError(f"{host} is no host name") from error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise AddressRefused(f"{path} is no address on a network")

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await anyio.sleep(seconds)
