"""What it costs to read objects in another version than the one that they are stored in: processor time of the server for each,
over HTTPS, against the same objects read in the version that they are stored in, in turns.

The first read converts; so many objects are read in turn that each is converted once. What they are converted to is remembered: the
second read, and every list after the first, finds it.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.client import Connection, connections
from benchmarks.parcels import parcel
from benchmarks.servers import Server

OBJECTS = 2_000
ROUNDS = 3
TWICE = 2.0
"""What the first read of an object may cost at most, as many times a read without conversion."""
STORED, OTHER = "v1", "v1beta1"
LISTS = 10
"""Lists of all objects of a round that are asked for in one turn."""


def path(version: str, namespace: str) -> str:
    """Where the objects are."""
    return f"/apis/bench.example.com/{version}/namespaces/{namespace}/crates"


async def _each(opened: Sequence[Connection], method: str, paths: Sequence[tuple[str, bytes]]) -> None:
    waiting = iter(paths)

    async def work(connection: Connection) -> None:
        for where, body in waiting:
            await connection.request(method, where, body)

    await asyncio.gather(*(work(connection) for connection in opened))


async def _measured(server: Server) -> dict[str, list[float]]:
    """CPU microseconds for each object, of every turn."""
    found: dict[str, list[float]] = {}
    async with connections(server.endpoint, 16) as opened:

        async def turn(name: str, method: str, paths: Sequence[tuple[str, bytes]], objects: int) -> None:
            before = server.cpu()
            await _each(opened, method, paths)
            found.setdefault(name, []).append((server.cpu() - before) * 1e6 / objects)

        for round_ in range(ROUNDS):
            namespace, listed = f"crates-{round_}", f"listed-{round_}"
            names = [f"crate-{number}" for number in range(OBJECTS)]
            for each in (namespace, listed):
                await opened[0].request("POST", "/api/v1/namespaces", b'{"metadata":{"name":"%b"}}' % each.encode())
                await _each(opened, "POST", [(path(STORED, each), parcel(name, "nothing", "Crate")) for name in names])
            plain = [(f"{path(STORED, namespace)}/{name}", b"") for name in names]
            other = [(f"{path(OTHER, namespace)}/{name}", b"") for name in names]
            await _each(opened, "GET", plain[: OBJECTS // 10])
            await turn("plain", "GET", plain, OBJECTS)
            await turn("first", "GET", other, OBJECTS)
            await turn("again", "GET", other, OBJECTS)
            await turn("listed_first", "GET", [(path(OTHER, listed), b"")], OBJECTS)
            for name, version in (("listed_plain", STORED), ("listed_again", OTHER)):
                await turn(name, "GET", [(path(version, listed), b"")] * LISTS, OBJECTS * LISTS)
    return found


def measure(server: Server, say: Callable[[str], None]) -> dict[str, Any]:
    """Microseconds of CPU for each object, and their ratios."""
    cost = {name: statistics.median(values) for name, values in asyncio.run(_measured(server)).items()}
    found: dict[str, Any] = {name: round(value, 1) for name, value in cost.items()}
    found["first_ratio"] = round(cost["first"] / cost["plain"], 2)
    found["again_ratio"] = round(cost["again"] / cost["plain"], 2)
    found["list_ratio"] = round(cost["listed_again"] / cost["listed_plain"], 2) if cost["listed_plain"] else 0.0
    say(f"conversion: the first read costs {found['first_ratio']} of a plain one, the next {found['again_ratio']}")
    return found


def note(found: dict[str, Any]) -> str:
    """A line of the report."""
    met = "yes" if found["first_ratio"] < TWICE else "NO"
    return (
        f"Conversion: a get takes {found['plain']} us of CPU in the version that the object is stored in, and in another one "
        f"{found['first']} us at first ({found['first_ratio']} times, wanted < {TWICE:g}: {met}) and {found['again']} us from then "
        f"on ({found['again_ratio']} times); in a list, each object {found['listed_plain']} us, in another version "
        f"{found['listed_first']} us at first and {found['listed_again']} us from then on ({found['list_ratio']} times)."
    )
