"""The command: what it prints, its exit codes, and one line for everything that can be expected to go wrong."""

from __future__ import annotations

import errno
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from apiserver import kubeconfig
from apiserver.cli import app, explained
from apiserver.config import Address, StartError
from apiserver.datadir import admin_token
from apiserver.sockets import bind
from registry.catalog import RegistryError
from storage.engine import InvalidDatabase
from storage.lock import Locked
from storage.store import Unavailable
from tests.apiserver.commands import Run

pytestmark = pytest.mark.usefixtures("folder")


def data(folder: Path) -> Path:
    """A data folder as a server leaves it, as far as these commands look."""
    path = folder / "skep-data"
    path.mkdir(mode=0o700)
    token = admin_token(path, lambda _line: None)
    kubeconfig.write(path, server="https://127.0.0.1:7443", ca_pem=b"", token=token)
    return path


def test_the_installed_command_is_this_one(folder: Path) -> None:
    command = Path(sys.executable).with_name("skep")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"skep \d+\.\d+\.\d+\n", done.stdout)
    module = subprocess.run([sys.executable, "-P", "-m", "apiserver", "version"], capture_output=True, text=True, check=True)
    assert module.stdout == done.stdout


@pytest.mark.parametrize(
    "words", [(), ("--help",), ("serve", "--help"), ("db", "--help"), ("token", "--help"), ("kubeconfig", "--help")]
)
def test_help_says_what_a_command_does(skep: Run, words: tuple[str, ...]) -> None:
    _, out, err = skep(*words)
    assert any("Usage: skep" in line for line in out)
    assert err == []


def test_the_help_of_serve_has_examples_defaults_and_exit_codes(skep: Run) -> None:
    text = " ".join(" ".join(skep("serve", "--help")[1]).split())
    assert "skep serve --plugin uptime.py" in text
    assert "127.0.0.1:7443" in text
    assert "Exit codes: 0 done; 1 it failed on this machine; 2 it was asked wrongly" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("serv",), "No such command 'serv'"),
        (("serve", "--lisen", "x"), "No such option: --lisen"),
        (("serve", "extra"), "Got unexpected extra argument"),
        (("serve", "--listen"), "Option '--listen' requires an argument"),
        (("serve", "--listen", "x"), "--listen: 'x' is not a value of listen; allowed: HOST:PORT"),
        (("serve", "--log-level", "loud"), "--log-level: 'loud' is not a value of log.level; allowed: one of debug"),
        (("serve", "--set", "watch.window_changes"), "--set watch.window_changes: it takes NAME=VALUE"),
        (("serve", "--set", "limits.json_dept=20"), "--set limits.json_dept: unknown setting 'limits.json_dept'; did you mean"),
        (("serve", "--config", "none.toml"), "none.toml: cannot be read: No such file or directory"),
        (("serve", "--plugin", "none.py"), "plugin {folder}/none.py does not exist"),
        (("serve", "--plugin", "no_such_module"), "plugin no_such_module: there is no such module or entry point"),
        (
            ("serve", "--plugin", "broken.py"),
            "plugin {folder}/broken.py: {folder}/broken.py:2: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_what_is_asked_wrongly_is_one_line_and_no_traceback(skep: Run, folder: Path, words: tuple[str, ...], message: str) -> None:
    (folder / "broken.py").write_text("\n1 / 0\n")
    code, out, err = skep(*words)
    assert code == 2
    assert out == []
    assert err[0].startswith(f"error: {message.format(folder=folder)}")
    assert [line.split(":")[0] for line in err] in (["error"], ["error", "hint"])


def test_a_traceback_is_shown_to_who_asks_for_it(skep: Run, folder: Path) -> None:
    (folder / "broken.py").write_text("\n1 / 0\n")
    code, _, err = skep("--debug", "serve", "--plugin", "broken.py")
    assert code == 2
    assert "Traceback (most recent call last):" in err
    assert err[-2].startswith("error: plugin")


def test_a_bug_shows_its_traceback_and_says_that_it_is_one(skep: Run, folder: Path) -> None:
    @app.command(name="crash", hidden=True)
    def crash() -> None:
        raise LookupError("ours")

    try:
        code, _, err = skep("crash")
    finally:
        app.registered_commands.pop()
    assert code == 1
    assert "Traceback (most recent call last):" in err
    assert err[-2] == "error: internal error: LookupError: ours"


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (StartError("a", "b"), ["error: a", "hint: b"]),
        (InvalidDatabase("no\nfile"), ["error: no file", "hint: the database is set with --database-url and --data-dir"]),
        (Locked("x is in use by process 1: stop it"), ["error: x is in use by process 1: stop it"]),
        (Unavailable("the disk is full"), ["error: the disk is full"]),
        (RegistryError(["a.py:1: x", "a.py:2: y"]), ["error: a.py:1: x", "error: a.py:2: y"]),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), ["error: /x: Permission denied"]),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [Locked("in use")])]), ["error: in use"]),
    ],
)
def test_every_expected_failure_has_its_line(error: Exception, lines: list[str]) -> None:
    told = explained(error)
    assert told is not None
    assert told.lines() == lines


