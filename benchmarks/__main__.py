"""`python -m benchmarks`: measures, prints a table, and writes `build/bench.json`.

Every figure is taken over TLS with the administrator's token, on SQLite with durable writes, from outside; and beside each stands
the same for the floor (`benchmarks.floor`), taken in turns with it. Exit status 0 says that everything could be measured, not that
it was fast.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import client, converting, greedy, guarding, kinds, load, machine, report, roles
from benchmarks.load import LISTED, OBJECTS
from benchmarks.parcels import collection, mark, parcel
from benchmarks.servers import BUILD, Server, floor, skep
from benchmarks.watching import watch

REQUESTS = {"get": "get", "create": "create", "patch": "patch", "status": "status", "list500": "list"}
WATCHES = {"watch100": (100, 200.0), "watch1000": (1000, 50.0)}
EXTRA = ("single", "guarded", "memory", "namespace", "actors", "rbac", "greedy", "kinds", "conversion")
EVERYTHING = (*REQUESTS, *WATCHES, *EXTRA)
STORED = 20_000
"""Objects in memory when it is measured."""
CONTENTS = 10_000
"""Objects in the namespace whose deletion is measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: which lines, for how long a turn lasts, how many turns each gets."""

    only: Sequence[str]
    seconds: float
    rounds: int
    out: Path


def plan_of(arguments: Sequence[str] | None = None) -> Plan:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help=f"a list with commas, of: {' '.join(EVERYTHING)}")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each turn of each server lasts (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="how many turns each server has (default 3)")
    parser.add_argument("--quick", action="store_true", help="one turn of one second: to see that it works")
    parser.add_argument(
        "--out", type=Path, default=BUILD / "bench.json", help="where the figures are written (default build/bench.json)"
    )
    found = parser.parse_args(arguments)
    only = [name for name in found.only.split(",") if name] or list(EVERYTHING)
    if unknown := set(only) - set(EVERYTHING):
        parser.error(f"not to be measured: {', '.join(sorted(unknown))}; there are {', '.join(EVERYTHING)}")
    return Plan(only, 1.0, 1, found.out) if found.quick else Plan(only, found.seconds, found.rounds, found.out)


def teller() -> Callable[[str], None]:
    """Prints lines with the seconds since the beginning."""
    begun = time.monotonic()
    return lambda line: print(f"{time.monotonic() - begun:5.0f} s  {line}", flush=True)


def run(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything that the plan asks for, by name. Raises Broken when there is a wrong answer or a lost event."""
    BUILD.mkdir(exist_ok=True)
    found: dict[str, Any] = {"machine": machine.describe(), "disk": machine.fdatasync_ms(BUILD)}
    say(f"the disk takes {found['disk']['p50_ms']} ms for fdatasync of 4 KiB")
    if any(name in REQUESTS or name in ("single", "guarded") for name in plan.only):
        load.need_wrk()
        found |= _requests(plan, say)
    if "guarded" in plan.only:
        found["guarded"] = _guarded(plan, say)
    for name in WATCHES:
        if name in plan.only:
            found[name] = _watch(name, plan, say)
    if "memory" in plan.only:
        found["memory"] = _memory(say)
        say(f"memory: {found['memory']['idle_mb']} MB idle, {found['memory']['full_mb']} MB with {STORED} objects")
    if "actors" in plan.only:
        found["actors"] = _actors()
        each = ", ".join(f"{name} {found['actors'][name]['per_s']:,}/s" for name in ("looks", "writes"))
        say(f"a backlog of {found['actors']['objects']:,} objects: {each}")
    if "rbac" in plan.only:
        found["rbac"] = roles.measure()
        say(f"a decision with {roles.BINDINGS:,} bindings: {found['rbac']['fresh_us']} us")
    if "greedy" in plan.only:
        load.need_wrk()
        found["greedy"] = greedy.measure(max(plan.seconds, 2.0), say)
    if "conversion" in plan.only:
        with skep() as ours:
            found["conversion"] = converting.measure(ours, say)
    if "kinds" in plan.only:
        found["kinds"] = kinds.measure(kinds.KINDS if plan.rounds > 1 else kinds.FEW, say)
    if "namespace" in plan.only:
        found["namespace"] = _namespace(say)
        say(f"namespace: {found['namespace']['seconds']} s until it is gone with {CONTENTS} objects")
    return found


