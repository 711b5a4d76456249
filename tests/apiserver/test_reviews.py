"""Reviews through the request path: they are answered and never stored, and can only be created."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from admission.identity import ADMIN, Identity, authenticated
from apiserver.discovery import Discovery
from apiserver.documents import OpenAPIDocuments
from apiserver.negotiation import PROTOBUF
from registry.builtin import REVIEWS
from registry.errors import BadRequest, Forbidden, Invalid, MethodNotAllowed
from tests.apiserver.world import SOMEBODY, Document, World, opened
from tests.plugins.reference import plugin as reference
from tests.registry.test_protobuf import enveloped, written

pytestmark = pytest.mark.anyio

ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SELF_ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
LOCAL_ACCESS = "/apis/authorization.k8s.io/v1/namespaces/shop/localsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
ALL = (ACCESS, SELF_ACCESS, LOCAL_ACCESS, RULES, SELF, TOKENS)
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop"
GET_CONFIGMAPS: Document = {"resourceAttributes": {"namespace": "shop", "verb": "get", "resource": "configmaps"}}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened(reference, roles=True) as world:
        yield world


async def answered(world: World, path: str, spec: Document, who: Identity = ADMIN) -> Document:
    """The status of the answer."""
    answer = await world.do("create", path, {"spec": spec}, who=who)
    assert answer.code == 201
    assert answer.document is not None
    status: Document = answer.document["status"]
    return status


async def give_reading(world: World) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a"]}]
    await world.make(f"{ROLES}/roles", "reader", rules=rules)
    subjects = [{"kind": "User", "name": "somebody", "apiGroup": "rbac.authorization.k8s.io"}]
    role = {"kind": "Role", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}
    await world.make(f"{ROLES}/rolebindings", "reader", subjects=subjects, roleRef=role)


async def test_an_answer_is_what_a_request_would_meet(world: World) -> None:
    named = {"resourceAttributes": {**GET_CONFIGMAPS["resourceAttributes"], "name": "a"}}
    for path, spec in ((SELF_ACCESS, named), (ACCESS, {**named, "user": "somebody"})):
        assert not (await answered(world, path, spec, SOMEBODY if path == SELF_ACCESS else ADMIN))["allowed"]
    await give_reading(world)
    assert (await answered(world, SELF_ACCESS, named, SOMEBODY))["allowed"]
    assert "reader" in (await answered(world, ACCESS, {**named, "user": "somebody"}))["reason"]
    assert not (await answered(world, SELF_ACCESS, GET_CONFIGMAPS, SOMEBODY))["allowed"]
    assert (await answered(world, LOCAL_ACCESS, {**named, "user": "somebody"}))["allowed"]
    await world.do("delete", f"{ROLES}/rolebindings/reader")
    assert not (await answered(world, SELF_ACCESS, named, SOMEBODY))["allowed"]


async def test_the_rules_of_who_asks_are_those_of_their_bindings(world: World) -> None:
    await give_reading(world)
    status = await answered(world, RULES, {"namespace": "shop"}, SOMEBODY)
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]}
    assert rule in status["resourceRules"]
    assert rule not in (await answered(world, RULES, {"namespace": "default"}, SOMEBODY))["resourceRules"]
    assert any("/version" in paths["nonResourceURLs"] for paths in status["nonResourceRules"])


async def test_everybody_may_ask_about_themselves_and_only_some_about_others(world: World) -> None:
    status = await answered(world, SELF, {}, SOMEBODY)
    assert status["userInfo"] == {"username": "somebody", "groups": ["system:authenticated"]}
    for path in (ACCESS, LOCAL_ACCESS, TOKENS):
        with pytest.raises(Forbidden, match='User "somebody" cannot create resource'):
            await world.do("create", path, {"spec": {}}, who=SOMEBODY)
    with pytest.raises(Forbidden):
        await world.do("create", SELF, {}, who=Identity("system:anonymous", groups=("system:unauthenticated",)))


async def test_nothing_is_stored_and_no_name_is_taken(world: World) -> None:
    before = world.store.revision
    for _ in range(2):
        await answered(world, SELF_ACCESS, GET_CONFIGMAPS)
        await answered(world, SELF, {})
        await answered(world, TOKENS, {"token": "x"})
    assert world.store.revision == before
    assert all(not world.stored(kind.resource) for kind in REVIEWS)


@pytest.mark.parametrize("verb", ["get", "list", "watch", "update", "patch", "delete", "deletecollection"])
async def test_reviews_can_only_be_created(world: World, verb: str) -> None:
    for path in ALL:
        call = world.call(verb, path if verb in ("list", "watch", "deletecollection") else f"{path}/a")
        with pytest.raises(MethodNotAllowed) as refused:
            world.manager.check_verb(call)
        assert refused.value.details == {}
        if verb != "watch":
            with pytest.raises(MethodNotAllowed):
                await world.manager.handle(call)


async def test_reviews_come_in_protobuf(world: World) -> None:
    attributes = {"namespace": "shop", "verb": "get", "resource": "configmaps"}
    raw = written("SelfAccessReview", {"metadata": {}, "spec": {"resourceAttributes": attributes}}, as_go=True)
    answer = await world.do(
        "create", SELF_ACCESS, enveloped("authorization.k8s.io/v1", "SelfSubjectAccessReview", raw), content_type=PROTOBUF
    )
    assert answer.document is not None
    assert answer.document["spec"] == {"resourceAttributes": attributes}
    assert answer.document["status"]["allowed"]


async def test_a_body_is_read_as_strictly_as_any_other(world: World) -> None:
    with pytest.raises(BadRequest, match="cannot unmarshal number into Go struct field"):
        await world.do("create", SELF_ACCESS, {"spec": {"resourceAttributes": {"verb": 5}}})
    with pytest.raises(BadRequest, match=r'unknown field "spec\.nope"'):
        await world.do("create", RULES, {"spec": {"namespace": "shop", "nope": 1}}, query="fieldValidation=Strict")
    with pytest.raises(Invalid):
        await world.do("create", SELF_ACCESS, {"spec": {}})
    with pytest.raises(BadRequest, match="namespace of the provided object does not match"):
        await world.do("create", LOCAL_ACCESS, {"metadata": {"namespace": "other"}, "spec": GET_CONFIGMAPS})


async def test_a_bearer_of_a_group_of_administrators_may_do_what_administrators_may(world: World) -> None:
    masters = {**GET_CONFIGMAPS, "user": "x", "groups": ["system:masters"]}
    assert (await answered(world, ACCESS, masters))["allowed"]
    boss = authenticated(Identity("boss", groups=("system:masters",)))
    assert (await answered(world, SELF_ACCESS, GET_CONFIGMAPS, boss))["allowed"]
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert everything in (await answered(world, RULES, {"namespace": "shop"}, boss))["resourceRules"]


async def test_discovery_and_documents_show_that_they_can_be_created(world: World) -> None:
    page = Discovery(world.manager.catalog).find("apis/authorization.k8s.io/v1", "application/json")
    assert page is not None
    assert b"storageVersionHash" not in page.body
    assert page.body.count(b'"verbs":["create"]') == 4
    served = await OpenAPIDocuments(world.manager.catalog).find("apis/authentication.k8s.io/v1")
    assert served is not None
    assert b"createAuthenticationV1TokenReview" in served.body
    assert b"readAuthenticationV1TokenReview" not in served.body
