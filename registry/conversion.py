"""Documents from one version of a kind to another: by way of the form that is stored, which every version knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from registry.kinds import Registry, Version

Document = dict[str, Any]
Convert = Callable[[Document], Document]


@dataclass(frozen=True, slots=True)
class Conversion:
    """The way from one version to another (`there`), and the way back. Neither changes what it is given."""

    there: Convert
    back: Convert


def between(here: Version, other: Version) -> Conversion | None:
    """The conversion of one version's documents to another's; None: they are the same."""
    if here is other or (here.codec is other.codec and (here.api_version, here.kind) == (other.api_version, other.kind)):
        return None
    return Conversion(_one_way(here, other), _one_way(other, here))


def _one_way(source: Version, target: Version) -> Convert:
    def convert(document: Document) -> Document:
        if source.codec is not target.codec:
            stored = document if source.codec is None else source.codec.encode(document)
            document = stored if target.codec is None else target.codec.decode(stored)
        return {**document, "apiVersion": target.api_version, "kind": target.kind}

    return convert


def for_models(registry: Registry) -> Callable[[type, Version], Conversion | None]:
    """For handlers, which name a version by its model: from the version of a request to that of the model."""

    def look_up(model: type, version: Version) -> Conversion | None:
        found = registry.of_model(model)
        return None if found is None else between(version, found[1])

    return look_up
