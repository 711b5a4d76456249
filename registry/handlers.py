"""Admission handlers as a plugin declares them: what they are asked about, in which order, and how long they may take.

The order is one for all plugins: by `order`, then by the order in which the plugins are given to the server, then by that of the
declarations. What is wrong with a declaration is found when the registry is built.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Operation = Literal["create", "update", "delete"]
Role = Literal["mutates", "defaults", "validates"]

OPERATIONS = ("create", "update", "delete")
WRITES: tuple[Operation, ...] = ("create", "update")
OBJECT = ""
"""The name of the object itself among its subresources."""
TIMEOUT = 10.0
"""Seconds that a handler may take, if it does not say."""
LONGEST = 300.0


@dataclass(frozen=True, slots=True)
class Handler:
    """An admission handler as a plugin declared it.

    name             what logs, errors and the audit log call it: `<plugin>.<function>`
    model            the type of what it is given, in the version that it was written against
    function         takes the review; async or plain
    source           `file:line`, for errors
    operations       `create`, `update` (patches too), `delete`: what it is asked about
    subresources     the same, by name; empty text: the object itself
    order            lower ones first
    timeout_seconds  a longer run is ended, and is a failure; None: the default. A plain function can only be held to it in a thread
    thread           a plain function that waits for something: it is called in a worker thread, and nobody else waits
    """

    name: str
    model: type
    function: Callable[..., Any]
    source: str
    operations: tuple[str, ...] = WRITES
    subresources: tuple[str, ...] = (OBJECT,)
    order: int = 0
    timeout_seconds: float | None = None
    thread: bool = False

    @property
    def limit(self) -> float:
        """Seconds that it may take."""
        return TIMEOUT if self.timeout_seconds is None else self.timeout_seconds


def texts(given: str | Iterable[str]) -> tuple[str, ...]:
    """One text or several, as several."""
    return (given,) if isinstance(given, str) else tuple(given)


def in_order(handlers: Iterable[Handler]) -> tuple[Handler, ...]:
    """The handlers as they are called; they are given in the order of their declaration."""
    return tuple(sorted(handlers, key=lambda handler: handler.order if isinstance(handler.order, int) else 0))


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call of it gives something to be awaited, as far as one can see."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def problems(handler: Handler, role: Role, subresources: Collection[str]) -> list[str]:
    """What is wrong with a handler of a kind that has these subresources, one line each."""
    found = []
    unknown = [each for each in handler.operations if each not in OPERATIONS]
    if unknown:
        found.append(f"operations={unknown[0]!r} is none; there are {', '.join(OPERATIONS)}")
    if not handler.operations:
        found.append("operations is empty: it would never be called")
    if "delete" in handler.operations and role != "validates":
        found.append(f"on a delete nothing is stored, so there is nothing that {role} it; use @plugin.validates to refuse one")
    if "delete" in handler.operations and set(handler.subresources) != {OBJECT}:
        found.append("only objects are deleted, not what is below them: operations='delete' goes with subresources=''")
    if type(handler.order) is not int:
        found.append(f"order={handler.order!r} is no whole number")
    missing = [each for each in handler.subresources if each != OBJECT and each not in subresources]
    if missing:
        there = ", ".join(sorted(subresources)) or "none"
        found.append(f"the kind has no subresource {missing[0]!r} (it has {there})")
    if not handler.subresources:
        found.append("subresources is empty: it would never be called; leave it out for the object itself")
    return [f"{handler.source}: {handler.name}: {each}" for each in (*found, *_time_problems(handler))]


def _time_problems(handler: Handler) -> list[str]:
    limit = handler.timeout_seconds
    if limit is not None and not (isinstance(limit, int | float) and math.isfinite(limit) and 0 < limit <= LONGEST):
        return [f"timeout_seconds={limit!r} is no number above 0 up to {LONGEST:g}"]
    waits = is_async(handler.function)
    if handler.thread and waits:
        return ["thread=True is for plain functions; an async one runs in the event loop"]
    if limit is not None and not waits and not handler.thread:
        return ["a plain function in the event loop cannot be ended: make it async, or say thread=True"]
    return []
