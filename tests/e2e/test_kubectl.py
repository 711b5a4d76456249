"""A tour with kubectl: what a person does with objects of a kind of their own, and with the built-in ones."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kubectl import Kubectl, environment, next_row, programs, rows
from tests.servers import Running

GROUP = "reference.example.com"
_numbers = count(1)


def widget(name: str, *, version: str = "v1", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels} if labels else {"name": name}
    return {"apiVersion": f"{GROUP}/{version}", "kind": "Widget", "metadata": metadata, "spec": {"size": 3, **spec}}


@pytest.fixture(scope="module", params=programs().items(), ids=lambda program: program[0])
def anywhere(request: pytest.FixtureRequest, reference_server: Running, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl in the namespace default. Discovery is cached from one test to the next, as it is for a person."""
    version, program = request.param
    if program is None:
        pytest.fail("there is no kubectl on PATH: install one to run these tests")
    home = tmp_path_factory.mktemp(f"kubectl-{version}")
    return Kubectl(program, "default", environment(home, reference_server.kubeconfig))


def in_new_namespace(kubectl: Kubectl) -> Kubectl:
    name = f"tour-{next(_numbers)}"
    kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return Kubectl(kubectl.program, name, kubectl.environment)


@pytest.fixture
def kubectl(anywhere: Kubectl) -> Kubectl:
    """kubectl in an empty namespace."""
    return in_new_namespace(anywhere)


@pytest.fixture(scope="module")
def shelf(anywhere: Kubectl) -> Kubectl:
    """kubectl in a namespace with three widgets and a ConfigMap, which are only looked at."""
    kubectl = in_new_namespace(anywhere)
    kubectl("create", "-f", "-", stdin=widget("a", labels={"shelf": kubectl.namespace}, size=30, notes="first"))
    kubectl("create", "-f", "-", stdin=widget("b", labels={"shelf": kubectl.namespace, "odd": "no"}, size=4, color="blue"))
    kubectl("create", "-f", "-", stdin=widget("c", labels={"odd": "yes"}, size=50))
    kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words"}, "data": {"x": "y"}})
    kubectl("patch", "wd", "c", "--subresource=status", "--type=merge", "-p", '{"status":{"ready":true}}')
    return kubectl


# --- what there is ---


def test_api_resources_shows_every_kind_once_in_its_preferred_version(anywhere: Kubectl) -> None:
    listed = rows(anywhere("api-resources"))
    assert listed[0] == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    assert ["widgets", "wd", f"{GROUP}/v1", "true", "Widget"] in listed
    assert ["gadgets", "gd", f"{GROUP}/v1", "false", "Gadget"] in listed
    assert ["configmaps", "cm", "v1", "true", "ConfigMap"] in listed
    assert ["leases", "coordination.k8s.io/v1", "true", "Lease"] in listed
    assert [row[0] for row in listed].count("widgets") == 1


def test_api_resources_can_be_narrowed(anywhere: Kubectl) -> None:
    assert [row[0] for row in rows(anywhere("api-resources", "--categories=all", "--no-headers"))] == ["widgets"]
    assert anywhere("api-resources", f"--api-group={GROUP}", "--namespaced=false", "-o", "name") == f"gadgets.{GROUP}\n"
    wide = rows(anywhere("api-resources", "--api-group=", "-o", "wide"))
    verbs = {row[0]: set(row[-1].split(",")) for row in wide if row[0] == "secrets"}
    assert verbs == {"secrets": {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}}


def test_api_versions_shows_every_version(anywhere: Kubectl) -> None:
    shown = anywhere("api-versions").split()
    assert {"v1", "coordination.k8s.io/v1", "events.k8s.io/v1", f"{GROUP}/v1", f"{GROUP}/v1beta1"} <= set(shown)


def test_explain_describes_a_field(anywhere: Kubectl) -> None:
    shown = anywhere("explain", "widget.spec.size")
    assert "KIND:       Widget" in shown
    assert "FIELD: size <integer>" in shown
    assert "How big the widget is." in shown
    assert "ENUM:\n    red\n    green\n    blue\n" in anywhere("explain", "wd.spec.color")
    assert "VERSION:    v1beta1\n" in anywhere("explain", "widgets", f"--api-version={GROUP}/v1beta1")
    assert "FIELD: data <map[string]string>" in anywhere("explain", "cm.data")
    assert 'field "nope" does not exist' in anywhere.refused("explain", "widget.spec.nope")


def test_explain_shows_the_whole_tree(anywhere: Kubectl) -> None:
    fields = [line.split() for line in anywhere("explain", "widget", "--recursive").splitlines()]
    for field in (
        ["size", "<integer>", "-required-"],
        ["tags", "<[]string>"],
        ["conditions", "<[]Object>"],
        ["finalizers", "<[]string>"],
    ):
        assert field in fields


