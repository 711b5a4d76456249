"""Who lost the lease of an actor writes no more: the epoch of whoever runs it goes with every write, and is checked in the commit.

The runners of an actor elect one of them by the Lease `kube-system/skep-actor-<name>` (`actors.lease`). Each time it is taken, its
`leaseTransitions` grow: that is the epoch. A write by the actor's service account, which has the name of the lease, says under
which epoch it was decided, over HTTP in the header `Skep-Actor-Epoch`.

What it promises:

* A write whose epoch is not the present one is refused, however late it comes: the store commits it only if the lease is at the
  revision at which its epoch was found to hold. Renewals change that revision; then it is looked at again.
* A write without an epoch is refused while somebody holds the lease. Without a lease, or when nobody holds it, the name alone
  counts: an actor that is not elected (in tests, say) needs none.
* Whoever is no actor is not concerned, and an actor's writes of its own lease are not: the lease has its own revision.
"""

from __future__ import annotations

from collections.abc import Awaitable

import msgspec

from apiserver import lists
from registry.actors import ACTOR_NAMESPACE, account_of
from registry.errors import BadRequest, Forbidden, ServerTimeout
from storage.store import Change, Conflict, Key, Record, Store, Write

HEADER = b"skep-actor-epoch"
RESOURCE = "leases.coordination.k8s.io"
ATTEMPTS = 100
"""How often a write is tried while its lease is renewed under it."""


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


_read = msgspec.json.Decoder(_Lease).decode


def commit(store: Store, user: str, epoch: str, write: Write) -> Awaitable[Change]:
    """Commits a write of `user`. Raises what the store raises, and Forbidden for an epoch that is over, or missing."""
    key = lease_key(user)
    if key is None or write.key == key:
        return store.commit(write)
    return _fenced(store, key, user, epoch, write)


async def _fenced(store: Store, key: Key, user: str, epoch: str, write: Write) -> Change:
    for _ in range(ATTEMPTS):
        lease = store.get(key)
        why = refusal(user, epoch, lease)
        if why is not None:
            raise Forbidden(why, details={})
        fence = (key, 0 if lease is None else lease.revision)
        try:
            return await store.commit(msgspec.structs.replace(write, fence=fence))
        except Conflict as conflict:
            if conflict.key != key:
                raise
            await store.reached(conflict.found, lists.FUTURE_WAIT)
    raise ServerTimeout(f"the lease of {user} changes faster than it can be looked at")


def lease_key(user: str) -> Key | None:
    """Where the lease of an actor is; None for whoever is no actor."""
    name = account_of(user)
    return None if name is None else Key(RESOURCE, ACTOR_NAMESPACE, name)


def refusal(user: str, epoch: str, lease: Record | None) -> str | None:
    """Why a write under this epoch (empty: none) is refused while the lease is like this; None if it is not."""
    spec = _Spec() if lease is None else _read(lease.desired).spec
    holder, number = spec.holder_identity or "", spec.lease_transitions or 0
    name = account_of(user)
    if not epoch:
        if not holder:
            return None
        return f"{user} is run by {holder}, which holds the lease {ACTOR_NAMESPACE}/{name}: a write needs its epoch"
    uid, sent = parse(epoch)
    if lease is None:
        return f"the epoch {sent} of {user} is over: the lease {ACTOR_NAMESPACE}/{name} is gone"
    if uid == lease.uid and sent == number and holder:
        return None
    now = f"held by {holder} in epoch {number}" if holder else "held by nobody"
    return f"the epoch {sent} of {user} is over: the lease {ACTOR_NAMESPACE}/{name} is {now}"


def parse(epoch: str) -> tuple[str, int]:
    """The uid of the lease and the number, out of `<number>/<uid>`. Raises BadRequest."""
    number, slash, uid = epoch.partition("/")
    if not slash or not uid or not (number.isascii() and number.isdigit() and len(number) < 20):
        raise BadRequest(f"{HEADER.decode()}: {epoch[:80]!r} is no epoch: it is <leaseTransitions>/<uid> of the actor's lease")
    return uid, int(number)
