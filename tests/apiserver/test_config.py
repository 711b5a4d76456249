"""Settings: where they come from, which source wins, and what is said when they are wrong."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from apiserver.config import Address, ConfigError, Settings, StartError, catalog, load, misspelt, names_a_file

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def settings(tmp_path: Path, *, toml: str = "", flags: dict[str, Any] | None = None, **environ: str) -> Settings:
    config = None
    if toml:
        config = Path("skep.toml")
        (tmp_path / config).write_text(toml)
    return load(flags=flags or {}, environ=environ, config=config, cwd=tmp_path)


def problems(tmp_path: Path, *, toml: str = "", flags: dict[str, Any] | None = None, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        settings(tmp_path, toml=toml, flags=flags, **environ)
    assert refused.value.exit_code == 2
    return list(refused.value.problems)


def test_nothing_given_is_a_server_on_the_loopback_with_sqlite_in_the_data_folder(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert found.listen == Address("127.0.0.1", 7443)
    assert found.data_dir == tmp_path / "skep-data"
    assert found.database_url == f"sqlite:///{tmp_path}/skep-data/skep.db"
    assert found.limits.body_bytes == 3 * 1024 * 1024


def test_a_flag_goes_before_a_variable_before_the_file_before_the_default(tmp_path: Path) -> None:
    toml = 'listen = "127.0.0.1:1"\n[log]\nlevel = "error"\nformat = "json"\n[watch]\nwindow_changes = 20\n'
    found = settings(tmp_path, toml=toml, flags={"listen": "127.0.0.1:3"}, SKEP_LISTEN="127.0.0.1:2", SKEP_LOG_LEVEL="debug")
    assert found.listen.port == 3
    assert found.log.level == "debug"
    assert found.log.format == "json"
    assert found.watch.window_changes == 20
    assert found.log.access == "all"


def test_a_flag_that_was_not_given_and_an_empty_variable_change_nothing(tmp_path: Path) -> None:
    assert settings(tmp_path, flags={"listen": None}, SKEP_LISTEN="") == settings(tmp_path)


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('log.level = "error"')
    assert settings(tmp_path, SKEP_CONFIG="other.toml").log.level == "error"


def test_paths_in_the_file_are_relative_to_the_file_and_others_to_the_folder_worked_in(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "skep.toml").write_text('data_dir = "data"\nplugins = ["./a.py", "acme.b", "c.py:plugin"]\n')
    found = load(flags={"tls.cert": "x.crt", "tls.key": "/x.key"}, environ={}, config=Path("etc/skep.toml"), cwd=tmp_path)
    assert found.data_dir == tmp_path / "etc" / "data"
    assert found.plugins == (f"{tmp_path}/etc/a.py", "acme.b", f"{tmp_path}/etc/c.py:plugin")
    assert (found.tls.cert, found.tls.key) == (tmp_path / "x.crt", Path("/x.key"))


WITH_DEFAULT = [setting for setting in catalog() if setting.default is not None]  # paths of TLS have none


@pytest.mark.parametrize("setting", WITH_DEFAULT, ids=lambda setting: setting.name)
def test_the_default_of_every_setting_can_be_given_by_file_variable_and_flag(tmp_path: Path, setting: Any) -> None:
    default = setting.default
    text = ",".join(default) if isinstance(default, tuple) and not isinstance(default, Address) else str(default)
    plain = settings(tmp_path)
    assert settings(tmp_path, **{setting.variable: text}) == plain
    assert settings(tmp_path, flags={setting.name: text} if text else {}) == plain
    value = default if isinstance(default, int | float) else list(default) if text != str(default) else text
    table, _, key = setting.name.rpartition(".")
    written = str(value).lower() if isinstance(value, int | float) else repr(value)
    toml = f"[{table}]\n{key} = {written}\n" if table else f"{key} = {written}\n"
    tomllib.loads(toml)
    assert settings(tmp_path, toml=toml) == plain


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ('\nlistn = "a:1"', "skep.toml:2: unknown setting 'listn'; did you mean 'listen'?"),
        ("[limits]\nbody-byte = 1", "skep.toml:2: unknown setting 'limits.body-byte'; did you mean 'limits.body_bytes'?"),
        ("body_bytes = 1", "skep.toml:1: unknown setting 'body_bytes'; did you mean 'limits.body_bytes'?"),
        ("[limit]\nbody_bytes = 1", "skep.toml:1: unknown setting 'limit'"),
        (
            "[limits]\nbody_bytes = 'x'",
            "skep.toml:2: 'x' is not a value of limits.body_bytes; allowed: a whole number from 1024 to 1073741824",
        ),
        ("[limits]\nbody_bytes = 1.5", "skep.toml:2: 1.5 is not a value of limits.body_bytes; allowed: a whole number from"),
        ("watch.window_changes = true", "skep.toml:1: True is not a value of watch.window_changes"),
        ("limits = 3", "skep.toml:1: unknown setting 'limits'"),
        ("[log]\nlevel = 'loud'", "skep.toml:2: 'loud' is not a value of log.level; allowed: one of debug, info, warning, error"),
        ("plugins = 'a.py'\ndata_dir = 3", "skep.toml:2: 3 is not a value of data_dir; allowed: a path"),
        ("plugins = [1]", "skep.toml:1: [1] is not a value of plugins; allowed: a list of texts"),
        ("watch.bookmark_seconds = nan", "skep.toml:1: nan is not a value of watch.bookmark_seconds; allowed: a number above 0"),
        ("history.max_age_seconds = inf", "skep.toml:1: inf is not a value of history.max_age_seconds"),
        ("listen = ", "skep.toml: not TOML: Invalid value (at"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_its_line_and_what_is_allowed(tmp_path: Path, toml: str, line: str) -> None:
    found = problems(tmp_path, toml=toml)
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize("value", ["", "7443", ":7443", "a", "a:b", "a:65536", "a b:1", "::1:7443", "[::1]", "http://a:1", "a:-1"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    assert problems(tmp_path, flags={"listen": value})[0].startswith(
        f"--listen: {value!r} is not a value of listen; allowed: HOST:PORT"
    )


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::1]:7443", Address("::1", 7443)),
        ("api.example.com:443", Address("api.example.com", 443)),
    ],
)
def test_an_address_is_read_and_written_in_the_same_form(tmp_path: Path, value: str, address: Address) -> None:
    found = settings(tmp_path, flags={"listen": value}).listen
    assert found == address
    assert str(found) == value


def test_everything_that_is_wrong_is_told_at_once_each_with_its_source(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        toml="[watch]\nbookmark_seconds = 0",
        flags={"log.level": "x", "watch.window_changes": "7", "nope": "1"},
        SKEP_SHUTDOWN_GRACE_SECONDS="soon",
    )
    sources = [line.split(": ")[0] for line in found]
    assert sources == ["skep.toml:2", "SKEP_SHUTDOWN_GRACE_SECONDS", "--log-level", "--set watch.window_changes", "--set nope"]


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, SKEP_TLS_CERT="a.crt") == ["tls.cert and tls.key go together: only one of them is set"]


def test_a_file_that_is_missing_or_is_no_text_is_one_line(tmp_path: Path) -> None:
    assert problems(tmp_path, SKEP_CONFIG="none.toml") == ["none.toml: cannot be read: No such file or directory"]
    (tmp_path / "bin.toml").write_bytes(b"\xff\xfe")
    assert problems(tmp_path, SKEP_CONFIG="bin.toml") == ["bin.toml: not UTF-8 text"]


def test_a_variable_that_is_nearly_a_setting_is_pointed_out_and_those_of_kubernetes_are_not() -> None:
    environ = {
        "SKEP_LISTN": "x",
        "SKEP_LISTEN": "x",
        "SKEP_SERVICE_HOST": "10.0.0.1",
        "SKEP_PORT_7443_TCP": "x",
        "SKEP_CONFIG": "x",
    }
    assert misspelt(environ) == ["the variable SKEP_LISTN is not used; did you mean SKEP_LISTEN?"]


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        settings(tmp_path).limits.body_bytes = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("plugin", "file"), [("a.py", True), ("./a", True), ("a.py:p", True), ("acme.probes", False), ("uptime", False)]
)
def test_a_plugin_with_a_slash_or_the_ending_of_python_is_a_file(plugin: str, file: bool) -> None:
    assert names_a_file(plugin) is file


def test_a_start_error_shows_a_line_for_each_problem_and_its_hint() -> None:
    assert StartError("a\nb", "mend it").lines() == ["error: a", "error: b", "hint: mend it"]


def test_every_setting_is_documented_with_its_variable_default_and_description() -> None:
    text = DOCUMENT.read_text()
    missing = [
        setting.name
        for setting in catalog()
        if f"| `{setting.name}` | `{setting.variable}` |" not in text
        or f"| {setting.meta.description} | {setting.allowed} |" not in text
    ]
    assert not missing, f"docs/configuration.md lacks {missing}"


def test_no_setting_is_documented_that_is_none() -> None:
    names = {setting.name for setting in catalog()}
    rows = [
        line.split("|")[1].strip(" `")
        for line in DOCUMENT.read_text().splitlines()
        if "| `SKEP_" in line and line.startswith("| `")
    ]
    assert sorted(rows) == sorted(names)


def test_every_dependency_has_its_reason_and_its_tested_version() -> None:
    root = DOCUMENT.parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    names = {re.split(r"[\[<>=~ ]", item)[0].lower() for item in wanted}
    reasons = (root / "docs" / "dependencies.md").read_text()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in (root / "constraints.txt").read_text().splitlines()}
    assert {name for name in names if f"\n| {name} " not in reasons} == set()
    assert names - pinned == set()
