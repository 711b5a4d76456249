"""The comparison is the judge of the recorded cases: here it is judged itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.comparing import Rules, UnknownVariableError, Variables, differences, filled

UID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def found(expected: Any, got: Any, rules: Rules | None = None, **variables: str) -> list[str]:
    return [difference.where for difference in differences(expected, got, dict(variables), rules)]


@pytest.mark.parametrize(
    ("expected", "got", "where"),
    [
        ({"a": 1}, {"a": 2}, [".a"]),
        ({"a": 1}, {"a": True}, [".a"]),
        ({"a": 1}, {"a": "1"}, [".a"]),
        ({"a": None}, {}, [".a"]),
        ({"a": 1}, {"a": 1, "b": {}}, [".b"]),
        ({"a": []}, {"a": None}, [".a"]),
        ([1, 2], [2, 1], ["[0]", "[1]"]),
        ([1], [1, 2], ["[1]"]),
        ([1, 2], [1], ["[1]"]),
        ({"a": "<uid>"}, {"a": "x"}, [".a"]),
        ({"a": "<rv>"}, {"a": "0"}, [".a"]),
        ({"a": "<rv>"}, {"a": "07"}, [".a"]),
        ("at <time>.", "at 2026-01-02T03:04:05.5Z.", [""]),
        ({"continue": ""}, {"continue": "abc"}, [".continue"]),
        ({"causes": [{"field": "a"}]}, {"causes": [{"field": "a"}, {"field": "b"}]}, [".causes[]"]),
    ],
)
def test_what_is_not_as_recorded_is_found_where_it_is(expected: Any, got: Any, where: list[str]) -> None:
    assert found(expected, got) == where


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({"a": 1, "b": [1, {"c": None}]}, {"b": [1, {"c": None}], "a": 1}),
        ({"uid": "<uid>", "port": "<int>"}, {"uid": UID, "port": 7443}),
        ({"continue": ""}, {}),
        ({}, {"managedFields": [{}]}),
        ({"causes": [{"field": "a"}, {"field": "b"}]}, {"causes": [{"field": "b"}, {"field": "a"}, {"field": "b"}]}),
        ("one of: [get, list]", "one of: [list, get]"),
        ("$ns/<name>", "shop/x1"),
        ({"for $ns": 1}, {"for shop": 1}),
    ],
)
def test_what_does_not_matter_is_no_difference(expected: Any, got: Any) -> None:
    assert found(expected, got, ns="shop") == []


def test_rules_say_how_much_more_there_may_be() -> None:
    more_fields, more_items = {"a": [1], "b": 2}, {"a": [0, 1]}
    assert found({"a": [1]}, more_fields, Rules("fields")) == []
    assert found({"a": [1]}, more_items, Rules("fields")) == [".a[0]", ".a[1]"]
    assert found({"a": [1]}, more_items, Rules("subset")) == []
    assert found({"a": [2]}, more_items, Rules("subset")) == [".a[0]"]
    assert found({"managedFields": [1]}, {}, Rules(managed_fields=True)) == [".managedFields"]


def test_a_placeholder_remembers_and_a_later_one_compares_with_it() -> None:
    variables: Variables = {}
    assert not list(differences({"a": "<rv as rv1>", "b": "<rv after $rv1 as rv2>"}, {"a": "9", "b": "10"}, variables))
    assert variables == {"rv1": "9", "rv2": "10"}
    assert found("<rv after $rv1>", "9", rv1="9") == [""]
    assert found("<rv from $rv1>", "9", rv1="9") == []
    assert found("<uid not $uid1>", UID, uid1=UID) == [""]
    assert found("<rv after $rv1>", "9") == [""]


def test_a_request_with_a_variable_that_nothing_gave_is_refused() -> None:
    assert filled({"path": "/$ns/$rv1", "$patch": "delete"}, {"ns": "a", "rv1": "3"}, strict=True) == {
        "path": "/a/3",
        "$patch": "delete",
    }
    with pytest.raises(UnknownVariableError, match=r"\$rv1"):
        filled(["$rv1"], {}, strict=True)
