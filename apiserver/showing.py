"""Actors and API keys as people read them in a terminal, and as programs do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from registry.builtin import apikey
from registry.builtin.common import made
from registry.documents import dump_yaml
from registry.times import age, parse_time, since

Document = dict[str, Any]

WIDE = 4_000
"""Columns when nobody looks: lines are not folded in a file."""
WORD = 20
"""Characters of a longer word in a column that is folded may stand in two lines."""
STYLES = {"Failed": "red", "Paused": "yellow", "Running": "green", "error": "red", "terminal": "red", "conflict": "yellow"}


def listed(found: Document, output: str) -> None:
    """A list of actors."""
    if output != "table":
        machine(found, output)
        return
    if not found["items"]:
        write(Text("this server has no actors", style="dim"))
        return
    now = time.time()
    rows = [_row(each, now) for each in found["items"]]
    write(table(("NAME", "KIND", "STATE", "QUEUE", "RUNNING", "FAILING", "RUNS", "LAST RUN", "AGE"), rows))


def one(found: Document, output: str) -> None:
    """One actor, with all that is known of it."""
    if output != "table":
        machine(found, output)
        return
    now = time.time()
    status = found.get("status") or {}
    facts = Table.grid(padding=(0, 2))
    for what, value in _facts(found, now):
        facts.add_row(Text(f"{what}:"), cell(value))
    shown: list[RenderableType] = [facts]
    parts: tuple[tuple[str, tuple[str, ...], Callable[[Document], Sequence[Any]]], ...] = (
        ("running", ("RUNNING", "FOR"), lambda each: (each["key"], since(each["since"], now))),
        ("failing", ("FAILING", "FAILURES", "NEXT RETRY", "ERROR"), lambda each: _failing(each, now)),
        (
            "last",
            ("LAST RUNS", "RESULT", "TOOK", "ENDED"),
            lambda each: (each["key"], each["result"], f"{each['seconds']:.3f}s", f"{since(each['ended'], now)} ago"),
        ),
    )
    for name, headings, row in parts:
        if status.get(name):
            shown += [Text(), table(headings, map(row, status[name]))]
        more = status.get(f"{name}Count", 0) - len(status.get(name, ()))
        if more > 0:
            shown.append(Text(f"and {more} more", style="dim"))
    write(*shown)


def keys(found: Document, output: str) -> None:
    """A list of API keys."""
    if output == "name":
        sys.stdout.writelines(f"{_name(each)}\n" for each in found["items"])
    elif output != "table":
        machine(found, output)
    elif not found["items"]:
        write(Text("this server has no keys", style="dim"))
    else:
        now = time.time()
        headings = ("NAME", "USER", "KEY", "EXPIRES", "LAST USED", "GROUPS", "DESCRIPTION", "AGE")
        rows = ([each["metadata"]["name"], *apikey.cells(each, now), made(each, now)] for each in found["items"])
        write(table(headings, rows))


def key(found: Document, secret: str, output: str) -> None:
    """A new API key, for programs: its object, with the key itself beside, unless it is empty."""
    if output == "name":
        sys.stdout.write(f"{_name(found)}\n")
    else:
        machine({**found, "key": secret} if secret else found, output)


def _name(found: Document) -> str:
    return f"apikey.skep.dev/{found['metadata']['name']}"


def _row(found: Document, now: float) -> list[Any]:
    status = found.get("status") or {}
    last = status.get("last") or []
    return [
        found["metadata"]["name"],
        (found["spec"].get("owns") or {}).get("kind", ""),
        status.get("state") or "Unknown",
        status.get("queue", 0),
        status.get("runningCount", 0),
        status.get("failingCount", 0),
        (status.get("totals") or {}).get("runs", 0),
        f"{since(last[0]['ended'], now)} ago" if last else "none",
        since(found["metadata"].get("creationTimestamp"), now),
    ]


def _facts(found: Document, now: float) -> list[tuple[str, Any]]:
    spec, status = found["spec"], found.get("status") or {}
    owns, totals = spec.get("owns") or {}, status.get("totals") or {}
    results = ", ".join(f"{result} {count}" for result, count in sorted((totals.get("results") or {}).items()))
    waits = f", the first for {since(status['waitingSince'], now)}" if status.get("waitingSince") else ""
    facts: list[tuple[str, Any]] = [
        ("Name", found["metadata"]["name"]),
        ("Kind", f"{owns.get('kind', '')} ({owns.get('resource', '')}, {owns.get('apiVersion', '')})"),
        ("State", status.get("state") or "Unknown"),
        ("Message", status.get("message", "")),
        ("Declared", spec.get("source", "")),
        ("Acts as", spec.get("identity", "")),
        ("Works on", f"{spec.get('concurrency', 1)} at once, {_mode(spec)}"),
        ("Observes", ", ".join(each["kind"] for each in spec.get("observes", ()))),
        ("Writes", ", ".join(each["kind"] for each in spec.get("writes", ()))),
        ("Resync", f"every {age(spec['resyncSeconds'])}" if spec.get("resyncSeconds") else ""),
        ("Objects", status.get("objects", 0)),
        ("Queue", f"{status.get('queue', 0)}{waits}"),
        ("Timers", status.get("timers", 0)),
        ("Running", status.get("runningCount", 0)),
        ("Failing", status.get("failingCount", 0)),
        ("Runs", f"{totals.get('runs', 0)}" + (f" ({results})" if results else "")),
        ("Retries", totals.get("retries", 0)),
        ("Restarts", totals.get("restarts", 0)),
        ("Leader", status.get("leader") or "none is elected: it runs in the server"),
        ("Epoch", status.get("epoch") or ""),
        ("As of", f"{since(status.get('reported'), now)} ago"),
    ]
    return [(what, value) for what, value in facts if value != ""]


def _mode(spec: Document) -> str:
    return "in threads" if spec.get("mode") == "Thread" else "in the event loop"


def _failing(each: Document, now: float) -> tuple[str, int, str, str]:
    return each["key"], each["failures"], _retry(each.get("nextRetry"), now), each["error"]


def _retry(due: str | None, now: float) -> str:
    if due is None:
        return "when it changes"
    left = parse_time(due).timestamp() - now
    return f"in {age(left)}" if left >= 1 else "now"


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], fold: Collection[str] = ("ERROR",)) -> Table:
    """A table without lines. On a terminal that is too narrow, the columns of `fold` are folded; nothing is cut off."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    lines = [[cell(value) for value in row] for row in rows]
    for at, heading in enumerate(headings):
        folded = heading in fold
        widths = [min(WORD, longest_word(line[at])) if folded else line[at].cell_len for line in lines]
        made.add_column(heading, no_wrap=not folded, overflow="fold", min_width=max((len(heading), *widths)))
    for line in lines:
        made.add_row(*line)
    return made


def longest_word(text: Text) -> int:
    """How many characters of a text cannot be folded without breaking a word."""
    return max(map(len, text.plain.split()), default=0)


def cell(value: Any) -> Text:
    """What is shown of a value: never more than text, whatever an error says."""
    shown = "".join(character if character.isprintable() else "?" for character in str(value))
    return Text(shown, style=STYLES.get(shown, ""))


def machine(found: Document, output: str) -> None:
    """A document for programs, as `json` or `yaml`."""
    text = json.dumps(found, indent=2) + "\n" if output == "json" else dump_yaml(found).decode()
    sys.stdout.write(text)


def _unbounded(console: Console) -> ConsoleOptions:
    return console.options.update(width=WIDE)


def write(*shown: RenderableType) -> None:
    """Prints. What is not for a terminal has no blanks at the ends of its lines, and long lines stay whole. So do on a terminal
    those that cannot be folded."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else WIDE, highlight=False, markup=False, emoji=False)
    if terminal:
        least = max((Measurement.get(console, _unbounded(console), each).minimum for each in shown), default=0)
        console.size = ConsoleDimensions(max(console.width, least), console.height)
        console.print(*shown, sep="\n")
        return
    with console.capture() as captured:
        console.print(*shown, sep="\n")
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
