"""One request to the manager, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from admission.differing import paths
from admission.identity import Identity
from admission.review import Decision
from apiserver.forms import Page
from apiserver.options import Query
from apiserver.target import Target
from storage.store import Record

Document = dict[str, Any]


NOTES = 64
"""Notes of one call that are kept."""
LONGEST_NOTE = 4_096


class Kept(msgspec.Struct):
    """What admission told of a call, for the audit log: notes by key, and who changed what, as paths without values."""

    notes: dict[str, str] = {}
    changes: list[tuple[str, list[dict[str, str]]]] = []


class Call(msgspec.Struct):
    """One request. `warnings` are sent with the answer, also with a refusal. `epoch`: that of an actor (`apiserver.fencing`).
    `decision`: what the authorizer said, once it was asked. `kept`: None when nobody wants to know."""

    identity: Identity
    verb: str
    target: Target
    query: Query = {}
    body: bytes | Document = b""
    content_type: str = ""
    warnings: list[str] = []
    agent: bytes = b""
    epoch: str = ""
    decision: Decision | None = None
    kept: Kept | None = None

    def warn(self, message: str) -> None:
        """Adds a warning, once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def note(self, key: str, value: str) -> None:
        """Keeps a note for the audit log; not too many, nor too long ones."""
        if self.kept is not None and (len(self.kept.notes) < NOTES or key in self.kept.notes):
            self.kept.notes[str(key)[:LONGEST_NOTE]] = str(value)[:LONGEST_NOTE]

    def changed(self, by: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Keeps for the audit log that admission changed the object, and where."""
        if self.kept is not None and len(self.kept.changes) < NOTES:
            self.kept.changes.append((by, paths(before, after)))


class Answer(msgspec.Struct, frozen=True):
    """What a call comes to: an object, or a list, or a document of another kind (a Status, a Scale)."""

    code: int = 200
    record: Record | None = None
    page: Page | None = None
    document: Document | None = None
