"""What keeps a server from starting is said in one clear line, with a hint, and costs no data. Nor does a disk that fills up later.

Exit codes: 1 for what is wrong on the machine, 2 for what was asked wrongly.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.wire import Reply, Wire, place_of, quiet, revision_of
from tests.servers import ROOT, running

WIDGETS = "/apis/reference.example.com/v1/namespaces/default/widgets"
Prepare = Callable[[], None]


def start(*arguments: object, prepare: Prepare | None = None, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A start that is to fail. `prepare` runs in the process before it becomes the server; modules may be imported from `path`."""
    command = [sys.executable, "-m", "apiserver", "serve", "--log-format", "json", "--log-level", "error"]
    given = [str(argument) for argument in arguments]
    listen = [] if "--listen" in given else ["--listen", "127.0.0.1:0"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    if path is not None:
        clean["PYTHONPATH"] = str(path)
    return subprocess.run(
        [*command, *listen, *given],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=prepare,
    )


def failed(result: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """One line that says what is wrong, perhaps one with a hint, and nothing else."""
    lines = result.stderr.splitlines()
    assert result.returncode == code, result
    assert lines[0].startswith("error: "), result
    assert [line.partition(": ")[0] for line in lines] in (["error"], ["error", "hint"]), result
    assert all(words in lines[0] for words in said), lines[0]
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def no_superuser() -> None:
    """Takes from root what lets it write where the permissions say that it may not; others do not have it anyway."""
    drop_from_bounding_set, override, search = 24, 1, 2
    for capability in (override, search):
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


def no_file_beyond(size: int) -> Prepare:
    """No file may grow beyond `size` bytes: a disk that is full, as far as a process can tell."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """The data folder of a server that has worked and was stopped. It holds one Widget."""
    folder = tmp_path / "data"
    with running(data_dir=folder) as server, Wire(place_of(server.url, server.ca, server.token)) as wire:
        assert create(wire, "kept").status == 201
    return folder


def create(wire: Wire, name: str, size: int = 0) -> Reply:
    """Creates a Widget that takes about `size` bytes."""
    metadata = {"name": name, "annotations": {"padding": "x" * size}}
    return wire.post(
        WIDGETS, {"apiVersion": "reference.example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 1}}
    )


def names(wire: Wire) -> list[str]:
    """The names of all Widgets."""
    return [item["metadata"]["name"] for item in wire.ask("GET", WIDGETS).json()["items"]]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        failed(start("--data-dir", tmp_path / "data", "--listen", f"127.0.0.1:{port}"), 1, "port is taken", str(port))


def test_a_data_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    failed(start("--data-dir", tmp_path, prepare=no_superuser), 1, str(tmp_path), "Permission denied")
    failed(start("--data-dir", tmp_path / "new", prepare=no_superuser), 1, str(tmp_path / "new"), "Permission denied")


def test_a_used_data_folder_that_became_read_only_loses_nothing(used: Path) -> None:
    for path in (*used.iterdir(), used):
        path.chmod(0o500 if path == used else 0o400)
    before = (used / "skep.db").read_bytes()
    failed(start("--data-dir", used, prepare=no_superuser), 1, str(used))
    assert (used / "skep.db").read_bytes() == before
    for path in (used, *used.iterdir()):
        path.chmod(0o700 if path == used else 0o600)
    with running(data_dir=used) as server, Wire(place_of(server.url, server.ca, server.token)) as wire:
        assert names(wire) == ["kept"]


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed(start("--data-dir", tmp_path / "file"), 2, "is not a folder")


def broken(folder: Path, how: str) -> None:
    """Damages a database."""
    file = folder / "skep.db"
    whole = file.read_bytes()
    match how:
        case "noise":
            file.write_bytes(b"not a database" * 500)
        case "header-only":
            file.write_bytes(whole[:100])
        case "half":
            file.write_bytes(whole[: len(whole) // 2])
        case "pages":
            file.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
        case "folder":
            file.unlink()
            file.mkdir()


@pytest.mark.parametrize("how", ["noise", "header-only", "half", "pages", "folder"])
def test_a_damaged_database_is_refused_and_left_as_it_is_for_a_rescue(used: Path, how: str) -> None:
    broken(used, how)
    file = used / "skep.db"
    before = file.read_bytes() if file.is_file() else b""
    failed(start("--data-dir", used), 1, "skep.db")
    assert (file.read_bytes() if file.is_file() else b"") == before


def test_a_database_of_a_newer_version_is_refused_with_its_schema(used: Path) -> None:
    with sqlite3.connect(used / "skep.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    failed(start("--data-dir", used), 1, "9999", "newer version")


def test_a_second_server_on_a_data_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with running(data_dir=tmp_path) as server, Wire(place_of(server.url, server.ca, server.token)) as wire:
        failed(start("--data-dir", tmp_path), 1, f"in use by process {server.process.pid}")
        assert create(wire, "after").status == 201


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("mysql://root@127.0.0.1/x", "'mysql' are not supported", id="type"),
        pytest.param("not a url", "is no database URL", id="no-url"),
        pytest.param("sqlite:////nowhere/at/all.db", "/nowhere/at/all.db", id="folder"),
        pytest.param("sqlite:////tmp", "/tmp", id="is-a-folder"),
        pytest.param("postgresql://skep:hunter2@127.0.0.1:1/skep", "nothing listens there", id="no-postgres"),
        pytest.param("postgresql://skep:hunter2@nowhere.invalid/skep", "host name is not known", id="no-host"),
    ],
)
def test_a_wrong_database_url(tmp_path: Path, url: str, said: str) -> None:
    result = start("--data-dir", tmp_path, "--database-url", url)
    failed(result, 1, said)
    assert "hunter2" not in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("import nowhere_at_all", "No module named 'nowhere_at_all'", id="import"),
        pytest.param("def f(:", "SyntaxError", id="syntax"),
        pytest.param("1 / 0", "ZeroDivisionError", id="raises"),
        pytest.param("raise SystemExit(0)", "SystemExit", id="leaves"),
        pytest.param("", "", id="empty"),
        pytest.param(
            "from registry.plugin import Plugin\nplugin = Plugin('x')\nplugin.kind(int, group='a.b', version='v1', plural='x')",
            "int",
            id="kind",
        ),
    ],
)
def test_a_plugin_that_cannot_be_loaded(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(f"{text}\n")
    failed(start("--data-dir", tmp_path / "data", "--plugin", tmp_path / "bad.py"), 2, said)
    assert not (tmp_path / "data").exists(), "what was asked wrongly leaves nothing behind"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--listen", "somewhere"], "HOST:PORT", id="listen"),
        pytest.param(["--listen", "nowhere.invalid:1"], "nowhere.invalid", id="host"),
        pytest.param(["--config", "/nowhere.toml"], "/nowhere.toml", id="config"),
        pytest.param(["--set", "limits.body_bytes=lots"], "a whole number from 1024", id="number"),
        pytest.param(["--set", "limits.body=1"], "unknown setting", id="setting"),
        pytest.param(["--tls-cert", "/nowhere.pem"], "go together", id="certificate-alone"),
        pytest.param(["--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.pem"], "/nowhere.pem", id="no-certificate"),
        pytest.param(["--tls-cert", "/dev/null", "--tls-key", "/dev/null"], "/dev/null", id="empty-certificate"),
    ],
)
def test_a_setting_that_is_wrong(tmp_path: Path, arguments: list[str], said: str) -> None:
    failed(start("--data-dir", tmp_path / "data", *arguments), 2, said)


@pytest.mark.parametrize("size", [1_000, 40_000])
def test_a_disk_that_is_full_at_the_first_start_and_then_is_not(tmp_path: Path, size: int) -> None:
    folder = tmp_path / "data"
    failed(start("--data-dir", folder, prepare=no_file_beyond(size)), 1, str(folder))
    with running(data_dir=folder) as server, Wire(place_of(server.url, server.ca, server.token)) as wire:
        assert create(wire, "works").status == 201


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[tuple[Any, Wire]]:
    """A server whose disk is nearly full."""
    with running(data_dir=tmp_path) as server, Wire(place_of(server.url, server.ca, server.token)) as wire:
        quiet(wire)
        largest = max(path.stat().st_size for path in tmp_path.iterdir())
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (largest + 200_000, resource.RLIM_INFINITY))
        yield server, wire


def test_a_disk_that_fills_up_refuses_writes_clearly_acknowledges_none_that_is_lost_and_recovers(tight: tuple[Any, Wire]) -> None:
    server, wire = tight
    stored: dict[str, int] = {}
    refused: list[Reply] = []
    for number in range(200):
        reply = create(wire, f"w{number}", 5_000)
        if reply.status == 201:
            stored[f"w{number}"] = revision_of(reply.json())
        else:
            refused.append(reply)
    assert stored
    assert len(refused) > 100
    for reply in refused:
        status = reply.json()
        assert (reply.status, status["kind"], status["status"]) == (500, "Status", "Failure")
        assert "disk" in status["message"]
    assert sorted(names(wire)) == sorted(stored), "reads go on, and show what was acknowledged"
    complaints = server.log.count("the store does not take writes")
    assert 0 < complaints < len(refused), "the log says it, and not for every write"
    assert wire.ask("GET", "/livez").status == 200
    assert wire.ask("PATCH", f"{WIDGETS}/w0?dryRun=All", b"{}", {"content-type": "application/merge-patch+json"}).status == 200

    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert create(wire, "again").status == 201, "there is room again, and nobody had to do anything"
    server.kill()
    with running(data_dir=server.data_dir) as second, Wire(place_of(second.url, second.ca, second.token)) as other:
        found = {item["metadata"]["name"]: revision_of(item) for item in other.ask("GET", WIDGETS).json()["items"]}
        assert stored.items() <= found.items()
        assert found.keys() == {*stored, "again"}