def test_version_and_health_are_readable(anywhere: Kubectl) -> None:
    assert "Server Version: v1.33.0+skep-" in anywhere("version")
    assert anywhere("get", "--raw", "/readyz?verbose").splitlines()[-1] == "readyz check passed"
    assert 'the server doesn\'t have a resource type "services"' in anywhere.refused("cluster-info")


def test_what_is_not_there_is_said_to_be_missing(kubectl: Kubectl) -> None:
    assert 'the server doesn\'t have a resource type "pods"' in kubectl.refused("get", "pods")
    assert kubectl.refused("get", "wd", "nope") == f'Error from server (NotFound): widgets.{GROUP} "nope" not found\n'
    assert kubectl.run("get", "wd").err == f"No resources found in {kubectl.namespace} namespace.\n"
    assert "ensure CRDs are installed first" in kubectl.refused("apply", "-f", "-", stdin=widget("a", version="v7"))
    assert "namespaces" in kubectl.refused("create", "--namespace=nowhere", "-f", "-", stdin=widget("a"))
    assert "(Unauthorized)" in kubectl.refused("get", "wd", "--token=wrong")


# --- create, apply, diff ---


def test_create_makes_an_object_and_does_not_make_it_again(kubectl: Kubectl) -> None:
    assert kubectl("create", "-f", "-", stdin=widget("a")) == f"widget.{GROUP}/a created\n"
    assert f'widgets.{GROUP} "a" already exists' in kubectl.refused("create", "-f", "-", stdin=widget("a"))
    assert kubectl.get("wd", "a")["spec"] == {"size": 3, "color": "red", "replicas": 1}


def test_a_dry_run_writes_nothing(kubectl: Kubectl) -> None:
    assert "color: red" in kubectl("create", "-f", "-", "--dry-run=server", "-o", "yaml", stdin=widget("a"))
    assert "created (server dry run)" in kubectl("apply", "-f", "-", "--dry-run=server", stdin=widget("a"))
    assert kubectl("get", "wd") == ""


def test_apply_creates_then_changes_then_leaves_alone(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=widget("a", notes="n")) == f"widget.{GROUP}/a created\n"
    assert kubectl("apply", "-f", "-", stdin=widget("a", notes="n")) == f"widget.{GROUP}/a unchanged\n"
    assert kubectl("apply", "-f", "-", stdin=widget("a", size=9)) == f"widget.{GROUP}/a configured\n"
    applied = kubectl.get("wd", "a")
    assert applied["spec"] == {"size": 9, "color": "red", "replicas": 1}  # and the notes are gone
    assert applied["metadata"]["generation"] == 2


def test_apply_keeps_what_others_have_set(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=widget("a"))
    kubectl("scale", "wd", "a", "--replicas=4")
    kubectl("label", "wd", "a", "mine=yes")
    kubectl("apply", "-f", "-", stdin=widget("a", color="blue"))
    applied = kubectl.get("wd", "a")
    assert applied["spec"] == {"size": 3, "color": "blue", "replicas": 4}
    assert applied["metadata"]["labels"] == {"mine": "yes"}


@pytest.mark.parametrize(
    ("object", "changed"),
    [
        ({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1", "b": "2"}}, {"data": {"a": "9"}}),
        ({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "1"}}, {"stringData": {"a": "2"}}),
        ({"apiVersion": "v1", "kind": "ServiceAccount"}, {"secrets": [{"name": "s"}]}),
        (
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "me"}},
            {"spec": {"holderIdentity": "you"}},
        ),
    ],
    ids=lambda value: value.get("kind", ""),
)
def test_apply_of_a_built_in_kind_works_again_and_again(kubectl: Kubectl, object: dict[str, Any], changed: dict[str, Any]) -> None:
    first = {**object, "metadata": {"name": "x"}}
    assert kubectl("apply", "-f", "-", stdin=first).endswith("/x created\n")
    made = kubectl.get(object["kind"], "x")["metadata"]["resourceVersion"]
    again = kubectl("apply", "-f", "-", stdin=first)
    assert again.endswith("/x unchanged\n") or "stringData" in first  # which kubectl cannot find in what is there
    assert kubectl.get(object["kind"], "x")["metadata"]["resourceVersion"] == made
    assert kubectl("apply", "-f", "-", stdin={**first, **changed}).endswith("/x configured\n")
    shown = kubectl.get(object["kind"], "x")
    wanted = {"data": {"a": "Mg=="}} if object["kind"] == "Secret" else changed
    assert {key: shown[key] for key in wanted} == wanted


