"""Knows objects of all kinds: the newest facts of each that its source tells of, by uid, kept from a list and a watch.

What it promises: listeners are told every difference between what was and what is, once, also after a gap in the watch. Whenever a
listener is called, or anybody else runs, the census is the state of one revision: the one that was applied last, and nothing later.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

import anyio.lowlevel

from actors.builtin.objects import Change, Everything, Facts, Listing
from actors.builtin.pool import Surroundings
from actors.clock import sleep_until
from actors.recorder import presentable
from actors.workqueue import Backoff
from registry.errors import ExpiredError

_BACKOFF = Backoff(base=0.1, limit=30.0)
_BREATH = 1_000
"""Objects of a list that are read between two turns of the event loop."""


class Listener(Protocol):
    """Is told what changed. Must not wait, and must not raise."""

    def changed(self, old: Facts | None, new: Facts | None) -> None:
        """An object was like `old` (None: not there) and is like `new` (None: gone). One of them is always there."""
        ...


class Census:
    """See the module. `run` keeps it up to date until it is cancelled, or the source ends with the server."""

    def __init__(self, source: Everything, around: Surroundings) -> None:
        self._source = source
        self._around = around
        self._listeners: Sequence[Listener] = ()
        self._facts: dict[str, Facts] = {}  # by uid
        self.revision = 0  # everything up to here has been seen
        self.synced = False  # there was a list

    def tell(self, *listeners: Listener) -> None:
        """These are told from now on. To be called before `run`."""
        self._listeners = (*self._listeners, *listeners)

    def get(self, uid: str) -> Facts | None:
        """What is known of an object; None if there is none of that uid, or nothing to be known of it but that it is there."""
        return self._facts.get(uid)

    async def run(self) -> None:
        """Follows the source, for ever and without a gap."""
        listed, failures, clock = False, 0, self._around.clock
        while True:
            try:
                if not listed:
                    await self._take_over(await self._source.list())
                    listed = True
                async with aclosing(self._source.watch(self.revision)) as batches:
                    async for batch in batches:
                        failures = 0
                        self._apply(batch)
                problem = "the watch ended"
            except ExpiredError as error:
                listed = False
                problem = str(error)
            except Exception as error:  # whatever a source raises: it is asked again
                problem = f"{type(error).__name__}: {error}"
            failures += 1
            if failures > 1:
                self._around.log.warning("watching again", kind="all", because=presentable(problem), attempt=failures)
            await sleep_until(clock, clock.now() + _BACKOFF.delay(failures, self._around.chance))

    async def _take_over(self, listing: Listing) -> None:
        """What was listed is what there is. It is read while others work, and taken over in one step."""
        found: dict[str, Facts] = {}
        for facts in listing.objects:
            found[facts.uid] = facts
            if len(found) % _BREATH == 0:
                await anyio.lowlevel.checkpoint()
        before, self._facts, self.revision = self._facts, found, listing.revision
        self.synced = True
        for uid, old in before.items():
            if uid not in found:
                self._tell(old, None)
        for uid, new in found.items():
            self._tell(before.get(uid), new)

    def _apply(self, batch: Sequence[Change]) -> None:
        """A batch is taken over as a whole before anybody is told: whoever looks then sees all of it."""
        seen: dict[str, Facts | None] = {}
        for change in batch:
            if change.revision <= self.revision:
                continue
            self.revision = change.revision
            uid = change.facts.uid
            old = self._facts.get(uid)
            seen.setdefault(uid, old or (change.facts if change.gone else None))
            if change.gone:
                self._facts.pop(uid, None)
            else:
                self._facts[uid] = change.facts
        for uid, old in seen.items():
            self._tell(old, self._facts.get(uid))

    def _tell(self, old: Facts | None, new: Facts | None) -> None:
        if (old is None and new is None) or (old is not None and new is not None and old.same(new)):
            return
        for listener in self._listeners:
            listener.changed(old, new)
