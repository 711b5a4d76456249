"""What an actor is: the kind that it owns, how it reconciles, and when it is run.

A reconcile takes the newest object and a client, and drives the difference between what is wanted and what is to zero:

    @plugin.actor(Probe)
    async def check(probe: Probe, client: Client) -> Outcome:
        seen = await look(probe.spec.url)
        return Again(probe.spec.interval_seconds, ProbeStatus(ready=seen.ok))

It may be called at any time, any number of times, for an object that is as it was: it acts on the state, never on the change. It
returns `Done` or `Again(seconds)`, either with the new status; it raises `Terminal` when only a change of the object can help, and
anything else when it failed and is to be tried again. It may take a third argument, `run: Run`, which knows why it was woken.

A plain function does the same in a worker thread, with a client whose calls block. A class is made once when the actor starts; it
has `reconcile` like the above, and may have `setup(client)`, `teardown()` and `cleanup`.

What an actor makes outside of the API is taken away by `cleanup`, a function (or method) like the reconcile, which is called in its
place when the object is being deleted. Before the first run a finalizer is put on the object; it is taken off when cleanup returned
`Done`, and only then the object goes.

`from_declaration` checks all of this before anything runs.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from actors.client import Client
from actors.permissions import Permission, permissions
from actors.selecting import Selection, selection
from actors.workqueue import Backoff, Wake
from registry.actors import user_of
from registry.declarations import ActorDeclaration, DeclarationError, Observation, Place
from registry.names import qualified_name
from registry.resource import Condition, set_condition
from registry.times import format_time


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do until something happens. `status` is the whole new status; None leaves it as it is."""

    status: Any = None


@dataclass(frozen=True, slots=True)
class Again:
    """Look again in that many seconds, or before if something happens. `status` as in `Done`."""

    seconds: float
    status: Any = None


Outcome = Done | Again
"""What a run came to. Returning None means `Done()`."""


