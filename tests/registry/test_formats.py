"""Texts have the formats that a Kubernetes API server says they have."""

from __future__ import annotations

import pytest

from registry.formats import FORMATS

GOOD = {
    "bsonobjectid": "507f1f77bcf86cd799439011",
    "uuid3": "bcd02e22-68f0-3046-a512-327cca9def8f",
    "uuid4": "025b0d74-00a2-4048-bf57-227c5111bb34",
    "uuid5": "886313e1-3b8a-5372-9b90-0c9aee199e5d",
    "isbn": "978-0321751041",
    "isbn10": "0321751043",
    "isbn13": "978-0321751041",
    "creditcard": "4111 1111 1111 1111",
    "ssn": "111-11-1111",
    "hexcolor": "#FFFFFF",
    "rgbcolor": "rgb(255, 255, 0)",
    "quantity": "1.5Gi",
    "datetime": "2026-01-02T03:04:05Z",
    "k8s-short-name": "a-b",
    "k8s-long-name": "a.b",
    "duration": "3 weeks",
}
BAD = {
    "bsonobjectid": "507f",
    "uuid3": "bcd02e22-68f0-4046-a512-327cca9def8f",
    "uuid4": "025b0d74-00a2-4048-ff57-227c5111bb34",
    "uuid5": "886313e1-3b8a-4372-9b90-0c9aee199e5d",
    "isbn": "978-0321751042",
    "isbn10": "0321751044",
    "isbn13": "0321751043",
    "creditcard": "4111 1111 1111 1112",
    "ssn": "111-111-111",
    "hexcolor": "#FFFF",
    "rgbcolor": "rgb(256,0,0)",
    "quantity": "1.5Gb",
    "datetime": "2026-01-02",
    "k8s-short-name": "a.b",
    "k8s-long-name": "A",
    "duration": "3 moons",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_text_of_the_format_is_taken_and_another_is_not(name: str) -> None:
    assert FORMATS[name](GOOD[name])
    assert not FORMATS[name](BAD[name])
    assert not FORMATS[name]("")


@pytest.mark.parametrize("text", ["1h30m", "5 days", "22 ns", "0", "-1.5h", "1WK"])
def test_durations_are_those_of_go_or_have_their_unit_in_words(text: str) -> None:
    assert FORMATS["duration"](text)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_text_that_is_made_to_take_long_does_not(name: str) -> None:
    for text in ("1" * 200_000, "1 " * 100_000, "a" * 200_000, "." * 200_000):
        FORMATS[name](text)
