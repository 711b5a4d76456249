"""The schema of a kind that arrives at run time, with the interface of `registry.schema.Schema`.

    schema = custom_schema(version["schema"]["openAPIV3Schema"])
    schema.apply(document)

It is lazy: until it is first used, it holds the text of its source and nothing else, so that a server with thousands of kinds
starts quickly. What is made of the source is made once for all versions that have the same one.

The tree of nodes does most of the work, as for kinds that are written in Python. Where a schema has more to say than that - logical
junctors, embedded resources, restrictions on names - it is asked after the tree, about what that has made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Protocol
from weakref import WeakValueDictionary

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from registry import errors
from registry.custom import keywords
from registry.custom.embedded import Embedded
from registry.custom.junctors import Junctors
from registry.custom.tree import META_FIELDS, node_of_schema, root_of
from registry.errors import Cause
from registry.nodes import TOLD, Dialect, Document, Node
from registry.schema import Outcome, Schema
from registry.validation import check

BLOCKING = frozenset(
    {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
)
"""Reasons of causes that leave rules nothing to look at: they count on types, and on limits. Constant."""

NOT_CHECKED = errors.invalid(
    "<nil>",
    None,
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
)


class Rules(Protocol):
    """Rules in expressions, of a whole schema; see `registry.custom.rules`."""

    def check(self, new: Document, old: Document | None, part: str = "") -> list[Cause]:
        """What they say against an object."""


RulesOf = Callable[[Document], Rules | None]
"""Finds the rules of a schema; None: it has none."""


def custom_schema(document: Document, *, preserve_unknown: bool = False, rules: Rules | None = None) -> CustomSchema:
    """The schema that an openAPIV3Schema is: one that `registry.custom.structural` has nothing against."""
    text = msgspec.Raw(msgspec.json.encode(document))
    return late_schema(text, preserve_unknown=preserve_unknown, rules_of=None if rules is None else lambda _: rules)


def late_schema(text: msgspec.Raw, *, preserve_unknown: bool = False, rules_of: RulesOf | None = None) -> CustomSchema:
    """The schema of a text, which may be a part of a longer one that is held anyway: nothing is read of it, and nothing copied,
    before that is needed. `rules_of` finds its rules in expressions then."""
    return CustomSchema(_source_of(text, preserve_unknown=preserve_unknown), rules_of)


class CustomSchema(Schema):
    """See the module. Immutable, to who looks at it.

    `rules` are not part of `apply`, which is asked several times in a write, before the object has all that it will have: they
    are asked once, by `against`.
    """

    def __init__(self, source: _Source, rules_of: RulesOf | None) -> None:
        self._source = source
        self._rules_of = rules_of
        self.dialect = Dialect.CUSTOM

    @property
    def node(self) -> Node:
        """The tree of the whole source: all of its keywords come out again in OpenAPI. Who only wants to see it does not make the
        schema one that is in use: then it is made anew each time, and not held."""
        return self._source.made.node if self._source.used else self._source.root()

    @property
    def document(self) -> Document:
        """The source, read anew."""
        return self._source.read()

    @property
    def published(self) -> Document | None:
        """The source: it is what was published before it came here."""
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True} if self._source.preserve_unknown else self.document

    @property
    def digest(self) -> bytes:
        """The same for the same source, and for no other: see `Schema.digest`."""
        return self._source.digest

    def apply(self, document: Document, *, old: Document | None = None, part: str = "") -> Outcome:
        """The document in its one form, and all there is to say about it; see `Schema.apply`."""
        return self._source.made.apply(document, old, part)

    def again(self, document: Document, tidied: Document, *, part: str = "") -> Document | None:
        """The document in its one form; None: there may be something to be said about it. See `Schema.again`."""
        return self._source.made.again(document, tidied, part)

    @cached_property
    def _rules(self) -> Rules | None:
        return None if self._rules_of is None else self._rules_of(self.document)

    def against(self, document: Document, old: Document | None, causes: Sequence[Cause]) -> Sequence[Cause]:
        """What the rules in expressions say; see `Schema.against`."""
        if self._rules is None:
            return ()
        if any(cause.reason in BLOCKING for cause in causes):
            return (NOT_CHECKED,)
        return self._rules.check(document, old)


class _Source:
    """What a schema is made of, and what was made of it when somebody first needed it."""

    def __init__(self, text: msgspec.Raw, preserve_unknown: bool, digest: bytes) -> None:
        self.text = text
        self.preserve_unknown = preserve_unknown
        self.digest = digest

    def read(self) -> Document:
        document: Document = msgspec.json.decode(self.text)
        return document

    @property
    def used(self) -> bool:
        return "made" in vars(self)

    @cached_property
    def made(self) -> _Made:
        return _Made(self._understood(), preserve_unknown=self.preserve_unknown)

    def root(self) -> Node:
        return root_of(self._understood(), preserve_unknown=self.preserve_unknown)

    def _understood(self) -> Document:
        return keywords.read(self.read(), "").schema


_sources: WeakValueDictionary[bytes, _Source] = WeakValueDictionary()
"""The sources that are in use, by digest: a memory of what is the same, which nothing but memory depends on."""


def _source_of(text: msgspec.Raw, *, preserve_unknown: bool) -> _Source:
    digest = sha256(b"unknown" if preserve_unknown else b"")
    digest.update(text)
    name = digest.digest()
    source = _sources.get(name)
    if source is None:
        source = _sources[name] = _Source(text, preserve_unknown, name)
    return source


class _Made:
    """A schema that is in use."""

    def __init__(self, document: Document, *, preserve_unknown: bool) -> None:
        root = root_of(document, preserve_unknown=preserve_unknown)
        # What every object has is not asked for: metadata is often looked at apart from the rest.
        required = tuple(name for name in root.required if name not in META_FIELDS)
        self._schema = Schema(root if required == root.required else replace(root, required=required))
        self.node = root
        self._junctors = Junctors.of(document)
        self._embedded = Embedded.of(document)
        metadata = document.get("properties", {}).get("metadata")
        self._metadata = node_of_schema(metadata) if metadata else None
        self._plain = self._junctors is None and self._embedded is None and self._metadata is None

    def apply(self, document: Document, old: Document | None, part: str) -> Outcome:
        outcome = self._schema.apply(document, old=old, part=part)
        if self._plain or outcome.unreadable:
            return outcome
        made, unknown, causes = outcome.document, outcome.unknown, list(outcome.causes)
        if self._embedded is not None:
            made, dropped, broken = self._embedded.apply(made, old, part)
            unknown = tuple(sorted((*unknown, *dropped))[:TOLD]) if dropped else unknown
            causes += broken
        if self._junctors is not None and (causes or not self._junctors.hold(made, part)):
            causes += self._junctors.causes(made, old, part)
        if self._metadata is not None and not part and "metadata" in made:
            causes += check(self._metadata, made["metadata"], "metadata", "metadata", UNSET if old is None else old["metadata"])
        return Outcome(made, unknown, tuple(causes[:TOLD]))

    def again(self, document: Document, tidied: Document, part: str) -> Document | None:
        made = self._schema.again(document, tidied, part=part)
        if made is None or self._plain or made is tidied:
            return made
        if self._embedded is not None or (self._metadata is not None and made.get("metadata") is not tidied.get("metadata")):
            return None
        return made if self._junctors is None or self._junctors.hold(made, part) else None
