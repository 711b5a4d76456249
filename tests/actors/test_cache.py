"""The cache is what the source is, and every difference is told."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.cache import Cache, Change, HeldDocument, Listing, Seen, edge, hold
from actors.workqueue import Wake
from registry.declarations import Place

STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(min_value=0, max_value=2)), max_size=30)


def held(name: str, revision: int, size: int = 1, **more: object) -> HeldDocument:
    metadata = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": str(revision)}
    return hold({"metadata": metadata, "spec": {"size": size}, **more})


@given(steps=STEPS, listed_at=st.integers(min_value=0, max_value=30), late=st.integers(min_value=0, max_value=30))
def test_whatever_is_delivered_twice_the_cache_is_what_the_source_was(
    steps: list[tuple[str, int]], listed_at: int, late: int
) -> None:
    now: dict[Place, HeldDocument] = {}
    changes: list[Change] = []
    states: list[dict[Place, HeldDocument]] = [{}]
    for revision, (name, size) in enumerate(steps, start=1):
        each = held(name, revision, size)
        if size:
            now[each.place] = each
        else:
            now.pop(each.place, None)
        changes.append(Change(not size, revision, each))
        states.append(dict(now))
    listed_at = min(listed_at, len(steps))
    cache = Cache()
    cache.reset(Listing(listed_at, states[listed_at].values()))
    for change in changes[max(0, listed_at - late) :] + changes[:late]:
        cache.apply(change)
    assert {place: cache.get(place) for place in cache} == now
    assert cache.revision == len(steps)


@given(before=STEPS, after=STEPS)
def test_a_new_listing_tells_exactly_what_is_different(before: list[tuple[str, int]], after: list[tuple[str, int]]) -> None:
    old = {name: held(name, revision, size) for revision, (name, size) in enumerate(before)}
    new = {name: held(name, revision, size) for revision, (name, size) in enumerate(after)}
    cache = Cache()
    cache.reset(Listing(40, old.values()))
    told = {seen.place.name for seen in cache.reset(Listing(50, new.values()))}
    assert told == {
        name for name in "abc" if (name in old) != (name in new) or (name in old and old[name].revision != new[name].revision)
    }


def test_only_a_change_of_the_status_is_no_edge() -> None:
    place = Place("shop", "a")
    old = held("a", 1)
    for new, wake in (
        (held("a", 2, status={"seen": 1}), Wake.NONE),
        (held("a", 2, size=2), Wake.DESIRED),
        (held("a", 2, data={}), Wake.DESIRED),
        (None, Wake.DELETED),
    ):
        assert edge(Seen(place, old, new)) is wake
    assert edge(Seen(place, None, old)) is Wake.DESIRED
    assert edge(Seen(place, old, msgspec.structs.replace(old, uid="another"))) is Wake.DESIRED


def test_what_is_held_does_not_change_when_its_document_is_changed() -> None:
    one = held("a", 1)
    one.document()["spec"]["size"] = 9
    assert one.document()["spec"]["size"] == 1
