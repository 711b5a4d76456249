"""What a kind's schema does to a document, once per write: unknown fields are dropped and reported, nulls dropped, defaults filled
in, and every broken rule is named.

    outcome = schema.apply(document, old=stored)
    outcome.document   the document in its one form, sharing all that did not change with the one that came in
    outcome.unknown    paths of the fields that were dropped, because the schema does not know them
    outcome.causes     every broken rule
    outcome.unreadable why it is not a document of this kind at all (then the other three mean nothing)

What comes in is never changed. To apply a schema again to its own outcome changes nothing and finds the same causes.

The order is that of Kubernetes: prune, drop nulls, default, validate, unique items of sets and maps. Defaults are filled in below
parents that are there; a default is a value of its node in its one form.

Documents that nothing needs to be said about - nearly all - take the fast way of `registry.compiled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from registry.compiled import Again, Untidy, compile_again, compile_node
from registry.decoding import Unreadable, decode
from registry.errors import BadRequest, Cause
from registry.nodes import EXACT_FLOAT, TOLD, Dialect, Document, ListType, Node, below, copied
from registry.validation import check

__all__ = ["Dialect", "Document", "ListType", "Node", "Outcome", "Schema", "unreadable"]


ROOM = 8 * 2**20
"""Bytes of defaults that are filled into one document: more than an object may have."""
ROOM_OF_DEFAULTS = 4 * 2**20
"""Bytes by which all defaults of a schema may grow by those within them."""
LIGHT = 100
"""Bytes of defaults that are filled in without being counted, at each place of many."""


class Outcome(NamedTuple):
    """What a schema made of a document; see the module."""

    document: Document
    unknown: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    unreadable: str = ""


def unreadable(kind: str, version: str, why: str) -> BadRequest:
    """The 400 for a document that cannot be read as one of its kind, or that strict field validation refuses."""
    return BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


class Schema:
    """The schema of one version of a kind, ready for use. Immutable.

    Raises ValueError if the tree does not hold together: a default that breaks its own rules, a pattern that cannot be read.
    """

    def __init__(self, node: Node, dialect: Dialect = Dialect.CUSTOM) -> None:
        self._node = with_defaults(node, "")
        self.dialect = dialect
        self._whole = _Part(self._node, dialect, "")
        self._parts: dict[str, _Part] = {}

    @property
    def node(self) -> Node:
        """The tree that says everything about the form of a document, every default in its one form."""
        return self._node

    @property
    def published(self) -> Document | None:
        """The schema as clients are shown it, if it came as a document; None: as its node says."""
        return None

    @property
    def digest(self) -> bytes | None:
        """Of all that is published, if that came as a document: a name that no other has."""
        return None

    def apply(self, document: Document, *, old: Document | None = None, part: str = "") -> Outcome:
        """The document in its one form, and all there is to say about it.

        `old` is what is stored: what is equal to it is not validated again. `part` names a field of the root (`status`): all others
        are let alone, and messages call fields by their path within it.
        """
        chosen = self._part(part) if part else self._whole
        try:
            return Outcome(chosen.tidy(document))
        except Untidy:
            return chosen.apply(document, UNSET if old is None else old)

    def again(self, document: Document, tidied: Document, *, part: str = "") -> Document | None:
        """The document in its one form; None: there may be something to be said about it, which `apply` knows.

        `tidied` is one that there was nothing to say about: what is the very same object in it is not looked at again.
        """
        chosen = self._part(part) if part else self._whole
        try:
            made: Document = chosen.again(document, tidied)
        except Untidy:
            return None
        return made

    def against(self, document: Document, old: Document | None, causes: Sequence[Cause]) -> Sequence[Cause]:
        """What rules of the schema that look at more than one field say against a whole object, metadata and all, of which
        `apply` said `causes`. Asked once per write, when nobody changes the object any more. `old` is what is stored."""
        del document, old, causes
        return ()

    def at(self, *path: str) -> Node | None:
        """The node of a field: `at("status", "conditions")`. `[]` stands for the items of a list. None: there is none."""
        node: Node | None = self.node
        for step in path:
            if node is None:
                return None
            node = node.items if step == "[]" else node.properties.get(step, node.additional)
        return node

    def _part(self, name: str) -> _Part:
        """A field of the root, compiled when it is first asked for: nearly always that is the status alone."""
        known = self._parts.get(name)
        if known is None:
            known = self._parts[name] = _Part(_only(self._node, name), self.dialect, name)
        return known


class _Part:
    """A tree with its fast way. `name` is the field of the root that alone is looked at; empty: all are."""

    def __init__(self, node: Node, dialect: Dialect, name: str) -> None:
        self._node = node
        self._dialect = dialect
        self._name = name
        self._checked = _checked(node, dialect)
        self.tidy = compile_node(node, dialect)

    @cached_property
    def again(self) -> Again:
        """The fast way for a document that was made of one in its one form. Few kinds are ever in need of it."""
        return compile_again(self._node, self._dialect)

    def apply(self, document: Document, old: Any) -> Outcome:
        """The slow way: step by step, with words."""
        try:
            document = self._decode(document)
        except Unreadable as error:
            return Outcome(document, unreadable=str(error))
        unknown = Pruned(ROOM)
        try:
            settled = settle(self._node, document, "", unknown)
        except Overfilled as error:
            return Outcome(document, unreadable=str(error))
        if self._dialect is Dialect.CUSTOM:
            unknown.sort()
        return Outcome(settled, tuple(unknown), tuple(self._check(settled, old)))

    def _decode(self, document: Document) -> Document:
        if self._dialect is Dialect.BUILTIN:
            decoded: Document = decode(self._node, document)
            return decoded
        metadata, node = document.get("metadata"), self._node.properties.get("metadata")
        if metadata is None or node is None:
            return document
        new = decode(node, metadata)
        return document if new is metadata else {**document, "metadata": new}

    def _check(self, document: Document, old: Any) -> list[Cause]:
        if not self._name:
            return check(self._checked, document, old=old)
        node = self._checked.properties.get(self._name)
        if node is None or self._name not in document:
            return []
        before = old.get(self._name, UNSET) if isinstance(old, dict) else UNSET
        return check(node, document[self._name], self._name, "", before)


class Overfilled(ValueError):
    """Defaults make much more of a document than was sent: a long one may be missing at a hundred thousand places."""

    def __init__(self) -> None:
        super().__init__("its defaults would make it larger than any object may be")


class Pruned(list[str]):
    """Paths of what was pruned. `room`: bytes of defaults that may still be filled in."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def filled(self, node: Node) -> Any:
        """The default of a node. Raises Overfilled."""
        self.room -= _length(node.default)
        if self.room < 0:
            raise Overfilled
        return copied(node.default)


