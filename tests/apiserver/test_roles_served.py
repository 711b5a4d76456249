"""Rights over a real socket: what a refusal tells, what is no resource, acting as others, and streams whose right is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from admission.authentication import AuthenticatorChain
from admission.identity import ADMIN, Identity
from admission.rbac import Binding, Place, Rbac, Role, Subject
from admission.review import Attributes
from admission.rules import Rule
from admission.tokens import TokenTable
from apiserver.revoking import TURN, Revoker
from registry.builtin.rbac import GROUP
from tests.apiserver.served import TOKEN, served
from tests.apiserver.test_roles import BINDINGS, RBAC, bind, give, give_everywhere, rule
from tests.apiserver.world import CONFIGMAPS, TRINKETS, World, opened

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def as_ann(folder: Path) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    """A served world with roles, and a client for Ann."""
    async with opened(roles=True) as world, served(world, folder) as serving:
        trust = serving.credentials.context
        headers = {"Authorization": f"Bearer {TOKEN}", "Impersonate-User": "ann"}
        async with httpx.AsyncClient(base_url=serving.credentials.server, headers=headers, verify=trust, trust_env=False) as client:
            yield world, client


async def test_whoever_may_not_ask_is_not_told_what_is_there(tmp_path: Path) -> None:
    async with as_ann(tmp_path) as (_, client):
        for method, path, said in (
            (
                "GET",
                "/apis/nothing.example/v1/namespaces/shop/things/a",
                'things.nothing.example "a" is forbidden: User "ann" cannot get',
            ),
            ("DELETE", "/api/v1/namespaces/shop/things", 'things is forbidden: User "ann" cannot deletecollection'),
            ("PUT", CONFIGMAPS, 'configmaps is forbidden: User "ann" cannot update'),
            ("POST", "/api/v1/configmaps", 'configmaps is forbidden: User "ann" cannot create'),
            ("OPTIONS", f"{CONFIGMAPS}/a", 'configmaps "a" is forbidden: User "ann" cannot options'),
            ("POST", f"{TRINKETS}/a/nothing", 'trinkets.trinkets.example "a" is forbidden: User "ann" cannot create'),
            ("GET", "/nothing/at/all", 'forbidden: User "ann" cannot get path "/nothing/at/all"'),
            ("GET", "/metrics", 'forbidden: User "ann" cannot get path "/metrics"'),
            ("POST", "/version", 'forbidden: User "ann" cannot post path "/version"'),
        ):
            answer = await client.request(method, path, headers={"Accept": "application/json"})
            assert (answer.status_code, answer.json()["message"][: len(said)]) == (403, said)
            odd = await client.request(method, path, headers={"Accept": "application/nothing"})
            assert odd.status_code == 403, "what can be answered is not told either"
        for path in ("/api", "/apis", "/apis/trinkets.example/v1", "/openapi/v3", "/version", "/readyz"):
            assert (await client.get(path)).status_code == 200, path


async def test_somebody_may_act_as_another_by_a_role_and_as_nobody_else(tmp_path: Path) -> None:
    async with as_ann(tmp_path) as (world, client):
        # the admin's token stands for the admin: Ann's right to impersonate is decided on an identity, not on headers
        await give_everywhere(world, rule("impersonate", "users", names="ben"))
        decide = world.manager.authorization.decide
        ann = Identity("ann", groups=("system:authenticated",))
        assert decide(Attributes(ann, "impersonate", "users", name="ben")).allowed
        assert not decide(Attributes(ann, "impersonate", "users", name="admin")).allowed
        assert not decide(Attributes(ann, "impersonate", "groups", name="system:masters")).allowed
        both = await client.get(CONFIGMAPS, headers={"Impersonate-Group": "system:masters"})
        assert both.status_code == 200, "an administrator may be anybody"


async def test_a_stream_ends_when_its_right_is_taken_away_and_others_go_on(tmp_path: Path) -> None:
    async with as_ann(tmp_path) as (world, client):
        await bind(world, "view")
        await give(world, rule("watch", "configmaps"), name="other")
        async with client.stream("GET", f"{TRINKETS}?watch=1") as ending, client.stream("GET", f"{CONFIGMAPS}?watch=1") as staying:
            await world.do("delete", f"{BINDINGS}/view")
            assert [line async for line in ending.aiter_lines()] == [], "it ended, without a time limit of its own"
            await world.make(CONFIGMAPS, "a")
            lines = staying.aiter_lines()
            assert '"name":"a"' in await anext(lines)
        assert (await client.get(f"{TRINKETS}?watch=1")).status_code == 403


async def test_a_stream_as_somebody_else_ends_when_one_may_not_be_them_any_more(tmp_path: Path) -> None:
    tokens = TokenTable([(TOKEN, ADMIN), ("token-of-ben", Identity("ben"))])
    async with opened(roles=True) as world, served(world, tmp_path, chain=AuthenticatorChain([tokens])) as serving:
        await bind(world, "view")
        acting = rule("impersonate", "users", names="ann")
        await world.make(f"{RBAC}/clusterroles", "be-ann", rules=[acting])
        subjects = [{"kind": "User", "apiGroup": GROUP, "name": "ben"}]
        role = {"apiGroup": GROUP, "kind": "ClusterRole", "name": "be-ann"}
        await world.make(f"{RBAC}/clusterrolebindings", "be-ann", roleRef=role, subjects=subjects)
        headers = {"Authorization": "Bearer token-of-ben", "Impersonate-User": "ann"}
        trust, server = serving.credentials.context, serving.credentials.server
        async with httpx.AsyncClient(base_url=server, headers=headers, verify=trust, trust_env=False) as client:
            async with client.stream("GET", f"{CONFIGMAPS}?watch=1") as ending:
                assert ending.status_code == 200
                await world.do("delete", f"{RBAC}/clusterrolebindings/be-ann")
                assert [line async for line in ending.aiter_lines()] == [], "Ann may watch it still, and Ben may not be Ann"
            assert (await client.get(CONFIGMAPS)).status_code == 403


async def test_a_page_of_a_list_is_asked_for_anew(tmp_path: Path) -> None:
    async with as_ann(tmp_path) as (world, client):
        await bind(world, "view")
        for name in "ab":
            await world.make(CONFIGMAPS, name)
        first = (await client.get(f"{CONFIGMAPS}?limit=1")).json()
        await world.do("delete", f"{BINDINGS}/view")
        token = first["metadata"]["continue"]
        assert (await client.get(CONFIGMAPS, params={"limit": 1, "continue": token})).status_code == 403


async def test_a_role_works_as_soon_as_it_is_bound_and_no_longer_than_that(tmp_path: Path) -> None:
    async with as_ann(tmp_path) as (world, client):
        for _ in range(5):
            assert (await client.get(CONFIGMAPS)).status_code == 403
            await bind(world, "view")
            assert (await client.get(CONFIGMAPS)).status_code == 200
            await world.do("delete", f"{BINDINGS}/view")
        assert (await client.get(f"{RBAC}/clusterroles")).status_code == 403


class Left:
    """A stream that counts how often it was told to leave."""

    def __init__(self) -> None:
        self.times = 0

    def leave(self) -> None:
        self.times += 1


async def test_thousands_of_streams_are_asked_about_in_turns_and_none_is_forgotten() -> None:
    rbac = Rbac()
    rbac.put_role(Place("", "r"), Role((Rule(("watch",), ("",), ("pods",)),)))
    revoker = Revoker(rbac, rbac.decide)
    streams: list[Any] = []
    for number in range(5 * TURN):
        rbac.put_binding(Place("", f"b{number}"), Binding("ClusterRole", "r", (Subject("User", f"u{number}"),)))
        streams.append(Left())
        revoker.admit(streams[-1], Attributes(Identity(f"u{number}"), "watch", "pods"))
    for number in range(0, 5 * TURN, 2):
        rbac.remove_binding(Place("", f"b{number}"))
    await anyio.wait_all_tasks_blocked()
    assert sum(stream.times > 0 for stream in streams) < len(streams) / 2, "others had their turn in between"
    while not streams[-2].times:
        await anyio.lowlevel.checkpoint()
    assert [stream.times > 0 for stream in streams] == [True, False] * (len(streams) // 2)
    late = Left()
    revoker.admit(late, Attributes(Identity("u0"), "watch", "pods"))
    assert late.times == 1, "the right was gone before the stream was open"
