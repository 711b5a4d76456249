"""Which writes rules and selectors mean."""

from __future__ import annotations

from typing import Any

import pytest

from admission.identity import ADMIN
from admission.matching_rules import Address, Constraints, Rule, exempt, subject_of
from admission.review import Review
from registry.builtin import CONFIG_MAP, EVENT, LEASE, NAMESPACE
from registry.kinds import Kind

Document = dict[str, Any]
CORE_EVENT, NEW_EVENT = EVENT.versions
SHOP = {"team": "shop"}


def review(
    kind: Kind = LEASE,
    operation: str = "CREATE",
    *,
    at: int = 0,
    subresource: str = "",
    labels: Document | None = None,
    old: Document | None = None,
    namespace: str = "shop",
    name: str = "a",
) -> Review[Document]:
    """A review of an object with labels."""
    new: Document = {"metadata": {"name": name, "labels": labels or {}}}
    before: Document | None = None if old is None else {"metadata": {"name": name, "labels": old}}
    return Review(
        operation,
        new,
        before,
        ADMIN,
        subresource=subresource,
        kind=kind,
        version=kind.versions[at],
        namespace=namespace if kind.namespaced else "",
        name=name,
    )


def rule(**fields: Any) -> Document:
    """A rule for all, but for what is given."""
    return {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], **fields}


def matched(constraints: Document, about: Review[Document]) -> Address | None:
    """What policies with these constraints say to a review."""
    return Constraints.of_policy(constraints).match(subject_of(about, {"shop": SHOP}.get))


@pytest.mark.parametrize(
    ("resources", "subresource", "holds"),
    [
        (["leases"], "", True),
        (["leases"], "status", False),
        (["leases/status"], "status", True),
        (["leases/status"], "", False),
        (["leases/*"], "status", True),
        (["leases/*"], "", True),
        (["*"], "", True),
        (["*"], "status", False),
        (["*/*"], "status", True),
        (["*/*"], "", True),
        (["*/status"], "status", True),
        (["*/scale"], "status", False),
        (["configmaps", "secrets"], "", False),
        ([], "", False),
    ],
)
def test_resources_and_subresources_are_named_apart(resources: list[str], subresource: str, holds: bool) -> None:
    found = matched({"resourceRules": [rule(resources=resources)]}, review(subresource=subresource))
    assert (found is not None) is holds


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({}, True),
        ({"operations": ["CREATE", "DELETE"]}, True),
        ({"operations": ["UPDATE"]}, False),
        ({"apiGroups": ["coordination.k8s.io"]}, True),
        ({"apiGroups": [""]}, False),
        ({"apiVersions": ["v1beta1"]}, False),
        ({"scope": "Namespaced"}, True),
        ({"scope": "Cluster"}, False),
        ({"scope": "*"}, True),
        ({"resourceNames": ["a", "b"]}, True),
        ({"resourceNames": ["b"]}, False),
    ],
)
def test_every_part_of_a_rule_must_hold(fields: Document, holds: bool) -> None:
    assert (matched({"resourceRules": [rule(**fields)]}, review()) is not None) is holds


def test_a_namespace_belongs_to_the_cluster() -> None:
    assert matched({"resourceRules": [rule(scope="Cluster")]}, review(NAMESPACE))
    assert not matched({"resourceRules": [rule(scope="Namespaced")]}, review(NAMESPACE))


def test_what_is_excluded_does_not_match_whatever_the_rules_say() -> None:
    constraints = {"resourceRules": [rule()], "excludeResourceRules": [rule(resources=["leases"], resourceNames=["a"])]}
    assert not matched(constraints, review(name="a"))
    assert matched(constraints, review(name="b"))


def test_without_rules_a_policy_is_about_everything_and_a_webhook_about_nothing() -> None:
    about = review(CONFIG_MAP)
    assert matched({}, about) == Address("", "v1", "configmaps")
    assert Constraints.of_webhook({}).match(subject_of(about, {}.get)) is None
    assert not Constraints.of_webhook({}).about("CREATE", CONFIG_MAP, CONFIG_MAP.storage, "")


def test_an_equivalent_version_matches_and_is_told() -> None:
    written_for = {"resourceRules": [rule(apiGroups=[NEW_EVENT.group], resources=["events"])]}
    asked = review(EVENT, at=EVENT.versions.index(CORE_EVENT))
    assert matched(written_for, asked) == Address(NEW_EVENT.group, NEW_EVENT.name, "events")
    assert matched({**written_for, "matchPolicy": "Exact"}, asked) is None
    assert Constraints.of_policy(written_for).about("CREATE", EVENT, CORE_EVENT, "")
    assert not Constraints.of_policy({**written_for, "matchPolicy": "Exact"}).about("CREATE", EVENT, CORE_EVENT, "")


def test_the_version_that_was_asked_for_is_preferred_to_an_equivalent_one() -> None:
    both = {"resourceRules": [rule(apiGroups=[NEW_EVENT.group]), rule(apiGroups=[CORE_EVENT.group])]}
    for version in EVENT.versions:
        found = matched(both, review(EVENT, at=EVENT.versions.index(version)))
        assert found == Address(version.group, version.name, "events")


@pytest.mark.parametrize(
    ("new", "old", "holds"),
    [({"a": "1"}, None, True), ({}, {"a": "1"}, True), ({"a": "1"}, {}, True), ({}, {}, False), ({"a": "2"}, None, False)],
)
def test_an_object_selector_looks_at_the_object_before_and_after(new: Document, old: Document | None, holds: bool) -> None:
    found = matched({"objectSelector": {"matchLabels": {"a": "1"}}}, review(labels=new, old=old))
    assert (found is not None) is holds


def test_a_namespace_selector_looks_at_the_namespace_of_the_object() -> None:
    selecting = {"namespaceSelector": {"matchLabels": SHOP}}
    assert matched(selecting, review(namespace="shop"))
    assert not matched(selecting, review(namespace="other"))


def test_a_namespace_selector_looks_at_a_namespaces_own_new_labels() -> None:
    selecting = {"namespaceSelector": {"matchLabels": SHOP}}
    assert matched(selecting, review(NAMESPACE, labels=SHOP, old={}))
    assert not matched(selecting, review(NAMESPACE, labels={}, old=SHOP))


def test_a_namespace_selector_lets_nothing_else_of_the_cluster_escape() -> None:
    gadget = review(LEASE, namespace="")
    assert matched({"namespaceSelector": {"matchLabels": SHOP}}, gadget)


def test_what_configures_admission_is_exempt_from_it() -> None:
    assert not any(exempt(kind) for kind in (LEASE, NAMESPACE, CONFIG_MAP))


def test_a_rule_without_fields_matches_nothing() -> None:
    assert not Rule.of({}).about("CREATE", Address("", "v1", "configmaps"), "", namespaced=True)
