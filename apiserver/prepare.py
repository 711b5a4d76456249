"""What the server decides of an object, whoever wrote it: identity, times, generation, and which part a subresource may change.
Pure.

Sources: Kubernetes API conventions, "Metadata", "Spec and Status"; `docs/kinds.md` in short.
"""

from __future__ import annotations

import random
from typing import Any

from apiserver import scaling
from registry import metadata as meta
from registry.errors import TooLarge
from registry.kinds import Kind
from registry.names import generate_name
from registry.times import format_time
from storage.store import Record

Document = dict[str, Any]

OUTSIDE_SPEC = frozenset({"apiVersion", "kind", "metadata"})
IDENTITY = frozenset(
    {
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
    }
)
"""The metadata that no admission handler can change."""


def created(kind: Kind, document: Document, namespace: str | None, now: float, chance: random.Random) -> Document:
    """A new object: what only the server sets is set, whatever was sent. May change `document`."""
    generation = document["metadata"].get("generation")
    metadata = meta.for_create(document["metadata"])
    document["metadata"] = metadata
    if generation and not kind.strategy.counts_generation:
        metadata["generation"] = generation
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generate_name(metadata["generateName"], chance)
    if namespace is None:
        metadata.pop("namespace", None)
    else:
        metadata["namespace"] = namespace
    metadata["uid"] = uuid4(chance)
    metadata["creationTimestamp"] = format_time(now)
    if kind.strategy.counts_generation:
        metadata["generation"] = 1
    if kind.has_status:
        document.pop("status", None)
    return kind.strategy.prepare(document, None)


def uuid4(chance: random.Random) -> str:
    """A random UUID (RFC 9562, version 4)."""
    bits = f"{chance.getrandbits(128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{'89ab'[int(bits[16], 16) & 3]}{bits[17:20]}-{bits[20:]}"


def updated(kind: Kind, subresource: str, new: Document, old: Document) -> Document:
    """What an update makes of the stored object: the part that the path may change is taken, the rest stays. May change `new`."""
    metadata = meta.inherit(new["metadata"], old["metadata"])
    if subresource == "status":
        if not kind.strategy.builtin:
            metadata = {**old["metadata"], "resourceVersion": metadata.get("resourceVersion")}
        document = {**old, "metadata": metadata}
        document.pop("status", None)
        if new.get("status") is not None:
            document["status"] = new["status"]
        return document
    document = {**new, "metadata": metadata}
    if kind.has_status:
        document.pop("status", None)
        if "status" in old:
            document["status"] = old["status"]
    if subresource == "":
        document = kind.strategy.prepare(document, old)
    count(kind, document, old)
    return document


def count(kind: Kind, new: Document, old: Document) -> None:
    """Sets the generation of an update: one more than the old one if anything but metadata and status is different."""
    if not kind.strategy.counts_generation:
        return
    if _spec_changed(kind, new, old):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
    elif "generation" in old["metadata"]:
        new["metadata"]["generation"] = old["metadata"]["generation"]


def mutated(kind: Kind, returned: Document, given: Document, subresource: str = "") -> Document:
    """What mutation handlers made of an object, as far as it is theirs: which object it is stays, and so does what the path of the
    request does not write. May be `given` itself."""
    if returned is given or (not subresource and _only_spec_differs(returned, given)):
        return returned
    if subresource == "status":
        document = {key: value for key, value in given.items() if key != "status"}
        return {**document, "status": returned["status"]} if returned.get("status") is not None else document
    if subresource == "scale":
        return scaling.with_replicas_of(kind, given, returned)
    metadata = returned.get("metadata") or {}
    if metadata is not given["metadata"]:
        kept = {key: value for key, value in given["metadata"].items() if key in IDENTITY}
        metadata = {key: value for key, value in metadata.items() if key not in IDENTITY} | kept
        if metadata == given["metadata"]:
            metadata = given["metadata"]  # the very same: it need not be read again
    document = {**returned, "metadata": metadata, "apiVersion": given["apiVersion"], "kind": given["kind"]}
    if kind.has_status:
        document.pop("status", None)
        if "status" in given:
            document["status"] = given["status"]
    return document


def _only_spec_differs(returned: Document, given: Document) -> bool:
    """Whether all else is the very same."""
    for key, value in returned.items():
        if key != "spec" and value is not given.get(key):
            return False
    return len(returned) == len(given)


def _spec_changed(kind: Kind, new: Document, old: Document) -> bool:
    outside = OUTSIDE_SPEC | {"status"} if kind.has_status else OUTSIDE_SPEC
    return {key: value for key, value in new.items() if key not in outside} != {
        key: value for key, value in old.items() if key not in outside
    }


def marked(kind: Kind, old: Document, now: float) -> Document:
    """The object as it waits for its finalizers: deletionTimestamp is set, once, and the generation goes up."""
    metadata = {**old["metadata"], "deletionTimestamp": format_time(now)}
    if not kind.strategy.finalizers_in_spec:
        metadata["deletionGracePeriodSeconds"] = 0
    if kind.strategy.counts_generation:
        metadata["generation"] = metadata.get("generation", 0) + 1
    document = {**old, "metadata": metadata}
    if kind.strategy.finalizers_in_spec:
        document["status"] = {**old.get("status", {}), "phase": "Terminating"}
    return document


def held(kind: Kind, document: Document) -> bool:
    """Whether finalizers hold the object: it can be marked for deletion, and not yet go."""
    return bool(
        document["metadata"].get("finalizers") or (kind.strategy.finalizers_in_spec and document.get("spec", {}).get("finalizers"))
    )


def check_size(desired: bytes, status: bytes, largest: int, before: Record | None) -> None:
    """Raises TooLarge. An object that is too large already may be changed as long as it does not grow."""
    size = len(desired) + len(status)
    if size > largest and (before is None or size > len(before.desired) + len(before.status)):
        raise TooLarge(f"Request entity too large: the object would have {size} bytes, limit is {largest}")
