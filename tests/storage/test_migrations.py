"""The migrations lead to the tables that the store reads, on both backends."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Inspector, inspect

import migrations
from storage import tables, transaction
from storage.engine import InvalidDatabase, connect
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]


def test_the_newest_migration_is_the_one_that_the_store_expects() -> None:
    assert migrations.head() == tables.SCHEMA


def test_a_migrated_database_has_no_pending_steps_and_does_not_differ_from_the_tables(database: str) -> None:
    assert migrations.pending(database) == []
    assert migrations.current(database) == tables.SCHEMA
    assert migrations.upgrade(database) == []
    assert migrations.check(database) is None


def test_an_empty_database_is_brought_to_the_newest_revision(postgres: Postgres, tmp_path: Path) -> None:
    with postgres.database(migrated=False) as empty:
        for url in (empty, f"sqlite:///{tmp_path / 'empty.db'}"):
            assert migrations.current(url) is None
            assert migrations.pending(url) == migrations.upgrade(url) == ["0001"]
            assert migrations.pending(url) == []


def test_a_column_that_no_migration_made_is_found(database: str) -> None:
    engines = connect(database)
    with engines.write.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE objects DROP COLUMN status")
    engines.dispose()
    assert "status" in str(migrations.check(database))


def test_a_throwaway_database_has_the_tables_of_a_migrated_one(sqlite_file: Path) -> None:
    def columns_and_indexes(found: Inspector, table: str) -> object:
        columns = [(column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(table)]
        indexes: list[Any] = [(dict(index), index.pop("dialect_options", {})) for index in found.get_indexes(table)]
        conditions = [[str(option) for option in options.values()] for _, options in indexes]
        plain = [{name: value for name, value in index.items() if name != "dialect_options"} for index, _ in indexes]
        return columns, plain, conditions, found.get_pk_constraint(table)["constrained_columns"]

    def columns(url: str, *, new: bool) -> object:
        engines = connect(url)
        if new:
            transaction.write(engines.write, tables.create)
        with engines.read.connect() as connection:
            found = inspect(connection)
            shape = {table: columns_and_indexes(found, table) for table in sorted(found.get_table_names())}
            rows = connection.exec_driver_sql("SELECT * FROM revision, alembic_version").all()
        engines.dispose()
        return shape, [tuple(row) for row in rows]

    assert columns("sqlite://", new=True) == columns(f"sqlite:///{sqlite_file}", new=False)


def test_a_database_of_a_newer_version_is_refused(database: str) -> None:
    engines = connect(database)
    with engines.write.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engines.dispose()
    with pytest.raises(InvalidDatabase, match="at schema 9999, which a newer version has made"):
        migrations.pending(database)


def test_an_upgrade_says_nothing_and_leaves_logging_alone(sqlite_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("alembic").level)
    migrations.upgrade(f"sqlite:///{sqlite_file}")
    assert (logging.getLogger().handlers, logging.getLogger().level, logging.getLogger("alembic").level) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["nothing", "-x", "environment"])
def test_alembic_check_passes_from_the_command_line(how: str, sqlite_file: Path) -> None:
    url = f"sqlite:///{sqlite_file}"
    environment = {**os.environ, "SKEP_DATABASE_URL": url} if how == "environment" else os.environ
    command = [sys.executable, "-m", "alembic", *(["-x", f"url={url}"] if how == "-x" else []), "check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "No new upgrade operations detected" in done.stdout
