"""The fixture: a server for each test, and for each seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.testing import Server, fixture
from tests.testing.stalls import Crate, counts, keeps, market, stall

pytestmark = pytest.mark.anyio

server = fixture(market(keeps, counts, observes=[Crate]))
varied = fixture(market(keeps, counts, observes=[Crate]), seeds=100, patience=30.0)


async def test_a_test_is_given_a_server(server: Server) -> None:
    await server.client.create(stall())
    await server.settled()
    assert server.seed == 0
    assert len(server.writes(Crate, verb="create")) == 2


async def test_another_test_is_given_another_server(server: Server) -> None:
    assert server.runs("market-keep") == 0
    assert (await server.client.list(Crate)).items == []


async def test_with_seeds_a_test_runs_once_for_each(varied: Server) -> None:
    assert varied.seed > 0
    await varied.client.create(stall())
    await varied.settled()
    assert [each.status.of for each in (await varied.client.list(Crate)).items if each.status] == [2, 2]


FAILS = """
import pytest
from actors.testing import fixture
from registry.plugin import Plugin

server = fixture(Plugin("empty"), seeds=3)

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_that_fails_with_two(server):
    assert server.seed != 2
"""


@pytest.mark.parametrize(("chosen", "counts"), [({}, "1 failed, 2 passed"), ({"SKEP_SEED": "2"}, "1 failed")])
def test_a_failing_seed_stands_in_the_name_of_its_test_and_can_be_run_alone(
    chosen: dict[str, str], counts: str, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(FAILS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    env = {name: value for name, value in os.environ.items() if name != "SKEP_SEED"} | chosen
    said = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False).stdout
    assert "FAILED test_it.py::test_that_fails_with_two[2]" in said
    assert said.splitlines()[-1].startswith(f"{counts} in ")
