"""Match conditions of webhooks and policies, and what their expressions see of a write.

    conditions = Conditions.of(webhook.get("matchConditions"))        # once, when the configuration is stored
    conditions.hold(variables(subject))                               # for each write that rules and selectors mean

What it promises: as soon as one condition does not hold, the others and their errors do not matter; where none is false and one has
no value, `ConditionError` says why, and the failure policy decides. Nothing costs more than the meter allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from admission.identity import Identity
from admission.matching_rules import Address
from admission.review import Attributes, Authorizer, Review
from registry import cel
from registry.cel import Access, CompileError, CostExceeded, EvaluationError, Meter, Program, Question, Shape
from registry.cel.reviews import WEBHOOK
from registry.conversion import between
from registry.kinds import Kind, Version, resource_name

Document = dict[str, Any]

OF_ACCOUNTS = "token"
"""The subresource to which a TokenRequest is sent, below the account that the token is for."""
TOKEN_REQUEST = {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}


class ConditionError(Exception):
    """Whether the conditions hold cannot be told."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Compiled match conditions. `names`: the variables that any of them uses."""

    programs: tuple[tuple[str, Program], ...] = ()
    broken: str = ""
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, conditions: Iterable[Mapping[str, Any]] | None, variables: Mapping[str, str | Shape] = WEBHOOK) -> Self:
        """Match conditions as they are stored. One that does not compile (any more) makes whether they hold unknown."""
        try:
            programs = tuple((each["name"], cel.compile(each["expression"], variables, ("bool",))) for each in conditions or ())
        except CompileError as error:
            return cls(broken=f"compilation failed: {error}")
        return cls(programs, names=roots(program for _, program in programs))

    def __bool__(self) -> bool:
        return bool(self.programs or self.broken)

    def hold(self, variables: Mapping[str, Any], meter: Meter | None = None) -> bool:
        """Whether all of them hold. Raises ConditionError; CostExceeded, which only a meter that is passed in raises."""
        if self.broken:
            raise ConditionError(self.broken)
        spent, errors = meter or Meter(CONDITIONS), []
        for _, program in self.programs:
            try:
                if not program.evaluate(variables, spent):
                    return False
            except EvaluationError as error:
                errors.append(f"expression '{program.text}' resulted in error: {error}")
            except CostExceeded as error:
                if meter is not None:
                    raise
                raise ConditionError(f"expression '{program.text}' resulted in error: {error}") from None
        if errors:
            raise ConditionError(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
        return True


def roots(programs: Iterable[Program]) -> frozenset[str]:
    """The variables that expressions use: of names with dots, what is before the first."""
    return frozenset(name.partition(".")[0] for program in programs for name in program.names)


CONDITIONS = 20_000
"""What the conditions of one webhook may cost together when nobody says otherwise: about 10 ms, in which nobody else is served."""


ALL = frozenset({"request", "authorizer"})


def variables(review: Review[Document], address: Address, access: Access, names: frozenset[str] = ALL) -> dict[str, Any]:
    """What expressions see of a write, in the version of `address`: object, oldObject, and those of request and authorizer that are
    in `names`."""
    kind, version = _asked(review)
    target = seen_version(kind, review.asked or version, address)
    change = between(version, target)
    new = None if review.operation == "DELETE" else review.new
    found: dict[str, Any] = {
        "object": new if change is None or new is None else change.there(new),
        "oldObject": review.old if change is None or review.old is None else change.there(review.old),
    }
    if "request" in names:
        found["request"] = request_of(review, target)
    if "authorizer" in names:
        found["authorizer"] = question = Question(access)
        found["authorizer.requestResource"] = _on_request(question, review, version, kind)
    return found


def seen_version(kind: Kind, asked: Version, address: Address) -> Version:
    """The version of a kind that an address names."""
    found = (each for each in kind.versions if (each.group, each.name) == (address.group, address.version))
    return next(found, asked)


def request_of(review: Review[Document], target: Version) -> Document:
    """The AdmissionRequest of a write, but for the objects. `target`: the version that they are seen in."""
    kind, version = _asked(review)
    request: Document = {
        **_names(kind, target, ""),
        **_names(kind, review.asked or version, "request"),
        "name": review.name,
        "operation": review.operation,
        "userInfo": user_info(review.identity),
        "dryRun": review.dry_run,
        "options": dict(review.options),
    }
    namespace = review.name if kind.resource == "namespaces" else review.namespace  # a namespace counts as being in itself
    if namespace:
        request["namespace"] = namespace
    if review.subresource:
        request["subResource"] = request["requestSubResource"] = review.subresource
    if review.subresource == OF_ACCOUNTS:
        request |= {"kind": TOKEN_REQUEST, "requestKind": TOKEN_REQUEST}
    return request


def user_info(identity: Identity) -> Document:
    """Who asks, as an AdmissionRequest tells it. What is empty is left out."""
    said: Document = {"username": identity.username, "groups": list(identity.groups)}
    if identity.uid:
        said["uid"] = identity.uid
    if identity.extra:
        said["extra"] = {key: list(values) for key, values in identity.extra}
    return said


def access_of(authorizer: Authorizer, identity: Identity) -> Access:
    """The questions that an expression may ask of an authorizer, about who makes the request."""

    def access(verb: str, about: Mapping[str, str]) -> tuple[bool, str]:
        path = about.get("path")
        if path is not None:
            asked = Attributes(identity, verb, "", path=path)
        else:
            resource = resource_name(about.get("resource", ""), about.get("group", ""))
            named = about.get("subresource", ""), about.get("namespace", ""), about.get("name", "")
            asked = Attributes(identity, verb, resource, *named)
        decision = authorizer.decide(asked)
        return decision.allowed, decision.reason

    return access


def _names(kind: Kind, version: Version, prefix: str) -> Document:
    key = (lambda name: prefix + name[:1].upper() + name[1:]) if prefix else str
    return {
        key("kind"): {"group": version.group, "version": version.name, "kind": version.kind},
        key("resource"): {"group": version.group, "version": version.name, "resource": kind.plural},
    }


def _on_request(question: Question, review: Review[Document], version: Version, kind: Kind) -> Question:
    about = {"group": version.group, "resource": kind.plural, "namespace": review.namespace, "name": review.name}
    if review.subresource:
        about["subresource"] = review.subresource
    return Question(question.access, "resource", about)


def _asked(review: Review[Document]) -> tuple[Kind, Version]:
    if review.kind is None or review.version is None:
        raise ValueError("a review that names no kind has no request")
    return review.kind, review.version
