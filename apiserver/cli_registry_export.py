"""`skep registry export`: kinds in the forms that other tools read, from plugins alone or from a server that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apiserver.cli_registry_inspect import names_for_shell, only
from apiserver.cli_registry_source import (
    MISSING,
    Ca,
    Config,
    DataDir,
    Kubeconfig,
    Plugin,
    Server,
    Source,
    TokenFile,
    Where,
    looking,
    missing,
)
from apiserver.config import StartError

if TYPE_CHECKING:
    from registry.export.choosing import Form

EPILOG = (
    "Exit codes: 0 it is written (--check: is up to date); 1 --check: it is not; or the server refuses, or cannot be reached; "
    "2 it was asked wrongly (flags, settings, plugins); 3 there is no such kind, group or version."
)


class What(StrEnum):
    """What can be made."""

    openapi = "openapi"
    crd = "crd"
    jsonschema = "jsonschema"
    python = "python"
    typescript = "typescript"


SEVERAL = frozenset({What.crd, What.jsonschema})
"""What is a file for each kind. A document of OpenAPI is one, or one for each group and version when a folder is named."""


_Kinds = Annotated[
    list[str] | None,
    typer.Argument(metavar="KIND", help="Only these.  [default: those of plugins and definitions]", autocompletion=names_for_shell),
]
_Group = Annotated[list[str] | None, typer.Option("--group", "-g", metavar="GROUP", help="Only kinds of this group. Repeat it.")]
_Version = Annotated[list[str] | None, typer.Option("--version", metavar="VERSION", help="Only this version. Repeat it.")]
_Out = Annotated[Path | None, typer.Option("--out", metavar="FILE|DIR", help="Where it is written.  [default: standard output]")]
_Check = Annotated[bool, typer.Option("--check", help="Write nothing; fail if --out is not up to date.")]


def export(
    what: Annotated[What, typer.Argument(metavar="WHAT", help="openapi, crd, jsonschema, python or typescript.")],
    kinds: _Kinds = None,
    group: _Group = None,
    version: _Version = None,
    out: _Out = None,
    check: _Check = False,
    plugin: Plugin = None,
    server: Server = None,
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    config: Config = None,
) -> None:
    """Writes kinds as OpenAPI, CustomResourceDefinitions, JSON Schema, a typed Python client, or TypeScript types.

    Without --plugin they are those of a server. The same kinds make the same files, byte for byte: keep them beside your code.

    Examples:

    - skep registry export python --plugin uptime.py --out uptime_client.py

    - skep registry export crd probes.v1 --plugin uptime.py
    """
    from registry.description_names import NoSuchKind
    from registry.export.choosing import ExportError, Unknown

    if check and out is None:
        raise StartError("--check compares with a file or folder", "name it with --out", exit_code=2)
    try:
        with looking(Where(plugin, server, kubeconfig, data_dir, token_file, ca, config)) as source:
            forms = forms_of(source, kinds or (), group or (), version or ())
            files = made(what, forms, source.documents, folder=_is_folder(out))
    except NoSuchKind as error:
        raise missing(error) from None
    except ExportError as error:
        raise StartError(str(error), error.hint, exit_code=MISSING if isinstance(error, Unknown) else 2) from None
    deliver(files, out, check=check, several=what in SEVERAL)


def forms_of(source: Source, names: Sequence[str], groups: Sequence[str], versions: Sequence[str]) -> list[Form]:
    """What is chosen, with schemas: only the kinds that are chosen are read whole. Raises StartError, NoSuchKind, ExportError."""
    from registry.export.choosing import Form, chosen

    brief = chosen(source.brief().kinds, names=names, groups=groups, versions=versions)
    resources = dict.fromkeys(form.kind.resource for form in brief)
    full = {resource: only(source.full(resource), resource) for resource in resources}
    found = []
    for form in brief:
        kind = full[form.kind.resource]
        there = (each for each in kind.versions if each.api_version == form.api_version)
        found += [Form(kind, version) for version in there]
    return found


Documents = Callable[[Iterable[str]], Mapping[str, dict[str, Any]]]
"""Gives documents of OpenAPI by their places."""


def made(what: What, forms: Sequence[Form], documents: Documents, *, folder: bool) -> Mapping[str, str]:
    """The files by their paths. What is one file has one without a path. Raises ExportError."""
    if what is What.crd:
        from registry.export.crds import definitions

        return definitions(forms)
    if what is What.jsonschema:
        from registry.export.jsonschemas import json_schemas

        return json_schemas(forms)
    if what is What.typescript:
        from registry.export.typescript import typescript

        return {"": typescript(forms)}
    if what is What.python:
        from registry.export.python import python

        client = Path(__file__).with_name("exported_client.py").read_text("utf-8")
        return {"": python(forms, client)}
    from registry.export.openapi import openapi_file, openapi_files, place_of

    found = documents(dict.fromkeys(map(place_of, forms)))
    return openapi_files(forms, found) if folder else {"": openapi_file(forms, found)}


def _is_folder(out: Path | None) -> bool:
    return out is not None and (out.is_dir() or not out.suffix)


def deliver(files: Mapping[str, str], out: Path | None, *, check: bool, several: bool) -> None:
    """Writes the files, or compares them. Raises StartError."""
    if several and not _is_folder(out):
        files = {"": _together(files)}
    if out is None:
        typer.echo(files[""], nl=False)
        return
    if "" in files and out.is_dir():
        raise StartError(f"{out} is a folder, and this is one file", "name the file with --out", exit_code=2)
    for path in files:
        if ".." in Path(path).parts or Path(path).is_absolute() or not path.isprintable():  # names are those that a server tells
            raise StartError(f"{path!r} is no name of a file below {out}", "is this server to be trusted?", exit_code=2)
    places = {out / path if path else out: text for path, text in files.items()}
    stale = [place for place, text in places.items() if not place.is_file() or place.read_bytes() != text.encode()]
    if check:
        for place in stale:
            typer.echo(f"{place} {'is not what the kinds say' if place.exists() else 'is not there'}", err=True)
        if stale:
            raise StartError(f"{out} is not up to date", "write it with the same command without --check", exit_code=1)
        typer.echo(f"{out} is up to date")
        return
    for place in stale:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(places[place].encode())
    typer.echo(f"{out} is written" if stale else f"{out} is up to date")


def _together(files: Mapping[str, str]) -> str:
    """Several files as one: definitions after each other, schemas in one that knows all kinds."""
    if all(path.endswith(".yaml") for path in files):
        return "---\n".join(files.values())
    from registry.export.jsonschemas import bundled

    return bundled(files)


COMMANDS = ((export, "export", EPILOG),)
"""What this module puts into `skep registry`: function, name, epilog."""
