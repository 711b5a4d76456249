"""The listening socket: bound before anything else is started, so that a port that is taken costs nothing."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket

from apiserver.config import Address, StartError

BACKLOG = 2048


def open_many() -> None:
    """Lets this process have as many open files as the system allows: each connection is one, and 1,024 is the usual limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # where the system's own limit is below what it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def bind(address: Address) -> tuple[socket.socket, Address]:
    """A listening socket, and the address that it has got (port 0 has become a number). StartError when the address cannot be had.

    An IPv6 address of all interfaces takes IPv4 as well.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise StartError(f"cannot listen on {address}: {address.host!r} is not an address of this machine", exit_code=2) from error
    family, kind, protocol, _, where = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(where)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _refused(address, error) from error
    return listener, Address(address.host, listener.getsockname()[1])


def _refused(address: Address, error: OSError) -> StartError:
    if error.errno == errno.EADDRINUSE:
        hint = "stop what listens there, or choose another with --listen HOST:PORT (port 0 takes any that is free)"
        return StartError(f"cannot listen on {address}: the port is taken", hint)
    if error.errno == errno.EACCES:
        return StartError(
            f"cannot listen on {address}: not permitted", "ports below 1024 are the system's; choose another with --listen"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return StartError(f"cannot listen on {address}: this machine does not have that address", exit_code=2)
    return StartError(f"cannot listen on {address}: {error.strerror}")
