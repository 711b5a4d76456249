"""Objects of any kind, by what all of them have: which one it is, who owns it, what holds it, when it expires.

Here is what the built-in actors need of the server: `Everything` to see, `Reach` to act. Bodies of objects stay where they are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

FOREGROUND = "foregroundDeletion"
"""The finalizer of an owner that waits until the dependents that block it are gone."""
ORPHAN = "orphan"
"""The finalizer of an owner whose dependents are to be left without it."""


class Ref(NamedTuple):
    """Names one object of any kind. `resource` is plural and group of the kind; `namespace` is empty where there is none."""

    resource: str
    namespace: str
    name: str


def named(ref: Ref) -> str:
    """An object's name in logs."""
    return f"{ref.resource} {ref.namespace}/{ref.name}" if ref.namespace else f"{ref.resource} {ref.name}"


class Owner(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """An owner reference, whole: it can be written back as it was."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is known of an object at one revision.

    `expires` is when it is to be deleted, in seconds since 1970; None: never. `collected` says whether it takes part in garbage
    collection, as owner and as dependent.
    """

    ref: Ref
    uid: str
    revision: int
    owners: tuple[Owner, ...] = ()
    finalizers: tuple[str, ...] = ()
    deleting: bool = False
    expires: float | None = None
    collected: bool = True

    @property
    def orphaning(self) -> bool:
        """Waits until its dependents no longer name it."""
        return self.deleting and ORPHAN in self.finalizers

    @property
    def waiting(self) -> bool:
        """Waits until the dependents that block it are gone."""
        return self.deleting and FOREGROUND in self.finalizers

    def same(self, other: Facts) -> bool:
        """Whether nothing differs but the revision."""
        return (self.owners, self.finalizers, self.deleting, self.expires) == (
            other.owners,
            other.finalizers,
            other.deleting,
            other.expires,
        )


class Change(NamedTuple):
    """The object came or changed, and is like this now; or it is `gone`, and was like this."""

    revision: int
    gone: bool
    facts: Facts


class Listing(NamedTuple):
    """All objects as they were at `revision`. `objects` may be iterated once."""

    revision: int
    objects: Iterable[Facts]


class Everything(Protocol):
    """Where the built-in actors see objects of all kinds."""

    async def list(self) -> Listing:
        """All objects of all kinds. Those that are plain may be left out: without owners, finalizers, deletion and end."""
        ...

    def watch(self, after: int) -> AsyncGenerator[Sequence[Change], None]:
        """Every change after a revision that is more than one of the status, in batches; also every deletion of a plain object.

        Of all kinds together, in the order of commits: who has seen a batch has seen everything before its last change. Raises
        ExpiredError when history does not reach back that far: list again. Ends with the server.
        """
        ...


class Scope(NamedTuple):
    """A kind, as an owner reference finds it."""

    resource: str
    namespaced: bool


class Reach(Protocol):
    """The API on objects of any kind, under an actor's identity. Refusals are `ApiError`s.

    Every write is for the object as it was found: ConflictError, if it is another one or has changed since (with `revision` 0, only
    if it is another one).
    """

    def scope(self, api_version: str, kind: str) -> Scope | None:
        """What a reference means; None if no such kind is served."""
        ...

    async def find(self, ref: Ref) -> Facts | None:
        """The newest state, None if there is no such object."""
        ...

    async def delete(self, found: Facts, propagation: str) -> None:
        """Deletes it: `Background`, `Foreground` or `Orphan`. That it is gone already is fine."""
        ...

    async def set_owners(self, found: Facts, owners: Sequence[Owner]) -> None:
        """Leaves it with these owners. That it is gone already is fine."""
        ...

    async def set_finalizers(self, found: Facts, finalizers: Sequence[str]) -> None:
        """Leaves it with these finalizers. That it is gone already is fine."""
        ...


class Contents(Protocol):
    """What is in a namespace, and what the namespace's own controller does with it."""

    def of(self, namespace: str) -> AsyncGenerator[Sequence[Facts], None]:
        """The objects in it, as they are now, in pages. Objects of one kind come together."""
        ...

    async def finalize(self, name: str, uid: str, finalizers: Sequence[str]) -> None:
        """Leaves the namespace with these finalizers in its spec. Raises ConflictError if it is another one by now."""
        ...
