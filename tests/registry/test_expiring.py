"""When objects expire, as plain functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import expiring
from registry.catalog import RegistryError
from registry.expiring import Ttl, parse_duration
from registry.plugin import Plugin, build
from registry.resource import Resource, Spec, Status, Time

CREATED = "2026-01-02T03:04:05Z"
MOMENT = 1_767_323_045.0


class TimedSpec(Spec):
    seconds: int | None = None
    half: float | None = None
    text: str | None = None
    numbers: dict[str, int] | None = None


class TimedStatus(Status):
    finished: Time | None = None


class Timed(Resource[TimedSpec, TimedStatus]):
    """Timed lives for some time."""


def timed(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "creationTimestamp": CREATED}, "spec": spec}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2h", 7200), ("1d", 86400), ("1d12h30m5s", 131_405), ("0s", 0), ("36600d", 36600 * 86400)]
)
def test_durations_are_whole_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1w", "1.5h", "-1s", "+1s", " 1s", "1s ", "1 s", "1S", "1s,2s", "१s", "12345678901s"]
)
def test_what_is_no_duration_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration: whole numbers with the units s, m, h and d, such as '90s'"):
        parse_duration(text)


@given(st.text())
def test_a_text_is_a_duration_within_bounds_or_is_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds <= expiring.LONGEST


@pytest.mark.parametrize(
    ("spec", "expires"),
    [
        ({"seconds": 60}, MOMENT + 60),
        ({"seconds": 0}, MOMENT),
        ({}, None),
        ({"seconds": None}, None),
        ({"seconds": -1}, None),
        ({"seconds": True}, None),
        ({"seconds": "60"}, None),
        ({"seconds": 10**12}, None),
        ({"seconds": float("nan")}, None),
    ],
)
def test_an_object_expires_so_many_seconds_after_it_was_made(spec: dict[str, Any], expires: float | None) -> None:
    assert Ttl(".spec.seconds").expires(timed(**spec)) == expires


def test_an_object_without_the_field_never_expires() -> None:
    ttl = Ttl(".spec.seconds", since=".status.finished")
    assert ttl.expires(timed(seconds=1)) is None
    assert ttl.expires({**timed(seconds=1), "status": {"finished": CREATED}}) == MOMENT + 1
    assert ttl.expires({**timed(seconds=1), "status": {"finished": "soon"}}) is None
    assert ttl.expires({**timed(seconds=1), "status": "odd"}) is None


def annotated(text: str) -> dict[str, Any]:
    return {"metadata": {"name": "a", "annotations": {"skep.dev/ttl": text}}}


def test_an_annotation_that_was_wrong_before_is_let_through() -> None:
    [cause] = expiring.check(annotated("soon"), None)
    assert cause.field == "metadata.annotations[skep.dev/ttl]"
    assert not expiring.check(annotated("soon"), annotated("soon"))
    assert expiring.check(annotated("later"), annotated("soon"))
    assert not expiring.check(annotated("1h"), annotated("soon"))
    assert not expiring.check({"metadata": {"name": "a"}}, annotated("soon"))
    assert expiring.of_annotation("soon", CREATED) is None
    assert expiring.of_annotation("1h", "never") is None


@pytest.mark.parametrize(
    ("ttl", "said"),
    [
        ("spec.seconds", "ttl path 'spec.seconds' is not a path of names alone, as in '.spec.ttlSeconds'"),
        (".spec.numbers[0]", "is not a path of names alone"),
        (".spec.text", "ttl path '.spec.text' is not a number of the kind"),
        (".spec.missing", "ttl path '.spec.missing' is not a number of the kind"),
        (".metadata.generation", "is not one of .spec or .status, nor .metadata.creationTimestamp as a beginning"),
        (Ttl(".spec.seconds", since=".metadata.labels"), "is not one of .spec or .status"),
        (Ttl(".spec.seconds", since=".spec.half"), "ttl path '.spec.half' is not a time of the kind"),
    ],
)
def test_a_kind_that_cannot_expire_like_that_is_refused(ttl: str | Ttl, said: str) -> None:
    plugin = Plugin("timed")
    plugin.kind(Timed, group="timed.example", version="v1", plural="timeds", ttl=ttl)
    with pytest.raises(RegistryError) as caught:
        build([plugin])
    [problem] = caught.value.problems
    assert said in problem
    assert problem.startswith(f"{__file__}:")


@pytest.mark.parametrize("path", [".spec.seconds", ".spec.half", ".spec.numbers.any", ".status.finished"])
def test_a_kind_may_expire_by_any_number_of_its_own(path: str) -> None:
    plugin = Plugin("timed")
    ttl = Ttl(".spec.seconds", since=path) if path.startswith(".status") else Ttl(path)
    plugin.kind(Timed, group="timed.example", version="v1", plural="timeds", ttl=ttl)
    [kind] = build([plugin]).kinds
    assert kind.ttl == ttl
