"""What Alembic runs, for our own commands and for its own command line.

The database is the connection in the configuration's attributes (ours), or the URL of `-x url=...` or SKEP_DATABASE_URL. Without
any it is a new one in memory at the newest revision, against which `alembic check` compares the tables of `storage`. Alembic's
logging configuration is left alone.
"""

from __future__ import annotations

import os

from alembic import context
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from storage.engine import connect
from storage.tables import metadata


def run(connection: Connection) -> None:
    """Runs the command in one transaction. On PostgreSQL, one process at a time."""
    context.configure(connection=connection, target_metadata=metadata, compare_type=True, compare_server_default=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7365747570)")
        context.run_migrations()


def migrate_new(connection: Connection) -> None:
    """Brings an empty database to the newest revision, without disturbing the command that is being run."""
    migration = MigrationContext.configure(connection)
    with migration.begin_transaction(), Operations.context(migration):
        for script in reversed(list(context.script.walk_revisions())):
            script.module.upgrade()
        migration.stamp(context.script, "head")
    connection.commit()


def main() -> None:
    """Finds the database and runs the command on it."""
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    url = context.get_x_argument(as_dictionary=True).get("url") or os.environ.get("SKEP_DATABASE_URL")
    engines = connect(url if isinstance(url, str) else "sqlite://")
    try:
        with engines.write.connect() as connection:
            if url is None:
                migrate_new(connection)
            run(connection)
            connection.commit()
    finally:
        engines.dispose()


main()
