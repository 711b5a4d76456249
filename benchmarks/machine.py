"""What the figures were taken on: processors, their load, and how long the disk takes to make a page durable."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

PAGE = 4096


def fdatasync_ms(folder: Path, times: int = 200) -> dict[str, float]:
    """Milliseconds that writing and fdatasync of 4 KiB take in a folder: the median of so many, and the 99th percentile."""
    took = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        page = os.urandom(PAGE)
        file.write(page * times)
        os.fsync(file.fileno())
        for number in range(times):
            begun = time.perf_counter()
            os.pwrite(file.fileno(), page, number * PAGE)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    took.sort()
    return {"p50_ms": round(statistics.median(took) * 1e3, 3), "p99_ms": round(took[int(times * 0.99)] * 1e3, 3)}


def describe() -> dict[str, Any]:
    """The machine, as far as it matters."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    return {
        "cores": os.cpu_count(),
        "cpu": cpu or platform.machine(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }
