"""The official Python client: typed for the built-in kinds, dynamic and as plain objects for kinds of our own, and its watch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException

from tests.servers import REFERENCE, Running, running

GROUP = "reference.example.com"
Watch: Any = watch.Watch  # parts of the client have no types
models: Any = client
_numbers = count(1)


@pytest.fixture(scope="module")
def api(reference_server: Running) -> Iterator[Any]:
    """An ApiClient made from the server's kubeconfig, as `config.load_kube_config` makes it."""
    make: Any = config.new_client_from_config
    with make(str(reference_server.kubeconfig)) as connected:
        yield connected


@pytest.fixture
def core(api: Any) -> Any:
    return models.CoreV1Api(api)


@pytest.fixture
def custom(api: Any) -> Any:
    return models.CustomObjectsApi(api)


@pytest.fixture
def namespace(core: Any) -> str:
    """A new namespace."""
    name = f"python-{next(_numbers)}"
    core.create_namespace(models.V1Namespace(metadata=models.V1ObjectMeta(name=name)))
    return name


@pytest.fixture
def widgets(api: Any, tmp_path: Path) -> Any:
    """Widgets as the dynamic client has them. Its cache of discovery would else be shared by all servers at one address."""
    make: Any = dynamic.DynamicClient
    return make(api, cache_file=str(tmp_path / "discovery")).resources.get(api_version=f"{GROUP}/v1", kind="Widget")


def widget(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 3, **spec}}


def named(name: str) -> Any:
    return models.V1ObjectMeta(name=name)


def configmap(name: str, **data: str) -> Any:
    return models.V1ConfigMap(metadata=named(name), data=data)


# --- typed -----------------------------------------------------------------------------------------------------------


def test_namespaces(core: Any, namespace: str) -> None:
    assert core.read_namespace(namespace).status.phase == "Active"
    assert {"default", "kube-system", namespace} <= {item.metadata.name for item in core.list_namespace().items}
    with pytest.raises(ApiException) as refused:
        core.create_namespace(models.V1Namespace(metadata=named(namespace)))
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")


def test_configmaps_from_creation_to_deletion(core: Any, namespace: str) -> None:
    made = core.create_namespaced_config_map(namespace, configmap("c", a="1"))
    assert made.metadata.creation_timestamp.tzinfo is not None
    assert core.list_namespaced_config_map(namespace).items[0].data == {"a": "1"}
    made.data["b"] = "2"
    replaced = core.replace_namespaced_config_map("c", namespace, made)
    assert int(replaced.metadata.resource_version) > int(made.metadata.resource_version)
    with pytest.raises(ApiException, match="the object has been modified") as stale:
        core.replace_namespaced_config_map("c", namespace, made)
    assert stale.value.status == 409
    patched = core.patch_namespaced_config_map("c", namespace, {"data": {"a": None, "c": "3"}})
    assert patched.data == {"b": "2", "c": "3"}
    patched = core.patch_namespaced_config_map("c", namespace, [{"op": "replace", "path": "/data/b", "value": "4"}])
    assert patched.data == {"b": "4", "c": "3"}
    assert core.delete_namespaced_config_map("c", namespace)["status"] == "Success"
    assert core.list_namespaced_config_map(namespace).items == []
    with pytest.raises(ApiException, match='configmaps \\\\"c\\\\" not found'):
        core.read_namespaced_config_map("c", namespace)


def test_secrets_hold_base64(core: Any, namespace: str) -> None:
    core.create_namespaced_secret(namespace, models.V1Secret(metadata=named("s"), string_data={"word": "text"}))
    secret = core.read_namespaced_secret("s", namespace)
    assert (secret.data, secret.string_data, secret.type) == ({"word": "dGV4dA=="}, None, "Opaque")


def test_service_accounts(core: Any, namespace: str) -> None:
    secrets = [models.V1ObjectReference(name="s")]
    core.create_namespaced_service_account(namespace, models.V1ServiceAccount(metadata=named("robot"), secrets=secrets))
    assert core.read_namespaced_service_account("robot", namespace).secrets[0].name == "s"


