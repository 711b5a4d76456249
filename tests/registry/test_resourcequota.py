"""What a ResourceQuota may say, and what it means."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.builtin.resourcequota import LARGEST, RESOURCE_QUOTA, check, limits_of, prepare, quantity

NAMED = {"metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("10", 10),
        (10, 10),
        ("0", 0),
        ("2k", 2000),
        ("1Ki", 1024),
        ("1.5e3", 1500),
        ("3E2", 300),
        ("1E", 10**18),
        ("500m", Decimal("0.5")),
        ("-1", -1),
        (".5", Decimal("0.5")),
    ],
)
def test_quantities_are_numbers_with_suffixes(said: Any, meant: Any) -> None:
    assert quantity(said) == meant


@given(st.one_of(st.text(), st.booleans(), st.floats(), st.none(), st.from_regex(r"[0-9.eEkKiMm+-]{1,40}")))
def test_whatever_else_is_sent_is_no_quantity_or_a_number_and_no_exception(said: Any) -> None:
    found = quantity(said)
    assert found is None or isinstance(found, Decimal)


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        ({"hard": {"count/probes.uptime.example": "2", "configmaps": 1, "requests.cpu": "500m", "pods": "1"}}, []),
        ({}, []),
        (
            {"hard": {"probes": "2"}},
            [
                (
                    'spec.hard[probes]: Invalid value: "probes": must be a standard resource for quotas, as configmaps or secrets, '
                    "or count/<plural>.<group>"
                )
            ],
        ),
        ({"hard": {"count/x": "-1"}}, ['spec.hard[count/x]: Invalid value: "-1": must be greater than or equal to 0']),
        ({"hard": {"count/x": "1.5"}}, ['spec.hard[count/x]: Invalid value: "1.5": must be an integer']),
        ({"hard": {"count/x": "many"}}, ['spec.hard[count/x]: Invalid value: "many": must be a quantity, as 10 or 2k']),
        (
            {"hard": {"configmaps": "1"}, "scopes": ["BestEffort"]},
            ["spec.scopes: Forbidden: it selects pods, and there are none here: leave it out"],
        ),
    ],
)
def test_a_quota_is_refused_for_what_it_cannot_mean(spec: dict[str, Any], causes: list[str]) -> None:
    assert [str(cause) for cause in check(prepare({**NAMED, "spec": spec}, None), None)] == causes


def test_a_name_that_no_label_could_have_is_refused() -> None:
    assert check({**NAMED, "spec": {"hard": {"count/": "1"}}}, None)[0].field == "spec.hard[count/]"


def test_limits_are_kept_as_texts_and_counted_by_resource() -> None:
    hard = {"configmaps": 3, "count/configmaps": "2", "count/probes.uptime.example": "1k", "requests.cpu": "1"}
    prepared = prepare({**NAMED, "spec": {"hard": hard}}, None)
    assert prepared["spec"]["hard"]["configmaps"] == "3"
    assert limits_of(prepared["spec"]["hard"]) == {
        "configmaps": {"configmaps": 3, "count/configmaps": 2},
        "probes.uptime.example": {"count/probes.uptime.example": 1000},
    }
    assert limits_of({"count/x": "9e99"}) == {"x": {"count/x": LARGEST}}
    assert prepare(NAMED, None)["spec"] == {}


def test_the_table_shows_what_is_used_of_what_there_may_be() -> None:
    status = {"hard": {"secrets": "2", "configmaps": "1", "limits.cpu": "4"}, "used": {"secrets": "1", "configmaps": "0"}}
    printer = RESOURCE_QUOTA.storage.printer
    assert printer is not None
    cells = printer.cells(
        {"metadata": {"name": "a", "creationTimestamp": "2023-11-14T22:12:20Z"}, "status": status}, 1_700_000_000.0
    )
    assert cells == ["a", "configmaps: 0/1, secrets: 1/2", "limits.cpu: 0/4", "60s"]
