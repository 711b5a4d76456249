"""The shop's actors on a virtual clock: what an order comes to, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from actors import Place
from actors.actor import from_declaration
from actors.runner import Environment, Runner
from examples.shop import Invoice, Line, Order, OrderSpec, Shipment, plugin, wanted
from registry.nodes import Document
from registry.patches import merge_patch
from registry.resource import Metadata
from registry.typed import to_document
from tests.actors.test_children import Crashing
from tests.actors.world import Stage, settled

pytestmark = pytest.mark.anyio

HERE = Place("shop", "o")


def order(*lines: tuple[str, str], **spec: Any) -> Order:
    bought = tuple(Line(sku=sku, quantity=2, price_cents=100, warehouse=warehouse) for sku, warehouse in lines)
    metadata = Metadata(name="o", namespace="shop", uid="u")
    return Order(
        api_version="shop.example/v1",
        kind="Order",
        metadata=metadata,
        spec=OrderSpec(**{"customer": "Ada", "address": "Here", "lines": bought} | spec),
    )


def runner(stage: Stage, name: str, door: Any = None) -> Runner:
    declared = next(each for each in plugin.actors if each.name == name)
    made = stage.runner(lambda obj, client: None)._environment
    recorder, world = made.recorder, stage.world
    environment = Environment(
        source=world.source(), door=door or world, recorder=recorder, clock=stage.clock, chance=made.chance, log=stage.log
    )
    return Runner(from_declaration(declared), environment)


def there(stage: Stage, model: type) -> dict[str, Document]:
    return {place.name: document for (each, place), document in stage.world.objects.items() if each is model}


def change(stage: Stage, model: type, name: str, **merge: Any) -> None:
    stage.world.put(model, merge_patch(stage.world.objects[model, Place("shop", name)], merge))


def status(stage: Stage) -> Document:
    found: Document = stage.world.objects[Order, HERE].get("status", {})
    return {key: value for key, value in found.items() if key != "conditions"}


@pytest.mark.parametrize(
    ("asked", "paid", "names"),
    [
        (order(("a", "main")), False, ["o"]),
        (order(("a", "main"), ("b", "north"), ("c", "main")), True, ["o", "o-main", "o-north"]),
        (order(("a", "main"), cancelled=True), True, []),
    ],
)
def test_what_is_to_be_there_for_an_order(asked: Order, paid: bool, names: list[str]) -> None:
    assert [each.metadata.name for each in wanted(asked, paid=paid)] == names


async def test_an_order_is_billed_then_paid_then_packed_then_sent(stage: Stage) -> None:
    stage.world.put(Order, to_document(order(("a", "main"), ("b", "north"))))
    async with anyio.create_task_group() as tasks:
        for name in ("shop-fulfil", "shop-carry"):
            tasks.start_soon(runner(stage, name).run)
        await settled()
        assert (list(there(stage, Invoice)), list(there(stage, Shipment))) == (["o"], [])
        assert status(stage) == {
            "phase": "AwaitingPayment",
            "totalCents": 400,
            "paid": False,
            "shipments": "0/0",
            "observedGeneration": 1,
        }
        change(stage, Invoice, "o", status={"paid": True})
        await settled()
        assert list(there(stage, Shipment)) == ["o-main", "o-north"]
        assert (status(stage)["phase"], status(stage)["shipments"]) == ("Shipping", "0/2")
        await stage.clock.advance(3)
        assert (status(stage)["phase"], status(stage)["shipments"]) == ("Complete", "2/2")
        assert stage.world.objects[Order, HERE]["status"]["conditions"][0]["status"] == "True"
        before = stage.world.revision
        await stage.clock.advance(10_000)
        assert stage.world.revision == before, "what is as it should be is left alone"
        tasks.cancel_scope.cancel()


async def test_a_cancelled_order_takes_its_children_with_it_and_those_of_others_stay(stage: Stage) -> None:
    other = {"metadata": {"name": "o-main", "namespace": "elsewhere"}, "spec": {"address": "", "warehouse": "", "contents": []}}
    stage.world.put(Shipment, other)
    stage.world.put(Order, to_document(order(("a", "main"))))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner(stage, "shop-fulfil").run)
        await settled()
        change(stage, Invoice, "o", status={"paid": True})
        await settled()
        assert len(there(stage, Shipment)) == 1
        change(stage, Order, "o", spec={"cancelled": True})
        await settled()
        assert (there(stage, Invoice), [place.namespace for model, place in stage.world.objects if model is Shipment]) == (
            {},
            ["elsewhere"],
        )
        assert status(stage)["phase"] == "Cancelled"
        tasks.cancel_scope.cancel()


async def test_what_somebody_takes_away_or_changes_is_put_right(stage: Stage) -> None:
    stage.world.put(Order, to_document(order(("a", "main"))))
    meddling: list[Callable[[], object]] = [
        lambda: stage.world.remove(Invoice, HERE),
        lambda: change(stage, Invoice, "o", spec={"amountCents": 1}),
        lambda: change(stage, Invoice, "o", metadata={"labels": None}),
    ]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner(stage, "shop-fulfil").run)
        await settled()
        for meddle in meddling:
            meddle()
            await settled()
            bill = there(stage, Invoice)["o"]
            assert bill["spec"]["amountCents"] == 200
            assert bill["metadata"]["labels"] == {"shop.example/order": "o"}
        tasks.cancel_scope.cancel()


async def test_an_invoice_of_the_name_that_is_somebody_elses_is_told_and_not_touched(stage: Stage) -> None:
    foreign = stage.world.put(
        Invoice, {"metadata": {"name": "o", "namespace": "shop"}, "spec": {"customer": "Bob", "amountCents": 1}}
    )
    stage.world.put(Order, to_document(order(("a", "main"))))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner(stage, "shop-fulfil").run)
        await settled()
        assert there(stage, Invoice)["o"] == foreign
        assert "exists and belongs to nobody" in stage.sink.said()[0][1]
        tasks.cancel_scope.cancel()


async def test_a_shipment_that_was_begun_by_a_process_that_died_is_sent_by_the_next(stage: Stage) -> None:
    stage.world.put(
        Shipment, to_document(wanted(order(("a", "main")), paid=True)[1]) | {"metadata": {"name": "s", "namespace": "shop"}}
    )
    for seconds, phase in ((1, "Packing"), (2, "Sent"), (9, "Sent")):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner(stage, "shop-carry").run)
            await stage.clock.advance(seconds)
            assert there(stage, Shipment)["s"]["status"]["phase"] == phase
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-stored", "after-it-is-stored"])
async def test_an_actor_of_the_shop_that_dies_at_any_of_its_writes_leaves_no_child_twice_and_none_too_many(after: bool) -> None:
    nth = 0
    while await _order_with_a_crash(nth := nth + 1, after=after):
        assert nth < 100
    assert nth > 8


async def _order_with_a_crash(nth: int, *, after: bool) -> bool:
    """An order is made, paid and cancelled, and at the n-th write the actor dies. Whether it did."""
    stage = Stage()
    died, door = False, Crashing(stage.world, nth, after=after)
    stage.world.put(Order, to_document(order(("a", "main"), ("b", "north"))))
    steps: list[tuple[Callable[[], object], list[str]]] = [
        (lambda: None, ["o"]),
        (lambda: change(stage, Invoice, "o", status={"paid": True}), ["o", "o-main", "o-north"]),
        (lambda: change(stage, Order, "o", spec={"cancelled": True}), []),
    ]
    for act, expected in steps:
        act()
        for _ in range(2):  # again when it died
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runner(stage, "shop-fulfil", door).run)
                await settled()
                if not door.crashed:
                    await stage.clock.advance(30)
                tasks.cancel_scope.cancel()
            if not door.crashed:
                break
            died, door = True, Crashing(stage.world, 10_000, after=False)
        assert sorted([*there(stage, Invoice), *there(stage, Shipment)]) == expected, f"write {nth}"
    made = sorted(each.name for each in stage.world.written if each.verb == "create")
    assert made == ["o", "o-main", "o-north"], f"write {nth}"
    return died
