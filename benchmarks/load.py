"""Load by wrk, against one server at a time, in short turns: floor, ours, floor, ours.

The machine's cores are shared by the client, the servers, and whatever else runs. Figures of one turn mean little; the ratio of two
turns that follow each other means something, and the median of several means more.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.parcels import collection, parcel
from benchmarks.servers import Server

SCRIPT = Path(__file__).with_name("requests.lua")
OBJECTS = 1000
"""How many objects gets and patches go round."""
LISTED = 500
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one run of wrk saw: answers per second, milliseconds, and the server's processor time per request in microseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    bytes_per_s: float


class Broken(Exception):
    """There were errors, so there is no result."""


def need_wrk() -> None:
    """Sees to it that there is a wrk. Raises SystemExit when there is none to be had."""
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing wrk (apt-get install wrk)", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-qq", "wrk"]
        if subprocess.run(install, env=environment, capture_output=True, check=False).returncode:
            subprocess.run(["apt-get", "update", "-qq"], env=environment, capture_output=True, check=False)
            subprocess.run(install, env=environment, capture_output=True, check=False)
    if not shutil.which("wrk"):
        raise SystemExit(
            "error: there is no wrk on the PATH, which makes the load: `apt-get install wrk`, or build it from its sources"
        )


def flood(server: Server, what: str, seconds: float, prefix: str, *, connections: int, token: str = "") -> dict[str, Any]:
    """One run of wrk, and what it says of it. Raises Broken if it says nothing."""
    namespace = "listed" if what == "list" else "bench"
    url = f"https://127.0.0.1:{server.endpoint.port}{collection(namespace, f'{server.kind.lower()}s')}"
    template = server.folder / "template"
    template.write_bytes(parcel("NAME", "nothing", server.kind))
    threads = min(2, connections)
    command = [
        "wrk",
        f"-c{connections}",
        f"-t{threads}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "10s",
        "-s",
        str(SCRIPT),
        url,
        "--",
    ]
    command += [what, token or server.endpoint.token, prefix, str(OBJECTS), str(template)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((line for line in ended.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise Broken(f"wrk did not say how it went: {ended.stdout} {ended.stderr}")
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return found


def turn(server: Server, what: str, seconds: float, prefix: str, *, connections: int) -> Turn:
    """The same as a turn. Raises Broken if any answer was no success."""
    before = server.cpu()
    found = flood(server, what, seconds, prefix, connections=connections)
    used = server.cpu() - before
    if found["bad_status"] or found["broken"] or not found["requests"]:
        raise Broken(f"{what} at the {server.name}: {found}")
    took = found["microseconds"] / 1e6
    count = found["requests"]
    return Turn(count / took, found["p50_us"] / 1e3, found["p99_us"] / 1e3, used / count * 1e6, found["bytes"] / took)


def alternate(ours: Server, floor: Server, what: str, *, seconds: float, rounds: int, connections: int, say: Say) -> dict[str, Any]:
    """So many turns of each, and the medians."""
    pairs: list[tuple[Turn, Turn]] = []
    for number in range(rounds):
        prefix = f"c{connections}-{number}-" if what == "create" else "parcel-"
        pair = [turn(server, what, seconds, prefix, connections=connections) for server in (floor, ours)]
        pairs.append((pair[0], pair[1]))
        say(f"{what} x{connections}, round {number + 1}: {pair[1].per_s:,.0f}/s of {pair[0].per_s:,.0f}/s")
    return summary(pairs)


def summary(pairs: Sequence[tuple[Turn, Turn]]) -> dict[str, Any]:
    """Medians over the turns; the ratio is the median of the ratios of neighbours."""

    def middle(side: int, name: str) -> float:
        values: list[float] = [getattr(pair[side], name) for pair in pairs]
        return round(statistics.median(values), 3)

    ours: dict[str, Any] = {name: middle(1, name) for name in ("per_s", "p50_ms", "p99_ms", "cpu_us", "bytes_per_s")}
    ours["ratio"] = round(statistics.median(own.per_s / low.per_s for low, own in pairs), 3)
    ours["floor"] = {name: middle(0, name) for name in ("per_s", "p50_ms", "p99_ms", "cpu_us", "bytes_per_s")}
    return ours
