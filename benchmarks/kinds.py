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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.client import Connection, connections
from benchmarks.servers import Server, folder, skep_in

KINDS = 2_000
GROUPS = 100
VERSIONS = ("v1", "v1beta1", "v1alpha1")
ADDED = 20
"""Kinds that are added one by one to those that are there, and measured."""
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
    names = chance.sample(WORDS, 5)
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


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """All of it."""
    with folder() as place:
        found = _defined(place, say)
        begun = time.monotonic()
        with skep_in(place) as again:
            found["start_s"] = round(time.monotonic() - begun, 2)
            found["start_mb"] = round(again.memory())
            say(f"it begins again after {found['start_s']} s, with {found['start_mb']} MB")
            return found | asyncio.run(_served(again, say))


def _defined(place: Path, say: Callable[[str], None]) -> dict[str, Any]:
    body = definition(0)
    lines = len(json.dumps(json.loads(body)["spec"]["versions"][0]["schema"], indent=1).splitlines())
    with skep_in(place) as server:
        idle = server.memory()
        begun, cpu = time.monotonic(), server.cpu()
        asyncio.run(_define(server, iter(range(KINDS))))
        seconds = time.monotonic() - begun
        say(f"{KINDS} definitions of {len(body):,} bytes, {lines} lines for each schema, are there after {seconds:.1f} s")
        return {
            "kinds": KINDS,
            "versions": len(VERSIONS),
            "bytes": len(body),
            "lines": lines,
            "define_s": round(seconds, 1),
            "define_cpu_ms": round((server.cpu() - cpu) * 1e3 / KINDS, 2),
            "idle_mb": round(idle),
            "defined_mb": round(server.memory()),
        }


async def _define(server: Server, numbers: Iterator[int]) -> None:
    async def work(connection: Connection) -> None:
        for number in numbers:
            await connection.request("POST", DEFINITIONS, definition(number))

    async with connections(server.endpoint, 8) as opened:
        await asyncio.gather(*(work(connection) for connection in opened))


async def _served(server: Server, say: Callable[[str], None]) -> dict[str, Any]:
    """What discovery and a further kind cost. Discovery is cold twice: when nobody has asked, and when something has changed."""
    async with connections(server.endpoint, 1) as (connection,):
        cold, size = await _asked(connection)
        added, changed = [], []
        for number in range(KINDS, KINDS + ADDED):
            added.append(await _add(connection, number))
            changed.append((await _asked(connection))[0])
        unchanged = [await _unchanged(connection) for _ in range(AGAIN)]
        discovered = round(server.memory())
        index, _ = await _timed(connection, "/openapi/v3")
        again, _ = await _timed(connection, "/openapi/v3")
        one, _ = await _timed(connection, f"/openapi/v3{collection(1).partition('/namespaces')[0]}")
    found = {
        "cold_ms": cold,
        "size_mb": round(size / 1e6, 2),
        "changed_ms": _spread(changed),
        "unchanged_ms": _spread(unchanged),
        "add_ms": _spread(added),
        "discovered_mb": discovered,
        "openapi_ms": {"first": index, "again": again, "document": one},
        "after_mb": round(server.memory()),
    }
    say(f"discovery takes {cold} ms cold, {found['unchanged_ms']} when unchanged; a kind is added in {found['add_ms']} ms")
    return found


async def _add(connection: Connection, number: int) -> float:
    """Milliseconds from sending a definition until its kind has answered."""
    body, path = definition(number), collection(number)
    begun = time.perf_counter()
    await connection.request("POST", DEFINITIONS, body)
    while b" 200 " not in await connection.head("GET", path):
        await asyncio.sleep(0)
    return (time.perf_counter() - begun) * 1e3


async def _asked(connection: Connection) -> tuple[float, int]:
    begun = time.perf_counter()
    _, body = await connection.ask("/apis", AGGREGATED)
    return round((time.perf_counter() - begun) * 1e3, 1), len(body)


async def _unchanged(connection: Connection) -> float:
    head, _ = await connection.ask("/apis", AGGREGATED)
    tag = head.lower().partition(b"etag:")[2].partition(b"\r\n")[0].strip().decode().upper()
    begun = time.perf_counter()
    head, _ = await connection.ask("/apis", AGGREGATED, f"If-None-Match: {tag}")
    if head[9:12] != b"304":
        raise SystemExit(f"discovery did not say that it is unchanged: {head!r}")
    return (time.perf_counter() - begun) * 1e3


async def _timed(connection: Connection, path: str) -> tuple[float, int]:
    begun = time.perf_counter()
    body = await connection.request("GET", path)
    return round((time.perf_counter() - begun) * 1e3, 1), len(body)


def _spread(values: Sequence[float]) -> dict[str, float]:
    """The median, and the worst."""
    return {"p50": round(statistics.median(values), 2), "max": round(max(values), 2)}
