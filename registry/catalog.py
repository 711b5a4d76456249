"""The registry that holds all kinds of a server, and the catalog, which has the newest one.

A `Registry` is complete when it is built: everything that can be wrong with what was declared is found then, all of it at once, and
nothing in it changes afterwards. To add a kind, make another one of it: it shares with the first all that is the same.

A `Catalog` is what the parts of a server keep: its registry is replaced whole, and whoever needs to know is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

from registry import handlers
from registry.declarations import ActorDeclaration, Observation
from registry.kinds import EXTERNAL, Handler, Kind, Version
from registry.names import dns1035_label, dns1123_label, dns1123_subdomain, version_key
from registry.ways import ConversionError


class RegistryError(Exception):
    """What was declared does not fit together. One line for each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(slots=True)
class Index:
    """The kinds by every name that they are asked for with. Changed only while it is made."""

    served: dict[tuple[str, str, str], tuple[Kind, Version]] = field(default_factory=dict)
    by_resource: dict[str, Kind] = field(default_factory=dict)
    by_model: dict[type, tuple[Kind, Version]] = field(default_factory=dict)
    by_type: dict[tuple[str, str], tuple[Kind, Version]] = field(default_factory=dict)
    by_group: dict[str, tuple[Kind, ...]] = field(default_factory=dict)
    versions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def copied(self) -> Index:
        """One of its own, with the same kinds."""
        return Index(
            served=dict(self.served),
            by_resource=dict(self.by_resource),
            by_model=dict(self.by_model),
            by_type=dict(self.by_type),
            by_group=dict(self.by_group),
            versions=dict(self.versions),
        )

    def add(self, kind: Kind) -> list[str]:
        """Adds a kind, in the place of what there is of its resource, but to no group (`settle`); gives what is wrong with that."""
        problems = []
        self.by_resource[kind.resource] = kind
        for version in kind.served:
            address, type_ = (version.group, version.name, kind.plural), (version.api_version, version.kind)
            if address in self.served or type_ in self.by_type:
                problems.append(f"{kind.where}: {version.api_version} {version.kind} is declared twice")
            self.served[address] = (kind.seen_in(version), version)
            self.by_type[type_] = (kind, version)
        for version in kind.versions:
            problems += self._model_problems(kind, version)
            if version.model is not None and self._is_better(kind, version, version.model):
                self.by_model[version.model] = (kind, version)
        return problems

    def _is_better(self, kind: Kind, version: Version, model: type) -> bool:
        """Whether a model stands for this version more than for the one that it stands for by now."""
        known = self.by_model.get(model)
        return known is None or version is kind.storage or (version.served and not known[1].served)

    def drop(self, kind: Kind) -> None:
        """Takes a kind away, but for its place among the resources and in its groups."""
        for version in kind.served:
            self.served.pop((version.group, version.name, kind.plural), None)
            self.by_type.pop((version.api_version, version.kind), None)

    def settle(self, before: Collection[Kind], after: Collection[Kind]) -> None:
        """Finds anew what groups have in which kinds were replaced: those of `before` by those of `after`, by their resources."""
        came: dict[str, list[Kind]] = {group: [] for kind in (*before, *after) for group in kind.groups}
        for kind in after:
            for group in kind.groups:
                came[group].append(kind)
        went, now = {kind.resource for kind in before}, {kind.resource: kind for kind in after}
        for group, kinds in came.items():
            known = self.by_group.get(group, ())
            there = {kind.resource for kind in known}
            stayed = (now.get(kind.resource) if kind.resource in went else kind for kind in known)
            new = (kind for kind in kinds if kind.resource not in there)
            self._set_group(group, tuple(kind for kind in (*stayed, *new) if kind is not None and group in kind.groups))

    def _set_group(self, group: str, kinds: tuple[Kind, ...]) -> None:
        names = {version.name for kind in kinds for version in kind.served if version.group == group}
        if names:
            self.by_group[group] = kinds
            self.versions[group] = tuple(sorted(names, key=version_key))
        else:
            self.by_group.pop(group, None)
            self.versions.pop(group, None)

    def _model_problems(self, kind: Kind, version: Version) -> list[str]:
        """Handlers, actors and clients name a kind by its model."""
        known = self.by_model.get(version.model) if version.model is not None else None
        if known is None or known[0] is kind or kind.resource == known[0].resource:
            return []
        model = version.model.__name__ if version.model is not None else ""
        return [f"{kind.where}: {model} is the model of {known[0].resource} already; give each kind a class of its own"]


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
        self.index = index = Index()
        self.actors = tuple(actors)
        problems: list[str] = []
        for kind in kinds:
            if kind.resource in index.by_resource:
                problems.append(f"{kind.where}: {kind.resource} is declared twice; give one of them another plural or group")
            problems += [*_kind_problems(kind), *index.add(kind)]
        index.settle((), index.by_resource.values())
        if core := index.versions.get(""):
            index.versions = {"": core} | index.versions
        self._defaulters = self._handlers(defaulters, "defaults", problems)
        self._mutators = self._handlers(mutators, "mutates", problems)
        self._validators = self._handlers(validators, "validates", problems)
        problems += _owner_problems(self.actors, index.by_model)
        if problems:
            raise RegistryError(problems)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """All of them, in the order in which they came."""
        return tuple(self.index.by_resource.values())

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Group -> its served versions, most preferred first; the core group first, the others in the order in which they came."""
        return self.index.versions

    def replaced(self, put: Iterable[Kind] = (), gone: Iterable[str] = ()) -> Registry:
        """Another registry: without the kinds of the resources that are `gone`, and with those that are `put`, each in the place of
        the one of the same resource. It costs what is changed, not what there is (but for the copies of some tables): groups in
        which nothing changed have the very same kinds as before, so that what was made of them can be kept.

        What is changed has no models: handlers and actors are about kinds that are there from the start on. Its names are not
        looked at: whoever puts a kind knows what may be a name of such. Raises RegistryError.
        """
        index, by_resource = self.index.copied(), {kind.resource: kind for kind in put}
        gone = [resource for resource in gone if resource not in by_resource and resource in index.by_resource]
        before = [index.by_resource[resource] for resource in (*by_resource, *gone) if resource in index.by_resource]
        after = by_resource.values()
        problems = [_declared(kind) for kind in (*before, *after) if any(version.model is not None for version in kind.versions)]
        for kind in before:
            index.drop(kind)
        for resource in gone:
            del index.by_resource[resource]
        problems += [problem for kind in after for problem in index.add(kind)]
        if problems:
            raise RegistryError(problems)
        index.settle(before, after)
        new = copy(self)
        new.index = index
        return new

    def _handlers(self, given: Iterable[Handler], role: handlers.Role, problems: list[str]) -> dict[str, tuple[Handler, ...]]:
        """By resource, in the order in which they are called."""
        by_resource: dict[str, list[Handler]] = {}
        for handler in given:
            served = self.index.by_model.get(handler.model)
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
        return self.index.served.get((group, version, plural))

    def of_type(self, api_version: str, kind: str) -> tuple[Kind, Version] | None:
        """The kind and version that a document names; None if it is not served."""
        return self.index.by_type.get((api_version, kind))

    def of_resource(self, resource: str) -> Kind | None:
        """The kind that the store files under `resource`."""
        return self.index.by_resource.get(resource)

    def of_group(self, group: str) -> tuple[Kind, ...]:
        """The kinds that a group has, in the order in which they came."""
        return self.index.by_group.get(group, ())

    def of_model(self, model: type) -> tuple[Kind, Version] | None:
        """The kind and version that a Python type stands for."""
        return self.index.by_model.get(model)

    def defaulters(self, kind: Kind) -> tuple[Handler, ...]:
        """The functions that fill in what is missing of the kind's objects, in the order in which they are called."""
        return self._defaulters.get(kind.resource, ())

    def mutators(self, kind: Kind) -> tuple[Handler, ...]:
        """The kind's mutation handlers, in the order in which they are called."""
        return self._mutators.get(kind.resource, ())

    def validators(self, kind: Kind) -> tuple[Handler, ...]:
        """The kind's validation handlers, in the order in which their causes are reported."""
        return self._validators.get(kind.resource, ())

    def version_of(self, kind: Kind, api_version: str) -> Version:
        """The version of a kind that a stored object says it is of; the storage version if that one is no longer declared."""
        return next((version for version in kind.versions if version.api_version == api_version), kind.storage)


