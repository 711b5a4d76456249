"""What is wrong with definitions, in the words of Kubernetes; and what is not looked at again."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.builtin import CUSTOM_RESOURCE_DEFINITION as DEFINITION
from registry.custom.definition import read
from registry.custom.kinds import kind_of
from registry.documents import canonical
from registry.kinds import Column, Document, Scale
from registry.nodes import copied

SCHEMA: Document = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
URL = "https://hooks.example/convert"
MIXED = "may have mixed case, but should otherwise match: a DNS-1035 label"


def version(name: str = "v1", *, storage: bool = True, **more: Any) -> Document:
    return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": SCHEMA}, **more}


def definition(*versions: Document, names: Document | None = None, name: str = "", **spec: Any) -> Document:
    named = {"plural": "bolts", "kind": "Bolt", **(names or {})}
    body = {"group": "things.example", "scope": "Namespaced", "names": named, "versions": list(versions or [version()]), **spec}
    metadata: Document = {"name": name or f"{named['plural']}.{body['group']}", "uid": "1"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": body}


def taken(document: Document, old: Document | None = None) -> Document:
    """The document as it is before it is checked."""
    document = document if old is None else {**document, "status": document.get("status") or old["status"]}
    outcome = DEFINITION.storage.schema.apply(document)
    assert not outcome.unreadable
    return DEFINITION.strategy.prepare(outcome.document, old)


def wrong(document: Document, old: Document | None = None) -> dict[str, str]:
    """What is said of each field."""
    return {cause.field: cause.message for cause in DEFINITION.strategy.check(taken(document, old), old)}


def webhook(**config: Any) -> Document:
    return {"strategy": "Webhook", "webhook": {"clientConfig": config, "conversionReviewVersions": ["v1"]}}


def scale(spec: str, status: str, **more: str) -> Document:
    return version(subresources={"scale": {"specReplicasPath": spec, "statusReplicasPath": status, **more}})


def column(**said: Any) -> Document:
    return version(additionalPrinterColumns=[{"name": "Size", "type": "integer", "jsonPath": ".spec.size", **said}])


def selectable(*paths: str, schema: Document = SCHEMA) -> Document:
    return version(selectableFields=[{"jsonPath": path} for path in paths], schema={"openAPIV3Schema": schema})


def test_a_definition_without_faults_has_none() -> None:
    full = version(subresources={"status": {}, "scale": {"specReplicasPath": ".spec.a", "statusReplicasPath": ".status.a"}})
    assert (
        wrong(definition(full | column() | {"selectableFields": [{"jsonPath": ".spec.size"}]}, conversion=webhook(url=URL))) == {}
    )


WRONG: dict[str, tuple[Document, dict[str, str]]] = {
    "the name is another": (definition(name="nuts.things.example"), {"metadata.name": 'must be spec.names.plural+"."+spec.group'}),
    "no names": (
        definition(names={"plural": "", "kind": ""}, name="x.y"),
        dict.fromkeys(("spec.names.plural", "spec.names.kind", "spec.names.singular", "spec.names.listKind"), "Required value")
        | {"metadata.name": "must be spec.names.plural"},
    ),
    "a kind that is its list": (
        definition(names={"listKind": "Bolt"}),
        {"spec.names.listKind": "kind and listKind may not be the same"},
    ),
    "names that are none": (
        definition(names={"shortNames": ["Bo"], "categories": ["all", "-"], "singular": "B"}),
        dict.fromkeys(("spec.names.shortNames[0]", "spec.names.categories[1]", "spec.names.singular"), "a DNS-1035 label must"),
    ),
    "no group": (definition(group=""), {"spec.group": "Required value"}),
    "no domain": (definition(group="Things.example"), {"spec.group": "a lowercase RFC 1123 subdomain"}),
    "no scope": (definition(scope=""), {"spec.scope": "Required value"}),
    "twins": (definition(version(), version(storage=False)), {"spec.versions": "must contain unique version names"}),
    "a version that is none": (definition(version("V1")), {"spec.versions[0].name": "a DNS-1035 label must"}),
    "a warning without deprecation": (
        definition(version(deprecationWarning="soon")),
        {"spec.versions[0].deprecationWarning": "can only be set for deprecated versions"},
    ),
    "a long warning": (
        definition(version(deprecated=True, deprecationWarning="x" * 257)),
        {"spec.versions[0].deprecationWarning": "must be <= 256 characters long"},
    ),
    "a warning of two lines": (
        definition(version(deprecated=True, deprecationWarning="x\ny")),
        {"spec.versions[0].deprecationWarning": "non-printable character found at index 1"},
    ),
    "a column of nothing": (
        definition(column(name="", type="", jsonPath="", format="odd")),
        {
            "spec.additionalPrinterColumns[0].name": "Required value",
            "spec.additionalPrinterColumns[0].type": "must be one of boolean,date,integer,number,string",
            "spec.additionalPrinterColumns[0].JSONPath": "Required value",
            "spec.additionalPrinterColumns[0].format": "must be one of byte,date,date-time,double,float,int32,int64,password",
        },
    ),
    "no paths": (
        definition(scale("", "")),
        {
            "spec.subresources.scale.specReplicasPath": "Required value",
            "spec.subresources.scale.statusReplicasPath": "Required value",
        },
    ),
    "a selector elsewhere": (
        definition(scale(".spec.a", ".status.a", labelSelectorPath=".metadata.a")),
        {"spec.subresources.scale.labelSelectorPath": "should be a json path under either .spec or .status"},
    ),
    "fields that cannot be selected": (
        definition(selectable(".spec", ".metadata.name", ".spec.size[0]", "", ".spec.size", ".spec.size")),
        {
            "spec.selectableFields[0].jsonPath": "must point to a field of type string, boolean or integer",
            "spec.selectableFields[1].jsonPath": "must not point to fields in metadata",
            "spec.selectableFields[2].jsonPath": "is an invalid path",
            "spec.selectableFields[3].jsonPath": "Required value",
            "spec.selectableFields[5].jsonPath": 'Duplicate value: ".spec.size"',
        },
    ),
    "too many fields": (
        definition(
            selectable(
                *(f".spec.f{number}" for number in range(9)),
                schema={
                    "type": "object",
                    "properties": {
                        "spec": {"type": "object", "properties": {f"f{number}": {"type": "string"} for number in range(9)}}
                    },
                },
            )
        ),
        {"spec.selectableFields": "Too many: 9: must have at most 8 items"},
    ),
    "a strategy that is none": (definition(conversion={"strategy": "Guess"}), {"spec.conversion.strategy": "Unsupported value"}),
    "a webhook that nobody asks": (
        definition(conversion=webhook(url=URL) | {"strategy": "None"}),
        dict.fromkeys(
            ("spec.conversion.webhookClientConfig", "spec.conversion.conversionReviewVersions"),
            "should not be set when strategy is not set to Webhook",
        ),
    ),
    "no webhook": (
        definition(conversion={"strategy": "Webhook"}),
        {
            "spec.conversion.webhookClientConfig": "required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions": "Required value",
        },
    ),
    "a webhook over HTTP": (
        definition(conversion=webhook(url="http://hooks.example")),
        {"spec.conversion.webhookClientConfig.url": "'https' is the only allowed URL scheme"},
    ),
    "a webhook that is nowhere": (
        definition(conversion=webhook()),
        {"spec.conversion.webhookClientConfig": "exactly one of url or service is required"},
    ),
    "a bundle of nothing": (
        definition(conversion=webhook(url=URL, caBundle=base64.b64encode(b"no certificate").decode())),
        {"spec.conversion.webhookClientConfig.caBundle": "unable to load root certificates"},
    ),
    "reviews of another time": (
        definition(
            conversion={"strategy": "Webhook", "webhook": {"clientConfig": {"url": URL}, "conversionReviewVersions": ["v1beta1"]}}
        ),
        {"spec.conversion.conversionReviewVersions": "must include at least one of v1"},
    ),
    "a group of Kubernetes": (
        definition(group="things.k8s.io"),
        {"metadata.annotations[api-approved.kubernetes.io]": "protected groups must have approval annotation"},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_fault_is_told_with_its_field(name: str) -> None:
    document, said = WRONG[name]
    found = wrong(document)
    assert found.keys() == said.keys()
    assert {field: text for field, text in said.items() if text not in found[field]} == {}


def test_what_versions_have_in_common_is_told_of_once_and_else_of_each() -> None:
    bad: Document = {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}}
    both = definition(version(schema=bad), version("v2", storage=False, schema=bad))
    assert list(wrong(both)) == ["spec.validation.openAPIV3Schema.type"]
    one = definition(version(schema=bad), version("v2", storage=False))
    assert list(wrong(one)) == ["spec.versions[0].schema.openAPIV3Schema.type"]


def test_a_group_of_kubernetes_is_for_what_was_approved_or_says_that_it_was_not() -> None:
    document = definition(group="things.k8s.io")
    for said, good in (("https://github.com/x/y/pull/1", True), ("unapproved, a try", True), ("yes", False)):
        document["metadata"]["annotations"] = {"api-approved.kubernetes.io": said}
        assert (wrong(document) == {}) is good


def established(document: Document) -> Document:
    stored = taken(document)
    conditions = [{"type": "Established", "status": "True"}]
    return {**stored, "status": {**stored["status"], "conditions": conditions}}


def test_what_was_established_keeps_its_scope_kind_group_and_plural() -> None:
    old = established(definition())
    new = definition(names={"plural": "nuts", "kind": "Nut"}, group="others.example", scope="Cluster", name="bolts.things.example")
    fields = ("spec.group", "spec.names.plural", "spec.scope", "spec.names.kind")
    assert set(wrong(new, old)) == set(fields)


def test_what_is_stored_and_is_not_touched_is_not_looked_at_again() -> None:
    bad = version("v2", storage=False, schema={"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}})
    old = taken(definition(version(), bad))
    assert wrong({**copied(old), "metadata": {**old["metadata"], "labels": {"a": "b"}}}, old) == {}
    assert wrong(definition(version(deprecated=True), bad), old) == {}
    touched = {**bad, "schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "string"}}}}}
    assert list(wrong(definition(version(), touched), old)) == ["spec.versions[1].schema.openAPIV3Schema.type"]


def test_a_storage_version_is_remembered_and_cannot_be_forgotten_while_it_is_stored() -> None:
    old = taken(definition(version(), version("v2", storage=False)))
    moved = taken(definition(version(storage=False), version("v2")), old)
    assert moved["status"]["storedVersions"] == ["v1", "v2"]
    fewer = {**moved, "status": {**moved["status"], "storedVersions": ["v1"]}}
    assert [cause.message for cause in DEFINITION.strategy.check(fewer, moved)] == [
        'Invalid value: ["v1"]: must have the storage version v2'
    ]
    migrated = {**moved, "status": {**moved["status"], "storedVersions": ["v2"]}}
    assert DEFINITION.strategy.check(migrated, moved) == []
    assert wrong(definition(version("v2")), migrated) == {}


def test_a_kind_is_what_its_definition_says() -> None:
    text = version(
        deprecated=True,
        subresources={"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
        additionalPrinterColumns=[
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1},
            {"name": "Odd", "type": "string", "jsonPath": ".spec[?(@"},
        ],
        selectableFields=[{"jsonPath": ".spec.size"}],
    )
    stored = canonical(taken(definition(version("v1beta1", storage=False), text, names={"shortNames": ["bo"]})))
    found = read(stored.desired, stored.status)
    kind = kind_of(found, found.names)
    assert (kind.resource, kind.name, kind.list_kind, kind.singular) == ("bolts.things.example", "Bolt", "BoltList", "bolt")
    assert (kind.short_names, kind.namespaced, kind.storage.name) == (("bo",), True, "v1")
    v1, beta = kind.versions
    assert (v1.warning, beta.warning) == ("things.example/v1 Bolt is deprecated", "")
    described = "Custom resource definition column (in JSONPath format): .spec.size"
    assert v1.columns == (Column("Size", ".spec.size", "integer", described, 1),)
    assert [each.name for each in beta.columns] == ["Age"]
    assert list(v1.selectable) == ["spec.size"]
    assert kind.seen_in(v1).scale == Scale(".spec.size", ".status.size")
    assert set(kind.seen_in(v1).subresources) == {"status", "scale"}
    assert set(kind.seen_in(beta).subresources) == set()


KEYS = ("spec", "names", "versions", "schema", "openAPIV3Schema", "properties", "items", "type", "conversion", "webhook", "name")
MORE = (
    "subresources",
    "scale",
    "storage",
    "served",
    "jsonPath",
    "selectableFields",
    "clientConfig",
    "url",
    "plural",
    "kind",
    "group",
)
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(("", "object", "v1", ".spec", "https://x", "a.b", "{"))
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS + MORE), inner, max_size=4)),
    max_leaves=12,
)


@given(spec=JSON, versions=JSON, schema=JSON)
@settings(max_examples=150, deadline=None)
def test_whatever_is_sent_is_refused_with_reasons_or_can_be_served(spec: Any, versions: Any, schema: Any) -> None:
    """Nothing that is sent breaks the checks; and what they have nothing against makes a kind."""
    bodies = (
        spec,
        definition()["spec"] | {"versions": versions},
        definition(version(schema={"openAPIV3Schema": schema}))["spec"],
        {**definition()["spec"], **(spec if isinstance(spec, dict) else {})},
    )
    for body in bodies:
        document = {**definition(), "spec": body}
        outcome = DEFINITION.storage.schema.apply(document)
        if outcome.unreadable:
            continue
        prepared = DEFINITION.strategy.prepare(outcome.document, None)
        if not DEFINITION.strategy.check(prepared, None):
            stored = canonical(prepared)
            found = read(stored.desired, stored.status)
            assert kind_of(found, found.names).storage.schema.node is not None
