"""What is asked and what is reviewed: the nouns of authorization and admission.

`Attributes` are known from a request's address alone, so a request is authorized before its body is read. A `Review` is what
admission handlers see: the object before and after, who asks, and whether it is for real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from admission.identity import Identity
from registry.errors import Cause
from registry.kinds import Kind, Version

T = TypeVar("T")


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """One thing that somebody wants to do. `resource` is `plural.group`; `namespace` is empty for all namespaces or for none.

    A request that is about no resource has a `path` instead, and its method in lower case as its verb.
    """

    identity: Identity
    verb: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Decision(msgspec.Struct, frozen=True):
    """What an authorizer says. `reason`: what allows it, for the audit log; or why not, for the caller (empty: no rule allows
    it)."""

    allowed: bool
    reason: str = ""


class Authorizer(Protocol):
    """Decides from the address alone. Cheap: it is asked for every request."""

    def decide(self, attributes: Attributes) -> Decision:
        """Whether it may be done."""
        ...


def unheard(warning: str) -> None:
    """Where warnings go that nobody listens to."""
    del warning


def unnoted(key: str, value: str) -> None:
    """Where notes go that nobody keeps."""
    del key, value


def unchanged(by: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Where changes are told that nobody keeps."""
    del by, before, after


class Review(msgspec.Struct, Generic[T], frozen=True):
    """What a handler is asked about: `new` is what would be stored (on a delete: what would go), `old` what is stored (None on a
    create).

    `operation` is CREATE, UPDATE or DELETE. `warn` adds a Warning header to the answer, `note` an annotation to the audit event
    (a key and a text; a handler's key begins with its name, whatever it says).

    `kind` is that of the path, and `version` that of the documents: the one of the path or, where versions differ in their shapes,
    the one that is stored; `asked` is then the one of the path. `namespace` is empty for what belongs to none. `options` are those
    of the request
    (`{"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", ...}`).

    For an `Admitter`: `changed` tells the audit log who made of a document what (a name, before, after); `again` says that this is
    the second time, since what it returned has been changed after it.
    """

    operation: str
    new: T
    old: T | None
    identity: Identity
    dry_run: bool = False
    subresource: str = ""
    warn: Callable[[str], None] = unheard
    kind: Kind | None = None
    version: Version | None = None
    namespace: str = ""
    name: str = ""
    options: Mapping[str, Any] = {}
    note: Callable[[str, str], None] = unnoted
    changed: Callable[[str, Mapping[str, Any], Mapping[str, Any]], None] = unchanged
    again: bool = False
    asked: Version | None = None

    @property
    def path_version(self) -> Version | None:
        """The version of the path."""
        return self.asked or self.version

    @property
    def object(self) -> Any:
        """The same as `new`, by the name that webhooks use."""
        return self.new


class Admitter(Protocol):
    """One who changes or refuses objects, besides a plugin's handlers: webhooks, policies, quotas.

    It sees documents, in the version of the path, and changes none of them: what it returns is another one.

    On a delete it is asked to `validate` alone.
    """

    def concerns(self, review: Review[dict[str, Any]]) -> bool:
        """Whether it has anything to say. Cheap: it is asked for every write, maybe more than once.

        On a delete it tells without the object: `new` and `old` have its name and no more.
        """
        ...

    async def mutate(self, review: Review[dict[str, Any]]) -> dict[str, Any]:
        """What is to be stored instead of `review.new`, which may be the same. Raises ApiError to refuse.

        It is asked a second time, with `review.again`, when somebody after it changed what it had returned; and once only.
        """
        ...

    async def validate(self, review: Review[dict[str, Any]]) -> Sequence[Cause]:
        """What is wrong, to be reported together with all else. Raises ApiError to refuse outright. Others are asked at the same
        time."""
        ...