def test_a_list_is_applied_as_what_is_in_it(kubectl: Kubectl) -> None:
    parts: list[dict[str, Any]] = [
        widget("a"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "secret"}},
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": parts}
    assert kubectl("apply", "-f", "-", stdin=listed).splitlines() == [
        f"widget.{GROUP}/a created",
        "configmap/c created",
        "secret/s created",
    ]
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.password}") == "c2VjcmV0"
    assert kubectl("delete", "-f", "-", stdin=listed).count("deleted") == 3


def test_apply_by_the_server_tells_who_owns_a_field(kubectl: Kubectl) -> None:
    def managers() -> set[str]:
        return {entry["manager"] for entry in kubectl.get("wd", "a", "--show-managed-fields")["metadata"]["managedFields"]}

    apply = ("apply", "--server-side", "-f", "-")
    assert kubectl(*apply, stdin=widget("a", notes="n")) == f"widget.{GROUP}/a serverside-applied\n"
    assert "Apply failed with 1 conflict" in kubectl.refused(*apply, "--field-manager=other", stdin=widget("a", size=9))
    kubectl(*apply, "--field-manager=other", "--force-conflicts", stdin=widget("a", size=9))
    assert managers() == {"kubectl", "other"}
    kubectl(*apply, "--force-conflicts", stdin=widget("a"))
    assert managers() == {"kubectl"}
    assert kubectl.get("wd", "a")["spec"] == {"size": 3, "color": "red", "replicas": 1}  # and the notes are gone


def test_diff_tells_by_its_exit_status_whether_there_is_any(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=widget("a"))
    same, other = (kubectl.run("diff", "-f", "-", stdin=wanted) for wanted in (widget("a"), widget("a", size=8)))
    assert (same.code, same.out) == (0, "")
    assert other.code == 1
    assert [line for line in other.out.splitlines() if line.startswith(("-  ", "+  ")) and "size" in line] == [
        "-  size: 3",
        "+  size: 8",
    ]
    assert kubectl.get("wd", "a")["spec"]["size"] == 3


def test_an_unknown_field_is_refused_unless_the_person_wants_it(kubectl: Kubectl) -> None:
    misspelt = widget("a", colour="red")
    assert 'strict decoding error: unknown field "spec.colour"' in kubectl.refused("apply", "-f", "-", stdin=misspelt)
    warned = kubectl.run("apply", "--validate=warn", "-f", "-", stdin=misspelt)
    assert (warned.code, warned.err) == (0, 'Warning: unknown field "spec.colour"\n')
    assert kubectl.run("replace", "--validate=false", "-f", "-", stdin=misspelt).err == ""
    assert "colour" not in kubectl.get("wd", "a")["spec"]


def test_every_cause_of_an_invalid_object_is_shown(kubectl: Kubectl) -> None:
    said = kubectl.refused("apply", "-f", "-", stdin=widget("a", size=1000, color="pink"))
    assert said.splitlines() == [
        'The Widget "a" is invalid: ',
        '* spec.color: Unsupported value: "pink": supported values: "red", "green", "blue"',
        "* spec.size: Invalid value: 1000: spec.size in body should be less than or equal to 100",
    ]


def test_a_deprecated_version_warns_on_every_request(kubectl: Kubectl) -> None:
    warning = f"Warning: {GROUP}/v1beta1 Widget is deprecated; use {GROUP}/v1 Widget\n"
    assert warning in kubectl.run("apply", "-f", "-", stdin=widget("a", version="v1beta1")).err
    assert kubectl.run("get", f"widgets.v1beta1.{GROUP}").err == warning
    assert kubectl.run("get", "widgets").err == ""
    assert kubectl.get("wd", "a")["apiVersion"] == f"{GROUP}/v1"


# --- get ---

