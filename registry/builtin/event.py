"""Event: what happened to an object, for people to read. One store, two forms: core/v1 (stored) and events.k8s.io/v1.

The newer form is strict, the older one takes what the clients of many years send.
"""

from __future__ import annotations

from typing import Annotated, Any

from registry.builtin.common import NAME, builtin, column, version, without_empty
from registry.builtin.serviceaccount import ObjectReference
from registry.errors import Cause, invalid, required
from registry.kinds import Document, Printer
from registry.resource import Format, Meta, MicroTime, Object, Struct, Time
from registry.times import since
from registry.typed import node_of
from registry.ways import Form, Step, Ways

NOTE_LIMIT = 1_024
NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
"""Fields of core/v1 by another name in events.k8s.io/v1."""
BACK = {new: old for old, new in NAMES.items()}

Reference = Annotated[ObjectReference | None, Meta(description="The object that it is about.")]
Int32 = Annotated[int, Format("int32")]


class EventSource(Struct):
    """EventSource says where an event comes from."""

    component: str | None = None
    host: str | None = None


class EventSeries(Struct):
    """EventSeries counts an event that goes on happening."""

    count: Int32 | None = None
    last_observed_time: MicroTime | None = None


class CoreEvent(Object):
    """Event is a report of an event somewhere in the system: it tells, it does not promise."""

    wire_name = "Event"
    involved_object: Reference = None
    reason: Annotated[str | None, Meta(description="Why it happened, in one CamelCase word for programs.")] = None
    message: Annotated[str | None, Meta(description="What happened, in a sentence for people.")] = None
    source: Annotated[EventSource | None, Meta(description="Who reports it.")] = None
    first_timestamp: Annotated[Time | None, Meta(description="When it happened first.")] = None
    last_timestamp: Annotated[Time | None, Meta(description="When it happened last.")] = None
    count: Annotated[Int32 | None, Meta(description="How often it happened.")] = None
    type: Annotated[str | None, Meta(description="Normal or Warning; others are let through.")] = None
    event_time: Annotated[MicroTime | None, Meta(description="When it was first observed.")] = None
    series: Annotated[EventSeries | None, Meta(description="How it goes on happening.")] = None
    action: Annotated[str | None, Meta(description="What was done.")] = None
    related: Reference = None
    reporting_component: Annotated[str | None, Meta(description="Which program reports it.")] = None
    reporting_instance: Annotated[str | None, Meta(description="Which instance of that program.")] = None


class Event(Object):
    """Event is a report of an event somewhere in the system, in its stricter form."""

    event_time: Annotated[MicroTime | None, Meta(description="When it was first observed. Required.")] = None
    series: Annotated[EventSeries | None, Meta(description="How it goes on happening.")] = None
    reporting_controller: Annotated[str | None, Meta(description="Which program reports it.")] = None
    reporting_instance: Annotated[str | None, Meta(description="Which instance of that program.")] = None
    action: Annotated[str | None, Meta(description="What was done.")] = None
    reason: Annotated[str | None, Meta(description="Why it happened, in one CamelCase word for programs.")] = None
    regarding: Reference = None
    related: Reference = None
    note: Annotated[str | None, Meta(description="What happened, in a sentence for people.")] = None
    type: Annotated[str | None, Meta(description="Normal or Warning.")] = None
    deprecated_source: Annotated[EventSource | None, Meta(description="Who reports it, in core/v1.")] = None
    deprecated_first_timestamp: Annotated[Time | None, Meta(description="When it happened first, in core/v1.")] = None
    deprecated_last_timestamp: Annotated[Time | None, Meta(description="When it happened last, in core/v1.")] = None
    deprecated_count: Annotated[Int32 | None, Meta(description="How often it happened, in core/v1.")] = None


def _complete(document: Document) -> Document:
    """The stored form: what Kubernetes always writes is there, null or empty; the rest is left out when empty."""
    always: Document = {
        "involvedObject": {},
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    }
    complete = {**document, **{key: document.get(key, value) for key, value in always.items()}}
    return without_empty(complete, "reason", "message", "type", "count", "action")


def prepare(new: Document, old: Document | None) -> Document:
    """Completes what was written, in whichever form it came."""
    del old
    if new.get("apiVersion") == "v1":
        return _complete(new)
    return decode(encode(new))


def decode(document: Document) -> Document:
    """core/v1 as events.k8s.io/v1."""
    renamed = {NAMES.get(key, key): value for key, value in document.items()}
    return without_empty(renamed, "reportingController", "reportingInstance") | {"apiVersion": "events.k8s.io/v1"}


