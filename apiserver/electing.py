"""How processes elect the one that runs an actor: under which name each stands, and for how long a lease is good.

A server on SQLite has its database to itself: nobody can hold a lease, or lose one, but through this process. So it takes the
leases of its actors once, for as long as it runs, and writes nothing while it is idle. Leases that a server before it left behind
when it was killed are free at once, since it cannot be running any more. Everybody else renews.
"""

from __future__ import annotations

import socket
from random import Random

import msgspec

from actors.actor import Actor
from actors.clock import SystemClock
from actors.door import Door, TypedClient
from actors.lease import Elector, Terms
from actors.recorder import Log
from admission.identity import Identity
from apiserver.calls import Call
from apiserver.config import Settings
from apiserver.fencing import RESOURCE
from apiserver.manager import Manager
from apiserver.patching import MERGE_PATCH
from apiserver.target import Target
from registry.actors import ACTOR_NAMESPACE, account_name
from registry.builtin.lease import LEASE

SERVER = "server:"
"""How a server that is alone on its database begins its name. No host name has a colon."""


def alone(database_url: str) -> bool:
    """Whether the server has this database to itself."""
    return database_url.startswith("sqlite")


def terms(seconds: float) -> Terms:
    """The terms of a lease of so many seconds, in the proportions that Kubernetes has: 15, 10 and 2."""
    return Terms(seconds, seconds * 2 / 3, seconds * 2 / 15)


def server_terms(settings: Settings, *, alone: bool) -> Terms:
    """The terms of the server's own actors."""
    return Terms(renews=False) if alone else terms(settings.actors.lease_seconds)


def elector(actor: Actor, door: Door, terms: Terms, chance: Random, log: Log, *, server: bool) -> Elector:
    """A candidate for an actor, under a name that no other has, and none of its own former lives."""
    me = f"{SERVER if server else socket.gethostname() + '_'}{chance.getrandbits(64):016x}"
    clock = SystemClock()
    return Elector(TypedClient(door, clock), account_name(actor.name), me, terms, clock, chance, log)


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None


class _Held(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


async def free_abandoned(manager: Manager, identity: Identity) -> None:
    """Frees the leases of servers that were alone on this database before, and did not live to give them back."""
    for record in manager.store.list(RESOURCE, ACTOR_NAMESPACE).records:
        holder = msgspec.json.decode(record.desired, type=_Held).spec.holder_identity or ""
        if holder.startswith(SERVER):
            target = Target(LEASE, LEASE.storage, ACTOR_NAMESPACE, record.key.name)
            free = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
            await manager.handle(Call(identity, "patch", target, body=free, content_type=MERGE_PATCH))
