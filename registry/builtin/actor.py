"""Actor (skep.dev/v1): an actor of this server, as it was declared and as it is at work. The server makes these objects and keeps
them true; others may read them, and pause an actor (`spec.paused`) or wake it for an object (the annotation `skep.dev/wake`).

Lists in a status are bounded (`KEPT`), their lengths are not: `runningCount` and `failingCount` count all.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from registry.builtin.common import column, printer
from registry.declarations import Place
from registry.errors import Cause, invalid
from registry.kinds import Document, Kind, Strategy, Version
from registry.names import dns1123_label, dns1123_subdomain
from registry.resource import Conditions, Meta, OmitEmpty, Resource, Spec, Status, Struct, Time
from registry.times import since
from registry.typed import schema_of

GROUP = "skep.dev"
PLURAL = "actors"
KEEPER = "system:apiserver"
"""Who alone makes, deletes and reports these objects."""
WAKE = "skep.dev/wake"
"""The annotation that asks for runs: keys, separated by commas. The server takes it out when it has woken them."""
KEPT = 20
"""The most running keys, failing keys and past runs that a status lists."""
MOST_WOKEN = 100
"""The most keys that one annotation may name."""

READY = "Ready"


class KindReference(Struct):
    """KindReference names a kind in one version."""

    api_version: Annotated[str, Meta(description="Group and version, as apps/v1.")]
    kind: Annotated[str, Meta(description="The name of the kind.")]
    resource: Annotated[str, Meta(description="The plural and the group, as probes.uptime.example.")]


class ActorSpec(Spec):
    """ActorSpec is what the plugin declares of an actor, and whether it is paused, which alone can be changed."""

    paused: Annotated[
        bool, Meta(description="Begin no more runs. Those under way finish; what happens meanwhile is done after it is resumed.")
    ] = False
    owns: Annotated[KindReference | None, Meta(description="The kind whose objects it reconciles and whose status it writes.")] = (
        None
    )
    observes: Annotated[tuple[KindReference, ...], OmitEmpty, Meta(description="Other kinds whose changes wake it.")] = ()
    writes: Annotated[tuple[KindReference, ...], OmitEmpty, Meta(description="Other kinds that it writes.")] = ()
    identity: Annotated[str, Meta(description="The user name under which it acts.")] = ""
    mode: Annotated[str, Meta(description="Async: in the event loop. Thread: a plain function, in a worker thread.")] = ""
    concurrency: Annotated[int, Meta(description="How many objects are reconciled at once.")] = 1
    resync_seconds: Annotated[float | None, Meta(description="Every object is looked at again this often.")] = None
    timeout_seconds: Annotated[float | None, Meta(description="A run that takes longer is ended and counts as failed.")] = None
    backoff_seconds: Annotated[
        tuple[float, ...], OmitEmpty, Meta(description="The first wait after a failure, and the longest; each is twice the last.")
    ] = ()
    source: Annotated[str, Meta(description="File and line of the declaration.")] = ""


class RunningKey(Struct):
    """RunningKey is an object that is being reconciled."""

    key: Annotated[str, Meta(description="Namespace and name of the object.")]
    since: Annotated[Time, Meta(description="When the run began.")]


class FailingKey(Struct):
    """FailingKey is an object whose last run failed."""

    key: Annotated[str, Meta(description="Namespace and name of the object.")]
    error: Annotated[str, Meta(description="What went wrong.")]
    failures: Annotated[int, Meta(description="How often in a row.")]
    next_retry: Annotated[Time | None, Meta(description="When it is tried again; absent: when the object changes.")] = None


class PastRun(Struct):
    """PastRun is a run that is over."""

    key: Annotated[str, Meta(description="Namespace and name of the object.")]
    result: Annotated[
        str,
        Meta(description="success, again (looks again later), error, conflict, terminal (no retry), gone (no object was there)."),
    ]
    ended: Annotated[Time, Meta(description="When it ended.")]
    seconds: Annotated[float, Meta(description="How long it took.")]


class Totals(Struct):
    """Totals count since the server was started."""

    runs: Annotated[int, Meta(description="Runs that ended.")] = 0
    seconds: Annotated[float, Meta(description="How long they took together.")] = 0.0
    results: Annotated[dict[str, int], OmitEmpty, Meta(description="Runs by what they came to.")] = {}
    retries: Annotated[int, Meta(description="Failures that are tried again.")] = 0
    restarts: Annotated[int, Meta(description="How often the actor broke and was started again.")] = 0


class ActorStatus(Status):
    """ActorStatus is what an actor is doing, as its server last told."""

    state: Annotated[
        Literal["SettingUp", "Syncing", "Running", "Paused", "Standby", "Failed", "Stopped"] | None,
        Meta(description="Running: at work. SettingUp, Syncing: about to be. Failed: down, about to be started again."),
    ] = None
    message: Annotated[str, OmitEmpty, Meta(description="Why it is not at work.")] = ""
    reported: Annotated[Time | None, Meta(description="When this was written. It is written when something changed.")] = None
    objects: Annotated[int, Meta(description="Objects of its kind.")] = 0
    queue: Annotated[int, Meta(description="Keys that wait for a run.")] = 0
    waiting_since: Annotated[Time | None, Meta(description="Since when the first of them waits.")] = None
    timers: Annotated[int, Meta(description="Keys that have a time at which they are looked at again.")] = 0
    running_count: Annotated[int, Meta(description="Runs under way.")] = 0
    running: Annotated[tuple[RunningKey, ...], OmitEmpty, Meta(description="Runs under way, the longest first.")] = ()
    failing_count: Annotated[int, Meta(description="Keys whose last run failed.")] = 0
    failing: Annotated[tuple[FailingKey, ...], OmitEmpty, Meta(description="Keys whose last run failed, the newest first.")] = ()
    last: Annotated[tuple[PastRun, ...], OmitEmpty, Meta(description="The last runs, the newest first.")] = ()
    totals: Annotated[Totals, Meta(description="Counts since the server was started.")] = Totals()
    leader: Annotated[str, OmitEmpty, Meta(description="The process that runs it, where several could.")] = ""
    epoch: Annotated[int | None, Meta(description="Counts the leaders: writes of an earlier one are refused.")] = None
    conditions: Annotated[Conditions, Meta(description="Ready: it is set up, knows all objects, and is not down.")] = ()


class ActorObject(Resource[ActorSpec, ActorStatus]):
    """Actor is a reconciler of this server: what its plugin declares, and what it is doing. It is made and kept by the server."""

    wire_name = "Actor"


def woken(document: Document) -> list[Place]:
    """The keys that the annotation asks for."""
    text: str = (document["metadata"].get("annotations") or {}).get(WAKE, "")
    keys = [key.strip() for key in text.split(",")]
    return [place_of(key) for key in keys if key]


def place_of(key: str) -> Place:
    """A key as it is written: `namespace/name`, or the name alone of what belongs to no namespace."""
    namespace, slash, name = key.rpartition("/")
    return Place(namespace if slash else "", name)


def check(new: Document, old: Document | None) -> list[Cause]:
    """The annotation names keys that could be."""
    del old
    field = f"metadata.annotations[{WAKE}]"
    places = woken(new)
    if len(places) > MOST_WOKEN:
        return [invalid(field, len(places), f"must name at most {MOST_WOKEN} objects")]
    wrong = [place for place in places if dns1123_subdomain(place.name) or (place.namespace and dns1123_label(place.namespace))]
    return [invalid(field, str(place), "must be the NAMESPACE/NAME of an object, or its NAME") for place in wrong]


def cells(document: Document, now: float) -> list[Any]:
    """The row of a table, between name and age."""
    spec, status = document.get("spec") or {}, document.get("status") or {}
    totals, last = status.get("totals") or {}, status.get("last") or []
    return [
        (spec.get("owns") or {}).get("kind", ""),
        status.get("state") or "Unknown",
        status.get("queue", 0),
        status.get("runningCount", 0),
        status.get("failingCount", 0),
        totals.get("runs", 0),
        since(last[0]["ended"], now) if last else "<none>",
        status.get("objects", 0),
        totals.get("restarts", 0),
        status.get("leader") or "<none>",
        spec.get("source", ""),
    ]


TABLE = printer(
    (
        column("Kind", "The kind that it reconciles."),
        column("State", "What it is at: Running, Paused, Failed, ..."),
        column("Queue", "Keys that wait for a run."),
        column("Running", "Runs under way."),
        column("Failing", "Keys whose last run failed."),
        column("Runs", "Runs since the server was started."),
        column("Last Run", "How long ago the last run ended."),
        column("Objects", "Objects of its kind.", wide=True),
        column("Restarts", "How often it broke and was started again.", wide=True),
        column("Leader", "The process that runs it.", wide=True),
        column("Source", "File and line of its declaration.", wide=True),
    ),
    cells,
)
V1 = Version(group=GROUP, name="v1", kind="Actor", schema=schema_of(ActorObject), model=ActorObject, printer=TABLE)
ACTOR = Kind(
    name="Actor",
    plural=PLURAL,
    singular="actor",
    list_kind="ActorList",
    versions=(V1,),
    storage=V1,
    namespaced=False,
    owner=KEEPER,
    maker=KEEPER,
    verbs=("get", "list", "patch", "update", "watch"),
    strategy=Strategy(check=check),
    source="skep",
)
