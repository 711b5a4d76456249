"""`skep registry callers`: who still calls versions that are deprecated, as a running server has counted (`apiserver.callers`)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import typer

from apiserver.cli_actor_insight import Config, DataDir, Kubeconfig, Server, reached
from apiserver.config import StartError

USES = "/apis/skep.dev/v1/versionuses"
EPILOG = (
    "Exit codes: 0 done; 1 somebody still calls (with --fail-if-used), or the server refused or does not answer; "
    "2 it was asked wrongly."
)

Document = dict[str, Any]


def callers(
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="As Probe, probes.uptime.example, or probes/v1beta1. Repeat it."),
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="Those who have called since then, as 12h or 30d.")] = "",
    fail_if_used: Annotated[bool, typer.Option("--fail-if-used", help="Fail if there is anybody.")] = False,
    data_dir: DataDir = None,
    kubeconfig: Kubeconfig = None,
    server: Server = None,
    config: Config = None,
    output: Annotated[
        Literal["table", "wide", "json", "yaml"], typer.Option("--output", "-o", help="For people, or for programs.")
    ] = "table",
) -> None:
    """Shows who calls versions that are deprecated: users and their programs, how often, when for the last time.

    Calls are counted by all servers of a database, and since the version is deprecated. With kubectl: kubectl get versionuses

    Examples:

    - skep registry callers --since 30d

    - skep registry callers --kind probes.uptime.example/v1beta1 --since 14d --fail-if-used
    """
    oldest = time.time() - _seconds(since) if since else None
    with reached(data_dir, kubeconfig, server, config) as remote:
        uses = [use for use in remote.get(USES)["items"] if not kind or any(means(each, use) for each in kind)]
    found = [row for row in rows(uses) if oldest is None or _moment(row["last"]) >= oldest]
    from apiserver import showing_callers

    showing_callers.show(found, output)
    if fail_if_used and found:
        versions = ", ".join(sorted({f"{row['resource']}/{row['apiVersion'].rpartition('/')[2]}" for row in found}))
        raise StartError(f"{versions}: somebody still calls what is deprecated", "let them use the successor, then ask again")


def means(name: str, use: Document) -> bool:
    """Whether a name that somebody typed means the version of an object."""
    spec = use["spec"]
    wanted, _, version = name.partition("/")
    resource: str = spec["resource"]
    known = {resource, resource.partition(".")[0], spec["kind"].lower()}
    return wanted.lower() in known and version in ("", spec["apiVersion"].rpartition("/")[2])


def rows(uses: Iterable[Document]) -> Iterator[Document]:
    """A row for every caller of every version; those who are counted together have no user."""
    from registry.builtin.versionuse import calls, tallies

    for use in uses:
        spec = use["spec"]
        about = {name: spec[name] for name in ("resource", "apiVersion", "kind")}
        ends = {name: spec[name] for name in ("deprecated", "removed", "successor") if name in spec}
        for tally in tallies(use):
            who = {"user": tally.get("user", ""), "agent": tally.get("agent", "")}
            counts = {name: tally.get(name, 0) for name in ("reads", "writes", "watches")}
            yield {**about, **who, "calls": calls(tally), **counts, "first": tally["first"], "last": tally["last"], **ends}


def _seconds(text: str) -> float:
    from registry.expiring import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise StartError(f"--since {text!r} {error}", exit_code=2) from None


def _moment(text: str) -> float:
    from registry.times import parse_time

    return parse_time(text).timestamp()
