"""The logical junctors of a schema as a tree of clauses, and what they say against a value, in the words of a Kubernetes
API server.

Of the alternatives of an `anyOf` or a `oneOf` that all fail, the faults of the one are told that came furthest: which that is, is
known by counting checks, in the way of the library that API servers have (kube-openapi).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from registry import errors
from registry.custom.keywords import JUNCTORS
from registry.custom.tree import own_node
from registry.errors import Cause
from registry.formats import FORMATS
from registry.nodes import TOLD, Document, Node, below, same
from registry.validation import check_own, counterpart

_FREE = Node()
MOST_ASKED = 100_000
"""Clauses that are asked about the parts of one value before it is given up: about a second."""


class Clause(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a value besides its form: by junctors, or, within a junctor, by `node` itself, which has no nodes below.

    A clause outside of all junctors asks for nothing but what its junctors and the clauses below ask for.
    """

    node: Node = _FREE
    nested: bool = False
    all_of: tuple[Clause, ...] = ()
    any_of: tuple[Clause, ...] = ()
    one_of: tuple[Clause, ...] = ()
    negated: Clause | None = None
    properties: Mapping[str, Clause] = {}
    others: Clause | None = None
    items: Clause | None = None


class Found(NamedTuple):
    """What is wrong with a value, and how many checks were made of it."""

    causes: list[Cause]
    checks: int = 0


def clause_of(schema: Any) -> Clause | None:
    """The junctors of a structural schema, and of all below it; None: it has none."""
    if not isinstance(schema, dict):
        return None
    named = {name: clause_of(child) for name, child in schema.get("properties", {}).items()}
    properties = {name: child for name, child in named.items() if child is not None}
    others, items = clause_of(schema.get("additionalProperties")), clause_of(schema.get("items"))
    joined = _joined(schema)
    if not (joined or properties or others or items):
        return None
    return Clause(node=own_node(schema, listed=True), properties=properties, others=others, items=items, **joined)


def _joined(schema: Document) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for keyword, field in zip(JUNCTORS, ("all_of", "any_of", "one_of"), strict=True):
        if schema.get(keyword):
            said[field] = tuple(map(_nested, schema[keyword]))
    if "not" in schema:
        said["negated"] = _nested(schema["not"])
    return said


def _nested(schema: Document) -> Clause:
    others = schema.get("additionalProperties")
    return Clause(
        node=own_node(schema),
        nested=True,
        properties={name: _nested(child) for name, child in schema.get("properties", {}).items()},
        others=_nested(others) if isinstance(others, dict) else None,
        items=_nested(schema["items"]) if isinstance(schema.get("items"), dict) else None,
        **_joined(schema),
    )


class Exhausted(Exception):
    """A value has so many parts, and a clause so many alternatives, that nobody can wait for what is wrong."""


class Effort:
    """How many clauses may still be asked about values."""

    def __init__(self, left: int = MOST_ASKED) -> None:
        self.left = left

    def spend(self) -> None:
        """One is asked. Raises Exhausted."""
        self.left -= 1
        if self.left < 0:
            raise Exhausted


class Where(NamedTuple):
    """Where a value is: `field` is its path, `body` the path that messages call it by, and `root` where faults are filed that have
    no field of their own."""

    field: str
    body: str
    root: str
    effort: Effort

    def at(self, field: str, body: str) -> Where:
        """Of a value below."""
        return Where(field, body, self.root, self.effort)


def examine(clause: Clause, value: Any, old: Any, where: Where) -> Found:
    """What a clause says against a value. `old` is what was stored there; what is the same is not faulted. Raises Exhausted."""
    where.effort.spend()
    field, body = where.field, where.body
    causes: list[Cause] = []
    if value is None:
        _own(clause, value, field, body, causes)
        return Found(causes, 1)
    count = 1 + _checks(clause.node, value, nested=clause.nested)
    if clause.nested:
        _own(clause, value, field, body, causes)
    for said in chain(_of_junctors(clause, value, old, where), _of_children(clause, value, old, where)):
        causes += said.causes
        count += said.checks
        if len(causes) >= TOLD:
            break
    return Found(causes, count)


def _own(clause: Clause, value: Any, field: str, body: str, causes: list[Cause]) -> None:
    if clause.nested:
        causes += check_own(clause.node, value, field, body)


def _checks(node: Node, value: Any, *, nested: bool) -> int:
    """The checks that are made of a value itself: two for its junctors, one for its enum, and those of its type."""
    count = 3
    if nested and node.type:
        count += 1
    match value:
        case bool():
            pass
        case str():
            count += 2 if node.format in FORMATS else 1
        case int() | float() | list():
            count += 2
        case dict():
            count += 1
    return count


def _of_junctors(clause: Clause, value: Any, old: Any, where: Where) -> Iterator[Found]:
    body, root = where.body, where.root
    if clause.any_of:
        yield from _of_any(clause, value, old, where)
    if clause.one_of:
        yield from _of_one(clause, value, old, where)
    if clause.all_of:
        each = [examine(branch, value, old, where) for branch in clause.all_of]
        yield from each
        valid = sum(not found.causes for found in each)
        if valid < len(each):
            yield _fault(root, body, f"must validate all the schemas (allOf){'' if valid else '. None validated'}")
    if clause.negated is not None and not examine(clause.negated, value, old, where).causes:
        yield _fault(root, body, "must not validate the schema (not)")


def _of_any(clause: Clause, value: Any, old: Any, where: Where) -> Iterator[Found]:
    best: Found | None = None
    for branch in clause.any_of:
        found = examine(branch, value, old, where)
        if not found.causes:
            yield found
            return
        if best is None or found.checks > best.checks:
            best = found
    yield _fault(where.root, where.body, "must validate at least one schema (anyOf)")
    if best is not None:
        yield best


def _of_one(clause: Clause, value: Any, old: Any, where: Where) -> Iterator[Found]:
    valid: list[Found] = []
    best: Found | None = None
    for branch in clause.one_of:
        found = examine(branch, value, old, where)
        if not found.causes:
            valid.append(found)
        elif best is None or found.checks > best.checks:
            best = found
    if len(valid) == 1:
        yield valid[0]
        return
    how_many = f"Found {len(valid)} valid alternatives" if valid else "Found none valid"
    yield _fault(where.root, where.body, f"must validate one and only one schema (oneOf). {how_many}")
    if not valid and best is not None:
        yield best


def _of_children(clause: Clause, value: Any, old: Any, where: Where) -> Iterator[Found]:
    field, body = where.field, where.body
    if isinstance(value, dict) and (clause.properties or clause.others):
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            child = clause.properties.get(key, clause.others)
            if child is not None:
                yield _ratcheted(child, item, before.get(key, UNSET), where.at(below(field, key), below(body, key)))
    elif isinstance(value, list) and clause.items is not None:
        find = counterpart(clause.node, old)
        for index, item in enumerate(value):
            yield _ratcheted(clause.items, item, find(index, item), where.at(f"{field}[{index}]", f"{body}[{index}]"))


def _ratcheted(clause: Clause, value: Any, old: Any, where: Where) -> Found:
    found = examine(clause, value, old, where)
    return Found([]) if found.causes and old is not UNSET and same(value, old) else found


def _fault(root: str, body: str, said: str) -> Found:
    return Found([errors.invalid(root, "", f"{errors.shown(body)} {said}")])
