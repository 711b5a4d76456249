"""`skep actor run`: actors outside of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apiserver.cli_actor_insight import actor as actor_commands
from apiserver.cli_actor_insight import of_environment
from apiserver.config import ConfigError, StartError

__all__ = ["actor_commands"]

_EXIT = (
    "Exit codes: 0 stopped by SIGTERM or Ctrl-C; 1 the server refused, or lacks a kind; "
    "2 it was asked wrongly (flags, plugins, kubeconfig)."
)


@actor_commands.command(epilog=_EXIT)
def run(
    plugin: Annotated[list[str], typer.Option(metavar="WHAT", help="File, module or entry point to load. Repeat it.")],
    kubeconfig: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the server is, and a credential.  [default: $KUBECONFIG]")
    ] = None,
    context: Annotated[str, typer.Option(metavar="NAME", help="A context of it.  [default: its current one]")] = "",
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A token to show instead of the credential in there; read for each request.")
    ] = None,
    server: Annotated[str, typer.Option(metavar="URL", help="Another address of the server than the one in the file.")] = "",
    actor: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this actor. Repeat it.  [default: all]")] = None,
    health: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Serve /healthz, /readyz and /metrics there, without TLS.  [default: nowhere]")
    ] = "",
    lease: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, max=3600, help="After how long another runner takes over.")
    ] = 15.0,
    grace: Annotated[float, typer.Option(metavar="SECONDS", min=0, max=3600, help="For runs that are at work at SIGTERM.")] = 10.0,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = "info",
    log_format: Annotated[str, typer.Option(metavar="FORM", help="auto, json or console.")] = "auto",
) -> None:
    """Runs the actors of a plugin in this process, against a server elsewhere.

    Start it as often as you like, on as many machines: of all that run an actor one works, and another takes over when it is gone.

    Examples:

    - skep actor run --plugin uptime.py --kubeconfig skep-data/kubeconfig

    - skep actor run --plugin uptime.py --server https://api.example:7443 --actor uptime-check --health 0.0.0.0:8080
    """
    from apiserver import kubeconfig_read
    from apiserver.actor_run import Options, run_actors
    from apiserver.config import load
    from apiserver.plugins import load_plugins
    from registry.plugin import Plugin

    flags = {"log.level": log_level, "log.format": log_format} | ({"listen": health} if health else {})
    try:
        settings = load(flags=flags, environ={}, config=None, cwd=Path.cwd())
    except ConfigError as error:
        raise ConfigError([problem.replace("listen", "health") for problem in error.problems]) from None
    credentials = kubeconfig_read.read(_file(kubeconfig), context=context, server=server, token_file=_absolute(token_file))
    options = Options(
        only=tuple(actor or ()), health=settings.listen if health else None, lease_seconds=lease, grace=grace, log=settings.log
    )
    plugins = [loaded.value for loaded in load_plugins(plugin, Plugin)]
    raise typer.Exit(run_actors(plugins, credentials, options))


def _absolute(given: Path | None) -> Path | None:
    """A file as it is given, whatever folder the kubeconfig is in."""
    return None if given is None else given.absolute()


def _file(given: Path | None) -> Path:
    if given is not None:
        return given
    named = of_environment()
    if named is None:
        raise StartError(
            "which server? --kubeconfig FILE says it", "`skep kubeconfig --path` shows the file of a server", exit_code=2
        )
    return named
