"""Converters tried on made-up values: what is right passes, and what is wrong is shown by a small value."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from typer.testing import CliRunner

from apiserver.cli import app
from registry.plugin import Plugin, build
from registry.resource import Meta, Resource, Spec, Struct
from registry.trying import Trial, trials


class Limit(Struct):
    name: str
    most: int = 0


class OldSpec(Spec):
    interval: Annotated[str, Meta(pattern="^[0-9]+s$", examples=["1s", "90s"])] = "30s"
    limits: list[Limit] | None = None
    hint: str | None = None
    note: str | None = None


class NewSpec(Spec):
    seconds: int = 30
    ceilings: dict[str, int] | None = None
    note: str | None = None


class Old(Resource[OldSpec, None]):
    """Old."""


class New(Resource[NewSpec, None]):
    """New."""


def upgrade(old: Old) -> New:
    limits = None if old.spec.limits is None else {limit.name: limit.most for limit in old.spec.limits}
    return New(spec=NewSpec(seconds=int(old.spec.interval[:-1]), ceilings=limits, note=old.spec.note))


def downgrade(new: New) -> Old:
    limits = None if new.spec.ceilings is None else [Limit(name=name, most=most) for name, most in new.spec.ceilings.items()]
    return Old(spec=OldSpec(interval=f"{new.spec.seconds}s", limits=limits, note=new.spec.note))


def tried(up: Callable[[Old], New] = upgrade, down: Callable[[New], Old] = downgrade) -> dict[str, Trial]:
    plugin = Plugin("p")
    for model, version in ((New, "v1"), (Old, "v1alpha1")):
        plugin.kind(model, group="t.example", version=version, plural="things", kind="Thing")
    plugin.converts(Old, New)(up)
    plugin.converts(New, Old)(down)
    [kind] = build([plugin]).kinds
    return {trial.here: trial for trial in trials(kind, random.Random(0))}


def simple(old: Old) -> New:
    return New(spec=NewSpec(seconds=int(old.spec.interval[:-1]), note=old.spec.note))


def back(new: New) -> Old:
    return Old(spec=OldSpec(interval=f"{abs(new.spec.seconds)}s", note=new.spec.note))


def test_a_list_that_a_mapping_cannot_hold_is_found_by_a_short_one() -> None:
    trial = tried()["v1alpha1"]
    assert trial.wrong.startswith(".spec.limits")
    assert trial.example is not None
    assert len(trial.example["spec"]["limits"]) == 2
    assert "hint" not in trial.example["spec"]


def test_a_number_that_drifts_is_found() -> None:
    trial = tried(lambda old: New(spec=NewSpec(seconds=int(old.spec.interval[:-1]) + 1, note=old.spec.note)), back)["v1alpha1"]
    assert trial.wrong == ".spec.interval was '30s' and came back as '31s'"
    assert trial.example is not None


def test_a_converter_that_raises_is_named_with_what_it_raised() -> None:
    def raises(old: Old) -> New:
        if old.spec.interval == "90s":
            raise ArithmeticError("too long")
        return simple(old)

    trial = tried(raises, back)["v1alpha1"]
    assert trial.wrong == "converter p.raises failed: ArithmeticError: too long"
    assert trial.example is not None
    assert trial.example["spec"] == {"interval": "90s"}


def test_what_the_other_version_does_not_have_is_told_and_is_not_wrong() -> None:
    trial = tried(simple, back)["v1alpha1"]
    assert not trial.wrong
    assert ".spec.hint" in trial.unheld
    assert trial.tried > 100


def test_a_field_that_was_forgotten_although_both_have_it_is_found() -> None:
    trial = tried(lambda old: New(spec=NewSpec(seconds=int(old.spec.interval[:-1]))), back)["v1alpha1"]
    assert trial.wrong.startswith(".spec.note was")
    assert trial.wrong.endswith("and came back as nothing")


def test_the_same_chance_finds_the_same() -> None:
    one, other = tried()["v1alpha1"], tried()["v1alpha1"]
    assert (one.example, one.wrong) == (other.example, other.wrong)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["registry", "check", *arguments])


PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_command_shows_a_counterexample_that_a_person_can_read(seed: str, tmp_path: Path) -> None:
    file = tmp_path / "gauges_plugin.py"
    file.write_text("from tests.plugins.gauges import plugin as make\nplugin = make()\n")
    result = run("--plugin", str(file), "--seed", seed)
    assert result.exit_code == 1
    assert "gauges.gauges.example: v1, v1beta1, v1alpha1, stored as v1" in result.output
    assert "v1alpha1 -> v1beta1 -> v1alpha1: WRONG: " in result.output
    assert "v1beta1 does not have .spec.headers" in result.output
    assert "gauges.to_seconds at " in result.output
    assert "gauges.py:" in result.output
    assert "spec:\n" in result.output
    assert "interval: " in result.output


def test_a_kind_of_one_shape_is_well() -> None:
    result = run("--plugin", str(PLUGINS / "reference.py"))
    assert (result.exit_code, "widgets.reference.example.com: v1, v1beta1, stored as v1" in result.output) == (0, True)
