"""Actors as objects of the API (`registry.builtin.actor`): what they say, and who may change what. Plain functions."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from msgspec.structs import fields, replace

from actors.actor import Actor
from actors.insight import Failing
from admission.review import Review
from apiserver.supervision import WELL, View
from registry.builtin.actor import (
    ACTOR,
    KEEPER,
    KEPT,
    READY,
    ActorObject,
    ActorSpec,
    ActorStatus,
    FailingKey,
    KindReference,
    PastRun,
    RunningKey,
    Totals,
)
from registry.catalog import Registry
from registry.errors import Forbidden, details
from registry.kinds import Handler, Kind
from registry.nodes import Document
from registry.resource import Condition
from registry.times import format_time
from registry.typed import to_document

ELSEWHERE = ("reported", "conditions")
"""What of a status is not made of a view: it depends on what was written before."""


def spec_document(actor: Actor, registry: Registry) -> Document:
    """What is declared of an actor: the spec of its object, without what is not declared there (`paused`)."""
    spec = ActorSpec(
        owns=_reference(actor.model, registry),
        observes=_references((each.model for each in actor.observes), registry),
        writes=_references(actor.writes, registry),
        identity=actor.identity,
        mode="Thread" if actor.threaded else "Async",
        concurrency=actor.concurrency,
        resync_seconds=actor.resync,
        timeout_seconds=actor.timeout,
        backoff_seconds=(actor.backoff.base, actor.backoff.limit),
        source=actor.source,
    )
    document = to_document(spec)
    del document["paused"]
    return document


def status_document(view: View, epoch: float) -> Document:
    """What an actor is doing, bounded; without `reported` and the conditions.

    `epoch`: the wall clock's time (seconds since 1970) at the zero of the actor's clock.
    """
    snapshot = view.snapshot

    def wall(moment: float) -> str:
        return format_time(epoch + moment)

    def told(each: Failing) -> FailingKey:
        retry = None if each.retry is None else wall(each.retry)
        return FailingKey(key=str(each.place), error=each.error, failures=each.failures, next_retry=retry)

    running = sorted(snapshot.running.items(), key=lambda item: item[1])[:KEPT]
    status = ActorStatus(
        state=view.state,
        message=view.message,
        objects=snapshot.objects,
        queue=snapshot.depth,
        waiting_since=None if snapshot.waits_since is None else wall(snapshot.waits_since),
        timers=snapshot.timers,
        running_count=len(snapshot.running),
        running=tuple(RunningKey(key=str(place), since=wall(since)) for place, since in running),
        failing_count=len(snapshot.failing),
        failing=tuple(told(each) for each in reversed(snapshot.failing[-KEPT:])),
        last=tuple(
            PastRun(key=str(past.place), result=past.result, ended=wall(past.at), seconds=round(past.seconds, 6))
            for past in snapshot.last[:KEPT]
        ),
        totals=_totals(view),
        leader=snapshot.leader,
        epoch=snapshot.epoch or None,
    )
    document = to_document(status)
    return {name: value for name, value in document.items() if name not in ELSEWHERE}


def _totals(view: View) -> Totals:
    snapshot = view.snapshot
    return Totals(
        runs=sum(snapshot.totals.values()),
        seconds=round(snapshot.seconds, 6),
        results={str(result): count for result, count in snapshot.totals.items()},
        retries=snapshot.retries,
        restarts=view.restarts,
    )


def ready(view: View, generation: int | None) -> Condition:
    """The condition that says whether the actor is at work."""
    holds = view.state in WELL
    return Condition(
        type=READY,
        status="True" if holds else "False",
        reason=view.state,
        message=view.message,
        observed_generation=generation,
    )


def notable(status: Document) -> Any:
    """What of a status is told at once: equal for two that differ in counts and times alone."""
    failing = [(each["key"], each["error"]) for each in status.get("failing", ())]
    return status.get("state"), status.get("message", ""), sorted(failing)


def guards(kind: Kind) -> tuple[Handler, ...]:
    """The validators that the server itself puts before writes of a kind."""
    if kind is not ACTOR:
        return ()
    return (Handler("skep.guard", ActorObject, guard, f"{__name__}:{inspect.getsourcelines(guard)[1]}"),)


def guard(review: Review[ActorObject]) -> None:
    """What is declared in a plugin is changed there: of a spec, others than the server change `paused` alone. Raises Forbidden."""
    if review.identity.username == KEEPER or review.old is None:
        return
    new, old = review.new.spec, review.old.spec
    if new == replace(old, paused=new.paused):
        return
    changed = [field.encode_name for field in fields(ActorSpec) if getattr(new, field.name) != getattr(old, field.name)]
    paths = ", ".join(f"spec.{name}" for name in changed if name != "paused")
    where = f" at {old.source}" if old.source else ""
    name = review.old.metadata.name or ""
    message = (
        f'{ACTOR.resource} "{name}" is forbidden: {paths} cannot be changed here: that is declared in the plugin{where}; '
        f"spec.paused, labels and annotations can be changed"
    )
    raise Forbidden(message, details=details(name=name, group=ACTOR.group, kind=ACTOR.plural))


def _references(models: Iterable[type], registry: Registry) -> tuple[KindReference, ...]:
    return tuple(reference for model in models if (reference := _reference(model, registry)) is not None)


def _reference(model: type, registry: Registry) -> KindReference | None:
    found = registry.of_model(model)
    if found is None:
        return None
    kind, version = found
    return KindReference(api_version=version.api_version, kind=version.kind, resource=kind.resource)