def test_events_of_both_groups_are_the_same(core: Any, api: Any, namespace: str) -> None:
    about = models.V1ObjectReference(api_version=f"{GROUP}/v1", kind="Widget", name="w", namespace=namespace)
    now = datetime.now(UTC).replace(microsecond=123456)
    who = {"action": "Look", "reporting_component": "tour", "reporting_instance": "tour-1"}
    what = {"type": "Normal", "reason": "Seen", "message": "it is there"}
    core.create_namespaced_event(
        namespace, models.CoreV1Event(metadata=named("w.1"), involved_object=about, event_time=now, **who, **what)
    )
    assert core.list_namespaced_event(namespace, field_selector="involvedObject.name=w").items[0].message == "it is there"
    other = models.EventsV1Api(api).read_namespaced_event("w.1", namespace)
    assert (other.note, other.regarding.name, other.event_time, other.reporting_controller) == ("it is there", "w", now, "tour")


def test_leases_keep_microseconds_and_tell_who_was_first(api: Any, namespace: str) -> None:
    leases = models.CoordinationV1Api(api)
    now = datetime.now(UTC).replace(microsecond=123456)
    spec = models.V1LeaseSpec(holder_identity="me", lease_duration_seconds=15, acquire_time=now, renew_time=now)
    leases.create_namespaced_lease(namespace, models.V1Lease(metadata=named("l"), spec=spec))
    mine, yours = (leases.read_namespaced_lease("l", namespace) for _ in range(2))
    assert mine.spec.renew_time == now
    mine.spec.lease_transitions = 1
    yours.spec.holder_identity = "you"
    leases.replace_namespaced_lease("l", namespace, mine)
    with pytest.raises(ApiException) as late:
        leases.replace_namespaced_lease("l", namespace, yours)
    assert late.value.status == 409
    assert leases.read_namespaced_lease("l", namespace).spec.holder_identity == "me"


def test_a_list_is_read_page_by_page(core: Any, namespace: str) -> None:
    for name in "abcde":
        core.create_namespaced_config_map(namespace, configmap(name))
    pages, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(namespace, limit=2, _continue=token)
        pages.append([item.metadata.name for item in page.items])
        token = page.metadata._continue or ""
    assert pages == [["a", "b"], ["c", "d"], ["e"]]


def test_deletion_takes_options_and_collections(core: Any, namespace: str) -> None:
    for name in "abc":
        labels = {"keep": "yes"} if name == "b" else {}
        core.create_namespaced_config_map(namespace, models.V1ConfigMap(metadata=models.V1ObjectMeta(name=name, labels=labels)))
    wrong = models.V1DeleteOptions(preconditions=models.V1Preconditions(uid="00000000-0000-0000-0000-000000000000"))
    with pytest.raises(ApiException) as refused:
        core.delete_namespaced_config_map("a", namespace, body=wrong)
    assert refused.value.status == 409
    core.delete_collection_namespaced_config_map(namespace, label_selector="!keep")
    assert [item.metadata.name for item in core.list_namespaced_config_map(namespace).items] == ["b"]


# --- kinds of our own ------------------------------------------------------------------------------------------------


def test_custom_objects(custom: Any, namespace: str) -> None:
    place = (GROUP, "v1", namespace, "widgets")
    assert custom.list_namespaced_custom_object(*place)["items"] == []
    made = custom.create_namespaced_custom_object(*place, widget("w"))
    assert made["spec"] == {"size": 3, "color": "red", "replicas": 1}
    patched = custom.patch_namespaced_custom_object(*place, "w", {"spec": {"size": 4}})
    assert (patched["spec"]["size"], patched["metadata"]["generation"]) == (4, 2)
    status = custom.patch_namespaced_custom_object_status(*place, "w", {"status": {"phase": "Done"}})
    assert (status["status"], status["metadata"]["generation"]) == ({"phase": "Done"}, 2)
    assert custom.get_namespaced_custom_object_scale(*place, "w")["spec"]["replicas"] == 1
    replaced = custom.replace_namespaced_custom_object(*place, "w", {**status, "spec": {"size": 5}})
    assert (replaced["spec"]["size"], replaced["status"]) == (5, {"phase": "Done"})
    with pytest.raises(ApiException, match="should be less than or equal to 100") as invalid:
        custom.create_namespaced_custom_object(*place, widget("x", size=101))
    assert invalid.value.status == 422
    custom.delete_namespaced_custom_object(*place, "w")
    assert custom.list_namespaced_custom_object(*place)["items"] == []


def test_cluster_custom_objects(custom: Any) -> None:
    name = f"gadget-{next(_numbers)}"
    body = {"apiVersion": f"{GROUP}/v1", "kind": "Gadget", "metadata": {"name": name}, "spec": {"size": 1}}
    custom.create_cluster_custom_object(GROUP, "v1", "gadgets", body)
    assert custom.get_cluster_custom_object(GROUP, "v1", "gadgets", name)["spec"] == {"size": 1}
    custom.delete_cluster_custom_object(GROUP, "v1", "gadgets", name)