HEADER = ["NAME", "SIZE", "COLOR", "READY", "AGE"]
A, B, C = ["a", "30", "red", "<age>"], ["b", "4", "blue", "<age>"], ["c", "50", "red", "true", "<age>"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("wd", [HEADER, A, B, C]),
        ("widgets.reference.example.com", [HEADER, A, B, C]),
        ("wd/b", [HEADER, B]),
        ("wd c a", [HEADER, C, A]),
        ("wd -o wide", [["NAME", "SIZE", "COLOR", "READY", "NOTES", "AGE"], [*A[:3], "first", "<age>"], B, C]),
        ("wd --no-headers", [A, B, C]),
        ("wd --sort-by=.spec.size", [HEADER, B, A, C]),
        ("wd -l odd", [HEADER, B, C]),
        ("wd -l odd!=yes", [HEADER, A, B]),
        ("wd --field-selector=spec.color=blue", [HEADER, B]),
        ("wd --field-selector=metadata.name!=a,spec.color=red", [HEADER, C]),
        ("wd -l odd=yes --show-labels", [[*HEADER, "LABELS"], [*C, "odd=yes"]]),
        ("wd -l odd -L odd", [[*HEADER, "ODD"], [*B, "no"], [*C, "yes"]]),
        ("wd --server-print=false", [["NAME", "AGE"], *(["abc"[i], "<age>"] for i in range(3))]),
        ("wd -o name", [[f"widget.{GROUP}/{name}"] for name in "abc"]),
        ("wd -o custom-columns=N:.metadata.name,S:.spec.size", [["N", "S"], ["a", "30"], ["b", "4"], ["c", "50"]]),
        ("wd -o jsonpath={.items[*].spec.size}", [["30", "4", "50"]]),
        ("wd b -o go-template={{.spec.color}}", [["blue"]]),
        ("all", [HEADER, A, B, C]),
        ("cm", [["NAME", "DATA", "AGE"], ["words", "1", "<age>"]]),
        ("cm,wd -l odd=no", [HEADER, [f"widget.{GROUP}/b", *B[1:]]]),
    ],
)
def test_get_shows_what_was_asked_for(shelf: Kubectl, words: str, shown: list[list[str]]) -> None:
    assert rows(shelf("get", *words.split())) == shown


def test_get_shows_all_namespaces(shelf: Kubectl) -> None:
    shown = rows(shelf("get", "wd", "-A", "-l", f"shelf={shelf.namespace}"))
    assert shown == [["NAMESPACE", *HEADER], [shelf.namespace, *A], [shelf.namespace, *B]]


def test_get_shows_several_kinds_as_tables_of_their_own(shelf: Kubectl) -> None:
    shown = rows(shelf("get", "wd/b", "cm/words"))
    assert shown == [HEADER, [f"widget.{GROUP}/b", *B[1:]], ["NAME", "DATA", "AGE"], ["configmap/words", "1", "<age>"]]


def test_get_follows_the_pages_of_a_list(shelf: Kubectl) -> None:
    ran = shelf.run("get", "wd", "--chunk-size=2", "-v=6")
    assert rows(ran.out) == [HEADER, A, B, C]
    assert "limit=2" in ran.err
    assert "continue=" in ran.err


def test_get_shows_whole_objects(shelf: Kubectl) -> None:
    one = shelf.get("wd", "b")
    assert (one["kind"], one["spec"]["size"], one["metadata"]["labels"]["odd"]) == ("Widget", 4, "no")
    shown = shelf("get", "wd", "b", "-o", "yaml")
    assert shown.startswith(f"apiVersion: {GROUP}/v1\nkind: Widget\nmetadata:\n")
    assert shown.endswith("spec:\n  color: blue\n  replicas: 1\n  size: 4\n")
    assert [item["metadata"]["name"] for item in shelf.get("wd")["items"]] == ["a", "b", "c"]
    assert shelf.get("wd", "--field-selector=metadata.name=nope")["items"] == []


def test_a_selector_that_makes_no_sense_is_refused(shelf: Kubectl) -> None:
    assert "field label not supported: spec.notes" in shelf.refused("get", "wd", "--field-selector=spec.notes=first")
    assert "unable to parse requirement" in shelf.refused("get", "wd", "-l", "a in (b")


# --- watch ---


def watching(process: subprocess.Popen[str]) -> str:
    """Reads what a command says with -v=6 until it watches; how it watches."""
    assert process.stdout is not None
    return next(line for line in process.stdout if "watch=true" in line)


