"""`skep registry graph`: kinds, converters, admission handlers and actors as a graph."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from apiserver.cli_registry_inspect import All, chosen, names_for_shell
from apiserver.cli_registry_source import (
    EXIT,
    MISSING,
    Ca,
    Config,
    DataDir,
    Kubeconfig,
    Plugin,
    Server,
    TokenFile,
    Where,
    looking,
)
from apiserver.config import StartError

if TYPE_CHECKING:
    from registry.description import Description

FORMS = Literal["text", "mermaid", "dot", "svg", "json"]


def graph(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="KIND|GROUP", help="Only these.  [default: those of plugins]", autocompletion=names_for_shell),
    ] = None,
    output: Annotated[
        FORMS, typer.Option("--output", "-o", help="For a terminal, a page, Graphviz, a browser, a program.")
    ] = "text",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there; the ending tells the form.")] = None,
    all_kinds: All = False,
    plugin: Plugin = None,
    server: Server = None,
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    config: Config = None,
) -> None:
    """Draws kinds with their versions, converters and handlers, and the actors that they wake and that write them.

    Examples:

    - skep registry graph --plugin uptime.py

    - skep registry graph probes -o mermaid

    - skep registry graph --plugin shop.py --out shop.svg
    """
    form = _form(output, out)
    with looking(Where(plugin, server, kubeconfig, data_dir, token_file, ca, config)) as source:
        described = chosen(source.brief(), kinds or [], builtin=all_kinds)
    if not described.kinds:
        raise StartError("there are no kinds to draw", "--all draws those that every server has", exit_code=MISSING)
    text = drawn(described, form)
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, "utf-8")
        typer.echo(f"{out} is written")


def drawn(described: Description, form: str) -> str:
    """The graph of a description, in a form."""
    from apiserver import graph_forms
    from apiserver.graph import graph_of

    made = graph_of(described)
    if form == "svg":
        from apiserver.graph_svg import as_svg

        return as_svg(made)
    forms = {"text": graph_forms.as_text, "mermaid": graph_forms.as_mermaid, "dot": graph_forms.as_dot, "json": graph_forms.as_json}
    return forms[form](made)


_ENDINGS = {
    "": "text",
    ".txt": "text",
    ".svg": "svg",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".json": "json",
}


def _form(output: str, out: Path | None) -> str:
    """What was asked for by `-o`; without it, what the file's name tells. Raises StartError."""
    if out is None or output != "text":
        return output
    form = _ENDINGS.get(out.suffix.lower())
    if form is None:
        there = ", ".join(filter(None, _ENDINGS))
        raise StartError(f"{out}: it is not known what a {out.suffix} is to be", f"-o tells; or one of {there}", exit_code=2)
    return form


COMMANDS = ((graph, "graph", EXIT),)
"""What this module puts into `skep registry`: function, name, epilog."""
