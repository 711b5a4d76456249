"""An actor whose set-up, tear-down and threads are known while they are under way."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from actors.actor import Actor, Live
from apiserver.testing.activity import Activity


def watched(actor: Actor, activity: Activity) -> Actor:
    """The actor, which does what it did."""

    def start() -> Live:
        live = actor.start()
        reconcile = live.reconcile
        return replace(
            live,
            reconcile=_aside(reconcile, activity) if actor.threaded else reconcile,
            setup=_known(live.setup, f"{actor.name} set-up", activity),
            teardown=_known(live.teardown, f"{actor.name} tear-down", activity),
        )

    return replace(actor, start=start)


def _aside(reconcile: Callable[..., Any], activity: Activity) -> Callable[..., Any]:
    @functools.wraps(reconcile)
    def call(*arguments: Any) -> Any:
        with activity.aside():
            return reconcile(*arguments)

    return call


def _known(function: Callable[..., Any] | None, what: str, activity: Activity) -> Callable[..., Any] | None:
    if function is None:
        return None
    if inspect.iscoroutinefunction(function):

        async def wait(*arguments: Any) -> Any:
            with activity.doing(what):
                return await function(*arguments)

        return wait

    def call(*arguments: Any) -> Any:
        with activity.doing(what):
            return function(*arguments)

    return call
