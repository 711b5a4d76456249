"""Kinds and their versions.

A `Kind` is stored once, as one resource (`probes.uptime.example`), and served in one or more `Version`s. A version says how an
object looks in it: its schema, its columns, its warning when it is deprecated. Versions of one shape are served by relabelling what
is stored; where versions have different shapes, they have `Ways` to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from registry import handlers
from registry.errors import Cause
from registry.expiring import Ttl
from registry.jsonpath import JSONPath
from registry.jsonpath import parse as parse_path
from registry.lifecycle import UNSAID, Lifecycle
from registry.names import dns1123_subdomain
from registry.schema import Schema
from registry.ways import Ways

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
class Beside:
    """What the objects of one version have below their paths."""

    status: bool = False
    scale: Scale | None = None


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
    `last_finalizer` is put on an object by its first deletion: the server takes it away when it has done what has to be done.
    `answers_deleted`: what a delete removes at once is answered as it was, not as a Status.
    `looks_long`: `check` may take seconds, and does so in a thread; so does the reading of long bodies.
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
    last_finalizer: str = ""
    answers_deleted: bool = False
    prepare: Prepare = as_is
    check: Check = no_causes
    looks_long: bool = False


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
    served: bool = True
    """False: nobody can ask for it. Objects may still be stored in it."""
    check: Check = no_causes
    beside: Beside | None = None
    """What its objects have below their paths; None: what the kind says."""
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
    defined: bool = False
    """By a CustomResourceDefinition of the same name as its resource: it comes, changes and goes while the server runs."""
    closed: str = ""
    """Why no more objects of it can be made."""
    resource: str = field(init=False, default="")
    """What the store files its objects under: `plural.group`, or the plural alone in the core group."""

    @property
    def group(self) -> str:
        """The group that the kind is stored under."""
        return self.storage.group

    @property
    def served(self) -> tuple[Version, ...]:
        """The versions that can be asked for, preferred first."""
        return tuple(version for version in self.versions if version.served)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that it is served in."""
        return tuple(dict.fromkeys(version.group for version in self.served))

    @property
    def subresources(self) -> Mapping[str, tuple[str, ...]]:
        """What the kind's objects have below their paths, each with its verbs."""
        status = {"status": SUBRESOURCE_VERBS} if self.has_status else {}
        scale = {"scale": SUBRESOURCE_VERBS} if self.scale is not None else {}
        return {**status, **scale, **self.extra_subresources}

    def seen_in(self, version: Version) -> Kind:
        """The kind as it is in one of its versions: versions may differ in their subresources."""
        beside = version.beside
        if beside is None or (beside.status == self.has_status and beside.scale == self.scale):
            return self
        return replace(self, has_status=beside.status, scale=beside.scale)

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


def selectable_paths(paths: Iterable[str]) -> dict[str, JSONPath]:
    """Field-selector names (JSONPaths without the leading dot) with their compiled paths."""
    return {path.lstrip("."): parse_path("." + path.lstrip(".")) for path in paths}
