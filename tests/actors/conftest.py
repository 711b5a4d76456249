from __future__ import annotations

import pytest

from tests.actors.world import Stage


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stage() -> Stage:
    return Stage()
