"""Children: made once, kept as they are wanted, taken away when they are not; those of others are left alone."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import BlockingClient, Client, Done, NotTheOwnerError, Outcome, Place
from actors.children import changes, exactly
from actors.client import Preconditions
from actors.door import Page, Query, TypedClient
from actors.runner import Environment, Runner
from registry.errors import ConflictError, ServiceUnavailable
from registry.nodes import Document
from registry.patches import merge_patch
from registry.resource import Metadata, OwnerReference, Resource, Spec, Status, Struct, replace
from registry.typed import from_document, to_document
from tests.actors.world import Job, JobStatus, Part, PartSpec, Stage, World, job, settled

pytestmark = pytest.mark.anyio


class Item(Struct):
    sku: str
    note: str | None = None
    unit: str = "piece"


class CrateSpec(Spec):
    weight: int = 1
    colour: str | None = None
    where: str | None = None
    items: tuple[Item, ...] = ()
    marks: dict[str, str] | None = None
    free: dict[str, Any] | None = None
    lid: Item | None = None


class CrateStatus(Status):
    full: bool = False


class Crate(Resource[CrateSpec, CrateStatus]):
    """A child with fields of every form."""


def crate(name: str = "c", labels: dict[str, str] | None = None, **spec: Any) -> Crate:
    return Crate(metadata=Metadata(name=name, labels=labels or {}), spec=CrateSpec(**spec))


def part(name: str, of: str = "") -> Part:
    return Part(metadata=Metadata(name=name), spec=PartSpec(job=of))


@pytest.fixture
def client(stage: Stage) -> Client:
    return TypedClient(stage.world, stage.clock)


@pytest.fixture
async def owner(client: Client) -> Job:
    return await client.create(job("a"))


def writes(stage: Stage) -> list[tuple[str, str]]:
    """What was written since the owner was."""
    return [(each.verb, each.name) for each in stage.world.written[1:]]


async def test_a_child_is_made_in_its_owners_namespace_with_the_owner_as_its_controller(client: Client, owner: Job) -> None:
    made = await client.own(owner, crate())
    assert made.metadata.namespace == "shop"
    assert made.metadata.owner_references == (
        OwnerReference(
            api_version="t.example/v1", kind="Job", name="a", uid=owner.metadata.uid, controller=True, block_owner_deletion=True
        ),
    )


async def test_a_child_that_is_as_wanted_is_not_written(stage: Stage, client: Client, owner: Job) -> None:
    wanted = crate(weight=2, items=(Item(sku="a"),), marks={"x": "y"}, labels={"l": "m"})
    for _ in range(3):
        await client.own(owner, wanted)
    assert writes(stage) == [("create", "c")]


async def test_what_the_server_and_others_add_is_no_reason_for_a_write(stage: Stage, client: Client, owner: Job) -> None:
    """Comparing whole objects, an actor and a defaulting server undo each other's writes for ever."""
    wanted = crate(items=(Item(sku="a"),), lid=Item(sku="l"))
    await client.own(owner, wanted)
    there = stage.world.objects[Crate, Place("shop", "c")]
    added: Document = {
        "metadata": {"labels": {"theirs": "1"}, "annotations": {"seen": "yes"}, "finalizers": ["somebody.example/else"]},
        "spec": {"where": "shelf 3", "newer": 1, "items": [{"sku": "a", "note": "heavy", "unit": "piece"}], "lid": {"note": "n"}},
        "status": {"full": True},
    }
    stage.world.put(Crate, merge_patch(there, added))
    await client.own(owner, wanted)
    assert writes(stage) == [("create", "c")]


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"weight": 1}, {"weight": 2}, {"spec": {"weight": 2}}),
        ({"weight": 1, "colour": "red"}, {"weight": 1}, {}),
        ({"colour": "red"}, {"colour": "blue"}, {"spec": {"colour": "blue"}}),
        ({"marks": {"a": "1", "b": "2"}}, {"marks": {"a": "1"}}, {"spec": {"marks": {"b": None}}}),
        ({"marks": {"a": "1"}}, {"marks": {}}, {"spec": {"marks": {"a": None}}}),
        ({"marks": {"a": "1"}}, {}, {}),
        ({"free": {"a": {"b": 1, "c": 2}}}, {"free": {"a": {"b": 1}}}, {"spec": {"free": {"a": {"c": None}}}}),
        ({"free": {"a": 1}}, {"free": {"a": True}}, {"spec": {"free": {"a": True}}}),
        ({"free": {"a": [1, {"x": 1}]}}, {"free": {"a": [1, {"x": 1}]}}, {}),
        ({"lid": Item(sku="a", note="n")}, {"lid": Item(sku="b")}, {"spec": {"lid": {"sku": "b"}}}),
        (
            {"items": (Item(sku="a"), Item(sku="b"))},
            {"items": (Item(sku="a"),)},
            {"spec": {"items": [{"sku": "a", "unit": "piece"}]}},
        ),
        ({"items": (Item(sku="a", note="n"),)}, {"items": (Item(sku="a"),)}, {}),
    ],
)
async def test_only_the_fields_that_are_set_are_compared(before: dict[str, Any], after: dict[str, Any], patch: Document) -> None:
    owned = (OwnerReference(api_version="v1", kind="Job", name="a", uid="u"),)
    stored, wanted = (replace(crate(**spec), metadata=Metadata(name="c", owner_references=owned)) for spec in (before, after))
    assert changes(stored, wanted) == patch
    patched = from_document(Crate)(merge_patch(to_document(stored), patch))
    assert changes(patched, wanted) == {}


