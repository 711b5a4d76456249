"""Stored objects brought into the version that their kind is stored in, while the server serves.

A write that changes nothing is not written, so that no client can do this. What it promises, whoever writes meanwhile:

* An object is written as it was found: if somebody else was faster, it is looked at again.
* In every version it reads as before, its metadata too, but for the resourceVersion. An object for which that cannot be had is left
  as it is, and named with the reason.
* Nothing is admitted: no handler is asked, since nothing is changed that anybody can see. `generation` stays as it is.
* What is in the version already is not written, so that a second time costs no writes, and one that broke off goes on.

    GET  /migrations                    all kinds, and how many objects are stored in which version
    GET  /migrations/{resource}         one of them
    POST /migrations/{resource}         rewrites some objects: {"after": "", "limit": 100, "dryRun": false}

These are paths and no resources: who may call them is said by `nonResourceURLs` of a role.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import anyio
import msgspec
from anyio.lowlevel import checkpoint
from msgspec import Meta
from starlette.responses import Response

from apiserver import refusals
from apiserver.answers import Send
from apiserver.receiving import ASGI, Receive, Scope, body_of, headers_of
from apiserver.stored import as_it_is, document_of
from registry.catalog import Catalog
from registry.errors import ApiError, BadRequest, MethodNotAllowed, NotFound, ServiceUnavailable
from registry.kinds import Kind, Version
from registry.views import Views, closed, opened
from registry.ways import ConversionError
from storage.store import Closed, Conflict, Key, Put, Record, Store, Unavailable

PATH = "/migrations"
BATCH = 32
"""Objects that are rewritten side by side; the store commits them together."""
LOOKED = 10_000
"""Objects that one request looks at."""
PAUSE = 500
"""Objects that are looked at between two turns of the event loop."""
ATTEMPTS = 5
"""How often an object is decided on that others write at the same time."""
FUTURE_WAIT = 3.0
BODY_BYTES = 16 * 1024
BODY_SECONDS = 30.0

Document = dict[str, Any]


class Unlike(Exception):
    """An object would not be the same any more in a version that is served."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request asks for: to go on after a place, with at most so many objects."""

    after: Annotated[str, Meta(max_length=1_024)] = ""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    dry_run: bool = msgspec.field(default=False, name="dryRun")


class Stepped(NamedTuple):
    """What came of it. `after` is where to go on; empty: there is no more."""

    looked: int
    rewritten: int
    busy: Sequence[str]
    failed: Sequence[tuple[str, str]]
    after: str


def rewritten(kind: Kind, record: Record) -> Put | None:
    """The write that leaves an object in the version that its kind is stored in; None: it is. Raises ConversionError, Unlike."""
    storage = kind.storage
    if record.api_version == storage.api_version:
        return None
    old = document_of(record)
    if storage.ways is None:
        new = {**old, "apiVersion": storage.api_version, "kind": storage.kind}
    else:
        new = _settled(kind, opened(storage.ways, old))
        new["kind"] = storage.kind
        _check(kind, old, new)
    metadata = {key: value for key, value in new["metadata"].items() if key != "resourceVersion"}
    return as_it_is(record.key, {**new, "metadata": metadata}, expect=record.revision)


def _settled(kind: Kind, views: Views) -> Document:
    """An object in the version that is stored, with what of each other version does not follow from it."""
    stored = views.settled(kind.storage.api_version)
    seen = {version.api_version: form for version in kind.served if (form := _seen(views, version)) is not None}
    settled = closed(*stored)
    after = opened(_ways(kind), settled)
    if all(_same(_seen(after, version), seen.get(version.api_version)) for version in kind.served):
        return dict(settled)
    # What a version in the middle shows may follow from neither end alone.
    own = {each: form for each, form in seen.items() if not _ways(kind).same(each, kind.storage.api_version)}
    wider = Views(_ways(kind), {kind.storage.api_version: stored[0], **own}, views.metadata)
    return dict(closed(*wider.settled(kind.storage.api_version)))


def _ways(kind: Kind) -> Any:
    return kind.storage.ways


def _seen(views: Views, version: Version) -> Document | None:
    """The object in a version; None if it cannot be shown there."""
    try:
        return views.seen(version.api_version)
    except ConversionError:
        return None


def _same(new: Document | None, old: Document | None) -> bool:
    """Whether nobody sees a difference. What could not be shown may be shown from now on."""
    return old is None or new == old


def _check(kind: Kind, old: Document, new: Document) -> None:
    """Raises Unlike."""
    before, after = opened(_ways(kind), old), opened(_ways(kind), new)
    for version in kind.served:
        if not _same(_seen(after, version), _seen(before, version)):
            raise Unlike(f"it would not be the same in {version.api_version} any more; `skep registry check` tries the converters")


