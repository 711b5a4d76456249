"""Who has which name: no two kinds of a group that are served share one. Pure.

A kind has several names: those of its resource (plural, singular, short names) and those of its documents (kind, list kind). A name
belongs to whoever claimed it first, until they go or take another. What is asked for and not free is refused, in the words of
Kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from registry.custom.definition import Names

NO_CONFLICTS = "NoConflicts"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What names somebody got, and, if not all that were asked for, why."""

    names: Names
    reason: str = NO_CONFLICTS
    message: str = "no conflicts found"

    @property
    def accepted(self) -> bool:
        """Whether they got all of them."""
        return self.reason == NO_CONFLICTS


class Claims:
    """The names of one group, each with who has it."""

    def __init__(self) -> None:
        self._resources: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._owned: dict[str, Names] = {}  # what each has, and maybe names that others have

    def __bool__(self) -> bool:
        """Whether anybody has, or wants, any of them."""
        return bool(self._owned)

    def claim(self, owner: str, names: Names) -> None:
        """`owner` has these names from now on, as far as they are free, and no others."""
        self.release(owner)
        self._owned[owner] = names
        for name in names.resources:
            self._resources.setdefault(name, owner)
        for name in names.kinds:
            self._kinds.setdefault(name, owner)

    def release(self, owner: str) -> None:
        """`owner` has no names any more."""
        names = self._owned.pop(owner, Names())
        for table, each in ((self._resources, names.resources), (self._kinds, names.kinds)):
            for name in each:
                if table.get(name) == owner:
                    del table[name]

    def held(self, owner: str, names: Names) -> Names:
        """What of these names `owner` has."""

        def of(table: dict[str, str], name: str) -> str:
            return name if name and table.get(name) == owner else ""

        return Names(
            plural=of(self._resources, names.plural),
            singular=of(self._resources, names.singular),
            short_names=tuple(name for name in names.short_names if of(self._resources, name)),
            kind=of(self._kinds, names.kind),
            list_kind=of(self._kinds, names.list_kind),
            categories=names.categories,
        )

    def decide(self, owner: str, wanted: Names, before: Names) -> Verdict:
        """What `owner` gets of what it asks for, when it has got `before` already. Where it does not get a name it keeps what it
        has."""
        got, reason, message = self.held(owner, before), NO_CONFLICTS, "no conflicts found"
        for name, table, why in (
            ("plural", self._resources, "PluralConflict"),
            ("singular", self._resources, "SingularConflict"),
            ("short_names", self._resources, "ShortNamesConflict"),
            ("kind", self._kinds, "KindConflict"),
            ("list_kind", self._kinds, "ListKindConflict"),
        ):
            asked = getattr(wanted, name)
            each = asked if isinstance(asked, tuple) else (asked,)
            taken = [one for one in each if table.get(one, owner) != owner]
            if taken:
                said = [f'"{one}" is already in use' for one in taken]
                reason, message = why, said[0] if len(said) == 1 else f"[{', '.join(said)}]"
            else:
                got = replace(got, **{name: asked})
        return Verdict(replace(got, categories=wanted.categories), reason, message)
