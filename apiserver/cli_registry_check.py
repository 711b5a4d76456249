"""`skep registry check`: whether the plugins fit together, and their converters give back what they are given. Needs no server."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from registry.catalog import Registry
    from registry.kinds import Version
    from registry.trying import Trial

BAD = 1
"""The exit code when something is wrong."""

EPILOG = "Exit codes: 0 all is well; 1 something is wrong; 2 it was asked wrongly (flags, settings, plugins)."


def check(
    plugin: Annotated[list[str], typer.Option(metavar="PLUGIN", help="A file, a module or an entry point. Repeat it.")],
    tries: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="Values that each converter is tried on.")] = 200,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed makes other values.")] = 0,
) -> None:
    """Builds the registry, and tries its converters on made-up values: there and back must give the same.

    Example: skep registry check --plugin uptime.py
    """
    from apiserver.plugins import load_plugins
    from registry.builtin import KINDS
    from registry.catalog import RegistryError
    from registry.plugin import Plugin, build

    try:
        registry = build([loaded.value for loaded in load_plugins(plugin, Plugin)], KINDS)
    except RegistryError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD) from None
    if not report(registry, random.Random(seed), tries):
        raise typer.Exit(BAD)


def report(registry: Registry, chance: random.Random, tries: int) -> bool:
    """Says what came of all trials; whether all is well."""
    from registry.trying import trials

    well = True
    for kind in registry.kinds:
        if kind.strategy.builtin:
            continue
        typer.echo(f"{kind.resource}: {', '.join(_named(version) for version in kind.versions)}, stored as {kind.storage.name}")
        for trial in trials(kind, chance, tries):
            well = well and not trial.wrong
            for line in told(trial):
                typer.echo(f"  {line}")
    return well


def _named(version: Version) -> str:
    return version.name if version.served else f"{version.name} (not served)"


def told(trial: Trial) -> list[str]:
    """A trial in lines for people."""
    way = f"{trial.here} -> {trial.there} -> {trial.here}"
    if not trial.wrong:
        lines = [f"{way}: {trial.tried} values came back the same"]
        return (
            [*lines, f"  {trial.there} does not have {', '.join(sorted(trial.unheld))}; the server keeps it"]
            if trial.unheld
            else lines
        )
    lines = [f"{way}: WRONG: {trial.wrong}"]
    lines += [f"  {step.name} at {step.source}" for step in trial.steps]
    return lines if trial.example is None else [*lines, "  for this object:", *(f"    {line}" for line in _yaml(trial.example))]


def _yaml(document: dict[str, Any]) -> list[str]:
    from registry.documents import dump_yaml

    return dump_yaml({key: value for key, value in document.items() if key != "metadata"}).decode().splitlines()
