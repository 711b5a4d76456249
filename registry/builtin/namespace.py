"""Namespace (core/v1): a room for names. It goes when it is empty, and takes nothing new while it goes."""

from __future__ import annotations

from typing import Annotated

from registry.builtin.common import VERBS, builtin, column, printer, version
from registry.kinds import Document
from registry.names import dns1123_label
from registry.resource import Conditions, Meta, Object, OmitEmpty, Spec, Status

NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"
INITIAL = ("default", "kube-system")
"""There from the first start on; cannot be deleted."""


class NamespaceSpec(Spec):
    """NamespaceSpec says who has to finish before the namespace goes."""

    finalizers: Annotated[tuple[str, ...], OmitEmpty, Meta(description="Taken out when the contents are gone.")] = ()


class NamespaceStatus(Status):
    """NamespaceStatus says where in its life the namespace is."""

    phase: Annotated[str, OmitEmpty, Meta(description="Active, or Terminating while its contents go.")] = ""
    conditions: Annotated[Conditions, OmitEmpty, Meta(description="What a terminating namespace still waits for.")] = ()


class Namespace(Object):
    """Namespace provides a scope for names."""

    spec: Annotated[NamespaceSpec | None, Meta(description="How the namespace behaves.")] = None
    status: Annotated[NamespaceStatus | None, Meta(description="Where in its life the namespace is.")] = None


def prepare(new: Document, old: Document | None) -> Document:
    """Every namespace carries its name as a label; the finalizers of its spec change through /finalize alone."""
    metadata = new["metadata"]
    labels = {**metadata.get("labels", {}), NAME_LABEL: metadata.get("name", "")}
    document = {**new, "metadata": {**metadata, "labels": labels}}
    if old is None:
        return {**document, "spec": {"finalizers": [FINALIZER]}, "status": {"phase": "Active"}}
    return {**document, "spec": old.get("spec", {})}


def name_rule(name: str) -> list[str]:
    """A DNS label; a dot is told apart, since it is what people try."""
    return ["must not contain dots"] if "." in name and not dns1123_label(name.replace(".", "")) else dns1123_label(name)


TABLE = printer(
    [column("Status", "Active, or Terminating while its contents go.")],
    lambda document, _: [document.get("status", {}).get("phase", "")],
)
NAMESPACE = builtin(
    "Namespace",
    "namespaces",
    (version(Namespace, "", "v1", "Namespace", TABLE, selectable={"status.phase": ".status.phase"}),),
    prepare=prepare,
    short=("ns",),
    namespaced=False,
    has_status=True,
    name_rule=name_rule,
    verbs=tuple(verb for verb in VERBS if verb != "deletecollection"),
    subresources={"finalize": ("update",)},
    collection_deletes=False,
    protected=frozenset({*INITIAL, "kube-public"}),
    finalizers_in_spec=True,
)
