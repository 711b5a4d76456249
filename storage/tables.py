"""The three tables, for SQLite and PostgreSQL alike. The migrations are checked against them (`alembic check`).

* `objects`: the current state, one row for each object.
* `revision`: one row. `value` is the newest revision, `horizon` the one up to which the log was compacted. Every transaction that
  writes takes this row first, so the order of revisions is the order of commits.
* `log`: one row for each change after `horizon`, keyed by revision, with the object **before** the change. `objects` and the rows
  after R together give every state since R without keeping rows that are older than R: an object as it was at R is the before-image
  of its first change after R, or its current row. A column that the change left as it was is NULL (a status patch logs only the old
  status), and its value is found in the next change that touched it. An addition has no before-image at all, so it is stored once.
  Every other row has `desired` or `status`: the two partial indexes find the next change of an object by one seek each.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Connection, Float, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

SCHEMA = "0001"
"""The revision of the migrations that these tables stand for."""

Name = Text().with_variant(Text(collation="C"), "postgresql")
Number = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={"pk": "%(table_name)s_pkey", "ix": "%(table_name)s_%(column_0_N_name)s"},
)

objects = Table(
    "objects",
    metadata,
    Column("resource", Name, primary_key=True),
    Column("namespace", Name, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("uid", Text, nullable=False),
    Column("revision", Number, nullable=False),
    Column("api_version", Text, nullable=False),
    Column("desired", LargeBinary, nullable=False),
    Column("status", LargeBinary, nullable=False),
)

revision = Table(
    "revision",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("value", Number, nullable=False),
    Column("horizon", Number, nullable=False),
)

log = Table(
    "log",
    metadata,
    Column("revision", Number, primary_key=True, autoincrement=False),
    Column("resource", Name, nullable=False),
    Column("namespace", Name, nullable=False),
    Column("name", Name, nullable=False),
    Column("op", SmallInteger, nullable=False),
    Column("time", Float, nullable=False),
    Column("uid", Text),
    Column("previous", Number),
    Column("api_version", Text),
    Column("desired", LargeBinary),
    Column("status", LargeBinary),
)

Index("log_resource", log.c.resource, log.c.revision)
for _column in (log.c.desired, log.c.status):
    _touched = _column.is_not(None)
    Index(
        f"log_{_column.name}",
        log.c.resource,
        log.c.namespace,
        log.c.name,
        log.c.revision,
        sqlite_where=_touched,
        postgresql_where=_touched,
    )


def create(connection: Connection) -> None:
    """Makes the tables in an empty database, with the stamp that the migrations leave. For databases that are thrown away."""
    metadata.create_all(connection)
    connection.exec_driver_sql("INSERT INTO revision (id, value, horizon) VALUES (1, 0, 0)")
    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.exec_driver_sql(f"INSERT INTO alembic_version (version_num) VALUES ('{SCHEMA}')")  # noqa: S608  # a constant of ours
