"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import Running, running

settings.register_profile("skep", deadline=None)  # how long one example takes is no property, on a machine that others use too
settings.load_profile("skep")


@pytest.fixture(scope="session", autouse=True)
def characters() -> None:
    """Hypothesis makes its table of all characters at the first text: a second that no property on a fresh machine is to pay."""

    @settings(max_examples=1, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text())
    def one_text(_: str) -> None:
        pass

    one_text()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop that the server runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def reference_server() -> Iterator[Running]:
    """One server with the reference kinds on SQLite for the whole session. Tests make namespaces of their own in it."""
    with running() as server:
        yield server