def test_the_dynamic_client_finds_kinds_by_discovery(widgets: Any) -> None:
    assert (widgets.name, widgets.namespaced, widgets.short_names) == ("widgets", True, ["wd"])
    assert set(widgets.subresources) == {"status", "scale"}


def test_the_dynamic_client_works_on_objects(widgets: Any, namespace: str) -> None:
    assert widgets.get(namespace=namespace).items == []
    widgets.create(body=widget("a", labels={"x": "y"}), namespace=namespace)
    widgets.create(body=widget("b"), namespace=namespace)
    assert [item.metadata.name for item in widgets.get(namespace=namespace).items] == ["a", "b"]
    assert [item.metadata.name for item in widgets.get(namespace=namespace, label_selector="x=y").items] == ["a"]
    assert [item.metadata.name for item in widgets.get(namespace=namespace, field_selector="metadata.name=b").items] == ["b"]
    merge = {"content_type": "application/merge-patch+json"}
    assert widgets.patch(body={"spec": {"size": 7}}, name="a", namespace=namespace, **merge).spec.size == 7
    phase = {"metadata": {"name": "a"}, "status": {"phase": "Done"}}
    assert widgets.status.patch(body=phase, name="a", namespace=namespace, **merge).status.phase == "Done"
    read = widgets.get(name="a", namespace=namespace).to_dict()
    read["spec"]["color"] = "blue"
    assert widgets.replace(body=read, namespace=namespace).spec.color == "blue"
    widgets.delete(name="a", namespace=namespace)
    with pytest.raises(dynamic.exceptions.NotFoundError):
        widgets.get(name="a", namespace=namespace)
    widgets.delete(namespace=namespace, label_selector="!x")
    assert widgets.get(namespace=namespace).items == []


# --- watch -----------------------------------------------------------------------------------------------------------


def seen(events: Iterator[Any]) -> list[tuple[str, str]]:
    return [(event["type"], event["raw_object"]["metadata"]["name"]) for event in events]


def test_a_watch_shows_what_is_there_and_ends_after_its_time(core: Any, namespace: str) -> None:
    for name in "ab":
        core.create_namespaced_config_map(namespace, configmap(name))
    events = Watch().stream(core.list_namespaced_config_map, namespace, timeout_seconds=1)
    assert seen(events) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_watch_shows_every_change_after_a_list(core: Any, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, configmap("old"))
    listed = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, configmap("new"))
    core.patch_namespaced_config_map("new", namespace, [{"op": "add", "path": "/data", "value": {"a": "1"}}])
    core.delete_namespaced_config_map("old", namespace)
    watcher = Watch()
    stream = watcher.stream(core.list_namespaced_config_map, namespace, resource_version=listed, timeout_seconds=60)
    events = list(islice(stream, 3))
    watcher.stop()
    assert seen(iter(events)) == [("ADDED", "new"), ("MODIFIED", "new"), ("DELETED", "old")]
    assert isinstance(events[1]["object"], models.V1ConfigMap)
    assert events[1]["object"].data == {"a": "1"}


def test_a_watch_shows_changes_as_they_happen(api: Any, core: Any, namespace: str) -> None:
    watcher = Watch()
    stream = watcher.stream(core.list_namespaced_config_map, namespace, timeout_seconds=60)
    core.create_namespaced_config_map(namespace, configmap("a"))
    assert next(stream)["object"].metadata.name == "a"
    for value in "123":
        core.patch_namespaced_config_map("a", namespace, [{"op": "add", "path": "/data", "value": {"v": value}}])
        assert next(stream)["object"].data == {"v": value}
    watcher.stop()


def test_a_watch_goes_on_where_the_last_one_ended(custom: Any, namespace: str) -> None:
    place = (GROUP, "v1", namespace, "widgets")
    watcher = Watch()
    custom.create_namespaced_custom_object(*place, widget("a"))
    assert seen(watcher.stream(custom.list_namespaced_custom_object, *place, timeout_seconds=1)) == [("ADDED", "a")]
    custom.create_namespaced_custom_object(*place, widget("b"))
    custom.delete_namespaced_custom_object(*place, "a")
    since = {"resource_version": watcher.resource_version, "timeout_seconds": 1}
    assert seen(watcher.stream(custom.list_namespaced_custom_object, *place, **since)) == [("ADDED", "b"), ("DELETED", "a")]


