"""The handlers of a kind: order, what they are given, what becomes of what they return, and of what they raise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from admission.chain import Chain, Steps
from admission.identity import ADMIN
from admission.review import Review
from registry.errors import Cause, Forbidden, InternalError, Invalid
from registry.handlers import Handler
from registry.resource import Resource, Spec, Status, replace

pytestmark = pytest.mark.anyio

Document = dict[str, Any]


class ThingSpec(Spec):
    size: int = 1
    note: str | None = None


class ThingStatus(Status):
    ready: bool = False


class Thing(Resource[ThingSpec, ThingStatus]):
    """Thing is a kind."""


@dataclass(frozen=True)
class Log:
    """What was told to a log."""

    told: list[Document] = field(default_factory=list)

    def error(self, event: str, **values: Any) -> None:
        self.told.append({"event": event, **values})


def handler(function: Callable[..., Any], **options: Any) -> Handler:
    return Handler(f"things.{function.__name__}", Thing, function, "a.py:1", **options)


def chain(
    mutators: Sequence[Callable[..., Any]] = (),
    validators: Sequence[Callable[..., Any]] = (),
    log: Log | None = None,
    defaulters: Sequence[Callable[..., Any]] = (),
    **options: Any,
) -> Steps:
    """What there is to do for any write of the object itself."""
    handlers = [[handler(each, **options) for each in functions] for functions in (mutators, validators, defaulters)]
    made = Chain(*handlers[:2], log or Log(), defaulters=handlers[2])
    created, updated = made.steps("CREATE"), made.steps("UPDATE")
    assert (created is None) == (updated is None)
    return created or Steps((), (), ())


def review(new: Document | None = None, old: Document | None = None, **more: Any) -> Review[Document]:
    return Review("UPDATE" if old else "CREATE", new or thing(), old, ADMIN, **more)


def thing(**spec: Any) -> Document:
    return {
        "apiVersion": "t.example/v1",
        "kind": "Thing",
        "metadata": {"name": "a", "labels": {"a": "b"}},
        "spec": {"size": 1, **spec},
    }


def grow(given: Review[Thing]) -> Thing:
    return replace(given.new, spec=replace(given.new.spec, size=given.new.spec.size + 1))


def double(given: Review[Thing]) -> Thing:
    return replace(given.new, spec=replace(given.new.spec, size=given.new.spec.size * 2))


def leave(given: Review[Thing]) -> None:
    del given


async def slow_grow(given: Review[Thing]) -> Thing:
    await anyio.lowlevel.checkpoint()
    return grow(given)


@pytest.mark.parametrize(
    ("mutators", "size"),
    [([], 3), ([leave], 3), ([grow, double], 8), ([double, grow], 7), ([slow_grow, leave, double], 8)],
    ids=["none", "leave", "grow-double", "double-grow", "slow"],
)
async def test_each_mutator_is_given_what_the_one_before_returned(mutators: list[Callable[..., Any]], size: int) -> None:
    document = thing(size=3)
    made = await chain(mutators).mutate(review(document))
    assert made["spec"]["size"] == size
    assert document["spec"]["size"] == 3


async def test_what_a_mutator_leaves_out_is_gone_and_what_its_model_does_not_know_stays() -> None:
    def clear(given: Review[Thing]) -> Thing:
        return replace(given.new, spec=replace(given.new.spec, note=None), metadata=replace(given.new.metadata, labels={}))

    document = thing(note="x")
    document["metadata"] |= {"later": 1}
    document["more"] = {"a": 1}
    made = await chain([clear]).mutate(review(document))
    assert made == {
        "apiVersion": "t.example/v1",
        "kind": "Thing",
        "metadata": {"name": "a", "later": 1},
        "spec": {"size": 1},
        "more": {"a": 1},
    }


async def test_a_mutator_that_returns_what_it_was_given_changes_nothing() -> None:
    def same(given: Review[Thing]) -> Thing:
        return given.new

    document = {**thing(note="x"), "status": {"ready": True}}
    assert await chain([same]).mutate(review(document)) == document


async def test_all_validators_are_run_and_all_they_found_is_reported() -> None:
    def one(given: Review[Thing]) -> list[Cause]:
        return [Cause("A", "1"), Cause("B", "2")]

    async def another(given: Review[Thing]) -> tuple[Cause, ...]:
        return (Cause("C", "3"),)

    found = await chain((), [one, leave, another]).validate(review())
    assert [cause.reason for cause in found] == ["A", "B", "C"]


async def test_handlers_are_given_values_of_their_model_before_and_after() -> None:
    seen: list[Review[Thing]] = []

    def note(given: Review[Thing]) -> None:
        seen.append(given)

    await chain([note]).mutate(review(thing(size=2), thing(size=1), dry_run=True))
    [given] = seen
    assert isinstance(given.new, Thing)
    assert isinstance(given.old, Thing)
    assert (given.new.spec.size, given.old.spec.size, given.operation, given.dry_run) == (2, 1, "UPDATE", True)
    assert given.object is given.new
    assert given.identity == ADMIN


def raises(given: Review[Thing]) -> None:
    raise RuntimeError("secret")


def returns_a_dict(given: Review[Thing]) -> Any:
    return {"spec": {}}


def returns_a_text(given: Review[Thing]) -> Any:
    return "too small"


def returns_texts(given: Review[Thing]) -> Any:
    return ["too small"]


@pytest.mark.parametrize("broken", [raises, returns_a_dict, returns_a_text])
async def test_a_mutator_that_fails_is_named_and_its_message_is_kept_for_the_log(broken: Callable[..., Any]) -> None:
    log = Log()
    with pytest.raises(InternalError, match=f"admission handler things.{broken.__name__} failed") as caught:
        await chain([grow, broken], log=log).mutate(review())
    assert "secret" not in str(caught.value.status())
    assert [told["handler"] for told in log.told] == [f"things.{broken.__name__}"]
    assert isinstance(log.told[0]["exc_info"], Exception)


@pytest.mark.parametrize("broken", [raises, returns_a_text, returns_texts])
async def test_a_validator_that_fails_is_named_and_its_message_is_kept_for_the_log(broken: Callable[..., Any]) -> None:
    log = Log()
    with pytest.raises(InternalError, match=f"admission handler things.{broken.__name__} failed"):
        await chain((), [leave, broken], log).validate(review())
    assert len(log.told) == 1


async def test_an_object_that_the_model_cannot_read_any_more_is_a_failure_of_its_handler() -> None:
    with pytest.raises(InternalError, match=r"things\.grow failed"):
        await chain([grow]).mutate(review(thing(), {**thing(), "spec": {"size": "was a text once"}}))


@pytest.mark.parametrize("refusal", [Forbidden("no"), Invalid("Thing", "", "a", [Cause("A", "b")])], ids=["forbidden", "invalid"])
async def test_a_refusal_goes_out_as_it_is(refusal: Exception) -> None:
    def refuse(given: Review[Thing]) -> None:
        raise refusal

    log = Log()
    for act in (chain([refuse], log=log).mutate, chain((), [refuse], log).validate):
        with pytest.raises(type(refusal)) as caught:
            await act(review())
        assert caught.value is refusal
    assert log.told == []


async def test_a_request_that_is_cancelled_is_no_failure_of_a_handler() -> None:
    async def wait(given: Review[Thing]) -> None:
        await anyio.sleep_forever()

    log = Log()
    with anyio.move_on_after(0.01) as scope:
        await chain([wait], log=log).mutate(review())
    assert scope.cancelled_caught
    assert log.told == []


async def test_a_cancelled_request_ends_all_validators_that_wait() -> None:
    ended: list[str] = []

    async def wait(given: Review[Thing]) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("one")

    log = Log()
    task = asyncio.ensure_future(chain((), [wait, wait], log).validate(review()))
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (ended, log.told) == (["one", "one"], [])


def test_a_chain_says_what_there_is_to_do() -> None:
    assert (chain().changes, chain().validates) == (False, False)
    assert (chain([leave]).changes, chain((), (), None, [leave]).changes, chain((), [leave]).validates) == (True, True, True)
    assert Chain((), (), Log()).steps("CREATE") is None


def test_a_handler_takes_the_review_alone() -> None:
    def two(given: Review[Thing], more: int) -> None: ...

    with pytest.raises(TypeError, match=r"a.py:1: things.two takes one argument, the review"):
        chain([two])
