"""Kinds and their versions, and the registry that holds them.

A `Kind` is stored once, as one resource (`probes.uptime.example`), and served in one or more `Version`s. A version says how an
object
looks in it: its schema, its columns, its warning when it is deprecated. Versions of one shape are served by relabelling what is
stored; where versions have different shapes, they have `Ways` to each other.

A `Registry` is complete when it is built: everything that can be wrong with what was declared is found then, all of it at once, and
nothing in it changes afterwards. To add a kind, build another one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from registry import handlers
from registry.declarations import ActorDeclaration, Observation
from registry.errors import Cause
from registry.expiring import Ttl
from registry.jsonpath import JSONPath
from registry.jsonpath import parse as parse_path
from registry.lifecycle import UNSAID, Lifecycle
from registry.names import dns1035_label, dns1123_label, dns1123_subdomain, version_key
from registry.schema import Schema
from registry.ways import ConversionError, Ways

Document = dict[str, Any]
NameRule = Callable[[str], list[str]]
Handler: TypeAlias = handlers.Handler

SUBRESOURCE_VERBS = ("get", "patch", "update")
EXTERNAL = "external"
"""The owner of a kind whose status is written by whoever is authorized, not by an actor of this server."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`: a heading and where its cells are found (a JSONPath such as `.spec.url`).

    `type` is integer, number, string, boolean or date (shown as an age); `priority` 0 is always shown, more only by `-o wide`.
    """

    name: str
    path: str
    type: str = "string"
    description: str = ""
    priority: int = 0
    format: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where `/scale` finds replicas: JSONPaths of the desired number, the actual number and the label selector (as text)."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str = ""


@dataclass(frozen=True, slots=True)
class Printer:
    """Cells of a table that no JSONPath can give: built-in kinds compute theirs. `cells(document, now)` matches `columns` one by
    one."""

    columns: tuple[Column, ...]
    cells: Callable[[Document, float], list[Any]]


class Prepare(Protocol):
    """Sets what the server decides, on a create (`old` is None) and on an update. Returns the document; may change `new` itself."""

    def __call__(self, new: Document, old: Document | None) -> Document: ...


class Check(Protocol):
    """What is wrong with a document beyond its schema."""

    def __call__(self, new: Document, old: Document | None) -> list[Cause]: ...


def as_is(new: Document, old: Document | None) -> Document:
    """Prepares nothing."""
    del old
    return new


def no_causes(new: Document, old: Document | None) -> list[Cause]:
    """Finds nothing wrong."""
    del new, old
    return []


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a kind behaves where kinds differ. The defaults are those of a custom kind.

    `collected` says whether objects take part in garbage collection.
    `answers_deleted`: what a delete removes at once is answered as it was, not as a Status.
    `builtin` kinds are those of Kubernetes itself: their bodies may leave out kind and apiVersion, items of their lists carry
    neither, a wrong type in a body is a 400, and their updates need no resourceVersion unless `unconditional_update` is False.
    """

    builtin: bool = False
    name_rule: NameRule = dns1123_subdomain
    counts_generation: bool = True
    unconditional_update: bool = False
    create_on_update: bool = False
    collection_deletes: bool = True
    collected: bool = True
    protected: frozenset[str] = frozenset()
    finalizers_in_spec: bool = False
    answers_deleted: bool = False
    prepare: Prepare = as_is
    check: Check = no_causes


@dataclass(frozen=True, slots=True)
class Version:
    """One served form of a kind.

    `warning` is sent with every answer when the version is deprecated. `selectable` are the fields, besides name and namespace,
    that field selectors may name, each with where it is found. `ways` lead to the other versions of the kind; None: all have one
    shape.
    """

    group: str
    name: str
    kind: str
    schema: Schema
    model: type | None = None
    columns: tuple[Column, ...] = ()
    printer: Printer | None = None
    selectable: Mapping[str, JSONPath] = field(default_factory=dict)
    warning: str = ""
    ways: Ways | None = None
    check: Check = no_causes
    lifecycle: Lifecycle = UNSAID
    waived: Mapping[str, str] = field(default_factory=dict)
    """Rules that do not hold for it, each with the reason; see `registry.rules`."""
    source: str = ""
    """`file:line` of its declaration."""

    @property
    def api_version(self) -> str:
        """`group/version`, or the version alone in the core group."""
        return f"{self.group}/{self.name}" if self.group else self.name

    @property
    def head(self) -> bytes:
        """How every JSON object of this version begins, up to the inside of its metadata."""
        return head(self.api_version, self.kind)


