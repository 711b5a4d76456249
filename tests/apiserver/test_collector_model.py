"""Garbage collection among random owners, deletions, restarts and deaths: what should be gone is gone, and nothing else."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import ApiError
from tests.apiserver.keeping import Keeper, keeping, owner, path_of

Document = dict[str, Any]

HOLD = "example.com/hold"
POLICIES = ["Background", "Foreground", "Orphan"]
PLACES = ["shop", "shop", "shop", "default", ""]
"""Namespaces of what is made; empty: a gadget, which has none."""

makes = st.tuples(
    st.just("make"),
    st.sampled_from(PLACES),
    st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=3),  # owners, and whether they are to wait
    st.booleans(),  # held
)
adoptions = st.tuples(st.just("adopt"), st.integers(0, 7), st.integers(0, 7))
deletions = st.tuples(st.just("delete"), st.integers(0, 7), st.sampled_from(POLICIES))
others = st.sampled_from([("quiet",), ("restart",), ("kill", True, 0), ("kill", False, 0), ("kill", False, 1)])
plans = st.lists(st.one_of(makes, makes, deletions, adoptions, others), max_size=24)


class Life:
    """What was done to the objects of one example, and what has to come of it."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.made: list[Document] = []
        self.owners: dict[str, list[Document]] = {}  # by name, all that the object ever named
        self.deleted: dict[str, str] = {}  # by name, how somebody deleted it first
        self.spared: dict[str, set[str]] = {}  # by name, owners that were to leave it behind when they went

    async def do(self, step: Any) -> None:
        match step:
            case ("make", place, owners, held):
                await self.make(place, owners, held)
            case ("adopt", child, parent) if self.made:
                await self.adopt(self._at(child), self._at(parent))
            case ("delete", number, policy) if self.made:
                victim = self._at(number)
                name = victim["metadata"]["name"]
                if name in self.keeper.there():
                    await self.delete(victim, policy)
            case ("quiet",):
                await self.keeper.quiet()
            case ("restart",):
                await self.keeper.restart()
            case ("kill", before, number):
                self.keeper.kill_before, self.keeper.kill_at = before, number
        if self.keeper.killed:
            await self.keeper.start()

    async def make(self, place: str, owners: list[tuple[int, bool]], held: bool) -> None:
        name = f"o{len(self.made)}"
        parents = {self._at(number)["metadata"]["uid"]: (self._at(number), waits) for number, waits in owners if self.made}
        references = [owner(parent, blockOwnerDeletion=waits) for parent, waits in parents.values()]
        held_by = {"finalizers": [HOLD]} if held else {}
        if place:
            made = await self.keeper.widget(name, *references, namespace=place, **held_by)
        else:
            made = await self.keeper.gadget(name, *references, **held_by)
        self.made.append(made)
        self.owners[name] = references

    async def delete(self, victim: Document, policy: str) -> None:
        there = self.keeper.there()
        name, uid = victim["metadata"]["name"], victim["metadata"]["uid"]
        going = "deletionTimestamp" in there[name]["metadata"]
        if policy == "Orphan" and not going:
            for child, document in there.items():
                references = document["metadata"].get("ownerReferences", [])
                if any(each["uid"] == uid and self._is_owner(each, document, there) for each in references):
                    self.spared.setdefault(child, set()).add(uid)
        if await self.refusable(partial(self.keeper.delete, victim, policy)):
            self.deleted.setdefault(name, policy)

    async def adopt(self, child: Document, parent: Document) -> None:
        """Circles come about like this."""
        name = child["metadata"]["name"]
        there = self.keeper.there().get(name)
        if there is None:
            return
        before = there["metadata"].get("ownerReferences", [])
        reference = owner(parent, blockOwnerDeletion=True)
        if reference["uid"] in [each["uid"] for each in before]:
            return
        there["metadata"]["ownerReferences"] = [*before, reference]
        path = path_of(child)
        going = "deletionTimestamp" in there["metadata"]  # then it comes too late
        if await self.refusable(partial(self.keeper.world.put, path, there)) and not going:
            self.owners[name] = [*self.owners[name], reference]

    async def refusable(self, act: Any) -> bool:
        """The actors may have been faster, which is no mistake."""
        try:
            await act()
        except ApiError:
            return False
        return True

    async def finish(self) -> None:
        """Nobody dies any more, and nothing is held any more."""
        self.keeper.kill_at = None
        await self.keeper.quiet()
        self.check_held()
        for document in self.keeper.there().values():
            if HOLD in document["metadata"].get("finalizers", []):
                kept = [each for each in document["metadata"]["finalizers"] if each != HOLD]
                await self.keeper.world.merge(path_of(document), {"metadata": {"finalizers": kept or None}})
        await self.keeper.quiet()
        self.check_end()

    def check_held(self) -> None:
        """Who waits has a reason: somebody's finalizer, its own or that of a dependent that blocks it."""
        there = self.keeper.there()
        for document in there.values():
            finalizers = document["metadata"].get("finalizers", [])
            assert "orphan" not in finalizers
            if "foregroundDeletion" in finalizers:
                assert any(self._blocks(each, document) for each in there.values()), f"{document} waits for nobody"
        self.check_dangling(there)

    def check_end(self) -> None:
        there = self.keeper.there()
        assert not [name for name, document in there.items() if "deletionTimestamp" in document["metadata"]]
        assert not set(there) & set(self.deleted)
        self.check_dangling(there)
        for made in self.made:
            name = made["metadata"]["name"]
            if name not in there and name not in self.deleted:
                assert self._may_go(made, there), f"{name} is gone: {self.owners[name]}"

    def check_dangling(self, there: dict[str, Document]) -> None:
        """Nobody is left whose owners are all gone, and nobody names one that is gone beside others that are there."""
        for document in there.values():
            references = document["metadata"].get("ownerReferences", [])
            known = [self._is_owner(each, document, there) for each in references]
            if "deletionTimestamp" not in document["metadata"] and references:
                assert all(known), f"{document} names owners that are gone"

    def _is_owner(self, reference: Document, of: Document, there: dict[str, Document]) -> bool:
        """Whether the reference holds. One that cannot be looked for does."""
        namespace = of["metadata"].get("namespace", "")
        if reference["kind"] == "Widget" and not namespace:
            return True
        found = there.get(reference["name"])
        if found is None or found["metadata"]["uid"] != reference["uid"]:
            return False
        return found["metadata"].get("namespace", "") in ("", namespace)

    def _may_go(self, made: Document, there: dict[str, Document]) -> bool:
        """Whether it is right that an object went that nobody deleted: it had an owner, and none is left."""
        name = made["metadata"]["name"]
        references = self.owners[name]
        reasons = [each for each in references if each["uid"] not in self.spared.get(name, ())]
        return bool(reasons) and not any(self._is_owner(each, made, there) for each in references)

    def _blocks(self, document: Document, waiting: Document) -> bool:
        references = document["metadata"].get("ownerReferences", [])
        return any(each["uid"] == waiting["metadata"]["uid"] and each.get("blockOwnerDeletion") for each in references)

    def _at(self, number: int) -> Document:
        return self.made[number % len(self.made)]


