"""The data folder: made once, private, and never half-written.

The folder is 0700 and every file in it 0600, whatever the umask. A file is either as it was or as it was to become: contents go
to a temporary file beside it, are synced, and take the name in one step (rename(2)), and the folder is synced, so that the name
survives a loss of power too. What others can read although it is a secret is closed again, with a warning.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from apiserver.config import StartError

Warn = Callable[[str], None]

TOKEN = "admin.token"  # noqa: S105 (the name of the file)
SECRETS = (
    *(TOKEN, "kubeconfig", "ca.key", "client-ca.key", "server.key", "admin.key", "token-keys.pem"),
    *("skep.db", "skep.db-wal", "skep.db-shm"),
)
"""Files of the folder that only its owner may read."""


def prepare(path: Path, warn: Warn) -> Path:
    """Makes the folder, or checks the one that is there, and returns it. StartError when it cannot be used.

    Also sets the umask of the process to 077, since the database is made by others' code.
    """
    os.umask(0o077)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except FileExistsError:
        raise StartError(f"the data folder {path} is not a folder", "name another with --data-dir", exit_code=2) from None
    except OSError as error:
        raise StartError(f"cannot make the data folder {path}: {error.strerror}", "name another with --data-dir") from error
    _check_owner(path, status, warn)
    _check_writable(path)
    for name in SECRETS:
        tighten(path / name, warn)
    return path


def admin_token(folder: Path, warn: Warn) -> str:
    """The token of the admin: 256 random bits, made once and kept in `admin.token`."""
    path = folder / TOKEN
    tighten(path, warn)
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return rotate_admin_token(folder)
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read the admin token {path}: {error}", "make a new one with `skep token rotate`") from error
    if not token:
        raise StartError(f"the admin token {path} is empty", "make a new one with `skep token rotate`")
    return token


def rotate_admin_token(folder: Path) -> str:
    """A new admin token. A server that runs goes on with the one that it started with."""
    token = secrets.token_urlsafe(32)
    write_private(folder / TOKEN, f"{token}\n".encode())
    return token


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner may read. StartError when it cannot be written; what was there before is then untouched."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(handle, "wb") as file:
                os.fchmod(handle, 0o600)
                file.write(content)
                file.flush()
                os.fsync(handle)
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}", "is the folder writable, and is there space?") from error


def tighten(path: Path, warn: Warn) -> None:
    """Takes everybody's but the owner's permissions from a file, and says so. What is not there, or is not ours, is left alone."""
    try:
        status = path.stat(follow_symlinks=False)
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077 and stat.S_ISREG(status.st_mode):
            path.chmod(0o600)
            warn(f"{path} could be used by others (mode {mode:04o}); it is 0600 now")
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(f"others can read {path}, and it cannot be closed: {error.strerror}", f"chmod 0600 {path}") from error


def _check_owner(path: Path, status: os.stat_result, warn: Warn) -> None:
    """The owner of a folder can put other files into it. Root serves on anybody's folder, as containers do, but not unnoticed."""
    user = os.geteuid()
    if status.st_uid not in (user, 0) and user != 0:
        raise StartError(
            f"the data folder {path} belongs to user {status.st_uid}, not to user {user}",
            "use a folder inside it (--data-dir), or give it to the right user with chown",
        )
    if status.st_uid != user:
        warn(f"the data folder {path} belongs to user {status.st_uid}, and this is user {user}")
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        warn(f"others can write to the data folder {path} (mode {stat.S_IMODE(status.st_mode):04o}): chmod 0700 closes it")


def _check_writable(path: Path) -> None:
    """Tries it: permissions, a read-only file system and a full disk are all the same to us."""
    probe = path / f".probe.{secrets.token_hex(4)}"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        hint = "make it writable, or name another with --data-dir"
        raise StartError(f"the data folder {path} cannot be written to: {error.strerror}", hint) from error


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
