"""Kinds that are defined while the server runs: from the stored CustomResourceDefinitions to the catalog.

What it promises:

* A definition counts in the very step that commits it: whoever is answered to its creation can use the kind. So it does on other
  servers, in the step in which they read it from the log.
* No two kinds that are served share a name within their group, those of the server's own included. A definition that does not get
  all its names is not served, and says so; when the other goes, it is.
* What cannot be read counts as absent, and is told to the log.
* Where a definition is gone, or goes, nothing of its kind can be made any more: that is looked at in the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from actors.recorder import Log, presentable
from registry.builtin.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION
from registry.catalog import Catalog, RegistryError
from registry.custom.claims import Claims, Verdict
from registry.custom.definition import Definition, Names, read
from registry.custom.kinds import CallOf, kind_of, relabelled
from registry.kinds import Kind
from storage.sql import SqlStore
from storage.store import Change, Op, Record

RESOURCE = CUSTOM_RESOURCE_DEFINITION.resource


@dataclass(frozen=True, slots=True)
class Entry:
    """A definition, what names it got, and the kind that is served by it, if there is one, with what
    it was made of."""

    definition: Definition
    verdict: Verdict
    kind: Kind | None = None
    made_of: Definition | None = None

    @property
    def established(self) -> bool:
        """Whether it is served, or has been: it had all its names once, and still has what it cannot do without."""
        had = self.verdict.accepted or self.definition.established or self.kind is not None
        return had and self.verdict.names.complete

    @property
    def names(self) -> Names:
        """The names under which there is a kind of it."""
        return self.verdict.names if self.established else self.definition.names

    @property
    def current(self) -> bool:
        """Whether the kind is what the definition says now: a new status makes no other kind of it."""
        if self.kind is None or self.made_of is None:
            return False
        one, other = self.definition, self.made_of
        same = (one.uid, one.generation, one.deleting) == (other.uid, other.generation, other.deleting)
        return same and names_of(self.kind) == self.names


class Definitions:
    """Follows definitions. `told` is called with the names of those about which something is different now."""

    def __init__(self, catalog: Catalog, log: Log, call_of: CallOf = relabelled) -> None:
        self._catalog = catalog
        self._log = log
        self._call_of = call_of
        self._entries: dict[str, Entry] = {}
        self._claims: dict[str, Claims] = {}
        self._waiting: dict[str, dict[str, None]] = {}  # by group: those that did not get all their names, in their order
        self._tell: list[Callable[[Iterable[str]], None]] = []

    def follow(self, store: SqlStore) -> Callable[[], None]:
        """Takes all definitions that there are, and is told of every change from now on, until what is returned is called."""
        records = sorted(store.list(RESOURCE).records, key=lambda record: record.revision)
        found = [definition for record in records if (definition := self._read(record)) is not None]
        self._begin(found)
        return store.subscribe(RESOURCE, self._listen)

    def listen(self, tell: Callable[[Iterable[str]], None]) -> None:
        """Has `tell` called with the names of definitions that came, went or changed, or whose names are others now."""
        self._tell.append(tell)

    def names(self) -> list[str]:
        """All that there are."""
        return list(self._entries)

    def find(self, name: str) -> Entry | None:
        """What became of a definition; None: there is none that counts."""
        return self._entries.get(name)

    def is_taken(self, name: str) -> bool:
        """Whether a kind of the server's own has the resource that a definition names: then no object there is one of the
        definition's."""
        known = self._catalog.registry.of_resource(name)
        return known is not None and not known.defined

    # What is told.

    def _begin(self, definitions: Iterable[Definition]) -> None:
        """Those that have names keep them; then the others get what is free, the eldest first."""
        ordered = sorted(definitions, key=lambda each: not each.accepted.kinds)
        for definition in ordered:
            claims = self._claims_of(definition.group)
            claims.claim(definition.name, definition.accepted)
        for definition in ordered:
            self._decide(definition)
        self._serve([definition.name for definition in ordered])

    def _listen(self, changes: Sequence[Change]) -> None:
        for change in changes:
            name = change.record.key.name
            definition = None if change.op is Op.DELETED else self._read(change.record)
            touched = {name: None}
            if definition is None:
                touched |= self._drop(name)
            else:
                touched |= self._take(definition)
            self._serve(touched)
            for tell in self._tell:
                tell(touched)

    def _read(self, record: Record) -> Definition | None:
        try:
            definition = read(record.desired, record.status)
        except (msgspec.MsgspecError, ValueError) as error:
            self._log.error("a definition cannot be read", name=record.key.name, why=presentable(str(error)))
            return None
        return None if definition.declared else definition

    def _take(self, definition: Definition) -> dict[str, None]:
        """One is there, new or changed. Gives the others that it made room for."""
        before = self._entries.get(definition.name)
        self._decide(definition)
        if before is None or before.verdict.names == self._entries[definition.name].verdict.names:
            return {}
        return self._again(definition.group)

    def _drop(self, name: str) -> dict[str, None]:
        before = self._entries.pop(name, None)
        if before is None:
            return {}
        group = before.definition.group
        self._claims_of(group).release(name)
        self._waiting.get(group, {}).pop(name, None)
        return self._again(group)

    def _again(self, group: str) -> dict[str, None]:
        """Names became free: who waits for them is looked at again. Gives those that got others."""
        changed: dict[str, None] = {}
        for name in tuple(self._waiting.get(group, ())):
            before = self._entries[name]
            self._decide(before.definition)
            if self._entries[name].verdict != before.verdict:
                changed[name] = None
        return changed

    def _decide(self, definition: Definition) -> None:
        """Says which names a definition has now."""
        claims, name = self._claims_of(definition.group), definition.name
        before = self._entries.get(name)
        verdict = claims.decide(name, definition.names, before.verdict.names if before is not None else definition.accepted)
        claims.claim(name, verdict.names)
        self._entries[name] = Entry(definition, verdict, *((before.kind, before.made_of) if before is not None else ()))
        waiting = self._waiting.setdefault(definition.group, {})
        if verdict.accepted:
            waiting.pop(name, None)
        else:
            waiting[name] = None

    def _claims_of(self, group: str) -> Claims:
        """The names of a group. Those of kinds that are not defined are taken from the start on."""
        claims = self._claims.get(group)
        if claims is None:
            claims = self._claims[group] = Claims()
            for kind in self._catalog.registry.of_group(group):
                if not kind.defined:
                    claims.claim(f"{kind.resource} (built in)", names_of(kind))
        return claims

    # What is served.

    def _serve(self, names: Iterable[str]) -> None:
        """Makes the catalog what these definitions say now."""
        put, gone = [], []
        for name in names:
            entry = self._entries.get(name)
            kind = self._kind(entry) if entry is not None else None
            if entry is not None:
                self._entries[name] = replace(entry, kind=kind, made_of=entry.definition)
            known = self._catalog.registry.of_resource(name)
            if kind is not None and kind is not known:
                put.append(kind)
            elif kind is None and known is not None and known.defined:
                gone.append(name)
        if put or gone:
            self._replace(put, gone)

    def _kind(self, entry: Entry) -> Kind | None:
        """The kind that a definition is served as; None: it is not. What goes is known to the last, so that its objects can go: it
        may have been served once."""
        if not entry.established and not entry.definition.deleting:
            return None
        if self.is_taken(entry.definition.name):
            return None
        if entry.current:
            return entry.kind
        before = (entry.made_of, entry.kind) if entry.made_of is not None and entry.kind is not None else None
        try:
            return kind_of(entry.definition, entry.names, self._call_of, before, hidden=not entry.established)
        except ValueError as error:
            self._log.error("a definition cannot be served", name=entry.definition.name, why=presentable(str(error)))
            return None

    def _replace(self, put: Sequence[Kind], gone: Sequence[str]) -> None:
        try:
            self._catalog.replace(put, gone)
        except RegistryError as error:
            if len(put) + len(gone) > 1:  # one of them does not fit; the others do
                for kind in put:
                    self._replace([kind], [])
                for name in gone:
                    self._replace([], [name])
                return
            name = put[0].resource if put else gone[0]
            self._log.error("a definition cannot be served", name=name, why=presentable(str(error)))
            if name in self._entries:
                self._entries[name] = replace(self._entries[name], kind=None)


def names_of(kind: Kind) -> Names:
    """The names of a kind."""
    return Names(kind.plural, kind.singular, kind.short_names, kind.name, kind.list_kind, kind.categories)
