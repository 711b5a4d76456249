"""MutatingWebhookConfiguration and ValidatingWebhookConfiguration (admissionregistration.k8s.io/v1): who outside of the server is
asked about writes. They belong to no namespace. What they say by default is written into them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from registry.builtin.common import builtin, column, printer, version
from registry.builtin.webhook_checks import check
from registry.kinds import Kind, as_is
from registry.resource import Format, ListMap, Meta, Object, OmitEmpty, Struct

GROUP = "admissionregistration.k8s.io"
Int32 = Annotated[int, Format("int32")]


class LabelSelectorRequirement(Struct):
    """A label selector requirement is a selector that contains values, a key, and an operator that relates the key and values."""

    key: Annotated[str, Meta(description="The label.")] = ""
    operator: Annotated[str, Meta(description="In, NotIn, Exists or DoesNotExist.")] = ""
    values: Annotated[tuple[str, ...], OmitEmpty, Meta(description="What In and NotIn compare with.")] = ()


class LabelSelector(Struct):
    """A label selector is a label query over a set of resources. An empty one selects everything."""

    match_labels: Annotated[dict[str, str] | None, Meta(description="Labels with the values that they must have.")] = None
    match_expressions: Annotated[
        tuple[LabelSelectorRequirement, ...], OmitEmpty, Meta(description="Requirements, all of which must hold.")
    ] = ()


class RuleWithOperations(Struct):
    """RuleWithOperations is a tuple of Operations and Resources."""

    operations: Annotated[tuple[str, ...], OmitEmpty, Meta(description="CREATE, UPDATE, DELETE, CONNECT, or * for all.")] = ()
    api_groups: Annotated[tuple[str, ...], OmitEmpty, Meta(description="Groups, or * for all; the core group is empty.")] = ()
    api_versions: Annotated[tuple[str, ...], OmitEmpty, Meta(description="Versions, or * for all.")] = ()
    resources: Annotated[
        tuple[str, ...], OmitEmpty, Meta(description="Plurals and subresources: pods, pods/status, pods/*, */scale, *, */*.")
    ] = ()
    scope: Annotated[str, Meta(description="Cluster, Namespaced, or * for both.")] = "*"


class ServiceReference(Struct):
    """ServiceReference names a service; where it is, the server's settings say."""

    namespace: Annotated[str, Meta(description="The namespace of the service.")] = ""
    name: Annotated[str, Meta(description="The name of the service.")] = ""
    path: Annotated[str | None, Meta(description="The path of the URL.")] = None
    port: Annotated[Int32, Meta(description="The port of the service.")] = 443


class WebhookClientConfig(Struct):
    """WebhookClientConfig says how to connect with the webhook: by a URL or by a service."""

    url: Annotated[str | None, Meta(description="https://host[:port]/path, without a query.")] = None
    service: Annotated[ServiceReference | None, Meta(description="A service that the server's settings know.")] = None
    ca_bundle: Annotated[
        Annotated[str, Format("byte")] | None,
        Meta(description="Certificates, PEM in base64, that the webhook's own is checked by. Without: those of the system."),
    ] = None


class MatchCondition(Struct):
    """MatchCondition is a rule in CEL that has to hold for the webhook to be called."""

    name: Annotated[str, Meta(description="What errors call it by.")] = ""
    expression: Annotated[str, Meta(description="CEL over object, oldObject, request and authorizer; gives true or false.")] = ""


class ValidatingWebhook(Struct):
    """ValidatingWebhook describes an admission webhook and the resources and operations it applies to."""

    name: Annotated[str, Meta(description="Its name, fully qualified: at least three parts with dots between them.")] = ""
    client_config: Annotated[WebhookClientConfig, Meta(description="Where it is.")] = WebhookClientConfig()
    rules: Annotated[tuple[RuleWithOperations, ...], OmitEmpty, Meta(description="What it is asked about.")] = ()
    failure_policy: Annotated[str, Meta(description="What if it cannot be asked: Fail refuses, Ignore passes it over.")] = "Fail"
    match_policy: Annotated[str, Meta(description="Equivalent: also for other versions of what the rules name; or Exact.")] = (
        "Equivalent"
    )
    namespace_selector: Annotated[LabelSelector, Meta(description="Labels of the object's namespace.")] = LabelSelector()
    object_selector: Annotated[LabelSelector, Meta(description="Labels of the object, as it is or as it was.")] = LabelSelector()
    side_effects: Annotated[str | None, Meta(description="None, or NoneOnDryRun.")] = None
    timeout_seconds: Annotated[Int32, Meta(description="How long it may take, 1 to 30.")] = 10
    admission_review_versions: Annotated[
        tuple[str, ...], OmitEmpty, Meta(description="The versions of AdmissionReview that it understands: v1.")
    ] = ()
    match_conditions: Annotated[
        tuple[MatchCondition, ...], ListMap("name"), OmitEmpty, Meta(description="All of them have to hold.")
    ] = ()


class MutatingWebhook(ValidatingWebhook):
    """MutatingWebhook describes an admission webhook and the resources and operations it applies to."""

    reinvocation_policy: Annotated[
        str, Meta(description="IfNeeded: it is asked once more when others changed the object after it; or Never.")
    ] = "Never"


class MutatingWebhookConfiguration(Object):
    """MutatingWebhookConfiguration describes webhooks that accept or reject and may change the object."""

    webhooks: Annotated[
        tuple[MutatingWebhook, ...], ListMap("name"), OmitEmpty, Meta(description="Asked one after the other, in this order.")
    ] = ()


class ValidatingWebhookConfiguration(Object):
    """ValidatingWebhookConfiguration describes webhooks that accept or reject the object without changing it."""

    webhooks: Annotated[tuple[ValidatingWebhook, ...], ListMap("name"), OmitEmpty, Meta(description="Asked all at once.")] = ()


TABLE = printer([column("Webhooks", "How many webhooks there are.")], lambda document, _: [len(document.get("webhooks") or ())])


def _kind(model: type, name: str, plural: str) -> Kind:
    kind = builtin(name, plural, (version(model, GROUP, "v1", name, TABLE),), prepare=as_is, check=check, namespaced=False)
    return replace(kind, strategy=replace(kind.strategy, counts_generation=True))


MUTATING = _kind(MutatingWebhookConfiguration, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
VALIDATING = _kind(ValidatingWebhookConfiguration, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