async def test_somebody_elses_changes_to_wanted_fields_are_put_right(stage: Stage, client: Client, owner: Job) -> None:
    wanted = crate(weight=2, labels={"l": "m"})
    made = await client.own(owner, wanted)
    meddled = replace(made, spec=replace(made.spec, weight=9), metadata=replace(made.metadata, labels={"l": "no", "x": "y"}))
    await client.update(meddled)
    again = await client.own(owner, wanted)
    assert again.spec.weight == 2
    assert again.metadata.labels == {"l": "m", "x": "y"}


async def test_a_write_that_is_overtaken_is_decided_again(stage: Stage, client: Client, owner: Job) -> None:
    made = await client.own(owner, crate(weight=1))
    patch, times = stage.world.patch, iter(range(2))

    async def overtaken(model: type, place: Place, merge: Document, subresource: str) -> Document:
        if next(times, None) is not None:
            stage.world.put(Crate, merge_patch(stage.world.objects[Crate, place], {"spec": {"where": "elsewhere"}}))
        return await patch(model, place, merge, subresource)

    stage.world.patch = overtaken  # type: ignore[method-assign]
    again = await client.own(owner, crate(weight=2))
    assert (again.spec.weight, again.spec.where, again.metadata.uid) == (2, "elsewhere", made.metadata.uid)


async def test_an_owner_that_comes_to_a_child_at_the_same_moment_is_kept(stage: Stage, client: Client, owner: Job) -> None:
    """Owner references are one list: whoever writes it on an old state takes away what somebody else has put there."""
    ours = {"apiVersion": "t.example/v1", "kind": "Job", "name": "a", "uid": owner.metadata.uid}
    other = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x"}
    stage.world.put(Crate, {"metadata": {"name": "c", "namespace": "shop", "ownerReferences": [ours]}, "spec": {}})
    patch, times = stage.world.patch, iter(range(1))

    async def overtaken(model: type, place: Place, merge: Document, subresource: str) -> Document:
        if next(times, None) is not None:
            there = stage.world.objects[Crate, place]
            stage.world.put(Crate, merge_patch(there, {"metadata": {"ownerReferences": [ours, other]}}))
        return await patch(model, place, merge, subresource)

    stage.world.patch = overtaken  # type: ignore[method-assign]
    found = await client.own(owner, crate())
    assert [(each.uid, each.controller) for each in found.metadata.owner_references] == [(owner.metadata.uid, True), ("x", None)]


