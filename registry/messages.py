"""The protobuf messages of the built-in kinds: which number stands for which field.

These are the numbers of the published `generated.proto` files of Kubernetes (k8s.io/api, k8s.io/apimachinery), which never change.
A field is `NUMBER NAME TYPE`, its name that of its JSON form. Nothing as type is a text. Of a type `T` (`string`, `int`, `bool`,
`bytes`, `raw` for bytes as they are, `Time`, `MicroTime`, or another message) there can be

    T       a value; zero says nothing, as a field that JSON leaves out when it is empty
    T?      a value of which zero says something: a pointer in Go
    [T]     a list; [] of texts
    {T}     a map from texts to T; {} to texts
    T...    a message whose fields are those of the message that it is in

No message contains itself, so the depth of what is read is bounded by this table.
"""

from __future__ import annotations

from collections.abc import Mapping

RBAC, AUTHORIZATION, AUTHENTICATION = "rbac.authorization.k8s.io/v1", "authorization.k8s.io/v1", "authentication.k8s.io/v1"
ADMISSION = "admissionregistration.k8s.io/v1"

KINDS: Mapping[tuple[str, str], str] = {
    ("v1", "ConfigMap"): "ConfigMap",
    ("v1", "DeleteOptions"): "DeleteOptions",
    ("v1", "Event"): "CoreEvent",
    ("v1", "Namespace"): "Namespace",
    ("v1", "ResourceQuota"): "ResourceQuota",
    ("v1", "Secret"): "Secret",
    ("v1", "ServiceAccount"): "ServiceAccount",
    ("autoscaling/v1", "Scale"): "Scale",
    ("coordination.k8s.io/v1", "Lease"): "Lease",
    ("events.k8s.io/v1", "Event"): "Event",
    **{(RBAC, kind): kind for kind in ("Role", "ClusterRole")},
    **{(RBAC, kind): "Binding" for kind in ("RoleBinding", "ClusterRoleBinding")},
    (AUTHORIZATION, "SelfSubjectAccessReview"): "SelfAccessReview",
    (AUTHORIZATION, "SubjectAccessReview"): "AccessReview",
    (AUTHORIZATION, "LocalSubjectAccessReview"): "AccessReview",
    (AUTHORIZATION, "SelfSubjectRulesReview"): "RulesReview",
    **{(AUTHENTICATION, kind): kind for kind in ("SelfSubjectReview", "TokenRequest", "TokenReview")},
    **{(ADMISSION, kind): kind for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")},
    **{(ADMISSION, kind): kind for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")},
}
"""apiVersion and kind -> the message that its bodies are."""

MESSAGES: Mapping[str, str] = {
    # What every body is in, and what every object has.
    "Unknown": "1 typeMeta TypeMeta, 2 raw raw, 3 contentEncoding, 4 contentType",
    "TypeMeta": "1 apiVersion, 2 kind",
    "ObjectMeta": "1 name, 2 generateName, 3 namespace, 4 selfLink, 5 uid, 6 resourceVersion, 7 generation int, "
    "8 creationTimestamp Time, 9 deletionTimestamp Time, 10 deletionGracePeriodSeconds int?, 11 labels {}, 12 annotations {}, "
    "13 ownerReferences [OwnerReference], 14 finalizers [], 17 managedFields [ManagedFieldsEntry]",
    "OwnerReference": "1 kind, 3 name, 4 uid, 5 apiVersion, 6 controller bool?, 7 blockOwnerDeletion bool?",
    "ManagedFieldsEntry": "1 manager, 2 operation, 3 apiVersion, 4 time Time, 6 fieldsType, 7 fieldsV1 FieldsV1, 8 subresource",
    "DeleteOptions": "1 gracePeriodSeconds int?, 2 preconditions Preconditions, 3 orphanDependents bool?, "
    "4 propagationPolicy string?, 5 dryRun [], 6 ignoreStoreReadErrorWithClusterBreakingPotential bool?",
    "Preconditions": "1 uid string?, 2 resourceVersion string?",
    "LabelSelector": "1 matchLabels {}, 2 matchExpressions [Requirement]",
    "Requirement": "1 key, 2 operator, 3 values []",
    "Condition": "1 type, 2 status, 3 observedGeneration int, 4 lastTransitionTime Time, 5 reason, 6 message",
    "ObjectReference": "1 kind, 2 namespace, 3 name, 4 uid, 5 apiVersion, 6 resourceVersion, 7 fieldPath",
    # Messages that are written as something else in JSON.
    "Timestamp": "1 seconds int?, 2 nanos int?",
    "FieldsV1": "1 raw raw",
    "Quantity": "1 string",
    "Strings": "1 items []",
    # core/v1
    "Namespace": "1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status NamespaceStatus",
    "NamespaceSpec": "1 finalizers []",
    "NamespaceStatus": "1 phase, 2 conditions [Condition]",
    "ConfigMap": "1 metadata ObjectMeta, 2 data {}, 3 binaryData {bytes}, 4 immutable bool?",
    "Secret": "1 metadata ObjectMeta, 2 data {bytes}, 3 type, 4 stringData {}, 5 immutable bool?",
    "ServiceAccount": "1 metadata ObjectMeta, 2 secrets [ObjectReference], 3 imagePullSecrets [LocalObjectReference], "
    "4 automountServiceAccountToken bool?",
    "LocalObjectReference": "1 name",
    "ResourceQuota": "1 metadata ObjectMeta, 2 spec QuotaSpec, 3 status QuotaStatus",
    "QuotaSpec": "1 hard {Quantity}, 2 scopes [], 3 scopeSelector ScopeSelector",
    "QuotaStatus": "1 hard {Quantity}, 2 used {Quantity}",
    "ScopeSelector": "1 matchExpressions [ScopeRequirement]",
    "ScopeRequirement": "1 scopeName, 2 operator, 3 values []",
    "CoreEvent": "1 metadata ObjectMeta, 2 involvedObject ObjectReference, 3 reason, 4 message, 5 source EventSource, "
    "6 firstTimestamp Time, 7 lastTimestamp Time, 8 count int, 9 type, 10 eventTime MicroTime, 11 series EventSeries, 12 action, "
    "13 related ObjectReference, 14 reportingComponent, 15 reportingInstance",
    "EventSource": "1 component, 2 host",
    "EventSeries": "1 count int, 2 lastObservedTime MicroTime",
    # events.k8s.io, coordination.k8s.io, autoscaling
    "Event": "1 metadata ObjectMeta, 2 eventTime MicroTime, 3 series EventSeries, 4 reportingController, 5 reportingInstance, "
    "6 action, 7 reason, 8 regarding ObjectReference, 9 related ObjectReference, 10 note, 11 type, "
    "12 deprecatedSource EventSource, 13 deprecatedFirstTimestamp Time, 14 deprecatedLastTimestamp Time, 15 deprecatedCount int",
    "Lease": "1 metadata ObjectMeta, 2 spec LeaseSpec",
    "LeaseSpec": "1 holderIdentity string?, 2 leaseDurationSeconds int?, 3 acquireTime MicroTime, 4 renewTime MicroTime, "
    "5 leaseTransitions int?, 6 strategy string?, 7 preferredHolder string?",
    "Scale": "1 metadata ObjectMeta, 2 spec ScaleSpec, 3 status ScaleStatus",
    "ScaleSpec": "1 replicas int?",
    "ScaleStatus": "1 replicas int, 2 selector",
    # rbac.authorization.k8s.io
    "Role": "1 metadata ObjectMeta, 2 rules [PolicyRule]",
    "ClusterRole": "1 metadata ObjectMeta, 2 rules [PolicyRule], 3 aggregationRule AggregationRule",
    "PolicyRule": "1 verbs [], 2 apiGroups [], 3 resources [], 4 resourceNames [], 5 nonResourceURLs []",
    "AggregationRule": "1 clusterRoleSelectors [LabelSelector]",
    "Binding": "1 metadata ObjectMeta, 2 subjects [Subject], 3 roleRef RoleRef",
    "Subject": "1 kind, 2 apiGroup, 3 name, 4 namespace",
    "RoleRef": "1 apiGroup, 2 kind, 3 name",
    # authorization.k8s.io, authentication.k8s.io: status is the server's, and not read
    "SelfAccessReview": "1 metadata ObjectMeta, 2 spec SelfAccessSpec",
    "SelfAccessSpec": "1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes PathAttributes",
    "AccessReview": "1 metadata ObjectMeta, 2 spec AccessSpec",
    "AccessSpec": "1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes PathAttributes, 3 user, 4 groups [], "
    "5 extra {Strings}, 6 uid",
    "ResourceAttributes": "1 namespace, 2 verb, 3 group, 4 version, 5 resource, 6 subresource, 7 name, "
    "8 fieldSelector SelectorAttributes, 9 labelSelector SelectorAttributes",
    "SelectorAttributes": "1 rawSelector, 2 requirements [Requirement]",
    "PathAttributes": "1 path, 2 verb",
    "RulesReview": "1 metadata ObjectMeta, 2 spec RulesSpec",
    "RulesSpec": "1 namespace",
    "SelfSubjectReview": "1 metadata ObjectMeta",
    "TokenReview": "1 metadata ObjectMeta, 2 spec TokenReviewSpec",
    "TokenReviewSpec": "1 token, 2 audiences []",
    "TokenRequest": "1 metadata ObjectMeta, 2 spec TokenRequestSpec",
    "TokenRequestSpec": "1 audiences [], 3 boundObjectRef BoundObjectReference, 4 expirationSeconds int?",
    "BoundObjectReference": "1 kind, 2 apiVersion, 3 name, 4 uid",
    # admissionregistration.k8s.io
    "MutatingWebhookConfiguration": "1 metadata ObjectMeta, 2 webhooks [MutatingWebhook]",
    "ValidatingWebhookConfiguration": "1 metadata ObjectMeta, 2 webhooks [ValidatingWebhook]",
    "MutatingWebhook": "1 name, 2 clientConfig ClientConfig, 3 rules [RuleWithOperations], 4 failurePolicy string?, "
    "5 namespaceSelector LabelSelector, 6 sideEffects string?, 7 timeoutSeconds int?, 8 admissionReviewVersions [], "
    "9 matchPolicy string?, 10 reinvocationPolicy string?, 11 objectSelector LabelSelector, 12 matchConditions [MatchCondition]",
    "ValidatingWebhook": "1 name, 2 clientConfig ClientConfig, 3 rules [RuleWithOperations], 4 failurePolicy string?, "
    "5 namespaceSelector LabelSelector, 6 sideEffects string?, 7 timeoutSeconds int?, 8 admissionReviewVersions [], "
    "9 matchPolicy string?, 10 objectSelector LabelSelector, 11 matchConditions [MatchCondition]",
    "ClientConfig": "1 service ServiceReference, 2 caBundle bytes, 3 url string?",
    "ServiceReference": "1 namespace, 2 name, 3 path string?, 4 port int?",
    "RuleWithOperations": "1 operations [], 2 rule Rule...",
    "Rule": "1 apiGroups [], 2 apiVersions [], 3 resources [], 4 scope string?",
    "MatchCondition": "1 name, 2 expression",
    "ValidatingAdmissionPolicy": "1 metadata ObjectMeta, 2 spec PolicySpec, 3 status PolicyStatus",
    "PolicySpec": "1 paramKind ParamKind, 2 matchConstraints MatchResources, 3 validations [Validation], 4 failurePolicy string?, "
    "5 auditAnnotations [AuditAnnotation], 6 matchConditions [MatchCondition], 7 variables [Variable]",
    "PolicyStatus": "1 observedGeneration int, 2 typeChecking TypeChecking, 3 conditions [Condition]",
    "TypeChecking": "1 expressionWarnings [ExpressionWarning]",
    "ExpressionWarning": "2 fieldRef, 3 warning",
    "ParamKind": "1 apiVersion, 2 kind",
    "MatchResources": "1 namespaceSelector LabelSelector, 2 objectSelector LabelSelector, 3 resourceRules [NamedRule], "
    "4 excludeResourceRules [NamedRule], 7 matchPolicy string?",
    "NamedRule": "1 resourceNames [], 2 ruleWithOperations RuleWithOperations...",
    "Validation": "1 expression, 2 message, 3 reason string?, 4 messageExpression",
    "AuditAnnotation": "1 key, 2 valueExpression",
    "Variable": "1 name, 2 expression",
    "ValidatingAdmissionPolicyBinding": "1 metadata ObjectMeta, 2 spec PolicyBindingSpec",
    "PolicyBindingSpec": "1 policyName, 2 paramRef ParamRef, 3 matchResources MatchResources, 4 validationActions []",
    "ParamRef": "1 name, 2 namespace, 3 selector LabelSelector, 4 parameterNotFoundAction string?",
}
"""Message -> its fields."""
