"""Which of several runners of an actor is in charge: leader election by a Lease, as client-go does it, with an epoch.

The part that decides (`Election`) does no I/O and knows no clock: it is told what was read and written, and when. `Elector` carries
it out through a `Client`.

What it promises, as long as the clocks of the machines run equally fast (they need not agree on the time):

* **One leader.** Whoever leads believes so for `renew` seconds after it *began* its last write of the lease that succeeded. Others
  take the lease when they have *seen* it unchanged for its duration, which is longer and begins later. So the one has ceased before
  the other begins, also when it is stopped, cut off, or waits for an answer that was lost.
* **An epoch is one stretch of leading.** `leaseTransitions` grow with each taking, also when the one who had it takes it anew. With
  the uid of the lease, which is another one after it was deleted, an epoch is never there twice.
* **Left in order.** Who is asked to stop gives the lease back when its work is done: the next need not wait.
* **Nothing is believed of other clocks.** `renewTime` and `acquireTime` are written for people, and never read.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import anyio

from actors.client import Client
from actors.clock import Clock, sleep_until
from actors.recorder import Log, presentable
from actors.workqueue import Chance
from registry.actors import ACTOR_NAMESPACE
from registry.builtin.lease import Lease, LeaseSpec
from registry.errors import AlreadyExists, ConflictError, NotFound
from registry.resource import Metadata, replace
from registry.times import format_micro

FOREVER = 10 * 365 * 86_400
"""Seconds: the duration of a lease whose holder cannot be cut off from it, and therefore need not renew it."""
_GIVING_BACK = 5.0
_COMPLAINS = 30.0
"""Seconds between two lines of the log about a lease that cannot be reached."""
_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: how long a lease is good for without being renewed, how long its holder goes on without renewing it, and how often
    both look at it. `renews` is False for a holder that no other can outlive: then the lease is taken once, for ever."""

    duration: float = 15.0
    renew: float = 10.0
    retry: float = 2.0
    renews: bool = True

    def __post_init__(self) -> None:
        if not self.duration > self.renew > self.retry * (1 + _JITTER) > 0:
            raise ValueError(
                f"a lease of {self.duration:g} s, renewed for {self.renew:g} s, every {self.retry:g} s: "
                "each must be longer than the next"
            )

    @property
    def announced(self) -> int:
        """What is written as `leaseDurationSeconds`: whole seconds, never less than the duration."""
        return math.ceil(self.duration) if self.renews else FOREVER


@dataclass(frozen=True, slots=True)
class Epoch:
    """One stretch of leading. `token` goes with every write: `<number>/<uid of the lease>`."""

    number: int
    lease: str

    @property
    def token(self) -> str:
        """As the server reads it."""
        return f"{self.number}/{self.lease}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an election stands, for whoever asks: who holds the lease as far as is known (empty: nobody), and since which epoch."""

    leading: bool
    holder: str
    epoch: int


