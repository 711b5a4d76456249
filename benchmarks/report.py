"""The table of what was measured, with what is wanted beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import converting, greedy, kinds

LABELS = {
    "get": "get, 64 clients",
    "create": "create, 64 clients",
    "patch": "merge patch, 64 clients",
    "status": "status patch, 64 clients",
    "list500": "list of 500, 64 clients",
    "watch100": "100 watchers, 200 objects/s",
    "watch1000": "1,000 watchers, 50 objects/s",
}
WANTED: Mapping[str, float] = {"get": 0.5, "create": 0.2, "patch": 0.15, "status": 0.15, "list500": 0.5}
RECONCILED: Mapping[str, tuple[str, int]] = {"looks": ("writes nothing", 2_000), "writes": ("writes each status", 800)}
FIRST_S = 1.0
WATCH_P99_MS = 20.0
MEMORY_MB = 150.0
GUARDED = 0.15
NAMESPACE_SECONDS = 10.0
DECISION_US = 50.0


def table(found: Mapping[str, Any]) -> str:
    """One table as text, and what else there is to know below it."""
    shown = Table(box=None, pad_edge=False, header_style="")
    shown.add_column("", no_wrap=True)
    for name in ("per s", "p50 ms", "p99 ms", "floor per s", "floor p99", "ratio", "CPU us (floor)", "wanted"):
        shown.add_column(name, justify="right", no_wrap=True)
    for name, label in LABELS.items():
        if name in found:
            shown.add_row(label, *_cells(found[name]), _wanted(name, found[name]))
    for what, values in found.get("single", {}).items():
        shown.add_row(f"{what}, 1 client", *_cells(values), "")
    console = Console(width=140, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(shown)
    return "\n" + "\n".join([captured.get().rstrip(), "", *_notes(found)])


def _cells(values: Mapping[str, Any]) -> list[str]:
    low = values["floor"]
    return [
        f"{values['per_s']:,.0f}",
        f"{values['p50_ms']:.1f}",
        f"{values['p99_ms']:.1f}",
        f"{low['per_s']:,.0f}",
        f"{low['p99_ms']:.1f}",
        f"{values['ratio']:.2f}",
        f"{values['cpu_us']:.0f} ({low['cpu_us']:.0f})",
    ]


def _wanted(name: str, values: Mapping[str, Any]) -> str:
    if name in WANTED:
        return f"ratio >= {WANTED[name]:g}: {_met(values['ratio'] >= WANTED[name])}"
    if name == "watch100":
        return f"p99 < {WATCH_P99_MS:g} ms: {_met(values['p99_ms'] < WATCH_P99_MS)}"
    return ""


def _backlog(name: str, actors: Mapping[str, Any]) -> str:
    what, wanted = RECONCILED[name]
    values = actors[name]
    return (
        f"An actor that {what}, {actors['objects']:,} objects at its start, in process: {values['per_s']:,} reconciles/s "
        f"(wanted >= {wanted:,}: {_met(values['per_s'] >= wanted)}), the first after {values['first_s']:.3f} s "
        f"(wanted < {FIRST_S:g} s: {_met(values['first_s'] < FIRST_S)}), {values['grown_mb']:.0f} MB more memory."
    )


def _met(met: bool) -> str:
    return "yes" if met else "NO"


def _notes(found: Mapping[str, Any]) -> list[str]:
    machine, disk = found["machine"], found["disk"]
    notes = [
        "Ratio: to a bare ASGI function on the same uvicorn, TLS and certificate, which answers as many bytes, in turns with it."
    ]
    for name in ("watch100", "watch1000"):
        if name in found:
            values = found[name]
            notes.append(
                f"{LABELS[name]}: each of {values['delivered']:,} objects came once to every watcher, in one order. Ratio: "
                f"deliveries flat out: {values['saturated_per_s']:,.0f}/s of {values['floor']['saturated_per_s']:,.0f}/s."
            )
    if "actors" in found:
        notes += [_backlog(name, found["actors"]) for name in RECONCILED]
    if "rbac" in found:
        rbac = found["rbac"]
        notes.append(
            f"Roles: with {rbac['bindings']:,} bindings a decision takes {rbac['fresh_us']:.1f} us of CPU "
            f"(wanted < {DECISION_US:g}: {_met(rbac['fresh_us'] < DECISION_US)}), "
            f"{rbac['again_us']:.1f} us when it was asked before."
        )
    if "guarded" in found:
        guarded, plain = found["guarded"]["guarded"], found["guarded"]["plain"]
        cost = found["guarded"]["cost"]
        notes.append(
            f"Guarded create (a service account's token, a role, two handlers): {guarded['per_s']:,}/s and {guarded['cpu_us']} us "
            f"of CPU, by the administrator without handlers {plain['per_s']:,}/s and {plain['cpu_us']} us: {cost:.0%} less "
            f"(wanted <= {GUARDED:.0%}: {_met(cost <= GUARDED)})."
        )
    if "memory" in found:
        memory = found["memory"]
        notes.append(
            f"Memory: {memory['idle_mb']:.0f} MB idle, {memory['full_mb']:.0f} MB with {memory['objects']:,} objects of 1 KB "
            f"(wanted < {MEMORY_MB:g}: {_met(memory['full_mb'] < MEMORY_MB)}), {memory['after_list_mb']:.0f} MB after a full list."
        )
    if "conversion" in found:
        notes.append(converting.note(found["conversion"]))
    if "kinds" in found:
        notes += kinds.notes(found["kinds"])
    if "greedy" in found:
        notes += greedy.notes(found["greedy"])
    if "namespace" in found:
        gone = found["namespace"]
        met = _met(gone["seconds"] < NAMESPACE_SECONDS)
        notes.append(
            f"Namespace: with {gone['objects']:,} objects in it, it is gone {gone['seconds']:.2f} s after its deletion "
            f"(wanted < {NAMESPACE_SECONDS:g} s: {met}); {gone['cpu_us']} us of CPU for each."
        )
    notes.append(f"Disk: fdatasync of 4 KiB takes {disk['p50_ms']} ms (p50), {disk['p99_ms']} ms (p99).")
    notes.append(
        f"Machine: {machine['cores']} cores, shared by client and server ({machine['cpu']}; Python {machine['python']}; "
        f"load before: {machine['load_before']}). Client: wrk, 2 threads; watches: a process of raw TLS streams."
    )
    return notes
