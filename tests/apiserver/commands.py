"""What tests of the command have in common: an empty folder, nobody's settings, and a way to run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from apiserver.cli import main
from apiserver.config import catalog

Outcome = tuple[int, list[str], list[str]]
Run = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in an empty folder, without settings of whoever runs the tests."""
    for setting in catalog():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("SKEP_CONFIG", raising=False)
    monkeypatch.delenv("SKEP_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def skep(capsys: pytest.CaptureFixture[str], folder: Path) -> Run:
    """Runs the command there: exit code, lines of output, lines of errors."""
    del folder

    def run(*words: str) -> Outcome:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run
