"""What a store promises. No SQL here, and no kinds: keys, revisions and bytes.

The promises, kept by every implementation and tried by `tests/storage/test_contract.py`:

* **One order.** Every committed change has a revision: a positive integer, dense (each is the one before plus one), and the order
  of revisions is the order of commits.
* **Linearizable.** A write names the revision of the object that it was decided on. It is committed if that is still the newest
  one, and refused with `Conflict` if not. Of several writes that name the same revision, exactly one is committed.
* **Durable.** When `commit` returns, the change survives the end of the process and the loss of power.
* **Own writes are seen.** When `commit` returns, `get` and `list` of the same store show the change, and so do its cursors.
* **Complete.** A cursor yields every change of its resource after its revision, once each, in order; or it raises `Expired`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

import msgspec


class Key(NamedTuple):
    """Names one object: `resource` is the plural and the group of its kind (`probes.uptime.example`, `namespaces`).

    `namespace` is empty for what belongs to no namespace.
    """

    resource: str
    namespace: str
    name: str


class Record(msgspec.Struct, frozen=True, gc=False):
    """One object at one revision.

    `desired` is a JSON object in canonical form: it begins with `{"apiVersion":...,"kind":...,"metadata":{` and holds everything
    but `metadata.resourceVersion` (which is `revision`) and `status`. `status` is a JSON value, empty when there is none.
    """

    key: Key
    uid: str
    revision: int
    api_version: str
    desired: bytes
    status: bytes


class Op(Enum):
    """What a change did to its object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Change(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One committed change.

    `record` is the object after the change. For a deletion it is the object before it, with the deletion's revision: nothing comes
    after it. `previous` is the object before the change, None for an addition.

    `derived` is a place for readers: what one of them computes from this change (its encoded form in a version, its labels), the
    others find there. The store neither reads nor writes it.
    """

    revision: int
    op: Op
    record: Record
    previous: Record | None
    derived: dict[Any, Any] = msgspec.field(default_factory=dict)


class Head(NamedTuple):
    """How far a store is: the newest revision, and the one after which its history begins."""

    revision: int
    horizon: int


class State(Protocol):
    """All objects, as they are at one moment."""

    def get(self, key: Key) -> Record | None:
        """One object, None if there is none."""
        ...

    def list(self, resource: str, namespace: str) -> Sequence[Record]:
        """The objects of a resource in one namespace (empty: those that belong to none), by name."""
        ...

    def count(self, resource: str, namespace: str) -> int:
        """How many they are. It costs the same for one and for a million."""
        ...


Guard = Callable[[Key, State], Exception | None]
"""Looks at the state that a write meets, and returns the error that refuses it, or None. It runs in the thread of the transaction
and must not raise."""


class Put(msgspec.Struct, frozen=True):
    """Write the object at `key`. `expect` is the revision that it was read at; 0 says that it must not exist.

    `require` names another object and the revision that it must still have, for a write that was decided on both (an object and
    its namespace, say). `fence` is another such pair, for what only the present holder of something may write.

    `guard` is asked in the committing transaction, with the state that the write meets there: what every earlier write has left,
    also of other processes and of the same batch. So what it counts cannot change before the write is committed.
    """

    key: Key
    uid: str
    api_version: str
    desired: bytes
    status: bytes
    expect: int
    require: tuple[Key, int] | None = None
    fence: tuple[Key, int] | None = None
    guard: Guard | None = None


class Remove(msgspec.Struct, frozen=True):
    """Delete the object at `key`, which was read at revision `expect` (never 0). `fence` is as in `Put`."""

    key: Key
    expect: int
    fence: tuple[Key, int] | None = None


Write = Put | Remove


class Snapshot(NamedTuple):
    """The objects of a resource, ordered by namespace and name, as they all were at `revision`."""

    revision: int
    records: Sequence[Record]


class StoreError(Exception):
    """Base of what a store raises."""


class Conflict(StoreError):
    """The object at `key` is at revision `found`, not where the write expected it. 0: it does not exist.

    `key` is that of the write, or one that it requires.
    """

    def __init__(self, key: Key, found: int) -> None:
        super().__init__(f"{key.resource} {key.namespace}/{key.name} is at revision {found}")
        self.key = key
        self.found = found


class Expired(StoreError):
    """History does not reach back to the revision that was asked for; it begins after `horizon`."""

    def __init__(self, revision: int, horizon: int) -> None:
        super().__init__(f"too old resource version: {revision} ({horizon})")
        self.revision = revision
        self.horizon = horizon


class Unavailable(StoreError):
    """The database did not take the write or answer the question: disk full, connection lost, lock timed out.

    `committed` is False when it is certain that nothing was written, None when it is not known.
    """

    def __init__(self, message: str, *, committed: bool | None = False) -> None:
        super().__init__(message)
        self.committed = committed


class Closed(StoreError):
    """The store is shutting down: no more writes are taken, and cursors end."""


class Cursor(Protocol):
    """One reader's place in the changes of a resource. It holds no queue: only a revision."""

    @property
    def revision(self) -> int:
        """Everything up to here has been yielded: a reader may resume from it."""
        ...

    def take(self) -> Sequence[Change]:
        """The changes that are there and were not yielded yet, without waiting (empty if there are none, or only in the log)."""
        ...

    async def next(self) -> Sequence[Change]:
        """The next changes, at least one, at most some hundreds; waits for them.

        Raises Expired when the cursor has fallen out of history, Closed when the store is shutting down.
        """
        ...


class Store(Protocol):
    """Objects by key, with history. One event loop calls it; `get`, `list` and `watch` never wait and never touch SQL."""

    @property
    def revision(self) -> int:
        """The newest revision that this process has seen."""
        ...

    @property
    def horizon(self) -> int:
        """Changes after this revision can still be read."""
        ...

    async def synced(self) -> int:
        """Waits until this process has seen all that was committed anywhere before the call; returns its revision."""
        ...

    async def reached(self, revision: int, timeout: float) -> bool:
        """Waits until `revision` has been seen, for at most `timeout` seconds; False if it was not."""
        ...

    def get(self, key: Key) -> Record | None:
        """The newest state of one object, None if there is none."""
        ...

    def list(self, resource: str, namespace: str | None = None) -> Snapshot:
        """The newest state of a resource, in one namespace or (None) in all. The snapshot does not change afterwards."""
        ...

    @property
    def state(self) -> State:
        """The newest state as it is whenever it is asked, without waiting. What a guard sees is this, or what comes after it."""
        ...

    async def list_at(self, revision: int, resource: str, namespace: str | None = None) -> Snapshot:
        """The same as it was at a revision of the past. Raises Expired."""
        ...

    async def commit(self, write: Write) -> Change:
        """Commits one write, together with whatever else is waiting.

        Raises Conflict, Unavailable, Closed, and what the write's guard returned. A cancelled caller does not know whether it was
        committed; nobody else is affected.
        """
        ...

    def watch(self, resource: str, after: int) -> Cursor:
        """A cursor at revision `after`. Raises Expired at once if history does not reach back to it."""
        ...

    async def check(self) -> None:
        """Asks the database whether it is there and takes writes. Raises Unavailable."""
        ...
