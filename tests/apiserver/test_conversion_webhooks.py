"""Links in two versions, between which a real webhook converts over HTTPS: everybody has their version, nobody waits who need not,
and no object spoils another."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.identity import ADMIN
from apiserver import forms, sections
from apiserver.calls import Call
from apiserver.forms import View
from apiserver.negotiation import Form, Shape
from apiserver.patching import APPLY_PATCH, JSON_PATCH, MERGE_PATCH
from apiserver.target import Target
from registry.errors import ApiError, InternalError
from registry.ways import ConversionError, Unreached
from storage.store import Key
from tests.apiserver.converting_hook import DEFINITION, GROUP, NEW, OLD, Linked, good, linked, path, review, turned
from tests.apiserver.hooks import bundle, hook, http
from tests.apiserver.test_watch import Client, Replica, watching

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
BAD = {"labels": {"bad": "x"}}


async def names(found: Linked, version: str, query: str = "") -> tuple[list[str], list[str]]:
    """The names that a list shows, each checked to be in its version, and the warnings."""
    call = found.world.call("list", path(version), query=query)
    page = (await found.world.manager.handle(call)).page
    assert page is not None
    assert {record.api_version for record in page.records} <= {f"{GROUP}/{version}"}
    return [record.key.name for record in page.records], [str(warning) for warning in call.warnings]


def stored(found: Linked, name: str) -> Document:
    """An object as it is stored."""
    record = found.world.store.get(Key(DEFINITION, "shop", name))
    assert record is not None
    document: Document = msgspec.json.decode(record.desired)
    return document


async def test_what_is_stored_in_one_version_is_read_and_written_in_the_other() -> None:
    async with linked() as found:
        world = found.world
        made = await world.make(path("v2"), "a", spec={"address": "h:80"})
        assert made["spec"] == {"address": "h:80", "size": 3}
        assert stored(found, "a")["apiVersion"] == OLD
        assert stored(found, "a")["spec"] == {"host": "h", "port": 80}
        assert (await world.get(path("v1", "a")))["spec"] == {"host": "h", "port": 80}
        old = await world.get(path("v2", "a"))
        await world.put(path("v2", "a"), {**old, "spec": {"address": "i:81"}})
        assert (await world.get(path("v1", "a")))["spec"] == {"host": "i", "port": 81}
        await world.merge(path("v2", "a"), {"spec": {"address": "j:82"}})
        operation = {"op": "replace", "path": "/spec/host", "value": "k"}
        await world.do("patch", path("v1", "a"), msgspec.json.encode([operation]), content_type=JSON_PATCH)
        await world.merge(path("v2", "a/status"), {"status": {"ready": True}})
        found_now = await world.get(path("v2", "a"))
        assert found_now["spec"] == {"address": "k:82", "size": 3}
        assert found_now["status"] == {"ready": True}
        assert found_now["metadata"]["generation"] == 5 - 1
        scale = (await world.do("get", path("v2", "a/scale"))).document
        assert scale is not None
        await world.do("update", path("v2", "a/scale"), {**scale, "spec": {"replicas": 4}})
        assert (await world.get(path("v2", "a")))["spec"]["replicas"] == 4
        assert (await world.get(path("v1", "a")))["spec"]["replicas"] == 4


async def test_what_was_applied_in_one_version_is_owned_in_the_other() -> None:
    async with linked() as found:

        async def apply(version: str, spec: Document, who: str) -> Document:
            config = {"apiVersion": f"{GROUP}/{version}", "kind": "Link", "metadata": {"name": "a"}, "spec": spec}
            here = path(version, "a")
            query = f"fieldManager={who}"
            answer = await found.world.do("patch", here, config, content_type=APPLY_PATCH, query=query)
            return found.world.document(here, answer)

        await apply("v2", {"address": "h:80"}, "one")
        with pytest.raises(ApiError) as refused:
            await apply("v1", {"host": "other"}, "two")
        assert "conflict with" in refused.value.message
        assert (await apply("v1", {"replicas": 2}, "two"))["spec"] == {"host": "h", "port": 80, "replicas": 2}
        assert (await apply("v2", {"address": "i:80"}, "one"))["spec"]["replicas"] == 2


async def test_a_list_asks_once_for_all_that_it_does_not_know_and_never_again() -> None:
    async with linked() as found:
        for name in "abc":
            await found.link(name)
        found.use(storage=NEW)
        await found.world.make(path("v2"), "d", spec={"address": "d:1"})
        assert found.questions == []
        assert await names(found, "v2") == (["a", "b", "c", "d"], [])
        assert found.questions == [("v2", ("a", "b", "c"))]
        assert await names(found, "v2") == (["a", "b", "c", "d"], [])
        assert len(found.questions) == 1
        assert (await names(found, "v1"))[0] == ["a", "b", "c", "d"]
        assert found.questions[1:] == [("v1", ("d",))]
        await found.world.merge(path("v1", "b"), {"metadata": {"labels": {"new": "x"}}})
        found.hook.asked.clear()
        await names(found, "v2")
        assert found.questions == [("v2", ("b",))]


async def test_what_does_not_fit_into_memory_is_shown_all_the_same() -> None:
    async with linked(memory=0) as found:
        for number in range(5):
            await found.link(f"l{number}")
        page = (await found.world.do("list", path("v2"))).page
        assert page is not None
        view = View(found.world.target(path("v2")).kind, found.world.target(path("v2")).version, Form())
        listed = msgspec.json.decode(b"".join(forms.many(view, page)))
        assert [item["spec"]["address"] for item in listed["items"]] == ["a:1"] * 5
        table = View(view.kind, view.version, Form(shape=Shape.TABLE))
        rows = msgspec.json.decode(b"".join(forms.many(table, page)))["rows"]
        assert [row["cells"][1] for row in rows] == ["a:1"] * 5
        assert len(found.questions) == 1
        client = Client(quick=True)
        async with watching(found.world, client, path("v2")):
            await client.come(5)
            await found.world.merge(path("v1", "l3"), {"spec": {"host": "b"}})
            await client.come(6)
        assert client.events[-1]["object"]["spec"]["address"] == "b:1"


async def test_a_long_list_is_asked_for_in_pieces_and_a_webhook_that_refuses_for_ever_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("apiserver.converting.ASKED", 6)
    monkeypatch.setattr("registry.custom.conversion.BATCH", 2)
    async with linked(memory=0) as found:
        for number in range(15):
            await found.link(f"l{number:02}")
        assert (await names(found, "v2"))[0] == [f"l{number:02}" for number in range(15)]
        assert [len(asked) for _, asked in found.questions] == [2] * 7 + [1]
        assert found.ways.waiting == 0
        monkeypatch.setattr("registry.custom.conversion.LONGEST_SECONDS", 0.05)
        never = anyio.Event()

        async def reply(request: Document) -> bytes:
            if len(request["objects"]) < 2:
                await never.wait()
            return review(request, status="Failure", message="no")

        found.reply = reply
        with pytest.raises(Unreached) as refused:
            await names(found, "v2")
        assert refused.value.message == (f"conversion webhook for {OLD}, Kind=Link failed: 6 objects were not converted in 0.05 s")
        assert found.ways.waiting == 0


async def test_one_object_that_cannot_be_converted_spoils_no_other() -> None:
    async with linked() as found:
        for number in range(9):
            await found.link(f"l{number}", **(BAD if number == 4 else {}))
        listed, warnings = await names(found, "v2")
        assert listed == [f"l{number}" for number in range(9) if number != 4]
        failed = f"conversion webhook for {OLD}, Kind=Link failed: cannot convert l4"
        assert warnings == [f'left out: Link "l4" in namespace "shop" cannot be converted to {NEW}: {failed}']
        with pytest.raises(ConversionError) as refused:
            await found.world.get(path("v2", "l4"))
        assert refused.value.message == failed
        assert refused.value.status()["details"]["name"] == "l4"
        assert refused.value.code == 500
        assert (await names(found, "v1"))[0] == [f"l{number}" for number in range(9)]
        assert found.world.log.errors[0][1]["why"] == failed


async def test_a_refusal_is_remembered_for_a_while_and_then_the_webhook_has_another_chance() -> None:
    async with linked() as found:
        await found.link("a", **BAD)
        for _ in range(3):
            assert (await names(found, "v2"))[0] == []
        assert len(found.questions) == 1
        found.reply = lambda request: review(request, [{**each, "apiVersion": NEW} for each in request["objects"]])
        found.asking.clock[0] += 10
        assert (await names(found, "v2"))[0] == ["a"]


async def test_while_the_webhook_is_away_nothing_is_said_to_be_gone_and_everything_can_be_deleted() -> None:
    async with linked() as found:
        await found.link("a")
        await found.link("held", finalizers=["x.example/y"])
        found.use()
        before = found.world.stored(DEFINITION)
        found.reply = lambda _: http(b"away", "503 Service Unavailable")
        for act in (
            found.world.get(path("v2", "a")),
            names(found, "v2"),
            found.world.make(path("v2"), "new", spec={"address": "x:1"}),
            found.world.merge(path("v2", "a"), {"spec": {"address": "x:1"}}),
        ):
            with pytest.raises(Unreached) as refused:
                await act
            assert refused.value.message.startswith("conversion webhook for links.example/v")
            assert "it answered with status 503" in refused.value.message
        assert found.world.stored(DEFINITION) == before
        assert (await names(found, "v1"))[0] == ["a", "held"]
        calls = len(found.hook.asked)
        await found.world.merge(path("v1", "held"), {"metadata": {"labels": {"a": "b"}}})
        assert len(found.hook.asked) == calls
        await found.world.do("delete", path("v2", "a"))
        assert (await found.world.do("delete", path("v2", "held"))).document == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {"name": "held", "group": GROUP, "kind": "links", "uid": before[1].uid},
        }
        await found.world.merge(path("v1", "held"), {"metadata": {"finalizers": None}})
        assert found.world.stored(DEFINITION) == []


async def test_a_collection_is_deleted_without_the_webhook_which_shows_nothing_of_it_then() -> None:
    async with linked() as found:
        for name in "ab":
            await found.link(name)
        found.reply = lambda _: http(b"away", "503 Service Unavailable")
        call = found.world.call("deletecollection", path("v2"))
        page = (await found.world.manager.handle(call)).page
        assert page is not None
        assert page.records == ()
        assert "what was deleted is not shown: conversion webhook for" in str(call.warnings)
        assert found.world.stored(DEFINITION) == []


async def test_a_definition_that_moves_its_webhook_moves_it_for_everybody() -> None:
    async with linked() as found:
        await found.link("a")
        client = Client(quick=True)
        async with hook(good) as other_hook, watching(found.world, client, path("v2")):
            await client.come(1)
            config = {"clientConfig": {"url": f"https://127.0.0.1:{other_hook.port}/", "caBundle": bundle()}}
            found.call = found.asking.webhooks.conversions.call(DEFINITION, config)
            found.use()
            found.hook.asked.clear()
            await found.world.merge(path("v1", "a"), {"spec": {"host": "b"}})
            await client.come(2)
        assert found.hook.asked == []
        assert len(other_hook.asked) > 0
        assert other_hook.connections == 1


async def test_an_object_of_an_older_version_is_let_go_of_by_the_collector_without_the_webhook() -> None:
    async with linked() as found:
        await found.link("a", finalizers=["x.example/y"])
        found.use(storage=NEW)
        found.reply = lambda _: http(b"away", "503 Service Unavailable")
        kind = found.world.registry.of_resource(DEFINITION)
        assert kind is not None
        version = found.world.registry.version_of(kind, OLD)
        target = Target(kind, version, "shop", "a")
        await found.world.manager.handle(Call(ADMIN, "delete", target))
        patch = {"metadata": {"finalizers": None}}
        await found.world.manager.handle(Call(ADMIN, "patch", target, body=patch, content_type=MERGE_PATCH))
        assert found.world.stored(DEFINITION) == []
        assert found.hook.asked == []


def changed(**metadata: Any) -> Any:
    """A reply that changes the metadata."""

    def reply(request: Document) -> bytes:
        made = [turned(each, request["desiredAPIVersion"]) for each in request["objects"]]
        return review(request, [{**each, "metadata": {**each["metadata"], **metadata}} for each in made])

    return reply


def other(**fields: Any) -> Any:
    """A reply whose objects are something else."""
    return lambda request: review(request, [{**turned(each, NEW), **fields} for each in request["objects"]])


WRONG: dict[str, tuple[Any, str]] = {
    "fewer": (review, " returned 0 objects, expected 1"),
    "more": (lambda request: review(request, [*request["objects"]] * 2), " returned 2 objects, expected 1"),
    "name": (changed(name="b"), " returned invalid object: must have the same name: a != b"),
    "namespace": (changed(namespace="default"), " returned invalid object: must have the same namespace: shop != default"),
    "uid": (changed(uid="u"), "u"),
    "no-metadata": (other(metadata=None), " returned invalid metadata: it is no object"),
    "labels": (changed(labels={"a": 1}), " returned invalid metadata: labels are no texts by name"),
    "version": (other(apiVersion=OLD), f" invalid groupVersion (expected {NEW}, received {OLD})"),
    "kind": (other(kind="Other"), " invalid kind (expected Link, received Other)"),
    "text": (lambda request: review(request, ["x"]), " returned invalid object at index 0: it is no object"),
    "failure": (lambda request: review(request, status="Failure"), " failed: response.result.status was 'Failure', not 'Success'"),
    "no-json": (lambda _: http(b"{"), " failed: it is no JSON"),
    "admission": (lambda _: {"allowed": True}, f" failed: expected webhook response of {'apiextensions.k8s.io/v1'}"),
    "question": (lambda request: review({**request, "uid": "other"}), " failed: expected response.uid="),
    "status": (lambda _: http(b"secret", "500 Oops"), "it answered with status 500"),
    "redirect": (lambda _: http(b"", "307 There", "location: https://127.0.0.1/"), "status 307; redirects are not followed"),
    "cut-off": (lambda _: b"", "Post "),
}


@pytest.mark.parametrize("reply", WRONG)
async def test_an_answer_that_is_none_is_told_by_name_and_writes_nothing(reply: str) -> None:
    async with linked() as found:
        await found.link("a")
        before = found.world.stored(DEFINITION)
        found.reply, said = WRONG[reply]
        with pytest.raises(ConversionError) as refused:
            await found.world.get(path("v2", "a"))
        assert not isinstance(refused.value, Unreached)
        assert refused.value.message.startswith(f"conversion webhook for {OLD}, Kind=Link ")
        assert said in refused.value.message
        assert "secret" not in refused.value.message
        with pytest.raises(InternalError):
            await found.world.merge(path("v2", "a"), {"spec": {"address": "x:1"}})
        assert found.world.stored(DEFINITION) == before
        found.reply = good
        found.asking.clock[0] += 100
        assert (await found.world.get(path("v2", "a")))["spec"]["address"] == "a:1"


async def test_of_the_metadata_only_labels_and_annotations_are_taken() -> None:
    async with linked() as found:
        made = await found.link("a", annotations={"keep": "me"}, finalizers=["x.example/y"])
        found.reply = changed(
            labels={"l": "1"}, generation=99, finalizers=[], ownerReferences=[{"bad": 1}], deletionTimestamp="now"
        )
        seen = await found.world.get(path("v2", "a"))
        assert seen["metadata"] == {**made["metadata"], "labels": {"l": "1"}}
        found.use()
        assert (await names(found, "v2", "labelSelector=l%3D1"))[0] == ["a"]
        assert (await names(found, "v1", "labelSelector=l%3D1"))[0] == []


async def test_fields_are_selected_in_the_version_that_was_asked_for() -> None:
    async with linked() as found:
        for name in "abcd":
            await found.link(name, host="x" if name in "bd" else "y")
        assert (await names(found, "v2", "fieldSelector=spec.address%3Dx:1"))[0] == ["b", "d"]
        assert (await names(found, "v2", "fieldSelector=spec.address%3Dx:1&limit=1"))[0] == ["b"]
        assert (await names(found, "v1", "fieldSelector=spec.host%3Dy"))[0] == ["a", "c"]
        client = Client(quick=True)
        async with watching(found.world, client, path("v2"), fieldSelector="spec.address=x:1"):
            await client.come(2)
            await found.world.merge(path("v1", "b"), {"spec": {"host": "z"}})
            await found.world.merge(path("v1", "a"), {"spec": {"host": "x"}})
            await client.come(4)
        assert client.names[2:] == [("DELETED", "b"), ("ADDED", "a")]


async def test_those_who_want_the_same_at_the_same_time_ask_once() -> None:
    async with linked() as found:
        await found.link("a")
        gate = anyio.Event()

        async def reply(request: Document) -> bytes:
            await gate.wait()
            return good(request)

        found.reply = reply
        seen: list[Document] = []

        async def get() -> None:
            seen.append(await found.world.get(path("v2", "a")))

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as gives_up:
                async with anyio.create_task_group() as first:
                    first.start_soon(get)
                    await anyio.wait_all_tasks_blocked()
                    for _ in range(5):
                        tasks.start_soon(get)
                    while not found.hook.asked:
                        await anyio.sleep(0)
                    gives_up.cancel()  # whoever asked for all of them is gone, and somebody else asks
            while len(found.hook.asked) < 2:
                await anyio.sleep(0)
            gate.set()
        assert len(seen) == 5
        assert len(found.hook.asked) == 2


async def test_a_change_is_converted_and_encoded_once_for_all_watchers_of_a_version() -> None:
    async with linked() as found, AsyncExitStack() as stack:
        clients = [Client(quick=place % 2 == 0) for place in range(20)]
        for client in clients:
            await stack.enter_async_context(watching(found.world, client, path("v2")))
        plain = Client(quick=True)
        await stack.enter_async_context(watching(found.world, plain, path("v1")))
        await found.link("a")
        for client in (*clients, plain):
            await client.come(1)
        assert found.questions == [("v2", ("a",))]
        await found.world.merge(path("v1", "a"), {"spec": {"host": "b"}})
        for client in clients:
            await client.come(2)
            assert client.events[1]["object"]["spec"]["address"] == "b:1"
        assert found.questions == [("v2", ("a",))] * 2
        await found.world.do("delete", path("v1", "a"))
        for client in clients:
            await client.come(3)
            assert client.events[2]["type"] == "DELETED"
        assert len(found.questions) == 2


async def test_a_slow_webhook_delays_those_who_watch_that_version_and_no_writer() -> None:
    async with linked() as found:
        gate = anyio.Event()

        async def reply(request: Document) -> bytes:
            await gate.wait()
            return good(request)

        found.reply = reply
        slow, quick, leaving = Client(quick=True), Client(quick=True), Client(quick=True)
        async with (
            watching(found.world, slow, path("v2")),
            watching(found.world, quick, path("v1")),
        ):
            async with watching(found.world, leaving, path("v2")):
                for number in range(3):
                    await found.link(f"l{number}")
                await quick.come(3)
                assert slow.events == []
            gate.set()  # only now: whoever leaves does not wait for the webhook
            await slow.come(3)
        assert slow.names == [("ADDED", f"l{number}") for number in range(3)]
        assert leaving.events == []


async def test_a_watch_waits_for_a_webhook_that_is_away_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apiserver.converting.FIRST_WAIT", 0.01)
    async with linked() as found:
        await found.link("before")
        found.reply = lambda _: http(b"", "503 Service Unavailable")
        client = Client(quick=True)
        async with watching(found.world, client, path("v2"), allowWatchBookmarks="true", bookmark_every=0.02):
            await found.link("a")
            await found.world.do("delete", path("v1", "before"))
            while len(found.hook.asked) < 3:
                await anyio.sleep(0.01)
            assert client.events == []
            found.reply = good
            found.asking.clock[0] += 100
            await client.until(lambda: ("DELETED", "before") in client.names)
        assert [name for name in client.names if name[0] != "BOOKMARK"] == [
            ("ADDED", "before"),
            ("ADDED", "a"),
            ("DELETED", "before"),
        ]


async def test_a_webhook_that_fails_again_and_again_is_left_alone_for_a_while() -> None:
    async with linked(sections.Webhooks(allow=("127.0.0.1",), breaker_failures=2)) as found:
        await found.link("a")
        found.reply = lambda _: http(b"", "503 Service Unavailable")
        for _ in range(4):
            with pytest.raises(Unreached) as refused:
                await found.world.get(path("v2", "a"))
        assert len(found.hook.asked) == 2
        assert "the circuit is open" in refused.value.message
        assert [view.id.type for view in found.asking.webhooks.views()] == ["conversion"]


async def test_addresses_that_are_not_public_are_refused_for_conversions_too() -> None:
    async with linked(sections.Webhooks()) as found:
        await found.link("a")
        with pytest.raises(Unreached) as refused:
            await found.world.get(path("v2", "a"))
        assert "which is no public address" in refused.value.message
        assert found.hook.connections == 0


async def test_without_a_webhook_versions_differ_in_their_name_and_each_has_what_its_schema_knows() -> None:
    async with linked() as found:
        found.call = None
        found.use()
        await found.world.make(path("v1"), "a", spec={"host": "h", "port": 1, "replicas": 2})
        before = found.world.stored(DEFINITION)
        assert (await found.world.get(path("v2", "a")))["spec"] == {"replicas": 2, "size": 3}
        assert (await found.world.get(path("v1", "a")))["spec"] == {"host": "h", "port": 1, "replicas": 2}
        assert found.world.stored(DEFINITION) == before
        await found.world.merge(path("v2", "a"), {"spec": {"replicas": 5}})
        assert stored(found, "a")["spec"] == {"replicas": 5}
        client = Client(quick=True)
        async with watching(found.world, client, path("v2")):
            await client.come(1)
        assert client.events[0]["object"]["spec"] == {"replicas": 5, "size": 3}
        assert found.hook.asked == []


async def test_a_read_fills_in_a_default_that_is_younger_than_the_object() -> None:
    async with linked() as found:
        found.call = None
        found.use(storage=OLD)
        await found.world.make(path("v1"), "a", spec={"host": "h"})
        record = found.world.stored(DEFINITION)[0]
        found.use(storage=NEW)
        page = (await found.world.do("list", path("v2"))).page
        assert page is not None
        assert msgspec.json.decode(page.records[0].desired)["spec"] == {"size": 3}
        assert found.world.stored(DEFINITION) == [record]


ACTIONS = st.tuples(
    st.sampled_from(["create", "update", "relabel", "spoil", "delete", "switch"]),
    st.sampled_from("abc"),
    st.sampled_from(["v1", "v2"]),
    st.integers(1, 9),
)


async def act(found: Linked, action: tuple[str, str, str, int], expected: dict[str, tuple[str, int]], bad: set[str]) -> None:
    """One action of a user, and what it makes of what is expected."""
    what, name, version, number = action
    spec = {"host": "h", "port": number} if version == "v1" else {"address": f"h:{number}"}
    if what == "switch":
        found.use(storage=f"{GROUP}/{version}")
    elif what == "create" and name not in expected:
        await found.world.make(path(version), name, spec=spec)
        expected[name] = ("h", number)
    elif name in expected and name not in bad:
        if what == "update":
            await found.world.merge(path(version, name), {"spec": spec})
            expected[name] = ("h", number)
        elif what == "relabel":
            await found.world.merge(path(version, name), {"metadata": {"labels": {"n": str(number)}}})
        elif what == "spoil":
            at_home = stored(found, name)["apiVersion"].rpartition("/")[2]
            await found.world.merge(path(at_home, name), {"metadata": {"labels": {"bad": "x"}}})
            bad.add(name)
    if what == "delete" and name in expected:
        await found.world.do("delete", path(version, name))
        del expected[name]
        bad.discard(name)


@settings(max_examples=30)
@given(st.lists(ACTIONS, max_size=14), st.sampled_from([0, 2**20]))
async def test_whatever_happens_every_reader_has_its_version_and_watches_agree_with_lists(
    actions: list[tuple[str, str, str, int]], memory: int
) -> None:
    async with linked(memory=memory) as found:
        expected: dict[str, tuple[str, int]] = {}
        bad: set[str] = set()
        clients = {"v1": Client(quick=True), "v2": Client(quick=False)}
        async with watching(found.world, clients["v1"], path("v1")), watching(found.world, clients["v2"], path("v2")):
            for action in actions:
                await act(found, action, expected, bad)
            await found.world.make(path("v1"), "end", spec={"host": "e", "port": 1})
            for version, client in clients.items():
                await client.until(lambda: ("ADDED", "end") in client.names)  # noqa: B023
                replica = Replica()
                for event in client.events:
                    replica.apply(event)
                seen = {key[1]: document["spec"] for key, document in replica.objects.items() if key[1] != "end"}
                listed = [name for name in (await names(found, version))[0] if name != "end"]
                assert sorted(seen) == listed
                assert set(listed) >= expected.keys() - bad
                for name, spec in seen.items():
                    host, port = expected[name]
                    wanted = {"host": host, "port": port} if version == "v1" else {"address": f"{host}:{port}", "size": 3}
                    assert spec == wanted
