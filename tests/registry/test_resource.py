"""What authors of kinds write: frozen typed values, and conditions that know when they changed."""

from __future__ import annotations

import pytest

from registry.resource import (
    Condition,
    Conditions,
    Metadata,
    Object,
    Resource,
    Spec,
    Status,
    find_condition,
    is_true,
    replace,
    set_condition,
)

EARLY, LATE = "2026-01-02T03:04:05Z", "2026-01-02T03:05:00Z"


class ProbeSpec(Spec):
    interval_seconds: int = 30
    url: str


class ProbeStatus(Status):
    conditions: Conditions = ()


class Probe(Resource[ProbeSpec, ProbeStatus]):
    """Checks that a URL answers."""


class Settings(Object):
    data: dict[str, str] = {}


def test_a_required_field_may_follow_one_with_a_default_since_fields_are_given_by_name() -> None:
    assert ProbeSpec(url="u").interval_seconds == 30
    with pytest.raises(TypeError):
        ProbeSpec("u")  # type: ignore[misc]


def test_values_are_frozen_without_saying_so_in_every_class() -> None:
    probe = Probe(spec=ProbeSpec(url="u"))
    with pytest.raises(AttributeError):
        probe.spec.url = "v"  # type: ignore[misc]
    assert replace(probe.spec, url="v") == ProbeSpec(url="v")
    assert probe.spec.url == "u"


def test_values_of_a_kind_are_equal_when_their_fields_are() -> None:
    assert Probe(metadata=Metadata(name="a"), spec=ProbeSpec(url="u")) == Probe(
        metadata=Metadata(name="a"), spec=ProbeSpec(url="u")
    )
    assert Probe(spec=ProbeSpec(url="u")) != Probe(spec=ProbeSpec(url="v"))


def test_a_kind_may_have_other_fields_than_spec_and_status() -> None:
    assert Settings(data={"a": "b"}).data == {"a": "b"}
    assert Settings().metadata.name == ""


def test_two_values_never_share_a_default_that_could_be_changed() -> None:
    assert Settings().data is not Settings().data


def test_a_new_condition_is_added_with_the_time_of_now() -> None:
    conditions = set_condition((), Condition(type="Ready", status="True", reason="Up"), EARLY)
    assert conditions == (Condition(type="Ready", status="True", reason="Up", last_transition_time=EARLY),)


def test_a_condition_keeps_its_time_while_its_status_is_the_same() -> None:
    before = set_condition((), Condition(type="Ready", status="True", reason="Up"), EARLY)
    after = set_condition(before, Condition(type="Ready", status="True", reason="StillUp"), LATE)
    assert [(condition.reason, condition.last_transition_time) for condition in after] == [("StillUp", EARLY)]


def test_a_condition_gets_a_new_time_when_its_status_changes() -> None:
    before = set_condition((), Condition(type="Ready", status="True"), EARLY)
    after = set_condition(before, Condition(type="Ready", status="False", last_transition_time=EARLY), LATE)
    assert [condition.last_transition_time for condition in after] == [LATE]


def test_setting_an_unchanged_condition_gives_equal_conditions() -> None:
    before = set_condition((), Condition(type="Ready", status="True", message="m"), EARLY)
    assert set_condition(before, Condition(type="Ready", status="True", message="m"), LATE) == before


def test_setting_a_condition_leaves_the_others_in_their_places() -> None:
    before = tuple(Condition(type=name, status="Unknown") for name in "ABC")
    after = set_condition(before, Condition(type="B", status="True"), LATE)
    assert [condition.type for condition in after] == ["A", "B", "C"]
    assert (after[0], after[2]) == (before[0], before[2])


def test_conditions_are_found_by_their_type() -> None:
    conditions = (Condition(type="A", status="True"), Condition(type="B", status="Unknown"))
    assert find_condition(conditions, "B") is conditions[1]
    assert find_condition(conditions, "C") is None
    assert [is_true(conditions, name) for name in "ABC"] == [True, False, False]
