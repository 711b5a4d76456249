"""Answers to reviews: who somebody is, and what they may do. A question in, the same with its `status` out; nothing is stored.

What is said is what a request would meet: the same authorizer decides, and the same authenticators know the tokens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from admission.identity import Identity, TokenReviewer
from admission.review import Attributes, Authorizer
from admission.rules import Rule
from registry.builtin import reviews
from registry.builtin.common import without_empty
from registry.errors import BadRequest, Cause, Invalid, Unauthorized, invalid, required
from registry.kinds import resource_name
from registry.times import format_time

Document = dict[str, Any]

Responder = Callable[[Identity, str, Document], Awaitable[Document]]
"""Answers a create of a kind that is not stored: who asks, in which namespace (or none), and what. Raises ApiError."""

ONE_OF = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
INVALID_TOKEN = "invalid bearer token"  # noqa: S105


class Authorization(Authorizer, Protocol):
    """Decides, and can tell the rules that it decides by."""

    def rules_for(self, identity: Identity, namespace: str) -> tuple[Sequence[Rule], Sequence[Rule]]:
        """All that somebody may do in a namespace: rules about resources, and rules about paths."""
        ...


class NoTokens:
    """A reviewer that knows no token."""

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[Identity, tuple[str, ...]]:
        """See `TokenReviewer`."""
        raise Unauthorized


NO_TOKENS = NoTokens()


class Reviews:
    """Answers reviews. `now` is the time in seconds since 1970."""

    def __init__(self, authorization: Authorization, tokens: TokenReviewer, now: Callable[[], float]) -> None:
        self._authorization = authorization
        self._tokens = tokens
        self._now = now

    @property
    def responders(self) -> Mapping[str, Responder]:
        """What answers each kind of review, by resource."""
        return {
            reviews.SELF_ACCESS.resource: self.self_access,
            reviews.ACCESS.resource: self.access,
            reviews.LOCAL_ACCESS.resource: self.local_access,
            reviews.SELF_RULES.resource: self.self_rules,
            reviews.SELF.resource: self.self_review,
            reviews.TOKEN.resource: self.token,
        }

    async def self_access(self, asking: Identity, namespace: str, review: Document) -> Document:
        """SelfSubjectAccessReview: whether whoever asks may do something."""
        spec = _spec(review)
        _refuse([*_attribute_causes(spec), *_metadata_causes(review, "")])
        return self._decided(review, spec, asking)

    async def access(self, asking: Identity, namespace: str, review: Document) -> Document:
        """SubjectAccessReview: whether somebody may do something."""
        spec = _spec(review)
        _refuse([*_attribute_causes(spec), *_subject_causes(spec), *_metadata_causes(review, "")])
        return self._decided(review, spec, _subject(spec))

    async def local_access(self, asking: Identity, namespace: str, review: Document) -> Document:
        """LocalSubjectAccessReview: whether somebody may do something in the namespace of the review, and in no other."""
        spec = _spec(review)
        causes = [*_attribute_causes(spec), *_subject_causes(spec), *_metadata_causes(review, namespace)]
        attributes = spec.get("resourceAttributes")
        if attributes is not None:
            where = attributes.setdefault("namespace", namespace)
            if where != namespace:
                causes.append(invalid("spec.resourceAttributes.namespace", where, "must match metadata.namespace"))
        if "nonResourceAttributes" in spec:
            causes.append(invalid("spec.nonResourceAttributes", _go(spec), "disallowed on this kind of request"))
        _refuse(causes)
        return self._decided({**review, "metadata": {**review["metadata"], "namespace": namespace}}, spec, _subject(spec))

    async def self_rules(self, asking: Identity, namespace: str, review: Document) -> Document:
        """SelfSubjectRulesReview: all that whoever asks may do in a namespace."""
        where = (review.get("spec") or {}).get("namespace")
        if not where:
            raise BadRequest("no namespace on request")
        resources, paths = self._authorization.rules_for(asking, where)
        status = {
            "resourceRules": [_resource_rule(rule) for rule in resources],
            "nonResourceRules": [{"verbs": list(rule.verbs), "nonResourceURLs": list(rule.non_resource_urls)} for rule in paths],
            "incomplete": False,
        }
        return {**review, "status": status}

    async def self_review(self, asking: Identity, namespace: str, review: Document) -> Document:
        """SelfSubjectReview: who it is that asks."""
        return {
            **review,
            "metadata": {"creationTimestamp": format_time(self._now())},
            "status": {"userInfo": user_info(asking)},
        }

    async def token(self, asking: Identity, namespace: str, review: Document) -> Document:
        """TokenReview: whose a token is. One that does not hold is no error of the request."""
        spec = without_empty(review.get("spec") or {}, "token", "audiences")
        if "token" not in spec:
            raise BadRequest("token is required for TokenReview in authentication")
        try:
            identity, audiences = await self._tokens.review(spec["token"], spec.get("audiences", ()))
        except Unauthorized as refused:
            status: Document = {"user": {}, "error": refused.why or INVALID_TOKEN}
        else:
            status = {"authenticated": True, "user": user_info(identity), "audiences": list(audiences)}
        return {**review, "metadata": {}, "spec": spec, "status": status}

    def _decided(self, review: Document, spec: Document, subject: Identity) -> Document:
        decision = self._authorization.decide(_attributes(subject, spec))
        status: Document = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return {**review, "spec": spec, "status": status}


def user_info(identity: Identity) -> Document:
    """An identity as the API shows it (UserInfo)."""
    said: Document = {"username": identity.username, "uid": identity.uid, "groups": list(identity.groups)}
    extra = {key: list(values) for key, values in identity.extra}
    return without_empty({**said, "extra": extra}, "uid", "groups", "extra")


def _resource_rule(rule: Rule) -> Document:
    said = {"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources, "resourceNames": rule.resource_names}
    return {key: list(values) for key, values in said.items() if values or key == "verbs"}


# The question.


def _spec(review: Document) -> Document:
    """The spec without what is empty in it. It is the caller's own."""
    spec = without_empty(review.get("spec") or {}, "user", "uid", "groups", "extra")
    return {
        key: {inner: value for inner, value in item.items() if value} if key.lower().endswith("attributes") else item
        for key, item in spec.items()
    }


