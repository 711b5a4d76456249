"""A shop: an Order becomes an Invoice and, once that is paid, a Shipment for each warehouse.

skep serve --plugin examples/shop.py
kubectl apply -f examples/order.yaml
kubectl get orders,invoices,shipments
kubectl patch invoice order-1 --subresource=status --type=merge -p '{"status": {"paid": true}}'
kubectl get orders,shipments -w

Who does what:

    Order     `fulfil` looks after it: what is to be there for an order is its children, and what they say is its status
    Invoice   belongs to the bookkeeping, which is no part of this server: whoever is allowed to writes that it is paid
    Shipment  `carry` looks after it: it packs, and hands over
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from actors import Again, Client, Done, Outcome, Run
from admission.review import Review
from registry.errors import Cause, invalid
from registry.kinds import Column
from registry.plugin import Plugin
from registry.resource import Conditions, ListMap, Meta, Metadata, Resource, Spec, Status, Struct, Time, replace
from registry.times import format_time, parse_time

Name = Annotated[str, Meta(pattern="^[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?$")]
Cents = Annotated[int, Meta(ge=0, le=100_000_000)]
Phase = Literal["AwaitingPayment", "Shipping", "Complete", "Cancelled"]

LONGEST_NAME = 200
PACKING_SECONDS = 2.0


class Line(Struct):
    """Something that is bought."""

    sku: Annotated[str, Meta(min_length=1, max_length=64)]
    quantity: Annotated[int, Meta(ge=1, le=10_000)] = 1
    price_cents: Cents
    warehouse: Annotated[Name, Meta(description="Where it lies: what lies in one place is sent together.")] = "main"


class OrderSpec(Spec):
    """What a customer wants."""

    customer: Annotated[str, Meta(min_length=1, max_length=128)]
    address: Annotated[str, Meta(min_length=1, max_length=512)]
    lines: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=100), ListMap("sku")]
    cancelled: bool = False


class OrderStatus(Status):
    """How far it is, as its invoice and its shipments say."""

    phase: Phase = "AwaitingPayment"
    total_cents: int = 0
    paid: bool = False
    shipments: str = "0/0"
    conditions: Conditions = ()
    observed_generation: int | None = None


class Order(Resource[OrderSpec, OrderStatus]):
    """What a customer wants, and how far it is."""


class InvoiceSpec(Spec):
    """What is to be paid."""

    customer: str
    amount_cents: Cents


class InvoiceStatus(Status):
    """What the bookkeeping knows."""

    paid: bool = False


class Invoice(Resource[InvoiceSpec, InvoiceStatus]):
    """What is to be paid for an order."""


class Parcel(Struct):
    """What is in a shipment."""

    sku: str
    quantity: int = 1


class ShipmentSpec(Spec):
    """What is to be sent where."""

    address: str
    warehouse: str
    contents: Annotated[tuple[Parcel, ...], ListMap("sku")]


class ShipmentStatus(Status):
    """Where it is."""

    phase: Literal["Packing", "Sent"] = "Packing"
    ready_at: Time | None = None
    tracking: str | None = None


class Shipment(Resource[ShipmentSpec, ShipmentStatus]):
    """What is sent from one warehouse for an order."""


plugin = Plugin("shop")
plugin.kind(
    Order,
    group="shop.example",
    version="v1",
    plural="orders",
    columns=[
        Column("CUSTOMER", ".spec.customer"),
        Column("TOTAL", ".status.totalCents", "integer", "In cents"),
        Column("PHASE", ".status.phase"),
        Column("SHIPPED", ".status.shipments"),
    ],
)
plugin.kind(
    Invoice,
    group="shop.example",
    version="v1",
    plural="invoices",
    owner="external",
    columns=[Column("AMOUNT", ".spec.amountCents", "integer", "In cents"), Column("PAID", ".status.paid", "boolean")],
)
plugin.kind(
    Shipment,
    group="shop.example",
    version="v1",
    plural="shipments",
    columns=[Column("WAREHOUSE", ".spec.warehouse"), Column("PHASE", ".status.phase"), Column("TRACKING", ".status.tracking")],
)


@plugin.validates(Order)
def sensible(review: Review[Order]) -> list[Cause]:
    """What is paid can only be cancelled, and what has left the house cannot be called back."""
    old, new = review.old, review.new
    if len(new.metadata.name) > LONGEST_NAME:
        return [invalid("metadata.name", new.metadata.name, f"may not be longer than {LONGEST_NAME}: shipments are named after it")]
    if old is None or old.status is None or old.spec == new.spec:
        return []
    if not old.status.shipments.startswith("0/"):
        return [invalid("spec", new.metadata.name, "a part of the order was sent already: make another one")]
    if old.status.paid and replace(new.spec, cancelled=old.spec.cancelled) != old.spec:
        return [invalid("spec", new.metadata.name, "the order is paid: cancel it, and make another one")]
    return []


def wanted(order: Order, *, paid: bool) -> list[Invoice | Shipment]:
    """All that is to be there for an order. Names are made of the order's: they are the same in every run."""
    if order.spec.cancelled:
        return []
    bill = InvoiceSpec(
        customer=order.spec.customer, amount_cents=sum(line.quantity * line.price_cents for line in order.spec.lines)
    )
    children: list[Invoice | Shipment] = [Invoice(metadata=named(order), spec=bill)]
    for warehouse in sorted({line.warehouse for line in order.spec.lines}) if paid else ():
        contents = tuple(Parcel(sku=line.sku, quantity=line.quantity) for line in order.spec.lines if line.warehouse == warehouse)
        parcel = ShipmentSpec(address=order.spec.address, warehouse=warehouse, contents=contents)
        children.append(Shipment(metadata=named(order, f"-{warehouse}"), spec=parcel))
    return children


