"""`skep actor` against a real server, and against none: what it shows, what it does, and one line for what goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from apiserver.cli import main
from apiserver.config import catalog
from tests.e2e.test_insight import ACTORS, GROUP, TROUBLED, make, patch, saw, state, until
from tests.servers import Running, running

Outcome = tuple[int, str, str]
Skep = Callable[..., Outcome]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("troubled")
    (folder / "there").touch()
    arguments = ("--set", "insight.report_seconds=1")
    with running([TROUBLED], *arguments, env={"SKEP_TEST_FOLDER": str(folder)}) as server:
        yield server


@pytest.fixture
def api(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        until(client, ACTORS, "waiter", state("Running"))
        yield client


@pytest.fixture
def skep(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Skep:
    """Runs `skep actor ...` in an empty folder: exit code, output, errors."""
    for setting in catalog():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Outcome:
        code = main(["actor", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def on(server: Running, skep: Skep) -> Skep:
    """The same on the server's data folder; it has to succeed."""

    def run(*words: str) -> Outcome:
        code, out, err = skep(*words, "--data-dir", str(server.data_dir))
        assert (code, err) == (0, ""), err
        return code, out, err

    return run


def test_the_list_shows_every_actor_in_a_table_for_people(on: Skep, api: httpx.Client) -> None:
    lines = on("list")[1].splitlines()
    assert re.split(r"  +", lines[0]) == ["NAME", "KIND", "STATE", "QUEUE", "RUNNING", "FAILING", "RUNS", "LAST RUN", "AGE"]
    assert [line.split()[:3] for line in lines[1:]] == [
        [name, name.capitalize(), "Running"] for name in ("blocker", "breaker", "failer", "waiter", "well")
    ]
    assert all(line == line.rstrip() for line in lines)


def test_programs_get_the_objects_whole(on: Skep, api: httpx.Client) -> None:
    listed = json.loads(on("list", "-o", "json")[1])
    assert (listed["kind"], len(listed["items"])) == ("ActorList", 5)
    shown = yaml.safe_load(on("show", "failer", "-o", "yaml")[1])
    assert (shown["kind"], shown["spec"]["concurrency"]) == ("Actor", 2)


def test_one_actor_is_shown_with_its_failing_keys_and_last_runs(on: Skep, api: httpx.Client) -> None:
    make(api, "Failer", "bad", "[red]x[/red] \x1b[31m")
    until(api, ACTORS, "failer", lambda actor: actor["status"].get("failingCount") == 1)
    out = on("show", "failer")[1]
    facts = dict(re.split(r":\s+", line, maxsplit=1) for line in out.partition("\n\n")[0].splitlines())
    assert facts["State"] == "Running"
    assert facts["Works on"] == "2 at once, in the event loop"
    assert facts["Kind"] == "Failer (failers.troubled.example, troubled.example/v1)"
    assert facts["Failing"] == "1"
    assert re.fullmatch(r"\d+ \(error \d+\)", facts["Runs"])
    (failing,) = [line for line in out.splitlines() if "RuntimeError" in line]
    assert failing.startswith("default/bad")
    assert "token=*** [red]x[/red]" in failing, "an error is text, whatever it looks like"
    assert "\x1b" not in out
    assert re.search(r"^default/bad +error +\d\.\d{3}s +\S+ ago$", out, re.MULTILINE)


def test_a_pause_ends_with_a_resume_and_both_say_what_they_did(on: Skep, api: httpx.Client) -> None:
    make(api, "Well", "paused", "a")
    until(api, f"{GROUP}/wells", "paused", saw("a"))
    assert on("pause", "well")[1] == "well is paused\n"
    assert on("pause", "well")[1] == "well is paused already\n"
    until(api, ACTORS, "well", state("Paused"))
    patch(api, f"{GROUP}/wells/paused", {"spec": {"note": "b"}})
    assert "it is paused, and looks at it when it goes on: skep actor resume well" in on("wake", "well", "paused")[1]
    until(api, ACTORS, "well", lambda actor: actor["status"]["queue"] == 1)
    assert on("resume", "well")[1] == "well goes on\n"
    assert on("resume", "well")[1] == "well is not paused\n"
    until(api, f"{GROUP}/wells", "paused", saw("b"))


def test_a_wake_gives_a_run_more(on: Skep, api: httpx.Client) -> None:
    for name in ("w1", "w2"):
        make(api, "Failer", name, "a")
        until(api, f"{GROUP}/failers", name, saw("a"))

    def again(actor: dict[str, Any]) -> int:
        found: int = actor["status"]["totals"]["results"].get("again", 0)
        return found

    before = again(until(api, ACTORS, "failer", lambda actor: again(actor) >= 2))
    assert on("wake", "failer", "w1", "default/w2")[1] == "failer is woken for default/w1, default/w2\n"
    until(api, ACTORS, "failer", lambda actor: again(actor) == before + 2)