@lru_cache(maxsize=4_096)
def head(api_version: str, kind: str) -> bytes:
    """How the canonical JSON of an object begins: type first, then the inside of the metadata."""
    return f'{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{{'.encode()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: its names, its versions (preferred first), and how it behaves. `source` is `file:line`, for errors."""

    name: str
    plural: str
    singular: str
    list_kind: str
    versions: tuple[Version, ...]
    storage: Version
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = True
    scale: Scale | None = None
    ttl: Ttl | None = None
    owner: str = EXTERNAL
    maker: str = ""
    """The user name that alone makes and deletes its objects; empty: whoever is authorized."""
    stored: bool = True
    """False: its objects are questions. A create is answered, and nothing is stored or can be read."""
    strategy: Strategy = field(default_factory=Strategy)
    verbs: tuple[str, ...] = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
    extra_subresources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""
    resource: str = field(init=False, default="")
    """What the store files its objects under: `plural.group`, or the plural alone in the core group."""

    @property
    def group(self) -> str:
        """The group that the kind is stored under."""
        return self.storage.group

    @property
    def subresources(self) -> Mapping[str, tuple[str, ...]]:
        """What the kind's objects have below their paths, each with its verbs."""
        status = {"status": SUBRESOURCE_VERBS} if self.has_status else {}
        scale = {"scale": SUBRESOURCE_VERBS} if self.scale is not None else {}
        return {**status, **scale, **self.extra_subresources}

    def verbs_of(self, subresource: str) -> tuple[str, ...] | None:
        """The verbs of a subresource; None if there is none of that name."""
        return self.subresources.get(subresource)

    @property
    def where(self) -> str:
        """How errors about its declaration begin."""
        return f"{self.source}: {self.name}" if self.source else self.name

    def __post_init__(self) -> None:
        object.__setattr__(self, "resource", resource_name(self.plural, self.group))


def resource_name(plural: str, group: str) -> str:
    """`plural.group`, or the plural alone in the core group: how errors, roles and the store name a resource."""
    return f"{plural}.{group}" if group else plural


class RegistryError(Exception):
    """What was declared does not fit together. One line for each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Registry:
    """All kinds that a server knows, by every name that they are asked for with. Immutable."""

    def __init__(
        self,
        kinds: Iterable[Kind],
        *,
        actors: Iterable[ActorDeclaration] = (),
        mutators: Iterable[Handler] = (),
        validators: Iterable[Handler] = (),
        defaulters: Iterable[Handler] = (),
    ) -> None:
        self.kinds: tuple[Kind, ...] = tuple(kinds)
        self.actors = tuple(actors)
        problems: list[str] = []
        self._served: dict[tuple[str, str, str], tuple[Kind, Version]] = {}
        self._by_resource: dict[str, Kind] = {}
        self._by_model: dict[type, tuple[Kind, Version]] = {}
        self._by_type: dict[tuple[str, str], tuple[Kind, Version]] = {}
        for kind in self.kinds:
            problems += _kind_problems(kind)
            problems += self._index(kind)
        self.groups = _groups(self.kinds)
        self._defaulters = self._handlers(defaulters, "defaults", problems)
        self._mutators = self._handlers(mutators, "mutates", problems)
        self._validators = self._handlers(validators, "validates", problems)
        problems += _owner_problems(self.actors, self._by_model)
        if problems:
            raise RegistryError(problems)

    def _index(self, kind: Kind) -> list[str]:
        problems = []
        if kind.resource in self._by_resource:
            problems.append(f"{kind.where}: {kind.resource} is declared twice; give one of them another plural or group")
        self._by_resource[kind.resource] = kind
        for version in kind.versions:
            address = (version.group, version.name, kind.plural)
            twin = self._by_type.get((version.api_version, version.kind))
            if address in self._served or twin is not None:
                problems.append(f"{kind.where}: {version.api_version} {version.kind} is declared twice")
            self._served[address] = (kind, version)
            self._by_type[version.api_version, version.kind] = (kind, version)
            problems += self._model_problems(kind, version)
            if version.model is not None and (version.model not in self._by_model or version is kind.storage):
                self._by_model[version.model] = (kind, version)
        return problems

    def _model_problems(self, kind: Kind, version: Version) -> list[str]:
        """Handlers, actors and clients name a kind by its model."""
        known = self._by_model.get(version.model) if version.model is not None else None
        if known is None or known[0] is kind or kind.resource == known[0].resource:
            return []
        model = version.model.__name__ if version.model is not None else ""
        return [f"{kind.where}: {model} is the model of {known[0].resource} already; give each kind a class of its own"]

    def _handlers(self, given: Iterable[Handler], role: handlers.Role, problems: list[str]) -> dict[str, tuple[Handler, ...]]:
        """By resource, in the order in which they are called."""
        by_resource: dict[str, list[Handler]] = {}
        for handler in given:
            served = self._by_model.get(handler.model)
            if served is None:
                problems.append(
                    f"{handler.source}: {handler.name} handles {handler.model.__name__}, which no plugin declares as a kind"
                )
                continue
            problems += handlers.problems(handler, role, served[0].subresources.keys())
            by_resource.setdefault(served[0].resource, []).append(handler)
        return {resource: handlers.in_order(each) for resource, each in by_resource.items()}

    def find(self, group: str, version: str, plural: str) -> tuple[Kind, Version] | None:
        """What is served at `/apis/{group}/{version}/.../{plural}`; None if nothing is."""
        return self._served.get((group, version, plural))

    def of_type(self, api_version: str, kind: str) -> tuple[Kind, Version] | None:
        """The kind and version that a document names; None if it is not served."""
        return self._by_type.get((api_version, kind))

    def of_resource(self, resource: str) -> Kind | None:
        """The kind that the store files under `resource`."""
        return self._by_resource.get(resource)

    def of_model(self, model: type) -> tuple[Kind, Version] | None:
        """The kind and version that a Python type stands for."""
        return self._by_model.get(model)

    def defaulters(self, kind: Kind) -> tuple[Handler, ...]:
        """The functions that fill in what is missing of the kind's objects, in the order in which they are called."""
        return self._defaulters.get(kind.resource, ())

    def mutators(self, kind: Kind) -> tuple[Handler, ...]:
        """The kind's mutation handlers, in the order in which they are called."""
        return self._mutators.get(kind.resource, ())

    def validators(self, kind: Kind) -> tuple[Handler, ...]:
        """The kind's validation handlers, in the order in which their causes are reported."""
        return self._validators.get(kind.resource, ())

    def report_conversions(self, report: Callable[[ConversionError], None]) -> None:
        """Has every conversion that fails told to `report`: the insides are in the cause of the error."""
        for kind in self.kinds:
            if kind.storage.ways is not None and not kind.strategy.builtin:
                kind.storage.ways.report = report

    def version_of(self, kind: Kind, api_version: str) -> Version:
        """The version of a kind that a stored object says it is of; the storage version if that one is no longer declared."""
        return next((version for version in kind.versions if version.api_version == api_version), kind.storage)


