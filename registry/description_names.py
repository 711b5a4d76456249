"""Finds kinds in a description by what people call them: kind, plural, singular or short name, alone or with version and group.

    probe  Probe  probes  pr  probes.uptime.example  probes.v1  probes.v1.uptime.example

Case does not matter. A name that several kinds have is refused with all of them; one that none has, with those that are like it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from registry.description import Description, KindDescription, VersionDescription

LONGEST = 400
"""Characters of a word that is looked up; no name is longer, and to look for those like it takes time."""
LIKE = 3
"""Names that are offered for one that there is not."""


class NoSuchKind(LookupError):
    """A word means no kind, or several. `near` are names that may have been meant."""

    def __init__(self, message: str, near: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.near = tuple(near)


class Named(NamedTuple):
    """What a word means. `version` is the one that it names; None: it names none. `rest` is what comes after it."""

    kind: KindDescription
    version: VersionDescription | None = None
    rest: tuple[str, ...] = ()


def find(description: Description, word: str) -> Named:
    """The kind that a word means, and the version if it names one. Raises NoSuchKind."""
    found = _meant(description.kinds, word)
    if not found:
        raise NoSuchKind(f"there is no kind {_shown(word)!r}", like(description, word))
    if len(found) > 1:
        listed = " or ".join(each.kind.resource for each in found[:LIKE])
        raise NoSuchKind(f"{word!r} may be {listed}", [each.kind.resource for each in found])
    return found[0]


def find_within(description: Description, word: str) -> Named:
    """The kind that a word begins with, and the path after it: `probes.v1.spec.url`. The longest name that there is counts. Raises
    NoSuchKind."""
    steps = word[:LONGEST].split(".") if len(word) > LONGEST else word.split(".")
    for end in range(len(steps), 0, -1):
        found = _meant(description.kinds, ".".join(steps[:end]))
        if len(found) == 1:
            return found[0]._replace(rest=tuple(steps[end:]))
    return find(description, steps[0])


def like(description: Description, word: str) -> list[str]:
    """Names that are like a word."""
    names: dict[str, str] = {}
    for kind in description.kinds:
        for name in (*kind.short_names, kind.singular, kind.kind.lower(), kind.plural, kind.resource):
            names[name] = kind.plural if name != kind.resource else kind.resource
    close = get_close_matches(word[:LONGEST].lower(), names, 2 * LIKE, 0.6)
    return list(dict.fromkeys(names[name] for name in close))[:LIKE]


def _meant(kinds: Iterable[KindDescription], word: str) -> list[Named]:
    """All that a word may mean; the best ones, if some are better than others."""
    if not word or len(word) > LONGEST:
        return []
    head, _, rest = word.lower().partition(".")
    ranked: dict[int, list[Named]] = {}
    for kind in kinds:
        named = _named(kind, head, rest)
        if named is not None:
            ranked.setdefault(_rank(kind, head, word.lower()), []).append(named)
    return ranked[min(ranked)] if ranked else []


def _named(kind: KindDescription, head: str, rest: str) -> Named | None:
    if head not in (kind.plural, kind.singular, kind.kind.lower(), *kind.short_names):
        return None
    if not rest or rest == kind.group:
        return Named(kind)
    for version in kind.versions:
        if rest in (version.name, f"{version.name}.{version.group}"):
            return Named(kind, version)
    in_group = [version for version in kind.versions if version.group == rest]
    return Named(kind, in_group[0]) if in_group else None


def _rank(kind: KindDescription, head: str, word: str) -> int:
    """Lower ones are better: the whole name of the resource, a name in full, a short name."""
    if word == kind.resource:
        return 0
    return 1 if head in (kind.plural, kind.singular, kind.kind.lower()) else 2


def _shown(word: str) -> str:
    return word if len(word) <= LONGEST else f"{word[:60]}..."
