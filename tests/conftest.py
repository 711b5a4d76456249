"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Running, running


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop that the server runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def reference_server() -> Iterator[Running]:
    """One server with the reference kinds on SQLite for the whole session. Tests make namespaces of their own in it."""
    with running() as server:
        yield server
