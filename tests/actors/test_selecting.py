"""Selectors on the own kind, and observed objects that name an own one by a label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors import Client, Done, Observation, Outcome, Place, Run, Wake
from actors.selecting import selection
from registry.resource import replace
from registry.typed import to_document
from tests.actors.world import Job, JobStatus, Part, Stage, job, settled

pytestmark = pytest.mark.anyio

Seen = list[tuple[str, Wake]]


def noting() -> tuple[Seen, Callable[..., Any]]:
    seen: Seen = []

    async def note(obj: Job, client: Client, run: Run) -> Outcome:
        seen.append((obj.metadata.name, run.wake))
        return Done(JobStatus(seen=obj.spec.size))

    return seen, note


def labelled(name: str, size: int = 1, **labels: str) -> dict[str, Any]:
    made = job(name, size)
    return to_document(replace(made, metadata=replace(made.metadata, labels=labels)))


@pytest.mark.parametrize("selectors", [{"labels": "tier in (gold)"}, {"labels": {"tier": "gold"}}, {"fields": "spec.size=5"}])
async def test_only_what_matches_is_reconciled_and_entering_and_leaving_are_edges(stage: Stage, selectors: dict[str, Any]) -> None:
    def into(matches: bool) -> dict[str, Any]:
        tier, size = ("gold", 5) if matches else ("tin", 1)
        return {"metadata": {"labels": {"tier": tier}}, "spec": {"size": size}}

    stage.world.put(Job, labelled("in", 5, tier="gold"))
    stage.world.put(Job, labelled("out"))
    seen, note = noting()
    async with stage.running(note, **selectors, resync=100) as runner:
        assert seen == [("in", Wake.DESIRED)]
        stage.world.change("out", metadata={"annotations": {"a": "b"}})
        await settled()
        assert len(seen) == 1, "what does not match wakes nobody"
        stage.world.change("out", **into(True))
        await settled()
        assert seen[1:] == [("out", Wake.DESIRED)]
        assert runner.snapshot().objects == 2
        stage.world.change("in", **into(False))
        await settled()
        assert runner.snapshot().objects == 1
        assert runner.snapshot().totals["gone"] == 1, "leaving is an edge, after which nothing is left to do"
        await stage.clock.advance(100)
        assert [name for name, _ in seen[2:]] == ["out"], "no resync for what has left"
        stage.world.change("in", **into(True))
        await settled()
        assert seen[-1] == ("in", Wake.DESIRED)


async def test_what_left_while_nobody_looked_is_not_reconciled(stage: Stage) -> None:
    stage.world.put(Job, labelled("a", tier="gold"))
    stage.world.put(Job, labelled("b", tier="gold"))
    seen, note = noting()
    async with stage.running(note, labels="tier=gold") as runner:
        stage.world.deaf = True
        stage.world.change("a", metadata={"labels": {"tier": "tin"}})
        stage.world.horizon = stage.world.revision
        stage.world.cut()
        await stage.clock.advance(5)
        assert runner.snapshot().objects == 1
        stage.world.change("a", spec={"size": 9})
        await settled()
        assert len(seen) == 2


async def test_duplicated_changes_are_entered_and_left_once(stage: Stage) -> None:
    stage.world.stutters = True
    seen, note = noting()
    async with stage.running(note, labels="tier") as runner:
        stage.world.deaf = True
        stage.world.put(Job, labelled("a", tier="gold"))
        stage.world.change("a", metadata={"labels": {"tier": None}})
        stage.world.put(Job, labelled("b", tier="gold"))
        stage.world.hear()
        await settled()
        assert [name for name, _ in seen] == ["b"]
        assert runner.snapshot().objects == 1


async def test_what_left_is_cleaned_up_when_it_is_deleted_and_not_before(stage: Stage) -> None:
    """An object that is held by somebody who no longer looks at it can never go."""
    cleaned: list[str] = []

    async def cleanup(obj: Job, client: Client) -> None:
        cleaned.append(obj.metadata.name)

    stage.world.put(Job, labelled("a", tier="gold"))
    stage.world.put(Job, labelled("never"))
    seen, note = noting()
    async with stage.running(note, labels="tier=gold", cleanup=cleanup):
        stage.world.change("a", metadata={"labels": {"tier": "tin"}})
        await settled()
        assert (cleaned, stage.world.job("a")["metadata"]["finalizers"]) == ([], ["skep.dev/test"])
        stage.world.ask_to_delete(Job, Place("shop", "a"))
        stage.world.ask_to_delete(Job, Place("shop", "never"))
        await settled()
        assert cleaned == ["a"]
        assert not stage.world.objects
        assert len(seen) == 1


@pytest.mark.parametrize(
    ("labels", "fields", "says"),
    [
        ("a in b", "", "found 'b' expected: '('"),
        ("", "spec.nothing=1", "cannot select by the field 'spec.nothing' of Job"),
        ("", "status.seen=1", "cannot select by the field 'status.seen' of Job"),
        ("", "metadata.labels=1", "cannot select by the field 'metadata.labels' of Job"),
        ("", "spec=1", "cannot select by the field 'spec' of Job"),
        ("", "size", "can't understand 'size'"),
        (5, "", "labels is 5; it must be a selector"),
    ],
)
def test_a_selector_that_selects_nothing_sensible_is_refused(labels: Any, fields: Any, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        selection(Job, labels, fields, "skep.dev/x")
    assert says in str(caught.value)


# Observations by label.


def part(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "labels": labels}, "spec": {}}


async def test_an_observed_object_wakes_the_one_that_its_label_names_before_and_after_a_change(stage: Stage) -> None:
    for name in ("a", "b", "c"):
        stage.world.put(Job, to_document(job(name)))
    seen, note = noting()
    async with stage.running(note, observes=[Observation(Part, label="shop.example/job")]):
        seen.clear()
        stage.world.put(Part, part("p", {"shop.example/job": "a"}))
        await settled()
        assert seen == [("a", Wake.OBSERVED)]
        stage.world.put(Part, part("p", {"shop.example/job": "b"}))
        await settled()
        assert sorted(seen[1:]) == [("a", Wake.OBSERVED), ("b", Wake.OBSERVED)], "it moved: both have to know"
        stage.world.remove(Part, Place("shop", "p"))
        await settled()
        assert seen[3:] == [("b", Wake.OBSERVED)]


@pytest.mark.parametrize("labels", [{}, {"other": "a"}, {"job": ""}, {"job": "nobody"}, {"job": "a", "space": "elsewhere"}])
async def test_a_label_that_names_nothing_that_is_there_wakes_nobody(stage: Stage, labels: dict[str, str]) -> None:
    stage.world.put(Job, to_document(job("a")))
    seen, note = noting()
    async with stage.running(note, observes=[Observation(Part, label="job", namespace_label="space")]) as runner:
        seen.clear()
        stage.world.put(Part, part("p", labels))
        await settled()
        assert seen == []
        assert "gone" not in runner.snapshot().totals


async def test_a_label_may_name_an_object_of_another_namespace_or_of_none(stage: Stage) -> None:
    stage.world.put(Job, to_document(job("a", namespace="other")))
    stage.world.put(Job, to_document(job("wide", namespace="")))
    seen, note = noting()
    async with stage.running(note, observes=[Observation(Part, label="job", namespace_label="space")]):
        seen.clear()
        for name, labels in (("p", {"job": "a", "space": "other"}), ("q", {"job": "wide"})):
            stage.world.put(Part, part(name, labels))
        await settled()
        assert seen == [("a", Wake.OBSERVED), ("wide", Wake.OBSERVED)]
