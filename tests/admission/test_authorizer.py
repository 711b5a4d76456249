"""The status rule: who writes a status, and what whoever may not is told."""

from __future__ import annotations

import pytest

from admission.authorizer import OwnerAuthorizer
from admission.identity import ADMIN, Identity, authenticated
from admission.review import Attributes
from registry.kinds import EXTERNAL

OWNER = authenticated(Identity("system:serviceaccount:kube-system:skep-actor-one"))
OTHER = authenticated(Identity("system:serviceaccount:kube-system:skep-actor-two"))
AUTHORIZER = OwnerAuthorizer({"owned": "system:serviceaccount:kube-system:skep-actor-one", "free": EXTERNAL, "nobodys": ""})
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
        assert (
            asked(who, verb, "owned", "status")
            == "the status of owned is written by its owner alone, system:serviceaccount:kube-system:skep-actor-one"
        )


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
def test_everything_else_is_open_to_whoever_is_authenticated(verb: str) -> None:
    for resource in ("owned", "free", "nobodys"):
        for subresource in ("", "scale", "finalize"):
            assert asked(OTHER, verb, resource, subresource) is None
    assert asked(OTHER, "get", "owned", "status") is None


@pytest.mark.parametrize("verb", VERBS)
def test_whoever_is_not_authenticated_may_do_nothing(verb: str) -> None:
    for who in (
        Identity("system:anonymous", groups=("system:unauthenticated",)),
        Identity("system:serviceaccount:kube-system:skep-actor-one"),
        Identity("admin", groups=("system:masters",)),
    ):
        assert asked(who, verb, "free") == ""


@pytest.mark.parametrize("verb", ["create", "delete", "deletecollection"])
def test_objects_that_have_a_maker_are_made_and_deleted_by_nobody_else(verb: str) -> None:
    authorizer = OwnerAuthorizer({}, {"kept": "system:serviceaccount:kube-system:skep-actor-one", "free": ""})
    assert why_not(authorizer, Attributes(OWNER, verb, "kept")) is None
    for who in (ADMIN, OTHER):
        assert (
            why_not(authorizer, Attributes(who, verb, "kept"))
            == "kept are made and deleted by system:serviceaccount:kube-system:skep-actor-one alone"
        )
        assert why_not(authorizer, Attributes(who, verb, "free")) is None
        assert why_not(authorizer, Attributes(who, verb, "others")) is None
        for allowed in ("get", "list", "watch", "update", "patch"):
            assert why_not(authorizer, Attributes(who, allowed, "kept")) is None


def test_what_is_declared_later_changes_nothing() -> None:
    owners = {"owned": "system:serviceaccount:kube-system:skep-actor-one"}
    authorizer = OwnerAuthorizer(owners)
    owners["owned"] = "system:serviceaccount:kube-system:skep-actor-two"
    assert why_not(authorizer, Attributes(OTHER, "patch", "owned", "status")) is not None
