"""Converters tried on made-up values: there and back has to give the same.

Values are made from the schema of a version, small ones first, by a chance that is passed in; what the schema itself refuses is not
used. A pair of neighbours is tried from both sides. What is found:

* a converter raises, or makes what is no value of its version;
* a field comes back with another value, or not at all although both versions have one of that name;
* what came back is converted to something else than at first, so that the object would drift with every client that writes it.

What comes back missing because the other version has no field of that name is not wrong, since the server keeps it; it is told, so
that a field that was forgotten is noticed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from registry.kinds import Kind, Version
from registry.nodes import Node
from registry.resource import Struct
from registry.typed import from_document, to_document
from registry.views import body
from registry.ways import ConversionError, Step, Ways

Document = dict[str, Any]

TRIES = 200
DEEPEST = 6
TEXTS = ("", "a", "30s", "5", "https://a.example", "A", "2026-01-02T03:04:05Z", "a.example", "10.0.0.1")
NUMBERS = (0, 1, 2, 7, 30, 100, -1, 3600)


@dataclass(slots=True)
class Trial:
    """One version, by way of a neighbour and back. `wrong` says what went wrong, and `example` is a small value for it."""

    kind: str
    here: str
    there: str
    steps: tuple[Step, ...]
    tried: int = 0
    unheld: set[str] = field(default_factory=set)
    wrong: str = ""
    example: Document | None = None


def trials(kind: Kind, chance: random.Random, count: int = TRIES) -> Iterator[Trial]:
    """Tries all converters of a kind, in both directions. None for a kind of one shape."""
    ways = kind.storage.ways
    if ways is None or ways.exact:
        return
    versions = {version.model: version for version in reversed(kind.versions)}
    back = {(step.old, step.new): step for step in ways.steps}
    for step in ways.steps:
        here, there = versions[step.old], versions[step.new]  # type: ignore[index]
        yield _tried(Trial(kind.name, here.name, there.name, (step, back[step.new, step.old])), ways, here, there, chance, count)


def trial(kind: Kind, here: Version, there: Version, chance: random.Random, count: int = TRIES) -> Trial | None:
    """Tries the way from one version to another and back, however long it is. None: both have one shape."""
    ways = kind.storage.ways
    if ways is None or ways.exact or ways.same(here.api_version, there.api_version):
        return None
    return _tried(Trial(kind.name, here.name, there.name, ()), ways, here, there, chance, count)


def _tried(trial: Trial, ways: Ways, here: Version, there: Version, chance: random.Random, count: int) -> Trial:
    for size in range(count):
        document = _made(here, chance, size / count)
        if document is None:
            continue
        trial.tried += 1
        trial.wrong = _problem(ways, here, there, document, trial.unheld)
        if trial.wrong:
            trial.example = _smallest(ways, here, there, document)
            trial.wrong = _problem(ways, here, there, trial.example, set())
            break
    if not trial.tried:
        trial.wrong = f"no valid value of {here.name} could be made; give its fields examples: Meta(examples=[...])"
    return trial


def _problem(ways: Ways, here: Version, there: Version, document: Document, unheld: set[str]) -> str:
    """What is wrong with a value there and back; empty if nothing is. Fields that the other version does not have are noted."""
    try:
        other = ways.convert(document, there.api_version, quiet=True)
        again = ways.convert(other, here.api_version, quiet=True)
        twice = ways.convert(again, there.api_version, quiet=True)
    except ConversionError as error:
        said = error.message.rpartition(": ")[2]
        cause = error.__cause__
        return f"{said}: {type(cause).__name__}: {cause}" if cause is not None else said
    for path, was, now in _differences(body(document), body(again), ()):
        node = _at(here.schema.node, path)
        default = node.default if node is not None else UNSET
        if _at(there.schema.node, path) is None and (now is UNSET or now == default):
            unheld.add("." + ".".join(path))
        else:
            return f".{'.'.join(path)} was {_shown(was)} and came back as {_shown(now)}"
    for path, was, now in _differences(body(other), body(twice), ()):
        return f"what came back is not the same in {there.name}: .{'.'.join(path)} was {_shown(was)}, and then {_shown(now)}"
    return ""


def _shown(value: Any) -> str:
    return "nothing" if value is UNSET else repr(value)


def _differences(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key, UNSET), after.get(key, UNSET), (*path, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, (*path[:-1], f"{path[-1]}[{place}]"))
    elif type(before) is not type(after) or before != after:
        yield path, before, after


def _at(node: Node | None, path: tuple[str, ...]) -> Node | None:
    for step in path:
        name, *places = step.split("[")
        node = None if node is None else node.properties.get(name) or node.additional
        for _ in places:
            node = None if node is None else node.items
    return node


def _smallest(ways: Ways, here: Version, there: Version, document: Document) -> Document:
    """The document without all that can be left out of it, so that something is still wrong."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _without_one(document):
            valid = _valid(here, candidate)
            if valid is None or valid == document:
                continue
            if _problem(ways, here, there, valid, set()):
                document, smaller = valid, True
                break
    return document


