"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import Running, running

# Properties say nothing about time, on a machine that others use too.
settings.register_profile("skep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("skep")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop that the server runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def reference_server() -> Iterator[Running]:
    """One server with the reference kinds on SQLite for the whole session. Tests make namespaces of their own in it."""
    with running() as server:
        yield server
