"""What a running server and one under test have in common, made of what they are given: `serve` and `testing` add the rest.

There is no socket here, and no clock or chance of its own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from actors.actor import Actor, from_declaration
from actors.clock import Clock
from actors.lease import Epoch
from actors.recorder import EventRecorder, Log
from actors.runner import Environment
from admission.chain import Chain
from admission.granting import GrantGuard
from admission.identity import SYSTEM, TokenReviewer, actor_identity
from admission.key_rules import KeyRules
from admission.review import Admitter, Authorizer
from admission.reviews import NO_TOKENS, Reviews
from admission.ttl_rules import TtlRules
from apiserver.actor_objects import guards
from apiserver.admitting import Admission
from apiserver.answering import review_answers
from apiserver.audit import AuditedManager, Auditor
from apiserver.bootstrapping import bring
from apiserver.bound import bound
from apiserver.callers import warned
from apiserver.calls import Call
from apiserver.client import ManagerDoor, ManagerEvents, ManagerSource
from apiserver.definitions_declared import declare
from apiserver.definitions_guard import DeclaredGuard
from apiserver.manager import Manager, Subresource
from apiserver.policing import Policies
from apiserver.roles import authorization
from apiserver.stored import key_of
from apiserver.target import Target
from registry.actors import ACTOR_ANNOTATION, ACTOR_NAMESPACE, BUILTIN_ACTORS, account_name
from registry.builtin import NAMESPACE, SERVICE_ACCOUNT
from registry.builtin.namespace import INITIAL
from registry.catalog import Catalog, Registry
from registry.conversion import for_models
from registry.errors import AlreadyExists
from storage.sql import SqlStore

NONE: Mapping[tuple[str, str], Subresource] = MappingProxyType({})


def make_manager(
    registry: Registry,
    store: SqlStore,
    log: Log,
    *,
    now: Callable[[], float],
    chance: random.Random,
    body_bytes: int,
    admitters: Sequence[Admitter] = (),
    auditor: Auditor | None = None,
    webhooks: Callable[[Authorizer], Admitter] | None = None,
    subresources: Mapping[tuple[str, str], Subresource] = NONE,
    tokens: TokenReviewer = NO_TOKENS,
    deprecated: Callable[[Call], None] = warned,
) -> Manager:
    """The request path over a store. `body_bytes` bounds what is sent at once; `admitters`, and those whom `webhooks` gives for an
    authorizer, are asked about every write, `tokens` whose a token is (TokenReview); `auditor` follows every call; `subresources`
    and `deprecated` are those of `Manager`."""
    catalog = Catalog(registry)
    allows = authorization(catalog, store)
    asked = [*admitters, DeclaredGuard(), Policies(catalog, store, allows)]
    asked += [webhooks(allows)] if webhooks is not None else []
    asked += [KeyRules(allows), TtlRules(allows), GrantGuard(allows.rbac, allows.decide)]
    admission = Admission(chains(registry, log), asked)
    catalog.report_conversions(
        lambda error: log.error("an object cannot be converted", why=error.message, exc_info=error.__cause__)
    )
    make = Manager if auditor is None else partial(AuditedManager, auditor)
    answers = {**review_answers(catalog, Reviews(allows, tokens, now)), **subresources}
    return make(
        catalog,
        store,
        allows,
        admission,
        now=now,
        chance=chance,
        largest=2 * body_bytes,  # room for what the server adds, and for status, which is sent apart
        subresources=answers,
        deprecated=deprecated,
    )


def chains(registry: Registry, log: Log) -> dict[str, Chain]:
    """The admission handlers of each kind that has any."""
    made = {}
    conversions = for_models(registry)
    for kind in registry.kinds:
        defaulters, mutators = registry.defaulters(kind), registry.mutators(kind)
        validators = (*registry.validators(kind), *guards(kind))
        if defaulters or mutators or validators:
            made[kind.resource] = Chain(mutators, validators, log, defaulters=defaulters, conversions=conversions)
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
    identity = actor_identity(actor.name)
    token = epoch.token if epoch is not None else ""
    return Environment(
        source=ManagerSource(manager, identity),
        door=ManagerDoor(manager, identity, token),
        recorder=EventRecorder(ManagerEvents(manager, identity, token), actor.name, clock, chance, log),
        clock=clock,
        chance=chance,
        log=log,
        leads=leads,
        epoch=epoch.number if epoch is not None else 0,
    )


async def bootstrap(manager: Manager, store: SqlStore, now: float, *others: Callable[[], Awaitable[None]]) -> None:
    """Makes the namespaces, the service account of every actor, the roles that are there from the first start on and the
    definitions of the kinds of plugins, and what `others` make. History begins after them: nobody has seen what was before."""
    first = store.revision == 0
    for name in INITIAL:
        await _make(manager, Target(NAMESPACE, NAMESPACE.storage, None), {"name": name})
    accounts = Target(SERVICE_ACCOUNT, SERVICE_ACCOUNT.storage, ACTOR_NAMESPACE)
    for actor in (*BUILTIN_ACTORS, *(declaration.name for declaration in manager.registry.actors)):
        await _make(manager, accounts, {"name": account_name(actor), "annotations": {ACTOR_ANNOTATION: actor}})
    await bring(manager, SYSTEM, bound(manager.registry, actors_of(manager.registry)))
    await declare(manager, SYSTEM, now)
    for make in others:
        await make()
    if first:
        await store.compact(now, max_age=math.inf, max_count=0)


async def _make(manager: Manager, target: Target, metadata: dict[str, Any]) -> None:
    """Makes an object, unless one of its name is there. One look says so, from the second start on."""
    if manager.store.get(key_of(replace(target, name=metadata["name"]))) is None:
        with suppress(AlreadyExists):
            await manager.handle(Call(SYSTEM, "create", target, body={"metadata": metadata}))