def _length(value: Any) -> int:
    """About as many bytes as a value has."""
    if isinstance(value, dict | list):
        return len(msgspec.json.encode(value))
    return len(value) if isinstance(value, str) else 8


def settle(node: Node, value: Any, path: str, unknown: Pruned) -> Any:
    """The value pruned, without the nulls that may not be, and with its defaults; the same object if it was so already.

    Values of a wrong type are left for the validation. Paths of what was pruned are added to `unknown`, in the order of the
    document. Raises Overfilled.
    """
    if isinstance(value, dict) and node.type in ("object", ""):
        return _settle_object(node, value, path, unknown)
    if isinstance(value, list) and node.items is not None and node.type in ("array", ""):
        settled = [_settle_item(node.items, item, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
        return settled if any(new is not item for new, item in zip(settled, value, strict=True)) else value
    if type(value) is float and (node.type == "integer" or node.int_or_string) and value.is_integer() and abs(value) <= EXACT_FLOAT:
        return int(value)
    return value


def _settle_object(node: Node, value: Document, path: str, unknown: Pruned) -> Document:
    settled: Document = {}
    for key, item in value.items():
        child = node.properties.get(key, node.additional)
        if child is None:
            if node.preserve or not (node.type or node.properties):
                settled[key] = item
            elif len(unknown) < TOLD:
                unknown.append(below(path, key))
        elif item is None and not child.nullable:
            if child.has_default:
                settled[key] = unknown.filled(child)
        else:
            settled[key] = settle(child, item, below(path, key), unknown)
    for key, child in node.properties.items():
        if child.has_default and key not in settled:
            settled[key] = unknown.filled(child)
    unchanged = len(settled) == len(value) and all(settled[key] is value.get(key, UNSET) for key in settled)
    return value if unchanged else settled


def _settle_item(items: Node, item: Any, path: str, unknown: Pruned) -> Any:
    if item is None and not items.nullable:
        return unknown.filled(items) if items.has_default else item
    return settle(items, item, path, unknown)


def _checked(node: Node, dialect: Dialect) -> Node:
    """What of a root is validated: not the metadata, which has rules of its own (`registry.metadata`), and not, in built-in
    kinds, that the items of a list differ: there the keys of a list only say how it is merged.
    """
    properties = {key: child for key, child in node.properties.items() if key != "metadata"}
    node = replace(node, properties=properties)
    return _without_list_types(node) if dialect is Dialect.BUILTIN else node


def _without_list_types(node: Node) -> Node:
    return replace(
        node,
        list_type=None,
        properties={key: _without_list_types(child) for key, child in node.properties.items()},
        additional=_without_list_types(node.additional) if node.additional is not None else None,
        items=_without_list_types(node.items) if node.items is not None else None,
    )


def _only(node: Node, name: str) -> Node:
    """A root that knows one field and lets all others alone."""
    known = node.properties.get(name, node.additional) or Node(type="object", preserve=node.preserve)
    return Node(type="object", name=node.name, properties={name: known}, preserve=True)


def with_defaults(node: Node, path: str = "", *, repeated: bool = False, pruned: Pruned | None = None) -> Node:
    """The tree with every default in its one form, sharing what had none with the one that came in. `repeated`: there may be many
    values of a node; `pruned` has the room that all defaults share.

    Raises ValueError for a default that breaks the rules of its own node.
    """
    pruned = Pruned(ROOM_OF_DEFAULTS) if pruned is None else pruned
    properties = {
        key: with_defaults(child, f"{path}.{key}", repeated=repeated, pruned=pruned) for key, child in node.properties.items()
    }
    additional, items = (
        with_defaults(child, f"{path}{step}", repeated=True, pruned=pruned) if child is not None else None
        for child, step in ((node.additional, ".*"), (node.items, "[]"))
    )
    same = additional is node.additional and items is node.items
    if not (same and all(child is node.properties[key] for key, child in properties.items())):
        node = replace(node, properties=properties, additional=additional, items=items)
    if repeated and not node.bulky and _has_long_defaults(node):
        node = replace(node, bulky=True)
    if not node.has_default:
        return node
    del pruned[:]
    try:
        default = settle(node, node.default, "", pruned)
    except Overfilled:
        raise ValueError(f"defaults within defaults add more than {ROOM_OF_DEFAULTS} bytes to them") from None
    wrong = [f"unknown field {field}" for field in pruned] + [str(cause) for cause in check(node, default)]
    if wrong:
        raise ValueError(f"the default of {path.lstrip('.') or 'the root'} is not valid: {'; '.join(wrong)}")
    return node if default is node.default else replace(node, default=default)


def _has_long_defaults(node: Node) -> bool:
    """Whether one value of a node may become much longer by defaults, its own or those of its fields."""
    own = _length(node.default) if node.has_default else 0
    return own + sum(len(key) + _length(child.default) for key, child in node.properties.items() if child.has_default) > LIGHT
