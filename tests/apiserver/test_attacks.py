"""Ways to more than one may, each tried: by tokens, by being somebody else, by tricks with paths and headers, past admission."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from admission.authentication import AuthenticatorChain
from admission.identity import ADMIN, service_account
from admission.review import Review
from admission.service_tokens import Bound, Reference, ServiceTokens
from admission.tokens import TokenTable
from apiserver.asgi import App
from apiserver.fencing import HEADER
from apiserver.flow import Flow
from apiserver.negotiation import PROTOBUF, YAML
from apiserver.patching import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from apiserver.service_accounts import StoredAccounts
from registry.documents import dump_yaml
from registry.errors import ApiError, Cause, Forbidden
from tests.apiserver.asking_all import INSIDE, OUTSIDE, THERE, Reply, Request, ask, told
from tests.apiserver.served import Access, application, served
from tests.apiserver.test_matrix import UNBOUNDED, bearer
from tests.apiserver.test_roles import (
    ANN,
    BINDINGS,
    CLUSTER_BINDINGS,
    CLUSTER_ROLES,
    RBAC,
    bind,
    give,
    give_everywhere,
    refused,
    rule,
)
from tests.apiserver.tokens import ISSUER, Keys
from tests.apiserver.world import CONFIGMAPS, NAMESPACES, NOW, OWNER, TRINKETS, WIDGETS, World, opened
from tests.registry.test_protobuf import enveloped, written

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
ACCOUNTS, SYSTEM_ACCOUNTS = f"{NAMESPACES}/{INSIDE}/serviceaccounts", f"{NAMESPACES}/kube-system/serviceaccounts"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
ACTOR = "skep-actor-polish"


@pytest.fixture
async def strict() -> AsyncIterator[World]:
    async with opened(roles=True) as made:
        yield made


def app_of(world: World, *others: ServiceTokens) -> App:
    """An application that knows the admin, Ann, and the actor."""
    table = TokenTable([("admin", ADMIN), ("ann", ANN), ("actor", OWNER)])
    chain = AuthenticatorChain([table, *others])
    return application(world, chain, Access(), flow=Flow(UNBOUNDED, time.monotonic))


async def send(
    app: App, who: str, method: str, path: str, body: Any = b"", *headers: tuple[bytes, bytes], media: str = "application/json"
) -> Reply:
    """Sends a request. The path may have a query."""
    path, _, query = path.partition("?")
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await ask(app, Request(method, path, query, media if raw else "", ""), [*bearer(who), *headers], raw)


# By tokens and by names


async def test_who_edits_a_namespace_is_no_account_of_another_one_and_no_actor(strict: World) -> None:
    await bind(strict, "admin")
    app = app_of(strict)
    await strict.make(ACCOUNTS, "till")
    await strict.make(SYSTEM_ACCOUNTS, ACTOR)
    assert (await send(app, "ann", "POST", f"{ACCOUNTS}/till/token", {})).status != 403, "that is what an editor may"
    actor = f"system:serviceaccount:kube-system:{ACTOR}".encode()
    for reply in (
        await send(app, "ann", "POST", f"{SYSTEM_ACCOUNTS}/{ACTOR}/token", {}),
        await send(app, "ann", "POST", SYSTEM_ACCOUNTS, {"metadata": {"name": "skep-actor-new"}}),
        await send(app, "ann", "DELETE", f"{SYSTEM_ACCOUNTS}/{ACTOR}"),
        await send(app, "ann", "PUT", f"{LEASES.replace(INSIDE, 'kube-system')}/{ACTOR}", {}),
        await send(app, "ann", "GET", CONFIGMAPS, b"", (b"impersonate-user", actor)),
        await send(app, "ann", "GET", CONFIGMAPS, b"", (b"impersonate-user", b"admin")),
        await send(
            app,
            "ann",
            "GET",
            CONFIGMAPS,
            b"",
            (b"impersonate-user", b"system:serviceaccount:shop:till"),
            (b"impersonate-group", b"system:masters"),
        ),
        await send(
            app,
            "ann",
            "GET",
            CONFIGMAPS,
            b"",
            (b"impersonate-user", b"system:serviceaccount:shop:till"),
            (b"impersonate-group", b"system:serviceaccounts:kube-system"),
        ),
    ):
        assert (reply.status, reply.denied) == (403, True), reply


async def test_an_account_that_is_called_like_an_actors_elsewhere_is_not_the_actor(strict: World) -> None:
    await strict.make(TRINKETS, "a", spec={})
    everything = rule("*", "*", "*")
    named = service_account(INSIDE, ACTOR)
    await strict.make(CLUSTER_ROLES, "all", rules=[everything])
    subjects = [{"kind": "ServiceAccount", "name": ACTOR, "namespace": INSIDE}, {"kind": "Group", "name": "system:serviceaccounts"}]
    await strict.make(CLUSTER_BINDINGS, "all", roleRef={"kind": "ClusterRole", "name": "all"}, subjects=subjects)
    for who in (named, service_account("kube-system", "skep-actor-polis"), service_account("kube-system", ACTOR + "h"), ADMIN):
        for path in (f"{TRINKETS}/a/status", f"{TRINKETS}/a/status/"):
            with pytest.raises(Forbidden, match="written by its owner alone"):
                await strict.merge(path, {"status": {"shine": 1}}, who=who)
    await strict.merge(f"{TRINKETS}/a/status", {"status": {"shine": 1}}, who=OWNER)


async def test_who_writes_a_status_or_a_scale_writes_nothing_else(strict: World) -> None:
    sent = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"skep.dev/ttl": "1s"}, "finalizers": ["a.b/c"], "ownerReferences": []},
        "spec": {"size": 99, "replicas": 7},
        "status": {"shine": 1, "replicas": 9},
    }
    made = await strict.make(TRINKETS, "a", spec={"size": 1})
    written_by = await strict.merge(f"{TRINKETS}/a/status", sent, who=OWNER)
    assert (written_by["spec"], written_by["status"]) == (made["spec"], {"shine": 1})
    ignored = ("resourceVersion", "managedFields")
    assert {k: v for k, v in written_by["metadata"].items() if k not in ignored} == {
        k: v for k, v in made["metadata"].items() if k not in ignored
    }
    before = await strict.make(WIDGETS, "w", spec={"size": 1})
    await give(strict, rule("patch update", "widgets/scale", "reference.example.com"))
    await strict.do("patch", f"{WIDGETS}/w/scale", sent, content_type=MERGE_PATCH, who=ANN)
    after = await strict.get(f"{WIDGETS}/w")
    assert after["spec"] == {**before["spec"], "replicas": 7}
    assert "status" not in after
    assert not {"labels", "annotations", "finalizers"} & after["metadata"].keys()


async def test_nobody_binds_more_than_they_have_to_a_group_or_to_an_account(strict: World) -> None:
    await bind(strict, "admin")
    for number, subject in enumerate(
        (
            {"kind": "Group", "name": "system:authenticated"},
            {"kind": "Group", "name": "system:unauthenticated"},
            {"kind": "Group", "name": "team"},
            {"kind": "ServiceAccount", "name": "till", "namespace": INSIDE},
        )
    ):
        ref = {"kind": "ClusterRole", "name": "cluster-admin"}
        body = {"metadata": {"name": f"b{number}"}, "roleRef": ref, "subjects": [subject]}
        assert "not currently held" in await refused(strict, "create", BINDINGS, body)
        assert "cannot create" in await refused(strict, "create", CLUSTER_BINDINGS, body)
    # nor by changing who is bound: a binding that gives more is not theirs to widen
    ref = {"kind": "ClusterRole", "name": "cluster-admin"}
    await strict.make(BINDINGS, "root", roleRef=ref, subjects=[{"kind": "User", "name": "root"}])
    wider = [{"op": "add", "path": "/subjects/-", "value": {"kind": "Group", "apiGroup": RBAC[6:-3], "name": "team"}}]
    said = await refused(strict, "patch", f"{BINDINGS}/root", json.dumps(wider).encode(), content_type=JSON_PATCH)
    assert "not currently held" in said


async def test_a_role_of_a_namespace_makes_nobody_a_writer_of_cluster_roles_with_the_same_rules(strict: World) -> None:
    await give(strict, rule("*", "configmaps"))
    await give_everywhere(strict, rule("create patch", "clusterroles", "rbac.authorization.k8s.io"), name="maker")
    body = {"metadata": {"name": "mine"}, "rules": [rule("get", "configmaps")]}
    assert "not currently held" in await refused(strict, "create", CLUSTER_ROLES, body)
    labelled = {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}}}
    assert "not currently held" in await refused(strict, "patch", f"{CLUSTER_ROLES}/admin", labelled, content_type=MERGE_PATCH)


# By headers and paths


async def test_no_other_header_changes_what_is_asked_who_asks_or_what_is_answered(strict: World) -> None:
    app = app_of(strict)
    await give(strict, rule("get list", "configmaps"))
    await strict.make(CONFIGMAPS, THERE)
    plain = await send(app, "ann", "GET", f"{CONFIGMAPS}/{THERE}")
    for name, value in (
        ("x-http-method-override", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-original-url", "/api/v1/secrets"),
        ("x-rewrite-url", "/api/v1/secrets"),
        ("x-forwarded-prefix", "/api/v1/secrets"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-remote-user", "admin"),
        ("x-remote-group", "system:masters"),
        ("impersonate_user", "admin"),
        ("x-impersonate-user", "admin"),
        ("skep-actor-epoch", "1/none"),
        ("cookie", "token=admin"),
    ):
        header = (name.encode(), value.encode())
        assert told(await send(app, "ann", "GET", f"{CONFIGMAPS}/{THERE}", b"", header)) == told(plain), name
        assert (await send(app, "ann", "GET", "/api/v1/secrets", b"", header)).status == 403, name
    assert (await strict.get(f"{CONFIGMAPS}/{THERE}"))["metadata"]["name"] == THERE


async def test_the_epoch_of_an_actor_means_nothing_from_anybody_else(strict: World) -> None:
    app = app_of(strict)
    await give(strict, rule("create", "configmaps"))
    lease = {"spec": {"holderIdentity": "somebody", "leaseTransitions": 3}}
    made = await strict.make(LEASES.replace(INSIDE, "kube-system"), ACTOR, **lease)
    await strict.make(TRINKETS, "a", spec={})
    present = f"3/{made['metadata']['uid']}".encode()
    for number, epoch in enumerate((present, b"1/none", b"", b"nonsense")):
        reply = await send(app, "ann", "POST", CONFIGMAPS, {"metadata": {"name": f"m{number}"}}, (HEADER, epoch))
        assert reply.status == 201, reply
        status = await send(app, "ann", "PATCH", f"{TRINKETS}/a/status", {"status": {}}, (HEADER, epoch), media=MERGE_PATCH)
        assert status.denied, "it makes nobody the actor"
    for epoch, code in ((present, 200), (b"2/none", 403), (b"", 403)):
        body = {"status": {"shine": code}}
        reply = await send(app, "actor", "PATCH", f"{TRINKETS}/a/status", body, (HEADER, epoch), media=MERGE_PATCH)
        assert reply.status == code, reply


TRICKS = (
    "/api/v1/configmaps?fieldSelector=metadata.namespace%3Dshop",
    "/api/v1/configmaps?namespace=shop",
    "/api/v1/namespaces/shop/../default/configmaps",
    "/api/v1/namespaces/shop/%2e%2e/default/configmaps",
    "/api/v1/namespaces/shop%2f..%2fdefault/configmaps",
    "/api/v1/namespaces/shop/configmaps/..%2f..%2fdefault%2fconfigmaps%2fthere",
    "/api/v1/namespaces/default%00/configmaps",
    "/api/v1/namespaces/DEFAULT/configmaps",
    "/api/v1/namespaces/default/configmaps/",
    "/api/v1/namespaces//configmaps",
    "/api/v1/namespaces/default%20/configmaps",
    "//api/v1/namespaces/default/configmaps",
    "/api//v1/namespaces/default/configmaps",
    "/api%2fv1/namespaces/default/configmaps",
    "/%61pi/v1/namespaces/default/configmaps",
    "/api/v1/watch/namespaces/default/configmaps",
    "/api/v1/watch/configmaps",
    "/api/v1/watch/namespaces/shop/configmaps/there?fieldSelector=metadata.name!%3Dthere",
    "/api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name%3Dthere&fieldSelector=metadata.name%3Dhidden",
    "/api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name%3Dhidden&fieldSelector=metadata.name%3Dthere",
    "/api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name%3Dthere,metadata.name%3Dhidden",
    "/api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name%3Dhidden,metadata.name%3Dthere",
    "/api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name%3Dthere&labelSelector=a%3Db",
    "/api/v1/namespaces/shop/configmaps?labelSelector=a%3Db",
    "/api/v1/namespaces/shop/configmaps?watch=1&fieldSelector=metadata.name%3Dthere&resourceVersion=0",
    "/api/v1/namespaces/shop/configmaps?watch=1&watch=0",
    "/api/v1/namespaces/shop/configmaps?watch=0&watch=1",
    "/api/v1/watch/namespaces/shop/configmaps/there,metadata.name!%3Dx",
    "/api/v1/watch/namespaces/shop/configmaps/%5c",
    "/api/v1/namespaces/shop/configmaps/there%2fhidden",
    "/api/v1/namespaces/shop/configmaps/hidden?name=there",
    "/api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name%3Dthere&continue=eyJydiI6MCwiYWZ0ZXIiOiJhIiwibnMiOiJhIn0",
    "/api/v1/configmaps?limit=5&continue=eyJydiI6MCwiYWZ0ZXIiOiJhIiwibnMiOiJhIn0",
)
"""Paths by which somebody who may see one object, of one name in one namespace, might see others."""


async def test_whatever_the_path_nobody_sees_more_than_they_may(strict: World) -> None:
    app = app_of(strict)
    await give(strict, rule("*", "configmaps", names=THERE))
    labels = {"labels": {"a": "b"}}
    await strict.make(CONFIGMAPS, THERE, metadata=labels, data={"says": "welcome"})
    await strict.make(CONFIGMAPS, "hidden", metadata=labels, data={"says": "secret-one"})
    for name in (THERE, "hidden"):
        await strict.make(CONFIGMAPS.replace(INSIDE, OUTSIDE), name, metadata=labels, data={"says": "secret-two"})
    shown = 0
    for path in TRICKS:
        for method in ("GET", "POST", "DELETE"):
            extra = "" if method == "GET" else ("&" if "?" in path else "?") + "dryRun=All"
            reply = await send(app, "ann", method, path + extra, b"" if method == "GET" else b"{}")
            assert b"secret" not in reply.body, (method, path)
            assert reply.status < 500, (method, path)
            shown += b"welcome" in reply.body
    assert shown > 1, "what Ann may see is seen by some of them"
    assert len(strict.stored("configmaps")) == 4


# By a credential that is over


@asynccontextmanager
async def persons(world: World, folder: Path, tokens: Sequence[ServiceTokens] = ()) -> AsyncIterator[tuple[App, httpx.AsyncClient]]:
    """A served world that knows Ann, and a client for her."""
    chain = AuthenticatorChain([TokenTable([("ann", ANN)]), *tokens])
    async with served(world, folder, chain=chain) as serving:
        address, trust = serving.credentials.server, serving.credentials.context
        headers = {"Authorization": "Bearer ann"}
        async with httpx.AsyncClient(base_url=address, verify=trust, headers=headers, trust_env=False) as client:
            yield serving.app, client


async def test_a_token_that_is_over_ends_its_watch_and_is_refused_on_a_connection_that_lives_on(
    strict: World, tmp_path: Path
) -> None:
    now = [NOW]
    tokens = ServiceTokens(Keys(), StoredAccounts(strict.store), issuer=ISSUER, now=lambda: now[0], unique=lambda: "u")
    account = await strict.make(ACCOUNTS, "till")
    token = tokens.issue(Bound(INSIDE, Reference("till", account["metadata"]["uid"])), [ISSUER], 600).token
    subjects = [{"kind": "ServiceAccount", "name": "till", "namespace": INSIDE}]
    await strict.make(BINDINGS, "till", roleRef={"kind": "ClusterRole", "name": "view"}, subjects=subjects)
    shown = {"Authorization": f"Bearer {token}"}
    async with (
        persons(strict, tmp_path, [tokens]) as (app, client),
        client.stream("GET", f"{CONFIGMAPS}?watch=1", headers=shown) as watch,
    ):
        first = await client.get(CONFIGMAPS, headers=shown)
        await app.check_watches()
        assert (first.status_code, app.watchers) == (200, 1)
        now[0] += 601
        second = await client.get(CONFIGMAPS, headers=shown)
        same = [reply.extensions["network_stream"].get_extra_info("client_addr") for reply in (first, second)]
        assert (second.status_code, same[0]) == (401, same[1])
        await app.check_watches()
        assert [line async for line in watch.aiter_lines()] == []


# Past admission


class Witness:
    """An admitter that keeps what it was asked about, and refuses what is bad."""

    def __init__(self) -> None:
        self.seen: list[Review[Document]] = []

    def concerns(self, review: Review[Document]) -> bool:
        return review.kind is not None and review.kind.plural in ("configmaps", "leases", "widgets")

    async def mutate(self, review: Review[Document]) -> Document:
        return review.new

    async def validate(self, review: Review[Document]) -> Sequence[Cause]:
        self.seen.append(review)
        bad = b"bad" in json.dumps([review.new.get("data"), review.new.get("spec")]).encode()
        return [Cause("FieldValueForbidden", "is bad", "data")] if bad else []


def in_every_form(document: Document) -> dict[str, tuple[bytes, str]]:
    """Bodies that say the same, with their media types."""
    raw = json.dumps(document).encode()
    return {
        "JSON": (raw, "application/json"),
        "YAML": (dump_yaml(document), YAML),
        "JSON as YAML": (raw, YAML),
        "JSON without a type": (raw, ""),
        "protobuf": (enveloped("v1", "ConfigMap", written("ConfigMap", document)), PROTOBUF),
        "protobuf as Go writes it": (enveloped("v1", "ConfigMap", written("ConfigMap", document, as_go=True)), PROTOBUF),
    }


def essence(document: Document) -> Document:
    """What was sent of an object."""
    kept = ("name", "labels", "annotations")
    metadata = {key: value for key, value in document["metadata"].items() if key in kept}
    return {**{key: value for key, value in document.items() if key != "status"}, "metadata": metadata}


def mapped(says: str, name: str = "m") -> Document:
    metadata = {"name": name, "labels": {"l": "1"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"says": says}}


async def test_admission_sees_the_same_object_whatever_form_it_is_sent_in_and_it_is_what_is_stored() -> None:
    witness = Witness()
    async with opened(admitters=[witness]) as world:
        for form, (body, media) in in_every_form(mapped("good")).items():
            witness.seen.clear()
            made = world.document(CONFIGMAPS, await world.do("create", CONFIGMAPS, body, content_type=media))
            stored = world.document(CONFIGMAPS, await world.do("update", f"{CONFIGMAPS}/m", body, content_type=media))
            assert [essence(review.new) for review in witness.seen] == [essence(made)] * 2 == [essence(stored), mapped("good")], (
                form
            )
            await world.do("delete", f"{CONFIGMAPS}/m")
        twice = b'{"metadata":{"name":"t"},"data":{"says":"good"},"data":{"says":"other"}}'
        for media in ("application/json", YAML):
            witness.seen.clear()
            made = world.document(CONFIGMAPS, await world.do("create", CONFIGMAPS, twice, content_type=media))
            assert witness.seen[0].new["data"] == made["data"] == (await world.get(f"{CONFIGMAPS}/t"))["data"]
            await world.do("delete", f"{CONFIGMAPS}/t")


async def test_no_way_of_writing_passes_admission_over() -> None:
    witness = Witness()
    async with opened(admitters=[witness]) as world:
        await world.make(CONFIGMAPS, "m", data={"says": "good"})
        path, data = f"{CONFIGMAPS}/m", json.dumps({"data": {"says": "bad"}}).encode()
        add = b'[{"op":"replace","path":"/data/says","value":"bad"}]'
        roundabout = b'[{"op":"add","path":"/data/b","value":"bad"},{"op":"move","from":"/data/b","path":"/data/says"}]'
        applied = {"content_type": APPLY_PATCH, "query": "fieldManager=me&force=true"}
        lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "bad"}}
        unnamed = {"metadata": {"generateName": "m-"}, "data": {"says": "bad"}}
        ways: list[tuple[str, str, Any, Document]] = [
            ("create", CONFIGMAPS, unnamed, {}),
            ("create", CONFIGMAPS, unnamed, {"query": "dryRun=All"}),
            ("create", CONFIGMAPS, {"metadata": {"name": "n"}, "data": {"says": "bad"}}, {"query": "fieldValidation=Ignore"}),
            ("patch", path, data, {"content_type": MERGE_PATCH}),
            ("patch", path, data, {"content_type": STRATEGIC_PATCH}),
            ("patch", path, add, {"content_type": JSON_PATCH}),
            ("patch", path, roundabout, {"content_type": JSON_PATCH}),
            ("patch", path, dump_yaml(mapped("bad")), applied),
            ("patch", f"{CONFIGMAPS}/fresh", dump_yaml(mapped("bad", "fresh")), applied),
            ("update", f"{LEASES}/l", lease, {}),
            *(("create", CONFIGMAPS, body, {"content_type": media}) for body, media in in_every_form(mapped("bad", "x")).values()),
            *(("update", path, body, {"content_type": media}) for body, media in in_every_form(mapped("bad")).values()),
        ]
        for verb, where, body, more in ways:
            with pytest.raises(ApiError) as error:
                await world.do(verb, where, body, **more)
            assert "is bad" in error.value.message, (verb, where, body, more)
        assert [record.key.name for record in world.stored("configmaps")] == ["m"]
        assert (await world.get(path))["data"] == {"says": "good"}


async def test_every_object_of_a_collection_is_asked_about_before_it_goes_and_a_scale_before_it_is_written() -> None:
    witness = Witness()
    async with opened(admitters=[witness]) as world:
        for name in ("a", "b"):
            await world.make(CONFIGMAPS, name)
            await world.make(WIDGETS, name, spec={"size": 1})
        witness.seen.clear()
        await world.do("deletecollection", CONFIGMAPS)
        assert sorted((review.operation, review.name) for review in witness.seen) == [("DELETE", "a"), ("DELETE", "b")]
        witness.seen.clear()
        await world.do("patch", f"{WIDGETS}/a/scale", {"spec": {"replicas": 3}}, content_type=MERGE_PATCH)
        await world.do("patch", f"{WIDGETS}/a/status", {"status": {"ready": True}}, content_type=MERGE_PATCH)
        assert [(review.operation, review.subresource) for review in witness.seen] == [("UPDATE", "scale"), ("UPDATE", "status")]
