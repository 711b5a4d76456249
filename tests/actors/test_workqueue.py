"""The workqueue against a naive model, and one by one the promises that its module makes."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.workqueue import Backoff, Wake, Workqueue

KEYS = st.sampled_from("abcde")
WAKES = st.sampled_from([Wake.DESIRED, Wake.DELETED, Wake.OBSERVED, Wake.RESYNC])
SECONDS = st.integers(min_value=0, max_value=9)
PLAIN = Backoff(base=2.0, limit=8.0, jitter=0.0)


def queue(backoff: Backoff = PLAIN) -> Workqueue[str]:
    return Workqueue(backoff, Random(1))


class Model(RuleBasedStateMachine):
    """The same in the dullest way: lists, looked through from the front."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = queue()
        self.now = 0.0
        self.line: list[tuple[str, Wake]] = []  # ready, in order
        self.again: list[tuple[str, Wake]] = []  # woken while running, in order
        self.running: list[str] = []
        self.timers: list[tuple[float, int, str]] = []
        self.failures: dict[str, int] = {}
        self.set = 0

    def wake(self, key: str, wake: Wake) -> None:
        place = self.again if key in self.running else self.line
        for index, (other, reasons) in enumerate(place):
            if other == key:
                place[index] = (key, reasons | wake)
                return
        place.append((key, wake))

    def set_timer(self, key: str, due: float) -> None:
        earlier = [timer for timer in self.timers if timer[2] == key]
        if earlier and earlier[0][0] <= due:
            return
        self.set += 1
        self.timers = [timer for timer in self.timers if timer[2] != key] + [(due, self.set, key)]

    @rule(key=KEYS, wake=WAKES)
    def add(self, key: str, wake: Wake) -> None:
        self.queue.add(key, wake, self.now)
        self.wake(key, wake)

    @rule(key=KEYS, seconds=SECONDS)
    def add_at(self, key: str, seconds: int) -> None:
        self.queue.add_at(key, self.now + seconds)
        self.set_timer(key, self.now + seconds)

    @rule(seconds=SECONDS)
    def time_goes_on(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        for timer in sorted(self.timers):
            if timer[0] <= self.now:
                self.timers.remove(timer)
                self.wake(timer[2], Wake.TIMER)
        taken = self.queue.take(self.now)
        if not self.line:
            assert taken is None
            return
        key, wake = self.line.pop(0)
        assert taken is not None
        assert (taken.key, taken.wake) == (key, wake)
        assert key not in self.running
        self.running.append(key)
        self.timers = [timer for timer in self.timers if timer[2] != key]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failed=st.booleans())
    def end_of_a_run(self, data: st.DataObject, failed: bool) -> None:
        key = data.draw(st.sampled_from(self.running))
        if failed:
            self.failures[key] = self.failures.get(key, 0) + 1
            self.queue.failed(key, self.now)
            self.set_timer(key, self.now + min(8.0, 2.0 ** self.failures[key]))
        else:
            self.failures.pop(key, None)
            self.queue.succeeded(key)
        self.queue.done(key)
        self.running.remove(key)
        self.line += [woken for woken in self.again if woken[0] == key]
        self.again = [woken for woken in self.again if woken[0] != key]

    @invariant()
    def they_agree(self) -> None:
        assert self.queue.depth == len(self.line) + len(self.again)
        assert self.queue.running == len(self.running)
        assert self.queue.due() == min((timer[0] for timer in self.timers), default=None)
        assert self.queue.timers == len(self.timers)
        assert dict(self.queue.failures) == self.failures


Model.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAgainstTheModel = Model.TestCase


def test_adds_while_a_key_waits_are_one_run_with_all_reasons() -> None:
    line = queue()
    for wake in (Wake.DESIRED, Wake.OBSERVED, Wake.DESIRED):
        line.add("a", wake, 0)
    assert line.take(0) == ("a", Wake.DESIRED | Wake.OBSERVED, 0)
    assert line.take(0) is None


def test_adds_during_a_run_give_one_more_run_and_only_when_it_is_done() -> None:
    line = queue()
    line.add("a", Wake.DESIRED, 0)
    line.take(0)
    for _ in range(100):
        line.add("a", Wake.DESIRED, 1)
    assert line.take(2) is None
    line.done("a")
    assert line.take(3) == ("a", Wake.DESIRED, 2)
    line.done("a")
    assert line.take(4) is None


def test_a_key_that_is_always_added_again_lets_the_others_go_first() -> None:
    line = queue()
    for key in "abc":
        line.add(key, Wake.DESIRED, 0)
    order = []
    for _ in range(7):
        taken = line.take(0)
        assert taken is not None
        line.add("a", Wake.DESIRED, 0)
        line.done(taken.key)
        order.append(taken.key)
    assert order == ["a", "b", "c", "a", "a", "a", "a"]


def test_of_several_times_the_earliest_counts_and_only_it() -> None:
    line = queue()
    for due in (30.0, 10.0, 20.0):
        line.add_at("a", due)
    assert line.due() == 10.0
    assert line.take(9.9) is None
    assert line.take(12.0) == ("a", Wake.TIMER, 2.0)
    line.done("a")
    assert line.due() is None
    assert line.take(100.0) is None


def test_a_run_clears_the_timer_that_was_set_before_it() -> None:
    line = queue()
    line.add_at("a", 60.0)
    line.add("a", Wake.DESIRED, 10.0)
    line.take(10.0)
    line.done("a")
    assert line.take(1000.0) is None


def test_failures_double_the_wait_up_to_the_limit_and_a_success_starts_anew() -> None:
    line = queue()
    waits = []
    for _ in range(4):
        line.add("a", Wake.DESIRED, 0)
        line.take(0)
        waits.append(line.failed("a", 0))
        line.done("a")
    assert waits == [2, 4, 8, 8]
    line.succeeded("a")
    assert line.failures == {}
    line.add("a", Wake.DESIRED, 0)
    line.take(0)
    assert line.failed("a", 0) == 2


def test_an_add_does_not_wait_for_the_backoff() -> None:
    line = queue()
    line.add("a", Wake.DESIRED, 0)
    line.take(0)
    line.failed("a", 0)
    line.done("a")
    line.add("a", Wake.DESIRED, 0.5)
    assert line.take(0.5) == ("a", Wake.DESIRED, 0)
    line.done("a")
    assert line.take(100) is None


def test_old_timers_do_not_pile_up() -> None:
    line = queue()
    for moment in range(10_000, 0, -1):
        line.add_at("a", float(moment))
    assert len(line._heap) < 100
    assert line.due() == 1.0


def test_done_for_a_key_that_does_not_run_is_an_error() -> None:
    with pytest.raises(KeyError):
        queue().done("a")


@given(failures=st.integers(min_value=1, max_value=10_000), seed=st.integers())
def test_a_wait_is_never_longer_than_the_limit_nor_shorter_than_jitter_allows(failures: int, seed: int) -> None:
    backoff = Backoff(base=0.5, limit=300, jitter=0.2)
    full = min(300, 0.5 * 2.0 ** min(failures - 1, 20))
    assert 0.8 * full <= backoff.delay(failures, Random(seed)) <= full
