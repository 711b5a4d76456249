"""The group of commands `skep actor`. Modules put their commands into it; `apiserver.cli` puts it into `skep`."""

from __future__ import annotations

import typer

actor = typer.Typer(help="Look at actors, tell them what to do, and run them outside of the server.", no_args_is_help=True)