class Migrator:
    """Rewrites the objects of the kinds of a catalog."""

    def __init__(self, catalog: Catalog, store: Store) -> None:
        self._catalog = catalog
        self._store = store

    async def overview(self) -> Document:
        """All kinds that have objects."""
        return {"kinds": [await self.told(kind) for kind in self._catalog.registry.kinds if kind.stored]}

    def kind(self, resource: str) -> Kind:
        """The kind of a resource. Raises NotFound."""
        kind = self._catalog.registry.of_resource(resource)
        if kind is None or not kind.stored:
            raise NotFound(f"there is no resource {resource!r} here; GET {PATH} has them all")
        return kind

    async def told(self, kind: Kind) -> Document:
        """A kind, and how many of its objects are stored in which version."""
        counts: Counter[str] = Counter()
        for at, record in enumerate(self._store.list(kind.resource).records):
            counts[record.api_version] += 1
            if at % LOOKED == LOOKED - 1:
                await checkpoint()
        return {
            "resource": kind.resource,
            "kind": kind.name,
            "plural": kind.plural,
            "singular": kind.singular,
            "shortNames": list(kind.short_names),
            "storage": kind.storage.api_version,
            "stored": dict(sorted(counts.items())),
        }

    async def step(self, kind: Kind, asked: Step) -> Stepped:
        """Rewrites some objects: those that come next after a place, in the order of lists. Raises ServiceUnavailable."""
        records = self._store.list(kind.resource).records
        namespace, _, name = asked.after.rpartition("/")
        at = bisect_right(records, (namespace, name), key=lambda record: (record.key.namespace, record.key.name)) if name else 0
        end, last = min(len(records), at + LOOKED), at
        wanted: list[Record] = []
        while last < end and len(wanted) < asked.limit:
            if records[last].api_version != kind.storage.api_version:
                wanted.append(records[last])
            last += 1
            if last % PAUSE == 0:
                await checkpoint()
        run = _Run(kind, self._store, asked.dry_run)
        for start in range(0, len(wanted), BATCH):
            await run.batch(wanted[start : start + BATCH])
        after = _place(records[last - 1].key) if last < len(records) else ""
        return Stepped(last - at, run.rewritten, sorted(run.busy), sorted(run.failed), after)


class _Run:
    """What a request did so far."""

    def __init__(self, kind: Kind, store: Store, dry_run: bool) -> None:
        self._kind = kind
        self._store = store
        self._dry_run = dry_run
        self.rewritten = 0
        self.busy: list[str] = []
        self.failed: list[tuple[str, str]] = []

    async def batch(self, records: Sequence[Record]) -> None:
        """Rewrites these, side by side. Raises ServiceUnavailable, when all that was begun has ended."""
        refused: list[ApiError] = []

        async def one(record: Record) -> None:
            try:
                await self._one(record)
            except Unavailable as error:
                refused.append(refusals.unavailable(error))
            except Closed:
                refused.append(ServiceUnavailable("the server is shutting down"))

        async with anyio.create_task_group() as tasks:
            for record in records:
                tasks.start_soon(one, record)
        if refused:
            raise refused[0]

    async def _one(self, found: Record) -> None:
        record: Record | None = found
        for _ in range(ATTEMPTS):
            if record is None:
                return  # it is deleted
            try:
                write = rewritten(self._kind, record)
            except (ConversionError, Unlike) as error:
                self.failed.append((_place(record.key), _why(error)))
                return
            if write is None:
                return  # somebody wrote it meanwhile
            try:
                if not self._dry_run:
                    await self._store.commit(write)
            except Conflict as conflict:
                await self._store.reached(conflict.found, FUTURE_WAIT)
                record = self._store.get(record.key)
                continue
            self.rewritten += 1
            return
        self.busy.append(_place(found.key))


def _place(key: Key) -> str:
    return f"{key.namespace}/{key.name}"


def _why(error: ConversionError | Unlike) -> str:
    """A reason for whoever migrates, without the insides of a converter, which are in the log."""
    return error.message.removeprefix("Internal error occurred: ") if isinstance(error, ConversionError) else str(error)


class MigrationPages:
    """The paths of migrations, before those of other pages. Requests have been authorized. Refusals leave it as ApiError."""

    def __init__(self, pages: ASGI, migrator: Migrator) -> None:
        self._pages = pages
        self._migrator = migrator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        path: str = scope["path"].rstrip("/")
        if path != PATH and not path.startswith(f"{PATH}/"):
            await self._pages(scope, receive, send)
            return
        answer = await self._answer(scope["method"], path.removeprefix(PATH).removeprefix("/"), scope, receive)
        response = Response(
            msgspec.json.encode(answer), headers={"content-type": "application/json", "cache-control": "no-cache, private"}
        )
        await response(scope, receive, send)

    async def _answer(self, method: str, resource: str, scope: Scope, receive: Receive) -> Document:
        if method in ("GET", "HEAD"):
            return await (self._migrator.told(self._migrator.kind(resource)) if resource else self._migrator.overview())
        if method != "POST" or not resource:
            raise MethodNotAllowed("the server does not allow this method on the requested resource", details={})
        kind = self._migrator.kind(resource)
        asked = _asked(await body_of(headers_of(scope["headers"]), receive, BODY_BYTES, BODY_SECONDS))
        done = await self._migrator.step(kind, asked)
        return {
            "resource": kind.resource,
            "storage": kind.storage.api_version,
            "looked": done.looked,
            "rewritten": done.rewritten,
            "busy": list(done.busy),
            "failed": [{"object": place, "message": message} for place, message in done.failed],
            "after": done.after,
        }


def _asked(body: bytes) -> Step:
    try:
        return msgspec.json.decode(body or b"{}", type=Step)
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not what a migration is asked with: {error}") from None