class Election:
    """Decides. `me` is unlike that of every other candidate and of every former life of this one. Times are seconds of one's own
    clock that never goes back."""

    def __init__(self, me: str, terms: Terms) -> None:
        self._me = me
        self._terms = terms
        self._seen: Lease | None = None  # as it was last read or written
        self._since = -math.inf  # when it was first seen as it is
        self._epoch: Epoch | None = None  # that this candidate took, and has not lost or given back
        self._until = -math.inf  # up to here it may act

    def leading(self, now: float) -> bool:
        """Whether this candidate may act."""
        return self._epoch is not None and now < self._until

    @property
    def epoch(self) -> Epoch | None:
        """The stretch of leading that is under way."""
        return self._epoch

    @property
    def until(self) -> float:
        """When it ends, if the lease is not renewed."""
        return self._until

    def standing(self, now: float) -> Standing:
        """How it stands."""
        spec = _spec(self._seen)
        return Standing(self.leading(now), spec.holder_identity or "", spec.lease_transitions or 0)

    def read(self, lease: Lease | None, now: float) -> None:
        """This is the lease as the server has it (None: there is none), asked for before `now`."""
        if _mark(lease) != _mark(self._seen) or (lease is None and self._since == -math.inf):
            self._since = now
        self._seen = lease
        if self._epoch is not None and not self._mine(lease):
            self.lost()

    def lost(self) -> None:
        """This candidate does not lead any more."""
        self._epoch, self._until = None, -math.inf

    def renewal(self, now: float, time: float) -> Lease | None:
        """What the leader writes to stay it; None if it is not the leader any more. `time` is the wall clock, for people."""
        if self._seen is None or not self.leading(now):
            return None
        spec = replace(_spec(self._seen), lease_duration_seconds=self._terms.announced, renew_time=format_micro(time))
        return replace(self._seen, spec=spec)

    def taking(self, now: float, time: float) -> Lease | None:
        """What to write to become the leader: a lease without a uid is to be created. None: another one has it, or may have it."""
        self.lost()
        seen, spec = self._seen, _spec(self._seen)
        free = spec.holder_identity in (None, "", self._me)
        if seen is not None and not free and now < self.free_at():
            return None
        stamp = format_micro(time)
        taken = LeaseSpec(
            holder_identity=self._me,
            lease_duration_seconds=self._terms.announced,
            acquire_time=stamp,
            renew_time=stamp,
            lease_transitions=(spec.lease_transitions or 0) + 1,
        )
        return Lease(metadata=Metadata(), spec=taken) if seen is None else replace(seen, spec=taken)

    def free_at(self) -> float:
        """When the lease may be taken from another one, if nothing happens to it until then."""
        spec = _spec(self._seen)
        duration = spec.lease_duration_seconds or self._terms.announced
        return self._since + duration

    def wrote(self, lease: Lease, began: float, now: float) -> None:
        """The write that began then succeeded, and this is what was stored."""
        spec = _spec(lease)
        self._seen, self._since = lease, now
        self._epoch = Epoch(spec.lease_transitions or 0, lease.metadata.uid or "")
        self._until = began + self._terms.renew if self._terms.renews else math.inf

    def given_back(self, time: float) -> Lease | None:
        """What to write when leading is over and nothing is at work any more; None if the lease is not this candidate's."""
        seen, spec = self._seen, _spec(self._seen)
        if seen is None or self._epoch is None or not self._mine(seen):
            return None
        return replace(seen, spec=replace(spec, holder_identity="", lease_duration_seconds=1, renew_time=format_micro(time)))

    def _mine(self, lease: Lease | None) -> bool:
        spec = _spec(lease)
        same = lease is not None and self._epoch is not None and lease.metadata.uid == self._epoch.lease
        return same and spec.holder_identity == self._me and (spec.lease_transitions or 0) == (self._epoch or _NONE).number


_NONE = Epoch(0, "")


