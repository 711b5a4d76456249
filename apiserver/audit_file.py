"""Where the audit log goes: lines into files that are rotated, and to standard output, written by a thread of its own.

What it promises:

* **Whoever tells never waits.** What is told goes into a bounded queue; when that is full it is lost, and counted.
* **A disk that fails stops nothing.** What could not be written is lost and counted, and the log is told: at once, and then at most
  every ten seconds until it works again. Each chunk is tried anew.
* **One line is one event.** After a write that broke off in the middle the next one begins on a line of its own.
* **Nobody else reads it.** Files have the mode 0600, whatever they had before, and a link is not followed.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

CHUNK = 256
"""Events that are written at once."""
PAUSE = 0.1
"""Seconds that the thread waits for company: each of its turns takes the interpreter from the event loop."""
COMPLAIN_EVERY = 10.0


class Log(Protocol):
    """Where trouble is told."""

    def error(self, event: str, /, **facts: Any) -> Any: ...
    def warning(self, event: str, /, **facts: Any) -> Any: ...


class Counts(NamedTuple):
    """What became of events so far: written, and lost because the queue was full, or because they could not be written."""

    written: int = 0
    full: int = 0
    failed: int = 0


class Output(Protocol):
    """Takes whole lines. Raises OSError."""

    def write(self, lines: bytes) -> None: ...
    def close(self) -> None: ...


class RotatedFile:
    """A file that is renamed to `NAME.1` when it would get longer than `max_bytes`; those before move on, up to `keep` of them."""

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor = -1
        self._size = 0
        self._torn = False  # the last write may have ended within a line

    def open(self) -> None:
        """Opens the file, or makes it. Raises OSError."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, "is not a regular file")
            os.fchmod(descriptor, 0o600)
            self._size = found.st_size
            if self._size:
                self._torn = self._torn or not _ends_with_line(self._path)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def write(self, lines: bytes) -> None:
        """Writes lines, to a new file if the old one would get too long."""
        try:
            if self._descriptor < 0:
                self.open()
            if self._size and self._size + len(lines) > self._max_bytes:
                self._rotate()
            self._write(b"\n" + lines if self._torn else lines)
        except OSError:
            self.close()
            raise

    def _write(self, lines: bytes) -> None:
        view = memoryview(lines)
        while view:
            self._torn = True
            written = os.write(self._descriptor, view)
            self._size += written
            view = view[written:]
        self._torn = False

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            if older.exists():
                os.replace(older, self._path.with_name(f"{self._path.name}.{number}"))
        if not self._keep:
            self._path.unlink()
        self._torn = False
        self.open()

    def close(self) -> None:
        """Closes the file; the next write opens it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _ends_with_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


class Descriptor:
    """An open descriptor, such as that of standard output."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, lines: bytes) -> None:
        """Writes lines."""
        view = memoryview(lines)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def close(self) -> None:
        """It is not ours."""


Render = Callable[[], bytes]
"""Makes the line of an event, with its line break, in the thread."""


class Writer:
    """Takes what is to be written. Use as a context manager: leaving it writes what is left, for `patience` seconds at most."""

    def __init__(self, outputs: Sequence[Output], log: Log, *, most: int, most_bytes: int, patience: float = 2.0) -> None:
        """`most` events, and `most_bytes` of what they hold, may wait."""
        self._outputs = outputs
        self._log = log
        self._most = most
        self._most_bytes = most_bytes
        self._patience = patience
        self._waiting: deque[tuple[Render, int]] = deque()
        self._bytes = 0  # of what waits; taken and given under the lock
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="skep-audit", daemon=True)
        self._written = self._full = self._failed = 0
        self._told = -COMPLAIN_EVERY
        self._silent = 0  # lost since the log was told

    @property
    def counts(self) -> Counts:
        """What became of events so far."""
        return Counts(self._written, self._full, self._failed)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        self._some.set()
        self._thread.join(self._patience)

    def put(self, render: Render, size: int) -> None:
        """Takes an event that holds about `size` bytes. Never waits, never raises."""
        with self._lock:
            if len(self._waiting) >= self._most or self._bytes + size > self._most_bytes:
                self._full += 1
                return
            self._waiting.append((render, size))
            self._bytes += size
        if not self._some.is_set():
            self._some.set()

    def _run(self) -> None:
        full = 0
        while True:
            self._some.wait()
            self._closed.wait(PAUSE)
            self._some.clear()
            closing = self._closed.is_set()
            while chunk := self._take():
                self._write(chunk)
            if self._full > full:
                self._complain(
                    self._full - full, "the queue of the audit log was full: its disk is too slow, or its policy too wide"
                )
                full = self._full
            if closing and not self._waiting:
                break
        for output in self._outputs:
            output.close()

    def _take(self) -> list[Render]:
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(CHUNK, len(self._waiting)))]
            self._bytes -= sum(size for _, size in taken)
        return [render for render, _ in taken]

    def _write(self, chunk: Sequence[Render]) -> None:
        lines = []
        for render in chunk:
            try:
                lines.append(render())
            except Exception as error:  # an event that cannot be told must not cost the others
                self._failed += 1
                self._complain(1, "an event of the audit log could not be made", error)
        data, failed = b"".join(lines), False
        for output in self._outputs:
            try:
                output.write(data)
            except OSError as error:
                failed = True
                self._complain(len(lines), "the audit log cannot be written", error)
        if failed:
            self._failed += len(lines)
        else:
            self._written += len(lines)

    def _complain(self, lost: int, why: str, error: Exception | None = None) -> None:
        self._silent += lost
        now = time.monotonic()
        if now - self._told >= COMPLAIN_EVERY:
            self._log.error(why, lost=self._silent, because=str(error) if error else "")
            self._told, self._silent = now, 0
