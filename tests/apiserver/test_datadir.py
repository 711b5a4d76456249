"""The data folder: private, whole, and refused in one line when it cannot be used."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from apiserver.config import StartError
from apiserver.datadir import SECRETS, admin_token, prepare, rotate_admin_token, tighten, write_private

NOBODY = 65534


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """`prepare` sets the umask of the process; the widest one before shows that modes do not come from it."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def silent(_line: str) -> None:
    raise AssertionError(f"a warning: {_line}")


def test_the_folder_is_made_with_its_parents_and_is_private(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "a" / "data", silent)
    assert mode(folder) == 0o700
    assert list(folder.iterdir()) == []


def test_files_made_by_others_code_are_private_too(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "data", silent)
    (folder / "skep.db").write_bytes(b"")
    assert mode(folder / "skep.db") == 0o600


def test_a_folder_that_is_there_is_used_again(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "data", silent)
    token = admin_token(folder, silent)
    assert admin_token(prepare(folder, silent), silent) == token


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_others_can_read_is_closed_with_a_warning(tmp_path: Path, name: str) -> None:
    folder = prepare(tmp_path / "data", silent)
    (folder / name).write_text("x")
    (folder / name).chmod(0o644)
    warnings: list[str] = []
    prepare(folder, warnings.append)
    assert mode(folder / name) == 0o600
    assert warnings == [f"{folder / name} could be used by others (mode 0644); it is 0600 now"]


def test_a_folder_that_others_can_write_to_is_pointed_out(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o777)
    warnings: list[str] = []
    prepare(folder, warnings.append)
    assert warnings == [f"others can write to the data folder {folder} (mode 0777): chmod 0700 closes it"]


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StartError, match=rf"^the data folder {tmp_path}/data is not a folder$"):
        prepare(tmp_path / "data", silent)
    with pytest.raises(StartError, match=rf"^cannot make the data folder {tmp_path}/data/x: Not a directory$"):
        prepare(tmp_path / "data" / "x", silent)


def in_a_child_as_nobody(folder: Path) -> str:
    """What `prepare` says to a user who is not root: the only way to be refused where the tests run as root."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"went through"
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            prepare(folder, lambda _line: None)
        except StartError as error:
            said = str(error).encode()
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, "rb") as answer:
        return answer.read().decode()


@pytest.fixture
def open_parents(tmp_path: Path) -> Path:
    """A folder that anybody may go through."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and parent.name.startswith(("pytest-", "popen-", "test_")):
            parent.chmod(0o755)
    return tmp_path


def test_a_folder_that_cannot_be_written_to_is_one_line(open_parents: Path) -> None:
    folder = open_parents / "data"
    folder.mkdir()
    folder.chmod(0o555)
    assert in_a_child_as_nobody(folder) == f"the data folder {folder} cannot be written to: Permission denied"
    assert in_a_child_as_nobody(folder / "x") == f"cannot make the data folder {folder}/x: Permission denied"


@pytest.fixture
def giveable(open_parents: Path) -> Path:
    """The same, for tests that give it away, as only root can."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    return open_parents


def test_the_folder_of_another_user_is_refused_even_if_it_can_be_written_to(giveable: Path) -> None:
    folder = giveable / "data"
    folder.mkdir()
    folder.chmod(0o777)
    os.chown(folder, 12345, -1)
    assert in_a_child_as_nobody(folder) == f"the data folder {folder} belongs to user 12345, not to user {NOBODY}"


def test_root_on_the_folder_of_another_user_is_warned(giveable: Path) -> None:
    folder = giveable / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)
    warnings: list[str] = []
    prepare(folder, warnings.append)
    assert warnings == [f"the data folder {folder} belongs to user 12345, and this is user 0"]


def test_the_admin_token_is_long_random_and_private(tmp_path: Path) -> None:
    token = admin_token(tmp_path, silent)
    assert len(token) >= 43
    assert mode(tmp_path / "admin.token") == 0o600
    assert (tmp_path / "admin.token").read_text() == f"{token}\n"


def test_rotating_makes_another_token_that_is_used_from_then_on(tmp_path: Path) -> None:
    before = admin_token(tmp_path, silent)
    after = rotate_admin_token(tmp_path)
    assert after != before
    assert admin_token(tmp_path, silent) == after


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_damaged_token_file_is_an_error_and_not_a_new_token(tmp_path: Path, content: bytes) -> None:
    write_private(tmp_path / "admin.token", content)
    with pytest.raises(StartError, match="admin token"):
        admin_token(tmp_path, silent)


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_private(tmp_path / "a", b"one")
    reader = (tmp_path / "a").open("rb")
    write_private(tmp_path / "a", b"two")
    with reader:
        assert reader.read() == b"one", "a reader keeps the file that it opened"
    assert (tmp_path / "a").read_bytes() == b"two"
    assert mode(tmp_path / "a") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StartError, match=f"^cannot write {tmp_path}/a: Is a directory$"):
        write_private(tmp_path / "a", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_is_not_followed_when_permissions_are_taken_away(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("x")
    (tmp_path / "elsewhere").chmod(0o644)
    (tmp_path / "a").symlink_to("elsewhere")
    tighten(tmp_path / "a", silent)
    assert mode(tmp_path / "elsewhere") == 0o644
