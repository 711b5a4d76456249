"""What may still change or refuse an object that its writer is allowed to write, in this order:

mutate      the plugin's defaults and mutators, then whoever else (`admission.review.Admitter`), each seeing what the one before
            made of it; when anything was changed, whoever wants it a second time, and the plugin's defaults again
keep        which object it is stays what it was, and so does what the path of the request does not write
schema      again, when anything was changed: defaults, types, what the model does not know
validate    metadata, the rules of the kind, the plugin's validators, whoever else; all causes are reported together

What its schema refuses may be mended by a mutator. Where it is refused all the same, those validators say more that can be given
the object as a value of their model, and nobody else is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from anyio import CapacityLimiter, to_thread
from msgspec.structs import replace

from admission.chain import Ask, Chain, Steps, in_turn, outcome, together
from admission.identity import is_server
from admission.review import Admitter, Review
from apiserver import converting, intake, prepare, scaling
from apiserver.calls import Call, Document
from apiserver.options import PLAIN_WRITE, DeleteOptions, WriteOptions
from apiserver.stored import in_version
from apiserver.target import Target
from registry import metadata as meta
from registry.errors import BadRequest, Cause, InternalError, Invalid
from registry.kinds import Version
from registry.ways import ConversionError
from storage.store import Record

META = "meta.k8s.io/v1"
PLAIN = {kind: {"kind": f"{kind}Options", "apiVersion": META} for kind in ("Create", "Update", "Delete")}
"""Options that say nothing, by operation. Constant."""
LENIENT = WriteOptions(field_validation="Ignore")
"""What a handler or webhook sets that the kind does not have is dropped."""


class Admission:
    """Asks the handlers of each kind, by resource, and `admitters` about every write."""

    def __init__(self, chains: Mapping[str, Chain], admitters: Sequence[Admitter] = ()) -> None:
        self._chains = chains
        self._admitters = admitters
        self._alone = CapacityLimiter(1)

    async def admit(
        self, call: Call, options: WriteOptions, new: Document, old: Document | None, causes: Sequence[Cause]
    ) -> Document:
        """What is to be stored. Raises Invalid with all causes together, and whatever an admitter refuses with."""
        target = call.target
        operation = "CREATE" if old is None else "UPDATE"
        chain = self._chains.get(target.kind.resource)
        steps = chain.steps(operation, target.subresource) if chain is not None else None
        broken = bool(causes)
        review = _review(call, target, operation, new, old, options.dry_run, _write_options(operation, options))
        mutated = new
        concerned = () if steps is not None else self._concerned(review)
        if steps is not None or concerned:
            mutated, concerned = await self._mutated(steps, review, broken=broken)
        if mutated is not new:
            new, causes = self._understood(target, mutated, new, old, tidied=not broken)
            review, broken = replace(review, new=new), bool(causes)
            concerned = self._concerned(review)
        found = _own_causes(call, new, old)
        found += causes
        if not target.subresource or target.subresource == "scale":
            found += scaling.check(target.kind, new)
        found += await self._checked(call, new, old)
        found += target.version.check(new, old)
        found += target.version.schema.against(new, old, causes)
        if steps is not None or concerned:
            found += await _found(steps, () if broken else concerned, review, broken=broken)
        if found:
            raise Invalid(target.kind.name, target.kind.group, new["metadata"].get("name", ""), found)
        for warning in meta.finalizer_warnings(new["metadata"], None if old is None else old["metadata"]):
            call.warn(warning)
        return new

    async def _checked(self, call: Call, new: Document, old: Document | None) -> Sequence[Cause]:
        """What the rules of the kind say. What takes long is done in a thread, one after the other: together they take as long.
        What the server writes itself is short, and nobody waits for it."""
        strategy = call.target.kind.strategy
        if strategy.looks_long and not is_server(call.identity):
            return await to_thread.run_sync(strategy.check, new, old, limiter=self._alone)
        return strategy.check(new, old)

    async def admit_asked(self, call: Call, options: WriteOptions, asked: Target, document: Document) -> Document:
        """What is asked below an object by a create, and answered and never stored: a TokenRequest. It is about the object, so the
        handlers of its kind, which know that kind alone, are not asked; everybody else is. Raises Invalid, and whatever they refuse
        with."""
        review = _review(call, call.target, "CREATE", document, None, options.dry_run, _write_options("CREATE", options))
        if not self._concerned(review):
            return document
        made, concerned = await self._by_others(review)
        if made is not document:
            made, _ = self._understood(asked, made, document, None, tidied=False)
        found = await _found(None, concerned, replace(review, new=made), broken=False)
        if found:
            raise Invalid(asked.kind.name, asked.version.group, call.target.name, found)
        return made

    def _concerned(self, review: Review[Document]) -> Sequence[Admitter]:
        """Whom of the others such an object concerns: nearly always nobody."""
        return [admitter for admitter in self._admitters if admitter.concerns(review)]

    async def _mutated(self, steps: Steps | None, review: Review[Document], *, broken: bool) -> tuple[Document, Sequence[Admitter]]:
        """What everybody made of the object, as far as it is theirs: the same object if nobody changed it. And whom of the others
        it concerned, each as it was when their turn came."""
        given = review.new
        concerned: Sequence[Admitter] = ()
        if steps is not None and steps.changes:
            document = given
            if steps.defaults:
                document = await steps.default(review, broken=broken)
                document = await steps.mutate(replace(review, new=document), broken=broken)
            else:
                document = await steps.mutate(review, broken=broken)
            if document is not given:
                review = replace(review, new=_kept(review, document))
        document = review.new
        if self._concerned(review):
            document, concerned = await self._by_others(review)
        if steps is not None and steps.defaults and document is not given:
            review = replace(review, new=document)
            document = _kept(review, await steps.default(review, broken=broken))
        return document, concerned

    async def _by_others(self, review: Review[Document]) -> tuple[Document, Sequence[Admitter]]:
        """What others made of the object, each after the one before; those whose result was changed after them are asked once
        more."""
        concerned: list[Admitter] = []
        returned: list[Document] = []
        for admitter in self._admitters:
            if admitter.concerns(review):
                review = replace(review, new=await _by_one(admitter, review))
                concerned.append(admitter)
                returned.append(review.new)
        for admitter, result in zip(concerned, returned, strict=True):
            if result is not review.new and result != review.new:
                review = replace(review, new=await _by_one(admitter, replace(review, again=True)), again=False)
        return review.new, concerned

    def _understood(
        self, target: Target, mutated: Document, given: Document, old: Document | None, *, tidied: bool
    ) -> tuple[Document, Sequence[Cause]]:
        """The object as its schema has it after it was changed, and what that says against it. `tidied`: it has nothing against
        what was given, nor need it see again what is still the same of that."""
        schema, part = target.version.schema, "status" if target.subresource == "status" else ""
        new = schema.again(mutated, given, part=part) if tidied and mutated["metadata"] is given["metadata"] else None
        causes: Sequence[Cause] = ()
        if new is None:
            try:
                taken = intake.understand(target, mutated, LENIENT, (), (), base=given)
            except BadRequest as error:
                raise InternalError(f"Internal error occurred: admission made what cannot be read: {error.message}") from error
            new, causes = taken.document, taken.causes
        if old is None:
            return new, causes
        if causes:  # what was wrong already, and is not touched, may stay
            causes = schema.apply(new, old=old, part=part).causes
        prepare.count(target.kind, new, old)
        return new, causes

    async def admit_delete(self, call: Call, target: Target, options: DeleteOptions, record: Record) -> None:
        """Whether the object of `record` may be deleted. Raises ApiError."""
        chain = self._chains.get(target.kind.resource)
        steps = chain.steps("DELETE") if chain is not None else None
        if steps is None and not self._admitters:
            return
        old: Document = {"metadata": {"name": record.key.name}}  # the rest when somebody wants to see it
        review = _review(call, target, "DELETE", old, old, options.dry_run, _delete_options(options))
        concerned = self._concerned(review)
        if steps is None and not concerned:
            return
        old, version = await _removed(target, record)
        review = replace(review, new=old, old=old, version=version, asked=target.asked or target.version)
        found = await _found(steps, concerned, review, broken=False)
        if found:
            raise Invalid(target.kind.name, target.kind.group, target.name, found)


async def _removed(target: Target, record: Record) -> tuple[Document, Version]:
    """The object of a delete, in the version in which it is reviewed: that which the kind is stored in, or, so that what cannot be
    converted can be deleted, that in which it is stored itself."""
    kind, version = target.kind, target.version
    if version.ways is not None and not version.ways.exact:
        version = kind.storage
    try:
        return in_version(version, await converting.one(version, record)), version
    except ConversionError:
        stored = next((each for each in kind.versions if each.api_version == record.api_version), None)
        if stored is None:
            raise
        return in_version(stored, await converting.one(stored, record)), stored


async def _by_one(admitter: Admitter, review: Review[Document]) -> Document:
    told = False

    def changed(by: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        nonlocal told
        told = True
        review.changed(by, before, after)

    made = _kept(review, await admitter.mutate(replace(review, changed=changed)))
    if made is not review.new and not told:
        review.changed(type(admitter).__name__, review.new, made)
    return made


def _kept(review: Review[Document], returned: Document) -> Document:
    if returned is review.new or review.kind is None:
        return review.new
    return prepare.mutated(review.kind, returned, review.new, review.subresource)


async def _found(steps: Steps | None, concerned: Sequence[Admitter], review: Review[Document], *, broken: bool) -> Sequence[Cause]:
    """What everybody finds wrong. Those who may wait do so at the same time; plain validators of a plugin have answered before."""
    if steps is None or not steps.validates:
        return in_turn(await together([partial(admitter.validate, review) for admitter in concerned])) if concerned else ()
    if not concerned:
        return await steps.validate(review, broken=broken)
    own: Ask = partial(steps.validate, review, broken=broken)
    others: list[Ask] = [partial(admitter.validate, review) for admitter in concerned]
    if steps.waits:
        return in_turn(await together([own, *others]))
    return in_turn([await outcome(own), *(await together(others))])


def _review(
    call: Call, target: Target, operation: str, new: Document, old: Document | None, dry_run: bool, options: Mapping[str, Any]
) -> Review[Document]:
    return Review(
        operation,
        new,
        old,
        call.identity,
        dry_run,
        target.subresource,
        call.warn,
        target.kind,
        target.version,
        target.namespace or "",
        new["metadata"].get("name", ""),
        options,
        note=call.note,
        changed=call.changed,
        asked=target.asked,
    )


def _write_options(operation: str, options: WriteOptions) -> Mapping[str, Any]:
    plain = PLAIN[operation.capitalize()]
    if options is PLAIN_WRITE:
        return plain
    said: dict[str, Any] = {"dryRun": ["All"]} if options.dry_run else {}
    if options.field_manager:
        said["fieldManager"] = options.field_manager
    return {**plain, **said, "fieldValidation": options.field_validation}


def _delete_options(options: DeleteOptions) -> Mapping[str, Any]:
    said: dict[str, Any] = {"dryRun": ["All"]} if options.dry_run else {}
    conditions = {key: value for key, value in (("uid", options.uid), ("resourceVersion", options.resource_version)) if value}
    if conditions:
        said["preconditions"] = conditions
    if options.propagation:
        said["propagationPolicy"] = options.propagation
    return {**PLAIN["Delete"], **said}


def _own_causes(call: Call, new: Document, old: Document | None) -> list[Cause]:
    """What is wrong with the metadata."""
    kind = call.target.kind
    if old is None:
        return list(meta.validate(new["metadata"], namespaced=kind.namespaced, name_rule=kind.strategy.name_rule))
    return list(meta.validate_update(new["metadata"], old["metadata"]))
