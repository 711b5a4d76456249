"""Discovery: what is served, as documents that are made when they are asked for, and kept for as long as they are true.

Plain discovery is a walk (`/api`, `/apis`, `/apis/{group}`, `/apis/{group}/{version}`); aggregated discovery is all of it in two
answers (`apidiscovery.k8s.io/v2`, KEP-3352), each with an ETag of its content.

Kinds come and go while a server runs. What is made of a group holds until one of its kinds is another one, so a change costs the
groups that it is about, and joining what is there of all.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from apiserver.negotiation import YAML, Form, clauses
from apiserver.negotiation import choose as choose_form
from registry.catalog import Catalog, Registry
from registry.documents import dump_yaml
from registry.errors import NotAcceptable
from registry.kinds import Kind

Document = dict[str, Any]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
BODIES = {
    "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
    "token": {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"},
}
"""Subresources whose bodies are of another kind than their object."""

_RESPONSE = b"\0"
"""Stands for the kind that answers, in a template: no JSON text has this byte."""
_LIST_HEAD = b'{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":['


@dataclass(frozen=True, slots=True)
class Page:
    """One discovery document in one form, ready to be sent."""

    body: bytes
    content_type: str
    etag: str = ""


class Discovery:
    """The documents of the registry that is in force. Asking again costs a look-up."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._shown = _Shown(catalog.registry, {})

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that has a document."""
        return self._now().paths

    def find(self, path: str, accept: str) -> Page | None:
        """The document at a path such as `apis/uptime.example/v1`, in the form that Accept asks for; None if there is none there.

        Raises NotAcceptable.
        """
        shown = self._now()
        if path in ("api", "apis") and _wants_aggregated(accept):
            return shown.aggregated(path)
        body = shown.plain(path)
        if body is None:
            return None
        if _plain_form(accept).media == YAML:
            return Page(dump_yaml(msgspec.json.decode(body)), YAML)
        return Page(body, "application/json")

    def _now(self) -> _Shown:
        if self._shown.registry is not self._catalog.registry:
            self._shown = _Shown(self._catalog.registry, self._shown.groups)
        return self._shown


class _Shown:
    """The documents of one registry. Of `known` those groups are taken over that have the same kinds in it."""

    def __init__(self, registry: Registry, known: dict[str, _Group]) -> None:
        self.registry = registry
        self.groups: dict[str, _Group] = {}
        for group in in_order(registry):
            kinds, before = registry.of_group(group), known.get(group)
            same = before is not None and before.kinds is kinds
            self.groups[group] = before if same and before is not None else _Group(group, registry.groups[group], kinds)
        self._aggregated: dict[str, Page] = {}

    def plain(self, path: str) -> bytes | None:
        """The document at a path; None if there is none."""
        match path.split("/"):
            case ["api"] if "" in self.groups:
                return self._versions
            case ["apis"]:
                return self._list
            case ["api", version] if "" in self.groups:
                return self.groups[""].resources(version)
            case ["apis", group] if group and group in self.groups:
                return self.groups[group].described
            case ["apis", group, version] if group and group in self.groups:
                return self.groups[group].resources(version)
        return None

    def aggregated(self, path: str) -> Page:
        """All of the core group (`api`) or of the others (`apis`) in one document."""
        page = self._aggregated.get(path)
        if page is None:
            entries = [group.aggregated for name, group in self.groups.items() if (not name) == (path == "api")]
            body = _LIST_HEAD + b",".join(entries) + b"]}"
            page = self._aggregated[path] = Page(body, AGGREGATED, f'"{hashlib.sha256(body).hexdigest().upper()}"')
        return page

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Every path that has a document."""
        found = ["/api", "/apis"] if "" in self.groups else ["/apis"]
        for name, group in self.groups.items():
            base = f"/apis/{name}" if name else "/api"
            found += [*([base] if name else []), *(f"{base}/{version}" for version in group.versions)]
        return tuple(found)

    @cached_property
    def _versions(self) -> bytes:
        return msgspec.json.encode(
            {"kind": "APIVersions", "versions": list(self.groups[""].versions), "serverAddressByClientCIDRs": []}
        )

    @cached_property
    def _list(self) -> bytes:
        groups = b",".join(group.entry for name, group in self.groups.items() if name)
        return b'{"kind":"APIGroupList","apiVersion":"v1","groups":[' + groups + b"]}"


