"""What is exported: versions of kinds, in one order, whichever the order is in which they were declared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from registry.description import BUILTIN, KindDescription, VersionDescription
from registry.names import version_key

Document = dict[str, Any]
OURS = frozenset({"skep.dev"})


class ExportError(Exception):
    """It cannot be exported so. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


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

    Nothing named is everything but the kinds of the server itself, which are chosen by their group or name. Raises ExportError for
    a name that means nothing.
    """
    kinds = sorted(kinds, key=lambda kind: (kind.group, kind.kind, kind.resource))
    _check(kinds, "kind", names, _names)
    _check(kinds, "group", groups, lambda kind: {each.group for each in kind.versions})
    _check(kinds, "version", versions, lambda kind: {name for each in kind.versions for name in (each.name, each.api_version)})
    found = []
    for kind in kinds:
        wanted = bool(groups or names) or not (kind.declared == BUILTIN or kind.group in OURS)
        if not wanted or (names and not _names(kind) & {name.lower() for name in names}):
            continue
        for version in sorted(kind.versions, key=lambda each: version_key(each.name)):
            named = not versions or version.name in versions or version.api_version in versions
            if version.served and named and (not groups or version.group in groups):
                found.append(Form(kind, version))
    if not found:
        raise ExportError(
            "there is nothing to export", "--kind, --group and --version choose; without them, all kinds of plugins are"
        )
    return tuple(found)


def _names(kind: KindDescription) -> set[str]:
    return {kind.kind.lower(), kind.plural, kind.singular, kind.resource, *kind.short_names}


def _check(kinds: Sequence[KindDescription], what: str, named: Collection[str], names_of: Any) -> None:
    known = set().union(*(names_of(kind) for kind in kinds)) if kinds else set()
    for name in named:
        if name not in known and not (what == "kind" and name.lower() in known):
            have = ", ".join(
                sorted({kind.resource for kind in kinds if kind.declared != BUILTIN} if what == "kind" else known)[:20]
            )
            raise ExportError(f"there is no {what} {name!r}", f"there are {have}" if have else "there is none at all")
