"""The life of a namespace, in a real server without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from registry.errors import Forbidden, InternalError, NotFound
from tests.apiserver.keeping import Keeper, keeping, path_of

pytestmark = pytest.mark.anyio

ROOM = "/api/v1/namespaces/room"
HOLD = {"finalizers": ["example.com/hold"]}


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    async with keeping() as made:
        await made.world.make("/api/v1/namespaces", "room")
        await made.quiet()
        yield made


def spaces(keeper: Keeper) -> list[str]:
    return [record.key.name for record in keeper.world.stored("namespaces")]


async def conditions(keeper: Keeper) -> dict[str, tuple[str, str, str]]:
    status = (await keeper.world.get(ROOM))["status"]
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in status["conditions"]}


async def test_every_namespace_has_a_service_account_and_gets_it_back(keeper: Keeper) -> None:
    account = f"{ROOM}/serviceaccounts/default"
    first = await keeper.world.get(account)
    await keeper.world.do("delete", account)
    await keeper.quiet()
    assert (await keeper.world.get(account))["metadata"]["uid"] != first["metadata"]["uid"]
    rooms = {record.key.namespace for record in keeper.world.stored("serviceaccounts")}
    assert rooms == {"default", "shop", "room"}


async def test_a_namespace_goes_with_all_that_is_in_it_and_nothing_else(keeper: Keeper) -> None:
    for name in ("a", "b"):
        await keeper.widget(name, namespace="room")
        await keeper.widget(f"other-{name}")
        await keeper.world.make(f"{ROOM}/configmaps", name, data={})
        await keeper.world.make(f"{ROOM}/events", name, involvedObject={"namespace": "room", "name": name})
    await keeper.world.do("delete", ROOM)
    await keeper.quiet()
    assert spaces(keeper) == ["default", "shop"]
    assert set(keeper.there()) == {"other-a", "other-b"}
    for resource in ("configmaps", "events", "serviceaccounts"):
        assert all(record.key.namespace != "room" for record in keeper.world.stored(resource))
    with pytest.raises(NotFound):
        await keeper.widget("late", namespace="room")


async def test_a_namespace_waits_for_what_is_held_and_says_so(keeper: Keeper) -> None:
    held = [await keeper.widget(name, namespace="room", **HOLD) for name in ("a", "b")]
    await keeper.widget("free", namespace="room")
    await keeper.world.do("delete", ROOM)
    await keeper.quiet()
    assert await conditions(keeper) == {
        "NamespaceDeletionContentFailure": (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (
            "True",
            "SomeResourcesRemain",
            "Some resources are remaining: widgets.reference.example.com has 2 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances",
        ),
    }
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await keeper.widget("late", namespace="room")
    await keeper.free(held[0])
    await keeper.clock.advance(6.0)
    await keeper.quiet()
    assert (await conditions(keeper))["NamespaceContentRemaining"][2].endswith("has 1 resource instances")
    await keeper.free(held[1])
    await keeper.quiet()
    assert spaces(keeper) == ["default", "shop"]


async def test_its_last_object_ends_the_wait_at_once(keeper: Keeper) -> None:
    held = await keeper.widget("held", namespace="room", **HOLD)
    await keeper.world.do("delete", ROOM)
    await keeper.quiet()
    moment = keeper.clock.now()
    await keeper.free(held)
    await keeper.quiet()
    assert (spaces(keeper), keeper.clock.now()) == (["default", "shop"], moment)


async def test_a_namespace_that_waits_writes_its_status_once(keeper: Keeper) -> None:
    await keeper.widget("held", namespace="room", **HOLD)
    await keeper.world.do("delete", ROOM)
    await keeper.quiet()
    before = len(keeper.writes)
    await keeper.clock.advance(3600.0)
    await keeper.quiet()
    assert len(keeper.writes) == before


async def test_a_deletion_that_is_refused_is_told_and_tried_again(keeper: Keeper) -> None:
    await keeper.widget("stubborn", namespace="room")
    handle, refused = keeper.world.manager.handle, 0

    async def stubborn(call: Any) -> Any:
        nonlocal refused
        if call.verb == "delete" and call.target.name == "stubborn" and refused < 3:
            refused += 1
            raise InternalError("not today")
        return await handle(call)

    keeper.world.manager.handle = stubborn  # type: ignore[method-assign]
    await keeper.world.do("delete", ROOM)
    await keeper.quiet()
    failure = (await conditions(keeper))["NamespaceDeletionContentFailure"]
    assert failure == ("True", "ContentDeletionFailed", "widgets.reference.example.com: not today")
    await keeper.clock.advance(10.0)
    await keeper.quiet()
    assert spaces(keeper) == ["default", "shop"]


async def test_a_namespace_that_was_deleted_while_nobody_looked_goes_when_somebody_does(keeper: Keeper) -> None:
    held = await keeper.widget("held", namespace="room", **HOLD)
    keeper.kill_before, keeper.kill_at = True, 0
    await keeper.world.do("delete", ROOM)
    await keeper.quiet()
    assert keeper.killed
    await keeper.start()
    await keeper.free(held)
    await keeper.quiet()
    assert spaces(keeper) == ["default", "shop"]


async def test_somebody_elses_finalizer_holds_an_empty_namespace(keeper: Keeper) -> None:
    await keeper.world.merge(ROOM, {"metadata": HOLD})
    await keeper.world.do("delete", ROOM)
    await keeper.quiet()
    left = await keeper.world.get(ROOM)
    assert (left["spec"], left["metadata"]["finalizers"]) == ({}, HOLD["finalizers"])
    await keeper.world.merge(ROOM, {"metadata": {"finalizers": None}})
    await keeper.quiet()
    assert spaces(keeper) == ["default", "shop"]


async def test_a_namespace_can_own_and_be_deleted_in_the_foreground(keeper: Keeper) -> None:
    space = await keeper.world.get(ROOM)
    reference = {"apiVersion": "v1", "kind": "Namespace", "name": "room", "uid": space["metadata"]["uid"]}
    gadget = await keeper.gadget("child", reference | {"blockOwnerDeletion": True}, **HOLD)
    await keeper.world.do("delete", ROOM, {"propagationPolicy": "Foreground"})
    await keeper.quiet()
    assert (await keeper.world.get(ROOM))["metadata"]["finalizers"] == ["foregroundDeletion"]
    await keeper.free(gadget)
    await keeper.quiet()
    assert spaces(keeper) == ["default", "shop"]


async def test_a_new_namespace_of_the_name_is_not_touched(keeper: Keeper) -> None:
    await keeper.widget("a", namespace="room")
    await keeper.world.do("delete", ROOM)
    await keeper.quiet()
    await keeper.world.make("/api/v1/namespaces", "room")
    made = await keeper.widget("b", namespace="room")
    await keeper.quiet()
    assert (await keeper.world.get(path_of(made)))["metadata"]["uid"] == made["metadata"]["uid"]


async def test_many_objects_are_deleted_in_few_commits(keeper: Keeper) -> None:
    for number in range(600):
        await keeper.world.make(f"{ROOM}/configmaps", f"c{number}", data={})
    before = keeper.world.store.stats()
    await keeper.world.do("delete", ROOM)
    await keeper.quiet()
    after = keeper.world.store.stats()
    assert spaces(keeper) == ["default", "shop"]
    assert after.writes - before.writes >= 600
    assert after.batches - before.batches <= 60
