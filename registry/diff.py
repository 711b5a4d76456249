"""What changed from one release of plugins to the next, and which promises it breaks. Pure: two locks in, a list of changes out.

    for change in diff(old, new):       # of registry.lock
        change.verdict    what it does to who uses the API: compatible, breaking, breaking but allowed in alpha
        change.rule       the rule that it breaks; None: it breaks none
        change.refused    whether it must not be released like this

The verdict is about clients, the rule about what was promised to them. They differ where a promise is stricter than the wire: a new
optional field breaks no client, and yet a beta gets it with the next beta. A version that ends as it was announced is compatible
with what was promised. What is waived is not refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from registry import diff_life
from registry.diff_schema import Delta, compare
from registry.names import Stability, stability, version_key
from registry.rules import RULES, Rule, place, reason_for

Document = Mapping[str, Any]


class Verdict(StrEnum):
    """What a change does to those who use the API."""

    COMPATIBLE = "compatible"
    BREAKING = "breaking"
    ALLOWED = "breaking-but-allowed-in-alpha"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changed: where (`probes.uptime.example`, `v1`, `spec.url`), and what it means."""

    verdict: Verdict
    resource: str
    version: str
    path: str
    message: str
    rule: Rule | None = None
    waived: str = ""

    @property
    def refused(self) -> bool:
        """Whether it breaks a promise, and nobody gave a reason."""
        return self.rule is not None and self.verdict is not Verdict.ALLOWED and not self.waived

    @property
    def where(self) -> str:
        """`probes.uptime.example/v1 spec.url`"""
        return place(self.resource, self.version, self.path)


def diff(old: Document, new: Document) -> list[Change]:
    """Everything that changed: kinds by name, the most stable version first, fields in their order."""
    changes: list[Change] = []
    for resource in sorted({*old["kinds"], *new["kinds"]}):
        before, after = old["kinds"].get(resource), new["kinds"].get(resource)
        if before is None:
            changes.append(Change(Verdict.COMPATIBLE, resource, "", "", "the kind is new"))
        elif after is None:
            gone = (_removed(resource, name, before, {"versions": {}}, old, new) for name in _names(before))
            changes += [change for each in gone for change in each]
        elif before != after:
            changes += _kind(resource, before, after)
            changes += _versions(resource, before, after, old, new)
    return changes


def _names(kind: Document) -> list[str]:
    return sorted(kind["versions"], key=version_key)


def _waivers(kind: Document) -> dict[str, str]:
    """What any version of a kind waives: for what is about the kind as a whole, or about a version that has gone."""
    return {key: reason for version in kind["versions"].values() for key, reason in version.get("waived", {}).items()}


def _judged(found: Iterable[Delta], resource: str, name: str, waivers: Mapping[str, str], level: str = "") -> Iterator[Change]:
    """Changes as they are judged in a version of this stability; empty: they are about more than one version."""
    for delta in found:
        number, verdict = delta.rule, Verdict.BREAKING if delta.rule else Verdict.COMPATIBLE
        if level == Stability.BETA and delta.added and not number:
            number = 240
        elif level == Stability.ALPHA and number in (201, 202, 203, 204):
            number = 241
        elif level == Stability.ALPHA and number:
            verdict = Verdict.ALLOWED
        rule = RULES[f"SKEP{number}"] if number else None
        reason = reason_for(rule.id, delta.path, waivers) if rule is not None else ""
        yield Change(verdict, resource, name, delta.path, delta.message, rule, reason)


def _kind(resource: str, old: Document, new: Document) -> Iterator[Change]:
    """What is said of a kind as a whole. It may change freely while there is nothing but alphas."""
    levels = {stability(name) for name in old["versions"]}
    level = Stability.ALPHA if levels == {Stability.ALPHA} else ""
    return _judged(_kind_deltas(old, new), resource, "", _waivers(new), level)


def _kind_deltas(old: Document, new: Document) -> Iterator[Delta]:
    if old["scope"] != new["scope"]:
        yield Delta(220, "", f"its scope was {old['scope']} and is {new['scope']}: all paths are others")
    for name in ("kind", "listKind", "singular"):
        if old[name] != new[name]:
            yield Delta(221, "", f"its {name} was {old[name]} and is {new[name]}")
    for name, what in (("shortNames", "short name"), ("categories", "category")):
        yield from (Delta(221, "", f"it has no longer the {what} {each}") for each in old[name] if each not in new[name])
        yield from (Delta(0, "", f"it has the {what} {each}") for each in new[name] if each not in old[name])
    yield from _subresources(old, new)
    if old["statusWriter"] != new["statusWriter"]:
        taken = new["statusWriter"] == "actor"
        who = "an actor alone writes its status, and all others are refused" if taken else "whoever has the right writes its status"
        yield Delta(224 if taken else 0, "status", who)
    if old["storage"] != new["storage"]:
        yield from _storage(old, new)
    if old.get("ttl") != new.get("ttl"):
        yield Delta(208 if "ttl" in new else 0, "", "its objects are deleted at another time than before")


