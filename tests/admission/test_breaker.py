"""A circuit breaker by its table, with times that the tests choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.breaker import Breaker, Open


def fail(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.leave(breaker.enter(now), now, good=False)


def test_failures_in_a_row_open_it_and_a_success_in_between_begins_anew() -> None:
    breaker = Breaker(3, 10)
    fail(breaker, 0, 2)
    breaker.leave(breaker.enter(0), 0, good=True)
    fail(breaker, 0, 2)
    assert breaker.state(0) == "closed"
    fail(breaker, 0)
    assert breaker.state(0) == "open"
    with pytest.raises(Open) as refused:
        breaker.enter(4)
    assert refused.value.seconds == 6


def test_one_trial_at_a_time_closes_it_or_opens_it_again() -> None:
    breaker = Breaker(1, 10)
    fail(breaker, 0)
    assert breaker.state(10) == "half-open"
    trial = breaker.enter(10)
    with pytest.raises(Open):
        breaker.enter(10)
    breaker.leave(trial, 11, good=False)
    assert (breaker.state(20), breaker.state(21)) == ("open", "half-open")
    breaker.leave(breaker.enter(21), 21, good=True)
    assert breaker.state(21) == "closed"


def test_a_trial_that_is_given_up_makes_room_for_the_next() -> None:
    breaker = Breaker(1, 10)
    fail(breaker, 0)
    breaker.leave(breaker.enter(10), 10, good=None)
    breaker.leave(breaker.enter(10), 10, good=True)
    assert breaker.state(10) == "closed"


def test_what_began_before_it_opened_says_nothing_when_it_ends() -> None:
    breaker = Breaker(1, 10)
    slow, slower = breaker.enter(0), breaker.enter(0)
    fail(breaker, 0)
    breaker.leave(slow, 5, good=True)
    assert breaker.state(5) == "open"
    breaker.leave(slower, 9, good=False)
    assert breaker.state(10) == "half-open", "it does not stay open for longer because of them"


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.floats(0, 30)), max_size=60), st.integers(1, 4))
def test_after_its_time_somebody_may_always_try(outcomes: list[tuple[bool | None, float]], failures: int) -> None:
    breaker, now = Breaker(failures, 10), 0.0
    for good, later in outcomes:
        now += later
        try:
            number = breaker.enter(now)
        except Open:
            continue
        breaker.leave(number, now, good=good)
    breaker.leave(breaker.enter(now + 10), now + 10, good=True)
    assert breaker.state(now + 10) == "closed"
