"""The actors of the server itself are there: what belongs to a deleted object goes, and Events go, on the clock of the test."""

from __future__ import annotations

import pytest

from actors.testing import Server, fixture
from registry.builtin.event import CoreEvent
from registry.errors import Forbidden
from tests.testing.stalls import Crate, Stall, keeps, market, stall

pytestmark = pytest.mark.anyio

server = fixture(market(keeps, observes=[Crate]), seeds=10)


async def test_children_of_a_deleted_object_are_collected_before_it_is_settled(server: Server) -> None:
    await server.client.create(stall())
    await server.client.create(stall("b"))
    await server.settled()
    await server.client.delete(Stall, "a", "default")
    await server.settled()
    assert [crate.metadata.name for crate in (await server.client.list(Crate)).items] == ["b-0", "b-1"]


async def test_events_expire_when_their_time_has_come(server: Server) -> None:
    server.fail(lambda: Forbidden("not yet"), Crate, verbs=["create"])
    await server.client.create(stall())
    await server.advance(60)
    assert (await server.client.list(CoreEvent)).items != []
    await server.advance(3 * 3600)
    assert (await server.client.list(CoreEvent)).items == []
