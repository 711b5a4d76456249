"""Databases and stores for the tests of storage. What takes `database` or `store` runs on both backends."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

import migrations
from storage.opening import open_store
from storage.sql import SqlStore
from tests.postgres import Postgres, postgres  # noqa: F401


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that has never been used."""
    path = tmp_path_factory.mktemp("template") / "skep.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_file(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(template, tmp_path / "skep.db"))


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    if request.param == "sqlite":
        yield f"sqlite:///{request.getfixturevalue('sqlite_file')}"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        with server.database() as url:
            yield url


@pytest.fixture
async def store(database: str) -> AsyncIterator[SqlStore]:
    async with open_store(database) as opened:
        yield opened


class Statements(list[str]):
    """The statements that went to any database, BEGIN left out."""


@pytest.fixture
def statements() -> Iterator[Statements]:
    seen = Statements()

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    with listening(Engine, "before_cursor_execute", note):
        yield seen


@contextmanager
def listening(target: object, name: str, function: Callable[..., Any]) -> Iterator[None]:
    event.listen(target, name, function)
    try:
        yield
    finally:
        event.remove(target, name, function)
