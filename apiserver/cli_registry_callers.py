"""`skep registry callers`: who still calls versions that are deprecated, as a running server has counted (`apiserver.callers`)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from apiserver.cli_registry_source import Ca, Config, DataDir, Kubeconfig, Running, Server, TokenFile, Where, kind_of, served
from apiserver.config import StartError

if TYPE_CHECKING:
    from apiserver.reaching import Remote
    from registry.description_names import Named

USES = "/apis/skep.dev/v1/versionuses"
EPILOG = (
    "Exit codes: 0 done; 1 somebody still calls (with --fail-if-used); or the server refuses, or cannot be reached; "
    "2 it was asked wrongly (flags, settings); 3 there is no such kind or version."
)

Document = dict[str, Any]


def callers(
    kind: Annotated[
        list[str] | None,
        typer.Argument(metavar="KIND", help="A kind, plural or short name; with .VERSION and .GROUP.  [default: all]"),
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="Those who have called since then, as 12h or 30d.")] = "",
    fail_if_used: Annotated[bool, typer.Option("--fail-if-used", help="Fail if there is anybody.")] = False,
    output: Annotated[
        Literal["table", "wide", "json", "yaml"], typer.Option("--output", "-o", help="For people, or for programs.")
    ] = "table",
    server: Server = None,
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    config: Config = None,
) -> None:
    """Shows who calls versions that are deprecated: users and their programs, how often, when for the last time.

    Calls are counted by all servers of a database, and since the version is deprecated. With kubectl: kubectl get versionuses

    Examples:

    - skep registry callers --since 30d

    - skep registry callers probes.v1beta1.uptime.example --since 14d --fail-if-used
    """
    oldest = time.time() - _seconds(since) if since else None
    with served(Where(None, server, kubeconfig, data_dir, token_file, ca, config)) as remote:
        wanted = [kind_of(Running(remote).brief(), word) for word in kind or ()]
        uses = [use for use in counted(remote) if not wanted or any(means(each, use) for each in wanted)]
    found = [row for row in rows(uses) if oldest is None or _moment(row["last"]) >= oldest]
    from apiserver import showing_callers

    showing_callers.show(found, output)
    if fail_if_used and found:
        versions = ", ".join(sorted({f"{row['resource']}/{row['apiVersion'].rpartition('/')[2]}" for row in found}))
        raise StartError(f"{versions}: somebody still calls what is deprecated", "let them use the successor, then ask again")


def counted(remote: Remote) -> list[Document]:
    """What a server has counted. Raises StartError."""
    from apiserver.reaching import Refused

    try:
        return list(remote.get(USES)["items"])
    except Refused as error:
        if error.code != 403:
            raise
        raise StartError(error.message, "a ClusterRole with the verb list on versionuses.skep.dev allows it", exit_code=1) from None


def means(named: Named, use: Document) -> bool:
    """Whether what somebody named is the version of an object."""
    spec = use["spec"]
    return bool(
        spec["resource"] == named.kind.resource and (named.version is None or named.version.api_version == spec["apiVersion"])
    )


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


COMMANDS = ((callers, "callers", EPILOG),)
"""What this module puts into `skep registry`: function, name, epilog."""
