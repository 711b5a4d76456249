"""What a running server and one under test have in common, made of what they are given: `serve` and `testing` add the rest.

There is no socket here, and no clock or chance of its own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Sequence

from actors.actor import Actor, from_declaration
from actors.clock import Clock
from actors.lease import Epoch
from actors.recorder import EventRecorder, Log
from actors.runner import Environment
from admission.chain import Chain
from admission.granting import GrantGuard
from admission.identity import Identity, TokenReviewer, authenticated
from admission.review import Admitter
from admission.reviews import NO_TOKENS, Reviews
from apiserver.actor_objects import guards
from apiserver.admitting import Admission
from apiserver.bootstrapping import bring
from apiserver.bound import bound
from apiserver.calls import Call
from apiserver.client import ManagerDoor, ManagerEvents, ManagerSource
from apiserver.manager import Manager
from apiserver.roles import authorization
from apiserver.target import Target
from registry.builtin import NAMESPACE
from registry.builtin.actor import KEEPER
from registry.builtin.namespace import INITIAL
from registry.errors import AlreadyExists
from registry.kinds import Registry
from storage.sql import SqlStore

SYSTEM = authenticated(Identity(KEEPER, groups=("system:masters",)))
"""Who makes what is there from the first start on, and keeps the objects of the actors."""


def make_manager(
    registry: Registry,
    store: SqlStore,
    log: Log,
    *,
    now: Callable[[], float],
    chance: random.Random,
    body_bytes: int,
    admitters: Sequence[Admitter] = (),
    tokens: TokenReviewer = NO_TOKENS,
) -> Manager:
    """The request path over a store. `body_bytes` bounds what is sent at once; `admitters` are asked about every write, `tokens`
    whose a token is (TokenReview)."""
    largest = 2 * body_bytes  # room for what the server adds, and for status, which is sent apart
    allows = authorization(registry, store)
    admission = Admission(chains(registry, log), (*admitters, GrantGuard(allows.rbac, allows.decide)))
    responders = Reviews(allows, tokens, now).responders
    return Manager(registry, store, allows, admission, now=now, chance=chance, largest=largest, responders=responders)


def chains(registry: Registry, log: Log) -> dict[str, Chain]:
    """The admission handlers of each kind that has any."""
    made = {}
    for kind in registry.kinds:
        mutators, validators = registry.mutators(kind), (*registry.validators(kind), *guards(kind))
        if mutators or validators:
            made[kind.resource] = Chain(mutators, validators, log)
    return made


def actors_of(registry: Registry) -> list[Actor]:
    """Every actor that a server runs. Raises DeclarationError."""
    return [from_declaration(declaration) for declaration in registry.actors]


def environment(
    manager: Manager,
    actor: Actor,
    *,
    clock: Clock,
    chance: random.Random,
    log: Log,
    epoch: Epoch | None = None,
    leads: Callable[[], bool] = lambda: True,
) -> Environment:
    """What an actor runs in when it is in the process of its server: everything it does, it does under its own identity.

    `epoch` is the stretch of leading that it belongs to, if there is an election, and `leads` tells whether that goes on.
    """
    identity = authenticated(Identity(actor.identity))
    token = epoch.token if epoch is not None else ""
    return Environment(
        source=ManagerSource(manager),
        door=ManagerDoor(manager, identity, token),
        recorder=EventRecorder(ManagerEvents(manager, identity, token), actor.name, clock, chance, log),
        clock=clock,
        chance=chance,
        log=log,
        leads=leads,
        epoch=epoch.number if epoch is not None else 0,
    )


async def bootstrap(manager: Manager, store: SqlStore, now: float, *others: Callable[[], Awaitable[None]]) -> None:
    """Makes the namespaces and the roles that are there from the first start on, and what `others` make. History begins after them:
    nobody has seen what was before."""
    first = store.revision == 0
    target = Target(NAMESPACE, NAMESPACE.storage, None)
    for name in INITIAL:
        call = Call(SYSTEM, "create", target, body={"metadata": {"name": name}})
        try:
            await manager.handle(call)
        except AlreadyExists:
            continue
    await bring(manager, SYSTEM, bound(manager.registry, actors_of(manager.registry)))
    for make in others:
        await make()
    if first:
        await store.compact(now, max_age=math.inf, max_count=0)
