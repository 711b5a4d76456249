"""`skep token-keys`: the keys that sign the tokens of service accounts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from apiserver.config import load

token_keys = typer.Typer(help="The keys that sign the tokens of service accounts.", no_args_is_help=True)

_DataDir = Annotated[str | None, typer.Option("--data-dir", metavar="FOLDER", help="Where they are.  [default: ./skep-data]")]
_KeyFile = Annotated[
    str | None, typer.Option("--key-file", metavar="FILE", help="Another file than the one in the data folder (tokens.key_file).")
]
_Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML.")]


@token_keys.command("list")
def show(data_dir: _DataDir = None, key_file: _KeyFile = None, config: _Config = None) -> None:
    """Shows the names of the keys, as tokens and `/openid/v1/jwks` name them. The first one signs, all of them verify."""
    from apiserver.key_file import read

    names = read(_path(data_dir, key_file, config)).names
    for number, name in enumerate(names):
        typer.echo(f"{name}  {'signs' if number == 0 else 'verifies'}")


@token_keys.command()
def rotate(data_dir: _DataDir = None, key_file: _KeyFile = None, config: _Config = None) -> None:
    """Makes a new key, which signs from now on. The one before still verifies; older ones are dropped, and their tokens with them.

    A server that runs follows within a second. Twice at once ends every token that there is.

    Example: skep token-keys rotate --data-dir /var/lib/skep
    """
    from apiserver import key_file as files

    path = _path(data_dir, key_file, config)
    before = set(files.read(path).names) if path.exists() else set()
    names = files.rotate(path).names
    dropped = sorted(before - set(names))
    typer.echo(f"{names[0]} signs from now on; in {path}")
    for name in names[1:]:
        typer.echo(f"{name} verifies until the next rotation")
    for name in dropped:
        typer.echo(f"{name} is dropped")


def _path(data_dir: str | None, key_file: str | None, config: Path | None) -> Path:
    from apiserver.key_file import FILE

    flags = {"data_dir": data_dir, "tokens.key_file": key_file}
    settings = load(flags=flags, environ=os.environ, config=config, cwd=Path.cwd())
    return settings.tokens.key_file or settings.data_dir / FILE
