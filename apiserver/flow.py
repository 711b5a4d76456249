"""How much of the server one caller may have: a rate of requests, and a fair share of what is under way (`admission.rates`,
`admission.fairness`).

* Every request takes a token of its caller: the identity that showed a credential, also when it acts as another, or the address of
  who showed none that holds. Every answer tells what is left; without a token the answer is 429 with Retry-After.
* The server has one event loop, so reads are answered one after the other, and what comes at once waits in the loop. Therefore a
  read keeps its seat until the next turn of the loop: at most `reading` of them are answered in one turn, and of those who
  wait the next is chosen fairly. Each further piece of a long list is another such turn, so a long list is worth many reads. While
  the client takes what it was sent, no seat is held: who reads slowly keeps nobody waiting.
* A write has its seat while it is decided and committed: at most `writing` are under way, which is what a transaction can take
  together. A body that is still on its way holds no seat; one that waits counts by its bytes.
* A watch has a seat for reading until it begins. One identity has no more than `watches` of them open.
* A refusal is sent after a pause. It would cost nearly as much as an answer, and who repeats it at once, on many connections, would
  keep the loop busy with refusals.
* Exempt are questions after the server's health, the actors that the server has declared, and `system:masters`, who must get
  through to mend things (as in Kubernetes).

While there are seats, all this is a few additions: nobody waits, and nothing is allocated but the headers.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from admission.authentication import below
from admission.fairness import Arrival, Policy, Queues, deal
from admission.identity import MASTERS, UNAUTHENTICATED, Identity
from admission.rates import Bucket, Rate, Rates, neighbourhood, parse
from apiserver.sections import Flow as Settings
from registry.errors import TooManyRequests

CALLERS = 16_384
"""Callers who are remembered. Whoever was not heard of for longest is forgotten, and begins anew with a full bucket."""
HELD = 4_096
"""Refusals that are held back at once; more are sent as they come."""
HEALTH = ("/healthz", "/livez", "/readyz")
READS = frozenset({"get", "list", "watch", "head"})
T = TypeVar("T")
Pairs = Sequence[tuple[bytes, bytes]]
Waiter = asyncio.Future[None]

UNBOUNDED: Pairs = tuple(
    (b"x-ratelimit-" + name, value) for name, value in ((b"limit", b"1000000"), (b"remaining", b"1000000"), (b"reset", b"0"))
)
"""What those are told who have no bound: a bucket that is always full."""


class Caller:
    """What is kept of somebody who asks. `buckets` are those of the user name, by rate: who has two credentials, which may be in
    other groups or merely have other ids, has no second bucket of the same rate."""

    __slots__ = ("_limit", "_reset", "bucket", "buckets", "hand", "identity")

    def __init__(self, identity: Identity | None, rate: Rate, hand: Sequence[int], buckets: dict[Rate, Bucket]) -> None:
        self.identity = identity
        self.buckets = buckets
        self.bucket: Bucket | None = buckets.setdefault(rate, Bucket(rate))
        self.hand = hand
        self._limit = (b"x-ratelimit-limit", b"%d" % rate.burst)
        self._reset = (1, (b"x-ratelimit-reset", b"1"))  # nearly always the one that was told last

    def headers(self, bucket: Bucket, debt: float) -> Pairs:
        """What an answer tells while the bucket is full in `debt` seconds."""
        seconds = math.ceil(debt)
        reset = self._reset
        if reset[0] != seconds:
            reset = self._reset = (seconds, (b"x-ratelimit-reset", b"%d" % seconds))
        return (self._limit, (b"x-ratelimit-remaining", b"%d" % bucket.left(debt)), reset[1])


class Unbounded(Caller):
    """Somebody who is exempt."""

    __slots__ = ()

    def __init__(self, identity: Identity, buckets: dict[Rate, Bucket]) -> None:
        super().__init__(identity, Rate(1, 1), (), buckets)
        self.bucket = None


class Level:
    """The seats for reading, or those for writing, and the tasks that wait for one."""

    def __init__(self, policy: Policy, *, by_turn: bool) -> None:
        self.queues: Queues[Waiter] = Queues(policy)
        self._by_turn = by_turn
        self._sweeping = False
        self._left = 0  # seats that are given back at the begin of the next turn

    def take(self) -> bool:
        """Takes a seat if one is free."""
        queues = self.queues
        if queues.taken < queues.policy.seats:
            queues.taken += 1
            return True
        return False

    async def enter(self, caller: Caller, size: int = 0) -> None:
        """Returns when there is a seat, which must be given back (`leave`). Raises TooManyRequests."""
        queues, loop = self.queues, asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        arrival = queues.arrive(caller.hand, waiter, loop.time(), size)
        if arrival is Arrival.SEATED:
            return
        if arrival is Arrival.FULL:
            raise later("too many requests are waiting already", 1.0)
        self._sweep(loop)
        try:
            await waiter
        except BaseException:
            if not queues.forget(waiter) and waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on()  # it had been given a seat in the same moment
            raise

    def leave(self) -> None:
        """Gives a seat back: to the next who waits, if there is one."""
        if not self._by_turn:
            self._pass_on()
            return
        self._left += 1
        if self._left == 1:
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        left, self._left = self._left, 0
        for _ in range(left):
            self._pass_on()

    def _pass_on(self) -> None:
        while (waiter := self.queues.leave()) is not None:
            if not waiter.done():  # else it was cancelled meanwhile, and gives its seat back at once
                waiter.set_result(None)
                return

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Looks now and then for those who have waited too long, while anybody waits."""
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(max(self.queues.policy.wait / 4, 0.01), self._swept, loop)

    def _swept(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = False
        for waiter in self.queues.expire(loop.time()):
            if not waiter.done():
                waiter.set_exception(later("the request waited too long for its turn", 1.0))
        if self.queues.waiting:
            self._sweep(loop)


class Flow:
    """See the module. `exempt` are user names; `now` is any clock that only goes forward, in seconds."""

    def __init__(self, settings: Settings, now: Callable[[], float], exempt: Collection[str] = ()) -> None:
        users, groups = parse(settings.rates)
        default = Rate(settings.per_second, settings.burst)
        self._rates = Rates(default, Rate(settings.anonymous_per_second, settings.anonymous_burst), users, groups)
        self._deal = (settings.queues, settings.hand)
        policy = Policy(
            settings.reading,
            settings.queues,
            settings.hand,
            settings.queue_length,
            settings.wait_seconds,
            settings.queued_bytes,
        )
        self.reading = Level(policy, by_turn=True)
        self.writing = Level(policy._replace(seats=settings.writing), by_turn=False)
        self._exempt = frozenset(exempt)
        self._now = now
        self._pause = settings.refusal_seconds
        self._held = 0  # refusals that are held back
        self._most_watches = settings.watches
        self._watches: Counter[str] = Counter()  # that are open, by user name; only of those who have some
        self._callers: OrderedDict[str | tuple[str, ...], Caller] = OrderedDict()

    def admit(self, identity: Identity | None, address: str, path: str) -> tuple[Caller | None, Pairs]:
        """Takes a token. Returns who has to take a seat (None: nobody), and the headers of the answer; raises TooManyRequests with
        them."""
        if below(path, HEALTH):
            return None, UNBOUNDED
        if identity is not None and UNAUTHENTICATED in identity.groups:
            identity = None
        caller = self._caller(identity, address)
        bucket = caller.bucket
        if bucket is None:
            return None, UNBOUNDED
        now = self._now()
        debt = bucket.take(now)
        if debt is None:
            who = f"the address {address}" if identity is None else identity.username
            refusal = later(f"{who} asks more often than it may ({bucket.burst} at once)", bucket.wait(now))
            told = caller.headers(bucket, bucket.full_in(now))
            refusal.headers += tuple((name.decode(), value.decode()) for name, value in told)
            raise refusal
        return caller, caller.headers(bucket, debt)

    async def seated(self, caller: Caller | None, verb: str, act: Callable[[], Awaitable[T]], size: int = 0) -> T:
        """Acts on a seat for what the verb does. `size`: bytes that are held meanwhile. Raises TooManyRequests."""
        if caller is None:
            return await act()
        level = self.reading if verb in READS else self.writing
        if not level.take():
            await level.enter(caller, size)
        try:
            return await act()
        finally:
            level.leave()

    @contextmanager
    def watching(self, caller: Caller | None) -> Iterator[None]:
        """A watch is open for the body. Raises TooManyRequests when its caller has too many."""
        if caller is None:
            yield
            return
        name = caller.identity.username if caller.identity is not None else ""
        if self._watches[name] >= self._most_watches:
            raise later(f"{name} has {self._most_watches} watches open, and may have no more", 10.0)
        self._watches[name] += 1
        try:
            yield
        finally:
            self._watches[name] -= 1
            if not self._watches[name]:
                del self._watches[name]

    async def turn(self, caller: Caller) -> None:
        """Waits for one more turn of somebody who reads. What has begun is not refused any more: it goes on when others do not let
        it in."""
        if not self.reading.take():
            try:
                await self.reading.enter(caller)
            except TooManyRequests:
                return
        self.reading.leave()

    async def hold(self) -> None:
        """Holds a refusal back. Who does what Retry-After says waits longer anyway; who does not can send less meanwhile."""
        if self._held < HELD:
            self._held += 1
            try:
                await asyncio.sleep(self._pause)
            finally:
                self._held -= 1

    def _caller(self, identity: Identity | None, address: str) -> Caller:
        key = identity.username if identity is not None else ("", neighbourhood(address))
        caller = self._callers.get(key)
        if caller is not None and (caller.identity is identity or caller.identity == identity):
            self._callers.move_to_end(key)
            return caller
        caller = self._new(identity, address, caller.buckets if caller is not None else {})
        self._callers[key] = caller
        self._callers.move_to_end(key)
        if len(self._callers) > CALLERS:
            self._callers.popitem(last=False)
        return caller

    def _new(self, identity: Identity | None, address: str, buckets: dict[Rate, Bucket]) -> Caller:
        if identity is None:
            return Caller(None, self._rates.anonymous, deal(f"\0{neighbourhood(address)}", *self._deal), buckets)
        if MASTERS in identity.groups or identity.username in self._exempt:
            return Unbounded(identity, buckets)
        return Caller(identity, self._rates.of(identity), deal(identity.username, *self._deal), buckets)


def later(why: str, seconds: float) -> TooManyRequests:
    """429: try again in so many seconds, and not before."""
    whole = max(1, math.ceil(seconds))
    return TooManyRequests(
        f"{why}: try again in {whole} s", details={"retryAfterSeconds": whole}, headers=[("retry-after", f"{whole}")]
    )


def wrong_rates(entries: Sequence[str]) -> list[str]:
    """What is wrong with the setting `flow.rates`."""
    try:
        parse(entries)
    except ValueError as error:
        return [f"flow.rates: {error}"]
    return []
