"""By which names actors are known, and who is one by his name."""

from __future__ import annotations

import pytest

from registry.actors import account_name, account_of, groups_of_account, user_of, user_of_account
from registry.names import dns1123_subdomain


@pytest.mark.parametrize("actor", ["uptime-check", "a.b", "Has Spaces", "x_y", "-", "", "a" * 300, "ä", "a:b", "a/b"])
def test_every_actor_has_an_account_that_can_be_and_leads_back_to_its_lease(actor: str) -> None:
    name = account_name(actor)
    assert dns1123_subdomain(name) == []
    assert name.startswith("skep-actor-")
    assert account_of(user_of(actor)) == name


def test_no_two_actors_share_an_account() -> None:
    names = ["a", "A", "a ", " a", "a_", "a-", "-a", "", "a:b", "a/b"]
    assert len({account_name(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "user",
    [
        "admin",
        "system:actor:x",
        "skep-actor-x",
        "system:serviceaccount:shop:skep-actor-x",
        "system:serviceaccount:kube-system:default",
        "system:serviceaccount:kube-system:",
        "System:serviceaccount:kube-system:skep-actor-x",
        " system:serviceaccount:kube-system:skep-actor-x",
    ],
)
def test_nobody_else_is_an_actor(user: str) -> None:
    assert account_of(user) is None


def test_an_account_is_named_as_kubernetes_names_it() -> None:
    assert user_of_account("shop", "till") == "system:serviceaccount:shop:till"
    assert groups_of_account("shop") == ("system:serviceaccounts", "system:serviceaccounts:shop")
