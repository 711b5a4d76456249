"""The servers that are measured, each a process of its own on 127.0.0.1: Skep as a user runs it, and the floor.

Skep keeps its data in a folder below `build/`, so on the disk of the project; its log, with a line for each request, goes to a file
there. Both end by SIGTERM when the body of the `with` ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import Endpoint

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves, and the kind that is asked for there."""

    name: str
    pid: int
    endpoint: Endpoint
    folder: Path
    kind: str = "Parcel"

    def memory(self) -> float:
        """MB (of 1,000,000 bytes) that it holds in memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu(self) -> float:
        """Seconds of processor time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def cpu_ms(self) -> float:
        """Milliseconds of processor time that its threads have used, in full where `cpu` counts ticks; not those that ended."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


@contextmanager
def skep(*settings: str) -> Iterator[Server]:
    """`skep serve` with SQLite in a new folder and settings as they come, but for these (`flow.burst=10`)."""
    with folder() as place, skep_in(place, *settings) as server:
        yield server


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder below `build/`, for the body of the `with`."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD, ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def skep_in(folder: Path, *settings: str) -> Iterator[Server]:
    """The same in a folder that is there: with what a server before it left in it."""
    plugin = Path(__file__).with_name("plugin.py")
    with (folder / "log").open("a") as log:
        command = [sys.executable, "-m", "apiserver", "serve", "--plugin", str(plugin)]
        command += ["--data-dir", str(folder / "data"), "--listen", "127.0.0.1:0"]
        command += [part for setting in settings for part in ("--set", setting)]
        with _running(command, log.fileno()) as (process, line):
            data = folder / "data"
            endpoint = Endpoint(int(line.rpartition(":")[2]), str(data / "ca.crt"), (data / "admin.token").read_text().strip())
            yield Server("skep", process.pid, endpoint, data)


@contextmanager
def crowd(settings: str) -> Iterator[Server]:
    """`benchmarks.crowd` in a new folder; `settings` of flow control as JSON. The token is that of `caller-0`."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with _running([sys.executable, "-m", "benchmarks.crowd", str(folder), settings], None) as (process, line):
            yield Server("crowd", process.pid, Endpoint(int(line), str(folder / "ca.crt"), "caller-0"), folder)


@contextmanager
def floor(of: Server, one: bytes, many: bytes) -> Iterator[Server]:
    """The floor, with the certificate of a server and answers as long as its."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as name:
        folder = Path(name)
        (folder / "one").write_bytes(one)
        (folder / "many").write_bytes(many)
        cert, key = _certificate(of.folder)
        command = [sys.executable, "-m", "benchmarks.floor", "--cert", str(cert), "--key", str(key), "--answers", str(folder)]
        with _running(command, None) as (process, line):
            yield Server("floor", process.pid, Endpoint(int(line), of.endpoint.ca, of.endpoint.token), folder)


def _certificate(data: Path) -> tuple[Path, Path]:
    keys = {path.stem: path for path in data.rglob("*.key")}
    return next((path, keys[path.stem]) for path in data.rglob("*.crt") if path.stem in keys and path.stem != "ca")


@contextmanager
def _running(command: list[str], log: int | None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the first line that it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            if not line:
                raise SystemExit(f"a server ended before it served: {' '.join(command)}")
            yield process, line
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
