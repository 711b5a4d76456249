"""The command `skep`: reads what was asked, and shows every expected failure as one line.

Exit codes: 0 done, 1 it failed on this machine (port taken, database gone, folder not writable), 2 it was asked wrongly (flags,
settings, plugins). Only the standard library, typer and `apiserver.config` are imported before it is known that nothing hides our
own packages; the rest is imported by the command that needs it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Annotated, Any

import typer

from apiserver.cli_actor import actor_commands
from apiserver.cli_auth import auth
from apiserver.cli_certificate import certificate_commands
from apiserver.cli_key import key_commands
from apiserver.cli_registry import COMMANDS as PROMISE
from apiserver.cli_registry import registry_commands
from apiserver.cli_registry_callers import COMMANDS as CALLERS
from apiserver.cli_registry_check import COMMANDS as CHECK
from apiserver.cli_registry_export import COMMANDS as EXPORT
from apiserver.cli_registry_graph import COMMANDS as DRAW
from apiserver.cli_registry_inspect import COMMANDS as INSPECT
from apiserver.cli_registry_migrate import COMMANDS as MIGRATE
from apiserver.cli_token_keys import token_keys
from apiserver.config import ConfigError, Settings, StartError, load, misspelt
from apiserver.plugins import check_own_packages, load_plugins

EXIT_CODES = "Exit codes: 0 done; 1 it failed on this machine; 2 it was asked wrongly (flags, settings, plugins)."

app = typer.Typer(
    name="skep",
    help="A standalone Kubernetes-style API server on SQL. Start it with `skep serve`; then kubectl works on it.",
    epilog=f"{EXIT_CODES} Every setting is also a SKEP_* variable and a key of the --config file: see docs/configuration.md.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=True,
)
db = typer.Typer(help="Look after the database.", no_args_is_help=True)
token = typer.Typer(help="The admin's token.", invoke_without_command=True)
app.add_typer(db, name="db")
app.add_typer(token, name="token")
app.add_typer(actor_commands, name="actor")
app.add_typer(token_keys, name="token-keys")
app.add_typer(key_commands, name="key")
app.add_typer(certificate_commands, name="certificate")
app.add_typer(auth, name="auth")
app.add_typer(registry_commands, name="registry")
for _command, _name, _epilog in (*INSPECT, *DRAW, *EXPORT, *CHECK, *PROMISE, *CALLERS, *MIGRATE):
    registry_commands.command(_name, epilog=_epilog)(_command)

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML. Variables and flags go before it.")
]
DataDir = Annotated[
    str | None,
    typer.Option("--data-dir", metavar="FOLDER", help="Database, certificates, token, kubeconfig.  [default: ./skep-data]"),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url", metavar="URL", help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.  [default: in --data-dir]"
    ),
]
SetAny = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting, as limits.body_bytes=1048576.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code. Expected failures are shown; anything else is a bug and shows its traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words or bool(os.environ.get("SKEP_DEBUG"))
    try:
        check_own_packages()
        code = app(args=[word for word in words if word != "--debug"], prog_name="skep", standalone_mode=False)
    except typer.TyperException as error:
        usage = _usage(error)
        return _show(usage) if usage.message else usage.exit_code  # without a message, the help has been shown instead
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        expected = explained(error)
        if debug or expected is None:
            traceback.print_exception(error)
        return _show(
            expected or StartError(f"internal error: {type(error).__name__}: {error}", "this is a bug in skep: please report it")
        )
    return code if isinstance(code, int) else 0


def explained(error: BaseException) -> StartError | None:
    """What to tell about an exception that is a failure to be expected; None for one that is a bug.

    This is the one place where the errors of storage and registry are put into words for the command line.
    """
    if isinstance(error, StartError):
        return error
    from registry.catalog import RegistryError
    from registry.declarations import DeclarationError
    from storage.engine import InvalidDatabase
    from storage.lock import Locked
    from storage.store import StoreError

    match error:
        case BaseExceptionGroup():
            told = [explained(inner) for inner in error.exceptions]
            return told[0] if told and None not in told else None
        case RegistryError():
            return ConfigError(error.problems)
        case DeclarationError():
            return ConfigError([str(error)])
        case InvalidDatabase():
            return StartError(_line(error), "the database is set with --database-url and --data-dir")
        case Locked() | StoreError():
            return StartError(_line(error))
        case OSError() if error.strerror:
            where = f"{error.filename}: " if error.filename else ""
            return StartError(f"{where}{error.strerror}")
    return None


@app.callback(invoke_without_command=True)
def _skep(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every failure. Also SKEP_DEBUG=1.")] = False,
) -> None:
    if show_version:
        version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@app.command(epilog=EXIT_CODES)
def serve(
    plugin: Annotated[
        list[str] | None, typer.Option(metavar="WHAT", help="File, module or entry point to load. Repeat it.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Port 0 is any free one.  [default: 127.0.0.1:7443]")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    log_level: Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.  [default: info]")] = None,
    log_format: Annotated[str | None, typer.Option(metavar="FORM", help="auto, json or console.  [default: auto]")] = None,
    log_access: Annotated[
        str | None, typer.Option(metavar="WHICH", help="Log all requests, errors, or off.  [default: all]")
    ] = None,
    tls_cert: Annotated[str | None, typer.Option(metavar="FILE", help="Your own certificate with its chain, PEM.")] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="Its private key, PEM.")] = None,
    tls_ca: Annotated[str | None, typer.Option(metavar="FILE", help="What clients check it by; goes into the kubeconfig.")] = None,
    tls_name: Annotated[list[str] | None, typer.Option(metavar="NAME", help="One more name in the made certificate.")] = None,
    shutdown_grace: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="For what is at work at SIGTERM.  [default: 4]")
    ] = None,
    no_actors: Annotated[bool, typer.Option("--no-actors", help="Leave the actors to `skep actor run`.")] = False,
    set_any: SetAny = None,
) -> None:
    """Runs the server until SIGTERM or Ctrl-C.

    Without any flag: SQLite, certificates, an admin token and a kubeconfig in ./skep-data, TLS on 127.0.0.1:7443.

    Examples:

    - skep serve --plugin uptime.py

    - skep serve --listen 0.0.0.0:7443 --tls-name api.example.com --data-dir /var/lib/skep

    - skep serve --database-url postgresql://skep:PASSWORD@db/skep --config skep.toml
    """
    flags = {
        "plugins": plugin or None,
        "listen": listen,
        "data_dir": data_dir,
        "database_url": database_url,
        "log.level": log_level,
        "log.format": log_format,
        "log.access": log_access,
        "tls.cert": tls_cert,
        "tls.key": tls_key,
        "tls.ca": tls_ca,
        "tls.names": tls_name or None,
        "shutdown_grace_seconds": shutdown_grace,
        "actors.run": False if no_actors else None,
    }
    settings = _settings(config, {**_pairs(set_any), **{name: value for name, value in flags.items() if value is not None}})
    from registry.plugin import Plugin

    plugins = [loaded.value for loaded in load_plugins(settings.plugins, Plugin)]
    from apiserver.serve import serve as run

    raise typer.Exit(run(settings, plugins))


@db.command(epilog=EXIT_CODES)
def upgrade(data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None) -> None:
    """Brings the tables to the form that this version needs. On SQLite, `skep serve` does it itself.

    Example: skep db upgrade --database-url postgresql://skep:PASSWORD@db/skep
    """
    import migrations

    url = _database(data_dir, database_url, config)
    applied = migrations.upgrade(url)
    typer.echo(f"applied {', '.join(applied)}" if applied else "nothing to do")


@db.command(epilog=EXIT_CODES)
def current(data_dir: DataDir = None, database_url: DatabaseUrl = None, config: Config = None) -> None:
    """Shows the form that the tables have, and what `skep db upgrade` would apply."""
    import migrations

    url = _database(data_dir, database_url, config)
    waiting = migrations.pending(url)
    typer.echo((migrations.current(url) or "empty") + (f" (waiting: {', '.join(waiting)})" if waiting else ""))


@token.callback()
def token_path(context: typer.Context, data_dir: DataDir = None, config: Config = None) -> None:
    """Shows the file that holds the admin's token."""
    from apiserver.datadir import TOKEN

    folder = _settings(config, {"data_dir": data_dir}).data_dir
    context.obj = folder
    if context.invoked_subcommand is None:
        typer.echo(_existing(folder / TOKEN))


