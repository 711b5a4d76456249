"""The structural schema of a kind: a tree of frozen nodes that says everything about the form of its objects.

It is the one source of pruning, defaulting, validation, merging and OpenAPI, wherever a kind comes from: from a type in Python
(`registry.typed`) or from a definition that arrives at run time. The keywords are those of OpenAPI v3 and of the `x-kubernetes-*`
extensions, as Kubernetes understands them in a CustomResourceDefinition.

Every node of a tree is reached on one way only (no cycles), so that every walk ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

Document = dict[str, Any]
"""A JSON object as it is inside the server. Documents are never changed in place by what is in this package."""

INT64 = (-(2**63), 2**63 - 1)
INT32 = (-(2**31), 2**31 - 1)

TOLD = 1_000
"""Unknown fields, and broken rules, that are told of one document. Who gets that many wrong is helped by no more."""

LONGEST_STEP = 512
"""Characters of a key that a path shows: a path is made for every value below a key, so a huge key would be copied as often."""

EXACT_FLOAT = 2**53 - 1
"""Integers up to here are the same number as a float: `2.0` is an integer, `1e300` is not."""


class ListType(Enum):
    """What a list is: how its items are told apart, and how two writers of it are merged."""

    ATOMIC = "atomic"
    SET = "set"
    MAP = "map"


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, eq=False):
    """What a value may be.

    `type` is a JSON type, or empty: for anything (`preserve`), or for a number or a text (`int_or_string`).
    `properties` are the known fields, `additional` is the form of all others (a map has only that). Fields that neither names are
    dropped, unless `preserve` says that they are kept.
    A null is dropped where it is not `nullable`, and gives way to a default where there is one.
    `name` is the name of the type, for messages about built-in kinds and for OpenAPI; `extensions` go into OpenAPI as they are.
    `linear`: the pattern is not ours, and is looked for by an engine whose time is linear in the text.
    """

    type: str = ""
    name: str = ""
    title: str = ""
    description: str = ""
    properties: Mapping[str, Node] = {}
    additional: Node | None = None
    items: Node | None = None
    required: tuple[str, ...] = ()
    default: Any = UNSET
    nullable: bool = False
    preserve: bool = False
    int_or_string: bool = False
    enum: tuple[Any, ...] = ()
    format: str = ""
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str = ""
    linear: bool = False
    min_items: int | None = None
    max_items: int | None = None
    min_properties: int | None = None
    max_properties: int | None = None
    list_type: ListType | None = None
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""
    examples: tuple[Any, ...] = ()
    extensions: Mapping[str, Any] = {}
    bulky: bool = False
    """Whether its defaults are long, and there may be many of it: what is filled in is counted."""

    @property
    def has_default(self) -> bool:
        """Whether a value is filled in where there is none."""
        return not isinstance(self.default, UnsetType)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest integer of the format."""
        return INT32 if self.format == "int32" else INT64


class Dialect(Enum):
    """How wrong types are told, and what else is particular to where a kind comes from.

    CUSTOM: kinds of plugins and definitions. A wrong type is one cause among others of a 422. BUILTIN: the kinds of Kubernetes
    itself, which Go decodes into structs. A wrong type ends the reading with a 400, a null in a map or a list is the zero value,
    and times are brought into their one form. Metadata is read in the second way in both.
    """

    CUSTOM = "custom"
    BUILTIN = "builtin"


def below(path: str, key: str) -> str:
    """The path of a field, from that of the object that it is in."""
    key = key if len(key) <= LONGEST_STEP else f"{key[:LONGEST_STEP]}..."
    return f"{path}.{key}" if path else key


def copied(value: Any) -> Any:
    """A copy that shares no object and no list."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, with their types: 1 is not true, and not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