@pytest.mark.parametrize("error", [KeyError("x"), ExceptionGroup("tasks", [Locked("in use"), TypeError("bug")])])
def test_a_bug_is_not_explained_away(error: Exception) -> None:
    assert explained(error) is None


def test_the_database_is_upgraded_once_and_says_where_it_is(skep: Run, folder: Path) -> None:
    code, before, _ = skep("db", "current")
    assert code == 0
    assert before[0].startswith("empty (waiting: ")
    assert skep("db", "upgrade")[1][0].startswith("applied ")
    assert skep("db", "upgrade")[1] == ["nothing to do"]
    (now,) = skep("db", "current")[1]
    assert now in before[0]
    assert (folder / "skep-data" / "skep.db").stat().st_mode & 0o077 == 0


def test_the_database_can_be_named_by_url(skep: Run, folder: Path) -> None:
    assert skep("db", "upgrade", "--database-url", f"sqlite:///{folder}/other.db")[0] == 0
    assert (folder / "other.db").exists()
    assert not (folder / "skep-data").exists()


def test_a_database_of_another_sort_is_one_line(skep: Run) -> None:
    code, _, err = skep("db", "upgrade", "--database-url", "mongodb://a/b")
    assert code == 1
    assert err[0].startswith("error: ")
    assert len(err) == 2


def test_a_file_that_is_no_database_is_one_line(skep: Run, folder: Path) -> None:
    (folder / "other.db").write_bytes(b"not a database" * 100)
    code, _, err = skep("db", "upgrade", "--database-url", f"sqlite:///{folder}/other.db")
    assert code == 1
    assert err[0].startswith("error: ")
    assert str(folder / "other.db") in err[0]


def test_kubeconfig_shows_the_line_to_paste_or_the_path(skep: Run, folder: Path) -> None:
    path = data(folder) / "kubeconfig"
    assert skep("kubeconfig") == (0, [f"export KUBECONFIG={path}"], [])
    assert skep("kubeconfig", "--path") == (0, [str(path)], [])


@pytest.mark.parametrize("words", [("kubeconfig",), ("token",), ("token", "rotate")])
def test_before_the_first_start_there_is_nothing_to_show(skep: Run, folder: Path, words: tuple[str, ...]) -> None:
    code, out, err = skep(*words)
    assert (code, out) == (1, [])
    assert err[0].startswith(f"error: there is no {folder}/skep-data/")
    assert not (folder / "skep-data").exists()


def test_who_has_no_data_folder_is_taken_to_the_server_of_their_own_kubeconfig(
    skep: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{folder}/mine")
    asked = (("key", "list"), ("actor", "list"), ("auth", "explain", "ann", "get", "pods"))
    assert {skep(*words)[2][0] for words in asked} == {f"error: there is no {folder}/mine"}
    assert skep("key", "list", "--data-dir", "other")[2][0] == f"error: there is no {folder}/other/kubeconfig"
    data(folder)
    assert "mine" not in skep("key", "list")[2][0], "the data folder that is there goes before"


def test_token_shows_the_file_and_never_the_token(skep: Run, folder: Path) -> None:
    path = data(folder) / "admin.token"
    assert skep("token") == (0, [str(path)], [])


def test_rotating_the_token_changes_it_in_the_file_and_in_the_kubeconfig(skep: Run, folder: Path) -> None:
    path = data(folder)
    before = (path / "admin.token").read_text().strip()
    code, out, _ = skep("token", "rotate")
    after = (path / "admin.token").read_text().strip()
    assert code == 0
    assert after != before
    assert yaml.safe_load((path / "kubeconfig").read_text())["users"][0]["user"]["token"] == after
    assert after not in out[0]


def test_a_variable_that_is_nearly_a_setting_is_pointed_out(skep: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data(folder)
    monkeypatch.setenv("SKEP_DATADIR", "x")
    assert skep("kubeconfig")[2] == ["warning: the variable SKEP_DATADIR is not used; did you mean SKEP_DATA_DIR?"]


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(StartError, match=rf"^cannot listen on {address}: the port is taken$"):
            bind(address)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_of_this_machine_is_one_line(host: str) -> None:
    with pytest.raises(StartError, match=f"^cannot listen on {host}:7443: "):
        bind(Address(host, 7443))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_port_zero_takes_one_that_is_free_and_says_which(host: str) -> None:
    listener, address = bind(Address(host, 0))
    with listener:
        assert address == Address(host, listener.getsockname()[1])
        socket.create_connection(listener.getsockname()).close()
