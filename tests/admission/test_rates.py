"""Token buckets, against one that counts its tokens in fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.identity import Identity
from admission.rates import Bucket, Rate, Rates, parse

SLOW, FAST, ALL, NOBODY = Rate(1, 5), Rate(10, 20), Rate(100, 200), Rate(2, 2)


@given(
    per_second=st.sampled_from([1, 4, 64]),
    burst=st.integers(1, 10),
    pauses=st.lists(st.sampled_from([0, 1, 2, 16, 64, 640]), max_size=60),
)
def test_a_bucket_gives_what_has_come_in_and_no_more(per_second: int, burst: int, pauses: list[int]) -> None:
    bucket, tokens, now = Bucket(Rate(per_second, burst)), Fraction(burst), Fraction(1000)
    for pause in pauses:
        step = Fraction(pause, 64)
        now, tokens = now + step, min(Fraction(burst), tokens + step * per_second)
        debt = bucket.take(float(now))
        assert (debt is not None) == (tokens >= 1)
        if debt is None:
            wait = bucket.wait(float(now))
            assert wait == pytest.approx(float((1 - tokens) / per_second))
            assert wait > 0
        else:
            tokens -= 1
            assert bucket.left(debt) == math.floor(tokens)
            assert debt == pytest.approx(float((burst - tokens) / per_second))
        assert bucket.full_in(float(now)) == pytest.approx(float((burst - tokens) / per_second))


def test_who_waits_as_long_as_was_said_gets_a_token() -> None:
    bucket, now = Bucket(Rate(3, 2)), 100.0
    for _ in range(20):
        while bucket.take(now) is not None:
            pass
        now += bucket.wait(now)
        assert bucket.take(now) is not None
        assert bucket.take(now) is None


@pytest.mark.parametrize(
    ("identity", "rate"),
    [
        (Identity("ann", groups=("ci", "team")), SLOW),
        (Identity("bob", groups=("ci",)), FAST),
        (Identity("bob", groups=("ci", "team")), ALL),
        (Identity("bob"), Rate(7, 7)),
    ],
)
def test_the_own_rate_counts_before_those_of_groups_and_of_those_the_most_generous(identity: Identity, rate: Rate) -> None:
    rates = Rates(Rate(7, 7), NOBODY, {"ann": SLOW}, {"ci": FAST, "team": ALL})
    assert rates.of(identity) == rate


def test_rates_are_written_in_one_line_each() -> None:
    users, groups = parse(["user:system:serviceaccount:shop:bot=0.5/3", "group:ci=100/200"])
    assert users == {"system:serviceaccount:shop:bot": Rate(0.5, 3)}
    assert groups == {"ci": Rate(100, 200)}


@pytest.mark.parametrize(
    "entry",
    [
        *("", "ann=1/2", "user:ann", "user:ann=1", "user:=1/2", "role:a=1/2", "user:ann=x/2", "user:ann=1/x"),
        *("user:ann=0/5", "user:ann=nan/5", "user:ann=inf/5", "user:ann=1/0", "group:ci=1/1.5"),
    ],
)
def test_what_is_no_rate_is_refused_by_its_own_words(entry: str) -> None:
    with pytest.raises(ValueError, match=r"PER_SECOND/BURST|from 0\.001") as refused:
        parse(["group:ok=1/2", entry])
    assert repr(entry) in str(refused.value)
