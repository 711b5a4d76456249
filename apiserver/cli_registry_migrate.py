"""`skep registry migrate`: has a server that runs rewrite stored objects in the version that their kind is stored in.

The server does it in small steps, each of which stands for itself; whoever asks for them keeps nothing but the place. So it may be
stopped at any moment, and asked for again: what is done is passed over.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from urllib.parse import quote

import typer

from apiserver.cli_registry_source import Ca, Config, DataDir, Kubeconfig, Server, TokenFile, Where, kind_of, served
from apiserver.config import StartError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

BAD = 1
EPILOG = (
    "Exit codes: 0 every object is in the version that is stored; 1 some are not, and are named; or the server refuses, or cannot "
    "be reached; 2 it was asked wrongly (flags, settings); 3 there is no such kind; 130 stopped with Ctrl-C: run it again to go on."
)
PATH = "/migrations"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
STEP = 200
"""Objects of one request, at most."""
PASSES = 5
"""How often it is gone through a kind whose objects others write all the time."""
TRIES = 6
"""Requests that are made for one step while the server is too busy."""
LINE_SECONDS = 5.0
"""From one line about the progress to the next, where there is no terminal."""
SHOWN = 20
"""Failed objects that are named for each kind; the others are counted."""

Document = dict[str, Any]


class Asked(Protocol):
    """A server, as `apiserver.reaching.Remote` is one."""

    def get(self, path: str) -> Document: ...
    def create(self, path: str, document: Document) -> Document: ...
    def merge(self, path: str, change: Document) -> Document: ...


class Pace:
    """Holds back whoever does more than so many things in a second. Zero: nobody."""

    def __init__(self, rate: float, now: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._rate, self._now, self._sleep = rate, now, sleep
        self._free = now()

    @property
    def step(self) -> int:
        """How many to do at once: no more than in half a second."""
        return STEP if not self._rate else max(1, min(STEP, int(self._rate / 2)))

    def did(self, count: int) -> None:
        """Waits as long as so many may take."""
        if self._rate and count:
            self._free = max(self._free, self._now() - 1) + count / self._rate
            if (wait := self._free - self._now()) > 0:
                self._sleep(wait)

    def wait(self, seconds: float) -> None:
        """Waits."""
        self._sleep(seconds)


def migrate(
    kind: Annotated[
        list[str] | None, typer.Argument(metavar="KIND", help="A kind, plural or short name; with .GROUP.  [or: --all]")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every kind that has objects in another version.")] = False,
    rate: Annotated[float, typer.Option(min=0.0, metavar="N", help="Objects per second, at most. 0: no limit.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; tell what would be written.")] = False,
    server: Server = None,
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    config: Config = None,
) -> None:
    """Rewrites stored objects in the version that their kind is stored in, while the server serves.

    In every version objects read as before. Run it before a version is taken away for good, and as often as you like: what is
    done is passed over.

    Examples:

    - skep registry migrate probes

    - skep registry migrate --all --rate 100
    """
    if bool(kind) == every:
        raise StartError("name a kind, or --all", "as in: skep registry migrate probes", exit_code=2)
    pace = Pace(rate, time.monotonic, time.sleep)
    with served(Where(None, server, kubeconfig, data_dir, token_file, ca, config)) as remote:
        kinds = overview(remote)
        chosen = [each for each in kinds if is_waiting(each)] if every else [named(kinds, name) for name in kind or ()]
        if not chosen:
            typer.echo("every object is in the version that its kind is stored in")
        ended = [run(remote, each, pace, dry_run=dry_run) for each in chosen]
    if not all(ended):
        raise typer.Exit(BAD)


def overview(remote: Asked) -> list[Document]:
    """The kinds of a server. Raises StartError."""
    from apiserver.reaching import Refused

    try:
        return list(remote.get(PATH)["kinds"])
    except Refused as error:
        if error.code == 403:
            hint = f"a ClusterRole with the verbs get and post on the paths {PATH} and {PATH}/RESOURCE allows it"
            raise StartError(error.message, hint, exit_code=BAD) from None
        if error.code == 404:
            raise StartError("this server cannot migrate", "it is an older one", exit_code=1) from None
        raise


def named(kinds: Sequence[Document], name: str) -> Document:
    """The kind of a name. Raises StartError."""
    from registry.description import Description, KindDescription

    def described(kind: Document) -> KindDescription:
        resource, plural = kind["resource"], kind["plural"]
        return KindDescription(
            resource=resource,
            kind=kind["kind"],
            list_kind="",
            singular=kind["singular"],
            plural=plural,
            group=resource.removeprefix(plural).removeprefix("."),
            short_names=tuple(kind["shortNames"]),
            storage="",
            versions=(),
        )

    found = kind_of(Description(kinds=tuple(map(described, kinds))), name).kind.resource
    return next(kind for kind in kinds if kind["resource"] == found)


def is_waiting(kind: Document) -> bool:
    """Whether there is an object in another version."""
    return any(version != kind["storage"] for version in kind["stored"])


def run(remote: Asked, kind: Document, pace: Pace, *, dry_run: bool) -> bool:
    """Migrates a kind, and says so; whether all of its objects are in the version now (or would be)."""
    resource, storage = kind["resource"], kind["storage"]
    waiting = sum(count for version, count in kind["stored"].items() if version != storage)
    typer.echo(f"{resource}: {_counts(kind['stored']) or 'no objects'}; stored in {storage}")
    trim = nothing if dry_run else trimming(remote, kind)
    if not waiting:
        trim()
        return True
    tally: Counter[str] = Counter()
    failed: dict[str, str] = {}
    busy: list[str] = []
    with _bar(resource, waiting) as told:
        for _ in range(PASSES):
            busy = _pass(remote, resource, pace, dry_run, tally, failed, told)
            if not busy:
                break
    failed |= dict.fromkeys(busy, "others write it all the time; run this again")
    what = "would be rewritten" if dry_run else "rewritten"
    after = remote.get(f"{PATH}/{quote(resource, safe='')}")["stored"]
    typer.echo(f"{resource}: {tally['rewritten']} {what}, {len(failed)} failed; now {_counts(after) or 'no objects'}")
    for place, why in sorted(failed.items())[:SHOWN]:
        typer.echo(f"  {place.lstrip('/')}: {why}", err=True)
    if len(failed) > SHOWN:
        typer.echo(f"  and {len(failed) - SHOWN} more", err=True)
    if not failed:
        trim()
    return not failed


def nothing() -> None:
    """There is nothing to be trimmed."""


def trimming(remote: Asked, kind: Document) -> Callable[[], None]:
    """What says in the definition of a kind, if it has one, that no object is stored in another version any more.

    It is the definition of this moment that it is said in: whoever changes the version that is stored in the meantime wins.
    """
    from apiserver.reaching import Refused

    path = f"{DEFINITIONS}/{quote(kind['resource'], safe='')}"
    own = kind["storage"].rpartition("/")[2]
    try:
        found = remote.get(path)
    except Refused:
        return nothing
    if found.get("status", {}).get("storedVersions") in ([own], None):
        return nothing
    pinned = {"resourceVersion": found["metadata"]["resourceVersion"]}

    def trim() -> None:
        try:
            remote.merge(f"{path}/status", {"metadata": pinned, "status": {"storedVersions": [own]}})
        except Refused as error:
            typer.echo(f"{kind['resource']}: its definition still has more versions among status.storedVersions: {error}", err=True)
        else:
            typer.echo(f"{kind['resource']}: {own} is the only one of status.storedVersions now")

    return trim


def _pass(
    remote: Asked,
    resource: str,
    pace: Pace,
    dry_run: bool,
    tally: Counter[str],
    failed: dict[str, str],
    told: Callable[[int], None],
) -> list[str]:
    """Goes through a kind once; the objects that were written by others again and again."""
    busy: list[str] = []
    after = ""
    while True:
        done = _step(remote, resource, {"after": after, "limit": pace.step, "dryRun": dry_run}, pace)
        tally["rewritten"] += done["rewritten"]
        failed |= {each["object"]: each["message"] for each in done["failed"]}
        busy += done["busy"]
        told(done["rewritten"] + len(done["failed"]))
        after = done["after"]
        if not after:
            return busy
        pace.did(done["rewritten"])


def _step(remote: Asked, resource: str, asked: Document, pace: Pace) -> Document:
    """One request. When the server has too much to do, it is asked again: what it has done then, it passes over."""
    from apiserver.reaching import Refused

    for attempt in range(TRIES):
        try:
            return remote.create(f"{PATH}/{quote(resource, safe='')}", asked)
        except Refused as error:
            if error.code not in (429, 503, 504) or attempt == TRIES - 1:
                raise
            pace.wait(0.5 * 2**attempt)
    raise AssertionError("unreachable")


def _counts(stored: Document) -> str:
    return ", ".join(f"{count} in {version}" for version, count in stored.items())


def _bar(resource: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A progress bar on a terminal; a line now and then when it is read by a program."""
    return _Bar(resource, total) if sys.stderr.isatty() else nullcontext(_Lines(resource, total, time.monotonic))


class _Lines:
    def __init__(self, resource: str, total: int, now: Callable[[], float]) -> None:
        self._resource, self._total, self._now = resource, total, now
        self._begun = self._told = now()
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        now = self._now()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            rate = self._done / (now - self._begun)
            typer.echo(f"{self._resource}: {self._done} of {self._total}, {rate:,.0f}/s", err=True)


class _Bar(AbstractContextManager[Callable[[int], None]]):
    def __init__(self, resource: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        columns: Iterable[Any] = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._progress: Progress = Progress(*columns, console=Console(stderr=True))
        self._task: TaskID = self._progress.add_task(resource, total=total, rate="")

    def __enter__(self) -> Callable[[int], None]:
        self._progress.start()
        return self._add

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def _add(self, count: int) -> None:
        speed = next(each.speed for each in self._progress.tasks if each.id == self._task)
        self._progress.update(self._task, advance=count, rate=f"{speed:,.0f}/s" if speed else "")


COMMANDS = ((migrate, "migrate", EPILOG),)
"""What this module puts into `skep registry`: function, name, epilog."""
