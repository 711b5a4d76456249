"""Documents from one version of a kind to another: by the converters of the kind, or under another name alone where all have one
shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from registry.catalog import Registry
from registry.kinds import Version

Document = dict[str, Any]


class Convert(Protocol):
    """A document in another version. Raises ConversionError; `quiet`: nobody else is told, since something is wrong with it."""

    def __call__(self, document: Document, *, quiet: bool = False) -> Document: ...


@dataclass(frozen=True, slots=True)
class Conversion:
    """The way from one version to another (`there`), and the way back. Neither changes what it is given."""

    there: Convert
    back: Convert


def between(here: Version, other: Version) -> Conversion | None:
    """The conversion of one version's documents to another's; None: they are the same."""
    if here is other or (here.ways is None and (here.api_version, here.kind) == (other.api_version, other.kind)):
        return None
    return Conversion(_one_way(here, other), _one_way(other, here))


def _one_way(source: Version, target: Version) -> Convert:
    ways = source.ways

    def convert(document: Document, *, quiet: bool = False) -> Document:
        if ways is not None:
            document = ways.convert({**document, "apiVersion": source.api_version}, target.api_version, quiet=quiet)
        return {**document, "apiVersion": target.api_version, "kind": target.kind}

    return convert


def for_models(registry: Registry) -> Callable[[type, Version], Conversion | None]:
    """For handlers, which name a version by its model: from the version of a request to that of the model."""

    def look_up(model: type, version: Version) -> Conversion | None:
        found = registry.of_model(model)
        return None if found is None else between(version, found[1])

    return look_up
