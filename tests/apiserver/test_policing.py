"""Policies in a real manager."""

from __future__ import annotations

from tests.apiserver.world import opened


async def test_x() -> None:
    async with opened() as world:
        pass