@token.command(epilog=EXIT_CODES)
def rotate(context: typer.Context) -> None:
    """Makes a new admin token and puts it into the kubeconfig. A server that runs knows it after its next start.

    Example: skep token --data-dir /var/lib/skep rotate
    """
    from apiserver.datadir import TOKEN, rotate_admin_token
    from apiserver.kubeconfig import replace_token

    folder: Path = context.obj
    _existing(folder / TOKEN)
    path = replace_token(folder, rotate_admin_token(folder))
    typer.echo(f"new token in {folder / TOKEN}" + (f" and in {path}" if path else "") + "; start the server again to make it known")


@app.command(epilog=EXIT_CODES)
def kubeconfig(
    data_dir: DataDir = None,
    config: Config = None,
    path: Annotated[bool, typer.Option("--path", help="Show the path alone.")] = False,
) -> None:
    """Shows the line that makes kubectl use this server.

    Example: eval "$(skep kubeconfig)"
    """
    from apiserver.kubeconfig import FILE, export_line

    file = _existing(_settings(config, {"data_dir": data_dir}).data_dir / FILE)
    typer.echo(str(file) if path else export_line(file))


@app.command()
def version() -> None:
    """Shows the version."""
    typer.echo(f"skep {distribution_version('skep')}")


def _settings(config: Path | None, flags: dict[str, Any]) -> Settings:
    for line in misspelt(os.environ):
        typer.echo(f"warning: {line}", err=True)
    return load(flags=flags, environ=os.environ, config=config, cwd=Path.cwd())


def _database(data_dir: str | None, database_url: str | None, config: Path | None) -> str:
    """The URL of the database. The data folder is made ready when the database is in it."""
    settings = _settings(config, {"data_dir": data_dir, "database_url": database_url})
    if str(settings.data_dir) in settings.database_url:
        from apiserver.datadir import prepare

        prepare(settings.data_dir, lambda line: typer.echo(f"warning: {line}", err=True))
    return settings.database_url


def _pairs(words: Sequence[str] | None) -> dict[str, str]:
    pairs = [word.partition("=") for word in words or ()]
    wrong = [f"--set {name}: it takes NAME=VALUE" for name, equals, _ in pairs if not equals]
    if wrong:
        raise ConfigError(wrong)
    return {name: value for name, _, value in pairs}


def _existing(path: Path) -> Path:
    if not path.exists():
        raise StartError(f"there is no {path}", "the first `skep serve` makes it; --data-dir says where", exit_code=1)
    return path


def _usage(error: typer.TyperException) -> StartError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "skep"
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    return StartError(" ".join(said.split()), f"`{command} --help` shows what it takes", exit_code=2)


def _show(error: StartError) -> int:
    for line in error.lines():
        typer.echo(line, err=True)
    return error.exit_code


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
