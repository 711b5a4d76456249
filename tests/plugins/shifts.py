"""A kind whose actor writes each of its runs into a file, with its process and epoch. For tests of actors in several processes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import anyio

from actors import Again, Client, Outcome, Run
from registry.plugin import Plugin
from registry.resource import Resource, Spec, Status


class ShiftSpec(Spec):
    every: float = 0.05
    lasts: float = 0.0
    note: str = ""


class ShiftStatus(Status):
    runs: int = 0
    process: int = 0
    epoch: int = 0
    saw: str = ""


class Shift(Resource[ShiftSpec, ShiftStatus]):
    """Shift is an object that is worked on all the time."""


plugin = Plugin("shifts")
plugin.kind(Shift, group="shifts.example", version="v1", plural="shifts")


def tell(run: Run, what: str) -> None:
    """A line in the file that the variable SHIFTS names; lines of several processes do not mix."""
    line: dict[str, Any] = {
        "at": time.monotonic(),
        "process": os.getpid(),
        "epoch": run.epoch,
        "what": what,
        "name": run.place.name,
    }
    with Path(os.environ["SHIFTS"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


@plugin.actor(Shift, name="work", concurrency=4)
async def work(shift: Shift, client: Client, run: Run) -> Outcome:
    """Works for a while and says so."""
    before = shift.status or ShiftStatus()
    tell(run, "begins")
    if shift.spec.lasts:
        await anyio.sleep(shift.spec.lasts)
    tell(run, "ends")
    status = ShiftStatus(runs=before.runs + 1, process=os.getpid(), epoch=run.epoch, saw=shift.spec.note)
    return Again(shift.spec.every, status)
