"""Several servers on one database know the same kinds."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import pytest

from apiserver.definitions import RESOURCE, Definitions
from registry.builtin import CUSTOM_RESOURCE_DEFINITION, KINDS
from registry.catalog import Catalog, Registry
from registry.documents import canonical
from storage.opening import open_store
from storage.sql import SqlStore
from storage.store import Key, Put, Remove
from tests.apiserver.defining import GROUP, definition, surroundings
from tests.postgres import Postgres, postgres  # noqa: F401

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Replica:
    """One of the servers: what it has read, and what it serves."""

    store: SqlStore
    catalog: Catalog

    def served(self) -> set[str]:
        return {kind.resource for kind in self.catalog.registry.of_group(GROUP)}


def replica(store: SqlStore) -> Replica:
    catalog = Catalog(Registry(KINDS))
    Definitions(catalog, surroundings().log).follow(store)
    return Replica(store, catalog)


def put(plural: str, kind: str) -> Put:
    body = definition(plural, kind)
    body["metadata"]["uid"] = plural
    document = CUSTOM_RESOURCE_DEFINITION.strategy.prepare(body, None)
    encoded = canonical(document)
    key = Key(RESOURCE, "", body["metadata"]["name"])
    return Put(key, plural, document["apiVersion"], encoded.desired, encoded.status, 0)


async def test_who_came_first_is_the_same_on_every_server(request: pytest.FixtureRequest) -> None:
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        async with open_store(url) as one, open_store(url) as two:
            replicas = [replica(one), replica(two)]
            async with anyio.create_task_group() as tasks:
                for number, plural in enumerate(("ants", "bees", "cats", "dogs")):
                    tasks.start_soon((one, two)[number % 2].commit, put(plural, "Animal"))
            for each in replicas:
                await each.store.synced()
            first = replicas[0].served()
            assert len(first) == 1
            assert replicas[1].served() == first
            record = one.get(Key(RESOURCE, "", next(iter(first))))
            assert record is not None
            await two.commit(Remove(record.key, record.revision))
            await one.synced()
            assert replicas[0].served() == replicas[1].served()
            assert not replicas[0].served() & first
            assert len(replicas[0].served()) == 1
