"""A registry as data: everything that it knows is said, nothing is invented, and what was said is read again the same."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from registry.builtin import KINDS
from registry.builtin.actor import ACTOR
from registry.catalog import Registry
from registry.description import BUILTIN, DEFINITION, PLUGIN, Description, describe, describe_kind, read
from registry.kinds import Kind
from registry.nodes import Node
from registry.plugin import build
from registry.schema import Schema
from tests.plugins.apiary import GROUP, plugin

HIVES, BEES = f"hives.{GROUP}", f"bees.{GROUP}"


def made() -> Registry:
    return build([plugin], (*KINDS, ACTOR))


def kind(registry: Registry, resource: str) -> Kind:
    found = registry.of_resource(resource)
    assert found is not None
    return found


def test_a_kind_says_its_names_versions_and_their_lives() -> None:
    registry = made()
    hive = describe_kind(registry, kind(registry, HIVES))
    assert (hive.kind, hive.list_kind, hive.singular, hive.plural, hive.group) == ("Hive", "HiveList", "hive", "hives", GROUP)
    assert (hive.short_names, hive.categories, hive.scope, hive.namespaced) == (("hv",), ("all",), "Namespaced", True)
    assert hive.storage == "v1"
    assert [(each.name, each.stability, each.served, each.storage, each.deprecated) for each in hive.versions] == [
        ("v1", "GA", True, True, False),
        ("v1beta1", "beta", True, False, True),
    ]
    new, old = hive.versions
    assert (new.api_version, new.model, old.model) == (f"{GROUP}/v1", "Hive", "OldHive")
    assert old.lifecycle["successor"] == "v1"
    assert old.lifecycle["removed"] == {"version": "1.8", "date": "2027-01-15"}
    assert "unavailable in 1.8+" in old.warning
    assert [(column.name, column.path, column.priority) for column in new.columns] == [
        ("PLACE", ".spec.place", 0),
        ("SHADE", ".spec.shade", 1),
        ("Age", ".metadata.creationTimestamp", 0),
    ]
    assert new.selectable == ("spec.place",)
    assert hive.scale == {"spec": ".spec.replicas", "status": ".status.replicas"}
    assert set(hive.subresources) == {"status", "scale"}
    assert hive.objects is None, "only a server knows"


def test_a_schema_says_types_bounds_defaults_choices_and_lists() -> None:
    registry = made()
    schema = describe_kind(registry, kind(registry, HIVES)).versions[0].schema
    assert schema is not None
    spec = schema["properties"]["spec"]
    assert spec["required"] == ["place"]
    assert spec["properties"]["shade"]["enum"] == ["sun", "half", "full"]
    replicas = spec["properties"]["replicas"]
    assert {key: replicas[key] for key in ("type", "minimum", "maximum", "default")} == {
        "type": "integer",
        "minimum": 0,
        "maximum": 9,
        "default": 1,
    }
    frames = spec["properties"]["frames"]
    assert (frames["x-kubernetes-list-type"], frames["x-kubernetes-list-map-keys"]) == ("map", ["name"])


def test_converters_and_handlers_are_in_their_order_with_their_places() -> None:
    registry = made()
    hive = describe_kind(registry, kind(registry, HIVES))
    assert [(each.name, each.old, each.new) for each in hive.converters] == [
        ("apiary.newer", ("v1beta1",), ("v1",)),
        ("apiary.older", ("v1",), ("v1beta1",)),
    ]
    assert [(each.role, each.name, each.version, each.operations) for each in hive.handlers] == [
        ("defaults", "apiary.half_shade", "v1", ("create", "update")),
        ("mutates", "apiary.early", "v1", ("create", "update")),
        ("mutates", "apiary.late", "v1", ("create", "update")),
        ("validates", "apiary.nowhere", "v1beta1", ("create", "delete")),
    ]
    sources = [hive.source, *(each.source for each in (*hive.versions, *hive.converters, *hive.handlers))]
    assert all("apiary.py:" in source for source in sources)


def test_who_owns_observes_and_writes_is_said_on_both_sides() -> None:
    registry = made()
    described = describe(registry)
    told = {each.resource: each for each in described.kinds}
    assert (told[HIVES].owner, told[HIVES].observers, told[HIVES].writers) == ("keeper", (), ())
    assert (told[BEES].owner, told[BEES].observers, told[BEES].writers) == ("", ("keeper",), ("keeper",))
    [keeper] = described.actors
    assert (keeper.owns, keeper.version, keeper.observes, keeper.writes) == (HIVES, "v1", (BEES,), (BEES,))
    assert describe(registry, kinds=[kind(registry, "configmaps")]).actors == ()
    assert describe(registry, kinds=[kind(registry, BEES)]).actors == (keeper,)


def test_where_a_kind_comes_from_is_said() -> None:
    registry = made()
    hive = kind(registry, HIVES)
    free = Node(type="object", properties={"spec": Node(type="object", preserve=True)})
    nameless = replace(hive.storage, model=None, schema=Schema(free), group="late.example", source="")
    late = replace(hive, versions=(nameless,), storage=nameless, source="", owner="external")
    registry = registry.replaced(put=[late])
    assert describe_kind(registry, late).declared == DEFINITION
    told = {each.resource: each.declared for each in describe(registry).kinds}
    assert (told[HIVES], told["configmaps"], told["actors.skep.dev"]) == (PLUGIN, BUILTIN, BUILTIN)


def test_a_brief_description_leaves_out_what_is_long() -> None:
    registry = made()
    brief = describe(registry, brief=True)
    assert brief.brief
    assert all(version.schema is None and not version.columns for each in brief.kinds for version in each.versions)
    assert len(msgspec.json.encode(brief)) * 4 < len(msgspec.json.encode(describe(registry)))


def test_what_is_said_is_read_again_the_same_also_from_a_newer_program() -> None:
    described = describe(made())
    document = msgspec.json.decode(msgspec.json.encode(described))
    assert read(document) == described
    document["kinds"][0]["somethingNew"] = 1
    assert read(document) == described
    assert read({}) == Description()


def test_what_a_program_asks_for_first_is_always_said() -> None:
    bees = msgspec.to_builtins(describe_kind(made(), kind(made(), BEES), brief=True))
    assert {name: bees[name] for name in ("scope", "declared", "storage")} == {
        "scope": "Cluster",
        "declared": "plugin",
        "storage": "v1alpha1",
    }
    [version] = bees["versions"]
    said = {name: version[name] for name in ("served", "storage", "deprecated", "stability")}
    assert said == {"served": True, "storage": True, "deprecated": False, "stability": "alpha"}
    assert "shortNames" not in bees, "what is empty is left out"
