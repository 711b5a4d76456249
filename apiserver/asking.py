"""What a request asks to be allowed, made of its address alone, as Kubernetes makes it (`RequestInfo`). Pure.

* What is below `/api/v1` and `/apis/{group}/{version}` is a resource, served or not: who may not ask is not told whether it is
  there. Everything else is a path.
* A namespace itself is in the namespace of its name. A name that a field selector demands is the name of a list or a watch.
* A `/watch/` before the rest is a watch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from admission.identity import Identity
from admission.review import Attributes
from apiserver.options import flag, text
from apiserver.target import Target
from registry.errors import ApiError
from registry.kinds import resource_name
from registry.names import path_segment
from registry.selectors import FieldSelector, Term

Query = Mapping[str, Sequence[str]]

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "GET": "get", "HEAD": "get", "DELETE": "delete"}
SELECTED = frozenset({"list", "watch"})
"""Verbs whose name may stand in a field selector."""
OF_NAMESPACES = frozenset({"status", "finalize"})


def verb_of(method: str, name: str, query: Query) -> str:
    """What a method on an object, or on a collection, means. A method that means nothing is its own verb."""
    verb = VERBS.get(method, method.lower())
    if name:
        return verb
    if verb == "get":
        return "watch" if flag(query, "watch") else "list"
    return "deletecollection" if verb == "delete" else verb


def as_watch(target: Target, query: Query) -> tuple[Target, Query]:
    """A watch in its present form, of one in the old form, with `/watch/` in the path."""
    query = {**query, "watch": ["1"]}
    if target.name:
        query["fieldSelector"] = [str(Term("metadata.name", target.name))]
    return Target(target.kind, target.version, target.namespace), query


def attributes(identity: Identity, verb: str, target: Target, query: Query) -> Attributes:
    """What a request for a resource asks for."""
    plural, name, namespace = target.kind.plural, target.name, target.namespace or ""
    resource = resource_name(plural, target.version.group)
    if name:
        if plural == "namespaces":
            namespace = name
    elif verb in SELECTED and "fieldSelector" in query:
        name = selected(query)
    return Attributes(identity, verb, resource, target.subresource, namespace, name)


def selected(query: Query) -> str:
    """The name that a field selector demands; none if it demands none, or cannot be read."""
    try:
        name = FieldSelector.parse(text(query, "fieldSelector")).requires("metadata.name") or ""
    except ApiError:
        return ""
    return "" if path_segment(name) else name


def of_path(identity: Identity, method: str, path: str) -> Attributes:
    """What a request for something else than a resource asks for. HEAD is a GET whose answer is not sent."""
    return Attributes(identity, "get" if method == "HEAD" else method.lower(), "", path=path)


def unresolved(identity: Identity, method: str, parts: Sequence[str], query: Query) -> Attributes:
    """What a request asks for that looks like one for a resource, and whose path addresses nothing. See `target.resolve`."""
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    watching = rest[0] == "watch" and len(rest) > 1
    if watching:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in OF_NAMESPACES:
            rest = rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    verb = "watch" if watching else verb_of(method, name, query)
    if not name and verb in SELECTED:
        name = selected(query)
    subresource = rest[2] if len(rest) > 2 and not watching else ""
    return Attributes(identity, verb, resource_name(rest[0], group), subresource, namespace, name)
