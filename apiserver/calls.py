"""One request to the manager, and what it comes to."""

from __future__ import annotations

from typing import Any

import msgspec

from admission.identity import Identity
from admission.review import Decision
from apiserver.forms import Page
from apiserver.options import Query
from apiserver.target import Target
from storage.store import Record

Document = dict[str, Any]


class Call(msgspec.Struct):
    """One request. `warnings` are sent with the answer, also with a refusal. `epoch`: that of an actor (`apiserver.fencing`).
    `decision`: what the authorizer said, once it was asked."""

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

    def warn(self, message: str) -> None:
        """Adds a warning, once."""
        if message not in self.warnings:
            self.warnings.append(message)


class Answer(msgspec.Struct, frozen=True):
    """What a call comes to: an object, or a list, or a document of another kind (a Status, a Scale)."""

    code: int = 200
    record: Record | None = None
    page: Page | None = None
    document: Document | None = None
