"""`skep registry list`, `show` and `explain`: of plugins, and of a server; for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import yaml
from typer.testing import CliRunner

from admission.authentication import AuthenticatorChain
from admission.identity import Identity, authenticated
from admission.tokens import TokenTable
from apiserver.cli import app, main
from apiserver.config import catalog
from registry.description import read, read_kind
from tests.apiserver.served import TOKEN, Served, certificate, served
from tests.apiserver.world import World, opened
from tests.plugins import apiary

Outcome = tuple[int, list[str], list[str]]
Run = Callable[..., Outcome]

PLUGIN = str(Path(apiary.__file__))
HIVES = f"/apis/{apiary.GROUP}/v1/namespaces/shop/hives"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and no settings of whoever runs the tests."""
    for setting in catalog():
        monkeypatch.delenv(setting.variable, raising=False)
    for name in ("SKEP_CONFIG", "SKEP_DEBUG", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def skep(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of `skep registry`: exit code, lines of output, lines of errors."""

    def run(*words: str) -> Outcome:
        code = main(("registry", *words))
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run


def columns(line: str) -> list[str]:
    """The cells of a line of a table."""
    return [cell.strip() for cell in line.split("   ") if cell.strip()]


def test_a_list_of_plugins_needs_no_server(skep: Run) -> None:
    code, out, err = skep("list", "--plugin", PLUGIN)
    assert (code, err) == (0, [])
    assert [columns(line) for line in out] == [
        ["NAME", "SHORT", "KIND", "GROUP", "SCOPE", "VERSIONS", "STATUS BY"],
        ["hives", "hv", "Hive", "bees.example", "Namespaced", "v1, v1beta1 (deprecated)", "keeper"],
        ["bees", "Bee", "bees.example", "Cluster", "v1alpha1"],
    ]
    assert skep("list", "--plugin", PLUGIN, "-o", "name")[1] == ["hives.bees.example", "bees.bees.example"]
    assert skep("list", "--plugin", PLUGIN, "-o", "name", "--group", "rbac.authorization.k8s.io")[1] == [
        f"{name}.rbac.authorization.k8s.io" for name in ("clusterrolebindings", "clusterroles", "rolebindings", "roles")
    ]
    assert "configmaps" in skep("list", "--plugin", PLUGIN, "-o", "name", "--all")[1]


def test_plugins_that_the_settings_name_need_no_flag(skep: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "skep.toml").write_text(f'plugins = ["{PLUGIN}"]\n')
    assert skep("show", "hv", "--config", "skep.toml", "-o", "name") == (0, ["hives.bees.example"], [])
    monkeypatch.setenv("SKEP_PLUGINS", PLUGIN)
    assert skep("list", "-o", "name")[1] == ["hives.bees.example", "bees.bees.example"]
    code, _, err = skep("list", "--data-dir", "nothing")
    assert (code, "nothing/kubeconfig" in " ".join(err)) == (2, True), "a flag that names a server goes before them"


def test_a_list_for_programs_is_a_description(skep: Run) -> None:
    _, out, _ = skep("list", "--plugin", PLUGIN, "-o", "json")
    described = read(json.loads("\n".join(out)))
    assert [each.resource for each in described.kinds] == ["hives.bees.example", "bees.bees.example"]
    assert [each.name for each in described.actors] == ["keeper"]
    _, out, _ = skep("list", "--plugin", PLUGIN, "-o", "yaml")
    assert read(yaml.safe_load("\n".join(out))) == described


def test_one_kind_is_shown_with_all_that_is_known_of_it(skep: Run) -> None:
    code, out, _ = skep("show", "hv", "--plugin", PLUGIN)
    assert code == 0
    rows = [columns(line) for line in out]
    assert "Status: written by keeper alone" in [" ".join(line.split()) for line in out]
    at = rows.index(["Versions"])
    assert [row[:3] for row in rows[at + 1 : at + 4]] == [
        ["VERSION", "IS", "LIFE"],
        ["v1", "GA, stored", "introduced 1.2 of 2025-06-15"],
        [
            "v1beta1",
            "beta, deprecated",
            "introduced 1.0 of 2025-01-15; deprecated 1.4 of 2026-01-15; removed 1.8 of 2027-01-15; then use v1",
        ],
    ]
    assert rows[rows.index(["Converters"]) + 2][:3] == ["v1beta1", "v1", "apiary.newer"]
    at = rows.index(["Handlers"])
    assert [row[1:3] for row in rows[at + 2 : at + 6]] == [
        ["defaults", "apiary.half_shade"],
        ["mutates", "apiary.early"],
        ["mutates", "apiary.late"],
        ["validates", "apiary.nowhere"],
    ]
    at = rows.index(["Fields of v1"])
    assert rows[at + 2 : at + 9] == [
        ["spec", "object", "required", "What the hive is to be."],
        ["├─ place", "string", "required; at most 80 characters", "Where it stands."],
        ["├─ shade", "string", "default half; one of sun, half, full", "How much shade it gets."],
        ["├─ replicas", "integer", "default 1; 0 to 9", "How many colonies it has."],
        ["├─ frames", "list of object", "default []; at most 10 items; items are known by name", "The frames in it."],
        ["│  ├─ name", "string", "required; at most 20 characters", "Which one it is."],
        ["│  └─ kilos", "integer", "default 0; at least 0", "How much honey is in it."],
    ]
    flat = [columns(line) for line in skep("show", "hv", "--plugin", PLUGIN, "--depth", "1")[1]]
    assert flat[-2:] == [["spec", "object", "required", "What the hive is to be."], ["status", "object", "How the hive is."]]


def test_the_version_that_is_named_is_the_one_whose_fields_are_shown(skep: Run) -> None:
    out = skep("show", "hives.v1beta1", "--plugin", PLUGIN)[1]
    assert "Fields of v1beta1" in out
    assert any(line.startswith("└─ location") for line in out)
    wide = skep("show", "hives.v1", "--plugin", PLUGIN, "-o", "wide")[1]
    assert any(columns(line)[:3] == ["SHADE", "string", ".spec.shade"] for line in wide)


def test_one_kind_for_programs(skep: Run) -> None:
    told = read_kind(json.loads("\n".join(skep("show", "hives", "--plugin", PLUGIN, "-o", "json")[1])))
    assert told.versions[0].schema is not None
    assert told == read_kind(yaml.safe_load("\n".join(skep("show", "hives", "--plugin", PLUGIN, "-o", "yaml")[1])))
    assert skep("show", "hives", "--plugin", PLUGIN, "-o", "name") == (0, ["hives.bees.example"], [])


def test_a_field_is_explained_in_every_version(skep: Run) -> None:
    code, out, _ = skep("explain", "hives.spec.place", "--plugin", PLUGIN)
    assert code == 0
    assert out[:11] == [
        "KIND:     Hive (hives.bees.example)",
        "VERSION:  v1",
        "FIELD:    spec.place <string>",
        "",
        "Where it stands.",
        "",
        "As a beekeeper says it.",
        "",
        "RULES",
        "  required",
        "  at most 80 characters",
    ]
    assert [columns(line) for line in out[12:15]] == [
        ["IN VERSION", "TYPE", "RULES", "SINCE"],
        ["v1 (GA)", "string", "required; at most 80 characters", "1.2 of 2025-06-15"],
        ["v1beta1 (beta)", "is not there"],
    ]
    assert out[15].startswith("From v1beta1 to v1, what becomes of it is up to apiary.newer at ")
    only_there = skep("explain", "hives.spec.location", "--plugin", PLUGIN)[1]
    assert only_there[1] == "VERSION:  v1beta1", "the version that has it is the one to show"
    said = json.loads("\n".join(skep("explain", "hives.spec.frames", "--plugin", PLUGIN, "-o", "json")[1]))
    assert [field["name"] for field in said["fields"]] == ["name", "kilos"]
    assert [(each["version"], each["there"]) for each in said["versions"]] == [("v1", True), ("v1beta1", False)]


def test_an_object_is_explained_by_its_fields_and_all_below_when_asked(skep: Run) -> None:
    out = skep("explain", "hive", "--plugin", PLUGIN)[1]
    assert "A place where bees live." in out
    assert [columns(line)[0] for line in out[-5:]] == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert not any("kilos" in line for line in skep("explain", "hive.spec", "--plugin", PLUGIN)[1])
    assert any("└─ kilos" in line for line in skep("explain", "hive.spec", "-r", "--plugin", PLUGIN)[1])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "hivs"), 3, "did you mean hives?"),
        (("show", "zzzzzz"), 3, "`skep registry list --all` shows all"),
        (("show", "hives.v9"), 3, "there is no kind 'hives.v9'"),
        (("explain", "hives.spec.plce"), 3, "did you mean place"),
        (("explain", "hives.spec.place.deeper"), 3, "hives.spec.place has no fields that are known"),
        (("explain", "hives.spec.place", "--version", "v1beta1"), 3, "hives.spec has no field 'place' in v1beta1"),
        (("explain", "hives", "--version", "v9"), 3, "there are v1, v1beta1"),
        (("show", "hives", "-o", "xml"), 2, "'xml' is not one of"),
        (("show", "hives", "--server", "https://127.0.0.1:1"), 2, "leave out --plugin, or what names a server"),
    ],
)
def test_what_is_asked_wrongly_is_said_with_what_to_do(skep: Run, words: tuple[str, ...], code: int, said: str) -> None:
    found, out, err = skep(*words, "--plugin", PLUGIN)
    assert (found, out) == (code, [])
    assert said in " ".join(err)


def test_without_anything_to_look_at_one_is_told_of_both_ways(skep: Run) -> None:
    code, _, err = skep("list")
    assert code == 2
    assert "--plugin" in err[-1]
    assert "--kubeconfig" in err[-1]


def completed(line: str, **environ: str) -> list[str]:
    """What the shell is told of how a line may go on."""
    words = {"_SKEP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = CliRunner().invoke(app, [], prog_name="skep", env={**words, **environ})
    assert done.exit_code == 0
    return done.output.split()


def test_the_shell_completes_kinds_fields_and_plugins(folder: Path) -> None:
    assert completed(f"skep registry show --plugin {PLUGIN} h") == ["hives", "hives.bees.example"]
    assert completed(f"skep registry graph hives --plugin {PLUGIN} be") == ["bees", "bees.bees.example"]
    assert completed(f"skep registry explain --plugin {PLUGIN} hives.spec.p") == ["hives.spec.place"]
    assert completed(f"skep registry explain --plugin {PLUGIN} hives.v1beta1.spec.") == ["hives.v1beta1.spec.location"]
    assert completed("skep registry show h", SKEP_PLUGINS=PLUGIN) == ["hives", "hives.bees.example"]
    (folder / "mine.py").write_text("raise SystemExit(7)")
    assert completed("skep registry list --plugin m") == ["mine.py"]
    assert completed("skep registry show --plugin mine.py h") == [], "a broken plugin is not told of here"
    assert completed("skep registry show --plugin none.py h") == []
    assert completed("skep registry show h") == [], "no server is asked"


def test_a_check_for_programs(skep: Run) -> None:
    code, out, _ = skep("check", "--plugin", PLUGIN, "--tries", "5", "-o", "json")
    said = json.loads("\n".join(out))
    assert (code, said["wrong"]) == (0, 0)
    [trial, _] = said["kinds"][0]["trials"]
    assert (trial["from"], trial["to"], trial["tried"], trial["wrong"]) == ("v1beta1", "v1", 5, "")


def test_a_server_does_not_load_what_only_these_commands_need() -> None:
    heavy = ("rich", "apiserver.graph", "apiserver.showing", "registry.description_")
    script = f"import apiserver.cli, apiserver.serve, sys; print([name for name in sys.modules if name.startswith({heavy!r})])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@asynccontextmanager
async def hives(folder: Path) -> AsyncIterator[tuple[World, Served]]:
    """A served world with two hives."""
    async with opened(apiary.plugin, roles=True) as world, served(world, folder) as serving:
        for name in ("home", "away"):
            await world.make(HIVES, name, spec={"place": "garden"})
        yield world, serving


async def ask(*words: str) -> tuple[int, str]:
    """Runs a command in a thread, beside the server."""
    runner = CliRunner()

    def run() -> tuple[int, str]:
        done = runner.invoke(app, ["registry", *words])
        error = done.exception
        return done.exit_code, done.output + (str(error) if error and not isinstance(error, SystemExit) else "")

    return await anyio.to_thread.run_sync(run)


@pytest.mark.anyio
async def test_a_server_says_the_same_and_how_many_objects_there_are(folder: Path) -> None:
    async with hives(folder) as (_, serving):
        code, out = await ask("list", "--kubeconfig", str(serving.kubeconfig))
        assert code == 0
        assert columns(out.splitlines()[0])[-1] == "OBJECTS"
        assert [columns(line)[-1] for line in out.splitlines()[1:]] == ["2", "0"]
        code, out = await ask("show", "hv", "--kubeconfig", str(serving.kubeconfig), "-o", "json")
        assert read_kind(json.loads(out)).objects == {"bees.example/v1": 2}
        _, here = await ask("explain", "hv.spec.place", "--plugin", PLUGIN)
        _, there = await ask("explain", "hv.spec.place", "--kubeconfig", str(serving.kubeconfig))
        assert there == here


@pytest.mark.anyio
async def test_a_server_is_named_without_a_kubeconfig(folder: Path) -> None:
    async with hives(folder) as (_, serving):
        (folder / "ca.pem").write_bytes(certificate().ca_pem)
        (folder / "token").write_text(TOKEN)
        words = ("list", "-o", "name", "--server", serving.credentials.server, "--ca", "ca.pem")
        assert await ask(*words, "--token-file", "token") == (0, "hives.bees.example\nbees.bees.example\n")
        (folder / "token").write_text("another")
        code, said = await ask(*words, "--token-file", "token")
        assert code == 1
        assert f"the credential in {folder / 'token'} is not accepted" in said
        code, said = await ask(*words)
        assert (code, "answers nobody who shows no credential" in said) == (1, True)
        code, said = await ask("list", "--ca", "ca.pem")
        assert "--ca goes with --server" in said


@pytest.mark.anyio
async def test_whom_no_role_allows_is_told_which_one_would(folder: Path) -> None:
    ann = authenticated(Identity("ann"))
    viewer = authenticated(Identity("ben", groups=("skep:registry-viewers",)))
    async with (
        opened(apiary.plugin, roles=True) as world,
        served(world, folder, chain=AuthenticatorChain([TokenTable([("anns", ann), ("bens", viewer)])])) as serving,
    ):
        for name in ("anns", "bens"):
            (folder / name).write_text(name)
        words = ("list", "-o", "name", "--kubeconfig", str(serving.kubeconfig), "--token-file")
        code, said = await ask(*words, "anns")
        assert code == 1
        assert 'cannot get path "/registry"' in said
        for command, path in ((("callers",), 'list resource "versionuses"'), (("migrate", "hives"), 'get path "/migrations"')):
            code, said = await ask(*command, *words[3:], "anns")
            assert (code, f"cannot {path}" in said) == (1, True), said
        assert await ask(*words, "bens") == (0, "hives.bees.example\nbees.bees.example\n")