@settings(max_examples=60)
@given(plans)
def test_in_the_end_nothing_is_left_that_should_be_gone_and_nothing_gone_that_should_be_left(plan: list[Any]) -> None:
    async def example() -> None:
        async with keeping() as keeper:
            life = Life(keeper)
            for step in plan:
                await life.do(step)
            await life.finish()

    anyio.run(example)


async def scene(keeper: Keeper) -> None:
    """A family of every sort, and what is asked of it."""
    front = await keeper.widget("front")
    middle = await keeper.widget("middle", owner(front, blockOwnerDeletion=True))
    for number in range(2):
        await keeper.widget(f"leaf{number}", owner(middle, blockOwnerDeletion=True))
    back = await keeper.gadget("back")
    for number in range(2):
        await keeper.widget(f"child{number}", owner(back), namespace="default")
    leaving, staying = await keeper.widget("leaving"), await keeper.widget("staying")
    await keeper.widget("left", owner(leaving))
    await keeper.widget("shared", owner(leaving), owner(staying))
    await keeper.widget("common", owner(back), owner(staying))
    await keeper.world.make("/api/v1/namespaces", "room")
    await keeper.widget("inside", namespace="room")
    await keeper.widget("held", namespace="room", finalizers=[HOLD])
    for made, policy in ((front, "Foreground"), (back, "Background"), (leaving, "Orphan")):
        await keeper.delete(made, policy)
    await keeper.world.do("delete", "/api/v1/namespaces/room")
    if keeper.killed:
        await keeper.start()
    await keeper.quiet()
    if keeper.killed:
        await keeper.start()
    await keeper.world.merge("/apis/reference.example.com/v1/namespaces/room/widgets/held", {"metadata": {"finalizers": None}})
    await keeper.quiet()
    if keeper.killed:
        await keeper.start()


async def died_at(number: int, *, before: bool) -> tuple[bool, dict[str, list[str]], list[str], int]:
    """What is left when the actors died at their n-th write and were started again; and whether there was such a write."""
    async with keeping() as keeper:
        settled_writes = len(keeper.writes)
        keeper.kill_before, keeper.kill_at = before, number
        await scene(keeper)
        died = keeper.kill_at is None
        keeper.kill_at = None
        await keeper.quiet()
        owners = {
            name: [each["name"] for each in document["metadata"].get("ownerReferences", [])]
            for name, document in keeper.there().items()
        }
        return died, owners, [record.key.name for record in keeper.world.stored("namespaces")], len(keeper.writes) - settled_writes


@pytest.mark.anyio
@pytest.mark.parametrize("before", [True, False])
async def test_killed_between_any_two_writes_and_started_again_it_comes_to_the_same_end(before: bool) -> None:
    end = {"staying": [], "left": [], "shared": ["staying"], "common": ["staying"]}
    _, owners, namespaces, writes = await died_at(10_000, before=before)
    assert (owners, namespaces) == (end, ["default", "shop"])
    assert writes >= 15
    deaths = 0
    for number in range(writes):
        died, owners, namespaces, _ = await died_at(number, before=before)
        assert (owners, namespaces) == (end, ["default", "shop"]), f"after the death at write {number}"
        deaths += died
    assert deaths >= 15
