"""Loading plugins: what is found, and the one line that is said when nothing is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction as Wanted
from pathlib import Path

import pytest

from apiserver.plugins import Loaded, PluginError, check_own_packages, load_plugins

VALUE = "from fractions import Fraction\n"
"""The first line of each file. Any type can be wanted: a Fraction here, so that these tests know nothing of plugins."""


@pytest.fixture(autouse=True)
def imports() -> Iterator[None]:
    """What a test has imported is forgotten after it."""
    modules, path = set(sys.modules), sys.path[:]
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(VALUE + text)
    return path


def load(*names: object) -> list[Loaded[Wanted]]:
    return load_plugins([str(name) for name in names], Wanted)


def refused(*names: object) -> PluginError:
    with pytest.raises(PluginError) as error:
        load(*names)
    assert error.value.exit_code == 2
    assert "\n" not in error.value.message
    return error.value


def installed(folder: Path, text: str, entry: str = "probes = acme_plugin:it") -> None:
    """A distribution with a module and an entry point, on the import path."""
    file(folder, "acme_plugin.py", text)
    metadata = folder / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[skep.plugins]\n{entry}\n")
    sys.path.insert(0, str(folder))


def test_a_file_is_loaded_whatever_its_only_value_is_called(tmp_path: Path) -> None:
    path = file(tmp_path, "my probes.py", "uptime = Fraction(1, 2)\n")
    assert load(path) == [Loaded(Wanted(1, 2), str(path))]


def test_a_file_is_named_relative_to_where_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(tmp_path, "a.py", "x = Fraction(1)\n")
    monkeypatch.chdir(tmp_path)
    assert load("a.py")[0].value == load("./a.py")[0].value == 1


def test_a_module_is_loaded_by_its_name(tmp_path: Path) -> None:
    file(tmp_path, "acme_x/__init__.py", "")
    file(tmp_path, "acme_x/probes.py", "x = Fraction(3)\n")
    sys.path.insert(0, str(tmp_path))
    assert load("acme_x.probes")[0].value == 3


def test_an_entry_point_is_loaded_by_its_name(tmp_path: Path) -> None:
    installed(tmp_path, "it = Fraction(4)\nother = Fraction(5)\n")
    (loaded,) = load("probes")
    assert loaded.value == 4
    assert "acme_plugin:it" in loaded.source


def test_a_value_can_be_picked_by_name(tmp_path: Path) -> None:
    path = file(tmp_path, "a.py", "x = Fraction(1)\ny = Fraction(2)\n")
    assert load(f"{path}:y")[0].value == 2


def test_the_name_plugin_goes_before_others_so_that_a_plugin_may_use_anothers(tmp_path: Path) -> None:
    assert load(file(tmp_path, "a.py", "imported = Fraction(1)\nplugin = Fraction(2)\n"))[0].value == 2


def test_one_value_under_two_names_is_one_value(tmp_path: Path) -> None:
    assert load(file(tmp_path, "a.py", "x = y = Fraction(1)\n"))[0].value == 1


def test_a_plugin_that_is_named_twice_is_loaded_once(tmp_path: Path) -> None:
    path = file(tmp_path, "a.py", "x = Fraction(1)\n")
    assert len(load(path, path, f"{path}:x")) == 1


def test_files_of_one_name_in_two_folders_are_two_plugins(tmp_path: Path) -> None:
    one, two = file(tmp_path / "1", "a.py", "x = Fraction(1)\n"), file(tmp_path / "2", "a.py", "x = Fraction(2)\n")
    assert [loaded.value for loaded in load(one, two)] == [1, 2]


def test_a_plugin_imports_the_files_beside_it_and_hides_no_module(tmp_path: Path) -> None:
    file(tmp_path, "beside_it.py", "value = 7\n")
    file(tmp_path, "json.py", "raise RuntimeError('never imported')\n")
    path = file(tmp_path, "queue.py", "import json, beside_it\nx = Fraction(beside_it.value)\njson.dumps\n")
    assert load(path)[0].value == 7
    assert "skep_plugin_queue" in sys.modules


def test_a_plugin_is_in_the_table_of_modules_while_it_runs_so_that_its_annotations_resolve(tmp_path: Path) -> None:
    text = "import sys\nx = Fraction(1 if vars(sys.modules[__name__]) is globals() else 0)\n"
    assert load(file(tmp_path, "a.py", text))[0].value == 1


def test_a_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.py").message == f"plugin {tmp_path}/none.py does not exist"
    assert refused(f"{tmp_path}/").message == f"plugin {tmp_path} is not a file"


def test_a_module_that_is_missing_is_one_line_that_tells_how_files_are_named() -> None:
    error = refused("no_such_module")
    assert error.message == "plugin no_such_module: there is no such module or entry point"
    assert "./no_such_module.py" in error.hint


def test_a_syntax_error_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = file(tmp_path, "a.py", "x = 1\ndef f(:\n")
    assert refused(path).message == f"plugin {path}: {path}:3: SyntaxError: invalid syntax"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("\n1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("def f():\n    Fraction('x')\nf()\n", 3, "ValueError: Invalid literal for Fraction: 'x'"),
        ("import json\njson.loads('{')\n", 3, "JSONDecodeError: Expecting property name"),
        ("raise RuntimeError('a\\nb')\n", 2, "RuntimeError: a b"),
        ("raise SystemExit(3)\n", 2, "SystemExit: 3"),
        ("assert False\n", 2, "AssertionError"),
    ],
)
def test_an_error_is_named_with_the_innermost_line_of_the_users_own_code(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = file(tmp_path, "a.py", text)
    assert refused(path).message.startswith(f"plugin {path}: {path}:{line}: {said}")


def test_an_error_in_a_file_that_the_plugin_imports_is_named_with_that_file(tmp_path: Path) -> None:
    beside = file(tmp_path, "broken_beside.py", "None.x\n")
    path = file(tmp_path, "a.py", "import broken_beside\n")
    assert f": {beside}:2: AttributeError" in refused(path).message


def test_a_library_that_is_missing_says_where_to_install_it(tmp_path: Path) -> None:
    error = refused(file(tmp_path, "a.py", "import no_such_library\n"))
    assert error.message.endswith("a.py:2: ModuleNotFoundError: No module named 'no_such_library'")
    assert "install 'no_such_library'" in error.hint


@pytest.mark.parametrize("text", ["from registry.models import X\n", "from registry import models\n", "import storage.mine\n"])
def test_a_plugin_that_means_its_own_folder_of_our_name_is_told_that_the_name_is_ours(tmp_path: Path, text: str) -> None:
    file(tmp_path, "registry/__init__.py", "")
    file(tmp_path, "registry/models.py", "X = 1\n")
    error = refused(file(tmp_path, "a.py", text))
    assert "is a package of Skep: if you mean your own, give it another name" in error.hint


def test_a_file_without_a_plugin_shows_the_line_that_it_needs(tmp_path: Path) -> None:
    error = refused(file(tmp_path, "up time.py", ""))
    assert error.message.endswith("up time.py: there is no Fraction in it")
    assert error.hint == 'it needs a line like: plugin = Fraction("up-time")'


def test_several_values_are_named_to_choose_from(tmp_path: Path) -> None:
    path = file(tmp_path, "a.py", "x = Fraction(1)\ny = Fraction(2)\n")
    error = refused(path)
    assert error.message == f"plugin {path}: there are several: x, y"
    assert error.hint == f"name one: {path}:x or {path}:y"


def test_a_name_that_is_no_plugin_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = file(tmp_path, "a.py", "x = Fraction(1)\n")
    assert refused(f"{path}:z").hint == f"name one: {path}:x"


def test_a_plugin_that_failed_can_be_loaded_once_it_is_mended(tmp_path: Path) -> None:
    path = file(tmp_path, "a.py", "1 / 0\n")
    refused(path)
    path.write_text(VALUE + "x = Fraction(1)  # mended\n")
    assert load(path)[0].value == 1


def test_nothing_hides_our_packages_here() -> None:
    check_own_packages()


@pytest.mark.parametrize("hidden", ["registry/__init__.py", "storage.py"])
def test_a_folder_of_the_user_that_hides_ours_is_one_line_that_names_it(tmp_path: Path, hidden: str) -> None:
    file(tmp_path, hidden, "")
    home = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.append({str(home)!r}); from apiserver.cli import main; sys.exit(main(['version']))",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    what = hidden.removesuffix("/__init__.py")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {tmp_path / what} hides Skep's own package {what.removesuffix('.py')!r}",
        "hint: start skep from another folder, rename that one, or take it out of PYTHONPATH",
    ]