def encode(document: Document) -> Document:
    """events.k8s.io/v1 as core/v1."""
    return _complete({BACK.get(key, key): value for key, value in document.items()} | {"apiVersion": "v1"})


def check(new: Document, old: Document | None) -> list[Cause]:
    """An event is in the namespace of what it is about; with an event time it says who did what, as the newer form does."""
    del old
    event = encode(new) if new.get("apiVersion") != "v1" else new
    causes = []
    about = event["involvedObject"].get("namespace", "")
    namespace = event["metadata"].get("namespace", "")
    if about != namespace and not (not about and namespace == "default"):
        causes.append(invalid("involvedObject.namespace", about, "does not match event.namespace"))
    if event.get("eventTime") is None:
        return causes
    fields = {
        "reportingComponent": "reportingController",
        "reportingInstance": "reportingInstance",
        "action": "action",
        "reason": "reason",
    }
    causes += [required(name) for field, name in fields.items() if not event.get(field)]
    if len(event.get("message", "").encode()) > NOTE_LIMIT:
        causes.append(invalid("message", "", f"can have at most {NOTE_LIMIT} characters"))
    return causes


def check_new(new: Document, old: Document | None) -> list[Cause]:
    """What only the newer form refuses."""
    if old is not None:
        return []
    if not new.get("eventTime"):
        return [required("eventTime")]
    causes = []
    if new.get("type") not in ("Normal", "Warning"):
        causes.append(invalid("type", "", f"has invalid value: {new.get('type', '')}"))
    old_fields = ("deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount", "deprecatedSource")
    return causes + [invalid(BACK[field], "", "needs to be unset") for field in old_fields if new.get(field)]


def cells(document: Document, now: float) -> list[Any]:
    """The row that kubectl shows for an event."""
    event = document if "involvedObject" in document else encode(document)
    about, source, series = event["involvedObject"], event["source"] or {}, event.get("series") or {}
    last = series.get("lastObservedTime") or event["lastTimestamp"] or event["eventTime"]
    first = event["firstTimestamp"] or event["eventTime"]
    component = source.get("component") or event["reportingComponent"]
    host = source.get("host") or event["reportingInstance"]
    return [
        since(last, now),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}" if about.get("kind") else about.get("name", ""),
        about.get("fieldPath", ""),
        f"{component}, {host}" if component and host else component or host,
        event.get("message", "").strip(),
        since(first, now),
        series.get("count") or event.get("count") or 1,
        event["metadata"]["name"],
    ]


TABLE = Printer(
    (
        column("Last Seen", "When it happened last."),
        column("Type", "Normal or Warning."),
        column("Reason", "Why it happened."),
        column("Object", "What it is about."),
        column("Subobject", "The part of the object that it is about.", wide=True),
        column("Source", "Who reports it.", wide=True),
        column("Message", "What happened."),
        column("First Seen", "When it happened first.", wide=True),
        column("Count", "How often it happened.", wide=True),
        type(NAME)(NAME.name, "", "string", NAME.description, 1, "name"),
    ),
    cells,
)
REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
COMMON = {"reason": ".reason", "type": ".type"}
CORE_FIELDS = {
    **{f"involvedObject.{field}": f".involvedObject.{field}" for field in REFERENCE},
    **COMMON,
    "reportingComponent": ".reportingComponent",
    "source": ".source.component",
}
NEW_FIELDS = {
    **{f"regarding.{field}": f".regarding.{field}" for field in REFERENCE},
    **COMMON,
    "reportingController": ".reportingController",
}
WAYS = Ways(
    "Event",
    {"v1": Form("core", node_of(CoreEvent)), "events.k8s.io/v1": Form("events", node_of(Event))},
    (Step("core", "events", "event.decode", decode), Step("events", "core", "event.encode", encode)),
    memory=0,
    exact=True,
)
"""The two groups name the same fields differently. Nothing is remembered of Events: there are many, and each is read once."""
EVENT = builtin(
    "Event",
    "events",
    (
        version(CoreEvent, "", "v1", "Event", TABLE, selectable=CORE_FIELDS, ways=WAYS),
        version(Event, "events.k8s.io", "v1", "Event", TABLE, selectable=NEW_FIELDS, ways=WAYS, check=check_new),
    ),
    prepare=prepare,
    check=check,
    short=("ev",),
    create_on_update=True,
    collected=False,
)
