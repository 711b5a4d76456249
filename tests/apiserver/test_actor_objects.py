"""What the objects of actors say, and who may change what of them."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Observation, Place
from actors.actor import from_declaration
from actors.insight import Failing, Past, Snapshot
from admission.identity import ADMIN, Identity, authenticated
from admission.review import Review
from apiserver.actor_objects import guard, notable, ready, spec_document, status_document
from apiserver.supervision import State, View
from registry.builtin import KINDS
from registry.builtin.actor import ACTOR, KEEPER, KEPT, MOST_WOKEN, WAKE, ActorObject, ActorSpec, cells, check, place_of, woken
from registry.declarations import ActorDeclaration
from registry.errors import Forbidden
from registry.plugin import Plugin, build
from registry.resource import Metadata, replace
from tests.actors.world import Job, Part, Stage

EPOCH = 1_700_000_000.0
Document = dict[str, Any]


def snapshot(**changes: Any) -> Snapshot:
    template = Stage().runner(lambda obj, client: None).snapshot()
    return Snapshot(**{name: getattr(template, name) for name in Snapshot.__slots__} | changes)


def view(state: State = "Running", message: str = "", **changes: Any) -> View:
    return View(snapshot(**changes), state, message, 2)


def told(state: State = "Running", message: str = "", **changes: Any) -> Document:
    return status_document(view(state, message, **changes), EPOCH)


def test_a_spec_says_all_that_is_declared_and_nothing_of_pauses() -> None:
    def reconcile(obj: Job, client: object) -> None:
        del obj, client

    actor = from_declaration(
        ActorDeclaration(
            name="a",
            model=Job,
            reconcile=reconcile,
            source="plugin.py:7",
            concurrency=3,
            resync=60.0,
            observes=[Observation(Part, to=lambda part: [])],
            writes=[Part],
        )
    )
    plugin = Plugin("t")
    for model in (Job, Part):
        plugin.kind(model, group="t.example", version="v1", plural=f"{model.__name__.lower()}s")
    part = {"apiVersion": "t.example/v1", "kind": "Part", "resource": "parts.t.example"}
    assert spec_document(actor, build([plugin], KINDS)) == {
        "owns": {"apiVersion": "t.example/v1", "kind": "Job", "resource": "jobs.t.example"},
        "observes": [part],
        "writes": [part],
        "identity": "system:serviceaccount:kube-system:skep-actor-a",
        "mode": "Thread",
        "concurrency": 3,
        "resyncSeconds": 60.0,
        "timeoutSeconds": 60.0,
        "backoffSeconds": [0.5, 300.0],
        "source": "plugin.py:7",
    }


def test_a_status_says_what_runs_what_failed_and_when_in_wall_clock_time() -> None:
    status = told(
        running={Place("shop", "b"): 20.0, Place("shop", "a"): 10.0},
        failing=(Failing(Place("", "x"), "no", 3, 90.0), Failing(Place("", "y"), "never", 1, None)),
        last=(Past(Place("shop", "c"), "success", 30.0, 0.25),),
        totals={"success": 4, "error": 3},
        depth=5,
        waits_since=40.0,
    )
    assert status["running"] == [
        {"key": "shop/a", "since": "2023-11-14T22:13:30Z"},
        {"key": "shop/b", "since": "2023-11-14T22:13:40Z"},
    ], "the longest first"
    assert status["failing"] == [
        {"key": "y", "error": "never", "failures": 1},
        {"key": "x", "error": "no", "failures": 3, "nextRetry": "2023-11-14T22:14:50Z"},
    ]
    assert status["last"] == [{"key": "shop/c", "result": "success", "ended": "2023-11-14T22:13:50Z", "seconds": 0.25}]
    assert (status["queue"], status["waitingSince"]) == (5, "2023-11-14T22:14:00Z")
    assert status["totals"] | {"seconds": 0} == {
        "runs": 7,
        "seconds": 0,
        "results": {"success": 4, "error": 3},
        "retries": 0,
        "restarts": 2,
    }
    assert list(ACTOR.storage.schema.apply({**stored(), "status": status}).causes) == []


def stored() -> Document:
    return {"apiVersion": "skep.dev/v1", "kind": "Actor", "metadata": {"name": "a"}, "spec": {}}


def test_a_status_is_bounded_and_says_how_many_there_are() -> None:
    places = [Place("shop", f"k{number:04}") for number in range(1000)]
    status = told(
        running={place: float(number) for number, place in enumerate(places)},
        failing=tuple(Failing(place, "no", 1, None) for place in places),
        last=tuple(Past(place, "success", 1.0, 1.0) for place in places),
    )
    assert [len(status[name]) for name in ("running", "failing", "last")] == [KEPT] * 3
    assert (status["runningCount"], status["failingCount"]) == (1000, 1000)
    assert status["failing"][0]["key"] == "shop/k0999", "the newest are shown"
    assert status["running"][0]["key"] == "shop/k0000", "those that run for longest are shown"


@pytest.mark.parametrize(
    ("state", "holds"),
    [("Running", "True"), ("Paused", "True"), ("SettingUp", "False"), ("Syncing", "False"), ("Failed", "False")],
)
def test_an_actor_is_ready_when_it_is_at_work_or_paused(state: State, holds: str) -> None:
    condition = ready(view(state, "why"), 3)
    assert (condition.status, condition.reason, condition.message, condition.observed_generation) == (holds, state, "why", 3)


def test_only_states_and_failures_are_told_at_once() -> None:
    failing = Failing(Place("", "x"), "no", 3, 90.0)
    calm = notable(told(failing=(failing,)))
    assert calm == notable(told(failing=(Failing(Place("", "x"), "no", 4, 180.0),), depth=9, totals={"error": 4}))
    assert calm != notable(told(failing=()))
    assert calm != notable(told(failing=(Failing(Place("", "x"), "no more", 3, 90.0),)))
    assert calm != notable(told("Failed", failing=(failing,)))
    assert calm != notable(told(message="hm", failing=(failing,)))


# Who may change what.


def reviewed(new: ActorObject, old: ActorObject | None, who: Identity = ADMIN) -> Review[ActorObject]:
    return Review("UPDATE" if old else "CREATE", new, old, who)


OBJECT = ActorObject(metadata=Metadata(name="a"), spec=ActorSpec(concurrency=2, source="plugin.py:7"))


def test_everybody_who_may_write_may_pause_and_label() -> None:
    for new in (
        replace(OBJECT, spec=replace(OBJECT.spec, paused=True)),
        replace(OBJECT, metadata=Metadata(name="a", labels={"a": "b"})),
        OBJECT,
    ):
        guard(reviewed(new, OBJECT))


def test_what_is_declared_is_changed_by_the_server_alone_and_the_refusal_says_where_it_is_declared() -> None:
    new = replace(OBJECT, spec=replace(OBJECT.spec, paused=True, concurrency=9, resync_seconds=1.0))
    with pytest.raises(Forbidden, match=r"spec\.concurrency, spec\.resyncSeconds cannot .* plugin at plugin\.py:7; spec\.paused"):
        guard(reviewed(new, OBJECT))
    guard(reviewed(new, OBJECT, authenticated(Identity(KEEPER))))


# Wakes.


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", []),
        (" , ", []),
        ("default/home", [Place("default", "home")]),
        ("home", [Place("", "home")]),
        ("a/b, c/d,e", [Place("a", "b"), Place("c", "d"), Place("", "e")]),
    ],
)
def test_the_annotation_names_keys(text: str, places: list[Place]) -> None:
    assert woken({"metadata": {"annotations": {WAKE: text}}}) == places


def test_an_object_without_the_annotation_asks_for_nothing() -> None:
    assert woken({"metadata": {}}) == woken({"metadata": {"annotations": None}}) == []


@pytest.mark.parametrize("key", ["a", "a/b", "shop/home.eu"])
def test_a_key_is_written_as_it_is_shown(key: str) -> None:
    assert str(place_of(key)) == key


@pytest.mark.parametrize("text", ["A", "a/B", "a/b/c", "UP/b", "a/..", "../a", "a b", "a/" + "x" * 300])
def test_what_can_be_no_object_is_refused(text: str) -> None:
    (cause,) = check({"metadata": {"annotations": {WAKE: text}}}, None)
    assert cause.field == f"metadata.annotations[{WAKE}]"
    assert "NAMESPACE/NAME" in cause.message


def test_the_number_of_keys_is_bounded() -> None:
    assert check({"metadata": {"annotations": {WAKE: ",".join(["a"] * MOST_WOKEN)}}}, None) == []
    (cause,) = check({"metadata": {"annotations": {WAKE: ",".join(["a"] * (MOST_WOKEN + 1))}}}, None)
    assert "at most" in cause.message


# Tables.


def test_a_row_shows_what_matters_and_one_without_a_status_shows_that() -> None:
    assert ACTOR.storage.printer is not None
    headings = [column.name for column in ACTOR.storage.printer.columns][1:-1]
    status = told("Paused", totals={"success": 3}, last=(Past(Place("", "c"), "success", 30.0, 0.25),), depth=4)
    row = dict(zip(headings, cells({**stored(), "spec": {"owns": {"kind": "Job"}}, "status": status}, EPOCH + 90), strict=True))
    assert row["Kind"] == "Job"
    assert (row["State"], row["Queue"], row["Runs"], row["Last Run"], row["Restarts"]) == ("Paused", 4, 3, "60s", 2)
    assert dict(zip(headings, cells(stored(), EPOCH), strict=True))["State"] == "Unknown"
