"""A server with thousands of kinds: 2,000 definitions of three versions each, every one with a schema of some hundred lines.

Everything is measured from outside, on a real server: how long it takes from the POST of a definition until its kind answers, what
discovery costs when nobody has asked before, after a change, and when nothing has changed, what the server holds in memory, and how
long it takes to begin with all of that stored.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.client import LOOK, Connection, connections
from benchmarks.load import Broken
from benchmarks.servers import Server, folder, skep_in

KINDS, FEW = 2_000, 100
"""How many there are, and how many to see that it works."""
GROUPS = 100
VERSIONS = ("v1", "v1beta1", "v1alpha1")
ADDED = 20
"""Kinds that are added one by one to those that are there, and measured."""
COLD_MS, UNCHANGED_MS, ADD_MS, MEMORY_MB = 50.0, 5.0, 20.0, 400
"""What is wanted."""
AGAIN = 50
"""How often what has not changed is asked for."""
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
AGGREGATED = "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_TEXT = (
    "address alias backup bucket budget cache certificate channel class cluster condition config container controller cost "
    "credential database deadline delay device domain endpoint engine event exporter failure field filter gateway group handler "
    "header health host image index ingress interval issuer job key label lease level limit listener location log machine mapping "
    "member memory message metric mode monitor mount name network node object option owner partition path peer period plan policy "
    "pool port priority probe profile project protocol provider proxy queue quota rate record region registry release replica "
    "repository request resource retry role route rule schedule scope secret selector server service session setting shard size "
    "snapshot source stage state storage strategy subnet target task template tenant threshold token topic tunnel user value "
    "version volume watch weight window worker zone"
)
WORDS = _TEXT.split()


def definition(number: int) -> bytes:
    """A definition as it is sent; no two have the same schemas."""
    chance, name = random.Random(number), f"Kind{number}"
    group = f"group{number % GROUPS}.bench.example"
    versions = [
        {
            "name": version,
            "served": True,
            "storage": version == VERSIONS[0],
            "schema": {"openAPIV3Schema": _root(chance, name)},
            "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": "Ready", "type": "string", "jsonPath": ".status.phase"}],
        }
        for version in VERSIONS
    ]
    names = {"kind": name, "plural": f"kind{number}s", "singular": f"kind{number}", "shortNames": [f"k{number}"]}
    return json.dumps(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"kind{number}s.{group}"},
            "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
        }
    ).encode()


def collection(number: int, version: str = VERSIONS[0]) -> str:
    """Where the objects of a kind are."""
    return f"/apis/group{number % GROUPS}.bench.example/{version}/namespaces/default/kind{number}s"


def _root(chance: random.Random, name: str) -> dict[str, Any]:
    text = {"type": "string"}
    spec = _object(chance, 3)
    conditions = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {"type": "object", "required": ["type"], "properties": dict.fromkeys(("type", "status", "reason"), text)},
    }
    status = {"type": "object", "properties": {"phase": text, "conditions": conditions}}
    return {
        "type": "object",
        "description": f"{name} {_sentence(chance)}",
        "properties": {"apiVersion": text, "kind": text, "metadata": {"type": "object"}, "spec": spec, "status": status},
    }


def _object(chance: random.Random, depth: int) -> dict[str, Any]:
    names = chance.sample(WORDS, 4)
    properties = {f"{name}{chance.choice(WORDS).title()}": _field(chance, depth - 1) for name in names}
    return {"type": "object", "description": _sentence(chance), "properties": properties, "required": list(properties)[:1]}


def _field(chance: random.Random, depth: int) -> dict[str, Any]:
    said = {"description": _sentence(chance)}
    if depth and chance.random() < 0.7:
        inner = _object(chance, depth)
        return inner if chance.random() < 0.6 else {"type": "array", "items": inner, **said}
    return said | chance.choice(
        [
            {"type": "string", "maxLength": chance.randrange(20, 300)},
            {"type": "integer", "format": "int32", "minimum": 0, "default": chance.randrange(10)},
            {"type": "string", "enum": [word.title() for word in chance.sample(WORDS, 3)]},
            {"type": "boolean"},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ]
    )


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randrange(6, 25))).capitalize() + "."


def measure(count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All of it, with so many kinds."""
    with folder() as place:
        found = _defined(place, count, say)
        begun = time.monotonic()
        with skep_in(place) as again:
            found["start_s"] = round(time.monotonic() - begun, 2)
            found["start_cpu_s"] = round(again.cpu(), 2)
            found["start_mb"] = round(again.memory())
            say(f"it begins again after {found['start_s']} s, with {found['start_mb']} MB")
            return found | asyncio.run(_served(again, count, say))


