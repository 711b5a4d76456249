"""The status rule: who writes a status, and what whoever may not is told."""

from __future__ import annotations

import pytest

from admission.authorizer import MastersAuthorizer, OwnerAuthorizer
from admission.identity import ADMIN, Identity, authenticated
from admission.review import Attributes, Decision
from registry.kinds import EXTERNAL

OWNER = authenticated(Identity("system:actor:one"))
OTHER = authenticated(Identity("system:actor:two"))


class Says:
    """An authorizer that always says the same."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def decide(self, attributes: Attributes) -> Decision:
        del attributes
        return self._decision


YES, NO = Says(Decision(True)), Says(Decision(False))
OWNERS = {"owned": "system:actor:one", "free": EXTERNAL, "nobodys": ""}
AUTHORIZER = OwnerAuthorizer(OWNERS, then=YES)
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]


def why_not(authorizer: OwnerAuthorizer, attributes: Attributes) -> str | None:
    decision = authorizer.decide(attributes)
    return None if decision.allowed else decision.reason


def asked(who: Identity, verb: str, resource: str, subresource: str = "") -> str | None:
    return why_not(AUTHORIZER, Attributes(who, verb, resource, subresource, "shop", "a"))


@pytest.mark.parametrize("verb", ["update", "patch"])
def test_a_status_is_written_by_its_owner_alone(verb: str) -> None:
    assert asked(OWNER, verb, "owned", "status") is None
    for who in (ADMIN, OTHER):
        assert asked(who, verb, "owned", "status") == "the status of owned is written by its owner alone, system:actor:one"


@pytest.mark.parametrize("who", [ADMIN, OWNER, OTHER], ids=lambda who: who.username)
def test_an_external_status_is_written_by_whoever_may_write(who: Identity) -> None:
    assert asked(who, "patch", "free", "status") is None
    assert asked(who, "patch", "nobody_knows_it", "status") is None


@pytest.mark.parametrize("who", [ADMIN, OWNER], ids=lambda who: who.username)
def test_a_status_that_no_actor_owns_is_written_by_nobody(who: Identity) -> None:
    assert (
        asked(who, "update", "nobodys", "status") == "no actor owns nobodys: declare one, or declare the kind with owner='external'"
    )


@pytest.mark.parametrize("verb", VERBS)
def test_everything_else_is_left_to_others(verb: str) -> None:
    for resource in ("owned", "free", "nobodys"):
        for subresource in ("", "scale", "finalize"):
            assert asked(OTHER, verb, resource, subresource) is None
    assert asked(OTHER, "get", "owned", "status") is None


@pytest.mark.parametrize("verb", VERBS)
def test_an_owner_needs_the_right_as_well_and_what_nobody_allows_is_refused(verb: str) -> None:
    authorizer = OwnerAuthorizer(OWNERS, then=NO)
    for subresource in ("", "status", "scale"):
        assert not authorizer.decide(Attributes(OWNER, verb, "owned", subresource)).allowed


def test_masters_may_all_if_they_are_authenticated_and_others_are_left_to_others() -> None:
    assert MastersAuthorizer(NO).decide(Attributes(ADMIN, "get", "free")).allowed
    assert not MastersAuthorizer(NO).decide(Attributes(Identity("admin", groups=("system:masters",)), "get", "free")).allowed
    assert not MastersAuthorizer(NO).decide(Attributes(OTHER, "get", "free")).allowed
    assert MastersAuthorizer(YES).decide(Attributes(OTHER, "get", "free")).allowed


@pytest.mark.parametrize("verb", ["create", "delete", "deletecollection"])
def test_objects_that_have_a_maker_are_made_and_deleted_by_nobody_else(verb: str) -> None:
    authorizer = OwnerAuthorizer({}, {"kept": "system:actor:one", "free": ""}, then=YES)
    assert why_not(authorizer, Attributes(OWNER, verb, "kept")) is None
    for who in (ADMIN, OTHER):
        assert why_not(authorizer, Attributes(who, verb, "kept")) == "kept are made and deleted by system:actor:one alone"
        assert why_not(authorizer, Attributes(who, verb, "free")) is None
        assert why_not(authorizer, Attributes(who, verb, "others")) is None
        for allowed in ("get", "list", "watch", "update", "patch"):
            assert why_not(authorizer, Attributes(who, allowed, "kept")) is None


def test_what_is_declared_later_changes_nothing() -> None:
    owners = {"owned": "system:actor:one"}
    authorizer = OwnerAuthorizer(owners, then=YES)
    owners["owned"] = "system:actor:two"
    assert why_not(authorizer, Attributes(OTHER, "patch", "owned", "status")) is not None
