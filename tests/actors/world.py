"""What the tests of actors run in: kinds, a clock that stands still, and an API of a few lines that keeps what it is given.

`World` is a `Source`, a `Door` and an `EventSink` in one. It can be told to misbehave the way servers do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel

from actors.actor import from_declaration
from actors.cache import Change, Listing, hold
from actors.client import Op, Preconditions
from actors.door import Page, Query
from actors.recorder import EventRecorder
from actors.runner import Environment, Runner
from registry.declarations import ActorDeclaration, Place
from registry.errors import AlreadyExists, ConflictError, ExpiredError, Invalid, NotFound, forbidden
from registry.nodes import Document
from registry.patches import merge_patch
from registry.resource import Conditions, Metadata, Resource, Spec, Status


class JobSpec(Spec):
    size: int = 1


class JobStatus(Status):
    seen: int = 0
    note: str | None = None
    conditions: Conditions = ()


class Job(Resource[JobSpec, JobStatus]):
    """What the actors of the tests own."""


class PartSpec(Spec):
    job: str = ""


class Part(Resource[PartSpec, None]):
    """What they only look at, or write."""


def job(name: str, size: int = 1, namespace: str = "shop") -> Job:
    return Job(metadata=Metadata(name=name, namespace=namespace), spec=JobSpec(size=size))


async def settled() -> None:
    """Returns when nothing is left to do until something happens or the clock goes on.

    This is what anyio's `wait_all_tasks_blocked` does, which takes a tenth of a second whenever it has to wait at all.
    """
    calm = 0
    while calm < 2:
        await anyio.lowlevel.checkpoint()
        waiters = [task._fut_waiter for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        calm = calm + 1 if all(waiter is not None and not waiter.done() for waiter in waiters) else 0


class VirtualClock:
    """Stands still until it is told how far to go."""

    def __init__(self) -> None:
        self.moment = 1000.0
        self._waiting: list[tuple[float, anyio.CancelScope]] = []

    def now(self) -> float:
        return self.moment

    def time(self) -> float:
        return 1_700_000_000.0 + self.moment

    @contextmanager
    def deadline(self, due: float | None) -> Iterator[anyio.CancelScope]:
        with anyio.CancelScope() as scope:
            if due is None:
                yield scope
                return
            if due <= self.moment:
                scope.cancel()
            entry = (due, scope)
            self._waiting.append(entry)
            try:
                yield scope
            finally:
                self._waiting.remove(entry)

    async def advance(self, seconds: float) -> None:
        """Time goes on; whatever falls due happens in order, each when it is due."""
        end = self.moment + seconds
        await settled()
        while (due := min((due for due, _ in self._waiting), default=end + 1)) <= end:
            self.moment = max(self.moment, due)
            for each, scope in self._waiting:
                if each <= self.moment:
                    scope.cancel()
            await settled()
        self.moment = end


class Written(NamedTuple):
    """A write that came through the door."""

    verb: str
    kind: str
    name: str
    body: Any


class World:
    """An API server, as far as actors can tell."""

    def __init__(self) -> None:
        self.revision = 0
        self.horizon = 0  # a watch from before is refused
        self.objects: dict[tuple[type, Place], Document] = {}
        self.changes: list[tuple[type, Op, Change, Document]] = []
        self.written: list[Written] = []  # by anybody
        self.events: list[Document] = []
        self.faults: list[Exception] = []  # raised by the next calls of list, watch or a write, one each
        self.deaf = False  # changes are kept from watchers until this is False again
        self.stutters = False  # every batch of changes is delivered twice
        self.watches = 0  # begun so far
        self._grown = anyio.Event()
        self._cut = False

    # What tests do.

    def job(self, name: str) -> Document:
        return self.objects[Job, Place("shop", name)]

    def names(self, verb: str) -> list[str]:
        return [each.name for each in self.written if each.verb == verb]

    def put(self, model: type, document: Document) -> Document:
        """Somebody writes an object, whatever was there."""
        metadata = document["metadata"]
        place = Place(metadata.get("namespace", ""), metadata["name"])
        old = self.objects.get((model, place))
        self.revision += 1
        metadata = {"uid": f"uid-{self.revision}", "generation": 1} | metadata | {"resourceVersion": str(self.revision)}
        new = {"apiVersion": "t.example/v1", "kind": model.__name__} | document | {"metadata": metadata}
        if old is not None and old.get("spec") != new.get("spec"):
            metadata["generation"] = old["metadata"]["generation"] + 1
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.objects.pop((model, place), None)
            self._publish(model, Op.DELETED, new)
            return new
        self.objects[model, place] = new
        self._publish(model, Op.ADDED if old is None else Op.MODIFIED, new)
        return new

    def change(self, name: str, **merge: Any) -> Document:
        """Somebody changes a job."""
        return self.put(Job, merge_patch(self.job(name), merge))

    def remove(self, model: type, place: Place) -> None:
        """Somebody deletes an object, and it is gone."""
        old = self.objects.pop((model, place))
        self.revision += 1
        self._publish(model, Op.DELETED, old)

    def ask_to_delete(self, model: type, place: Place) -> Document | None:
        """Somebody deletes an object: it is gone, or waits for its finalizers."""
        old = self.objects[model, place]
        if old["metadata"].get("finalizers"):
            return self.put(model, merge_patch(old, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}))
        self.remove(model, place)
        return None

    def cut(self) -> None:
        """Every watch ends."""
        self._cut = True
        self.hear()

    def hear(self) -> None:
        """Watchers look whether there is something."""
        self.deaf = False
        self._grown.set()
        self._grown = anyio.Event()

    def _publish(self, model: type, op: Op, document: Document) -> None:
        self.changes.append((model, op, Change(op is Op.DELETED, self.revision, hold(document)), document))
        if not self.deaf:
            self.hear()

    def _fault(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    async def _after(self, model: type, after: int) -> AsyncGenerator[list[tuple[Op, Change, Document]], None]:
        self._fault()
        self.watches += 1
        if after < self.horizon:
            raise ExpiredError(f"too old resource version: {after} ({self.horizon})")
        self._cut = False
        while not self._cut:
            grown = self._grown
            found = [] if self.deaf else [each for each in self.changes if each[0] is model and each[2].revision > after]
            if found:
                after = found[-1][2].revision
                for _ in range(1 + self.stutters):
                    yield [(op, change, document) for _, op, change, document in found]
            else:
                await grown.wait()

    def source(self) -> _Source:
        return _Source(self)

    # Door.

    async def get(self, model: type, place: Place) -> Document:
        await anyio.lowlevel.checkpoint()
        if (model, place) not in self.objects:
            raise NotFound(f'{model.__name__} "{place.name}" not found')
        return self.objects[model, place]

    async def list(self, model: type, namespace: str | None, query: Query, more: str) -> Page:
        await anyio.lowlevel.checkpoint()
        name = query.fields.removeprefix("metadata.name=")
        found = [
            document
            for (each, place), document in sorted(self.objects.items(), key=lambda item: item[0][1])
            if each is model and namespace in (None, place.namespace) and name in ("", place.name)
        ]
        start = int(more or 0)
        return Page(found[start : start + 2], self.revision, str(start + 2) if start + 2 < len(found) else "")

    async def create(self, model: type, namespace: str, document: Document) -> Document:
        place = Place(namespace, document["metadata"]["name"])
        await self._writing("create", model, place, document)
        if (model, place) in self.objects:
            raise AlreadyExists(f'{model.__name__} "{place.name}" already exists')
        return self.put(model, document)

    async def update(self, model: type, place: Place, document: Document, subresource: str) -> Document:
        await self._writing("update", model, place, document)
        old = await self.get(model, place)
        if document["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]:
            raise ConflictError("the object has been modified")
        kept = "spec" if subresource else "status"
        return self.put(model, {**document, kept: old.get(kept)})

    async def patch(self, model: type, place: Place, merge: Document, subresource: str) -> Document:
        await self._writing(f"patch {subresource}".strip(), model, place, merge)
        old = await self.get(model, place)
        sent, there = merge.get("metadata", {}), old["metadata"]
        if sent.get("uid", there["uid"]) != there["uid"]:
            raise ConflictError("the uid in the precondition is another one")
        if sent.get("resourceVersion", there["resourceVersion"]) != there["resourceVersion"]:
            raise ConflictError("the object has been modified")
        if there.get("deletionTimestamp") and set(sent.get("finalizers") or ()) - set(there.get("finalizers") or ()):
            raise Invalid(model.__name__, "t.example", place.name, [forbidden("metadata.finalizers", "no new finalizers")])
        return self.put(model, merge_patch(old, merge))

    async def delete(self, model: type, place: Place, preconditions: Preconditions) -> Document | None:
        await self._writing("delete", model, place, preconditions)
        there = (await self.get(model, place))["metadata"]
        if preconditions.uid not in (None, there["uid"]):
            raise ConflictError("the uid in the precondition is another one")
        if preconditions.revision not in (None, int(there["resourceVersion"])):
            raise ConflictError("the object has been modified")
        return self.ask_to_delete(model, place)

    async def watch(
        self, model: type, namespace: str | None, query: Query, after: int
    ) -> AsyncGenerator[Sequence[tuple[Op, Document]], None]:
        name = query.fields.removeprefix("metadata.name=")
        async for found in self._after(model, after):
            yield [
                (op, {**document, "metadata": {**document["metadata"], "resourceVersion": str(change.revision)}})
                for op, change, document in found
                if namespace in (None, change.held.place.namespace) and name in ("", change.held.place.name)
            ]

    async def _writing(self, verb: str, model: type, place: Place, body: Any) -> None:
        await anyio.lowlevel.checkpoint()
        self._fault()
        self.written.append(Written(verb, model.__name__, place.name, body))


class _Source:
    """The world as a runner's source."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def list(self, model: type) -> Listing:
        await anyio.lowlevel.checkpoint()
        self._world._fault()
        found = [hold(document) for (each, _), document in self._world.objects.items() if each is model]
        return Listing(self._world.revision, found)

    async def watch(self, model: type, after: int) -> AsyncGenerator[Sequence[Change], None]:
        async for found in self._world._after(model, after):
            yield [change for _, change, _ in found]


