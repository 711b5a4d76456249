"""What a plugin declares: kinds, handlers and actors, on a value of its own that is passed to the server. There is no global.

    plugin = Plugin("uptime")
    plugin.kind(Probe, group="uptime.example", version="v1", plural="probes", short_names=["pr"])

    @plugin.validates(Probe)
    def no_private_addresses(review): ...

    @plugin.converts(ProbeV1Alpha1, Probe)
    def upgrade(old): ...

    @plugin.actor(Probe)
    async def check(probe, client): ...

`build` turns plugins into a `Registry`, once, and reports everything that is wrong with them together.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from registry import expiring, lifecycle
from registry.actors import BUILTIN_ACTORS, user_of
from registry.catalog import Registry, RegistryError
from registry.converters import Converter, Declared, sort_out, ways_of
from registry.declarations import ActorDeclaration, DeclarationError
from registry.expiring import Ttl
from registry.handlers import Handler, texts
from registry.jsonpath import parse as parse_path
from registry.kinds import EXTERNAL, Column, Kind, Scale, Strategy, Version, resource_name, selectable_paths
from registry.lifecycle import UNSAID, Lifecycle, Release
from registry.names import dns1123_label, version_key
from registry.promises import contradictions
from registry.typed import node_of, schema_of

F = TypeVar("F", bound=Callable[..., Any])

AGE = Column("Age", ".metadata.creationTimestamp", "date")
COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")
SPEC, STATUS = ("spec",), ("status",)
HANDLER_OPTIONS = ("operations", "subresources", "order", "timeout_seconds", "thread")


@dataclass(frozen=True, slots=True)
class KindDeclaration:
    """One version of a kind, as a plugin declared it, and what it says about the kind as a whole."""

    model: type
    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    columns: tuple[Column, ...]
    has_status: bool
    scale: Scale | None
    ttl: Ttl | None
    selectable: tuple[str, ...]
    owner: str | None
    deprecated: str | bool | Release
    storage: bool
    source: str
    life: Lifecycle = UNSAID
    waived: Mapping[str, str] = field(default_factory=dict)
    served: bool = True


class Plugin:
    """Declarations of one file or module. `name` appears in logs, errors and the names of its actors.

    `release` is the one that these declarations are of, or are going to be: by it promises of versions are judged.
    """

    def __init__(self, name: str, *, release: Release | None = None) -> None:
        problems = dns1123_label(name)
        if problems:
            raise ValueError(f"plugin name {name!r}: {problems[0]}")
        self.name = name
        self.release = release
        self.kinds: list[KindDeclaration] = []
        self.actors: list[ActorDeclaration] = []
        self.defaulters: list[Handler] = []
        self.mutators: list[Handler] = []
        self.validators: list[Handler] = []
        self.converters: list[Converter] = []

    def kind(
        self,
        model: type,
        *,
        group: str,
        version: str,
        plural: str,
        kind: str = "",
        singular: str = "",
        namespaced: bool = True,
        short_names: Sequence[str] = (),
        categories: Sequence[str] = (),
        columns: Sequence[Column] = (),
        status_subresource: bool | None = None,
        scale: Scale | None = None,
        ttl: str | Ttl | None = None,
        selectable: Sequence[str] = (),
        owner: str | None = None,
        deprecated: str | bool | Release = False,
        storage: bool = False,
        served: bool = True,
        introduced: Release | None = None,
        removed: Release | None = None,
        successor: str = "",
        waive: Mapping[str, str] | None = None,
    ) -> None:
        """Declares a version of a kind. Called again for the same plural and group, it adds a version to the kind.

        `kind` defaults to the name of the model, `singular` to its lower case. `status_subresource` defaults to whether the
        model has
        a status: with it, status is written through `/status` alone. `owner="external"` lets whoever is authorized write the
        status;
        otherwise the kind's actor alone does. `selectable` are JSONPaths that field selectors may name. `deprecated` sends a
        Warning with every answer (a text, or a Release or True for one that names the successor and the end). The stored version is
        the one with `storage=True`, or the most preferred of those that are not deprecated.

        `served=False`: nobody can ask for the version any more, but what is stored in it is still read, in the others. Take it out
        altogether when nothing is: `skep registry migrate` sees to that.

        `ttl` is the path of the seconds after which objects are deleted, counted from their creation, or a `Ttl`.

        `introduced`, `deprecated`, `removed` and `successor` tell the life of the version, see `docs/lifecycle.md`; `waive`
        switches rules off, each with a reason.

        What is declared is checked when the registry is built, together with all the rest.
        """
        life = Lifecycle(introduced, _since(deprecated), removed, successor)
        name = kind or model.__name__
        self.kinds.append(
            KindDeclaration(
                model=model,
                group=group,
                version=version,
                plural=plural,
                kind=name,
                singular=singular or name.lower(),
                namespaced=namespaced,
                short_names=tuple(short_names),
                categories=tuple(categories),
                columns=tuple(columns),
                has_status=_has_status(model) if status_subresource is None else status_subresource,
                scale=scale,
                ttl=Ttl(ttl) if isinstance(ttl, str) else ttl,
                selectable=tuple(selectable),
                owner=owner,
                deprecated=deprecated,
                storage=storage,
                source=_caller(),
                life=life,
                waived=dict(waive or {}),
                served=served,
            )
        )

    def defaults(self, model: type, **options: Any) -> Callable[[F], F]:
        """The decorated function fills in what is missing of objects of this kind: it returns the object with it, or None. What
        somebody has set stays. It is called before the mutators, and again after them if they changed anything."""
        return self._handler(model, self.defaulters, options)

    def mutates(self, model: type, **options: Any) -> Callable[[F], F]:
        """The decorated function may change objects of this kind before they are validated and stored: it returns the next
        object, or None to leave it as it is. Each sees what those before it made.

        The options are the same for all three: `operations` and `subresources` (one or several), `order`, `timeout_seconds` and
        `thread`; see `registry.handlers.Handler`.
        """
        return self._handler(model, self.mutators, options)

    def validates(self, model: type, **options: Any) -> Callable[[F], F]:
        """The decorated function says what is wrong with an object of this kind: a list of `Cause`, or None. All are run, and
        what they found is reported together."""
        return self._handler(model, self.validators, options)

    def converts(self, old: type, new: type) -> Callable[[F], F]:
        """The decorated function makes of an object of one version the same object in another: a value of `old` in, a value of
        `new` out. It is a plain function, and never looks at anything but its argument.

        Neighbours need one in each direction; from version to version the shortest way is taken. The metadata is the same in every
        version: what the function does with it is not looked at. Where `new` cannot hold a field, leave it out: it is not lost.
        """

        def declare(function: F) -> F:
            name, source = f"{self.name}.{getattr(function, '__name__', type(function).__name__)}", source_of(function)
            if not inspect.isclass(old) or not inspect.isclass(new):
                raise DeclarationError(source, f"{name}: a converter is declared for two models: @plugin.converts(Old, New)")
            self.converters.append(Converter(name, old, new, function, source))
            return function

        return declare

    def _handler(self, model: type, handlers: list[Handler], options: dict[str, Any]) -> Callable[[F], F]:
        def declare(function: F) -> F:
            name, source = f"{self.name}.{getattr(function, '__name__', type(function).__name__)}", source_of(function)
            if not inspect.isclass(model):
                raise DeclarationError(source, f"{name}: a handler is declared for a kind: @plugin.validates(Kind)")
            unknown = sorted(options.keys() - HANDLER_OPTIONS)
            if unknown:
                listed = ", ".join(HANDLER_OPTIONS)
                raise DeclarationError(source, f"{name}: there is no option {', '.join(unknown)}; there are {listed}")
            try:
                several: dict[str, Any] = {key: texts(options[key]) for key in ("operations", "subresources") if key in options}
            except TypeError:
                raise DeclarationError(source, f"{name}: operations and subresources are texts, or lists of texts") from None
            handlers.append(Handler(name, model, function, source, **{**options, **several}))
            return function

        return declare

    def actor(self, model: type, *, name: str | None = None, **options: Any) -> Callable[[F], F]:
        """The decorated function or class reconciles objects of this kind and owns their status. `name` defaults to
        `<plugin>-<function>`; it acts as its service account, `kube-system/skep-actor-<name>`. The
        options are those of `registry.declarations.ActorDeclaration`."""

        if not inspect.isclass(model):
            raise DeclarationError(source_of(model), "an actor is declared for a kind: @plugin.actor(Kind)")

        def declare(reconcile: F) -> F:
            source = source_of(reconcile)
            called = name or getattr(reconcile, "__name__", "")
            if not called:
                raise DeclarationError(
                    source, f"an actor of {self.name} has no name: say @plugin.actor({model.__name__}, name=...)"
                )
            chosen = name or f"{self.name}-{called}".lower().replace("_", "-")
            if chosen in BUILTIN_ACTORS:
                raise DeclarationError(source, f"actor {chosen!r}: the server has one of this name; say name=... with another")
            try:
                self.actors.append(ActorDeclaration(name=chosen, model=model, reconcile=reconcile, source=source, **options))
            except TypeError as error:
                raise DeclarationError(source, f"actor {chosen!r}: {error}") from None
            return reconcile

        return declare


def source_of(function: Callable[..., Any]) -> str:
    """`file:line` of a function or class, for errors."""
    target = inspect.unwrap(function)
    try:
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):
        return getattr(target, "__qualname__", repr(target))


def build(plugins: Iterable[Plugin], builtin: Iterable[Kind] = ()) -> Registry:
    """One registry of the built-in kinds and all that the plugins declare. Raises RegistryError with everything that is wrong."""
    listed = list(plugins)
    broken: set[type] = set()  # models of kinds that cannot be made: nothing more is to be said of those
    kinds = list(builtin)
    actors = [actor for plugin in listed for actor in plugin.actors]
    owners = {actor.model: user_of(actor.name) for actor in actors}
    declared: dict[tuple[str, str], list[KindDeclaration]] = {}
    for plugin in listed:
        for declaration in plugin.kinds:
            declared.setdefault((declaration.plural, declaration.group), []).append(declaration)
    resources = {each.model: resource_name(each.plural, each.group) for plugin in listed for each in plugin.kinds}
    converters, problems = sort_out([converter for plugin in listed for converter in plugin.converters], resources)
    for (plural, group), declarations in declared.items():
        try:
            kind, wrong = _kind(declarations, owners, converters.get(resource_name(plural, group), ()))
            kinds.append(kind)
            problems += wrong
        except (TypeError, ValueError) as error:
            problems.append(f"{declarations[0].source}: {declarations[0].kind}: {error}")
            broken.update(declaration.model for declaration in declarations)
    mutators = [handler for plugin in listed for handler in plugin.mutators]
    validators = [handler for plugin in listed for handler in plugin.validators]
    defaulters = [handler for plugin in listed for handler in plugin.defaulters]
    problems += [problem for handler in (*defaulters, *mutators, *validators) for problem in _handler_problems(handler)]
    try:
        registry = Registry(
            kinds,
            actors=[actor for actor in actors if actor.model not in broken],
            mutators=[handler for handler in mutators if handler.model not in broken],
            validators=[handler for handler in validators if handler.model not in broken],
            defaulters=[handler for handler in defaulters if handler.model not in broken],
        )
    except RegistryError as error:
        raise RegistryError([*problems, *contradictions(kinds), *error.problems]) from None
    problems += contradictions(kinds)
    if problems:
        raise RegistryError(problems)
    return registry


def _handler_problems(handler: Handler) -> list[str]:
    if len(inspect.signature(handler.function).parameters) == 1:
        return []
    return [f"{handler.source}: {handler.name} takes one argument, the review"]


def _kind(
    declarations: Sequence[KindDeclaration], owners: dict[type, str], converters: Sequence[Converter]
) -> tuple[Kind, list[str]]:
    ordered = sorted(declarations, key=lambda declaration: version_key(declaration.version))
    first = _stored(ordered)
    for other in ordered:
        _check_agreement(other, first)
        _check_paths(other)
    named = [Declared(f"{each.group}/{each.version}", each.version, each.model, each.source) for each in ordered]
    ways, problems = ways_of(first.kind, named, converters)
    versions = tuple(replace(_version(declaration, first), ways=ways) for declaration in ordered)
    storage = versions[ordered.index(first)]
    owner = next((owners[declaration.model] for declaration in (first, *ordered) if declaration.model in owners), "")
    if any(declaration.owner == EXTERNAL for declaration in ordered):
        owner = EXTERNAL
    kind = Kind(
        name=first.kind,
        plural=first.plural,
        singular=first.singular,
        list_kind=f"{first.kind}List",
        versions=versions,
        storage=storage,
        namespaced=first.namespaced,
        short_names=first.short_names,
        categories=first.categories,
        has_status=first.has_status,
        scale=first.scale,
        ttl=first.ttl,
        owner=owner,
        strategy=Strategy(check=expiring.check),
        source=first.source,
    )
    return kind, problems


def _stored(ordered: Sequence[KindDeclaration]) -> KindDeclaration:
    """The version that objects are stored in. Raises ValueError."""
    chosen = [declaration for declaration in ordered if declaration.storage]
    if len(chosen) > 1:
        raise ValueError(f"two versions say storage=True: {chosen[0].version} and {chosen[1].version}; objects are stored in one")
    asked = [declaration for declaration in ordered if declaration.served]
    if not asked:
        raise ValueError("no version of it is served: nobody could ask for its objects")
    current = [declaration for declaration in asked if not declaration.deprecated]
    first = chosen[0] if chosen else (current or asked)[0]
    if not first.served:
        raise ValueError(f"it is stored in {first.version}, which is not served: store it in one that is")
    return first


def _check_agreement(other: KindDeclaration, first: KindDeclaration) -> None:
    """What all versions of a kind have in common. Raises ValueError."""
    if other.kind != first.kind or other.namespaced != first.namespaced:
        raise ValueError(f"{other.source}: version {other.version} must have the same kind and scope as {first.version}")
    if other.has_status != first.has_status:
        raise ValueError(f"{other.source}: version {other.version} must have a status like {first.version}, or none like it")
    if other.owner not in (None, EXTERNAL):
        raise ValueError(f"{other.source}: owner is {EXTERNAL!r} or left out, not {other.owner!r}")


def _check_paths(declaration: KindDeclaration) -> None:
    """Paths that could be answered with nothing but an error later. Raises ValueError."""
    for column in declaration.columns:
        parse_path(column.path)
        if column.type not in COLUMN_TYPES:
            raise ValueError(f"column {column.name!r} is of the type {column.type!r}; there are {', '.join(COLUMN_TYPES)}")
    for path in declaration.selectable:
        if parse_path("." + path.lstrip(".")).fields is None:
            raise ValueError(f"selectable path {path!r} is not a path of names alone, as in '.spec.url'")
    if declaration.ttl is not None and (problem := expiring.problem(declaration.ttl, node_of(declaration.model))):
        raise ValueError(problem)
    scale = declaration.scale
    if scale is None:
        return
    for what, path, under in (
        ("spec", scale.spec, SPEC),
        ("status", scale.status, STATUS),
        ("selector", scale.selector, SPEC + STATUS),
    ):
        names = parse_path(path).fields if path else ("",)
        if path and (names is None or len(names) < 2 or names[0] not in under):
            raise ValueError(f"scale path {what}={path!r} is not a path of names below {' or '.join('.' + name for name in under)}")
    if not scale.spec or not scale.status:
        raise ValueError("a scale needs the paths of the wanted and of the actual replicas")


def _version(declaration: KindDeclaration, current: KindDeclaration) -> Version:
    shared = declaration.model is current.model  # paths of another shape lead nowhere in this one
    columns = declaration.columns or (current.columns if shared else ()) or (AGE,)
    if not any(column.name.lower() == "age" for column in columns):
        columns = (*columns, AGE)
    this = f"{declaration.group}/{declaration.version} {declaration.kind}"
    successor = f"{current.group}/{current.version} {current.kind}"
    life, warning = declaration.life, declaration.deprecated
    if life.successor:
        successor = f"{life.successor if '/' in life.successor else f'{declaration.group}/{life.successor}'} {declaration.kind}"
    if not isinstance(warning, str):
        warning = lifecycle.warning(this, life, successor if successor != this else "") if warning else ""
    return Version(
        group=declaration.group,
        name=declaration.version,
        kind=declaration.kind,
        schema=schema_of(declaration.model),
        model=declaration.model,
        columns=tuple(replace(column, description=column.description or described(column)) for column in columns),
        selectable=selectable_paths(declaration.selectable or (current.selectable if shared else ())),
        warning=warning,
        lifecycle=life,
        waived=declaration.waived,
        source=declaration.source,
        served=declaration.served,
    )


def described(column: Column) -> str:
    """What the API says of a column that says nothing of itself."""
    return f"Custom resource definition column (in JSONPath format): {column.path}"


def _has_status(model: type) -> bool:
    """Whether the model has one: `Resource[S, None]` has not."""
    return "status" in node_of(model).properties


def _since(deprecated: str | bool | Release) -> Release | None:
    """Since when, as far as it is said; None: it is not deprecated."""
    if isinstance(deprecated, Release):
        return deprecated
    return Release() if deprecated else None


def _caller() -> str:
    """`file:line` of the plugin's own call."""
    frame = inspect.stack(context=0)[2]
    return f"{frame.filename}:{frame.lineno}"
