"""Kinds as they come while a server runs: no model, no handlers, and nobody who owns them."""

from __future__ import annotations

from registry.kinds import Column, Kind, Version
from registry.nodes import Node
from registry.schema import Schema

GROUP = "late.example"
SPEC = Node(type="object", properties={"size": Node(type="integer"), "note": Node(type="string")})
METADATA = Node(type="object", preserve=True)
TEXT = Node(type="string")
STATUS = Node(type="object", preserve=True)
SCHEMA = Schema(
    Node(type="object", properties={"apiVersion": TEXT, "kind": TEXT, "metadata": METADATA, "spec": SPEC, "status": STATUS})
)
COLUMNS = (Column("SIZE", ".spec.size", "integer"),)


def late_kind(
    name: str = "Comet",
    *versions: str,
    group: str = GROUP,
    namespaced: bool = True,
    columns: tuple[Column, ...] = COLUMNS,
    short: str = "",
) -> Kind:
    """A kind whose first version is stored."""
    made = tuple(Version(group=group, name=version, kind=name, schema=SCHEMA, columns=columns) for version in versions or ("v1",))
    return Kind(
        name=name,
        plural=f"{name.lower()}s",
        singular=name.lower(),
        list_kind=f"{name}List",
        versions=made,
        storage=made[0],
        namespaced=namespaced,
        short_names=(short,) if short else (),
    )
