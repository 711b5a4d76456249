"""The file with the keys that sign tokens: made, followed, rotated, refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from admission.token_keys import new_key, text_of
from apiserver import key_file
from apiserver.cli import main
from apiserver.config import StartError
from apiserver.key_file import FILE, KeyFile


def test_the_file_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    warned: list[str] = []
    path = key_file.prepare(tmp_path, None, warned.append)
    assert (path, path.stat().st_mode & 0o777) == (tmp_path / FILE, 0o600)
    made = key_file.read(path).names
    path.chmod(0o644)
    assert key_file.prepare(tmp_path, None, warned.append) == path
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(warned) == 1
    assert key_file.read(path).names == made


def test_a_file_that_is_named_is_never_made_and_is_told_of_when_all_may_read_it(tmp_path: Path) -> None:
    warned: list[str] = []
    named = tmp_path / "shared.pem"
    assert key_file.prepare(tmp_path, named, warned.append) == named
    with pytest.raises(StartError, match="there is no file with token keys") as missing:
        KeyFile(named, lambda: 0.0, warned.append)
    assert f"skep token-keys rotate --key-file {named}" in missing.value.hint
    key_file.rotate(named)
    named.chmod(0o644)
    key_file.prepare(tmp_path, named, warned.append)
    assert warned[0].startswith("everybody on this machine may use the token keys")
    assert named.stat().st_mode & 0o777 == 0o644  # it is not ours


def test_keys_are_followed_while_they_change_and_kept_when_they_cannot_be_read(tmp_path: Path) -> None:
    now, warned, path = [0.0], list[str](), tmp_path / FILE
    first = key_file.rotate(path).names
    keys = KeyFile(path, lambda: now[0], warned.append)
    second = key_file.rotate(path).names
    assert second[1:] == first
    assert keys.current().names == first  # as of a moment ago
    assert keys.latest().names == second
    third = key_file.rotate(path).names
    assert third[1] == second[0]
    assert first[0] not in third
    now[0] = 1.0
    assert keys.current().names == third
    for broken in ("nonsense", "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----", "ä", "x" * 300_000):
        path.write_text(broken)
        assert keys.latest().names == third
        assert keys.latest().names == third
    path.unlink()
    assert keys.latest().names == third
    assert len(warned) == 5  # once for each
    assert not any("MIGH" in line for line in warned)
    path.write_text(text_of([new_key()]))
    assert keys.latest().names == key_file.read(path).names != third


def test_the_command_shows_and_rotates_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--data-dir", str(tmp_path)]
    assert main(["token-keys", "list", *folder]) == 1
    assert "there is no file with token keys" in capsys.readouterr().err
    said = []
    for _ in range(3):
        assert main(["token-keys", "rotate", *folder]) == 0
        said.append(capsys.readouterr().out)
    names = key_file.read(tmp_path / FILE).names
    assert main(["token-keys", "list", *folder]) == 0
    assert capsys.readouterr().out == f"{names[0]}  signs\n{names[1]}  verifies\n"
    assert f"{names[0]} signs from now on" in said[2]
    assert f"{names[1]} verifies until the next rotation" in said[2]
    assert "is dropped" in said[2]
    assert "PRIVATE" not in "".join(said)
    named = tmp_path / "other.pem"
    assert main(["token-keys", "rotate", *folder, "--key-file", str(named)]) == 0
    assert named.stat().st_mode & 0o777 == 0o600
