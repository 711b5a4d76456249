"""Who may make an API key for whom. A key for a user is the power to be that user, so it takes what impersonation takes.

* A key needs the right to `impersonate` its user and each of its groups, whoever asks, also for oneself: a key outlives the login
  that made it.
* `system:` users and groups are for members of `system:masters` alone, whatever the roles say.
* A key that is to end later than before, or never, is as good as a new one. To let it end sooner, or to revoke it, takes no more
  than the right to write keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from admission.identity import MASTERS
from admission.review import Attributes, Authorizer, Review
from registry.errors import Cause, Forbidden, details
from registry.times import parse_time

RESOURCE = "apikeys.skep.dev"
SYSTEM = "system:"
_NEVER = datetime.max.replace(tzinfo=UTC)

Document = dict[str, Any]


class KeyRules:
    """See the module. Implements `Admitter`."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def concerns(self, review: Review[Document]) -> bool:
        """Whether a key is made, or changed."""
        return (
            review.kind is not None
            and review.kind.resource == RESOURCE
            and not review.subresource
            and review.operation in ("CREATE", "UPDATE")
        )

    async def mutate(self, review: Review[Document]) -> Document:
        """Changes nothing."""
        return review.new

    async def validate(self, review: Review[Document]) -> Sequence[Cause]:
        """Raises Forbidden."""
        if review.old is not None and _ends(review.new) <= _ends(review.old):
            return ()
        if MASTERS not in review.identity.groups:
            for why in self._missing(review):
                message = f'{RESOURCE} "{review.name}" is forbidden: User "{review.identity.username}" {why}'
                raise Forbidden(message, details=details(name=review.name, group="skep.dev", kind="apikeys"))
        return ()

    def _missing(self, review: Review[Document]) -> Iterator[str]:
        """What the one who asks may not."""
        spec = review.new["spec"]
        wanted = [("users", spec["user"]), *(("groups", group) for group in spec.get("groups", ()))]
        for resource, name in wanted:
            if name.startswith(SYSTEM):
                yield f'cannot make a key for "{name}": names that begin with {SYSTEM} are for members of {MASTERS}'
            decision = self._authorizer.decide(Attributes(review.identity, "impersonate", resource, name=name))
            if not decision.allowed:
                yield (
                    f'cannot impersonate resource "{resource}" in API group "" at the cluster scope: '
                    f'a key for "{name}" is the power to be "{name}"'
                )


def _ends(document: Document) -> datetime:
    expires = document["spec"].get("expires")
    return parse_time(expires) if expires else _NEVER