class Terminal(Exception):
    """Trying again cannot help: no retry until the object changes. Shown in an Event and, if there are any, in the conditions.

    `reason` is one CamelCase word for machines, `message` a sentence for people; neither may hold a secret.
    """

    def __init__(self, reason: str, message: str = "", *, status: Any = None) -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a reconcile, for whoever asks.

    `wake` says why (several reasons may have come together). `attempt` is 1 for the first try and counts on with each failure.
    `tell` records a core/v1 Event about the object, as in `run.tell("Fetched", "200 in 12 ms")`. `generation` is that of the
    object; `time` is when the run began, in seconds since 1970, by the clock that the actor runs on. `epoch` grows with each change
    of the process that runs the actor: what is outside of the API can tell by it which of two is older (0: there is no election).
    """

    place: Place
    wake: Wake
    attempt: int
    tell: Tell
    generation: int | None = None
    time: float = 0.0
    epoch: int = 0

    def condition(
        self, before: Sequence[Condition], type: str, holds: bool | None, reason: str, message: str = ""
    ) -> tuple[Condition, ...]:
        """The conditions with the one of this type as it was found in this run: that it holds, does not, or (None) is not known.

        It says for which generation it was found. When it changed is `now` only if it did.
        """
        status: Literal["True", "False", "Unknown"] = "Unknown" if holds is None else "True" if holds else "False"
        found = Condition(type=type, status=status, reason=reason, message=message, observed_generation=self.generation)
        return set_condition(before, found, format_time(self.time))


class Tell(typing.Protocol):
    """Records an Event about the object of a run; `warning` for what somebody should see. Repeats are folded into a count."""

    def __call__(self, reason: str, message: str, *, warning: bool = False) -> None: ...


Reconcile = Callable[..., Awaitable[Outcome | None] | Outcome | None]
"""(object, client) or (object, client, run), async or plain. `Any` is admitted here: a table of actors cannot be typed tighter."""


@dataclass(frozen=True, slots=True)
class Live:
    """What runs while an actor runs: its reconcile, and what a class does before the first and after the last of them."""

    reconcile: Reconcile
    setup: Callable[[Client], Any] | None = None
    teardown: Callable[[], Any] | None = None
    cleanup: Reconcile | None = None


class Shape(NamedTuple):
    """How a function is to be called: in a worker thread, as it is a plain one; with a `Run` as a third argument."""

    threaded: bool
    takes_run: bool


@dataclass(frozen=True, slots=True)
class Actor:
    """A checked actor. The fields are those of `ActorDeclaration`, and besides: `start` makes what is run, `threaded` says that its
    reconcile is a plain function, `takes_run` that it wants a `Run`; `cleanup` says the same of its cleanup."""

    name: str
    model: type
    start: Callable[[], Live]
    threaded: bool
    takes_run: bool
    concurrency: int = 1
    resync: float | None = None
    timeout: float = 60.0
    backoff: Backoff = field(default_factory=Backoff)
    observes: tuple[Observation, ...] = ()
    writes: tuple[type, ...] = ()
    source: str = ""
    cleanup: Shape | None = None
    finalizer: str = ""
    selection: Selection | None = None

    @property
    def identity(self) -> str:
        """The user name under which it acts: that of its service account."""
        return user_of(self.name)

    def permissions(self) -> tuple[Permission, ...]:
        """All that it has to be allowed, made of what it owns, observes and writes."""
        return permissions(self.model, [each.model for each in self.observes], self.writes)


def from_declaration(declaration: ActorDeclaration) -> Actor:
    """Checks what a plugin declared. Raises DeclarationError, which names file and line."""
    refuse = _Refusal(declaration)
    _check_numbers(declaration, refuse)
    _check_kinds(declaration, refuse)
    target = declaration.reconcile
    is_class = inspect.isclass(target)
    function = getattr(target, "reconcile", None) if is_class else target
    if not callable(function):
        refuse(
            f"class {target.__name__} needs a method: async def reconcile(self, object, client)" if is_class else "is not callable"
        )
    shape = _shape(declaration, function, refuse, skip=1 if is_class else 0)
    if is_class:
        _check_class(target, refuse)
    finalizer = _finalizer(declaration, refuse)
    return Actor(
        name=declaration.name,
        model=declaration.model,
        start=_starter(target, declaration.cleanup, is_class=is_class),
        threaded=shape.threaded,
        takes_run=shape.takes_run,
        concurrency=declaration.concurrency,
        resync=declaration.resync,
        timeout=declaration.timeout,
        backoff=Backoff(*declaration.backoff),
        observes=tuple(each if isinstance(each, Observation) else Observation(each) for each in declaration.observes),
        writes=tuple(declaration.writes),
        source=declaration.source,
        cleanup=_cleanup(declaration, refuse),
        finalizer=finalizer,
        selection=_selection(declaration, finalizer, refuse),
    )


class _Refusal:
    """Raises what is wrong with a declaration, in one line that says where."""

    def __init__(self, declaration: ActorDeclaration) -> None:
        self._declaration = declaration

    def __call__(self, message: str) -> typing.NoReturn:
        raise DeclarationError(self._declaration.source, f"actor {self._declaration.name!r}: {message}")


def _check_numbers(declaration: ActorDeclaration, refuse: _Refusal) -> None:
    for option in ("concurrency", "timeout", "resync"):
        value = getattr(declaration, option)
        if not (_is_number(value) or (option == "resync" and value is None)):
            refuse(f"{option} is {value!r}; it must be a number")
    if declaration.concurrency != int(declaration.concurrency) or declaration.concurrency < 1:
        refuse(f"concurrency is {declaration.concurrency}; it must be at least 1, and whole")
    if declaration.timeout <= 0:
        refuse(f"timeout is {declaration.timeout:g} s; it must be more than 0")
    if declaration.resync is not None and declaration.resync <= 0:
        refuse(f"resync is {declaration.resync:g} s; it must be more than 0, or None for never")
    if not (
        isinstance(declaration.backoff, tuple | list)
        and len(declaration.backoff) == 2
        and all(map(_is_number, declaration.backoff))
    ):
        refuse(f"backoff is {declaration.backoff!r}; it must be the first wait and the longest wait, in seconds")
    base, limit = declaration.backoff
    if not 0 < base <= limit:
        refuse(f"backoff is ({base:g}, {limit:g}); it must be the first wait and the longest wait, in seconds")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_kinds(declaration: ActorDeclaration, refuse: _Refusal) -> None:
    for option in ("observes", "writes"):
        if not isinstance(getattr(declaration, option), list | tuple | set | frozenset):
            refuse(f"{option}={getattr(declaration, option)!r} must be a list, as in {option}=[Kind]")
    for each in declaration.observes:
        model = each.model if isinstance(each, Observation) else each
        if not inspect.isclass(model):
            refuse(f"observes {model!r}; it must be a kind's type, or Observation(type, to=function)")
        if isinstance(each, Observation):
            _check_observation(each, refuse)
    for model in declaration.writes:
        if not inspect.isclass(model):
            refuse(f"writes {model!r}; it must be a kind's type")


def _check_observation(observation: Observation, refuse: _Refusal) -> None:
    name = observation.model.__name__
    if observation.to is not None and observation.label:
        refuse(f"Observation({name}): objects are found by to=... or by label=..., not by both")
    if observation.to is not None and not callable(observation.to):
        refuse(f"Observation({name}, to={observation.to!r}): to must be a function that gives pairs of namespace and name")
    if observation.namespace_label and not observation.label:
        refuse(f"Observation({name}): namespace_label={observation.namespace_label!r} goes with label=..., which names the object")
    for label in filter(None, (observation.label, observation.namespace_label)):
        for problem in qualified_name(label):
            refuse(f"Observation({name}): label {label!r}: {problem}")


def _shape(
    declaration: ActorDeclaration, function: Callable[..., Any], refuse: _Refusal, *, skip: int, role: str = "reconcile"
) -> Shape:
    """How a reconcile or a cleanup is called."""
    parameters = _parameters(function, refuse, skip, role)
    _check_object_type(declaration, function, parameters[0], refuse)
    return Shape(threaded=not _is_async(function), takes_run=len(parameters) == 3)


def _cleanup(declaration: ActorDeclaration, refuse: _Refusal) -> Shape | None:
    target = declaration.reconcile
    method = getattr(target, "cleanup", None) if inspect.isclass(target) else None
    if method is not None and declaration.cleanup is not None:
        refuse(f"class {target.__name__} has a method cleanup; leave out cleanup=...")
    function = method if method is not None else declaration.cleanup
    if function is None:
        return None
    if not callable(function) or inspect.isclass(function):
        refuse(f"cleanup is {function!r}; it must be a function that takes (object, client) or (object, client, run)")
    return _shape(declaration, function, refuse, skip=0 if method is None else 1, role="cleanup")


def _finalizer(declaration: ActorDeclaration, refuse: _Refusal) -> str:
    if not isinstance(declaration.finalizer, str):
        refuse(f"finalizer is {declaration.finalizer!r}; it must be a name, as in 'shop.example/goods'")
    chosen = declaration.finalizer or f"skep.dev/{declaration.name}"
    for problem in qualified_name(chosen):
        if not declaration.finalizer and _cleanup(declaration, refuse) is None:
            return ""  # no object can ever have had one of this name
        refuse(f"finalizer {chosen!r}: {problem}")
    if "/" not in chosen:
        refuse(f"finalizer {chosen!r} needs a domain of yours before it, as in 'shop.example/{chosen}'")
    return chosen


def _selection(declaration: ActorDeclaration, finalizer: str, refuse: _Refusal) -> Selection | None:
    try:
        return selection(declaration.model, declaration.labels, declaration.fields, finalizer)
    except ValueError as error:
        refuse(str(error))


def _parameters(function: Callable[..., Any], refuse: _Refusal, skip: int, role: str) -> list[inspect.Parameter]:
    """The two or three arguments that a reconcile, or a cleanup, takes."""
    try:
        declared = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):
        refuse("has no signature that could be read; declare a function")
    taken = [each for each in declared if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    extra = [each for each in taken[3:] if each.default is each.empty]
    needed = [each.name for each in declared if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if len(taken) < 2 or extra or needed:
        name = getattr(function, "__name__", role)
        shown = ", ".join(str(each) for each in declared)
        refuse(f"{name}({shown}) must take (object, client) or (object, client, run)")
    optional_third = len(taken) >= 3 and taken[2].default is not inspect.Parameter.empty
    return taken[:2] if optional_third else taken[:3]


def _check_object_type(
    declaration: ActorDeclaration, function: Callable[..., Any], parameter: inspect.Parameter, refuse: _Refusal
) -> None:
    """An annotation of the object must agree with the kind; one that cannot be resolved says nothing."""
    try:
        annotated = typing.get_type_hints(function).get(parameter.name, Any)
    except (NameError, TypeError, AttributeError):
        return
    if annotated is not Any and inspect.isclass(annotated) and not issubclass(declaration.model, annotated):
        refuse(f"{function.__name__} takes a {annotated.__name__}, but the actor is declared for {declaration.model.__name__}")


def _check_class(target: Any, refuse: _Refusal) -> None:
    """A class is made without arguments; `setup` takes the client, `teardown` nothing."""
    for method, expected in (("setup", 1), ("teardown", 0)):
        function = getattr(target, method, None)
        if function is None:
            continue
        required = [
            each for each in list(inspect.signature(function).parameters.values())[1:] if each.default is inspect.Parameter.empty
        ]
        if len(required) != expected:
            refuse(f"{target.__name__}.{method} must take {'(self, client)' if expected else '(self)'}")
    required = [
        each
        for each in inspect.signature(target).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if required:
        refuse(f"{target.__name__} must be made without arguments; it gets its client in setup(self, client)")


def _starter(target: Any, cleanup: Reconcile | None, *, is_class: bool) -> Callable[[], Live]:
    if not is_class:
        return lambda: Live(target, cleanup=cleanup)

    def start() -> Live:
        made = target()
        return Live(
            made.reconcile, getattr(made, "setup", None), getattr(made, "teardown", None), getattr(made, "cleanup", cleanup)
        )

    return start


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(function)) or inspect.iscoroutinefunction(type(function).__call__)


Result = Literal["success", "again", "error", "conflict", "terminal", "gone"]
"""How a run ended: done; done with a time to look again; failed; overtaken by another writer; terminal; no object was there."""
