"""Kinds by what people call them: every name finds its kind, and a name that may be two is never one of them by chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.builtin import KINDS
from registry.description import Description, KindDescription, VersionDescription, describe
from registry.description_names import NoSuchKind, find, find_within
from registry.plugin import build
from tests.plugins.apiary import plugin

APIARY = describe(build([plugin], KINDS), brief=True)


def kind(plural: str, group: str, *versions: str, short: tuple[str, ...] = ()) -> KindDescription:
    told = tuple(VersionDescription(name=each, group=group, api_version=f"{group}/{each}") for each in versions)
    name = plural.removesuffix("s")
    return KindDescription(
        resource=f"{plural}.{group}",
        kind=name.capitalize(),
        list_kind=f"{name.capitalize()}List",
        singular=name,
        plural=plural,
        group=group,
        short_names=short,
        storage=versions[0],
        versions=told,
    )


@pytest.mark.parametrize(
    ("word", "version"),
    [
        ("hive", None),
        ("HIVE", None),
        ("hives", None),
        ("hv", None),
        ("hives.bees.example", None),
        ("Hive.v1beta1", "v1beta1"),
        ("hives.v1.bees.example", "v1"),
        ("hv.v1.bees.example", "v1"),
    ],
)
def test_a_kind_is_found_by_all_of_its_names(word: str, version: str | None) -> None:
    found = find(APIARY, word)
    assert found.kind.resource == "hives.bees.example"
    assert (found.version.name if found.version else None) == version


def test_a_group_that_is_no_group_of_the_kind_finds_nothing() -> None:
    for word in ("hives.example", "hives.v2", "hives.v1.bees", "", ".", "x" * 10_000):
        with pytest.raises(NoSuchKind):
            find(APIARY, word)
    assert find(APIARY, "events.events.k8s.io").version is not None, "a kind may be in several groups"


def test_what_is_like_it_is_offered() -> None:
    with pytest.raises(NoSuchKind) as caught:
        find(APIARY, "hivs")
    assert caught.value.near == ("hives",)


def test_a_name_of_several_kinds_is_refused_with_all_of_them_and_a_full_name_goes_before_a_short_one() -> None:
    twins = Description(kinds=(kind("gates", "a.example", "v1"), kind("gates", "b.example", "v1", "v2")))
    with pytest.raises(NoSuchKind, match=r"'gates' may be gates\.a\.example or gates\.b\.example"):
        find(twins, "gates")
    assert find(twins, "gates.v2").kind.group == "b.example"
    short = Description(kinds=(kind("goats", "a.example", "v1", short=("gates",)), kind("gates", "b.example", "v1")))
    assert find(short, "gates").kind.plural == "gates"
    core = replace(kind("gates", "", "v1"), resource="gates", group="")
    assert find(replace(twins, kinds=(*twins.kinds, core)), "gates").kind is core


def test_a_path_begins_after_the_longest_name_that_there_is() -> None:
    assert find_within(APIARY, "hives.spec.place").rest == ("spec", "place")
    assert find_within(APIARY, "hives").rest == ()
    long = find_within(APIARY, "hives.v1beta1.bees.example.spec.location")
    assert (long.rest, long.version and long.version.name) == (("spec", "location"), "v1beta1")
    odd = Description(kinds=(kind("gates", "spec.example", "v1"),))
    assert find_within(odd, "gates.spec.example.spec").rest == ("spec",)
    assert find_within(odd, "gates.spec.color").rest == ("spec", "color")
    with pytest.raises(NoSuchKind):
        find_within(APIARY, "x." * 5_000)


labels = st.text("abcxyz", min_size=1, max_size=4)


@given(
    st.lists(
        st.builds(
            lambda plural, group, versions, short: kind(f"{plural}s", f"{group}.example", *versions, short=tuple(short)),
            labels,
            labels,
            st.lists(st.sampled_from(["v1", "v1beta1", "v2alpha1"]), min_size=1, max_size=3, unique=True),
            st.lists(labels, max_size=2),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda each: each.resource,
    ),
    st.data(),
)
def test_a_word_finds_its_kind_or_is_refused_with_it_among_those_that_it_may_be(
    kinds: list[KindDescription], data: st.DataObject
) -> None:
    described = Description(kinds=tuple(kinds))
    meant = data.draw(st.sampled_from(kinds))
    for version in meant.versions:
        found = find(described, f"{meant.plural}.{version.name}.{meant.group}")
        assert (found.kind, found.version) == (meant, version)
        assert find_within(described, f"{meant.resource}.spec.{version.name}").rest == ("spec", version.name)
    assert find(described, meant.resource).kind == meant
    for word in (meant.kind, meant.plural, meant.singular, *meant.short_names):
        several = may_be(described, word)
        assert meant.resource in several or word in meant.short_names


def may_be(described: Description, word: str) -> list[str]:
    """The resources that a word finds, or is refused with."""
    try:
        return [find(described, word).kind.resource]
    except NoSuchKind as error:
        return list(error.near)
