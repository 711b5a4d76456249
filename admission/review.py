"""What is asked and what is reviewed: the nouns of authorization and admission.

`Attributes` are known from a request's address alone, so a request is authorized before its body is read. A `Review` is what
admission handlers see: the object before and after, who asks, and whether it is for real.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from admission.identity import Identity

T = TypeVar("T")


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """One thing that somebody wants to do. `resource` is `plural.group`; `namespace` is empty for all namespaces or for none."""

    identity: Identity
    verb: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class Authorizer(Protocol):
    """Decides from the address alone. Cheap: it is asked for every request."""

    def authorize(self, attributes: Attributes) -> str | None:
        """Why it is refused, in a sentence; None when it is allowed."""
        ...


def unheard(warning: str) -> None:
    """Where warnings go that nobody listens to."""
    del warning


class Review(msgspec.Struct, Generic[T], frozen=True):
    """What a handler is asked about: `new` is what would be stored (on a delete: what would go), `old` what is stored (None on a
    create).

    `operation` is CREATE, UPDATE or DELETE. `warn` adds a Warning header to the answer.
    """

    operation: str
    new: T
    old: T | None
    identity: Identity
    dry_run: bool = False
    subresource: str = ""
    warn: Callable[[str], None] = unheard

    @property
    def object(self) -> Any:
        """The same as `new`, by the name that webhooks use."""
        return self.new
