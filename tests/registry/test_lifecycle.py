"""Releases, lives of versions, and the promises that alpha, beta and GA make."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from registry.builtin import KINDS
from registry.catalog import RegistryError
from registry.kinds import Kind
from registry.lifecycle import UNSAID, Lifecycle, Release, before, document, from_document, months_after, releases_between
from registry.plugin import Plugin, build
from registry.promises import broken, promises
from registry.resource import Resource, Spec
from registry.rules import RULES


class ThingSpec(Spec):
    size: int = 1


class Thing(Resource[ThingSpec, None]):
    """Thing is a kind."""


FIRST = Release("1.0", "2020-01-15")


def built(versions: dict[str, dict[str, Any]], release: Release | None = None) -> Kind:
    """A kind with these versions."""
    plugin = Plugin("things", release=release)
    for name, said in versions.items():
        plugin.kind(Thing, group="things.example", version=name, plural="things", **said)
    [kind] = build([plugin]).kinds
    return kind


def refused(versions: dict[str, dict[str, Any]]) -> list[str]:
    """Why a registry with these versions is not built."""
    with pytest.raises(RegistryError) as caught:
        built(versions)
    return list(caught.value.problems)


def numbers(name: str, life: Lifecycle, successor: tuple[str, Lifecycle] | None = None) -> list[int]:
    """The promises that are broken."""
    return [number for number, _ in promises(name, life, successor)]


@pytest.mark.parametrize("wrong", [("1.x", ""), ("v1", ""), ("", "2020-1-5"), ("", "2020-02-30"), ("", "20200105")])
def test_a_release_is_a_number_and_a_day(wrong: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="is not a"):
        Release(*wrong)


@pytest.mark.parametrize(
    ("first", "last", "count"),
    [
        ("1.2", "1.5", 3),
        ("1.2", "1.2", 0),
        ("1.2.3", "1.2.9", 0),
        ("1.9", "2.0", 1),
        ("1.9", "2.1", 2),
        ("2.0", "1.9", -1),
        ("1", "1.1", 1),
    ],
)
def test_releases_are_counted_by_their_numbers_and_never_too_many(first: str, last: str, count: int) -> None:
    assert releases_between(Release(first), Release(last)) == count


def test_releases_without_a_number_are_not_counted() -> None:
    assert releases_between(Release("", "2020-01-01"), Release("1.2")) is None


def test_numbers_are_compared_as_numbers() -> None:
    assert before(Release("1.9"), Release("1.10"))
    assert not before(Release("1.10"), Release("1.9"))


def test_months_end_with_their_last_day() -> None:
    assert months_after(datetime.date(2019, 8, 31), 6) == datetime.date(2020, 2, 29)
    assert months_after(datetime.date(2020, 12, 1), 12) == datetime.date(2021, 12, 1)


def test_a_life_is_the_same_after_it_was_written_down() -> None:
    life = Lifecycle(FIRST, Release("1.4"), Release("", "2021-01-01"), "v1")
    assert from_document(document(life)) == life
    assert from_document(document(UNSAID)) == UNSAID


START, TOLD, END = Release("1.0", "2020-01-15"), Release("1.3", "2020-10-15"), Release("1.6", "2021-04-15")


@pytest.mark.parametrize(
    ("name", "life", "found"),
    [
        ("v1beta1", Lifecycle(START, TOLD, END, "v1"), []),
        ("v1beta1", Lifecycle(START, START, Release("1.3", "2020-10-15"), "v1"), []),
        ("v1beta1", Lifecycle(START, START, Release("1.3", "2020-10-14"), "v1"), [110]),
        ("v1beta1", Lifecycle(START, START, Release("1.2", "2022-10-14"), "v1"), [110]),
        ("v1beta1", Lifecycle(START, TOLD, Release("1.6", "2021-04-14"), "v1"), [111]),
        ("v1beta1", Lifecycle(START, TOLD, END), [117]),
        ("v1beta1", Lifecycle(START, Release("1.3"), END, "v1"), [119]),
        ("v1beta1", Lifecycle(None, TOLD, END, "v1"), [119]),
        ("v1", Lifecycle(START, TOLD, Release("1.7", "2021-10-15"), "v2"), []),
        ("v1", Lifecycle(START, TOLD, Release("1.7", "2021-10-14"), "v2"), [112]),
        ("v1alpha1", Lifecycle(START, START, Release("1.1", "2020-02-01")), []),
        ("v1alpha1", Lifecycle(START, START, Release("1.0.1", "2020-02-01")), [114]),
        ("beta1", UNSAID, [118]),
        ("v1", UNSAID, []),
    ],
)
def test_the_promises_of_alpha_beta_and_ga(name: str, life: Lifecycle, found: list[int]) -> None:
    assert numbers(name, life) == found


def test_the_successor_of_a_ga_version_is_ga_and_is_there_when_the_notice_is_given() -> None:
    life = Lifecycle(START, TOLD, Release("1.9", "2022-01-01"), "next")
    assert numbers("v1", life, ("v2", Lifecycle(TOLD))) == []
    assert numbers("v1", life, ("v2", Lifecycle(Release("1.4", "2020-12-01")))) == [113]
    assert numbers("v1", life, ("v2beta1", Lifecycle(TOLD))) == [113]


def test_a_ga_version_whose_successor_is_there_since_nobody_knows_when_cannot_be_checked() -> None:
    assert numbers("v1", Lifecycle(START, TOLD, None, "v2"), ("v2", UNSAID)) == [119]
    assert numbers("v1", Lifecycle(START, None, None, "v2"), ("v2", UNSAID)) == []


class LessSpec(Spec):
    width: int = 1


class Less(Resource[LessSpec, None]):
    """Less holds no note."""


class MoreSpec(Spec):
    size: int = 1
    note: str | None = None


class More(Resource[MoreSpec, None]):
    """More holds one."""


def succeeded(old: type, new: type, **said: Any) -> Kind:
    """A GA version that is deprecated, and its GA successor, which is a shape of its own."""
    plugin = Plugin("things")
    names = {"group": "things.example", "plural": "things", "kind": "Thing"}
    plugin.kind(new, version="v2", introduced=TOLD, **names)
    plugin.kind(old, version="v1", introduced=START, **{"deprecated": TOLD, "successor": "v2", **said}, **names)

    @plugin.converts(Less, More)
    def more(less: Less) -> More:
        return More(spec=MoreSpec(size=less.spec.width))

    @plugin.converts(More, Less)
    def less(more: More) -> Less:
        return Less(spec=LessSpec(width=more.spec.size))

    return build([plugin]).kinds[0]


def test_the_conversion_to_the_successor_of_a_ga_version_is_complete() -> None:
    assert broken(succeeded(Less, More), None) == []
    [finding] = broken(succeeded(More, Less), None)
    assert (finding.rule.id, finding.message) == ("SKEP113", "its successor v2 does not hold .spec.note")
    assert broken(succeeded(More, Less, deprecated=None, successor=""), None) == []


def test_a_ga_version_is_not_succeeded_by_another_kind() -> None:
    plugin = Plugin("things")
    plugin.kind(Thing, group="things.example", version="v1", plural="things", deprecated=TOLD, successor="other.example/v1")
    plugin.kind(Less, group="other.example", version="v1", plural="things", kind="Thing", introduced=START)
    found = [finding for kind in build([plugin]).kinds for finding in broken(kind, None)]
    assert [each.rule.id for each in found] == ["SKEP113"]


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ({"v1": More, "v1beta1": Less, "v1alpha1": Thing}, []),
        ({"v1": Less, "v1beta1": More, "v1alpha1": Thing}, ["v1beta1"]),
        ({"v2": Less, "v2beta1": More, "v1": Thing}, ["v2beta1"]),
        ({"v2": Less, "v2beta1": More, "v1beta1": Thing}, ["v1beta1 v2beta1"]),
        ({"v1": Less, "v1beta2": More, "v1beta1": Thing}, ["v1beta2 v1beta1"]),
        ({"v1": Less, "v1beta1": More, "v1beta2": More, "v1alpha1": More}, []),
        ({"v1": Less, "v1alpha2": More, "v1alpha1": Thing}, []),
    ],
)
def test_betas_have_converters_to_those_that_come_before_and_after_them(versions: dict[str, type], found: list[str]) -> None:
    plugin = Plugin("things")
    for name, model in versions.items():
        plugin.kind(model, group="things.example", version=name, plural="things", kind="Thing")
    for old, new in ((Less, More), (More, Less), (Less, Thing), (Thing, Less)):
        if {old, new} <= {*versions.values()}:
            plugin.converts(old, new)(_made_of(old, new))
    lacking = [each.version for each in broken(build([plugin]).kinds[0], None) if each.rule.id == "SKEP120"]
    assert sorted(lacking) == sorted(" ".join(found).split())


def _made_of(old: type, new: type) -> Any:
    """A converter between two of the models."""
    field = {Less: "width", More: "size", Thing: "size"}
    specs = {Less: LessSpec, More: MoreSpec, Thing: ThingSpec}

    def convert(given: Any) -> Any:
        return new(spec=specs[new](**{field[new]: getattr(given.spec, field[old])}))

    convert.__annotations__ = {}
    convert.__name__ = f"{old.__name__}_{new.__name__}".lower()
    return convert


def test_a_deprecated_version_is_served_beside_its_successor_for_a_release() -> None:
    life = Lifecycle(START, TOLD, END, "v1")
    assert numbers("v1beta1", life, ("v1", Lifecycle(Release("1.5", "2021-01-15")))) == []
    assert numbers("v1beta1", life, ("v1", Lifecycle(Release("1.6", "2021-04-15")))) == [115]


def test_what_is_past_its_removal_is_found_by_the_release() -> None:
    versions = {"v1": {"introduced": TOLD}, "v1beta1": {"introduced": START, "deprecated": TOLD, "removed": END, "successor": "v1"}}
    kind = built(versions)
    assert broken(kind, Release("1.5", "2021-01-15")) == []
    [finding] = broken(kind, Release("1.6", "2021-04-15"))
    assert (finding.rule.id, finding.version) == ("SKEP116", "v1beta1")
    assert finding.source.startswith(__file__)


def test_a_reason_switches_a_promise_off() -> None:
    said = {"introduced": START, "deprecated": TOLD, "removed": END, "waive": {"SKEP117": "nobody but us has ever used it"}}
    [finding] = broken(built({"v1": {}, "v1beta1": said}), None)
    assert finding.waived == "nobody but us has ever used it"


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"introduced": TOLD, "deprecated": START}, 101),
        ({"deprecated": TOLD, "removed": Release("1.6", "2020-01-01")}, 101),
        ({"removed": END}, 102),
        ({"deprecated": TOLD, "successor": "v3"}, 103),
        ({"deprecated": TOLD, "successor": "v1"}, 103),
        ({"deprecated": TOLD, "successor": "other.example/v1"}, 103),
        ({"deprecated": TOLD, "successor": "v2beta1"}, 104),
    ],
)
def test_a_registry_with_a_life_that_cannot_be_is_not_built(said: dict[str, Any], rule: int) -> None:
    [problem] = refused({"v1": said, "v2beta1": {}})
    assert problem.startswith(f"{__file__}:")
    assert f"(SKEP{rule})" in problem


def test_what_is_switched_off_is_a_rule_and_has_a_reason() -> None:
    problems = refused({"v1": {"waive": {"SKEP999": "there is none", "SKEP312": " ", "SKEP312 spec.price": "the bank has floats"}}})
    assert [("SKEP999" in problem, "needs a reason" in problem) for problem in problems] == [(True, False), (False, True)]


def test_the_warning_of_a_deprecated_version_names_the_end_and_the_successor() -> None:
    kind = built(
        {
            "v1": {},
            "v1beta1": {"introduced": START, "deprecated": TOLD, "removed": END, "successor": "v1"},
            "v1alpha1": {"deprecated": True},
        }
    )
    assert [version.warning for version in kind.versions] == [
        "",
        "things.example/v1beta1 Thing is deprecated in 1.3+, unavailable in 1.6+ from 2021-04-15; use things.example/v1 Thing",
        "things.example/v1alpha1 Thing is deprecated; use things.example/v1 Thing",
    ]


def test_built_in_kinds_are_not_judged() -> None:
    assert build([], KINDS).kinds
    assert len(RULES) == len({rule.name for rule in RULES.values()})
