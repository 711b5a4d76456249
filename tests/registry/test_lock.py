"""The lock: the same promises are the same bytes, and what is written can be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.builtin import KINDS
from registry.diff import diff
from registry.kinds import Column, Scale
from registry.lifecycle import Release
from registry.lock import Document, LockError, lock_of, read, text_of
from registry.plugin import Plugin, build
from registry.resource import Conditions, ListMap, Meta, Resource, Spec, Status, Struct


class Row(Struct):
    """One row."""

    name: str


class ThingSpec(Spec):
    """What is wanted."""

    size: Annotated[int, Meta(ge=1, description="How big.")] = 1
    rows: Annotated[tuple[Row, ...], ListMap("name")] = ()


class ThingStatus(Status):
    conditions: Conditions = ()
    replicas: int = 0


class Thing(Resource[ThingSpec, ThingStatus]):
    """Thing is a kind."""


def things(**said: Any) -> Document:
    """The lock of one kind with two versions."""
    plugin = Plugin("things", release=Release("1.2", "2020-01-15"))
    rest: dict[str, Any] = {
        "columns": [Column("SIZE", ".spec.size", "integer")],
        "scale": Scale(".spec.size"),
        "selectable": [".spec.size"],
    }
    plugin.kind(
        Thing, group="things.example", version="v1beta1", plural="things", deprecated=Release("1.2", "2020-01-15"), successor="v1"
    )
    plugin.kind(Thing, group="things.example", version="v1", plural="things", owner="external", **{**rest, **said})
    return lock_of(build([plugin], KINDS).kinds, plugin.release)


def test_what_is_written_can_be_read_and_nothing_has_changed() -> None:
    lock = things()
    assert text_of(read(text_of(lock))) == text_of(lock)
    assert diff(read(text_of(lock)), things()) == []


def test_it_has_the_plugins_kinds_and_not_those_of_the_server() -> None:
    lock = things()
    assert list(lock["kinds"]) == ["things.things.example"]
    kind = lock["kinds"]["things.things.example"]
    assert (kind["scope"], kind["statusWriter"], kind["storage"], sorted(kind["versions"])) == (
        "Namespaced",
        "external",
        "v1",
        ["v1", "v1beta1"],
    )
    assert kind["versions"]["v1beta1"]["lifecycle"] == {"deprecated": {"version": "1.2", "date": "2020-01-15"}, "successor": "v1"}
    assert kind["versions"]["v1beta1"]["stability"] == "beta"


def test_it_is_canonical() -> None:
    text = text_of(things())
    assert text.endswith("}\n")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_words_for_people_promise_nothing() -> None:
    schema = things()["kinds"]["things.things.example"]["versions"]["v1"]["schema"]
    assert "description" not in json.dumps(schema)
    assert sorted(schema["properties"]) == ["spec", "status"]
    assert schema["properties"]["spec"]["properties"]["size"] == {"type": "integer", "minimum": 1, "default": 1}


def test_a_field_may_be_called_description() -> None:
    class OddSpec(Spec):
        description: str
        title: str = ""

    class Odd(Resource[OddSpec, None]):
        """Odd is a kind."""

    plugin = Plugin("odd")
    plugin.kind(Odd, group="odd.example", version="v1", plural="odds")
    schema = lock_of(build([plugin]).kinds)["kinds"]["odds.odd.example"]["versions"]["v1"]["schema"]
    assert sorted(schema["properties"]["spec"]["properties"]) == ["description", "title"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lock: lock.update(lock=2), "newer skep"),
        (lambda lock: lock.pop("lock"), "is not what"),
        (lambda lock: lock.pop("kinds"), "changed by hand"),
        (lambda lock: lock["kinds"]["things.things.example"].update(storage="v7"), "changed by hand"),
        (lambda lock: lock["kinds"]["things.things.example"].pop("versions"), "changed by hand"),
        (lambda lock: lock["kinds"]["things.things.example"]["versions"]["v1"].update(schema=[]), "changed by hand"),
        (
            lambda lock: lock["kinds"]["things.things.example"]["versions"]["v1"].update(lifecycle={"removed": "soon"}),
            "changed by hand",
        ),
        (lambda lock: lock["kinds"]["things.things.example"].pop("scope"), "changed by hand"),
        (lambda lock: lock["kinds"]["things.things.example"]["versions"]["v1"].pop("columns"), "changed by hand"),
        (lambda lock: lock.update(release={"version": "x"}), "changed by hand"),
    ],
)
def test_what_is_no_lock_is_refused_with_the_reason(spoil: Callable[[Document], object], said: str) -> None:
    lock = things()
    spoil(lock)
    with pytest.raises(LockError, match=said):
        read(text_of(lock))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


TEXT = text_of(things())


@settings(max_examples=200, database=None)
@given(st.data())
def test_a_lock_that_somebody_has_spoilt_is_refused_or_compared_and_never_a_crash(data: st.DataObject) -> None:
    lock, other = read(TEXT), read(TEXT)
    path = data.draw(st.sampled_from(places(lock)[1:]))
    holder: Any = lock
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = data.draw(JSON)
    try:
        spoilt = read(json.dumps(lock))
    except LockError:
        return
    diff(spoilt, other)
    diff(other, spoilt)


def test_what_has_no_end_is_refused() -> None:
    nested = "[" * 100_000
    with pytest.raises(LockError):
        read(nested)
    deep = text_of(things()).replace('"type": "integer"', '"items": {"items": ' * 3_000 + "{}" + "}" * 3_000, 1)
    with pytest.raises(LockError):
        read(deep)


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(LockError, match="not JSON"):
        read(b"<<<<<<< HEAD")
