"""API keys as objects: the authenticator is told of them as they change, and they are told when they were used.

What it promises:

* **A revocation holds when it is answered**, since the keys are followed (`apiserver.following`). So does the end of a key that
  waits for finalizers.
* **A use is never in the way.** Uses are noted in memory, the last of each key, and written every few minutes, one at a time; one
  that cannot be written is written with the next, and nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from actors.clock import Clock, sleep_until
from actors.door import Door
from actors.recorder import Log, presentable
from admission.apikeys import ApiKey, ApiKeys
from apiserver.stored import document_of
from registry.builtin.apikey import ApiKeyObject
from registry.declarations import Place
from registry.errors import NotFound
from registry.times import format_time, parse_time
from storage.store import Record

WRITE_EVERY = 120.0
"""Seconds between two writes of what was used."""


class KeyFollower:
    """Implements `apiserver.following.Follower`. `changed` is called when a key is gone, or may end sooner."""

    def __init__(self, keys: ApiKeys, log: Log, changed: Callable[[], None] = lambda: None) -> None:
        self._keys = keys
        self._log = log
        self._changed = changed

    def put(self, record: Record) -> None:
        """A key is there. One that cannot be read is none."""
        try:
            key = _key_of(record)
        except Exception as error:  # it was written past the API: the others are good all the same
            self._log.error("a key cannot be read, and is refused", key=record.key.name, error=type(error).__name__)
            key = None
        if self._keys.forget(record.key.name) if key is None else self._keys.learn(key):
            self._changed()

    def remove(self, record: Record) -> None:
        """A key is revoked."""
        if self._keys.forget(record.key.name):
            self._changed()


def _key_of(record: Record) -> ApiKey | None:
    """The key of an object; None while it is being deleted."""
    document = document_of(record)
    if "deletionTimestamp" in document["metadata"]:
        return None
    spec = document["spec"]
    expires = spec.get("expires")
    return ApiKey(
        record.key.name,
        spec["digest"],
        spec["hint"],
        spec["user"],
        tuple(spec.get("groups", ())),
        parse_time(expires).timestamp() if expires else None,
    )


class LastUses:
    """Writes into the objects of keys when they were used. `door` is the API under the identity that may."""

    def __init__(self, clock: Clock, log: Log, *, period: float = WRITE_EVERY) -> None:
        self._clock = clock
        self._log = log
        self._period = period
        self._used: dict[str, float] = {}  # by name; no more than there are keys
        self._some = anyio.Event()

    def note(self, name: str, time: float) -> None:
        """A key was used, at a time in seconds since 1970."""
        self._used[name] = time
        if not self._some.is_set():
            self._some.set()

    async def run(self, door: Door) -> None:
        """Writes, until it is cancelled; `write` then writes the rest."""
        while True:
            await self._some.wait()
            await sleep_until(self._clock, self._clock.now() + self._period)
            self._some = anyio.Event()
            await self.write(door)

    async def write(self, door: Door) -> None:
        """Writes all that is noted. What could not be written stays noted."""
        used, self._used = self._used, {}
        for name, time in used.items():
            status = {"status": {"lastUsed": format_time(time)}}
            try:
                await door.patch(ApiKeyObject, Place("", name), status, "status")
            except NotFound:
                continue  # it is revoked
            except Exception as error:  # whatever the store is at: it is written with the next
                self._log.warning("the last use of a key is not written", key=name, error=presentable(str(error)))
                if name not in self._used:
                    self.note(name, time)
