"""Schemas as the types of a programming language: named structs with fields, lists, maps and scalars. Languages write them down.

Names are given in the order of the forms, and are unique in any case: `ProbeV1`, `ProbeV1Spec`, `ProbeV1SpecTargetsItem`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from registry.export.choosing import Form

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One of: string, integer, number, boolean, int-or-string, any."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these values, texts or integers."""

    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A list."""

    items: Type


@dataclass(frozen=True, slots=True)
class Mapped:
    """An object with any keys."""

    values: Type


@dataclass(frozen=True, slots=True)
class Named:
    """A struct."""

    name: str


@dataclass(frozen=True, slots=True)
class Nullable:
    """A value, or null."""

    inner: Type


Type: TypeAlias = Scalar | Choice | Listed | Mapped | Named | Nullable


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a struct. `default` is what the server fills in, if `filled`."""

    wire: str
    type: Type
    required: bool
    description: str = ""
    filled: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Shape:
    """A struct."""

    name: str
    description: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Root:
    """A kind in a version: the name of its struct, which comes last of its structs."""

    form: Form
    name: str
    shapes: tuple[Shape, ...]


ANY = Scalar("any")
TYPE_META = ("apiVersion", "kind", "metadata")
Fits = Callable[[Sequence[str]], bool]


def roots(forms: Iterable[Form], taken: Iterable[str] = (), fits: Fits = bool) -> tuple[Root, ...]:
    """The types of kinds.

    `taken` are names that are something else; `fits` says whether fields of these names can be a struct: what does not is an object
    with any keys.
    """
    walk = _Walk({name.lower() for name in taken}, fits)
    forms = tuple(forms)
    names = [_camel(form.kind.kind) + _camel(form.version.name) for form in forms]
    groups = [_camel(form.version.group.partition(".")[0]) for form in forms]
    own = [
        walk.named(group + name if names.count(name) > 1 else name) for group, name in zip(groups, names, strict=True)
    ]  # before those of their parts
    return tuple(walk.root(form, name) for form, name in zip(forms, own, strict=True))


def _camel(text: str) -> str:
    """A name for a type: letters and digits, the first of each part a capital."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", text) if part)


class _Walk:
    def __init__(self, taken: set[str], fits: Fits) -> None:
        self._taken = taken
        self._fits = fits
        self._shapes: list[Shape] = []

    def named(self, wanted: str) -> str:
        """A name that no other has, also for those who do not tell capitals apart."""
        wanted = wanted if wanted[:1].isalpha() else f"T{wanted}"
        name, count = wanted, 2
        while name.lower() in self._taken:
            name, count = f"{wanted}{count}", count + 1
        self._taken.add(name.lower())
        return name

    def root(self, form: Form, name: str) -> Root:
        """The types of one form."""
        self._shapes = []
        schema = form.schema
        properties = {key: child for key, child in schema.get("properties", {}).items() if key not in TYPE_META}
        fields = self._fields({**schema, "properties": properties}, name)
        self._shapes.append(Shape(name, schema.get("description", ""), fields))
        return Root(form, name, tuple(self._shapes))

    def _fields(self, schema: Mapping[str, Any], name: str) -> tuple[Field, ...]:
        required = schema.get("required", ())
        return tuple(
            Field(
                wire=key,
                type=self._type(child, name + (_camel(key) or "Field")),
                required=key in required and "default" not in child,
                description=child.get("description", ""),
                filled="default" in child,
                default=child.get("default"),
            )
            for key, child in schema.get("properties", {}).items()
        )

    def _type(self, schema: Mapping[str, Any], name: str) -> Type:
        found = self._plain(schema, name)
        return Nullable(found) if schema.get("nullable") and found != ANY else found

    def _plain(self, schema: Mapping[str, Any], name: str) -> Type:
        kind = schema.get("type", "")
        if schema.get("x-kubernetes-int-or-string"):
            return Scalar("int-or-string")
        if kind in ("string", "integer") and schema.get("enum"):
            wanted = str if kind == "string" else int
            values = tuple(each for each in schema["enum"] if type(each) is wanted)
            if values and len(values) == sum(each is not None for each in schema["enum"]):
                return Choice(values)
        if kind in ("string", "integer", "number", "boolean"):
            return Scalar(kind)
        if kind == "array":
            return Listed(self._type(schema["items"], f"{name}Item") if "items" in schema else ANY)
        if kind != "object":
            return ANY
        return self._object(schema, name)

    def _object(self, schema: Mapping[str, Any], name: str) -> Type:
        """A struct has all that an object may have. One that may have more, or has nothing that is known, is a map."""
        more = schema.get("additionalProperties")
        is_open = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
        if isinstance(more, Mapping) and not schema.get("properties") and not is_open:
            return Mapped(self._type(more, f"{name}Value"))
        if more or is_open or not schema.get("properties") or not self._fits(list(schema["properties"])):
            return Mapped(ANY)
        name = self.named(name)
        shape = Shape(name, schema.get("description", ""), self._fields(schema, name))
        self._shapes.append(shape)
        return Named(name)
