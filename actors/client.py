"""The API as an actor uses it: typed, under the actor's own identity, the same in the server's process and elsewhere.

What it promises:

* Objects are in the version that their type was declared for, whichever is stored.
* Every refusal is an `ApiError` of `registry.errors`; an object that is not there is None where one is asked for, `NotFound` where
  one is to be changed.
* A read that follows a write, through any client of the same server, shows the write.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

import anyio.from_thread

from registry.declarations import Place
from registry.nodes import Document
from registry.resource import Object

T = TypeVar("T", bound=Object)
R = TypeVar("R")

Labels = str | Mapping[str, str]
"""A label selector, as text or as labels that must all be there."""


class Op(Enum):
    """What happened to an object, in the words of the Kubernetes watch."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """Something happened to `object`, which is as it was afterwards (DELETED: before)."""

    op: Op
    object: T


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """Objects as they all were at `revision`: a watch after it misses nothing."""

    items: list[T]
    revision: int


@dataclass(frozen=True, slots=True)
class Preconditions:
    """A deletion is refused with ConflictError unless the object has this uid and this revision (None: any)."""

    uid: str | None = None
    revision: int | None = None
    propagation: str | None = None


class Client(Protocol):
    """What an actor is given. `namespace` is empty for kinds without one; where several are meant, None is all."""

    async def get(self, model: type[T], name: str, namespace: str = "") -> T | None:
        """The newest state of an object, None if there is none."""
        ...

    async def list(self, model: type[T], namespace: str | None = None, *, labels: Labels = "", fields: str = "") -> Listed[T]:
        """All objects that match, read in pages of one consistent state. For very many, use `pages`."""
        ...

    def pages(
        self, model: type[T], namespace: str | None = None, *, labels: Labels = "", fields: str = ""
    ) -> AsyncGenerator[Listed[T], None]:
        """The same a page at a time. Raises ExpiredError if it takes so long that history is gone."""
        ...

    async def create(self, obj: T) -> T:
        """Creates the object; returns it with what the server set. Raises AlreadyExists, Invalid, NotFound (its namespace)."""
        ...

    async def update(self, obj: T) -> T:
        """Replaces all but the status. Raises ConflictError if it was changed since it was read, NotFound."""
        ...

    async def update_with(self, model: type[T], name: str, namespace: str, change: Callable[[T], T]) -> T:
        """Reads the object, applies `change`, and updates it; again from the newest state as long as somebody else was faster.

        `change` may be called several times and must only compute. If it returns an equal object, nothing is written. Raises
        NotFound, and ConflictError after many attempts.
        """
        ...

    async def patch(self, model: type[T], name: str, namespace: str, merge: Document, *, uid: str = "") -> T:
        """Changes the given fields (RFC 7386: None removes one). With `uid`: ConflictError if another object is there by now."""
        ...

    async def update_status(self, obj: T) -> T:
        """Replaces the status only. Raises ConflictError if the object was changed since it was read, NotFound, Forbidden."""
        ...

    async def patch_status(self, model: type[T], name: str, namespace: str, status: Document, *, uid: str = "") -> T:
        """Changes the given fields of the status, whatever the revision. `uid` as in `patch`."""
        ...

    async def delete(
        self, model: type[T], name: str, namespace: str = "", *, preconditions: Preconditions | None = None
    ) -> T | None:
        """Deletes an object; returns it if it stays until its finalizers are done. None: it is gone, or was not there."""
        ...

    async def own(self, owner: Object, child: T) -> T:
        """Makes sure that the child is there, belongs to the owner (also by its owner reference), and is as it is given.

        Creates it, or changes those of the given fields that differ; returns it as it is stored. Raises NotTheOwnerError (of
        `actors.children`) if an object of the name belongs to somebody else, ConflictError if it is being deleted.
        """
        ...

    async def children(self, owner: Object, wanted: Iterable[Object], *, of: Sequence[type[Object]]) -> Sequence[Object]:
        """Makes the owner's children of the kinds `of` be exactly these: `own` for each, and the others are deleted.

        Returns them as they are stored, in their order. Names must be the same in every run.
        """
        ...

    def watch(
        self, model: type[T], namespace: str | None = None, *, after: int, labels: Labels = "", fields: str = ""
    ) -> AsyncGenerator[Sequence[WatchEvent[T]], None]:
        """Every change after a revision, in order, in batches. Raises ExpiredError; may end, and can then be resumed."""
        ...

    async def wait_until(
        self, model: type[T], name: str, namespace: str, condition: Callable[[T | None], bool], *, within: float | None = None
    ) -> T | None:
        """Waits until `condition` holds of the object (None: of its absence) and returns it. Raises Timeout after `within` s."""
        ...


class BlockingClient:
    """A client for code in a worker thread: each call waits for the answer. What streams is not here.

    `open` tells whether the run it was given to still counts; when not, every call raises RuntimeError, so that a function that was
    given up cannot write any more.
    """

    def __init__(self, client: Client, open: Callable[[], bool]) -> None:
        self._client = client
        self._open = open

    def get(self, model: type[T], name: str, namespace: str = "") -> T | None:
        """See `Client.get`."""
        return self._call(lambda: self._client.get(model, name, namespace))

    def list(self, model: type[T], namespace: str | None = None, *, labels: Labels = "", fields: str = "") -> Listed[T]:
        """See `Client.list`."""
        return self._call(lambda: self._client.list(model, namespace, labels=labels, fields=fields))

    def create(self, obj: T) -> T:
        """See `Client.create`."""
        return self._call(lambda: self._client.create(obj))

    def update(self, obj: T) -> T:
        """See `Client.update`."""
        return self._call(lambda: self._client.update(obj))

    def update_with(self, model: type[T], name: str, namespace: str, change: Callable[[T], T]) -> T:
        """See `Client.update_with`."""
        return self._call(lambda: self._client.update_with(model, name, namespace, change))

    def patch(self, model: type[T], name: str, namespace: str, merge: Document, *, uid: str = "") -> T:
        """See `Client.patch`."""
        return self._call(lambda: self._client.patch(model, name, namespace, merge, uid=uid))

    def update_status(self, obj: T) -> T:
        """See `Client.update_status`."""
        return self._call(lambda: self._client.update_status(obj))

    def patch_status(self, model: type[T], name: str, namespace: str, status: Document, *, uid: str = "") -> T:
        """See `Client.patch_status`."""
        return self._call(lambda: self._client.patch_status(model, name, namespace, status, uid=uid))

    def delete(self, model: type[T], name: str, namespace: str = "", *, preconditions: Preconditions | None = None) -> T | None:
        """See `Client.delete`."""
        return self._call(lambda: self._client.delete(model, name, namespace, preconditions=preconditions))

    def own(self, owner: Object, child: T) -> T:
        """See `Client.own`."""
        return self._call(lambda: self._client.own(owner, child))

    def children(self, owner: Object, wanted: Iterable[Object], *, of: Sequence[type[Object]]) -> Sequence[Object]:
        """See `Client.children`."""
        return self._call(lambda: self._client.children(owner, wanted, of=of))

    def wait_until(
        self, model: type[T], name: str, namespace: str, condition: Callable[[T | None], bool], *, within: float | None = None
    ) -> T | None:
        """See `Client.wait_until`."""
        return self._call(lambda: self._client.wait_until(model, name, namespace, condition, within=within))

    def _call(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        if not self._open():
            raise RuntimeError("this run was given up; it can no longer use its client")
        return anyio.from_thread.run(call)


def selector(labels: Labels) -> str:
    """A label selector as text. Raises nothing: what is wrong with it is said by the server."""
    if isinstance(labels, str):
        return labels
    return ",".join(f"{key}={value}" for key, value in labels.items())


def place_of(obj: Object) -> Place:
    """Where an object is."""
    return Place(obj.metadata.namespace or "", obj.metadata.name)
