"""All forms of an object: random chains of versions, random converters, any of them the stored one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.carrying import carried
from registry.documents import canonical
from registry.nodes import ListType, Node
from registry.views import ASIDE, MARK, Views, body, closed, opened
from registry.ways import Form, Step, Ways

Document = dict[str, Any]
FIELDS = "abcde"
SHAPES = {"number": (int, int), "text": (str, int), "list": (lambda value: [value], lambda items: items[0])}
"""How a version writes a number, and how it is read."""


@dataclass(frozen=True)
class Held:
    """One version: the fields that it has, each with how it is written there; in the status, or in the spec."""

    name: str
    fields: dict[str, str]
    status: frozenset[str]

    def write(self, values: dict[str, int]) -> Document:
        parts: dict[str, Document] = {"spec": {}, "status": {}}
        for name, how in self.fields.items():
            if name in values:
                part = parts["status" if name in self.status else "spec"]
                part[f"{name}{how.title()}"] = SHAPES[how][0](values[name])
        return {
            "apiVersion": self.name,
            "kind": "Thing",
            "metadata": {"name": "x", "uid": "u"},
            "spec": parts["spec"],
            **({"status": parts["status"]} if parts["status"] else {}),
        }

    def read(self, document: Document) -> dict[str, int]:
        parts = {**document["spec"], **document.get("status", {})}
        return {
            name: SHAPES[how][1](parts[f"{name}{how.title()}"])
            for name, how in self.fields.items()
            if f"{name}{how.title()}" in parts
        }


def ways_of(chain: list[Held]) -> Ways:
    steps = []
    for one, other in pairwise(chain):
        for old, new in ((one, other), (other, one)):
            steps.append(
                Step(old.name, new.name, f"{old.name}-{new.name}", lambda given, old=old, new=new: new.write(old.read(given)))
            )
    return Ways("Thing", {held.name: Form(held.name, Node(preserve=True)) for held in reversed(chain)}, steps)


@st.composite
def chains(draw: st.DrawFn) -> list[Held]:
    count = draw(st.integers(2, 5))
    status = frozenset(draw(st.sets(st.sampled_from(FIELDS), max_size=2)))
    some = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(sorted(SHAPES)))
    return [Held(f"t.example/v{number}", draw(some), status) for number in range(1, count + 1)]


def run_of(chain: list[Held], place: int, field: str) -> range:
    """The neighbours of a version that have a field like it: what is written in one of them is seen in all."""
    first = last = place
    while first > 0 and field in chain[first - 1].fields:
        first -= 1
    while last + 1 < len(chain) and field in chain[last + 1].fields:
        last += 1
    return range(first, last + 1)


def at_rest(ways: Ways, views: Views, storage: str) -> Document:
    """What the store gives back."""
    encoded = canonical(closed(*views.settled(storage)))
    stored: Document = msgspec.json.decode(encoded.desired)
    return stored | ({"status": msgspec.json.decode(encoded.status)} if encoded.status else {})


writes = st.lists(st.tuples(st.integers(0, 4), st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 9))), min_size=1, max_size=8)


@settings(max_examples=400)
@given(chains(), writes, st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_every_reader_has_its_version_and_nothing_is_lost_by_anybody(
    chain: list[Held], written: list[tuple[int, dict[str, int]]], storages: list[int]
) -> None:
    ways = ways_of(chain)
    truth: list[dict[str, int]] = [{} for _ in chain]  # of each version, what is to be read in it
    stored: Document | None = None
    for (who, sent), where in zip(written, storages, strict=False):
        place, storage = who % len(chain), chain[where % len(chain)].name  # also when the stored version changes between writes
        held = chain[place]
        views = Views(ways, {}, {}) if stored is None else opened(ways, stored)
        before = None if stored is None else views.seen(held.name)
        values = {name: value for name, value in sent.items() if name in held.fields}
        for name in held.fields:
            for other in run_of(chain, place, name):
                truth[other].pop(name, None)
                truth[other] |= {name: values[name]} if name in values else {}
        stored = at_rest(ways, views.written(held.name, before, held.write(values)), storage)
        for reader, expected in zip(chain, truth, strict=True):
            seen = opened(ways, stored).seen(reader.name)
            assert reader.read(seen) == expected
            assert ASIDE not in str(seen)
            assert seen["apiVersion"] == reader.name


@given(
    chains(), st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 9)), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)
)
def test_what_is_read_and_written_back_in_any_version_changes_nothing(
    chain: list[Held], values: dict[str, int], writer: int, reader: int, where: int
) -> None:
    ways, storage = ways_of(chain), chain[where % len(chain)].name
    author, client = chain[writer % len(chain)], chain[reader % len(chain)]
    stored = at_rest(ways, Views(ways, {}, {}).written(author.name, None, author.write(values)), storage)
    views = opened(ways, stored)
    seen = views.seen(client.name)
    again = views.written(client.name, seen, msgspec.json.decode(msgspec.json.encode(seen)))
    assert views.same(again)
    assert at_rest(ways, again, storage) == stored


def test_a_status_that_is_kept_aside_is_beside_the_status_and_changes_nothing_else() -> None:
    old, new = (
        Held("t.example/v1", {"a": "text"}, frozenset("b")),
        Held("t.example/v2", {"a": "number", "b": "text"}, frozenset("b")),
    )
    ways = ways_of([old, new])
    stored = at_rest(ways, Views(ways, {}, {}).written("t.example/v2", None, new.write({"a": 1, "b": 2})), "t.example/v1")
    views = opened(ways, stored)
    later = at_rest(ways, views.written("t.example/v2", views.seen("t.example/v2"), new.write({"a": 1, "b": 3})), "t.example/v1")
    assert MARK in canonical(stored).desired
    assert canonical(stored).desired == canonical(later).desired
    assert new.read(opened(ways, later).seen("t.example/v2")) == {"a": 1, "b": 3}
    assert "status" not in opened(ways, later).seen("t.example/v1")


def test_a_converter_that_cannot_say_all_never_takes_back_what_somebody_wrote() -> None:
    """Here the older version shows a size that the newer one overrides: it is changed, and stays as its writer wrote it."""

    def down(given: Document) -> Document:
        return {"spec": {"size": 10 if given["spec"]["auto"] else given["spec"]["size"]}}

    def up(given: Document) -> Document:
        return {"spec": {"size": given["spec"]["size"], "auto": False}}

    forms = {name: Form(name, Node(preserve=True)) for name in ("t/v2", "t/v1")}
    ways = Ways("Thing", forms, [Step("t/v2", "t/v1", "down", down), Step("t/v1", "t/v2", "up", up)])
    new = {"apiVersion": "t/v2", "kind": "Thing", "metadata": {"name": "x"}, "spec": {"size": 3, "auto": True}}
    views = opened(ways, at_rest(ways, Views(ways, {}, {}).written("t/v2", None, new), "t/v2"))
    seen = views.seen("t/v1")
    assert seen["spec"] == {"size": 10}
    views = opened(ways, at_rest(ways, views.written("t/v1", seen, {**seen, "spec": {"size": 20}}), "t/v2"))
    assert body(views.seen("t/v1")) == {"spec": {"size": 20}}
    assert body(views.seen("t/v2")) == {"spec": {"size": 20, "auto": True}}


KEYED = Node(properties={"items": Node(type="array", list_type=ListType.MAP, list_map_keys=("name",), items=Node(preserve=True))})


def test_items_keep_what_was_not_seen_of_them_wherever_they_go() -> None:
    kept = {"items": [{"name": "a", "size": 1, "more": "A"}, {"name": "b", "size": 2, "more": "B"}]}
    before = {"items": [{"name": "a", "size": 1}, {"name": "b", "size": 2}]}
    after = {"items": [{"name": "c", "size": 4}, {"name": "b", "size": 3}, {"name": "a", "size": 1}]}
    assert carried(kept, before, after, KEYED) == {
        "items": [{"name": "c", "size": 4}, {"name": "b", "size": 3, "more": "B"}, {"name": "a", "size": 1, "more": "A"}]
    }


def test_items_that_were_not_seen_stay_behind_those_that_they_were_behind() -> None:
    assert carried([1, "?", 2, "??"], [1, 2], [2, 1, 3]) == [2, "??", 1, "?", 3]
    assert carried(["first", "second"], ["first"], ["other"]) == ["other", "second"]
    assert carried(["a", "b", "c"], ["a", "c"], ["c"]) == ["c", "b"]


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_a_list_that_was_seen_whole_becomes_what_it_was_made(before: list[int], after: list[int]) -> None:
    assert carried(before, list(before), after) == after
