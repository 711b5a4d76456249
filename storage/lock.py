"""One server for each SQLite file: a lock file beside it, held by `flock` for as long as the store is open.

The kernel lets go of the lock when the process ends, however it ends, so a lock file that is left behind locks nobody out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Locked(Exception):
    """Another process has this database open."""


@contextmanager
def exclusive(database: Path) -> Iterator[None]:
    """Holds `<database>.lock` for the body. Raises Locked at once if another process (or store) holds it, OSError if it cannot be
    made.
    """
    path = Path(f"{database.resolve()}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise Locked(f"{database} is in use by process {holder}: stop it, or choose another data folder") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
