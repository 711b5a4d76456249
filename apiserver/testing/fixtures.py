"""Servers as pytest fixtures, for tests that run under anyio's plugin (`pytestmark = pytest.mark.anyio`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from apiserver.testing.order import seeds as seeds_of
from apiserver.testing.server import Server, serving
from registry.plugin import Plugin

if TYPE_CHECKING:
    import pytest


def fixture(*plugins: Plugin, seeds: int = 0, **options: Any) -> Any:
    """A fixture that is a server with these plugins, as in `server = fixture(plugin)`. `options` are those of `serving`.

    With `seeds`, each test that asks for it runs once for each of so many seeds, which stand in its name.
    """
    import pytest  # only those who test have it

    async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
        chosen = {"seed": request.param} if seeds else {}
        async with serving(*plugins, **options, **chosen) as server:
            yield server

    return pytest.fixture(params=[*seeds_of(seeds)] if seeds else None)(serve)
