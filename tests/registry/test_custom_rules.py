"""Rules in schemas: what they see, when they are asked, what they say, and what is refused before they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.custom.rules import NOT_CHECKED, Rules, blocked, compile_rules, problems
from registry.errors import Cause

REFERENCE = Path(__file__).parent.parent / "reference" / "cases" / "crd-rules.json"
Document = dict[str, Any]


def recorded(name: str) -> list[Document]:
    """The steps of a case that a real server answered."""
    cases = json.loads(REFERENCE.read_text())["cases"]
    found: list[Document] = next(case["steps"] for case in cases if case["name"] == name)
    return found


def merged(old: Any, patch: Any) -> Any:
    """A merge patch, applied."""
    if not isinstance(patch, dict):
        return patch
    whole = {**(old if isinstance(old, dict) else {}), **{key: merged((old or {}).get(key), value) for key, value in patch.items()}}
    return {key: value for key, value in whole.items() if value is not None}


def causes(step: Document) -> list[Cause]:
    """What the server said."""
    details = step["response"]["body"].get("details") or {}
    return [Cause(**each) for each in details.get("causes") or []]


@pytest.mark.parametrize("name", ["rules", "status", "invalid-rules", "optional-old-self"])
def test_definitions_and_writes_are_answered_as_a_real_server_answers_them(name: str) -> None:
    rules: Rules | None = None
    stored: Document | None = None
    asked = 0
    for step in recorded(name):
        body, patched = step["request"].get("body"), step["request"]["method"] == "PATCH"
        if body is None:
            continue
        if body.get("kind") == "CustomResourceDefinition":
            schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            assert problems(schema, "spec.validation.openAPIV3Schema") == causes(step)
            rules = compile_rules(schema)
            continue
        assert rules is not None
        expected, new = causes(step), merged(stored, body) if patched else body
        if NOT_CHECKED in expected:
            assert blocked(expected)  # the schema is broken: rules are not asked
            continue
        assert rules.check(new, stored if patched else None) == expected
        stored = new if step["response"]["status"] < 300 else stored
        asked += 1
    assert asked or name == "invalid-rules"
