"""A manager on a store in memory, for tests of the request path."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.apiserver.commands import folder, skep
from tests.apiserver.world import World, opened

__all__ = ["folder", "skep", "world"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A new world for each test."""
    async with opened() as made:
        yield made
