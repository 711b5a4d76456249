"""The demo is what a newcomer runs first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.servers import ROOT


def test_the_demo_makes_a_probe_ready_and_ends_well(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    environment["HOME"] = str(tmp_path)  # kubectl keeps a cache there
    demo = subprocess.run(
        [sys.executable, ROOT / "examples/demo.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