async def test_a_child_that_somebody_makes_at_the_same_moment_is_found_or_refused(stage: Stage, client: Client, owner: Job) -> None:
    create = stage.world.create

    async def late(model: type, namespace: str, document: Document) -> Document:
        if (model, Place(namespace, "c")) not in stage.world.objects:
            stage.world.put(Crate, to_document(replace(crate(), metadata=Metadata(name="c", namespace="shop"))))
        return await create(model, namespace, document)

    stage.world.create = late  # type: ignore[method-assign]
    with pytest.raises(NotTheOwnerError):
        await client.own(owner, crate())


@pytest.mark.parametrize(
    ("references", "says"),
    [
        ((), "Crate 'shop/c' exists and belongs to nobody, not to Job 'shop/a' (uid"),
        (("other", True), "belongs to Job 'b' (uid other)"),
        (("other", None), "belongs to Job 'b' (uid other)"),
    ],
)
async def test_what_belongs_to_somebody_else_is_refused_by_name_and_left_as_it_is(
    stage: Stage, client: Client, owner: Job, references: tuple[Any, ...], says: str
) -> None:
    named = [{"apiVersion": "t.example/v1", "kind": "Job", "name": "b", "uid": references[0]}] if references else []
    if references and references[1]:
        named[0]["controller"] = True
    metadata = {"name": "c", "namespace": "shop", "ownerReferences": named}
    before = stage.world.put(Crate, {"metadata": metadata, "spec": {"weight": 7}})
    for attempt in (client.own(owner, crate()), client.children(owner, [crate()], of=[Crate])):
        with pytest.raises(NotTheOwnerError, match="exists and belongs to") as caught:
            await attempt
        assert says in str(caught.value)
    await client.children(owner, [], of=[Crate])
    assert stage.world.objects[Crate, Place("shop", "c")] == before


async def test_children_are_exactly_those_that_are_wanted(stage: Stage, client: Client, owner: Job) -> None:
    other = await client.create(job("b"))
    await client.own(other, part("theirs"))
    await client.children(owner, [part("p1"), part("p2"), crate("c1")], of=[Part, Crate])
    before = len(stage.world.written)
    stored = await client.children(owner, [part("p3"), part("p2", of="x"), crate("c1")], of=[Part, Crate])
    assert [each.metadata.name for each in stored] == ["p3", "p2", "c1"]
    assert [(each.verb, each.name) for each in stage.world.written[before:]] == [
        ("create", "p3"),
        ("patch", "p2"),
        ("delete", "p1"),
    ]
    await client.children(owner, [], of=[Part])
    assert {place.name for model, place in stage.world.objects if model is not Job} == {"theirs", "c1"}


async def test_a_child_that_another_owner_takes_over_at_the_last_moment_is_not_deleted(
    stage: Stage, client: Client, owner: Job
) -> None:
    made = await client.own(owner, part("p"))
    delete = stage.world.delete

    async def late(model: type, place: Place, preconditions: Preconditions) -> Document | None:
        taken = {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": True}]}}
        stage.world.put(Part, merge_patch(stage.world.objects[Part, place], taken))
        return await delete(model, place, preconditions)

    stage.world.delete = late  # type: ignore[method-assign]
    await client.children(owner, [], of=[Part])
    assert stage.world.objects[Part, Place("shop", "p")]["metadata"]["uid"] == made.metadata.uid


async def test_a_child_that_is_being_deleted_is_a_conflict_that_says_so(stage: Stage, client: Client, owner: Job) -> None:
    await client.own(owner, replace(part("p"), metadata=Metadata(name="p", finalizers=("somebody.example/else",))))
    stage.world.ask_to_delete(Part, Place("shop", "p"))
    with pytest.raises(ConflictError, match="is being deleted; it can be made again when it is gone"):
        await client.own(owner, part("p"))
    before = len(stage.world.written)
    await client.children(owner, [], of=[Part])
    assert len(stage.world.written) == before, "what is on its way out is not deleted again"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ([replace(part("p"), metadata=Metadata(generate_name="p-"))], "needs a name, the same in every run"),
        ([replace(part("p"), metadata=Metadata(name="p", namespace="other"))], "are in the same namespace"),
        ([part("p"), part("p")], "Part 'shop/p' is wanted twice"),
        ([part("p"), crate()], "Crate 'shop/c' is of a kind that is not in of=[Part]"),
    ],
)
async def test_children_that_cannot_be_are_refused_before_anything_is_written(
    stage: Stage, client: Client, owner: Job, wanted: list[Any], says: str
) -> None:
    with pytest.raises(ValueError, match=r"child|Part|Crate") as caught:
        await client.children(owner, wanted, of=[Part])
    assert says in str(caught.value)
    assert writes(stage) == []