def _subresources(old: Document, new: Document) -> Iterator[Delta]:
    if old["status"] != new["status"]:
        way = "through /status alone" if new["status"] else "with all the rest, and there is no /status"
        yield Delta(222, "status", f"its status is written {way}")
    before, after = old.get("scale"), new.get("scale")
    if before != after:
        rule = 0 if before is None else 222
        yield Delta(
            rule, "", "it has a /scale" if before is None else "it has no /scale" if after is None else "its /scale has moved"
        )


def _storage(old: Document, new: Document) -> Iterator[Delta]:
    """Back to the release before must be possible: it has to know what is stored."""
    before, after = old["storage"], new["storage"]
    if after not in old["versions"]:
        yield Delta(225, "", f"it is stored in {after}, which the release before cannot read; store in it one release later")
    elif before not in new["versions"]:
        yield Delta(
            225, "", f"objects may still be stored in {before}, which is no longer there: store in {after} one release before"
        )
    elif _less_stable(before, after):
        yield Delta(225, "", f"it was stored in {before}, and is in {after}, which is less stable")
    else:
        yield Delta(0, "", f"it was stored in {before}, and is in {after}")


def _less_stable(before: str, after: str) -> bool:
    return version_key(after)[0] > version_key(before)[0]


def _versions(resource: str, old: Document, new: Document, was: Document, now: Document) -> Iterator[Change]:
    lives_before, lives_after = diff_life.lives_of(old), diff_life.lives_of(new)
    for name in sorted({*old["versions"], *new["versions"]}, key=version_key):
        before, after = old["versions"].get(name), new["versions"].get(name)
        served = before is not None and before["served"]
        if after is None or (served and not after["served"]):
            yield from _removed(resource, name, old, new, was, now)
        elif before is None:
            yield Change(Verdict.COMPATIBLE, resource, name, "", "the version is new")
            yield from _successor(resource, name, old, after)
        elif before != after:
            level = stability(name) or ""
            deltas = [*compare(before["schema"], after["schema"]), *_shown(before, after)]
            yield from _judged(deltas, resource, name, after.get("waived", {}), level)
            lives = diff_life.rewritten(lives_before[name], lives_after[name], diff_life.release_of(was), diff_life.release_of(now))
            yield from _judged(lives, resource, name, after.get("waived", {}))
    yield from _judged(_stability(old, new), resource, "", _waivers(new))


def _removed(resource: str, name: str, old: Document, new: Document, was: Document, now: Document) -> Iterator[Change]:
    version = old["versions"][name]
    if not version["served"]:
        yield Change(Verdict.COMPATIBLE, resource, name, "", "the version, which was not served, is removed")
        return
    delta = diff_life.removal(name, old, diff_life.release_of(was), diff_life.release_of(now))
    reason = reason_for("SKEP231", name, _waivers(new)) or reason_for("SKEP231", "", _waivers(new))
    alpha = stability(name) is Stability.ALPHA
    rule = RULES["SKEP231"] if delta.rule or alpha else None
    verdict = Verdict.BREAKING if delta.rule else Verdict.ALLOWED if alpha else Verdict.COMPATIBLE
    yield Change(verdict, resource, name, "", delta.message, rule, reason)


def _shown(old: Document, new: Document) -> Iterator[Delta]:
    """Columns are for people, and may change. What one can select by is for programs."""
    if old["columns"] != new["columns"]:
        yield Delta(0, "", "its columns are others")
    yield from (Delta(223, path, "one can no longer select by it") for path in old["selectable"] if path not in new["selectable"])
    yield from (Delta(0, path, "one can select by it") for path in new["selectable"] if path not in old["selectable"])
    if new["served"] and not old["served"]:
        yield Delta(0, "", "it is served again")


def _successor(resource: str, name: str, old: Document, new: Document) -> Iterator[Change]:
    """A new version against the one before it of the same stability: what an alpha may lose now, and what a beta must keep."""
    level = stability(name)
    earlier = [each for each in old["versions"] if stability(each) is level and version_key(each) > version_key(name)]
    if not earlier or level not in (Stability.ALPHA, Stability.BETA):
        return
    last = min(earlier, key=version_key)
    for delta in compare(old["versions"][last]["schema"], new["schema"]):
        if not delta.rule or (level is Stability.BETA and not delta.required):
            continue
        rule = RULES["SKEP242" if level is Stability.BETA else f"SKEP{delta.rule}"]
        verdict = Verdict.BREAKING if level is Stability.BETA else Verdict.ALLOWED
        reason = reason_for(rule.id, delta.path, new.get("waived", {}))
        yield Change(verdict, resource, name, delta.path, f"against {last}: {delta.message}", rule, reason)


def _stability(old: Document, new: Document) -> Iterator[Delta]:
    """The best that a kind offers does not get worse."""
    before, after = (
        min((version_key(name)[0] for name, each in kind["versions"].items() if each["served"]), default=3) for kind in (old, new)
    )
    if after > before:
        best = _names(new)[0] if new["versions"] else "none"
        yield Delta(235, "", f"its most stable version was {_names(old)[0]}, and is {best}")
