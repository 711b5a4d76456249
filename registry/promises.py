"""What versions promise, and whether what is declared keeps it. Pure: nothing here looks at a clock or at a file.

    contradictions(kinds)         declarations that cannot be true: refused when the registry is built
    broken(kind, release)         promises of alpha, beta and GA that the declared dates break: found by `skep registry lint`

The rules are those of the deprecation policy of Kubernetes, in the form that `docs/lifecycle.md` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from registry.kinds import Kind, Version
from registry.lifecycle import UNSAID, Lifecycle, Release, before, months_after, releases_between
from registry.names import Stability, stability
from registry.rules import RULES, Finding, waived, waiver_problems

BETA_MONTHS, BETA_RELEASES, BETA_NOTICE = 9, 3, 6
GA_NOTICE = 12
RANK = {Stability.GA: 2, Stability.BETA: 1, Stability.ALPHA: 0, None: -1}
"""How stable a version is; a name that says nothing promises nothing."""


def contradictions(kinds: Iterable[Kind]) -> list[str]:
    """What is declared about lives that cannot be so, in sentences with file and line."""
    listed = [kind for kind in kinds if not kind.strategy.builtin]
    served = {(version.api_version, version.kind) for kind in listed for version in kind.served}
    problems: list[str] = []
    for kind in listed:
        for version in kind.versions:
            where = f"{version.source or kind.source}: {kind.name} {version.name}"
            problems += [f"{where}: {problem}" for problem in waiver_problems(version.waived, RULES)]
            if version.lifecycle != UNSAID:
                found = (waived(each, version.waived) for each in _untrue(kind, version, served))
                problems += [f"{where}: {each.message} ({each.rule.id})" for each in found if not each.waived]
    return problems


def _untrue(kind: Kind, version: Version, served: set[tuple[str, str]]) -> Iterator[Finding]:
    life = version.lifecycle
    for (earlier, first), (later, last) in zip(life.order, life.order[1:], strict=False):
        if before(last, first):
            yield _finding(101, kind, version, f"it is {later} ({last}) before it is {earlier} ({first})")
    if life.removed is not None and life.deprecated is None:
        yield _finding(102, kind, version, f"removed={life.removed} needs deprecated=Release(...): say first that it will go")
    if not life.successor:
        return
    heir = successor_of(kind, version)
    if heir is version or (heir is None and ("/" not in life.successor or (life.successor, version.kind) not in served)):
        names = ", ".join(each.name for each in kind.served if each is not version) or "no other"
        yield _finding(103, kind, version, f"the successor {life.successor!r} is no other version of it; there is {names}")
    elif heir is not None and not heir.served:
        yield _finding(103, kind, version, f"the successor {life.successor!r} is not served")
    elif heir is not None and RANK[stability(heir.name)] < RANK[stability(version.name)]:
        yield _finding(104, kind, version, f"the successor {heir.name} is less stable than {version.name}")


def successor_of(kind: Kind, version: Version) -> Version | None:
    """The version of the same kind that takes the place of this one; None if none is named, or one of another group."""
    named = version.lifecycle.successor
    return next((each for each in kind.versions if named and named in (each.name, each.api_version)), None)


def broken(kind: Kind, release: Release | None) -> list[Finding]:
    """The promises that the versions of a kind break. `release` is the one that the declarations are of, if that is known."""
    found: list[Finding] = []
    for version in kind.versions:
        heir = successor_of(kind, version)
        successor = None if heir is None else (heir.name, heir.lifecycle)
        named = list(promises(version.name, version.lifecycle, successor))
        named += _passed(version.lifecycle, release) if version.served else ()
        findings = (_finding(number, kind, version, message) for number, message in named)
        found += [waived(each, version.waived) for each in findings]
    return found


Broken = tuple[int, str]
"""The number of a rule, and how it is broken."""


def promises(name: str, life: Lifecycle, successor: tuple[str, Lifecycle] | None) -> Iterator[Broken]:
    """The promises that the dates of a version break. `successor` is its name and life; None: it has none, or one elsewhere."""
    level = stability(name)
    if level is None:
        yield 118, f"{name!r} does not say how stable it is; call it v1, v1beta1 or v1alpha1"
    yield from _unknown(level, life)
    if level is Stability.ALPHA:
        yield from _alpha(life)
    elif level is Stability.BETA:
        yield from _beta(life)
    elif level is Stability.GA:
        yield from _ga(life, successor)
    if life.deprecated is not None and not life.successor and level is not Stability.ALPHA:
        yield 117, "it is deprecated, and names no successor"
    if successor is not None and successor[1].introduced is not None and life.removed is not None:
        together = releases_between(successor[1].introduced, life.removed)
        if together is not None and together < 1:
            yield 115, f"its successor {successor[0]} comes in {successor[1].introduced}, when it is removed already"


def _unknown(level: Stability | None, life: Lifecycle) -> Iterator[Broken]:
    for name, release in life.order:
        missing = [what for what, value in (("a release", release.version), ("a day", release.date)) if not value]
        if missing:
            yield 119, f"{name} has not {' and '.join(missing)}, so that its promises cannot be checked"
    if life.removed is not None and life.introduced is None and level in (Stability.ALPHA, Stability.BETA):
        yield 119, "it is to be removed, and does not say when it was introduced"


def _alpha(life: Lifecycle) -> Iterator[Broken]:
    if life.introduced is None or life.removed is None:
        return
    served = releases_between(life.introduced, life.removed)
    if served is not None and served < 1:
        yield 114, f"it is removed in the release that introduces it ({life.introduced.version})"


def _beta(life: Lifecycle) -> Iterator[Broken]:
    if life.introduced is not None and life.removed is not None:
        served = releases_between(life.introduced, life.removed)
        if served is not None and served < BETA_RELEASES:
            yield 110, f"it is served for {_count(served, 'release')} of {BETA_RELEASES}: from {life.introduced} to {life.removed}"
        elif short := _too_soon(life.introduced, life.removed, BETA_MONTHS):
            yield 110, f"it is served for less than {BETA_MONTHS} months: {short}"
    if short := _too_soon(life.deprecated, life.removed, BETA_NOTICE):
        yield 111, f"its end is announced less than {BETA_NOTICE} months before: {short}"


def _ga(life: Lifecycle, successor: tuple[str, Lifecycle] | None) -> Iterator[Broken]:
    if life.deprecated is None:
        return
    if short := _too_soon(life.deprecated, life.removed, GA_NOTICE):
        yield 112, f"its end is announced less than a year before: {short}"
    if successor is None:
        return
    if stability(successor[0]) is not Stability.GA:
        yield 113, f"its successor {successor[0]} is not GA"
    elif successor[1].introduced is not None and before(life.deprecated, successor[1].introduced):
        yield 113, f"its successor {successor[0]} comes in {successor[1].introduced}, after the deprecation in {life.deprecated}"


def _passed(life: Lifecycle, release: Release | None) -> Iterator[Broken]:
    if release is not None and life.removed is not None and str(life.removed) and reached(life.removed, release):
        yield 116, f"it was to be removed in {life.removed}, and this is {release}"


def reached(planned: Release, now: Release) -> bool:
    """Whether a release is the one that was planned, or a later one. By number, if both have one; by day otherwise."""
    if planned.numbers and now.numbers:
        return now.numbers >= planned.numbers
    return planned.day is not None and now.day is not None and now.day >= planned.day


def _too_soon(start: Release | None, end: Release | None, months: int) -> str:
    """That less than so many months lie between; empty: no, or nobody knows."""
    if start is None or end is None or start.day is None or end.day is None or end.day >= months_after(start.day, months):
        return ""
    return f"from {start.date} to {end.date}, and not to {months_after(start.day, months)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _finding(number: int, kind: Kind, version: Version, message: str, **more: Any) -> Finding:
    rule = RULES[f"SKEP{number}"]
    return Finding(rule, kind.resource, version.name, "", message, version.source or kind.source, **more)
