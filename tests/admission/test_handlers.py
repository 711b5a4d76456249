"""What harm a handler can do: it is late, hangs in a thread, ends the process, cancels. And in which version it is called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from admission.calling import THREADS
from admission.chain import Chain, Steps
from admission.identity import ADMIN
from admission.review import Review
from registry.conversion import Conversion, between
from registry.errors import Cause, Forbidden, InternalError
from registry.handlers import Handler
from registry.kinds import Version
from registry.resource import Resource, Spec, replace
from registry.typed import node_of, schema_of
from registry.ways import Form, Step, Ways
from tests.admission.test_chain import Log, Thing, chain, handler, review, thing

pytestmark = pytest.mark.anyio

Document = dict[str, Any]


def raises(error: BaseException) -> Callable[[Review[Thing]], None]:
    def broken(given: Review[Thing]) -> None:
        raise error

    return broken


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopAsyncIteration()],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("form", ["plain", "async", "thread"])
async def test_a_handler_that_wants_to_end_the_process_ends_its_own_call(error: BaseException, form: str) -> None:
    log, plain = Log(), raises(error)

    async def broken(given: Review[Thing]) -> None:
        await anyio.lowlevel.checkpoint()
        plain(given)

    steps = chain((), [broken if form == "async" else plain], log, thread=form == "thread")
    with pytest.raises(InternalError, match=r"things\.broken failed"):
        await steps.validate(review())
    assert [told["handler"] for told in log.told] == ["things.broken"]
    await anyio.lowlevel.checkpoint()  # nothing of the cancellation is left


async def test_a_late_handler_is_ended_and_named() -> None:
    ended: list[str] = []

    async def late(given: Review[Thing]) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("late")

    log = Log()
    with pytest.raises(InternalError, match=r"things\.late took too long") as caught:
        await chain((), [late], log, timeout_seconds=0.01).validate(review())
    assert ended == ["late"]
    assert str(log.told[0]["exc_info"]) == "took longer than 0.01 s"
    assert "0.01" not in caught.value.message


async def test_a_plain_handler_in_a_thread_is_left_there_and_can_take_no_more_than_its_threads() -> None:
    go, calls = threading.Event(), []

    def hangs(given: Review[Thing]) -> list[Cause]:
        calls.append(given)
        go.wait()
        return [Cause("A", "done")]

    steps = chain((), [hangs], timeout_seconds=0.05, thread=True)

    async def late() -> None:
        with pytest.raises(InternalError, match="took too long"):
            await steps.validate(review())

    async with anyio.create_task_group() as tasks:
        for _ in range(THREADS + 2):
            tasks.start_soon(late)
    while len(calls) < THREADS:  # a thread may begin after nobody waits for it any more
        await anyio.sleep(0)
    assert len(calls) == THREADS
    assert await chain((), [lambda given: [Cause("B", "other")]], thread=True).validate(review()) == [Cause("B", "other")]
    go.set()
    patient = chain((), [hangs], thread=True)
    assert await patient.validate(review()) == [Cause("A", "done")]
    while True:  # the places come back when the threads are through
        try:
            assert await steps.validate(review()) == [Cause("A", "done")]
            break
        except InternalError:
            continue


async def test_a_plain_handler_in_a_thread_keeps_nobody_else_waiting() -> None:
    go = threading.Event()

    def blocks(given: Review[Thing]) -> Thing:
        go.wait()
        return replace(given.new, spec=replace(given.new.spec, size=9))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, lambda: None)
        made: list[Document] = []

        async def mutate() -> None:
            made.append(await chain([blocks], thread=True).mutate(review()))

        tasks.start_soon(mutate)
        await anyio.wait_all_tasks_blocked()
        assert made == []
        go.set()
    assert made[0]["spec"]["size"] == 9


async def test_validators_that_wait_do_so_at_the_same_time_and_report_in_their_order() -> None:
    second_asked = anyio.Event()

    async def first(given: Review[Thing]) -> list[Cause]:
        await second_asked.wait()
        return [Cause("A")]

    def plain(given: Review[Thing]) -> list[Cause]:
        return [Cause("B")]

    async def second(given: Review[Thing]) -> list[Cause]:
        second_asked.set()
        return [Cause("C")]

    assert await chain((), [first, plain, second]).validate(review()) == [Cause("A"), Cause("B"), Cause("C")]


async def test_all_are_asked_also_when_one_refuses_outright() -> None:
    asked = []

    async def refuses(given: Review[Thing]) -> None:
        raise Forbidden("no")

    def breaks(given: Review[Thing]) -> None:
        asked.append("breaks")
        raise RuntimeError

    def last(given: Review[Thing]) -> list[Cause]:
        asked.append("last")
        return [Cause("A")]

    with pytest.raises(Forbidden):
        await chain((), [refuses, breaks, last]).validate(review())
    assert asked == ["breaks", "last"]


async def test_a_default_adds_and_never_overrides() -> None:
    def notes(given: Review[Thing]) -> Thing:
        return replace(given.new, spec=replace(given.new.spec, note="default", size=100))

    steps = chain((), (), None, [notes])
    assert (await steps.default(review(thing(size=2))))["spec"] == {"size": 2, "note": "default"}
    mine = thing(note="mine")
    assert await steps.default(review(mine)) is mine


async def test_what_a_mutator_changes_in_place_and_returns_counts() -> None:
    def in_place(given: Review[Thing]) -> Thing:
        given.new.metadata.labels["mine"] = "yes"
        return given.new

    document = thing()
    made = await chain([in_place]).mutate(review(document))
    assert made["metadata"]["labels"] == {"a": "b", "mine": "yes"}
    assert document["metadata"]["labels"] == {"a": "b"}


async def test_a_broken_object_passes_those_by_who_cannot_be_given_it() -> None:
    def odd(given: Review[Thing]) -> list[Cause]:
        return [Cause("A")]

    broken = thing(size="three")
    assert await chain((), [odd]).validate(review(broken), broken=True) == []
    assert await chain([odd]).mutate(review(broken), broken=True) is broken
    with pytest.raises(InternalError):
        await chain((), [odd]).validate(review(broken))
    assert await chain((), [odd]).validate(review(thing()), broken=True) == [Cause("A")]


async def test_notes_carry_the_name_of_who_made_them_and_changes_are_told_without_values() -> None:
    notes: dict[str, str] = {}
    told: list[tuple[str, Any, Any]] = []

    def labels(given: Review[Thing]) -> Thing:
        given.note("authorization.k8s.io/decision", "allow")
        return replace(given.new, spec=replace(given.new.spec, size=7))

    given = review()
    given = type(given)(
        *(getattr(given, name) for name in given.__struct_fields__[:5]), note=notes.__setitem__, changed=lambda *a: told.append(a)
    )
    await chain([labels]).mutate(given)
    assert notes == {"things.labels/authorization.k8s.io/decision": "allow"}
    assert [(by, before["spec"]["size"], after["spec"]["size"]) for by, before, after in told] == [("things.labels", 1, 7)]


# Versions


class OldSpec(Spec):
    """Sizes were texts, and there was no note."""

    length: str = ""


class OldThing(Resource[OldSpec, None]):
    """Thing as it was."""


def _upgraded(document: Document) -> Document:
    return {**document, "spec": {"size": int(document["spec"]["length"])}}


def _downgraded(document: Document) -> Document:
    return {**document, "spec": {"length": str(document["spec"]["size"])}}


WAYS = Ways(
    "Thing",
    {"t.example/v1": Form("new", node_of(Thing)), "t.example/v1alpha1": Form("old", node_of(OldThing))},
    (Step("old", "new", "t.upgraded", _upgraded), Step("new", "old", "t.downgraded", _downgraded)),
)
NEW = Version("t.example", "v1", "Thing", schema_of(Thing), Thing, ways=WAYS)
OLD = Version("t.example", "v1alpha1", "Thing", schema_of(OldThing), OldThing, ways=WAYS)


def conversions(model: type, version: Version) -> Conversion | None:
    return between(version, {Thing: NEW, OldThing: OLD}[model])


def longer(given: Review[OldThing]) -> OldThing:
    assert (given.new.api_version, given.new.kind) == ("t.example/v1alpha1", "Thing")
    return replace(given.new, spec=OldSpec(length=given.new.spec.length + "0"))


def noted(given: Review[Thing]) -> Thing:
    assert given.new.api_version == "t.example/v1"
    return replace(given.new, spec=replace(given.new.spec, note=f"size {given.new.spec.size}"))


def of_versions() -> Steps:
    mutators = [Handler("t.longer", OldThing, longer, "a.py:1"), Handler("t.noted", Thing, noted, "a.py:2")]
    steps = Chain([*mutators, mutators[0]], (), Log(), conversions=conversions).steps("UPDATE")
    assert steps is not None
    return steps


async def test_each_handler_is_called_with_its_own_version_and_all_that_they_changed_survives() -> None:
    new = thing(size=4) | {"extra": {"kept": True}}
    given = Review("UPDATE", new, thing(size=3), ADMIN, version=NEW)
    made = await of_versions().mutate(given)
    assert made == {**new, "spec": {"size": 400, "note": "size 40"}}


async def test_a_request_in_the_old_version_is_answered_in_it() -> None:
    old = {**thing(), "apiVersion": "t.example/v1alpha1", "spec": {"length": "4"}}
    steps = Chain(
        [Handler("t.grow", Thing, lambda given: replace(given.new, spec=replace(given.new.spec, size=5)), "a.py:1")],
        (),
        Log(),
        conversions=conversions,
    )
    created = steps.steps("CREATE")
    assert created is not None
    made = await created.mutate(Review("CREATE", old, None, ADMIN, version=OLD))
    assert made == {**old, "spec": {"length": "5"}}


async def test_a_converter_that_raises_is_a_failure_of_the_handler_that_needs_it() -> None:
    log = Log()
    steps = Chain((), [Handler("t.longer", OldThing, longer, "a.py:1")], log, conversions=conversions).steps("CREATE")
    assert steps is not None
    with pytest.raises(InternalError, match=r"converter t\.downgraded failed"):
        await steps.validate(Review("CREATE", {**thing(), "spec": {}}, None, ADMIN, version=NEW))


def test_versions_of_one_form_differ_by_their_name_alone() -> None:
    here, other = (Version("t.example", name, "Thing", schema_of(Thing), Thing) for name in ("v1", "v2"))
    assert between(here, here) is None
    way = between(here, other)
    assert way is not None
    assert way.there(thing()) == {**thing(), "apiVersion": "t.example/v2"}
    assert way.back(way.there(thing())) == thing()


def test_a_chain_asks_those_who_are_concerned() -> None:
    one = handler(raises(ValueError()), operations=("delete",))
    two = handler(raises(ValueError()), operations=("update",), subresources=("status", ""))
    made = Chain((), [one, two], Log())
    known = [
        (operation, part)
        for operation in ("CREATE", "UPDATE", "DELETE")
        for part in ("", "status", "scale")
        if made.steps(operation, part)
    ]
    assert known == [("UPDATE", ""), ("UPDATE", "status"), ("DELETE", "")]
