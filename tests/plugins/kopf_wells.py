"""An operator of kopf, as its users write them: handlers for what happens to wells, which they tell in the file $TOLD."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import kopf

WELLS = ("wells.example", "v1", "wells")


def tell(line: str) -> None:
    """One line more for whoever looks."""
    with Path(os.environ["TOLD"]).open("a") as file:
        file.write(f"{line}\n")


@kopf.on.create(*WELLS)
def made(name: str, spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> dict[str, str]:
    """Digs it."""
    tell(f"{name} is made")
    patch.status["water"] = spec["depth"] * 2
    return {"by": "kopf"}


@kopf.on.update(*WELLS, field="spec.depth")
def deepened(name: str, old: int, new: int, patch: kopf.Patch, **_: Any) -> None:
    """Digs deeper."""
    tell(f"{name} is changed from {old} to {new}")
    patch.status["water"] = new * 2


@kopf.on.delete(*WELLS)
def filled(name: str, **_: Any) -> None:
    """Fills it up."""
    tell(f"{name} is deleted")
