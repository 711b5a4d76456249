"""Fair queues: their bounds and their order, and what a greedy client can do to others."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from admission.fairness import Arrival, Policy, Queues, deal

SMALL = Policy(seats=3, queues=5, hand=2, length=3, wait=10.0, size=40)


class Model(RuleBasedStateMachine):
    """Everything that callers may do, and what must be so after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.queues: Queues[int] = Queues(SMALL)
        self.now = 0.0
        self.names = count()
        self.lined: dict[int, list[tuple[int, float, int]]] = {place: [] for place in range(SMALL.queues)}
        self.seated = 0
        self.passed: dict[int, Counter[int]] = {}  # of each queue: how often others went since it was its turn, or since it began

    @rule(caller=st.sampled_from("abcdefgh"), size=st.integers(0, 25))
    def arrive(self, caller: str, size: int) -> None:
        name, hand = next(self.names), deal(caller, SMALL.queues, SMALL.hand)
        room = [place for place in hand if len(self.lined[place]) < SMALL.length]
        held = sum(held for line in self.lined.values() for _, _, held in line)
        arrival = self.queues.arrive(hand, name, self.now, size)
        if self.seated < SMALL.seats:
            assert arrival is Arrival.SEATED
            self.seated += 1
        elif not room or held + size > SMALL.size:
            assert arrival is Arrival.FULL
        else:
            assert arrival is Arrival.WAITS
            shortest = min(hand, key=lambda place: len(self.lined[place]))
            if not self.lined[shortest]:
                self.passed[shortest] = Counter()
            self.lined[shortest].append((name, self.now, size))

    @precondition(lambda self: self.seated)
    @rule()
    def leave(self) -> None:
        chosen = self.queues.leave()
        if chosen is None:
            assert not any(self.lined.values()), "a seat is free while somebody waits"
            self.seated -= 1
            return
        [place] = [place for place, line in self.lined.items() if line and line[0][0] == chosen]
        self.lined[place].pop(0)
        for other, passed in self.passed.items():
            if other != place and self.lined[other]:
                passed[place] += 1
                assert passed[place] <= 1, f"queue {place} had two turns, and {other} none"
        self.passed[place] = Counter()

    @precondition(lambda self: any(self.lined.values()))
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        waiting = [(place, entry) for place, line in self.lined.items() for entry in line]
        place, entry = data.draw(st.sampled_from(waiting))
        self.lined[place].remove(entry)
        assert self.queues.forget(entry[0])
        assert not self.queues.forget(entry[0])

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        late = {name for line in self.lined.values() for name, since, _ in line if self.now - since >= SMALL.wait}
        assert set(self.queues.expire(self.now)) == late
        for place, line in self.lined.items():
            self.lined[place] = [entry for entry in line if entry[0] not in late]

    @invariant()
    def counts_are_true(self) -> None:
        waiting = [entry for line in self.lined.values() for entry in line]
        assert (self.queues.taken, self.queues.waiting) == (self.seated, len(waiting))
        assert self.queues.bytes == sum(size for _, _, size in waiting)
        assert len(self.queues._places) == len(waiting), "nothing is kept of who does not wait"
        assert set(self.queues._turns) == {place for place, line in self.lined.items() if line}


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase


@given(st.text(), st.integers(1, 300), st.integers(1, 12))
def test_a_hand_is_of_different_queues_and_always_the_same(caller: str, queues: int, hand: int) -> None:
    dealt = deal(caller, queues, hand)
    assert len(set(dealt)) == len(dealt) == min(hand, queues)
    assert all(0 <= place < queues for place in dealt)
    assert deal(caller, queues, hand) == dealt


def test_hands_are_spread_evenly_and_hardly_ever_the_same() -> None:
    hands = [deal(f"user-{number}", 128, 6) for number in range(4_000)]
    assert len({frozenset(hand) for hand in hands}) == len(hands)
    used = Counter(place for hand in hands for place in hand)
    assert max(used.values()) < 2 * min(used.values())
    assert sum(bool(set(one) <= set(other)) for one, other in pairwise(hands)) == 0


# One greedy client at ten times capacity


CAPACITY = 1_000  # requests a second
POLICY = Policy(seats=16, queues=128, hand=6, length=50, wait=2.0)


