"""`skep registry`: what plugins promise, written down, compared and judged. Nothing of it needs a server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apiserver.config import StartError, load

if TYPE_CHECKING:
    from registry.kinds import Kind
    from registry.lifecycle import Release
    from registry.plugin import Plugin

registry_commands = typer.Typer(
    help="Kinds and their versions: look at them, write down what they promise, check it.", no_args_is_help=True
)

LOCK = "registry.lock.json"
_EXIT = "Exit codes: 0 nothing is wrong; 1 something is refused; 2 it was asked wrongly (flags, settings, plugins)."
Plugins = Annotated[list[str] | None, typer.Option("--plugin", metavar="WHAT", help="File, module or entry point. Repeat it.")]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML, which may name the plugins.")]
_Output = Annotated[str, typer.Option("-o", "--output", metavar="FORM", help="text, json or sarif.")]
_File = Annotated[Path, typer.Option("--file", metavar="FILE", help="The lock.")]


def lock(
    plugin: Plugins = None,
    file: _File = Path(LOCK),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the file is not up to date.")] = False,
    config: Config = None,
) -> None:
    """Writes down what the plugins promise: kinds, versions, schemas, lifecycles, release.

    Keep the file beside the code: what is about to be promised, or broken, is then seen in a review.

    Example: skep registry lock --plugin uptime.py
    """
    from registry.lock import text_of

    text = text_of(_promised(plugin, config))
    held = file.read_text("utf-8") if file.exists() else None
    if check:
        if held != text:
            what = "is not what the plugins say" if held is not None else "is not there"
            raise StartError(f"{file} {what}", "write it with `skep registry lock`, and look at `skep registry diff`", exit_code=1)
        typer.echo(f"{file} is up to date")
    elif held == text:
        typer.echo(f"{file} is up to date")
    else:
        file.write_text(text, "utf-8")
        typer.echo(f"{file} is written")


def diff(
    plugin: Plugins = None,
    against: Annotated[
        str, typer.Option("--against", metavar="WHAT", help="A lock, or git:REV for the one of a commit, branch or tag.")
    ] = LOCK,
    file: _File = Path(LOCK),
    output: _Output = "text",
    config: Config = None,
) -> None:
    """Tells what the plugins promise otherwise than a lock, and what of it must not be.

    `--against git:main` takes what `--file` was on the branch main.

    Examples:

    - skep registry diff --plugin uptime.py

    - skep registry diff --plugin uptime.py --against git:v1.4 -o sarif
    """
    from apiserver import showing_registry as showing
    from registry.diff import diff as compare

    showing.check(output)
    changes = compare(_held(against, file), _promised(plugin, config))
    showing.changes(changes, output, str(file))
    raise typer.Exit(1 if any(change.refused for change in changes) else 0)


def lint(
    plugin: Plugins = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail for warnings too.")] = False,
    output: _Output = "text",
    config: Config = None,
) -> None:
    """Tells where the plugins break a convention of Kubernetes APIs, or what they promise of their versions.

    Every rule has a number and a page in docs/rules. It is switched off with a reason where the version is declared:
    plugin.kind(..., waive={"SKEP312 spec.price": "the bank's interface has a float"}).

    Example: skep registry lint --plugin uptime.py
    """
    from apiserver import showing_registry as showing
    from registry.lint import lint as judge
    from registry.rules import Level

    showing.check(output)
    kinds, release = _kinds(plugin, config)
    found = judge(kinds, builtin_kinds(), release)
    showing.findings(found, output)
    wrong = any(not each.waived and (strict or each.rule.level is Level.ERROR) for each in found)
    raise typer.Exit(1 if wrong else 0)


COMMANDS = ((lint, "lint", _EXIT), (diff, "diff", _EXIT), (lock, "lock", _EXIT))
"""What this module puts into `skep registry`: function, name, epilog."""


def builtin_kinds() -> tuple[Kind, ...]:
    """The kinds that the server has of itself, whose names are taken."""
    from registry.builtin import KINDS
    from registry.builtin.actor import ACTOR
    from registry.builtin.apikey import API_KEY
    from registry.builtin.versionuse import VERSION_USE

    return (*KINDS, ACTOR, API_KEY, VERSION_USE)


def plugins_of(names: Sequence[str] | None, config: Path | None) -> list[Plugin]:
    """The plugins that are named, or that the settings name. StartError if there is none."""
    from apiserver.plugins import load_plugins
    from registry.plugin import Plugin

    flags: dict[str, Any] = {"plugins": list(names)} if names else {}
    settings = load(flags=flags, environ=os.environ, config=config, cwd=Path.cwd())
    if not settings.plugins:
        raise StartError("there is no plugin to look at", "name one: --plugin uptime.py", exit_code=2)
    return [loaded.value for loaded in load_plugins(settings.plugins, Plugin)]


def _kinds(names: Sequence[str] | None, config: Path | None) -> tuple[tuple[Kind, ...], Release | None]:
    """The kinds that the plugins declare, and their release. StartError and RegistryError."""
    from registry.plugin import build

    plugins = plugins_of(names, config)
    builtin = builtin_kinds()
    kinds = tuple(kind for kind in build(plugins, builtin).kinds if kind not in builtin)
    releases = {plugin.release for plugin in plugins if plugin.release is not None}
    if len(releases) > 1:
        listed = ", ".join(f"{plugin.name} {plugin.release}" for plugin in plugins if plugin.release is not None)
        raise StartError(f"the plugins are of several releases: {listed}", "look at one after the other", exit_code=2)
    return kinds, next(iter(releases), None)


def _promised(names: Sequence[str] | None, config: Path | None) -> dict[str, Any]:
    from registry.lock import lock_of

    return lock_of(*_kinds(names, config))


def _held(against: str, file: Path) -> dict[str, Any]:
    """The lock that a name means."""
    from registry.lock import LockError, read

    text = _committed(against[4:], file) if against.startswith("git:") else _file(Path(against))
    try:
        return read(text)
    except LockError as error:
        raise StartError(f"{against}: {error}", "write it anew with `skep registry lock`", exit_code=2) from None


def _file(path: Path) -> bytes:
    if not path.exists():
        raise StartError(f"there is no {path}", "`skep registry lock` writes it; --against names another", exit_code=2)
    return path.read_bytes()


def _committed(revision: str, file: Path) -> bytes:
    """What a file was in a revision of the repository that it is in."""
    if not revision or revision.startswith("-") or ":" in revision:
        raise StartError(f"git:{revision} names no revision", "as git:main, git:v1.4 or git:HEAD~1", exit_code=2)
    path = file.absolute()
    try:
        done = subprocess.run(  # noqa: S603 the revision begins with no dash, and there is no shell
            ["git", "-C", str(path.parent), "show", f"{revision}:./{path.name}"],  # noqa: S607
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise StartError(f"git:{revision}: {error.filename} is not there", "install git, or name a file", exit_code=2) from None
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise StartError(f"git:{revision}: {said}", f"is {file.name} committed there?", exit_code=2)
    return done.stdout
