"""Who may do what, until there are roles: whoever showed a credential may do all, except write a status that an actor owns."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from admission.identity import AUTHENTICATED
from admission.review import Attributes, Decision
from registry.kinds import EXTERNAL

WRITES = frozenset({"update", "patch"})
MAKES = frozenset({"create", "delete", "deletecollection"})
ALLOWED = Decision(True)


class OwnerAuthorizer:
    """The status rule: a kind's status is written by the actor that owns it, and by nobody else, whatever their rights.

    `owners` maps a resource to the user name of its owner; `external` leaves it to everybody's rights; empty means that no actor of
    this server owns it, so that nobody may write it. `makers` maps a resource to the user name that alone makes and deletes its
    objects, if there is one.
    """

    def __init__(self, owners: Mapping[str, str], makers: Mapping[str, str] = MappingProxyType({})) -> None:
        self._owners = dict(owners)
        self._makers = {resource: maker for resource, maker in makers.items() if maker}

    def decide(self, attributes: Attributes) -> Decision:
        """Whether it may be done."""
        why = self._refusal(attributes)
        return ALLOWED if why is None else Decision(False, why)

    def _refusal(self, attributes: Attributes) -> str | None:
        if AUTHENTICATED not in attributes.identity.groups:
            return ""  # nothing allows anything to them
        if attributes.verb in MAKES:
            maker = self._makers.get(attributes.resource, attributes.identity.username)
            return None if maker == attributes.identity.username else f"{attributes.resource} are made and deleted by {maker} alone"
        if attributes.subresource != "status" or attributes.verb not in WRITES:
            return None
        owner = self._owners.get(attributes.resource, EXTERNAL)
        if owner in (EXTERNAL, attributes.identity.username):
            return None
        if owner:
            return f"the status of {attributes.resource} is written by its owner alone, {owner}"
        return f"no actor owns {attributes.resource}: declare one, or declare the kind with owner='external'"
