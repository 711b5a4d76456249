"""`skep registry`: the lock, the diff and the lint of plugins, without a server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.commands import Run

pytestmark = pytest.mark.usefixtures("folder")

PLUGIN = '''"""Things."""

from typing import Annotated

from registry.lifecycle import Release
from registry.plugin import Plugin
from registry.resource import Conditions, Meta, Resource, Spec, Status


class ThingSpec(Spec):
    """What is wanted."""

    color: Annotated[str, Meta(max_length=20, description="How it looks.")] = "Red"
    size: Annotated[int, Meta(ge=1, le=10, description="How big it is.")]


class ThingStatus(Status):
    """What is."""

    conditions: Conditions = ()


class Thing(Resource[ThingSpec, ThingStatus]):
    """Thing is a kind."""


plugin = Plugin("things", release=Release("1.1", "2020-01-15"))
plugin.kind(Thing, group="things.example", version="v1", plural="things", owner="external")
'''


def plugin(name: str, **changes: str) -> str:
    """A plugin of its own name, since a file is loaded once; each word of `changes` stands for another."""
    text = PLUGIN
    for old, new in changes.values() and [pair.split(" -> ") for pair in changes.values()]:
        assert old in text
        text = text.replace(old, new)
    Path(name).write_text(text)
    return name


def test_a_lock_is_written_once_and_is_up_to_date(skep: Run, folder: Path) -> None:
    words = ("registry", "lock", "--plugin", plugin("a.py"))
    assert skep(*words, "--check")[0] == 1
    assert skep(*words) == (0, ["registry.lock.json is written"], [])
    assert skep(*words) == (0, ["registry.lock.json is up to date"], [])
    assert skep(*words, "--check")[0] == 0
    changed = plugin("b.py", size="le=10 -> le=9")
    code, _, err = skep("registry", "lock", "--plugin", changed, "--check")
    assert code == 1
    assert "registry.lock.json is not what the plugins say" in err[0]
    assert json.loads((folder / "registry.lock.json").read_text())["release"] == {"version": "1.1", "date": "2020-01-15"}


def test_a_diff_names_field_and_rule_and_fails_for_what_is_refused(skep: Run) -> None:
    skep("registry", "lock", "--plugin", plugin("a.py"))
    assert skep("registry", "diff", "--plugin", "a.py") == (0, ["nothing has changed"], [])
    code, out, _ = skep("registry", "diff", "--plugin", plugin("b.py", size="le=10 -> le=9"))
    assert code == 1
    assert out == [
        "breaking: things.things.example/v1 spec.size: maximum was 10 and is 9 (SKEP206)",
        "",
        "1 change, 1 refused",
    ]
    code, out, _ = skep("registry", "diff", "--plugin", plugin("c.py", size="le=10 -> le=11"))
    assert (code, out[-1]) == (0, "1 change, 0 refused")


def test_a_diff_that_is_waived_passes_and_tells_the_reason(skep: Run) -> None:
    skep("registry", "lock", "--plugin", plugin("a.py"))
    waived = plugin(
        "b.py", size="le=10 -> le=9", why='owner="external" -> owner="external", waive={"SKEP206 spec.size": "ten broke"}'
    )
    code, out, _ = skep("registry", "diff", "--plugin", waived)
    assert code == 0
    assert out[0] == "waived: things.things.example/v1 spec.size: maximum was 10 and is 9 (SKEP206) [ten broke]"


def test_a_diff_for_programs(skep: Run) -> None:
    skep("registry", "lock", "--plugin", plugin("a.py"))
    narrower = plugin("b.py", size="le=10 -> le=9")
    code, out, _ = skep("registry", "diff", "--plugin", narrower, "-o", "json")
    said = json.loads("\n".join(out))
    assert (code, said["refused"]) == (1, 1)
    assert {key: said["changes"][0][key] for key in ("verdict", "rule", "path", "page")} == {
        "verdict": "breaking",
        "rule": "SKEP206",
        "path": "spec.size",
        "page": "docs/rules/SKEP206.md",
    }
    code, out, _ = skep("registry", "diff", "--plugin", narrower, "-o", "sarif")
    [result] = sarif(out)["results"]
    assert (code, result["ruleId"], result["level"]) == (1, "SKEP206", "error")
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "registry.lock.json"


def sarif(out: list[str]) -> dict[str, Any]:
    """The run of a SARIF document, in which every result has a rule that is told."""
    said = json.loads("\n".join(out))
    assert said["version"] == "2.1.0"
    [run] = said["runs"]
    told = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert told == sorted(set(told))
    assert {result["ruleId"] for result in run["results"]} == set(told)
    found: dict[str, Any] = run
    return found


def git(*words: str) -> None:
    """Runs git in the folder of the test, with nobody's settings."""
    who = ["-c", "user.name=t", "-c", "user.email=t@t.example", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], check=True, capture_output=True)


