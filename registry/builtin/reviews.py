"""Reviews (authorization.k8s.io/v1, authentication.k8s.io/v1): questions about who somebody is and what they may do.

They are created and answered, and never stored. What they are answered with is `admission.reviews`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import msgspec

from registry.builtin.common import builtin, printer, version
from registry.kinds import Kind, as_is
from registry.resource import Meta, Object, Spec, Status, Struct

AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"

Text = Annotated[str | None, Meta()]
Texts = list[str] | None


class Requirement(Struct):
    """A selector requirement is a key, an operator, and values that relate to it."""

    key: Text = None
    operator: Annotated[str | None, Meta(description="In, NotIn, Exists or DoesNotExist.")] = None
    values: Texts = None


class SelectorAttributes(Struct):
    """Which objects are asked about, by a selector. It does not widen what is allowed, and is not looked at."""

    raw_selector: Text = None
    requirements: list[Requirement] | None = None


class ResourceAttributes(Struct):
    """ResourceAttributes is what is asked about, if that is a resource."""

    namespace: Annotated[str | None, Meta(description="The namespace; empty is all of them, or none.")] = None
    verb: Annotated[str | None, Meta(description="As get, list, watch, create; * is all.")] = None
    group: Annotated[str | None, Meta(description="The API group; empty is the core group, * is all.")] = None
    version: Annotated[str | None, Meta(description="The version; it changes nothing.")] = None
    resource: Annotated[str | None, Meta(description="The plural; * is all.")] = None
    subresource: Annotated[str | None, Meta(description="As status; empty is none.")] = None
    name: Annotated[str | None, Meta(description="The name of an object; empty is all.")] = None
    field_selector: SelectorAttributes | None = None
    label_selector: SelectorAttributes | None = None


class NonResourceAttributes(Struct):
    """NonResourceAttributes is what is asked about, if that is a path."""

    path: Annotated[str | None, Meta(description="The path, as /healthz.")] = None
    verb: Annotated[str | None, Meta(description="The method in lower case, as get.")] = None


class SelfAccessSpec(Spec):
    """SelfSubjectAccessReviewSpec has exactly one of its fields."""

    wire_name = "SelfSubjectAccessReviewSpec"
    resource_attributes: Annotated[ResourceAttributes | None, Meta(description="About a resource.")] = None
    non_resource_attributes: Annotated[NonResourceAttributes | None, Meta(description="About a path.")] = None


class AccessSpec(SelfAccessSpec):
    """SubjectAccessReviewSpec says who, and what."""

    wire_name = "SubjectAccessReviewSpec"
    user: Annotated[str | None, Meta(description="The user name.")] = None
    groups: Annotated[Texts, Meta(description="The groups that the user is in, all of them.")] = None
    extra: Annotated[dict[str, list[str]] | None, Meta(description="What else is known of the user.")] = None
    uid: Annotated[str | None, Meta(description="The uid of the user.")] = None


class AccessStatus(Status):
    """SubjectAccessReviewStatus is the answer."""

    wire_name = "SubjectAccessReviewStatus"
    allowed: Annotated[bool | None, Meta(description="Whether it is allowed.")] = None
    denied: Annotated[bool | None, Meta(description="Whether it is refused whatever else allows it.")] = None
    reason: Annotated[str | None, Meta(description="What allows it, or why nothing does.")] = None
    evaluation_error: Annotated[str | None, Meta(description="What went wrong while it was decided.")] = None


Answer = Annotated[AccessStatus | None, Meta(description="The answer.")]


class SelfSubjectAccessReview(Object):
    """SelfSubjectAccessReview asks whether whoever asks may do something."""

    spec: Annotated[SelfAccessSpec | None, Meta(description="The question.")] = None
    status: Answer = None


class SubjectAccessReview(Object):
    """SubjectAccessReview asks whether somebody may do something."""

    spec: Annotated[AccessSpec | None, Meta(description="The question.")] = None
    status: Answer = None


class LocalSubjectAccessReview(Object):
    """LocalSubjectAccessReview asks whether somebody may do something in one namespace."""

    spec: Annotated[AccessSpec | None, Meta(description="The question.")] = None
    status: Answer = None


class RulesSpec(Spec):
    """SelfSubjectRulesReviewSpec says where."""

    wire_name = "SelfSubjectRulesReviewSpec"
    namespace: Annotated[str | None, Meta(description="The namespace. Required.")] = None


class ResourceRule(Struct):
    """ResourceRule is what may be done to resources."""

    verbs: Texts = None
    api_groups: Texts = None
    resources: Texts = None
    resource_names: Texts = None


class NonResourceRule(Struct):
    """NonResourceRule is what may be done to paths."""

    verbs: Texts = None
    non_resource_urls: Texts = msgspec.field(default=None, name="nonResourceURLs")


class RulesStatus(Status):
    """SubjectRulesReviewStatus is the answer."""

    wire_name = "SubjectRulesReviewStatus"
    resource_rules: list[ResourceRule] | None = None
    non_resource_rules: list[NonResourceRule] | None = None
    incomplete: Annotated[bool | None, Meta(description="Whether there may be more.")] = None
    evaluation_error: Annotated[str | None, Meta(description="What went wrong.")] = None


class SelfSubjectRulesReview(Object):
    """SelfSubjectRulesReview asks for all that whoever asks may do in a namespace."""

    spec: Annotated[RulesSpec | None, Meta(description="The question.")] = None
    status: Annotated[RulesStatus | None, Meta(description="The answer.")] = None


class UserInfo(Struct):
    """UserInfo is who somebody is."""

    username: Text = None
    uid: Text = None
    groups: Texts = None
    extra: dict[str, list[str]] | None = None


class SelfSubjectReviewStatus(Status):
    """SelfSubjectReviewStatus is the answer."""

    user_info: UserInfo | None = None


class SelfSubjectReview(Object):
    """SelfSubjectReview asks who it is that asks."""

    status: Annotated[SelfSubjectReviewStatus | None, Meta(description="The answer.")] = None


class TokenReviewSpec(Spec):
    """TokenReviewSpec is a token, and for whom it should be."""

    token: Annotated[str | None, Meta(description="The bearer token.")] = None
    audiences: Annotated[Texts, Meta(description="Whom the token should be for, any of them; none: this server.")] = None


class TokenReviewStatus(Status):
    """TokenReviewStatus is the answer."""

    authenticated: Annotated[bool | None, Meta(description="Whether the token holds.")] = None
    user: Annotated[UserInfo | None, Meta(description="Whom it stands for.")] = None
    audiences: Annotated[Texts, Meta(description="Whom it is for, of those that were asked about.")] = None
    error: Annotated[str | None, Meta(description="Why it does not hold.")] = None


class TokenReview(Object):
    """TokenReview asks whose a token is."""

    spec: Annotated[TokenReviewSpec | None, Meta(description="The question.")] = None
    status: Annotated[TokenReviewStatus | None, Meta(description="The answer.")] = None


def cells(document: dict[str, Any], now: float) -> list[Any]:
    """No table of these is ever shown."""
    del document, now
    return []


TABLE = printer([], cells)


def _review(model: type, plural: str, group: str, *, namespaced: bool = False) -> Kind:
    served = version(model, group, "v1", model.__name__, TABLE)
    kind = builtin(model.__name__, plural, (served,), prepare=as_is, namespaced=namespaced, verbs=("create",), collected=False)
    return replace(kind, stored=False)


SELF_ACCESS = _review(SelfSubjectAccessReview, "selfsubjectaccessreviews", AUTHORIZATION)
ACCESS = _review(SubjectAccessReview, "subjectaccessreviews", AUTHORIZATION)
LOCAL_ACCESS = _review(LocalSubjectAccessReview, "localsubjectaccessreviews", AUTHORIZATION, namespaced=True)
SELF_RULES = _review(SelfSubjectRulesReview, "selfsubjectrulesreviews", AUTHORIZATION)
SELF = _review(SelfSubjectReview, "selfsubjectreviews", AUTHENTICATION)
TOKEN = _review(TokenReview, "tokenreviews", AUTHENTICATION)

REVIEWS: tuple[Kind, ...] = (SELF, TOKEN, LOCAL_ACCESS, SELF_ACCESS, SELF_RULES, ACCESS)
"""All of them. In the order of discovery: first who, then what."""
