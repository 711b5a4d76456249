"""The registry: what is found in it by which name, and what does not get into it, all of it said at once."""

from __future__ import annotations

from typing import Any

import pytest

from registry.catalog import Registry, RegistryError
from registry.declarations import ActorDeclaration
from registry.kinds import EXTERNAL, Handler, Kind, Version, head, resource_name, selectable_paths
from registry.resource import Resource, Spec
from registry.typed import schema_of


class ThingSpec(Spec):
    size: int = 1


class Thing(Resource[ThingSpec, None]):
    """Thing is a kind."""


class Other(Resource[ThingSpec, None]):
    """Other is another one."""


def version(name: str = "v1", group: str = "things.example", kind: str = "Thing", model: type = Thing) -> Version:
    return Version(group, name, kind, schema_of(Thing), model)


def kind(*versions: Version, **changes: Any) -> Kind:
    versions = versions or (version(),)
    fields: dict[str, Any] = {
        "name": versions[0].kind,
        "plural": "things",
        "singular": "thing",
        "list_kind": "ThingList",
        "versions": versions,
        "storage": versions[0],
        "owner": "",
        "source": "a.py:1",
    }
    return Kind(**(fields | changes))


def actor(model: type, name: str = "one", source: str = "a.py:9") -> ActorDeclaration:
    return ActorDeclaration(name=name, model=model, reconcile=lambda thing: None, source=source)


def handler(model: type, name: str = "h") -> Handler:
    return Handler(name, model, lambda review: None, "a.py:5")


def problems(*kinds: Kind, **declared: Any) -> list[str]:
    with pytest.raises(RegistryError) as caught:
        Registry(kinds, **declared)
    return list(caught.value.problems)


def test_a_kind_is_found_by_every_name_it_has() -> None:
    thing = kind(version("v2"), version("v1"))
    registry = Registry([thing])
    assert registry.find("things.example", "v1", "things") == (thing, thing.versions[1])
    assert registry.of_type("things.example/v2", "Thing") == (thing, thing.versions[0])
    assert registry.of_resource("things.things.example") is thing
    assert registry.of_model(Thing) == (thing, thing.storage)
    assert registry.groups == {"things.example": ("v2", "v1")}


def test_what_is_not_there_is_not_found() -> None:
    registry = Registry([kind()])
    assert registry.find("things.example", "v2", "things") is None
    assert registry.of_type("v1", "Thing") is None
    assert registry.of_resource("things") is None
    assert registry.of_model(Other) is None


def test_versions_of_a_group_come_most_preferred_first() -> None:
    names = ["v1alpha1", "v1", "v2beta1", "v10", "v2", "v1beta2"]
    registry = Registry([kind(*(version(name) for name in names))])
    assert registry.groups["things.example"] == ("v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1")


def test_handlers_are_found_by_kind_in_the_order_of_their_declaration() -> None:
    thing, other = kind(), kind(version(kind="Other", model=Other), plural="others")
    first, second, third = handler(Thing, "first"), handler(Other, "second"), handler(Thing, "third")
    registry = Registry([thing, other], mutators=[first, second, third], validators=[second])
    assert registry.mutators(thing) == (first, third)
    assert registry.validators(thing) == ()
    assert registry.validators(other) == (second,)


def test_an_object_of_a_version_that_is_gone_counts_as_of_the_stored_one() -> None:
    thing = kind(version("v2"), version("v1"))
    registry = Registry([thing])
    assert registry.version_of(thing, "things.example/v1").name == "v1"
    assert registry.version_of(thing, "things.example/v1alpha1") is thing.storage


def test_resources_are_named_by_plural_and_group() -> None:
    assert (resource_name("things", "things.example"), resource_name("things", "")) == ("things.things.example", "things")
    assert kind().resource == "things.things.example"
    assert kind().group == "things.example"
    assert version().api_version == "things.example/v1"
    assert version(group="").api_version == "v1"
    assert version().head == head("things.example/v1", "Thing") == b'{"apiVersion":"things.example/v1","kind":"Thing","metadata":{'


def test_selectable_paths_are_named_without_their_dot() -> None:
    paths = selectable_paths([".spec.size", "spec.color"])
    assert set(paths) == {"spec.size", "spec.color"}
    assert paths["spec.color"].first({"spec": {"color": "red"}}) == "red"