async def test_an_owner_that_was_never_stored_cannot_own(client: Client) -> None:
    with pytest.raises(ValueError, match="only an object that was read from the server"):
        await client.own(job("a"), part("p"))


async def test_nothing_is_made_for_an_owner_that_waits_for_its_children_to_go(stage: Stage, client: Client, owner: Job) -> None:
    """The garbage collector takes them away and the actor makes them again, for ever."""
    await client.own(owner, part("p"))
    stage.world.change("a", metadata={"finalizers": ["foregroundDeletion"], "deletionTimestamp": "2026-01-01T00:00:00Z"})
    deleting = await client.get(Job, "a", "shop")
    assert deleting is not None
    assert (await client.own(deleting, part("p", of="x"))).spec.job == "x"
    with pytest.raises(ConflictError, match="is being deleted after its children: Part 'shop/q' is not made again"):
        await client.own(deleting, part("q"))
    assert await client.children(deleting, [], of=[Part]) == []


ITEMS = st.builds(Item, sku=st.sampled_from("ab"), note=st.none() | st.sampled_from("xy"), unit=st.sampled_from(["piece", "kg"]))
MAPS = st.none() | st.dictionaries(st.sampled_from("kl"), st.sampled_from("12"), max_size=2)
FREE = st.recursive(
    st.booleans() | st.integers(0, 2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("kl"), inner, max_size=2),
    max_leaves=5,
)
CRATES = st.builds(
    CrateSpec,
    weight=st.integers(0, 2),
    colour=st.none() | st.sampled_from(["red", "blue"]),
    items=st.lists(ITEMS, max_size=2).map(tuple),
    marks=MAPS,
    free=st.none() | st.dictionaries(st.sampled_from("kl"), FREE, max_size=2),
    lid=st.none() | ITEMS,
)


@given(stored=CRATES, wanted=CRATES)
def test_one_write_is_enough_whatever_was_there(stored: CrateSpec, wanted: CrateSpec) -> None:
    owned = Metadata(name="c", owner_references=(OwnerReference(api_version="v1", kind="Job", name="a", uid="u"),))
    before, goal = (Crate(metadata=owned, spec=spec) for spec in (stored, wanted))
    after = from_document(Crate)(merge_patch(to_document(before), changes(before, goal)))
    assert changes(after, goal) == {}
    said = {key: value for key, value in to_document(goal)["spec"].items() if key in ("weight", "colour", "marks", "free")}
    assert {key: value for key, value in to_document(after)["spec"].items() if key in said} == said
    assert changes(before, before) == {}


async def test_other_owners_of_a_child_stay(stage: Stage, client: Client, owner: Job) -> None:
    made = await client.own(owner, part("p"))
    reference = OwnerReference(api_version="v1", kind="X", name="x", uid="x")
    await client.update(
        replace(made, metadata=replace(made.metadata, owner_references=(reference, *made.metadata.owner_references)))
    )
    before = len(stage.world.written)
    again = await client.own(owner, part("p"))
    assert [each.uid for each in again.metadata.owner_references] == ["x", owner.metadata.uid]
    assert len(stage.world.written) == before


# In a running actor.


async def spread(obj: Job, client: Client) -> Outcome:
    """As many parts as the job is big."""
    made = await client.children(obj, [part(f"{obj.metadata.name}-{number}") for number in range(obj.spec.size)], of=[Part])
    return Done(JobStatus(seen=len(made)))


def parts(world: World) -> list[str]:
    return sorted(place.name for model, place in world.objects if model is Part)


