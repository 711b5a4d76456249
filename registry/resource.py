"""What the author of a kind imports: typed resources, their metadata, and the words to say more about a field.

    class ProbeSpec(Spec):
        url: str
        interval_seconds: Annotated[int, Meta(ge=1, le=3600)] = 30

    class ProbeStatus(Status):
        ready: bool = False
        conditions: Conditions = ()

    class Probe(Resource[ProbeSpec, ProbeStatus]):
        '''Checks that a URL answers.'''

Values are frozen: the next state of an object is another value (`replace`). Field names are snake_case in Python and camelCase on
the wire. A docstring of a class describes it to clients, `Meta(description=...)` describes a field.

What a default means: a field with a default may be left out, and the default is written into the stored object, so that a later
change of the default does not change old objects. Two kinds of fields are not written when nothing is said: those whose default is
None, and those marked `OmitEmpty`.

Inside the server objects are plain JSON documents; unknown fields are dropped and reported before a value of these types is made.
A value is therefore made from any stored document, also from one that has more fields than its type has now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, dataclass_transform

import msgspec
from msgspec import Meta
from msgspec.structs import replace

__all__ = [
    "Condition",
    "Conditions",
    "Format",
    "IntOrString",
    "ListMap",
    "ListSet",
    "ManagedFieldsEntry",
    "Meta",
    "Metadata",
    "MicroTime",
    "Object",
    "OmitEmpty",
    "OwnerReference",
    "PreserveUnknown",
    "Resource",
    "Spec",
    "Status",
    "Struct",
    "Time",
    "find_condition",
    "is_true",
    "replace",
    "set_condition",
]

S_co = TypeVar("S_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)


class _FrozenByKeyword(msgspec.StructMeta):
    """Makes frozen and keyword-only the default of every subclass: msgspec alone inherits the first, and not the second."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **config: Any) -> _FrozenByKeyword:
        return super().__new__(mcls, name, bases, namespace, **({"frozen": True, "kw_only": True} | config))


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", metaclass=_FrozenByKeyword):
    """Base of everything that has fields: frozen, by keyword, camelCase on the wire.

    `wire_name` is the name of the type on the wire, in messages and in OpenAPI, where it is not the name of the class.
    """

    wire_name: ClassVar[str] = ""


class Spec(Struct):
    """Base of what is wanted: written by users."""


class Status(Struct):
    """Base of what is: written by the actor that owns the kind, and by nobody else."""


# Words about fields, for Annotated. Each is a Meta, so they can be combined: Annotated[list[str], ListSet, Meta(max_length=9)].

ListSet = Meta(extra_json_schema={"x-kubernetes-list-type": "set"})
"""The list is a set: no item may be there twice, and server-side apply merges by item."""


def ListMap(*keys: str) -> Meta:  # noqa: N802
    """The list is a map: `keys` (as they are on the wire) name an item, no two items have the same, and apply merges by them."""
    return Meta(extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)})


def Format(name: str) -> Meta:  # noqa: N802
    """The text, or number, has a format of JSON Schema: `date-time`, `uuid`, `ipv4`, `int32`... A format that is not known is not
    checked.
    """
    return Meta(extra_json_schema={"format": name})


PreserveUnknown = Meta(extra_json_schema={"x-kubernetes-preserve-unknown-fields": True})
"""Fields that the schema does not know are kept as they are, at any depth below."""

OmitEmpty = Meta(extra_json_schema={"x-omit-empty": True})
"""Has no default on the wire: not stored and not answered while it has its default in Python ("", 0, False, (), {})."""

Time = Annotated[str, Format("date-time")]
"""A moment as `2026-01-02T03:04:05Z`: RFC 3339, whole seconds. `registry.times` reads and writes it."""

MicroTime = Annotated[str, Format("micro-time")]
"""A moment as `2026-01-02T03:04:05.000000Z`, with exactly six digits: clients parse it with a fixed layout."""

IntOrString = Annotated[int | str, Meta(extra_json_schema={"x-kubernetes-int-or-string": True})]
"""A number or a text, such as a port or a percentage."""

_Text = Annotated[str, OmitEmpty]
_Texts = Annotated[dict[str, str], OmitEmpty]


