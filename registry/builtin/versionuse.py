"""VersionUse (skep.dev/v1): who still calls a version that is deprecated. The server makes one object for each such version that is
called, and keeps it true; nobody else writes it. `skep registry callers` shows them.

A status is bounded: `MOST_CALLERS` callers, of each user no more than `MOST_AGENTS` programs. Calls of further ones are counted
together. A caller is named as it authenticated itself, a program by the first word of its User-Agent; nothing else of a request is
kept.
"""

from __future__ import annotations

from typing import Annotated, Any

from registry.builtin.actor import GROUP, KEEPER
from registry.builtin.common import column, printer
from registry.kinds import Document, Kind, Strategy, Version
from registry.resource import Meta, OmitEmpty, Resource, Spec, Status, Struct, Time
from registry.times import since
from registry.typed import schema_of

PLURAL = "versionuses"
MOST_CALLERS = 200
MOST_AGENTS = 8
OTHERS = "(others)"
"""In the place of a program: those of a user of whom there are too many."""


class EndOfLife(Struct):
    """EndOfLife is a release: its number and its day, as far as they are known."""

    release: Annotated[str, OmitEmpty, Meta(description="The number of the release.")] = ""
    date: Annotated[str, OmitEmpty, Meta(description="Its day, as 2026-01-15.")] = ""


class VersionUseSpec(Spec):
    """VersionUseSpec says which version it is about, and what its declaration says of its end."""

    resource: Annotated[str, Meta(description="The plural and the group of the kind, as probes.uptime.example.")]
    api_version: Annotated[str, Meta(description="Group and version that are deprecated.")]
    kind: Annotated[str, Meta(description="The name of the kind.")]
    deprecated: Annotated[EndOfLife | None, Meta(description="Since when it is deprecated, if that is said.")] = None
    removed: Annotated[EndOfLife | None, Meta(description="When it is served no longer, if that is said.")] = None
    successor: Annotated[str, OmitEmpty, Meta(description="The version to call instead.")] = ""


class Tally(Struct):
    """Tally is how often something was done, and from when to when."""

    reads: Annotated[int, Meta(description="Gets and lists.")] = 0
    writes: Annotated[int, Meta(description="Creates, updates, patches and deletes.")] = 0
    watches: Annotated[int, Meta(description="Watches that have begun.")] = 0
    first: Annotated[Time | None, Meta(description="The first call that was counted.")] = None
    last: Annotated[Time | None, Meta(description="The last one.")] = None


class VersionCaller(Struct):
    """VersionCaller is a user with a program, and how often they have called the version."""

    user: Annotated[str, Meta(description="The user name.")]
    agent: Annotated[
        str, OmitEmpty, Meta(description="The program, as it names itself. Actors of the server itself have none.")
    ] = ""
    reads: Annotated[int, Meta(description="Gets and lists.")] = 0
    writes: Annotated[int, Meta(description="Creates, updates, patches and deletes.")] = 0
    watches: Annotated[int, Meta(description="Watches that have begun.")] = 0
    first: Annotated[Time | None, Meta(description="The first call that was counted.")] = None
    last: Annotated[Time | None, Meta(description="The last one.")] = None


class VersionUseStatus(Status):
    """VersionUseStatus is who has called it, since calls are counted, over all servers of the database."""

    callers: Annotated[tuple[VersionCaller, ...], OmitEmpty, Meta(description="Those who called it, the last one first.")] = ()
    others: Annotated[Tally | None, Meta(description="Callers who are not listed, together.")] = None


class VersionUseObject(Resource[VersionUseSpec, VersionUseStatus]):
    """VersionUse is a deprecated version of a kind, and who still calls it. It is made and kept by the server."""

    wire_name = "VersionUse"


def name_of(resource: str, version: str) -> str:
    """The name of the object about a version: `v1beta1.probes.uptime.example`."""
    return f"{version}.{resource}"


def tallies(document: Document) -> list[Document]:
    """All that are counted: the callers, and the others, if there are any."""
    status = document.get("status") or {}
    others = status.get("others")
    return [*status.get("callers", ()), *([others] if others else [])]


def calls(tally: Document) -> int:
    """How many calls there were."""
    return sum(int(tally.get(name, 0)) for name in ("reads", "writes", "watches"))


def end(document: Document) -> str:
    """When the version ends, for people; empty: nobody has said so."""
    removed = document["spec"].get("removed") or {}
    return " of ".join(removed[name] for name in ("release", "date") if removed.get(name))


def cells(document: Document, now: float) -> list[Any]:
    """The row of a table, between name and age."""
    counted = tallies(document)
    last = max((each["last"] for each in counted if each.get("last")), default="")
    return [
        len((document.get("status") or {}).get("callers", ())),
        sum(map(calls, counted)),
        since(last, now) if last else "<never>",
        end(document) or "<unknown>",
        document["spec"].get("successor") or "<none>",
    ]


TABLE = printer(
    (
        column("Callers", "Users and programs that have called it."),
        column("Calls", "How often."),
        column("Last Call", "How long ago that was for the last time."),
        column("Removed", "The release in which it is served no longer."),
        column("Successor", "What to call instead.", wide=True),
    ),
    cells,
)
V1 = Version(group=GROUP, name="v1", kind="VersionUse", schema=schema_of(VersionUseObject), model=VersionUseObject, printer=TABLE)
VERSION_USE = Kind(
    name="VersionUse",
    plural=PLURAL,
    singular="versionuse",
    list_kind="VersionUseList",
    versions=(V1,),
    storage=V1,
    namespaced=False,
    owner=KEEPER,
    maker=KEEPER,
    verbs=("get", "list", "watch"),
    strategy=Strategy(),
    source="skep",
)