def test_a_diff_against_a_commit_needs_no_other_file(skep: Run, folder: Path) -> None:
    git("init", "-b", "main")
    skep("registry", "lock", "--plugin", plugin("a.py"))
    git("add", "registry.lock.json")
    git("commit", "-m", "lock")
    narrower = plugin("b.py", size="le=10 -> le=9")
    skep("registry", "lock", "--plugin", narrower)
    assert skep("registry", "diff", "--plugin", narrower)[0] == 0
    code, out, _ = skep("registry", "diff", "--plugin", narrower, "--against", "git:main")
    assert (code, out[-1]) == (1, "1 change, 1 refused")
    inner = folder / "inner"
    inner.mkdir()
    code, _, err = skep("registry", "diff", "--plugin", narrower, "--against", "git:main", "--file", "inner/registry.lock.json")
    assert code == 2
    assert "is registry.lock.json committed there?" in " ".join(err)


@pytest.mark.parametrize("against", ["git:", "git:--output=x", "git:HEAD:a", "git:nowhere", "nothing.json"])
def test_what_there_is_nothing_to_compare_with_is_said_in_one_line(skep: Run, against: str) -> None:
    code, out, err = skep("registry", "diff", "--plugin", plugin("a.py"), "--against", against)
    assert (code, out) == (2, [])
    assert err
    assert not Path("x").exists()


def test_a_lock_that_is_none_is_refused(skep: Run, folder: Path) -> None:
    (folder / "registry.lock.json").write_text("<<<<<<< HEAD\n")
    code, _, err = skep("registry", "diff", "--plugin", plugin("a.py"))
    assert code == 2
    assert "registry.lock.json: it is not JSON" in err[0]


def test_a_plugin_is_needed_and_a_form_is_one_of_three(skep: Run) -> None:
    code, _, err = skep("registry", "lock")
    assert code == 2
    assert "there is no plugin" in err[0]
    code, _, err = skep("registry", "diff", "--plugin", plugin("a.py"), "-o", "xml")
    assert code == 2
    assert "text, json, sarif" in err[0]


def test_plugins_of_two_releases_are_not_written_into_one_lock(skep: Run) -> None:
    other = plugin(
        "b.py", release='"1.1" -> "1.2"', names="things.example -> others.example", plural="things -> others", kind="Thing -> Other"
    )
    code, _, err = skep("registry", "lock", "--plugin", plugin("a.py"), "--plugin", other)
    assert code == 2
    assert "several releases" in err[0]


def test_lint_names_line_field_and_rule(skep: Run) -> None:
    code, out, _ = skep("registry", "lint", "--plugin", plugin("a.py"))
    assert code == 0
    assert out[-1] == "0 errors, 2 warnings, 0 waived"
    assert skep("registry", "lint", "--plugin", "a.py", "--strict")[0] == 1
    priced = plugin("b.py", size="size: Annotated[int -> price: Annotated[float")
    code, out, _ = skep("registry", "lint", "--plugin", priced)
    [error] = [line for line in out if line.startswith("error")]
    assert code == 1
    assert error.startswith("error: b.py:28: things.things.example/v1 spec.price: a float is not exact")
    assert error.endswith("(SKEP312)")


def test_lint_for_programs_and_scanners(skep: Run) -> None:
    priced = plugin("a.py", size="size: Annotated[int -> price: Annotated[float")
    code, out, _ = skep("registry", "lint", "--plugin", priced, "-o", "json")
    found = json.loads("\n".join(out))["findings"]
    assert code == 1
    assert [each["path"] for each in found if each["level"] == "error"] == ["spec.price"]
    waived = plugin(
        "b.py",
        size="size: Annotated[int -> price: Annotated[float",
        why='owner="external" -> owner="external", waive={"SKEP312": "as the bank"}',
    )
    code, out, _ = skep("registry", "lint", "--plugin", waived, "-o", "sarif")
    [result] = [each for each in sarif(out)["results"] if each["ruleId"] == "SKEP312"]
    assert code == 0
    assert result["suppressions"] == [{"kind": "inSource", "justification": "as the bank"}]
    where = result["locations"][0]["physicalLocation"]
    assert (where["artifactLocation"]["uri"], where["region"]["startLine"]) == ("b.py", 28)


def test_a_life_that_cannot_be_is_one_line_with_its_rule(skep: Run) -> None:
    words = 'owner="external" -> owner="external", removed=Release("1.2")'
    code, _, err = skep("registry", "lint", "--plugin", plugin("a.py", why=words))
    assert code == 2
    assert "SKEP102" in " ".join(err)
