"""Chance from a pool is the system's, and each piece of it is used once."""

from __future__ import annotations

from collections import Counter

import pytest

from apiserver import chance
from apiserver.chance import POOL, PooledRandom


def test_what_the_system_gave_is_used_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    given = b"".join(number.to_bytes(2) for number in range(POOL))
    rest = memoryview(given)

    def system(count: int) -> bytes:
        nonlocal rest
        piece, rest = bytes(rest[:count]), rest[count:]
        return piece

    monkeypatch.setattr(chance.os, "urandom", system)
    pooled = PooledRandom()
    assert [pooled.getrandbits(16) for _ in range(POOL)] == list(range(POOL))


def test_the_system_is_asked_once_for_many_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def system(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    monkeypatch.setattr(chance.os, "urandom", system)
    pooled = PooledRandom()
    for _ in range(POOL // 16):
        pooled.getrandbits(128)
    assert asked == [POOL]
    pooled.getrandbits(8 * (POOL + 1))
    assert asked == [POOL, POOL + 1]


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 53, 128, 1_000])
def test_numbers_have_so_many_bits_and_no_more(bits: int) -> None:
    pooled = PooledRandom()
    found = [pooled.getrandbits(bits) for _ in range(200)]
    assert all(0 <= number < 1 << bits for number in found)
    assert bits < 7 or any(number >> (bits - 1) for number in found)


def test_everything_that_random_offers_works_on_it() -> None:
    pooled = PooledRandom()
    assert all(0 <= pooled.random() < 1 for _ in range(1_000))
    assert Counter(pooled.choice("ab") for _ in range(1_000)).keys() == {"a", "b"}
    assert len(set(pooled.choices(range(1 << 40), k=100))) == 100
    assert all(1 <= pooled.randint(1, 3) <= 3 for _ in range(100))
    with pytest.raises(ValueError, match="non-negative"):
        pooled.getrandbits(-1)
