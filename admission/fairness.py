"""Who goes next when more is asked than can be done at once: fair queues with shuffle sharding, as in the priority levels of
Kubernetes ("API Priority and Fairness"). It decides, and waits for nothing: no clock, no tasks, no I/O.

There are `seats` for what is under way. Who finds a seat free takes it. Else there are `queues`; each caller is dealt a hand of
them, by name, and a request joins the shortest queue of its caller's hand. A seat that becomes free goes to the head of the next
queue, in turn.

What it promises:

* No more than `seats` are taken, and none is free while somebody waits.
* A caller fills the queues of its hand, and no others. Two callers rarely have the same hand, so others find a queue that is short.
* Between two requests of one queue, each other queue in which somebody waits has its turn: who waits at the head of a queue is
  served after at most as many others as there are queues.
* No more than `length` wait in a queue, nor more than `size` bytes in all; nobody waits longer than `wait` seconds.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from enum import Enum
from hashlib import blake2b
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)


class Policy(NamedTuple):
    """See the module."""

    seats: int
    queues: int = 128
    hand: int = 6
    length: int = 50
    wait: float = 15.0
    size: int = 64 * 2**20


class Arrival(Enum):
    """What becomes of who arrives: has a seat, waits, or cannot even wait."""

    SEATED = 0
    WAITS = 1
    FULL = 2


def deal(caller: str, queues: int, hand: int) -> tuple[int, ...]:
    """The hand of a caller: different queues, the same ones each time."""
    left = int.from_bytes(blake2b(caller.encode("utf-8", "surrogatepass"), digest_size=32).digest())
    deck = list(range(queues))
    dealt = []
    for size in range(queues, queues - min(hand, queues), -1):
        left, place = divmod(left, size)
        dealt.append(deck.pop(place))
    return tuple(dealt)


class _Waiting(NamedTuple):
    since: float
    size: int


class Queues(Generic[T]):
    """The seats and queues of one kind of requests. A request is any value that is like no other."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.taken = 0
        self.waiting = 0
        self.bytes = 0
        self._queues: list[dict[T, _Waiting]] = [{} for _ in range(policy.queues)]  # in the order of arrival
        self._turns: dict[int, None] = {}  # the queues in which somebody waits; the first one is next
        self._places: dict[T, int] = {}  # the queue of each who waits

    def arrive(self, hand: Sequence[int], request: T, now: float, size: int = 0) -> Arrival:
        """Somebody wants a seat; `size` is what it holds in memory while it waits."""
        policy = self.policy
        if self.taken < policy.seats:
            self.taken += 1
            return Arrival.SEATED
        place = self._shortest(hand)
        queue = self._queues[place]
        if len(queue) >= policy.length or self.bytes + size > policy.size:
            return Arrival.FULL
        queue[request] = _Waiting(now, size)
        self._places[request] = place
        self._turns.setdefault(place)
        self.waiting += 1
        self.bytes += size
        return Arrival.WAITS

    def _shortest(self, hand: Sequence[int]) -> int:
        """The first of the shortest queues of a hand."""
        best, least = hand[0], len(self._queues[hand[0]])
        for place in hand:
            if not least:
                break
            length = len(self._queues[place])
            if length < least:
                best, least = place, length
        return best

    def leave(self) -> T | None:
        """A seat is given back. Returns who has it now, None if nobody waits."""
        if not self._turns:
            self.taken -= 1
            return None
        place = next(iter(self._turns))
        request = next(iter(self._queues[place]))
        self._remove(request)
        if place in self._turns:  # behind the others
            del self._turns[place]
            self._turns[place] = None
        return request

    def forget(self, request: T) -> bool:
        """Somebody waits no longer. False: who asks does not wait, but has a seat."""
        if request not in self._places:
            return False
        self._remove(request)
        return True

    def expire(self, now: float) -> list[T]:
        """Those who have waited too long: they wait no longer."""
        late = []
        for place in tuple(self._turns):
            for request, waiting in self._queues[place].items():
                if now - waiting.since < self.policy.wait:
                    break
                late.append(request)
        for request in late:
            self._remove(request)
        return late

    def _remove(self, request: T) -> None:
        place = self._places.pop(request)
        queue = self._queues[place]
        self.bytes -= queue.pop(request).size
        self.waiting -= 1
        if not queue:
            del self._turns[place]