def test_a_watch_from_forgotten_history_is_told_so(core: Any, namespace: str) -> None:
    with pytest.raises(ApiException) as gone:
        list(Watch().stream(core.list_namespaced_config_map, namespace, resource_version="1", timeout_seconds=5))
    assert gone.value.status == 410
    assert "too old resource version" in gone.value.reason


def test_a_watch_with_a_selector_shows_what_enters_and_what_leaves(widgets: Any, namespace: str) -> None:
    merge = {"namespace": namespace, "content_type": "application/merge-patch+json"}
    begin = widgets.create(body=widget("a"), namespace=namespace).metadata.resourceVersion
    widgets.patch(body={"metadata": {"labels": {"on": "yes"}}}, name="a", **merge)
    widgets.patch(body={"spec": {"size": 9}}, name="a", **merge)
    widgets.patch(body={"metadata": {"labels": {"on": None}}}, name="a", **merge)
    widgets.patch(body={"spec": {"size": 8}}, name="a", **merge)
    events = list(widgets.watch(namespace=namespace, label_selector="on=yes", resource_version=begin, timeout=1))
    assert [(event["type"], event["object"].spec.size) for event in events] == [("ADDED", 3), ("MODIFIED", 9), ("DELETED", 9)]


def test_the_watch_of_the_dynamic_client_sees_changes_as_they_happen(widgets: Any, namespace: str) -> None:
    watcher = Watch()
    names: list[str] = []

    def follow() -> None:
        for event in widgets.watch(namespace=namespace, timeout=60, watcher=watcher):
            names.append(event["object"].metadata.name)
            if len(names) == 3:
                watcher.stop()

    follower = Thread(target=follow)
    follower.start()
    for name in "abc":
        widgets.create(body=widget(name), namespace=namespace)
    follower.join()
    assert names == ["a", "b", "c"]


def test_clients_that_keep_their_connections_do_not_hold_up_the_end_of_the_server() -> None:
    """One is idle, the other reads its watch no further: neither answers the end of TLS. The grace is longer than a test is."""
    with running([REFERENCE], "--shutdown-grace", "600") as server, server.client() as idle, server.client() as watching:
        assert idle.get("/version").is_success
        with watching.stream("GET", "/api/v1/namespaces?watch=1") as events:
            assert events.is_success
            assert server.stop() == 0


# --- definitions ------------------------------------------------------------------------------------------------------


def test_a_kind_is_defined_used_and_taken_away(api: Any, custom: Any, namespace: str) -> None:
    definitions = models.ApiextensionsV1Api(api)
    size = models.V1JSONSchemaProps(type="integer", minimum=1)
    spec = models.V1JSONSchemaProps(type="object", properties={"size": size})
    schema = models.V1JSONSchemaProps(type="object", properties={"spec": spec})
    version = models.V1CustomResourceDefinitionVersion(
        name="v1", served=True, storage=True, schema=models.V1CustomResourceValidation(open_apiv3_schema=schema)
    )
    names = models.V1CustomResourceDefinitionNames(plural="pegs", kind="Peg")
    body = models.V1CustomResourceDefinition(
        api_version="apiextensions.k8s.io/v1",
        kind="CustomResourceDefinition",
        metadata=named("pegs.python.example"),
        spec=models.V1CustomResourceDefinitionSpec(group="python.example", scope="Namespaced", names=names, versions=[version]),
    )
    made = definitions.create_custom_resource_definition(body)
    assert made.status.stored_versions == ["v1"]
    peg = {"apiVersion": "python.example/v1", "kind": "Peg", "metadata": {"name": "a"}, "spec": {"size": 0}}
    place = ("python.example", "v1", namespace, "pegs")
    with pytest.raises(ApiException) as refused:
        custom.create_namespaced_custom_object(*place, peg)
    assert refused.value.status == 422
    custom.create_namespaced_custom_object(*place, peg | {"spec": {"size": 1}})
    listed = {item.metadata.name for item in definitions.list_custom_resource_definition().items}
    assert {"pegs.python.example", f"widgets.{GROUP}"} <= listed
    definitions.delete_custom_resource_definition("pegs.python.example")
    since, seen = made.metadata.resource_version, Watch()
    for event in seen.stream(definitions.list_custom_resource_definition, resource_version=since, timeout_seconds=60):
        if (event["type"], event["object"].metadata.name) == ("DELETED", "pegs.python.example"):
            seen.stop()
    with pytest.raises(ApiException) as missing:
        custom.list_namespaced_custom_object(*place)
    assert missing.value.status == 404
