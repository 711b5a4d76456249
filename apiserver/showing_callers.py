"""Callers of deprecated versions as people read them in a terminal, and as programs do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from apiserver import showing
from registry.builtin.versionuse import OTHERS
from registry.times import since

Document = dict[str, Any]

HEADINGS = ("KIND", "VERSION", "USER", "PROGRAM", "CALLS", "LAST CALL", "REMOVED")
WIDE = ("READS", "WRITES", "WATCHES", "FIRST CALL", "SUCCESSOR", "RESOURCE")


def show(found: Sequence[Document], output: str) -> None:
    """Callers, in the order in which they are given."""
    if output in ("json", "yaml"):
        showing.machine({"callers": list(found)}, output)
    elif not found:
        showing.write(Text("nobody has called a deprecated version", style="dim"))
    else:
        now, wide = time.time(), output == "wide"
        lines = [[*_row(each, now), *(_more(each, now) if wide else ())] for each in found]
        showing.write(showing.table((*HEADINGS, *(WIDE if wide else ())), lines))


def _row(row: Document, now: float) -> list[Any]:
    removed = row.get("removed") or {}
    return [
        row["kind"],
        row["apiVersion"].rpartition("/")[2],
        row["user"] or OTHERS,
        row["agent"] or "-",
        row["calls"],
        f"{since(row['last'], now)} ago",
        " of ".join(removed[name] for name in ("release", "date") if removed.get(name)) or "-",
    ]


def _more(row: Document, now: float) -> list[Any]:
    first = f"{since(row['first'], now)} ago"
    return [row["reads"], row["writes"], row["watches"], first, row.get("successor", "-"), row["resource"]]
