"""Each rule has a page, and what the page calls wrong is found, what it calls right is not, and what it switches off is."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from pathlib import Path
from types import EllipsisType
from typing import Any

import pytest

from registry import resource
from registry.builtin import KINDS
from registry.catalog import Registry, RegistryError
from registry.diff import Change, diff
from registry.kinds import Column, Kind
from registry.lifecycle import Release
from registry.lint import lint
from registry.lock import lock_of
from registry.plugin import Plugin, build
from registry.resource import Resource, Spec, Status
from registry.rules import RULES, Finding

PAGES = Path(__file__).resolve().parent.parent.parent / "docs/rules"
PART = re.compile(r"^## (?P<title>[^\n]+)\n\n(?:[^`]*?)```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
REFUSED = ("SKEP101", "SKEP102", "SKEP103", "SKEP104")
BEFORE, AFTER = Release("1.4", "2026-01-15"), Release("1.5", "2026-04-15")


class Declared:
    """The `plugin` of a page: what is the same on all pages, and left out there, is filled in."""

    def __init__(self, waive: Mapping[str, str]) -> None:
        self.plugin = Plugin("things", release=AFTER)
        self._waive = waive

    def converts(self, old: type, new: type) -> Any:
        """Declares a converter."""
        return self.plugin.converts(old, new)

    def kind(self, model: type, _: EllipsisType = ..., **said: Any) -> None:
        """Declares a version."""
        waive = {**said.pop("waive", {}), **self._waive}
        self.plugin.kind(model, **{"group": "things.example", "version": "v1", "plural": "things", **said}, waive=waive)


class PlainSpec(Spec):
    """What is wanted."""

    color: str = "Red"


class PlainStatus(Status):
    """What is."""

    ready: typing.Annotated[bool, resource.Meta(description="Whether it is there.")] = False


def parts(number: str) -> dict[str, str]:
    """The code of a page, by the headings."""
    found = {match["title"]: match["code"] for match in PART.finditer((PAGES / f"{number}.md").read_text())}
    assert {"Wrong", "Right", "Switch it off"} <= found.keys()
    return found


def registry(code: str, waive: Mapping[str, str] | None = None) -> tuple[Kind, ...]:
    """What a page declares. Raises RegistryError."""
    declared = Declared(waive or {})
    names: dict[str, Any] = {"__name__": "page", "plugin": declared, "Release": Release, "Column": Column}
    names |= {name: getattr(typing, name) for name in ("Annotated", "Any", "Literal")}
    names |= {name: getattr(resource, name) for name in (*resource.__all__, "Object")}
    names |= {"ThingSpec": PlainSpec, "ThingStatus": PlainStatus}
    head, _, tail = code.partition("plugin.kind")
    run(head, names)
    if "Thing" not in names:
        names["Thing"] = thing(names["ThingSpec"], names["ThingStatus"])
    run(f"plugin.kind{tail}" if tail else "plugin.kind(Thing)", names)
    return build([declared.plugin], KINDS).kinds


def run(code: str, names: dict[str, Any]) -> None:
    """Runs code as a module of its own, in which annotations are what they say."""
    exec(compile(code, "page", "exec", dont_inherit=True), names)


def thing(spec: type, status: type) -> type:
    """A kind of these parts."""

    class Thing(Resource[spec, status]):  # type: ignore[valid-type]
        """Thing is a kind."""

    return Thing


def findings(kinds: tuple[Kind, ...]) -> list[Finding]:
    """What lint finds."""
    return lint(kinds, KINDS, AFTER)


def reason(number: str) -> dict[str, str]:
    """What the page switches off."""
    found: dict[str, str] = {}

    class Taken:
        def kind(self, model: type, _: EllipsisType, *, waive: dict[str, str]) -> None:
            found.update(waive)

    run(parts(number)["Switch it off"], {"plugin": Taken(), "Thing": object})
    [key] = found
    assert key.partition(" ")[0] == number
    return found


def page_rules(hundred: str) -> list[str]:
    """The rules of a hundred."""
    return [number for number in RULES if number.startswith(f"SKEP{hundred}")]


@pytest.mark.parametrize("number", REFUSED)
def test_a_declaration_that_cannot_be_true_is_refused(number: str) -> None:
    page = parts(number)
    with pytest.raises(RegistryError, match=number):
        registry(page["Wrong"])
    assert registry(page["Right"])
    assert registry(page["Wrong"], reason(number))


@pytest.mark.parametrize("number", [each for each in (*page_rules("1"), *page_rules("3")) if each not in REFUSED])
def test_what_a_page_calls_wrong_is_found_and_what_it_calls_right_is_not(number: str) -> None:
    page = parts(number)
    wrong = [each for each in findings(registry(page["Wrong"])) if each.rule.id == number]
    assert wrong
    assert not any(each.waived for each in wrong)
    assert all(each.source for each in wrong)
    assert number not in {each.rule.id for each in findings(registry(page["Right"]))}
    waived = [each for each in findings(registry(page["Wrong"], reason(number))) if each.rule.id == number]
    assert waived
    assert all(each.waived for each in waived)


def changes(number: str, old: str, new: str, waive: Mapping[str, str] | None = None) -> list[Change]:
    """The changes that break a rule, from one part of a page to another."""
    found = diff(lock_of(registry(old), BEFORE), lock_of(registry(new, waive), AFTER))
    return [change for change in found if change.rule is not None and change.rule.id == number]


@pytest.mark.parametrize("number", page_rules("2"))
def test_what_a_page_calls_a_wrong_change_is_refused_and_what_it_calls_right_is_not(number: str) -> None:
    page = parts(number)
    wrong = changes(number, page["Before"], page["Wrong"])
    assert wrong
    assert all(change.refused for change in wrong)
    assert not changes(number, page["Before"], page["Right"])
    waived = changes(number, page["Before"], page["Wrong"], reason(number))
    assert waived
    assert not any(change.refused for change in waived)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_a_page_says_what_the_rule_says(rule: Any) -> None:
    text = (PAGES / f"{rule.id}.md").read_text()
    assert text.startswith(f"# {rule.id}: {rule.name}\n\n{rule.says}\n")
    assert ("It is a warning" in text) == (rule.level.value == "warning")
    assert not re.findall(r"(?i)\b(?:TODO|FIXME|TBD|helpers?|sessions?|agents?)\b|/tmp/", text)


def test_every_rule_is_in_the_index_and_no_page_is_left_over() -> None:
    index = (PAGES / "README.md").read_text()
    rows = [f"| [{rule.id}]({rule.id}.md) | {rule.name} | {rule.says} | {rule.level.value} |" for rule in RULES.values()]
    assert not [row for row in rows if row not in index]
    assert {path.stem for path in PAGES.glob("SKEP*.md")} == set(RULES)


def test_a_version_that_is_deprecated_is_not_asked_about_conventions() -> None:
    code = """
class ThingSpec(Spec):
    price: float = 1.0


plugin.kind(Thing, ..., version="v1")
plugin.kind(Thing, ..., version="v1beta1"{})
"""
    both = [each.version for each in findings(registry(code.format(""))) if each.rule.id == "SKEP312"]
    one = [each.version for each in findings(registry(code.format(", deprecated=True"))) if each.rule.id == "SKEP312"]
    assert (both, one) == (["v1", "v1beta1"], ["v1"])


def test_fields_are_found_in_lists_maps_and_lists_of_lists() -> None:
    code = """
class Inner(Struct):
    price: float = 1.0


class ThingSpec(Spec):
    rows: list[Inner] = []
    table: list[list[Inner]] = []
    named: dict[str, Inner] = {}
"""
    paths = [each.path for each in findings(registry(code)) if each.rule.id == "SKEP312"]
    assert paths == ["spec.rows[].price", "spec.table[][].price", "spec.named{}.price"]


def test_built_in_kinds_are_not_asked() -> None:
    assert lint(Registry(KINDS).kinds) == []
