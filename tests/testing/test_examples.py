"""The examples shop and folders: killed at any point, in any order of things, no child is there twice and nothing is left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.testing import Server, every_crash, seeds, serving
from examples import folders, shop
from examples.folders import Folder, FolderSpec
from examples.shop import Invoice, Line, Order, OrderSpec, Shipment
from registry.resource import Metadata

pytestmark = pytest.mark.anyio


def order() -> Order:
    lying = {"a": "main", "b": "east"}
    lines = tuple(Line(sku=sku, quantity=2, price_cents=100, warehouse=warehouse) for sku, warehouse in lying.items())
    spec = OrderSpec(customer="Ada", address="Here", lines=lines)
    return Order(metadata=Metadata(name="o", namespace="default"), spec=spec)


async def pay(server: Server) -> None:
    """An order is made and paid. Whoever pays waits for the bill."""
    await server.client.create(order())
    await server.settled()
    await server.advance(1)
    await server.client.patch_status(Invoice, "o", "default", {"paid": True})
    await server.settled()


async def is_complete(server: Server) -> None:
    found = await server.client.get(Order, "o", "default")
    assert found is not None
    assert found.status is not None
    assert (found.status.phase, found.status.shipments, found.status.total_cents) == ("Complete", "2/2", 400)
    assert [each.metadata.name for each in (await server.client.list(Invoice)).items] == ["o"]
    assert [each.metadata.name for each in (await server.client.list(Shipment)).items] == ["o-east", "o-main"]


async def cancel_and_delete(server: Server) -> None:
    await pay(server)
    await server.client.delete(Order, "o", "default")
    await server.settled()


async def nothing_is_left(server: Server) -> None:
    for kind in (Order, Invoice, Shipment):
        assert (await server.client.list(kind)).items == []


async def test_an_order_is_complete_whatever_crashes() -> None:
    assert await every_crash(shop.plugin, scenario=pay, check=is_complete) >= 2 * 8


async def test_nothing_is_left_of_a_deleted_order_whatever_crashes() -> None:
    assert await every_crash(shop.plugin, scenario=cancel_and_delete, check=nothing_is_left) >= 2 * 5


async def test_an_order_is_complete_in_every_order_of_things() -> None:
    for seed in seeds(50):
        async with serving(shop.plugin, seed=seed) as server:
            server.duplicate_wakes(seed % 2 == 0)
            await pay(server)
            await server.advance(60)
            await is_complete(server)
            await server.client.delete(Order, "o", "default")
            await server.advance(10)
            await nothing_is_left(server)


async def test_a_folder_is_made_and_taken_away_whatever_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    monkeypatch.setenv(folders.ROOT, str(root))

    async def make(server: Server) -> None:
        metadata = Metadata(name="a", namespace="default")
        await server.client.create(Folder(metadata=metadata, spec=FolderSpec(contains=("x", "x/y"))))
        await server.settled()

    async def is_made(server: Server) -> None:
        assert (root / "default/a/x/y").is_dir()

    async def remove(server: Server) -> None:
        await make(server)
        await server.client.delete(Folder, "a", "default")
        await server.settled()

    async def is_gone(server: Server) -> None:
        assert await server.client.get(Folder, "a", "default") is None
        assert not (root / "default/a").exists()

    assert await every_crash(folders.plugin, scenario=make, check=is_made) >= 2 * 2
    assert await every_crash(folders.plugin, scenario=remove, check=is_gone) >= 2 * 3
