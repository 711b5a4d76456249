"""The shop and the folders in a real server: children by difference, cleanup before an object goes, also across a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.test_actors import until
from tests.servers import ROOT, Running, running

SHOP = "/apis/shop.example/v1/namespaces/default"
FOLDERS = "/apis/folders.example/v1/namespaces/default/folders"
MERGE = {"Content-Type": "application/merge-patch+json"}
Document = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folders") / "root"


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Running]:
    plugins = [ROOT / "examples/shop.py", ROOT / "examples/folders.py"]
    with running(plugins, env={"FOLDERS_ROOT": str(root)}) as server:
        yield server


@pytest.fixture
def api(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def manifest(file: str, name: str, **spec: Any) -> Document:
    document: Document = yaml.safe_load((ROOT / "examples" / file).read_text())
    return {**document, "metadata": {"name": name}, "spec": {**document["spec"], **spec}}


def patch(api: httpx.Client, path: str, change: Document) -> httpx.Response:
    return api.patch(path, content=json.dumps(change), headers=MERGE)


def make(api: httpx.Client, collection: str, document: Document) -> Document:
    answer = api.post(collection, json=document)
    assert answer.status_code == 201, answer.text
    made: Document = answer.json()
    return made


def names(api: httpx.Client, collection: str, prefix: str) -> list[str]:
    found = (each["metadata"]["name"] for each in api.get(collection).json()["items"])
    return sorted(name for name in found if name.startswith(prefix))


def in_phase(api: httpx.Client, name: str, phase: str) -> Document:
    return until(api, f"{SHOP}/orders", f"metadata.name={name}", lambda one: one.get("status", {}).get("phase") == phase)


def test_an_order_goes_all_the_way_and_its_children_name_it_as_their_controller(server: Running, api: httpx.Client) -> None:
    made = make(api, f"{SHOP}/orders", manifest("order.yaml", "all"))
    waiting = in_phase(api, "all", "AwaitingPayment")
    assert waiting["status"]["totalCents"] == 3 * 450 + 1_750_000
    assert names(api, f"{SHOP}/shipments", "all") == []
    assert patch(api, f"{SHOP}/invoices/all/status", {"status": {"paid": True}}).status_code == 200
    done = in_phase(api, "all", "Complete")
    assert (done["status"]["shipments"], done["status"]["observedGeneration"]) == ("2/2", 1)
    assert names(api, f"{SHOP}/shipments", "all") == ["all-main", "all-north"]
    for child in ("invoices/all", "shipments/all-main", "shipments/all-north"):
        owner = api.get(f"{SHOP}/{child}").json()["metadata"]["ownerReferences"]
        assert [(each["kind"], each["uid"], each["controller"]) for each in owner] == [("Order", made["metadata"]["uid"], True)]
    refused = patch(api, f"{SHOP}/orders/all", {"spec": {"cancelled": True}})
    assert (refused.status_code, "sent already" in refused.text) == (422, True)
    assert "reconcile failed" not in server.log


def test_an_order_that_is_cancelled_takes_its_children_away(api: httpx.Client) -> None:
    make(api, f"{SHOP}/orders", manifest("order.yaml", "off"))
    in_phase(api, "off", "AwaitingPayment")
    refused = patch(api, f"{SHOP}/invoices/off/status", {"status": {"paid": True}})
    assert refused.status_code == 200
    patch(api, f"{SHOP}/orders/off", {"spec": {"cancelled": True}})
    in_phase(api, "off", "Cancelled")
    assert names(api, f"{SHOP}/invoices", "off") + names(api, f"{SHOP}/shipments", "off") == []


def test_an_invoice_that_somebody_deletes_is_there_again_and_server_defaults_cause_no_endless_writes(api: httpx.Client) -> None:
    make(api, f"{SHOP}/orders", manifest("order.yaml", "again"))
    first = until(api, f"{SHOP}/invoices", "metadata.name=again", lambda one: True)
    assert api.delete(f"{SHOP}/invoices/again").status_code == 200
    second = until(api, f"{SHOP}/invoices", "metadata.name=again", lambda one: one["metadata"]["uid"] != first["metadata"]["uid"])
    settled = in_phase(api, "again", "AwaitingPayment")
    patch(api, f"{SHOP}/orders/again", {"metadata": {"annotations": {"looked": "at"}}})
    patch(api, f"{SHOP}/orders/again", {"spec": {"address": "elsewhere"}})
    until(api, f"{SHOP}/orders", "metadata.name=again", lambda one: one["status"].get("observedGeneration") == 2)
    assert settled["status"]["observedGeneration"] == 1
    assert api.get(f"{SHOP}/invoices/again").json()["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


def test_an_order_is_refused_with_the_fields_that_are_wrong(api: httpx.Client) -> None:
    lines = [{"sku": "a", "quantity": 0, "priceCents": -1, "warehouse": "No/Such"}]
    answer = api.post(f"{SHOP}/orders", json=manifest("order.yaml", "bad", lines=lines))
    fields = {cause["field"] for cause in answer.json()["details"]["causes"]}
    assert fields == {"spec.lines[0].quantity", "spec.lines[0].priceCents", "spec.lines[0].warehouse"}


def ready(api: httpx.Client, name: str, status: str) -> Document:
    def holds(one: Document) -> bool:
        return any(each["status"] == status for each in one.get("status", {}).get("conditions", ()))

    return until(api, FOLDERS, f"metadata.name={name}", holds)


def test_a_folder_is_on_the_disk_when_it_says_so_and_gone_when_it_is(root: Path, api: httpx.Client) -> None:
    make(api, FOLDERS, manifest("folder.yaml", "reports"))
    assert ready(api, "reports", "True")["metadata"]["finalizers"] == ["skep.dev/folders-keeper"]
    assert (root / "default/reports/2026/may").is_dir()
    (root / "default/reports/drafts/novel.txt").touch()
    waiting = api.delete(f"{FOLDERS}/reports").json()
    assert waiting["metadata"]["deletionTimestamp"]
    assert "Directory not empty" in ready(api, "reports", "False")["status"]["conditions"][0]["message"]
    patch(api, f"{FOLDERS}/reports", {"spec": {"whenDeleted": "Remove"}})
    assert gone(api, "reports")["metadata"]["name"] == "reports"
    assert not (root / "default/reports").exists()


def gone(api: httpx.Client, name: str) -> Document:
    """The last state of an object that a watch saw go, or that was gone before."""
    query = {"watch": "1", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": "60"}
    with api.stream("GET", FOLDERS, params=query) as lines:
        if api.get(f"{FOLDERS}/{name}").status_code == 404:
            return {"metadata": {"name": name}}
        for line in lines.iter_lines():
            event: Document = json.loads(line)
            if event["type"] == "DELETED":
                found: Document = event["object"]
                return found
    pytest.fail(f"{name} is still there")


@pytest.mark.parametrize("path", ["../escape", "/etc", "a/../../x", "a//b"])
def test_a_path_that_leads_out_is_refused(api: httpx.Client, path: str) -> None:
    answer = api.post(FOLDERS, json=manifest("folder.yaml", "bad", contains=["good", path]))
    assert answer.status_code == 422
    assert answer.json()["details"]["causes"][0]["field"] == "spec.contains[1]"


def test_a_folder_that_is_deleted_while_the_server_is_down_is_cleaned_up_afterwards(tmp_path: Path) -> None:
    """Killed, and started again without its actor's plugin doing anything in between: the finalizer is what remembers."""
    root, data = tmp_path / "root", tmp_path / "data"
    plugins, env = [ROOT / "examples/folders.py"], {"FOLDERS_ROOT": str(root)}
    with running(plugins, data_dir=data, env=env) as server, server.client() as api:
        make(api, FOLDERS, manifest("folder.yaml", "f", contains=["a"]))
        ready(api, "f", "True")
        root.rename(tmp_path / "away")  # the disk is gone, so that the cleanup cannot be done yet
        root.touch()
        api.delete(f"{FOLDERS}/f")
        ready(api, "f", "False")
        server.kill()
    root.unlink()
    (tmp_path / "away").rename(root)
    assert (root / "default/f/a").is_dir()
    with running(plugins, data_dir=data, env=env) as server, server.client() as api:
        gone(api, "f")
        assert not (root / "default/f").exists()