def named(order: Order, ending: str = "") -> Metadata:
    """A child's metadata. By the label people find what belongs to an order; the actor goes by owner references."""
    labels = {"shop.example/order": order.metadata.name[:63].rstrip("-.")}
    return Metadata(name=order.metadata.name + ending, labels=labels)


def progress(children: Sequence[object]) -> OrderStatus:
    """What the children say about their order."""
    bills = [each for each in children if isinstance(each, Invoice)]
    parcels = [each for each in children if isinstance(each, Shipment)]
    paid = any(bill.status is not None and bill.status.paid for bill in bills)
    sent = sum(parcel.status is not None and parcel.status.phase == "Sent" for parcel in parcels)
    phase: Phase = "Shipping" if paid else "AwaitingPayment"
    if not bills:
        phase = "Cancelled"
    elif parcels and sent == len(parcels):
        phase = "Complete"
    total = sum(bill.spec.amount_cents for bill in bills)
    return OrderStatus(phase=phase, total_cents=total, paid=paid, shipments=f"{sent}/{len(parcels)}")


@plugin.actor(Order, observes=[Invoice, Shipment], writes=[Invoice, Shipment], concurrency=8)
async def fulfil(order: Order, client: Client, run: Run) -> Outcome:
    """Makes the children be exactly what the order comes to now, and reports what they say."""
    if order.metadata.deletion_timestamp:
        return Done()
    bill = await client.get(Invoice, order.metadata.name, order.metadata.namespace)
    paid = bill is not None and bill.status is not None and bill.status.paid
    children = await client.children(order, wanted(order, paid=paid), of=[Invoice, Shipment])
    found = progress(children)
    before = order.status or OrderStatus()
    if order.status is None or found.phase != before.phase:
        run.tell(found.phase, f"{found.total_cents} cents for {order.spec.customer}, {found.shipments} shipments are sent")
    complete = found.phase == "Complete"
    message = f"{found.shipments} shipments are sent"
    return Done(replace(found, conditions=run.condition(before.conditions, "Complete", complete, found.phase, message)))


@plugin.actor(Shipment, concurrency=8)
async def carry(shipment: Shipment, client: Client, run: Run) -> Outcome:
    """Packs for a while, then hands over. It knows of no orders.

    When it is ready stands in the status, and not in this process: whoever goes on may be another one.
    """
    status = shipment.status
    if status is None or status.ready_at is None:
        return Again(PACKING_SECONDS, ShipmentStatus(ready_at=format_time(run.time + PACKING_SECONDS)))
    left = parse_time(status.ready_at).timestamp() - run.time
    if status.phase == "Packing" and left > 0:
        return Again(left)
    tracking = f"T-{shipment.metadata.uid[:8].upper()}"
    if status.phase == "Packing":
        run.tell("Sent", f"from {shipment.spec.warehouse} as {tracking}")
    return Done(ShipmentStatus(phase="Sent", ready_at=status.ready_at, tracking=tracking))
