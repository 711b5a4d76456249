"""The request path on a real store: what a write does, what it may not do, and who wins when many write at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import replace as with_fields
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest

from admission.identity import ADMIN, Identity
from admission.review import Review
from apiserver.admitting import Admission
from apiserver.manager import NAME_ATTEMPTS, Manager
from apiserver.patching import MERGE_PATCH
from registry.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Cause,
    ConflictError,
    Forbidden,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
)
from registry.resource import replace
from tests.apiserver.world import (
    CONFIGMAPS,
    GADGETS,
    NAMESPACES,
    OWNER,
    SOMEBODY,
    TRINKETS,
    WIDGETS,
    Document,
    Trinket,
    TrinketStatus,
    World,
    opened,
    trinkets,
)

pytestmark = pytest.mark.anyio

ORPHANS = "/apis/trinkets.example/v1/namespaces/shop/orphans"
Outcomes = list[int]
Write = Callable[[], Coroutine[Any, Any, object]]


def changed(document: Document, **spec: Any) -> Document:
    return {**document, "spec": {**document["spec"], **spec}}


def revision(document: Document) -> int:
    return int(document["metadata"]["resourceVersion"])


async def together(*writes: Write) -> Outcomes:
    """Does all at once; 200 or the code of the refusal for each."""
    outcomes = [0] * len(writes)

    async def one(number: int, write: Write) -> None:
        try:
            await write()
            outcomes[number] = 200
        except ApiError as error:
            outcomes[number] = error.code

    async with anyio.create_task_group() as tasks:
        for number, write in enumerate(writes):
            tasks.start_soon(one, number, write)
    return outcomes


# Create


async def test_what_only_the_server_sets_is_set_whatever_was_sent(world: World) -> None:
    sent = {
        "uid": "mine",
        "generation": 9,
        "creationTimestamp": "2001-01-01T00:00:00Z",
        "deletionTimestamp": "2001-01-01T00:00:00Z",
    }
    made = await world.make(WIDGETS, "a", metadata=sent, spec={"size": 1}, status={"phase": "mine"})
    metadata = made["metadata"]
    assert (metadata["generation"], metadata["creationTimestamp"]) == (1, "2023-11-14T22:13:20Z")
    assert metadata["uid"] not in ("mine", "")
    assert not {"deletionTimestamp", "status"} & {*metadata, *made}
    assert metadata["namespace"] == "shop"


async def test_a_create_must_not_name_a_revision_or_another_address(world: World) -> None:
    for metadata, said in (
        ({"resourceVersion": "1"}, "resourceVersion should not be set on objects to be created"),
        ({"namespace": "default"}, "the namespace of the provided object does not match the namespace sent on the request"),
    ):
        with pytest.raises(BadRequest, match=said):
            await world.make(WIDGETS, "a", metadata=metadata, spec={"size": 1})


async def test_a_name_is_taken_once(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    with pytest.raises(AlreadyExists, match=r'^widgets.reference.example.com "a" already exists$'):
        await world.make(WIDGETS, "a", spec={"size": 1})
    await world.make("/apis/reference.example.com/v1/namespaces/default/widgets", "a", spec={"size": 1})


async def test_of_many_who_create_one_name_exactly_one_does(world: World) -> None:
    outcomes = await together(*[lambda: world.make(WIDGETS, "a", spec={"size": 1})] * 20)
    assert sorted(outcomes) == [200] + [409] * 19


async def test_generated_names_do_not_collide(world: World) -> None:
    body = {"metadata": {"generateName": "w-"}, "spec": {"size": 1}}
    assert await together(*[lambda: world.do("create", WIDGETS, body)] * 50) == [200] * 50
    names = {record.key.name for record in world.stored("widgets.reference.example.com")}
    assert len(names) == 50
    assert all(name.startswith("w-") and len(name) == 7 for name in names)


class Stuck(random.Random):
    """Makes the same name again and again."""

    def choice(self, seq: Any) -> Any:
        return seq[0]

    def choices(self, population: Any, *_: Any, k: int = 1, **__: Any) -> Any:
        return [population[0]] * k


async def test_a_generated_name_that_is_taken_is_tried_again_and_not_for_ever(world: World) -> None:
    manager = Manager(
        world.manager.catalog, world.store, world.manager.authorization, Admission({}), now=lambda: 0.0, chance=Stuck()
    )
    stuck = with_fields(world, manager=manager)
    body = {"metadata": {"generateName": "w-"}, "spec": {"size": 1}}
    await stuck.do("create", WIDGETS, body)
    with pytest.raises(AlreadyExists):
        await stuck.do("create", WIDGETS, body)
    assert NAME_ATTEMPTS > 1
    await world.do("create", WIDGETS, body)
    assert len(world.stored("widgets.reference.example.com")) == 2


async def test_an_object_needs_a_namespace_that_is_there_and_stays(world: World) -> None:
    nowhere = "/apis/reference.example.com/v1/namespaces/nowhere/widgets"
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await world.make(nowhere, "a", spec={"size": 1})
    await world.make(NAMESPACES, "nowhere")
    await world.do("delete", f"{NAMESPACES}/nowhere")
    with pytest.raises(
        Forbidden, match="unable to create new content in namespace nowhere because it is being terminated"
    ) as caught:
        await world.make(nowhere, "a", spec={"size": 1})
    assert caught.value.status()["details"]["causes"][0]["reason"] == "NamespaceTerminating"


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_made_in_a_namespace_whose_deletion_was_acknowledged_before(world: World, seed: int) -> None:
    """Creates race with the deletion of their namespace, and with writes to it that change its revision."""
    chance = random.Random(seed)
    room = f"{NAMESPACES}/room"
    await world.make(NAMESPACES, "room")
    deleted_at = 0

    async def create(name: str) -> None:
        for _ in range(chance.randrange(8)):
            await anyio.lowlevel.checkpoint()
        await world.make(f"{room}/configmaps", name)

    async def relabel(value: str) -> None:
        await world.merge(room, {"metadata": {"labels": {"n": value}}})

    async def delete() -> None:
        nonlocal deleted_at
        for _ in range(chance.randrange(12)):
            await anyio.lowlevel.checkpoint()
        answer = await world.do("delete", room)
        assert answer.record is not None
        deleted_at = answer.record.revision

    writes: list[Write] = [delete]
    writes += [partial(create, f"c{n}") for n in range(30)]
    writes += [partial(relabel, str(n)) for n in range(5)]
    outcomes = await together(*writes)
    assert outcomes[0] == 200
    assert set(outcomes[1:31]) <= {200, 403}
    assert outcomes[31:] == [200] * 5
    made = [record for record in world.stored("configmaps") if record.key.namespace == "room"]
    assert len(made) == outcomes[1:31].count(200)
    assert all(record.revision < deleted_at for record in made)


# Update and patch


async def test_generation_counts_changes_of_what_is_wanted_alone(world: World) -> None:
    made = await world.make(WIDGETS, "a", spec={"size": 1})
    steps: list[tuple[str, Document, int]] = [
        ("", {"spec": {"size": 2}}, 2),
        ("", {"metadata": {"labels": {"a": "b"}}}, 2),
        ("/status", {"status": {"phase": "on"}}, 2),
        ("", {"spec": {"size": 2}}, 2),
        ("/scale", {"spec": {"replicas": 5}}, 3),
        ("", {"metadata": {"finalizers": ["example.com/x"]}}, 3),
        ("", {"metadata": {"generation": 99}}, 3),
    ]
    assert made["metadata"]["generation"] == 1
    for subresource, patch, generation in steps:
        await world.do("patch", f"{WIDGETS}/a{subresource}", patch, content_type=MERGE_PATCH)
        assert (await world.get(f"{WIDGETS}/a"))["metadata"]["generation"] == generation
    marked = world.document(WIDGETS, await world.do("delete", f"{WIDGETS}/a"))
    assert marked["metadata"]["generation"] == 4


async def test_a_write_that_changes_nothing_keeps_the_revision(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    made = await world.merge(f"{WIDGETS}/a/status", {"status": {"phase": "on"}})
    before = world.store.revision
    for same in (
        await world.put(f"{WIDGETS}/a", made),
        await world.put(f"{WIDGETS}/a", {**made, "status": {"phase": "other"}}),
        await world.put(f"{WIDGETS}/a/status", changed(made, size=9)),
        await world.merge(f"{WIDGETS}/a", {}),
        await world.merge(f"{WIDGETS}/a/status", {"spec": {"size": 9}, "metadata": {"labels": {"a": "b"}}}),
    ):
        assert same == made
    assert world.store.revision == before


async def test_each_part_is_written_through_its_own_path(world: World) -> None:
    made = await world.make(WIDGETS, "a", spec={"size": 1})
    everything = {**changed(made, size=2), "status": {"phase": "on"}}
    main = await world.put(f"{WIDGETS}/a", everything)
    assert (main["spec"]["size"], main.get("status")) == (2, None)
    status = await world.put(f"{WIDGETS}/a/status", {**changed(main, size=3), "status": {"phase": "on"}})
    assert (status["spec"]["size"], status["status"]) == (2, {"phase": "on"})
    assert status["metadata"]["generation"] == main["metadata"]["generation"]


async def test_an_update_needs_a_revision_and_it_has_to_be_the_newest(world: World) -> None:
    made = await world.make(WIDGETS, "a", spec={"size": 1})
    without = {**changed(made, size=2), "metadata": {"name": "a"}}
    with pytest.raises(Invalid, match=r"metadata.resourceVersion: Invalid value: 0: must be specified for an update"):
        await world.put(f"{WIDGETS}/a", without)
    await world.put(f"{WIDGETS}/a", changed(made, size=2))
    with pytest.raises(ConflictError, match="the object has been modified; please apply your changes to the latest version"):
        await world.put(f"{WIDGETS}/a", changed(made, size=3))
    assert (await world.get(f"{WIDGETS}/a"))["spec"]["size"] == 2


async def test_builtin_kinds_are_updated_without_a_revision(world: World) -> None:
    await world.make(CONFIGMAPS, "a", data={"k": "1"})
    updated = await world.put(f"{CONFIGMAPS}/a", {"metadata": {"name": "a"}, "data": {"k": "2"}})
    assert updated["data"] == {"k": "2"}


async def test_the_identity_of_an_object_is_a_precondition(world: World) -> None:
    made = await world.make(WIDGETS, "a", spec={"size": 1})
    other = {**made, "metadata": {**made["metadata"], "uid": "other"}}
    with pytest.raises(ConflictError, match="Precondition failed: UID in precondition: other, UID in object meta"):
        await world.put(f"{WIDGETS}/a", other)
    for metadata, said in (
        ({"name": "b"}, "does not match the name on the URL"),
        ({"namespace": "default"}, "does not match the namesp"),
    ):
        with pytest.raises(BadRequest, match=said):
            await world.put(f"{WIDGETS}/a", {**made, "metadata": {**made["metadata"], **metadata}})
    with pytest.raises(ConflictError):
        await world.merge(f"{WIDGETS}/a", {"metadata": {"resourceVersion": "1"}, "spec": {"size": 2}})


@pytest.mark.parametrize("subresource", ["", "/status"])
async def test_of_many_who_update_one_revision_exactly_one_wins(world: World, subresource: str) -> None:
    made = await world.make(WIDGETS, "a", spec={"size": 1})
    bodies = [{**changed(made, size=n), "status": {"phase": str(n)}} for n in range(2, 22)]
    outcomes = await together(*[partial(world.put, f"{WIDGETS}/a{subresource}", body) for body in bodies])
    assert sorted(outcomes) == [200] + [409] * 19
    stored = await world.get(f"{WIDGETS}/a")
    winner = bodies[outcomes.index(200)]
    part = "status" if subresource else "spec"
    assert stored[part] == winner[part] | ({} if subresource else {"color": "red", "replicas": 1})
    assert revision(stored) == revision(made) + 1


async def test_of_many_who_scale_one_revision_exactly_one_wins(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    path = f"{WIDGETS}/a/scale"
    scale = (await world.do("get", path)).document
    assert scale is not None
    outcomes = await together(*[partial(world.do, "update", path, {**scale, "spec": {"replicas": n}}) for n in range(2, 12)])
    assert sorted(outcomes) == [200] + [409] * 9
    assert (await world.get(f"{WIDGETS}/a"))["spec"]["replicas"] == outcomes.index(200) + 2


async def test_patches_that_name_no_revision_all_land_however_many_there_are(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    patches: list[Write] = [partial(world.merge, f"{WIDGETS}/a", {"spec": {"env": {f"k{n}": "v"}}}) for n in range(50)]
    patches += [partial(world.merge, f"{WIDGETS}/a/status", {"status": {"phase": str(n)}}) for n in range(20)]
    patches += [
        partial(world.do, "patch", f"{WIDGETS}/a/scale", {"spec": {"replicas": n}}, content_type=MERGE_PATCH) for n in range(2, 22)
    ]
    assert await together(*patches) == [200] * 90
    stored = await world.get(f"{WIDGETS}/a")
    assert len(stored["spec"]["env"]) == 50
    assert stored["metadata"]["generation"] == 71


async def test_a_patch_lands_among_those_who_update_what_they_read(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    patched = 0

    async def read_and_update(n: int) -> None:
        while patched < 10:
            current = await world.get(f"{WIDGETS}/a")
            await together(partial(world.put, f"{WIDGETS}/a", changed(current, notes=f"{n}-{random.random()}")))

    async def patch(n: int) -> None:
        nonlocal patched
        await world.merge(f"{WIDGETS}/a", {"spec": {"env": {f"k{n}": "v"}}})
        patched += 1

    everybody = [partial(read_and_update, n) for n in range(5)] + [partial(patch, n) for n in range(10)]
    assert await together(*everybody) == [200] * 15
    assert len((await world.get(f"{WIDGETS}/a"))["spec"]["env"]) == 10


async def test_an_object_that_goes_while_a_patch_waits_is_not_found(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    patches = [partial(world.merge, f"{WIDGETS}/a", {"spec": {"env": {f"k{n}": "v"}}}) for n in range(10)]
    outcomes = await together(*patches, lambda: world.do("delete", f"{WIDGETS}/a"), *patches)
    assert set(outcomes) <= {200, 404}
    assert outcomes[10] == 200
    assert not world.stored("widgets.reference.example.com")


async def test_some_kinds_are_created_by_an_update(world: World) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
    assert (await world.do("update", f"{leases}/a", {"metadata": {"name": "a"}})).code == 201
    with pytest.raises(NotFound):
        await world.put(f"{WIDGETS}/a", {"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"size": 1}})


# Dry runs


async def test_a_dry_run_answers_as_if_it_had_been_done_and_stores_nothing(world: World) -> None:
    made = await world.make(WIDGETS, "a", spec={"size": 1})
    before = world.store.revision
    dry: Document = {"query": "dryRun=All"}
    created = world.document(WIDGETS, await world.do("create", WIDGETS, {"metadata": {"name": "b"}, "spec": {"size": 1}}, **dry))
    assert "resourceVersion" not in created["metadata"]
    updated = await world.put(f"{WIDGETS}/a", changed(made, size=2), **dry)
    assert (updated["spec"]["size"], updated["metadata"]["generation"]) == (2, 2)
    assert revision(updated) == revision(made)
    assert (await world.merge(f"{WIDGETS}/a/status", {"status": {"phase": "x"}}, **dry))["status"] == {"phase": "x"}
    scaled = await world.do("patch", f"{WIDGETS}/a/scale", {"spec": {"replicas": 7}}, content_type=MERGE_PATCH, **dry)
    assert scaled.document is not None
    assert scaled.document["spec"] == {"replicas": 7}
    for verb, path in (("delete", f"{WIDGETS}/a"), ("deletecollection", WIDGETS)):
        await world.do(verb, path, **dry)
    marked = await world.do("delete", f"{NAMESPACES}/shop", {"dryRun": ["All"]})
    assert marked.record is not None
    assert b"Terminating" not in world.stored("namespaces")[0].status
    assert world.store.revision == before
    with pytest.raises(AlreadyExists):
        await world.do("create", WIDGETS, {"metadata": {"name": "a"}, "spec": {"size": 1}}, **dry)


# Delete


async def test_an_object_without_finalizers_goes_at_once(world: World) -> None:
    made = await world.make(WIDGETS, "a", spec={"size": 1})
    status = (await world.do("delete", f"{WIDGETS}/a")).document
    assert status is not None
    assert status["status"] == "Success"
    assert status["details"] == {"name": "a", "group": "reference.example.com", "kind": "widgets", "uid": made["metadata"]["uid"]}
    with pytest.raises(NotFound, match=r'widgets.reference.example.com "a" not found'):
        await world.get(f"{WIDGETS}/a")


async def test_finalizers_hold_an_object_until_the_last_one_is_taken_out(world: World) -> None:
    await world.make(WIDGETS, "a", metadata={"finalizers": ["example.com/x", "example.com/y"]}, spec={"size": 1})
    marked = world.document(WIDGETS, await world.do("delete", f"{WIDGETS}/a"))
    assert marked["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:20Z"
    again = world.document(WIDGETS, await world.do("delete", f"{WIDGETS}/a"))
    assert again == marked
    with pytest.raises(AlreadyExists, match="object is being deleted"):
        await world.make(WIDGETS, "a", spec={"size": 1})
    with pytest.raises(Invalid, match="no new finalizers can be added if the object is being deleted"):
        await world.merge(f"{WIDGETS}/a", {"metadata": {"finalizers": ["example.com/x", "example.com/y", "example.com/z"]}})
    undone = await world.merge(f"{WIDGETS}/a", {"metadata": {"deletionTimestamp": None, "finalizers": ["example.com/x"]}})
    assert undone["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    last = await world.merge(f"{WIDGETS}/a", {"metadata": {"finalizers": None}})
    assert "finalizers" not in last["metadata"]
    assert not world.stored("widgets.reference.example.com")


async def test_a_deletion_can_have_preconditions(world: World) -> None:
    made = await world.make(WIDGETS, "a", spec={"size": 1})
    for conditions, said in (
        ({"uid": "other"}, "the UID in the precondition"),
        ({"resourceVersion": "1"}, "the ResourceVersion in the precondition"),
    ):
        with pytest.raises(ConflictError, match=said):
            await world.do("delete", f"{WIDGETS}/a", {"preconditions": conditions})
    good = {"uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"]}
    await world.do("delete", f"{WIDGETS}/a", {"preconditions": good})


async def test_of_many_who_delete_one_object_exactly_one_does(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    outcomes = await together(*[lambda: world.do("delete", f"{WIDGETS}/a")] * 10)
    assert sorted(outcomes) == [200] + [404] * 9


async def test_a_deletion_lands_among_many_patches(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    patches = [partial(world.merge, f"{WIDGETS}/a", {"spec": {"notes": str(n)}}) for n in range(30)]
    outcomes = await together(*patches[:15], lambda: world.do("delete", f"{WIDGETS}/a"), *patches[15:])
    assert outcomes[15] == 200


async def test_some_namespaces_cannot_be_deleted(world: World) -> None:
    with pytest.raises(Forbidden, match='namespaces "default" is forbidden: this namespace may not be deleted'):
        await world.do("delete", f"{NAMESPACES}/default")


async def test_a_deleted_namespace_waits_for_its_own_finalizer(world: World) -> None:
    marked = world.document(NAMESPACES, await world.do("delete", f"{NAMESPACES}/shop"))
    assert marked["status"]["phase"] == "Terminating"
    kept = await world.put(f"{NAMESPACES}/shop", {**marked, "spec": {"finalizers": []}})
    assert kept["spec"] == {"finalizers": ["kubernetes"]}
    await world.put(f"{NAMESPACES}/shop/finalize", {**marked, "spec": {"finalizers": []}})
    assert [record.key.name for record in world.stored("namespaces")] == ["default"]


async def test_deleting_a_collection_deletes_what_a_list_would_show(world: World) -> None:
    for n in range(6):
        finalizers = {"finalizers": ["example.com/x"]} if n == 5 else {}
        await world.make(WIDGETS, f"w{n}", metadata={"labels": {"odd": str(n % 2)}, **finalizers}, spec={"size": 1})
    page = (await world.do("deletecollection", WIDGETS, query="labelSelector=odd%3D1")).page
    assert page is not None
    assert [record.key.name for record in page.records] == ["w1", "w3", "w5"]
    left = world.stored("widgets.reference.example.com")
    assert [record.key.name for record in left] == ["w0", "w2", "w4", "w5"]
    assert b"deletionTimestamp" in left[3].desired


async def test_a_collection_is_deleted_although_others_write_to_it(world: World) -> None:
    for n in range(10):
        await world.make(CONFIGMAPS, f"c{n}", data={})
    patches = [partial(world.merge, f"{CONFIGMAPS}/c{n}", {"data": {"k": str(v)}}) for v in range(8) for n in range(10)]
    outcomes = await together(*patches[:40], lambda: world.do("deletecollection", CONFIGMAPS), *patches[40:])
    assert outcomes[40] == 200
    assert set(outcomes) <= {200, 404}
    assert not world.stored("configmaps")


# Verbs and subresources


@pytest.mark.parametrize(
    ("verb", "path", "said"),
    [
        ("delete", f"{WIDGETS}/a/status", "delete is not supported on resources of kind"),
        ("create", f"{WIDGETS}/a/scale", "create is not supported on resources of kind"),
        ("get", f"{NAMESPACES}/shop/finalize", "get is not supported on resources of kind"),
        ("deletecollection", NAMESPACES, "the server does not allow this method on the requested resource"),
    ],
)
async def test_a_verb_that_a_resource_does_not_know_is_refused(world: World, verb: str, path: str, said: str) -> None:
    with pytest.raises(MethodNotAllowed, match=said):
        await world.do(verb, path)


@pytest.mark.parametrize("path", [f"{WIDGETS}/a/nothing", f"{GADGETS}/a/status", f"{GADGETS}/a/scale", f"{CONFIGMAPS}/a/status"])
async def test_a_subresource_that_a_kind_does_not_have_is_not_found(world: World, path: str) -> None:
    with pytest.raises(NotFound):
        await world.do("get", path)


async def test_a_kind_without_a_status_of_its_own_has_it_written_with_the_rest(world: World) -> None:
    made = await world.make(GADGETS, "a", status={"phase": "mine"})
    assert made["status"] == {"phase": "mine"}
    assert (await world.merge(f"{GADGETS}/a", {"status": {"phase": "other"}}))["metadata"]["generation"] == 2


async def test_a_deprecated_version_warns_with_every_answer(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    call = world.call("get", f"{WIDGETS.replace('/v1/', '/v1beta1/')}/a")
    await world.manager.handle(call)
    assert call.warnings == [
        "reference.example.com/v1beta1 Widget is deprecated; use reference.example.com/v1 Widget",
    ]


async def test_a_store_that_is_closed_is_a_server_that_shuts_down(world: World) -> None:
    world.store.close()
    with pytest.raises(ServiceUnavailable, match="the server is shutting down"):
        await world.make(WIDGETS, "a", spec={"size": 1})


# Who may do what


@pytest.mark.parametrize("verb", ["update", "patch"])
async def test_only_the_owner_of_a_kind_writes_its_status(world: World, verb: str) -> None:
    made = await world.make(TRINKETS, "a", spec={})
    body = {**made, "status": {"shine": 1}}
    path, media = f"{TRINKETS}/a/status", MERGE_PATCH
    for who in (ADMIN, SOMEBODY):
        with pytest.raises(Forbidden) as caught:
            await world.do(verb, path, body, content_type=media, who=who)
        where = 'in API group "trinkets.example" in the namespace "shop"'
        asked = f'User "{who.username}" cannot {verb} resource "trinkets/status" {where}'
        why = f"the status of trinkets.trinkets.example is written by its owner alone, {OWNER.username}"
        assert caught.value.message == f'trinkets.trinkets.example "a" is forbidden: {asked}: {why}'
    written = world.document(path, await world.do(verb, path, body, content_type=media, who=OWNER))
    assert written["status"] == {"shine": 1}


async def test_applying_a_status_is_writing_it(world: World) -> None:
    await world.make(TRINKETS, "a", spec={})
    config = {"apiVersion": "trinkets.example/v1", "kind": "Trinket", "metadata": {"name": "a"}, "status": {"shine": 1}}
    apply = {"query": "fieldManager=m", "content_type": "application/apply-patch+yaml"}
    with pytest.raises(Forbidden):
        await world.do("patch", f"{TRINKETS}/a/status", config, **apply)
    await world.do("patch", f"{TRINKETS}/a/status", config, who=OWNER, **apply)


async def test_a_status_that_nobody_owns_is_written_by_nobody(world: World) -> None:
    await world.make(ORPHANS, "a", spec={})
    with pytest.raises(
        Forbidden, match=r"no actor owns orphans.trinkets.example: declare one, or declare the kind with owner='external'"
    ):
        await world.merge(f"{ORPHANS}/a/status", {"status": {"shine": 1}})


async def test_a_status_that_is_external_is_written_by_whoever_may(world: World) -> None:
    await world.make(WIDGETS, "a", spec={"size": 1})
    await world.merge(f"{WIDGETS}/a/status", {"status": {"phase": "on"}}, who=SOMEBODY)


async def test_whoever_is_not_authenticated_may_do_nothing_and_is_refused_before_the_body_is_read(world: World) -> None:
    nobody = Identity("system:anonymous")
    for verb, path in (("get", f"{WIDGETS}/a"), ("list", WIDGETS), ("create", WIDGETS), ("deletecollection", WIDGETS)):
        with pytest.raises(Forbidden, match='User "system:anonymous" cannot'):
            await world.do(verb, path, b"{ not json", who=nobody)


async def test_a_name_that_a_selector_demands_is_what_is_asked_for(world: World) -> None:
    with pytest.raises(Forbidden, match=r'widgets.reference.example.com "a" is forbidden'):
        await world.do("list", WIDGETS, query="fieldSelector=metadata.name%3Da", who=Identity("x"))


# Admission


def step(name: str) -> Callable[[Review[Trinket]], Trinket]:
    def mutator(review: Review[Trinket]) -> Trinket:
        return replace(review.new, spec=replace(review.new.spec, steps=[*(review.new.spec.steps or ()), name]))

    return mutator


async def test_mutators_run_in_order_and_their_result_is_stored() -> None:
    async def later(review: Review[Trinket]) -> Trinket:
        await anyio.lowlevel.checkpoint()
        return step("second")(review)

    async with opened(trinkets([step("first"), later, lambda review: None, step("third")])) as world:
        made = await world.make(TRINKETS, "a", spec={})
        assert made["spec"]["steps"] == ["first", "second", "third"]
        assert (await world.get(f"{TRINKETS}/a")) == made


async def test_validators_all_run_on_what_the_mutators_left_and_are_reported_together() -> None:
    seen: list[int] = []

    def double(review: Review[Trinket]) -> Trinket:
        return replace(review.new, spec=replace(review.new.spec, size=review.new.spec.size * 2))

    def first(review: Review[Trinket]) -> list[Cause]:
        seen.append(review.new.spec.size)
        return [Cause("FieldValueInvalid", "one", "spec.size"), Cause("FieldValueInvalid", "two", "spec.note")]

    def second(review: Review[Trinket]) -> None:
        seen.append(review.new.spec.size)

    async def third(review: Review[Trinket]) -> list[Cause]:
        return [Cause("FieldValueInvalid", "three")]

    async with opened(trinkets([double], [first, second, third])) as world:
        with pytest.raises(Invalid) as caught:
            await world.make(TRINKETS, "a", metadata={"labels": {"bad key": "x"}}, spec={"size": 4})
        assert [cause.message for cause in caught.value.causes][1:] == ["one", "two", "three"]
        assert caught.value.causes[0].field == "metadata.labels"
        assert seen == [8, 8]
        assert not world.stored("trinkets.trinkets.example")


@pytest.mark.parametrize("stage", ["mutator", "validator"])
async def test_a_handler_that_fails_is_named_and_what_it_said_is_for_the_log_alone(stage: str) -> None:
    def broken(review: Review[Trinket]) -> Any:
        raise ValueError("the password is 1234")

    async with opened(trinkets([broken]) if stage == "mutator" else trinkets([], [broken])) as world:
        with pytest.raises(InternalError) as caught:
            await world.make(TRINKETS, "a", spec={})
        said = msgspec.json.encode(caught.value.status()).decode()
        assert "admission handler trinkets.broken failed" in said
        assert "1234" not in said
        [(_, values)] = world.log.errors
        assert values["handler"] == "trinkets.broken"
        assert "1234" in str(values["exc_info"])
        assert not world.stored("trinkets.trinkets.example")


async def test_a_handler_may_refuse_outright() -> None:
    def closed(review: Review[Trinket]) -> None:
        raise Forbidden("not on a Sunday")

    async with opened(trinkets([closed])) as world:
        with pytest.raises(Forbidden, match="not on a Sunday"):
            await world.make(TRINKETS, "a", spec={})


async def test_what_a_mutator_returns_is_validated_like_what_a_client_sends() -> None:
    def wrong(review: Review[Trinket]) -> Trinket:
        return replace(review.new, spec=replace(review.new.spec, size="big"))

    async with opened(trinkets([wrong])) as world:
        with pytest.raises(Invalid, match=r'spec.size: Invalid value: "string"'):
            await world.make(TRINKETS, "a", spec={})


async def test_a_mutator_changes_labels_and_takes_them_out() -> None:
    def strip(review: Review[Trinket]) -> Trinket:
        return replace(review.new, spec=replace(review.new.spec, note=None), metadata=replace(review.new.metadata, labels={}))

    async with opened(trinkets([strip])) as world:
        made = await world.make(TRINKETS, "a", metadata={"labels": {"a": "b"}, "annotations": {"c": "d"}}, spec={"note": "x"})
        assert "labels" not in made["metadata"]
        assert made["metadata"]["annotations"] == {"c": "d"}
        assert made["spec"] == {"size": 1}


async def test_a_mutator_cannot_write_a_status_or_make_another_object() -> None:
    def everything(review: Review[Trinket]) -> Trinket:
        mine = {"name": "other", "namespace": "default", "uid": "1", "generation": 77, "creation_timestamp": "2001-01-01T00:00:00Z"}
        return replace(review.new, metadata=replace(review.new.metadata, **mine), status=TrinketStatus(shine=9))

    async with opened(trinkets([everything])) as world:
        made = await world.make(TRINKETS, "a", spec={})
        assert (made["metadata"]["name"], made["metadata"]["namespace"], made["metadata"]["generation"]) == ("a", "shop", 1)
        assert "status" not in made
        await world.merge(f"{TRINKETS}/a/status", {"status": {"shine": 1}}, who=OWNER)
        updated = await world.merge(f"{TRINKETS}/a", {"spec": {"size": 2}})
        assert (updated["status"], updated["metadata"]["generation"]) == ({"shine": 1}, 2)
        assert updated["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_change_that_a_mutator_takes_back_is_none() -> None:
    def pin(review: Review[Trinket]) -> Trinket:
        return replace(review.new, spec=replace(review.new.spec, size=1))

    async with opened(trinkets([pin])) as world:
        made = await world.make(TRINKETS, "a", spec={})
        assert await world.merge(f"{TRINKETS}/a", {"spec": {"size": 2}}) == made


async def test_handlers_are_told_what_is_done_to_what_by_whom() -> None:
    seen: list[tuple[str, int, int | None, str, bool]] = []

    def note(review: Review[Trinket]) -> None:
        old = None if review.old is None else review.old.spec.size
        seen.append((review.operation, review.new.spec.size, old, review.identity.username, review.dry_run))
        review.warn("careful")

    async with opened(trinkets([note])) as world:
        call = world.call("create", TRINKETS, {"metadata": {"name": "a"}, "spec": {"size": 3}}, who=SOMEBODY)
        await world.manager.handle(call)
        assert call.warnings == ["careful"]
        await world.merge(f"{TRINKETS}/a", {"spec": {"size": 4}}, query="dryRun=All")
        await world.merge(f"{TRINKETS}/a/status", {"status": {"shine": 1}}, who=OWNER)
    assert seen == [("CREATE", 3, None, "somebody", False), ("UPDATE", 4, 3, "admin", True)]


async def test_handlers_are_not_asked_about_what_breaks_the_schema() -> None:
    asked: list[int] = []

    def note(review: Review[Trinket]) -> None:
        asked.append(review.new.spec.size)

    async with opened(trinkets([note], [note])) as world:
        with pytest.raises(Invalid):
            await world.make(TRINKETS, "a", spec={"size": "big"})
    assert not asked
