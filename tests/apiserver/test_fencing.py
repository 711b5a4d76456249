"""Fencing: a write of an actor is committed only under the epoch in which its lease is held, whatever happens in between."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from admission.identity import ADMIN
from apiserver import fencing
from apiserver.calls import Call
from apiserver.patching import MERGE_PATCH
from registry.actors import account_name
from registry.errors import BadRequest, Forbidden
from registry.names import dns1123_subdomain
from storage.store import Change, Put, Write
from tests.apiserver.world import NAMESPACES, OWNER, TRINKETS, World

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
LEASE = f"{LEASES}/skep-actor-polish"


@pytest.fixture
async def world(world: World) -> World:
    await world.make(NAMESPACES, "kube-system")
    await world.make(TRINKETS, "a", spec={})
    return world


async def held(world: World, by: str | None, number: int) -> str:
    """Somebody holds the lease in an epoch; the epoch as it is sent."""
    spec = {"holderIdentity": by, "leaseTransitions": number}
    if not world.stored("leases.coordination.k8s.io"):
        lease = await world.make(LEASES, "skep-actor-polish", spec=spec)
    else:
        lease = await world.merge(LEASE, {"spec": spec})
    return f"{number}/{lease['metadata']['uid']}"


def write(world: World, verb: str, path: str, body: Document, epoch: str) -> Call:
    return replace(world.call(verb, path, body, content_type=MERGE_PATCH if verb == "patch" else "", who=OWNER), epoch=epoch)


WRITES: list[tuple[str, str, Document]] = [
    ("patch", f"{TRINKETS}/a/status", {"status": {"shine": 9}}),
    ("patch", f"{TRINKETS}/a", {"spec": {"size": 9}}),
    ("create", TRINKETS, {"metadata": {"name": "b"}, "spec": {}}),
    ("delete", f"{TRINKETS}/a", {}),
    ("deletecollection", TRINKETS, {}),
]


@pytest.mark.parametrize(("verb", "path", "body"), WRITES)
async def test_every_write_of_an_actor_is_refused_under_an_epoch_that_is_over_and_accepted_under_the_present_one(
    world: World, verb: str, path: str, body: Document
) -> None:
    old = await held(world, "one", 1)
    new = await held(world, "two", 2)
    before = world.store.revision
    with pytest.raises(
        Forbidden, match=r"the epoch 1 of system:serviceaccount:kube-system:skep-actor-polish is over: .* is held by two in epoch 2"
    ):
        await world.manager.handle(write(world, verb, path, body, old))
    with pytest.raises(
        Forbidden, match="is run by two, which holds the lease kube-system/skep-actor-polish: a write needs its epoch"
    ):
        await world.manager.handle(write(world, verb, path, body, ""))
    assert world.store.revision == before
    await world.manager.handle(write(world, verb, path, body, new))
    assert world.store.revision > before


async def test_without_a_holder_the_name_alone_counts_and_an_epoch_is_over(world: World) -> None:
    change = {"status": {"shine": 1}}
    await world.manager.handle(write(world, "patch", f"{TRINKETS}/a/status", change, ""))
    epoch = await held(world, "one", 1)
    await held(world, "", 1)  # released
    with pytest.raises(Forbidden, match="held by nobody"):
        await world.manager.handle(write(world, "patch", f"{TRINKETS}/a", {"spec": {"size": 2}}, epoch))
    await world.manager.handle(write(world, "patch", f"{TRINKETS}/a/status", {"status": {"shine": 2}}, ""))
    await world.do("delete", LEASE)
    with pytest.raises(Forbidden, match="is gone"):
        await world.manager.handle(write(world, "patch", f"{TRINKETS}/a", {"spec": {"size": 2}}, epoch))


async def test_an_epoch_of_a_lease_that_was_deleted_is_none_of_the_one_that_was_made_after_it(world: World) -> None:
    old = await held(world, "one", 1)
    await world.do("delete", LEASE)
    await held(world, "two", 1)
    with pytest.raises(Forbidden, match="is over"):
        await world.manager.handle(write(world, "patch", f"{TRINKETS}/a", {"spec": {"size": 2}}, old))


async def test_the_actor_may_always_write_its_own_lease_and_others_need_no_epoch(world: World) -> None:
    await held(world, "one", 1)
    await world.manager.handle(write(world, "patch", LEASE, {"spec": {"holderIdentity": "two", "leaseTransitions": 2}}, ""))
    await world.manager.handle(replace(write(world, "patch", f"{TRINKETS}/a", {"spec": {"size": 2}}, ""), identity=ADMIN))


@pytest.mark.parametrize("epoch", ["1", "/x", "1/", "x/y", "-1/y", "1" * 30 + "/y", "²/y"])
async def test_an_epoch_that_is_none_is_a_bad_request(world: World, epoch: str) -> None:
    await held(world, "one", 1)
    with pytest.raises(BadRequest, match="is no epoch"):
        await world.manager.handle(write(world, "patch", f"{TRINKETS}/a", {"spec": {"size": 2}}, epoch))


async def test_a_lease_that_is_renewed_between_the_look_and_the_commit_does_not_fail_the_write(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = await held(world, "one", 1)
    commit, renewals = world.store.commit, iter(range(3))

    async def overtaken(write: Write) -> Change:
        if isinstance(write, Put) and write.key.name == "a" and next(renewals, None) is not None:
            await world.merge(LEASE, {"spec": {"leaseDurationSeconds": 1 + write.expect + (write.fence or ((), 0))[1]}})
        return await commit(write)

    monkeypatch.setattr(world.store, "commit", overtaken)
    await world.manager.handle(write(world, "patch", f"{TRINKETS}/a/status", {"status": {"shine": 4}}, epoch))
    assert (await world.get(f"{TRINKETS}/a"))["status"] == {"shine": 4}
    assert next(renewals, None) is None


async def test_a_lease_that_is_taken_between_the_look_and_the_commit_fails_the_write(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = await held(world, "one", 1)
    commit = world.store.commit

    async def overtaken(write: Write) -> Change:
        if write.key.name == "a":
            monkeypatch.undo()
            await held(world, "two", 2)
        return await commit(write)

    monkeypatch.setattr(world.store, "commit", overtaken)
    with pytest.raises(Forbidden, match="held by two in epoch 2"):
        await world.manager.handle(write(world, "patch", f"{TRINKETS}/a/status", {"status": {"shine": 4}}, epoch))
    assert "status" not in await world.get(f"{TRINKETS}/a")


async def test_of_writes_that_race_with_a_change_of_the_holder_none_is_committed_after_it(world: World) -> None:
    epoch = await held(world, "one", 1)
    written: list[int] = []

    async def hammer(n: int) -> None:
        for m in range(20):
            try:
                answer = await world.manager.handle(
                    write(world, "patch", f"{TRINKETS}/a", {"metadata": {"labels": {f"l{n}": str(m)}}}, epoch)
                )
            except Forbidden:
                return
            assert answer.record is not None
            written.append(answer.record.revision)

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(hammer, n)
        while len(written) < 10:
            await anyio.lowlevel.checkpoint()
        await held(world, "two", 2)
    [lease] = world.stored("leases.coordination.k8s.io")
    assert len(written) >= 10
    assert max(written) < lease.revision


@pytest.mark.parametrize("actor", ["uptime-check", "a" * 300, "Has Spaces", "x_y", "-"])
def test_every_actor_has_a_lease_with_a_name_that_an_object_can_have(actor: str) -> None:
    assert dns1123_subdomain(account_name(actor)) == []


def test_only_actors_have_leases() -> None:
    assert fencing.lease_key("admin") is None
    assert fencing.lease_key("system:serviceaccount:kube-system:skep-actor-x") == (
        "leases.coordination.k8s.io",
        "kube-system",
        "skep-actor-x",
    )
