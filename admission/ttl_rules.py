"""Who may let an object expire: whoever may delete it. The annotation `skep.dev/ttl` has the server delete what has lived for so
long, under an identity that may delete everything; so to set it on an object that is there, or to change it, takes the right to
delete that object. Who makes an object may say how long it is to live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from admission.review import Attributes, Authorizer, Review
from registry.errors import Cause, Forbidden, details
from registry.expiring import TTL_ANNOTATION
from registry.kinds import resource_name

Document = dict[str, Any]


class TtlRules:
    """See the module. Implements `Admitter`."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def concerns(self, review: Review[Document]) -> bool:
        """Whether the time to live of an object is set, or changed."""
        annotations = review.new["metadata"].get("annotations")
        if not annotations or TTL_ANNOTATION not in annotations or review.old is None or review.operation != "UPDATE":
            return False
        before = review.old["metadata"].get("annotations") or {}
        changed = annotations[TTL_ANNOTATION] != before.get(TTL_ANNOTATION)
        return changed and review.kind is not None and not review.kind.strategy.builtin

    async def mutate(self, review: Review[Document]) -> Document:
        """Changes nothing."""
        return review.new

    async def validate(self, review: Review[Document]) -> Sequence[Cause]:
        """Raises Forbidden."""
        if review.kind is None or review.version is None:
            return ()
        resource = resource_name(review.kind.plural, review.version.group)
        asked = Attributes(review.identity, "delete", resource, "", review.namespace, review.name)
        if not self._authorizer.decide(asked).allowed:
            why = f'User "{review.identity.username}" cannot delete it, and so may not let it expire ({TTL_ANNOTATION})'
            about = details(name=review.name, group=review.version.group, kind=review.kind.plural)
            raise Forbidden(f'{resource} "{review.name}" is forbidden: {why}', details=about)
        return ()
