"""`skep key`: API keys of a server that runs. A key is made here and its digest is sent: the server never sees the key until it is
used, and nobody can ask for it again."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from apiserver.cli_actor_insight import Config, DataDir, Kubeconfig, Server, reached
from apiserver.config import StartError

if TYPE_CHECKING:
    from apiserver.reaching import Remote

key_commands = typer.Typer(help="Make, list, rotate and revoke API keys.", no_args_is_help=True)

KEYS = "/apis/skep.dev/v1/apikeys"
_EXIT = "Exit codes: 0 done; 1 the server refused, or does not answer; 2 it was asked wrongly."

Document = dict[str, Any]

Output = Annotated[
    Literal["table", "json", "yaml", "name"],
    typer.Option("--output", "-o", help="For people, the object for programs, or its name."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the key into a new file that nobody else may read, and show it nowhere."),
]
Which = Annotated[str, typer.Argument(metavar="KEY", help="Its NAME, how it begins (skep_live_AbCd), or the key itself.")]


class _Made(NamedTuple):
    """A new key, and its object as the server has it."""

    key: str
    object: Document


@key_commands.command(epilog=_EXIT)
def create(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whom the key stands for.")],
    group: Annotated[list[str] | None, typer.Option("--group", metavar="NAME", help="A group of the user. Repeat it.")] = None,
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long it holds, as 12h or 30d, or never.")] = "90d",
    description: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    test: Annotated[bool, typer.Option("--test", help="Begin it with skep_test_, which servers can be told to refuse.")] = False,
    out: Out = None,
    data_dir: DataDir = None,
    kubeconfig: Kubeconfig = None,
    server: Server = None,
    config: Config = None,
    output: Output = "table",
) -> None:
    """Makes a key and shows it, once: it is stored nowhere.

    The key alone goes to standard output, all else to standard error.

    Examples:

    - skep key create ci --group deployers --description "deploys from CI" --out ci.key

    - KEY=$(skep key create ann --expires 12h)
    """
    _check_shown(out, output)
    spec: Document = {"user": user, "groups": list(group or ())} | ({"description": description} if description else {})
    ends = _end(expires, time.time())
    with reached(data_dir, kubeconfig, server, config) as remote:
        made = _make(remote, spec | ({"expires": ends} if ends else {}), test=test)
    _show(made, out, output)


@key_commands.command("list", epilog=_EXIT)
def list_keys(
    data_dir: DataDir = None, kubeconfig: Kubeconfig = None, server: Server = None, config: Config = None, output: Output = "table"
) -> None:
    """Shows all keys: whom they stand for, how they begin, when they end, when they were last used.

    Example: skep key list -o name
    """
    with reached(data_dir, kubeconfig, server, config) as remote:
        found = remote.get(KEYS)
    from apiserver import showing

    showing.keys(found, output)


@key_commands.command(epilog=_EXIT)
def rotate(
    key: Which,
    grace: Annotated[str, typer.Option(metavar="TIME", help="How long the old one still holds, as 1h; 0s: not at all.")] = "24h",
    out: Out = None,
    data_dir: DataDir = None,
    kubeconfig: Kubeconfig = None,
    server: Server = None,
    config: Config = None,
    output: Output = "table",
) -> None:
    """Makes a new key for the same user, good for as long as the old one was, and lets the old one end.

    Example: skep key rotate skep_live_3fK9 --grace 1h --out ci.key
    """
    _check_shown(out, output)
    left = _seconds(grace, "--grace")
    with reached(data_dir, kubeconfig, server, config) as remote:
        old = _find(remote, key)
        spec, now = old["spec"], time.time()
        kept = {field: spec[field] for field in ("user", "groups", "description") if field in spec}
        made = _make(remote, kept | _as_long(old, now), test=spec["hint"].startswith("skep_test_"))
        path = f"{KEYS}/{old['metadata']['name']}"
        if left:
            _end_within(remote, path, spec, now + left)
        else:
            remote.delete(path)
    _show(made, out, output)
    typer.echo(f"{spec['hint']}... {f'holds for {grace} more at most' if left else 'is revoked'}", err=True)


@key_commands.command(epilog=_EXIT)
def revoke(
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="As for rotate.")],
    data_dir: DataDir = None,
    kubeconfig: Kubeconfig = None,
    server: Server = None,
    config: Config = None,
) -> None:
    """Revokes keys. The next request with one of them is refused.

    A key that was found somewhere can be given as it is: its digest is reckoned here, and it goes nowhere.

    Example: skep key revoke skep_live_3fK9
    """
    with reached(data_dir, kubeconfig, server, config) as remote:
        found = [_find(remote, key) for key in keys]
        for each in found:
            remote.delete(f"{KEYS}/{each['metadata']['name']}")
            typer.echo(f"{each['spec']['hint']}... of {each['spec']['user']} is revoked")


def _make(remote: Remote, spec: Document, *, test: bool) -> _Made:
    from admission.apikeys import digest_of, hint_of, make_key
    from registry.builtin.apikey import name_of

    key = make_key(secrets.choice, test=test)
    digest = digest_of(key)
    body = {
        "apiVersion": "skep.dev/v1",
        "kind": "ApiKey",
        "metadata": {"name": name_of(digest)},
        "spec": {**spec, "digest": digest, "hint": hint_of(key)},
    }
    return _Made(key, remote.create(KEYS, body))


def _find(remote: Remote, key: str) -> Document:
    """The object that a name, the beginning of a key, or a key means. Raises StartError, which shows no key."""
    from urllib.parse import quote

    from admission.apikeys import digest_of, hint_of, is_key
    from apiserver.reaching import Refused
    from registry.builtin.apikey import name_of

    if is_key(key.encode()):
        key, shown = name_of(digest_of(key)), f"{hint_of(key)}..."
    elif key.startswith("skep_"):
        shown = f"{hint_of(key)}..."
        found: list[Document] = [each for each in remote.get(KEYS)["items"] if each["spec"]["hint"] == key.rstrip(".")]
        if len(found) > 1:
            names = ", ".join(each["metadata"]["name"] for each in found)
            raise StartError(f"{len(found)} keys begin with {shown}", f"name one of {names}", exit_code=2)
        if found:
            return found[0]
        raise StartError(f"no key begins with {shown}", "`skep key list` shows all", exit_code=2)
    else:
        shown = repr(key)
    try:
        return remote.get(f"{KEYS}/{quote(key, safe='')}")
    except Refused as error:
        if error.code != 404:
            raise
        raise StartError(f"there is no key {shown}", "`skep key list` shows all", exit_code=2) from None


def _as_long(old: Document, now: float) -> Document:
    """When a key ends that is made now and lives as long as the old one."""
    from registry.times import format_time, parse_time

    expires = old["spec"].get("expires")
    if expires is None:
        return {}
    life = parse_time(expires) - parse_time(old["metadata"]["creationTimestamp"])
    return {"expires": format_time(now + max(life.total_seconds(), 0.0))}


def _end_within(remote: Remote, path: str, spec: Document, end: float) -> None:
    """Lets a key end, unless it ends sooner anyway."""
    from registry.times import format_time, parse_time

    if spec.get("expires") is None or parse_time(spec["expires"]).timestamp() > end:
        remote.merge(path, {"spec": {"expires": format_time(end)}})


def _end(expires: str, now: float) -> str:
    """When a key ends; empty: never."""
    from registry.times import format_time

    return "" if expires == "never" else format_time(now + _seconds(expires, "--expires"))


def _seconds(text: str, option: str) -> float:
    from registry.expiring import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise StartError(f"{option} {text!r} {error}", exit_code=2) from None


def _check_shown(out: Path | None, output: str) -> None:
    """Before a key is made: it must not be lost, nor go over something else."""
    if output == "name" and out is None:
        raise StartError(
            "with -o name the key would be shown nowhere", "say where it is to be written with --out FILE", exit_code=2
        )
    if out is not None and out.exists():
        raise StartError(f"{out} is there already", "name a new file, or remove it", exit_code=2)


def _show(made: _Made, out: Path | None, output: str) -> None:
    from apiserver import showing

    if out is not None:
        from apiserver.datadir import write_private

        write_private(out.absolute(), f"{made.key}\n".encode())
    if output != "table":
        showing.key(made.object, "" if out is not None else made.key, output)
        return
    spec = made.object["spec"]
    typer.echo(f"{made.object['metadata']['name']} for {spec['user']}, until {spec.get('expires', 'it is revoked')}", err=True)
    if out is not None:
        typer.echo(f"{spec['hint']}... is in {out}", err=True)
    else:
        typer.echo(made.key)
        typer.echo("this is the only time that it is shown", err=True)
