"""Times and ages on the wire."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import times

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)


def test_a_time_has_whole_seconds_and_a_micro_time_six_digits() -> None:
    assert times.format_time(MOMENT) == "2026-01-02T03:04:05Z"
    assert times.format_micro(MOMENT) == "2026-01-02T03:04:05.123456Z"
    assert times.format_micro(MOMENT.replace(microsecond=0)) == "2026-01-02T03:04:05.000000Z"


def test_seconds_since_1970_and_other_zones_are_turned_to_utc() -> None:
    assert times.format_time(0) == "1970-01-01T00:00:00Z"
    assert times.format_micro(1.5) == "1970-01-01T00:00:01.500000Z"
    assert times.format_time(MOMENT.astimezone(timezone(timedelta(hours=-9)))) == "2026-01-02T03:04:05Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        times.format_time(MOMENT.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2026-01-02T03:04:05.120000Z", "2026-01-02T03:04:05.120000Z"),
        ("2026-01-02T04:04:05.123456+01:00", "2026-01-02T03:04:05.123456Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.500000Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-01T23:04:05.1-04:00", "2026-01-02T03:04:05.100000Z"),
    ],
)
def test_any_offset_and_up_to_nine_digits_are_read(text: str, stored: str) -> None:
    assert times.normalise_micro(text) == stored
    assert times.normalise_time(text) == stored.partition(".")[0] + "Z"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2026-01-02 03:04:05", 'cannot parse " 03:04:05" as "T"'),
        ("now", 'cannot parse "now" as "2006"'),
        ("", 'cannot parse "" as "2006"'),
        ("2026-01-02T03:04:05", 'cannot parse "" as "Z07:00"'),
        ("2026-1-02T03:04:05Z", 'cannot parse "1-02T03:04:05Z" as "01"'),
        ("2026-01-02T03:04:05.1234567890Z", 'cannot parse "0Z" as "Z07:00"'),
    ],
)
def test_what_is_no_time_is_told_as_clients_know_it(text: str, problem: str) -> None:
    layout = "2006-01-02T15:04:05.000000Z07:00"
    with pytest.raises(ValueError, match=re.escape(f'parsing time "{text}" as "{layout}": {problem}')):
        times.normalise_micro(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2026-13-02T03:04:05Z", "month out of range"),
        ("2026-02-30T03:04:05Z", "day out of range"),
        ("2026-02-03T24:04:05Z", "hour out of range"),
        ("2026-02-03T23:60:05Z", "minute out of range"),
        ("2026-02-03T23:04:60Z", "second out of range"),
        ("2026-02-03T23:04:00Zx", 'extra text: "x"'),
        ("0001-01-01T00:00:00+01:00", "out of range"),
    ],
)
def test_times_that_do_not_exist_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        times.parse_time(text)


@given(st.text(max_size=40) | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]{0,30}\Z"))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        moment = times.parse_time(text)
    except ValueError:
        return
    assert moment.tzinfo is UTC


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read_as_the_same(moment: datetime) -> None:
    assert times.parse_time(times.format_micro(moment)) == moment
    assert times.parse_time(times.format_time(moment)) == moment.replace(microsecond=0)


MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-2, "<invalid>"),
        (-1.9, "0s"),
        (0, "0s"),
        (119, "119s"),
        (2 * MINUTE, "2m"),
        (5 * MINUTE + 30, "5m30s"),
        (10 * MINUTE + 59, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (7 * HOUR + 59 * MINUTE, "7h59m"),
        (8 * HOUR + 1, "8h"),
        (47 * HOUR, "47h"),
        (2 * DAY, "2d"),
        (3 * DAY + 4 * HOUR, "3d4h"),
        (8 * DAY + 4 * HOUR, "8d"),
        (2 * YEAR - 1, "729d"),
        (2 * YEAR, "2y"),
        (2 * YEAR + 10 * DAY, "2y10d"),
        (8 * YEAR + 10 * DAY, "8y"),
        (100 * YEAR, "100y"),
    ],
)
def test_an_age_shows_the_units_that_matter(seconds: float, shown: str) -> None:
    assert times.age(seconds) == shown


@given(st.integers(0, 200 * YEAR))
def test_an_age_loses_less_than_a_day_in_years_and_never_grows(seconds: int) -> None:
    units = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY, "y": YEAR}
    parts = re.findall(r"([0-9]+)([smhdy])", times.age(seconds))
    read = sum(int(number) * units[unit] for number, unit in parts)
    assert 0 <= seconds - read < (units[parts[-1][1]] if len(parts) == 2 else units[parts[0][1]])
