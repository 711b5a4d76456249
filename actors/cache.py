"""The newest objects of a kind as an actor has seen them, and which changes are edges that wake it.

What it promises:

* **Only forward.** A change that is delivered twice, or late, counts once. A listing is the truth, whatever was seen before it.
* **Complete.** After `reset` and `apply`, the cache holds what the source held at `revision`. Whatever differs between what was
  there and what is there now has been reported, also when the changes themselves were missed.
* **Small.** It holds what the source holds (`Held`) and decodes nothing: in the server's process that is the store's own record.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

import msgspec

from actors.workqueue import Wake
from registry.declarations import Observation, Place
from registry.nodes import Document


class Held(Protocol):
    """One object at one revision, decoded when it is asked for."""

    @property
    def place(self) -> Place:
        """Where it is."""
        ...

    @property
    def uid(self) -> str:
        """Its `metadata.uid`: another one at the same place is another object."""
        ...

    @property
    def revision(self) -> int:
        """Its `metadata.resourceVersion`."""
        ...

    @property
    def desired(self) -> bytes:
        """Equal for two revisions of an object if they differ in nothing but `status`, `metadata.resourceVersion` and
        `metadata.managedFields`. It says nothing else: only whether it is equal counts."""
        ...

    def document(self) -> Document:
        """The object in the version that the actor was written against. It may be changed by whoever asked."""
        ...


class Change(NamedTuple):
    """At `revision` an object came or changed, and is `held` now; or it was `deleted`, and `held` is its last state."""

    deleted: bool
    revision: int
    held: Held


class Listing(NamedTuple):
    """All objects of a kind as they were at `revision`."""

    revision: int
    objects: Iterable[Held]


class Source(Protocol):
    """Where an actor sees objects: in process the store's changes, elsewhere a list and a watch over HTTP."""

    async def list(self, model: type) -> Listing:
        """All objects of the kind and version that `model` stands for, in all namespaces."""
        ...

    def watch(self, model: type, after: int) -> AsyncGenerator[Sequence[Change], None]:
        """Every change after revision `after`, once each, in order, in batches.

        Raises ExpiredError when history does not reach back that far: list again. It may end at any time: watch again from the last
        revision that it gave. An empty batch is allowed and says nothing.
        """
        ...


class Seen(NamedTuple):
    """What the cache has learnt about an object: as it was (None: not there) and as it is (None: gone)."""

    place: Place
    old: Held | None
    new: Held | None


def edge(seen: Seen) -> Wake:
    """Why the owner of the object is woken: Wake.NONE if nothing but the status changed, which is the owner's own writing."""
    if seen.new is None:
        return Wake.DELETED if seen.old is not None else Wake.NONE
    if seen.old is None or seen.old.uid != seen.new.uid or seen.old.desired != seen.new.desired:
        return Wake.DESIRED
    return Wake.NONE


def labelled(observation: Observation, document: Document) -> list[Place]:
    """What an observed object names by its labels: with the namespace that is meant, and without, for kinds that have none."""
    metadata = document["metadata"]
    labels = metadata.get("labels") or {}
    name = labels.get(observation.label)
    if not name:
        return []
    namespace = labels.get(observation.namespace_label) or metadata.get("namespace", "")
    return list(dict.fromkeys((Place(namespace, name), Place("", name))))


class Cache:
    """The newest objects of one kind. See the module."""

    def __init__(self) -> None:
        self.revision = 0  # everything up to here has been seen
        self._held: dict[Place, Held] = {}  # the newest state of each object that exists

    def get(self, place: Place) -> Held | None:
        """The newest state that was seen, None if there is no such object."""
        return self._held.get(place)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Place]:
        return iter(self._held)

    def reset(self, listing: Listing) -> list[Seen]:
        """Takes over what was listed, and tells what is different from what was there."""
        held = {each.place: each for each in listing.objects}
        different = [Seen(place, old, None) for place, old in self._held.items() if place not in held]
        for place, new in held.items():
            old = self._held.get(place)
            if old is None or old.uid != new.uid or old.revision != new.revision:
                different.append(Seen(place, old, new))
        self._held = held
        self.revision = listing.revision
        return different

    def apply(self, change: Change) -> Seen | None:
        """Takes over one change, and tells what it was; None if it had been seen before."""
        if change.revision <= self.revision:
            return None
        self.revision = change.revision
        place = change.held.place
        old = self._held.get(place)
        if change.deleted:
            self._held.pop(place, None)
            return Seen(place, old or change.held, None)
        self._held[place] = change.held
        return Seen(place, old, change.held)


class HeldDocument(msgspec.Struct, frozen=True, gc=False):
    """A `Held` of its own bytes, for sources that are not the store. Made by `hold`; `desired` is a digest."""

    place: Place
    uid: str
    revision: int
    desired: bytes
    raw: bytes

    def document(self) -> Document:
        """Decoded anew each time."""
        decoded: Document = msgspec.json.decode(self.raw)
        return decoded


def hold(document: Document) -> HeldDocument:
    """Holds a document as its encoded bytes. The document must have a name, and a decimal resourceVersion."""
    metadata = document["metadata"]
    wanted = {key: value for key, value in document.items() if key != "status"}
    wanted["metadata"] = {key: value for key, value in metadata.items() if key not in ("resourceVersion", "managedFields")}
    return HeldDocument(
        place=Place(metadata.get("namespace", ""), metadata["name"]),
        uid=metadata.get("uid", ""),
        revision=int(metadata["resourceVersion"]),
        desired=blake2b(msgspec.json.encode(wanted, order="deterministic"), digest_size=16).digest(),
        raw=msgspec.json.encode(document),
    )
