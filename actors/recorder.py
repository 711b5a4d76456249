"""Events: what an actor has to say about an object, where people look for it (`kubectl describe`, `kubectl events`).

What it promises:

* **Never in the way.** Recording only notes; writing happens in a task of its own, and a write that fails is logged and dropped.
* **Folded.** The same about the same object within ten minutes is one Event with a `count`, as Kubernetes clients do it.
* **Bounded.** At most `_REMEMBERED` distinct Events are kept in mind; the one not repeated for longest is forgotten first.
* **Discreet.** Messages are one line of at most 1,024 characters (the API's limit), and what looks like a credential is left out.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import anyio

from actors.clock import Clock
from actors.workqueue import Chance
from registry.errors import NotFound
from registry.nodes import Document
from registry.times import format_time

EventType = Literal["Normal", "Warning"]

_WINDOW = 600.0
"""Seconds without a repeat after which the same is a new Event."""

_REMEMBERED = 1000
_MESSAGE_LIMIT = 1024
_NAME_LIMIT = 253
_WRITE_SECONDS = 10.0

_SECRETS = (
    (re.compile(r"(\w+://)[^/\s@]+@"), r"\1***@"),
    (re.compile(r"\b(authorization[\"']?\s*[:=]\s*[\"']?\w+|bearer)\s+[\w.~+/=-]{8,}", re.IGNORECASE), r"\1 ***"),
    (re.compile(r"((?:password|passwd|secret|token|api[_-]?key)[\"']?\s*[:=]\s*)[\"']?[^\s,;&\"']+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b(skep_(?:live|test)_[0-9A-Za-z]{4})[0-9A-Za-z]+"), r"\1***"),
)


class Log(Protocol):
    """A structured logger: a short event and fields. structlog's bound loggers are such."""

    def debug(self, event: str, /, **fields: Any) -> Any: ...
    def info(self, event: str, /, **fields: Any) -> Any: ...
    def warning(self, event: str, /, **fields: Any) -> Any: ...
    def error(self, event: str, /, **fields: Any) -> Any: ...


class EventSink(Protocol):
    """Where core/v1 Events are written, under the identity of whoever records them. Refusals are `ApiError`s."""

    async def create(self, namespace: str, event: Document) -> object:
        """Creates an Event."""
        ...

    async def patch(self, namespace: str, name: str, merge: Document) -> object:
        """Changes an Event by a merge patch. Raises NotFound when it has expired."""
        ...


class Recorder(Protocol):
    """Takes what is said about objects."""

    def record(self, about: Document, type: EventType, reason: str, message: str) -> None:
        """Notes an Event about the object, which needs its type and metadata. Returns at once, whatever comes of it."""
        ...

    async def run(self) -> None:
        """Writes what was noted, until it is cancelled."""
        ...

    async def flush(self) -> None:
        """Returns when everything that was noted has been written, or could not be. Needs `run`."""
        ...


class _Same(NamedTuple):
    """What must be equal for two Events to be one."""

    uid: str
    namespace: str
    name: str
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class _Entry:
    """An Event in mind: `count` times between `first` and `last` (seconds since 1970), of which `written` are known to the server.

    `event` is its name at the server, empty when it is to be created.
    """

    about: Document
    first: float
    last: float
    count: int = 0
    written: int = 0
    event: str = ""


class EventRecorder:
    """A `Recorder` that writes core/v1 Events as `component`. See the module."""

    def __init__(self, sink: EventSink, component: str, clock: Clock, chance: Chance, log: Log) -> None:
        self._sink = sink
        self._component = component
        self._clock = clock
        self._chance = chance
        self._log = log
        self._entries: OrderedDict[_Same, _Entry] = OrderedDict()  # the one repeated last is last
        self._unwritten: dict[_Same, _Entry] = {}  # entries with count > written, in order; may hold some that are forgotten
        self._noted = anyio.Event()
        self._settled = anyio.Event()

    def record(self, about: Document, type: EventType, reason: str, message: str) -> None:
        """See `Recorder.record`."""
        metadata = about["metadata"]
        said = presentable(message)
        same = _Same(metadata.get("uid", ""), metadata.get("namespace", ""), metadata["name"], type, reason, said)
        now = self._clock.time()
        entry = self._entries.pop(same, None)
        if entry is None or now - entry.last > _WINDOW:
            entry = _Entry(about=_reference(about), first=now, last=now)
        entry.count += 1
        entry.last = now
        self._entries[same] = entry
        self._unwritten[same] = entry
        while len(self._entries) > _REMEMBERED:
            forgotten, _ = self._entries.popitem(last=False)
            if self._unwritten.pop(forgotten, None) is not None:
                self._log.warning("event dropped", component=self._component, object=forgotten.name, reason=forgotten.reason)
        self._noted.set()

    async def run(self) -> None:
        """See `Recorder.run`."""
        while True:
            while self._unwritten:
                same = next(iter(self._unwritten))
                await self._write(same, self._unwritten.pop(same))
            self._settled.set()
            self._settled = anyio.Event()
            await self._noted.wait()
            self._noted = anyio.Event()

    async def flush(self) -> None:
        """See `Recorder.flush`."""
        self._noted.set()
        await self._settled.wait()

    async def _write(self, same: _Same, entry: _Entry) -> None:
        """One write, whatever the number of repeats since the last. What fails is not tried again until the next repeat."""
        count, due = entry.count, self._clock.now() + _WRITE_SECONDS
        problem = f"no answer within {_WRITE_SECONDS:g} s"
        with self._clock.deadline(due):
            try:
                await self._create_or_count(same, entry)
            except Exception as error:  # whatever the sink raises: an Event is never worth more than a line in the log
                problem = presentable(str(error))
            else:
                entry.written = count
                return
        self._log.warning("event not written", component=self._component, object=same.name, reason=same.reason, error=problem)

    async def _create_or_count(self, same: _Same, entry: _Entry) -> None:
        namespace = same.namespace or "default"  # where Kubernetes files Events about what is in no namespace
        if entry.event:
            try:
                await self._sink.patch(namespace, entry.event, {"count": entry.count, "lastTimestamp": format_time(entry.last)})
            except NotFound:
                entry.event = ""
            else:
                return
        name = self._name(same.name)
        await self._sink.create(namespace, self._event(name, namespace, same, entry))
        entry.event = name

    def _name(self, about: str) -> str:
        suffix = f".{int(self._chance.random() * 2**53):016x}"
        return about[: _NAME_LIMIT - len(suffix)].rstrip(".-") + suffix

    def _event(self, name: str, namespace: str, same: _Same, entry: _Entry) -> Document:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": entry.about,
            "type": same.type,
            "reason": same.reason,
            "message": same.message,
            "count": entry.count,
            "firstTimestamp": format_time(entry.first),
            "lastTimestamp": format_time(entry.last),
            "source": {"component": self._component},
            "reportingComponent": self._component,
        }


def presentable(message: str) -> str:
    """One line of at most 1,024 characters, without what looks like a credential."""
    line = " ".join(message.split())
    for pattern, replacement in _SECRETS:
        line = pattern.sub(replacement, line)
    return line if len(line) <= _MESSAGE_LIMIT else line[: _MESSAGE_LIMIT - 3] + "..."


def _reference(about: Document) -> Document:
    """The `involvedObject` of an Event: what is not known is left out."""
    metadata = about["metadata"]
    reference = {
        "apiVersion": about.get("apiVersion", ""),
        "kind": about.get("kind", ""),
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {key: value for key, value in reference.items() if value}
