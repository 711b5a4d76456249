"""Changes that well-known APIs have made, as facts of their public histories, written anew with what they were about alone.

Those that name no API are the plain form of what many have done. Each says what it did to those who used the API, and which promise
of ours it breaks. A change of a version in place, a new version beside the old one, and a version that goes are told apart, as they
were then.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from registry.diff import Verdict, diff
from registry.lock import Document
from tests.registry.locks import NUMBER, TEXT, lock, struct, version

OK, BROKEN, ALPHA = Verdict.COMPATIBLE, Verdict.BREAKING, Verdict.ALLOWED
OLD, NEW = ("1.1", "2020-02-01"), ("1.2", "2020-06-01")
LIST = {"type": "array", "items": TEXT}
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


class Case(NamedTuple):
    """What happened, and the worst that a diff has to say of it. `rule` 0: it breaks no promise."""

    told: str
    old: Document
    new: Document
    verdict: Verdict
    rule: int = 0


def spec(told: str, old: Any, new: Any, verdict: Verdict, rule: int = 0, name: str = "v1") -> Case:
    """A change of the spec of a version in place."""
    return Case(told, lock({name: version(name, old)}, OLD), lock({name: version(name, new)}, NEW), verdict, rule)


def field(told: str, old: Any, new: Any, verdict: Verdict, rule: int = 0, name: str = "v1") -> Case:
    """A change of one field in place; None: it is not there."""
    before, after = ({} if each is None else {"it": each} for each in (old, new))
    return spec(told, struct(**before), struct(**after), verdict, rule, name)


def kind(told: str, old: dict[str, Any], new: dict[str, Any], verdict: Verdict, rule: int = 0, name: str = "v1") -> Case:
    """A change of what is said of the kind as a whole."""
    return Case(told, lock({name: version(name)}, OLD, **old), lock({name: version(name)}, NEW, **new), verdict, rule)


def beside(told: str, old: tuple[str, Any], new: tuple[str, Any], verdict: Verdict, rule: int = 0) -> Case:
    """A new version beside the old one, which objects are stored in still."""
    first = version(*old)
    return Case(told, lock({old[0]: first}, OLD), lock({old[0]: first, new[0]: version(*new)}, NEW, storage=old[0]), verdict, rule)


def life(introduced: str = "", deprecated: str = "", removed: str = "", successor: str = "v1") -> Document:
    """The life of a version; each release is written as `1.2 2020-06-01`."""
    named = {"introduced": introduced, "deprecated": deprecated, "removed": removed}
    releases = {key: dict(zip(("version", "date"), text.split(), strict=True)) for key, text in named.items() if text}
    return releases | ({"successor": successor} if successor else {})


def gone(told: str, name: str, lived: Document, last: str, this: str, verdict: Verdict, rule: int = 0) -> Case:
    """A version that is served in the last release and not in this one, where v1 is served in both."""
    stays, goes = version("v1"), version(name, lifecycle=lived)
    old = lock({"v1": stays, name: goes}, tuple(last.split()), storage="v1")
    return Case(told, old, lock({"v1": stays}, tuple(this.split())), verdict, rule)


def ended(told: str, name: str, lived: Document, last: str, this: str, verdict: Verdict, rule: int = 0) -> Case:
    """A kind that is there no more."""
    return Case(
        told, lock({name: version(name, lifecycle=lived)}, tuple(last.split())), lock({}, tuple(this.split())), verdict, rule
    )


def relived(told: str, name: str, old: Document, new: Document, last: str, this: str, verdict: Verdict, rule: int = 0) -> Case:
    """A version of whose life is said something else."""
    both = [{"v1": version("v1"), name: version(name, lifecycle=each)} for each in (old, new)]
    return Case(told, lock(both[0], tuple(last.split())), lock(both[1], tuple(this.split())), verdict, rule)


HISTORY = [
    # New fields.
    field("Pod v1 gets ephemeralContainers", None, {"type": "array", "items": struct("name", name=TEXT)}, OK),
    field("Container v1 gets startupProbe", None, struct(periodSeconds=NUMBER), OK),
    field("Secret v1 gets immutable", None, {"type": "boolean"}, OK),
    field("CronJob v1 gets timeZone", None, TEXT, OK),
    field("Job v1 gets completionMode, with a default", None, {**TEXT, "default": "NonIndexed"}, OK),
    field("PodDisruptionBudget v1 gets unhealthyPodEvictionPolicy", None, {**TEXT, "enum": ["IfHealthyBudget", "AlwaysAllow"]}, OK),
    field("HorizontalPodAutoscaler v2beta2 gets behavior in place", None, struct(scaleUp=struct()), OK, 240, "v2beta2"),
    field("AlertmanagerConfig v1alpha1 gets muteTimeIntervals", None, LIST, OK, 0, "v1alpha1"),
    spec(
        "Velero's Backup v1 gets defaultVolumesToFsBackup, and keeps defaultVolumesToRestic",
        struct(defaultVolumesToRestic={"type": "boolean"}),
        struct(defaultVolumesToRestic={"type": "boolean"}, defaultVolumesToFsBackup={"type": "boolean"}),
        OK,
    ),
    # Fields that go.
    field("Service v1 loses topologyKeys", LIST, None, BROKEN, 201),
    spec("Service v1: ipFamily becomes ipFamilies", struct(ipFamily=TEXT), struct(ipFamilies=LIST), BROKEN, 201),
    field("Tekton's Task v1beta1 loses resources in place", OPEN, None, BROKEN, 201, "v1beta1"),
    spec(
        "CronWorkflow v1alpha1 loses schedule for schedules, in place",
        struct(schedule=TEXT, schedules=LIST),
        struct(schedules=LIST),
        BROKEN,
        241,
        "v1alpha1",
    ),
    # Required and optional.
    spec("HelmRelease v2: chart may be left out for chartRef", struct("chart", chart=TEXT), struct(chart=TEXT, chartRef=TEXT), OK),
    spec(
        "ReplicaSet: selector has to be given, in place",
        struct(selector=struct()),
        struct("selector", selector=struct()),
        BROKEN,
        203,
    ),
    beside(
        "Deployment v1beta2: selector has to be given, with the next beta",
        ("v1beta1", struct(selector=struct())),
        ("v1beta2", struct("selector", selector=struct())),
        OK,
    ),
    spec("Issuer v1: a new field that has to be given", struct("ca", ca=TEXT), struct("ca key", ca=TEXT, key=TEXT), BROKEN, 202),
    # Types.
    field(
        "Tekton's ParamSpec v1alpha1: default is a text, then a text or a list", TEXT, OPEN | {"type": ""}, BROKEN, 241, "v1alpha1"
    ),
    field("Ingress: servicePort, a number, becomes an int-or-string", NUMBER, {"x-kubernetes-int-or-string": True}, BROKEN, 204),
    field("An exact amount becomes a float", NUMBER, {"type": "number"}, BROKEN, 204),
    # Choices.
    field("Protocol v1 can be SCTP", {**TEXT, "enum": ["TCP", "UDP"]}, {**TEXT, "enum": ["TCP", "UDP", "SCTP"]}, OK),
    field(
        "PodFailurePolicy v1 can be FailIndex",
        {**TEXT, "enum": ["Ignore", "FailJob", "Count"]},
        {**TEXT, "enum": ["Ignore", "FailIndex", "FailJob", "Count"]},
        OK,
    ),
    field("PodMonitor v1: scheme was any text, and is http or https", TEXT, {**TEXT, "enum": ["http", "https"]}, BROKEN, 205),
    beside(
        "HTTPRoute v1alpha2: a path match is no longer ImplementationSpecific",
        ("v1alpha1", struct(type={**TEXT, "enum": ["Exact", "Prefix", "ImplementationSpecific"]})),
        ("v1alpha2", struct(type={**TEXT, "enum": ["Exact", "Prefix"]})),
        ALPHA,
        205,
    ),
    # Bounds, patterns, rules.
    field("HorizontalPodAutoscaler: minReplicas may be 0", {**NUMBER, "minimum": 1}, {**NUMBER, "minimum": 0}, OK),
    field("HTTPRoute v1: up to 64 matches instead of 8", {**LIST, "maxItems": 8}, {**LIST, "maxItems": 64}, OK),
    field("HTTPRoute v1alpha1: no more than 16 rules, from now on", LIST, {**LIST, "maxItems": 16}, ALPHA, 206, "v1alpha1"),
    field("ServiceMonitor v1: interval gets a pattern", TEXT, {**TEXT, "pattern": "^[0-9]+(ms|s|m|h)$"}, BROKEN, 207),
    field("Names of environment variables may be nearly anything", {**TEXT, "pattern": "^[-._a-zA-Z][-._a-zA-Z0-9]*$"}, TEXT, OK),
    field(
        "HTTPRoute v1beta1 gets rules in CEL",
        struct(),
        struct() | {"x-kubernetes-validations": [{"rule": "!has(self.requestMirror) || self.type == 'RequestMirror'"}]},
        BROKEN,
        212,
        "v1beta1",
    ),
    # Defaults.
    field(
        "Certificate v1: rotationPolicy is Always when it is left out, no longer Never",
        {**TEXT, "default": "Never"},
        {**TEXT, "default": "Always"},
        BROKEN,
        208,
    ),
    field("Certificate v1: revisionHistoryLimit was unlimited, and is 1", NUMBER, {**NUMBER, "default": 1}, BROKEN, 208),
    beside(
        "Deployment v1beta2: revisionHistoryLimit is 10 when it is left out, no longer 2, with the next beta",
        ("v1beta1", struct(revisionHistoryLimit={**NUMBER, "default": 2})),
        ("v1beta2", struct(revisionHistoryLimit={**NUMBER, "default": 10})),
        OK,
    ),
    # Merging, open objects, nulls.
    field(
        "Service v1: ports are told apart by port and protocol",
        {**LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"]},
        {**LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"]},
        BROKEN,
        210,
    ),
    field("Service v1: externalIPs are said to be atomic, as they were", LIST, {**LIST, "x-kubernetes-list-type": "atomic"}, OK),
    field("Gateway: a list becomes a map, which refuses twins", LIST, {**LIST, "x-kubernetes-list-type": "set"}, BROKEN, 210),
    field(
        "Knative's Service v1: template gets a schema, and drops what it does not know", OPEN, struct(spec=struct()), BROKEN, 211
    ),
    field("Workflow v1alpha1: templates are kept as they are", struct(name=TEXT), OPEN, OK, 0, "v1alpha1"),
    field("A field can be null no longer", {**TEXT, "nullable": True}, TEXT, BROKEN, 209),
    # The kind.
    kind("GatewayClass gets the short name gc", {}, {"shortNames": ["gc"]}, OK),
    kind("KafkaConnect gets a scale", {}, {"scale": {"spec": ".spec.replicas", "status": ".status.replicas"}}, OK),
    kind("Certificate v1alpha2: status is written through /status", {"status": False}, {"status": True}, ALPHA, 222, "v1alpha2"),
    kind("Composites of Crossplane move into namespaces", {"scope": "Cluster"}, {"scope": "Namespaced"}, BROKEN, 220),
    Case(
        "HelmRelease v2 comes, and is stored, in one release",
        lock({"v2beta2": version("v2beta2")}, OLD),
        lock({"v2": version("v2"), "v2beta2": version("v2beta2")}, NEW),
        BROKEN,
        225,
    ),
    Case(
        "Deployments are stored in v1 one release after it came",
        lock({"v1": version("v1"), "v1beta1": version("v1beta1")}, OLD, storage="v1beta1"),
        lock({"v1": version("v1"), "v1beta1": version("v1beta1")}, NEW, storage="v1"),
        OK,
    ),
    # New versions.
    beside(
        "Ingress v1: backend.service.name for serviceName",
        ("v1beta1", struct("serviceName", serviceName=TEXT)),
        ("v1", struct(service=struct(name=TEXT))),
        OK,
    ),
    beside(
        "HorizontalPodAutoscaler v2beta2: metricName, which was required, is metric.name",
        ("v2beta1", struct("metricName", metricName=TEXT)),
        ("v2beta2", struct("metric", metric=struct("name", name=TEXT))),
        BROKEN,
        242,
    ),
    beside("Kustomization v1beta2 has no validation", ("v1beta1", struct(validation=TEXT)), ("v1beta2", struct()), OK),
    beside(
        "GatewayClass v1alpha2: controllerName for controller",
        ("v1alpha1", struct("controller", controller=TEXT)),
        ("v1alpha2", struct("controllerName", controllerName=TEXT)),
        ALPHA,
        202,
    ),
    # Versions that go.
    gone(
        "Ingress v1beta1 ends in 1.22, as was said in 1.19",
        "v1beta1",
        life("1.14 2019-03-25", "1.19 2020-08-26", "1.22 2021-08-04"),
        "1.21 2021-04-08",
        "1.22 2021-08-04",
        OK,
    ),
    gone(
        "CustomResourceDefinition v1beta1 ends in 1.22, as was said in 1.16",
        "v1beta1",
        life("1.7 2017-06-29", "1.16 2019-09-18", "1.22 2021-08-04"),
        "1.21 2021-04-08",
        "1.22 2021-08-04",
        OK,
    ),
    gone(
        "CronJob v1beta1 ends in 1.25, as was said in 1.21",
        "v1beta1",
        life("1.8 2017-09-28", "1.21 2021-04-08", "1.25 2022-08-23"),
        "1.24 2022-05-03",
        "1.25 2022-08-23",
        OK,
    ),
    gone("CronJob v2alpha1 ends", "v2alpha1", life("1.5 2016-12-12"), "1.20 2020-12-08", "1.21 2021-04-08", ALPHA, 231),
    gone(
        "Certificate v1beta1 ends in 1.6, four months after that was said",
        "v1beta1",
        life("0.16 2020-07-23", "1.4 2021-06-15", "1.6 2021-10-26"),
        "1.5 2021-08-11",
        "1.6 2021-10-26",
        BROKEN,
        231,
    ),
    ended(
        "PodSecurityPolicy v1beta1 ends in 1.25 with its kind, as was said in 1.21",
        "v1beta1",
        life("1.10 2018-03-26", "1.21 2021-04-08", "1.25 2022-08-23", ""),
        "1.24 2022-05-03",
        "1.25 2022-08-23",
        OK,
    ),
    ended(
        "PodPreset v1alpha1 ends with its kind", "v1alpha1", life(successor=""), "1.19 2020-08-26", "1.20 2020-12-08", ALPHA, 231
    ),
    ended(
        "ReferencePolicy v1alpha2 becomes ReferenceGrant",
        "v1alpha2",
        life(successor=""),
        "0.5 2022-07-13",
        "0.6 2023-01-10",
        ALPHA,
        231,
    ),
    ended(
        "Provisioner v1alpha5 becomes NodePool", "v1alpha5", life(successor=""), "0.32 2023-10-30", "0.33 2023-12-01", ALPHA, 231
    ),
    relived(
        "Ingress v1beta1 was to end in 1.20, and is to end in 1.22",
        "v1beta1",
        life("1.14 2019-03-25", "1.16 2019-09-18", "1.20 2020-12-08"),
        life("1.14 2019-03-25", "1.16 2019-09-18", "1.22 2021-08-04"),
        "1.18 2020-03-25",
        "1.19 2020-08-26",
        OK,
    ),
    relived(
        "HorizontalPodAutoscaler v2beta2 is deprecated in 1.23",
        "v2beta2",
        life("1.12 2018-09-27", successor=""),
        life("1.12 2018-09-27", "1.23 2021-12-07", "1.26 2022-12-09"),
        "1.22 2021-08-04",
        "1.23 2021-12-07",
        OK,
    ),
]
WORST = {BROKEN: 2, ALPHA: 1, OK: 0}


@pytest.mark.parametrize("case", HISTORY, ids=lambda case: case.told)
def test_what_a_change_of_a_well_known_api_did(case: Case) -> None:
    changes = diff(case.old, case.new)
    worst = max((change.verdict for change in changes), key=lambda verdict: WORST[verdict], default=OK)
    assert worst is case.verdict, changes
    rules = {int(change.rule.id[4:]) for change in changes if change.rule is not None}
    assert (case.rule in rules) if case.rule else not rules, changes
    assert any(change.refused for change in changes) == bool(case.rule and case.verdict is not ALPHA)


def test_there_are_fifty_and_all_three_verdicts_are_among_them() -> None:
    assert len({case.told for case in HISTORY}) >= 50
    assert {case.verdict for case in HISTORY} == {OK, BROKEN, ALPHA}
    assert sum(case.verdict is OK for case in HISTORY) >= 20