class Sink:
    """Where Events go."""

    def __init__(self) -> None:
        self.events: dict[str, Document] = {}
        self.faults: list[Exception] = []
        self.hangs = False
        self.calls = 0

    async def create(self, namespace: str, event: Document) -> None:
        await self._called()
        self.events[event["metadata"]["name"]] = event

    async def patch(self, namespace: str, name: str, merge: Document) -> None:
        await self._called()
        if name not in self.events:
            raise NotFound(f'events "{name}" not found')
        self.events[name] = merge_patch(self.events[name], merge)

    async def _called(self) -> None:
        self.calls += 1
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        if self.hangs:
            await anyio.sleep_forever()
        if self.faults:
            raise self.faults.pop(0)

    def said(self) -> list[tuple[str, str, int]]:
        return [(event["reason"], event["message"], event["count"]) for event in self.events.values()]


class Lines:
    """A log that is kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def _line(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.lines.append((level, event, fields))

    def __getattr__(self, level: str) -> Callable[..., None]:
        return self._line(level)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for _, said, fields in self.lines if said == event]


class Stage:
    """Everything an actor of a test runs in. Chance is that of a fixed seed."""

    def __init__(self) -> None:
        self.world = World()
        self.clock = VirtualClock()
        self.sink = Sink()
        self.log = Lines()

    def runner(self, reconcile: Callable[..., Any], **options: Any) -> Runner:
        declaration = ActorDeclaration(name="test", model=Job, reconcile=reconcile, source="plugin.py:7", **options)
        environment = Environment(
            source=self.world.source(),
            door=self.world,
            recorder=EventRecorder(self.sink, "test", self.clock, Random(5), self.log),
            clock=self.clock,
            chance=Random(7),
            log=self.log,
        )
        return Runner(from_declaration(declaration), environment)

    @asynccontextmanager
    async def running(self, reconcile: Callable[..., Any], **options: Any) -> AsyncIterator[Runner]:
        """The actor runs; when the block is entered, nothing is left to do."""
        runner = self.runner(reconcile, **options)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await settled()
            yield runner
            tasks.cancel_scope.cancel()
