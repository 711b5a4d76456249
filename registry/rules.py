"""Rules about kinds and their versions: each has a number, a name, and a page in `docs/rules/`. And what is found to break one.

Numbers never change, and are never used again: 1xx are about the life of a version (`registry.promises`), 2xx about changes
from one release to the next (`registry.diff`), 3xx about conventions (`registry.lint`).

A rule is switched off where the version is declared, with a reason that whoever reads the code can judge:

    plugin.kind(Probe, ..., waive={"SKEP312 spec.price": "the bank's interface has a float"})

The key is a number for the whole version, or a number and the path of a field for this field and what is below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Level(StrEnum):
    """What becomes of who breaks a rule: an error fails `skep registry lint`, a warning does not (but for `--strict`)."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: `id` is its number, `says` what it demands, in a sentence."""

    id: str
    name: str
    says: str
    level: Level = Level.ERROR

    @property
    def page(self) -> str:
        """Where it is explained."""
        return f"docs/rules/{self.id}.md"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is broken: where in the API (`resource`, `version`, `path`), where in the code (`source`, as `file:line`).

    `waived` is the reason for which it may be broken; empty: it may not.
    """

    rule: Rule
    resource: str
    version: str
    path: str
    message: str
    source: str = ""
    waived: str = ""

    @property
    def where(self) -> str:
        """`probes.uptime.example/v1 spec.url`"""
        return place(self.resource, self.version, self.path)

    def __str__(self) -> str:
        return f"{self.where}: {self.message} ({self.rule.id}; see {self.rule.page})"


def place(resource: str, version: str, path: str) -> str:
    """Where in an API something is: `probes.uptime.example/v1 spec.url`."""
    versioned = f"{resource}/{version}" if version else resource
    return f"{versioned} {path}" if path else versioned


_KEY = re.compile(r"(?P<rule>\S+)(?: (?P<path>\S+))?").fullmatch


def reason_for(rule: str, path: str, waivers: Mapping[str, str]) -> str:
    """Why a rule may be broken at a path; empty: it may not."""
    for key, reason in waivers.items():
        number, _, above = key.partition(" ")
        if number == rule and (not above or path == above or path.startswith((f"{above}.", f"{above}[", f"{above}{{"))):
            return reason
    return ""


def waived(finding: Finding, waivers: Mapping[str, str]) -> Finding:
    """The finding, with the reason for which it may be."""
    return replace(finding, waived=reason_for(finding.rule.id, finding.path, waivers))


def waiver_problems(waivers: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """What is wrong with what is switched off: a rule that there is not, or no reason."""
    numbers = set(known)
    problems = []
    for key, reason in waivers.items():
        found = _KEY(key)
        if found is None or found["rule"] not in numbers:
            problems.append(f"waive names {key!r}; it takes the number of a rule, or that and a field: 'SKEP312 spec.price'")
        elif not isinstance(reason, str) or len(reason.strip()) < 3:
            problems.append(f"waive[{key!r}] needs a reason that others can judge")
    return problems


def _rule(number: int, name: str, says: str, level: Level = Level.ERROR) -> Rule:
    return Rule(f"SKEP{number}", name, says, level)


_W = Level.WARNING

LIFECYCLE = (
    _rule(101, "life-in-order", "A version is introduced, then deprecated, then removed."),
    _rule(102, "deprecated-before-removed", "A version is deprecated before it is removed."),
    _rule(103, "successor-exists", "The successor is another version that is served."),
    _rule(104, "successor-as-stable", "The successor is at least as stable."),
    _rule(110, "beta-served-long-enough", "A beta is served nine months and three releases, whichever is longer."),
    _rule(111, "beta-notice", "The end of a beta is announced six months before."),
    _rule(112, "ga-notice", "The end of a GA version is announced a year before."),
    _rule(113, "ga-successor", "When a GA version is deprecated, a GA successor is there already."),
    _rule(114, "alpha-served-once", "An alpha is served for at least one release."),
    _rule(115, "side-by-side", "A deprecated version and its successor are served together for at least one release."),
    _rule(116, "past-its-removal", "A version is no longer declared in the release that it was to be removed in."),
    _rule(117, "deprecated-names-successor", "A deprecated beta or GA version names its successor."),
    _rule(118, "version-name", "The name of a version says how stable it is: v1, v1beta1, v1alpha1."),
    _rule(119, "dates-known", "What is deprecated or removed says in which release and on which day."),
    _rule(120, "beta-neighbours", "A beta has converters from and to its neighbours."),
)
CHANGES = (
    _rule(201, "field-removed", "A field is not removed."),
    _rule(202, "required-field-added", "A new field is optional, or has a default."),
    _rule(203, "field-became-required", "A field that could be left out can still be left out."),
    _rule(204, "type-changed", "A field keeps its type."),
    _rule(205, "choices-narrowed", "What could be chosen can still be chosen."),
    _rule(206, "bounds-narrowed", "Bounds of numbers, lengths and counts do not become tighter."),
    _rule(207, "pattern-narrowed", "A text that fitted its pattern and format still fits."),
    _rule(208, "default-changed", "A field keeps its default."),
    _rule(209, "null-refused", "A null that was taken is still taken."),
    _rule(210, "merged-otherwise", "Lists and maps are merged as they were."),
    _rule(211, "unknown-fields-closed", "What could be written into an open object can still be written."),
    _rule(212, "rule-added", "No rule in CEL is added or changed."),
    _rule(213, "readers-miss", "A field of the status that was always there is still always there."),
    _rule(220, "scope-changed", "A kind stays in namespaces, or outside of them."),
    _rule(221, "names-changed", "A kind keeps its names."),
    _rule(222, "subresource-changed", "Status and scale stay as they are."),
    _rule(223, "selectable-removed", "A field that could be selected by can still be selected by."),
    _rule(224, "status-taken", "Whoever could write the status can still write it."),
    _rule(225, "stored-too-early", "Objects are stored in a version that the release before could read, and that is as stable."),
    _rule(231, "version-removed", "A version is served as long as was promised."),
    _rule(233, "removal-moved-forward", "A removal that was announced does not come earlier."),
    _rule(234, "history-rewritten", "What has happened is not dated otherwise afterwards."),
    _rule(235, "stability-went-down", "A kind does not become less stable."),
    _rule(240, "beta-field-in-place", "A beta gets new fields with the next beta."),
    _rule(241, "alpha-field-in-place", "An alpha loses fields with the next alpha."),
    _rule(242, "next-beta-keeps", "The next beta keeps the required fields, and what they mean."),
)
CONVENTIONS = (
    _rule(301, "spec-and-status", "What is wanted is in spec, what is in status."),
    _rule(302, "conditions", "A status has conditions."),
    _rule(303, "conditions-form", "Conditions have the usual form, one of each type."),
    _rule(304, "observed-generation", "A status says which generation it is about.", _W),
    _rule(305, "plural-name", "The plural is one: lower case, not the singular.", _W),
    _rule(306, "short-names", "Short names are short, and mean one kind."),
    _rule(307, "camel-case", "Fields are in camelCase, kinds in CamelCase."),
    _rule(308, "described", "Kinds and fields say what they are.", _W),
    _rule(309, "units-in-names", "A number of something says its unit in its name.", _W),
    _rule(310, "enum-camel-case", "Choices are words in CamelCase.", _W),
    _rule(311, "no-phase", "A status has conditions and no phase.", _W),
    _rule(312, "no-floats", "Amounts that must be exact are not floats."),
    _rule(313, "no-bools", "A choice that may get a third side is no boolean.", _W),
    _rule(314, "bounded-lists", "Lists say how long they may be.", _W),
    _rule(315, "bounded-texts", "Texts say how long they may be.", _W),
    _rule(316, "list-identity", "Lists of objects say how their items are told apart."),
    _rule(317, "required-says-something", "A text that has to be given is not empty.", _W),
    _rule(318, "no-nulls", "A field is left out, and not null.", _W),
    _rule(319, "no-time-stamps", "Moments are called by what happens then: startTime, not startTimestamp.", _W),
    _rule(320, "references", "A reference is called by what it refers to: secretRef, not secretReference.", _W),
    _rule(321, "no-open-objects", "An object says which fields it has.", _W),
    _rule(322, "status-optional", "Fields of a status may be left out."),
    _rule(323, "numbers-bounded", "Numbers of a spec have bounds, and integers fit into 53 bits.", _W),
    _rule(324, "columns", "A kind shows more than its name and age.", _W),
    _rule(325, "no-secrets", "Secrets are referred to, and are not in the object."),
    _rule(326, "named-lists", "Named objects are a list with a key, and no map.", _W),
    _rule(327, "group-is-a-domain", "A group is a domain of yours, and not one of Kubernetes."),
    _rule(328, "unused-waiver", "What is switched off would be broken.", _W),
    _rule(329, "status-subresource", "A status is written through /status alone."),
    _rule(330, "items-say-something", "An item of a list has a required field.", _W),
    _rule(331, "no-durations", "A duration is an integer with its unit in the name.", _W),
)
RULES: Mapping[str, Rule] = {rule.id: rule for rule in (*LIFECYCLE, *CHANGES, *CONVENTIONS)}
"""All rules by number. Constant."""
