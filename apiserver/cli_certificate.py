"""`skep certificate`: certificates with which clients show who they are, of the authority in the data folder."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from apiserver.config import Settings, StartError, load

certificate_commands = typer.Typer(help="Make certificates for clients.", no_args_is_help=True)


@certificate_commands.command(epilog="Exit codes: 0 done; 1 it failed on this machine; 2 it was asked wrongly.")
def create(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whom it is for (its common name); admin is the administrator.")],
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="NAME", help="A group of the user (an organization). Repeat it.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it holds. It cannot be revoked.")] = 30,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The kubeconfig to write.  [default: USER.kubeconfig]")
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", metavar="FOLDER", help="Of the server.  [default: ./skep-data]")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML, for the data folder.")] = None,
) -> None:
    """Makes a certificate and its key, in a kubeconfig that is all that kubectl needs.

    Whoever can read the data folder can make one for anybody, without asking the server.

    Examples:

    - skep certificate create ann --group deployers

    - skep certificate create admin --group system:masters --days 1 --out emergency.kubeconfig
    """
    from apiserver.client_certificates import issue
    from apiserver.datadir import write_private
    from apiserver.kubeconfig import export_line, rendered, server_of

    settings = load(flags={"data_dir": data_dir}, environ=os.environ, config=config, cwd=Path.cwd())
    path = (out or Path(f"{user.replace('/', '_')}.kubeconfig")).absolute()
    _check(settings, path)
    pair = issue(settings.data_dir, user, tuple(group or ()), timedelta(days=days), datetime.now(UTC))
    server, ca_pem = server_of(settings.data_dir)
    write_private(path, rendered(server=server, ca_pem=ca_pem, user=user, credential=pair))
    typer.echo(export_line(path))


def _check(settings: Settings, path: Path) -> None:
    """Whether a certificate can be made here, and be written there. Raises StartError."""
    from apiserver.client_certificates import STEM
    from apiserver.kubeconfig import FILE

    own = settings.authentication
    if not own.client_certificates or own.client_ca is not None:
        hint = "have it made by the authority of authentication.client_ca"
        raise StartError("this server has no authority of its own for clients", hint, exit_code=2)
    for needed in (settings.data_dir / f"{STEM}.key", settings.data_dir / FILE):
        if not needed.exists():
            raise StartError(f"there is no {needed}", "the first `skep serve` makes it; --data-dir says where")
    if path.exists():
        raise StartError(f"{path} is there already", "name a new file with --out, or remove it", exit_code=2)
