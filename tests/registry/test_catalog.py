"""A registry is replaced whole, and what is not changed is shared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.catalog import Catalog, Registry, RegistryError, Update
from registry.kinds import Kind, Version
from registry.nodes import Node
from registry.schema import Schema

SCHEMA = Schema(Node(type="object"))


def kind(name: str, *versions: str, group: str = "shop.example", unserved: str = "") -> Kind:
    made = [Version(group=group, name=each, kind=name, schema=SCHEMA) for each in versions or ("v1",)]
    made += [Version(group=group, name=unserved, kind=name, schema=SCHEMA, served=False)] if unserved else []
    return Kind(
        name=name, plural=f"{name.lower()}s", singular=name.lower(), list_kind=f"{name}List", versions=tuple(made), storage=made[0]
    )


def names(registry: Registry) -> list[str]:
    return [each.resource for each in registry.kinds]


def test_a_kind_is_added_and_what_was_there_does_not_know_it():
    before = Registry([kind("Cart")])
    after = before.replaced(put=[kind("Probe", "v1", "v2beta1", group="uptime.example")])
    assert names(before) == ["carts.shop.example"]
    assert before.of_group("uptime.example") == ()
    assert names(after) == ["carts.shop.example", "probes.uptime.example"]
    assert after.groups == {"shop.example": ("v1",), "uptime.example": ("v1", "v2beta1")}
    assert after.of_type("uptime.example/v2beta1", "Probe") is not None
    assert after.find("shop.example", "v1", "carts") is before.find("shop.example", "v1", "carts")


def test_a_kind_that_is_put_again_keeps_its_place_and_loses_the_versions_that_it_had():
    before = Registry([kind("Cart", "v1", "v1alpha1"), kind("Order")])
    after = before.replaced(put=[kind("Cart", "v2")])
    assert names(after) == ["carts.shop.example", "orders.shop.example"]
    assert after.groups == {"shop.example": ("v2", "v1")}  # orders are still of v1
    assert after.find("shop.example", "v1", "carts") is None
    assert after.of_type("shop.example/v1alpha1", "Cart") is None
    assert after.find("shop.example", "v2", "carts") is not None


def test_a_kind_that_is_gone_leaves_no_group_behind():
    before = Registry([kind("Cart"), kind("Probe", group="uptime.example")])
    after = before.replaced(gone=["probes.uptime.example", "nothing.at.all"])
    assert names(after) == ["carts.shop.example"]
    assert "uptime.example" not in after.groups
    assert after.of_resource("probes.uptime.example") is None
    assert before.of_resource("probes.uptime.example") is not None


def test_a_version_that_is_not_served_cannot_be_asked_for_and_is_known_to_what_is_stored():
    cart = kind("Cart", unserved="v1alpha1")
    registry = Registry([cart])
    assert registry.groups == {"shop.example": ("v1",)}
    assert registry.find("shop.example", "v1alpha1", "carts") is None
    assert registry.of_type("shop.example/v1alpha1", "Cart") is None
    assert registry.version_of(cart, "shop.example/v1alpha1").name == "v1alpha1"


def test_what_does_not_fit_together_is_refused_and_the_registry_stays():
    catalog = Catalog(Registry([kind("Cart")]))
    before = catalog.registry
    with pytest.raises(RegistryError, match="declared twice"):
        catalog.replace(put=[replace(kind("Cart"), plural="trolleys")])
    assert catalog.registry is before


def test_followers_are_told_what_changed_until_they_leave():
    catalog = Catalog(Registry([kind("Cart")]))
    told: list[Update] = []
    leave = catalog.follow(told.append)
    before = catalog.registry
    catalog.replace(put=[kind("Order")], gone=["carts.shop.example"])
    assert told == [Update(before, catalog.registry, ("orders.shop.example", "carts.shop.example"))]
    leave()
    catalog.replace(gone=["orders.shop.example"])
    assert len(told) == 1
