"""What may be a name: the naming rules of the API, generated names, and the order of version names.

A rule is a plain function from a text to the sentences that say what is wrong with it; no sentence means that the name is good. The
sentences are those of Kubernetes, since people and tools know them. Every rule takes any text in time that is linear in its length.
Lengths are counted in bytes of UTF-8, as the wire counts them.
"""

from __future__ import annotations

import enum
import random
import re
from collections.abc import Callable
from functools import lru_cache

NameRule = Callable[[str], list[str]]
"""A text in, what is wrong with it out."""

GENERATED_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Letters and digits of a generated suffix: no vowels, so that no words appear, and none that look alike."""

GENERATED_LENGTH = 5
"""Characters that are appended to a `generateName`."""

GENERATED_PREFIX_LIMIT = 58
"""Characters of a `generateName` that are kept, so that a generated name still fits a DNS label (63)."""

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_IS_LABEL = re.compile(_LABEL).fullmatch
_IS_SUBDOMAIN = re.compile(_SUBDOMAIN).fullmatch
_IS_LABEL_1035 = re.compile(_LABEL_1035).fullmatch
_IS_QUALIFIED = re.compile(_QUALIFIED).fullmatch
_IS_VALUE = re.compile(_VALUE).fullmatch
_IS_CONFIG_KEY = re.compile(_CONFIG_KEY).fullmatch
_VERSION = re.compile(r"v([0-9]{1,63})(?:(alpha|beta)([0-9]{1,63}))?").fullmatch

_WORD_ENDS = "and must start and end with an alphanumeric character"


_LONGEST_KEY = 253 + len("/") + 63

_REMEMBERED = 2_048
"""Texts of each rule that are remembered. Objects come and go by the thousand with the same few keys, values and namespaces."""


class Stability(enum.StrEnum):
    """How much a version promises, told by its name: `v1` is GA, `v1beta1` beta, `v1alpha1` alpha."""

    GA = "GA"
    BETA = "beta"
    ALPHA = "alpha"


def dns1123_label(name: str) -> list[str]:
    """RFC 1123 label, at most 63: lower-case letters, digits and dashes, no dash at either end (namespaces)."""
    if len(name) <= 63 and _is_short_label(name):
        return []
    problems = _too_long(name, 63, "characters")
    if _IS_LABEL(name):
        return problems
    if _IS_SUBDOMAIN(name):
        return [*problems, "must not contain dots"]
    rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', " + _WORD_ENDS
    return [*problems, _broken(rule, _LABEL, "my-name", "123-abc")]


def dns1123_subdomain(name: str) -> list[str]:
    """RFC 1123 subdomain, at most 253: labels joined by dots. The rule for names of objects unless a kind says otherwise."""
    if len(name) <= 253 and _IS_SUBDOMAIN(name):
        return []
    problems = _too_long(name, 253, "characters")
    if _IS_SUBDOMAIN(name):
        return problems
    rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', " + _WORD_ENDS
    return [*problems, _broken(rule, _SUBDOMAIN, "example.com")]


def dns1035_label(name: str) -> list[str]:
    """RFC 1035 label, at most 63: like an RFC 1123 label, but it starts with a letter (plurals, kinds in lower case)."""
    problems = _too_long(name, 63, "characters")
    if _IS_LABEL_1035(name):
        return problems
    rule = (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
        "start with an alphabetic character, and end with an alphanumeric character"
    )
    return [*problems, _broken(rule, _LABEL_1035, "my-name", "abc-123")]


def qualified_name(name: str) -> list[str]:
    """Label keys, annotation keys and finalizers: `name` (at most 63) or `prefix/name`, the prefix a subdomain (at most 253)."""
    if len(name) <= _LONGEST_KEY and _is_key(name):
        return []
    return _wrong_with_key(name)


def _wrong_with_key(name: str) -> list[str]:
    prefix, slash, rest = name.rpartition("/")
    if "/" in prefix:
        rule = f"a valid label key must consist of alphanumeric characters, '-', '_' or '.', {_WORD_ENDS}"
        with_prefix = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"{_broken(rule, _QUALIFIED, 'MyName', 'my.name', '123-abc')} {with_prefix}"]
    problems: list[str] = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems.extend(f"prefix part {problem}" for problem in dns1123_subdomain(prefix))
    if not rest:
        problems.append("name part must be non-empty")
    problems.extend(f"name part {problem}" for problem in _too_long(rest, 63, "bytes"))
    if not _IS_QUALIFIED(rest):
        rule = f"name part must consist of alphanumeric characters, '-', '_' or '.', {_WORD_ENDS}"
        problems.append(_broken(rule, _QUALIFIED, "MyName", "my.name", "123-abc"))
    return problems


def is_label(key: str, value: str) -> bool:
    """Whether both may be: the answer to nearly every question about labels."""
    return len(key) <= _LONGEST_KEY and len(value) <= 63 and _is_label(key, value)


@lru_cache(maxsize=_REMEMBERED)
def _is_label(key: str, value: str) -> bool:
    return not qualified_name(key) and not label_value(value)


def annotation_key(name: str) -> list[str]:
    """A qualified name in which the case of the prefix does not matter."""
    return qualified_name(name.lower())


def label_value(value: str) -> list[str]:
    """Empty, or at most 63 letters, digits, `-`, `_` and `.` that start and end with a letter or a digit."""
    if len(value) <= 63 and _is_short_value(value):
        return []
    problems = _too_long(value, 63, "bytes")
    if _IS_VALUE(value):
        return problems
    rule = (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
        "and must start and end with an alphanumeric character"
    )
    return [*problems, _broken(rule, _VALUE, "MyValue", "my_value", "12345")]


def path_segment(name: str) -> list[str]:
    """Anything that can be one segment of a URL path: not `.` or `..`, and without `/` and `%` (roles, `system:node`)."""
    if name in {".", ".."}:
        return [f"may not be '{name}'"]
    return [f"may not contain '{part}'" for part in "/%" if part in name]


def config_key(name: str) -> list[str]:
    """Keys of ConfigMaps and Secrets, at most 253: they become file names."""
    problems = _too_long(name, 253, "characters")
    if not _IS_CONFIG_KEY(name):
        rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        return [*problems, _broken(rule, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name")]
    if name in {".", ".."}:
        return [*problems, f"must not be '{name}'"]
    if name.startswith(".."):
        return [*problems, "must not start with '..'"]
    return problems


def prefix_problems(rule: NameRule, prefix: str) -> list[str]:
    """What is wrong with a `generateName` under the rule for names: a dash at its end is no fault, since more will follow it."""
    return rule(f"{prefix[:-1]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix)


def generate_name(prefix: str, chance: random.Random) -> str:
    """A name that starts with at most 58 characters of `prefix` and ends in five random ones. It may be taken; then try again."""
    return prefix[:GENERATED_PREFIX_LIMIT] + "".join(chance.choices(GENERATED_ALPHABET, k=GENERATED_LENGTH))


def stability(version: str) -> Stability | None:
    """The promise in a version's name; None for a name that is not of the form `v1`, `v1beta1`, `v1alpha1`."""
    found = _VERSION(version)
    if not found:
        return None
    return Stability(found[2]) if found[2] else Stability.GA


def version_key(version: str) -> tuple[int, int, int, str]:
    """Sort key that puts the preferred version first: GA, beta, alpha, each with the highest number first, then all others.

    The order is the one of Kubernetes API groups ("version priority"): v10, v2, v1, v11beta2, v3beta1, v12alpha1, foo1.
    """
    found = _VERSION(version)
    if not found:
        return (3, 0, 0, version)
    rank = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (rank, -int(found[1]), -int(found[3] or 0), version)


@lru_cache(_REMEMBERED)
def _is_short_label(name: str) -> bool:
    return _IS_LABEL(name) is not None


@lru_cache(_REMEMBERED)
def _is_short_value(value: str) -> bool:
    return _IS_VALUE(value) is not None


@lru_cache(_REMEMBERED)
def _is_key(name: str) -> bool:
    return not _wrong_with_key(name)


def _too_long(text: str, limit: int, unit: str) -> list[str]:
    return [f"must be no more than {limit} {unit}"] if len(text.encode()) > limit else []


def _broken(rule: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {listed}regex used for validation is '{pattern}')"