class _Group:
    """What is made of one group, each document when it is first asked for."""

    def __init__(self, name: str, versions: tuple[str, ...], kinds: tuple[Kind, ...]) -> None:
        self.name = name
        self.versions = versions
        self.kinds = kinds
        self._resources: dict[str, bytes] = {}

    @cached_property
    def entry(self) -> bytes:
        """The group in the list of groups."""
        return msgspec.json.encode(self._entry())

    @cached_property
    def described(self) -> bytes:
        """The document of the group alone."""
        return msgspec.json.encode({"kind": "APIGroup", "apiVersion": "v1", **self._entry()})

    @cached_property
    def aggregated(self) -> bytes:
        """The group in an aggregated document."""
        resources: dict[str, list[bytes]] = {version: [] for version in self.versions}
        for kind in sorted(self.kinds, key=lambda kind: kind.plural):
            usual = _aggregated_template(kind)
            for version in kind.served:
                if version.group == self.name:
                    seen = kind.seen_in(version)
                    template = usual if seen is kind else _aggregated_template(seen)
                    response = {"group": version.group, "version": version.name, "kind": kind.name}
                    resources[version.name].append(template.replace(_RESPONSE, msgspec.json.encode(response)))
        versions = (
            b'{"version":%b,"resources":[%b],"freshness":"Current"}' % (msgspec.json.encode(name), b",".join(entries))
            for name, entries in resources.items()
        )
        metadata = {"name": self.name} if self.name else {}
        return b'{"metadata":%b,"versions":[%b]}' % (msgspec.json.encode(metadata), b",".join(versions))

    def resources(self, version: str) -> bytes | None:
        """The document of one version; None if the group does not have it."""
        if version not in self.versions:
            return None
        if version not in self._resources:
            kinds = sorted(_having(self.kinds, self.name, version), key=lambda kind: kind.plural)
            document = {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{self.name}/{version}" if self.name else version,
                "resources": [entry for kind in kinds for entry in _resources(_seen(kind, self.name, version))],
            }
            self._resources[version] = msgspec.json.encode(document)
        return self._resources[version]

    def _entry(self) -> Document:
        listed = [{"groupVersion": f"{self.name}/{version}", "version": version} for version in self.versions]
        return {"name": self.name, "versions": listed, "preferredVersion": dict(listed[0])}


def in_order(registry: Registry) -> list[str]:
    """The groups as they are listed: those with built-in kinds as they came, then the others by their names. So the order says
    nothing about when a group came."""
    own: list[str] = []
    others: list[str] = []
    for group in registry.groups:
        (own if any(kind.strategy.builtin for kind in registry.of_group(group)) else others).append(group)
    return [*own, *sorted(others)]


def _wants_aggregated(accept: str) -> bool:
    """Aggregated discovery is answered wherever it stands in Accept, also behind plain JSON, as Kubernetes 1.36 does."""
    return any(
        (clause.parameter("g"), clause.parameter("v"), clause.parameter("as"))
        == ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList")
        for clause in clauses(accept)
    )


def _plain_form(accept: str) -> Form:
    form = choose_form(accept, shapes=False)
    if not accept.strip() or any(not clause.parameter("as") for clause in clauses(accept)):
        return form
    raise NotAcceptable(
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def _having(kinds: Iterable[Kind], group: str, version: str) -> Iterator[Kind]:
    return (kind for kind in kinds if any((each.group, each.name) == (group, version) for each in kind.served))


def _seen(kind: Kind, group: str, version: str) -> Kind:
    """The kind as it is in a version that it has."""
    return next(kind.seen_in(each) for each in kind.served if (each.group, each.name) == (group, version))


def _resources(kind: Kind) -> Iterator[Document]:
    entry: Document = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.stored:
        entry["storageVersionHash"] = _storage_hash(kind)
    yield entry
    for name, verbs in kind.subresources.items():
        body: Document = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
        yield body | BODIES.get(name, {"kind": kind.name}) | {"verbs": list(verbs)}


def _storage_hash(kind: Kind) -> str:
    text = f"{kind.storage.group}/{kind.storage.name}/{kind.name}"
    return b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _aggregated_template(kind: Kind) -> bytes:
    """What aggregated discovery says of a kind, the same in each of its versions but for `_RESPONSE`."""
    entry: Document = {
        "resource": kind.plural,
        "responseKind": msgspec.Raw(_RESPONSE),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    subresources = [
        {
            "subresource": name,
            "responseKind": BODIES.get(name, msgspec.Raw(_RESPONSE)),
            "verbs": list(verbs),
        }
        for name, verbs in kind.subresources.items()
    ]
    return msgspec.json.encode(entry | ({"subresources": subresources} if subresources else {}))