def _defined(place: Path, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    samples = [definition(number) for number in range(20)]
    schemas = [version["schema"] for body in samples for version in json.loads(body)["spec"]["versions"]]
    lines = round(statistics.mean(json.dumps(schema, indent=1).count("\n") for schema in schemas))
    size = round(statistics.mean(map(len, samples)))
    with skep_in(place) as server:
        idle = server.memory()
        begun, cpu = time.monotonic(), server.cpu()
        asyncio.run(_define(server, iter(range(count))))
        seconds = time.monotonic() - begun
        say(f"{count} definitions of {size:,} bytes, {lines} lines for each schema, are there after {seconds:.1f} s")
        return {
            "kinds": count,
            "versions": len(VERSIONS),
            "bytes": size,
            "lines": lines,
            "define_s": round(seconds, 1),
            "define_cpu_ms": round((server.cpu() - cpu) * 1e3 / count, 2),
            "idle_mb": round(idle),
            "defined_mb": round(server.memory()),
        }


async def _define(server: Server, numbers: Iterator[int]) -> None:
    async def work(connection: Connection) -> None:
        for number in numbers:
            await connection.request("POST", DEFINITIONS, definition(number))

    async with connections(server.endpoint, 8) as opened:
        await asyncio.gather(*(work(connection) for connection in opened))


async def _served(server: Server, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """What discovery and a further kind cost. Discovery is cold twice: when nobody has asked, and when something has changed."""
    async with connections(server.endpoint, 1) as (connection,):
        while b" 200 " not in await connection.head("GET", "/readyz"):
            await asyncio.sleep(LOOK)
        turns = _Turns(server)
        await turns.take("cold", lambda: _ask(connection))
        for number in range(count, count + ADDED):
            body, path = definition(number), collection(number)
            await turns.take("add", lambda body=body, path=path: _add(connection, body, path))
            await turns.take("changed", lambda: _ask(connection))
        tag = _tag(await _ask(connection))
        for _ in range(AGAIN):
            await turns.take("unchanged", lambda: _unchanged(connection, tag))
        discovered = round(server.memory())
        for name, path in (("index", "/openapi/v3"), ("index_again", "/openapi/v3"), ("document", f"/openapi/v3{_place(1)}")):
            await turns.take(name, lambda path=path: connection.request("GET", path))
    found = turns.spread()
    say(f"discovery takes {found['cold']['p50_ms']} ms cold; a kind is added in {found['add']['p50_ms']} ms")
    return {**found, "discovered_mb": discovered, "after_mb": round(server.memory())}


class _Turns:
    """Takes the time, and the processor time of the server, of things that are done several times."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._taken: dict[str, list[tuple[float, float]]] = {}

    async def take(self, name: str, act: Callable[[], Awaitable[object]]) -> None:
        """Does it once."""
        cpu, begun = self._server.cpu_ms(), time.perf_counter()
        await act()
        ended = time.perf_counter()
        self._taken.setdefault(name, []).append(((ended - begun) * 1e3, self._server.cpu_ms() - cpu))

    def spread(self) -> dict[str, dict[str, float]]:
        """The medians in milliseconds, the worst, and the processor time."""
        found = {}
        for name, taken in self._taken.items():
            wall, cpu = zip(*taken, strict=True)
            median, worst, worked = statistics.median(wall), max(wall), statistics.median(cpu)
            found[name] = {"p50_ms": round(median, 2), "max_ms": round(worst, 2), "cpu_ms": round(worked, 2)}
        return found


async def _add(connection: Connection, body: bytes, path: str) -> None:
    """Sends a definition; returns when its kind has answered."""
    await connection.request("POST", DEFINITIONS, body)
    while b" 200 " not in await connection.head("GET", path):
        await asyncio.sleep(0)


async def _ask(connection: Connection) -> bytes:
    head, _ = await connection.ask("/apis", AGGREGATED)
    return head


def _tag(head: bytes) -> str:
    return next(line.partition(b":")[2].strip().decode() for line in head.splitlines() if line.lower().startswith(b"etag:"))


async def _unchanged(connection: Connection, tag: str) -> None:
    head, _ = await connection.ask("/apis", AGGREGATED, f"If-None-Match: {tag}")
    if head[9:12] != b"304":
        raise Broken(f"discovery did not say that it is unchanged: {head!r}")


def _place(number: int) -> str:
    return collection(number).partition("/namespaces")[0]


def notes(found: Mapping[str, Any]) -> list[str]:
    """What was measured, in sentences."""
    what = f"{found['kinds']:,} kinds of {found['versions']} versions, {found['lines']} lines for each schema"
    cold, changed, unchanged = (
        _said(found, *each) for each in (("cold", COLD_MS), ("changed", COLD_MS), ("unchanged", UNCHANGED_MS))
    )
    discovery = (
        f"aggregated discovery takes {cold} when nobody has asked, {changed} after a change, {unchanged} when it is unchanged."
    )
    index, again = found["index"]["p50_ms"], found["index_again"]["p50_ms"]
    more = (
        f"One more is there after {_said(found, 'add', ADD_MS)}. The index of OpenAPI takes {index} ms at first, {again} ms again."
    )
    most = max(found["defined_mb"], found["after_mb"])
    memory = f"{most} MB (wanted < {MEMORY_MB}: {'yes' if most < MEMORY_MB else 'NO'}; {found['idle_mb']} MB without them)"
    start = f"{found['start_s']} s ({found['start_cpu_s']} s of CPU), with {found['start_mb']} MB"
    begins = f"They take {memory}; a server that has them stored begins in {start}."
    return [f"Kinds: {what}: {discovery}", more, begins]


def _said(found: Mapping[str, Any], name: str, wanted: float) -> str:
    values = found[name]
    met = "yes" if values["p50_ms"] < wanted else "NO"
    return f"{values['p50_ms']} ms (p50; {values['cpu_ms']} ms of the server's CPU; wanted < {wanted:g}: {met})"