async def test_an_actor_keeps_its_children_without_listing_those_of_others(stage: Stage) -> None:
    listed: list[type] = []
    world_list = stage.world.list

    async def noted(model: type, namespace: str | None, query: Query, more: str) -> Page:
        listed.append(model)
        return await world_list(model, namespace, query, more)

    stage.world.list = noted  # type: ignore[method-assign]
    stage.world.put(Job, to_document(job("a", size=3)))
    async with stage.running(spread, observes=[Part], writes=[Part]):
        assert parts(stage.world) == ["a-0", "a-1", "a-2"]
        stage.world.remove(Part, Place("shop", "a-1"))
        await settled()
        assert parts(stage.world) == ["a-0", "a-1", "a-2"], "one that somebody took away is made again"
        stage.world.change("a", spec={"size": 1})
        await settled()
        assert parts(stage.world) == ["a-0"]
        assert stage.world.job("a")["status"]["seen"] == 1
        assert listed == []


async def test_a_child_that_the_watch_shows_late_is_taken_away_late(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a", size=1)))
    async with stage.running(spread, observes=[Part]):
        stage.world.deaf = True
        stage.world.put(Part, _another(stage, "a-7"))
        stage.world.change("a", spec={"size": 0})
        stage.world.hear()
        await settled()
        assert parts(stage.world) == []


async def test_a_cleanup_takes_away_also_the_children_that_the_watch_has_not_shown(
    stage: Stage, client: Client, owner: Job
) -> None:
    """After it there is no run that could be woken by them; before it, there is."""
    await client.own(owner, part("p"))
    before = len(stage.world.written)
    await exactly(client, owner, [], [Part], kin=lambda model, uid: ())
    assert len(stage.world.written) == before, "the watch will show it"
    stage.world.change("a", metadata={"finalizers": ["skep.dev/test"], "deletionTimestamp": "2026-01-01T00:00:00Z"})
    deleting = await client.get(Job, "a", "shop")
    assert deleting is not None
    await exactly(client, deleting, [], [Part], kin=lambda model, uid: ())
    assert parts(stage.world) == []


def _another(stage: Stage, name: str) -> Document:
    metadata = stage.world.job("a")["metadata"]
    owner = {"apiVersion": "t.example/v1", "kind": "Job", "name": "a", "uid": metadata["uid"], "controller": True}
    return {"metadata": {"name": name, "namespace": "shop", "ownerReferences": [owner]}, "spec": {"job": ""}}


async def test_plain_functions_have_children_too(stage: Stage) -> None:
    done = anyio.Event()

    def plain(obj: Job, client: BlockingClient) -> None:
        client.own(obj, part("one"))
        client.children(obj, [part("two")], of=[Part])
        anyio.from_thread.run_sync(done.set)

    stage.world.put(Job, to_document(job("a")))
    async with stage.running(plain):
        await done.wait()
        assert parts(stage.world) == ["two"]


# Crashes.


class Crashing:
    """A door to the world that does not come back from its n-th write: `after` it was stored, or before."""

    def __init__(self, world: World, nth: int, *, after: bool) -> None:
        self._world = world
        self._left = nth
        self._after = after
        self.crashed = False

    def __getattr__(self, verb: str) -> Any:
        call = getattr(self._world, verb)
        if verb not in ("create", "update", "patch", "delete"):
            return call

        async def write(*arguments: Any) -> Any:
            self._left -= 1
            if self._left > 0:
                return await call(*arguments)
            if self._after and not self.crashed:
                await call(*arguments)
            self.crashed = True
            return await anyio.sleep_forever()

        return write


class Outside:
    """What an actor makes beside the API, and the actor: its parts are made and taken away as `spread` does it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.there: set[str] = set()

    async def reconcile(self, obj: Job, client: Client) -> Outcome:
        assert "skep.dev/test" in self.world.job(obj.metadata.name)["metadata"]["finalizers"]
        self.there.add(obj.metadata.uid)
        return await spread(obj, client)

    async def cleanup(self, obj: Job, client: Client) -> None:
        await client.children(obj, [], of=[Part])
        self.there.discard(obj.metadata.uid)


@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-stored", "after-it-is-stored"])
async def test_an_actor_that_dies_at_any_of_its_writes_converges_with_no_child_twice_and_nothing_left(after: bool) -> None:
    nth = 0
    while await _life_with_a_crash(nth := nth + 1, after=after):
        assert nth < 100
    assert nth > 12, "there are that many writes to die at"


async def _life_with_a_crash(nth: int, *, after: bool) -> bool:
    """A job is made, grows, shrinks and is deleted, and at its n-th write the actor dies. Whether it did."""
    stage = Stage()
    world, outside = stage.world, Outside(stage.world)
    door: Any = Crashing(world, nth, after=after)
    world.put(Job, to_document(job("a", size=3)))
    steps: list[tuple[dict[str, Any] | None, list[str], int]] = [
        (None, ["a-0", "a-1", "a-2"], 1),
        ({"size": 4}, ["a-0", "a-1", "a-2", "a-3"], 1),
        ({"size": 1}, ["a-0"], 1),
        ({}, [], 0),
    ]
    scope = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            nonlocal scope
            with anyio.CancelScope() as scope:
                await _runner(stage, outside, door).run()

        tasks.start_soon(run)
        for spec, expected, there in steps:
            if spec:
                world.change("a", spec=spec)
            elif spec is not None:
                world.ask_to_delete(Job, Place("shop", "a"))
            await settled()
            if door is not world and door.crashed:
                scope.cancel()
                await settled()
                door = world
                tasks.start_soon(run)
            await stage.clock.advance(30)
            assert (parts(world), len(outside.there)) == (expected, there), f"write {nth}, {spec}"
        tasks.cancel_scope.cancel()
    made = [each.name for each in world.written if each.verb == "create"]
    assert sorted(made) == ["a-0", "a-1", "a-2", "a-3"], f"write {nth}"
    assert not world.objects
    return door is world


@pytest.mark.parametrize("seed", [*range(60), 285])
async def test_whatever_happens_in_whatever_order_it_ends_as_it_is_wanted(seed: int) -> None:
    """Refused writes, watches that end, are late or stutter, people who meddle: then all is calm, and everything is right."""
    stage, chance = Stage(), Random(seed)
    world, outside = stage.world, Outside(stage.world)
    world.stutters = chance.random() < 0.3
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_runner(stage, outside, world).run)
        for _ in range(30):
            _something(world, chance)
            await stage.clock.advance(chance.choice([0, 0, 0.5, 5]))
        world.faults.clear()
        world.hear()
        await stage.clock.advance(2000)
        there = world.objects.get((Job, Place("shop", "a")))
        assert not (there or {"metadata": {}})["metadata"].get("deletionTimestamp"), "what was deleted is gone"
        assert parts(world) == [f"a-{number}" for number in range(there["spec"]["size"] if there else 0)]
        assert {document["spec"]["job"] for (model, _), document in world.objects.items() if model is Part} <= {""}
        assert outside.there == ({there["metadata"]["uid"]} if there else set())
        tasks.cancel_scope.cancel()


def _something(world: World, chance: Random) -> None:
    """One thing that may happen."""
    here = Place("shop", "a")
    there = world.objects.get((Job, here))
    deleting = there is not None and there["metadata"].get("deletionTimestamp")
    some = chance.choice(parts(world) or [""])
    match chance.randrange(8):
        case 0 if there is not None and not deleting:
            world.ask_to_delete(Job, here)
        case 1 if some:
            world.remove(Part, Place("shop", some))
        case 2 if some:
            world.put(Part, merge_patch(world.objects[Part, Place("shop", some)], {"spec": {"job": "meddled"}}))
        case 3:
            world.faults.append(chance.choice([ConflictError("no"), ServiceUnavailable("no"), RuntimeError("no")]))
        case 4:
            world.cut()
        case 5:
            world.deaf = not world.deaf
            if not world.deaf:
                world.hear()
        case _ if there is None:
            world.put(Job, to_document(job("a", size=chance.randrange(4))))
        case _ if not deleting:
            world.change("a", spec={"size": chance.randrange(4)})


def _runner(stage: Stage, outside: Outside, door: Any) -> Runner:
    made = stage.runner(outside.reconcile, cleanup=outside.cleanup, observes=[Part], writes=[Part])
    environment = made._environment
    return Runner(
        made.actor,
        Environment(
            source=environment.source,
            door=door,
            recorder=environment.recorder,
            clock=environment.clock,
            chance=environment.chance,
            log=environment.log,
        ),
    )