class Update(NamedTuple):
    """What became of a registry: what was, what is, and the resources whose kinds came, went or changed."""

    before: Registry
    after: Registry
    changed: tuple[str, ...]


class Catalog:
    """Has the registry that is in force. To be used from one thread, that of the event loop."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._followers: list[Callable[[Update], None]] = []

    def follow(self, tell: Callable[[Update], None]) -> Callable[[], None]:
        """Has `tell` called after every change, in the order of following, until the function that is returned is called."""
        self._followers.append(tell)
        return lambda: self._followers.remove(tell)

    def report_conversions(self, report: Callable[[ConversionError], None]) -> None:
        """Has every conversion that fails told to `report`, also of kinds that come later: the insides are in the cause of the
        error."""

        def give(kinds: Iterable[Kind | None]) -> None:
            for kind in kinds:
                if kind is not None and kind.storage.ways is not None and not kind.strategy.builtin:
                    kind.storage.ways.report = report

        give(self.registry.kinds)
        self.follow(lambda update: give(map(update.after.of_resource, update.changed)))

    def replace(self, put: Iterable[Kind] = (), gone: Iterable[str] = ()) -> None:
        """Puts another registry in force, see `Registry.replaced`. Raises RegistryError; then nothing is changed."""
        put, gone = tuple(put), tuple(gone)
        before = self.registry
        self.registry = before.replaced(put, gone)
        changed = tuple(dict.fromkeys([*(kind.resource for kind in put), *gone]))
        for tell in tuple(self._followers):
            tell(Update(before, self.registry, changed))


def _declared(kind: Kind) -> str:
    return f"{kind.where}: {kind.resource} is declared in code, and stays what it is for as long as the server runs"


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
    if kind.defined:
        return problems  # whoever took the definition has looked at the rest of its names
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
        problems += _unserved(actor, "owns", *served)
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
            elif isinstance(model, type):
                problems += _unserved(actor, verb, *models[model])
    return problems


def _unserved(actor: ActorDeclaration, verb: str, kind: Kind, version: Version) -> list[str]:
    """An actor is a client like others: on another machine it asks for its version over HTTP."""
    if version.served:
        return []
    known = ", ".join(each.name for each in kind.served)
    return [
        f"{actor.source}: actor {actor.name!r} {verb} {kind.name} {version.name}, which is not served; write it against {known}"
    ]
