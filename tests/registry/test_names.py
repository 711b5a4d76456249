"""Naming rules in the words of Kubernetes, generated names, and the order of versions."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import names

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
TWO_SLASHES = (
    "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
CONFIG_KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', "
    "regex used for validation is '[-._a-zA-Z0-9]+')"
)
RULES = [
    names.dns1123_label,
    names.dns1123_subdomain,
    names.dns1035_label,
    names.qualified_name,
    names.annotation_key,
    names.label_value,
    names.path_segment,
    names.config_key,
]


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        (names.dns1123_label, ["a", "0", "a-b", "a" * 63]),
        (names.dns1123_subdomain, ["a", "a.b-c.0", "a" * 253]),
        (names.dns1035_label, ["a", "a-1", "a" * 63]),
        (names.qualified_name, ["a", "A_b.c-9", "example.com/Name", "a" * 63, f"{'a' * 253}/b"]),
        (names.annotation_key, ["Example.COM/Name"]),
        (names.label_value, ["", "a", "A_b.c-9", "a" * 63]),
        (names.path_segment, ["a", "system:node", "...", " ", "a" * 5000]),
        (names.config_key, ["a", ".a", "A_b.c-", "...".replace(".", "-"), "a" * 253]),
    ],
)
def test_names_that_follow_a_rule_have_no_problems(rule: names.NameRule, good: list[str]) -> None:
    assert [rule(name) for name in good] == [[]] * len(good)


@pytest.mark.parametrize(
    ("rule", "name", "problems"),
    [
        (names.dns1123_subdomain, "Ref_Bad", [SUBDOMAIN]),
        (names.dns1123_subdomain, "", [SUBDOMAIN]),
        (names.dns1123_subdomain, "a..b", [SUBDOMAIN]),
        (names.dns1123_subdomain, "a\n", [SUBDOMAIN]),
        (names.dns1123_subdomain, "r" * 254, ["must be no more than 253 characters"]),
        (names.dns1123_label, "ref.dotted", ["must not contain dots"]),
        (names.dns1123_label, "Ref", [LABEL]),
        (names.dns1123_label, "-a", [LABEL]),
        (names.dns1123_label, "R" * 64, ["must be no more than 63 characters", LABEL]),
        (names.qualified_name, "bad key", [QUALIFIED]),
        (names.qualified_name, "-bad", [QUALIFIED]),
        (names.qualified_name, "", ["name part must be non-empty", QUALIFIED]),
        (names.qualified_name, "/a", ["prefix part must be non-empty"]),
        (names.qualified_name, "Example.com/a", [f"prefix part {SUBDOMAIN}"]),
        (names.qualified_name, "a" * 64, ["name part must be no more than 63 bytes"]),
        (names.qualified_name, "a/b/c", [TWO_SLASHES]),
        (names.label_value, "bad value!", [VALUE]),
        (names.label_value, "x" * 64, ["must be no more than 63 bytes"]),
        (names.path_segment, ".", ["may not be '.'"]),
        (names.path_segment, "a/b%", ["may not contain '/'", "may not contain '%'"]),
        (names.config_key, "bad key", [CONFIG_KEY]),
        (names.config_key, "..", ["must not be '..'"]),
        (names.config_key, "..a", ["must not start with '..'"]),
        (names.config_key, "é" * 127, ["must be no more than 253 characters", CONFIG_KEY]),
    ],
)
def test_broken_rules_are_told_in_the_words_of_kubernetes(rule: names.NameRule, name: str, problems: list[str]) -> None:
    assert rule(name) == problems


def test_a_1035_label_may_not_start_with_a_digit() -> None:
    assert len(names.dns1035_label("1a")) == 1
    assert names.dns1123_label("1a") == []


def test_a_generate_name_may_end_in_a_dash_and_is_refused_for_all_else() -> None:
    assert names.prefix_problems(names.dns1123_subdomain, "ref-gen-") == []
    assert names.prefix_problems(names.dns1123_subdomain, "Bad_") == [SUBDOMAIN]
    assert names.prefix_problems(names.dns1123_subdomain, "-") == [SUBDOMAIN]
    assert names.prefix_problems(names.dns1123_subdomain, "a.") == [SUBDOMAIN]


@given(st.integers(), st.text(st.sampled_from("abc-"), max_size=80))
def test_a_generated_name_starts_with_the_prefix_and_fits_a_label(seed: int, prefix: str) -> None:
    name = names.generate_name(prefix, random.Random(seed))
    assert len(name) <= 63
    assert name[:-5] == prefix[:58]
    assert re.fullmatch("[bcdfghjklmnpqrstvwxz2456789]{5}", name[-5:])


@given(st.sampled_from(RULES), st.text(max_size=300))
def test_every_rule_takes_any_text(rule: Callable[[str], list[str]], text: str) -> None:
    assert all(isinstance(problem, str) and problem for problem in rule(text))


def test_versions_are_ordered_by_stability_then_number_then_name() -> None:
    ordered = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10", "v1gamma1"]
    assert sorted(random.Random(1).sample(ordered, len(ordered)), key=names.version_key) == ordered


@pytest.mark.parametrize(
    ("version", "promise"),
    [
        ("v1", "GA"),
        ("v2beta1", "beta"),
        ("v1alpha3", "alpha"),
        ("1", None),
        ("v1gamma1", None),
        ("v" + "9" * 64, None),
        ("v1\n", None),
    ],
)
def test_stability_is_told_by_the_name_of_a_version(version: str, promise: str | None) -> None:
    assert names.stability(version) == promise


@given(st.lists(st.from_regex(r"\Av[0-9]{1,3}((alpha|beta)[0-9]{1,2})?\Z") | st.text(max_size=8), max_size=8), st.randoms())
def test_the_order_of_versions_does_not_depend_on_the_order_given(versions: list[str], chance: random.Random) -> None:
    shuffled = chance.sample(versions, len(versions))
    assert sorted(shuffled, key=names.version_key) == sorted(versions, key=names.version_key)
