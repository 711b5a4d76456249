"""What all commands of `skep registry` have in common: flags, helps, the names of a kind, and what is told when it is not there."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from apiserver.cli import main
from apiserver.cli_registry import registry_commands
from apiserver.config import catalog
from tests.servers import REFERENCE

OF_A_SERVER = {"--server", "--kubeconfig", "--data-dir", "--token-file", "--ca", "--config"}
ASKS_A_SERVER = {"list", "show", "explain", "graph", "export", "callers", "migrate"}
TAKES_PLUGINS = {"list", "show", "explain", "graph", "export", "check", "lint", "diff", "lock"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to be in, and no settings of whoever runs the tests."""
    for setting in catalog():
        monkeypatch.delenv(setting.variable, raising=False)
    for name in ("SKEP_CONFIG", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_every_command_names_a_server_and_plugins_by_the_same_flags() -> None:
    group = get_command(registry_commands)
    assert isinstance(group, typer.core.TyperGroup)
    assert set(group.commands) == ASKS_A_SERVER | TAKES_PLUGINS
    helps: dict[str, set[str | None]] = {}
    for name, command in group.commands.items():
        options = [param for param in command.params if isinstance(param, typer.core.TyperOption)]
        flags = {flag for option in options for flag in option.opts}
        assert (flags >= OF_A_SERVER) == (name in ASKS_A_SERVER), name
        assert ("--plugin" in flags) == (name in TAKES_PLUGINS), name
        for option in options:
            if name in ASKS_A_SERVER and OF_A_SERVER & set(option.opts):
                helps.setdefault(option.opts[0], set()).add(option.help)
    assert {flag: len(said) for flag, said in helps.items()} == dict.fromkeys(OF_A_SERVER, 1)


def test_every_command_has_an_example_and_says_its_exit_codes() -> None:
    group = get_command(registry_commands)
    assert isinstance(group, typer.core.TyperGroup)
    for name, command in group.commands.items():
        assert f"skep registry {name}" in (command.help or ""), name
        assert (command.epilog or "").startswith("Exit codes: 0 "), name
        assert ("3 there is no such kind" in (command.epilog or "")) == (name in ASKS_A_SERVER), name


@pytest.mark.parametrize(
    "words", [("show", "widgits"), ("explain", "widgits.spec"), ("graph", "widgits"), ("export", "crd", "widgits")]
)
def test_a_kind_that_is_not_there_is_told_in_the_same_way_everywhere(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["registry", *words, "--plugin", str(REFERENCE)]) == 3
    assert capsys.readouterr().err == "error: there is no kind 'widgits'\nhint: did you mean widgets?\n"


@pytest.mark.parametrize("words", [("list", "--group", "reference.example"), ("export", "crd", "--group", "reference.example")])
def test_a_group_that_is_not_there_is_no_kind(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", *words, "--plugin", str(REFERENCE)]) == 3
    said = capsys.readouterr().err
    assert said.startswith("error: there is no group 'reference.example'\nhint: ")
    assert "reference.example.com" in said


@pytest.mark.parametrize("name", ["widget", "Widget", "widgets.v1", "widgets.v1.reference.example.com"])
def test_an_export_takes_every_name_of_a_kind(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", "export", "crd", name, "--plugin", str(REFERENCE)]) == 0
    said = capsys.readouterr().out
    assert "name: widgets.reference.example.com" in said
    assert "gadgets" not in said
    assert ("name: v1beta1" in said) == (".v1" not in name)


@pytest.mark.parametrize("words", [("list",), ("export", "crd"), ("callers",), ("migrate", "widgets")])
def test_without_a_server_every_command_says_how_to_name_one(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", *words]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: there is no /")
    assert hint.endswith("; --data-dir, --kubeconfig, or --server with --ca, names a server")


class Terminal(io.StringIO):
    """A terminal, for those who ask."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [40, 80, 120, 300])
def test_a_narrow_terminal_cuts_nothing_off(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "dumb")
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["registry", "list", "--all", "--plugin", str(REFERENCE)]) == 0
    head, *lines = screen.getvalue().splitlines()
    assert head.split()[:6] == ["NAME", "SHORT", "KIND", "GROUP", "SCOPE", "VERSIONS"]
    said = " ".join(lines)
    assert all(name in said for name in ("customresourcedefinitions", "apiextensions.k8s.io", "v1beta1", "(deprecated)"))


def test_a_graph_is_not_written_in_a_form_that_nobody_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", "graph", "--plugin", str(REFERENCE), "--out", "kinds.png"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: kinds.png: it is not known what a .png is to be\nhint: -o tells; or one of .txt, .svg, ")
    assert not Path("kinds.png").exists()
    assert main(["registry", "graph", "--plugin", str(REFERENCE), "--out", "kinds.md", "-o", "mermaid"]) == 0
    assert Path("kinds.md").read_text().startswith("flowchart ")
