"""Which writes a policy or a webhook is asked about: rules, selectors, and the equivalence of versions. Pure.

What it promises: the answers of Kubernetes ("Matching requests: rules", `matchConstraints`, `namespaceSelector`, `objectSelector`,
`matchPolicy`). Everything is read once, when a configuration is stored; asking takes a few look-ups in sets. Selectors see labels
that are passed in.

    constraints = Constraints.of_policy(policy["spec"]["matchConstraints"])
    found = constraints.match(subject_of(review, labels_of_namespace))      # an Address, or None
    if found: evaluate(in_version(found))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from admission.review import Review
from registry.kinds import Kind, Version
from registry.selectors import LabelSelector

Labels = Mapping[str, str]

ALL = "*"
EXEMPT_GROUP = "admissionregistration.k8s.io"
NO_LABELS: Labels = {}
EVERY = LabelSelector()
"""Selects everything."""


class Address(NamedTuple):
    """Under which name, in which group and version, objects of a kind are served."""

    group: str
    version: str
    resource: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is about to be done, as rules see it.

    `addresses`: the one that was asked for first, then those of the same objects in other versions. `labels`: those of the object
    and of the old object, as far as there are such. `namespace_labels` is only asked when a selector needs it; None: the object
    belongs to no namespace, and is none.
    """

    operation: str
    addresses: tuple[Address, ...]
    subresource: str
    namespaced: bool
    name: str
    labels: tuple[Labels, ...]
    namespace_labels: Callable[[], Labels | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """Operations on resources. `names` may be empty: all of them. `resources` holds pairs of a resource and a subresource."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: frozenset[tuple[str, str]]
    scope: str = ALL
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rule: Mapping[str, Any]) -> Self:
        """A rule as it is stored (RuleWithOperations, NamedRuleWithOperations)."""
        resources = ((one.partition("/")[0], one.partition("/")[2]) for one in rule.get("resources") or ())
        return cls(
            operations=frozenset(rule.get("operations") or ()),
            groups=frozenset(rule.get("apiGroups") or ()),
            versions=frozenset(rule.get("apiVersions") or ()),
            resources=frozenset(resources),
            scope=rule.get("scope") or ALL,
            names=frozenset(rule.get("resourceNames") or ()),
        )

    def about(self, operation: str, address: Address, subresource: str, *, namespaced: bool) -> bool:
        """Whether it holds for some object at an address. `pods/*` means pods and all that is below; `*` means no subresource."""
        return (
            _among(operation, self.operations)
            and _among(address.group, self.groups)
            and _among(address.version, self.versions)
            and (self.scope == ALL or (self.scope == "Namespaced") is namespaced)
            and not self.resources.isdisjoint(
                ((address.resource, subresource), (address.resource, ALL), (ALL, subresource), (ALL, ALL))
            )
        )


def _among(value: str, values: frozenset[str]) -> bool:
    return value in values or ALL in values


@dataclass(frozen=True, slots=True)
class Constraints:
    """All that must hold of a subject. Without rules, every resource is meant."""

    rules: tuple[Rule, ...] = ()
    excluded: tuple[Rule, ...] = ()
    namespaces: LabelSelector = EVERY
    objects: LabelSelector = EVERY
    equivalent: bool = True
    everything: bool = False

    @classmethod
    def of_policy(cls, resources: Mapping[str, Any] | None) -> Self:
        """The `matchConstraints` of a policy, the `matchResources` of a binding. Raises BadRequest for a selector that is none."""
        given = resources or {}
        rules = _rules(given.get("resourceRules"))
        return cls(
            rules=rules,
            excluded=_rules(given.get("excludeResourceRules")),
            namespaces=LabelSelector.from_object(given.get("namespaceSelector") or {}),
            objects=LabelSelector.from_object(given.get("objectSelector") or {}),
            equivalent=given.get("matchPolicy", "Equivalent") == "Equivalent",
            everything=not rules,
        )

    @classmethod
    def of_webhook(cls, webhook: Mapping[str, Any]) -> Self:
        """An entry of a webhook configuration. One without rules is never asked. Raises BadRequest for a selector that is none."""
        return cls(
            rules=_rules(webhook.get("rules")),
            namespaces=LabelSelector.from_object(webhook.get("namespaceSelector") or {}),
            objects=LabelSelector.from_object(webhook.get("objectSelector") or {}),
            equivalent=webhook.get("matchPolicy", "Equivalent") == "Equivalent",
        )

    def about(self, operation: str, kind: Kind, version: Version, subresource: str) -> bool:
        """Whether some object of a kind could match: what can be decided, and remembered, before there is an object."""
        if self.everything:
            return True
        found = _addresses(kind, version) if self.equivalent else _addresses(kind, version)[:1]
        return any(
            rule.about(operation, address, subresource, namespaced=kind.namespaced) for rule in self.rules for address in found
        )

    def match(self, subject: Subject) -> Address | None:
        """Where the object is to be looked at, which is in the version of the rule that matches; None: it is not meant."""
        addresses = subject.addresses if self.equivalent else subject.addresses[:1]
        if self.excluded and _first(self.excluded, addresses, subject) is not None:
            return None
        found = subject.addresses[0] if self.everything else _first(self.rules, addresses, subject)
        if found is None or not self._selects(subject):
            return None
        return found

    def _selects(self, subject: Subject) -> bool:
        if self.objects and not any(self.objects.matches(labels) for labels in subject.labels):
            return False
        if not self.namespaces:
            return True
        labels = subject.namespace_labels()
        return labels is None or self.namespaces.matches(labels)


def exempt(kind: Kind) -> bool:
    """Whether neither policies nor webhooks are asked about a kind: it configures them, and a bad one must be removable."""
    return kind.group == EXEMPT_GROUP


def subject_of(review: Review[dict[str, Any]], labels_of: Callable[[str], Labels | None]) -> Subject:
    """What a review is about. `labels_of` gives the labels of a namespace; one that is not there has none."""
    kind, version = review.kind, review.path_version
    if kind is None or version is None:
        raise ValueError("a review that names no kind matches no rule")
    labels = tuple(_labels(document) for document in (review.new, review.old) if document is not None)
    is_namespace = kind.resource == "namespaces"

    def namespace_labels() -> Labels | None:
        if is_namespace:  # its own, as they will be
            return _labels(review.new)
        return (labels_of(review.namespace) or NO_LABELS) if review.namespace else None

    return Subject(
        operation=review.operation,
        addresses=_addresses(kind, version),
        subresource=review.subresource,
        namespaced=kind.namespaced,
        name=review.name,
        labels=labels,
        namespace_labels=namespace_labels,
    )


def _rules(rules: Iterable[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    return tuple(Rule.of(rule) for rule in rules or ())


def _addresses(kind: Kind, asked: Version) -> tuple[Address, ...]:
    """The version that was asked for first."""
    others = (version for version in kind.served if version is not asked)
    return tuple(Address(version.group, version.name, kind.plural) for version in (asked, *others))


def _first(rules: Sequence[Rule], addresses: Sequence[Address], subject: Subject) -> Address | None:
    """The first address that a rule holds for: all rules are asked about the one that was asked for before any other."""

    def holds(rule: Rule, address: Address) -> bool:
        if rule.names and subject.name not in rule.names:
            return False
        return rule.about(subject.operation, address, subject.subresource, namespaced=subject.namespaced)

    asked, others = addresses[0], addresses[1:]
    if any(holds(rule, asked) for rule in rules):
        return asked
    return next((address for rule in rules for address in others if holds(rule, address)), None)


def _labels(document: Mapping[str, Any]) -> Labels:
    return document["metadata"].get("labels") or NO_LABELS
