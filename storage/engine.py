"""Engines for a database URL, and what goes wrong with databases said in one clear line.

There are two engines for each database: `write` takes the write lock when a transaction begins, `read` never does and sees one
consistent state in each transaction. Neither retries anything; a connection that was lost is made anew at its next use.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from storage.store import Unavailable

_PRAGMAS = {
    "journal_mode": "WAL",
    "synchronous": "FULL",
    "foreign_keys": "ON",
    "busy_timeout": "5000",
    "wal_autocheckpoint": "16000",  # the net below `storage.checkpoint`
    "journal_size_limit": "67108864",
    "cache_size": "-16384",
}
_POSTGRES_OPTIONS = (
    "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s -c synchronous_commit=on"
)


class InvalidDatabase(Exception):
    """The database cannot be used. The message is one line that says what to do."""


@dataclass
class Counter:
    """Counts the statements that went to the database."""

    statements: int = 0


@dataclass(frozen=True)
class Engines:
    """The engines of one database. `file` is the path of an SQLite file. `private`: it lives in this process's memory, in one
    connection, so that reads and writes must take turns.
    """

    write: Engine
    read: Engine
    private: bool
    file: Path | None
    counter: Counter = field(default_factory=Counter)

    def dispose(self) -> None:
        """Closes every connection."""
        self.write.dispose()
        self.read.dispose()


def parse(url: str) -> URL:
    """The URL of a database: `sqlite://` (in memory), `sqlite:///path` or `postgresql://...`. Raises InvalidDatabase."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidDatabase(
            f"{url!r} is no database URL: use sqlite:///path/to/file.db or postgresql://user@host/database"
        ) from error
    backend = parsed.drivername.split("+")[0]
    if backend in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        return parsed.set(drivername="sqlite")
    raise InvalidDatabase(f"databases of type {backend!r} are not supported: use sqlite:///path/to/file.db or postgresql://...")


def file_of(url: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory, and for PostgreSQL."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database))


def connect(url: str) -> Engines:
    """Makes the engines, and connects once. Raises InvalidDatabase."""
    parsed = parse(url)
    try:
        engines = _postgres(parsed) if parsed.get_backend_name() == "postgresql" else _sqlite(file_of(parsed))
    except (NoSuchModuleError, ImportError) as error:
        raise InvalidDatabase("the PostgreSQL driver is not installed: pip install 'skep[postgres]'") from error
    for engine in {engines.write, engines.read}:
        event.listen(engine, "before_cursor_execute", _counting(engines.counter))
    try:
        with engines.write.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except (SQLAlchemyError, OSError) as error:
        engines.dispose()
        raise InvalidDatabase(explain(error, parsed)) from error
    return engines


def explain(error: BaseException, url: URL) -> str:
    """What is wrong with the database, and what to do: one line, without the password."""
    said = said_by(error)
    where = url.render_as_string(hide_password=True)
    for part, advice in _ADVICE:
        if part in said:
            return f"{where}: {advice} ({said})"
    return f"{where}: cannot open the database ({said})"


_ADVICE = (
    ("file is not a database", "the file is not an SQLite database, or is damaged: restore a backup, or choose another file"),
    ("malformed", "the file is damaged: restore a backup, or choose another file"),
    ("readonly", "the file or its folder cannot be written: check its owner and permissions"),
    ("unable to open", "the file cannot be opened: check that its folder exists and may be written"),
    ("locked", "another process holds the database: stop it, or choose another file"),
    ("password authentication failed", "wrong user or password: check the credentials in the URL"),
    ("no password supplied", "the server wants a password: put it into the URL, or into PGPASSWORD"),
    ("does not exist", "no such database or user: create it (createdb), or correct the URL"),
    ("refused", "nothing listens there: start PostgreSQL, or correct host and port"),
    ("resolve", "the host name is not known: correct the URL"),
    ("translate host name", "the host name is not known: correct the URL"),
    ("is full", "there is no space left on its disk: make some"),
    ("disk I/O error", "its disk does not take what is written: is it full, is there a quota, is it failing?"),
    ("timeout", "the server does not answer: check host, port and firewall"),
)


def said_by(error: BaseException) -> str:
    """What the driver said, in one line."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__


def unavailable(error: BaseException, *, committing: bool = False) -> Unavailable:
    """The error as a store raises it. `committing`: it came from COMMIT, of which a lost connection leaves the outcome unknown."""
    said = said_by(error)
    what = next((text for part, text in _TROUBLE if part in said), "the database did not take it")
    unknown = committing and (lost(error) or "disk I/O error" in said)
    return Unavailable(f"{what} ({said})", committed=None if unknown else False)


_TROUBLE = (
    ("disk is full", "the disk of the database is full"),
    ("No space left", "the disk of the database is full"),
    ("could not extend", "the disk of the database is full"),
    ("disk I/O error", "the disk of the database fails"),
    ("locked", "the database is locked by another process"),
    ("lock timeout", "the database is locked by another process"),
    ("readonly", "the database cannot be written"),
    ("read-only", "the database cannot be written"),
    ("refused", "the database does not accept connections"),
    ("terminating connection", "the connection to the database was lost"),
    ("connection", "the connection to the database was lost"),
)


def lost(error: BaseException) -> bool:
    """Whether the error says that the connection is gone."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _sqlite(file: Path | None) -> Engines:
    if file is None:
        # One connection; the pragmas of files make no sense for it.
        arguments = {"check_same_thread": False, "isolation_level": None, "cached_statements": 256}
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args=arguments)
        event.listen(engine, "begin", _begin("BEGIN"))
        return Engines(engine, engine, private=True, file=None)
    _make_private(file)
    write, read = (_sqlite_engine(file, pragmas) for pragmas in (_PRAGMAS, {**_PRAGMAS, "query_only": "ON"}))
    event.listen(write, "begin", _begin("BEGIN IMMEDIATE"))
    event.listen(read, "begin", _begin("BEGIN"))
    return Engines(write, read, private=False, file=file)


def _make_private(file: Path) -> None:
    """Makes the file readable for its owner alone, before anything is in it. SQLite gives its journals the same permissions."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise InvalidDatabase(
            f"{file}: the file cannot be opened for writing: check that its folder exists and may be written ({error.strerror})"
        ) from error


def _sqlite_engine(file: Path, pragmas: Mapping[str, str]) -> Engine:
    arguments = {"check_same_thread": False, "isolation_level": None, "cached_statements": 256, "timeout": 5}
    engine = create_engine(URL.create("sqlite", database=str(file)), poolclass=QueuePool, pool_size=1, connect_args=arguments)

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name} = {value}")

    event.listen(engine, "connect", prepare)
    return engine


def _begin(statement: str) -> Any:
    def begin(connection: Any) -> None:
        connection.exec_driver_sql(statement)

    return begin


def _postgres(url: URL) -> Engines:
    arguments = {
        "application_name": "skep",
        "connect_timeout": 5,
        "options": _POSTGRES_OPTIONS,
        "tcp_user_timeout": 15000,
    }
    arguments = {name: value for name, value in arguments.items() if name not in url.query}
    write = create_engine(url, connect_args=arguments, pool_size=1, max_overflow=2)
    read = create_engine(url, connect_args=arguments, pool_size=2, max_overflow=4, isolation_level="REPEATABLE READ")
    return Engines(write, read, private=False, file=None)


def _counting(counter: Counter) -> Any:
    def count(*_arguments: object) -> None:
        counter.statements += 1

    return count
