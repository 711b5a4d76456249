"""Random chains of versions with random converters, through the whole request path, while the stored version changes: every reader
has their version, a list of objects that are stored in several is right in each, and nothing is converted or encoded twice."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apiserver import forms, stored
from apiserver.forms import View
from apiserver.negotiation import Form
from registry.kinds import Kind, Version
from registry.nodes import Node
from registry.schema import Schema
from registry.ways import Ways
from storage.store import Record
from tests.apiserver.test_conversion import Raw
from tests.apiserver.test_watch import watching
from tests.apiserver.world import World, opened
from tests.registry.test_views import FIELDS, Held, chains, ways_of

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
GROUP = "t.example"
WATCHERS = 3
"""Of each version."""


def kind(chain: list[Held], ways: Ways, storage: int) -> Kind:
    """Things, stored in one version of a chain."""
    schema = Schema(Node(type="object", preserve=True))
    versions = tuple(
        Version(GROUP, held.name.rpartition("/")[2], "Thing", schema, selectable={}, ways=ways) for held in reversed(chain)
    )
    return Kind("Thing", "things", "thing", "ThingList", versions, versions[len(chain) - 1 - storage])


def path(held: Held, name: str = "") -> str:
    """Where the things of a version are."""
    base = f"/apis/{held.name}/namespaces/shop/things"
    return f"{base}/{name}" if name else base


def document(held: Held, values: dict[str, int], name: str) -> Document:
    """A thing to be written in a version."""
    made = held.write(values)
    return {**made, "metadata": {"name": name}}


async def listed(world: World, held: Held) -> dict[str, Document]:
    """What a list shows in a version, by name, each as it is read there alone."""
    page = (await world.do("list", path(held))).page
    assert page is not None
    target = world.target(path(held))
    items = msgspec.json.decode(b"".join(forms.many(View(target.kind, target.version, Form()), page)))["items"]
    assert all(item["apiVersion"] == held.name for item in items)
    found = {item["metadata"]["name"]: item for item in items}
    assert found == {name: await world.get(path(held, name)) for name in found}
    return found


writes = st.lists(
    st.tuples(
        st.sampled_from("xyz"),
        st.integers(0, 4),
        st.integers(0, 4),
        st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=15)
@given(chains(), writes)
async def test_every_version_shows_what_was_written_in_it_and_a_change_is_converted_once_for_all_who_watch(
    chain: list[Held], written: list[tuple[str, int, int, dict[str, int]]]
) -> None:
    ways = ways_of(chain)
    counts: Counter[tuple[Any, ...]] = Counter()
    convert = stored._convert

    def counted(version: Version, ways: Ways, record: Record) -> Record:
        counts[version.api_version, record.key.name, record.revision, id(record)] += 1
        return convert(version, ways, record)

    last: dict[str, tuple[int, dict[str, int]]] = {}
    async with opened() as world, AsyncExitStack() as stack:
        stack.enter_context(patch.object(stored, "_convert", counted))
        world.manager.catalog.replace([kind(chain, ways, 0)])
        clients = [[Raw() for _ in range(WATCHERS)] for _ in chain]
        for held, group in zip(chain, clients, strict=True):
            for client in group:
                await stack.enter_async_context(watching(world, client, path(held)))
        events = 0
        for name, who, where, sent in written:
            world.manager.catalog.replace([kind(chain, ways, where % len(chain))])
            held = chain[who % len(chain)]
            values = {field: value for field, value in sent.items() if field in held.fields}
            before = world.store.revision
            if name in last:
                old = await world.get(path(held, name))
                await world.put(path(held, name), {**document(held, values, name), "metadata": old["metadata"]})
            else:
                spec = document(held, values, name)["spec"]
                await world.make(path(held), name, spec=spec)
            last[name] = (who % len(chain), values)
            events += world.store.revision > before
            for group in clients:
                for client in group:
                    await client.come(events)
                assert len({id(client.raw[-1]) for client in group if client.raw}) <= 1  # the very same bytes for all
        for place, held in enumerate(chain):
            found = await listed(world, held)
            assert found.keys() == last.keys()
            for name, (author, values) in last.items():
                if author == place:
                    seen = held.read(found[name])
                    assert {field: seen.get(field) for field in values if field not in held.status} == {
                        field: value for field, value in values.items() if field not in held.status
                    }
            for client in clients[place]:
                shown = {event["object"]["metadata"]["name"]: event["object"] for event in client.events}
                assert shown == found
        assert not [each for each, times in counts.items() if times > 1]
