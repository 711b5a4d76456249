"""Who may do what: what belongs to one identity alone, then the administrators, then whoever else knows (roles, say).

What nobody allows is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from admission.identity import AUTHENTICATED, MASTERS
from admission.review import Attributes, Authorizer, Decision
from registry.actors import ACTOR_NAMESPACE, BUILTIN_ACTORS, account_name
from registry.kinds import EXTERNAL

WRITES = frozenset({"update", "patch"})
MAKES = frozenset({"create", "delete", "deletecollection"})
BY_GROUP = Decision(True, f"the group {MASTERS} may do all")

UNDECLARED = Decision(False, "an actor may do what it declares: which kinds it owns, observes=[...] and writes=[...]")


INSIDE = frozenset(account_name(actor) for actor in BUILTIN_ACTORS)
"""The accounts of the server's own actors. They act in its process and show no credential."""


def inside(attributes: Attributes) -> str | None:
    """Why nobody may be, or make a token of, one of the server's own actors; None where it is not about that."""
    if attributes.verb != "impersonate" and attributes.subresource != "token":
        return None
    if attributes.resource != "serviceaccounts" or attributes.namespace != ACTOR_NAMESPACE or attributes.name not in INSIDE:
        return None
    if MASTERS in attributes.identity.groups:
        return None
    return f"{attributes.name} is an actor of the server itself, which nobody else can be"


class OwnerAuthorizer:
    """What belongs to one identity alone, whatever rights others have.

    The status rule: a kind's status is written by the actor that owns it, and by nobody else. The server's own actors may read and
    delete all there is, so nobody has a token of theirs, or acts as them, but members of `system:masters`: else whoever may make
    tokens everywhere, which the role `edit` allows, would be one of them.

    `owners` maps a resource to the user name of its owner; `external` leaves it to everybody's rights; empty means that no actor of
    this server owns it, so that nobody may write it. `makers` maps a resource to the user name that alone makes and deletes its
    objects, if there is one. The owner needs the right to write as well, which is for `then` to say; and who has no right is not
    told whose it is, nor by that that it is there.
    """

    def __init__(self, owners: Mapping[str, str], makers: Mapping[str, str] = MappingProxyType({}), *, then: Authorizer) -> None:
        self._owners: dict[str, str] = {}
        self._makers: dict[str, str] = {}
        self._actors: set[str] = set()
        self._then = then
        for resource in {**owners, **makers}:
            self.give(resource, owners.get(resource, EXTERNAL), makers.get(resource, ""))

    def give(self, resource: str, owner: str, maker: str) -> None:
        """Says whose a resource is from now on. Most belong to nobody, and take no room."""
        self.leave(resource)
        if owner != EXTERNAL:
            self._owners[resource] = owner
        if maker:
            self._makers[resource] = maker
        if owner not in ("", EXTERNAL):
            self._actors.add(owner)  # an actor that owns a kind is one for good

    def leave(self, resource: str) -> None:
        """There is no such resource any more."""
        self._owners.pop(resource, None)
        self._makers.pop(resource, None)

    def decide(self, attributes: Attributes) -> Decision:
        """Whether it may be done."""
        decision = self._then.decide(attributes)
        if decision.allowed:
            why = self._refusal(attributes)
            return decision if why is None else Decision(False, why)
        return UNDECLARED if not decision.reason and attributes.identity.username in self._actors else decision

    def _refusal(self, attributes: Attributes) -> str | None:
        if attributes.resource == "serviceaccounts":
            return inside(attributes)
        if attributes.verb in MAKES:
            if attributes.subresource:
                return None
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


class MastersAuthorizer:
    """Members of `system:masters` may do all, so that nobody can lock everybody out; others are left to `then`.

    The group counts only together with `system:authenticated`, which every authenticator adds.
    """

    def __init__(self, then: Authorizer) -> None:
        self._then = then

    def decide(self, attributes: Attributes) -> Decision:
        """Whether it may be done."""
        groups = attributes.identity.groups
        if MASTERS in groups and AUTHENTICATED in groups:
            return BY_GROUP
        return self._then.decide(attributes)