def selectable_paths(paths: Iterable[str]) -> dict[str, JSONPath]:
    """Field-selector names (JSONPaths without the leading dot) with their compiled paths."""
    return {path.lstrip("."): parse_path("." + path.lstrip(".")) for path in paths}


def _groups(kinds: Iterable[Kind]) -> dict[str, tuple[str, ...]]:
    """Group -> its served versions, most preferred first; the core group first, the others in the order of declaration."""
    found: dict[str, set[str]] = {"": set()}
    for kind in kinds:
        for version in kind.versions:
            found.setdefault(version.group, set()).add(version.name)
    return {group: tuple(sorted(names, key=version_key)) for group, names in found.items() if names}


def _kind_problems(kind: Kind) -> list[str]:
    """Names that no client could address."""
    where = kind.where
    named = [("plural", kind.plural), ("singular", kind.singular)]
    named += [("short name", name) for name in kind.short_names] + [("category", name) for name in kind.categories]
    problems = [f"{where}: {what} {name!r}: {reason}" for what, name in named for reason in dns1035_label(name)]
    for version in kind.versions:
        problems += [f"{where}: version {version.name!r}: {reason}" for reason in dns1123_label(version.name)]
        if version.group:
            problems += [f"{where}: group {version.group!r}: {reason}" for reason in dns1123_subdomain(version.group)]
        if not kind.strategy.builtin and "." not in version.group:
            problems.append(f"{where}: group {version.group!r} needs a dot, as in 'uptime.example': groups are domain names")
    if not kind.name[:1].isupper() or not kind.name.isalnum() or not kind.name.isascii():
        problems.append(f"{where}: the name of a kind is CamelCase, as in 'Probe'")
    return problems


def _owner_problems(actors: Iterable[ActorDeclaration], models: Mapping[type, tuple[Kind, Version]]) -> list[str]:
    """Exactly one actor owns a kind's status; two would undo each other's writes."""
    problems = []
    owners: dict[str, ActorDeclaration] = {}
    names: dict[str, ActorDeclaration] = {}
    for actor in actors:
        served = models.get(actor.model)
        if served is None:
            problems.append(f"{actor.source}: actor {actor.name!r} owns {actor.model.__name__}, which no plugin declares as a kind")
            continue
        resource = served[0].resource
        if resource in owners:
            problems.append(
                f"{actor.source}: {served[0].name} has an owner already: {owners[resource].name!r} at {owners[resource].source}"
            )
        elif served[0].owner == EXTERNAL:
            problems.append(f"{actor.source}: {served[0].name} is declared with owner='external'; an actor cannot own it")
        if actor.name in names:
            problems.append(f"{actor.source}: there is an actor named {actor.name!r} already, at {names[actor.name].source}")
        owners.setdefault(resource, actor)
        names.setdefault(actor.name, actor)
        problems += _sight_problems(actor, models)
    return problems


def _sight_problems(actor: ActorDeclaration, models: Mapping[type, tuple[Kind, Version]]) -> list[str]:
    """What an actor observes or writes must be there to be observed or written."""
    problems = []
    for verb, named in (("observes", actor.observes), ("writes", actor.writes)):
        for each in named if isinstance(named, Collection) else ():  # what is no such thing is refused by whoever runs actors
            model = each.model if isinstance(each, Observation) else each
            if isinstance(model, type) and model not in models:
                problems.append(f"{actor.source}: actor {actor.name!r} {verb} {model.__name__}, which no plugin declares as a kind")
    return problems
