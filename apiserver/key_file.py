"""The file with the keys that sign service-account tokens: `token-keys.pem` in the data folder, or the one that a setting names.

A server that runs follows the file: keys that are put into it sign and verify within a second, keys that are taken out of it are
refused. When it cannot be read any more, the last good keys stay, and the log says so.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from admission import token_keys
from admission.token_keys import KeyRing, rotated, text_of
from apiserver import datadir
from apiserver.config import StartError

FILE = "token-keys.pem"
LOOK_EVERY = 1.0
"""Seconds for which the file is taken to be as it was."""
LONGEST = 256 * 1024


class KeyFile:
    """Implements `admission.token_keys.KeySource`. `now` is a time in seconds that never goes back; `warn` is the log's."""

    def __init__(self, path: Path, now: Callable[[], float], warn: Callable[[str], object]) -> None:
        self._path = path
        self._now = now
        self._warn = warn
        self._seen = _mark(path)
        self._ring = read(path)
        self._looked = now()

    def current(self) -> KeyRing:
        """The keys as they were at most a second ago."""
        return self._ring if self._now() - self._looked < LOOK_EVERY else self.latest()

    def latest(self) -> KeyRing:
        """The keys as they are now. A look at the file's times, and no more, if it has not changed."""
        self._looked = self._now()
        seen = _mark(self._path)
        if seen != self._seen:
            self._seen = seen
            try:
                self._ring = read(self._path)
            except StartError as error:
                self._warn(f"{error.message}; the keys that were in it before stay valid")
        return self._ring


def read(path: Path) -> KeyRing:
    """The keys in a file. StartError when it cannot be used; it shows nothing of what is in the file."""
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise ValueError(f"it is larger than {LONGEST} bytes")
        return token_keys.ring(text)
    except FileNotFoundError:
        raise StartError(f"there is no file with token keys at {path}", f"make one with `{_command(path)}`") from None
    except OSError as error:
        raise StartError(f"cannot read the token keys {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise StartError(f"the token keys {path} are not text", _HINT) from None
    except ValueError as error:
        raise StartError(f"the token keys {path} cannot be used: {error}", _HINT) from None


_HINT = "it holds PEM blocks of EC keys on P-256; `skep token-keys rotate` makes a new one"


def prepare(folder: Path, named: Path | None, warn: Callable[[str], None]) -> Path:
    """The file that the server goes by. That of the data folder is made when it is missing. StartError."""
    if named is not None:
        with suppress(OSError):
            if stat.S_IMODE(named.stat().st_mode) & 0o007:
                warn(f"everybody on this machine may use the token keys {named}: whoever reads them can be any service account")
        return named
    path = folder / FILE
    datadir.tighten(path, warn)
    if not path.exists():
        datadir.write_private(path, text_of(rotated(None).keys).encode())
    return path


def rotate(path: Path) -> KeyRing:
    """Puts a new key in front, keeps the one that signed until now, drops all others, and writes the file in one step."""
    ring = rotated(read(path) if path.exists() else None)
    datadir.write_private(path, text_of(ring.keys).encode())
    return ring


def _mark(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file does: it is always replaced, never written over."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _command(path: Path) -> str:
    return f"skep token-keys rotate --key-file {path}"
