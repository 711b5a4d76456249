"""Who owns whom: a graph by uid, and which objects a change makes worth a look. Plain computing; nothing is read or written here.

Edges are what references say, by uid, also to owners that are not there. Whether an owner that is not here is really gone is not
for the graph to say: it is asked again, where the newest state is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from actors.builtin.objects import Facts


class Graph:
    """Dependents by the uids of their owners. See the module. `facts` knows the objects, as they are after the change."""

    def __init__(self, facts: Callable[[str], Facts | None]) -> None:
        self._facts = facts
        self._dependents: dict[str, dict[str, None]] = {}  # of an owner, by uids, whether it is there or not; never empty

    def dependents(self, uid: str) -> list[str]:
        """The uids of those that name this owner, as they are now."""
        return list(self._dependents.get(uid, ()))

    def owns(self, uid: str) -> bool:
        """Whether anything names this owner."""
        return uid in self._dependents

    def take(self, old: Facts | None, new: Facts | None) -> Iterable[str]:
        """Takes over a change. Returns the uids that are to be looked at because of it."""
        looks: dict[str, None] = {}
        if old is not None:
            self._unlink(old)
            looks.update((owner.uid, None) for owner in old.owners if self._is_waiting(owner.uid))
        if new is None:
            if old is not None:
                looks.update((uid, None) for uid in self._dependents.get(old.uid, ()))
            return looks
        for owner in new.owners:
            self._dependents.setdefault(owner.uid, {})[new.uid] = None
            if self._is_waiting(owner.uid):
                looks[owner.uid] = None
        if new.owners or new.waiting or new.orphaning:
            looks[new.uid] = None
        if new.waiting and (old is None or not old.waiting):
            looks.update((uid, None) for uid in self._dependents.get(new.uid, ()))
        return looks

    def blocked(self, uid: str) -> bool:
        """Whether a waiting owner has to go on waiting: for a dependent that blocks it, and does not itself wait for it in the end.

        In a circle of objects that all wait for each other, whoever is asked first need not wait.
        """
        others = (each for each in self._blockers(uid) if each != uid)
        return any(not self._waits(each) or not self._waits_for(each, uid) for each in others)

    def _blockers(self, uid: str) -> Iterable[str]:
        """Dependents that ask their owner to wait. One in another namespace than its owner's has no say."""
        owner = self._facts(uid)
        for each in self._dependents.get(uid, ()):
            dependent = self._facts(each)
            if owner is None or dependent is None or owner.ref.namespace not in ("", dependent.ref.namespace):
                continue
            if any(reference.uid == uid and reference.block_owner_deletion for reference in dependent.owners):
                yield each

    def _waits_for(self, uid: str, other: str) -> bool:
        """Whether `uid` waits for `other`, itself or by way of those that it waits for."""
        seen, ahead = {uid}, [uid]
        while ahead:
            each = ahead.pop()
            if each == other:
                return True
            if self._waits(each):
                found = [blocker for blocker in self._blockers(each) if blocker not in seen]
                seen.update(found)
                ahead += found
        return False

    def _waits(self, uid: str) -> bool:
        facts = self._facts(uid)
        return facts is not None and facts.waiting

    def _is_waiting(self, uid: str) -> bool:
        """Whether a change of a dependent matters to this owner."""
        facts = self._facts(uid)
        return facts is not None and (facts.waiting or facts.orphaning)

    def _unlink(self, facts: Facts) -> None:
        for owner in facts.owners:
            dependents = self._dependents.get(owner.uid)
            if dependents is None:
                continue
            dependents.pop(facts.uid, None)
            if not dependents:
                del self._dependents[owner.uid]
