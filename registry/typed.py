"""From types to schemas and back: what a kind that is written in Python means as a structural schema, and its values as documents.

    schema_of(Probe)         the schema, with everything that types, Annotated and docstrings say
    from_document(Probe)     a function from stored documents to values, bound once
    to_document(probe)       the document of a value

A document that the schema takes can always be made a value. Values are made leniently: fields that the type does not have (any
more) are passed over, since what is stored stays as it was written.

A type that means nothing in JSON, or more than a structural schema can say (unions, tuples of fixed length, recursion), is a
TypeError that names the class and the field.
"""

from __future__ import annotations

import inspect as python_inspect
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, UNSET
from msgspec import inspect as types
from msgspec.structs import replace

from registry.nodes import Dialect, Document, ListType, Node, copied
from registry.resource import Struct
from registry.schema import Schema

T = TypeVar("T")

_OMIT = "x-omit-empty"

_encode = msgspec.json.Encoder(order="deterministic").encode

_SCALARS: Mapping[type[types.Type], tuple[str, str]] = {
    types.StrType: ("string", ""),
    types.BoolType: ("boolean", ""),
    types.IntType: ("integer", ""),
    types.FloatType: ("number", ""),
    types.BytesType: ("string", "byte"),
    types.DateTimeType: ("string", "date-time"),
    types.DateType: ("string", "date"),
    types.UUIDType: ("string", "uuid"),
}
"""What scalar types are in JSON: type and format. Constant."""


def schema_of(model: type, dialect: Dialect = Dialect.CUSTOM) -> Schema:
    """The schema of a type of resources. Raises TypeError and ValueError, which name the class and the field."""
    try:
        return Schema(node_of(model), dialect)
    except ValueError as error:
        raise ValueError(f"{model.__qualname__}: {error}") from error


def node_of(model: type) -> Node:
    """The structural schema of a type: a Struct, or anything that a field may be. Raises TypeError."""
    return _Translation().node(_info(model), model.__qualname__)


def from_document(model: type[T]) -> Callable[[Document], T]:
    """A function that makes values of `model`. It raises msgspec.ValidationError for what the schema of the model does not take.

    A value has nothing in common with the document that it was made of: whoever changes what is in an open field of it (`Any`)
    changes the value alone. The metadata has none that anybody writes to.
    """
    convert = msgspec.convert
    open_parts = _open_parts(model)

    def read(document: Document) -> T:
        return convert(document, model)

    def read_open(document: Document) -> T:
        return convert(document | {part: copied(document[part]) for part in open_parts if part in document}, model)

    return read_open if open_parts else read


def _open_parts(model: type) -> tuple[str, ...]:
    """The fields, on the wire, in which something is of any type: what is there is not copied when a value is made."""
    info = _info(model)
    if not isinstance(info, types.StructType):
        return ()
    return tuple(field.encode_name for field in info.fields if field.encode_name != "metadata" and _is_open(field.type))


def _is_open(info: types.Type) -> bool:
    info, _ = _unwrap(info)
    if isinstance(info, types.AnyType):
        return True
    if isinstance(info, types.StructType):
        return any(_is_open(field.type) for field in info.fields)
    inner = [getattr(info, name, None) for name in ("key_type", "value_type", "item_type")]
    members = [*getattr(info, "types", ()), *(each for each in inner if each is not None)]
    return any(_is_open(each) for each in members)


def to_document(value: Struct) -> Document:
    """The JSON document of a value: fields in camelCase, without those that say nothing (None by default, or `OmitEmpty`)."""
    document: Document = _as_json(value)
    _strip_struct(type(value), document)
    return document


@lru_cache(maxsize=4096)
def wire_fields(model: type[Struct]) -> tuple[tuple[str, str, Any], ...]:
    """Of each field: its name, its name on the wire, and the value that documents leave out (UNSET: none)."""
    omitted = {wire: value for wire, value, _ in _fields(model)}
    names = zip(model.__struct_fields__, model.__struct_encode_fields__, strict=True)
    return tuple((name, wire, omitted.get(wire, UNSET)) for name, wire in names)


Strip = Callable[[Any], None]


def _strip_struct(model: Hashable, document: Document) -> None:
    """Takes out of a document, which nobody else has yet, the fields that say nothing."""
    for wire, omitted, inner in _fields(model):
        item = document.get(wire)
        if inner is not None and item is not None:
            inner(item)
        if item == omitted:
            document.pop(wire, None)


@lru_cache(maxsize=4096)
def _fields(model: Hashable) -> tuple[tuple[str, Any, Strip | None], ...]:
    """Of each field that there is something to do about: its name on the wire, the value that is left out, how its own value is
    stripped.

    UNSET is no value of a document: nothing is left out.
    """
    info = _info(model)
    if not isinstance(info, types.StructType):
        raise TypeError(f"{model!r} has no fields")
    table = []
    for field in info.fields:
        default = _default_of(field)
        omitted: Any = UNSET
        if default is None:
            omitted = None
        elif default is not UNSET and _unwrap(field.type)[1].get(_OMIT):
            omitted = _plain(default)
        inner = _stripper(field.type)
        if omitted is not UNSET or inner is not None:
            table.append((field.encode_name, omitted, inner))
    return tuple(table)


