"""`skep registry check`: whether the plugins fit together, and their converters give back what they are given. Needs no server."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from apiserver.cli_registry import Config, Plugins, plugins_of

if TYPE_CHECKING:
    from registry.catalog import Registry
    from registry.kinds import Version
    from registry.trying import Trial

BAD = 1
"""The exit code when something is wrong."""

EPILOG = "Exit codes: 0 all is well; 1 something is wrong; 2 it was asked wrongly (flags, settings, plugins)."


def check(
    plugin: Plugins = None,
    tries: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="Values that each converter is tried on.")] = 200,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed makes other values.")] = 0,
    output: Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="For people, or for programs.")] = "text",
    config: Config = None,
) -> None:
    """Builds the registry, and tries its converters on made-up values: there and back must give the same.

    Example: skep registry check --plugin uptime.py
    """
    from registry.builtin import KINDS
    from registry.catalog import RegistryError
    from registry.plugin import build

    plugins = plugins_of(plugin, config)
    try:
        registry = build(plugins, KINDS)
    except RegistryError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD) from None
    show = report if output == "text" else report_json
    if not show(registry, random.Random(seed), tries):
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


def report_json(registry: Registry, chance: random.Random, tries: int) -> bool:
    """The same for programs."""
    from registry.trying import trials

    kinds = [kind for kind in registry.kinds if not kind.strategy.builtin]
    tried = [(kind, list(trials(kind, chance, tries))) for kind in kinds]
    said = [
        {
            "resource": kind.resource,
            "versions": [version.name for version in kind.versions],
            "storage": kind.storage.name,
            "trials": [_document(trial) for trial in found],
        }
        for kind, found in tried
    ]
    wrong = sum(bool(trial.wrong) for _, found in tried for trial in found)
    typer.echo(json.dumps({"kinds": said, "wrong": wrong}, indent=2, ensure_ascii=False))
    return not wrong


def _document(trial: Trial) -> dict[str, Any]:
    said: dict[str, Any] = {
        "from": trial.here,
        "to": trial.there,
        "converters": [{"name": step.name, "source": step.source} for step in trial.steps],
        "tried": trial.tried,
        "unheld": sorted(trial.unheld),
        "wrong": trial.wrong,
    }
    return said if trial.example is None else {**said, "example": trial.example}


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


COMMANDS = ((check, "check", EPILOG),)
"""What this module puts into `skep registry`: function, name, epilog."""
