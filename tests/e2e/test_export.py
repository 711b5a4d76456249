"""The exported client against a real server, under a strict type checker, and on a line that breaks."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import httpx
import msgspec
import pytest
import yaml

from apiserver import exported_client
from apiserver.cli import main
from apiserver.config import catalog
from apiserver.exported_client import Connection, Object, Part, Place
from tests.servers import REFERENCE, ROOT, Running

Document = dict[str, Any]
EXAMPLES = ("examples/uptime.py", "examples/shop.py", "examples/folders.py", "tests/plugins/reference.py")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, and no settings of whoever runs the tests."""
    for setting in catalog():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("SKEP_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(*words: str) -> int:
    return main(["registry", "export", *words])


@pytest.fixture
def module(reference_server: Running, folder: Path) -> Iterator[ModuleType]:
    """What a server exports of itself: the same as its plugins alone."""
    server = ["--kubeconfig", str(reference_server.kubeconfig), "--group", "reference.example.com"]
    assert export("python", *server, "--out", "widgets_client.py") == 0
    assert export("python", "--plugin", str(REFERENCE), "--out", "widgets_client.py", "--check") == 0
    spec = importlib.util.spec_from_file_location("widgets_client", folder / "widgets_client.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["widgets_client"] = made
    spec.loader.exec_module(made)
    yield made
    del sys.modules["widgets_client"]


def test_a_server_and_its_plugins_export_the_same(reference_server: Running, folder: Path) -> None:
    server = ["--kubeconfig", str(reference_server.kubeconfig), "widgets", "gadgets"]
    for what, out in (("openapi", "openapi.json"), ("jsonschema", "schemas"), ("crd", "crds"), ("typescript", "kinds.ts")):
        assert export(what, *server, "--out", out) == 0
        assert export(what, "--plugin", str(REFERENCE), "--out", out, "--check") == 0
    definition = yaml.safe_load((folder / "crds/widgets.reference.example.com.yaml").read_text())
    assert [each["name"] for each in definition["spec"]["versions"]] == ["v1", "v1beta1"]


def test_the_exported_client_does_what_it_says(module: Any, reference_server: Running) -> None:
    client = module.Client.connect(
        reference_server.url, token=reference_server.token, ca=str(reference_server.ca), namespace="typed"
    )
    with client:
        made = client.http.post("/api/v1/namespaces", json={"metadata": {"name": "typed"}})
        assert made.status_code == 201
        widgets = client.widgets_v1
        meta, spec = module.ObjectMeta, module.WidgetV1Spec
        stored = [
            widgets.create(module.WidgetV1(metadata=meta(name=f"w{at}", labels={"n": str(at)}), spec=spec(size=at + 1)))
            for at in range(5)
        ]
        assert [each.spec.color for each in stored] == ["red"] * 5
        assert [len(page.items) for page in widgets.pages("typed", limit=2)] == [2, 2, 1]
        listed = widgets.list("typed")
        assert listed.items == tuple(stored)
        assert [each.metadata.name for each in widgets.list("typed", labels="n in (1,3)").items] == ["w1", "w3"]
        with pytest.raises(module.AlreadyExists):
            widgets.create(module.WidgetV1(metadata=meta(name="w0"), spec=spec(size=1)))
        with pytest.raises(module.Invalid) as invalid:
            widgets.create(module.WidgetV1(metadata=meta(name="bad"), spec=spec(size=1000)))
        assert invalid.value.status["details"]["causes"][0]["field"] == "spec.size"
        changed = widgets.update(msgspec.structs.replace(stored[0], spec=spec(size=9, tags=("a",))))
        assert (changed.spec.size, changed.metadata.generation) == (9, 2)
        with pytest.raises(module.Conflict):
            widgets.update(stored[0])
        assert widgets.patch("w1", {"spec": {"color": "blue"}}).spec.color == "blue"
        ready = widgets.update_status(msgspec.structs.replace(changed, status=module.WidgetV1Status(ready=True, phase="Up")))
        assert (ready.status.ready, ready.metadata.generation) == (True, 2)
        assert widgets.patch_status("w0", {"status": {"phase": None}}).status.phase is None
        widgets.delete("w2", uid=stored[2].metadata.uid)
        with pytest.raises(module.NotFound):
            widgets.get("w2")
        with pytest.raises(ValueError, match="is no name"):
            widgets.get("..")
        # From the list on: two changes, a status, another one, a deletion.
        events = list(islice(widgets.watch("typed", since=listed.resource_version), 5))
        assert [(event.type, event.object.metadata.name) for event in events] == [
            ("MODIFIED", "w0"),
            ("MODIFIED", "w1"),
            ("MODIFIED", "w0"),
            ("MODIFIED", "w0"),
            ("DELETED", "w2"),
        ]
        # The server does not remember what was at first: what is there is told.
        again = list(islice(widgets.watch("typed", since="1"), 4))
        assert [(event.type, event.object.metadata.name) for event in again] == [("ADDED", f"w{at}") for at in (0, 1, 3, 4)]
        gadget = client.gadgets_v1.create(module.GadgetV1(metadata=meta(name="typed"), spec=module.GadgetV1Spec(size=1)))
        assert client.gadgets_v1.get("typed") == gadget
        client.gadgets_v1.delete("typed")


USE = """\
from reference_client import ApiError, Client, ObjectMeta, WidgetV1, WidgetV1Spec

def sizes(client: Client) -> list[int]:
    made = client.widgets_v1.create(WidgetV1(metadata=ObjectMeta(name="a"), spec=WidgetV1Spec(size=3, color="blue")))
    reveal_type(made.spec.color)
    for event in client.widgets_v1.watch("shop", seconds=1):
        if event.type == "DELETED":
            return [event.object.spec.size]
    return [each.spec.size for each in client.widgets_v1.list().items]

WidgetV1Spec(size="3")
"""


def test_exported_modules_pass_a_strict_type_checker_and_their_users_are_checked(folder: Path) -> None:
    for path in EXAMPLES:
        assert export("python", "--plugin", str(ROOT / path), "--out", f"{Path(path).stem}_client.py") == 0
    hostile = folder / "hostile.py"
    hostile.write_text(HOSTILE)
    assert export("python", "--plugin", str(hostile), "--out", "hostile_client.py") == 0
    (folder / "use.py").write_text(USE)
    words = [
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir",
        "cache",
        "use.py",
        *map(str, folder.glob("*_client.py")),
    ]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    assert len(said) == 2, done.stdout + done.stderr
    assert [color in said[0] for color in ("Literal['red']", "Literal['green']", "Literal['blue']", "Any")] == [True] * 3 + [False]
    assert said[1].startswith('use.py:11: error: Argument "size" to "WidgetV1Spec" has incompatible type "str"')


HOSTILE = '''\
from registry.plugin import Plugin
from registry.resource import Resource, Spec

NAMES = {
    "a": "class", "b": "int", "c": "dict", "d": "tuple", "e": "$ref", "f": "a-b", "g": "a_b", "h": "größe",
    "i": "msgspec", "j": "str", "k": "apiVersion", "l": "None",
}


class Names(Spec, rename=NAMES):
    a: str
    b: int = 3
    c: dict[str, int] = {}
    d: list[str] = []
    e: str | None = None
    f: bool = True
    g: tuple[int, ...] = (1, 2)
    h: float = 0.5
    i: int = 1
    j: str = "x"
    k: str = "y"
    l: str = "z"


class Odd(Resource[Names, None]):
    """Odd has `fields` with \\\\ "names" that \'\'\' are something else."""


plugin = Plugin("odd")
plugin.kind(Odd, group="odd.example", version="v1", plural="odds")
plugin.kind(Odd, group="odd.example", version="v2alpha1", plural="odds")
'''


# A line that breaks


class ThingSpec(Part, frozen=True, kw_only=True):
    size: int


class Thing(Object, frozen=True, kw_only=True):
    PLACE: ClassVar[Place] = Place("/apis/x.example/v1", "things", True)
    spec: ThingSpec


def thing(name: str, version: int, *, uid: str = "") -> Document:
    metadata = {"name": name, "namespace": "shop", "uid": uid or name, "resourceVersion": str(version)}
    return {"apiVersion": "x.example/v1", "kind": "Thing", "metadata": metadata, "spec": {"size": version}}


class Line(httpx.SyncByteStream):
    """A stream in odd pieces, which may break."""

    def __init__(self, *events: tuple[str, Document], breaks: bool = False) -> None:
        self._bytes = b"".join(json.dumps({"type": kind, "object": each}).encode() + b"\n" for kind, each in events)
        self._breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._bytes), 37):
            yield self._bytes[at : at + 37]
        if self._breaks:
            raise httpx.ReadError("the line broke")


