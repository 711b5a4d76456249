"""Protobuf bodies through the request path: what they make, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apiserver import intake
from apiserver.negotiation import PROTOBUF
from apiserver.options import WriteOptions
from apiserver.target import Target
from registry.builtin import CONFIG_MAP, KINDS
from registry.catalog import Registry
from registry.errors import ApiError, BadRequest, ConflictError, NotFound, TooLarge, UnsupportedMediaType
from registry.protobuf import MAGIC
from tests.apiserver.world import CONFIGMAPS, GADGETS, NAMESPACES, WIDGETS, World, opened
from tests.registry.test_protobuf import block, enveloped, number_field, written

pytestmark = pytest.mark.anyio
SECRETS = "/api/v1/namespaces/shop/secrets"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


def configmap(name: str, **metadata: Any) -> bytes:
    """As client-go sends it: with zeros for what was not set."""
    document = {"metadata": {"name": name, **metadata}, "data": {"key": "välue"}}
    return enveloped("v1", "ConfigMap", written("ConfigMap", document, as_go=True))


async def test_an_object_is_made_replaced_and_deleted_in_protobuf(world: World) -> None:
    answer = await world.do("create", CONFIGMAPS, configmap("a"), content_type=PROTOBUF)
    made = world.document(CONFIGMAPS, answer)
    assert answer.code == 201
    assert made["data"] == {"key": "välue"}
    assert "labels" not in made["metadata"]
    sent = {"metadata": {"name": "a", "resourceVersion": made["metadata"]["resourceVersion"]}, "immutable": False}
    body = enveloped("v1", "ConfigMap", written("ConfigMap", sent, as_go=True))
    replaced = world.document(CONFIGMAPS, await world.do("update", f"{CONFIGMAPS}/a", body, content_type=PROTOBUF))
    assert replaced["immutable"] is False
    assert "data" not in replaced
    options = {"preconditions": {"uid": "another"}}
    with pytest.raises(ConflictError, match="another"):
        await world.do("delete", f"{CONFIGMAPS}/a", deletion(options), content_type=PROTOBUF)
    await world.do("delete", f"{CONFIGMAPS}/a", deletion({"dryRun": ["All"]}), content_type=f"{PROTOBUF};x=y")
    await world.do("delete", f"{CONFIGMAPS}/a", deletion({"gracePeriodSeconds": 0}), content_type=PROTOBUF)
    with pytest.raises(NotFound):
        await world.get(f"{CONFIGMAPS}/a")


def deletion(options: dict[str, Any], api_version: str = "v1") -> bytes:
    return enveloped(api_version, "DeleteOptions", written("DeleteOptions", options, as_go=True))


async def test_what_is_in_bytes_is_base64_and_text_data_is_merged(world: World) -> None:
    raw = written("Secret", {"metadata": {"name": "s"}, "data": {"a": b"\x00\xff"}, "stringData": {"b": "c"}}, as_go=True)
    made = world.document(SECRETS, await world.do("create", SECRETS, enveloped("v1", "Secret", raw), content_type=PROTOBUF))
    assert made["data"] == {"a": "AP8=", "b": "Yw=="}
    assert made["type"] == "Opaque"


async def test_type_and_version_may_be_left_to_the_path(world: World) -> None:
    body = enveloped("", "", written("ConfigMap", {"metadata": {"name": "untyped"}}))
    made = world.document(CONFIGMAPS, await world.do("create", CONFIGMAPS, body, content_type=PROTOBUF))
    assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")


async def test_delete_options_come_in_any_group_and_for_any_kind(world: World) -> None:
    await world.do("create", GADGETS, {"metadata": {"name": "g", "finalizers": ["a.example/wait"]}, "spec": {"size": 1}})
    options = deletion({"propagationPolicy": "Orphan"}, "reference.example.com/v1")
    await world.do("delete", f"{GADGETS}/g", options, content_type=PROTOBUF)
    assert (await world.get(f"{GADGETS}/g"))["metadata"]["finalizers"] == ["a.example/wait", "orphan"]
    await world.do("deletecollection", CONFIGMAPS, options, content_type=PROTOBUF)


async def test_custom_kinds_are_not_sent_in_protobuf(world: World) -> None:
    for verb, path in (("create", WIDGETS), ("update", f"{WIDGETS}/a")):
        with pytest.raises(UnsupportedMediaType, match=r"accepted media types include: application/json, application/yaml$"):
            await world.do(verb, path, configmap("a"), content_type=PROTOBUF)


async def test_a_patch_is_never_in_protobuf(world: World) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        await world.do("patch", f"{CONFIGMAPS}/a", configmap("a"), content_type=PROTOBUF)
    assert refused.value.message == "415: Unsupported Media Type"


async def test_a_scale_is_read_in_protobuf_also_down_to_zero(world: World) -> None:
    await world.make(WIDGETS, "w", spec={"size": 1, "replicas": 3})
    scale = written("Scale", {"metadata": {"name": "w"}, "spec": {"replicas": 0}}, as_go=True)
    answer = await world.do("update", f"{WIDGETS}/w/scale", enveloped("autoscaling/v1", "Scale", scale), content_type=PROTOBUF)
    assert answer.document is not None
    assert answer.document["spec"] == {"replicas": 0}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{}", "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a protobuf"),
        (b"", "the object provided is unrecognized (must be of type ConfigMap): empty data (<empty>)"),
        (
            MAGIC + b"\xff\xff\xff",
            "the object provided is unrecognized (must be of type ConfigMap): unexpected EOF (6b387300ffffff)",
        ),
        (enveloped("v1", "Secret", b""), 'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret)'),
        (enveloped("v2", "Thing", b""), 'Thing in version "v2" cannot be handled as a ConfigMap: no kind "Thing" is registered'),
        (enveloped("v1", "ConfigMap", b"\x0a\x09a"), 'ConfigMap in version "v1" cannot be handled as a ConfigMap: unexpected EOF'),
        (
            enveloped("v1", "ConfigMap", block(1, number_field(1, 1))),
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: proto: wrong wireType = 0 for field Name',
        ),
    ],
)
async def test_what_cannot_be_read_is_told_as_a_real_server_does(world: World, body: bytes, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await world.do("create", CONFIGMAPS, body, content_type=PROTOBUF)
    assert refused.value.message.startswith(said)


@pytest.mark.parametrize("body", [b"k8s", MAGIC, MAGIC + b"\xff", deletion({}).replace(b"DeleteOptions", b"Deletexxxxxxx")])
async def test_broken_delete_options_delete_nothing(world: World, body: bytes) -> None:
    await world.make(CONFIGMAPS, "kept")
    with pytest.raises(BadRequest):
        await world.do("delete", f"{CONFIGMAPS}/kept", body, content_type=PROTOBUF)
    assert await world.get(f"{CONFIGMAPS}/kept")


async def test_delete_options_that_are_long_say_nothing_and_are_not_read(world: World) -> None:
    with pytest.raises(TooLarge):
        await world.do("delete", f"{CONFIGMAPS}/a", deletion({"dryRun": [""] * 40_000}), content_type=PROTOBUF)


async def code_of(world: World, verb: str, path: str, body: bytes) -> int:
    """What a request is answered with; nothing of it is stored."""
    try:
        return (await world.do(verb, path, body, query="dryRun=All", content_type=PROTOBUF)).code
    except ApiError as error:
        return error.code


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    path=st.sampled_from([CONFIGMAPS, NAMESPACES, SECRETS, "/apis/coordination.k8s.io/v1/namespaces/shop/leases"]),
    inner=st.binary(max_size=40),
    wrapped=st.booleans(),
)
async def test_hostile_bytes_are_the_fault_of_who_sends_them(world: World, path: str, inner: bytes, wrapped: bool) -> None:
    kind = world.target(path).kind
    body = enveloped(kind.storage.api_version, kind.name, block(1, inner) + inner) if wrapped else MAGIC + inner
    for verb, where in (("create", path), ("update", f"{path}/a"), ("delete", f"{path}/a")):
        assert await code_of(world, verb, where, body) < 500


async def test_a_long_body_is_read_while_the_event_loop_goes_on() -> None:
    entries = b"".join(block(2, block(1, b"key-%d" % number) + block(2, b"value")) for number in range(60_000))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    target = Target(CONFIG_MAP, CONFIG_MAP.storage, "shop")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        body = enveloped("v1", "ConfigMap", block(1, block(1, b"long")) + entries)
        taken = await intake.received(Registry(KINDS), target, body, PROTOBUF, WriteOptions())
        tasks.cancel_scope.cancel()
    assert len(taken.document["data"]) == 60_000
    assert turns > 3, "others had their turns while the body was read"
