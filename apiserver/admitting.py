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

from msgspec.structs import replace

from admission.chain import Ask, Chain, Steps, in_turn, outcome, together
from admission.review import Admitter, Review
from apiserver import intake, prepare, scaling
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

    async def admit(
        self, call: Call, options: WriteOptions, new: Document, old: Document | None, causes: Sequence[Cause]
    ) -> Document:
        """What is to be stored. Raises Invalid with all causes together, and whatever an admitter refuses with."""
        target = call.target
        operation = "CREATE" if old is None else "UPDATE"
        chain = self._chains.get(target.kind.resource)
        steps = chain.steps(operation, target.subresource) if chain is not None else None
        asked: list[Ask] = []
        if steps is not None or self._admitters:
            review = _review(call, target, operation, new, old, options.dry_run)
            review = replace(review, options=_write_options(operation, options))
            mutated, concerned = await self._mutated(steps, review, broken=bool(causes))
            if mutated is not new:
                new, causes = self._understood(target, mutated, new, old)
                review = replace(review, new=new)
                concerned = [admitter for admitter in self._admitters if admitter.concerns(review)]
            asked = _validators(steps, () if causes else concerned, review, broken=bool(causes))
        found = _own_causes(call, new, old) + list(causes)
        if not target.subresource or target.subresource == "scale":
            found += scaling.check(target.kind, new)
        found += [*target.kind.strategy.check(new, old), *target.version.check(new, old)]
        if asked:
            found += await _all(asked, steps)
        if found:
            raise Invalid(target.kind.name, target.kind.group, new["metadata"].get("name", ""), found)
        for warning in meta.finalizer_warnings(new["metadata"], None if old is None else old["metadata"]):
            call.warn(warning)
        return new

    async def _mutated(self, steps: Steps | None, review: Review[Document], *, broken: bool) -> tuple[Document, Sequence[Admitter]]:
        """What everybody made of the object, as far as it is theirs: the same object if nobody changed it. And whom of the others
        it concerned, each as it was when their turn came."""
        given, changes = review.new, steps is not None and steps.changes
        document = given
        if steps is not None and changes:
            document = await steps.default(review, broken=broken)
            document = await steps.mutate(replace(review, new=document), broken=broken)
            document = _kept(review, document)
        document, concerned = await self._by_others(replace(review, new=document))
        if steps is not None and steps.defaults and document is not given:
            document = _kept(review, await steps.default(replace(review, new=document), broken=broken))
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
        self, target: Target, mutated: Document, given: Document, old: Document | None
    ) -> tuple[Document, Sequence[Cause]]:
        """The object as its schema has it after it was changed, and what that says against it."""
        try:
            taken = intake.understand(target, mutated, LENIENT, (), (), base=given)
        except BadRequest as error:
            raise InternalError(f"Internal error occurred: admission made what cannot be read: {error.message}") from error
        new, causes = taken.document, taken.causes
        if old is None:
            return new, causes
        if causes:  # what was wrong already, and is not touched, may stay
            part = "status" if target.subresource == "status" else ""
            causes = list(target.version.schema.apply(new, old=old, part=part).causes)
        prepare.count(target.kind, new, old)
        return new, causes

    async def admit_delete(self, call: Call, target: Target, options: DeleteOptions, record: Record) -> None:
        """Whether the object of `record` may be deleted. Raises ApiError."""
        chain = self._chains.get(target.kind.resource)
        steps = chain.steps("DELETE") if chain is not None else None
        if steps is None and not self._admitters:
            return
        old, version = _removed(target, record)
        target = replace(target, version=version, asked=target.asked or target.version)
        review = replace(_review(call, target, "DELETE", old, old, options.dry_run), options=_delete_options(options))
        concerned = [admitter for admitter in self._admitters if admitter.concerns(review)]
        found = await _all(_validators(steps, concerned, review, broken=False), steps)
        if found:
            raise Invalid(target.kind.name, target.kind.group, target.name, found)


def _removed(target: Target, record: Record) -> tuple[Document, Version]:
    """The object of a delete, in the version in which it is reviewed: that which the kind is stored in, or, so that what cannot be
    converted can be deleted, that in which it is stored itself."""
    kind, version = target.kind, target.version
    if version.ways is not None and not version.ways.exact:
        version = kind.storage
    try:
        return in_version(version, record), version
    except ConversionError:
        stored = next((each for each in kind.versions if each.api_version == record.api_version), None)
        if stored is None:
            raise
        return in_version(stored, record), stored


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


def _validators(steps: Steps | None, concerned: Sequence[Admitter], review: Review[Document], *, broken: bool) -> list[Ask]:
    """Everybody who is to be asked what is wrong."""
    asked: list[Ask] = [partial(admitter.validate, review) for admitter in concerned]
    return [partial(steps.validate, review, broken=broken), *asked] if steps is not None and steps.validates else asked


async def _all(asked: Sequence[Ask], steps: Steps | None) -> list[Cause]:
    """What all found. Those who may wait do so at the same time; plain validators of a plugin have answered before."""
    if not asked:
        return []
    if steps is not None and steps.validates and not steps.waits:
        return in_turn([await outcome(asked[0]), *(await together(asked[1:]))])
    return in_turn(await together(asked))


def _review(call: Call, target: Target, operation: str, new: Document, old: Document | None, dry_run: bool) -> Review[Document]:
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