@pytest.mark.parametrize("command", [("show",), ("pause",), ("resume",), ("wake",)])
def test_an_actor_that_is_not_there_is_an_error_that_knows_names_like_it(server: Running, skep: Skep, command: tuple[str]) -> None:
    more = ["default/x"] if command == ("wake",) else []
    code, out, err = skep(*command, "falier", *more, "--data-dir", str(server.data_dir))
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "error: there is no actor 'falier'"
    assert err.splitlines()[1].startswith("hint: did you mean failer")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("default/nothing", "error: there is no 'nothing' in failers in the namespace default"),
        ("nowhere/x", "error: there is no 'x' in failers in the namespace nowhere"),
        ("a/b/../c", "error: there is no 'c' in failers in the namespace a/b/.."),
    ],
)
def test_a_key_that_is_not_there_is_refused_before_anything_is_woken(server: Running, skep: Skep, key: str, said: str) -> None:
    code, _, err = skep("wake", "failer", key, "--data-dir", str(server.data_dir))
    assert (code, err.splitlines()[0]) == (2, said)


def test_another_kubeconfig_and_another_address_can_be_named(server: Running, skep: Skep, tmp_path: Path) -> None:
    document = yaml.safe_load(server.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    other = tmp_path / "other"
    other.write_text(yaml.safe_dump(document))
    assert skep("list", "--kubeconfig", str(other), "--server", server.url)[0] == 0
    code, _, err = skep("list", "--kubeconfig", str(other))
    assert code == 1
    assert err.startswith("error: nothing answers at https://127.0.0.1:1: ")
    assert "start it with `skep serve`" in err


def test_a_token_that_is_not_accepted_is_said_and_not_shown(server: Running, skep: Skep, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(server.kubeconfig.read_text().replace(server.token, "topsecret"))
    code, _, err = skep("list", "--kubeconfig", str(other))
    assert code == 1
    assert err.startswith(f"error: the credential in {other} is not accepted at {server.url}")
    assert "topsecret" not in err


def test_a_server_that_the_kubeconfig_does_not_trust_is_not_sent_the_token(server: Running, skep: Skep, tmp_path: Path) -> None:
    document = yaml.safe_load(server.kubeconfig.read_text())
    del document["clusters"][0]["cluster"]["certificate-authority-data"]
    other = tmp_path / "other"
    other.write_text(yaml.safe_dump(document))
    code, _, err = skep("list", "--kubeconfig", str(other))
    assert code == 1
    assert err.startswith(f"error: the certificate of {server.url} is not one that {other} trusts")


def test_without_a_server_each_command_is_one_line_and_a_hint(skep: Skep) -> None:
    for words in (("list",), ("show", "a"), ("wake", "a", "b"), ("pause", "a"), ("resume", "a")):
        code, out, err = skep(*words)
        assert (code, out) == (1, "")
        first, second = err.splitlines()
        assert first.startswith("error: there is no ")
        assert first.endswith("skep-data/kubeconfig")
        assert second == "hint: the first `skep serve` makes it; --data-dir or --kubeconfig says where it is"


KUBECONFIG: dict[str, Any] = {
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"current-context": "y"}, "there is no context 'y' in it"),
        ({"clusters": []}, "there is no cluster 'c' in it"),
        ({"users": [{"name": "u", "user": {"exec": {"command": "x"}}}]}, "user 'u' uses 'exec', which is not read here"),
        ({"users": [{"name": "u", "user": {"tokenFile": "nowhere"}}]}, "nowhere cannot be read: No such file"),
        ({"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}]}, "is no https:// address"),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}}]},
            "'insecure-skip-tls-verify' is not accepted",
        ),
        *(
            (
                {"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority-data": data}}]},
                "certificate-authority",
            )
            for data in ("!", "Zm9v", "AAAA", "/w==")
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(skep: Skep, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(KUBECONFIG | change))
    code, out, err = skep("list", "--kubeconfig", str(file))
    assert (code, out) == (2, "")
    assert said in err.splitlines()[0]
    assert "Traceback" not in err


@pytest.mark.parametrize("text", ["", "[]", "a: [", "current-context: 3", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_one_line(skep: Skep, tmp_path: Path, text: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    code, _, err = skep("list", "--kubeconfig", str(file))
    assert code == 2
    assert err.startswith(f"error: {file}: ")


def test_a_server_without_actors_says_so(reference_server: Running, skep: Skep) -> None:
    folder = str(reference_server.data_dir)
    assert skep("list", "--data-dir", folder)[1] == "this server has no actors\n"
    assert skep("show", "x", "--data-dir", folder)[2].splitlines()[1] == "hint: this server has no actors"


@pytest.mark.parametrize("command", ["list", "show", "wake", "pause", "resume"])
def test_help_has_an_example(skep: Skep, command: str) -> None:
    code, out, _ = skep(command, "--help")
    assert code == 0
    assert f"Example: skep actor {command}" in out
