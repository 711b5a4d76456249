"""Secret (core/v1): bytes by key that are shown to those only who may read them."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated

from registry.builtin.common import IMMUTABLE, MIB, builtin, column, key_causes, printer, version, without_empty
from registry.builtin.configmap import frozen_causes
from registry.errors import Cause, invalid, required, too_long
from registry.kinds import Document
from registry.resource import Format, Meta, Object

OPAQUE = "Opaque"
NEEDED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
"""Keys that a type of secret must have."""


class Secret(Object):
    """Secret holds secret data of a certain type."""

    data: Annotated[dict[str, Annotated[str, Format("byte")]] | None, Meta(description="The secret bytes by key, in base64.")] = (
        None
    )
    string_data: Annotated[
        dict[str, str] | None, Meta(description="Texts by key, for writing only: they are merged into data and never answered.")
    ] = None
    type: Annotated[str | None, Meta(description="What the data is for; says which keys must be there. Cannot change.")] = None
    immutable: Annotated[bool | None, Meta(description="If true, the data can never change again, nor can this.")] = None


def prepare(new: Document, old: Document | None) -> Document:
    """stringData becomes data; the type defaults to Opaque, or stays as it was."""
    document = {**new}
    texts = document.pop("stringData", None) or {}
    if texts:
        encoded = {key: b64encode(value.encode()).decode() for key, value in texts.items()}
        document["data"] = {**document.get("data", {}), **encoded}
    if not document.get("type"):
        document["type"] = old.get("type", OPAQUE) if old else OPAQUE
    return without_empty(document, "data")


def check(new: Document, old: Document | None) -> list[Cause]:
    """Keys, size, what the type needs, and immutability."""
    data, kind = new.get("data", {}), new["type"]
    causes = [*key_causes("data", data)]
    if sum(len(value) * 3 // 4 for value in data.values()) > MIB:
        causes.append(too_long("data", MIB))
    causes += [required(f"data[{key}]") for key in NEEDED.get(kind, ()) if key not in data]
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        causes += [required("data[username]"), required("data[password]")]
    if old is not None and kind != old.get("type"):
        causes.append(invalid("type", kind, IMMUTABLE))
    return causes + frozen_causes(new, old, "data")


TABLE = printer(
    [column("Type", "What the data is for."), column("Data", "How many keys there are.")],
    lambda document, _: [document.get("type", ""), len(document.get("data", {}))],
)
SECRET = builtin(
    "Secret",
    "secrets",
    (version(Secret, "", "v1", "Secret", TABLE, selectable={"type": ".type"}),),
    prepare=prepare,
    check=check,
)
