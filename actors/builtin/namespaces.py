"""The life of a namespace: it has a service account `default` while it lives, and when it is deleted it is emptied and let go.

An ordinary actor that owns the status of namespaces. Once a namespace is marked nothing can be created in it, so what is in it now
is all that ever will be. It is deleted, many objects at once; what stays (finalizers hold it, or its deletion was refused) is told
in the conditions that Kubernetes has for it. When nothing is left, the finalizer in the spec goes, and with it the namespace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio
from msgspec.structs import replace

from actors.actor import Actor, Again, Done, Outcome, from_declaration
from actors.builtin.objects import Contents, Facts, Reach
from actors.client import Client
from actors.clock import Clock
from actors.recorder import Log, presentable
from registry.builtin.namespace import FINALIZER, Namespace, NamespaceStatus
from registry.builtin.serviceaccount import ServiceAccount
from registry.declarations import ActorDeclaration, Observation
from registry.errors import AlreadyExists, ApiError, ConflictError, Forbidden, NotFound
from registry.resource import Condition, Metadata, set_condition
from registry.times import format_time, parse_time

NAME = "namespace-controller"
ACCOUNT = "default"
CONCURRENCY = 64
"""Objects that are deleted at once: as many deletions can share one commit of the store."""

_RETRY_SECONDS = 2.0
_PATIENCE = (5.0, 300.0)
"""Seconds between two looks at a namespace that waits: at first, and at most. Its last object wakes it at once; this is for what
the conditions say meanwhile."""


@dataclass(slots=True)
class Remains:
    """What a pass over a namespace left: objects of each resource, finalizers that hold some, and refusals."""

    resources: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    refused: Mapping[str, str] = field(default_factory=dict)

    def add(self, facts: Facts) -> None:
        """This one is still there."""
        self.resources[facts.ref.resource] += 1
        self.finalizers.update(facts.finalizers)


def namespace_controller(contents: Contents, reach: Reach, clock: Clock, log: Log) -> Actor:
    """The actor. `reach` and `contents` act under its identity."""

    async def reconcile(namespace: Namespace, client: Client) -> Outcome:
        name, uid = namespace.metadata.name, namespace.metadata.uid or ""
        if namespace.metadata.deletion_timestamp is None:
            await _account(name, client)
            return Done()
        finalizers = namespace.spec.finalizers if namespace.spec is not None else ()
        if FINALIZER not in finalizers:
            return Done()  # others hold it
        refused = await _empty(name, contents, reach)
        for resource, why in refused.items():
            log.warning("could not be deleted", namespace=name, resource=resource, because=why)
        remains = await _remains(name, contents, refused)
        if remains.resources:
            return Again(_patience(namespace, remains, clock), _status(namespace, remains, format_time(clock.time())))
        await contents.finalize(name, uid, [each for each in finalizers if each != FINALIZER])
        return Done()

    declaration = ActorDeclaration(
        name=NAME,
        model=Namespace,
        reconcile=reconcile,
        concurrency=4,
        timeout=600.0,
        backoff=(0.1, 60.0),
        observes=[Observation(ServiceAccount, to=_of_account)],
        writes=[ServiceAccount],
        source=__name__,
    )
    return from_declaration(declaration)


async def _account(namespace: str, client: Client) -> None:
    """Makes the service account that everything in the namespace may count on."""
    if await client.get(ServiceAccount, ACCOUNT, namespace) is not None:
        return
    try:
        await client.create(ServiceAccount(metadata=Metadata(name=ACCOUNT, namespace=namespace)))
    except (AlreadyExists, NotFound):
        return
    except Forbidden:
        return  # the namespace began to go: it is looked at again


def _of_account(account: ServiceAccount) -> Sequence[tuple[str, str]]:
    """Whose turn it is when a service account comes or goes."""
    return [("", account.metadata.namespace)] if account.metadata.name == ACCOUNT else []


async def _empty(namespace: str, contents: Contents, reach: Reach) -> Mapping[str, str]:
    """Deletes all that is in the namespace and not being deleted yet. Returns why not, for each resource where some was refused."""
    refused: dict[str, str] = {}

    async def delete(facts: Facts) -> None:
        try:
            await reach.delete(replace(facts, revision=0), "Background")
        except ConflictError:
            return  # it is gone, and cannot come back under that name
        except ApiError as error:
            refused[facts.ref.resource] = presentable(str(error))

    async def worker(waiting: list[Facts]) -> None:
        while waiting:
            await delete(waiting.pop())

    async with aclosing(contents.of(namespace)) as pages:
        async for page in pages:
            waiting = [facts for facts in reversed(page) if not facts.deleting]
            async with anyio.create_task_group() as tasks:
                for _ in range(min(CONCURRENCY, len(waiting))):
                    tasks.start_soon(worker, waiting)
    return refused


async def _remains(namespace: str, contents: Contents, refused: Mapping[str, str]) -> Remains:
    remains = Remains(refused=refused)
    async with aclosing(contents.of(namespace)) as pages:
        async for page in pages:
            for facts in page:
                remains.add(facts)
    return remains


def _patience(namespace: Namespace, remains: Remains, clock: Clock) -> float:
    """Seconds until the next look: the longer it waits already, the longer."""
    if remains.refused:
        return _RETRY_SECONDS
    since = namespace.metadata.deletion_timestamp
    waits = clock.time() - parse_time(since).timestamp() if since is not None else 0.0
    return max(_PATIENCE[0], min(waits, _PATIENCE[1]))


def _status(namespace: Namespace, remains: Remains, now: str) -> NamespaceStatus:
    """The conditions of Kubernetes, in its words."""
    status = namespace.status or NamespaceStatus()
    conditions = status.conditions
    for condition in _conditions(remains):
        conditions = set_condition(conditions, condition, now)
    return replace(status, conditions=conditions)


def _conditions(remains: Remains) -> Sequence[Condition]:
    refused = "; ".join(f"{resource}: {why}" for resource, why in sorted(remains.refused.items()))
    resources = ", ".join(f"{resource} has {count} resource instances" for resource, count in sorted(remains.resources.items()))
    finalizers = ", ".join(f"{finalizer} in {count} resource instances" for finalizer, count in sorted(remains.finalizers.items()))
    return (
        _condition(
            "NamespaceDeletionContentFailure",
            (refused, "ContentDeletionFailed", ""),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        _condition("NamespaceContentRemaining", (resources, "SomeResourcesRemain", "Some resources are remaining: "), ("", "")),
        _condition(
            "NamespaceFinalizersRemaining",
            (finalizers, "SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    )


def _condition(type: str, holds: tuple[str, str, str], otherwise: tuple[str, str]) -> Condition:
    """The condition: True with reason and message if there is something to say, else False with the others."""
    said, reason, message = holds
    if said:
        return Condition(type=type, status="True", reason=reason, message=message + presentable(said))
    return Condition(type=type, status="False", reason=otherwise[0], message=otherwise[1])
