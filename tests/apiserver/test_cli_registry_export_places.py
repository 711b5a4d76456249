"""Where `skep registry export` writes: below the folder that is named, whatever a server calls its kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from apiserver.cli_registry_export import deliver
from apiserver.config import StartError


@pytest.mark.parametrize("path", ["../bolt_v1.json", "a/../../bolt_v1.json", "/tmp/bolt_v1.json", "bolt\x1b[2J_v1.json"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(StartError, match="is no name of a file below") as refused:
        deliver({"things.example/bolt_v1.json": "{}", path: "{}"}, out, check=False, several=True)
    assert str(refused.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_other_names_are_written(tmp_path: Path) -> None:
    deliver({"things.example/bolt_v1.json": "{}"}, tmp_path / "out", check=False, several=True)
    assert (tmp_path / "out/things.example/bolt_v1.json").read_text() == "{}"
