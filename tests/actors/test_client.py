"""The typed client on top of a door: absence, conflicts, pages, waiting; and the patch that it makes of a difference."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.client import Client, Op, selector
from actors.door import TypedClient, difference
from registry.declarations import Place
from registry.errors import ConflictError, NotFound, Timeout
from registry.nodes import Document
from registry.patches import merge_patch
from registry.resource import Metadata, replace
from registry.typed import to_document
from tests.actors.world import Job, JobSpec, Stage, job, settled

pytestmark = pytest.mark.anyio


@pytest.fixture
def client(stage: Stage) -> Client:
    return TypedClient(stage.world, stage.clock)


def bigger(job: Job) -> Job:
    return replace(job, spec=JobSpec(size=job.spec.size + 1))


async def test_what_is_not_there_is_none_where_it_is_asked_for_and_an_error_where_it_is_to_be_changed(client: Client) -> None:
    assert await client.get(Job, "a", "shop") is None
    assert await client.delete(Job, "a", "shop") is None
    with pytest.raises(NotFound):
        await client.update_with(Job, "a", "shop", bigger)
    with pytest.raises(NotFound):
        await client.patch(Job, "a", "shop", {"spec": {"size": 2}})


async def test_a_list_is_all_pages_of_one_state(stage: Stage, client: Client) -> None:
    for number in range(5):
        stage.world.put(Job, to_document(job(f"j{number}")))
    listed = await client.list(Job)
    assert [each.metadata.name for each in listed.items] == [f"j{number}" for number in range(5)]
    assert listed.revision == stage.world.revision
    assert [len(page.items) async for page in client.pages(Job)] == [2, 2, 1]


async def test_writes_return_what_was_stored_and_are_reported_before_they_return(stage: Stage) -> None:
    wrote: list[tuple[type, Place, Document | None]] = []
    client = TypedClient(stage.world, stage.clock, lambda *written: wrote.append(written))
    created = await client.create(job("a"))
    assert created.metadata.uid
    updated = await client.update(bigger(created))
    assert (updated.spec.size, updated.metadata.generation) == (2, 2)
    patched = await client.patch_status(Job, "a", "shop", {"seen": 4}, uid=created.metadata.uid)
    assert patched.status is not None
    assert patched.status.seen == 4
    await client.delete(Job, "a", "shop")
    assert [(model, place.name) for model, place, _ in wrote] == [(Job, "a")] * 4
    revisions = [int(document["metadata"]["resourceVersion"]) for _, _, document in wrote if document is not None]
    assert revisions == [1, 2, 3]
    assert wrote[-1][2] is None


async def test_an_update_of_what_somebody_changed_since_is_refused(stage: Stage, client: Client) -> None:
    read = await client.create(job("a"))
    stage.world.change("a", spec={"size": 9})
    with pytest.raises(ConflictError):
        await client.update(bigger(read))
    assert stage.world.job("a")["spec"]["size"] == 9


async def test_update_with_begins_again_from_the_newest_state_when_somebody_was_faster(stage: Stage, client: Client) -> None:
    await client.create(job("a"))
    overtakes = iter((10, 20))

    def change(current: Job) -> Job:
        size = next(overtakes, None)
        if size is not None:
            stage.world.change("a", spec={"size": size})
        return bigger(current)

    assert (await client.update_with(Job, "a", "shop", change)).spec.size == 21
    assert stage.world.names("update") == ["a"] * 3


async def test_update_with_gives_up_when_it_is_always_overtaken(stage: Stage, client: Client) -> None:
    await client.create(job("a"))

    def change(current: Job) -> Job:
        stage.world.change("a", spec={"size": current.spec.size + 1})
        return replace(current, spec=JobSpec(size=0))

    with pytest.raises(ConflictError):
        await client.update_with(Job, "a", "shop", change)


async def test_update_with_writes_nothing_when_nothing_changes(stage: Stage, client: Client) -> None:
    await client.create(job("a"))
    await client.update_with(Job, "a", "shop", lambda current: replace(current, spec=JobSpec(size=1)))
    assert stage.world.names("update") == []


async def test_a_patch_for_another_object_of_the_name_is_refused(stage: Stage, client: Client) -> None:
    old = await client.create(job("a"))
    stage.world.remove(Job, Place("shop", "a"))
    stage.world.put(Job, to_document(job("a")))
    for refused in (
        client.patch(Job, "a", "shop", {"spec": {}}, uid=old.metadata.uid),
        client.patch_status(Job, "a", "shop", {}, uid="x"),
    ):
        with pytest.raises(ConflictError):
            await refused


async def test_a_watch_gives_typed_changes_in_order(stage: Stage, client: Client) -> None:
    first = stage.world.put(Job, to_document(job("a")))
    stage.world.change("a", spec={"size": 2})
    stage.world.remove(Job, Place("shop", "a"))
    stage.world.cut()
    events = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch_into, client, int(first["metadata"]["resourceVersion"]) - 1, events)
        await settled()
        stage.world.cut()
    assert events == [(Op.ADDED, 1), (Op.MODIFIED, 2), (Op.DELETED, 2)]


async def _watch_into(client: Client, after: int, events: list[tuple[Op, int]]) -> None:
    async for batch in client.watch(Job, after=after):
        events += [(event.op, event.object.spec.size) for event in batch]


async def test_wait_until_returns_at_once_what_holds_already(stage: Stage, client: Client) -> None:
    stage.world.put(Job, to_document(job("a", size=3)))
    found = await client.wait_until(Job, "a", "shop", lambda found: found is not None and found.spec.size == 3)
    assert found is not None
    assert await client.wait_until(Job, "b", "shop", lambda found: found is None) is None


@pytest.mark.parametrize("disturbance", ["none", "cut", "expired"])
async def test_wait_until_sees_what_comes_later_whatever_happens_to_its_watch(
    stage: Stage, client: Client, disturbance: str
) -> None:
    found: list[Job | None] = []

    async def wait() -> None:
        found.append(await client.wait_until(Job, "a", "shop", lambda seen: seen is not None and seen.spec.size == 2))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await settled()
        stage.world.put(Job, to_document(job("a")))
        await settled()
        if disturbance != "none":
            stage.world.deaf = True
        stage.world.change("a", spec={"size": 2})
        if disturbance == "expired":
            stage.world.horizon = stage.world.revision
        stage.world.cut()
        await stage.clock.advance(5)
        assert [each.spec.size for each in found if each is not None] == [2]


async def test_wait_until_does_not_hammer_a_server_that_ends_its_watches(stage: Stage, client: Client) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.wait_until, Job, "a", "shop", lambda seen: seen is not None)
        await settled()
        stage.world.cut()
        await settled()
        assert stage.world.watches == 1
        await stage.clock.advance(1)
        assert stage.world.watches == 2
        tasks.cancel_scope.cancel()


async def test_wait_until_sees_a_deletion(stage: Stage, client: Client) -> None:
    stage.world.put(Job, to_document(job("a")))
    found: list[Job | None] = []

    async def wait() -> None:
        found.append(await client.wait_until(Job, "a", "shop", lambda seen: seen is None))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await settled()
        assert found == []
        stage.world.remove(Job, Place("shop", "a"))
    assert found == [None]


async def test_wait_until_says_what_it_waited_for_in_vain(stage: Stage, client: Client) -> None:
    errors: list[str] = []

    async def wait() -> None:
        try:
            await client.wait_until(Job, "a", "shop", lambda seen: seen is not None, within=30)
        except Timeout as error:
            errors.append(error.message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await stage.clock.advance(29)
        assert errors == []
        await stage.clock.advance(2)
    assert errors == ["waited 30 s for Job shop/a, and what was waited for did not come"]


async def test_a_new_object_needs_neither_kind_nor_version(stage: Stage, client: Client) -> None:
    await client.create(Job(metadata=Metadata(name="a", namespace="shop"), spec=JobSpec()))
    assert "kind" not in stage.world.written[0].body


def test_labels_are_a_selector_as_text_or_as_they_are() -> None:
    assert selector({"app": "shop", "tier": ""}) == "app=shop,tier="
    assert selector("app in (a, b)") == "app in (a, b)"


VALUES = st.recursive(
    st.booleans() | st.integers(min_value=-2, max_value=2) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def as_json(value: Any) -> Any:
    """For Python 1 is True; not here."""
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    return [as_json(each) for each in value] if isinstance(value, list) else (type(value), value)


@given(old=DOCUMENTS, new=DOCUMENTS)
def test_the_difference_makes_the_old_document_the_new_one(old: Document, new: Document) -> None:
    assert as_json(merge_patch(old, difference(old, new))) == as_json(new)


@given(document=DOCUMENTS)
def test_there_is_no_difference_between_equal_documents(document: Document) -> None:
    assert difference(document, {key: document[key] for key in reversed(document)}) == {}