def _attributes(subject: Identity, spec: Document) -> Attributes:
    asked = spec.get("resourceAttributes")
    if asked is None:
        path = spec["nonResourceAttributes"]
        return Attributes(subject, path.get("verb", ""), "", path=path["path"])
    resource = resource_name(asked.get("resource", ""), asked.get("group", ""))
    return Attributes(
        subject,
        asked.get("verb", ""),
        resource,
        asked.get("subresource", ""),
        asked.get("namespace", ""),
        asked.get("name", ""),
    )


def _subject(spec: Document) -> Identity:
    """Whom a review is about: exactly what it says. No group is added."""
    extra = tuple((key, tuple(values)) for key, values in sorted(spec.get("extra", {}).items()))
    return Identity(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups", ())), extra)


def _attribute_causes(spec: Document) -> list[Cause]:
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if asked is not None and path is not None:
        return [invalid("spec.nonResourceAttributes", _go(spec), "cannot be specified in combination with resourceAttributes")]
    if path is not None:
        return [] if path.get("path") else [required("spec.nonResourceAttributes.path")]
    if asked is None:
        return [invalid("spec.resourceAttributes", None, ONE_OF)]
    resource = asked.get("resource", "")
    if "." in resource or "/" in resource:
        rest = "the group and the subresource have fields of their own"
        return [invalid("spec.resourceAttributes.resource", resource, f"must be a plural alone: {rest}")]
    return []


def _go(spec: Document) -> Document:
    """The path that is asked about, as a Go server shows it."""
    path = spec["nonResourceAttributes"]
    return {"Path": path.get("path", ""), "Verb": path.get("verb", "")}


def _subject_causes(spec: Document) -> list[Cause]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [invalid("spec.user", "", "at least one of user or group must be specified")]


def _metadata_causes(review: Document, namespace: str) -> list[Cause]:
    """A question has no name, and no other metadata but its namespace."""
    said = {key: value for key, value in review["metadata"].items() if key != "managedFields"}
    if said in ({}, {"namespace": namespace}):
        return []
    return [invalid("metadata", said, "must be empty except for namespace" if namespace else "must be empty")]


def _refuse(causes: Sequence[Cause]) -> None:
    """Raises Invalid, if there is anything wrong. Like a real server's it names no kind."""
    if causes:
        raise Invalid("", reviews.AUTHORIZATION, "", causes)
