"""Whether kinds keep the conventions of Kubernetes APIs, and versions their promises. Pure: kinds in, findings out.

    for finding in lint(kinds, others=builtin, release=plugin.release): ...

A deprecated version is not asked about conventions: what is wrong with it ends with it. What is switched off is found too, with its
reason; and what is switched off and would not be broken is found as well, so that old reasons go away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from registry.kinds import Kind, Version
from registry.lifecycle import Release
from registry.lint_fields import FIELD_CHECKS, fields_of
from registry.nodes import ListType, Node
from registry.promises import broken
from registry.rules import RULES, Finding, reason_for, waived

FOREIGN = ("k8s.io", "kubernetes.io")
LONGEST_SHORT_NAME = 6
_CONDITION = frozenset({"type", "status", "reason", "message", "lastTransitionTime"})
_KIND = re.compile(r"[A-Z][a-zA-Z0-9]*[a-z][a-zA-Z0-9]*").fullmatch

Said = tuple[int, str, str]
"""The number of a rule, the path of a field, and what is wrong."""


def lint(kinds: Iterable[Kind], others: Iterable[Kind] = (), release: Release | None = None) -> list[Finding]:
    """Everything that breaks a rule, by kind, version and field. `others` are kinds whose names are taken."""
    listed = sorted((kind for kind in kinds if not kind.strategy.builtin), key=lambda kind: kind.resource)
    taken = _names([*others, *listed])
    found: list[Finding] = []
    for kind in listed:
        promised = broken(kind, release)
        for version in kind.versions:
            own = [finding for finding in promised if finding.version == version.name]
            if version.lifecycle.deprecated is None:
                own += [_finding(kind, version, *said) for said in _conventions(kind, version, taken)]
            found += own + _unused(kind, version, own)
    return found


def _names(kinds: Sequence[Kind]) -> dict[str, set[str]]:
    """Every name that kubectl takes for a kind, with the resources that it may mean."""
    found: dict[str, set[str]] = {}
    for kind in kinds:
        for name in (kind.plural, kind.singular, *kind.short_names):
            found.setdefault(name, set()).add(kind.resource)
    return found


def _finding(kind: Kind, version: Version, number: int, path: str, message: str) -> Finding:
    source = version.source or kind.source
    return waived(Finding(RULES[f"SKEP{number}"], kind.resource, version.name, path, message, source), version.waived)


def _conventions(kind: Kind, version: Version, taken: dict[str, set[str]]) -> Iterator[Said]:
    root = version.schema.node
    yield from _of_kind(kind, version, taken)
    yield from _of_form(kind, root)
    yield from _of_status(root)
    for field in fields_of(root):
        for number, check in FIELD_CHECKS:
            if message := check(field):
                yield number, field.path, message


def _of_kind(kind: Kind, version: Version, taken: dict[str, set[str]]) -> Iterator[Said]:
    if kind.plural == kind.singular:
        yield 305, "", f"plural and singular are both {kind.plural!r}, so that nobody can say which is meant"
    for name in kind.short_names:
        if len(name) > LONGEST_SHORT_NAME or len(name) >= len(kind.singular):
            yield 306, "", f"the short name {name!r} is not short"
        if others := sorted(taken[name] - {kind.resource}):
            yield 306, "", f"the short name {name!r} may mean {' or '.join(others)} too"
    if not _KIND(kind.name):
        yield 307, "", f"the kind {kind.name!r} is not in CamelCase"
    if not version.schema.node.description:
        yield 308, "", "the kind does not say what it is; write a docstring"
    if all(column.name.lower() == "age" for column in version.columns):
        yield 324, "", "`kubectl get` shows its name and age alone; use columns=[...]"
    if version.group.endswith(tuple(f".{each}" for each in FOREIGN)) or version.group in FOREIGN:
        yield 327, "", f"the group {version.group!r} belongs to Kubernetes; use a domain of yours"


def _of_form(kind: Kind, root: Node) -> Iterator[Said]:
    own = [name for name in root.properties if name not in ("apiVersion", "kind", "metadata")]
    if "status" in own and (beside := [name for name in own if name not in ("spec", "status")]):
        yield 301, beside[0], "what is wanted is in spec, what is in status; there is nothing beside them"
    if "status" in own and not kind.has_status:
        yield 329, "status", "whoever may write the spec writes the status; leave out status_subresource=False"


def _of_status(root: Node) -> Iterator[Said]:
    status = root.properties.get("status")
    if status is None:
        return
    conditions = status.properties.get("conditions")
    if conditions is None:
        yield 302, "status", "nobody can wait for it: add `conditions: Conditions = ()`"
    else:
        fields = conditions.items.properties if conditions.items is not None else {}
        keyed = conditions.list_type is ListType.MAP and conditions.list_map_keys == ("type",)
        if not keyed or not fields.keys() >= _CONDITION:
            yield 303, "status.conditions", "tools do not know this form: use `conditions: Conditions = ()`"
    if "observedGeneration" not in status.properties:
        yield 304, "status", "nobody can tell whether it is about the newest spec: add `observed_generation: int = 0`"


def _unused(kind: Kind, version: Version, found: Sequence[Finding]) -> list[Finding]:
    """What is switched off and not broken. Rules about changes are not asked: a diff alone knows them."""
    extra = []
    for key, reason in version.waived.items():
        number, _, path = key.partition(" ")
        used = any(reason_for(each.rule.id, each.path, {key: reason}) for each in found)
        if not used and number != "SKEP328" and not number.startswith("SKEP2"):
            extra.append(_finding(kind, version, 328, path, f"nothing breaks {number} here: take it out of waive"))
    return extra