def test_get_watch_shows_every_change(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    with kubectl.running("get", "wd", "-w") as watch:
        assert [next_row(watch), next_row(watch)] == [HEADER, ["a", "3", "red", "<age>"]]
        kubectl("patch", "wd", "a", "--type=merge", "-p", '{"spec":{"size":4}}')
        assert next_row(watch) == ["a", "4", "red", "<age>"]
        kubectl("create", "-f", "-", stdin=widget("b", color="green"))
        assert next_row(watch) == ["b", "3", "green", "<age>"]
        kubectl("patch", "wd", "b", "--subresource=status", "--type=merge", "-p", '{"status":{"ready":true}}')
        assert next_row(watch) == ["b", "3", "green", "true", "<age>"]


def test_get_watch_of_one_object_shows_no_other(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    with kubectl.running("get", "wd", "a", "-w", "--output-watch-events") as watch:
        assert [next_row(watch), next_row(watch)] == [["EVENT", *HEADER], ["ADDED", "a", "3", "red", "<age>"]]
        kubectl("create", "-f", "-", stdin=widget("b"))
        kubectl("label", "wd", "a", "x=y")
        kubectl("delete", "wd", "a")
        assert [next_row(watch), next_row(watch)] == [[kind, "a", "3", "red", "<age>"] for kind in ("MODIFIED", "DELETED")]


def test_get_watch_with_a_selector_shows_what_enters_and_what_leaves(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    kubectl("create", "-f", "-", stdin=widget("b", labels={"on": "yes"}))
    with kubectl.running("get", "wd", "-l", "on=yes", "-w", "--output-watch-events") as watch:
        assert [next_row(watch), next_row(watch)] == [["EVENT", *HEADER], ["ADDED", "b", "3", "red", "<age>"]]
        kubectl("label", "wd", "a", "on=yes")
        assert next_row(watch)[:2] == ["ADDED", "a"]
        kubectl("label", "wd", "b", "on-")
        assert next_row(watch)[:2] == ["DELETED", "b"]


def test_watch_only_shows_nothing_of_the_past(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    with kubectl.running("get", "wd", "--watch-only", "-o", "name", "-v=6") as watch:
        watching(watch)
        kubectl("create", "-f", "-", stdin=widget("b"))
        assert watch.stdout is not None
        assert next(line for line in watch.stdout if line.startswith("widget")) == f"widget.{GROUP}/b\n"


# --- describe and events ---


def event(kubectl: Kubectl, kind: str, name: str, **rest: Any) -> dict[str, Any]:
    about = kubectl.get(kind, name)
    reference = {"apiVersion": about["apiVersion"], "kind": about["kind"], "name": name, "namespace": kubectl.namespace}
    times = {"firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:14:05Z", "count": 3}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name}-"},
        "involvedObject": {**reference, "uid": about["metadata"]["uid"]},
        "source": {"component": "tour"},
        **times,
        **rest,
    }


def test_describe_shows_the_object_and_what_happened_to_it(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a", labels={"x": "y"}))
    assert kubectl("describe", "wd", "a").split()[-2:] == ["Events:", "<none>"]
    kubectl("create", "-f", "-", stdin=event(kubectl, "wd", "a", type="Warning", reason="Odd", message="it looks odd"))
    shown = kubectl("describe", "wd", "a")
    lines = [line.split() for line in shown.splitlines()]
    for line in (["Name:", "a"], ["Labels:", "x=y"], ["Kind:", "Widget"], ["Generation:", "1"], ["Color:", "red"], ["Size:", "3"]):
        assert line in lines
    assert lines[-1][:2] == ["Warning", "Odd"]
    assert lines[-1][-4:] == ["tour", "it", "looks", "odd"]


def test_describe_knows_the_built_in_kinds(kubectl: Kubectl) -> None:
    kubectl(
        "create", "-f", "-", stdin={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"word": "text"}}
    )
    kubectl(
        "create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"word": "text"}}
    )
    assert "word:\n----\ntext\n" in kubectl("describe", "cm", "c")
    assert "word:  4 bytes" in kubectl("describe", "secret", "s")
    assert "Status:       Active" in kubectl("describe", "ns", kubectl.namespace)


def test_a_quota_is_described_with_what_is_used_and_says_what_it_refuses(kubectl: Kubectl) -> None:
    hard = {f"count/widgets.{GROUP}": 1, "secrets": "3"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}}
    kubectl("apply", "-f", "-", stdin=quota)
    kubectl("create", "-f", "-", stdin=widget("a"))
    kubectl("wait", "quota/few", "--for=jsonpath={.status.used.count/widgets\\.reference\\.example\\.com}=1", "--timeout=20s")
    described = [line.split() for line in kubectl("describe", "quota", "few").splitlines()]
    assert described[-2:] == [[f"count/widgets.{GROUP}", "1", "1"], ["secrets", "0", "3"]]
    refused = kubectl.refused("create", "-f", "-", stdin=widget("b"))
    assert f'widgets.{GROUP} "b" is forbidden: exceeded quota: few, requested: count/widgets.{GROUP}=1' in refused
    assert "few" in kubectl("describe", "ns", kubectl.namespace)


def test_events_are_shown_by_object_and_by_type(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    kubectl("create", "-f", "-", stdin=widget("b"))
    kubectl("create", "-f", "-", stdin=event(kubectl, "wd", "a", type="Warning", reason="Odd", message="one"))
    kubectl("create", "-f", "-", stdin=event(kubectl, "wd", "b", type="Normal", reason="Even", message="two"))
    header = ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    listed = rows(kubectl("get", "events", "--sort-by=.message"))
    assert listed == [header, ["<age>", "Warning", "Odd", "widget/a", "one"], ["<age>", "Normal", "Even", "widget/b", "two"]]
    assert rows(kubectl("events", "--types=Normal"))[1][-4:] == ["Normal", "Even", "Widget/b", "two"]
    of_a = rows(kubectl("events", "--for=widget/a"))
    assert (of_a[0], of_a[1][-4:], len(of_a)) == (header, ["Warning", "Odd", "Widget/a", "one"], 2)
    assert rows(kubectl("get", "events.events.k8s.io", "--field-selector=reason=Odd"))[1][1:] == listed[1][1:]
    assert rows(kubectl("get", "events", "--field-selector=involvedObject.name=b"))[1:] == [listed[2]]


# --- change ---


def editor(folder: Path, script: str) -> str:
    """A program that does to the file that it is given what a person would do in an editor."""
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_edit_writes_what_the_editor_left(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "old"}})
    person = kubectl.seeing(KUBE_EDITOR=editor(tmp_path, 'sed -i "s/size: 3/size: 7/; s/k: old/k: new/" "$1"'))
    assert person("edit", "wd", "a") == f"widget.{GROUP}/a edited\n"
    assert kubectl.get("wd", "a")["spec"]["size"] == 7
    assert person.run("edit", "wd", "a").err == "Edit cancelled, no changes made.\n"
    assert person("edit", "cm", "c") == "configmap/c edited\n"
    assert kubectl.get("cm", "c")["data"] == {"k": "new"}


