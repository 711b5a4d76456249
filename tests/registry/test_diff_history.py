"""Changes that well-known APIs have made, as facts of their public histories, written anew with what they were about alone.

Each has the page that tells of it, says what it did to those who used the API, and which promise of ours it breaks. A change of a
version in place, a new version beside the old one, and a version that goes are told apart, as they were then. What a change was
about is in the case; other fields of those kinds are left out. `PLAIN` are forms that many changes have, and name nobody's API.
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
    """What happened, and the worst that a diff has to say of it. `rule` 0: it breaks no promise. `source`: who tells it."""

    told: str
    old: Document
    new: Document
    verdict: Verdict
    rule: int = 0
    source: str = ""


def told_by(page: str, *cases: Case) -> list[Case]:
    """Cases with the page that tells of them."""
    return [case._replace(source=f"https://{page}") for case in cases]


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


GUIDE = "kubernetes.io/docs/reference/using-api/deprecation-guide/"
KEP = "github.com/kubernetes/enhancements/issues/3140"
JOBS = "kubernetes.io/blog/2023/08/21/kubernetes-1-28-jobapi-update/"
GKE = "cloud.google.com/kubernetes-engine/docs/deprecations/apis-1-25"
GATEWAY = "github.com/kubernetes-sigs/gateway-api/blob/main/CHANGELOG/0.x-CHANGELOG.md"
CERTS = "cert-manager.io/docs/releases/release-notes/release-notes-1.18/"
OLD_CERTS = "cert-manager.io/docs/releases/upgrading/remove-deprecated-apis/"
ARGO = "argo-workflows.readthedocs.io/en/latest/upgrading/"
KARPENTER = "karpenter.sh/v1.0/upgrading/v1beta1-migration/"
CROSSPLANE = "docs.upbound.io/getstarted/upgrade-to-upbound/migrate-configurations-v2"
PROMETHEUS = "github.com/prometheus-operator/prometheus-operator/releases"
STRIMZI = "github.com/strimzi/strimzi-kafka-operator/releases"
TEKTON_BETA = "tekton.dev/docs/pipelines/migrating-v1alpha1-to-v1beta1/"
TEKTON = "tekton.dev/vault/pipelines-v0.44.x-lts/migrating-v1beta1-to-v1/"
TEKTON_ENDS = "tekton.dev/docs/pipelines/deprecations"

KUBERNETES = [
    *told_by(
        KEP,
        field("CronJob v1 gets timeZone in 1.24", None, TEXT, OK),
    ),
    *told_by(
        JOBS,
        field("Job v1 gets podReplacementPolicy in 1.28", None, {**TEXT, "enum": ["TerminatingOrFailed", "Failed"]}, OK),
        field("Job v1 gets backoffLimitPerIndex in 1.28", None, {**NUMBER, "minimum": 0}, OK),
    ),
    *told_by(
        GKE,
        beside(
            "EndpointSlice v1: topology becomes deprecatedTopology, and there are nodeName and zone",
            ("v1beta1", struct(topology={"type": "object", "additionalProperties": TEXT})),
            ("v1", struct(deprecatedTopology={"type": "object", "additionalProperties": TEXT}, nodeName=TEXT, zone=TEXT)),
            OK,
        ),
        gone(
            "EndpointSlice v1beta1 ends in 1.25, as was said in 1.21",
            "v1beta1",
            life("1.17 2019-12-07", "1.21 2021-04-08", "1.25 2022-08-23"),
            "1.24 2022-05-03",
            "1.25 2022-08-23",
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
        ended(
            "PodSecurityPolicy v1beta1 ends in 1.25 with its kind, as was said in 1.21",
            "v1beta1",
            life("1.10 2018-03-26", "1.21 2021-04-08", "1.25 2022-08-23", ""),
            "1.24 2022-05-03",
            "1.25 2022-08-23",
            OK,
        ),
    ),
    *told_by(
        GUIDE,
        beside(
            "Ingress v1: backend is defaultBackend",
            ("v1beta1", struct(backend=struct(serviceName=TEXT))),
            ("v1", struct(defaultBackend=struct(service=struct(name=TEXT)))),
            OK,
        ),
        beside(
            "Ingress v1: pathType, which could be left out, has to be given",
            ("v1beta1", struct(pathType=TEXT)),
            ("v1", struct("pathType", pathType={**TEXT, "enum": ["Prefix", "Exact", "ImplementationSpecific"]})),
            OK,
        ),
        beside(
            "CustomResourceDefinition v1: scope is no longer Namespaced when it is left out",
            ("v1beta1", struct(scope={**TEXT, "default": "Namespaced"})),
            ("v1", struct("scope", scope=TEXT)),
            OK,
        ),
        beside(
            "ValidatingWebhookConfiguration v1: failurePolicy is Fail when it is left out, no longer Ignore",
            ("v1beta1", struct(failurePolicy={**TEXT, "default": "Ignore"})),
            ("v1", struct(failurePolicy={**TEXT, "default": "Fail"})),
            OK,
        ),
        beside(
            "CertificateSigningRequest v1: signerName and usages have to be given",
            ("v1beta1", struct(signerName=TEXT, usages=LIST)),
            ("v1", struct("signerName usages", signerName=TEXT, usages=LIST)),
            OK,
        ),
        beside("SubjectAccessReview v1: group is groups", ("v1beta1", struct(group=LIST)), ("v1", struct(groups=LIST)), OK),
        beside(
            "Event v1: type is limited to Normal and Warning",
            ("v1beta1", struct(type=TEXT)),
            ("v1", struct(type={**TEXT, "enum": ["Normal", "Warning"]})),
            OK,
        ),
        beside(
            "Deployment v1: rollbackTo is removed, and selector has to be given",
            ("v1beta2", struct(rollbackTo=struct(), selector=struct())),
            ("v1", struct("selector", selector=struct())),
            OK,
        ),
        beside(
            "Deployment v1: revisionHistoryLimit is 10 when it is left out, which was 2 in v1beta1",
            ("v1beta1", struct(revisionHistoryLimit={**NUMBER, "default": 2})),
            ("v1", struct(revisionHistoryLimit={**NUMBER, "default": 10})),
            OK,
        ),
        beside(
            "StatefulSet v1: updateStrategy is RollingUpdate when it is left out, which was OnDelete in v1beta1",
            ("v1beta1", struct(updateStrategy={**TEXT, "default": "OnDelete"})),
            ("v1", struct(updateStrategy={**TEXT, "default": "RollingUpdate"})),
            OK,
        ),
        beside(
            "PriorityLevelConfiguration v1beta3: assuredConcurrencyShares is nominalConcurrencyShares",
            ("v1beta2", struct(assuredConcurrencyShares=NUMBER)),
            ("v1beta3", struct(nominalConcurrencyShares=NUMBER)),
            OK,
        ),
        gone(
            "Ingress v1beta1 ends in 1.22, since v1 is there from 1.19 on",
            "v1beta1",
            life("1.14 2019-03-25", "1.19 2020-08-26", "1.22 2021-08-04"),
            "1.21 2021-04-08",
            "1.22 2021-08-04",
            OK,
        ),
        gone(
            "CustomResourceDefinition v1beta1 ends in 1.22, since v1 is there from 1.16 on",
            "v1beta1",
            life("1.7 2017-06-29", "1.16 2019-09-18", "1.22 2021-08-04"),
            "1.21 2021-04-08",
            "1.22 2021-08-04",
            OK,
        ),
        gone(
            "FlowSchema v1beta3 ends in 1.32, since v1 is there from 1.29 on",
            "v1beta3",
            life("1.26 2022-12-08", "1.29 2023-12-13", "1.32 2024-12-11"),
            "1.31 2024-08-13",
            "1.32 2024-12-11",
            OK,
        ),
        relived(
            "FlowSchema v1beta3 is to end in 1.32, as is said in 1.29",
            "v1beta3",
            life("1.26 2022-12-08", successor=""),
            life("1.26 2022-12-08", "1.29 2023-12-13", "1.32 2024-12-11"),
            "1.28 2023-08-15",
            "1.29 2023-12-13",
            OK,
        ),
    ),
]
GATEWAYS = told_by(
    GATEWAY,
    kind("GatewayClass v1alpha1 gets the short name gc", {}, {"shortNames": ["gc"]}, OK, 0, "v1alpha1"),
    spec(
        "TLSRoute v1alpha1: SNIs of a match may be left out",
        struct("snis", snis=LIST),
        struct(snis=LIST),
        OK,
        0,
        "v1alpha1",
    ),
    field("TCPRoute v1alpha1: no more than 16 rules, from now on", LIST, {**LIST, "maxItems": 16}, ALPHA, 206, "v1alpha1"),
    field(
        "GatewayClass v1alpha1: a parametersRef gets a namespace",
        struct(name=TEXT),
        struct(name=TEXT, namespace=TEXT),
        OK,
        0,
        "v1alpha1",
    ),
    field(
        "Gateway v1alpha1: tls.mode is Terminate when it is left out",
        TEXT,
        {**TEXT, "default": "Terminate"},
        ALPHA,
        208,
        "v1alpha1",
    ),
    field(
        "HTTPRoute v1alpha1: a header filter gets set", None, {"type": "object", "additionalProperties": TEXT}, OK, 0, "v1alpha1"
    ),
    field(
        "HTTPRoute v1alpha1: up to 16 forwardTo instead of 4", {**LIST, "maxItems": 4}, {**LIST, "maxItems": 16}, OK, 0, "v1alpha1"
    ),
    field(
        "HTTPRoute v1alpha1: a path is a prefix match on / when it is left out",
        struct(value=TEXT),
        struct(value=TEXT) | {"default": {"type": "Prefix", "value": "/"}},
        ALPHA,
        208,
        "v1alpha1",
    ),
    spec(
        "Gateway v1alpha1: a LocalObjectRef has to be given in full, and is no longer to secrets by itself",
        struct(resource={**TEXT, "default": "secrets"}),
        struct("resource", resource=TEXT),
        BROKEN,
        241,
        "v1alpha1",
    ),
    kind("Gateway v1alpha1 gets the category gateway-api", {}, {"categories": ["gateway-api"]}, OK, 0, "v1alpha1"),
    beside(
        "GatewayClass v1alpha2: controllerName for controller",
        ("v1alpha1", struct("controller", controller=TEXT)),
        ("v1alpha2", struct("controllerName", controllerName=TEXT)),
        ALPHA,
        202,
    ),
    beside(
        "HTTPRoute v1alpha2: headers are a list of named objects, and no map",
        ("v1alpha1", struct(headers={"type": "object", "additionalProperties": TEXT})),
        ("v1alpha2", struct(headers={"type": "array", "items": struct("name value", name=TEXT, value=TEXT)})),
        ALPHA,
        204,
    ),
    beside(
        "HTTPRoute v1alpha2: a path match is no longer ImplementationSpecific",
        ("v1alpha1", struct(type={**TEXT, "enum": ["Exact", "Prefix", "ImplementationSpecific"]})),
        ("v1alpha2", struct(type={**TEXT, "enum": ["Exact", "Prefix"]})),
        ALPHA,
        205,
    ),
    beside(
        "HTTPRoute v1alpha2: a mirror filter has to name its backend",
        ("v1alpha1", struct(serviceName=TEXT, backendRef=struct())),
        ("v1alpha2", struct("backendRef", backendRef=struct())),
        ALPHA,
        203,
    ),
    beside(
        "Gateway v1alpha2: values of TLS options have no more than 4096 characters",
        ("v1alpha1", struct(options={"type": "object", "additionalProperties": TEXT})),
        ("v1alpha2", struct(options={"type": "object", "additionalProperties": {**TEXT, "maxLength": 4096}})),
        ALPHA,
        206,
    ),
    spec(
        "Gateway v1alpha2: certificateRefs for certificateRef, between two candidates",
        struct(certificateRef=struct()),
        struct(certificateRefs={"type": "array", "items": struct()}),
        BROKEN,
        241,
        "v1alpha2",
    ),
    field("HTTPRoute v1beta1 gets responseHeaderModifier in 0.6", None, struct(set=LIST), OK, 240, "v1beta1"),
    field(
        "GRPCRoute v1alpha2: a match is nothing when it is left out",
        struct() | {"default": {"type": "Exact"}},
        struct(),
        ALPHA,
        208,
        "v1alpha2",
    ),
    field(
        "HTTPRoute v1beta1 gets rules in CEL in 0.8",
        struct(),
        struct() | {"x-kubernetes-validations": [{"rule": "!(has(self.requestMirror) && self.type != 'RequestMirror')"}]},
        BROKEN,
        212,
        "v1beta1",
    ),
    Case(
        "ReferenceGrant is stored in v1beta1 two releases after it came",
        lock({"v1beta1": version("v1beta1"), "v1alpha2": version("v1alpha2")}, ("0.7", "2023-04-18"), storage="v1alpha2"),
        lock({"v1beta1": version("v1beta1"), "v1alpha2": version("v1alpha2")}, ("0.8", "2023-08-29"), storage="v1beta1"),
        OK,
    ),
    ended(
        "ReferencePolicy v1alpha2 ends in 0.6: it is called ReferenceGrant",
        "v1alpha2",
        life(successor=""),
        "0.5 2022-07-13",
        "0.6 2023-01-10",
        ALPHA,
        231,
    ),
    Case(
        "HTTPRoute v1alpha2 is served no longer in 0.8",
        lock({"v1beta1": version("v1beta1"), "v1alpha2": version("v1alpha2")}, ("0.7", "2023-04-18")),
        lock({"v1beta1": version("v1beta1"), "v1alpha2": version("v1alpha2", served=False)}, ("0.8", "2023-08-29")),
        ALPHA,
        231,
    ),
)
OTHERS = [
    *told_by(
        CERTS,
        field(
            "Certificate v1: rotationPolicy is Always when it is left out, no longer Never, from 1.18 on",
            {**TEXT, "default": "Never"},
            {**TEXT, "default": "Always"},
            BROKEN,
            208,
        ),
        kind("Issuer v1 gets the short name iss in 1.18", {}, {"shortNames": ["iss"]}, OK),
    ),
    *told_by(
        OLD_CERTS,
        gone(
            "Certificate v1beta1 ends in 1.6, two releases after that was said",
            "v1beta1",
            life("0.16 2020-07-23", "1.4 2021-06-15", "1.6 2021-10-26"),
            "1.5 2021-08-11",
            "1.6 2021-10-26",
            BROKEN,
            231,
        ),
    ),
    *told_by(
        ARGO,
        spec(
            "CronWorkflow v1alpha1 loses schedule for schedules in 4.0, in place",
            struct(schedule=TEXT, schedules=LIST),
            struct(schedules=LIST),
            BROKEN,
            241,
            "v1alpha1",
        ),
        spec(
            "Workflow v1alpha1 loses podPriority, mutex and semaphore in 4.0, in place",
            struct(podPriority=NUMBER, synchronization=struct(mutex=struct(), mutexes=LIST)),
            struct(synchronization=struct(mutexes=LIST)),
            BROKEN,
            241,
            "v1alpha1",
        ),
    ),
    *told_by(
        KARPENTER,
        ended(
            "Provisioner v1alpha5 ends in 0.33: it is a NodePool",
            "v1alpha5",
            life(successor=""),
            "0.32 2023-10-30",
            "0.33 2023-12-01",
            ALPHA,
            231,
        ),
    ),
    *told_by(
        CROSSPLANE,
        kind("Composites of Crossplane v2 are in namespaces", {"scope": "Cluster"}, {"scope": "Namespaced"}, BROKEN, 220),
    ),
    *told_by(
        PROMETHEUS,
        field("AlertmanagerConfig v1alpha1 gets muteTimeIntervals in 0.53", None, LIST, OK, 0, "v1alpha1"),
        beside(
            "AlertmanagerConfig v1beta1: timeIntervals for muteTimeIntervals, and a matcher has no regex",
            ("v1alpha1", struct(muteTimeIntervals=LIST, matcher=struct(regex={"type": "boolean"}))),
            ("v1beta1", struct(timeIntervals=LIST, matcher=struct())),
            OK,
        ),
        field(
            "ThanosRuler v1: intervals get a pattern in 0.57", TEXT, {**TEXT, "pattern": "^[0-9]+(ms|s|m|h|d|w|y)$"}, BROKEN, 207
        ),
        field("Alertmanager v1: timeouts get a pattern in 0.59", TEXT, {**TEXT, "pattern": "^[0-9]+(ms|s|m|h)$"}, BROKEN, 207),
        kind(
            "Prometheus v1 gets a scale in 0.71",
            {},
            {"scale": {"spec": ".spec.shards", "status": ".status.shards", "selector": ".status.selector"}},
            OK,
        ),
        field(
            "ServiceMonitor v1: proxyUrl gets a pattern in 0.73",
            TEXT,
            {**TEXT, "pattern": "^(http|https|socks5)://.+$"},
            BROKEN,
            207,
        ),
    ),
    *told_by(
        STRIMZI,
        kind(
            "KafkaConnect v1beta1 gets a scale in 0.19",
            {},
            {"scale": {"spec": ".spec.replicas", "status": ".status.replicas"}},
            OK,
            0,
            "v1beta1",
        ),
        beside(
            "KafkaConnect v1: replicas has to be given, with the version of 0.49",
            ("v1beta2", struct(replicas=NUMBER)),
            ("v1", struct("replicas", replicas=NUMBER)),
            OK,
        ),
        relived(
            "KafkaConnect v1beta2 is deprecated in 0.49, and to end in 1.0",
            "v1beta2",
            life("0.22 2021-03-16", successor=""),
            life("0.22 2021-03-16", "0.49 2025-11-21", "1.0 2026-06-01"),
            "0.48 2025-10-01",
            "0.49 2025-11-21",
            OK,
        ),
    ),
    *told_by(
        TEKTON_BETA,
        beside(
            "Task v1beta1: params for inputs.params",
            ("v1alpha1", struct(inputs=struct(params=LIST))),
            ("v1beta1", struct(params=LIST)),
            OK,
        ),
    ),
    *told_by(TEKTON, beside("Task v1 has no resources", ("v1beta1", struct(resources=OPEN)), ("v1", struct()), OK)),
    *told_by(
        TEKTON_ENDS,
        relived(
            "Task v1beta1 is deprecated in 0.50, and to end a year later, in 0.62",
            "v1beta1",
            life("0.11 2020-03-16", successor=""),
            life("0.11 2020-03-16", "0.50 2023-07-25", "0.62 2024-07-25"),
            "0.49 2023-06-20",
            "0.50 2023-07-25",
            OK,
        ),
    ),
]
HISTORY = [*KUBERNETES, *GATEWAYS, *OTHERS]
PLAIN = [
    field("An exact amount becomes a float", NUMBER, {"type": "number"}, BROKEN, 204),
    field("A number becomes an int-or-string", NUMBER, {"x-kubernetes-int-or-string": True}, BROKEN, 204),
    spec("A selector has to be given, in place", struct(it=struct()), struct("it", it=struct()), BROKEN, 203),
    spec("A new field has to be given", struct("ca", ca=TEXT), struct("ca key", ca=TEXT, key=TEXT), BROKEN, 202),
    spec("A field goes from a GA version", struct(one=TEXT), struct(), BROKEN, 201),
    field("There is one more choice", {**TEXT, "enum": ["TCP", "UDP"]}, {**TEXT, "enum": ["TCP", "UDP", "SCTP"]}, OK),
    field("What could be any text is a choice", TEXT, {**TEXT, "enum": ["http", "https"]}, BROKEN, 205),
    field("A lower bound goes down", {**NUMBER, "minimum": 1}, {**NUMBER, "minimum": 0}, OK),
    field("A pattern goes", {**TEXT, "pattern": "^[-._a-zA-Z][-._a-zA-Z0-9]*$"}, TEXT, OK),
    field(
        "Items are told apart by one key more",
        {**LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"]},
        {**LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"]},
        BROKEN,
        210,
    ),
    field("A list is said to be atomic, as it was", LIST, {**LIST, "x-kubernetes-list-type": "atomic"}, OK),
    field("A list becomes a set, which refuses twins", LIST, {**LIST, "x-kubernetes-list-type": "set"}, BROKEN, 210),
    field("An open object gets a schema, and drops what it does not know", OPEN, struct(spec=struct()), BROKEN, 211),
    field("An object of an alpha is kept as it is", struct(name=TEXT), OPEN, OK, 0, "v1alpha1"),
    field("A field can be null no longer", {**TEXT, "nullable": True}, TEXT, BROKEN, 209),
    kind("A status of an alpha is written through /status", {"status": False}, {"status": True}, ALPHA, 222, "v1alpha1"),
    Case(
        "A version comes, and is stored, in one release",
        lock({"v2beta2": version("v2beta2")}, OLD),
        lock({"v2": version("v2"), "v2beta2": version("v2beta2")}, NEW),
        BROKEN,
        225,
    ),
    beside(
        "The next beta calls a required field otherwise",
        ("v2beta1", struct("metricName", metricName=TEXT)),
        ("v2beta2", struct("metric", metric=struct("name", name=TEXT))),
        BROKEN,
        242,
    ),
]
WORST = {BROKEN: 2, ALPHA: 1, OK: 0}


@pytest.mark.parametrize("case", [*HISTORY, *PLAIN], ids=lambda case: case.told)
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
    assert all(case.source.startswith("https://") for case in HISTORY)
