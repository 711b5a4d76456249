"""Discovery: what is served, as documents that are made once per registry.

Plain discovery is a walk (`/api`, `/apis`, `/apis/{group}`, `/apis/{group}/{version}`); aggregated discovery is all of it in two
answers (`apidiscovery.k8s.io/v2`, KEP-3352), each with an ETag of its content.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from apiserver.negotiation import YAML, Form, clauses
from apiserver.negotiation import choose as choose_form
from registry.catalog import Registry
from registry.documents import dump_yaml
from registry.errors import NotAcceptable
from registry.kinds import Kind, Version

Document = dict[str, Any]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
BODIES = {
    "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
    "token": {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"},
}
"""Subresources whose bodies are of another kind than their object."""


@dataclass(frozen=True, slots=True)
class Page:
    """One discovery document in one form, ready to be sent."""

    body: bytes
    content_type: str
    etag: str = ""


class Discovery:
    """The documents of one registry. Asking again costs a look-up."""

    def __init__(self, registry: Registry) -> None:
        self._documents = _plain(registry)
        self._aggregated = {
            "api": _page(_group_list([_aggregated_group(registry, "")])),
            "apis": _page(_group_list([_aggregated_group(registry, group) for group in registry.groups if group])),
        }
        self._encoded = {path: msgspec.json.encode(document) for path, document in self._documents.items()}
        self.paths: tuple[str, ...] = tuple(f"/{path}" for path in self._documents)

    def find(self, path: str, accept: str) -> Page | None:
        """The document at a path such as `apis/uptime.example/v1`, in the form that Accept asks for; None if there is none there.

        Raises NotAcceptable.
        """
        body = self._encoded.get(path)
        if body is None:
            return None
        aggregated = self._aggregated.get(path)
        if aggregated is not None and _wants_aggregated(accept):
            return aggregated
        form = _plain_form(accept)
        if form.media == YAML:
            return Page(dump_yaml(self._documents[path]), YAML)
        return Page(body, "application/json")


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


def _plain(registry: Registry) -> dict[str, Document]:
    documents: dict[str, Document] = {
        "api": {"kind": "APIVersions", "versions": list(registry.groups.get("", ())), "serverAddressByClientCIDRs": []},
        "apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    }
    for group, versions in registry.groups.items():
        if group:
            entry = _group(group, versions)
            documents["apis"]["groups"].append(entry)
            documents[f"apis/{group}"] = {"kind": "APIGroup", "apiVersion": "v1", **entry}
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            resources = [entry for kind, served in _served(registry, group, version) for entry in _resources(kind, served)]
            documents[path] = {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{group}/{version}" if group else version,
                "resources": resources,
            }
    return documents


def _group(group: str, versions: tuple[str, ...]) -> Document:
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": dict(listed[0])}


def _served(registry: Registry, group: str, version: str) -> Iterator[tuple[Kind, Version]]:
    found = [
        (kind.seen_in(served), served)
        for kind in registry.of_group(group)
        for served in kind.served
        if (served.group, served.name) == (group, version)
    ]
    yield from sorted(found, key=lambda item: item[0].plural)


def _resources(kind: Kind, version: Version) -> Iterator[Document]:
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


def _group_list(groups: list[Document]) -> Document:
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": groups}


def _page(document: Document) -> Page:
    body = msgspec.json.encode(document)
    return Page(body, AGGREGATED, f'"{hashlib.sha256(body).hexdigest().upper()}"')


def _aggregated_group(registry: Registry, group: str) -> Document:
    versions = [
        {
            "version": version,
            "resources": [_aggregated_resource(kind, served) for kind, served in _served(registry, group, version)],
            "freshness": "Current",
        }
        for version in registry.groups.get(group, ())
    ]
    return {"metadata": {"name": group} if group else {}, "versions": versions}


def _aggregated_resource(kind: Kind, version: Version) -> Document:
    response = {"group": version.group, "version": version.name, "kind": kind.name}
    entry: Document = {
        "resource": kind.plural,
        "responseKind": response,
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
            "responseKind": BODIES.get(name, response),
            "verbs": list(verbs),
        }
        for name, verbs in kind.subresources.items()
    ]
    return entry | ({"subresources": subresources} if subresources else {})
