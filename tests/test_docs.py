"""What README.md and docs/ say is so: their examples are run, in the order in which they stand, against a real server.

A comment before a fenced block says what is done with it:

    <!-- test: file NAME -->     it is written into the page's folder
    <!-- test: append NAME -->   it is added to that file
    <!-- test: serve -->         it is run until the page ends or serves again, and has to exit with 0 on SIGTERM
    <!-- test: background -->    the same beside the server: it has to say a line when it is ready
    <!-- test: run -->           it is run by bash, and has to succeed (environment and functions stay for the blocks after it)
    <!-- test: fails -->         the same, and it has to fail
    <!-- test: output -->        the block before said this: `...` is anything, blanks are one blank, more lines may come between

Blocks without a comment have to be readable: Python compiles, YAML and TOML parse, bash takes the syntax. Each page has a folder
and a HOME of its own. In the place of https://example.com/, https://127.0.0.1:7443 and /var/lib/skep there are a little web server,
the page's Skep, and a folder of the page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer.main
import yaml

from apiserver.cli import app
from registry import errors
from tests.postgres import Postgres, postgres  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:^<!-- test: (?P<task>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|yaml|toml|txt))`")
PATIENCE = 60


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and what the comment before it says."""

    task: str
    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(found["task"] or "", found["language"], found["text"], text.count("\n", 0, found.start("text")) + 1)
        for found in BLOCK.finditer(text)
    ]


