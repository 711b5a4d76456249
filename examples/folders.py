"""Folders: objects that are directories on the disk of whoever runs the actor, made when the object is, and gone before it goes.

FOLDERS_ROOT=./folders skep serve --plugin examples/folders.py
kubectl apply -f examples/folder.yaml
ls -R folders
kubectl delete folder reports

The Folder `reports` in the namespace `default` is `$FOLDERS_ROOT/default/reports`, with the directories in it that its spec names.
Two Folders never share one. What people write into specs does not lead out of the root: names are checked when they are written,
and on the disk every step is opened by name in the directory before it and never through a symbolic link.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

from actors import Again, BlockingClient, Done, Outcome, Run
from admission.review import Review
from registry.errors import Cause, invalid
from registry.kinds import Column
from registry.plugin import Plugin
from registry.resource import Conditions, ListSet, Meta, Resource, Spec, Status, replace

ROOT = "FOLDERS_ROOT"
"""The variable that names the directory below which all others are made."""

LOOK_AGAIN = 60.0
"""Seconds: directories may be taken away or changed by hand, and nobody tells."""

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Inside = Annotated[str, Meta(min_length=1, max_length=1024)]


class FolderSpec(Spec):
    """What is to be there."""

    contains: Annotated[
        tuple[Inside, ...], ListSet, Meta(max_length=1000, description="Directories inside, such as 2026/may. What is there stays.")
    ] = ()
    when_deleted: Annotated[
        Literal["RemoveIfEmpty", "Remove", "Keep"],
        Meta(description="What becomes of the directory with the object. Until it is done, the object stays."),
    ] = "RemoveIfEmpty"


class FolderStatus(Status):
    """What is there."""

    path: str | None = None
    conditions: Conditions = ()
    observed_generation: int | None = None


class Folder(Resource[FolderSpec, FolderStatus]):
    """A directory on a disk."""


plugin = Plugin("folders")
plugin.kind(
    Folder,
    group="folders.example",
    version="v1",
    plural="folders",
    columns=[
        Column("READY", '.status.conditions[?(@.type=="Ready")].status'),
        Column("REASON", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("PATH", ".status.path"),
    ],
)


@plugin.validates(Folder)
def inside_only(review: Review[Folder]) -> list[Cause]:
    """Relative paths of plain names. Said when it is written: whoever wrote it is still there to read it."""
    named = enumerate(review.new.spec.contains)
    return [invalid(f"spec.contains[{at}]", path, problem) for at, path in named if (problem := wrong_with(path))]


def wrong_with(path: str) -> str:
    """Why a path may not be made; empty if it may."""
    if path.startswith("/"):
        return "must be relative: it is made inside the folder"
    for name in path.split("/"):
        if name in ("", ".", ".."):
            return "must be made of names with one slash between, none of them '.' or '..'"
        if any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in name):
            return "must not hold control characters"
        if len(name.encode()) > 255:
            return "must not have a name of more than 255 bytes"
    return "" if path.count("/") < 32 else "must not be deeper than 32 directories"


class NotADirectory(Exception):
    """Something on the way is not a directory: a file, or a link to somewhere else."""


@contextmanager
def opened(path: str | Path, here: int | None = None) -> Iterator[int]:
    """A directory (in another one), for steps from there."""
    descriptor = os.open(path, DIRECTORY, dir_fd=here)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def below(start: int, path: str, *, make: bool) -> Iterator[int]:
    """The directory at a path below `start`, which is made if it may be. Raises NotADirectory, FileNotFoundError."""
    here = os.dup(start)
    try:
        for name in path.split("/"):
            before, here = here, step(here, name, make=make)
            os.close(before)
        yield here
    finally:
        os.close(here)


def step(here: int, name: str, *, make: bool) -> int:
    """One name further. Links are not followed: where they lead to is not ours. Raises NotADirectory, FileNotFoundError."""
    if wrong_with(name):
        raise NotADirectory(f"{name!r} {wrong_with(name)}")
    if make:
        with suppress(FileExistsError):  # most often it is the directory; if not, what comes next says so
            os.mkdir(name, dir_fd=here)
    try:
        return os.open(name, DIRECTORY, dir_fd=here)
    except FileNotFoundError:
        raise
    except OSError as error:
        kind = os.stat(name, dir_fd=here, follow_symlinks=False).st_mode
        if stat.S_ISDIR(kind):
            raise
        what = "a link" if stat.S_ISLNK(kind) else "no directory"
        raise NotADirectory(f"{name!r} is {what}; it is left as it is") from error


def remove(root: int, namespace: str, name: str, *, with_files: bool) -> None:
    """Takes a directory away with all that is in it; links are removed and not followed. Raises NotADirectory, and OSError if it
    cannot go or holds files that are to stay."""
    try:
        with below(root, f"{namespace}/{name}", make=False):
            pass
    except FileNotFoundError:
        return  # somebody else took it away, or a run before this one
    with below(root, namespace, make=False) as parent:
        if not with_files and holds_files(parent, name):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), name)
        shutil.rmtree(name, dir_fd=parent)


def holds_files(parent: int, name: str) -> bool:
    """Whether there is anything in a directory that is not a directory."""
    for _, directories, files, here in os.fwalk(name, dir_fd=parent):
        kinds = (os.stat(each, dir_fd=here, follow_symlinks=False).st_mode for each in directories)
        if files or not all(map(stat.S_ISDIR, kinds)):
            return True
    return False


@plugin.actor(Folder, concurrency=4)
class Keeper:
    """Plain functions, run in worker threads: a disk may be slow, and has no asynchronous calls."""

    def setup(self, client: BlockingClient) -> None:
        """Where everything is. A root that cannot be used is found out at the start, and tried again."""
        self.root = Path(os.environ.get(ROOT) or "folders").absolute()
        self.root.mkdir(exist_ok=True)

    def reconcile(self, folder: Folder, client: BlockingClient, run: Run) -> Outcome:
        """Makes what is missing. What is there and not wanted is somebody's work, and stays."""
        before = folder.status or FolderStatus()
        try:
            with opened(self.root) as root, below(root, where(folder), make=True) as home:
                for path in folder.spec.contains:
                    with below(home, path, make=True):
                        pass
        except NotADirectory as error:
            conditions = run.condition(before.conditions, "Ready", False, "NotADirectory", str(error))
            return Again(LOOK_AGAIN, FolderStatus(path=before.path, conditions=conditions))
        if before.path is None:
            run.tell("Made", where(folder))
        conditions = run.condition(before.conditions, "Ready", True, "Made", "the directories are there")
        return Again(LOOK_AGAIN, FolderStatus(path=where(folder), conditions=conditions))

    def cleanup(self, folder: Folder, client: BlockingClient, run: Run) -> Outcome:
        """Takes the directory away, as far as the spec allows. Until then the object waits, and says for what."""
        before = folder.status or FolderStatus()
        if folder.spec.when_deleted == "Keep":
            return Done()
        try:
            with opened(self.root) as root:
                with_files = folder.spec.when_deleted == "Remove"
                remove(root, folder.metadata.namespace, folder.metadata.name, with_files=with_files)
        except NotADirectory as error:
            run.tell("Left", str(error), warning=True)
            return Done()  # what is there was not made here
        except OSError as error:
            conditions = run.condition(before.conditions, "Ready", False, "NotRemoved", f"{where(folder)}: {error.strerror}")
            return Again(LOOK_AGAIN, replace(before, conditions=conditions))
        return Done()


def where(folder: Folder) -> str:
    """The path of a folder below the root: one for each object, as names of objects are."""
    return f"{folder.metadata.namespace}/{folder.metadata.name}"