BAD_NAMES: list[tuple[Kind, str]] = [
    (kind(plural="Things"), "a.py:1: Thing: plural 'Things': a DNS-1035 label must"),
    (kind(plural=""), "a.py:1: Thing: plural '': "),
    (kind(singular="a thing"), "a.py:1: Thing: singular 'a thing': "),
    (kind(short_names=("ok", "N_o")), "a.py:1: Thing: short name 'N_o': "),
    (kind(categories=("All",)), "a.py:1: Thing: category 'All': "),
    (kind(version("V1")), "a.py:1: Thing: version 'V1': "),
    (kind(version(group="Things.example")), "a.py:1: Thing: group 'Things.example': "),
    (kind(version(group="things")), "a.py:1: Thing: group 'things' needs a dot, as in 'uptime.example'"),
    (kind(version(group="")), "a.py:1: Thing: group '' needs a dot"),
    (kind(version(kind="thing")), "a.py:1: thing: the name of a kind is CamelCase, as in 'Probe'"),
    (kind(version(kind="My-Thing")), "a.py:1: My-Thing: the name of a kind is CamelCase"),
    (kind(version(kind="Größe")), "a.py:1: Größe: the name of a kind is CamelCase"),
]


@pytest.mark.parametrize(("declared", "said"), BAD_NAMES, ids=[said for _, said in BAD_NAMES])
def test_a_name_that_no_client_could_use_is_a_problem(declared: Kind, said: str) -> None:
    found = problems(declared)
    assert len(found) == 1
    assert found[0].startswith(said)


def test_twins_are_a_problem() -> None:
    found = problems(kind(), kind(source="b.py:2"))
    assert found == [
        "b.py:2: Thing: things.things.example is declared twice; give one of them another plural or group",
        "b.py:2: Thing: things.example/v1 Thing is declared twice",
    ]
    assert problems(kind(), kind(plural="others", source="b.py:2"))[0] == "b.py:2: Thing: things.example/v1 Thing is declared twice"
    assert problems(kind(version(), version())) == ["a.py:1: Thing: things.example/v1 Thing is declared twice"]


def test_one_class_cannot_be_two_kinds() -> None:
    found = problems(kind(), kind(version(kind="Second"), plural="seconds", source="b.py:2"))
    assert found == ["b.py:2: Second: Thing is the model of things.things.example already; give each kind a class of its own"]


def test_a_kind_has_one_owner() -> None:
    found = problems(kind(), actors=[actor(Thing), actor(Thing, "two", "b.py:7")])
    assert found == ["b.py:7: Thing has an owner already: 'one' at a.py:9"]


def test_an_actor_has_a_name_of_its_own() -> None:
    others = kind(version(kind="Other", model=Other), plural="others", singular="other")
    found = problems(kind(), others, actors=[actor(Thing), actor(Other, "one", "b.py:7")])
    assert found == ["b.py:7: there is an actor named 'one' already, at a.py:9"]


def test_an_external_kind_has_no_actor() -> None:
    found = problems(kind(owner=EXTERNAL), actors=[actor(Thing)])
    assert found == ["a.py:9: Thing is declared with owner='external'; an actor cannot own it"]


def test_a_model_that_no_plugin_declares_is_a_problem() -> None:
    found = problems(kind(), actors=[actor(Other)], mutators=[handler(Other)], validators=[handler(Other, "v")])
    assert found == [
        "a.py:5: h handles Other, which no plugin declares as a kind",
        "a.py:5: v handles Other, which no plugin declares as a kind",
        "a.py:9: actor 'one' owns Other, which no plugin declares as a kind",
    ]


def test_all_that_is_wrong_is_said_at_once_a_line_for_each() -> None:
    with pytest.raises(RegistryError) as caught:
        Registry(
            [kind(plural="Things"), kind(version(kind="bad", model=Other), plural="bads", source="b.py:2")],
            actors=[actor(Thing), actor(Thing, "two")],
            validators=[handler(int)],
        )
    assert len(caught.value.problems) == 4
    assert str(caught.value).splitlines() == list(caught.value.problems)
