"""ValidatingAdmissionPolicy and ValidatingAdmissionPolicyBinding (admissionregistration.k8s.io/v1): rules in CEL about what is
written, and where each applies. They belong to no namespace. What they say by default is written into them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from registry.builtin.common import builtin, column, printer, version
from registry.builtin.policy_checks import check_binding, check_policy
from registry.builtin.webhooks import LabelSelector, MatchCondition, RuleWithOperations
from registry.kinds import Document, Kind, as_is
from registry.resource import Conditions, Format, ListMap, Meta, Object, OmitEmpty, Status, Struct

GROUP = "admissionregistration.k8s.io"


class NamedRuleWithOperations(RuleWithOperations):
    """NamedRuleWithOperations is a tuple of Operations and Resources with ResourceNames."""

    resource_names: Annotated[tuple[str, ...], OmitEmpty, Meta(description="Names of objects; none: all.")] = ()


class MatchResources(Struct):
    """MatchResources decides what a policy is about: all of it must hold."""

    namespace_selector: Annotated[LabelSelector, Meta(description="Labels of the object's namespace.")] = LabelSelector()
    object_selector: Annotated[LabelSelector, Meta(description="Labels of the object, as it is or as it was.")] = LabelSelector()
    resource_rules: Annotated[tuple[NamedRuleWithOperations, ...], OmitEmpty, Meta(description="What it is about.")] = ()
    exclude_resource_rules: Annotated[
        tuple[NamedRuleWithOperations, ...], OmitEmpty, Meta(description="What it is not about, whatever the rules say.")
    ] = ()
    match_policy: Annotated[str, Meta(description="Equivalent: also for other versions of what the rules name; or Exact.")] = (
        "Equivalent"
    )


class ParamKind(Struct):
    """ParamKind is the kind of the objects that parametrize a policy."""

    api_version: Annotated[str, Meta(description="Group and version.")] = ""
    kind: Annotated[str, Meta(description="The name of the kind.")] = ""


class Validation(Struct):
    """Validation is a rule in CEL that has to hold."""

    expression: Annotated[
        str, Meta(description="CEL over object, oldObject, request, params, namespaceObject, variables and authorizer.")
    ] = ""
    message: Annotated[str, OmitEmpty, Meta(description="What is said when it does not hold.")] = ""
    reason: Annotated[str | None, Meta(description="Invalid, Forbidden, Unauthorized or RequestEntityTooLarge.")] = None
    message_expression: Annotated[str, OmitEmpty, Meta(description="CEL that gives the message.")] = ""


class AuditAnnotation(Struct):
    """AuditAnnotation adds to the audit event of a request."""

    key: Annotated[str, Meta(description="The key, after the name of the policy.")] = ""
    value_expression: Annotated[str, Meta(description="CEL that gives a text, or null for none.")] = ""


class Variable(Struct):
    """Variable is an expression that others use by its name; it is evaluated once, and only if it is used."""

    name: Annotated[str, Meta(description="`variables.NAME` in the expressions after it.")] = ""
    expression: Annotated[str, Meta(description="CEL.")] = ""


class ValidatingAdmissionPolicySpec(Struct):
    """ValidatingAdmissionPolicySpec is what a policy asks for."""

    param_kind: Annotated[ParamKind | None, Meta(description="The kind of its parameters, if it has any.")] = None
    match_constraints: Annotated[MatchResources | None, Meta(description="What it is about.")] = None
    validations: Annotated[tuple[Validation, ...], OmitEmpty, Meta(description="What has to hold.")] = ()
    failure_policy: Annotated[str, Meta(description="What if it cannot be evaluated: Fail refuses, Ignore passes it over.")] = (
        "Fail"
    )
    audit_annotations: Annotated[tuple[AuditAnnotation, ...], OmitEmpty, Meta(description="What is added to the audit event.")] = ()
    match_conditions: Annotated[
        tuple[MatchCondition, ...], ListMap("name"), OmitEmpty, Meta(description="Where one does not hold, nothing is asked.")
    ] = ()
    variables: Annotated[tuple[Variable, ...], ListMap("name"), OmitEmpty, Meta(description="Expressions with names.")] = ()


class ExpressionWarning(Struct):
    """ExpressionWarning is a warning about an expression."""

    field_ref: Annotated[str, Meta(description="The path of the expression.")]
    warning: Annotated[str, Meta(description="What may be wrong.")]


class TypeChecking(Struct):
    """TypeChecking tells what checking the types of expressions has found."""

    expression_warnings: Annotated[tuple[ExpressionWarning, ...], OmitEmpty, Meta(description="What may be wrong.")] = ()


class ValidatingAdmissionPolicyStatus(Status):
    """ValidatingAdmissionPolicyStatus is what whoever looks after policies has found."""

    observed_generation: Annotated[
        Annotated[int, Format("int64")] | None, Meta(description="The generation that was looked at.")
    ] = None
    type_checking: Annotated[TypeChecking | None, Meta(description="What checking types has found.")] = None
    conditions: Annotated[Conditions, Meta(description="The state of the policy.")] = ()


class ValidatingAdmissionPolicy(Object):
    """ValidatingAdmissionPolicy describes rules in CEL that accept or reject an object without changing it."""

    spec: Annotated[ValidatingAdmissionPolicySpec, Meta(description="What it asks for.")] = ValidatingAdmissionPolicySpec()
    status: Annotated[ValidatingAdmissionPolicyStatus | None, Meta(description="What was found about it.")] = None


class ParamRef(Struct):
    """ParamRef says which objects are the parameters of a policy: one by its name, or all that a selector selects."""

    name: Annotated[str, OmitEmpty, Meta(description="The name of the object.")] = ""
    namespace: Annotated[str, OmitEmpty, Meta(description="Where it is; empty: where the reviewed object is.")] = ""
    selector: Annotated[LabelSelector | None, Meta(description="Labels of the objects.")] = None
    parameter_not_found_action: Annotated[str | None, Meta(description="Allow or Deny.")] = None


class ValidatingAdmissionPolicyBindingSpec(Struct):
    """ValidatingAdmissionPolicyBindingSpec says where a policy applies, with which parameters, and what follows from it."""

    policy_name: Annotated[str, OmitEmpty, Meta(description="The policy. Without it, the binding does nothing.")] = ""
    param_ref: Annotated[ParamRef | None, Meta(description="The parameters.")] = None
    match_resources: Annotated[MatchResources | None, Meta(description="What it is about, of all that the policy is about.")] = None
    validation_actions: Annotated[
        tuple[str, ...], OmitEmpty, Meta(description="Deny, Warn, Audit: what follows when something does not hold.")
    ] = ()


class ValidatingAdmissionPolicyBinding(Object):
    """ValidatingAdmissionPolicyBinding binds a policy to what it applies to."""

    spec: Annotated[ValidatingAdmissionPolicyBindingSpec, Meta(description="What is bound.")] = (
        ValidatingAdmissionPolicyBindingSpec()
    )


def prepare(new: Document, old: Document | None) -> Document:
    """A policy has a status from the beginning."""
    return new if old is not None else {**new, "status": {}}


def _policy_cells(document: Document, now: float) -> list[Any]:
    del now
    spec = document.get("spec") or {}
    kind = spec.get("paramKind")
    return [len(spec.get("validations") or ()), f"{kind['apiVersion']}/{kind['kind']}" if kind else "<unset>"]


def _binding_cells(document: Document, now: float) -> list[Any]:
    del now
    spec = document.get("spec") or {}
    ref = spec.get("paramRef")
    name = "<unset>" if ref is None else "/".join(each for each in (ref.get("namespace"), ref.get("name") or "*") if each)
    return [spec.get("policyName", ""), name]


POLICY_TABLE = printer(
    [column("Validations", "How many rules there are."), column("ParamKind", "The kind of its parameters.")], _policy_cells
)
BINDING_TABLE = printer([column("PolicyName", "The policy."), column("ParamRef", "Its parameters.")], _binding_cells)


def _counted(kind: Kind) -> Kind:
    return replace(kind, strategy=replace(kind.strategy, counts_generation=True))


POLICY = _counted(
    builtin(
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        (version(ValidatingAdmissionPolicy, GROUP, "v1", "ValidatingAdmissionPolicy", POLICY_TABLE),),
        prepare=prepare,
        check=check_policy,
        namespaced=False,
        has_status=True,
    )
)
POLICY_BINDING = _counted(
    builtin(
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        (version(ValidatingAdmissionPolicyBinding, GROUP, "v1", "ValidatingAdmissionPolicyBinding", BINDING_TABLE),),
        prepare=as_is,
        check=check_binding,
        namespaced=False,
    )
)