def _stripper(info: types.Type) -> Strip | None:
    """What takes the fields that say nothing out of a value of this type; None if there are none in it."""
    info, _ = _unwrap(info)
    if isinstance(info, types.StructType):
        return partial(_strip_struct, info.cls)
    if isinstance(info, types.UnionType):
        return next((inner for inner in map(_stripper, info.types) if inner is not None), None)
    if isinstance(info, types.DictType):
        each = _stripper(info.value_type)
        return None if each is None else partial(_strip_values, each)
    if isinstance(info, types.ListType | types.VarTupleType | types.SetType | types.FrozenSetType):
        each = _stripper(info.item_type)
        return None if each is None else partial(_strip_each, each)
    return None


def _strip_each(strip: Strip, values: Iterable[Any]) -> None:
    for value in values:
        if value is not None:
            strip(value)


def _strip_values(strip: Strip, value: Mapping[str, Any]) -> None:
    _strip_each(strip, value.values())


def _plain(value: Any) -> Any:
    """A value of any field as JSON."""
    if isinstance(value, Struct):
        return to_document(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return _as_json(value)


def _as_json(value: Any) -> Any:
    """A value as JSON alone: no tuples, no sets, no dates; sets in order."""
    return msgspec.json.decode(_encode(value))


def _info(model: Any) -> types.Type:
    try:
        return types.type_info(model)
    except (TypeError, NameError) as error:
        raise TypeError(f"{getattr(model, '__qualname__', model)}: {error}") from error


def _unwrap(info: types.Type) -> tuple[types.Type, dict[str, Any]]:
    """The type without its Metadata, and what that said."""
    said: dict[str, Any] = {}
    while isinstance(info, types.Metadata):
        said = {**(info.extra_json_schema or {}), **said}
        info = info.type
    return info, said


def _default_of(field: types.Field) -> Any:
    """The default in Python; UNSET if the field must be given."""
    if field.default is not NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not NODEFAULT else UNSET


class _Translation:
    """One walk over a type. `where` is the path in Python, for errors."""

    def __init__(self) -> None:
        self._open: list[type] = []  # the structs that are being translated, outermost first
        self._choices: list[tuple[Any, ...]] = []  # Literals of the field, as they are written: msgspec sorts them

    def node(self, info: types.Type, where: str) -> Node:
        """The node of a type."""
        inner, said = _unwrap(info)
        return _described(self._node(inner, where), said, where)

    def _node(self, info: types.Type, where: str) -> Node:
        scalar = _SCALARS.get(type(info))
        if scalar is not None:
            return _bounded(Node(type=scalar[0], format=scalar[1]), info)
        if isinstance(info, types.StructType):
            return self._struct(info, where)
        if isinstance(info, types.UnionType):
            return self._union(info, where)
        if isinstance(info, types.DictType):
            return self._map(info, where)
        if isinstance(info, types.ListType | types.VarTupleType | types.SetType | types.FrozenSetType):
            unique = isinstance(info, types.SetType | types.FrozenSetType)
            return Node(
                type="array",
                items=self.node(info.item_type, f"{where}[]"),
                min_items=info.min_length,
                max_items=info.max_length,
                list_type=ListType.SET if unique else None,
            )
        if isinstance(info, types.LiteralType):
            ordered = (choices for choices in self._choices if set(choices) == set(info.values))
            return _choices(next(ordered, info.values), where)
        if isinstance(info, types.EnumType):
            return _choices(tuple(member.value for member in info.cls), where)
        if isinstance(info, types.AnyType | types.RawType):
            return Node(preserve=True, nullable=True)
        raise TypeError(f"{where}: {_shown(info)} has no meaning in an API; use texts, numbers, booleans, lists, dicts or Structs")

    def _map(self, info: types.DictType, where: str) -> Node:
        key, _ = _unwrap(info.key_type)
        if not isinstance(key, types.StrType):
            raise TypeError(f"{where}: the keys of a JSON object are texts; use dict[str, ...]")
        node = Node(type="object", min_properties=info.min_length, max_properties=info.max_length)
        if isinstance(_unwrap(info.value_type)[0], types.AnyType):
            return replace(node, preserve=True)
        return replace(node, additional=self.node(info.value_type, f"{where}{{}}"))

    def _union(self, info: types.UnionType, where: str) -> Node:
        """T | None is a nullable T; int | float a number; int | str an int-or-string. Nothing else has one structure."""
        members = [member for member in info.types if not isinstance(member, types.NoneType)]
        nullable = len(members) < len(info.types)
        if len(members) == 1:
            return replace(self.node(members[0], where), nullable=nullable)
        kinds = {type(_unwrap(member)[0]) for member in members}
        if kinds == {types.IntType, types.FloatType}:
            number = next(member for member in members if isinstance(_unwrap(member)[0], types.FloatType))
            return replace(self.node(number, where), nullable=nullable)
        if kinds == {types.IntType, types.StrType}:
            return Node(int_or_string=True, nullable=nullable)
        raise TypeError(f"{where}: {_shown(info)} has more than one form; a field has one type, and may be None besides")

    def _struct(self, info: types.StructType, where: str) -> Node:
        model = info.cls
        if model in self._open:
            raise TypeError(
                f"{where}: {model.__qualname__} contains itself; a schema has an end. Use PreserveUnknown for what nests freely"
            )
        if info.array_like or info.tag is not None:
            raise TypeError(f"{where}: {model.__qualname__} is array-like or tagged, which a schema cannot say")
        self._open.append(model)
        hints = get_type_hints(model, include_extras=True)
        properties: dict[str, Node] = {}
        required: list[str] = []
        for field in info.fields:
            if isinstance(_unwrap(field.type)[0], types.NoneType):
                continue
            self._choices = list(_literals(hints.get(field.name)))
            properties[field.encode_name] = self._field(field, f"{where}.{field.name}")
            if field.required:
                required.append(field.encode_name)
        self._open.pop()
        return Node(
            type="object",
            name=getattr(model, "wire_name", "") or model.__name__,
            description=_docstring(model),
            properties=properties,
            required=tuple(required),
        )

    def _field(self, field: types.Field, where: str) -> Node:
        """A field that is None by default is one that may be left out; it is nullable only if null says something else than
        that.
        """
        node = self.node(field.type, where)
        default = _default_of(field)
        if default is UNSET:
            return node
        if default is None:
            return replace(node, nullable=node.nullable and not node.type and node.preserve)
        if _unwrap(field.type)[1].get(_OMIT):
            return node
        return replace(node, default=_plain(default))


def _bounded(node: Node, info: Any) -> Node:
    """The node with the constraints that `Meta` put on a scalar."""
    if isinstance(info, types.StrType | types.BytesType):
        return replace(node, min_length=info.min_length, max_length=info.max_length, pattern=getattr(info, "pattern", None) or "")
    if isinstance(info, types.IntType | types.FloatType):
        return replace(
            node,
            minimum=info.ge if info.ge is not None else info.gt,
            maximum=info.le if info.le is not None else info.lt,
            exclusive_minimum=info.ge is None and info.gt is not None,
            exclusive_maximum=info.le is None and info.lt is not None,
            multiple_of=info.multiple_of,
        )
    return node


def _described(node: Node, said: Mapping[str, Any], where: str) -> Node:
    """The node with what Annotated said about it."""
    changes: dict[str, Any] = {}
    extensions: dict[str, Any] = dict(node.extensions)
    for key, value in said.items():
        match key:
            case "title" | "description" | "format":
                changes[key] = value
            case "examples":
                changes[key] = tuple(value)
            case "x-kubernetes-list-type":
                changes["list_type"] = ListType(value)
            case "x-kubernetes-list-map-keys":
                changes["list_map_keys"] = tuple(value)
            case "x-kubernetes-map-type":
                changes["map_type"] = value
            case "x-kubernetes-preserve-unknown-fields":
                changes["preserve"] = value
            case "x-kubernetes-int-or-string":
                changes["int_or_string"] = value
            case "x-omit-empty":
                pass
            case _:
                extensions[key] = value
    node = replace(node, **changes, extensions=extensions) if changes or extensions else node
    _check_list_map(node, where)
    return node


def _check_list_map(node: Node, where: str) -> None:
    if node.list_type is not None and node.type != "array":
        raise TypeError(f"{where}: ListSet and ListMap are for lists")
    if node.list_type is ListType.MAP:
        items = node.items or Node()
        missing = [key for key in node.list_map_keys or ("",) if key not in items.properties]
        if missing:
            raise TypeError(f"{where}: ListMap names {missing[0]!r}, which is no field (on the wire) of the items")


def _literals(hint: Any) -> Iterator[tuple[Any, ...]]:
    """The Literals in an annotation."""
    if get_origin(hint) is Literal:
        yield get_args(hint)
    else:
        for part in get_args(hint):
            yield from _literals(part)


def _choices(values: tuple[Any, ...], where: str) -> Node:
    kinds = {type(value) for value in values}
    for kind, name in ((str, "string"), (int, "integer")):
        if kinds == {kind}:
            return Node(type=name, enum=tuple(values))
    raise TypeError(f"{where}: the values to choose from are all texts or all integers")


def _docstring(model: type) -> str:
    """The class's own docstring: that of a base says what the base is."""
    own = model.__dict__.get("__doc__")
    return python_inspect.cleandoc(own) if own else ""


def _shown(info: types.Type) -> str:
    model = getattr(info, "cls", None)
    return model.__qualname__ if isinstance(model, type) else type(info).__name__.removesuffix("Type").lower()
