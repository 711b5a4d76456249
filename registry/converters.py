"""Converters as plugins declare them, and the ways that they are between the versions of a kind.

Everything that is wrong with them is found when the registry is built, and told with the file and line and what to do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from registry.handlers import is_async
from registry.typed import node_of
from registry.ways import Form, Step, Ways, routes, typed_step


@dataclass(frozen=True, slots=True)
class Converter:
    """A function from values of one version's model to values of another's. `name` is what errors call it."""

    name: str
    old: type
    new: type
    function: Callable[..., Any]
    source: str

    @property
    def problem(self) -> str:
        """What is wrong with the function by itself; empty if nothing is."""
        if is_async(self.function):
            return "a converter is a plain function: it computes, and waits for nothing"
        if self.old is self.new:
            return f"it converts {self.old.__name__} to itself; versions of one model need no converter"
        try:
            inspect.signature(self.function).bind(object())
        except TypeError:
            return "a converter takes one argument, the object in the old version"
        except ValueError:  # a builtin that does not tell
            return ""
        return ""


@dataclass(frozen=True, slots=True)
class Declared:
    """A version that needs ways: its apiVersion, its name, its model, and where it was declared."""

    api_version: str
    name: str
    model: type
    source: str


def sort_out(converters: Iterable[Converter], kinds: Mapping[type, str]) -> tuple[dict[str, list[Converter]], list[str]]:
    """The converters of each kind, and what is wrong with each by itself. `kinds` are the resources by model."""
    found: dict[str, list[Converter]] = {}
    problems: list[str] = []
    seen: dict[tuple[type, type], Converter] = {}
    for each in converters:
        twin = seen.setdefault((each.old, each.new), each)
        strangers = [model.__name__ for model in (each.old, each.new) if model not in kinds]
        problem = each.problem
        if not problem and strangers:
            problem = f"{strangers[0]} is not declared as a version of a kind; declare it with plugin.kind"
        elif not problem and kinds[each.old] != kinds[each.new]:
            problem = (
                f"{each.old.__name__} is a {kinds[each.old]}, and {each.new.__name__} a {kinds[each.new]}: these are two kinds"
            )
        elif not problem and twin is not each:
            problem = f"{twin.name} at {twin.source} converts {each.old.__name__} to {each.new.__name__} already; keep one of them"
        if problem:
            problems.append(f"{each.source}: {each.name}: {problem}")
        else:
            found.setdefault(kinds[each.old], []).append(each)
    return found, problems


def ways_of(kind: str, versions: Sequence[Declared], converters: Sequence[Converter]) -> tuple[Ways | None, list[str]]:
    """The ways between the versions of a kind, which are given with the preferred ones first, and what is wrong with them. None:
    all have one shape."""
    models = list(dict.fromkeys(version.model for version in versions))
    if len(models) == 1:
        return None, []
    steps = [typed_step(each.old, each.new, each.name, each.function, each.source) for each in converters]
    problems = _one_way(converters) or _gaps(kind, versions, steps) or _ambiguous(kind, versions, steps)
    forms = {version.api_version: Form(version.model, node_of(version.model)) for version in versions}
    return Ways(kind, forms, steps), problems


def _one_way(converters: Sequence[Converter]) -> list[str]:
    """Every converter has its way back: else the way there and the way back would be different ones, round a circle."""
    pairs = {(each.old, each.new) for each in converters}
    return [
        f"{each.source}: {each.name} converts {each.old.__name__} to {each.new.__name__}, and nothing converts back; "
        f"declare @plugin.converts({each.new.__name__}, {each.old.__name__})"
        for each in converters
        if (each.new, each.old) not in pairs
    ]


def _gaps(kind: str, versions: Sequence[Declared], steps: Sequence[Step]) -> list[str]:
    """Every version reaches every other. Named are the neighbours that are not joined: with these, all are."""
    known = routes(steps)
    return [
        f"{older.source}: {kind}: no converters lead from {older.name} ({older.model.__name__}) to {newer.name} "
        f"({newer.model.__name__}) and back; declare @plugin.converts({older.model.__name__}, {newer.model.__name__}) and "
        f"@plugin.converts({newer.model.__name__}, {older.model.__name__})"
        for newer, older in pairwise(versions)
        if older.model is not newer.model and (older.model, newer.model) not in known
    ]


def _ambiguous(kind: str, versions: Sequence[Declared], steps: Sequence[Step]) -> list[str]:
    """Between two versions one way is the shortest. If two are, nothing says which of them is meant."""
    models = list(dict.fromkeys(version.model for version in versions))
    named = {version.model: version for version in reversed(versions)}
    known = routes(steps)
    problems = []
    for place, new in enumerate(models):
        for old in models[place + 1 :]:
            found = known[old, new]
            if len(found) > 1:
                said = " and by ".join(", ".join(step.name for step in way) for way in found[:2])
                problems.append(
                    f"{named[old].source}: {kind}: from {named[old].name} to {named[new].name} lead ways of the same length, by "
                    f"{said}; declare @plugin.converts({old.__name__}, {new.__name__}) and back, or take one converter out"
                )
    return problems
