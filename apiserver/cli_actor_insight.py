"""`skep actor list`, `show`, `wake`, `pause`, `resume`: what kubectl can do with `actors.skep.dev`, in fewer words.

All of them talk to a server that runs, with the kubeconfig of its data folder, or whichever is named.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from apiserver.cli_actor_app import actor
from apiserver.config import ConfigError, StartError, load

if TYPE_CHECKING:
    from apiserver.reaching import Remote

__all__ = ["Config", "DataDir", "Kubeconfig", "Server", "actor", "of_environment", "reached"]

ACTORS = "/apis/skep.dev/v1/actors"
ATTEMPTS = 5
"""How often a wake is put beside others that are written at the same moment."""

Document = dict[str, Any]

DataDir = Annotated[
    str | None, typer.Option("--data-dir", metavar="FOLDER", help="Of the server; its kubeconfig is used.  [default: ./skep-data]")
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Another kubeconfig. Without a data folder: $KUBECONFIG."),
]
Server = Annotated[str | None, typer.Option("--server", metavar="URL", help="Another address than the one in the kubeconfig.")]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML, for the data folder.")]
Output = Annotated[Literal["table", "json", "yaml"], typer.Option("--output", "-o", help="For people, or the object for programs.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The actor; `skep actor list` shows all.")]


@actor.command("list")
def list_actors(
    data_dir: DataDir = None, kubeconfig: Kubeconfig = None, server: Server = None, config: Config = None, output: Output = "table"
) -> None:
    """Shows all actors: what they are at, their queues, how many keys fail.

    Example: skep actor list --data-dir /var/lib/skep
    """
    with reached(data_dir, kubeconfig, server, config) as remote:
        found = remote.get(ACTORS)
    from apiserver import showing

    showing.listed(found, output)


@actor.command()
def show(
    name: Name,
    data_dir: DataDir = None,
    kubeconfig: Kubeconfig = None,
    server: Server = None,
    config: Config = None,
    output: Output = "table",
) -> None:
    """Shows one actor: queue, running keys, last runs, failing keys with their errors and next retry.

    Example: skep actor show uptime-check
    """
    with reached(data_dir, kubeconfig, server, config) as remote:
        found = _actor(remote, name)
    from apiserver import showing

    showing.one(found, output)


@actor.command()
def wake(
    name: Name,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="NAMESPACE/NAME of an object of its kind, or its NAME.")],
    data_dir: DataDir = None,
    kubeconfig: Kubeconfig = None,
    server: Server = None,
    config: Config = None,
) -> None:
    """Has an actor look at an object now.

    With kubectl: kubectl annotate actor NAME skep.dev/wake=KEY

    Example: skep actor wake uptime-check default/home
    """
    with reached(data_dir, kubeconfig, server, config) as remote:
        places = _places(remote, _actor(remote, name), keys)
        found = _annotate(remote, name, places)
    typer.echo(f"{name} is woken for {', '.join(places)}")
    if found["spec"].get("paused"):
        typer.echo(f"it is paused, and looks at it when it goes on: skep actor resume {name}")


@actor.command()
def pause(
    name: Name, data_dir: DataDir = None, kubeconfig: Kubeconfig = None, server: Server = None, config: Config = None
) -> None:
    """Lets an actor finish what it is at, and begin nothing more, also after a new start of the server.

    With kubectl: kubectl patch actor NAME --type=merge -p '{"spec":{"paused":true}}'

    Example: skep actor pause uptime-check
    """
    with reached(data_dir, kubeconfig, server, config) as remote:
        _set_paused(remote, name, paused=True)


@actor.command()
def resume(
    name: Name, data_dir: DataDir = None, kubeconfig: Kubeconfig = None, server: Server = None, config: Config = None
) -> None:
    """Lets an actor go on that was paused. What happened meanwhile is done, folded.

    Example: skep actor resume uptime-check
    """
    with reached(data_dir, kubeconfig, server, config) as remote:
        _set_paused(remote, name, paused=False)


def of_environment() -> Path | None:
    """The file that $KUBECONFIG names, if it names any. Raises ConfigError when it names several."""
    named = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    if len(named) > 1:
        raise ConfigError(["$KUBECONFIG names several files, which are not merged here"], "name one with --kubeconfig")
    return Path(named[0]) if named else None


@contextmanager
def reached(data_dir: str | None, kubeconfig: Path | None, server: str | None, config: Path | None) -> Iterator[Remote]:
    """The server of a kubeconfig, or of a data folder; where there is no such folder, and none was named, that of $KUBECONFIG."""
    from apiserver.reaching import from_kubeconfig

    with from_kubeconfig(kubeconfig_of(data_dir, kubeconfig, config), server or "") as remote:
        yield remote


def kubeconfig_of(data_dir: str | None, kubeconfig: Path | None, config: Path | None) -> Path:
    """The kubeconfig that counts; it need not be there."""
    from apiserver.kubeconfig import FILE

    if kubeconfig is not None:
        return kubeconfig
    own = load(flags={"data_dir": data_dir}, environ=os.environ, config=config, cwd=Path.cwd()).data_dir / FILE
    if data_dir is None and not own.exists():
        return of_environment() or own
    return own


def _actor(remote: Remote, name: str) -> Document:
    """The object of an actor. One that is not there is an error that knows names like it."""
    from urllib.parse import quote

    from apiserver.reaching import Refused

    try:
        return remote.get(f"{ACTORS}/{quote(name, safe='')}")
    except Refused as error:
        if error.code != 404:
            raise
        names = [each["metadata"]["name"] for each in remote.get(ACTORS)["items"]]
        near = get_close_matches(name, names, 3, 0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names[:10])}" if names else ""
        raise StartError(f"there is no actor {name!r}", hint or "this server has no actors", exit_code=2) from None


def _places(remote: Remote, found: Document, keys: list[str]) -> list[str]:
    """The keys in full. Each has to be that of an object that is there."""
    from registry.builtin.actor import place_of

    owns = found["spec"]["owns"]
    plural = owns["resource"].partition(".")[0]
    prefix = f"/apis/{owns['apiVersion']}" if "/" in owns["apiVersion"] else f"/api/{owns['apiVersion']}"
    namespaced = next(each["namespaced"] for each in remote.get(prefix)["resources"] if each["name"] == plural)
    places = []
    for key in keys:
        place = place_of(key)
        if namespaced and not place.namespace:
            place = place._replace(namespace=remote.namespace)
        if not namespaced and place.namespace:
            raise StartError(f"{key}: {plural} are in no namespace", f"name it {place.name}", exit_code=2)
        _check_there(remote, prefix, plural, str(place))
        places.append(str(place))
    return places


def _check_there(remote: Remote, prefix: str, plural: str, key: str) -> None:
    from urllib.parse import quote

    from apiserver.reaching import Refused

    namespace, _, name = key.rpartition("/")
    within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    try:
        remote.get(f"{prefix}{within}/{plural}/{quote(name, safe='')}")
    except Refused as error:
        if error.code != 404:
            raise
        where = f" in the namespace {namespace}" if namespace else ""
        raise StartError(f"there is no {name!r} in {plural}{where}", "a KEY is NAMESPACE/NAME", exit_code=2) from None


def _annotate(remote: Remote, name: str, places: list[str]) -> Document:
    """Asks for the wakes, beside those that are asked for already."""
    from apiserver.reaching import Refused
    from registry.builtin.actor import WAKE, woken

    for attempt in range(1, ATTEMPTS + 1):
        found = _actor(remote, name)
        asked = dict.fromkeys([*map(str, woken(found)), *places])
        metadata = {"annotations": {WAKE: ",".join(asked)}, "resourceVersion": found["metadata"]["resourceVersion"]}
        try:
            return remote.merge(f"{ACTORS}/{name}", {"metadata": metadata})
        except Refused as error:
            if error.code != 409 or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _set_paused(remote: Remote, name: str, *, paused: bool) -> None:
    found = _actor(remote, name)
    what = "is paused" if paused else "goes on"
    if bool(found["spec"].get("paused")) == paused:
        typer.echo(f"{name} {what} already" if paused else f"{name} is not paused")
        return
    remote.merge(f"{ACTORS}/{name}", {"spec": {"paused": paused}})
    typer.echo(f"{name} {what}")
