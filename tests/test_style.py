"""The style that the code keeps, as far as a machine can tell: documented names, short functions and modules, nothing left over."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("actors", "admission", "apiserver", "migrations", "registry", "storage")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
STEPS = ROOT / "migrations/versions"
MODULE_LINES = 450
FUNCTION_LINES = 40

LONG_MODULES: dict[str, str] = {}
LONG_FUNCTIONS = {
    "apiserver/cli_actor.py:run": "typer makes a flag of each parameter, and each takes its lines",
    "apiserver/cli.py:serve": "typer makes a flag of each parameter, and each takes its lines",
    "registry/plugin.py:Plugin.kind": "a kind says much of itself, and each word is a parameter",
    "migrations/versions/0001_objects_and_log.py:upgrade": "a step is a list of tables and columns",
}


class Named(NamedTuple):
    """A class or function, with its path in the module. `public`: no part of the path begins with an underscore."""

    path: str
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    public: bool
    within: ast.ClassDef | None

    @property
    def lines(self) -> int:
        """How long it is."""
        return (self.node.end_lineno or 0) - self.node.lineno + 1


def names_in(body: list[ast.stmt], path: str = "", *, public: bool = True, within: ast.ClassDef | None = None) -> Iterator[Named]:
    """Classes, and functions that are not inside of others: what a reader of the module meets."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            named = Named(path + node.name, node, public and not node.name.startswith("_"), within)
            yield named
            if isinstance(node, ast.ClassDef):
                yield from names_in(node.body, f"{named.path}.", public=named.public, within=node)


def is_stub(named: Named) -> bool:
    """A method of a protocol that only says its types: what it means is in the docstring of the class."""
    protocol = named.within is not None and any("Protocol" in ast.unparse(base) for base in named.within.bases)
    body = named.node.body
    return protocol and len(body) == 1 and isinstance(body[0], ast.Expr) and ast.unparse(body[0]) == "..."


def shown(path: Path) -> str:
    """A module as it is named in the lists above."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_every_public_name_says_what_it_promises(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    if path.parent == STEPS:
        return  # a step is described by its module
    silent = [
        named.path for named in names_in(tree.body) if named.public and not is_stub(named) and not ast.get_docstring(named.node)
    ]
    assert not silent


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_modules_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    where = shown(path)
    assert where in LONG_MODULES or text.count("\n") <= MODULE_LINES
    functions = [named for named in names_in(ast.parse(text).body) if not isinstance(named.node, ast.ClassDef)]
    assert not [
        f"{named.path}: {named.lines} lines"
        for named in functions
        if named.lines > FUNCTION_LINES and f"{where}:{named.path}" not in LONG_FUNCTIONS
    ]


def test_what_may_be_long_is_long() -> None:
    short = [where for where in LONG_MODULES if (ROOT / where).read_text().count("\n") <= MODULE_LINES]
    for allowed in LONG_FUNCTIONS:
        where, path = allowed.split(":")
        found = [named for named in names_in(ast.parse((ROOT / where).read_text()).body) if named.path == path]
        short += [allowed for named in found if named.lines <= FUNCTION_LINES] if found else [f"{allowed} is not there"]
    assert not short


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_nothing_is_left_to_be_done_or_printed(path: Path) -> None:
    text = path.read_text()
    assert not [word for word in ("TODO", "FIXME", "XXX", "breakpoint(") if word in text]
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"]
    announced = 1 if shown(path) == "apiserver/serve.py" else 0  # that it serves, and where
    assert len(calls) == announced