class Answer(BaseHTTPRequestHandler):
    """A web site that answers 200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The URL of a web site."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


class Reader:
    """Does in a folder what a page says, as somebody who reads it would."""

    def __init__(self, folder: Path, names: dict[str, str]) -> None:
        self._folder = folder
        self._names = names  # what the page says -> what it is here
        self._server: subprocess.Popen[str] | None = None
        self._background: list[subprocess.Popen[str]] = []
        self._said = ""
        (folder / "home").mkdir()
        (folder / "examples").symlink_to(ROOT / "examples")
        self._state = folder / "home/state.sh"
        self._state.touch()

    def do(self, block: Block) -> None:
        """Carries out one block."""
        task, _, name = block.task.partition(" ")
        text = self._here(block.text)
        if task in ("file", "append"):
            with (self._folder / name).open("w" if task == "file" else "a") as file:
                file.write(text)
        elif task == "serve":
            self.serve(text)
        elif task == "background":
            self._begin(text)
        elif task in ("run", "fails"):
            self._run(text, fails=task == "fails")
        elif task == "output":
            self._check(text)
        else:
            pytest.fail(f"there is no task {block.task!r}")

    def serve(self, command: str) -> None:
        """Starts the server, in the place of the one before."""
        self.stop()
        self._server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self._folder, env=self._environment(), stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout is not None
        said = self._server.stdout.readline()
        assert said.startswith("Skep serves https://"), f"{command} did not start"
        assert self._server.stdout.readline().startswith("export KUBECONFIG=")
        self._names["https://127.0.0.1:7443"] = said.split()[-1]

    def _begin(self, command: str) -> None:
        """Starts something that goes on until the page ends."""
        script = f"source '{self._state}'; exec {command}"
        started = subprocess.Popen(
            ["bash", "-c", script], cwd=self._folder, env=self._environment(), stdout=subprocess.PIPE, text=True
        )
        self._background.append(started)
        assert started.stdout is not None
        self._said = started.stdout.readline()
        assert self._said, f"{command} did not start"

    def end(self) -> None:
        """Ends everything that the page has started: on SIGTERM it has to exit with 0."""
        while self._background:
            with self._background.pop() as process:
                process.send_signal(signal.SIGTERM)
            assert process.returncode == 0
        self.stop()

    def stop(self) -> None:
        """Ends the server, if there is one: on SIGTERM it has to exit with 0."""
        if self._server is None:
            return
        with self._server as server:
            server.send_signal(signal.SIGTERM)
        assert self._server.returncode == 0
        self._server = None

    def _here(self, text: str) -> str:
        for name, instead in self._names.items():
            text = text.replace(name, instead)
        return text

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR", "PYTHONPATH")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        home = str(self._folder / "home")
        return {
            **kept,
            "PATH": path,
            "HOME": home,
            "SKEP_LISTEN": "127.0.0.1:0",
            "SKEP_LOG_LEVEL": "warning",
            "SKEP_LOG_ACCESS": "off",
        }

    def _run(self, script: str, *, fails: bool) -> None:
        kept = f"status=$?; {{ export -p; declare -f; }} > '{self._state}'; exit $status"
        command = f"set -eo pipefail; source '{self._state}'; trap \"{kept}\" EXIT\n{script}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self._said = done.stdout
        assert (done.returncode != 0) == fails, f"exit status {done.returncode} of\n{script}\n{done.stdout}"

    def _check(self, expected: str) -> None:
        said = [" ".join(line.split()) for line in self._said.splitlines()]
        for line in filter(str.strip, expected.splitlines()):
            pattern = ".*".join(re.escape(part) for part in " ".join(line.split()).split("..."))
            while said and not re.fullmatch(pattern, said[0]):
                said.pop(0)
            assert said, f"there is no line {line!r}, or not after those before, in\n{self._said}"
            said.pop(0)


@contextmanager
def reader(folder: Path, names: dict[str, str]) -> Iterator[Reader]:
    """A reader whose server is ended with the page."""
    made = Reader(folder, names)
    try:
        yield made
    finally:
        made.end()


def runs(page: Path) -> bool:
    """Whether there is something to be run on a page."""
    return any(block.task for block in blocks(page))


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=lambda page: page.stem)
def test_the_examples_of_a_page_do_what_it_says(page: Path, site: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    used = {tool for tool in ("kubectl", "curl", "jq") for block in blocks(page) if re.search(rf"\b{tool} ", block.text)}
    missing = sorted(tool for tool in used if not shutil.which(tool))
    if missing:
        pytest.fail(f"the page needs what is not on the PATH: {', '.join(missing)}")
    names = {"https://example.com/": site, "/var/lib/skep": str(tmp_path / "data")}
    if "postgresql://skep:PASSWORD@db.example/skep" in page.read_text():
        server: Postgres = request.getfixturevalue("postgres")
        server.execute(f"CREATE DATABASE {page.stem}")
        names["postgresql://skep:PASSWORD@db.example/skep"] = server.url(page.stem)
    with reader(tmp_path, names) as somebody:
        for block in blocks(page):
            if block.task:
                try:
                    somebody.do(block)
                except AssertionError as error:
                    raise AssertionError(f"{page.name}:{block.line}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_readable(page: Path) -> None:
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.language == "python":
            compile(block.text, where, "exec")
        elif block.language == "yaml":
            assert list(yaml.safe_load_all(block.text)), where
        elif block.language == "toml":
            assert tomllib.loads(block.text), where
        elif block.language == "json":
            assert json.loads(block.text), where
        elif block.language == "sh":
            checked = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
            assert checked.returncode == 0, f"{where}: {checked.stderr}"
        else:
            assert block.language == "", f"{where}: {block.language} is not looked at by any test"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_links_to_and_names_is_there(page: Path) -> None:
    text = page.read_text()
    linked = {target.partition("#")[0] for target in LINK.findall(text) if "://" not in target}
    missing = sorted(target for target in linked if target and not (page.parent / target).exists())
    missing += sorted(name for name in NAMED_FILE.findall(text) if not (ROOT / name).exists())
    assert not missing


def test_every_page_that_the_code_names_is_there() -> None:
    folders = ("actors", "admission", "apiserver", "examples", "migrations", "registry", "storage")
    sources = [path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")]
    named = {name for text in sources for name in re.findall(r"\bdocs/[a-z]+\.md", text)}
    assert named
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_every_page_can_be_reached_from_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    assert {page.name for page in PAGES if page.parent.name == "docs"} - {"README.md"} <= set(LINK.findall(index))


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)}
    assert named
    assert named <= targets


def test_every_reason_of_a_refusal_is_documented() -> None:
    page = (ROOT / "docs/api.md").read_text()
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.ApiError)]
    refusals = {(kind.code, kind.reason) for kind in kinds if kind.reason}
    assert len(refusals) > 10
    assert not [f"{code} {reason}" for code, reason in sorted(refusals) if f"| {code} | `{reason}` |" not in page]


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert not [command for command in commands() if f"`skep {command}`" not in page]


def commands() -> list[str]:
    """Every command of the command line, with its subcommands."""

    def below(command: object, name: str) -> Iterator[str]:
        inner: dict[str, object] = getattr(command, "commands", {})
        if not inner or getattr(command, "invoke_without_command", False):
            yield name
        for word, each in inner.items():
            yield from below(each, f"{name} {word}".strip())

    return [name for name in below(typer.main.get_command(app), "") if name]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.stem)
def test_nothing_of_the_workshop_is_left_in_a_page(page: Path) -> None:
    words = re.findall(r"(?i)\b(?:TODO|FIXME|TBD|helpers?|sessions?|agents?)\b|/work\b|\bshared/|/tmp/", page.read_text())
    assert not words