class OwnerReference(Struct):
    """The object that this one belongs to: when the owner goes, this goes."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ManagedFieldsEntry(Struct):
    """Which fields one writer has set, for server-side apply."""

    manager: _Text = ""
    operation: _Text = ""
    api_version: _Text = ""
    time: Time | None = None
    fields_type: _Text = ""
    fields_v1: dict[str, Any] | None = msgspec.field(default=None, name="fieldsV1")
    subresource: _Text = ""


class Metadata(Struct):
    """What every object says of itself: its names, its identity in time, its labels, and what else depends on it."""

    wire_name: ClassVar[str] = "ObjectMeta"

    name: Annotated[
        str, OmitEmpty, Meta(description="Unique within the namespace (or the server) among objects of the kind. Cannot change.")
    ] = ""
    generate_name: Annotated[
        str, OmitEmpty, Meta(description="A prefix that the server completes to a unique name when no name is given.")
    ] = ""
    namespace: Annotated[str, OmitEmpty, Meta(description="The space in which the name is unique. Cannot change.")] = ""
    self_link: Annotated[str, OmitEmpty, Meta(description="Obsolete; never set.")] = ""
    uid: Annotated[str, OmitEmpty, Meta(description="Identifies the object in time: set by the server, never given twice.")] = ""
    resource_version: Annotated[
        str, OmitEmpty, Meta(description="The revision of this state. Sent with a write, the write holds only for that revision.")
    ] = ""
    generation: Annotated[int, OmitEmpty, Meta(description="Counts the changes of what is wanted. Set by the server.")] = 0
    creation_timestamp: Annotated[Time | None, Meta(description="When the object was made. Set by the server.")] = None
    deletion_timestamp: Annotated[
        Time | None,
        Meta(description="When deletion was asked for; the object goes when its finalizers are gone. Set by the server."),
    ] = None
    deletion_grace_period_seconds: Annotated[int | None, Meta(description="Seconds until the deletion. Set by the server.")] = None
    labels: Annotated[dict[str, str], OmitEmpty, Meta(description="Names and values by which objects are selected.")] = {}
    annotations: Annotated[dict[str, str], OmitEmpty, Meta(description="Names and values that tools keep with the object.")] = {}
    owner_references: Annotated[
        tuple[OwnerReference, ...],
        ListMap("uid"),
        OmitEmpty,
        Meta(description="What this object belongs to. It goes when all of them are gone."),
    ] = ()
    finalizers: Annotated[
        tuple[str, ...],
        ListSet,
        OmitEmpty,
        Meta(description="Who has to clean up before the object goes; each takes its own name out."),
    ] = ()
    managed_fields: Annotated[
        tuple[ManagedFieldsEntry, ...], OmitEmpty, Meta(description="Who has set which fields. Kept by the server for apply.")
    ] = ()


class Object(Struct):
    """Base of every kind: what all objects have. `api_version` and `kind` are set by the server; a new value may leave them
    empty.
    """

    api_version: Annotated[
        str, OmitEmpty, Meta(description="The group and version of the schema that this object is written in: `group/version`.")
    ] = ""
    kind: Annotated[str, OmitEmpty, Meta(description="The kind of object that this is, in CamelCase.")] = ""
    metadata: Annotated[Metadata, OmitEmpty, Meta(description="Standard metadata of every object.")] = Metadata()


class Resource(Object, Generic[S_co, T_co]):
    """An object with a desired state and, made of it by an actor, an observed one. `Resource[S, None]` is a kind without status."""

    spec: S_co
    status: T_co | None = None


class Condition(Struct):
    """One aspect of an object's state, in the form that `kubectl wait --for=condition=...` knows (Kubernetes API conventions)."""

    type: Annotated[str, Meta(description="The aspect, in CamelCase: Ready, Progressing.")]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether it holds.")]
    reason: Annotated[str, OmitEmpty, Meta(description="Why, in one CamelCase word, for machines.")] = ""
    message: Annotated[str, OmitEmpty, Meta(description="Why, in a sentence, for people.")] = ""
    last_transition_time: Annotated[Time | None, Meta(description="When the status last changed.")] = None
    observed_generation: Annotated[int | None, Meta(description="The generation of the object that this was found for.")] = None


Conditions = Annotated[tuple[Condition, ...], ListMap("type"), OmitEmpty]
"""The conditions of a status; no two of the same type. `conditions: Conditions = ()`"""


def find_condition(conditions: Iterable[Condition], type: str) -> Condition | None:
    """The condition of that type; None if there is none."""
    return next((condition for condition in conditions if condition.type == type), None)


def is_true(conditions: Iterable[Condition], type: str) -> bool:
    """Whether there is a condition of that type and it holds."""
    found = find_condition(conditions, type)
    return found is not None and found.status == "True"


def set_condition(conditions: Sequence[Condition], new: Condition, now: str) -> tuple[Condition, ...]:
    """The conditions with `new` in the place of the one of its type, or at the end.

    `last_transition_time` becomes `now` (a `Time`) when the status is not what it was, and else stays as it was: what `new` says
    about it is not looked at. An unchanged condition gives equal conditions, so that the write is none.
    """
    old = find_condition(conditions, new.type)
    since = old.last_transition_time if old is not None and old.status == new.status else None
    dated = replace(new, last_transition_time=since or now)
    if old is None:
        return (*conditions, dated)
    return tuple(dated if condition.type == new.type else condition for condition in conditions)
