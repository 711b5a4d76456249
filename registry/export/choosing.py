"""What is exported: versions of kinds, in one order, whichever the order is in which they were declared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from registry.description import BUILTIN, Description, KindDescription, VersionDescription
from registry.description_names import Named, find
from registry.names import version_key

Document = dict[str, Any]
Names = Callable[[KindDescription], set[str]]
OURS = frozenset({"skep.dev"})


class ExportError(Exception):
    """It cannot be exported so. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Unknown(ExportError):
    """There is no such group or version."""


class Form(NamedTuple):
    """One kind in one version."""

    kind: KindDescription
    version: VersionDescription

    @property
    def api_version(self) -> str:
        """`group/version`, or the version alone in the core group."""
        return self.version.api_version

    @property
    def schema(self) -> Document:
        """The schema of its objects. Raises ExportError for a brief description."""
        if self.version.schema is None:
            raise ExportError(f"{self.kind.resource} is described without its schema")
        return self.version.schema

    @property
    def status(self) -> bool:
        """Whether the status is written apart from the rest."""
        return "status" in self.kind.subresources


def chosen(
    kinds: Iterable[KindDescription], *, names: Collection[str] = (), groups: Collection[str] = (), versions: Collection[str] = ()
) -> tuple[Form, ...]:
    """The served versions of kinds, sorted by group and kind, preferred versions first.

    Nothing named is everything but the kinds of the server itself, which are chosen by their group or name. A name is one of
    `registry.description_names`, and may say a version. Raises NoSuchKind; ExportError for a group or version that means nothing.
    """
    kinds = sorted(kinds, key=lambda kind: (kind.group, kind.kind, kind.resource))
    named = [find(Description(kinds=tuple(kinds)), name) for name in names]
    _check(kinds, "group", groups, lambda kind: {each.group for each in kind.versions})
    _check(kinds, "version", versions, lambda kind: {name for each in kind.versions for name in (each.name, each.api_version)})
    found = [
        Form(kind, version)
        for kind in kinds
        if groups or names or not (kind.declared == BUILTIN or kind.group in OURS)
        for version in sorted(kind.versions, key=lambda each: version_key(each.name))
        if version.served
        and (not groups or version.group in groups)
        and (not versions or version.name in versions or version.api_version in versions)
        and (not named or any(_means(each, kind, version) for each in named))
    ]
    if not found:
        raise ExportError(
            "there is nothing to export",
            "KIND, --group and --version choose; without them, all kinds of plugins and definitions are",
        )
    return tuple(found)


def _means(named: Named, kind: KindDescription, version: VersionDescription) -> bool:
    return named.kind.resource == kind.resource and named.version in (None, version)


def _check(kinds: Sequence[KindDescription], what: str, named: Collection[str], names_of: Names) -> None:
    known = set().union(*map(names_of, kinds))
    for name in named:
        if name not in known:
            there = ", ".join(sorted(known)[:20])
            raise Unknown(f"there is no {what} {name!r}", f"there are {there}" if there else "there is none at all")
