"""Writes into the status of each quota how much of it is used, for people to read. Nothing is decided on it (`apiserver.quotas`).

What it promises: a status is true soon after the last change (`PAUSE`), however many changes there were; a quota that does not
count a kind costs that kind nothing; what several servers report does not go back in time, since each writes only over the status
that it has seen, and has seen with it all that was committed before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from actors.builtin.pool import Pool, Surroundings
from admission.identity import SYSTEM
from apiserver.calls import Call
from apiserver.following import follow
from apiserver.manager import Manager
from apiserver.quotas import RESOURCE, Quotas
from apiserver.stored import in_version
from apiserver.target import Target
from registry.builtin import RESOURCE_QUOTA
from registry.builtin.resourcequota import resource_counted
from registry.errors import NotFound
from storage.sql import SqlStore
from storage.store import Change, Key, Op, Record

NAME = "quotas"
PAUSE = 0.1
"""Seconds for which changes are gathered before they are counted."""
AGAIN = 300.0
"""Seconds after which a quota is counted although nothing is known to have changed."""
CONCURRENCY = 4


class Usage:
    """Follows quotas and what they count. `run` returns after `stop`."""

    def __init__(self, manager: Manager, store: SqlStore, around: Surroundings) -> None:
        self._manager = manager
        self._store = store
        self._clock = around.clock
        self._quotas = Quotas()
        self._pool: Pool[Key] = Pool(self._look, around, CONCURRENCY)
        self._counted: dict[Key, frozenset[str]] = {}  # what each quota counts
        self._counting: dict[str, dict[str, set[Key]]] = {}  # by resource and namespace: the quotas that count it there
        self._listening: dict[str, Callable[[], None]] = {}  # by resource: what ends the subscription
        self.stop = self._pool.stop

    @property
    def idle(self) -> bool:
        """Every status says what is so."""
        return self._pool.idle

    async def run(self) -> None:
        """Reports until it is stopped."""
        unfollow = follow(self._store, RESOURCE, self)
        try:
            await self._pool.run()
        finally:
            unfollow()
            for key in tuple(self._counted):
                self._count(key, frozenset())

    def put(self, record: Record) -> None:
        """A quota is there, new or changed."""
        self._count(record.key, frozenset(self._quotas.limits(record)))
        self._pool.add(record.key)

    def remove(self, record: Record) -> None:
        """A quota is gone."""
        self._count(record.key, frozenset())

    def _count(self, key: Key, resources: frozenset[str]) -> None:
        """From now on this quota counts these resources, and no others."""
        before = self._counted.pop(key, frozenset())
        if resources:
            self._counted[key] = resources
        for resource in before - resources:
            places = self._counting[resource]
            places[key.namespace].discard(key)
            if not places[key.namespace]:
                del places[key.namespace]
            if not places:
                del self._counting[resource]
                self._listening.pop(resource)()
        for resource in resources - before:
            self._counting.setdefault(resource, {}).setdefault(key.namespace, set()).add(key)
            if resource not in self._listening:
                self._listening[resource] = self._store.subscribe(resource, partial(self._hear, resource))

    def _hear(self, resource: str, changes: Sequence[Change]) -> None:
        places = self._counting.get(resource, {})
        touched = {change.record.key.namespace for change in changes if change.op is not Op.MODIFIED}
        for namespace in touched:
            for key in places.get(namespace, ()):
                self._pool.add_at(key, self._clock.now() + PAUSE)

    async def _look(self, key: Key) -> None:
        record = self._store.get(key)
        if record is None:
            return
        document = in_version(RESOURCE_QUOTA.storage, record)
        status = self._status(document, key.namespace)
        if document.get("status", {}) != status:
            target = Target(RESOURCE_QUOTA, RESOURCE_QUOTA.storage, key.namespace, key.name, "status")
            try:
                await self._manager.handle(Call(SYSTEM, "update", target, body={**document, "status": status}))
            except NotFound:
                return
        self._pool.add_at(key, self._clock.now() + AGAIN)

    def _status(self, document: dict[str, Any], namespace: str) -> dict[str, Any]:
        hard = document["spec"].get("hard")
        if not hard:
            return {}
        return {"hard": hard, "used": {name: str(self._used(name, namespace)) for name in hard}}

    def _used(self, name: str, namespace: str) -> int:
        resource = resource_counted(name)
        return 0 if resource is None else self._store.state.count(resource, namespace)
