"""Plugins: what a declaration becomes, and what is wrong with declarations, with the line where it was said."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from registry.actors import BUILTIN_ACTORS
from registry.builtin import KINDS
from registry.catalog import RegistryError
from registry.declarations import DeclarationError
from registry.kinds import EXTERNAL, Column, Kind, Scale
from registry.plugin import Plugin, build, source_of
from registry.resource import Resource, Spec, Status


class ThingSpec(Spec):
    size: int = 1


class ThingStatus(Status):
    ready: bool = False


class Thing(Resource[ThingSpec, ThingStatus]):
    """Thing is a kind."""


class Plain(Resource[ThingSpec, None]):
    """Plain is a kind without a status."""


def declared(model: type = Thing, **changes: Any) -> Plugin:
    plugin = Plugin("things")
    plugin.kind(model, **({"group": "things.example", "version": "v1", "plural": "things"} | changes))
    return plugin


LINE = f"{__file__}:{inspect.getsourcelines(declared)[1] + 2}"
"""Where `declared` declares."""


def only(plugin: Plugin) -> Kind:
    [kind] = build([plugin]).kinds
    return kind


def problems(*plugins: Plugin) -> list[str]:
    with pytest.raises(RegistryError) as caught:
        build(plugins, KINDS)
    return list(caught.value.problems)


def test_a_kind_is_named_after_its_model() -> None:
    kind = only(declared())
    assert (kind.name, kind.singular, kind.list_kind, kind.resource) == ("Thing", "thing", "ThingList", "things.things.example")
    named = only(declared(kind="Gizmo", singular="giz", short_names=["gz"], categories=["all"], namespaced=False))
    assert (named.name, named.singular, named.list_kind) == ("Gizmo", "giz", "GizmoList")
    assert (named.short_names, named.categories, named.namespaced) == (("gz",), ("all",), False)


def test_a_kind_has_a_status_of_its_own_if_its_model_has_one() -> None:
    assert only(declared()).has_status
    assert not only(declared(Plain)).has_status
    assert not only(declared(status_subresource=False)).has_status


def test_every_table_has_an_age() -> None:
    columns = only(declared(columns=[Column("Size", ".spec.size")])).storage.columns
    assert [column.name for column in columns] == ["Size", "Age"]
    assert columns[0].description == "Custom resource definition column (in JSONPath format): .spec.size"
    own = Column("Age", ".spec.age", "integer")
    assert [column.path for column in only(declared(columns=[own])).storage.columns] == [".spec.age"]
    assert [column.name for column in only(declared()).storage.columns] == ["Age"]


def versions(**flags: dict[str, Any]) -> Plugin:
    plugin = Plugin("things")
    for name, more in flags.items():
        plugin.kind(Thing, group="things.example", version=name, plural="things", **more)
    return plugin


@pytest.mark.parametrize(
    ("flags", "stored"),
    [
        ({"v1": {}, "v2": {}, "v1beta1": {}}, "v2"),
        ({"v1": {}, "v2": {"deprecated": True}}, "v1"),
        ({"v1": {"storage": True}, "v2": {}}, "v1"),
        ({"v1": {"deprecated": True}}, "v1"),
        ({"v1": {"storage": True, "deprecated": True}, "v2": {}}, "v1"),
    ],
)
def test_objects_are_stored_in_the_version_that_says_so_or_in_the_most_preferred(flags: dict[str, Any], stored: str) -> None:
    kind = only(versions(**flags))
    assert kind.storage.name == stored
    assert [version.name for version in kind.versions] == [name for name in ("v2", "v1", "v1beta1") if name in flags]


def test_a_deprecated_version_says_what_to_use_instead() -> None:
    kind = only(versions(v1={}, v1beta1={"deprecated": True}, v1alpha1={"deprecated": "gone in May"}))
    assert [version.warning for version in kind.versions] == [
        "",
        "things.example/v1beta1 Thing is deprecated; use things.example/v1 Thing",
        "gone in May",
    ]
    assert only(versions(v1={"deprecated": True})).storage.warning == "things.example/v1 Thing is deprecated"


def test_what_one_version_leaves_out_is_taken_from_the_stored_one() -> None:
    kind = only(versions(v1={"columns": [Column("Size", ".spec.size")], "selectable": [".spec.size"]}, v1beta1={}))
    assert [version.columns[0].name for version in kind.versions] == ["Size", "Size"]
    assert [set(version.selectable) for version in kind.versions] == [{"spec.size"}, {"spec.size"}]


def test_the_actor_of_a_kind_owns_it() -> None:
    plugin = declared()

    @plugin.actor(Thing)
    async def keep_going(thing: Thing) -> None: ...

    registry = build([plugin], KINDS)
    assert registry.kinds[-1].owner == "system:serviceaccount:kube-system:skep-actor-things-keep-going"
    assert [actor.name for actor in registry.actors] == ["things-keep-going"]
    assert only(declared()).owner == ""
    assert only(declared(owner="external")).owner == EXTERNAL


def test_handlers_are_named_after_their_plugin_and_stay_functions() -> None:
    plugin = declared()

    @plugin.mutates(Thing)
    def double(review: Any) -> None: ...

    @plugin.validates(Thing)
    def check(review: Any) -> None: ...

    registry = build([plugin])
    kind = registry.kinds[0]
    assert [handler.name for handler in (*registry.mutators(kind), *registry.validators(kind))] == ["things.double", "things.check"]
    assert callable(double)
    assert registry.mutators(kind)[0].source == source_of(double)


def test_builtin_kinds_may_have_handlers() -> None:
    from registry.builtin.configmap import ConfigMap

    plugin = Plugin("things")
    plugin.validates(ConfigMap)(lambda review: None)
    registry = build([plugin], KINDS)
    assert len(registry.validators(registry.kinds[0])) == 1


def test_a_plugin_has_a_name_that_others_can_be_made_of() -> None:
    with pytest.raises(ValueError, match="plugin name 'My Plugin': "):
        Plugin("My Plugin")


def test_an_option_that_actors_do_not_have_is_told_with_its_line() -> None:
    plugin = declared()
    with pytest.raises(DeclarationError, match=rf"^{__file__}:\d+: actor 'things-go': .*'speed'"):

        @plugin.actor(Thing, speed=5)
        async def go(thing: Thing) -> None: ...


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"columns": [Column("A", "spec.a")]}, "a path starts with '.' or '['"),
    ({"columns": [Column("A", "{.spec[")]}, "is missing at position 7"),
    (
        {"columns": [Column("A", ".spec.a", "text")]},
        "column 'A' is of the type 'text'; there are integer, number, string, boolean, date",
    ),
    ({"selectable": [".spec.items[*].a"]}, "selectable path '.spec.items[*].a' is not a path of names alone"),
    ({"selectable": [".spec["]}, "at position 6"),
    ({"scale": Scale(".spec.items[0]", ".status.replicas")}, "scale path spec='.spec.items[0]' is not a path of names below .spec"),
    (
        {"scale": Scale(".status.replicas", ".status.replicas")},
        "scale path spec='.status.replicas' is not a path of names below .spec",
    ),
    ({"scale": Scale(".spec.replicas", ".spec.replicas")}, "is not a path of names below .status"),
    ({"scale": Scale(".spec", ".status.replicas")}, "scale path spec='.spec' is not"),
    ({"scale": Scale(".spec.replicas", ".status.replicas", ".metadata.x")}, "is not a path of names below .spec or .status"),
    ({"scale": Scale("", ".status.replicas")}, "a scale needs the paths"),
    ({"owner": "me"}, "owner is 'external' or left out, not 'me'"),
    ({"model": int}, "int"),
    ({"plural": "Things"}, "plural 'Things'"),
    ({"group": "things"}, "group 'things' needs a dot"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_is_told_with_the_line_of_the_declaration(changes: dict[str, Any], said: str) -> None:
    [problem] = problems(declared(changes.pop("model", Thing), **changes))
    assert problem.startswith(f"{LINE}: ")
    assert said in problem


def test_versions_of_a_kind_have_to_agree() -> None:
    cases: list[tuple[dict[str, dict[str, Any]], str]] = [
        ({"v1": {"storage": True}, "v2": {"storage": True}}, "two versions say storage=True: v2 and v1; objects are stored in one"),
        ({"v1": {}, "v2": {"kind": "Other"}}, "version v1 must have the same kind and scope as v2"),
        ({"v1": {"namespaced": False}, "v2": {}}, "version v1 must have the same kind and scope as v2"),
    ]
    for flags, said in cases:
        [problem] = problems(versions(**flags))
        assert said in problem
    plugin = versions(v2={})
    plugin.kind(Plain, group="things.example", version="v1", plural="things", kind="Thing")
    assert "version v1 must have a status like v2, or none like it" in problems(plugin)[0]


def two(review: Any, more: Any) -> None: ...


def none() -> None: ...


@pytest.mark.parametrize("function", [two, none])
def test_a_handler_takes_one_argument(function: Callable[..., Any]) -> None:
    plugin = declared()
    plugin.mutates(Thing)(function)
    assert problems(plugin) == [f"{source_of(function)}: things.{function.__name__} takes one argument, the review"]


def test_two_actors_of_one_kind_are_told_with_both_lines() -> None:
    plugin, other = declared(), Plugin("other")

    @plugin.actor(Thing)
    async def first(thing: Thing) -> None: ...

    @other.actor(Thing)
    async def second(thing: Thing) -> None: ...

    assert problems(plugin, other) == [f"{source_of(second)}: Thing has an owner already: 'things-first' at {source_of(first)}"]


def test_a_plugin_cannot_take_the_name_of_another_ones_kind() -> None:
    other = Plugin("other")
    other.kind(Plain, group="things.example", version="v2", plural="things", kind="Plain", status_subresource=True)
    assert len(problems(declared(), other)) == 1
    other = Plugin("other")
    other.kind(Plain, group="things.example", version="v1", plural="others", kind="Thing")
    [problem] = problems(declared(), other)
    assert "things.example/v1 Thing is declared twice" in problem


def test_everything_that_is_wrong_with_all_plugins_is_told_at_once() -> None:
    plugin = declared(scale=Scale("x", "y"))
    plugin.mutates(Thing)(lambda review: None)  # of a kind that cannot be made: nothing is said of it
    plugin.validates(int)(none)
    other = Plugin("other")
    other.kind(Plain, group="others.example", version="V1", plural="Others", deprecated=True)
    for name in ("a", "b"):
        other.actor(Plain, name=name)(none)
    found = problems(plugin, other)
    assert len(found) == 6
    assert found[0].startswith(f"{LINE}: Thing: a path starts with")
    assert all(problem.startswith(__file__) for problem in found)


def test_what_has_no_source_is_named() -> None:
    assert source_of(len) == "len"


@pytest.mark.parametrize("name", BUILTIN_ACTORS)
def test_no_actor_takes_the_name_and_with_it_the_account_of_one_of_the_servers(name: str) -> None:
    with pytest.raises(DeclarationError, match="the server has one of this name"):

        @declared().actor(Thing, name=name)
        async def keep(thing: Thing) -> None: ...