class Elector:
    """Stands for election, and runs something for as long as it leads. `name` is that of the lease."""

    def __init__(self, client: Client, name: str, me: str, terms: Terms, clock: Clock, chance: Chance, log: Log) -> None:
        self._client = client
        self.name = name
        self._terms = terms
        self._clock = clock
        self._chance = chance
        self._log = log
        self._election = Election(me, terms)
        self._stopping = anyio.Event()
        self._complains_at = -math.inf
        self._heard = -math.inf  # when the lease was last read or written

    @property
    def heard(self) -> float:
        """When the lease was last read or written, on the clock; before that, long ago."""
        return self._heard

    def standing(self) -> Standing:
        """How it stands."""
        return self._election.standing(self._clock.now())

    def leading(self) -> bool:
        """Whether what is run may act at this moment."""
        return self._election.leading(self._clock.now())

    def stop(self) -> None:
        """Does not stand any more. What is run has to be told by whoever runs it; when it returns, the lease is given back."""
        self._stopping.set()

    async def run(self, lead: Callable[[Epoch], Awaitable[None]]) -> None:
        """Calls `lead` each time this candidate is elected, and cancels it when it ceases to be the leader. Returns after `stop`.

        Raises what `lead` raises, when the lease has been given back.
        """
        while not self._stopping.is_set():
            with self._clock.deadline(self._clock.now() + self._terms.renew), self._tried():
                await self._take()
            epoch = self._election.epoch
            if epoch is None or not self.leading():
                await self._pause()
                continue
            try:
                if not self._stopping.is_set():
                    await self._lead(lead, epoch)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._give_back()

    async def _lead(self, lead: Callable[[Epoch], Awaitable[None]], epoch: Epoch) -> None:
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:

            async def led() -> None:
                nonlocal failure
                try:
                    await lead(epoch)
                except Exception as error:  # not into the group: it would come out wrapped
                    failure = error
                tasks.cancel_scope.cancel()

            self._log.info("leading", lease=self.name, epoch=epoch.number)
            tasks.start_soon(self._hold, tasks.cancel_scope)
            tasks.start_soon(led)
        if not self.leading():
            self._log.warning("no longer leading", lease=self.name, epoch=epoch.number, holder=self.standing().holder)
        if failure is not None:
            raise failure

    async def _hold(self, scope: anyio.CancelScope) -> None:
        """Renews the lease, and ends the scope as soon as it is lost."""
        while True:
            await sleep_until(self._clock, min(self._next_look(), self._election.until))
            with self._clock.deadline(self._election.until), self._tried():
                await self._renew()
            if not self.leading():
                scope.cancel()
                return

    def _next_look(self) -> float:
        return self._clock.now() + self._terms.retry * (1.0 + _JITTER * self._chance.random())

    @contextmanager
    def _tried(self) -> Iterator[None]:
        """What goes wrong is logged: it is tried again, and what is believed ends by itself."""
        try:
            yield
        except Exception as error:  # whatever the API raises
            shown, now = presentable(f"{type(error).__name__}: {error}"), self._clock.now()
            if now >= self._complains_at:
                self._complains_at = now + _COMPLAINS
                self._log.warning("the lease cannot be reached", lease=self.name, error=shown)

    async def _look(self) -> None:
        lease = await self._client.get(Lease, self.name, ACTOR_NAMESPACE)
        self._heard = self._clock.now()
        self._election.read(lease, self._heard)

    async def _take(self) -> None:
        """Takes the lease if it is free. Whoever is overtaken sees it at the next look."""
        await self._look()
        began = self._clock.now()
        wanted = self._election.taking(began, self._clock.time())
        if wanted is not None and not wanted.metadata.uid:
            metadata = Metadata(name=self.name, namespace=ACTOR_NAMESPACE)
            with suppress(AlreadyExists):
                self._election.wrote(await self._client.create(replace(wanted, metadata=metadata)), began, self._clock.now())
        elif wanted is not None:
            await self._update(wanted, began)

    async def _renew(self) -> None:
        """Renews the lease; once more, if it was changed, and is still one's own: an answer was lost, or a person wrote."""
        if self._terms.renews:
            for _ in range(2):
                began = self._clock.now()
                wanted = self._election.renewal(began, self._clock.time())
                if wanted is None or await self._update(wanted, began):
                    return
                await self._look()
        else:
            await self._look()

    async def _update(self, wanted: Lease, began: float) -> bool:
        """False: somebody was faster."""
        try:
            stored = await self._client.update(wanted)
        except (ConflictError, NotFound):
            return False
        self._heard = self._clock.now()
        self._election.wrote(stored, began, self._heard)
        return True

    async def _pause(self) -> None:
        """Until it is time to look again, or nobody is to look any more."""
        due = self._next_look()
        free = self._election.free_at()
        if self._clock.now() < free:
            due = min(due, free)
        with self._clock.deadline(due):
            await self._stopping.wait()

    async def _give_back(self) -> None:
        """Within the time that is left of leading: after that it is not this one's to give. Once more, if it was changed: the end
        of leading may have cut off a renewal whose answer was on its way."""
        if self._election.epoch is None:
            return
        with self._clock.deadline(min(self._election.until, self._clock.now() + _GIVING_BACK)):
            try:
                if not await self._freed():
                    await self._look()
                    await self._freed()
            except Exception as error:  # then it runs out
                self._log.warning("the lease was not given back", lease=self.name, error=presentable(str(error)))
        self._election.lost()

    async def _freed(self) -> bool:
        """Gives the lease back, if it is this candidate's. False: it was changed."""
        free = self._election.given_back(self._clock.time())
        try:
            if free is not None:
                await self._client.update(free)
        except ConflictError:
            return False
        return True


def _spec(lease: Lease | None) -> LeaseSpec:
    return (lease.spec if lease is not None else None) or LeaseSpec()


def _mark(lease: Lease | None) -> tuple[str, str]:
    """What is different after every change of a lease."""
    return ("", "") if lease is None else (lease.metadata.uid or "", lease.metadata.resource_version or "")