def test_edit_shows_in_the_editor_what_was_wrong(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    breaks, gives_up = 'sed -i "s/size: 3$/size: 300/" "$1"', f'cp "$1" {tmp_path}/told'
    person = kubectl.seeing(KUBE_EDITOR=editor(tmp_path, f'if grep -q "size: 3$" "$1"; then {breaks}; else {gives_up}; fi'))
    assert person.run("edit", "wd", "a").code == 1
    assert (
        "# * spec.size: Invalid value: 300: spec.size in body should be less than or equal to 100"
        in (tmp_path / "told").read_text()
    )
    assert kubectl.get("wd", "a")["spec"]["size"] == 3


def test_labels_and_annotations_are_set_and_taken_away(kubectl: Kubectl) -> None:
    for name in "ab":
        kubectl("create", "-f", "-", stdin=widget(name))
    assert kubectl("label", "wd", "a", "x=1") == f"widget.{GROUP}/a labeled\n"
    assert "already has a value (1)" in kubectl.refused("label", "wd", "a", "x=2")
    kubectl("label", "wd", "a", "x=2", "--overwrite")
    kubectl("label", "wd", "--all", "all=yes")
    kubectl("label", "wd", "-l", "x=2", "found=yes")
    assert kubectl.get("wd", "a")["metadata"]["labels"] == {"x": "2", "all": "yes", "found": "yes"}
    assert kubectl.get("wd", "b")["metadata"]["labels"] == {"all": "yes"}
    assert kubectl("label", "wd", "b", "all-") == f"widget.{GROUP}/b unlabeled\n"
    assert "labels" not in kubectl.get("wd", "b")["metadata"]
    kubectl("annotate", "wd", "a", "note=a text with spaces")
    assert kubectl.get("wd", "a")["metadata"]["annotations"] == {"note": "a text with spaces"}
    assert "a valid label must be" in kubectl.refused("label", "wd", "a", "x=not valid")


def test_patches_of_every_kind(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    assert kubectl("patch", "wd", "a", "--type=merge", "-p", '{"spec":{"size":8}}') == f"widget.{GROUP}/a patched\n"
    assert "(no change)" in kubectl("patch", "wd", "a", "--type=merge", "-p", '{"spec":{"size":8}}')
    kubectl(
        "patch",
        "wd",
        "a",
        "--type=json",
        "-p",
        '[{"op":"test","path":"/spec/size","value":8},{"op":"remove","path":"/spec/color"}]',
    )
    assert kubectl.get("wd", "a")["spec"] == {"size": 8, "color": "red", "replicas": 1}
    said = kubectl.refused("patch", "wd", "a", "-p", '{"spec":{"size":9}}')
    assert f"application/strategic-merge-patch+json is not supported by {GROUP}/v1, Kind=Widget" in said
    kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}})
    kubectl("patch", "cm", "c", "-p", '{"data":{"b":"2"}}')
    assert kubectl.get("cm", "c")["data"] == {"a": "1", "b": "2"}


