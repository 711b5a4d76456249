"""What stands between a write and a definition that does not allow it.

`Defined`: an object of a defined kind is made in a transaction in which its definition is there, and does not go. So whoever has
begun to delete a definition, and finds no objects, will find none later.

`DeclaredGuard`: a definition that tells of a kind of this server's own can be read, and is changed where the kind is declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from admission.identity import is_server
from admission.review import Review
from apiserver.stored import is_deleting
from registry.builtin.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION as DEFINITION
from registry.custom.definition import DECLARED
from registry.custom.kinds import TERMINATING
from registry.errors import ApiError, Cause, Forbidden, NotFound, details
from registry.kinds import Kind
from storage.store import Guard, Key, Record, State

REMEMBERED = 4_096


class Defined:
    """Looks a kind's definition up. It may be asked in several threads at once."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, bool]] = {}  # by name: what it was read from, and whether it goes

    def guard(self, kind: Kind, then: Guard | None) -> Guard | None:
        """What a new object is to be committed with, `then` included."""
        if not kind.defined:
            return then

        def refusal(key: Key, state: State) -> Exception | None:
            return self._refusal(key, state) or (then(key, state) if then is not None else None)

        return refusal

    def _refusal(self, key: Key, state: State) -> ApiError | None:
        record = state.get(Key(DEFINITION.resource, "", key.resource))
        plural, _, group = key.resource.partition(".")
        about = details(name=key.name, group=group, kind=plural)
        if record is None:
            return NotFound("the server could not find the requested resource", details=about)
        if self._goes(record):
            return Forbidden(f'{key.resource} "{key.name}" is forbidden: {TERMINATING}', details=about)
        return None

    def _goes(self, record: Record) -> bool:
        kept = self._kept.get(record.key.name)
        if kept is not None and kept[0] is record.desired:
            return kept[1]
        goes = is_deleting(record)
        if len(self._kept) >= REMEMBERED:
            self._kept.clear()
        self._kept[record.key.name] = (record.desired, goes)
        return goes


class DeclaredGuard:
    """Implements `admission.review.Admitter`."""

    def concerns(self, review: Review[dict[str, Any]]) -> bool:
        """See `Admitter`."""
        if review.kind is None or review.kind.resource != DEFINITION.resource or is_server(review.identity):
            return False
        return review.operation == "DELETE" or _declared(review.new) is not None or _declared(review.old) is not None

    async def mutate(self, review: Review[dict[str, Any]]) -> dict[str, Any]:
        """A copy of such a definition is a definition like any other."""
        if _declared(review.old) or _declared(review.new) is None:
            return review.new
        metadata = review.new["metadata"]
        annotations = {key: value for key, value in metadata["annotations"].items() if key != DECLARED}
        metadata = {key: value for key, value in metadata.items() if key != "annotations"}
        return {**review.new, "metadata": metadata | ({"annotations": annotations} if annotations else {})}

    async def validate(self, review: Review[dict[str, Any]]) -> Sequence[Cause]:
        """Raises Forbidden. What has the mark has not been checked: here nobody has put it back, be it with nothing in it."""
        where = _declared(review.old) or (None if review.operation == "DELETE" else _declared(review.new))
        if where is not None:
            raise Forbidden(
                f'{DEFINITION.resource} "{review.name}" is forbidden: the kind is declared at {where}; change it there',
                details=details(name=review.name, group=DEFINITION.group, kind=DEFINITION.plural),
            )
        return ()


def _declared(document: dict[str, Any] | None) -> str | None:
    """Where the kind is declared; None: nobody says that it is."""
    annotations: dict[str, str] = ((document or {}).get("metadata") or {}).get("annotations") or {}
    return annotations.get(DECLARED)
