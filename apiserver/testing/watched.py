"""An actor whose set-up, tear-down and threads are known while they are under way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from actors.actor import Actor, Live
from actors.calling import set_up, tear_down
from actors.client import Client
from apiserver.testing.activity import Activity


def watched(actor: Actor, activity: Activity) -> Actor:
    """The actor, which does what it did."""

    def start() -> Live:
        live = actor.start()

        async def setup(client: Client) -> None:
            with activity.doing(f"{actor.name} set-up"):
                await set_up(live, client)

        async def teardown() -> None:
            with activity.doing(f"{actor.name} tear-down"):
                await tear_down(live)

        reconcile = _aside(live.reconcile, activity) if actor.threaded else live.reconcile
        return replace(live, reconcile=reconcile, setup=setup, teardown=teardown)

    return replace(actor, start=start)


def _aside(reconcile: Callable[..., Any], activity: Activity) -> Callable[..., Any]:
    @functools.wraps(reconcile)
    def call(*arguments: Any) -> Any:
        with activity.aside():
            return reconcile(*arguments)

    return call
