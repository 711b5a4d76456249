"""The finalizer of an actor: it holds an object from before the first run until the actor has cleaned up after it.

What it promises:

* **Nothing is left behind.** An actor with a cleanup does nothing for an object that its finalizer does not hold: the finalizer is
  stored before the first run begins, and taken off only after a cleanup has succeeded.
* **Its own, and no other.** Of all finalizers it adds and removes one, on the revision that it has read: what somebody else changes
  at the same time is not lost, and another object of the same name is not touched.
* **Quiet.** That its finalizer was added is no reason for another run.
* **An actor without a cleanup holds nothing.** It adds no finalizer. One of its name, from when it had a cleanup, is taken off when
  the object is being deleted and a run has ended well: an object is not held for a cleanup that nobody would do.
"""

from __future__ import annotations

from enum import Enum, auto

from actors.cache import Seen
from actors.door import Door
from registry.declarations import Place
from registry.errors import ConflictError, NotFound
from registry.nodes import Document

_ATTEMPTS = 20
"""Of a write that others keep overtaking."""


class Step(Enum):
    """What is to be done about an object."""

    RECONCILE = auto()
    """It is looked after."""
    HOLD = auto()
    """It is looked after, once the finalizer is on it."""
    CLEAN = auto()
    """It is being deleted: what was made for it is taken away, and then the finalizer."""
    LEAVE = auto()
    """It is being deleted, and was cleaned up, or there was never anything to clean up."""


class Finalizing:
    """The finalizer `name` of an actor that reconciles objects of `model` and, if it `cleans`, has a cleanup."""

    def __init__(self, model: type, name: str, *, cleans: bool, door: Door) -> None:
        self._model = model
        self._name = name
        self._cleans = cleans
        self._door = door

    def step(self, document: Document) -> Step:
        """What is to be done about an object in this state."""
        if not self._cleans:
            return Step.RECONCILE
        held = self.holds(document)
        if document["metadata"].get("deletionTimestamp"):
            return Step.CLEAN if held else Step.LEAVE
        return Step.RECONCILE if held else Step.HOLD

    def holds(self, document: Document) -> bool:
        """Whether the finalizer is on the object."""
        return self._name in _finalizers(document)

    def releases(self, document: Document) -> bool:
        """Whether the finalizer comes off when the run has ended well."""
        return bool(document["metadata"].get("deletionTimestamp")) and self.holds(document)

    def is_own(self, seen: Seen) -> bool:
        """Whether a change is no more than the finalizer being added, or being taken off an object that is deleted."""
        if not self._cleans or seen.old is None or seen.new is None or seen.old.uid != seen.new.uid:
            return False
        new = seen.new.document()
        if not (self.holds(new) or new["metadata"].get("deletionTimestamp")):
            return False
        old = seen.old.document()
        return self.holds(old) != self.holds(new) and self._others(old) == self._others(new)

    async def hold(self, place: Place, document: Document) -> Document:
        """Puts the finalizer on; returns the object with it. Raises NotFound; ConflictError if it is being deleted, or another."""
        for _ in range(_ATTEMPTS):
            if self.holds(document):
                return document
            if document["metadata"].get("deletionTimestamp"):
                raise ConflictError("the object is being deleted: nothing new is begun for it")
            try:
                return await self._write(place, document, [*_finalizers(document), self._name])
            except ConflictError:
                document = await self._again(place, document)
        raise ConflictError(f"the finalizer {self._name} could not be added: the object was changed {_ATTEMPTS} times meanwhile")

    async def release(self, place: Place, document: Document) -> Document | None:
        """Takes the finalizer off; returns the object if others hold it, None if it is gone. Raises ConflictError."""
        for _ in range(_ATTEMPTS):
            rest = [name for name in _finalizers(document) if name != self._name]
            try:
                if self.holds(document):
                    document = await self._write(place, document, rest)
                return document if rest else None
            except ConflictError:
                try:
                    document = await self._again(place, document)
                except NotFound:
                    return None
            except NotFound:
                return None
        raise ConflictError(
            f"the finalizer {self._name} could not be taken off: the object was changed {_ATTEMPTS} times meanwhile"
        )

    async def _write(self, place: Place, document: Document, finalizers: list[str]) -> Document:
        metadata = document["metadata"]
        pinned = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "finalizers": finalizers or None}
        return await self._door.patch(self._model, place, {"metadata": pinned}, "")

    async def _again(self, place: Place, document: Document) -> Document:
        """The newest state of the same object. Raises ConflictError if another one is there, NotFound."""
        newest = await self._door.get(self._model, place)
        if newest["metadata"].get("uid") != document["metadata"].get("uid"):
            raise ConflictError("the object was deleted, and there is another one of its name")
        return newest

    def _others(self, document: Document) -> Document:
        """The object as far as it wakes, without the finalizer."""
        kept = {key: value for key, value in document.items() if key != "status"}
        metadata = {key: value for key, value in document["metadata"].items() if key not in ("resourceVersion", "managedFields")}
        metadata["finalizers"] = [name for name in _finalizers(document) if name != self._name]
        return {**kept, "metadata": metadata}


def _finalizers(document: Document) -> list[str]:
    found: list[str] = document["metadata"].get("finalizers") or []
    return found