def listed(version: int, *things: Document) -> httpx.Response:
    return httpx.Response(200, json={"metadata": {"resourceVersion": str(version)}, "items": list(things)})


def refused(code: int, reason: str) -> httpx.Response:
    return httpx.Response(code, json={"kind": "Status", "code": code, "reason": reason, "message": reason})


def expired() -> tuple[str, Document]:
    return "ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


def _said(event: exported_client.Event[Thing]) -> tuple[str, str | None, str | None]:
    return event.type, event.object.metadata.name, event.object.metadata.resource_version


def test_a_watch_goes_on_where_it_was_and_tells_the_difference_when_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    answers = iter(
        [
            listed(5, thing("a", 3), thing("b", 4)),
            httpx.Response(200, stream=Line(("MODIFIED", thing("a", 6)), ("ADDED", thing("\u2028c", 7)), mark, breaks=True)),
            refused(503, "ServiceUnavailable"),
            httpx.Response(200, stream=Line()),
            httpx.Response(200, stream=Line(expired())),
            listed(30, thing("a", 6), thing("b", 20, uid="another"), thing("d", 21)),
            httpx.Response(200, stream=Line(("DELETED", thing("d", 31)))),
            refused(403, "Forbidden"),
        ]
    )
    queries: list[Document] = []
    waited: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        queries.append(dict(request.url.params))
        return next(answers)

    monkeypatch.setattr(exported_client.time, "sleep", waited.append)
    connection = Connection(httpx.Client(base_url="https://x", transport=httpx.MockTransport(answer)))
    told: list[tuple[str, str | None, str | None]] = []
    with connection, pytest.raises(exported_client.Forbidden):
        told += (_said(event) for event in connection.of(Thing).watch("shop"))
    assert told == [
        ("ADDED", "a", "3"),
        ("ADDED", "b", "4"),
        ("MODIFIED", "a", "6"),
        ("ADDED", "\u2028c", "7"),
        ("DELETED", "b", "4"),
        ("DELETED", "\u2028c", "7"),
        ("ADDED", "b", "20"),
        ("ADDED", "d", "21"),
        ("DELETED", "d", "31"),
    ]
    assert [query.get("resourceVersion") for query in queries] == [None, "5", "9", "9", "9", None, "30", "31"]
    assert len(waited) == 2


