"""Conventions of single fields: what a field is called, what it takes, whether it has to be given. Pure; a part of `registry.lint`.

Each check takes a field and returns what is wrong with it, or nothing. They are about a name or a form that those who know
Kubernetes would stumble over, or that cannot be mended later without a new version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from registry.nodes import Node

MONEY = frozenset({"price", "cost", "amount", "fee", "balance", "budget", "salary", "money", "charge", "payment", "refund", "tax"})
MEASURED = frozenset(
    {
        "timeout",
        "interval",
        "delay",
        "period",
        "duration",
        "latency",
        "age",
        "ttl",
        "lifetime",
        "memory",
        "storage",
        "bandwidth",
        "distance",
    }
)
"""Last words of names that say what is measured, and not in what."""
SECRET = re.compile(r"(?:password|passwd|passphrase|(?:^|[a-z])token|secret|apikey|privatekey|credentials?)$")
EXACT = 2**53 - 1
_CAMEL = re.compile(r"[a-z][a-zA-Z0-9]*").fullmatch
_CHOICE = re.compile(r"[A-Z][a-zA-Z0-9]*").fullmatch
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its path and name, what it takes, whether it must be given, and the part of the object that it is in."""

    path: str
    name: str
    node: Node
    required: bool
    part: str

    @property
    def words(self) -> list[str]:
        """The words of its name, in lower case."""
        return [word.lower() for word in _WORD.findall(self.name)]


def fields_of(root: Node) -> Iterator[Field]:
    """All fields that are the kind's own: not those that the server gives to every object, nor what a condition consists of."""
    for name, node in root.properties.items():
        if name not in ("apiVersion", "kind", "metadata"):
            yield from _field(Field(name, name, node, name in root.required, name))


def _field(field: Field) -> Iterator[Field]:
    yield field
    if field.path == "status.conditions":
        return
    path, node = field.path, field.node
    while node.items is not None or node.additional is not None:
        path = f"{path}[]" if node.items is not None else f"{path}{{}}"
        node = node.items or node.additional or Node()
    for name, child in node.properties.items():
        yield from _field(Field(f"{path}.{name}", name, child, name in node.required, field.part))


def _name(field: Field) -> str:
    return "" if _CAMEL(field.name) else f"{field.name!r} is not in camelCase"


def _described(field: Field) -> str:
    known = field.path in ("status.conditions", "status.observedGeneration", field.part)
    return "" if known or field.node.description else "it does not say what it is; use Meta(description=...)"


def _unit(field: Field) -> str:
    if field.node.type not in ("integer", "number") or not field.words or field.words[-1] not in MEASURED:
        return ""
    return f"it does not say its unit; call it {field.name}Seconds, {field.name}Bytes or what it is"


def _choices(field: Field) -> str:
    odd = [value for value in field.node.enum if isinstance(value, str) and not _CHOICE(value)]
    return f"choices are words in CamelCase, as in 'Always'; not {', '.join(map(repr, odd))}" if odd else ""


def _phase(field: Field) -> str:
    return "a phase can say one thing at a time; use conditions" if field.path == "status.phase" else ""


def _float(field: Field) -> str:
    node = field.node.items or field.node
    money = MONEY & {word.removesuffix("s") for word in field.words}
    return "a float is not exact; count the smallest unit in an integer, or write a text" if node.type == "number" and money else ""


def _bool(field: Field) -> str:
    if field.part != "spec" or field.node.type != "boolean":
        return ""
    return "a third side of it would be a new field; use words to choose from, as Literal['Enabled', 'Disabled']"


def _list(field: Field) -> str:
    unbounded = field.part == "spec" and field.node.type == "array" and field.node.max_items is None
    return "it may have any number of items; use Meta(max_length=...)" if unbounded else ""


def _text(field: Field) -> str:
    node = (field.node.items or field.node) if field.node.type == "array" else field.node
    free = node.type == "string" and not node.enum and not node.format and node.max_length is None
    return "it may be of any length; use Meta(max_length=...)" if free and field.part == "spec" else ""


def _identity(field: Field) -> str:
    of_objects = field.node.type == "array" and field.node.items is not None and field.node.items.type == "object"
    unsaid = of_objects and field.node.list_type is None
    return "two who write it replace what the other wrote; say by what items are told apart: ListMap('name')" if unsaid else ""


def _empty(field: Field) -> str:
    node = field.node
    plain = field.required and node.type == "string" and not node.enum and not node.format and not node.pattern
    return "it has to be given, and may be empty; use Meta(min_length=1)" if plain and not node.min_length else ""


def _null(field: Field) -> str:
    nullable = field.node.nullable and not field.node.preserve
    return "null and nothing would be two things; let it be left out: `| None = None`" if nullable else ""


def _time(field: Field) -> str:
    return "call it by what happens then, as in startTime" if field.words[-1:] == ["timestamp"] else ""


def _reference(field: Field) -> str:
    last = field.words[-1:]
    return "references are called Ref and Refs, as in secretRef" if last in (["reference"], ["references"]) else ""


def _open(field: Field) -> str:
    return "it takes everything and checks nothing; say which fields it has" if field.node.preserve else ""


def _status(field: Field) -> str:
    if field.part != "status" or field.path.count(".") != 1 or not field.required:
        return ""
    return "a status is written bit by bit; let it be left out, or give it a default"


def _number(field: Field) -> str:
    node = field.node
    if field.part != "spec" or node.type not in ("integer", "number") or node.enum:
        return ""
    missing = [word for word, value in (("ge=", node.minimum), ("le=", node.maximum)) if value is None]
    if missing:
        return f"it may be of any size; use Meta({', '.join(f'{word}...' for word in missing)})"
    if node.type == "integer" and max(abs(node.minimum or 0), abs(node.maximum or 0)) > EXACT:
        return "JavaScript and jq cannot read integers of more than 53 bits; use a text"
    return ""


def _secret(field: Field) -> str:
    plain = field.node.type == "string" and SECRET.search(field.name.lower()) and not field.name.endswith(("Name", "Ref"))
    return "whoever may read the object reads the secret; refer to a Secret, as passwordSecretRef" if plain else ""


def _map(field: Field) -> str:
    named = field.node.additional is not None and field.node.additional.type == "object"
    return "a map of objects cannot grow a second key; use a list with ListMap('name')" if named else ""


def _items(field: Field) -> str:
    items = field.node.items
    silent = items is not None and items.type == "object" and items.properties and not items.required
    return "an item may be empty; let one of its fields be required" if silent else ""


def _duration(field: Field) -> str:
    return "programs have to parse it; use an integer of a unit, as in timeoutSeconds" if field.node.format == "duration" else ""


FIELD_CHECKS: tuple[tuple[int, Callable[[Field], str]], ...] = (
    (307, _name),
    (308, _described),
    (309, _unit),
    (310, _choices),
    (311, _phase),
    (312, _float),
    (313, _bool),
    (314, _list),
    (315, _text),
    (316, _identity),
    (317, _empty),
    (318, _null),
    (319, _time),
    (320, _reference),
    (321, _open),
    (322, _status),
    (323, _number),
    (325, _secret),
    (326, _map),
    (330, _items),
    (331, _duration),
)
"""Every check with the number of its rule. Constant."""
