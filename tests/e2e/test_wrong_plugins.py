"""A plugin that cannot work is one clear line at the start, with file and line. The data folder is not even made.

Each of these is a small change of a plugin that works: what is added stands at a line that the error has to name.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_start_failures import failed, start

PLUGIN = """\
from actors import Again, Client, Done, Observation
from registry.builtin.configmap import ConfigMap
from registry.plugin import Plugin
from registry.resource import Resource, Spec, Status

class JarSpec(Spec):
    size: int = 1

class JarStatus(Status):
    full: bool = False

class Jar(Resource[JarSpec, JarStatus]):
    "A kind."

class Lid(Resource[JarSpec, JarStatus]):
    "Of this nobody knows."

plugin = Plugin("jars")
plugin.kind(Jar, group="jars.example", version="v1", plural="jars")

"""
WRONG: dict[str, tuple[str, str, str]] = {
    # what is added; where the error is (a line of it); what is said
    "import": (
        "import nothing_of_that_name\n",
        "import nothing",
        "ModuleNotFoundError: No module named 'nothing_of_that_name'",
    ),
    "import-from-ours": ("from actors import Nothing\n", "from actors import Nothing", "cannot import name 'Nothing'"),
    "two-owners": (
        "@plugin.actor(Jar)\nasync def one(jar, client): ...\n@plugin.actor(Jar)\nasync def two(jar, client): ...\n",
        "@plugin.actor(Jar)\nasync def two",
        "Jar has an owner already: 'jars-one' at ",
    ),
    "unknown-kind": (
        "@plugin.actor(Lid)\nasync def keep(lid, client): ...\n",
        "@plugin.actor(Lid)",
        "actor 'jars-keep' owns Lid, which no plugin declares as a kind",
    ),
    "no-kind": ("@plugin.actor\nasync def keep(jar, client): ...\n", "@plugin.actor", "@plugin.actor(Kind)"),
    "observes-unknown": (
        "@plugin.actor(Jar, observes=[Observation(Lid, label='a')])\nasync def keep(jar, client): ...\n",
        "@plugin.actor",
        "actor 'jars-keep' observes Lid, which no plugin declares as a kind",
    ),
    "writes-unknown": (
        "@plugin.actor(Jar, writes=[ConfigMap, Lid])\nasync def keep(jar, client): ...\n",
        "@plugin.actor",
        "actor 'jars-keep' writes Lid, which no plugin declares as a kind",
    ),
    "observes-no-list": (
        "@plugin.actor(Jar, observes=ConfigMap)\nasync def keep(jar, client): ...\n",
        "@plugin.actor",
        "must be a list, as in observes=[Kind]",
    ),
    "signature": (
        "@plugin.actor(Jar)\nasync def keep(jar): ...\n",
        "@plugin.actor",
        "keep(jar) must take (object, client) or (object, client, run)",
    ),
    "object-of-another-kind": (
        "@plugin.actor(Jar)\nasync def keep(lid: Lid, client: Client): ...\n",
        "@plugin.actor",
        "keep takes a Lid, but the actor is declared for Jar",
    ),
    "option": (
        "@plugin.actor(Jar, retries=3)\nasync def keep(jar, client): ...\n",
        "@plugin.actor",
        "unexpected keyword argument 'retries'",
    ),
    "option-of-a-wrong-type": (
        "@plugin.actor(Jar, concurrency='many')\nasync def keep(jar, client): ...\n",
        "@plugin.actor",
        "concurrency is 'many'; it must be a number",
    ),
    "class-without-reconcile": ("@plugin.actor(Jar)\nclass Keep: ...\n", "@plugin.actor", "class Keep needs a method"),
    "cleanup": (
        "async def away(jar): ...\n@plugin.actor(Jar, cleanup=away)\nasync def keep(jar, client): ...\n",
        "@plugin.actor",
        "away(jar) must take (object, client) or (object, client, run)",
    ),
    "cleanup-method": (
        "@plugin.actor(Jar)\nclass Keep:\n    def reconcile(self, jar, client): ...\n    def cleanup(self): ...\n",
        "@plugin.actor",
        "cleanup() must take (object, client) or (object, client, run)",
    ),
    "selector": (
        "@plugin.actor(Jar, labels='a in b')\nasync def keep(jar, client): ...\n",
        "@plugin.actor",
        "selector labels='a in b'",
    ),
    "status": (
        (
            "import io\nclass MadStatus(Status):\n    file: io.StringIO | None = None\n"
            "class Mad(Resource[JarSpec, MadStatus]): ...\n"
            "plugin.kind(Mad, group='jars.example', version='v1', plural='mads')\n"
        ),
        "plugin.kind(Mad",
        "Mad.status.file: StringIO has no meaning in an API",
    ),
    "status-with-wrong-keys": (
        (
            "class MadStatus(Status):\n    counts: dict[int, str] = {}\nclass Mad(Resource[JarSpec, MadStatus]): ...\n"
            "plugin.kind(Mad, group='jars.example', version='v1', plural='mads')\n"
        ),
        "plugin.kind(Mad",
        "Mad.status.counts: the keys of a JSON object are texts",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_plugin_is_said_in_one_line_with_file_and_line(tmp_path: Path, what: str) -> None:
    added, where, said = WRONG[what]
    plugin = tmp_path / "jars.py"
    plugin.write_text(PLUGIN + added)
    line = PLUGIN.count("\n") + added[: added.index(where)].count("\n") + 1
    failed(start("--data-dir", tmp_path / "data", "--plugin", plugin), 2, f"{plugin}:{line}: ", said)
    assert not (tmp_path / "data").exists(), "what was asked wrongly leaves nothing behind"


def test_two_plugins_that_own_one_kind_are_both_named(tmp_path: Path) -> None:
    (tmp_path / "jars.py").write_text(PLUGIN + "@plugin.actor(Jar)\nasync def one(jar, client): ...\n")
    other = "from jars import Jar\nfrom registry.plugin import Plugin\nplugin = Plugin('other')\n"
    (tmp_path / "other.py").write_text(f"{other}\n@plugin.actor(Jar)\nasync def two(jar, client): ...\n")
    (tmp_path / "both.py").write_text("import other\nfrom jars import plugin\n")
    given = ["--plugin", tmp_path / "other.py", "--plugin", "jars"]
    result = start("--data-dir", tmp_path / "data", *given, path=tmp_path)
    failed(result, 2, "Jar has an owner already: ", str(tmp_path / "jars.py"), str(tmp_path / "other.py"))
