"""The request path. Every read and write of the API goes through here, whether it came over a socket or from an actor in this
process.

A call has been authenticated and its path resolved. Then, in this order:

    authorize    on the address alone, before the body is looked at
    understand   the body, in the version of the path (`apiserver.intake`)
    decide       what the object becomes: what the server owns, what the subresource may change (`apiserver.prepare`)
    admit        mutate, then validate; every cause is reported together (`apiserver.admitting`)
    store        with the revision that it was decided on; when that is not the newest any more, decide again

Fan-out is part of the store's commit, and answering is up to the caller: results are stored records, not bytes.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import anyio
import msgspec
from msgspec.structs import replace

from admission.identity import is_server
from apiserver import (
    agreement,
    applying,
    asking,
    converting,
    deleting,
    fencing,
    intake,
    lists,
    patching,
    prepare,
    refusals,
    scaling,
    shaping,
)
from apiserver.admitting import Admission
from apiserver.calls import Answer, Call, Document
from apiserver.definitions_guard import Defined
from apiserver.forms import Page
from apiserver.matching import Matcher
from apiserver.options import DeleteOptions, ListOptions, WriteOptions, list_options, text, write_options
from apiserver.quotas import Quotas
from apiserver.roles import Authorization
from apiserver.stored import document_of, in_version, is_deleting, key_of, put, unstored
from apiserver.target import Target
from apiserver.turns import Turns
from registry.catalog import Catalog, Registry
from registry.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Cause,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
)
from registry.kinds import Kind
from registry.managed import Writer
from registry.selectors import FieldSelector, LabelSelector
from registry.times import format_time
from registry.unasked import answered
from registry.ways import Unreached
from storage.store import Change, Closed, Conflict, Key, Record, Remove, Store, Unavailable, Write

ATTEMPTS = 5
"""How often a write whose turn it is is decided, when writes of other processes, or such as had begun before, were faster."""
NAME_ATTEMPTS = 8
"""How many generated names are tried."""

Admit = Callable[[Call, WriteOptions, Target, Document], Awaitable[Document]]
"""Asks whether what is not stored may be made: see `Admission.admit_asked`."""
Subresource = Callable[[Call, Admit], Awaitable[Answer]]
"""Answers calls of a subresource. They are authorized, and of a verb that it has."""


class Manager:
    """Serves the kinds of a catalog from one store. `now` is the time in seconds since 1970; `chance` makes names and uids.

    `largest` bounds the bytes of an object: a request is bounded, but one patch after another makes any object larger.
    `subresources` answer the calls that are about nothing that is stored, by resource and subresource: a request for a token
    (`serviceaccounts`, `token`), the create of a kind that is only answered (no subresource).
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        authorization: Authorization,
        admission: Admission,
        *,
        now: Callable[[], float],
        chance: random.Random,
        largest: int = 6 * 2**20,
        subresources: Mapping[tuple[str, str], Subresource] = MappingProxyType({}),
    ) -> None:
        self.catalog = catalog
        self.store = store
        self.authorization = authorization
        self._admission = admission
        self._now = now
        self._chance = chance
        self._largest = largest
        self._quotas = Quotas()
        self._defined = Defined()
        self._turns = Turns()
        self._subresources = subresources
        self._verbs = {
            "get": self.get,
            "list": self.list,
            "create": self.create,
            "update": self.update,
            "patch": self.patch,
            "delete": self.delete,
            "deletecollection": self.delete_collection,
        }

    @property
    def registry(self) -> Registry:
        """All kinds that there are at this moment."""
        return self.catalog.registry

    async def handle(self, call: Call) -> Answer:
        """Carries out any call but a watch. Raises ApiError."""
        if call.target.version.warning:
            call.warn(call.target.version.warning)
        if call.decision is None:
            self.authorize(call)
        self.check_verb(call)
        own = self._subresources.get((call.target.kind.resource, call.target.subresource))
        try:
            return await (self._verbs[call.verb](call) if own is None else own(call, self._admission.admit_asked))
        except Unavailable as error:
            raise refusals.unavailable(error) from error
        except Closed as error:
            raise ServiceUnavailable("the server is shutting down") from error

    def authorize(self, call: Call) -> None:
        """Asks whether the call may be made, and keeps the decision. Raises Forbidden."""
        attributes = asking.attributes(call.identity, call.verb, call.target, call.query)
        call.decision = self.authorization.decide(attributes)
        if not call.decision.allowed:
            raise refusals.unauthorized(attributes, call.decision.reason)

    def check_verb(self, call: Call) -> None:
        """Subresources know fewer verbs than objects, and some kinds know fewer than others."""
        target, verb = call.target, call.verb
        kind = target.kind
        answered = kind.stored or (verb in kind.verbs and (kind.resource, "") in self._subresources)
        if not answered or (verb == "deletecollection" and not kind.strategy.collection_deletes):
            raise MethodNotAllowed("the server does not allow this method on the requested resource", details={})
        if not target.subresource:
            return
        allowed = kind.verbs_of(target.subresource)
        if allowed is None:
            raise refusals.not_found(target)
        own = (kind.resource, target.subresource) in self._subresources
        if verb not in allowed and not own:
            raise refusals.no_verb(target, verb)
        if verb not in allowed or (verb == "create" and not own):  # nothing is created below an object, but by those who answer so
            raise MethodNotAllowed("the server does not allow this method on the requested resource", details={})

    # Reading

    async def get(self, call: Call) -> Answer:
        """One object, as new as anybody has seen it (or, with a resourceVersion, at least as new as that)."""
        await lists.caught_up(self.store, text(call.query, "resourceVersion"))
        target, record = call.target, self._record(call.target)
        if target.subresource == "scale":
            return Answer(document=await self._scale(target.kind, record))
        return Answer(record=record if target.version.ways is None else await converting.one(target.version, record))

    async def list(self, call: Call) -> Answer:
        """A page of a collection, all of it from one moment."""
        options = list_options(call.query, watch=False)
        return Answer(page=await self._shown(call, await lists.page(self.store, call.target, self.matcher(call, options), options)))

    async def _shown(self, call: Call, page: Page) -> Page:
        """The page in the version of the path. What cannot be converted is left out, and told of."""
        version = call.target.version
        if version.ways is None:
            return page
        records, spoilt = await lists.convertible(version, page.records)
        for warning in (*page.spoilt, *spoilt):
            call.warn(warning)
        return replace(page, records=records)

    @staticmethod
    async def _scale(kind: Kind, record: Record) -> Document:
        """The Scale of an object, whose paths are those of the stored version."""
        return scaling.scale_of(kind, in_version(kind.storage, await converting.one(kind.storage, record)))

    def matcher(self, call: Call, options: ListOptions) -> Matcher:
        """What a list or a watch is about. Raises BadRequest."""
        labels, fields = LabelSelector.parse(options.label_selector), FieldSelector.parse(options.field_selector)
        return Matcher(call.target.kind, call.target.version, call.target.namespace, labels, fields)

    def _record(self, target: Target) -> Record:
        record = self.store.get(key_of(target))
        if record is None:
            raise refusals.not_found(target)
        return record

    # Writing

    async def create(self, call: Call) -> Answer:
        """A new object.

        Raises AlreadyExists, Invalid, BadRequest, NotFound (its namespace), Forbidden (which goes, or is full).
        """
        target, options = call.target, write_options(call.query, "CreateOptions")
        taken = await intake.received(self.registry, target, call.body, call.content_type, options)
        call.warnings += taken.warnings
        document = taken.document
        agreement.check_open(target, document)
        agreement.check_namespace(target, document)
        if target.name and document["metadata"].setdefault("name", target.name) != target.name:
            raise refusals.other_name(target, document["metadata"]["name"])
        if document["metadata"].get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        generated = not document["metadata"].get("name")
        for attempt in range(NAME_ATTEMPTS if generated else 1):
            fresh = {**document, "metadata": dict(document["metadata"])}
            fresh = prepare.created(target.kind, fresh, target.namespace, self._now(), self._chance)
            require = agreement.required_namespace(self.store, target, fresh["metadata"].get("name", ""))
            try:
                return await self._create(call, options, fresh, taken.causes, require)
            except AlreadyExists:
                if not generated or attempt == NAME_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _create(
        self, call: Call, options: WriteOptions, document: Document, causes: Sequence[Cause], require: tuple[Key, int] | None
    ) -> Answer:
        kind = call.target.kind
        document, views = await shaping.admitted(self._admission, call, options, document, None, causes)
        name = document["metadata"]["name"]
        key = Key(kind.resource, document["metadata"].get("namespace", ""), name)
        counted = None if is_server(call.identity) else self._quotas.guard(kind.resource, key.namespace)
        guard, form = self._defined.guard(kind, counted), views or call.target.version
        write = await answered(lambda: put(kind, form, key, document, expect=0, require=require, guard=guard))
        prepare.check_size(write.desired, write.status, self._largest, None)
        if self.store.get(key) is not None:
            raise self._taken(call.target, key)
        if options.dry_run:
            if guard is not None and (refusal := guard(key, self.store.state)) is not None:
                raise refusal
            return Answer(201, await converting.as_written(call.target.version, unstored(write, 0), document))
        try:
            change = await self._commit(call, write)
        except Conflict as conflict:
            if conflict.key != key:
                require = agreement.required_namespace(self.store, call.target, name)  # changed meanwhile; refuses, if it went away
                return await self._create(call, options, document, [], require)
            raise self._taken(call.target, key) from conflict
        return Answer(201, await converting.as_written(call.target.version, change.record, document))

    def _taken(self, target: Target, key: Key) -> AlreadyExists:
        existing = self.store.get(key)
        return refusals.taken(target, key.name, deleting=existing is not None and is_deleting(existing))

    async def update(self, call: Call) -> Answer:
        """Replaces an object, or the part of it that a subresource is."""
        options = write_options(call.query, "UpdateOptions")
        target = call.target
        if target.subresource == "scale":
            scale = call.body
            if isinstance(scale, bytes):
                scale = intake.parse_body(scale, call.content_type, "autoscaling/v1", "Scale").document
            return await self._rescale(call, options, lambda current: scaling.checked(scale, current))
        taken = await intake.received(self.registry, target, call.body, call.content_type, options)
        call.warnings += taken.warnings
        agreement.check_address(target, taken.document)
        if target.kind.strategy.create_on_update and not target.subresource and self.store.get(key_of(target)) is None:
            create = replace(call, verb="create")
            self.authorize(create)
            return await self.create(create)
        return await self._rewrite(call, options, lambda _: taken)

    async def patch(self, call: Call) -> Answer:
        """Changes an object by a patch of what it is now, in the version of the path."""
        if patching.media_type(call.content_type) == patching.APPLY_PATCH:
            return await self._apply(call)
        options = write_options(call.query, "PatchOptions")
        body = call.body if isinstance(call.body, bytes) else msgspec.json.encode(call.body)
        change = patching.parse(body, call.content_type, call.target)
        if call.target.subresource == "scale":
            return await self._rescale(call, options, lambda current: scaling.patched(change, current))

        def propose(old: Document) -> intake.Intake:
            return patching.propose(call.target, change(old), old, options)

        return await self._rewrite(call, options, propose)

    async def _apply(self, call: Call) -> Answer:
        """Merges a configuration into an object and records who applied it; makes the object when it is not there."""
        apply = await applying.received(call.body, call.target, call.query, format_time(self._now()))
        call.warnings += apply.warnings
        for _ in range(ATTEMPTS):
            if call.target.subresource or self.store.get(key_of(call.target)) is not None:
                return await self._rewrite(call, apply.options, apply.propose)
            create = replace(call, verb="create", body=apply.creation(), content_type="")
            self.authorize(create)
            agreement.check_absent(call.target, apply.config)
            try:
                return await self.create(create)
            except AlreadyExists:
                continue
        raise refusals.modified(call.target)

    async def _rescale(self, call: Call, options: WriteOptions, ask: Callable[[Document], Document]) -> Answer:
        """Writes the replicas of a Scale into the object that it is a view of."""
        kind = call.target.kind
        version = call.target.version if kind.storage.ways is None else kind.storage
        inner = replace(call, target=replace(call.target, version=version, subresource="scale", asked=call.target.version))

        def propose(old: Document) -> intake.Intake:
            wanted = ask(scaling.scale_of(kind, old))
            return intake.Intake(scaling.rescaled(kind, call.target.version, old, wanted), [], [])

        answer = await self._rewrite(inner, options, propose)
        if answer.record is None:
            raise InternalError("a write of /scale was answered without its object")
        return Answer(document=await self._scale(kind, answer.record))

    async def _rewrite(self, call: Call, options: WriteOptions, propose: Callable[[Document], intake.Intake]) -> Answer:
        """Decides on the newest state and writes."""
        return await self._newest(call.target, lambda record: self._rewrite_once(call, options, record, propose))

    async def _newest(self, target: Target, write: Callable[[Record], Awaitable[Answer]]) -> Answer:
        """Has a write decided on the newest state of its object; again, in its turn, when somebody else wrote in between."""
        key = key_of(target)
        if not self._turns.busy(key):
            try:
                return await write(self._record(target))
            except Conflict as conflict:
                await self.store.reached(conflict.found, lists.FUTURE_WAIT)
        async with self._turns.at(key):
            for _ in range(ATTEMPTS):
                try:
                    return await write(self._record(target))
                except Conflict as conflict:
                    await self.store.reached(conflict.found, lists.FUTURE_WAIT)
        raise refusals.modified(target)

    async def _rewrite_once(
        self, call: Call, options: WriteOptions, record: Record, propose: Callable[[Document], intake.Intake]
    ) -> Answer:
        target = call.target
        kind, version = target.kind, target.version
        old = in_version(version, record if version.ways is None else await converting.one(version, record))
        taken = await answered(lambda: propose(old))
        for warning in taken.warnings:
            call.warn(warning)
        agreement.check_address(target, taken.document)
        agreement.check_current(target, taken.document, record, replaces=call.verb == "update")
        subresource = "" if target.subresource == "scale" else target.subresource
        new = prepare.updated(kind, subresource, taken.document, old)
        new["metadata"]["resourceVersion"] = str(record.revision)
        part = "status" if subresource == "status" else ""
        causes = list(version.schema.apply(new, old=old, part=part).causes) if taken.causes else []
        new, views = await shaping.admitted(self._admission, call, options, new, (old, record), causes)
        owned = partial(applying.owned, target, taken, old, new, lambda: self._writer(call, options))
        new = await answered(owned)
        if new == old and (views is None or shaping.unchanged(views, version, record)):
            return Answer(record=record if version.ways is None else await converting.one(version, record))
        write = await answered(partial(shaping.rewritten, kind, views or version, record, old, new))
        prepare.check_size(write.desired, write.status, self._largest, record)
        gone = "deletionTimestamp" in old["metadata"] and not prepare.held(kind, new)
        if options.dry_run or gone:
            if not options.dry_run:
                await self._commit(call, Remove(record.key, record.revision))
            return Answer(record=await converting.as_written(version, unstored(write, record.revision), new))
        return Answer(record=await converting.as_written(version, (await self._commit(call, write)).record, new))

    def _commit(self, call: Call, write: Write) -> Awaitable[Change]:
        return fencing.commit(self.store, call.identity.username, call.epoch, write)

    def _writer(self, call: Call, options: WriteOptions) -> Writer:
        """Who a write is from, as managedFields tell it."""
        manager = applying.manager_of(options, call.agent, call.identity.username)
        return Writer(manager, call.target.version.api_version, call.target.subresource, format_time(self._now()))

    async def delete(self, call: Call) -> Answer:
        """Deletes an object, or marks it when finalizers hold it. Raises ConflictError for preconditions that do not hold."""
        options = deleting.options_of(call.body, call.content_type, call.query)
        return await self._newest(call.target, lambda record: self._delete(call, call.target, record, options))

    async def _delete(self, call: Call, target: Target, record: Record, options: DeleteOptions) -> Answer:
        kind = target.kind
        deleting.check(target, record, options)
        await self._admission.admit_delete(call, target, options, record)
        old = deleting.propagated(kind, document_of(record), options.propagation)  # in the version in which it is stored, and stays
        if not prepare.held(kind, old):
            if not options.dry_run:
                await self._commit(call, Remove(record.key, record.revision))
            shown = in_version(target.version, record) if kind.strategy.answers_deleted else deleting.gone(target, record)
            return Answer(document=shown)
        if "deletionTimestamp" in old["metadata"]:
            return await shaping.marked_answer(target, record)
        waiting = prepare.marked(kind, old, self._now())
        write = shaping.marked(kind, record, waiting)
        if options.dry_run:
            return await shaping.marked_answer(target, unstored(write, record.revision))
        return await shaping.marked_answer(target, (await self._commit(call, write)).record)

    async def delete_collection(self, call: Call) -> Answer:
        """Deletes what a list would show; answers that list. Objects that others delete meanwhile are no error."""
        delete = deleting.options_of(call.body, call.content_type, call.query)
        options = list_options(call.query, watch=False)
        page = await lists.page(self.store, call.target, self.matcher(call, options), options)
        refused: deque[ApiError] = deque()

        async def one(record: Record) -> None:
            target = replace(call.target, namespace=record.key.namespace or None, name=record.key.name)

            async def same(found: Record) -> Answer:
                return await self._delete(call, target, found, delete) if found.uid == record.uid else Answer()

            try:
                await self._newest(target, same)
            except NotFound:
                pass
            except ApiError as error:
                refused.append(error)

        for start in range(0, len(page.records), converting.BATCH):
            async with anyio.create_task_group() as tasks:
                for record in page.records[start : start + converting.BATCH]:
                    tasks.start_soon(one, record)
        if refused:
            raise refused[0]
        try:
            return Answer(page=await self._shown(call, page))
        except Unreached as error:  # they are deleted all the same
            call.warn(f"what was deleted is not shown: {error.message}")
            return Answer(page=replace(page, records=()))
