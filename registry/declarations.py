"""What a plugin says about an actor, as it was said: data only.

The vocabulary knows no actors; it carries their declarations from the plugin to whoever runs them. Nothing is checked here.
`actors.actor.from_declaration` checks, and its errors name `source`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Place(NamedTuple):
    """Names an object of a known kind. `namespace` is empty for what belongs to no namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Observation:
    """A kind that an actor looks at but does not own. Every change of such an object, status included, wakes keys of the actor.

    `to` maps an object of `model` to the objects of the actor's own kind that are to be woken: pairs of namespace and name. It is
    called with the object before and the object after a change, so that an object that moves from one to another wakes both.
    `label` says the same without a function: the value of that label is the name. Its namespace is that of the observed object, or
    the value of `namespace_label` (a label's value cannot hold `namespace/name`); a kind without namespaces is found all the same.
    Neither: the owners that its `metadata.ownerReferences` name (matched by uid).
    """

    model: type
    to: Callable[[Any], Iterable[tuple[str, str]]] | None = None
    label: str = ""
    namespace_label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorDeclaration:
    """An actor as a plugin declared it. Times are in seconds.

    name         what logs, Events and metrics call it; it acts as its service account, `skep-actor-<name>`
    model        the type of the objects that it reconciles and whose status it owns, in the version that it was written against
    reconcile    an async function, a plain function (run in a worker thread), or a class (see `actors.actor`)
    source       `file:line` of the function or class
    concurrency  how many objects are reconciled at once; never one object twice
    resync       every object is looked at again this often; None: only when something happens
    timeout      a run that takes longer is ended and counts as failed
    backoff      the wait before the first retry, and the longest wait: it doubles from one to the other
    observes     other kinds whose changes wake it: types, or `Observation`s
    writes       other kinds that it writes; its permissions come from this
    labels       a label selector: only objects that it matches are reconciled
    fields       a field selector, on metadata and spec: the same
    cleanup      called instead of reconcile when an object is being deleted; until it has succeeded, a finalizer holds the object
    finalizer    the name of that finalizer; empty: `skep.dev/<name>`
    """

    name: str
    model: type
    reconcile: Callable[..., Any]
    source: str = ""
    concurrency: int = 1
    resync: float | None = None
    timeout: float = 60.0
    backoff: tuple[float, float] = (0.5, 300.0)
    observes: Iterable[type | Observation] = ()
    writes: Iterable[type] = ()
    labels: str | Mapping[str, str] = ""
    fields: str | Mapping[str, str] = ""
    cleanup: Callable[..., Any] | None = None
    finalizer: str = ""


class DeclarationError(ValueError):
    """What was declared cannot work. One line, which begins with the file and line of the declaration."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(f"{source}: {message}" if source else message)
        self.source = source
