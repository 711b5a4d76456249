"""ConfigMap (core/v1): configuration as texts and bytes by key."""

from __future__ import annotations

from typing import Annotated

from registry.builtin.common import MIB, builtin, column, key_causes, printer, version, without_empty
from registry.errors import Cause, forbidden, invalid, too_long
from registry.kinds import Document
from registry.resource import Format, Meta, Object


class ConfigMap(Object):
    """ConfigMap holds configuration data for actors and other clients to consume."""

    data: Annotated[dict[str, str] | None, Meta(description="Texts by key. Keys are letters, digits, '-', '_' and '.'.")] = None
    binary_data: Annotated[
        dict[str, Annotated[str, Format("byte")]] | None, Meta(description="Bytes by key, in base64; no key may be in data too.")
    ] = None
    immutable: Annotated[bool | None, Meta(description="If true, the data can never change again, nor can this.")] = None


def prepare(new: Document, old: Document | None) -> Document:
    """Empty maps are not stored."""
    del old
    return without_empty(new, "data", "binaryData")


def check(new: Document, old: Document | None) -> list[Cause]:
    """Keys, size, and immutability."""
    data, binary = new.get("data", {}), new.get("binaryData", {})
    causes = [*key_causes("data", data)]
    causes += [invalid(f"data[{key}]", key, "duplicate of key present in binaryData") for key in data if key in binary]
    causes += key_causes("binaryData", binary)
    size = sum(len(value.encode()) for value in data.values()) + sum(len(value) * 3 // 4 for value in binary.values())
    if size > MIB:
        causes.append(too_long("[]", MIB))
    return causes + frozen_causes(new, old, "data", "binaryData")


def frozen_causes(new: Document, old: Document | None, *fields: str) -> list[Cause]:
    """What changed although the object is immutable."""
    if old is None or not old.get("immutable"):
        return []
    changed = [field for field in fields if new.get(field) != old.get(field)]
    if not new.get("immutable"):
        changed.insert(0, "immutable")
    return [forbidden(field, "field is immutable when `immutable` is set") for field in changed]


TABLE = printer(
    [column("Data", "How many keys there are.")],
    lambda document, _: [len(document.get("data", {})) + len(document.get("binaryData", {}))],
)
CONFIG_MAP = builtin(
    "ConfigMap", "configmaps", (version(ConfigMap, "", "v1", "ConfigMap", TABLE),), prepare=prepare, check=check, short=("cm",)
)
