"""What a greedy client takes from others: nine callers who ask at their own pace, alone, and beside one on hundreds of connections
that sends as fast as it is answered (`wrk`), and does not wait when it is told to.

Each of the nine sends 50 requests a second, gets and creates in turns, on four connections, at set times: who is not answered
before the next time has lost it. *Kept* is what they get done beside the greedy one, of what they get done alone.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import client
from benchmarks.load import flood
from benchmarks.parcels import collection, parcel
from benchmarks.servers import Server, crowd

OTHERS = 9
PER_SECOND = 50
LINES = 4  # connections of each
GREEDY = 256
OBJECTS = 1000
NO_RATE = {"per_second": 1e6, "burst": 10_000_000}
CASES: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "gets": ("get", {}),
    "creates": ("create", {}),
    "gets, no rate": ("get", NO_RATE),
    "creates, no rate": ("create", NO_RATE),
}
"""What is measured: what the greedy one sends, and the settings of flow control that differ from the defaults."""


@dataclass(frozen=True, slots=True)
class Paced:
    """What the others got done, and how long each request took, in seconds."""

    done: int
    lost: int
    took: Sequence[float]

    def quantile(self, part: float) -> float:
        """In milliseconds."""
        return round(sorted(self.took)[int(part * (len(self.took) - 1))] * 1e3, 1) if self.took else 0.0


async def paced(endpoint: client.Endpoint, seconds: float, prefix: str) -> Paced:
    """Sends what the others send, for so many seconds."""
    took: list[float] = []
    lost = 0

    async def line(connection: client.Connection, caller: int, number: int) -> None:
        nonlocal lost
        every = LINES / PER_SECOND
        begun = time.monotonic()
        due = begun + every * (number / LINES + caller / OTHERS / LINES)
        step = 0
        while due < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            step += 1
            if step % 2:
                name = f"{prefix}-{caller}-{number}-{step}"
                await connection.request("POST", collection("bench"), parcel(name, "nothing"))
            else:
                await connection.request("GET", f"{collection('bench')}/parcel-{step % OBJECTS}")
            now = time.monotonic()
            took.append(now - due)
            missed = max(0, int((now - due) / every))
            lost += missed
            due += every * (1 + missed)

    opened = []
    for caller in range(OTHERS):
        known = client.Endpoint(endpoint.port, endpoint.ca, f"caller-{caller}")
        context = client.connections(known, LINES)
        opened.append((caller, context, await context.__aenter__()))
    try:
        lines = [line(each, caller, number) for caller, _, many in opened for number, each in enumerate(many)]
        await asyncio.gather(*lines)
    finally:
        for _, context, _ in opened:
            await context.__aexit__(None, None, None)
    return Paced(len(took), lost, took)


async def told(endpoint: client.Endpoint) -> dict[str, str]:
    """The headers of the first refusal that the greedy one gets, by name; empty if there is none within many requests at once."""
    found: dict[str, str] = {}
    greedy = client.Endpoint(endpoint.port, endpoint.ca, "caller-15")

    async def ask(connection: client.Connection) -> None:
        for _ in range(200):
            if found:
                return
            head = await connection.head("GET", f"{collection('bench')}/parcel-1")
            if b" 429 " in head.partition(b"\r\n")[0]:
                lines = [text.partition(":") for text in head.decode().splitlines()[1:]]
                found.update({name.lower(): value.strip() for name, _, value in lines})

    async with client.connections(greedy, 64) as many:
        await asyncio.gather(*(ask(connection) for connection in many))
    return found


async def _beside(server: Server, what: str, seconds: float) -> tuple[Paced, dict[str, Any]]:
    prefix = "greedy-" if what == "create" else "parcel-"
    begun = asyncio.create_task(asyncio.to_thread(flood, server, what, seconds + 2, prefix, connections=GREEDY, token="caller-15"))
    await asyncio.sleep(1.0)  # until it is at full speed
    other = await paced(server.endpoint, seconds, "beside")
    return other, await begun


def measure(seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Every case on a server of its own."""
    found: dict[str, Any] = {}
    for name, (what, settings) in CASES.items():
        with crowd(json.dumps(settings)) as server:
            asyncio.run(client.create(server.endpoint, "bench", (f"parcel-{number}" for number in range(OBJECTS))))
            alone = asyncio.run(paced(server.endpoint, seconds, "alone"))
            memory = server.memory()
            beside, greedy = asyncio.run(_beside(server, what, seconds))
            refusal = asyncio.run(told(server.endpoint)) if not settings else {}
            took = greedy["microseconds"] / 1e6
            found[name] = {
                "kept": round(beside.done / max(1, alone.done), 3),
                "alone": {"per_s": round(alone.done / seconds), "p50_ms": alone.quantile(0.5), "p99_ms": alone.quantile(0.99)},
                "beside": {"per_s": round(beside.done / seconds), "p50_ms": beside.quantile(0.5), "p99_ms": beside.quantile(0.99)},
                "greedy": {
                    "served_per_s": round((greedy["requests"] - greedy["bad_status"]) / took),
                    "refused_per_s": round(greedy["bad_status"] / took),
                },
                "memory_mb": [round(memory, 1), round(server.memory(), 1)],
                "retry_after": refusal.get("retry-after", ""),
            }
            say(f"greedy, {name}: others kept {found[name]['kept']:.0%}, p99 {alone.quantile(0.99)} to {beside.quantile(0.99)} ms")
    found["kept"] = min(found[name]["kept"] for name, (_, settings) in CASES.items() if not settings)
    return found


def notes(found: Mapping[str, Any]) -> list[str]:
    """What there is to say below the table."""
    lines = [f"{OTHERS} callers at {PER_SECOND} requests/s each, beside a greedy one with {GREEDY} connections:"]
    for name in CASES:
        case = found[name]
        alone, beside, greedy = case["alone"], case["beside"], case["greedy"]
        lines.append(
            f"  {name}: others kept {case['kept']:.0%} (wanted >= 90 %), p50 {alone['p50_ms']} to {beside['p50_ms']} ms, "
            f"p99 {alone['p99_ms']} to {beside['p99_ms']} ms; the greedy one got {greedy['served_per_s']:,}/s, "
            f"and {greedy['refused_per_s']:,}/s refused; {case['memory_mb'][1] - case['memory_mb'][0]:+.0f} MB."
        )
    return lines
