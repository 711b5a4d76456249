"""Who still calls versions that are deprecated: counted in memory, and written into the objects of `versionuses.skep.dev`.

What it promises:

* **Nothing for versions that are not deprecated.** Nobody comes here for them.
* **Never in the way.** Calls are counted in memory and written together: the first within about a second, the others every half a
  minute at most. What cannot be written is written with the next, and nobody waits for it. When nothing is called, nothing is
  written.
* **Bounded.** `MOST_CALLERS` for each version, of each user no more than `MOST_AGENTS` programs; the calls of others are counted
  together. A caller who has not come for `STALE` makes room for one who comes.
* **Sums.** Each server adds what it has counted to what is written, on the revision that it has read: several servers lose no call
  of each other. One that is killed loses what it has not written yet.
* **No secrets.** A caller is a user name, and the first word of the User-Agent; the server's own work is not counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from actors.clock import Clock, sleep_until
from actors.door import Door
from actors.recorder import Log, presentable
from admission.apikeys import without_keys
from admission.identity import Identity, is_server
from apiserver.calls import Call
from registry.actors import ACTOR_NAMESPACE, BUILTIN_ACTORS, account_name, user_of_account
from registry.builtin.versionuse import MOST_AGENTS, MOST_CALLERS, OTHERS, VersionUseObject, name_of
from registry.declarations import Place
from registry.errors import AlreadyExists, ConflictError, NotFound
from registry.kinds import Kind, Version
from registry.lifecycle import Release
from registry.times import format_time, parse_time

WRITE_EVERY = 30.0
"""Seconds between two writes of what was counted."""
SOON = 1.0
"""Seconds until calls are written, when none were for a while."""
STALE = 30 * 86_400.0
"""Seconds after which a caller who does not come any more makes room for another."""
ATTEMPTS = 5
"""How often a count is added again, when other servers were faster."""
LONGEST_USER = 256

CLASSES = {"get": "reads", "list": "reads", "watch": "watches"}
"""What calls are counted as, by their verb; all others are writes."""
_PRODUCT = re.compile(rb"[\w.+-]{1,64}(?:/[\w.+-]{1,64})?").match
_OWN = frozenset(user_of_account(ACTOR_NAMESPACE, account_name(name)) for name in BUILTIN_ACTORS)

Document = dict[str, Any]
Caller = tuple[str, str]
"""A user and a program."""


def warned(call: Call) -> None:
    """Tells whoever calls a deprecated version that it is one. What a manager does that counts nothing."""
    call.warn(call.target.version.warning)


def agent_of(header: bytes) -> str:
    """What a program calls itself: the first word of its User-Agent, `kubectl/v1.33.0`. Keys that got there are not shown."""
    found = _PRODUCT(without_keys(header))
    return found[0].decode("ascii", "replace") if found else ""


@dataclass(slots=True)
class Tally:
    """How often, from when to when (seconds since 1970)."""

    reads: int = 0
    writes: int = 0
    watches: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self, counted: str, now: float) -> None:
        """Counts one call."""
        setattr(self, counted, getattr(self, counted) + 1)
        self.first = min(self.first or now, now)
        self.last = max(self.last, now)

    def join(self, other: Tally) -> None:
        """Adds what another one has counted."""
        if other.last:
            self.reads, self.writes, self.watches = (
                self.reads + other.reads,
                self.writes + other.writes,
                self.watches + other.watches,
            )
            self.first, self.last = min(self.first or other.first, other.first), max(self.last, other.last)

    def document(self) -> Document:
        """As it is written."""
        counts = {"reads": self.reads, "writes": self.writes, "watches": self.watches}
        return {**counts, "first": format_time(self.first), "last": format_time(self.last)}


@dataclass(slots=True)
class Uses:
    """The calls of one version that are not written yet."""

    kind: Kind
    version: Version
    callers: dict[Caller, Tally] = field(default_factory=dict)
    others: Tally = field(default_factory=Tally)

    def add(self, caller: Caller, counted: str, now: float) -> None:
        """Counts one call."""
        tally = self.callers.get(caller)
        if tally is None:
            tally = self._seated(caller)
        tally.add(counted, now)

    def join(self, earlier: Uses) -> None:
        """Adds what was counted before, and could not be written."""
        for caller, tally in earlier.callers.items():
            self._seated(caller).join(tally)
        self.others.join(earlier.others)

    def _seated(self, caller: Caller) -> Tally:
        place = seat(caller, self.callers)
        full = place not in self.callers and len(self.callers) >= MOST_CALLERS
        return self.others if full else self.callers.setdefault(place, Tally())

    def spec(self) -> Document:
        """What the object says of the version."""
        version, life = self.version, self.version.lifecycle
        spec: Document = {"resource": self.kind.resource, "apiVersion": version.api_version, "kind": version.kind}
        spec |= {name: _end(release) for name, release in life.order if name != "introduced"}
        return spec | ({"successor": life.successor} if life.successor else {})


def _end(release: Release) -> Document:
    return {name: value for name, value in (("release", release.version), ("date", release.date)) if value}


def seat(caller: Caller, seated: Mapping[Caller, object]) -> Caller:
    """As whom a caller is counted among those who are there: as himself, or with further programs of the user."""
    user = caller[0]
    crowd = caller not in seated and sum(other == user for other, _ in seated) >= MOST_AGENTS
    return (user, OTHERS) if crowd else caller  # which makes one more than `MOST_AGENTS`


def added(status: Document, uses: Uses) -> Document:
    """The status with the calls in it that are not written yet. Pure."""
    seated = {(each["user"], each.get("agent", "")): each for each in status.get("callers", ())}
    others = status.get("others")
    for caller, tally in uses.callers.items():
        place = seat(caller, seated)
        if place not in seated and len(seated) >= MOST_CALLERS:
            gone = min(seated, key=lambda each: str(seated[each]["last"]))
            if tally.last - parse_time(seated[gone]["last"]).timestamp() <= STALE:
                others = _sum(others, tally.document())
                continue
            others = _sum(others, seated.pop(gone))
        user, agent = place
        seated[place] = {"user": user, **({"agent": agent} if agent else {}), **_sum(seated.get(place), tally.document())}
    if uses.others.last:
        others = _sum(others, uses.others.document())
    listed = sorted(seated.values(), key=lambda each: each["user"] + each.get("agent", ""))
    listed.sort(key=lambda each: str(each["last"]), reverse=True)
    return {"callers": listed, **({"others": others} if others else {})}


def _sum(one: Document | None, other: Document) -> Document:
    """Two tallies in one. Times are texts of one form, which sort as the times do."""
    if one is None:
        return {name: other[name] for name in ("reads", "writes", "watches", "first", "last")}
    counts = {name: one.get(name, 0) + other.get(name, 0) for name in ("reads", "writes", "watches")}
    return {**counts, "first": min(one["first"], other["first"]), "last": max(one["last"], other["last"])}


Requested = tuple[str, str, str, str, str]
"""What metrics tell of calls: group, version, resource, subresource, the release in which the version is removed."""


class Callers:
    """Counts, and writes through `door`, which is the API under the identity that may."""

    def __init__(self, clock: Clock, log: Log, *, period: float = WRITE_EVERY) -> None:
        self._clock = clock
        self._log = log
        self._period = period
        self._uses: dict[str, Uses] = {}  # by the name of the object; no more than there are deprecated versions
        self._some = anyio.Event()
        self._turn = anyio.Lock()  # so that who ends waits for what is being written
        self._written = -math.inf  # when that was tried last, in terms of the clock's `now`
        self.requested: dict[Requested, int] = {}
        """All calls since the start, for metrics."""

    def note(self, call: Call) -> None:
        """Warns whoever calls a deprecated version, and counts the call. It has been authorized."""
        warned(call)
        self.count(call.identity, call.verb, call.target.kind, call.target.version, call.target.subresource, call.agent)

    def count(self, who: Identity, verb: str, kind: Kind, version: Version, subresource: str = "", agent: bytes = b"") -> None:
        """Counts one call of a deprecated version."""
        if is_server(who) or who.username in _OWN:
            return  # what they do, they do for others, in whichever version is stored
        removed = version.lifecycle.removed
        told = (version.group, version.name, kind.plural, subresource, removed.version if removed is not None else "")
        self.requested[told] = self.requested.get(told, 0) + 1
        name = name_of(kind.resource, version.name)
        uses = self._uses.get(name)
        if uses is None:
            uses = self._uses[name] = Uses(kind, version)
        uses.add((who.username[:LONGEST_USER], agent_of(agent)), CLASSES.get(verb, "writes"), self._clock.time())
        if not self._some.is_set():
            self._some.set()

    async def run(self, door: Door) -> None:
        """Writes, until it is cancelled; `write` then writes the rest."""
        while True:
            await self._some.wait()
            await sleep_until(self._clock, max(self._clock.now() + SOON, self._written + self._period))
            self._some = anyio.Event()
            self._written = self._clock.now()
            await self.write(door)

    async def finish(self, door: Door, seconds: float = 1.0) -> None:
        """Writes what is not written yet, as far as that goes within the time."""
        with anyio.move_on_after(seconds):
            await self.write(door)

    async def write(self, door: Door) -> None:
        """Writes all that is counted. What could not be written is written with the next."""
        async with self._turn:
            taken, self._uses = self._uses, {}
            for name, uses in taken.items():
                try:
                    await _write(door, name, uses)
                except Exception as error:  # whatever the store is at: it is added to what is counted meanwhile
                    why = presentable(str(error))
                    self._log.warning("who calls a deprecated version is not written", version=name, error=why)
                    self._put_back(name, uses)

    def _put_back(self, name: str, uses: Uses) -> None:
        since = self._uses.setdefault(name, uses)
        if since is not uses:
            since.join(uses)
        self._some.set()


async def _write(door: Door, name: str, uses: Uses) -> None:
    """Adds to the object of a version what was counted, on the revision that was read."""
    place, spec = Place("", name), uses.spec()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            found = await _object(door, place, spec)
            metadata = {"resourceVersion": found["metadata"]["resourceVersion"]}
            status = added(found.get("status") or {}, uses)
            await door.patch(VersionUseObject, place, {"metadata": metadata, "status": status}, "status")
        except (AlreadyExists, ConflictError, NotFound):  # another server was faster, or somebody has taken the object away
            if attempt == ATTEMPTS:
                raise
        else:
            return


async def _object(door: Door, place: Place, spec: Document) -> Document:
    """The object, with a spec that says what this server's plugins declare."""
    try:
        found = await door.get(VersionUseObject, place)
    except NotFound:
        return await door.create(VersionUseObject, "", {"metadata": {"name": place.name}, "spec": spec})
    if found["spec"] == spec:
        return found
    told = {**dict.fromkeys(found["spec"]), **spec}
    return await door.patch(VersionUseObject, place, {"spec": told}, "")
