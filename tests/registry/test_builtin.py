"""The rules of the built-in kinds, each as a table."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from registry.builtin import CONFIG_MAP, EVENT, KINDS, LEASE, NAMESPACE, ROLES, SECRET, SERVICE_ACCOUNT
from registry.builtin import event as events
from registry.builtin.actor import KEEPER
from registry.catalog import Registry
from registry.kinds import EXTERNAL, Kind
from registry.times import since

Document = dict[str, Any]
NOW = 1_700_000_000.0
A_MINUTE_AGO = "2023-11-14T22:12:20Z"
BIG = 1024 * 1024


def prepared(kind: Kind, document: Document, old: Document | None = None) -> Document:
    return kind.strategy.prepare({"metadata": {"name": "a"}, **document}, old)


def wrong(kind: Kind, document: Document, old: Document | None = None) -> list[str]:
    """What is said against a document that was prepared."""
    new = prepared(kind, document, old)
    return [str(cause) for cause in kind.strategy.check(new, old)]


def row(kind: Kind, document: Document, version: int = 0) -> dict[str, Any]:
    """The row of a table, by heading."""
    printer = kind.versions[version].printer
    assert printer is not None
    cells = printer.cells({"metadata": {"name": "a", "creationTimestamp": A_MINUTE_AGO}, **document}, NOW)
    return dict(zip((column.name for column in printer.columns), cells, strict=True))


def test_the_builtin_kinds_are_those_that_every_cluster_has() -> None:
    registry = Registry(KINDS)
    groups = (
        "",
        "events.k8s.io",
        "coordination.k8s.io",
        "rbac.authorization.k8s.io",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
    )
    assert registry.groups == dict.fromkeys(groups, ("v1",))
    assert {(kind.name, kind.namespaced, kind.has_status) for kind in KINDS if kind.stored} == {
        ("ConfigMap", True, False),
        ("Event", True, False),
        ("Namespace", False, True),
        ("ResourceQuota", True, True),
        ("Secret", True, False),
        ("ServiceAccount", True, False),
        ("Lease", True, False),
        ("Role", True, False),
        ("ClusterRole", False, False),
        ("RoleBinding", True, False),
        ("ClusterRoleBinding", False, False),
        ("MutatingWebhookConfiguration", False, False),
        ("ValidatingWebhookConfiguration", False, False),
        ("CustomResourceDefinition", False, True),
        ("ValidatingAdmissionPolicy", False, True),
        ("ValidatingAdmissionPolicyBinding", False, False),
    }
    assert all(kind.strategy.builtin for kind in KINDS)
    assert {kind.group for kind in KINDS if kind.strategy.counts_generation} == {
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
    }
    assert {kind.name: kind.owner for kind in KINDS if kind.owner != EXTERNAL} == {"ResourceQuota": KEEPER}


@pytest.mark.parametrize(
    ("kind", "unconditional", "create_on_update"),
    [
        (CONFIG_MAP, True, False),
        (EVENT, True, True),
        (NAMESPACE, True, False),
        (SECRET, True, False),
        (SERVICE_ACCOUNT, True, False),
        (LEASE, False, True),
        *((kind, True, True) for kind in ROLES),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else str(value),
)
def test_some_kinds_are_updated_without_a_revision_and_some_are_made_by_an_update(
    kind: Kind, unconditional: bool, create_on_update: bool
) -> None:
    assert (kind.strategy.unconditional_update, kind.strategy.create_on_update) == (unconditional, create_on_update)


@pytest.mark.parametrize(("time", "expected"), [(A_MINUTE_AGO, "60s"), (None, "<unknown>"), (7, "<unknown>"), ("x", "<invalid>")])
def test_ages_are_shown_as_kubectl_shows_them(time: Any, expected: str) -> None:
    assert since(time, NOW) == expected


# ConfigMap and Secret


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, []),
        ({"data": {"a.b-c_D1": "x"}, "binaryData": {"e": "eA=="}}, []),
        ({"data": {"a b": "x"}}, ['data[a b]: Invalid value: "a b": a valid config key must consist of']),
        ({"data": {"": "x"}}, ["data[]: Invalid value"]),
        ({"data": {"..": "x"}}, ["data[..]: Invalid value: \"..\": must not be '..'"]),
        ({"binaryData": {"..a": ""}}, ["binaryData[..a]: Invalid value: \"..a\": must not start with '..'"]),
        ({"data": {"k": "x"}, "binaryData": {"k": ""}}, ['data[k]: Invalid value: "k": duplicate of key present in binaryData']),
        ({"data": {"k": "x" * (BIG + 1)}}, [f"[]: Too long: may not be more than {BIG} bytes"]),
        ({"data": {"k": "é" * (BIG // 2 + 1)}}, [f"[]: Too long: may not be more than {BIG} bytes"]),
        ({"data": {"k": "x" * BIG}}, []),
        ({"data": {"k": "x"}, "binaryData": {"b": base64.b64encode(b"x" * BIG).decode()}}, ["[]: Too long"]),
    ],
    ids=range(11),
)
def test_a_config_map_has_keys_that_can_be_files_and_a_size_that_can_be_kept(document: Document, said: list[str]) -> None:
    found = wrong(CONFIG_MAP, document)
    assert len(found) == len(said)
    assert all(problem.startswith(begin) for problem, begin in zip(found, said, strict=True))


FROZEN = "Forbidden: field is immutable when `immutable` is set"


@pytest.mark.parametrize("kind", [CONFIG_MAP, SECRET], ids=["configmap", "secret"])
@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        ({}, {"data": {"k": "eA=="}}, []),
        ({"immutable": False}, {"immutable": True}, []),
        ({"immutable": True, "data": {"k": "eA=="}}, {"immutable": True, "data": {"k": "eA=="}}, []),
        ({"immutable": True, "data": {"k": "eA=="}}, {"immutable": True, "data": {"k": "eB=="}}, ["data"]),
        ({"immutable": True, "data": {"k": "eA=="}}, {"immutable": True}, ["data"]),
        ({"immutable": True}, {}, ["immutable"]),
        ({"immutable": True, "data": {}}, {"immutable": False, "data": {"k": "eA=="}}, ["immutable", "data"]),
    ],
    ids=range(7),
)
def test_what_is_immutable_stays_so_with_its_data(kind: Kind, old: Document, new: Document, fields: list[str]) -> None:
    before = prepared(kind, old)
    assert wrong(kind, new, before) == [f"{field}: {FROZEN}" for field in fields]


def test_binary_data_of_an_immutable_config_map_stays_too() -> None:
    old = {"immutable": True, "binaryData": {"k": "eA=="}}
    assert wrong(CONFIG_MAP, {"immutable": True}, prepared(CONFIG_MAP, old)) == [f"binaryData: {FROZEN}"]


@pytest.mark.parametrize(
    ("sent", "old", "expected"),
    [
        ({}, None, {"type": "Opaque"}),
        ({"type": "x"}, None, {"type": "x"}),
        ({}, {"type": "x"}, {"type": "x"}),
        ({"data": {}}, None, {"type": "Opaque"}),
        ({"stringData": {"k": "é"}}, None, {"type": "Opaque", "data": {"k": "w6k="}}),
        (
            {"stringData": {"k": "x"}, "data": {"k": "eQ==", "l": "eQ=="}},
            None,
            {"type": "Opaque", "data": {"k": "eA==", "l": "eQ=="}},
        ),
        ({"stringData": {}}, None, {"type": "Opaque"}),
        ({"stringData": None}, None, {"type": "Opaque"}),
    ],
    ids=range(8),
)
def test_texts_of_a_secret_become_data_and_its_type_has_a_default(sent: Document, old: Document | None, expected: Document) -> None:
    made = prepared(SECRET, sent, old)
    del made["metadata"]
    assert made == expected


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("Opaque", []),
        ("kubernetes.io/tls", ["data[tls.crt]", "data[tls.key]"]),
        ("kubernetes.io/dockercfg", ["data[.dockercfg]"]),
        ("kubernetes.io/dockerconfigjson", ["data[.dockerconfigjson]"]),
        ("kubernetes.io/ssh-auth", ["data[ssh-privatekey]"]),
        ("kubernetes.io/basic-auth", ["data[username]", "data[password]"]),
    ],
)
def test_the_type_of_a_secret_says_which_keys_it_needs(kind: str, missing: list[str]) -> None:
    assert wrong(SECRET, {"type": kind}) == [f"{field}: Required value" for field in missing]
    complete = {field.removeprefix("data[").rstrip("]"): "eA==" for field in missing}
    assert wrong(SECRET, {"type": kind, "data": complete}) == []


def test_the_type_of_a_secret_cannot_change() -> None:
    old = prepared(SECRET, {"type": "x"})
    assert wrong(SECRET, {"type": "y"}, old) == ['type: Invalid value: "y": field is immutable']


def test_a_secret_has_a_size_that_can_be_kept() -> None:
    assert wrong(SECRET, {"data": {"k": base64.b64encode(b"x" * (BIG + 3)).decode()}}) == [
        f"data: Too long: may not be more than {BIG} bytes"
    ]


def test_empty_maps_and_lists_are_not_stored() -> None:
    assert prepared(CONFIG_MAP, {"data": {}, "binaryData": {}, "immutable": False}) == {
        "metadata": {"name": "a"},
        "immutable": False,
    }
    assert prepared(SERVICE_ACCOUNT, {"secrets": [], "imagePullSecrets": []}) == {"metadata": {"name": "a"}}
    assert prepared(SERVICE_ACCOUNT, {"secrets": [{"name": "s"}]})["secrets"] == [{"name": "s"}]


# Namespace


def test_a_new_namespace_is_active_and_carries_its_name_and_its_finalizer() -> None:
    made = prepared(NAMESPACE, {"spec": {"finalizers": ["mine"]}, "status": {"phase": "Mine"}})
    assert made == {
        "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def test_the_name_label_of_a_namespace_cannot_be_taken_off_nor_its_finalizers_changed() -> None:
    old = prepared(NAMESPACE, {})
    sent = {
        "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "b", "c": "d"}},
        "spec": {},
        "status": old["status"],
    }
    new = NAMESPACE.strategy.prepare(sent, old)
    assert new["metadata"]["labels"] == {"kubernetes.io/metadata.name": "a", "c": "d"}
    assert new["spec"] == {"finalizers": ["kubernetes"]}


@pytest.mark.parametrize(
    ("name", "good"),
    [("a", True), ("a-b-1", True), ("a.b", False), ("A", False), ("-a", False), ("a" * 63, True), ("a" * 64, False)],
)
def test_the_name_of_a_namespace_is_a_dns_label(name: str, good: bool) -> None:
    assert (not NAMESPACE.strategy.name_rule(name)) is good


def test_namespaces_are_not_deleted_all_together() -> None:
    assert "deletecollection" not in NAMESPACE.verbs
    assert all("deletecollection" in kind.verbs for kind in KINDS if kind.stored and kind is not NAMESPACE)


# Lease


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, []),
        ({"leaseDurationSeconds": 1, "leaseTransitions": 0}, []),
        ({"leaseDurationSeconds": 0}, ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]),
        ({"leaseTransitions": -1}, ["spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"]),
        ({"leaseDurationSeconds": -5, "leaseTransitions": -1}, ["spec.leaseDurationSeconds", "spec.leaseTransitions"]),
    ],
)
def test_a_lease_lasts_some_time_and_changes_hands_no_less_than_never(spec: Document, said: list[str]) -> None:
    found = wrong(LEASE, {"spec": spec})
    assert len(found) == len(said)
    assert all(problem.startswith(begin) for problem, begin in zip(found, said, strict=True))


def test_a_lease_always_has_a_spec() -> None:
    assert prepared(LEASE, {})["spec"] == {}


# Event

CORE = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "e", "namespace": "shop"},
    "involvedObject": {"kind": "Widget", "name": "w", "namespace": "shop"},
    "reason": "Made",
    "message": "It was made.",
    "source": {"component": "maker", "host": "here"},
    "firstTimestamp": A_MINUTE_AGO,
    "lastTimestamp": A_MINUTE_AGO,
    "count": 3,
    "type": "Normal",
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
NEW = {
    "apiVersion": "events.k8s.io/v1",
    "kind": "Event",
    "metadata": {"name": "e", "namespace": "shop"},
    "regarding": {"kind": "Widget", "name": "w", "namespace": "shop"},
    "note": "It was made.",
    "reason": "Made",
    "action": "Make",
    "type": "Normal",
    "eventTime": "2023-11-14T22:12:20.000000Z",
    "reportingController": "maker",
    "reportingInstance": "maker-1",
}


def test_an_event_is_the_same_in_both_its_forms() -> None:
    assert events.encode(events.decode(CORE)) == CORE
    stored = events.encode(NEW)
    assert events.encode(events.decode(stored)) == stored
    assert {key: value for key, value in events.decode(stored).items() if not key.startswith("deprecated")} == NEW
    assert events.decode(stored)["deprecatedSource"] == {}


def test_a_stored_event_says_what_kubernetes_always_writes() -> None:
    made = EVENT.strategy.prepare({"apiVersion": "v1", "metadata": {"name": "e"}, "reason": "", "count": 0}, None)
    assert made == {
        "apiVersion": "v1",
        "metadata": {"name": "e"},
        "involvedObject": {},
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    }


def check(document: Document, version: int = 0, old: Document | None = None) -> list[str]:
    prepared = EVENT.strategy.prepare(dict(document), old)
    found = [*EVENT.strategy.check(prepared, old), *EVENT.versions[version].check(prepared, old)]
    return [f"{cause.field} {cause.reason}" for cause in found]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"involvedObject": {"namespace": "other"}}, ["involvedObject.namespace FieldValueInvalid"]),
        ({"involvedObject": {}}, ["involvedObject.namespace FieldValueInvalid"]),
        ({"involvedObject": {}, "metadata": {"namespace": "default"}}, []),
        ({"type": "Strange"}, []),
        ({"message": "m" * 2_000}, []),
        (
            {"eventTime": "2023-11-14T22:12:20.000000Z"},
            ["reportingController FieldValueRequired", "reportingInstance FieldValueRequired", "action FieldValueRequired"],
        ),
    ],
    ids=range(7),
)
def test_the_older_form_takes_what_clients_of_many_years_send(changes: Document, said: list[str]) -> None:
    assert check({**CORE, **changes}) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"eventTime": None}, ["eventTime FieldValueRequired"]),
        ({"type": "Strange"}, ["type FieldValueInvalid"]),
        ({"action": ""}, ["action FieldValueRequired"]),
        ({"note": "m" * 1_025}, ["message FieldValueInvalid"]),
        ({"deprecatedCount": 3}, ["count FieldValueInvalid"]),
        ({"deprecatedSource": {"component": "x"}}, ["source FieldValueInvalid"]),
        ({"regarding": {"namespace": "other"}}, ["involvedObject.namespace FieldValueInvalid"]),
    ],
    ids=range(8),
)
def test_the_newer_form_is_strict(changes: Document, said: list[str]) -> None:
    assert check({**NEW, **changes}, 1) == said


def test_an_update_of_an_event_may_count_on() -> None:
    assert check({**NEW, "deprecatedCount": 3}, 1, old=NEW) == []


def test_each_form_of_an_event_is_selected_by_its_own_fields() -> None:
    core, new = (version.selectable for version in EVENT.versions)
    stored = events.encode({"apiVersion": "events.k8s.io/v1", "metadata": {"name": "e"}, "regarding": {"name": "a"}, "note": "n"})
    assert core["involvedObject.name"].first(stored) == "a"
    assert new["regarding.name"].first(events.decode(stored)) == "a"
    assert "source" in core
    assert "source" not in new


# Tables


@pytest.mark.parametrize(
    ("kind", "document", "expected"),
    [
        (CONFIG_MAP, {"data": {"a": "", "b": ""}, "binaryData": {"c": ""}}, {"Name": "a", "Data": 3, "Age": "60s"}),
        (SECRET, {"type": "Opaque", "data": {"a": ""}}, {"Name": "a", "Type": "Opaque", "Data": 1, "Age": "60s"}),
        (NAMESPACE, {"status": {"phase": "Active"}}, {"Name": "a", "Status": "Active", "Age": "60s"}),
        (NAMESPACE, {}, {"Name": "a", "Status": "", "Age": "60s"}),
        (LEASE, {"spec": {"holderIdentity": "me"}}, {"Name": "a", "Holder": "me", "Age": "60s"}),
        (LEASE, {}, {"Name": "a", "Holder": "", "Age": "60s"}),
        (SERVICE_ACCOUNT, {}, {"Name": "a", "Age": "60s"}),
    ],
    ids=range(7),
)
def test_tables_show_what_kubectl_shows(kind: Kind, document: Document, expected: dict[str, Any]) -> None:
    assert row(kind, document) == expected


@pytest.mark.parametrize("form", ["core", "new"])
def test_the_row_of_an_event_is_the_same_from_both_forms(form: str) -> None:
    document = {**CORE, "metadata": {"name": "e", "creationTimestamp": A_MINUTE_AGO}}
    shown = row(EVENT, document if form == "core" else events.decode(document))
    assert shown == {
        "Last Seen": "60s",
        "Type": "Normal",
        "Reason": "Made",
        "Object": "widget/w",
        "Subobject": "",
        "Source": "maker, here",
        "Message": "It was made.",
        "First Seen": "60s",
        "Count": 3,
        "Name": "e",
    }


def test_the_row_of_an_event_that_goes_on_tells_of_the_series() -> None:
    stored = events.encode({**NEW, "series": {"count": 9, "lastObservedTime": "2023-11-14T22:13:10.000000Z"}})
    shown = row(EVENT, {**stored, "metadata": {"name": "e"}})
    assert (shown["Last Seen"], shown["First Seen"], shown["Count"], shown["Source"]) == ("10s", "60s", 9, "maker, maker-1")
