"""What a killed server had begun to delete is gone soon after the next one has started."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import REFERENCE, Running, running

WIDGET = {"apiVersion": "reference.example.com/v1", "kind": "Widget", "spec": {"size": 1}}
SPACES = "/api/v1/namespaces"
COUNT = 400


def widgets(namespace: str) -> str:
    return f"/apis/reference.example.com/v1/namespaces/{namespace}/widgets"


def make(client: httpx.Client, namespace: str, names: Sequence[str], **metadata: Any) -> list[Any]:
    """Widgets of these names."""

    def one(name: str) -> Any:
        answer = client.post(widgets(namespace), json=WIDGET | {"metadata": {"name": name, **metadata}})
        return answer.raise_for_status().json()

    with ThreadPoolExecutor(16) as threads:
        return list(threads.map(one, names))


def left(client: httpx.Client) -> tuple[list[str], int]:
    """The namespaces that are there, and how many widgets."""
    spaces = [item["metadata"]["name"] for item in client.get(SPACES).json()["items"]]
    return spaces, len(client.get("/apis/reference.example.com/v1/widgets").json()["items"])


@pytest.mark.parametrize("pause", [0.0, 0.01, 0.03])
def test_what_a_killed_server_began_to_delete_the_next_one_finishes(tmp_path: Path, pause: float) -> None:
    names = [f"w{number}" for number in range(COUNT)]
    with running([REFERENCE], data_dir=tmp_path) as server, server.client() as client:
        client.post(SPACES, json={"metadata": {"name": "room"}}).raise_for_status()
        make(client, "room", names)
        for policy in ("Foreground", "Background"):
            [parent] = make(client, "default", [f"{policy.lower()}-owner"])
            reference = {key: parent["metadata"][key] for key in ("name", "uid")} | {
                key: WIDGET[key] for key in ("apiVersion", "kind")
            }
            children = [f"{policy.lower()}-{name}" for name in names]
            make(client, "default", children, ownerReferences=[reference | {"blockOwnerDeletion": True}])
        client.delete(f"{SPACES}/room").raise_for_status()
        for policy in ("Foreground", "Background"):
            path = f"{widgets('default')}/{policy.lower()}-owner"
            client.request("DELETE", path, json={"propagationPolicy": policy}).raise_for_status()
        time.sleep(pause)  # the moment of the death, which is to differ
        server.kill()
    with running([REFERENCE], data_dir=tmp_path) as again, again.client() as client:
        wait(again, client)


def wait(server: Running, client: httpx.Client) -> None:
    """Until all is gone that should be."""
    while left(client) != (["default", "kube-system"], 0):
        assert server.process.poll() is None, server.log
