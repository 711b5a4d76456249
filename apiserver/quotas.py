"""Quotas: who makes an object has them looked at in the transaction that commits it.

What it promises:

* There are never more objects of a kind in a namespace than each of its quotas allows, whoever makes them, however many at once and
  by however many servers. What was there before its quota stays, and no more is made until there is room.
* It holds for every way of making an object: all of them end in one create of the manager. A dry run is told what a real one would
  be, as far as this process knows. The server itself is exempt: what it needs to start has to be made.
* In a namespace without quotas it costs two look-ups. Elsewhere it costs no statement: see `storage.decide`.

Events are not counted, as in Kubernetes: they tell of trouble, also of that with a quota.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from admission import quota
from registry.builtin.resourcequota import limits_of
from registry.errors import Forbidden, details
from storage.store import Guard, Key, Record, State

RESOURCE = "resourcequotas"
UNCOUNTED = frozenset({"events"})
REMEMBERED = 4_096
"""Quotas whose limits are kept as they were read."""

Limits = Mapping[str, Mapping[str, int]]
"""Of each resource, the names in `spec.hard` that count it, each with the most there may be."""


class _Spec(msgspec.Struct):
    hard: dict[str, Any] | None = None


class _Quota(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


_read = msgspec.json.Decoder(_Quota).decode


class Quotas:
    """Reads quotas, and keeps what it has read. It may be asked in several threads at once."""

    def __init__(self) -> None:
        self._kept: dict[Key, tuple[bytes, Limits]] = {}

    def guard(self, resource: str, namespace: str) -> Guard | None:
        """What a new object is to be committed with; None when nothing counts it."""
        return self.refusal if namespace and resource not in UNCOUNTED else None

    def refusal(self, key: Key, state: State) -> Forbidden | None:
        """Why the object at `key` may not be made in this state; None if it may."""
        if not state.count(RESOURCE, key.namespace):
            return None
        quotas = []
        for record in state.list(RESOURCE, key.namespace):
            limits = self.limits(record).get(key.resource)
            if limits is not None:
                quotas.append((record.key.name, limits))
        if not quotas:
            return None
        why = quota.refusal(quotas, state.count(key.resource, key.namespace))
        if why is None:
            return None
        plural, _, group = key.resource.partition(".")
        return Forbidden(
            f'{key.resource} "{key.name}" is forbidden: {why}', details=details(name=key.name, group=group, kind=plural)
        )

    def limits(self, record: Record) -> Limits:
        """What a stored quota limits."""
        kept = self._kept.get(record.key)
        if kept is not None and kept[0] is record.desired:
            return kept[1]
        limits = limits_of(_read(record.desired).spec.hard or {})
        if len(self._kept) >= REMEMBERED:
            self._kept.clear()
        self._kept[record.key] = (record.desired, limits)
        return limits