def test_a_watch_that_never_worked_is_an_error_and_not_an_endless_wait() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody is there")

    connection = Connection(httpx.Client(base_url="https://x", transport=httpx.MockTransport(answer)))
    with connection, pytest.raises(httpx.ConnectError):
        next(connection.of(Thing).watch())


def test_a_list_whose_pages_expire_begins_again() -> None:
    more = {"metadata": {"resourceVersion": "5", "continue": "t"}, "items": [thing("a", 1)]}
    answers = iter([httpx.Response(200, json=more), refused(410, "Expired"), listed(8, thing("b", 7))])
    with Connection(httpx.Client(base_url="https://x", transport=httpx.MockTransport(lambda _: next(answers)))) as connection:
        page = connection.of(Thing).list()
    assert ([each.metadata.name for each in page.items], page.resource_version) == (["b"], "8")


def test_what_is_written_is_compared_byte_for_byte(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = ["--plugin", str(REFERENCE)]
    assert export("typescript", *plugin, "--check") == 2
    assert export("typescript", *plugin, "--out", "kinds.ts", "--check") == 1
    assert export("typescript", *plugin, "--out", "kinds.ts") == 0
    assert export("typescript", *plugin, "--out", "kinds.ts", "--check") == 0
    kept = (folder / "kinds.ts").read_text()
    (folder / "kinds.ts").write_text(kept + " ")
    assert export("typescript", *plugin, "--out", "kinds.ts", "--check") == 1
    assert (folder / "kinds.ts").read_text() == kept + " "
    assert export("jsonschema", *plugin, "--out", "schemas") == 0
    assert sorted(path.name for path in folder.glob("schemas/**/*.json")) == [
        "all.json",
        "gadget_v1.json",
        "widget_v1.json",
        "widget_v1beta1.json",
    ]
    capsys.readouterr()
    assert export("typescript", *plugin) == 0
    assert capsys.readouterr().out == kept
    assert export("crd", *plugin, "gizmo") == 3
    assert capsys.readouterr().err.splitlines()[0] == "error: there is no kind 'gizmo'"
