"""Where the audit log goes: rotation, modes, a queue that is full, a disk that fails."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from apiserver.audit_file import Counts, Output, RotatedFile, Writer


@dataclass
class Log:
    told: list[dict[str, Any]] = field(default_factory=list)

    def error(self, event: str, **facts: Any) -> None:
        self.told.append({"event": event, **facts})

    warning = error


class Disk:
    """An output that fails while it is told to, and that can be held."""

    def __init__(self) -> None:
        self.lines = b""
        self.error: OSError | None = None
        self.go = threading.Event()
        self.go.set()
        self.reached = threading.Event()

    def write(self, lines: bytes) -> None:
        self.reached.set()
        self.go.wait()
        if self.error is not None:
            raise self.error
        self.lines += lines

    def close(self) -> None: ...


def writer(*outputs: Output, log: Log | None = None, most: int = 1_000, most_bytes: int = 10**6) -> Writer:
    return Writer(outputs, log or Log(), most=most, most_bytes=most_bytes, patience=10)


def line(text: str) -> Callable[[], bytes]:
    return lambda: text.encode() + b"\n"


def test_everything_that_was_told_is_written_in_its_order() -> None:
    disk = Disk()
    with writer(disk) as told:
        for number in range(700):
            told.put(line(str(number)), 10)
    assert disk.lines == b"".join(b"%d\n" % number for number in range(700))
    assert told.counts == Counts(written=700)


@pytest.mark.parametrize(("most", "most_bytes"), [(5, 10**6), (1_000, 50)], ids=["events", "bytes"])
def test_what_finds_the_queue_full_is_lost_and_counted_and_nobody_waits(most: int, most_bytes: int) -> None:
    disk, log = Disk(), Log()
    disk.go.clear()
    with writer(disk, log=log, most=most, most_bytes=most_bytes) as told:
        told.put(line("first"), 10)
        disk.reached.wait()  # it is being written, and waits no more
        for number in range(9):
            told.put(line(str(number)), 10)
        assert told.counts == Counts(full=4)
        disk.go.set()
    assert told.counts == Counts(written=6, full=4)
    assert [(each["lost"], "queue of the audit log was full" in each["event"]) for each in log.told] == [(4, True)]


def test_a_disk_that_fails_loses_lines_is_told_of_once_and_works_again() -> None:
    disk, log = Disk(), Log()
    disk.error = OSError(28, "No space left on device")
    with writer(disk, log=log) as told:
        for number in range(3):
            disk.reached.clear()
            told.put(line(str(number)), 1)
            disk.reached.wait()
            while told.counts.failed <= number:
                pass
        disk.error = None
        told.put(line("again"), 1)
    assert disk.lines == b"again\n"
    assert told.counts == Counts(written=1, failed=3)
    assert [each["because"] for each in log.told] == ["[Errno 28] No space left on device"]


def test_an_event_that_cannot_be_made_costs_no_other() -> None:
    disk, log = Disk(), Log()

    def broken() -> bytes:
        raise ValueError("no")

    with writer(disk, log=log) as told:
        for render in (line("a"), broken, line("b")):
            told.put(render, 1)
    assert disk.lines == b"a\nb\n"
    assert told.counts == Counts(written=2, failed=1)


def test_one_output_that_fails_takes_nothing_from_the_other() -> None:
    one, other = Disk(), Disk()
    one.error = OSError(5, "Input/output error")
    with writer(one, other) as told:
        told.put(line("a"), 1)
    assert other.lines == b"a\n"
    assert told.counts == Counts(failed=1)


def test_a_file_that_gets_too_long_is_renamed_and_the_oldest_goes(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "audit.log", max_bytes=20, keep=2)
    for number in range(7):
        file.write(b"line %d..\n" % number)
    file.close()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {
        "audit.log": b"line 6..\n",
        "audit.log.1": b"line 4..\nline 5..\n",
        "audit.log.2": b"line 2..\nline 3..\n",
    }
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}


def test_a_file_is_gone_on_with_and_nobody_else_may_read_it_any_more(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b"before\nbroken off")
    path.chmod(0o644)
    file = RotatedFile(path, max_bytes=1_000, keep=0)
    file.write(b"after\n")
    file.close()
    assert path.read_bytes() == b"before\nbroken off\nafter\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_none_are_kept_if_none_are_wanted(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "audit.log", max_bytes=10, keep=0)
    for _ in range(3):
        file.write(b"0123456\n")
    assert [each.name for each in tmp_path.iterdir()] == ["audit.log"]
    assert (tmp_path / "audit.log").read_bytes() == b"0123456\n"


def test_a_link_or_a_device_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("link", "symbolic links"), ("pipe", "No such device")):
        with pytest.raises(OSError, match=why):
            RotatedFile(tmp_path / name, max_bytes=10, keep=0).open()
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_could_not_be_opened_is_tried_again_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "not-yet"
    file = RotatedFile(folder / "audit.log", max_bytes=100, keep=1)
    with pytest.raises(FileNotFoundError):
        file.write(b"lost\n")
    folder.mkdir()
    file.write(b"kept\n")
    file.close()
    assert (folder / "audit.log").read_bytes() == b"kept\n"


def test_after_half_a_line_the_next_is_on_one_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.log"
    file = RotatedFile(path, max_bytes=1_000, keep=1)
    real = os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) > 4:
            return real(descriptor, data[:4])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        file.write(b"one two\n")
    monkeypatch.setattr(os, "write", real)
    file.write(b"three\n")
    file.close()
    assert path.read_bytes() == b"one \nthree\n"