def _requests(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with skep() as ours:
        one, many = asyncio.run(_seed(ours))
        say(f"seeded: an object has {len(one)} bytes, a list of {LISTED} has {len(many)}")
        with floor(ours, one, many) as low:
            for name, what in REQUESTS.items():
                if name in plan.only:
                    found[name] = load.alternate(ours, low, what, seconds=plan.seconds, rounds=plan.rounds, connections=64, say=say)
            if "single" in plan.only:
                found["single"] = {
                    what: load.alternate(ours, low, what, seconds=plan.seconds / 2, rounds=2, connections=1, say=say)
                    for what in ("get", "create")
                }
    return found


def _guarded(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    with skep(*guarding.SETTINGS) as ours:
        asyncio.run(client.create(ours.endpoint, guarding.NAMESPACE, ()))
        guarded = asyncio.run(guarding.admit(ours))
        return guarding.compare(ours, guarded, seconds=plan.seconds, rounds=max(plan.rounds, 2), say=say)


async def _seed(server: Server) -> tuple[bytes, bytes]:
    """Makes what is read and patched; returns the answer about one object, and to a list."""
    await client.create(server.endpoint, "bench", (f"parcel-{number}" for number in range(OBJECTS)))
    await client.create(server.endpoint, "listed", (f"parcel-{number}" for number in range(LISTED)))
    one = await client.get(server.endpoint, f"{collection('bench')}/parcel-0")
    return one, await client.get(server.endpoint, f"{collection('listed')}?limit={LISTED}")


def _watch(name: str, plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    watchers, rate = WATCHES[name]
    with skep() as ours:
        one = asyncio.run(_seed_watched(ours))
        with floor(ours, one, b"{}") as low:
            return watch(ours, low, watchers, rate, seconds=max(plan.seconds, 2.0), rounds=min(plan.rounds, 2), say=say)


async def _seed_watched(server: Server) -> bytes:
    await client.create(server.endpoint, "watched", ())
    async with client.connections(server.endpoint, 1) as (connection,):
        body = parcel("first", mark(0, time.monotonic_ns()))
        return await connection.request("POST", collection("watched"), body)


def _memory(say: Callable[[str], None]) -> dict[str, Any]:
    with skep() as ours:
        idle = ours.memory()
        say(f"creating {STORED} objects")
        asyncio.run(client.create(ours.endpoint, "stored", (f"parcel-{number}" for number in range(STORED))))
        full = ours.memory()
        asyncio.run(client.get(ours.endpoint, collection("stored")))
        return {"idle_mb": round(idle, 1), "full_mb": round(full, 1), "after_list_mb": round(ours.memory(), 1), "objects": STORED}


def _actors() -> dict[str, Any]:
    """In a process of its own, whose memory is that of actors alone."""
    command = [sys.executable, "-m", "benchmarks.reconciling", str(BUILD)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise load.Broken(f"actors: {ended.stdout} {ended.stderr}")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def _namespace(say: Callable[[str], None]) -> dict[str, Any]:
    with skep() as ours:
        say(f"creating {CONTENTS} objects")
        asyncio.run(client.create(ours.endpoint, "full", (f"parcel-{number}" for number in range(CONTENTS))))
        cpu = ours.cpu()
        seconds = asyncio.run(client.remove_namespace(ours.endpoint, "full"))
        return {"seconds": round(seconds, 2), "cpu_us": round((ours.cpu() - cpu) * 1e6 / CONTENTS), "objects": CONTENTS}


def main() -> int:
    """Measures what the command line asks for."""
    plan = plan_of()
    found = run(plan, teller())
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    plan.out.write_text(json.dumps(found, indent=2) + "\n")
    print(report.table(found))
    print(f"\nwritten to {plan.out}")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except load.Broken as broken:
        raise SystemExit(f"error: {broken}") from None
