"""Actors in every kind of trouble, each on a kind of its own: one blocks the event loop, one cannot be set up until a file is
there, one breaks for good, one fails a key, one is well. For tests of supervision and insight on a real server.

`SKEP_TEST_FOLDER` is the folder that they look into.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from actors import Again, Client, Done
from registry.plugin import Plugin
from registry.resource import Resource, Spec, Status

FOLDER = Path(os.environ["SKEP_TEST_FOLDER"])


class TroubleSpec(Spec):
    note: str = ""


class TroubleStatus(Status):
    saw: str = ""


class Well(Resource[TroubleSpec, TroubleStatus]):
    """Well is looked after by an actor that works."""


class Blocker(Resource[TroubleSpec, TroubleStatus]):
    """Blocker is looked after by an actor that blocks the event loop until the file `release` is there."""


class Waiter(Resource[TroubleSpec, TroubleStatus]):
    """Waiter is looked after by an actor that cannot be set up until the file `there` is there."""


class Breaker(Resource[TroubleSpec, TroubleStatus]):
    """Breaker is looked after by an actor whose exceptions cannot even be shown, until the file `mended` is there."""


class Failer(Resource[TroubleSpec, TroubleStatus]):
    """Failer is looked after by an actor that fails for what is called `bad`, and looks again at the others."""


class UnspeakableError(Exception):
    """Breaks whoever wants to show it."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


plugin = Plugin("troubled")
for model in (Well, Blocker, Waiter, Breaker, Failer):
    plugin.kind(model, group="troubled.example", version="v1", plural=f"{model.__name__.lower()}s")


@plugin.actor(Well, name="well")
async def well(obj: Well, client: Client) -> Done:
    return Done(TroubleStatus(saw=obj.spec.note))


@plugin.actor(Blocker, name="blocker")
async def blocker(obj: Blocker, client: Client) -> Done:
    while not (FOLDER / "release").exists():
        time.sleep(0.01)
    return Done(TroubleStatus(saw=obj.spec.note))


@plugin.actor(Waiter, name="waiter", backoff=(0.05, 0.1))
class Waits:
    """Needs what is not there."""

    async def setup(self, client: Client) -> None:
        (FOLDER / "there").read_text()

    async def reconcile(self, obj: Waiter, client: Client) -> Done:
        return Done(TroubleStatus(saw=obj.spec.note))


@plugin.actor(Breaker, name="breaker")
async def breaker(obj: Breaker, client: Client) -> Done:
    if not (FOLDER / "mended").exists():
        raise UnspeakableError
    return Done(TroubleStatus(saw=obj.spec.note))


@plugin.actor(Failer, name="failer", backoff=(0.05, 60.0), concurrency=2)
async def failer(obj: Failer, client: Client) -> Again:
    if obj.metadata.name == "bad":
        raise RuntimeError(f"cannot: token=topsecret {obj.spec.note}")
    return Again(600, TroubleStatus(saw=obj.spec.note))
