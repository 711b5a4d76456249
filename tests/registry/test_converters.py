"""Converters as plugins declare them: the ways that are found, and what is refused, with its line and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from registry.catalog import RegistryError
from registry.converters import Declared, ways_of
from registry.plugin import Plugin, build, source_of
from registry.remembering import Remembered
from registry.resource import Resource, Spec
from registry.ways import ConversionError, routes

Document = dict[str, Any]


class OneSpec(Spec):
    one: int = 0


class TwoSpec(Spec):
    two: int = 0


class ThreeSpec(Spec):
    three: int = 0


class FourSpec(Spec):
    four: int = 0


class One(Resource[OneSpec, None]):
    """One."""


class Two(Resource[TwoSpec, None]):
    """Two."""


class Three(Resource[ThreeSpec, None]):
    """Three."""


class Four(Resource[FourSpec, None]):
    """Four."""


MODELS: dict[str, type] = {"v1": One, "v2": Two, "v3": Three, "v4": Four}
SPECS: dict[type, type] = {One: OneSpec, Two: TwoSpec, Three: ThreeSpec, Four: FourSpec}


def value_of(thing: Any) -> int:
    (value,) = (getattr(thing.spec, name) for name in thing.spec.__struct_fields__)
    return int(value)


def plugin(versions: str, *pairs: str) -> Plugin:
    """The versions `123`, and converters `12`: from v1 to v2."""
    made = Plugin("things")
    for version in versions:
        made.kind(MODELS[f"v{version}"], group="t.example", version=f"v{version}", plural="things", kind="Thing")
    for pair in pairs:
        old, new = (MODELS[f"v{each}"] for each in pair)
        made.converts(old, new)(function(old, new))
    return made


def function(old: type, new: type) -> Any:
    def convert(thing: Any) -> Any:
        (name,) = SPECS[new].__struct_fields__  # type: ignore[attr-defined]
        return new(spec=SPECS[new](**{name: value_of(thing) + 1}))

    convert.__name__ = f"{old.__name__.lower()}_{new.__name__.lower()}"
    return convert


LINE = source_of(function(One, Two))


def problems(*plugins: Plugin) -> list[str]:
    with pytest.raises(RegistryError) as caught:
        build(plugins)
    return list(caught.value.problems)


def thing(version: str, **spec: Any) -> Document:
    return {"apiVersion": f"t.example/{version}", "kind": "Thing", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": spec}


def test_the_shortest_way_is_taken_in_both_directions() -> None:
    [kind] = build([plugin("1234", "12", "21", "23", "32", "34", "43", "42", "24")]).kinds
    ways = kind.storage.ways
    assert ways is not None
    assert ways.convert(thing("v1", one=5), "t.example/v4") == thing("v4", four=7)
    assert ways.convert(thing("v4", four=5), "t.example/v1") == thing("v1", one=7)
    given = thing("v2", two=1)
    assert ways.convert(given, "t.example/v2") is given


def test_metadata_is_the_same_whatever_a_converter_makes_of_it() -> None:
    [kind] = build([plugin("12", "12", "21")]).kinds
    assert kind.storage.ways is not None
    assert kind.storage.ways.convert(thing("v1", one=0), "t.example/v2")["metadata"] == thing("v1")["metadata"]


def test_versions_of_one_model_need_no_converter() -> None:
    made = plugin("1")
    made.kind(One, group="t.example", version="v9", plural="things", kind="Thing")
    assert build([made]).kinds[0].storage.ways is None


def test_a_gap_is_told_with_the_version_and_what_to_declare() -> None:
    [problem] = problems(plugin("123", "12", "21"))
    assert __file__ in problem
    assert "Thing: no converters lead from v2 (Two) to v3 (Three) and back" in problem
    assert "declare @plugin.converts(Two, Three) and @plugin.converts(Three, Two)" in problem


def test_a_converter_without_its_way_back_is_refused() -> None:
    assert problems(plugin("12", "12")) == [
        f"{LINE}: things.one_two converts One to Two, and nothing converts back; declare @plugin.converts(Two, One)"
    ]
    round_a_circle = problems(plugin("123", "12", "23", "31"))
    assert len(round_a_circle) == 3


def test_two_converters_for_one_step_are_told_with_both_lines() -> None:
    [problem] = problems(plugin("12", "12", "21", "12"))
    assert problem == f"{LINE}: things.one_two: things.one_two at {LINE} converts One to Two already; keep one of them"


def test_two_ways_of_the_same_length_are_refused_since_nothing_says_which_is_meant() -> None:
    found = problems(plugin("1234", "12", "21", "24", "42", "13", "31", "34", "43"))
    assert any("from v1 to v4 lead ways of the same length" in each and "@plugin.converts(One, Four)" in each for each in found)


def test_what_is_no_converter_is_refused() -> None:
    async def waits(one: One) -> Two:
        return Two(spec=TwoSpec(two=one.spec.one))

    def more(one: One, two: Two) -> Two:
        del one
        return two

    for function_, said in ((waits, "a converter is a plain function"), (more, "a converter takes one argument")):
        made = plugin("12", "21")
        made.converts(One, Two)(function_)
        assert any(said in problem and source_of(function_) in problem for problem in problems(made))
    assert any("converts One to itself" in problem for problem in problems(plugin("12", "12", "21", "11")))


def test_a_converter_of_a_model_that_is_no_version_is_refused() -> None:
    made = plugin("12", "12", "21")
    made.converts(Three, One)(function(Three, One))
    assert any("Three is not declared as a version of a kind" in problem for problem in problems(made))
    made.kind(Three, group="t.example", version="v1", plural="others", kind="Other")
    assert any("these are two kinds" in problem for problem in problems(made))


@pytest.mark.parametrize("returned", [None, 5, OneSpec(), Two(spec=OneSpec()), Two(spec=TwoSpec(two="text"))])  # type: ignore[arg-type]
def test_a_converter_that_returns_something_else_is_named_and_nothing_of_it_is_told(returned: object) -> None:
    made = plugin("12", "21")
    made.converts(One, Two)(lambda one: returned)
    [kind] = build([made]).kinds
    ways, told = kind.storage.ways, []
    assert ways is not None
    ways.report = told.append
    with pytest.raises(ConversionError, match=r"converter things\.<lambda> failed") as caught:
        ways.convert(thing("v1", one=1), "t.example/v2")
    assert told == [caught.value]
    assert "text" not in caught.value.message


def test_a_version_that_is_not_declared_any_more_is_named() -> None:
    [kind] = build([plugin("12", "12", "21")]).kinds
    assert kind.storage.ways is not None
    with pytest.raises(ConversionError, match=r"t\.example/v0 is no version of it that is declared"):
        kind.storage.ways.convert(thing("v0"), "t.example/v1")


def test_one_shape_has_no_ways_and_no_problems() -> None:
    assert ways_of("Thing", [Declared("t/v1", "v1", One, "a.py:1"), Declared("t/v2", "v2", One, "a.py:2")], []) == (None, [])
    assert routes([]) == {}


def test_what_is_remembered_is_good_for_the_very_value_that_it_was_made_of() -> None:
    memory: Remembered[str] = Remembered(100)
    first, second = [1], [1]
    memory.put("place", first, "made", 10)
    assert memory.get("place", first) == "made"
    assert memory.get("place", second) is None
    memory.put("place", second, "again", 10)
    assert (memory.get("place", first), memory.get("place", second), memory.size) == (None, "again", 10)


def test_a_list_that_is_longer_than_the_memory_still_finds_most_of_it() -> None:
    memory: Remembered[int] = Remembered(100)
    values = [[number] for number in range(150)]
    hits = []
    for _ in range(10):
        found = 0
        for place, value in enumerate(values):
            if memory.get(place, value) is not None:
                found += 1
            else:
                memory.put(place, value, place, 1)
        hits.append(found)
        assert memory.size <= 100
    assert min(hits[1:]) >= 90


def test_what_is_gone_makes_room() -> None:
    memory: Remembered[int] = Remembered(10)
    for place in range(10):
        memory.put(place, memory, place, 1)
    for place in range(100, 200):
        memory.put(place, memory, place, 1)
        memory.get(place, memory)
    assert all(memory.get(place, memory) is None for place in range(10))
    assert len(memory) == 10
