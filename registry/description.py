"""What a registry is, as data: kinds, versions, converters, handlers, actors, as programs read them and tools show them.

    described = describe(registry)                    everything
    described = describe(registry, brief=True)        without schemas and columns: small enough for thousands of kinds
    one = describe_kind(registry, kind)               one kind, with all that is known of it

A description says no more than the registry does, and nothing of it is a function or a type: it goes over the wire as it is (names
in camelCase, what is empty left out), and is read again by `read`. Schemas are those of OpenAPI v3, as a CustomResourceDefinition
has them. Only a running server knows how many objects there are; elsewhere `objects` is None.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from registry import lifecycle
from registry.actors import user_of
from registry.catalog import Registry
from registry.declarations import ActorDeclaration, Observation
from registry.handlers import Handler
from registry.kinds import Kind, Version
from registry.names import stability
from registry.openapi_schemas import schema_of_node

Document = dict[str, Any]
T = TypeVar("T")

PLUGIN, DEFINITION, BUILTIN = "plugin", "definition", "builtin"
"""Where a kind comes from: a plugin, a definition that arrived at run time, the server itself."""


class Struct(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """What all of this is made of: trees without circles, which need no garbage collection."""


def _always(value: T) -> T:
    """A default that is said on the wire all the same: programs need not know it."""
    made: T = msgspec.field(default_factory=lambda: value)
    return made


class ColumnDescription(Struct, frozen=True, kw_only=True):
    """A column of `kubectl get`."""

    name: str
    path: str
    type: str = _always("string")
    description: str = ""
    priority: int = 0


class VersionDescription(Struct, frozen=True, kw_only=True):
    """A version of a kind. `model` is the name of its Python type; `lifecycle` has introduced, deprecated, removed and successor,
    as far as they are said. `schema` is None in a brief description."""

    name: str
    group: str = ""
    api_version: str
    stability: str = _always("")
    served: bool = _always(True)
    storage: bool = _always(False)
    deprecated: bool = _always(False)
    warning: str = ""
    lifecycle: Document = {}
    schema: Document | None = None
    columns: tuple[ColumnDescription, ...] = ()
    selectable: tuple[str, ...] = ()
    waived: dict[str, str] = {}
    model: str = ""
    source: str = ""


class ConverterDescription(Struct, frozen=True, kw_only=True):
    """A converter: between the versions of one shape and those of another, each as it is called in its kind."""

    name: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    source: str = ""


class HandlerDescription(Struct, frozen=True, kw_only=True):
    """An admission handler. `role` is defaults, mutates or validates; `version` the one that it was written against."""

    name: str
    role: str
    version: str = ""
    operations: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    order: int = 0
    timeout_seconds: float = 0
    source: str = ""


class ActorDescription(Struct, frozen=True, kw_only=True):
    """An actor. `owns`, `observes` and `writes` are resources (`probes.uptime.example`); `version` is that of what it owns."""

    name: str
    owns: str = ""
    version: str = ""
    observes: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    finalizer: str = ""
    concurrency: int = 1
    resync_seconds: float | None = None
    source: str = ""


class KindDescription(Struct, frozen=True, kw_only=True):
    """A kind.

    versions       preferred ones first; `storage` names the one that objects are stored in
    conversion     how versions become each other: by `converters`, by a `webhook`; empty: they differ in nothing but their names
    handlers       in the order in which they are called: those that fill in, those that change, those that check
    owner          the actor that alone writes the status; `external`: whoever is authorized; empty: nobody, or there is no status
    maker          the user who alone makes and deletes objects, if there is one
    observers      actors that its objects wake; `writers`: actors that write them
    declared       plugin, definition or builtin; `source` is `file:line`
    objects        how many are stored in each version, by apiVersion; None: not known
    """

    resource: str
    kind: str
    list_kind: str
    singular: str
    plural: str
    group: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    scope: str = _always("Namespaced")
    storage: str
    versions: tuple[VersionDescription, ...]
    converters: tuple[ConverterDescription, ...] = ()
    conversion: str = ""
    handlers: tuple[HandlerDescription, ...] = ()
    owner: str = ""
    maker: str = ""
    observers: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    subresources: dict[str, tuple[str, ...]] = {}
    scale: dict[str, str] = {}
    ttl: dict[str, str] = {}
    declared: str = _always(PLUGIN)
    source: str = ""
    objects: dict[str, int] | None = None

    @property
    def namespaced(self) -> bool:
        """Whether its objects are in namespaces."""
        return self.scope == "Namespaced"

    def called(self, version: VersionDescription) -> str:
        """What a version is called in this kind: its name, or where two have it, in two groups, its apiVersion."""
        alone = sum(each.name == version.name for each in self.versions) == 1
        return version.name if alone else version.api_version

    def version(self, name: str) -> VersionDescription | None:
        """The version of a name, or of an apiVersion; None if there is none."""
        return next((each for each in self.versions if name in (each.name, each.api_version)), None)


class Description(Struct, frozen=True, kw_only=True):
    """A registry. `brief`: schemas and columns are left out."""

    kinds: tuple[KindDescription, ...] = ()
    actors: tuple[ActorDescription, ...] = ()
    brief: bool = False


def describe(registry: Registry, *, kinds: Iterable[Kind] | None = None, brief: bool = False) -> Description:
    """The registry, or some of its kinds with the actors that have to do with them."""
    actors = describe_actors(registry)
    chosen = registry.kinds if kinds is None else tuple(kinds)
    told = tuple(_kind(registry, kind, actors, brief=brief) for kind in chosen)
    if kinds is not None:
        resources = {kind.resource for kind in chosen}
        actors = tuple(each for each in actors if resources & {each.owns, *each.observes, *each.writes})
    return Description(kinds=told, actors=actors, brief=brief)


def describe_actors(registry: Registry) -> tuple[ActorDescription, ...]:
    """The actors that plugins declare."""
    return tuple(_actor(each, registry) for each in registry.actors)


def describe_kind(registry: Registry, kind: Kind, *, brief: bool = False) -> KindDescription:
    """One kind."""
    return describe(registry, kinds=[kind], brief=brief).kinds[0]


def read(document: Any) -> Description:
    """The description that JSON says. Raises ValueError. What a newer program says besides is passed over."""
    return msgspec.convert(document, Description)


def read_kind(document: Any) -> KindDescription:
    """The kind that JSON says. Raises ValueError."""
    return msgspec.convert(document, KindDescription)


def _kind(registry: Registry, kind: Kind, actors: tuple[ActorDescription, ...], *, brief: bool) -> KindDescription:
    ttl = {"seconds": kind.ttl.seconds, "since": kind.ttl.since} if kind.ttl is not None else {}
    scale = {"spec": kind.scale.spec, "status": kind.scale.status, "selector": kind.scale.selector} if kind.scale else {}
    return KindDescription(
        resource=kind.resource,
        kind=kind.name,
        list_kind=kind.list_kind,
        singular=kind.singular,
        plural=kind.plural,
        group=kind.group,
        short_names=kind.short_names,
        categories=kind.categories,
        scope="Namespaced" if kind.namespaced else "Cluster",
        storage=kind.storage.name,
        versions=tuple(_version(kind, version, brief=brief) for version in kind.versions),
        converters=_converters(kind),
        conversion=_conversion(kind),
        handlers=tuple(_handlers(registry, kind)),
        owner=_owner(kind, actors),
        maker=kind.maker,
        observers=tuple(each.name for each in actors if kind.resource in each.observes),
        writers=tuple(each.name for each in actors if kind.resource in each.writes),
        verbs=kind.verbs,
        subresources=dict(kind.subresources),
        scale={name: path for name, path in scale.items() if path},
        ttl={name: said for name, said in ttl.items() if said},
        declared=_declared(kind),
        source=kind.source,
    )


def _declared(kind: Kind) -> str:
    if kind.strategy.builtin:
        return BUILTIN
    if all(version.model is None for version in kind.versions):
        return DEFINITION
    return PLUGIN if ":" in kind.source else BUILTIN


def _owner(kind: Kind, actors: Iterable[ActorDescription]) -> str:
    """The name of the actor, where it is one; whoever else it is, as the kind says it."""
    if not kind.has_status:
        return ""
    return next((each.name for each in actors if user_of(each.name) == kind.owner), kind.owner)


def _version(kind: Kind, version: Version, *, brief: bool) -> VersionDescription:
    level = stability(version.name)
    columns = () if brief else version.columns
    return VersionDescription(
        name=version.name,
        group=version.group,
        api_version=version.api_version,
        stability=level.value if level is not None else "",
        served=version.served,
        storage=version is kind.storage,
        deprecated=bool(version.warning) or version.lifecycle.deprecated is not None,
        warning=version.warning,
        lifecycle=lifecycle.document(version.lifecycle),
        schema=None if brief else schema_of_node(version.schema.node),
        columns=tuple(
            ColumnDescription(name=each.name, path=each.path, type=each.type, description=each.description, priority=each.priority)
            for each in columns
        ),
        selectable=() if brief else tuple(version.selectable),
        waived=dict(version.waived),
        model=version.model.__qualname__ if version.model is not None else "",
        source=version.source,
    )


def _conversion(kind: Kind) -> str:
    ways = kind.storage.ways
    if ways is None or not (ways.remote or ways.steps):
        return ""
    return "webhook" if ways.remote else "converters"


def _converters(kind: Kind) -> tuple[ConverterDescription, ...]:
    ways = kind.storage.ways
    if ways is None:
        return ()
    names: dict[Hashable, list[str]] = {}
    for version in kind.versions:
        form = ways.forms.get(version.api_version)
        if form is not None:
            alone = sum(each.name == version.name for each in kind.versions) == 1
            names.setdefault(form.shape, []).append(version.name if alone else version.api_version)
    return tuple(
        ConverterDescription(
            name=step.name, old=tuple(names.get(step.old, ())), new=tuple(names.get(step.new, ())), source=step.source
        )
        for step in ways.steps
    )


def _handlers(registry: Registry, kind: Kind) -> Iterable[HandlerDescription]:
    versions: Mapping[type | None, str] = {version.model: version.name for version in reversed(kind.versions)}
    roles: tuple[tuple[str, tuple[Handler, ...]], ...] = (
        ("defaults", registry.defaulters(kind)),
        ("mutates", registry.mutators(kind)),
        ("validates", registry.validators(kind)),
    )
    for role, handlers in roles:
        for handler in handlers:
            yield HandlerDescription(
                name=handler.name,
                role=role,
                version=versions.get(handler.model, ""),
                operations=handler.operations,
                subresources=handler.subresources,
                order=handler.order,
                timeout_seconds=handler.limit,
                source=handler.source,
            )


def _actor(actor: ActorDeclaration, registry: Registry) -> ActorDescription:
    found = registry.of_model(actor.model)
    observed = [each.model if isinstance(each, Observation) else each for each in _several(actor.observes)]
    cleans = actor.cleanup is not None or (inspect.isclass(actor.reconcile) and hasattr(actor.reconcile, "cleanup"))
    return ActorDescription(
        name=actor.name,
        owns=found[0].resource if found is not None else "",
        version=found[1].name if found is not None else "",
        observes=_resources(observed, registry),
        writes=_resources(_several(actor.writes), registry),
        finalizer=(actor.finalizer or f"skep.dev/{actor.name}") if cleans else "",
        concurrency=actor.concurrency,
        resync_seconds=actor.resync,
        source=actor.source,
    )


def _several(named: Iterable[Any]) -> Iterable[Any]:
    """What is no list of kinds is refused by whoever runs actors, not here."""
    return named if isinstance(named, Collection) else ()


def _resources(models: Iterable[Any], registry: Registry) -> tuple[str, ...]:
    found = (registry.of_model(model) for model in models if isinstance(model, type))
    return tuple(dict.fromkeys(each[0].resource for each in found if each is not None))
