"""Resources within resources (`x-kubernetes-embedded-resource`): their metadata is brought into its one form, and they must say
their type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from registry import errors
from registry import metadata as meta
from registry.errors import Cause
from registry.names import dns1035_label, path_segment
from registry.nodes import TOLD, Document, below


class Embedded(msgspec.Struct, frozen=True):
    """Where in a schema resources are: `here` says that the value itself is one."""

    here: bool
    properties: Mapping[str, Embedded]
    others: Embedded | None
    items: Embedded | None

    @classmethod
    def of(cls, schema: Any) -> Embedded | None:
        """Those of a schema, which has no keyword of a wrong type. None: it has none."""
        if not isinstance(schema, dict):
            return None
        named = {name: cls.of(child) for name, child in schema.get("properties", {}).items()}
        properties = {name: child for name, child in named.items() if child is not None}
        others, items = cls.of(schema.get("additionalProperties")), cls.of(schema.get("items"))
        here = schema.get("x-kubernetes-embedded-resource", False)
        return cls(here, properties, others, items) if here or properties or others or items else None

    def apply(self, document: Document, old: Document | None, part: str) -> tuple[Document, list[str], list[Cause]]:
        """The document with the metadata of all that is embedded in its one form, the paths of what that does not know, and what
        is wrong with them. What is as it was in `old` is let alone. `part` names the field of the root that alone is looked at."""
        walk = _Walk()
        if not part:
            made = walk.visit(self, document, old, "")
        elif part in self.properties and part in document:
            made = {**document, part: walk.visit(self.properties[part], document[part], (old or {}).get(part), part)}
        else:
            made = document
        return made, walk.unknown, walk.causes[:TOLD]


class _Walk:
    """One walk through a document, with what it has found so far."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.causes: list[Cause] = []

    def visit(self, place: Embedded, value: Any, old: Any, path: str) -> Any:
        if isinstance(value, list) and place.items is not None:
            earlier = old[: len(value)] if isinstance(old, list) else []
            earlier += [None] * (len(value) - len(earlier))
            pairs = enumerate(zip(value, earlier, strict=True))
            items = [self.visit(place.items, item, before, f"{path}[{index}]") for index, (item, before) in pairs]
            return items if any(new is not item for new, item in zip(items, value, strict=True)) else value
        if not isinstance(value, dict) or value == old:
            return value
        known = old if isinstance(old, dict) else {}
        made = self._coerced(value, path) if place.here else value
        changed: Document = {}
        for key, item in made.items():
            child = place.properties.get(key, place.others)
            new = item if child is None else self.visit(child, item, known.get(key), below(path, key))
            if new is not item:
                changed[key] = new
        return made | changed if changed else made

    def _coerced(self, value: Document, path: str) -> Document:
        self.causes += _of_type(value, path)
        if "metadata" not in value:
            return value
        field = below(path, "metadata")
        try:
            read = meta.read(value["metadata"])
        except ValueError as error:
            self.causes.append(errors.invalid(field, value["metadata"], str(error)))
            return value
        self.unknown += [below(path, dropped) for dropped in read.unknown] if len(self.unknown) < TOLD else []
        named = read.metadata if read.metadata.get("name") else {**read.metadata, "name": "unnamed"}  # it need not have one
        namespaced = bool(read.metadata.get("namespace"))
        self.causes += meta.validate(named, namespaced=namespaced, name_rule=path_segment, field=field)
        return value if read.metadata == value["metadata"] else {**value, "metadata": read.metadata}


def _of_type(value: Document, path: str) -> Iterator[Cause]:
    """What is wrong with the type that a resource says it is of."""
    version, kind = value.get("apiVersion"), value.get("kind")
    if not version:
        yield errors.required(below(path, "apiVersion"))
    elif isinstance(version, str) and version.count("/") > 1:
        yield errors.invalid(below(path, "apiVersion"), version, f"unexpected GroupVersion string: {version}")
    if not kind:
        yield errors.required(below(path, "kind"))
    elif isinstance(kind, str):
        problems = dns1035_label(kind.lower())
        if problems:
            detail = f"may have mixed case, but should otherwise match: {','.join(problems)}"
            yield errors.invalid(below(path, "kind"), kind, detail)
