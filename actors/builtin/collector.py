"""Garbage collection: what nobody owns any more is deleted, and owners go in the way that their deletion asked for.

* **Background.** An object whose owners are all gone is deleted. With some of them left it only loses the references to the others.
* **Foreground.** An owner with the finalizer `foregroundDeletion` stays until its dependents with `blockOwnerDeletion` are gone;
  all its dependents are deleted, those with dependents of their own in the same way.
* **Orphan.** With the finalizer `orphan` its dependents lose the reference to it, and then it goes.

What it promises: owners are matched by uid; one with the same name and another uid, or in another namespace, is none. The graph
only says what is worth a look: before anything is deleted, the newest state has been asked for the object and for each owner that
seems to be gone, and the deletion is for the object as it was then. Nothing depends on having seen a deletion, so it can be stopped
at any point and started again. An object whose owner cannot be looked for (its kind is not served, or it has a namespace and the
object has none) is left alone, and the log says so; it is looked at again when kinds came. Events do not take part.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum, auto

import anyio

from actors.builtin.census import Census
from actors.builtin.graph import Graph
from actors.builtin.objects import FOREGROUND, ORPHAN, Facts, Owner, Reach, Ref, named
from actors.builtin.pool import Pool, Surroundings
from registry.errors import ConflictError

CONCURRENCY = 64
"""Objects that are worked on at once: as many writes can share one commit of the store."""

_REMEMBERED = 10_000
_TOLD = 1_000
_ATTEMPTS = 5


class Standing(Enum):
    """What an owner is to a dependent. `UNKNOWN` cannot be looked for, and counts as there."""

    THERE = auto()
    WAITING = auto()
    GONE = auto()
    UNKNOWN = auto()


class Collector:
    """See the module. Listens to a `Census`; `run` does what it heard of, until `stop`."""

    def __init__(self, census: Census, reach: Reach, around: Surroundings) -> None:
        self._census = census
        self._reach = reach
        self._log = around.log
        self._graph = Graph(census.get)
        self._gone: OrderedDict[tuple[str, Ref], None] = OrderedDict()  # known not to exist; no uid is given twice
        self._unknown: set[tuple[str, str, str]] = set()  # owners that cannot be looked for, of which the log says so already
        self._left_alone: OrderedDict[str, None] = OrderedDict()  # objects with such owners, by uid
        self._pool: Pool[str] = Pool(self._look, around, CONCURRENCY)
        self.run = self._pool.run
        self.stop = self._pool.stop

    @property
    def idle(self) -> bool:
        """Nothing is to be done now."""
        return self._pool.idle

    def changed(self, old: Facts | None, new: Facts | None) -> None:
        """See `Listener`."""
        either = new or old
        if either is None or not either.collected:
            return
        for uid in self._graph.take(old, new):
            self._pool.add(uid)

    def kinds_came(self) -> None:
        """There are kinds that there were not: an owner that could not be looked for may be of one of them."""
        self._unknown.clear()
        while self._left_alone:
            self._pool.add(self._left_alone.popitem()[0])

    async def _look(self, uid: str) -> None:
        """Drives one object to where it should be."""
        facts = self._census.get(uid)
        if facts is None:
            return
        if facts.orphaning:
            await self._orphan(facts)
        elif facts.waiting:
            if not self._graph.blocked(uid):
                await self._release(facts, FOREGROUND)
        elif facts.owners and not facts.deleting:
            await self._check(facts)

    # Dependents

    async def _check(self, facts: Facts) -> None:
        if all(self._seen(owner, facts) is Standing.THERE for owner in facts.owners):
            return
        found = await self._reach.find(facts.ref)
        if found is None or found.uid != facts.uid or found.deleting or not found.owners:
            return
        standings = [(owner, await self._standing(owner, found)) for owner in found.owners]
        staying = [owner for owner, standing in standings if standing in (Standing.THERE, Standing.UNKNOWN)]
        if not staying:
            await self._reach.delete(found, self._propagation(found, (standing for _, standing in standings)))
        elif len(staying) < len(standings):
            await self._reach.set_owners(found, staying)

    def _propagation(self, found: Facts, standings: Iterable[Standing]) -> str:
        """As its finalizers ask; in the foreground if an owner waits that has to wait for its dependents as well."""
        if ORPHAN in found.finalizers:
            return "Orphan"
        if FOREGROUND in found.finalizers or (Standing.WAITING in standings and self._graph.owns(found.uid)):
            return "Foreground"
        return "Background"

    def _seen(self, owner: Owner, dependent: Facts) -> Standing | None:
        """What the graph alone can say: an owner that is there. None: somebody has to look."""
        ref = self._address(owner, dependent)
        known = self._census.get(owner.uid)
        if ref is None:
            return None
        if known is not None and known.ref == ref:
            return Standing.WAITING if known.waiting else Standing.THERE
        return Standing.GONE if (owner.uid, ref) in self._gone else None

    async def _standing(self, owner: Owner, dependent: Facts) -> Standing:
        seen = self._seen(owner, dependent)
        if seen is not None:
            return seen
        ref = self._address(owner, dependent)
        if ref is None:
            self._tell_unknown(owner, dependent)
            self._left_alone[dependent.uid] = None
            while len(self._left_alone) > _REMEMBERED:
                self._left_alone.popitem(last=False)
            return Standing.UNKNOWN
        found = await self._reach.find(ref)
        if found is not None and found.uid == owner.uid:
            return Standing.WAITING if found.waiting else Standing.THERE
        self._gone[owner.uid, ref] = None
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        return Standing.GONE

    def _tell_unknown(self, owner: Owner, dependent: Facts) -> None:
        """Says so once for each kind of owner and of dependent: there may be thousands of them."""
        kinds = (owner.api_version, owner.kind, dependent.ref.resource)
        if kinds not in self._unknown and len(self._unknown) < _TOLD:
            self._unknown.add(kinds)
            wanted = f"{owner.api_version} {owner.kind} {owner.name}"
            self._log.warning("left alone: its owner cannot be looked for", object=named(dependent.ref), owner=wanted)

    def _address(self, owner: Owner, dependent: Facts) -> Ref | None:
        """Where the owner must be: a namespaced one is in the dependent's namespace. None: that cannot be said."""
        scope = self._reach.scope(owner.api_version, owner.kind)
        if scope is None or (scope.namespaced and not dependent.ref.namespace):
            return None
        return Ref(scope.resource, dependent.ref.namespace if scope.namespaced else "", owner.name)

    # Owners

    async def _orphan(self, facts: Facts) -> None:
        """Takes the reference out of every dependent, then lets the owner go."""
        done: set[str] = set()
        refused: list[Exception] = []
        slots = anyio.CapacityLimiter(CONCURRENCY)

        async def disown(uid: str) -> None:
            async with slots:
                try:
                    await self._disown(uid, facts.uid)
                except Exception as error:  # raised again when the others are done
                    refused.append(error)

        while not refused and (pending := [uid for uid in self._graph.dependents(facts.uid) if uid not in done]):
            async with anyio.create_task_group() as tasks:
                for uid in pending:
                    tasks.start_soon(disown, uid)
            done.update(pending)
        if refused:
            raise refused[0]
        await self._release(facts, ORPHAN)

    async def _disown(self, dependent: str, owner: str) -> None:
        known = self._census.get(dependent)
        for attempt in range(1, _ATTEMPTS + 1):
            found = await self._reach.find(known.ref) if known is not None else None
            if found is None or found.uid != dependent or all(each.uid != owner for each in found.owners):
                return
            try:
                await self._reach.set_owners(found, [each for each in found.owners if each.uid != owner])
            except ConflictError:
                if attempt == _ATTEMPTS:
                    raise

    async def _release(self, facts: Facts, finalizer: str) -> None:
        found = await self._reach.find(facts.ref)
        if found is None or found.uid != facts.uid or finalizer not in found.finalizers:
            return
        await self._reach.set_finalizers(found, [each for each in found.finalizers if each != finalizer])