def test_status_is_patched_and_shown_apart(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    kubectl("patch", "wd", "a", "--subresource=status", "--type=merge", "-p", '{"spec":{"size":9},"status":{"phase":"Done"}}')
    both = kubectl.get("wd", "a")
    assert (both["spec"]["size"], both["status"], both["metadata"]["generation"]) == (3, {"phase": "Done"}, 1)
    kubectl("patch", "wd", "a", "--type=merge", "-p", '{"status":{"phase":"Undone"}}')
    assert kubectl.get("wd", "a")["status"] == {"phase": "Done"}
    assert rows(kubectl("get", "wd", "a", "--subresource=status"))[1] == ["a", "3", "red", "<age>"]


def test_scale_sets_replicas_and_can_insist_on_their_number(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    assert kubectl("scale", "wd", "a", "--replicas=3") == f"widget.{GROUP}/a scaled\n"
    assert "Expected replicas to be 2, was 3" in kubectl.refused("scale", "wd", "a", "--replicas=4", "--current-replicas=2")
    kubectl("scale", "wd/a", "--replicas=4", "--current-replicas=3")
    assert kubectl.get("wd", "a")["spec"]["replicas"] == 4
    kubectl("scale", "wd", "--all", "--replicas=0")
    assert kubectl.get("wd", "a", "--subresource=scale")["spec"]["replicas"] == 0
    assert "could not find the requested resource" in kubectl.refused("scale", "ns", "default", "--replicas=1")


def test_replace_takes_the_whole_object(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a", labels={"x": "y"}, notes="n"))
    before = kubectl.get("wd", "a")
    assert kubectl("replace", "-f", "-", stdin=widget("a", size=5)) == f"widget.{GROUP}/a replaced\n"
    after = kubectl.get("wd", "a")
    assert after["spec"] == {"size": 5, "color": "red", "replicas": 1}
    assert "labels" not in after["metadata"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "the object has been modified" in kubectl.refused("replace", "-f", "-", stdin=before)
    assert "not found" in kubectl.refused("replace", "-f", "-", stdin=widget("nope"))


def test_replace_by_force_makes_a_new_object(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    before = kubectl.get("wd", "a")["metadata"]["uid"]
    kubectl("replace", "--force", "-f", "-", stdin=widget("a", size=6))
    after = kubectl.get("wd", "a")
    assert (after["spec"]["size"], after["metadata"]["uid"] != before) == (6, True)


# --- delete and wait ---


def names(kubectl: Kubectl) -> str:
    return kubectl("get", "wd", "-o", "jsonpath={.items[*].metadata.name}")


def test_delete_by_name_by_label_by_file_and_all(kubectl: Kubectl) -> None:
    for name in "abcdefg":
        kubectl("create", "-f", "-", stdin=widget(name, labels={"half": "first" if name < "d" else "second"}))
    assert kubectl("delete", "wd", "a").startswith(f'widget.{GROUP} "a" deleted')
    assert f'widgets.{GROUP} "a" not found' in kubectl.refused("delete", "wd", "a")
    kubectl("delete", "wd", "a", "--ignore-not-found")
    kubectl("delete", "wd", "b", "--dry-run=server")
    assert names(kubectl) == "b c d e f g"
    kubectl("delete", "wd", "-l", "half=first")
    kubectl("delete", "-f", "-", stdin=widget("d"))
    assert names(kubectl) == "e f g"
    for cascade, name in (("foreground", "e"), ("orphan", "f"), ("background", "g")):
        kubectl("delete", "wd", name, f"--cascade={cascade}")
    assert names(kubectl) == ""
    kubectl("create", "-f", "-", stdin=widget("h"))
    kubectl("delete", "wd", "--all")
    assert names(kubectl) == ""


def test_delete_waits_for_the_last_finalizer(kubectl: Kubectl) -> None:
    held = widget("a")
    held["metadata"]["finalizers"] = ["tour.example.com/hold"]
    kubectl("create", "-f", "-", stdin=held)
    with kubectl.running("delete", "wd", "a") as deletion:
        assert next_row(deletion)[:3] == [f"widget.{GROUP}", '"a"', "deleted"]
        assert "deletionTimestamp" in kubectl.get("wd", "a")["metadata"]
        assert deletion.poll() is None
        kubectl("patch", "wd", "a", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
        assert deletion.wait() == 0
    assert names(kubectl) == ""


@pytest.mark.parametrize("watch_list", ["false", "true"])
def test_wait_ends_when_what_is_waited_for_comes(kubectl: Kubectl, watch_list: str) -> None:
    """Both ways of client-go to begin a watch: with a list, or with initial events."""
    waits = kubectl.seeing(KUBE_FEATURE_WatchListClient=watch_list)
    kubectl("create", "-f", "-", stdin=widget("a"))
    with waits.running("wait", "wd/a", "--for=jsonpath={.spec.size}=9", "--timeout=60s", "-v=6") as sized:
        assert ("sendInitialEvents=true" in watching(sized)) is (watch_list == "true")
        kubectl("patch", "wd", "a", "--type=merge", "-p", '{"spec":{"size":9}}')
        assert sized.wait() == 0
    with waits.running("wait", "wd", "--all", "--for=condition=Ready", "--timeout=60s", "-v=6") as ready:
        watching(ready)
        condition = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
        kubectl("patch", "wd", "a", "--subresource=status", "--type=merge", "-p", condition)
        assert ready.wait() == 0
    with waits.running("wait", "wd/a", "--for=delete", "--timeout=60s", "-v=6") as deleted:
        watching(deleted)
        kubectl("delete", "wd", "a", "--wait=false")
        assert deleted.wait() == 0


def test_wait_ends_when_an_object_is_made(kubectl: Kubectl) -> None:
    with kubectl.running("wait", "wd/a", "--for=create", "--timeout=60s") as created:
        kubectl("create", "-f", "-", stdin=widget("a"))
        assert created.wait() == 0


def test_wait_gives_up_after_its_time(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("a"))
    assert "timed out waiting for the condition on widgets/a" in kubectl.refused(
        "wait", "wd/a", "--for=condition=Ready", "--timeout=1s"
    )
    assert "not found" in kubectl.refused("wait", "wd/nope", "--for=condition=Ready", "--timeout=1s")


def test_the_deletion_of_a_namespace_waits_until_its_contents_are_gone(anywhere: Kubectl) -> None:
    name = f"tour-{next(_numbers)}"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert anywhere("create", "-f", "-", stdin=space) == f"namespace/{name} created\n"
    assert rows(anywhere("get", "ns", name)) == [["NAME", "STATUS", "AGE"], [name, "Active", "<age>"]]
    held = widget("held")
    held["metadata"]["finalizers"] = ["tour.example.com/hold"]
    for each in (held, widget("free")):
        anywhere("create", "-n", name, "-f", "-", stdin=each)
    with anywhere.running("delete", "ns", name) as deletion:
        anywhere("wait", f"ns/{name}", "--for=condition=NamespaceFinalizersRemaining", "--timeout=60s")
        assert rows(anywhere("get", "ns", name))[1:] == [[name, "Terminating", "<age>"]]
        assert "because it is being terminated" in anywhere.refused("create", "-n", name, "-f", "-", stdin=widget("a"))
        assert anywhere("get", "wd", "-n", name, "-o", "jsonpath={.items[*].metadata.name}") == "held"
        assert "tour.example.com/hold in 1 resource instances" in anywhere("describe", "ns", name)
        assert deletion.poll() is None
        anywhere("patch", "wd", "held", "-n", name, "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
        assert deletion.wait() == 0
    assert "not found" in anywhere.refused("get", "ns", name)


def owned(name: str, owner: dict[str, Any], *, finalizers: Sequence[str] = ()) -> dict[str, Any]:
    """A widget that an owner waits for."""
    child = widget(name)
    reference = {key: owner["metadata"][key] for key in ("name", "uid")} | {key: owner[key] for key in ("apiVersion", "kind")}
    child["metadata"] |= {"ownerReferences": [{**reference, "blockOwnerDeletion": True}], "finalizers": list(finalizers)}
    return child


def test_a_deletion_in_the_foreground_waits_for_the_dependents(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("owner"))
    kubectl("create", "-f", "-", stdin=owned("child", kubectl.get("wd", "owner"), finalizers=["tour.example.com/hold"]))
    with kubectl.running("delete", "wd", "owner", "--cascade=foreground") as deletion:
        assert next_row(deletion)[:3] == [f"widget.{GROUP}", '"owner"', "deleted"]
        kubectl("wait", "wd/child", "--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=60s")
        assert kubectl.get("wd", "owner")["metadata"]["finalizers"] == ["foregroundDeletion"]
        assert deletion.poll() is None
        kubectl("patch", "wd", "child", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
        assert deletion.wait() == 0
    assert names(kubectl) == ""


def test_a_deletion_in_the_background_takes_the_dependents_along(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("owner"))
    kubectl("create", "-f", "-", stdin=owned("child", kubectl.get("wd", "owner")))
    kubectl("delete", "wd", "owner", "--cascade=background")
    kubectl("wait", "wd/child", "--for=delete", "--timeout=60s")
    assert names(kubectl) == ""


def test_a_deletion_may_leave_the_dependents(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=widget("owner"))
    kubectl("create", "-f", "-", stdin=owned("child", kubectl.get("wd", "owner")))
    kubectl("delete", "wd", "owner", "--cascade=orphan")
    assert "ownerReferences" not in kubectl.get("wd", "child")["metadata"]
    assert names(kubectl) == "child"
