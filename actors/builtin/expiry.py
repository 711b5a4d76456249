"""Deletes what has expired, on time. When an object expires is among its facts; here are only a heap of times and the deletions.

What it promises: the newest state is asked before a deletion, which is for the object as it was then; an object whose time was put
off stays. What expired while the server was away goes when it is back.
"""

from __future__ import annotations

from actors.builtin.census import Census
from actors.builtin.objects import Facts, Reach
from actors.builtin.pool import Pool, Surroundings

CONCURRENCY = 16

_LONGEST = 3600.0
"""Seconds after which a far time is reckoned anew: the wall clock may have been set, or the machine asleep."""


class Expiry:
    """See the module. Listens to a `Census`; `run` deletes, until `stop`."""

    def __init__(self, census: Census, reach: Reach, around: Surroundings) -> None:
        self._census = census
        self._reach = reach
        self._clock = around.clock
        self._pool: Pool[str] = Pool(self._look, around, CONCURRENCY)
        self.run = self._pool.run
        self.stop = self._pool.stop

    @property
    def idle(self) -> bool:
        """Nothing is to be deleted now."""
        return self._pool.idle

    def changed(self, old: Facts | None, new: Facts | None) -> None:
        """See `Listener`."""
        del old
        if new is not None and new.expires is not None and not new.deleting:
            self._set(new.uid, new.expires)

    async def _look(self, uid: str) -> None:
        facts = self._census.get(uid)
        if facts is None or facts.deleting or not self._is_due(facts):
            return
        found = await self._reach.find(facts.ref)
        if found is not None and found.uid == uid and not found.deleting and self._is_due(found):
            await self._reach.delete(found, "Background")

    def _is_due(self, facts: Facts) -> bool:
        """Whether it is; if it is too early, it is looked at again."""
        if facts.expires is None:
            return False
        due = facts.expires <= self._clock.time()
        if not due:
            self._set(facts.uid, facts.expires)
        return due

    def _set(self, uid: str, expires: float) -> None:
        left = max(0.0, expires - self._clock.time())
        self._pool.add_at(uid, self._clock.now() + min(left, _LONGEST))
