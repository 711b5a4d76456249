"""What may still change or refuse an object that its writer is allowed to write, in this order:

mutate      the plugin's handlers, then whoever else (`admission.review.Admitter`), each seeing what the one before made of it
schema      again, when anything was changed: defaults, types, what the model does not know
validate    metadata, the rules of the kind, the plugin's handlers, whoever else; all causes are reported together
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from admission.chain import Chain
from admission.review import Admitter, Review
from apiserver import intake, prepare, scaling
from apiserver.calls import Call, Document
from apiserver.options import DeleteOptions, WriteOptions
from apiserver.stored import in_version
from apiserver.target import Target
from registry import metadata as meta
from registry.errors import Cause, Invalid
from storage.store import Record


class Admission:
    """Asks the handlers of each kind, by resource, and `admitters` about every write."""

    def __init__(self, chains: Mapping[str, Chain], admitters: Sequence[Admitter] = ()) -> None:
        self._chains = chains
        self._admitters = admitters

    async def admit(
        self, call: Call, options: WriteOptions, new: Document, old: Document | None, causes: Sequence[Cause]
    ) -> Document:
        """What is to be stored. Raises Invalid with all causes together, and whatever an admitter refuses with."""
        kind, version, strategy = call.target.kind, call.target.version, call.target.kind.strategy
        chain = self._chains.get(kind.resource)
        handled = chain is not None and not call.target.subresource and not causes
        review = _review(call, "UPDATE" if old is not None else "CREATE", new, old, options.dry_run)
        concerned = [admitter for admitter in self._admitters if admitter.concerns(review)] if not causes else []
        if (handled and chain is not None and chain.mutates) or concerned:
            mutated = await chain.mutate(review) if handled and chain is not None else new
            for admitter in concerned:
                mutated = await admitter.mutate(replace(review, new=mutated))
            if mutated is not new:
                mutated = prepare.mutated(kind, mutated, new)
                taken = intake.understand(call.target, mutated, replace(options, field_validation="Ignore"), (), ())
                new, causes = taken.document, taken.causes
                if old is not None:
                    prepare.count(kind, new, old)
                review = replace(review, new=new)
        found = _own_causes(call, new, old) + list(causes)
        if not call.target.subresource or call.target.subresource == "scale":
            found += scaling.check(kind, new)
        found += [*strategy.check(new, old), *version.check(new, old)]
        if not causes:
            if handled and chain is not None and chain.validates:
                found += await chain.validate(review)
            for admitter in concerned:
                found += await admitter.validate(review)
        if found:
            raise Invalid(kind.name, kind.group, new["metadata"].get("name", ""), found)
        for warning in meta.finalizer_warnings(new["metadata"], None if old is None else old["metadata"]):
            call.warn(warning)
        return new

    async def admit_delete(self, call: Call, target: Target, options: DeleteOptions, record: Record) -> None:
        """Whether the object of `record` may be deleted. Raises ApiError."""
        if not self._admitters:
            return
        old = in_version(target.version, record)
        review = _review(replace(call, target=target), "DELETE", old, old, options.dry_run)
        found: list[Cause] = []
        for admitter in self._admitters:
            if admitter.concerns(review):
                found += await admitter.validate(review)
        if found:
            raise Invalid(target.kind.name, target.kind.group, target.name, found)


def _review(call: Call, operation: str, new: Document, old: Document | None, dry_run: bool) -> Review[Document]:
    target = call.target
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
    )


def _own_causes(call: Call, new: Document, old: Document | None) -> list[Cause]:
    """What is wrong with the metadata."""
    kind = call.target.kind
    if old is None:
        return list(meta.validate(new["metadata"], namespaced=kind.namespaced, name_rule=kind.strategy.name_rule))
    return list(meta.validate_update(new["metadata"], old["metadata"]))