class Simulation:
    """A server that does `CAPACITY` requests a second, each taking as long as all seats together need for one each. Time is a
    number. Callers are an open loop: they come when they come, whether or not they were answered."""

    def __init__(self, policy: Policy) -> None:
        self.queues: Queues[int] = Queues(policy)
        self.took = policy.seats / CAPACITY
        self.callers: dict[int, tuple[str, float]] = {}
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.waited: dict[str, list[float]] = {}
        self.most = 0

    def run(self, demands: dict[str, float], seconds: float) -> None:
        names, order = count(), count()
        events: list[tuple[float, int, str, int]] = []
        for place, caller in enumerate(demands):
            heapq.heappush(events, (place / 997, next(order), caller, -1))
        while events:
            now, _, caller, name = heapq.heappop(events)
            for late in self.queues.expire(now):
                self.refused[self.callers.pop(late)[0]] += 1
            if caller:
                if now + 1 / demands[caller] < seconds:
                    heapq.heappush(events, (now + 1 / demands[caller], next(order), caller, -1))
                name = next(names)
                self.callers[name] = (caller, now)
                arrival = self.queues.arrive(deal(caller, self.queues.policy.queues, self.queues.policy.hand), name, now)
                if arrival is Arrival.FULL:
                    self.refused[self.callers.pop(name)[0]] += 1
                elif arrival is Arrival.SEATED:
                    heapq.heappush(events, (now + self.took, next(order), "", name))
            else:
                who, came = self.callers.pop(name)
                self.done[who] += 1
                self.waited.setdefault(who, []).append(now - came)
                seated = self.queues.leave()
                if seated is not None:
                    heapq.heappush(events, (now + self.took, next(order), "", seated))
            self.most = max(self.most, len(self.callers))


OTHERS = {f"other-{number}": 50.0 for number in range(9)}  # 450 a second: nearly half of what can be done
GREEDY = {"greedy": 10.0 * CAPACITY}


def test_beside_one_who_asks_for_ten_times_what_can_be_done_others_have_what_they_had_alone() -> None:
    alone, beside = Simulation(POLICY), Simulation(POLICY)
    alone.run(OTHERS, 10.0)
    beside.run({**OTHERS, **GREEDY}, 10.0)
    for other in OTHERS:
        assert beside.done[other] >= 0.9 * alone.done[other], other
        assert beside.refused[other] == 0
        assert max(beside.waited[other]) < 0.2, "served in its queue's next turn"
    assert beside.done["greedy"] >= 0.9 * (CAPACITY - 450) * 10, "and whoever is greedy has what is left"
    assert beside.refused["greedy"] >= 0.9 * (10 * CAPACITY - (CAPACITY - 450)) * 10
    assert beside.most <= POLICY.seats + POLICY.hand * POLICY.length + len(OTHERS), "what waits is bounded"


def test_the_same_in_one_queue_would_starve_the_others() -> None:
    # That the simulation can tell: with one queue for all, as long as all hands together, hardly anybody is served.
    beside = Simulation(POLICY._replace(queues=1, hand=1, length=300))
    beside.run({**OTHERS, **GREEDY}, 10.0)
    assert sum(beside.done[other] for other in OTHERS) < 0.3 * 450 * 10


@pytest.mark.parametrize("seats", [1, 8, 64])
def test_equally_greedy_callers_have_equal_shares(seats: int) -> None:
    crowd = Simulation(POLICY._replace(seats=seats, queues=1024))
    crowd.run({f"greedy-{number}": 2.0 * CAPACITY for number in range(4)}, 4.0)
    shares = sorted(crowd.done.values())
    assert shares[0] > 0.8 * shares[-1]
    assert sum(shares) >= 0.95 * CAPACITY * 4


def test_the_queues_of_a_hand_are_filled_evenly() -> None:
    queues: Queues[int] = Queues(Policy(seats=1, queues=64, hand=4, length=10))
    hand = deal("greedy", 64, 4)
    arrivals = deque(queues.arrive(hand, number, 0.0) for number in range(50))
    assert arrivals.popleft() is Arrival.SEATED
    assert Counter(arrivals) == {Arrival.WAITS: 40, Arrival.FULL: 9}
    assert [len(queues._queues[place]) for place in hand] == [10] * 4
