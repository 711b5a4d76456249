"""The actor of the folders example on a real disk: what it makes, what it takes away, and that nothing leads out of its root."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from actors import Again, BlockingClient, Done, Outcome, Place, Run, Wake
from actors.client import Client
from examples.folders import Folder, FolderSpec, FolderStatus, Keeper, below, inside_only, opened, wrong_with
from registry.resource import Metadata, is_true

HOSTILE = [
    "/etc",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    ".",
    "./a",
    "a//b",
    "a/",
    "",
    "a\x00b",
    "a\nb",
    "a\x9bb",
    "x" * 256,
    "ä" * 200,
    "/".join("a" * 40),
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept.txt").write_text("precious")
    monkeypatch.setenv("FOLDERS_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def keeper(root: Path) -> Keeper:
    made = Keeper()
    made.setup(no_client())
    return made


def no_client() -> BlockingClient:
    class Nobody:
        def __getattr__(self, verb: str) -> Any:
            raise AssertionError(f"the API is not needed: {verb}")

    client: Client = Nobody()  # type: ignore[assignment]
    return BlockingClient(client, lambda: True)


def run() -> Run:
    return Run(
        Place("shop", "f"), Wake.DESIRED, 1, lambda reason, message, *, warning=False: None, generation=1, time=1_700_000_000.0
    )


def folder(*contains: str, name: str = "f", namespace: str = "shop", **spec: Any) -> Folder:
    return Folder(metadata=Metadata(name=name, namespace=namespace), spec=FolderSpec(contains=contains, **spec))


def status(outcome: Outcome) -> FolderStatus:
    assert isinstance(outcome, Again)
    assert isinstance(outcome.status, FolderStatus)
    return outcome.status


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def outside(root: Path) -> list[str]:
    return tree(root.parent / "outside")


def test_what_is_wanted_is_made_and_making_it_again_changes_nothing(root: Path, keeper: Keeper) -> None:
    for _ in range(2):
        found = status(keeper.reconcile(folder("a/b", "a/c", "d"), no_client(), run()))
        assert tree(root) == ["shop", "shop/f", "shop/f/a", "shop/f/a/b", "shop/f/a/c", "shop/f/d"]
        assert found.path == "shop/f"
        assert is_true(found.conditions, "Ready")


def test_what_is_not_wanted_any_more_stays_as_somebody_may_work_in_it(root: Path, keeper: Keeper) -> None:
    keeper.reconcile(folder("a"), no_client(), run())
    (root / "shop/f/a/work.txt").touch()
    keeper.reconcile(folder("b"), no_client(), run())
    assert tree(root / "shop/f") == ["a", "a/work.txt", "b"]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_path_is_refused_when_it_is_written_and_again_on_the_disk(root: Path, keeper: Keeper, path: str) -> None:
    class Review:
        new = folder("good", path)

    causes = inside_only(Review())  # type: ignore[arg-type]
    assert [cause.field for cause in causes] == ["spec.contains[1]"]
    found = status(keeper.reconcile(folder(path), no_client(), run())) if path.count("/") < 32 and "//" not in path else None
    assert found is None or not is_true(found.conditions, "Ready")
    assert {"root", "outside"} == {each.name for each in root.parent.iterdir()}
    assert outside(root) == ["kept.txt"]


@pytest.mark.parametrize("path", ["a", "a/b/c", "2026/may", "with blank", "ünïcode", "..a", "a..b", "-rf", "~", "$HOME", "*"])
def test_ordinary_and_odd_names_are_just_names(root: Path, keeper: Keeper, path: str) -> None:
    assert wrong_with(path) == ""
    keeper.reconcile(folder(path), no_client(), run())
    assert (root / "shop/f" / path).is_dir()


@pytest.mark.parametrize("at", ["shop", "shop/f", "shop/f/a", "shop/f/a/b"])
@pytest.mark.parametrize("what", ["link", "file", "pipe"])
def test_what_is_in_the_way_is_left_alone_and_said_and_a_link_leads_nowhere(root: Path, keeper: Keeper, at: str, what: str) -> None:
    """A link inside of the root is how one gets out of it: whoever may write there may place it at any time."""
    place = root / at
    place.parent.mkdir(parents=True, exist_ok=True)
    match what:
        case "link":
            place.symlink_to(root.parent / "outside", target_is_directory=True)
        case "file":
            place.touch()
        case "pipe":
            os.mkfifo(place)
    found = status(keeper.reconcile(folder("a/b/c"), no_client(), run()))
    assert found.conditions[0].reason == "NotADirectory"
    assert repr(place.name) in found.conditions[0].message
    assert outside(root) == ["kept.txt"]
    for when_deleted in ("RemoveIfEmpty", "Remove"):
        keeper.cleanup(folder("a/b/c", when_deleted=when_deleted), no_client(), run())
        assert outside(root) == ["kept.txt"]


@pytest.mark.parametrize("when_deleted", ["RemoveIfEmpty", "Remove", "Keep"])
def test_cleaning_up_takes_away_what_the_spec_says(root: Path, keeper: Keeper, when_deleted: str) -> None:
    asked = folder("a/b", "c", when_deleted=when_deleted)
    other = folder("theirs", name="g")
    for each in (asked, other):
        keeper.reconcile(each, no_client(), run())
    for _ in range(2):
        assert keeper.cleanup(asked, no_client(), run()) == Done()
        assert (root / "shop/f").exists() == (when_deleted == "Keep")
    assert (root / "shop/g/theirs").is_dir()


def test_files_hold_a_folder_until_they_are_gone_unless_it_is_to_go_with_them(root: Path, keeper: Keeper) -> None:
    keeper.reconcile(folder("a/b", "c"), no_client(), run())
    (root / "shop/f/a/work.txt").touch()
    waiting = status(keeper.cleanup(folder(), no_client(), run()))
    assert waiting.conditions[0].message == "shop/f: Directory not empty"
    assert (root / "shop/f/c").is_dir(), "nothing is taken away as long as not all may be"
    assert keeper.cleanup(folder(when_deleted="Remove"), no_client(), run()) == Done()
    assert tree(root) == ["shop"]


def test_a_link_inside_is_removed_and_not_followed(root: Path, keeper: Keeper) -> None:
    keeper.reconcile(folder("a"), no_client(), run())
    (root / "shop/f/a/away").symlink_to(root.parent / "outside", target_is_directory=True)
    assert isinstance(keeper.cleanup(folder(), no_client(), run()), Again), "a link is somebody's work, too"
    assert keeper.cleanup(folder(when_deleted="Remove"), no_client(), run()) == Done()
    assert outside(root) == ["kept.txt"]


def test_a_root_that_is_away_is_not_taken_for_a_folder_that_is_gone(root: Path, keeper: Keeper) -> None:
    """A disk that is not mounted holds everything still."""
    keeper.reconcile(folder("a"), no_client(), run())
    root.rename(root.parent / "unmounted")
    assert isinstance(keeper.cleanup(folder(), no_client(), run()), Again)


def test_no_descriptor_is_left_open(root: Path, keeper: Keeper) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        keeper.reconcile(folder("a/b", "../x"), no_client(), run())
        keeper.cleanup(folder(), no_client(), run())
        with opened(root) as start, pytest.raises(FileNotFoundError), below(start, "shop/no/such", make=False):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
