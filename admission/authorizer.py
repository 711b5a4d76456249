"""Who may do what, until there are roles: whoever showed a credential may do all, except write a status that an actor owns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from admission.identity import AUTHENTICATED, Identity
from admission.review import Attributes, Decision
from registry.kinds import EXTERNAL

WRITES = frozenset({"update", "patch"})
MAKES = frozenset({"create", "delete", "deletecollection"})
ALLOWED = Decision(True)


@dataclass(frozen=True, slots=True)
class Everything:
    """The rule that allows all."""

    verbs: tuple[str, ...] = ("*",)
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()


ALL_RESOURCES = Everything(api_groups=("*",), resources=("*",))
ALL_PATHS = Everything(non_resource_urls=("*",))


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

    def rules_for(self, identity: Identity, namespace: str) -> tuple[tuple[Everything, ...], tuple[Everything, ...]]:
        """All that somebody may do in a namespace: about resources, and about paths."""
        del namespace
        return ((ALL_RESOURCES,), (ALL_PATHS,)) if AUTHENTICATED in identity.groups else ((), ())

    def _refusal(self, attributes: Attributes) -> str | None:
        if AUTHENTICATED not in attributes.identity.groups:
            return "only those who are authenticated may do anything"
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
