"""One kind in three shapes, through the whole request path: everybody has their version, and nobody loses what others wrote."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace as dataclass_replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.client import Place
from admission.authentication import AuthenticatorChain
from admission.identity import ADMIN
from admission.review import Review
from admission.tokens import TokenTable
from apiserver import forms
from apiserver.asgi import App
from apiserver.client import ManagerDoor, ManagerSource
from apiserver.forms import View
from apiserver.negotiation import Form, Shape
from apiserver.patching import APPLY_PATCH, JSON_PATCH, MERGE_PATCH
from apiserver.stored import as_it_is, document_of, in_version
from registry.errors import Invalid
from registry.plugin import Plugin
from registry.resource import replace
from registry.views import ASIDE
from registry.ways import ConversionError
from storage.store import Record
from tests.apiserver.served import TOKEN, Access, application
from tests.apiserver.test_watch import Client, Replica, watching
from tests.apiserver.world import World, opened
from tests.plugins import gauges
from tests.plugins.gauges import GROUP, Gauge, GaugeAlpha, GaugeBeta, Header

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
VERSIONS = ("v1alpha1", "v1beta1", "v1")
FULL: Document = {
    "target": {"url": "https://a", "insecure": True},
    "intervalSeconds": 60,
    "retries": 3,
    "headers": [{"name": "x", "value": "1"}, {"name": "y"}],
    "replicas": 2,
}


def path(version: str, name: str = "") -> str:
    base = f"/apis/{GROUP}/{version}/namespaces/shop/gauges"
    return f"{base}/{name}" if name else base


async def store_as(world: World, version: str, name: str, spec: Document) -> None:
    """An object that was stored when that version was the one to be stored."""
    await world.make(path("v1"), name, spec=FULL)
    record = next(each for each in world.stored(f"gauges.{GROUP}") if each.key.name == name)
    document = document_of(record) | {"apiVersion": f"{GROUP}/{version}", "spec": spec}
    await world.store.commit(as_it_is(record.key, document, expect=record.revision))


def stored(world: World, name: str) -> Record:
    return next(each for each in world.stored(f"gauges.{GROUP}") if each.key.name == name)


def spec_in(version: str, spec: Document) -> Document:
    """What of FULL, with changes, a version has."""
    whole = FULL | spec
    if version == "v1":
        return whole
    if version == "v1beta1":
        return {"url": whole["target"]["url"], "intervalSeconds": whole["intervalSeconds"], "retries": whole["retries"]}
    return {"url": whole["target"]["url"], "interval": f"{whole['intervalSeconds']}s"}


async def test_every_version_shows_every_object_whichever_it_is_stored_in() -> None:
    async with opened(gauges.plugin()) as world:
        await store_as(world, "v1alpha1", "a", {"url": "https://a", "interval": "60s", "hint": "h"})
        await store_as(world, "v1beta1", "b", {"url": "https://a", "intervalSeconds": 60, "retries": 3})
        await world.make(path("v1"), "c", spec=FULL)
        before = world.stored(f"gauges.{GROUP}")
        for version in VERSIONS:
            page = (await world.do("list", path(version))).page
            assert page is not None
            view = View(world.target(path(version)).kind, world.target(path(version)).version, Form())
            listed = msgspec.json.decode(b"".join(forms.many(view, page)))["items"]
            assert [item["metadata"]["name"] for item in listed] == ["a", "b", "c"]
            assert {item["apiVersion"] for item in listed} == {f"{GROUP}/{version}"}
            assert listed == [await world.get(path(version, name)) for name in "abc"]
            assert listed[2]["spec"] == spec_in(version, {})
        assert (await world.get(path("v1alpha1", "a")))["spec"] == {"url": "https://a", "interval": "60s", "hint": "h"}
        assert (await world.get(path("v1", "a")))["spec"]["target"] == {"url": "https://a"}
        assert world.stored(f"gauges.{GROUP}") == before
        assert [record.api_version for record in before] == [gauges.OLD, gauges.MIDDLE, gauges.NEW]


async def through(world: World, how: str, version: str, interval: int) -> None:
    """An older client sets the interval, in one of the ways in which clients write."""
    here = path(version, "g")
    old = await world.get(here)
    field, value = ("interval", f"{interval}s") if version == "v1alpha1" else ("intervalSeconds", interval)
    if how == "put":
        await world.put(here, {**old, "spec": {**old["spec"], field: value}})
    elif how == "merge":
        await world.merge(here, {"spec": {field: value}})
    elif how == "json":
        operation = {"op": "replace", "path": f"/spec/{field}", "value": value}
        await world.do("patch", here, msgspec.json.encode([operation]), content_type=JSON_PATCH)
    else:
        config = {"apiVersion": old["apiVersion"], "kind": "Gauge", "metadata": {"name": "g"}}
        config["spec"] = (
            {"url": old["spec"].get("url"), field: value} if version != "v1" else {"target": FULL["target"], field: value}
        )
        await world.do("patch", here, config, content_type=APPLY_PATCH, query="fieldManager=me&force=true")


@settings(max_examples=15)
@given(
    st.sampled_from(VERSIONS),
    st.lists(
        st.tuples(st.sampled_from(["put", "merge", "json", "apply"]), st.sampled_from(VERSIONS), st.integers(1, 99)), max_size=5
    ),
)
async def test_nothing_is_lost_by_whoever_writes_in_whichever_way(storage: str, writes: list[tuple[str, str, int]]) -> None:
    async with opened(gauges.plugin(storage)) as world:
        await world.make(path("v1"), "g", spec=FULL)
        await world.merge(path("v1", "g/status"), {"status": {"ready": True, "latency": 0.5}})
        await world.merge(path("v1alpha1", "g"), {"spec": {"hint": "h"}})
        seconds = 60
        for how, version, interval in writes:
            await through(world, how, version, interval)
            seconds = interval
            for reader in VERSIONS:
                seen = await world.get(path(reader, "g"))
                expected = spec_in(reader, {"intervalSeconds": seconds})
                assert seen["spec"] == expected | ({"hint": "h"} if reader == "v1alpha1" else {})
                assert seen["status"] == {"ready": True} | ({"latency": 0.5} if reader == "v1" else {})
                assert ASIDE not in str(seen)
        assert stored(world, "g").api_version == f"{GROUP}/{storage}"


async def test_a_status_is_written_in_any_version_and_neither_wakes_nor_loses_anything() -> None:
    async with opened(gauges.plugin("v1beta1")) as world:
        made = await world.make(path("v1"), "g", spec=FULL)
        await world.merge(path("v1", "g/status"), {"status": {"ready": False, "latency": 0.25}})
        desired = stored(world, "g").desired
        old = await world.merge(path("v1alpha1", "g/status"), {"status": {"ready": True}})
        new = await world.get(path("v1", "g"))
        assert (old["status"], new["status"]) == ({"ready": True}, {"ready": True, "latency": 0.25})
        assert stored(world, "g").desired == desired
        assert new["metadata"]["generation"] == made["metadata"]["generation"] == 1


async def test_what_is_not_changed_is_not_written_and_stays_in_its_version() -> None:
    async with opened(gauges.plugin()) as world:
        await store_as(world, "v1alpha1", "g", {"url": "u", "interval": "060s"})
        before = stored(world, "g")
        for version in VERSIONS:
            seen = await world.get(path(version, "g"))
            await world.put(path(version, "g"), seen)
            await world.merge(path(version, "g"), {"spec": {}})
        assert stored(world, "g") is before
        await world.merge(path("v1", "g"), {"spec": {"retries": 1}})
        after = stored(world, "g")
        assert after.api_version == gauges.NEW
        seen = await world.get(path("v1alpha1", "g"))
        assert (seen["spec"]["interval"], seen["metadata"]["generation"]) == ("060s", 2)


async def test_the_replicas_are_found_where_the_stored_version_has_them_whichever_version_asks() -> None:
    async with opened(gauges.plugin()) as world:
        await store_as(world, "v1beta1", "g", {"url": "u", "intervalSeconds": 5, "retries": 2})
        for count, version in enumerate(VERSIONS, 3):
            assert (await world.do("get", path(version, "g/scale"))).document is not None
            await world.do("patch", path(version, "g/scale"), {"spec": {"replicas": count}}, content_type=MERGE_PATCH)
            assert (await world.get(path("v1", "g")))["spec"]["replicas"] == count
        assert (await world.get(path("v1beta1", "g")))["spec"] == {"url": "u", "intervalSeconds": 5, "retries": 2}


async def test_handlers_have_their_version_and_set_what_an_older_client_does_not_know() -> None:
    plugin = gauges.plugin()
    seen: list[tuple[str, Any]] = []

    @plugin.mutates(Gauge)
    def headed(review: Review[Gauge]) -> Gauge:
        seen.append((review.new.api_version, review.new.spec.target.insecure))
        return replace(review.new, spec=replace(review.new.spec, headers=[Header(name="by", value="handler")]))

    @plugin.validates(GaugeAlpha)
    def told(review: Review[GaugeAlpha]) -> None:
        old = None if review.old is None else review.old.spec.interval
        seen.append((review.new.api_version, (review.new.spec.interval, old)))

    async with opened(plugin) as world:
        await world.make(path("v1alpha1"), "g", spec={"url": "u", "interval": "7s", "hint": "h"})
        assert (await world.get(path("v1", "g")))["spec"]["headers"] == [{"name": "by", "value": "handler"}]
        await world.merge(path("v1", "g"), {"spec": {"target": {"insecure": True}}})
        await world.merge(path("v1alpha1", "g"), {"spec": {"interval": "8s"}})
        assert seen == [
            (gauges.NEW, False),
            (gauges.OLD, ("7s", None)),
            (gauges.NEW, True),
            (gauges.OLD, ("7s", "7s")),
            (gauges.NEW, True),
            (gauges.OLD, ("8s", "7s")),
        ]
        assert (await world.get(path("v1alpha1", "g")))["spec"] == {"url": "u", "interval": "8s", "hint": "h"}


async def test_what_the_stored_version_refuses_is_refused_and_says_which_version_that_is() -> None:
    async with opened(gauges.plugin()) as world:
        with pytest.raises(Invalid, match=r"spec\.intervalSeconds.*\(in gauges\.example/v1\)"):
            await world.make(path("v1alpha1"), "g", spec={"url": "u", "interval": "9999s"})


# A converter that raises

BROKEN = {"url": "u", "interval": "soon"}


async def test_what_cannot_be_converted_spoils_nothing_else() -> None:
    async with opened(gauges.plugin()) as world:
        await world.make(path("v1"), "a", spec=FULL)
        await store_as(world, "v1alpha1", "b", BROKEN)
        with pytest.raises(ConversionError) as caught:
            await world.get(path("v1", "b"))
        said = 'Gauge "b" in namespace "shop" cannot be converted from gauges.example/v1alpha1 to gauges.example/v1: '
        said += "converter gauges.to_seconds failed"
        assert caught.value.message == f"Internal error occurred: {said}"
        assert "soon" not in str(caught.value.status())
        call = world.call("list", path("v1"))
        page = (await world.manager.handle(call)).page
        assert page is not None
        assert [record.key.name for record in page.records] == ["a"]
        assert call.warnings == [f"left out: {said}"]
        assert [entry[0] for entry in world.log.errors] == ["an object cannot be converted"]
        assert "soon" in str(world.log.errors[0][1]["exc_info"])
        assert (await world.get(path("v1alpha1", "b")))["spec"] == BROKEN


async def test_a_write_that_cannot_be_converted_is_refused_by_name_and_writes_nothing() -> None:
    async with opened(gauges.plugin()) as world:
        for name in ("a", "b"):
            await world.make(path("v1"), name, spec=FULL)
        before = stored(world, "a")
        with pytest.raises(ConversionError, match=r"converter gauges\.to_seconds failed"):
            await world.merge(path("v1alpha1", "a"), {"spec": {"interval": "soon"}})
        with pytest.raises(ConversionError, match=r"converter gauges\.to_seconds failed"):
            await world.make(path("v1alpha1"), "c", spec=BROKEN)
        assert stored(world, "a") is before


async def test_what_cannot_be_converted_can_be_let_go_of() -> None:
    async with opened(gauges.plugin()) as world:
        await store_as(world, "v1alpha1", "g", BROKEN)
        await world.merge(path("v1alpha1", "g"), {"metadata": {"finalizers": ["a.example/b"]}})
        answer = await world.do("delete", path("v1", "g"))
        assert (answer.document or {})["status"] == "Success"  # it cannot be shown in the version that deleted it
        assert (await world.get(path("v1alpha1", "g")))["metadata"]["deletionTimestamp"]
        await world.merge(path("v1alpha1", "g"), {"metadata": {"finalizers": None}})
        assert not world.stored(f"gauges.{GROUP}")


# Watches


async def test_a_watch_has_its_version_and_agrees_with_the_list_also_when_a_converter_raises() -> None:
    async with opened(gauges.plugin()) as world:
        await world.make(path("v1"), "early", spec=FULL)
        await store_as(world, "v1alpha1", "spoilt", BROKEN)
        clients = {version: Client(quick=True) for version in VERSIONS}
        async with (
            watching(world, clients["v1alpha1"], path("v1alpha1")),
            watching(world, clients["v1beta1"], path("v1beta1")),
            watching(world, clients["v1"], path("v1")),
        ):
            await store_as(world, "v1alpha1", "comes", {"url": "u", "interval": "5s"})
            await store_as(world, "v1alpha1", "goes", BROKEN)
            await world.merge(path("v1alpha1", "spoilt"), {"spec": {"interval": "6s"}})
            await world.do("delete", path("v1alpha1", "goes"))
            await world.make(path("v1alpha1"), "end", spec={"url": "u"})
            for version, client in clients.items():
                await client.until(lambda: ("ADDED", "end") in client.names)  # noqa: B023
                replica = Replica()
                for event in client.events:
                    assert event["object"]["apiVersion"] == f"{GROUP}/{version}"
                    replica.apply(event)
                page = (await world.do("list", path(version))).page
                assert page is not None
                here = world.target(path(version)).version
                assert replica.objects == {record.key[1:]: in_version(here, record) for record in page.records}
        assert ("DELETED", "goes") in clients["v1"].names
        assert clients["v1"].names.count(("ADDED", "spoilt")) == 1
        assert clients["v1alpha1"].names.count(("ADDED", "spoilt")) == 1


class Raw(Client):
    """A client that keeps the very bytes that it was sent."""

    def __init__(self) -> None:
        super().__init__(quick=True)
        self.raw: list[bytes] = []

    def push(self, data: bytes) -> bool:
        self.raw.append(data)
        return super().push(data)


def counted() -> tuple[Plugin, Counter[str]]:
    """The plugin, and how often each converter was called."""
    plugin, counts = gauges.plugin(), Counter[str]()
    for place, converter in enumerate(plugin.converters):

        def count(value: Any, converter: Any = converter) -> Any:
            counts[converter.name] += 1
            return converter.function(value)

        plugin.converters[place] = dataclass_replace(converter, function=count)
    return plugin, counts


async def test_an_event_is_converted_and_encoded_once_for_all_watchers_of_a_version() -> None:
    plugin, counts = counted()
    async with opened(plugin) as world, AsyncExitStack() as stack:
        clients = [Raw() for _ in range(20)]
        for place, client in enumerate(clients):
            await stack.enter_async_context(watching(world, client, path(VERSIONS[place % 2])))
        await world.make(path("v1"), "g", spec=FULL)
        for client in clients:
            await client.come(1)
        assert counts == {"gauges.to_url": 2, "gauges.to_text": 1}  # once to each of two versions; the older one by the other
        for place in (0, 1):
            assert len({id(client.raw[0]) for client in clients[place::2]}) == 1
        counts.clear()
        await world.merge(path("v1", "g"), {"spec": {"intervalSeconds": 61}})
        for client in clients:
            await client.come(2)
        assert counts == {"gauges.to_url": 2, "gauges.to_text": 1}


async def test_what_has_not_changed_is_not_converted_again() -> None:
    plugin, counts = counted()
    async with opened(plugin) as world:
        for number in range(30):
            await world.make(path("v1"), f"g{number}", spec=FULL)
        counts.clear()
        for _ in range(5):
            await world.do("list", path("v1beta1"))
            await world.get(path("v1beta1", "g7"))
        assert counts == {"gauges.to_url": 30}
        await world.merge(path("v1", "g7"), {"spec": {"retries": 9}})
        counts.clear()
        page = (await world.do("list", path("v1beta1"))).page
        assert counts == {"gauges.to_url": 1}
        assert page is not None
        assert all(record.api_version == gauges.MIDDLE for record in page.records)


async def test_fields_are_selected_and_shown_in_the_version_that_was_asked_for() -> None:
    async with opened(gauges.plugin()) as world:
        await world.make(path("v1"), "a", spec=FULL)
        await store_as(world, "v1alpha1", "b", {"url": "https://b", "interval": "9s"})
        for query, version, expected in (
            ("spec.interval=9s", "v1alpha1", ["b"]),
            ("spec.interval=60s", "v1alpha1", ["a"]),
            ("spec.target.url=https://b", "v1", ["b"]),
        ):
            page = (await world.do("list", path(version), query=f"fieldSelector={query}")).page
            assert page is not None
            assert [record.key.name for record in page.records] == expected
        target = world.target(path("v1beta1"))
        page = (await world.do("list", path("v1beta1"))).page
        assert page is not None
        [table] = forms.many(View(target.kind, target.version, Form(shape=Shape.TABLE)), page)
        assert [row["cells"][1] for row in msgspec.json.decode(table)["rows"]] == [60, 9]


async def test_actors_have_the_version_that_they_were_written_against() -> None:
    async with opened(gauges.plugin()) as world:
        await store_as(world, "v1alpha1", "a", {"url": "u", "interval": "9s"})
        await world.make(path("v1"), "b", spec=FULL)
        await store_as(world, "v1alpha1", "c", BROKEN)
        source = ManagerSource(world.manager)
        seen = [held.document() for held in (await source.list(GaugeBeta)).objects]
        assert [each["apiVersion"] for each in seen] == [gauges.MIDDLE] * 2
        door = ManagerDoor(world.manager, ADMIN)
        patched = await door.patch(GaugeBeta, Place("shop", "b"), {"status": {"ready": True}}, "status")
        assert patched["spec"] == spec_in("v1beta1", {})
        changes = [change async for change in _some(source.watch(GaugeBeta, 3))]
        assert {(change.held.place.name, change.deleted) for change in changes if change.held.place.name == "c"} == {
            ("c", False),  # as it was made here, before it was spoilt
            ("c", True),
        }


async def _some(batches: Any) -> Any:
    async with aclosing(batches):
        async for batch in batches:
            for change in batch:
                yield change
            return


async def asked(app: App, where: str) -> tuple[int, dict[bytes, bytes], Document]:
    """What a request over HTTP is answered with."""
    sent: list[Document] = []

    async def receive() -> Document:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    headers = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"accept", b"application/json")]
    scope = {"type": "http", "method": "GET", "path": where, "raw_path": where.encode(), "query_string": b"", "headers": headers}
    await app(scope | {"client": ("127.0.0.1", 1)}, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), msgspec.json.decode(body)


async def test_over_http_a_get_is_a_status_with_a_name_and_a_list_has_a_warning_header() -> None:
    async with opened(gauges.plugin()) as world:
        app = application(world, AuthenticatorChain([TokenTable([(TOKEN, ADMIN)])]), Access())
        await world.make(path("v1"), "a", spec=FULL)
        await store_as(world, "v1alpha1", "b", BROKEN)
        code, _, status = await asked(app, path("v1", "b"))
        assert (code, status["reason"], status["details"]["name"]) == (500, "InternalError", "b")
        assert status["message"].endswith("converter gauges.to_seconds failed")
        code, headers, listed = await asked(app, path("v1"))
        assert (code, [item["metadata"]["name"] for item in listed["items"]]) == (200, ["a"])
        assert b'left out: Gauge \\"b\\"' in headers[b"warning"]
        assert [each[0] for each in world.log.errors] == ["an object cannot be converted"]
