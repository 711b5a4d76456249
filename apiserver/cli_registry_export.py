"""`skep registry export`: kinds in the forms that other tools read, from plugins alone or from a server that runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apiserver.cli_actor_insight import DataDir, Kubeconfig, Server, reached
from apiserver.config import StartError, load

if TYPE_CHECKING:
    from registry.catalog import Registry
    from registry.description import KindDescription
    from registry.export.choosing import Form

Document = dict[str, Any]

EPILOG = "Exit codes: 0 it is written (--check: is up to date); 1 --check: it is not; 2 it was asked wrongly."


class What(StrEnum):
    """What can be made."""

    openapi = "openapi"
    crd = "crd"
    jsonschema = "jsonschema"
    python = "python"
    typescript = "typescript"


SEVERAL = frozenset({What.crd, What.jsonschema})
"""What is a file for each kind. A document of OpenAPI is one, or one for each group and version when a folder is named."""


_Plugin = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="WHAT", help="File, module or entry point; no server. Repeat it.")
]
_Kind = Annotated[list[str] | None, typer.Option("--kind", metavar="KIND", help="This kind alone. Repeat it.")]
_Group = Annotated[list[str] | None, typer.Option("--group", metavar="GROUP", help="This group alone. Repeat it.")]
_Version = Annotated[list[str] | None, typer.Option("--version", metavar="VERSION", help="This version alone. Repeat it.")]
_Out = Annotated[Path | None, typer.Option("--out", metavar="FILE|DIR", help="Where it is written.  [default: standard output]")]
_Check = Annotated[bool, typer.Option("--check", help="Write nothing; fail if --out is not up to date.")]
_Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML.")]


def export(
    what: Annotated[What, typer.Argument(metavar="WHAT", help="openapi, crd, jsonschema, python or typescript.")],
    plugin: _Plugin = None,
    kind: _Kind = None,
    group: _Group = None,
    version: _Version = None,
    out: _Out = None,
    check: _Check = False,
    data_dir: DataDir = None,
    kubeconfig: Kubeconfig = None,
    server: Server = None,
    config: _Config = None,
) -> None:
    """Writes kinds as OpenAPI, CustomResourceDefinitions, JSON Schema, a typed Python client, or TypeScript types.

    Without --plugin they are those of a server. The same kinds make the same files, byte for byte: keep them beside your code.

    Example: skep registry export python --plugin uptime.py --out uptime_client.py
    """
    from registry.export.choosing import ExportError, chosen

    if check and out is None:
        raise StartError("--check compares with a file or folder", "name it with --out", exit_code=2)
    choice = {"names": kind or (), "groups": group or (), "versions": version or ()}
    try:
        if plugin or not (data_dir or kubeconfig or server or _has_server(config)):
            files = _of_plugins(what, choice, plugin, config, folder=_is_folder(out))
        else:
            with reached(data_dir, kubeconfig, server, config) as remote:
                kinds = asked(remote, choice["names"], choice["groups"])
                files = made(what, chosen(kinds, **choice), Asked(remote), folder=_is_folder(out))
    except ExportError as error:
        raise StartError(str(error), error.hint, exit_code=2) from None
    deliver(files, out, check=check, several=what in SEVERAL)


def _of_plugins(
    what: What, choice: Mapping[str, Sequence[str]], names: Sequence[str] | None, config: Path | None, *, folder: bool
) -> Mapping[str, str]:
    from registry.description import describe
    from registry.export.choosing import chosen

    registry = built(names, config)
    return made(what, chosen(describe(registry).kinds, **choice), Documents(registry), folder=folder)


def _has_server(config: Path | None) -> bool:
    """Whether nothing but a server can be meant: no settings name plugins."""
    return not load(flags={}, environ=os.environ, config=config, cwd=Path.cwd()).plugins


def built(names: Sequence[str] | None, config: Path | None) -> Registry:
    """The registry of plugins. StartError and RegistryError."""
    from apiserver.cli_registry import builtin_kinds
    from apiserver.plugins import load_plugins
    from registry.plugin import Plugin, build

    flags: dict[str, Any] = {"plugins": list(names)} if names else {}
    settings = load(flags=flags, environ=os.environ, config=config, cwd=Path.cwd())
    return build([loaded.value for loaded in load_plugins(settings.plugins, Plugin)], builtin_kinds())


def asked(remote: Any, names: Sequence[str], groups: Sequence[str]) -> list[KindDescription]:
    """The kinds of a server: those with schemas that may be chosen. Raises StartError."""
    from urllib.parse import quote

    from apiserver.inspecting import PATH
    from apiserver.reaching import Refused
    from registry.description import BUILTIN, read

    try:
        brief = read(remote.get(PATH)).kinds
        wanted = [each for each in brief if names or groups or each.declared != BUILTIN]
        full = {each.resource: read(remote.get(f"{PATH}/{quote(each.resource, safe='')}")).kinds[0] for each in wanted}
    except Refused as error:
        if error.code == 404:
            raise StartError(
                "this server does not describe its registry", "it is an older one; use --plugin", exit_code=1
            ) from None
        raise
    return [full.get(each.resource, each) for each in brief]


class Documents:
    """The OpenAPI documents of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, places: Iterable[str]) -> Mapping[str, Document]:
        """By place, as `apis/uptime.example/v1`."""
        import asyncio
        from json import loads

        from apiserver.documents import OpenAPIDocuments
        from registry.catalog import Catalog

        documents = OpenAPIDocuments(Catalog(self._registry))
        found = ((place, asyncio.run(documents.find(place))) for place in places)
        return {place: loads(served.body) for place, served in found if served is not None}


class Asked:
    """The OpenAPI documents of a server."""

    def __init__(self, remote: Any) -> None:
        self._remote = remote

    def __call__(self, places: Iterable[str]) -> Mapping[str, Document]:
        """By place."""
        return {place: self._remote.get(f"/openapi/v3/{place}") for place in places}


def made(what: What, forms: Sequence[Form], documents: Documents | Asked, *, folder: bool) -> Mapping[str, str]:
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
