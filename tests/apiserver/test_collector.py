"""Garbage collection, in a real server without a socket: owners go as they were asked to, and dependents as their owners do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from registry.errors import ConflictError, InternalError
from tests.apiserver.keeping import Keeper, keeping, owner, path_of

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
HOLD = {"finalizers": ["example.com/hold"]}
FOREIGN = {"apiVersion": "other.example/v1", "kind": "Other", "name": "x", "uid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    async with keeping() as made:
        yield made


async def test_what_an_owner_leaves_behind_is_deleted_down_to_the_last_generation(keeper: Keeper) -> None:
    parent = await keeper.widget("parent")
    child = await keeper.widget("child", owner(parent))
    await keeper.widget("grandchild", owner(child))
    await keeper.widget("stranger")
    await keeper.delete(parent)
    await keeper.quiet()
    assert set(keeper.there()) == {"stranger"}


async def test_an_object_with_several_owners_goes_with_the_last_and_loses_the_references_to_the_others(keeper: Keeper) -> None:
    owners = [await keeper.widget(name) for name in ("a", "b", "c")]
    await keeper.widget("child", *[owner(each, controller=number == 2) for number, each in enumerate(owners)])
    await keeper.delete(owners[0])
    await keeper.quiet()
    left = keeper.there()["child"]["metadata"]["ownerReferences"]
    assert left == [owner(owners[1], controller=False), owner(owners[2], controller=True)]
    for each in owners[1:]:
        assert "child" in keeper.there()
        await keeper.delete(each)
        await keeper.quiet()
    assert not keeper.there()


async def test_an_owner_is_matched_by_uid_and_not_by_name(keeper: Keeper) -> None:
    before = await keeper.widget("owner")
    await keeper.delete(before)
    again = await keeper.widget("owner")
    await keeper.widget("of-the-old-one", owner(before))
    await keeper.widget("of-the-new-one", owner(again))
    await keeper.quiet()
    assert set(keeper.there()) == {"owner", "of-the-new-one"}


async def test_a_dependent_that_is_made_after_its_owner_went_is_deleted_too(keeper: Keeper) -> None:
    gone = await keeper.widget("owner")
    await keeper.delete(gone)
    await keeper.quiet()
    await keeper.restart()
    await keeper.widget("late", owner(gone))
    await keeper.quiet()
    assert not keeper.there()


async def test_an_object_that_gets_an_owner_later_goes_with_it(keeper: Keeper) -> None:
    late, child = await keeper.widget("late"), await keeper.widget("child")
    await keeper.world.merge(path_of(child), {"metadata": {"ownerReferences": [owner(late)]}})
    await keeper.quiet()
    assert set(keeper.there()) == {"late", "child"}
    await keeper.delete(late)
    await keeper.quiet()
    assert not keeper.there()


async def test_an_owner_in_another_namespace_is_none(keeper: Keeper) -> None:
    away = await keeper.widget("away", namespace="default")
    await keeper.widget("child", owner(away))
    await keeper.quiet()
    assert set(keeper.there()) == {"away"}


async def test_an_owner_without_a_namespace_may_own_what_has_one(keeper: Keeper) -> None:
    gadget = await keeper.gadget("owner")
    await keeper.widget("child", owner(gadget))
    await keeper.widget("other", owner(gadget), namespace="default")
    await keeper.quiet()
    assert set(keeper.there()) == {"owner", "child", "other"}
    await keeper.delete(gadget)
    await keeper.quiet()
    assert not keeper.there()


async def test_an_object_is_left_alone_when_its_owner_cannot_be_looked_for(keeper: Keeper) -> None:
    """Its kind is not served here, or it has a namespace and the object has none."""
    widget = await keeper.widget("widget")
    await keeper.gadget("gadget", owner(widget))
    await keeper.widget("child", FOREIGN)
    await keeper.widget("sibling", FOREIGN)
    await keeper.delete(widget)
    await keeper.quiet()
    assert set(keeper.there()) == {"gadget", "child", "sibling"}
    told = keeper.log.of("left alone: its owner cannot be looked for")
    assert {line["object"] for line in told} == {"gadgets.reference.example.com gadget", "widgets.reference.example.com shop/child"}


async def test_an_owner_is_found_in_a_version_that_the_reference_does_not_name(keeper: Keeper) -> None:
    made = await keeper.widget("owner")
    for version in ("v1beta1", "v0"):
        await keeper.widget(version, owner(made) | {"apiVersion": f"reference.example.com/{version}"})
    await keeper.quiet()
    assert set(keeper.there()) == {"owner", "v1beta1", "v0"}
    await keeper.delete(made)
    await keeper.quiet()
    assert not keeper.there()


async def test_in_the_foreground_an_owner_waits_for_the_dependents_that_block_it(keeper: Keeper) -> None:
    made = await keeper.widget("owner")
    blocking = await keeper.widget("blocking", owner(made, blockOwnerDeletion=True), **HOLD)
    other = await keeper.widget("other", owner(made), **HOLD)
    await keeper.delete(made, "Foreground")
    await keeper.quiet()
    there = keeper.there()
    assert {name: each["metadata"]["finalizers"] for name, each in there.items()} == {
        "owner": ["foregroundDeletion"],
        "blocking": ["example.com/hold"],
        "other": ["example.com/hold"],
    }
    assert all("deletionTimestamp" in each["metadata"] for each in there.values())
    await keeper.free(blocking)
    await keeper.quiet()
    assert set(keeper.there()) == {"other"}
    await keeper.free(other)
    await keeper.quiet()
    assert not keeper.there()


async def test_in_the_foreground_the_leaves_go_first(keeper: Keeper) -> None:
    top = await keeper.widget("top")
    middle = await keeper.widget("middle", owner(top, blockOwnerDeletion=True))
    leaf = await keeper.widget("leaf", owner(middle, blockOwnerDeletion=True), **HOLD)
    await keeper.delete(top, "Foreground")
    await keeper.quiet()
    held = {name: each["metadata"]["finalizers"] for name, each in keeper.there().items()}
    assert held == {"top": ["foregroundDeletion"], "middle": ["foregroundDeletion"], "leaf": ["example.com/hold"]}
    await keeper.free(leaf)
    await keeper.quiet()
    assert not keeper.there()


async def test_a_dependent_with_another_owner_does_not_keep_one_waiting(keeper: Keeper) -> None:
    going, staying = await keeper.widget("going"), await keeper.widget("staying")
    await keeper.widget("child", owner(going, blockOwnerDeletion=True), owner(staying))
    await keeper.delete(going, "Foreground")
    await keeper.quiet()
    there = keeper.there()
    assert set(there) == {"staying", "child"}
    assert there["child"]["metadata"]["ownerReferences"] == [owner(staying)]


async def test_somebody_in_another_namespace_cannot_keep_an_owner_waiting(keeper: Keeper) -> None:
    made = await keeper.widget("owner")
    await keeper.widget("away", owner(made, blockOwnerDeletion=True), namespace="default", **HOLD)
    await keeper.delete(made, "Foreground")
    await keeper.quiet()
    assert set(keeper.there()) == {"away"}


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("policy", ["Foreground", "Background"])
async def test_a_circle_of_owners_does_not_wait_for_itself(keeper: Keeper, length: int, policy: str) -> None:
    circle = [await keeper.widget(f"w{number}") for number in range(length)]
    for number, each in enumerate(circle):
        reference = owner(circle[number - 1], blockOwnerDeletion=True)
        await keeper.world.merge(path_of(each), {"metadata": {"ownerReferences": [reference]}})
    await keeper.quiet()
    assert len(keeper.there()) == length
    await keeper.delete(circle[0], policy)
    await keeper.quiet()
    assert not keeper.there()


async def test_two_owners_of_each_other_may_both_be_deleted_in_the_foreground(keeper: Keeper) -> None:
    one, two = await keeper.widget("one", **HOLD), await keeper.widget("two", **HOLD)
    for each, other in ((one, two), (two, one)):
        await keeper.world.merge(path_of(each), {"metadata": {"ownerReferences": [owner(other, blockOwnerDeletion=True)]}})
    for each in (one, two):
        await keeper.delete(each, "Foreground")
    await keeper.quiet()
    for each in (one, two):
        await keeper.free(each)
    await keeper.quiet()
    assert not keeper.there()


async def test_an_owner_may_leave_its_dependents_behind(keeper: Keeper) -> None:
    made, other = await keeper.widget("owner"), await keeper.widget("other")
    await keeper.widget("child", owner(made))
    await keeper.widget("shared", owner(made), owner(other))
    await keeper.delete(made, "Orphan")
    await keeper.quiet()
    there = keeper.there()
    assert set(there) == {"other", "child", "shared"}
    assert "ownerReferences" not in there["child"]["metadata"]
    assert there["shared"]["metadata"]["ownerReferences"] == [owner(other)]
    assert there["child"]["metadata"]["generation"] == 1


async def test_a_dependent_with_the_finalizer_orphan_leaves_its_own_behind(keeper: Keeper) -> None:
    top = await keeper.widget("top")
    middle = await keeper.widget("middle", owner(top), finalizers=["orphan"])
    await keeper.widget("leaf", owner(middle))
    await keeper.delete(top)
    await keeper.quiet()
    there = keeper.there()
    assert set(there) == {"leaf"}
    assert "ownerReferences" not in there["leaf"]["metadata"]


async def test_what_was_found_and_changed_meanwhile_is_looked_at_again(keeper: Keeper) -> None:
    made, other = await keeper.widget("owner"), await keeper.widget("other")
    child = await keeper.widget("child", owner(made))
    handle, done = keeper.world.manager.handle, False

    async def adopted_meanwhile(call: Any) -> Any:
        nonlocal done
        if call.verb == "delete" and call.target.name == "child" and not done:
            done = True
            await keeper.world.merge(path_of(child), {"metadata": {"ownerReferences": [owner(other)]}})
        return await handle(call)

    keeper.world.manager.handle = adopted_meanwhile  # type: ignore[method-assign]
    await keeper.delete(made)
    await keeper.quiet()
    assert set(keeper.there()) == {"other", "child"}


@pytest.mark.parametrize("fault", [ConflictError("somebody else"), InternalError("no"), RuntimeError("a bug")])
async def test_a_write_that_fails_is_tried_again(keeper: Keeper, fault: Exception) -> None:
    made = await keeper.widget("owner")
    for name in ("a", "b"):
        await keeper.widget(name, owner(made))
    keeper.faults = [fault] * 5
    await keeper.delete(made, "Orphan")
    await keeper.quiet()
    assert set(keeper.there()) == {"a", "b"}
    keeper.faults = [fault] * 3
    await keeper.widget("late", owner(made))
    await keeper.quiet()
    assert set(keeper.there()) == {"a", "b"}


async def test_events_take_no_part(keeper: Keeper) -> None:
    made = await keeper.widget("owner")
    about = {"namespace": "shop", "name": "owner"}
    path = "/api/v1/namespaces/shop/events"
    await keeper.world.make(path, "e", metadata={"ownerReferences": [owner(made)]}, involvedObject=about)
    await keeper.delete(made)
    await keeper.quiet()
    assert [record.key.name for record in keeper.world.stored("events")] == ["e"]
    await keeper.world.do("delete", f"{path}/e", {"propagationPolicy": "Foreground"})
    assert not keeper.world.stored("events")


async def test_nothing_is_written_that_need_not_be(keeper: Keeper) -> None:
    made = await keeper.widget("owner")
    child = await keeper.widget("child", owner(made))
    before = len(keeper.writes)
    for size in range(2, 6):
        await keeper.world.merge(path_of(child), {"spec": {"size": size}})
    await keeper.restart()
    assert len(keeper.writes) == before