def _without_one(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key in value:
            if key not in ("apiVersion", "kind", "metadata"):
                yield {other: item for other, item in value.items() if other != key}
                yield from ({**value, key: item} for item in _without_one(value[key]))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield value[:place] + value[place + 1 :]
            yield from ([*value[:place], less, *value[place + 1 :]] for less in _without_one(item))


def _made(version: Version, chance: random.Random, size: float) -> Document | None:
    """A valid object of a version; None: chance made none."""
    named = {key: node for key, node in version.schema.node.properties.items() if key not in ("apiVersion", "kind", "metadata")}
    for _ in range(20):
        parts = {key: _value(node, chance, size, 0) for key, node in named.items()}
        kept = {key: value for key, value in parts.items() if key in version.schema.node.required or chance.random() < 0.2 + size}
        document = {"apiVersion": version.api_version, "kind": version.kind, "metadata": {"name": "tried"}, **kept}
        valid = _valid(version, document)
        if valid is not None:
            return valid
    return None


def _valid(version: Version, document: Document) -> Document | None:
    """The document as its model writes it, without what says nothing (an empty list that is left out); None: it is not valid."""
    outcome = version.schema.apply(document)
    if outcome.causes or outcome.unknown or outcome.unreadable:
        return None
    model = version.model
    if model is None or not issubclass(model, Struct):
        return outcome.document
    return {**to_document(from_document(model)(outcome.document)), "metadata": document["metadata"]}


def _value(node: Node, chance: random.Random, size: float, depth: int) -> Any:
    known = [*node.enum, *node.examples, *([node.default] if node.has_default and node.default is not None else [])]
    if node.enum or (known and chance.random() < 0.5) or (node.pattern and known):
        return chance.choice(known)
    if node.properties or node.additional is not None or node.type == "object":
        return _object(node, chance, size, depth)
    if node.type == "array":
        least = node.min_items or 0
        count = least + (0 if depth > DEEPEST else chance.randint(0, round(3 * size)))
        return [_value(node.items or Node(preserve=True), chance, size, depth + 1) for _ in range(count)]
    if node.type == "boolean":
        return chance.random() < 0.5
    if node.type in ("integer", "number") or node.int_or_string:
        return _number(node, chance)
    return chance.choice(TEXTS)


def _object(node: Node, chance: random.Random, size: float, depth: int) -> Document:
    found = {
        key: _value(child, chance, size, depth + 1)
        for key, child in node.properties.items()
        if key in node.required or (depth <= DEEPEST and chance.random() < 0.2 + size)
    }
    if node.additional is not None:
        count = (node.min_properties or 0) + chance.randint(0, round(2 * size))
        found |= {f"key{number}": _value(node.additional, chance, size, depth + 1) for number in range(count)}
    return found


def _number(node: Node, chance: random.Random) -> float:
    least = node.minimum if node.minimum is not None else -(2.0**31)
    most = node.maximum if node.maximum is not None else 2.0**31
    fitting = [number for number in NUMBERS if least <= number <= most]
    number = chance.choice(fitting) if fitting and chance.random() < 0.7 else chance.uniform(least, most)
    if node.multiple_of:
        number = round(number / node.multiple_of) * node.multiple_of
    return round(number) if node.type != "number" else float(number)
