"""Who a request is from, once its Impersonate headers are looked at; and what a server makes of them."""

from __future__ import annotations

import json

import pytest

from admission.identity import ADMIN, MASTERS, Identity, authenticated
from admission.review import Attributes, Decision
from apiserver import asking
from apiserver.impersonation import impersonated as impersonated_on
from registry.errors import BadRequest, Forbidden, Unauthorized
from tests.apiserver.world import NAMESPACES, SOMEBODY, TRINKETS, World
from tests.servers import Running

USER = (b"impersonate-user", b"ref-low")


def masters(asked: Attributes) -> Decision:
    return Decision(MASTERS in asked.identity.groups)


def impersonated(identity: Identity | None, headers: list[tuple[bytes, bytes]], method: str, path: str) -> Identity | None:
    on = asking.of_path(identity or Identity(""), method, path)
    return impersonated_on(identity, headers, on, masters)


class Asked:
    """Allows some things, and keeps what it was asked."""

    def __init__(self, *allowed: tuple[str, str, str, str]) -> None:
        self.allowed = allowed
        self.asked: list[tuple[str, str, str, str]] = []

    def decide(self, asked: Attributes) -> Decision:
        assert asked.verb == "impersonate"
        said = (asked.resource, asked.subresource, asked.namespace, asked.name)
        self.asked.append(said)
        return Decision(said in self.allowed)


EVERYTHING = [
    USER,
    (b"impersonate-group", b"g1"),
    (b"impersonate-group", b"system:masters"),
    (b"impersonate-uid", b"u-1"),
    (b"impersonate-extra-scope", b"x"),
    (b"impersonate-extra-scope", b"y"),
]
NEEDED = (
    ("users", "", "", "ref-low"),
    ("groups", "", "", "g1"),
    ("groups", "", "", "system:masters"),
    ("uids.authentication.k8s.io", "", "", "u-1"),
    ("userextras.authentication.k8s.io", "scope", "", "x"),
    ("userextras.authentication.k8s.io", "scope", "", "y"),
)


def test_every_part_of_another_identity_needs_a_right_of_its_own() -> None:
    on = asking.of_path(SOMEBODY, "get", "/")
    everything = Asked(*NEEDED)
    assert impersonated_on(SOMEBODY, EVERYTHING, on, everything.decide) is not None
    assert everything.asked == list(NEEDED)
    for missing in NEEDED:
        with pytest.raises(Forbidden):
            impersonated_on(SOMEBODY, EVERYTHING, on, Asked(*(set(NEEDED) - {missing})).decide)


def test_a_service_account_is_impersonated_by_namespace_and_name_and_its_own_groups_are_free() -> None:
    on = asking.of_path(SOMEBODY, "get", "/")
    account = [(b"impersonate-user", b"system:serviceaccount:shop:till")]
    asked = Asked(("serviceaccounts", "", "shop", "till"))
    assert impersonated_on(SOMEBODY, account, on, asked.decide) is not None
    with pytest.raises(Forbidden):
        impersonated_on(SOMEBODY, account, on, Asked(("users", "", "", "system:serviceaccount:shop:till")).decide)
    for no_account in (b"system:serviceaccount:shop", b"system:serviceaccount:a:b:c", b"system:serviceaccount::x"):
        users = Asked()
        with pytest.raises(Forbidden):
            impersonated_on(SOMEBODY, [(b"impersonate-user", no_account)], on, users.decide)
        assert users.asked == [("users", "", "", no_account.decode())]


def test_without_such_headers_everybody_is_who_they_are() -> None:
    assert impersonated(SOMEBODY, [(b"accept", b"*/*")], "get", "/") is SOMEBODY
    assert impersonated(None, [], "get", "/") is None


def test_an_admin_becomes_whom_the_headers_name_with_no_rights_left() -> None:
    assert impersonated(ADMIN, [USER], "get", "/") == authenticated(Identity("ref-low"))
    headers = [
        USER,
        (b"impersonate-group", b"g1"),
        (b"impersonate-group", b"g2"),
        (b"impersonate-uid", b"u-1"),
        (b"impersonate-extra-reference.example.com%2fscope", b"x"),
        (b"impersonate-extra-Case", b"y"),
    ]
    extra = (("case", ("y",)), ("reference.example.com/scope", ("x",)))
    assert impersonated(ADMIN, headers, "get", "/") == Identity("ref-low", "u-1", ("g1", "g2", "system:authenticated"), extra)


def test_a_service_account_has_the_groups_of_its_name_and_the_anonymous_user_is_not_authenticated() -> None:
    account = impersonated(ADMIN, [(b"impersonate-user", b"system:serviceaccount:shop:till")], "get", "/")
    assert account is not None
    assert account.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")
    nobody = impersonated(ADMIN, [(b"impersonate-user", b"system:anonymous")], "get", "/")
    assert nobody is not None
    assert nobody.groups == ("system:unauthenticated",)


def test_groups_without_a_user_are_a_bad_request() -> None:
    with pytest.raises(BadRequest) as refused:
        impersonated(ADMIN, [(b"impersonate-group", b"g1")], "get", "/")
    assert refused.value.message == (
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g1"}, Extra:map[string][]string(nil)} '
        "without impersonating a user name"
    )


@pytest.mark.anyio
async def test_whoever_may_not_is_refused_and_the_refusal_says_who_wanted_what(world: World) -> None:
    with pytest.raises(Unauthorized):
        impersonated(None, [USER], "get", "/")
    for path, message in (
        (
            f"{NAMESPACES}/shop",
            (
                'namespaces "shop" is forbidden: User "somebody" cannot impersonate-on:user-info:get resource "namespaces" '
                'in API group "" in the namespace "shop"'
            ),
        ),
        (
            f"{TRINKETS}/a/status",
            (
                'trinkets.trinkets.example "a" is forbidden: User "somebody" cannot impersonate-on:user-info:get '
                'resource "trinkets/status" in API group "trinkets.example" in the namespace "shop"'
            ),
        ),
    ):
        with pytest.raises(Forbidden) as refused:
            impersonated_on(SOMEBODY, [USER], asking.attributes(SOMEBODY, "get", world.target(path), {}), masters)
        assert refused.value.message == message
    with pytest.raises(Forbidden, match='path "/version"'):
        impersonated(SOMEBODY, [USER], "get", "/version")


def test_a_server_takes_the_rights_of_who_is_impersonated_and_its_log_names_both(reference_server: Running) -> None:
    with reference_server.client() as client:
        anonymous = client.get("/api/v1/namespaces", headers={"Impersonate-User": "system:anonymous"})
        assert anonymous.status_code == 403
        assert 'User "system:anonymous" cannot list' in anonymous.json()["message"]
        assert client.get("/api/v1/namespaces", headers={"Impersonate-User": "ref-low"}).status_code == 403
        assert client.get("/api", headers={"Impersonate-User": "ref-low"}).status_code == 200
        assert client.get("/version", headers={"Impersonate-User": "ref-low"}).status_code == 200
        assert client.get("/api/v1/namespaces", headers={"Impersonate-Group": "x"}).status_code == 400
        assert client.get("/healthz", headers={"Impersonate-User": "x", "Authorization": ""}).status_code == 401
    while '"admin as ref-low"' not in reference_server.log:
        pass
    lines = [json.loads(line) for line in reference_server.log.splitlines() if "ref-low" in line]
    assert {line["identity"] for line in lines} == {"admin as ref-low"}
