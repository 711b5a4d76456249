"""Watch fan-out, measured by a process of watchers (`benchmarks.fanout`): paced, then as much as goes, at the floor and at ours."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.fanout import Order
from benchmarks.load import Broken
from benchmarks.servers import ROOT, Server


def watch(
    ours: Server, floor: Server, watchers: int, rate: float, *, seconds: float, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Medians over the rounds. Raises Broken if any event failed to reach any watcher, once and in the order of all."""
    runs: dict[str, list[dict[str, Any]]] = {"floor": [], "skep": []}
    for number in range(rounds):
        for server in (floor, ours):
            found = _run(server, watchers, rate, seconds, f"w{watchers}-{number}")
            runs[server.name].append(found)
            paced, saturated = found["paced"], found["saturated"]
            say(
                f"{watchers} watchers, round {number + 1}, {server.name}: p50 {paced['p50_ms']:.1f} ms, "
                f"p99 {paced['p99_ms']:.1f} ms at {rate:g}/s; {saturated['per_s']:,.0f} deliveries/s flat out"
            )
    return _summary(runs["floor"], runs["skep"])


def _run(server: Server, watchers: int, rate: float, seconds: float, prefix: str) -> dict[str, Any]:
    at = server.endpoint
    prefix = "floor" if server.name == "floor" else prefix
    order = Order(at.port, at.ca, at.token, watchers, rate, seconds, flat_out=max(1.0, seconds / 2), prefix=prefix)
    before = server.cpu()
    command = [sys.executable, "-m", "benchmarks.fanout", msgspec.json.encode(order).decode()]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Broken(f"{watchers} watchers at the {server.name}: {ended.stderr[-1500:]}")
    found: dict[str, Any] = json.loads(ended.stdout)
    if found["missing"] or found["repeated"] or not found["one_order"]:
        raise Broken(f"{watchers} watchers at the {server.name}: events are missing, repeated or out of order: {found}")
    found["cpu_us"] = (server.cpu() - before) / (found["objects"] * watchers) * 1e6
    return found


def _summary(floor: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, Any]:
    def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
        found = {
            name: round(statistics.median(run["paced"][name] for run in runs), 3)
            for name in ("per_s", "p50_ms", "p99_ms", "max_ms")
        }
        found["saturated_per_s"] = round(statistics.median(run["saturated"]["per_s"] for run in runs), 1)
        found["cpu_us"] = round(statistics.median(run["cpu_us"] for run in runs), 2)
        return found

    own, low = middle(ours), middle(floor)
    return own | {
        "ratio": round(own["saturated_per_s"] / low["saturated_per_s"], 3),
        "p99_ratio": round(own["p99_ms"] / low["p99_ms"], 3),
        "delivered": sum(run["objects"] for run in ours),
        "missing": 0,
        "floor": low,
    }
