"""Where the commands of `skep registry` find what they are about: in plugins, without a server, or in a server that runs.

All of them take the same flags, and the same words for a kind (`registry.description_names`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import typer

from apiserver.cli_actor_insight import DataDir, Kubeconfig, kubeconfig_of
from apiserver.config import StartError, load

if TYPE_CHECKING:
    from apiserver.reaching import Remote
    from registry.catalog import Registry
    from registry.description import Description
    from registry.description_names import Named, NoSuchKind

__all__ = [
    "Ca",
    "Config",
    "DataDir",
    "Kubeconfig",
    "Plugin",
    "Server",
    "Source",
    "TokenFile",
    "Where",
    "kind_of",
    "looking",
    "served",
]

Document = dict[str, Any]

PATH = "/registry"
MISSING = 3
"""The exit code when there is no such kind or field."""
EXIT = (
    "Exit codes: 0 shown; 1 the server refuses, or cannot be reached; 2 it was asked wrongly (flags, settings, plugins); "
    "3 there is no such kind or field."
)


def plugin_names(incomplete: str) -> list[str]:
    """Files that may be plugins, for the shell."""
    folder, _, _ = incomplete.rpartition("/")
    try:
        found = sorted(Path(folder or ".").iterdir())
    except OSError:
        return []
    shown = [f"{folder}/{path.name}" if folder else path.name for path in found if path.suffix == ".py" or path.is_dir()]
    return [name for name in shown if name.startswith(incomplete) and "__" not in name]


Plugin = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="WHAT",
        help="Plugins, without a server: file, module or entry point. Repeat it.",
        autocompletion=plugin_names,
    ),
]
Server = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="This server; alone: another address than the one in the kubeconfig.")
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="A token to show instead of the credential in the kubeconfig.")
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="With --server: what its certificate is checked by; no kubeconfig is read."),
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML: the plugins, the data folder.")]


class Where(NamedTuple):
    """What the flags say of where to look."""

    plugin: list[str] | None = None
    server: str | None = None
    kubeconfig: Path | None = None
    data_dir: str | None = None
    token_file: Path | None = None
    ca: Path | None = None
    config: Path | None = None

    @property
    def remote(self) -> bool:
        """Whether a flag speaks of a server."""
        return any(each is not None for each in (self.server, self.kubeconfig, self.data_dir, self.token_file, self.ca))


class Source(Protocol):
    """A registry that can be looked at. `counted`: it knows how many objects there are."""

    @property
    def counted(self) -> bool: ...

    def brief(self) -> Description:
        """All kinds, without schemas and columns. Raises StartError."""
        ...

    def full(self, resource: str) -> Description:
        """One kind that is among them, with everything, and the actors that have to do with it. Raises StartError."""
        ...

    def documents(self, places: Iterable[str]) -> Mapping[str, Document]:
        """Its documents of OpenAPI v3 by their places, as `apis/uptime.example/v1`. Raises StartError."""
        ...


class Plugins:
    """The registry that plugins make, with the kinds that every server has."""

    counted = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def brief(self) -> Description:
        """See `Source`."""
        from registry.description import describe

        return describe(self._registry, brief=True)

    def full(self, resource: str) -> Description:
        """See `Source`."""
        from registry.description import describe

        kind = self._registry.of_resource(resource)
        return describe(self._registry, kinds=[kind] if kind is not None else [])

    def documents(self, places: Iterable[str]) -> Mapping[str, Document]:
        """See `Source`."""
        import asyncio
        from json import loads

        from apiserver.documents import OpenAPIDocuments
        from registry.catalog import Catalog

        documents = OpenAPIDocuments(Catalog(self._registry))
        found = ((place, asyncio.run(documents.find(place))) for place in places)
        return {place: loads(served.body) for place, served in found if served is not None}


class Running:
    """The registry of a server that runs."""

    counted = True

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def brief(self) -> Description:
        """See `Source`."""
        return self._read(PATH)

    def full(self, resource: str) -> Description:
        """See `Source`."""
        return self._read(f"{PATH}/{resource}")

    def documents(self, places: Iterable[str]) -> Mapping[str, Document]:
        """See `Source`."""
        return {place: self._remote.get(f"/openapi/v3/{place}") for place in places}

    def _read(self, path: str) -> Description:
        from apiserver.reaching import Refused
        from registry.description import read

        try:
            return read(self._remote.get(path))
        except Refused as error:
            if error.code == 403:
                raise StartError(error.message, "a binding of the ClusterRole skep:registry-viewer allows it") from None
            if error.code == 404:
                raise StartError(f"{self._remote.server} has no {path}", "is it a skep, and as new as this one?") from None
            raise
        except ValueError as error:
            raise StartError(f"{self._remote.server}{path} is no description of kinds: {error}") from None


@contextmanager
def looking(where: Where) -> Iterator[Source]:
    """The registry that the flags mean: that of plugins, or that of a server. Raises StartError, RegistryError."""
    if where.plugin and where.remote:
        raise StartError("--plugin is for plugins without a server", "leave out --plugin, or what names a server", exit_code=2)
    if where.plugin or (not where.remote and settings_name_plugins(where.config)):
        yield Plugins(registry_of(where.plugin, where.config))
        return
    with served(where, "--plugin FILE looks at plugins without a server") as remote:
        yield Running(remote)


def settings_name_plugins(config: Path | None) -> bool:
    """Whether the file of `--config`, or a variable, names plugins: those are meant where no flag says otherwise."""
    return bool(load(flags={}, environ=os.environ, config=config, cwd=Path.cwd()).plugins)


def registry_of(names: list[str] | None, config: Path | None) -> Registry:
    """The registry of plugins and of all that every server has. Raises StartError, RegistryError."""
    from apiserver.cli_registry import builtin_kinds, plugins_of
    from registry.plugin import build

    return build(plugins_of(names, config), builtin_kinds())


def served(where: Where, instead: str = "the first `skep serve` makes it") -> Remote:
    """The server that the flags name; without any, that of the data folder or of $KUBECONFIG. Raises StartError."""
    from apiserver import kubeconfig_read
    from apiserver.reaching import Remote

    if where.ca is not None:
        if not where.server:
            raise StartError("--ca goes with --server", "a kubeconfig has a CA of its own", exit_code=2)
        return Remote(kubeconfig_read.given(where.server, where.ca, _absolute(where.token_file)), where.ca)
    file = kubeconfig_of(where.data_dir, where.kubeconfig, where.config)
    if not file.exists():
        hint = f"{instead}; --data-dir, --kubeconfig, or --server with --ca, names a server"
        raise StartError(f"there is no {file}", hint, exit_code=2)
    return Remote(kubeconfig_read.read(file, server=where.server or "", token_file=_absolute(where.token_file)), file)


def _absolute(file: Path | None) -> Path | None:
    return None if file is None else file.absolute()


def kind_of(description: Description, word: str) -> Named:
    """The kind that a word means. Raises StartError, with names that are like it."""
    from registry.description_names import NoSuchKind, find

    try:
        return find(description, word)
    except NoSuchKind as error:
        raise missing(error) from None


def missing(error: NoSuchKind) -> StartError:
    """What to tell when no kind is found."""
    hint = f"did you mean {' or '.join(error.near)}?" if error.near else "`skep registry list --all` shows all"
    return StartError(str(error), hint, exit_code=MISSING)
