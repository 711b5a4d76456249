"""Nobody gives what they do not have: who writes a role holds its rules already, and who binds a role holds the rules of that one.

As in Kubernetes ("privilege escalation prevention and bootstrapping"):

* A role may be written with rules that its writer holds in the same scope, or by whoever may `escalate` roles.
* A binding may be written by whoever holds all rules of the role in the scope of the binding, or may `bind` that role.
* A role that is made of others could come to hold anything: it is written by whoever holds everything.
* Administrators may do it all. What changes finalizers and owners alone gives nothing, and is not asked. Nor does what brings the
  rules of a role that is made of others up to what it is made of: they are a copy.

It looks at the object as it will be stored, after everything that may have changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from admission.identity import AUTHENTICATED, MASTERS, Identity
from admission.rbac import Place, Rbac
from admission.review import Attributes, Decision, Review
from admission.rules import Rule, Table, TooManyPieces, missing, on_wire, quoted, told
from registry.builtin.rbac import GROUP
from registry.errors import Cause, Forbidden, NotFound, details
from registry.kinds import Kind, resource_name

Document = dict[str, Any]

EVERYTHING = (Rule(("*",), ("*",), ("*",)), Rule(verbs=("*",), non_resource_urls=("*",)))
WRITES = frozenset({"CREATE", "UPDATE"})
BINDINGS = frozenset({"rolebindings", "clusterrolebindings"})
TIDYING = frozenset({"finalizers", "ownerReferences", "managedFields", "resourceVersion"})
"""Metadata by which nobody gets a right."""


class GrantGuard:
    """An admitter: refuses roles and bindings that give more than their writer has."""

    def __init__(self, rbac: Rbac, decide: Callable[[Attributes], Decision]) -> None:
        self._rbac = rbac
        self._decide = decide

    def concerns(self, review: Review[Document]) -> bool:
        """See `Admitter`."""
        return review.kind is not None and review.kind.storage.group == GROUP and review.operation in WRITES

    async def mutate(self, review: Review[Document]) -> Document:
        """See `Admitter`: it changes nothing."""
        return review.new

    async def validate(self, review: Review[Document]) -> Sequence[Cause]:
        """See `Admitter`. Raises Forbidden, and NotFound for a role that is to be bound and is not there."""
        groups = review.identity.groups
        if (MASTERS in groups and AUTHENTICATED in groups) or review.kind is None or _tidies(review) or self._copies(review):
            return ()
        if review.kind.plural in BINDINGS:
            self._check_binding(review, review.kind)
        else:
            self._check_role(review, review.kind)
        return ()

    def _copies(self, review: Review[Document]) -> bool:
        """Whether an update writes into a role that is made of others what it is made of, and nothing else."""
        old, new = review.old, review.new
        if old is None or review.operation != "UPDATE" or not new.get("aggregationRule"):
            return False
        if _essence({**old, "rules": None}) != _essence({**new, "rules": None}):
            return False
        return new.get("rules") == on_wire(self._rbac.rules_of(Place("", review.name)))

    def _check_role(self, review: Review[Document], kind: Kind) -> None:
        name = review.name if review.operation == "UPDATE" else ""
        if self._may(review.identity, "escalate", kind.plural, review.namespace, name):
            return
        self._check(review, kind, _rules(review.new))
        aggregates = any(document and document.get("aggregationRule") for document in (review.new, review.old))
        if aggregates and not self._holds_all(review.identity):
            raise _refused(review, kind, "must have cluster-admin privileges to use the aggregationRule")

    def _check_binding(self, review: Review[Document], kind: Kind) -> None:
        ref: Mapping[str, str] = review.new.get("roleRef") or {}
        plural, name = ("roles" if ref.get("kind") == "Role" else "clusterroles"), ref.get("name", "")
        if self._may(review.identity, "bind", plural, review.namespace, name):
            return
        role = Place(review.namespace if plural == "roles" else "", name)
        table = self._rbac.table(role)
        if table is None:
            said = f'{resource_name(plural, GROUP)} "{name}" not found'
            raise NotFound(said, details=details(name=name, group=GROUP, kind=plural))
        self._check(review, kind, table.rules)

    def _check(self, review: Review[Document], kind: Kind, rules: Iterable[Rule]) -> None:
        who = review.identity
        try:
            lacking = missing(self._held(who, review.namespace), rules)
        except TooManyPieces:
            raise _refused(
                review, kind, "its rules are too long to be compared with those of its writer: make several roles"
            ) from None
        if lacking:
            user = f"user {msgspec.json.encode(who.username).decode()} (groups={quoted(who.groups)})"
            raise _refused(review, kind, f"{user} is attempting to grant RBAC permissions not currently held:\n{told(lacking)}")

    def _held(self, who: Identity, namespace: str) -> Table:
        tables = [self._rbac.table(grant.role) for grant in self._rbac.grants(who, namespace)]
        return Table(dict.fromkeys(rule for table in tables if table is not None for rule in table.rules))

    def _holds_all(self, who: Identity) -> bool:
        return not missing(self._held(who, ""), EVERYTHING)

    def _may(self, who: Identity, verb: str, plural: str, namespace: str, name: str) -> bool:
        return self._decide(Attributes(who, verb, resource_name(plural, GROUP), "", namespace, name)).allowed


def _rules(document: Document) -> tuple[Rule, ...]:
    """The rules of a role. What is null is absent: whether it may be, others say."""
    said = [{field: values for field, values in rule.items() if values is not None} for rule in document.get("rules") or ()]
    return msgspec.convert(said, tuple[Rule, ...])


def _tidies(review: Review[Document]) -> bool:
    """Whether an update changes what gives no right alone."""
    return review.old is not None and review.operation == "UPDATE" and _essence(review.new) == _essence(review.old)


def _essence(document: Document) -> Document:
    metadata = {key: value for key, value in document["metadata"].items() if key not in TIDYING}
    return {**document, "metadata": metadata}


def _refused(review: Review[Document], kind: Kind, why: str) -> Forbidden:
    about = details(name=review.name, group=kind.group, kind=kind.plural)
    return Forbidden(f'{kind.resource} "{review.name}" is forbidden: {why}', details=about)
